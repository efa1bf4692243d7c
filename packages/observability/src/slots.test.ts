/**
 * Handles, slots and what a scrape makes of them, through the real exposition: no part is replaced.
 */
import { expect, test } from "vitest";

import { definersOf, doubling, openLabel } from "./definition.ts";
import { Exposition } from "./exposition.ts";
import { MetricSlots, type SlotAnnouncement } from "./slots.ts";

const { counter, gauge, histogram } = definersOf("app");

const EVENTS = counter({
  name: "test_events_total",
  help: "Events.",
  unit: "none",
  labels: { type: ["stored", "removed"], pod: { maxValues: 2 } },
  preset: "absent until known",
  why: "A test.",
});
const DEPTH = gauge({
  name: "test_depth",
  help: "Depth.",
  unit: "none",
  labels: {},
  preset: "absent until known",
  why: "A test.",
});
const PODS = gauge({
  name: "test_pods",
  help: "Pods.",
  unit: "none",
  labels: { pod: { maxValues: 1 } },
  preset: "absent until known",
  why: "A test.",
});
const WAIT = histogram({
  name: "test_wait_seconds",
  help: "Wait.",
  unit: "seconds",
  labels: { lane: ["live", "replay"] },
  preset: "zero is a fact",
  buckets: doubling(1, 3),
  why: "A test.",
});

const LINKS = counter({
  name: "test_links_total",
  help: "Links.",
  unit: "none",
  labels: { pod: { maxValues: 2, names: "pod" }, model: { maxValues: 2, names: "model" } },
  preset: "absent until known",
  why: "A test.",
});
const ALL = [EVENTS, DEPTH, PODS, WAIT, LINKS];

function setUp() {
  const exposition = new Exposition(ALL);
  const slots = (writer: string) =>
    new MetricSlots(ALL, writer, (a) => {
      exposition.accept(structuredClone(a));
    });
  const lines = async (name: string) =>
    (await exposition.scrape()).split("\n").filter((line) => line.startsWith(name));
  return { exposition, slots, lines };
}

test("a family of which zero is a fact is exported as zero before anybody touched it", async () => {
  const { lines } = setUp();
  expect(await lines("app_test_wait_seconds_count")).toEqual([
    'app_test_wait_seconds_count{lane="live"} 0',
    'app_test_wait_seconds_count{lane="replay"} 0',
  ]);
});

test("a gauge has no line before its first value, and one that was set to zero has (M5)", async () => {
  const { slots, lines } = setUp();
  const writer = slots("a");
  const [depth, pods] = [writer.gauge(DEPTH, {}), writer.gauge(PODS, { pod: "p" })];
  expect(await lines("app_test_depth")).toEqual([]);
  depth.set(0);
  expect(await lines("app_test_depth")).toEqual(["app_test_depth 0"]);
  expect(await lines("app_test_pods")).toEqual([]);
  pods.set(3);
  writer.release(pods);
  writer.gauge(PODS, { pod: "q" });
  expect(await lines("app_test_pods")).toEqual([]);
});

test("a gauge that one thread has set and another has not shows what was set", async () => {
  const { slots, lines } = setUp();
  slots("a").gauge(DEPTH, {});
  slots("b").gauge(DEPTH, {}).set(4);
  expect(await lines("app_test_depth")).toEqual(["app_test_depth 4"]);
});

test("what two threads count for one series is summed (M1)", async () => {
  const { slots, lines } = setUp();
  slots("a").counter(EVENTS, { type: "stored", pod: "p" }).inc();
  slots("b").counter(EVENTS, { type: "stored", pod: "p" }).inc(4);
  expect(await lines("app_test_events_total")).toEqual(['app_test_events_total{type="stored",pod="p"} 5']);
});

