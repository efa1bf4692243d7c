/**
 * A comparison of made-up results whose answer is known, in its three forms: values, terminal,
 * page. The page is one file that loads nothing else, with a text alternative for every chart. C is
 * of chart.ts.
 */
import { Prng } from "@kvsync/core";
import { describe, expect, it } from "vitest";

import { LatencyHistogram } from "../simulate/latency-histogram.ts";
import type { SimulationResult } from "../simulate/simulation-result.ts";
import { compareResults, type Contrast } from "./comparison.ts";
import { type ComparisonDocument, type ComparisonFigures, comparisonJson } from "./comparison-document.ts";
import { comparisonMarkdown } from "./comparison-markdown.ts";
import { comparisonPage } from "./comparison-page.ts";
import { comparisonTable } from "./comparison-table.ts";
import { RUN_METRICS } from "./run-metric.ts";

interface Made {
  readonly policy: SimulationResult["config"]["policy"];
  readonly seed: number;
  readonly hitRate: number;
  readonly firstTokenSeconds: number;
  readonly workload?: string;
  readonly engineCount?: number;
  readonly eventDelaySeconds?: number;
}

const ROWS = 150;

function made(settings: Made): SimulationResult {
  const { policy, seed, hitRate, firstTokenSeconds } = settings;
  const { workload = "chat", engineCount = 4, eventDelaySeconds = 0 } = settings;
  const firstToken = new LatencyHistogram();
  for (let i = 1; i <= 100; i++) firstToken.record((2 * firstTokenSeconds * i) / 100);
  const rows = (value: number): number[] => Array.from({ length: ROWS }, () => value);
  return {
    config: {
      seed,
      policy,
      workload,
      engineCount,
      costModel: "llama-3.1-8b/1xh100",
      blockSize: 16,
      blockCount: 1_000,
      hostBlockCount: 0,
      maxBatchedTokens: 8_192,
      maxSequences: 256,
      eventDelaySeconds,
      eventLoss: 0,
      eventReorder: 0,
      historyMessages: 1_000,
      eventPath: "direct",
    },
    totals: {
      requests: 100,
      completed: 100,
      refused: 0,
      promptTokens: 16_000,
      outputTokens: 5_000,
      promptBlocks: 1_000,
      hitBlocks: 1_000 * hitRate,
      hitHostBlocks: 0,
      hitTokens: 16_000 * hitRate,
      bestHitBlocks: 800,
      predictedHitBlocks: 1_000 * hitRate + 10,
      preemptions: 3,
      steps: 10,
      messages: 10,
      events: 10,
      storedBlocks: 10,
      removedBlocks: 0,
      messagesLost: 0,
      messagesReordered: 0,
      replays: 0,
      makespanSeconds: 100,
    },
    firstToken: firstToken.data(),
    interToken: firstToken.data(),
    queue: firstToken.data(),
    endToEnd: firstToken.data(),
    engines: Array.from({ length: engineCount }, (_, i) => ({
      worker: `engine-${i}`,
      requests: 25,
      promptTokens: 4_000,
      outputTokens: 1_250,
      promptBlocks: 250,
      hitBlocks: 250 * hitRate,
      preemptions: 0,
      steps: 5,
      busySeconds: 10 * (i + 1),
      utilisation: (i + 1) / 10,
      queueMax: 1,
      runningMax: 2,
      storedBlocks: 5,
      removedBlocks: 0,
    })),
    series: {
      intervalSeconds: 10,
      arrivals: rows(1),
      completions: rows(1),
      promptBlocks: rows(7),
      hitBlocks: rows(7 * hitRate),
      waiting: rows(2),
      running: rows(3),
      engineBusy: [],
      lagSecondsMax: rows(eventDelaySeconds),
    },
  };
}

/** Ours: hits of 0.5, 1 s. The others differ from it by what their line says, and all scatter with the seed. */
function results(): SimulationResult[] {
  const others = [
    { policy: "kvsync", hits: 0, seconds: 0, scatter: 0 },
    { policy: "random", hits: -0.3, seconds: 0.5, scatter: 0 },
    { policy: "oracle", hits: 0.1, seconds: -0.2, scatter: 0 },
    { policy: "least-loaded", hits: 0.001, seconds: 0.01, scatter: 0 },
    { policy: "round-robin", hits: 0, seconds: 0.1, scatter: 0.6 },
  ] as const;
  return [1, 2, 3, 4, 5].flatMap((seed) => {
    const random = new Prng(seed);
    const luck = random.below(1_000) / 10_000;
    return others.map(({ policy, hits, seconds, scatter }) =>
      made({
        policy,
        seed,
        hitRate: 0.5 + hits + luck / 10,
        firstTokenSeconds: 1 + seconds + luck + scatter * (random.below(1_000) / 1_000 - 0.5),
      }),
    );
  });
}

