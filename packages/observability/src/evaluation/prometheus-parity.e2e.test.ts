/**
 * The evaluator against Debian's Prometheus, on the same samples and instants: two independent
 * readings of the same rules.
 *
 *  - instants at which alerts are pending and firing, from promtool's own evaluation of the rule file
 *  - values of every expression, from a server
 *
 * The series are those of the trials, with random values from a seed: counters begin again, series
 * end and come back, histograms shift.
 */
import { type ChildProcess, spawn, spawnSync } from "node:child_process";
import { mkdtempSync, rmSync, writeFileSync } from "node:fs";
import { type AddressInfo, createServer } from "node:net";
import { tmpdir } from "node:os";
import { join } from "node:path";

import { afterAll, beforeAll, describe, expect, test, vi } from "vitest";
import { stringify } from "yaml";

import { KVSYNC } from "../kvsync/project.ts";
import type { Tree } from "../proof/promql-tree.ts";
import { walkTree } from "../proof/tree-walk.ts";
import { ruleFile } from "../rules/prometheus.ts";
import { compileRules } from "./compile-rules.ts";
import { evaluate, type Value } from "./evaluate.ts";
import { type GivenSeries, nameAndLabels, Replay, seeded } from "./testing/given-series.ts";

const HAS_PROMETHEUS = ["promtool", "prometheus"].every(
  (program) => spawnSync(program, ["--version"]).status === 0,
);
const TIMEOUT_MS = 180_000;
const INTERVAL_SECONDS = 15;
const RULES = compileRules(KVSYNC);
const BUILT_IN = RULES.alerts.filter(({ tree }) => tree !== null);
const ALERTS = KVSYNC.alertGroups.flatMap(({ alerts }) => alerts);

/** Labels that tell a second series of the same kind apart. */
const OTHERS: Readonly<Record<string, string>> = {
  pod: "engine-1",
  worker: "1",
  lane: "replay",
  source: "file",
  instance: "10.0.0.2:7070",
};

/** Each series of the trials, and a second one with another pod, worker, lane, source and instance. */
function seriesOfTrials(): { readonly name: string; readonly labels: Record<string, string> }[] {
  const texts = ALERTS.filter(({ name }) => BUILT_IN.some((rule) => rule.name === name)).flatMap((alert) =>
    alert.trial.series(alert.trial.fires).map(({ series }) => series),
  );
  const all = [...new Set(texts)].map(nameAndLabels).flatMap(({ name, labels }) => {
    const other = Object.entries(labels).map(([label, value]) => [label, OTHERS[label] ?? value]);
    return [
      { name, labels: { ...labels } },
      { name, labels: Object.fromEntries(other) as Record<string, string> },
    ];
  });
  const keyed = all.map((one): [string, (typeof all)[number]] => [textOf(one), one]);
  return [...new Map(keyed).values()];
}

function textOf({
  name,
  labels,
}: {
  readonly name: string;
  readonly labels: Record<string, string>;
}): string {
  const pairs = Object.entries(labels).map(([label, value]) => `${label}=${JSON.stringify(value)}`);
  return `${name}{${pairs.sort().join(",")}}`;
}

const isCounter = (name: string): boolean => /_(?:total|bucket|sum|count)$/.test(name);

/**
 * Random values: a counter grows by steps of its own size, and begins again now and then. With `ends`
 * series also end and come back.
 */
function randomSeries(count: number, seed: number, ends: boolean): GivenSeries[] {
  const random = seeded(seed);
  return seriesOfTrials().map(({ name, labels }) => {
    const size = 10 ** Math.floor(random() * 5 - 2);
    let value = Math.round(random() * size * 100) / 100;
    let isThere = true;
    const values = Array.from({ length: count }, () => {
      if (ends && random() < 0.04) isThere = !isThere;
      if (!isCounter(name)) value = random() < 0.3 ? value : Number((random() * size * 3).toPrecision(6));
      else if (random() < 0.03) value = 0;
      else value = Number((value + random() * size).toPrecision(9));
      return isThere ? value : null;
    });
    return { name, labels, values };
  });
}