test("what a thread counted stays in a series that another still writes, and ends with it (X3)", async () => {
  const { exposition, slots } = setUp();
  const threads = ["one", "two"].map((name) => {
    const writer = slots(name);
    const links = writer.counter(LINKS, { pod: openLabel("pod", "p"), model: openLabel("model", "m") });
    const wait = writer.histogram(WAIT, { lane: "live" });
    links.inc(5);
    wait.observe(3);
    return { writer, links, wait };
  });
  const leave = (thread: (typeof threads)[number]): void => {
    thread.writer.release(thread.links);
    thread.writer.release(thread.wait);
  };
  const [one, two] = threads as [(typeof threads)[number], (typeof threads)[number]];
  leave(one);
  two.links.inc();
  expect(await exposition.scrape()).toContain('app_test_links_total{pod="p",model="m"} 11');
  expect(await exposition.scrape()).toContain('app_test_wait_seconds_count{lane="live"} 2');
  // The first one's places are given to others, with nothing in them.
  one.writer.counter(LINKS, { pod: openLabel("pod", "other"), model: openLabel("model", "m") }).inc();
  expect(await exposition.scrape()).toContain('app_test_links_total{pod="other",model="m"} 1');
  expect(await exposition.scrape()).toContain('app_test_links_total{pod="p",model="m"} 11');
  leave(two);
  const last = await exposition.scrape();
  expect(last).not.toContain('pod="p"');
  // A series that is always there has nothing to end with.
  expect(last).toContain('app_test_wait_seconds_sum{lane="live"} 6');
});

test("past its bound an open label records under other, and known values keep their own series", async () => {
  const { slots, lines } = setUp();
  const writer = slots("a");
  for (const pod of ["p1", "p2", "p3", "p4", "p1"]) writer.counter(EVENTS, { type: "removed", pod }).inc();
  expect(await lines("app_test_events_total")).toEqual([
    'app_test_events_total{type="removed",pod="p1"} 2',
    'app_test_events_total{type="removed",pod="p2"} 1',
    'app_test_events_total{type="removed",pod="other"} 2',
  ]);
});

test("a value longer than a scrape may have is recorded under other, with all others like it", async () => {
  const { slots, lines } = setUp();
  const writer = slots("a");
  const longest = "é".repeat(128);
  for (const pod of [longest, `${longest}x`, "y".repeat(4096)])
    writer.counter(EVENTS, { type: "stored", pod }).inc();
  expect(await lines("app_test_events_total")).toEqual([
    `app_test_events_total{type="stored",pod="${longest}"} 1`,
    'app_test_events_total{type="stored",pod="other"} 2',
  ]);
});

test("a released series ends, its value's place is cleared, and its bound is free again (M2)", async () => {
  const { slots, lines } = setUp();
  const writer = slots("a");
  const first = writer.counter(EVENTS, { type: "stored", pod: "p1" });
  const second = writer.counter(EVENTS, { type: "stored", pod: "p1" });
  first.inc(7);
  writer.release(first);
  expect(await lines("app_test_events_total")).toHaveLength(1);
  writer.release(second);
  expect(await lines("app_test_events_total")).toEqual([]);
  writer.counter(EVENTS, { type: "stored", pod: "p2" });
  writer.counter(EVENTS, { type: "stored", pod: "p3" });
  expect(await lines("app_test_events_total")).toEqual([
    'app_test_events_total{type="stored",pod="p2"} 0',
    'app_test_events_total{type="stored",pod="p3"} 0',
  ]);
});

test("a handle says whether it records under other, and has its own series when it is asked for again", async () => {
  const { slots, lines } = setUp();
  const writer = slots("a");
  const [one, two] = ["p", "q"].map((pod) => writer.gauge(PODS, { pod }));
  if (one === undefined || two === undefined) throw new Error("two handles");
  expect([writer.isOther(one), writer.isOther(two)]).toEqual([false, true]);
  writer.release(one);
  writer.release(two);
  const again = writer.gauge(PODS, { pod: "q" });
  again.set(3);
  expect(writer.isOther(again)).toBe(false);
  expect(await lines("app_test_pods")).toEqual(['app_test_pods{pod="q"} 3']);
});

