/** The evaluator's bounds, and what it keeps between samplings (sample-store.ts, sample-table.ts, row-groups.ts). */
import { expect, test } from "vitest";

import { parsePromql, type Tree } from "../proof/promql-tree.ts";
import { COMPILED_RULES_VERSION, type CompiledAlert, readCompiledRules } from "./compiled-rules.ts";
import { evaluate, EvaluationError, unsupportedPart, type Value } from "./evaluate.ts";
import { readsOf, RuleEvaluation } from "./rule-evaluation.ts";
import { SampleStore } from "./sample-store.ts";
import { nameAndLabels, Replay, seeded } from "./testing/given-series.ts";

function treeOf(text: string): Tree {
  const parsed = parsePromql(text);
  if (!parsed.ok) throw new Error(parsed.message);
  return parsed.tree;
}

function rulesOf(expression: string, forSeconds = 0): Parameters<typeof readsOf>[0] {
  const rule: CompiledAlert = {
    name: "Full",
    severity: "warning",
    component: "shop",
    forSeconds,
    summary: "It is full.",
    description: "{{ $labels.shelf }} of {{ $labels.absent }}has {{ $value | humanize1024 }}B.",
    runbook: "full.md",
    panel: { uid: "shop", id: 1 },
    tree: treeOf(expression),
    needs: null,
  };
  return {
    version: COMPILED_RULES_VERSION,
    intervalSeconds: 15,
    job: "shop",
    recordings: [],
    alerts: [rule],
  };
}

const series = (text: string, ...values: (number | null)[]) => ({ ...nameAndLabels(text), values });
const states = (replay: Replay) =>
  replay.evaluation.standings().flatMap(({ alerts }) => alerts.map(({ state }) => state));

/** Takes samples of a series. */
function sampled(store: SampleStore, name: string, labels: Record<string, string>) {
  const owner = { labels: () => labels };
  return (...values: number[]): void => {
    for (const table of store.tables(name)) store.set(table, owner, Float64Array.from(values));
  };
}

function byShelf(value: Value): Map<string, number> {
  if (typeof value === "number") throw new Error("no vector");
  return new Map(value.map((element) => [element.labels["shelf"] ?? "", element.value]));
}

/** Labels, and what was sold in five minutes. */
function stretchesOf(store: SampleStore, atSeconds: number): [object, object][] {
  const found: [object, object][] = [];
  store.range("sold_total", [], { atSeconds, rangeSeconds: 300 }, (labels, stretch) => {
    found.push([labels, { ...stretch }]);
  });
  return found;
}

test("R1: a condition that was interrupted waits for all of its time again", () => {
  const replay = new Replay(rulesOf("level > 1", 30), [series('level{shelf="a"}', 2, 2, null, 2, 2, 2)], 15);
  const seen = Array.from({ length: 6 }, () => {
    replay.step();
    return states(replay).join();
  });
  expect(seen).toEqual(["pending", "pending", "", "pending", "pending", "firing"]);
});

test("an alert is described with its labels and value, and a label that is not there is empty", () => {
  const replay = new Replay(rulesOf("level > 1"), [series('level{shelf="a"}', 3_145_728)], 15);
  replay.step();
  const [alert] = replay.evaluation.standings()[0]?.alerts ?? [];
  expect(alert).toEqual({
    name: "Full",
    state: "firing",
    labels: { shelf: "a" },
    value: 3_145_728,
    sinceSeconds: 0,
    summary: "It is full.",
    description: "a of has 3MiB.",
  });
});

test("R2: an alert whose series do not match one to one fails with the reason, and holds nothing", () => {
  const rules = rulesOf("level / on (job) level > 0");
  const given = [series('level{shelf="a",job="s"}', 1), series('level{shelf="b",job="s"}', 1)];
  const replay = new Replay(rules, given, 15);
  replay.step();
  expect(replay.evaluation.standings()[0]).toMatchObject({ state: "failed", alerts: [] });
  expect(replay.evaluation.standings()[0]?.problem).toMatch(/same labels/);
  const tree = rules.alerts[0]?.tree;
  if (tree === undefined || tree === null) throw new Error("no tree");
  expect(() => evaluate(tree, { store: replay.store, recorded: new Map(), atSeconds: 0 })).toThrow(
    EvaluationError,
  );
});

test("R3: an alert follows 1,024 series, and counts the others", () => {
  const given = Array.from({ length: 1030 }, (_, i) => series(`level{shelf="${i}"}`, 2));
  const replay = new Replay(rulesOf("level > 1"), given, 15);
  replay.step();
  const [standing] = replay.evaluation.standings();
  expect(standing?.alerts).toHaveLength(1024);
  expect(standing?.leftOut).toBe(6);
});

