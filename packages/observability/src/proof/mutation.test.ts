/**
 * Plants one mistake after another into the rendered files and expects the checks to name each. A check that finds nothing wrong with a planted
 * mistake is no check; a planted text that no longer occurs fails too, so that the list cannot rot.
 *
 * Mistakes that the types refuse are in promql.test.ts, definition's in slots.test.ts, wrong thresholds in the promtool tests.
 */
import { expect, test } from "vitest";

import { CATALOGUE } from "../catalogue/catalogue.ts";
import { EXTERNAL_CATALOGUE } from "../catalogue/platform.ts";
import { render } from "../render.ts";
import { DEFAULT_LINK_BASES } from "../rules/links.ts";
import { checkAll } from "./check-all.ts";
import { describeProblems, type ProblemCode } from "./problem.ts";

const FILES = render(DEFAULT_LINK_BASES);
const RULES = "infra/prometheus/kvsync.rules.yaml";
const TESTS = "infra/prometheus/kvsync.alerts.test.yaml";
const OVERVIEW = "infra/grafana/dashboards/kvsync-overview.json";
const ENGINES = "infra/grafana/dashboards/kvsync-engines.json";
const INGEST = "infra/grafana/dashboards/kvsync-ingest.json";
const DROPS = "docs/operations/runbooks/kv-event-drop-rate.md";

/** A planted mistake: what it is, where, which text becomes which, and what must be said about it. */
type Mistake = readonly [what: string, path: string, from: string | RegExp, to: string, code: ProblemCode];

