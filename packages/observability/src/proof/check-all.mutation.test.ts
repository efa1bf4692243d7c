/**
 * Plants one mistake after another into the rendered files and into a scrape, and expects the checks
 * to name each. A check that misses a planted mistake fails. A planted text that no longer occurs
 * fails too, so that the list stays current.
 *
 * Titles name the numbered check: E of expression-shape.ts, R of check-rules.ts, D of check-dashboards.ts, check-panels.ts,
 * check-panel-texts.ts, check-normal-ranges.ts and check-value-words.ts, C of check-coverage.ts, G of check-configurations.ts. S is of check-scrapes.ts, R7
 * of check-runbook-names.ts, G5 and G6 of check-deployment.ts, L of check-logs.ts.
 *
 * R8 is of check-scopes.ts. Mistakes that the types refuse are in promql.test.ts, definition's in slots.test.ts, wrong thresholds in the promtool tests.
 */
import { readFileSync } from "node:fs";

import { expect, test } from "vitest";

import type { MetricDefinition } from "../definition.ts";
import { Exposition } from "../exposition.ts";
import { CATALOGUE } from "../kvsync/catalogue/catalogue.ts";
import { INGEST_METRICS } from "../kvsync/catalogue/ingest.ts";
import { counter, NAMESPACE } from "../kvsync/namespace.ts";
import { KVSYNC } from "../kvsync/project.ts";
import { checkKvsync } from "../kvsync/proof/check-kvsync.ts";
import { surroundings } from "../kvsync/proof/surroundings.ts";
import { render } from "../render.ts";
import { MetricSlots } from "../slots.ts";
import { type Artefacts, artefactsOf } from "./artefacts.ts";
import { checkPanelTexts } from "./check-panel-texts.ts";
import { checkRules } from "./check-rules.ts";
import { allPanels, CHOSEN_LOG, type DashboardJson, type PanelJson } from "./grafana-json.ts";
import { checkScrapes } from "./check-scrapes.ts";
import { checkValueWords } from "./check-value-words.ts";
import { describeProblems, type ProblemCode } from "./problem.ts";

const FILES = render(KVSYNC);
const INPUT = artefactsOf(FILES, KVSYNC, surroundings());
const RULES = "infra/prometheus/kvsync.rules.yaml";
const TESTS = "infra/prometheus/kvsync.alerts.test.yaml";
const OVERVIEW = "infra/grafana/dashboards/kvsync-overview.json";
const ENGINES = "infra/grafana/dashboards/kvsync-engines.json";
const INGEST = "infra/grafana/dashboards/kvsync-ingest.json";
const SERVICE = "infra/grafana/dashboards/kvsync-service.json";
const PROMETHEUS = "infra/prometheus/prometheus.yaml";
const ALERTMANAGER = "infra/alertmanager/alertmanager.yaml";
const PROVIDERS = "infra/grafana/provisioning/dashboards/kvsync.yaml";
const DATASOURCES = "infra/grafana/provisioning/datasources/kvsync.yaml";
const PREVIEW = "infra/grafana/preview/kvsync-overview.svg";
const PICKER = "infra/grafana/dashboards/kvsync-picker.json";
const LATENCY = "docs/operations/runbooks/high-lookup-latency.md";
const DROPS = "docs/operations/runbooks/kv-event-drop-rate.md";
const CONNECTIONS = "docs/operations/runbooks/kv-sync-connection-failure.md";
const RELOADS = "docs/operations/runbooks/config-reload-failed.md";
const LOGS = "infra/grafana/log-dashboards/kvsync-logs.json";
const MANIFESTS = "infra/kubernetes/daemon.yaml";
const POLICY = "infra/kubernetes/network-policy.yaml";
const MONITOR = "infra/kubernetes/operator/service-monitor.yaml";
const MONITORING = "docs/operations/monitoring.md";

/** The numbered checks by what they report; codes without a number are of files that cannot be read at all, and the like. */
const CHECKS: Partial<Record<ProblemCode, string>> = {
  unknown_metric: "E1",
  bare_histogram: "E1",
  unknown_label: "E2",
  unknown_label_value: "E2",
  pattern_matches_nothing: "E2",
  bad_pattern: "E2",
  label_lost: "E3",
  rate_of_gauge: "E4",
  raw_counter: "E4",
  unknown_bucket_bound: "E5",
  quantile_without_le: "E5",
  vector_mismatch: "E6",
  measure_mismatch: "E6",
  ratio_without_floor: "E7",
  sum_of_shares: "E8",
  ratio_parts: "E9",
  scaled: "E10",
  set_operator: "E11",
  rule_name: "R1",
  record_level: "R1",
  rule_label: "R2",
  rule_for: "R3",
  no_comparison: "R3",
  rank_in_alert: "R3",
  never_true: "R3",
  threshold_outside_buckets: "R3",
  threshold_out_of_range: "R3",
  rule_annotation: "R4",
  rule_template: "R4",
  dead_runbook: "R5",
  dead_panel_link: "R5",
  recorded_series_exists: "R6",
  dashboard_uid: "D1",
  dashboard_editable: "D1",
  dashboard_refresh: "D1",
  dashboard_variable: "D2",
  undeclared_variable: "D2",
  dashboard_annotation: "D2",
  panel_id: "D3",
  grid: "D3",
  panel_text: "D4",
  panel_datasource: "D4",
  panel_unit: "D4",
  panel_threshold: "D4",
  panel_range: "D5",
  panel_scope: "D5",
  dead_link: "D6, D9",
  legend_label: "D7",
  legend_ambiguous: "D7",
  quantile_name: "D8",
  replicas_summed: "D10",
  order_word: "D11",
  panel_exchanged: "D12",
  panel_budget: "D13",
  panel_onward: "D14",
  panel_crowded: "D15",
  first_screen: "D16",
  panel_drill_down: "D17",
  value_words: "D18, R9",
  panel_by: "D19",
  panel_states: "D20",
  panel_family: "D21",
  panel_normal: "D22",
  exemplars_unseen: "C3",
  panel_unrelated: "C2",
  runbook_unreachable: "C2",
  document_gap: "G4",
  coarse_buckets: "R3",
  unknown_setting: "R7",
  unknown_option: "R7",
  unscoped_selector: "R8",
  deployment: "G5, G6",
  metric_not_emitted: "S1",
  metric_labels: "S1",
  metric_label_value: "S2",
  metric_unmoved: "S3",
  metric_undeclared: "S4",
  unknown_log_event: "L1",
  unknown_log_field: "L2, L3, L6",
  log_event_without_panel: "L4",
};
const CONFIGURATIONS: ReadonlyMap<string, string> = new Map([
  [PROMETHEUS, "G1"],
  [ALERTMANAGER, "G2"],
  [PROVIDERS, "G3"],
  [DATASOURCES, "G3"],
]);

function checksOf(code: ProblemCode, path: string): string {
  if (path === LOGS && !code.includes("log_")) return "L5";
  return (code === "configuration" ? CONFIGURATIONS.get(path) : CHECKS[code]) ?? "";
}

/** A planted mistake: what it is, where, which text becomes which, what must be said about it, and the file at which it is said, when it is another. */
type Mistake = readonly [
  what: string,
  path: string,
  from: string | RegExp | ((text: string) => string),
  to: string,
  code: ProblemCode,
  saidAt?: string,
];

/** Two panels of a dashboard, each with the other's queries. */
function exchanged(one: string, other: string): (text: string) => string {
  return (text) => {
    const board = JSON.parse(text) as { panels: PanelJson[] };
    const [a, b] = [one, other].map((title) => allPanels(board).find((panel) => panel.title === title)) as {
      targets?: unknown;
    }[];
    if (a === undefined || b === undefined) return text;
    [a.targets, b.targets] = [b.targets, a.targets];
    return JSON.stringify(board, null, 2);
  };
}

/** A panel's query, its first by default, with one text in place of another. */
function asked(title: string, from: string | RegExp, to: string, at = 0): (text: string) => string {
  return (text) => {
    const board = JSON.parse(text) as { panels: PanelJson[] };
    const targets = allPanels(board).find((panel) => panel.title === title)?.targets as
      | { expr: string }[]
      | undefined;
    const target = targets?.[at];
    if (target === undefined) return text;
    target.expr = target.expr.replaceAll(from instanceof RegExp ? new RegExp(from.source, "g") : from, to);
    return JSON.stringify(board, null, 2);
  };
}

/** A panel's text with one part in place of another. */
function described(title: string, from: string, to: string): (text: string) => string {
  return (text) => {
    const board = JSON.parse(text) as { panels: { title?: string; description?: string }[] };
    const panel = allPanels(board as DashboardJson).find((each) => each.title === title) as
      | { description?: string }
      | undefined;
    if (panel?.description === undefined) return text;
    panel.description = panel.description.replace(from, to);
    return JSON.stringify(board, null, 2);
  };
}