test("E1, E2: only series that a selector fits are kept, over time only where a range is read", () => {
  const rules = rulesOf('rate(sold_total{shelf="a"}[5m]) > 0 and on () level > 1');
  expect(readsOf(rules)).toEqual([
    {
      name: "sold_total",
      selectors: [[{ label: "shelf", operator: "=", value: "a" }]],
      rangeSeconds: 300,
    },
    { name: "level", selectors: [[]], rangeSeconds: 0 },
  ]);
  const store = new SampleStore(readsOf(rules), 15, 10);
  expect(store.tables("other")).toEqual([]);
  const [sold, other, level] = [
    sampled(store, "sold_total", { shelf: "a" }),
    sampled(store, "sold_total", { shelf: "b" }),
    sampled(store, "level", {}),
  ];
  for (const at of [0, 15, 30]) {
    store.begin(at);
    for (const take of [sold, other, level]) take(at);
    store.end();
  }
  expect(store.series).toBe(2);
  expect(stretchesOf(store, 30)).toEqual([
    [{ shelf: "a" }, { count: 3, first: 0, firstAt: 0, lastAt: 30, growth: 30 }],
  ]);
  expect(store.instant("level", [], 44)).toEqual([{ labels: {}, value: 30, atSeconds: 30 }]);
});

test("the ring holds exactly the samples of five minutes, both ends included", () => {
  const store = new SampleStore([{ name: "sold_total", selectors: [[]], rangeSeconds: 300 }], 15, 1);
  const take = sampled(store, "sold_total", {});
  for (let at = 0; at <= 900; at += 15) {
    store.begin(at);
    take(at);
    store.end();
  }
  expect(stretchesOf(store, 900)).toEqual([
    [{}, { count: 21, first: 600, firstAt: 600, lastAt: 900, growth: 300 }],
  ]);
});

test("E3, E4, T3: a series beyond the limit is counted, and finds room once the samples of another are gone", () => {
  const store = new SampleStore([{ name: "sold_total", selectors: [[]], rangeSeconds: 30 }], 15, 1);
  const takeA = sampled(store, "sold_total", { shelf: "a" });
  const takeB = sampled(store, "sold_total", { shelf: "b" });
  const seen: unknown[] = [];
  for (const at of [0, 15, 30, 45, 60]) {
    store.begin(at);
    if (at === 0) takeA(1);
    takeB(2);
    store.end();
    const present = store.instant("sold_total", [], at).map(({ labels }) => labels["shelf"]);
    seen.push([store.series, store.leftOut, present.join()]);
  }
  expect(seen).toEqual([
    [1, 1, "a"],
    [1, 1, ""],
    [1, 1, ""],
    [0, 1, ""],
    [1, 0, "b"],
  ]);
});

test("T1, T2: of a histogram only the buckets are kept that a selector fits, with its labels and their bound", () => {
  const reads = readsOf(rulesOf('rate(wait_bucket{le="2",shelf="a"}[5m]) > 0'));
  const store = new SampleStore(reads, 15, 10);
  const [table] = store.tables("wait_bucket");
  table?.layOutBuckets(["1", "2", "+Inf"]);
  const takeA = sampled(store, "wait_bucket", { shelf: "a" });
  const takeB = sampled(store, "wait_bucket", { shelf: "b" });
  store.begin(0);
  takeA(1, 5, 9);
  takeB(1, 1, 1);
  store.end();
  expect(store.series).toBe(1);
  expect(store.instant("wait_bucket", [], 0)).toEqual([
    { labels: { shelf: "a", le: "2" }, value: 5, atSeconds: 0 },
  ]);
});

test("E2: a range of hours has a table of its own, with the series that are read over it", () => {
  const rules = rulesOf('rate(sold_total[5m]) > 0 and rate(sold_total{shelf="a"}[1h]) > 0');
  const given = ["a", "b"].map((shelf) =>
    series(`sold_total{shelf="${shelf}"}`, ...Array.from({ length: 300 }, (_, i) => i)),
  );
  const replay = new Replay(rules, given, 15);
  for (let i = 0; i < 300; i++) replay.step();
  const { store } = replay;
  expect(store.tables("sold_total").map(({ places, blocks }) => [places, blocks])).toEqual([
    [21, 2],
    [241, 1],
  ]);
  const counts: number[] = [];
  const span = { atSeconds: 299 * 15, rangeSeconds: 3600 };
  store.range("sold_total", [], span, (_, { count }) => counts.push(count));
  expect(counts).toEqual([241]);
});