function verdict(policy: string, metric: Contrast["metric"]): Contrast["verdict"] | undefined {
  const { contrasts } = compareResults(results()).cases[0]!;
  return contrasts.find((one) => one.policy === policy && one.metric === metric)?.verdict;
}

describe("a quantile of a run", () => {
  it("is within 0.2 % of the sample at its rank, finer than the histogram's buckets", () => {
    for (const factor of [1, 1.003, 1.006, 1.009]) {
      const firstToken = new LatencyHistogram();
      for (let i = 1; i <= 20_000; i++) firstToken.record((factor * i) / 10_000);
      const run = made({ policy: "random", seed: 1, hitRate: 0, firstTokenSeconds: 1 });
      const p90 = RUN_METRICS.firstTokenP90.read({ ...run, firstToken: firstToken.data() });
      expect(Math.abs(p90 / (1.8 * factor) - 1)).toBeLessThan(0.002);
    }
  });
});

describe("a comparison", () => {
  it("gives each figure its mean, interval and values by seed", () => {
    const [one] = compareResults(results()).cases;
    const ours = one!.policies.find(({ policy }) => policy === "kvsync")!;
    expect(ours.metrics.hitRate.values).toHaveLength(5);
    expect(ours.metrics.hitRate.low).toBeLessThan(ours.metrics.hitRate.mean);
    expect(ours.metrics.hitRate.mean).toBeCloseTo(0.505, 2);
    expect(ours.metrics.firstTokenP50.mean).toBeCloseTo(1.05, 1);
    expect(ours.metrics.imbalance.mean).toBeCloseTo(40 / 25, 10);
    expect(ours.metrics.shareOfBest.mean).toBeCloseTo(505 / 800, 2);
    expect(ours.metrics.overestimate.mean).toBeCloseTo(0.01, 5);
    expect(ours.metrics.promptStarts.mean).toBeGreaterThan(0.4);
    expect(ours.metrics.promptStarts.mean).toBeLessThan(0.51);
  });

  it("calls a difference won or lost when it is clear and matters", () => {
    expect(verdict("random", "hitRate")).toBe("won");
    expect(verdict("random", "firstTokenP90")).toBe("won");
    expect(verdict("oracle", "hitRate")).toBe("lost");
    expect(verdict("oracle", "firstTokenMean")).toBe("lost");
  });

  it("calls it a tie when it is clear but too small to matter, and when it drowns in scatter", () => {
    expect(verdict("least-loaded", "hitRate")).toBe("tie");
    expect(verdict("least-loaded", "firstTokenP50")).toBe("tie");
    expect(verdict("round-robin", "firstTokenP90")).toBe("tie");
  });

  it("is the same whatever order the runs ended in, but for the order of rows", () => {
    const forwards = compareResults(results());
    const backwards = compareResults(results().reverse());
    const sorted = ({ cases, seeds }: typeof forwards): unknown => [
      seeds.toSorted(),
      cases.map((one) =>
        one.policies
          .toSorted((a, b) => a.policy.localeCompare(b.policy))
          .map(({ policy, metrics }) => [policy, metrics.hitRate.mean, metrics.firstTokenP90.low]),
      ),
    ];
    expect(sorted(backwards)).toEqual(sorted(forwards));
  });

  it("draws over time with no more rows than a chart has room for, and loses none of the hits", () => {
    const { charts } = compareResults(results()).cases[0]!.policies[0]!;
    expect(charts.hitRate.rows.length).toBeLessThanOrEqual(75);
    expect(charts.hitRate.intervalSeconds * charts.hitRate.rows.length).toBeGreaterThanOrEqual(10 * ROWS);
    for (const rate of charts.hitRate.rows) expect(rate).toBeCloseTo(0.505, 2);
    expect(charts.busyByRank).toEqual([0.4, 0.3, 0.2, 0.1]);
  });
});

const SETTINGS = [
  { workload: "chat", engineCount: 4 },
  { workload: "chat", engineCount: 8 },
  { workload: "chat", engineCount: 4, eventDelaySeconds: 0.05 },
  { workload: 'a <b> & "c"' },
];

function document(): ComparisonDocument {
  const runs = SETTINGS.flatMap((setting) =>
    results().map(({ config, totals }) =>
      made({
        ...setting,
        policy: config.policy,
        seed: config.seed,
        hitRate: totals.hitBlocks / totals.promptBlocks,
        firstTokenSeconds: 1,
      }),
    ),
  );
  return {
    provenance: {
      seeds: [1, 2, 3, 4, 5],
      commit: "0123456789",
      node: "v20",
      machine: "test",
      command: "router-sim compare",
    },
    setup: [["cost model", "llama-3.1-8b/1xh100"]],
    workloads: [
      {
        name: "chat",
        about: "talk",
        requestCount: 100,
        durationSeconds: 600,
        inputTokensMean: 160,
        outputTokensMean: 50,
        ceiling: 0.8,
        ceilingsByEngines: [{ engineCount: 4, hitShare: 0.7 }],
      },
    ],
    comparison: compareResults(runs),
  };
}