describe.skipIf(!HAS_PROMETHEUS)("with Prometheus (Debian package prometheus)", () => {
  const folder = mkdtempSync(join(tmpdir(), "kvsync-parity-"));
  let server: ChildProcess | null = null;

  beforeAll(() => {
    // A process evaluates objectives as often as all else, Prometheus once a minute.
    const rules = ruleFile(KVSYNC).replaceAll("interval: 1m", `interval: ${INTERVAL_SECONDS}s`);
    writeFileSync(join(folder, "kvsync.rules.yaml"), rules);
  });
  afterAll(async () => {
    if (server !== null && server.exitCode === null) {
      const ended = new Promise((resolve) => server?.once("exit", resolve));
      server.kill("SIGKILL");
      await ended;
    }
    rmSync(folder, { recursive: true });
  });

  test.each([1, 2, 3])(
    "alerts are pending and fire at the same instants (seed %i)",
    (seed) => {
      const count = 120;
      const given = randomSeries(count, seed, true);
      const replay = new Replay(RULES, given, INTERVAL_SECONDS);
      const expected: object[] = [];
      let firings = 0;
      for (let i = 0; i < count; i++) {
        const at = replay.step();
        const exp_samples: object[] = [];
        for (const { rule, alerts } of replay.evaluation.standings()) {
          for (const state of ["pending", "firing"] as const) {
            const held = alerts.filter((alert) => alert.state === state).length;
            if (state === "firing") firings += held;
            if (held === 0) continue;
            const labels = `{alertname="${rule.name}",alertstate="${state}"}`;
            exp_samples.push({ labels, value: held });
          }
        }
        const names = BUILT_IN.map(({ name }) => name).join("|");
        const expr = `count by (alertname, alertstate) (ALERTS{alertname=~"${names}"})`;
        expected.push({ expr, eval_time: `${at}s`, exp_samples });
      }
      // Otherwise the random values show nothing.
      expect(firings).toBeGreaterThan(500);
      const input_series = given.map((series) => ({
        series: textOf(series),
        values: series.values.map((value) => (value === null ? "stale" : String(value))).join(" "),
      }));
      const file = `seed-${seed}.test.yaml`;
      const interval = `${INTERVAL_SECONDS}s`;
      const tests = [{ interval, input_series, promql_expr_test: expected }];
      const head = {
        rule_files: ["kvsync.rules.yaml"],
        evaluation_interval: interval,
        // In another order an alert sees recorded series of the instant before.
        group_eval_order: [...KVSYNC.recordingGroups, ...KVSYNC.alertGroups].map(({ name }) => name),
      };
      writeFileSync(join(folder, file), stringify({ ...head, tests }, { aliasDuplicateObjects: false }));
      const { status, stdout, stderr } = spawnSync("promtool", ["test", "rules", file], {
        cwd: folder,
        encoding: "utf8",
        timeout: TIMEOUT_MS,
      });
      expect(status, (stdout + stderr).slice(0, 4000)).toBe(0);
    },
    TIMEOUT_MS,
  );

  test(
    "every expression has the same value at the same instant",
    async () => {
      const count = 300;
      const given = randomSeries(count, 7, false);
      const base = (Math.floor(Date.now() / 1000 / INTERVAL_SECONDS) - count - 20) * INTERVAL_SECONDS;
      const lines = given.flatMap(({ name, labels, values }) =>
        values.map(
          (value, i) => `${textOf({ name, labels })} ${String(value)} ${base + i * INTERVAL_SECONDS}`,
        ),
      );
      writeFileSync(join(folder, "samples"), `${lines.join("\n")}\n# EOF\n`);
      const made = spawnSync(
        "promtool",
        ["tsdb", "create-blocks-from", "openmetrics", join(folder, "samples"), join(folder, "data")],
        { encoding: "utf8" },
      );
      expect(made.status, made.stderr).toBe(0);
      writeFileSync(join(folder, "empty.yaml"), "");
      const url = `http://127.0.0.1:${await freePort()}`;
      server = spawn(
        "prometheus",
        [
          `--config.file=${join(folder, "empty.yaml")}`,
          `--storage.tsdb.path=${join(folder, "data")}`,
          `--web.listen-address=${url.slice(7)}`,
        ],
        { stdio: "ignore" },
      );
      await vi.waitFor(
        async () => {
          const { status } = await fetch(`${url}/-/ready`);
          expect(status).toBe(200);
        },
        { timeout: 60_000, interval: 100 },
      );
      const replay = new Replay(RULES, given, INTERVAL_SECONDS, base);
      const differences: string[] = [];
      let compared = 0;
      for (let i = 0; i < count; i++) {
        const at = replay.step();
        if (!INSTANTS.includes(i)) continue;
        // Also between two samplings, where a server may evaluate.
        for (const atSeconds of [at, at + 7]) {
          const recorded = replay.evaluation.recorded(atSeconds);
          const answers = EXPRESSIONS.map(async ({ text, tree }) => {
            const theirs = await asked(url, text, atSeconds);
            const ours = mapOf(evaluate(tree, { store: replay.store, recorded, atSeconds }));
            compared += theirs.size;
            differences.push(...differencesOf(ours, theirs).map((one) => `${text} at ${i}: ${one}`));
          });
          await Promise.all(answers);
        }
      }
      expect(differences).toEqual([]);
      // Otherwise most expressions have no value, and equality shows nothing.
      expect(compared).toBeGreaterThan(5000);
    },
    TIMEOUT_MS,
  );
});

/** Instants with one sample, few samples, and full and more than full ranges. */
const INSTANTS = [0, 1, 5, 19, 20, 21, 60, 119, 241, 299];