test("G1, G2: groups have the sums of their members, come and go with them, and equal the sums of single series", () => {
  const random = seeded(5);
  const rules = rulesOf(
    "sum by (shelf) (rate(sold_total[1m])) > -1 or max by (room) (rate(sold_total[1m])) > -1",
  );
  const tree = treeOf("sum by (shelf) (rate(sold_total[1m]))");
  const single = treeOf("sum by (shelf) (rate(sold_total[1m]) + 0)");
  const given = Array.from({ length: 40 }, (_, i) => {
    const [begins, ends] = [Math.floor(random() * 20), 20 + Math.floor(random() * 20)];
    const values = Array.from({ length: 60 }, (_unused, at) =>
      at < begins || at > ends ? null : Math.floor(random() * 3) * at,
    );
    return series(`sold_total{shelf="${i % 7}",room="${i}"}`, ...values);
  });
  const replay = new Replay(rules, given, 15);
  const sizes = new Set<number>();
  for (let i = 0; i < 60; i++) {
    const at = { store: replay.store, recorded: new Map(), atSeconds: replay.step() };
    const [grouped, apart] = [evaluate(tree, at), evaluate(single, at)];
    expect(byShelf(grouped)).toEqual(byShelf(apart));
    sizes.add(byShelf(grouped).size);
  }
  expect([...sizes].sort()).toEqual(expect.arrayContaining([0, 7]));
  expect(replay.store.series).toBe(0);
});

test("a counter that stands still is not walked, and one that returns to an old value is", () => {
  const replay = new Replay(
    rulesOf("rate(sold_total[1m]) > -1"),
    [series("sold_total", 5, 5, 5, 5, 5, 0, 5, 5, 5, 5, 5, 5)],
    15,
  );
  const growths = Array.from({ length: 12 }, () => {
    const span = { atSeconds: replay.step(), rangeSeconds: 60 };
    let growth = Number.NaN;
    replay.store.range("sold_total", [], span, (_, stretch) => (growth = stretch.growth));
    return growth;
  });
  // It began again at the sixth sampling: 5, 0, 5 grows by 5 until the 0 has left the minute.
  expect(growths).toEqual([0, 0, 0, 0, 0, 0, 5, 5, 5, 5, 0, 0]);
});

test.each([
  ["topk(2, level)", "topk"],
  ["quantile by (shelf) (0.5, level)", "quantile"],
  ["predict_linear(level[5m], 60)", "predict_linear"],
  ["level[5m]", "a range outside of rate and increase"],
  ["level > bool 1", "bool"],
  ["level * on (shelf) group_left (name) info", "group_left"],
  ["level % 2", "%"],
  ["timestamp(level + 1)", "timestamp of an expression"],
])("Q1: what is not evaluated is named: %s", (text, part) => {
  expect(unsupportedPart(treeOf(text))).toBe(part);
});

test("Q2: no operator gives a vector two elements with the same labels", () => {
  const labels = ["a", "b"].flatMap((shelf) => ["x", "y"].map((room) => `{shelf="${shelf}",room="${room}"}`));
  const given = labels.flatMap((text, i) => [
    series(`level${text}`, i + 1),
    series(`size${text}`, 10),
    series(`sold_total${text}`, i),
  ]);
  const expressions = [
    "level / size",
    "level or size",
    "level and size",
    "level unless size",
    "sum by (shelf) (level)",
    "avg without (room) (level)",
    "max by (shelf) (level) - on (shelf) min by (shelf) (size)",
    "-level",
    "1 - level",
  ];
  for (const expression of expressions) {
    const rules = rulesOf(`${expression} > -100`);
    const replay = new Replay(rules, given, 15);
    replay.step();
    const found = replay.evaluation.standings()[0]?.alerts ?? [];
    expect(replay.evaluation.standings()[0]?.problem, expression).toBeNull();
    const keys = found.map((alert) => JSON.stringify(Object.entries(alert.labels).sort()));
    expect(new Set(keys).size, expression).toBe(found.length);
  }
});

test("rules of another version are refused", () => {
  expect(() => readCompiledRules('{"version":0}')).toThrow(/version 0/);
});

test("an evaluation without samples finds nothing and does not fail", () => {
  const rules = rulesOf("level > 1");
  const evaluation = new RuleEvaluation(rules, new SampleStore(readsOf(rules), 15, 10));
  evaluation.evaluate(0);
  expect(evaluation.standings()[0]?.state).toBe("inactive");
});