const MISTAKES: readonly Mistake[] = [
  // names, labels, values
  [
    "a misspelt metric in an alert",
    RULES,
    "aibrix_kv_sync_configuration_valid",
    "aibrix_kv_sync_configuration_invalid",
    "unknown_metric",
  ],
  [
    "a misspelt metric on a panel",
    OVERVIEW,
    "aibrix_kv_events_received_total",
    "aibrix_kv_event_received_total",
    "unknown_metric",
  ],
  [
    "a counter without its suffix",
    OVERVIEW,
    "aibrix_kv_events_received_total",
    "aibrix_kv_events_received",
    "unknown_metric",
  ],
  [
    "a histogram by its bare name",
    RULES,
    "aibrix_kv_event_sequence_gap_bucket",
    "aibrix_kv_event_sequence_gap",
    "bare_histogram",
  ],
  [
    "a misspelt recorded series",
    INGEST,
    "instance_lane:aibrix_kv_stream_queue_utilization:ratio",
    "instance_lane:aibrix_kv_stream_queue_use:ratio",
    "unknown_metric",
  ],
  ["a label that the metric lacks", RULES, 'status="failed"', 'state="failed"', "unknown_label"],
  ["a value that the label never has", RULES, 'status="failed"', 'status="failure"', "unknown_label_value"],
  [
    "one value of a list that never occurs",
    ENGINES,
    "partial|stale|unknown",
    "partial|outdated|unknown",
    "pattern_matches_nothing",
  ],
  [
    "a regular expression that is none",
    ENGINES,
    "partial|stale|unknown",
    "partial|(stale|unknown",
    "bad_pattern",
  ],
  ["an objective at no bucket bound", RULES, 'le="0.0512"', 'le="0.05"', "unknown_bucket_bound"],
  // functions
  [
    "a gauge under rate",
    OVERVIEW,
    "sum by (model) (aibrix_kv_zmq_connections_active{",
    "sum by (model) (rate(aibrix_kv_zmq_connections_active[$__rate_interval]) + aibrix_kv_zmq_connections_active{",
    "rate_of_gauge",
  ],
  [
    "a raw counter",
    OVERVIEW,
    /sum by \(event_type\) \(rate\((aibrix_kv_events_received_total\{[^}]*\})\[\$__rate_interval\]\)\)/,
    "sum by (event_type) ($1)",
    "raw_counter",
  ],
  [
    "a quantile without sum by (le)",
    RULES,
    /histogram_quantile\(0.95, sum by \(job, instance, model, le\) \((rate\(aibrix_kv_event_sequence_gap_bucket\[5m\]\))\)\)/,
    "histogram_quantile(0.95, $1)",
    "quantile_without_le",
  ],
  [
    "le aggregated away before the quantile",
    RULES,
    /sum by \(job, instance, model, le\) \(rate\(aibrix_kv_event_sequence_gap/,
    "sum by (job, instance, model) (rate(aibrix_kv_event_sequence_gap",
    "quantile_without_le",
  ],
  [
    "a quantile in per cent",
    RULES,
    "histogram_quantile(0.95,",
    "histogram_quantile(95,",
    "quantile_out_of_range",
  ],
  [
    "a division by what may be 0",
    RULES,
    /\(sum by \(job, instance, lane\) \(aibrix_kv_stream_queue_capacity\) > 0\)/,
    "sum by (job, instance, lane) (aibrix_kv_stream_queue_capacity)",
    "ratio_without_floor",
  ],
  [
    "a look-back shorter than four scrapes",
    RULES,
    "aibrix_kv_stream_events_total[1m]",
    "aibrix_kv_stream_events_total[30s]",
    "range_too_short",
  ],
  [
    "sides of an operator that never meet",
    RULES,
    "sum by (job, instance, lane) (aibrix_kv_stream_queue_depth)",
    "sum by (job, lane) (aibrix_kv_stream_queue_depth)",
    "vector_mismatch",
  ],
  [
    "a sum of messages and bytes",
    RULES,
    "sum by (job, instance, lane) (aibrix_kv_stream_queue_depth)",
    "sum by (job, instance) (aibrix_kv_stream_queue_memory_bytes)",
    "measure_mismatch",
  ],
  [
    "a label that an inner aggregation took away",
    OVERVIEW,
    "sum by (event_type) (rate(",
    "sum by (event_type) (sum by (pod) (rate(",
    "syntax",
  ],
  [
    "a by clause with a label that is not there",
    OVERVIEW,
    "sum by (event_type) (rate(",
    "sum by (event) (rate(",
    "label_lost",
  ],
  [
    "a parenthesis too few",
    RULES,
    "sum by (job, instance) (rate(process_cpu_seconds_total[5m]))",
    "sum by (job, instance) (rate(process_cpu_seconds_total[5m])",
    "syntax",
  ],
  [
    "syntax that Prometheus 2.42 lacks",
    RULES,
    "sum by (job, instance) (rate(process_cpu_seconds_total[5m]))",
    "limitk(3, rate(process_cpu_seconds_total[5m]))",
    "outside_subset",
  ],
  // rules
  [
    "a label in an annotation that was aggregated away",
    RULES,
    "drops {{ $value | humanize }} events per second of {{ $labels.model }}",
    "drops {{ $value | humanize }} events per second of {{ $labels.pod }}",
    "rule_template",
  ],
  [
    "a duration written as a plain number",
    RULES,
    "{{ $value | humanizeDuration }}",
    "{{ $value | humanize }}",
    "rule_template",
  ],
  ["an alert without a comparison", RULES, / == 0\n {8}for: 1m/, "\n        for: 1m", "no_comparison"],
  [
    "a threshold that no quantile can pass",
    RULES,
    "instance_model:aibrix_kv_stream_lookup_latency_seconds:p99_rate5m > 0.05",
    "instance_model:aibrix_kv_stream_lookup_latency_seconds:p99_rate5m > 0.5",
    "threshold_outside_buckets",
  ],
  [
    "a count that shall be 0",
    RULES,
    "sum by (job, instance, model) (aibrix_kv_zmq_connections_active) == 0",
    "count by (job, instance, model) (aibrix_kv_zmq_connections_active) == 0",
    "never_true",
  ],
  [
    "a rank in an alert",
    RULES,
    "sum by (job, instance, model) (aibrix_kv_zmq_connections_active) == 0",
    "topk(1, sum by (job, instance, model) (aibrix_kv_zmq_connections_active)) == 0",
    "rank_in_alert",
  ],
  ["an unknown severity", RULES, "severity: critical", "severity: page", "rule_label"],
  ["a component that nobody routes", RULES, "component: configuration", "component: settings", "rule_label"],
  ["a templated label", RULES, "component: configuration", 'component: "{{ $value }}"', "rule_label"],
  ["a for of one evaluation", RULES, "for: 30s", "for: 15s", "rule_for"],
  ["an alert named twice", RULES, "alert: CriticalQueueDepth", "alert: HighQueueDepth", "rule_duplicate"],
  ["an alert in lower case", RULES, "alert: CriticalQueueDepth", "alert: critical_queue_depth", "rule_name"],
  [
    "a summary that is no sentence",
    RULES,
    "summary: KV event sync was asked for and cannot run.",
    "summary: sync off",
    "rule_annotation",
  ],
  [
    "a description without templates",
    RULES,
    /description: .*KV event sync.*/,
    "description: Something is wrong.",
    "rule_annotation",
  ],
  ["a runbook link to nowhere", RULES, "kv-event-drop-rate.md", "kv-events-dropped.md", "dead_runbook"],
  [
    "a dead anchor in a runbook link",
    RULES,
    "kv-event-drop-rate.md",
    "kv-event-drop-rate.md#causes",
    "dead_runbook",
  ],
  [
    "a link to a panel that is gone",
    RULES,
    "/d/kvsync-overview?viewPanel=11",
    "/d/kvsync-overview?viewPanel=99",
    "dead_panel_link",
  ],
  [
    "a recording whose level lies",
    RULES,
    "record: instance_model:aibrix_kv_stream_events:rate1m",
    "record: model:aibrix_kv_stream_events:rate1m",
    "record_level",
  ],
  ["a group without an interval", RULES, "    interval: 1m\n", "", "rule_group"],
  [
    "what a recording computes, computed again",
    RULES,
    "expr: instance_lane:aibrix_kv_stream_queue_utilization:ratio > 0.9",
    "expr: (sum by (job, instance, lane) (aibrix_kv_stream_queue_depth) / (sum by (job, instance, lane) (aibrix_kv_stream_queue_capacity) > 0)) > 0.9",
    "recorded_series_exists",
  ],
  ["a rule file that is no YAML", RULES, "groups:", "groups: [", "unreadable_file"],
  [
    "an alert whose test is gone",
    TESTS,
    /alertname: WorkerDown/g,
    "alertname: WorkerGone",
    "alert_without_test",
  ],
  ["a runbook without a section", DROPS, "## Mitigation", "## What to do", "alert_without_runbook"],
  [
    "a runbook query that does not work",
    DROPS,
    "sum by (pod, reason) (rate(aibrix_kv_events_dropped_total",
    "sum by (pod, cause) (rate(aibrix_kv_events_dropped_total",
    "label_lost",
  ],
  // dashboards
  ["a legend whose label was aggregated away", OVERVIEW, "{{event_type}}", "{{pod}}", "legend_label"],
  ["seconds shown as bytes", OVERVIEW, '"unit": "s"', '"unit": "bytes"', "panel_unit"],
  [
    "a column without its unit",
    ENGINES,
    /"id": "unit",\s+"value": "s"/,
    '"id": "unit", "value": "short"',
    "panel_unit",
  ],
  [
    "a variable that is not declared",
    OVERVIEW,
    'model=~\\"$model\\"',
    'model=~\\"$models\\"',
    "undeclared_variable",
  ],
  [
    "a query outside the chosen replicas",
    OVERVIEW,
    'valid{job=~\\"$job\\",instance=~\\"$instance\\"}',
    'valid{job=~\\"$job\\"}',
    "panel_scope",
  ],
  [
    "a fixed look-back",
    OVERVIEW,
    /(aibrix_kv_events_received_total\{[^}]*\})\[\$__rate_interval\]/,
    "$1[5m]",
    "panel_range",
  ],
  ["panels over each other", OVERVIEW, /"x": 12,\n {8}"y": 6/, '"x": 10,\n        "y": 6', "grid"],
  ["a panel past the edge", OVERVIEW, /"x": 12,\n {8}"y": 6/, '"x": 14,\n        "y": 6', "grid"],
  ["an id given twice", OVERVIEW, '"id": 2,', '"id": 1,', "panel_id"],
  ["an id of 0", OVERVIEW, '"id": 100,', '"id": 0,', "panel_id"],
  ["a panel that does not say what is normal", OVERVIEW, "\\n\\nNormal: valid.", "", "panel_text"],
  [
    "a fixed data source",
    OVERVIEW,
    '"uid": "${datasource}"\n      },\n      "fieldConfig"',
    '"uid": "prometheus"\n      },\n      "fieldConfig"',
    "panel_datasource",
  ],
  ["thresholds out of order", INGEST, /"value": 0.8,/, '"value": 0.95,', "panel_threshold"],
  ["an editable dashboard", OVERVIEW, '"editable": false', '"editable": true', "dashboard_editable"],
  ["another uid", OVERVIEW, '"uid": "kvsync-overview"', '"uid": "kvsync overview"', "dashboard_uid"],
  ["a variable that is not refreshed", OVERVIEW, '"refresh": 2', '"refresh": 1', "dashboard_variable"],
  [
    "a variable that asks for a label that is not there",
    OVERVIEW,
    "label_values(aibrix_kv_build_info, job)",
    "label_values(aibrix_kv_build_info, cluster)",
    "unknown_label",
  ],
  [
    "a drill-down to a dashboard that is gone",
    ENGINES,
    "/d/kvsync-engines?var-pod",
    "/d/kvsync-engine?var-pod",
    "dead_link",
  ],
  ["a drill-down that sets an unknown variable", ENGINES, "?var-pod=", "?var-engine=", "dead_link"],
  [
    "links by a tag that nobody carries",
    OVERVIEW,
    /"tags": \[\n\s+"kvsync"\n/,
    '"tags": [\n"kv-sync"\n',
    "dead_link",
  ],
  ["a panel that asks nothing", OVERVIEW, /"targets": \[[^\]]*\]/, '"targets": []', "panel_targets"],
  ["a dashboard that is no JSON", OVERVIEW, '"panels": [', '"panels": [,', "unreadable_file"],
];

