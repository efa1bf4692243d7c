/** The evaluator's bounds, and what it keeps between samplings. */
import { expect, test } from "vitest";

import { parsePromql, type Tree } from "../proof/promql-tree.ts";
import { COMPILED_RULES_VERSION, type CompiledAlert, readCompiledRules } from "./compiled-rules.ts";
import { evaluate, EvaluationError, unsupportedPart } from "./evaluate.ts";
import { readsOf, RuleEvaluation } from "./rule-evaluation.ts";
import { SampleStore } from "./sample-store.ts";
import { nameAndLabels, Replay } from "./testing/given-series.ts";

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
  expect(store.row("sold_total", { shelf: "b" })).toBeNull();
  expect(store.row("other", {})).toBeNull();
  const [sold, level] = [store.row("sold_total", { shelf: "a" }), store.row("level", {})];
  for (const at of [0, 15, 30]) {
    store.begin(at);
    for (const row of [sold, level]) if (row !== null) store.set(row, at);
  }
  expect(stretchesOf(store, 30)).toEqual([
    [{ shelf: "a" }, { count: 3, first: 0, firstAt: 0, lastAt: 30, growth: 30 }],
  ]);
  expect(store.instant("level", [], 44)).toEqual([{ labels: {}, value: 30, atSeconds: 30 }]);
});

test("the ring holds exactly the samples of five minutes, both ends included", () => {
  const store = new SampleStore([{ name: "sold_total", selectors: [[]], rangeSeconds: 300 }], 15, 1);
  const row = store.row("sold_total", {});
  for (let at = 0; at <= 900; at += 15) {
    store.begin(at);
    if (row !== null) store.set(row, at);
  }
  expect(stretchesOf(store, 900)).toEqual([
    [{}, { count: 21, first: 600, firstAt: 600, lastAt: 900, growth: 300 }],
  ]);
});

test("E3, E4: a series beyond the limit is counted, and a row is free once its samples are gone", () => {
  const store = new SampleStore([{ name: "sold_total", selectors: [[]], rangeSeconds: 30 }], 15, 1);
  store.begin(0);
  const row = store.row("sold_total", { shelf: "a" });
  if (row === null) throw new Error("no room for the first");
  store.set(row, 1);
  expect(store.row("sold_total", { shelf: "b" })).toBeNull();
  expect([store.series, store.leftOut]).toEqual([1, 1]);
  store.begin(15);
  expect(store.instant("sold_total", [], 15)).toEqual([]);
  expect(store.release(row)).toBe(false);
  store.begin(30);
  store.begin(45);
  expect(store.release(row)).toBe(true);
  expect(store.row("sold_total", { shelf: "b" })).not.toBeNull();
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
