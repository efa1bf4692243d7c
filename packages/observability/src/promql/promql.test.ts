/**
 * The combinators: the text they make, and the mistakes that do not compile. Each `@ts-expect-error` fails the build when
 * the mistake below it becomes possible. Q is of vector.ts.
 */
import { expect, test } from "vitest";

import { external } from "../external.ts";
import {
  above,
  aboveLimit,
  absent,
  age,
  below,
  both,
  complement,
  count,
  equals,
  given,
  max,
  mean,
  min,
  minus,
  plus,
  quantile,
  ratio,
  sum,
  summed,
  where,
} from "./operators.ts";
import { recorded, recording } from "./recording.ts";
import {
  ageAtScrape,
  bucketRate,
  changes,
  countIncrease,
  countRate,
  increase,
  rate,
  rateWithin,
  sumRate,
  value,
} from "./series.ts";
import type { Vec } from "./vector.ts";

const EVENTS = external({
  kind: "counter",
  name: "test_events_total",
  unit: "none",
  labels: { type: ["stored", "removed"], pod: { maxValues: 2 } },
  exporter: "test",
  help: "Events.",
});
const BYTES = external({
  kind: "counter",
  name: "test_read_bytes_total",
  unit: "bytes",
  labels: { type: ["stored", "removed"], pod: { maxValues: 2 } },
  exporter: "test",
  help: "Bytes.",
});
const DEPTH = external({
  kind: "gauge",
  name: "test_depth",
  unit: "none",
  labels: { lane: ["live", "replay"] },
  exporter: "test",
  help: "Depth.",
});
const STARTED = external({
  kind: "gauge",
  name: "test_started_timestamp_seconds",
  unit: "timestamp",
  labels: {},
  exporter: "test",
  help: "Start.",
});
const WAIT = external({
  kind: "histogram",
  name: "test_wait_seconds",
  unit: "seconds",
  labels: { lane: ["live", "replay"] },
  buckets: [0.1, 1, 10],
  exporter: "test",
  help: "Wait.",
});