describe("the terminal's table", () => {
  it("lists policies by their latency with intervals, and says whom ours beats", () => {
    const text = comparisonTable(compareResults(results()).cases[0]!);
    const lines = text.split("\n");
    expect(lines[0]).toBe("chat: 4 engines, events 0 ms late");
    expect(lines[2]).toMatch(/^oracle +60\.\d\d % ± 0\.\d\d % /);
    expect(text).toMatch(
      /^kvsync, hit rate: better than random; ties with .*least-loaded.*; worse than oracle$/m,
    );
  });
});

describe("the JSON", () => {
  const parsed = JSON.parse(comparisonJson(document())) as ComparisonFigures;

  it("begins with where it comes from, and has every figure of every case", () => {
    expect(Object.keys(parsed)[0]).toBe("provenance");
    expect(parsed.comparison.cases).toHaveLength(SETTINGS.length);
    expect(parsed.comparison.cases[0]?.policies[0]?.metrics).toEqual(
      document().comparison.cases[0]?.policies[0]?.metrics,
    );
  });

  it("is all that the Markdown needs, which shows its verdicts and intervals", () => {
    const markdown = comparisonMarkdown(parsed);
    expect(markdown).toBe(comparisonMarkdown(document()));
    expect(markdown.split("\n")[0]).toBe("seeds 1 to 5 · commit 0123456789 · Node v20 · test");
    expect(markdown).toMatch(/^\| chat: 4 engines, events 0 ms late \| = 0 %, ▲ \+30\.0 pt \|/m);
    expect(markdown).toMatch(/^\| kvsync \| 50\.\d\d % ± 0\.\d\d % \|/m);
    expect(markdown).toContain("memory of all engines would hit 70.00 % of prompt blocks");
  });
});

describe("the page", () => {
  const page = comparisonPage(document());

  it("begins with seeds, commit and versions, for readers of the file and of the page", () => {
    const line = "seeds 1 to 5 · commit 0123456789 · Node v20 · test";
    expect(page.split("\n")[0]).toBe(`<!doctype html><!-- ${line} -->`);
    expect(page).toContain(`<p class="provenance">${line}</p>`);
  });

  it("asks nobody for anything: no address, no script, nothing imported", () => {
    expect(page).not.toMatch(/https?:|src=|href=|@import|url\(|<script/);
  });

  it("has a text alternative with figures for every chart (C1)", () => {
    const charts = page.match(/<svg viewBox[^>]*role="img"[^>]*>/g) ?? [];
    expect(charts.length).toBeGreaterThanOrEqual(6 * 2);
    for (const chart of charts) expect(chart).toMatch(/aria-label="[^"]{20,}\d[^"]*"/);
    const others = page.match(/<svg(?![^>]*role="img")[^>]*>/g) ?? [];
    for (const other of others) expect(other).toContain('aria-hidden="true"');
  });

  it("draws no color in a chart, and has a light and a dark color for every policy drawn (C2)", () => {
    const charts = (page.match(/<svg[\s\S]*?<\/svg>/g) ?? []).join("");
    expect(charts).not.toMatch(/ (?:fill|stroke|color|style)=|#[0-9a-f]{3,8}\b|rgb|hsl/i);
    const drawn = new Set([...charts.matchAll(/class="(?:line|mark) p-([\w-]+)"/g)].map(([, name]) => name));
    expect(drawn.size).toBeGreaterThan(1);
    const [light = "", dark = ""] = page.split("@media (prefers-color-scheme:dark)");
    for (const policy of drawn)
      for (const style of [light, dark])
        expect(style).toMatch(new RegExp(`\\.p-${policy}\\{--c:#[0-9a-f]{6}`));
  });

  it("labels every axis with its unit", () => {
    for (const label of [
      "hit rate, %",
      "TTFT p90, seconds",
      "minutes",
      "time at work, %",
      "event delay, ms",
      "engines",
    ]) {
      expect(page).toContain(`>${label}`);
    }
  });

  it("closes every element that it opens, and nothing in it is not a number", () => {
    for (const element of [
      "svg",
      "figure",
      "section",
      "table",
      "tr",
      "td",
      "g",
      "text",
      "details",
      "p",
      "div",
      "label",
    ]) {
      const opened = page.match(new RegExp(`<${element}[ >]`, "g"))?.length;
      expect(page.match(new RegExp(`</${element}>`, "g"))?.length, element).toBe(opened);
    }
    expect(page).not.toMatch(/NaN|Infinity|undefined/);
  });

  it("shows a workload's name as it is, whatever characters it has", () => {
    expect(page).toContain("<h2>a &lt;b&gt; &amp; &quot;c&quot;</h2>");
  });

  it("is the same for the same document (C3)", () => {
    expect(comparisonPage(document())).toBe(page);
  });
});