function plant(path: string, from: string | RegExp, to: string): ReadonlyMap<string, string> {
  const text = FILES.get(path) ?? "";
  const planted = typeof from === "string" ? text.replace(from, () => to) : text.replace(from, to);
  expect(planted, `nothing in ${path} to plant this in`).not.toBe(text);
  return new Map([...FILES, [path, planted]]);
}

test.each(MISTAKES)("%s is found", (_, path, from, to, code) => {
  const files = plant(path, from, to);
  const problems = checkAll({ files, ownFamilies: CATALOGUE, externalFamilies: EXTERNAL_CATALOGUE });
  expect(
    problems.map((problem) => problem.code),
    describeProblems(problems),
  ).toContain(code);
});

test("a metric that is renamed in the catalogue alone is found in every file that still has its old name", () => {
  const renamed = CATALOGUE.map((family) =>
    family.name === "aibrix_kv_events_dropped_total"
      ? { ...family, name: "aibrix_kv_events_lost_total" }
      : family,
  );
  const problems = checkAll({ files: FILES, ownFamilies: renamed, externalFamilies: EXTERNAL_CATALOGUE });
  const places = problems
    .filter(({ code }) => code === "unknown_metric")
    .map(({ where }) => where.split(":")[0]);
  expect(new Set(places)).toEqual(new Set([RULES, OVERVIEW, ENGINES]));
  expect(problems.map(({ code }) => code)).toContain("metric_without_panel");
});