const MISTAKES: readonly Mistake[] = [
  // families under a text that is about others
  [
    "events received under the title of events processed",
    OVERVIEW,
    asked("Event processing rate", "kv_events_processed_total", "kv_events_received_total"),
    "",
    "panel_family",
  ],
  [
    "contexts that are held under the title of prefixes",
    OVERVIEW,
    asked("Index capacity", "sync_indexer_contexts_limit", "kv_http_connections_limit"),
    "",
    "panel_family",
  ],
  [
    "the depth of the queue, not its memory",
    INGEST,
    asked("Queue memory", "kv_stream_queue_memory_bytes", "kv_memory_limit_bytes"),
    "",
    "panel_family",
  ],
  [
    "the lag of the picker's thread, not the main one's",
    SERVICE,
    asked(
      "Event-loop lag",
      "nodejs_eventloop_lag_p99_seconds",
      `${NAMESPACE}_kv_picker_event_loop_lag_seconds`,
    ),
    "",
    "panel_family",
  ],
  [
    "tokens that engines reported as those that were predicted",
    PICKER,
    asked("Predicted against delivered tokens", "predicted_cached_tokens", "reported_cached_tokens"),
    "",
    "panel_family",
  ],
  [
    "connections of the HTTP server as those of gateways",
    PICKER,
    asked("Open requests", "kv_picker_connections", "kv_http_connections", 2),
    "",
    "panel_family",
  ],
  [
    "slow requests as failed ones",
    SERVICE,
    asked("Availability: failed share of matches", "slo_availability", "slo_latency"),
    "",
    "panel_family",
  ],
  [
    "a quantity divided by itself",
    SERVICE,
    asked("File descriptors", "process_max_fds", "process_open_fds"),
    "",
    "ratio_parts",
  ],
  [
    "one query twice under two legends",
    PICKER,
    asked("Open requests", "kv_picker_bookings", "kv_picker_streams", 1),
    "",
    "panel_family",
  ],
  // aggregations
  [
    "a mean of rates under a title of their sum",
    OVERVIEW,
    asked("Fallbacks by reason", /\bsum\b/, "avg"),
    "",
    "raw_counter",
  ],
  ["the smallest rate of the replicas", ENGINES, asked("Gaps", /\bmax\b/, "min"), "", "raw_counter"],
  [
    "the number of rates, not their sum",
    PICKER,
    asked("Picks by decision", /\bsum\b/, "count"),
    "",
    "raw_counter",
  ],
  [
    "the least memory under a text about each replica's",
    SERVICE,
    asked("Memory share", /\bmax\b/, "min"),
    "",
    "order_word",
  ],
  [
    "a mean of gauges that its text does not name",
    PICKER,
    asked("Open requests", /\bsum\b/, "avg"),
    "",
    "order_word",
  ],
  // what is called normal
  [
    "a normal range that is red",
    OVERVIEW,
    "Normal: below 90 %; at 100 % contexts",
    "Normal: above 90 %; at 100 % contexts",
    "panel_normal",
  ],
  [
    "a normal value that is red",
    SERVICE,
    described("Error ratio", "Normal: 0 %", "Normal: 10 %"),
    "",
    "panel_normal",
  ],
  [
    "a normal share below the one that is red",
    OVERVIEW,
    described("Streams exact", "Normal: 100 %", "Normal: 50 %"),
    "",
    "panel_normal",
  ],
  [
    "a normal range that ends behind the warning",
    SERVICE,
    described("Memory share", "Normal: below 80 %", "Normal: below 95 %"),
    "",
    "panel_normal",
  ],
  [
    "a normal range that begins before the warning",
    SERVICE,
    described("Disk space free", "Normal: above 20 %", "Normal: above 5 %"),
    "",
    "panel_normal",
  ],
  [
    "a normal time under an axis of bytes",
    INGEST,
    described("Queue memory", "Normal: below 10 MB", "Normal: below 10 ms"),
    "",
    "panel_normal",
  ],
  [
    "a normal share under an axis of seconds",
    PICKER,
    described("Delay of the picker's thread", "below 20 ms", "below 20 %"),
    "",
    "panel_normal",
  ],
  [
    "a normal quantity in words, which no run compares",
    INGEST,
    described("Event latency", "p99 below 10 ms", "p99 below ten milliseconds"),
    "",
    "panel_normal",
  ],
  [
    "a quantity in the middle of a sentence",
    OVERVIEW,
    described("Events received", "follows the load", "rises by 5 % with the load"),
    "",
    "panel_normal",
  ],
  ["a normal state that is red", PICKER, "Normal: ready", "Normal: not ready", "panel_normal"],
  ["an open circuit called normal", SERVICE, "Normal: closed", "Normal: open", "panel_normal"],
  ["a normal state that is none", INGEST, "Normal: normal;", "Normal: quiet;", "panel_normal"],
  ["refused files called normal", SERVICE, "Normal: in use", "Normal: refused", "panel_normal"],
  ["a normal value that no label has", PICKER, "Normal: all eligible", "Normal: all healthy", "panel_normal"],
  // set operators
  [
    "engines that were never untrusted in the list of those that were",
    ENGINES,
    asked("Trust", " and on", " unless on"),
    "",
    "set_operator",
  ],
  [
    "a condition whose value is shown",
    ENGINES,
    (text) =>
      text.replace(
        /topk\(20, (max by \(pod\) \(sum by .*?\)\)) and on \(pod\) (\(max by .*? > 0\))\)/,
        "topk(20, $2 and on (pod) ($1))",
      ),
    "",
    "set_operator",
  ],
  [
    "a union in place of a condition",
    ENGINES,
    asked("Trust", " and on (pod)", " or on (pod)"),
    "",
    "set_operator",
  ],
  [
    "a ratio only where there are failures",
    OVERVIEW,
    asked("Drop ratio by model", " or sum", " and sum"),
    "",
    "set_operator",
  ],
  [
    "a ratio only where there are none",
    OVERVIEW,
    asked("Streams exact", " or sum", " unless sum"),
    "",
    "set_operator",
  ],
  [
    "an alert where its condition does not hold",
    RULES,
    / and on \(cluster/,
    " unless on (cluster",
    "set_operator",
  ],
  [
    "a burn rate over one of its windows alone",
    RULES,
    /( > [\d.]+\)) and (\(job:slo_)/,
    "$1 or $2",
    "set_operator",
  ],
  // names, labels, values
  [
    "a misspelt metric in an alert",
    RULES,
    `${NAMESPACE}_kv_sync_configuration_valid`,
    `${NAMESPACE}_kv_sync_configuration_invalid`,
    "unknown_metric",
  ],
  [
    "a misspelt metric on a panel",
    OVERVIEW,
    `${NAMESPACE}_kv_events_received_total`,
    `${NAMESPACE}_kv_event_received_total`,
    "unknown_metric",
  ],
  [
    "a counter without its suffix",
    OVERVIEW,
    `${NAMESPACE}_kv_events_received_total`,
    `${NAMESPACE}_kv_events_received`,
    "unknown_metric",
  ],
  [
    "a histogram by its bare name",
    RULES,
    `${NAMESPACE}_kv_event_sequence_gap_bucket`,
    `${NAMESPACE}_kv_event_sequence_gap`,
    "bare_histogram",
  ],
  [
    "a misspelt recorded series",
    INGEST,
    `instance_lane:${NAMESPACE}_kv_stream_queue_utilization:ratio`,
    `instance_lane:${NAMESPACE}_kv_stream_queue_use:ratio`,
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
    `sum by (job, instance, model) (${NAMESPACE}_kv_zmq_connections_active{`,
    `sum by (job, instance, model) (rate(${NAMESPACE}_kv_zmq_connections_active[$__rate_interval]) + ${NAMESPACE}_kv_zmq_connections_active{`,
    "rate_of_gauge",
  ],
  [
    "a raw counter",
    OVERVIEW,
    new RegExp(String.raw`rate\((${NAMESPACE}_kv_events_received_total\{[^}]*\})\[\$__rate_interval\]\)`),
    "$1",
    "raw_counter",
  ],
  [
    "a quantile without sum by (le)",
    RULES,
    new RegExp(
      String.raw`histogram_quantile\(0.95, sum by \(cluster, namespace, job, instance, pod, model, le\) \((rate\(${NAMESPACE}_kv_event_sequence_gap_bucket\[5m\]\))\)\)`,
    ),
    "histogram_quantile(0.95, $1)",
    "quantile_without_le",
  ],
  [
    "le aggregated away before the quantile",
    RULES,
    new RegExp(
      String.raw`sum by \(cluster, namespace, job, instance, pod, model, le\) \(rate\(${NAMESPACE}_kv_event_sequence_gap`,
    ),
    `sum by (cluster, namespace, job, instance, pod, model) (rate(${NAMESPACE}_kv_event_sequence_gap`,
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
    new RegExp(
      String.raw`\(sum by \(cluster, namespace, job, instance, lane\) \(${NAMESPACE}_kv_stream_queue_capacity\) > 0\)`,
    ),
    `sum by (cluster, namespace, job, instance, lane) (${NAMESPACE}_kv_stream_queue_capacity)`,
    "ratio_without_floor",
  ],
  [
    "a look-back shorter than four scrapes",
    RULES,
    `${NAMESPACE}_kv_stream_events_total[5m]`,
    `${NAMESPACE}_kv_stream_events_total[2m]`,
    "range_too_short",
  ],
  [
    "sides of an operator that never meet",
    RULES,
    `sum by (cluster, namespace, job, instance, lane) (${NAMESPACE}_kv_stream_queue_depth)`,
    `sum by (cluster, namespace, job, lane) (${NAMESPACE}_kv_stream_queue_depth)`,
    "vector_mismatch",
  ],
  [
    "a sum of messages and bytes",
    RULES,
    `sum by (cluster, namespace, job, instance, lane) (${NAMESPACE}_kv_stream_queue_depth)`,
    `sum by (cluster, namespace, job, instance) (${NAMESPACE}_kv_stream_queue_memory_bytes)`,
    "measure_mismatch",
  ],
  [
    "a label that an inner aggregation took away",
    OVERVIEW,
    "max by (job, pod, model, event_type) (rate(",
    "max by (job, pod, model, event_type) (sum by (pod) (rate(",
    "syntax",
  ],
  [
    "a by clause with a label that is not there",
    OVERVIEW,
    "sum by (event_type) (max by",
    "sum by (event) (max by",
    "label_lost",
  ],
  [
    "a parenthesis too few",
    RULES,
    'sum by (cluster, namespace, job, instance) (rate(process_cpu_seconds_total{job="kvsync-daemon"}[5m]))',
    'sum by (cluster, namespace, job, instance) (rate(process_cpu_seconds_total{job="kvsync-daemon"}[5m])',
    "syntax",
  ],
  [
    "syntax that Prometheus 2.42 lacks",
    RULES,
    'sum by (cluster, namespace, job, instance) (rate(process_cpu_seconds_total{job="kvsync-daemon"}[5m]))',
    'limitk(3, rate(process_cpu_seconds_total{job="kvsync-daemon"}[5m]))',
    "outside_subset",
  ],
  [
    "a label matched twice",
    RULES,
    'status="failed"}',
    'status="failed",status="connected"}',
    "matcher_repeated",
  ],
  [
    "a sum of shares",
    OVERVIEW,
    `max by (instance, model) (instance_model:${NAMESPACE}_prefix_cache_hit_rate:max`,
    `sum by (instance, model) (instance_model:${NAMESPACE}_prefix_cache_hit_rate:max`,
    "sum_of_shares",
  ],
  [
    "a sum of quantiles",
    INGEST,
    `max by (model) (instance_model:${NAMESPACE}_kv_stream_lookup_latency`,
    `sum by (model) (instance_model:${NAMESPACE}_kv_stream_lookup_latency`,
    "sum_of_shares",
  ],
  ["a sum of ages", INGEST, "max (timestamp(", "sum (timestamp(", "sum_of_shares"],
  // rules
  [
    "a recording called after another quantile",
    RULES,
    `histogram_quantile(0.99, sum by (cluster, namespace, job, instance, model, le) (rate(${NAMESPACE}_kv_stream_event_latency`,
    `histogram_quantile(0.9, sum by (cluster, namespace, job, instance, model, le) (rate(${NAMESPACE}_kv_stream_event_latency`,
    "quantile_name",
  ],
  [
    "a recording called after another look-back",
    RULES,
    /(record: instance:process_cpu:ratio_rate5m\n\s+expr: .*)\[5m\]/,
    "$1[10m]",
    "rule_name",
  ],
  [
    "a share compared with per cents",
    RULES,
    "queue_utilization:ratio > 0.9",
    "queue_utilization:ratio > 90",
    "threshold_out_of_range",
  ],
  [
    "a unit written after a value that has one",
    RULES,
    "{{ $value | humanizeDuration }} old",
    "{{ $value | humanizeDuration }} s old",
    "rule_template",
  ],
  [
    "per cent after per cent",
    RULES,
    "{{ $value | humanizePercentage }} full",
    "{{ $value | humanizePercentage }} % full",
    "rule_template",
  ],
  [
    "a label that hides the series' own",
    RULES,
    "          component: configuration",
    "          component: configuration\n          job: x",
    "rule_label",
  ],
  ["a group that is evaluated rarely", RULES, "interval: 15s", "interval: 10m", "rule_group"],
  [
    "a label in an annotation that was aggregated away",
    RULES,
    "events per minute of {{ $labels.model }}",
    "events per minute of {{ $labels.pod }}",
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
    `instance_model:${NAMESPACE}_kv_stream_lookup_latency_seconds:p99_rate5m > 0.05`,
    `instance_model:${NAMESPACE}_kv_stream_lookup_latency_seconds:p99_rate5m > 0.5`,
    "threshold_outside_buckets",
  ],
  [
    "a count that shall be 0",
    RULES,
    `sum by (cluster, namespace, job, instance, model) (${NAMESPACE}_kv_zmq_connections_active) == 0`,
    `count by (cluster, namespace, job, instance, model) (${NAMESPACE}_kv_zmq_connections_active) == 0`,
    "never_true",
  ],
  [
    "a rank in an alert",
    RULES,
    `sum by (cluster, namespace, job, instance, model) (${NAMESPACE}_kv_zmq_connections_active) == 0`,
    `topk(1, sum by (cluster, namespace, job, instance, model) (${NAMESPACE}_kv_zmq_connections_active)) == 0`,
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
    "a link to a panel about something else",
    RULES,
    "/d/kvsync-overview?viewPanel=11",
    "/d/kvsync-overview?viewPanel=10",
    "panel_unrelated",
  ],
  [
    "a recording whose level lies",
    RULES,
    `record: instance_model:${NAMESPACE}_kv_stream_events:rate5m`,
    `record: model:${NAMESPACE}_kv_stream_events:rate5m`,
    "record_level",
  ],
  ["a group without an interval", RULES, "    interval: 1m\n", "", "rule_group"],
  [
    "what a recording computes, computed again",
    RULES,
    `expr: instance_lane:${NAMESPACE}_kv_stream_queue_utilization:ratio > 0.9`,
    `expr: (sum by (cluster, namespace, job, instance, lane) (${NAMESPACE}_kv_stream_queue_depth) / (sum by (cluster, namespace, job, instance, lane) (${NAMESPACE}_kv_stream_queue_capacity) > 0)) > 0.9`,
    "recorded_series_exists",
  ],
  ["a rule file that is no YAML", RULES, "groups:", "groups: [", "unreadable_file"],
  [
    "an alert whose test is gone",
    TESTS,
    /alertname: WorkerDown/g,
    "alertname: WorkerGone",
    "alert_without_test",
    RULES,
  ],
  ["a runbook without a section", DROPS, "## Mitigation", "## What to do", "alert_without_runbook", RULES],
  [
    "a runbook that prevents nothing",
    DROPS,
    /## Prevention\n[\s\S]*?\n## /,
    "## ",
    "alert_without_runbook",
    RULES,
  ],
  [
    "a runbook query that does not work",
    DROPS,
    `sum by (pod, reason) (rate(${NAMESPACE}_kv_events_dropped_total`,
    `sum by (pod, cause) (rate(${NAMESPACE}_kv_events_dropped_total`,
    "label_lost",
    RULES,
  ],
  [
    "a runbook section with nothing in it",
    DROPS,
    /## Impact\n[\s\S]*?\n## /,
    "## Impact\n\n## ",
    "alert_without_runbook",
    RULES,
  ],
  [
    "a runbook that sends to an alert that is gone",
    "docs/operations/runbooks/sync-daemon-down.md",
    "see HighMemoryUsage",
    "see HighMemoryUse",
    "dead_runbook",
    RULES,
  ],
  // configurations and pages
  ["a rule file that is not loaded", PROMETHEUS, "kvsync.rules.yaml", "kvsync.rule.yaml", "configuration"],
  ["a job of another name", PROMETHEUS, "job_name: kvsync-daemon", "job_name: kvsync", "configuration"],
  [
    "a job that rules ask for and nobody scrapes",
    RULES,
    'up{job="kvsync-daemon"}',
    'up{job="kvsync"}',
    "configuration",
    PROMETHEUS,
  ],
  ["another path of metrics", PROMETHEUS, "metrics_path: /metrics", "metrics_path: /metric", "configuration"],
  [
    "a scrape that is rarer than the rules",
    PROMETHEUS,
    "scrape_interval: 15s",
    "scrape_interval: 1m",
    "configuration",
  ],
  ["a component that goes nowhere", ALERTMANAGER, /index\|/g, "", "configuration"],
  [
    "an end that nobody is told of",
    ALERTMANAGER,
    "send_resolved: true",
    "send_resolved: false",
    "configuration",
  ],
  [
    "a secret in a file",
    ALERTMANAGER,
    "slack_api_url_file: /etc/alertmanager/secrets/slack-webhook-url",
    "slack_api_url: https://hooks.slack.com/services/T0/B0/x",
    "configuration",
  ],
  ["another folder than the import's", PROVIDERS, "folderUid: kvsync", "folderUid: kv", "configuration"],
  [
    "dashboards that may be edited",
    PROVIDERS,
    "allowUiUpdates: false",
    "allowUiUpdates: true",
    "configuration",
  ],
  [
    "a data source that scrapes otherwise",
    DATASOURCES,
    "timeInterval: 15s",
    "timeInterval: 5s",
    "configuration",
  ],
  ["a link to a data source that is not there", DATASOURCES, "uid: loki", "uid: logs", "configuration"],
  [
    "a metric without its section",
    "docs/generated/metrics.md",
    `### ${NAMESPACE}_kv_events_dropped_total`,
    `### ${NAMESPACE}_kv_events_drop_total`,
    "document_gap",
  ],
  [
    "an alert without its row",
    "docs/generated/alerts.md",
    "[KVEventDropRate]",
    "[KVEventDropRates]",
    "document_gap",
  ],
  [
    "a panel without its guide",
    "docs/generated/dashboards.md",
    /Dropped events/g,
    "Lost events",
    "document_gap",
  ],
  ["a panel that its picture lacks", PREVIEW, ">Dropped events<", "><", "document_gap"],
  ["a picture that breaks off", PREVIEW, "</svg>", "", "document_gap"],
  // dashboards
  [
    "another quantile under its legend",
    INGEST,
    `histogram_quantile(0.99, sum by (le) (rate(${NAMESPACE}_kv_stream_event_latency`,
    `histogram_quantile(0.5, sum by (le) (rate(${NAMESPACE}_kv_stream_event_latency`,
    "quantile_name",
  ],
  [
    "another quantile under its title",
    OVERVIEW,
    "histogram_quantile(0.99",
    "histogram_quantile(0.5",
    "quantile_name",
  ],
  [
    "another quantile in a description",
    INGEST,
    "Time that 99 % of messages wait less than",
    "Time that 95 % of messages wait less than",
    "quantile_name",
  ],
  [
    "engines counted once for each replica",
    OVERVIEW,
    `max by (model) (sum by (instance, model) (${NAMESPACE}_sync_indexer_contexts{`,
    `sum by (model) (sum by (instance, model) (${NAMESPACE}_sync_indexer_contexts{`,
    "replicas_summed",
  ],
  [
    "events counted once for each replica",
    OVERVIEW,
    "sum by (event_type) (max by (job, pod, model, event_type)",
    "sum by (event_type) (sum by (job, pod, model, event_type)",
    "replicas_summed",
  ],
  [
    "a recorded rate of messages counted once for each replica",
    INGEST,
    "sum by (model) (max by (job, model) (instance_model",
    "sum by (model) (sum by (job, model) (instance_model",
    "replicas_summed",
  ],
  [
    "a distribution of messages counted once for each replica",
    INGEST,
    "sum by (le) (max by (job, le)",
    "sum by (le) (sum by (job, le)",
    "replicas_summed",
  ],
  [
    "waiting messages counted once for each replica",
    INGEST,
    `max by (lane) (sum by (instance, lane) (${NAMESPACE}_kv_stream_queue_depth`,
    `sum by (lane) (sum by (instance, lane) (${NAMESPACE}_kv_stream_queue_depth`,
    "replicas_summed",
  ],
  [
    "failed replays of an engine counted once for each replica",
    ENGINES,
    `sum by (pod) (max by (job, pod, model) (sum by (job, instance, pod, model) (rate(${NAMESPACE}_kv_replay_requests_total`,
    `sum by (pod) (sum by (job, pod, model) (sum by (job, instance, pod, model) (rate(${NAMESPACE}_kv_replay_requests_total`,
    "replicas_summed",
  ],
  [
    "a rate per minute that is called one per second",
    RULES,
    "{{ end }} events per minute",
    "{{ end }} events per second",
    "rule_template",
  ],
  [
    "a rate per second in milli-units",
    RULES,
    '{{ with printf "60 * vector(%g)" $value | query }}{{ . | first | value | printf "%.1f" }}{{ end }} events',
    "{{ $value | humanize }} events",
    "rule_template",
  ],
  [
    "a count with one noun for one and many",
    RULES,
    "{{ if eq $value 1.0 }}engine{{ else }}engines{{ end }}",
    "engines",
    "rule_template",
  ],
  [
    "the fewest of something by its largest value",
    OVERVIEW,
    `"expr": "min ((sum by (job, instance) (${NAMESPACE}_kv_zmq`,
    `"expr": "max ((sum by (job, instance) (${NAMESPACE}_kv_zmq`,
    "order_word",
  ],
  [
    "the replica with the most by its smallest value",
    OVERVIEW,
    "max by (kind) (sum by (instance, kind)",
    "min by (kind) (sum by (instance, kind)",
    "order_word",
  ],
  // other programs in a shared Prometheus
  [
    "a recording of every process there is",
    RULES,
    'rate(process_cpu_seconds_total{job="kvsync-daemon"}[5m])',
    "rate(process_cpu_seconds_total[5m])",
    "unscoped_selector",
  ],
  [
    "an alert on the disks of every exporter",
    RULES,
    'node_filesystem_avail_bytes{job="node-exporter",',
    "node_filesystem_avail_bytes{",
    "unscoped_selector",
  ],
  ["an alert on pods of others", RULES, 'pod=~"kvsync-.+",phase=~', "phase=~", "unscoped_selector"],
  [
    "an alert on every Alertmanager",
    RULES,
    'rate(alertmanager_notifications_failed_total{job="alertmanager"}[5m])',
    "rate(alertmanager_notifications_failed_total[5m])",
    "unscoped_selector",
  ],
  // names in runbooks
  [
    "a setting in a runbook that is gone",
    CONNECTIONS,
    "curve.server_key_file",
    "curve.server_key",
    "unknown_setting",
  ],
  [
    "a variable in a runbook that is gone",
    DROPS,
    "AIBRIX_KV_EVENT_WORKERS",
    "AIBRIX_KV_EVENT_THREADS",
    "unknown_setting",
  ],
  [
    "a metric in a runbook's text that is gone",
    DROPS,
    "## Impact\n",
    `## Impact\n${NAMESPACE}_kv_drops_total.`,
    "unknown_metric",
  ],
  [
    "an alert in a runbook that is gone",
    "docs/operations/runbooks/lookup-fallbacks.md",
    "runbook of TokenizerUnavailable",
    "runbook of TokenizerMissing",
    "dead_runbook",
  ],
  ["an option that kubectl lacks", CONNECTIONS, "--prefix", "--with-pod", "unknown_option"],
  ["a subcommand that kubectl lacks", CONNECTIONS, "kubectl logs", "kubectl log", "unknown_option"],
  // queries for lines of the log
  [
    "an event in a command that is gone",
    CONNECTIONS,
    '.event == "engine_unreachable"',
    '.event == "engine_gone"',
    "unknown_log_event",
  ],
  [
    "an event in LogQL that is gone",
    CONNECTIONS,
    '| event="engine_unreachable"',
    '| event="engine_gone"',
    "unknown_log_event",
  ],
  ["a query without an event", CONNECTIONS, '| event="engine_unreachable"', "", "unknown_log_event"],
  [
    "a field in a command that is gone",
    CONNECTIONS,
    "endpoint, reason",
    "endpoint, cause",
    "unknown_log_field",
  ],
  ["a field in LogQL that is gone", RELOADS, 'source="source"', 'source="origin"', "unknown_log_field"],
  [
    "a word in a command that is none of its field's",
    RELOADS,
    '.source == "file"',
    '.source == "disk"',
    "unknown_log_field",
  ],
  [
    "a word in LogQL that is none of its field's",
    RELOADS,
    '| source="file"',
    '| source="disk"',
    "unknown_log_field",
  ],
  ["an event that no panel shows", LOGS, /stream_moved\|/g, "", "log_event_without_panel"],
  ["a panel with an event that is gone", LOGS, "stream_moved|", "stream_stolen|", "unknown_log_event"],
  ["a log over a fixed range", LOGS, "[$__auto]", "[5m]", "panel_range"],
  ["a log of one data source", LOGS, '"uid": "${datasource}"', '"uid": "loki-1"', "panel_datasource"],
  [
    "a log without a choice of data source",
    LOGS,
    '"query": "loki"',
    '"query": "tempo"',
    "dashboard_variable",
  ],
  [
    "a dashboard of the log that can be edited",
    LOGS,
    '"editable": false',
    '"editable": true',
    "dashboard_editable",
  ],
  // order
  ["the youngest process by its greatest age", SERVICE, "min (time()", "max (time()", "order_word"],
  [
    "the oldest heartbeat by the smallest age",
    INGEST,
    `max (timestamp(${NAMESPACE}_kv_stream_worker_heartbeat`,
    `min (timestamp(${NAMESPACE}_kv_stream_worker_heartbeat`,
    "order_word",
  ],
  [
    "the busiest worker in a text about the smallest value",
    RULES,
    `max by (cluster, namespace, job, instance) (${NAMESPACE}_kv_stream_worker_utilization_ratio) -`,
    `min by (cluster, namespace, job, instance) (${NAMESPACE}_kv_stream_worker_utilization_ratio) -`,
    "order_word",
  ],
  [
    "a step of a runbook that asks for the longest and shows a sum",
    DROPS,
    /1\. Which reason, which engine\?/,
    "1. Which engine has the longest list of reasons?",
    "order_word",
    RULES,
  ],
  // buckets
  [
    "a threshold between two distant bucket bounds",
    RULES,
    `instance_model:${NAMESPACE}_kv_stream_lookup_latency_seconds:p99_rate5m > 0.05`,
    `instance_model:${NAMESPACE}_kv_stream_lookup_latency_seconds:p99_rate5m > 0.000001`,
    "coarse_buckets",
  ],
  // ports, hosts and numbers
  [
    "a container of a name that the collector does not know",
    MANIFESTS,
    "- name: daemon\n          image",
    "- name: kvsync\n          image",
    "deployment",
  ],
  ["another port of the container", MANIFESTS, "containerPort: 7070", "containerPort: 7071", "deployment"],
  ["another port of the Service", MANIFESTS, "port: 7070, targetPort", "port: 80, targetPort", "deployment"],
  ["a Service that leads to no port", MANIFESTS, "targetPort: http", "targetPort: web", "deployment"],
  [
    "a setting of another port",
    MANIFESTS,
    "host: 0.0.0.0\n",
    "host: 0.0.0.0\n      port: 8080\n",
    "deployment",
  ],
  [
    "a probe of another port",
    MANIFESTS,
    "path: /livez, port: http",
    "path: /livez, port: health",
    "deployment",
  ],
  [
    "a sibling at another host",
    MANIFESTS,
    "warm_from: http://kvsync-daemon:",
    "warm_from: http://kvsync:",
    "deployment",
  ],
  [
    "an annotation that names another port",
    MANIFESTS,
    "    metadata:\n      labels: { app",
    '    metadata:\n      annotations: { prometheus.io/port: "9090" }\n      labels: { app',
    "deployment",
  ],
  ["a policy that opens another port", POLICY, "port: http", "port: metrics", "deployment"],
  ["a scrape of another port", PROMETHEUS, "regex: http\n", "regex: metrics\n", "deployment"],
  [
    "a scrape of pods with another label",
    PROMETHEUS,
    "app.kubernetes.io/name=kvsync-daemon",
    "app.kubernetes.io/name=kvsync",
    "deployment",
  ],
  [
    "an Alertmanager that is not scraped",
    PROMETHEUS,
    /(?<=job_name: alertmanager[\s\S]*)alertmanager:9093/,
    "alerts:9093",
    "deployment",
  ],
  ["a ServiceMonitor for another port", MONITOR, "port: http", "port: metrics", "deployment"],
  [
    "a ServiceMonitor that selects no Service",
    MONITOR,
    /(matchLabels:\n +app\.kubernetes\.io\/name: )kvsync-daemon/,
    "$1kvsync",
    "deployment",
  ],
  [
    "a page with another scrape interval",
    MONITORING,
    "run every 15 seconds",
    "run every 30 seconds",
    "deployment",
  ],
  [
    "a page with another pause of notifications",
    MONITORING,
    "Slack after 30 seconds",
    "Slack after 60 seconds",
    "deployment",
  ],
  [
    "a page with another port of the daemon",
    "docs/operations/troubleshooting.md",
    "127.0.0.1:7070/health",
    "127.0.0.1:8080/health",
    "deployment",
  ],
  [
    "a page with another default",
    "docs/operations/capacity.md",
    "(200,000 by default)",
    "(20,000 by default)",
    "deployment",
  ],
  [
    "a table with another default",
    "docs/operations/security.md",
    "`callers.connections_per_address` | 512",
    "`callers.connections_per_address` | 1024",
    "deployment",
  ],
  [
    "a runbook with another default",
    "docs/operations/runbooks/worker-down.md",
    "(30 by default)",
    "(60 by default)",
    "deployment",
  ],
  // values of labels
  [
    "a decision that no lookup has",
    OVERVIEW,
    'decision=\\"exact\\"',
    'decision=\\"exakt\\"',
    "unknown_label_value",
  ],
  [
    "a value that a recorded series never has",
    INGEST,
    `instance_lane:${NAMESPACE}_kv_stream_queue_utilization:ratio{`,
    `instance_lane:${NAMESPACE}_kv_stream_queue_utilization:ratio{lane=\\"replays\\",`,
    "unknown_label_value",
  ],
  [
    "a route that nothing names",
    RULES,
    'route="/api/v1/match"',
    'route="/api/v1/matches"',
    "unknown_label_value",
  ],
  ["a status that no answer has", RULES, 'status=~"5.."', 'status=~"6.."', "pattern_matches_nothing"],
  [
    "a health check that is gone",
    RULES,
    'check="snapshot_store"',
    'check="snapshot_folder"',
    "unknown_label_value",
  ],
  [
    "a value in the step of a runbook that never occurs",
    LATENCY,
    'operation="match"',
    'operation="lookup"',
    "unknown_label_value",
    RULES,
  ],
  [
    "degraded answers shown as exact ones",
    OVERVIEW,
    'decision=\\"exact\\"',
    'decision=\\"degraded\\"',
    "value_words",
  ],
  [
    "waiting requests shown as running ones",
    PICKER,
    'kind=\\"running\\"',
    'kind=\\"waiting\\"',
    "value_words",
  ],
  [
    "replays that ended well shown as failed ones",
    ENGINES,
    /status=\\"failed\\"/g,
    'status=\\"completed\\"',
    "value_words",
  ],
  [
    "picks by everything but load shown as by load",
    PICKER,
    'decision=\\"load\\"',
    'decision!=\\"load\\"',
    "value_words",
  ],
  [
    "streams that are unknown left out of those that are not exact",
    ENGINES,
    "partial|stale|unknown",
    "partial|stale",
    "value_words",
  ],
  ["a drop that loses nothing counted as a loss", ENGINES, "|late_replay", "", "value_words"],
  [
    "a column of exact streams called not exact",
    ENGINES,
    '"Value #A": "Streams exact"',
    '"Value #A": "Streams not exact"',
    "value_words",
  ],
  [
    "stores counted as lookups in the step of a runbook",
    LATENCY,
    'operation="match"',
    'operation="store"',
    "value_words",
  ],
  // quotients
  [
    "a limit divided by what it limits",
    OVERVIEW,
    new RegExp(
      String.raw`sum by \(instance\) \((${NAMESPACE}_sync_indexer_contexts)(\{[^}]*\})\) / \(sum by \(instance\) \((${NAMESPACE}_sync_indexer_contexts_limit)\{`,
    ),
    "sum by (instance) ($3$2) / (sum by (instance) ($1{",
    "ratio_parts",
  ],
  [
    "a mean by the count of another histogram",
    OVERVIEW,
    `(rate(${NAMESPACE}_sync_indexer_match_percentage_count{`,
    `(rate(${NAMESPACE}_prefix_cache_routing_latency_seconds_count{`,
    "ratio_parts",
  ],
  [
    "a share of the others in place of all",
    PICKER,
    new RegExp(String.raw`(outcome=\\"differ\\"\}.*? / .*?)\}\[`),
    '$1,outcome=\\"agree\\"}[',
    "ratio_parts",
  ],
  // time, scale and states
  [
    "a rate of an hour ago",
    OVERVIEW,
    new RegExp(String.raw`(rate\(${NAMESPACE}_kv_events_received_total\{[^}]*\}\[\$__rate_interval\])\)`),
    "$1 offset 1h)",
    "outside_subset",
  ],
  [
    "a rate of the whole zoom",
    OVERVIEW,
    new RegExp(String.raw`(rate\(${NAMESPACE}_kv_events_received_total\{[^}]*\}\[\$__)rate_interval\]`),
    "$1range]",
    "panel_range",
  ],
  [
    "lookups per minute under the unit of a second",
    OVERVIEW,
    new RegExp(
      String.raw`("expr": "sum \(rate\(${NAMESPACE}_prefix_cache_lookups_total\{[^}]*\}\[\$__rate_interval\]\)\))`,
    ),
    "$1 * 60",
    "scaled",
  ],
  [
    "a text of minutes over values of seconds",
    OVERVIEW,
    "Lookups answered per second",
    "Lookups answered per minute",
    "panel_unit",
  ],
  ["events with the unit of messages", OVERVIEW, '"unit": "ops"', '"unit": "suffix: msg/s"', "panel_unit"],
  [
    "two states with each other's names",
    INGEST,
    (text) =>
      text
        .replace('"text": "critical"', '"text": "OVER"')
        .replace('"text": "overloaded"', '"text": "critical"')
        .replace('"OVER"', '"overloaded"'),
    "",
    "panel_states",
  ],
  // legends and titles
  [
    "available replicas shown as wanted ones",
    SERVICE,
    (text) =>
      text
        .replace("{{deployment}} asked for", "{{deployment}} AVAILABLE")
        .replace("{{deployment}} available", "{{deployment}} asked for")
        .replace("AVAILABLE", "available"),
    "",
    "panel_exchanged",
  ],
  [
    "failed notifications shown as attempted ones",
    SERVICE,
    (text) =>
      text
        .replace("{{integration}} attempted", "{{integration}} FAILED")
        .replace("{{integration}} failed", "{{integration}} attempted")
        .replace("FAILED", "failed"),
    "",
    "panel_exchanged",
  ],
  [
    "lines of lanes under a title of workers",
    INGEST,
    '"title": "Rate by lane"',
    '"title": "Rate by worker"',
    "panel_by",
  ],
  ["a column of six hours that is called one of an hour", ENGINES, /\[1h\]/g, "[6h]", "panel_range"],
  [
    "another per cent in the words of a description",
    OVERVIEW,
    "95 % of gaps are smaller",
    "99 % of gaps are smaller",
    "quantile_name",
  ],
  [
    "a quantile in words in a title",
    OVERVIEW,
    "Processing latency p99",
    "Processing latency, 95th percentile",
    "quantile_name",
  ],
  [
    "another quantile in the text of an alert",
    RULES,
    "One event in a hundred",
    "One event in twenty",
    "quantile_name",
  ],
  [
    "two panels with each other's queries",
    OVERVIEW,
    exchanged("Events received", "Event processing rate"),
    "",
    "panel_exchanged",
  ],
  [
    "refusals at the queue shown as failures",
    INGEST,
    exchanged("Rejected messages", "Failed messages"),
    "",
    "panel_exchanged",
  ],
  [
    "engines wanted shown as engines refused",
    ENGINES,
    exchanged("Engines wanted", "Engines refused"),
    "",
    "panel_exchanged",
  ],
  [
    "a route for a component that no alert has",
    ALERTMANAGER,
    'component=~"configuration|',
    'component=~"configurations|configuration|',
    "configuration",
  ],
  ["a legend for several lines", OVERVIEW, '"{{model}}"', '"model"', "legend_ambiguous"],
  [
    "a legend that tells some lines apart",
    INGEST,
    '"{{instance}} {{worker}}"',
    '"{{instance}}"',
    "legend_ambiguous",
  ],
  ["two lines of one name", INGEST, '"legendFormat": "p99.9"', '"legendFormat": "p99"', "legend_ambiguous"],
  ["two queries of one letter", INGEST, '"refId": "B"', '"refId": "A"', "legend_ambiguous"],
  ["a query without a legend", OVERVIEW, '"{{model}}"', '""', "legend_label"],
  ["a hidden legend", OVERVIEW, '"showLegend": true', '"showLegend": false', "legend_label"],
  ["a hidden query", OVERVIEW, '"refId": "A"', '"refId": "A", "hide": true', "panel_targets"],
  ["a table over time", ENGINES, '"instant": true', '"instant": false', "panel_range"],
  [
    "a choice that is forgotten",
    OVERVIEW,
    new RegExp(String.raw`(${NAMESPACE}_kv_events_received_total\{[^}]*),model=~\\"\$model\\"`),
    "$1",
    "panel_scope",
  ],
  [
    "a choice turned around",
    OVERVIEW,
    new RegExp(String.raw`(${NAMESPACE}_kv_events_received_total\{[^}]*model)=~`),
    "$1!~",
    "panel_scope",
  ],
  [
    "several choices taken for one",
    OVERVIEW,
    new RegExp(String.raw`(${NAMESPACE}_kv_events_received_total\{[^}]*model)=~`),
    "$1=",
    "panel_scope",
  ],
  ["a choice of something else", ENGINES, 'pod=~\\"$pod\\"', 'pod=~\\"$model\\"', "panel_scope"],
  ["good in red", INGEST, '"color": "red"', '"color": "green"', "panel_threshold"],
  ["a panel that Grafana no longer has", OVERVIEW, '"type": "stat"', '"type": "singlestat"', "schema"],
  [
    "two panels of one name",
    OVERVIEW,
    '"title": "Connected streams"',
    '"title": "Configuration"',
    "panel_text",
  ],
  ["a row without a name", OVERVIEW, '"title": "Index",', '"title": "",', "panel_text"],
  ["a normal that says nothing", OVERVIEW, "Normal: valid.", "Normal: ", "panel_text"],
  ["a hole in the grid", OVERVIEW, '"y": 5', '"y": 500', "grid"],
  ["an annotation that is off", OVERVIEW, '"enable": true', '"enable": false', "dashboard_annotation"],
  [
    "an annotation of another data source",
    OVERVIEW,
    /("annotations": \{\s+"list": \[\s+\{[\s\S]*?"uid": )"\$\{datasource\}"/,
    '$1"prometheus"',
    "dashboard_annotation",
  ],
  ["an annotation's tag that is not there", OVERVIEW, "severity,instance", "severity,pod", "legend_label"],
  ["a dashboard that stands still", OVERVIEW, '"refresh": "10s"', '"refresh": ""', "dashboard_refresh"],
  ["links that forget the time", OVERVIEW, '"keepTime": true', '"keepTime": false', "dead_link"],
  ["links that forget the choices", OVERVIEW, '"includeVars": true', '"includeVars": false', "dead_link"],
  [
    "a variable that shows what was not chosen",
    OVERVIEW,
    `label_values(${NAMESPACE}_kv_build_info{job=~\\"$job\\"}, instance)`,
    `label_values(${NAMESPACE}_kv_build_info, instance)`,
    "dashboard_variable",
  ],
  [
    "a variable that asks something else than it says",
    OVERVIEW,
    `"definition": "label_values(${NAMESPACE}_kv_build_info, job)"`,
    '"definition": "label_values(up, job)"',
    "dashboard_variable",
  ],
  [
    "a variable of another data source",
    OVERVIEW,
    /("name": "job",[\s\S]*?"uid": )"\$\{datasource\}"/,
    '$1"prometheus"',
    "dashboard_variable",
  ],
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
    new RegExp(String.raw`(${NAMESPACE}_kv_events_received_total\{[^}]*\})\[\$__rate_interval\]`),
    "$1[5m]",
    "panel_range",
  ],
  ["panels over each other", OVERVIEW, /"x": 12,\n {8}"y": 33/, '"x": 10,\n        "y": 33', "grid"],
  ["a panel past the edge", OVERVIEW, /"x": 12,\n {8}"y": 33/, '"x": 14,\n        "y": 33', "grid"],
  [
    "a row that stands open with too many panels",
    OVERVIEW,
    (text) => {
      const board = JSON.parse(text) as { panels: PanelJson[] };
      return JSON.stringify({ ...board, panels: allPanels(board) });
    },
    "",
    "panel_budget",
  ],
  [
    "a panel that reads as broken when nothing happens",
    OVERVIEW,
    '"noValue": "none"',
    '"noValue": ""',
    "panel_onward",
  ],
  [
    "a rate that reads as none while nothing happens",
    OVERVIEW,
    '"noValue": "0"',
    '"noValue": "none"',
    "panel_onward",
  ],
  [
    "a rate that reads as 0 while nothing is scraped",
    INGEST,
    '"noValue": "not scraped"',
    '"noValue": "0"',
    "panel_onward",
  ],
  [
    "a line for each of a thousand engines",
    ENGINES,
    /topk\(20, (sum by \(pod\) .*)\)"/,
    '$1"',
    "panel_crowded",
  ],
  [
    "a latency whose traces no panel asks for",
    OVERVIEW,
    /"exemplar": true/g,
    '"exemplar": false',
    "exemplars_unseen",
    "catalogue",
  ],
  [
    "a line for each engine in a timeline",
    ENGINES,
    /topk\(20, (max by \(pod\) .*)\)"/,
    '$1"',
    "panel_crowded",
  ],
  [
    "a screen that begins with another panel than the firing alerts",
    OVERVIEW,
    "count (ALERTS{",
    "count (ALERTS_FOR_STATE{",
    "first_screen",
  ],
  [
    "a line of a model that does not lead to the model",
    OVERVIEW,
    "var-model=${__field.labels.model}",
    "var-model=${__field.labels.pod}",
    "panel_drill_down",
  ],
  [
    "a row of an engine that does not lead to the engine",
    ENGINES,
    "var-pod=${__value.raw}",
    "var-pod=${__value.text}",
    "panel_drill_down",
  ],
  [
    "a panel of the log that asks a fixed source",
    SERVICE,
    '"uid": "${loki}"',
    '"uid": "loki"',
    "panel_datasource",
  ],
  [
    "a panel of the log that compares a level that no line has",
    SERVICE,
    "warn|error|fatal",
    "warning|error|fatal",
    "unknown_log_field",
  ],
  [
    "a panel without a way to its logs",
    OVERVIEW,
    "%22datasource%22%3A%22loki%22",
    "%22datasource%22%3A%22logs%22",
    "panel_onward",
  ],
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
  [
    "a line drawn elsewhere than the alert fires",
    INGEST,
    /"value": 0.05,/,
    '"value": 0.04,',
    "panel_threshold",
    RULES,
  ],
  [
    "a panel that does not lead to its alert's runbook",
    OVERVIEW,
    "kv-event-drop-rate.md",
    "kv-events-dropped.md",
    "runbook_unreachable",
    RULES,
  ],
  ["an editable dashboard", OVERVIEW, '"editable": false', '"editable": true', "dashboard_editable"],
  ["another uid", OVERVIEW, '"uid": "kvsync-overview"', '"uid": "kvsync overview"', "dashboard_uid"],
  ["a variable that is not refreshed", OVERVIEW, '"refresh": 2', '"refresh": 1', "dashboard_variable"],
  [
    "a variable that asks for a label that is not there",
    OVERVIEW,
    `label_values(${NAMESPACE}_kv_build_info, job)`,
    `label_values(${NAMESPACE}_kv_build_info, region)`,
    "unknown_label",
  ],
  [
    "a drill-down to a dashboard that is gone",
    ENGINES,
    "/d/kvsync-engines?",
    "/d/kvsync-engine?",
    "dead_link",
  ],
  ["a drill-down that sets an unknown variable", ENGINES, "&var-pod=", "&var-engine=", "dead_link"],
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

function plant(path: string, from: Mistake[2], to: string): Artefacts {
  const where = FILES.has(path) ? "files" : "surroundings";
  const text = INPUT[where].get(path) ?? "";
  const planted = replaced(text, from, to);
  expect(planted, `nothing in ${path} to plant this in`).not.toBe(text);
  return { ...INPUT, [where]: new Map([...INPUT[where], [path, planted]]) };
}

function replaced(text: string, from: Mistake[2], to: string): string {
  if (typeof from === "function") return from(text);
  return typeof from === "string" ? text.replace(from, () => to) : text.replace(from, to);
}

for (const [what, path, from, to, code, saidAt] of MISTAKES)
  test(`${what} is found (${checksOf(code, saidAt ?? path) || code})`, () => {
    const problems = checkKvsync(plant(path, from, to));
    const found = problems.filter((problem) => problem.code === code);
    expect(found, describeProblems(problems)).not.toEqual([]);
    expect(found.map(({ where }) => where.split(":")[0])).toContain(saidAt ?? path);
  });

test("a family of any panel replaced by another of its kind, unit and labels is found (D21)", () => {
  const checkedRules = checkRules(INPUT);
  const missed: string[] = [];
  const plants = familyPlants(checkedRules.names);
  expect(plants.length).toBeGreaterThan(300);
  // One check takes a tenth of a second.
  for (const [path, title, name, other] of plants.filter((_, i) => i % 3 === 0)) {
    const planted = plant(path, asked(title, new RegExp(String.raw`\b${name}\b`), other), "");
    const found = checkPanelTexts(planted, checkedRules).map(({ code }) => code);
    if (!found.includes("panel_family")) missed.push(`${path}: ${title}: ${name}, ${other}`);
  }
  expect(missed).toEqual([]);
}, 60_000);

/** Replacements in the first query of each panel. */
function familyPlants(
  names: ReturnType<typeof checkRules>["names"],
): (readonly [path: string, title: string, name: string, other: string])[] {
  const keyOf = (name: string): string => {
    const { nature, measure, labels } = names.get(name) ?? { nature: name, measure: "", labels: new Map() };
    return JSON.stringify([nature, measure, [...labels.keys()].sort()]);
  };
  return [OVERVIEW, ENGINES, INGEST, SERVICE, PICKER].flatMap((path) =>
    allPanels(JSON.parse(FILES.get(path) ?? "") as DashboardJson).flatMap(({ title = "", targets = [] }) => {
      const own = (targets[0]?.expr?.match(/[A-Za-z_:][\w:]*/g) ?? []).filter((name) => names.has(name));
      return [...new Set(own)].flatMap((name) =>
        [...names.keys()]
          .filter((other) => !name.includes(":") && !other.includes(":") && !own.includes(other))
          .filter((other) => keyOf(other) === keyOf(name))
          .map((other) => [path, title, name, other] as const),
      );
    }),
  );
}

test("any two panels of one kind and unit with each other's queries are found (D12)", () => {
  const checkedRules = checkRules(INPUT);
  const missed: string[] = [];
  let pairs = 0;
  for (const path of [OVERVIEW, ENGINES, INGEST, SERVICE]) {
    const shown = allPanels(JSON.parse(FILES.get(path) ?? "") as DashboardJson).filter(
      ({ type, datasource }) => type !== "row" && datasource?.uid !== CHOSEN_LOG,
    );
    for (const [i, one] of shown.entries())
      for (const other of shown.slice(i + 1)) {
        if (one.type !== other.type || one.fieldConfig?.defaults?.unit !== other.fieldConfig?.defaults?.unit)
          continue;
        pairs += 1;
        const planted = plant(path, exchanged(one.title ?? "", other.title ?? ""), "");
        const problems = checkPanelTexts(planted, checkedRules);
        if (problems.length === 0) missed.push(`${path}: ${one.title ?? ""}, ${other.title ?? ""}`);
      }
  }
  expect(missed).toEqual([]);
  expect(pairs).toBeGreaterThan(300);
});

/** Each matcher of one value of a closed label, in queries of panels whose lines do not show the label, with the other values. */
function* otherValues(): Generator<readonly [path: string, from: string, matcher: string, other: string]> {
  const { names } = checkRules(INPUT);
  const matchers = /([a-z_]\w*)\{([^}]*)\}/g;
  for (const path of [OVERVIEW, ENGINES, INGEST, SERVICE, PICKER])
    for (const { targets = [], datasource } of allPanels(JSON.parse(FILES.get(path) ?? "") as DashboardJson))
      for (const { expr = "", legendFormat = "" } of datasource?.uid === CHOSEN_LOG ? [] : targets)
        for (const [, name = "", inside = ""] of expr.matchAll(matchers))
          for (const [matcher, label = "", value = ""] of inside.matchAll(/(\w+)="([^"$]*)"/g)) {
            const known = names.get(name)?.labels.get(label) ?? [];
            if ("named" in known || legendFormat.includes(`{{${label}}}`)) continue;
            for (const other of known.filter((one) => one !== value))
              yield [path, expr, matcher, matcher.replace(`"${value}"`, `"${other}"`)];
          }
}

test("every other value of a label in the query of a panel is found (D18)", () => {
  const checkedRules = checkRules(INPUT);
  const missed: string[] = [];
  let planted = 0;
  for (const [path, expr, matcher, other] of otherValues()) {
    planted += 1;
    const [from, to] = [expr, expr.replaceAll(matcher, other)].map((text) => JSON.stringify(text));
    const text = (FILES.get(path) ?? "").replace(from ?? "", () => to ?? "");
    const problems = checkValueWords({ ...INPUT, files: new Map([[path, text]]) }, checkedRules);
    if (problems.length === 0) missed.push(`${path}: ${matcher} as ${other} in ${expr}`);
  }
  expect(missed).toEqual([]);
  expect(planted).toBeGreaterThan(70);
});

/** A metric that is in the catalogue, and whose zero is a fact. No code has a handle on it. */
const FORGOTTEN = counter({
  name: "kv_forgotten_total",
  help: "Events that nothing counts.",
  unit: "none",
  labels: { reason: ["one", "another"] },
  preset: "zero is a fact",
  why: "A planted mistake.",
});
/** The same without series from the start. */
const ABSENT = { ...FORGOTTEN, name: `${NAMESPACE}_kv_absent_total`, preset: "absent until known" } as const;

/** The scrape of a process that makes every family move except these. */
async function scrapeWithout(
  unmoved: readonly string[],
  catalogue: readonly MetricDefinition[] = CATALOGUE,
): Promise<string> {
  const exposition = new Exposition(catalogue);
  const slots = new MetricSlots(catalogue, "test", exposition.accept.bind(exposition));
  for (const definition of catalogue) {
    if (unmoved.includes(definition.name)) continue;
    const labels = Object.fromEntries(
      Object.entries(definition.labels).map(([label, domain]) => [
        label,
        "maxValues" in domain ? "any" : (domain[0] ?? ""),
      ]),
    );
    if (definition.kind === "counter") slots.counter(definition, labels).inc();
    else if (definition.kind === "gauge") slots.gauge(definition, labels).set(1);
    else slots.histogram(definition, labels).observe(1);
  }
  return exposition.scrape();
}

/** A mistake in what a process emits: what it is, the family, the catalogue and the scrape with it, and what must be reported. */
const SCRAPE_MISTAKES: readonly (readonly [
  what: string,
  family: string,
  planted: () => Promise<readonly [readonly MetricDefinition[], string]>,
  code: ProblemCode,
])[] = [
  [
    "a metric that is preset and that no code emits",
    FORGOTTEN.name,
    async () => {
      const catalogue = [...CATALOGUE, FORGOTTEN];
      const text = await scrapeWithout([FORGOTTEN.name], catalogue);
      // What the preset alone exports.
      expect(text).toContain(`${FORGOTTEN.name}{reason="one"} 0`);
      return [catalogue, text];
    },
    "metric_unmoved",
  ],
  [
    "a metric that is not preset and that no code emits",
    ABSENT.name,
    async () => {
      const catalogue = [...CATALOGUE, ABSENT];
      return [catalogue, await scrapeWithout([ABSENT.name], catalogue)];
    },
    "metric_not_emitted",
  ],
  [
    "a metric that has another kind in the scrape",
    FORGOTTEN.name,
    async () => {
      const catalogue = [...CATALOGUE, FORGOTTEN];
      const text = await scrapeWithout([], catalogue);
      return [catalogue, text.replace(`TYPE ${FORGOTTEN.name} counter`, `TYPE ${FORGOTTEN.name} gauge`)];
    },
    "metric_not_emitted",
  ],
  [
    "a label in the scrape that the catalogue lacks",
    FORGOTTEN.name,
    async () => [
      [...CATALOGUE, { ...FORGOTTEN, labels: {} }],
      await scrapeWithout([], [...CATALOGUE, FORGOTTEN]),
    ],
    "metric_labels",
  ],
  [
    "a label value in the scrape that is not listed",
    FORGOTTEN.name,
    async () => [
      [...CATALOGUE, { ...FORGOTTEN, labels: { reason: ["one"] } }],
      await scrapeWithout([], [...CATALOGUE, FORGOTTEN]),
    ],
    "metric_label_value",
  ],
  [
    "a metric in the scrape that the catalogue lacks",
    FORGOTTEN.name,
    async () => [CATALOGUE, await scrapeWithout([], [...CATALOGUE, FORGOTTEN])],
    "metric_undeclared",
  ],
];

test("a scrape in which every family moves has no problem", async () => {
  expect(describeProblems(checkScrapes(CATALOGUE, NAMESPACE, [await scrapeWithout([])]))).toBe("");
});

for (const [what, family, planted, code] of SCRAPE_MISTAKES)
  test(`${what} is found (${checksOf(code, "")})`, async () => {
    const [catalogue, text] = await planted();
    const problems = checkScrapes(catalogue, NAMESPACE, [text]);
    // Nothing else is said.
    expect(problems.map((problem) => [problem.where, problem.code])).toEqual([[family, code]]);
  });

test("a family that moves in one of several scrapes has moved", async () => {
  const name = CATALOGUE[0]?.name ?? "";
  const scrapes = [await scrapeWithout([name]), await scrapeWithout([])];
  expect(describeProblems(checkScrapes(CATALOGUE, NAMESPACE, scrapes))).toBe("");
  expect(checkScrapes(CATALOGUE, NAMESPACE, []).length).toBeGreaterThanOrEqual(CATALOGUE.length);
});

test("every numbered check finds a planted mistake", () => {
  const files = [
    "expression-shape",
    "check-rules",
    "check-dashboards",
    "check-panels",
    "check-panel-texts",
    "check-normal-ranges",
    "check-value-words",
    "check-configurations",
    "check-scopes",
    "../kvsync/proof/check-runbook-names",
    "../kvsync/proof/check-deployment",
    "check-scrapes",
  ];
  const numbered = files.flatMap((file) => {
    const [header = ""] = readFileSync(new URL(`${file}.ts`, import.meta.url), "utf8").split("*/");
    return [...header.matchAll(/^ \* {2}([A-Z]\d+) /gm)].map(([, number = ""]) => number);
  });
  const found = [
    ...MISTAKES.flatMap(([, path, , , code, saidAt]) => checksOf(code, saidAt ?? path).split(", ")),
    ...SCRAPE_MISTAKES.map(([, , , code]) => checksOf(code, "")),
  ];
  expect(numbered.length).toBeGreaterThan(25);
  expect(numbered.filter((number) => !found.includes(number))).toEqual([]);
});

test("the table of planted mistakes lists each with the check that finds it", async () => {
  const rows = [
    ...MISTAKES.map(([what, path, , , code, saidAt]) => [what, saidAt ?? path, code] as const),
    ...SCRAPE_MISTAKES.map(([what, , , code]) => [what, "/metrics", code] as const),
  ];
  const table = [
    "# Planted mistakes",
    "",
    "`packages/observability/src/proof/check-all.mutation.test.ts` plants each mistake into the generated files or a scrape and expects its",
    "check to find it. Renew this page with `npx vitest run -u` there.",
    "",
    `${rows.length} mistakes, ${new Set(rows.map(([, , code]) => code)).size} checks.`,
    "",
    "| mistake | reported at | check |",
    "| --- | --- | --- |",
    ...rows.map(([what, path, code]) => `| ${what} | \`${path}\` | \`${code}\` |`),
    "",
  ].join("\n");
  await expect(table).toMatchFileSnapshot("../../../../docs/generated/planted-mistakes.md");
});

test("a metric that is renamed in the catalogue alone is found in every file that still has its old name", () => {
  const renamed = CATALOGUE.map(
    (family): MetricDefinition =>
      family.kind === "counter" && family.name === INGEST_METRICS.eventsDropped.name
        ? { ...family, name: `${NAMESPACE}_kv_events_lost_total` }
        : family,
  );
  const problems = checkKvsync({ ...INPUT, project: { ...KVSYNC, families: renamed } });
  const places = problems
    .filter(({ code }) => code === "unknown_metric")
    .map(({ where }) => where.split(":")[0]);
  expect(new Set(places)).toEqual(new Set([RULES, OVERVIEW, ENGINES]));
  expect(problems.map(({ code }) => code)).toContain("metric_without_panel");
});

test("a label that is renamed in the catalogue alone is found", () => {
  const renamed = CATALOGUE.map((family) =>
    family.name === `${NAMESPACE}_kv_stream_queue_depth`
      ? { ...family, labels: { queue: ["live"] } }
      : family,
  );
  const problems = checkKvsync({ ...INPUT, project: { ...KVSYNC, families: renamed } });
  expect(problems.map(({ code }) => code)).toContain("label_lost");
});

test("a metric that nobody shows is found (C1)", () => {
  const secret = {
    kind: "gauge",
    name: `${NAMESPACE}_kv_secret`,
    unit: "none",
    labels: {},
    help: "x",
    preset: "absent until known",
    why: "x",
  } as const;
  const problems = checkKvsync({ ...INPUT, project: { ...KVSYNC, families: [...CATALOGUE, secret] } });
  expect(problems.map(({ code, message }) => [code, message])).toEqual([
    [
      "metric_without_panel",
      `${NAMESPACE}_kv_secret is on no panel: expected a query that reads it in a row of a dashboard`,
    ],
    ["document_gap", `lacks ### ${NAMESPACE}_kv_secret`],
  ]);
});

test("a recorded series that nobody reads is found (C1)", () => {
  const rule =
    '\n      - record: instance:process_cpu_minutes:ratio\n        expr: sum by (cluster, namespace, job, instance) (rate(process_cpu_seconds_total{job="kvsync-daemon"}[10m]))';
  const files = plant(RULES, "    rules:", `    rules:${rule}`);
  const problems = checkKvsync(files);
  expect(problems.map(({ code }) => code)).toContain("recording_unused");
});