test("gauge handles of one series add up, and a released one takes its part away", async () => {
  const { slots, lines } = setUp();
  const writer = slots("a");
  const [one, two, three] = ["p", "q", "r"].map((pod) => writer.gauge(PODS, { pod }));
  one?.set(5);
  two?.set(2);
  three?.set(3);
  two?.set(1);
  expect(await lines("app_test_pods")).toEqual(['app_test_pods{pod="p"} 5', 'app_test_pods{pod="other"} 4']);
  if (three !== undefined) writer.release(three);
  expect(await lines('app_test_pods{pod="other')).toEqual(['app_test_pods{pod="other"} 1']);
});

test("a value that is no finite number, or negative for a counter, leaves no trace (M4)", async () => {
  const { slots, lines } = setUp();
  const [counted, depth] = [
    slots("a").counter(EVENTS, { type: "stored", pod: "p" }),
    slots("b").gauge(DEPTH, {}),
  ];
  const wait = slots("c").histogram(WAIT, { lane: "live" });
  counted.inc(2);
  depth.set(3);
  wait.observe(1);
  for (const nonsense of [Number.NaN, Infinity, -Infinity]) {
    counted.inc(nonsense);
    depth.set(nonsense);
    wait.observe(nonsense);
  }
  counted.inc(-1);
  expect((await lines("app_test_events_total"))[0]).toMatch(/ 2$/);
  expect(await lines("app_test_depth")).toEqual(["app_test_depth 3"]);
  expect((await lines('app_test_wait_seconds_sum{lane="live"}'))[0]).toMatch(/ 1$/);
  expect((await lines('app_test_wait_seconds_count{lane="live"}'))[0]).toMatch(/ 1$/);
});

test("a gauge that was very large shows small values exactly again", async () => {
  const { slots, lines } = setUp();
  const depth = slots("a").gauge(DEPTH, {});
  for (const value of [2 ** 63, 5, 1e300, 7, 0.1]) {
    depth.set(value);
    expect(await lines("app_test_depth")).toEqual([`app_test_depth ${value}`]);
  }
});

test("histogram buckets are cumulative, inclusive at their bound, and end in +Inf (M3)", async () => {
  const { slots, lines } = setUp();
  const wait = slots("a").histogram(WAIT, { lane: "live" });
  for (const value of [0.5, 1, 1.5, 4, 100]) wait.observe(value);
  expect((await lines("app_test_wait_seconds")).filter((line) => line.includes("live"))).toEqual([
    'app_test_wait_seconds_bucket{lane="live",le="1"} 2',
    'app_test_wait_seconds_bucket{lane="live",le="2"} 3',
    'app_test_wait_seconds_bucket{lane="live",le="4"} 4',
    'app_test_wait_seconds_bucket{lane="live",le="+Inf"} 5',
    'app_test_wait_seconds_sum{lane="live"} 107',
    'app_test_wait_seconds_count{lane="live"} 5',
  ]);
});

test("more series than a chunk holds spill into the next chunk", async () => {
  const { slots, exposition } = setUp();
  const announced: SlotAnnouncement["kind"][] = [];
  const many = counter({
    name: "test_many_total",
    help: "Many.",
    unit: "none",
    labels: { id: { maxValues: 10_000 } },
    preset: "absent until known",
    why: "A test.",
  });
  const writer = new MetricSlots([many], "b", (a) => announced.push(a.kind));
  for (let i = 0; i < 10_000; i++) writer.counter(many, { id: `${i}` }).inc();
  expect(announced.filter((kind) => kind === "chunk")).toHaveLength(2);
  slots("a").gauge(DEPTH, {}).set(3);
  expect(await exposition.scrape()).toContain("app_test_depth 3");
});

test("M6: a family that the catalogue lacks is refused by name", () => {
  const { exposition } = setUp();
  const stray = gauge({
    name: "test_stray",
    help: "Stray.",
    unit: "none",
    labels: {},
    preset: "absent until known",
    why: "A test.",
  });
  const { slots } = setUp();
  expect(() => slots("a").gauge(stray, {})).toThrow("app_test_stray is not in the catalogue");
  const ofAnother = new MetricSlots([stray], "a", (a) => {
    exposition.accept(a);
  });
  expect(() => ofAnother.gauge(stray, {})).toThrow("app_test_stray is not in the catalogue");
});

