/**
 * Examples of the findings in PromQL text. Families are made here, so that the catalogue may
 * change.
 */
import { expect, test } from "vitest";

import { secondsOf } from "../duration.ts";
import { exposedNames, type KnownFamily } from "../documents/exposed-names.ts";
import { shapeOf } from "./expression-shape.ts";
import { plainPromql } from "./promql-tree.ts";

const FAMILIES: readonly KnownFamily[] = [
  {
    kind: "counter",
    name: "x_events_total",
    unit: "none",
    labels: { type: ["stored", "removed"], pod: { maxValues: 9 } },
  },
  { kind: "counter", name: "x_read_bytes_total", unit: "bytes", labels: { pod: { maxValues: 9 } } },
  { kind: "gauge", name: "x_depth", unit: "none", labels: { pod: { maxValues: 9 } } },
  { kind: "gauge", name: "x_depth_max", unit: "none", labels: { pod: { maxValues: 9 } } },
  { kind: "histogram", name: "x_hold_seconds", unit: "seconds", labels: {}, buckets: [0.1, 1] },
  { kind: "gauge", name: "x_start_time_seconds", unit: "timestamp", labels: {} },
  {
    kind: "histogram",
    name: "x_wait_seconds",
    unit: "seconds",
    labels: { pod: { maxValues: 9 } },
    buckets: [0.1, 1],
  },
];
const NAMES = exposedNames(FAMILIES, { pod: ["p-0", "p-1"] });

function codes(text: string): string[] {
  return [...new Set(shapeOf(plainPromql(text), NAMES).problems.map(({ code }) => code))];
}

function labels(text: string): string[] {
  return [...(shapeOf(text, NAMES).shape?.labels ?? [])].sort();
}

test.each([
  ['sum by (pod) (rate(x_events_total{type="stored",pod=~"$pod"}[$__rate_interval]))', "per_second", ["pod"]],
  [
    "sum without (pod, type) (rate(x_events_total[5m]))",
    "per_second",
    ["cluster", "instance", "job", "namespace"],
  ],
  ["histogram_quantile(0.99, sum by (pod, le) (rate(x_wait_seconds_bucket[5m])))", "seconds", ["pod"]],
  ["sum(rate(x_wait_seconds_sum[5m])) / (sum(rate(x_wait_seconds_count[5m])) > 0)", "seconds", []],
  ["sum(rate(x_events_total[5m])) / (sum(rate(x_wait_seconds_count[5m])) > 0)", "ratio", []],
  ["time() - x_start_time_seconds", "seconds", ["cluster", "instance", "job", "namespace"]],
  [
    "timestamp(x_start_time_seconds) - x_start_time_seconds",
    "seconds",
    ["cluster", "instance", "job", "namespace"],
  ],
  ['1 - (sum(rate(x_events_total{type="stored"}[5m])) / (sum(rate(x_events_total[5m])) > 1))', "ratio", []],
  ["max by (job) (x_depth) - min by (job) (x_depth) > 3", "none", ["job"]],
  ['absent(x_depth{job="a"})', "none", ["job"]],
  ["count by (pod) (x_depth == 0)", "none", ["pod"]],
  ["x_depth and on (job) x_start_time_seconds", "none", ["cluster", "instance", "job", "namespace", "pod"]],
  ["increase(x_read_bytes_total[1h])", "bytes", ["cluster", "instance", "job", "namespace", "pod"]],
])("%s is clean, and its shape is known", (text, measure, left) => {
  expect(codes(text)).toEqual([]);
  expect(shapeOf(plainPromql(text), NAMES).shape?.measure).toBe(measure);
  expect(labels(plainPromql(text))).toEqual(left);
});

