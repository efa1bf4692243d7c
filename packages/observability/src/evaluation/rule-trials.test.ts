/**
 * The trial of each alert that a process evaluates itself, in the evaluator. Series, instants and
 * expectations are those of the files that promtool runs (rules/promtool.e2e.test.ts).
 */
import { describe, expect, test } from "vitest";
import { parse } from "yaml";

import { CATALOGUE } from "../kvsync/catalogue/catalogue.ts";
import { KVSYNC } from "../kvsync/project.ts";
import { alertTestFiles } from "../rules/promtool-tests.ts";
import { secondsOf } from "../duration.ts";
import { compileRules } from "./compile-rules.ts";
import { evaluate } from "./evaluate.ts";
import { givenSeries, Replay } from "./testing/given-series.ts";

interface Expectation {
  readonly eval_time: string;
  readonly alertname: string;
  readonly exp_alerts: readonly {
    readonly exp_labels: Record<string, string>;
    readonly exp_annotations: Record<string, string>;
  }[];
}
interface Trial {
  readonly name: string;
  readonly interval: string;
  readonly input_series: readonly { readonly series: string; readonly values: string }[];
  readonly alert_rule_test: readonly Expectation[];
  readonly promql_expr_test?: readonly { readonly eval_time: string }[];
}

const RULES = compileRules(KVSYNC);
const BUILT_IN = new Map(RULES.alerts.filter(({ tree }) => tree !== null).map((rule) => [rule.name, rule]));
const TRIALS = [...alertTestFiles(KVSYNC).values()]
  .flatMap((text) => (parse(text) as { tests: Trial[] }).tests)
  .filter(({ alert_rule_test: [first] }) => BUILT_IN.has(first?.alertname ?? ""));

test("every alert that needs no Prometheus has two trials here", () => {
  expect(TRIALS).toHaveLength(2 * BUILT_IN.size);
  expect(BUILT_IN.size).toBeGreaterThan(40);
});

test("L1: alerts on a budget of days, on other processes and on the scrape itself name what they need", () => {
  const needs = (name: string) => RULES.alerts.find((rule) => rule.name === name)?.needs;
  expect(needs("AvailabilityBudgetBurn3d")).toBe("history");
  expect(needs("LatencyBudgetBurn1d")).toBe("history");
  expect(needs("LatencyBudgetBurn6h")).toBeNull();
  expect(needs("PodDown")).toBe("other_exporters");
  expect(needs("SyncDaemonDown")).toBe("scrape");
  for (const { tree, needs: need } of RULES.alerts) expect(tree === null).toBe(need !== null);
});

test("L2: an expression that the evaluator lacks fails the generation, with the alert's name", () => {
  const [group] = KVSYNC.alertGroups;
  const [alert] = group?.alerts ?? [];
  if (group === undefined || alert === undefined) throw new Error("no alert");
  const expression = `topk(1, ${CATALOGUE[0]?.name ?? ""}) > 0`;
  const changed = { ...KVSYNC, alertGroups: [{ ...group, alerts: [{ ...alert, expression }] }] };
  expect(() => compileRules(changed)).toThrow(`${alert.name}: topk is not evaluated in a process`);
});

test("L3: each recording is read by an alert, or by a recording that one reads", () => {
  const trees = JSON.stringify([...RULES.alerts, ...RULES.recordings].map(({ tree }) => tree));
  for (const { name } of RULES.recordings) expect(trees).toContain(JSON.stringify(name));
  expect(RULES.recordings.length).toBeLessThan(
    KVSYNC.recordingGroups.reduce((sum, { rules }) => sum + rules.length, 0),
  );
});

test("memory, errors, storage and the event loop are watched without Prometheus", () => {
  for (const name of ["HighMemoryUsage", "HighErrorRate", "StorageUnhealthy", "HighEventLoopLag"])
    expect(BUILT_IN.has(name), name).toBe(true);
});

describe("an alert evaluated in the process", () => {
  test.each(TRIALS.map((trial) => ({ ...trial })))("$name", (trial) => {
    const interval = secondsOf(trial.interval);
    const replay = new Replay(RULES, trial.input_series.map(givenSeries), interval);
    const name = trial.alert_rule_test[0]?.alertname ?? "";
    const until = Math.max(...trial.alert_rule_test.map((one) => secondsOf(one.eval_time)));
    const seen = new Map<number, unknown[]>();
    for (let at = 0; at < until; ) {
      at = replay.step();
      seen.set(at, firing(replay, name));
    }
    for (const { eval_time, exp_alerts } of trial.alert_rule_test) {
      const expected = exp_alerts.map(({ exp_labels, exp_annotations }) => ({
        labels: exp_labels,
        summary: exp_annotations["summary"],
        description: exp_annotations["description"],
      }));
      expect(seen.get(secondsOf(eval_time)), eval_time).toEqual(expected);
    }
    const tree = BUILT_IN.get(name)?.tree ?? null;
    for (const { eval_time } of trial.promql_expr_test ?? []) {
      const atSeconds = secondsOf(eval_time);
      const recorded = replay.evaluation.recorded(atSeconds);
      expect(tree === null ? tree : evaluate(tree, { store: replay.store, recorded, atSeconds })).toEqual([]);
    }
  });
});

function firing(replay: Replay, name: string): unknown[] {
  const standing = replay.evaluation.standings().find(({ rule }) => rule.name === name);
  const { severity = "", component = "" } = standing?.rule ?? {};
  return (standing?.alerts ?? [])
    .filter(({ state }) => state === "firing")
    .map(({ labels, summary, description }) => ({
      labels: { ...labels, severity, component },
      summary,
      description,
    }));
}