/** Relative; sums are added in another order. */
const DIFFERENCE_MAX = 1e-9;

const RECORDED = new Map(
  KVSYNC.recordingGroups.flatMap(({ rules }) => rules.map((rule) => [rule.name, rule])),
);

/** Text of a server without recordings: their expressions in their places. */
function expanded(text: string): string {
  let plain = text;
  for (const [name, { expression }] of RECORDED) plain = plain.replaceAll(name, `(${expression})`);
  return plain;
}

/** PromQL of a part of an expression. */
function written(tree: Tree): string {
  switch (tree.kind) {
    case "number":
      return String(tree.value);
    case "string":
      return JSON.stringify(tree.value);
    case "selector": {
      const recorded = RECORDED.get(tree.name);
      if (recorded !== undefined) return `(${recorded.expression})`;
      const matchers = tree.matchers.map(
        ({ label, operator, value }) => `${label}${operator}${JSON.stringify(value)}`,
      );
      return `${tree.name}{${matchers.join(",")}}${tree.range === null ? "" : `[${tree.range}]`}`;
    }
    case "negation":
      return `-(${written(tree.of)})`;
    case "aggregation":
      return `${tree.operator} ${tree.mode} (${tree.labels.join(",")}) (${written(tree.of)})`;
    case "call":
      return `${tree.name}(${tree.arguments.map(written).join(",")})`;
    case "binary": {
      const { matching } = tree;
      const on = matching === null ? "" : `${matching.mode} (${matching.labels.join(",")})`;
      return `(${written(tree.left)}) ${tree.operator} ${on} (${written(tree.right)})`;
    }
  }
}

/** Each alert and recording as in the rule file, and each part of them that is a vector. */
const EXPRESSIONS: readonly { readonly text: string; readonly tree: Tree }[] = [
  ...BUILT_IN.flatMap(({ name, tree }) => {
    const text = ALERTS.find((alert) => alert.name === name)?.expression;
    return text === undefined || tree === null ? [] : [{ text: expanded(text), tree }];
  }),
  ...RULES.recordings.map(({ name, tree }) => ({ text: RECORDED.get(name)?.expression ?? "", tree })),
  ...parts(),
];

function parts(): { text: string; tree: Tree }[] {
  const found = new Map<string, Tree>();
  for (const { tree } of [...BUILT_IN, ...RULES.recordings])
    if (tree !== null)
      walkTree(tree, (node) => {
        const isTime = node.kind === "call" && node.name === "time";
        if (!isTime && ["aggregation", "call", "binary", "negation"].includes(node.kind))
          found.set(written(node), node);
      });
  return [...found].map(([text, tree]) => ({ text, tree }));
}

/** By labels. */
function mapOf(value: Value): Map<string, number> {
  if (typeof value === "number") return new Map([["", value]]);
  return new Map(value.map((element) => [keyOf(element.labels), element.value]));
}

function keyOf(labels: Readonly<Record<string, string>>): string {
  return Object.entries(labels)
    .filter(([label, value]) => label !== "__name__" && value !== "")
    .map(([label, value]) => `${label}=${value}`)
    .sort()
    .join(",");
}

async function asked(url: string, text: string, atSeconds: number): Promise<Map<string, number>> {
  const body = new URLSearchParams({ query: text, time: String(atSeconds) });
  const response = await fetch(`${url}/api/v1/query`, { method: "POST", body });
  const { data, error } = (await response.json()) as {
    error?: string;
    data?: {
      resultType: string;
      result: { metric: Record<string, string>; value: [number, string] }[];
    };
  };
  if (data?.resultType !== "vector") throw new Error(`${text}: ${error ?? data?.resultType ?? ""}`);
  return new Map(data.result.map(({ metric, value }) => [keyOf(metric), numberOf(value[1])]));
}

function numberOf(text: string): number {
  return text === "+Inf" ? Infinity : text === "-Inf" ? -Infinity : Number(text);
}

function differencesOf(ours: ReadonlyMap<string, number>, theirs: ReadonlyMap<string, number>): string[] {
  const keys = new Set([...ours.keys(), ...theirs.keys()]);
  return [...keys]
    .filter((key) => !isEqual(ours.get(key), theirs.get(key)))
    .map((key) => `{${key}} is ${ours.get(key) ?? "missing"}, not ${theirs.get(key) ?? "missing"}`);
}

function isEqual(one: number | undefined, other: number | undefined): boolean {
  if (one === undefined || other === undefined) return false;
  if (Object.is(one, other) || one === other) return true;
  return Math.abs(one - other) <= DIFFERENCE_MAX * Math.max(Math.abs(one), Math.abs(other));
}

async function freePort(): Promise<number> {
  const probe = createServer();
  await new Promise<void>((resolve) => probe.listen(0, "127.0.0.1", resolve));
  const { port } = probe.address() as AddressInfo;
  await new Promise((resolve) => probe.close(resolve));
  return port;
}