test("a label that is renamed in the catalogue alone is found", () => {
  const renamed = CATALOGUE.map((family) =>
    family.name === "aibrix_kv_stream_queue_depth" ? { ...family, labels: { queue: ["live"] } } : family,
  );
  const problems = checkAll({ files: FILES, ownFamilies: renamed, externalFamilies: EXTERNAL_CATALOGUE });
  expect(problems.map(({ code }) => code)).toContain("label_lost");
});

test("a metric that nobody shows is found", () => {
  const secret = {
    kind: "gauge",
    name: "aibrix_kv_secret",
    unit: "none",
    labels: {},
    help: "x",
    exporter: "x",
  } as const;
  const problems = checkAll({
    files: FILES,
    ownFamilies: [...CATALOGUE, secret],
    externalFamilies: EXTERNAL_CATALOGUE,
  });
  expect(problems.map(({ code, message }) => [code, message])).toEqual([
    ["metric_without_panel", "aibrix_kv_secret is on no panel"],
  ]);
});

test("a recorded series that nobody reads is found", () => {
  const rule =
    "\n      - record: instance:process_cpu_minutes:ratio\n        expr: sum by (job, instance) (rate(process_cpu_seconds_total[10m]))";
  const files = plant(RULES, "    rules:", `    rules:${rule}`);
  const problems = checkAll({ files, ownFamilies: CATALOGUE, externalFamilies: EXTERNAL_CATALOGUE });
  expect(problems.map(({ code }) => code)).toContain("recording_unused");
});