test("wrong, missing and invented labels, wrong values and names do not compile", () => {
  const { slots } = setUp();
  const writer = slots("a");
  const undecided = { help: "x", unit: "none", labels: {}, why: "x" } as const;
  const counted = { ...undecided, preset: "zero is a fact" } as const;
  const measured = { ...counted, preset: "absent until known" } as const;
  const perPod = { ...counted, labels: { pod: { maxValues: 2 } } } as const;
  const wrong = [
    // @ts-expect-error a label is missing
    () => writer.counter(EVENTS, { type: "stored" }),
    // @ts-expect-error no such value
    () => writer.counter(EVENTS, { type: "store", pod: "p" }),
    // @ts-expect-error no such label
    () => writer.counter(EVENTS, { type: "stored", pod: "p", zone: "z" }),
    // @ts-expect-error text of unknown origin where a pod is named
    () => writer.counter(LINKS, { pod: "p", model: openLabel("model", "m") }),
    // @ts-expect-error pod and model in each other's place
    () => writer.counter(LINKS, { pod: openLabel("model", "m"), model: openLabel("pod", "p") }),
    // @ts-expect-error a gauge is no counter
    () => writer.counter(DEPTH, {}),
    // @ts-expect-error a counter's name ends in _total
    () => counter({ ...counted, name: "test_events" }),
    // @ts-expect-error a gauge of seconds says so
    () => gauge({ ...measured, name: "test_age", unit: "seconds" }),
    // @ts-expect-error the unit comes before _total
    () => counter({ ...counted, name: "test_read_total_bytes", unit: "bytes" }),
    // @ts-expect-error milliseconds are no unit
    () => gauge({ ...measured, name: "test_age_ms", unit: "milliseconds" }),
    // @ts-expect-error a histogram of bytes says so
    () => histogram({ ...counted, name: "test_size", unit: "bytes", buckets: [1] }),
    // @ts-expect-error what is exported before the first value must be stated
    () => counter({ ...undecided, name: "test_total" }),
    // @ts-expect-error zero is never a fact about a gauge
    () => gauge({ ...counted, name: "test" }),
    // @ts-expect-error series with open labels are not known ahead
    () => counter({ ...perPod, name: "test_total" }),
  ];
  expect(wrong).toHaveLength(14);
  writer.counter(LINKS, { pod: openLabel("pod", "p"), model: openLabel("model", "m") }).inc();
});

test.each(["", "Shop", "1shop", "shop_", "shop:x"])("the namespace %j is refused by name", (namespace) => {
  expect(() => definersOf(namespace)).toThrow(
    `the namespace is "${namespace}"; expected words in lower case`,
  );
});

test("label values are escaped as the text format demands", async () => {
  const { slots, lines } = setUp();
  slots("a").gauge(PODS, { pod: 'say "a\\b"\nnext' }).set(1);
  expect(await lines("app_test_pods")).toEqual(['app_test_pods{pod="say \\"a\\\\b\\"\\nnext"} 1']);
});

test("a scrape of many series lets the event loop turn in between", async () => {
  const many = counter({
    name: "test_many_total",
    help: "Many.",
    unit: "none",
    labels: { id: { maxValues: 20_000 } },
    preset: "absent until known",
    why: "A test.",
  });
  const exposition = new Exposition([many]);
  const writer = new MetricSlots([many], "a", (a) => {
    exposition.accept(a);
  });
  for (let i = 0; i < 20_000; i++) writer.counter(many, { id: `${i}` }).inc(i);
  let turns = 0;
  const timer = setInterval(() => (turns += 1), 0);
  const text = await exposition.scrape();
  clearInterval(timer);
  expect(text).toContain('app_test_many_total{id="19999"} 19999\n');
  expect(turns).toBeGreaterThan(2);
});