test.each([
  ["sum(", "syntax"],
  ["sum(rate(x_events_total[5m])", "syntax"],
  ["rate(x_events_total[5m:1m])", "outside_subset"],
  ["x_depth @ end()", "outside_subset"],
  ['{job="a"}', "outside_subset"],
  ["sum(rate(x_event_total[5m]))", "unknown_metric"],
  ["sum(rate(x_wait_seconds[5m]))", "bare_histogram"],
  ['x_depth{lane="live"}', "unknown_label"],
  ['rate(x_events_total{type="store"}[5m])', "unknown_label_value"],
  ['rate(x_events_total{type=~"stored|evicted"}[5m])', "pattern_matches_nothing"],
  ['rate(x_events_total{type=~"("}[5m])', "bad_pattern"],
  ['rate(x_wait_seconds_bucket{le="0.2"}[5m])', "unknown_bucket_bound"],
  ['x_depth{pod="q-0"}', "unknown_label_value"],
  ['x_depth{pod=~"p-0|q-0"}', "pattern_matches_nothing"],
  [
    'sum(rate(x_wait_seconds_sum[5m])) / (sum(rate(x_wait_seconds_count{pod="p-9"}[5m])) > 0)',
    "unknown_label_value",
  ],
  ["sum(x_depth_max) / (sum(x_depth) > 0)", "ratio_parts"],
  ["sum(rate(x_wait_seconds_sum[5m])) / (sum(rate(x_hold_seconds_count[5m])) > 0)", "ratio_parts"],
  ['sum(rate(x_events_total[5m])) / (sum(rate(x_events_total{type="stored"}[5m])) > 0)', "ratio_parts"],
  ["sum by (lane) (rate(x_events_total[5m]))", "label_lost"],
  ["sum by (pod) (sum by (type) (rate(x_events_total[5m])))", "label_lost"],
  ["x_depth * on (lane) x_depth", "label_lost"],
  ["rate(x_depth[5m])", "rate_of_gauge"],
  ["x_events_total", "raw_counter"],
  ["sum(x_events_total)", "raw_counter"],
  ["x_events_total > 3", "raw_counter"],
  ["max_over_time(x_events_total[5m])", "raw_counter"],
  ["histogram_quantile(0.99, rate(x_wait_seconds_bucket[5m]))", "quantile_without_le"],
  ["histogram_quantile(0.99, sum by (pod) (rate(x_wait_seconds_bucket[5m])))", "quantile_without_le"],
  ["histogram_quantile(0.99, sum by (le) (rate(x_events_total[5m])))", "quantile_without_le"],
  ["histogram_quantile(99, sum by (le) (rate(x_wait_seconds_bucket[5m])))", "quantile_out_of_range"],
  ["sum by (pod) (x_depth) > sum by (job) (x_depth)", "vector_mismatch"],
  ["sum(rate(x_events_total[5m])) + sum(rate(x_read_bytes_total[5m]))", "measure_mismatch"],
  ["sum(rate(x_events_total[5m])) / sum(rate(x_events_total[5m]))", "ratio_without_floor"],
  ["rate(x_events_total[30s])", "range_too_short"],
  ["rate(x_events_total[3m])", "range_too_short"],
  ["timestamp(max by (job) (x_start_time_seconds))", "outside_subset"],
])("%s is found out as %s", (text, code) => {
  expect(codes(text)).toContain(code);
});

test.each([
  ['sum by (type) (rate(x_events_total{type!="removed"}[5m]))', ["stored"]],
  ['x_depth{pod="p-0"} * on (pod) group_left (type) rate(x_events_total[5m])', ["stored", "removed"]],
  [
    'rate(x_events_total{type="stored"}[5m]) or rate(x_events_total{type="removed"}[5m])',
    ["stored", "removed"],
  ],
  ['rate(x_events_total{type="stored"}[5m]) unless rate(x_events_total[5m])', ["stored"]],
])("%s leaves these values of a closed label", (text, left) => {
  expect(shapeOf(text, NAMES).shape?.values.get("type")).toEqual(left);
});

test("what a query leaves out of an open label, and labels of the target, may be anything", () => {
  expect(codes('x_depth{pod!="q-0",job="a",instance=~"b.*"}')).toEqual([]);
  expect(codes('x_depth{pod!~"q-.+"}')).toEqual([]);
});

test("durations are read as Prometheus reads them", () => {
  expect(["30s", "5m", "1h30m", "2d", "100ms"].map(secondsOf)).toEqual([30, 300, 5400, 172_800, 0.1]);
  expect(secondsOf("five")).toBeNaN();
});