test("expressions render as a person would write them", () => {
  const busy = sum(rate(EVENTS, "5m", { type: "stored", pod: { variable: "pod" } }), ["pod"]);
  expect(busy.text).toBe('sum by (pod) (rate(test_events_total{type="stored",pod=~"$pod"}[5m]))');
  expect(quantile(0.99, summed(bucketRate(WAIT, "$__rate_interval"), ["lane"])).text).toBe(
    "histogram_quantile(0.99, sum by (lane, le) (rate(test_wait_seconds_bucket[$__rate_interval])))",
  );
  expect(ratio(busy, sum(rate(EVENTS, "5m"), ["pod"]), 1).text).toBe(
    'sum by (pod) (rate(test_events_total{type="stored",pod=~"$pod"}[5m])) / (sum by (pod) (rate(test_events_total[5m])) > 1)',
  );
  expect(above(minus(max(value(DEPTH), []), max(value(DEPTH), [])), 3).text).toBe(
    "(max (test_depth) - max (test_depth)) > 3",
  );
  expect(both(above(busy, 1), below(busy, 9)).text).toMatch(/^\(.* > 1\) and \(.* < 9\)$/);
  expect(given(above(busy, 1), value(STARTED), []).text).toMatch(
    /and on \(\) test_started_timestamp_seconds$/,
  );
  expect(above(age(value(STARTED)), 60).text).toBe("(time() - test_started_timestamp_seconds) > 60");
  expect(absent(value(DEPTH, { lane: "live" })).text).toBe('absent(test_depth{lane="live"})');
  expect(increase(EVENTS, "1h", { type: { not: "stored" } }).text).toBe(
    'increase(test_events_total{type!="stored"}[1h])',
  );
  expect(value(DEPTH, { lane: { not: ["live", "replay"] } }).text).toBe('test_depth{lane!~"live|replay"}');
  expect(count(equals(value(DEPTH, { lane: ["live", "replay"] }), 0), ["lane"]).text).toBe(
    'count by (lane) (test_depth{lane=~"live|replay"} == 0)',
  );
  expect(changes(STARTED, "5m").text).toBe("changes(test_started_timestamp_seconds[5m])");
  expect(where(busy, value(STARTED), []).text).toContain(" and on () ");
  expect(complement(ratio(busy, busy)).text).toMatch(/^1 - \(/);
  expect(plus(busy, busy).measure).toBe("per_second");
  expect(aboveLimit(max(value(DEPTH), ["lane"]), min(value(DEPTH), ["lane"]), "the limit").text).toBe(
    "max by (lane) (test_depth) > min by (lane) (test_depth)",
  );
  expect(ageAtScrape(STARTED, { instance: "a" }).text).toBe(
    'timestamp(test_started_timestamp_seconds{instance="a"}) - test_started_timestamp_seconds{instance="a"}',
  );
  expect(countIncrease(WAIT, "1h").text).toBe("increase(test_wait_seconds_count[1h])");
});

test("values of open labels are escaped in alternations and strings", () => {
  expect(value(DEPTH, { instance: ["a.b:1", "c|d"] }).text).toBe('test_depth{instance=~"a\\\\.b:1|c\\\\|d"}');
  expect(value(DEPTH, { instance: 'quo"te' }).text).toBe('test_depth{instance="quo\\"te"}');
});

test("measures follow from metric and operators (Q4)", () => {
  expect(rate(BYTES, "5m").measure).toBe("bytes_per_second");
  expect(increase(BYTES, "5m").measure).toBe("bytes");
  expect(sumRate(WAIT, "5m").measure).toBe("ratio");
  expect(countRate(WAIT, "5m").measure).toBe("per_second");
  expect(mean(sum(sumRate(WAIT, "5m"), []), sum(countRate(WAIT, "5m"), []), "seconds").measure).toBe(
    "seconds",
  );
  expect(age(value(STARTED)).measure).toBe("seconds");
});

test("a bound that the histogram lacks is refused by name", () => {
  expect(rateWithin(WAIT, 0.1, "5m").text).toBe('rate(test_wait_seconds_bucket{le="0.1"}[5m])');
  expect(() => rateWithin(WAIT, 0.25, "5m")).toThrow("test_wait_seconds has no bucket bound 0.25");
});

test("a recording rule's name says the labels that it kept, and must keep job", () => {
  const rule = recording({
    metric: "test_events",
    operations: "rate5m",
    help: "Events per second.",
    expression: sum(rate(EVENTS, "5m"), ["job", "instance", "pod"]),
  });
  const whole = sum(rate(EVENTS, "5m"), ["job"]);
  expect(recording({ metric: "x", operations: "y", help: "z", expression: whole }).name).toBe("job:x:y");
  expect(rule.name).toBe("instance_pod:test_events:rate5m");
  expect(recorded(rule, { pod: { variable: "pod" } }).text).toBe(
    'instance_pod:test_events:rate5m{pod=~"$pod"}',
  );
  expect(() =>
    recording({ metric: "x", operations: "y", help: "z", expression: sum(rate(EVENTS, "5m"), ["pod"]) }),
  ).toThrow("keeps (pod), not job");
});

test("each class of mistake is a compile error (Q1, Q2, Q3)", () => {
  const perPod: Vec<"pod", "per_second"> = sum(rate(EVENTS, "5m"), ["pod"]);
  const rule = recording({
    metric: "test_events",
    operations: "rate5m",
    help: "Events per second.",
    expression: sum(rate(EVENTS, "5m"), ["job", "instance"]),
  });
  const mistakes = [
    // @ts-expect-error no such label
    () => rate(EVENTS, "5m", { zone: "a" }),
    // @ts-expect-error no such value
    () => rate(EVENTS, "5m", { type: "store" }),
    // @ts-expect-error one of the values does not exist
    () => rate(EVENTS, "5m", { type: ["stored", "evicted"] }),
    // @ts-expect-error no such value to exclude
    () => rate(EVENTS, "5m", { type: { not: "store" } }),
    // @ts-expect-error one of the values to exclude does not exist
    () => rate(EVENTS, "5m", { type: { not: ["stored", "evicted"] } }),
    // @ts-expect-error the choice of another label
    () => rate(EVENTS, "5m", { pod: { variable: "pods" } }),
    // @ts-expect-error a gauge has no rate
    () => rate(DEPTH, "5m"),
    // @ts-expect-error a histogram has no rate of its own
    () => rate(WAIT, "5m"),
    // @ts-expect-error a raw counter says nothing
    () => value(EVENTS),
    // @ts-expect-error buckets of a counter
    () => bucketRate(EVENTS, "5m"),
    // @ts-expect-error no such range
    () => rate(EVENTS, "five minutes"),
    // @ts-expect-error no such label to keep
    () => sum(rate(EVENTS, "5m"), ["zone"]),
    // @ts-expect-error the label was aggregated away
    () => sum(sum(rate(EVENTS, "5m"), ["type"]), ["pod"]),
    // @ts-expect-error buckets were not summed by le
    () => quantile(0.99, bucketRate(WAIT, "5m")),
    // @ts-expect-error a rate is no set of buckets
    () => quantile(0.99, rate(EVENTS, "5m")),
    // @ts-expect-error a quantile of summed buckets cannot be summed by a label that is gone
    () => max(quantile(0.99, summed(bucketRate(WAIT, "5m"), [])), ["lane"]),
    // @ts-expect-error part and whole of different labels
    () => ratio(perPod, sum(rate(EVENTS, "5m"), ["type"])),
    // @ts-expect-error part and whole of different measures
    () => ratio(perPod, sum(rate(BYTES, "5m"), ["pod"])),
    // @ts-expect-error a difference of different measures
    () => minus(perPod, sum(rate(BYTES, "5m"), ["pod"])),
    // @ts-expect-error the age of something that is no time
    () => age(value(DEPTH)),
    // @ts-expect-error how old something is that is no time
    () => ageAtScrape(DEPTH),
    // @ts-expect-error a limit of another measure
    () => aboveLimit(perPod, sum(rate(BYTES, "5m"), ["pod"]), "x"),
    // @ts-expect-error two conditions about different series
    () => both(above(perPod, 1), above(sum(rate(EVENTS, "5m"), ["type"]), 1)),
    // @ts-expect-error a match on a label that one side lacks
    () => where(perPod, value(DEPTH), ["pod"]),
    // @ts-expect-error the recorded series lost that label
    () => recorded(rule, { pod: "a" }),
    // @ts-expect-error the complement of something that is no share
    () => complement(perPod),
  ];
  expect(mistakes.length).toBeGreaterThan(20);
});
