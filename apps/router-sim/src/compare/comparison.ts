/**
 * Many runs made one comparison. Each case (workload × engines × event delay) and policy has its
 * figures, with confidence intervals over seeds, and the data of the charts. Each case also has our
 * policy's result against each other one. All are plain values, fit for JSON. They are the same for
 * the same runs in any order.
 *
 *     case        ┌ policy ┬ metrics: mean, interval, a value per seed
 *     ────────────┤        └ charts: TTFT quantiles, hit rate and queue over time, load by engine, lag over time
 *                 └ contrasts: ours minus another policy, seed by seed
 *
 * A contrast is *won* or *lost* when the interval of the differences leaves out zero and the
 * difference matters (MATTERS_SHARE, MATTERS_POINTS). Otherwise it is a *tie*. Every interval is
 * right in 95 of 100 cases: among twenty contrasts expect
 * one that is wrong.
 */
import { type Interval, meanInterval, pairedDifference } from "../report/statistics.ts";
import { type LatencyData, latencyQuantiles } from "../simulate/latency-histogram.ts";
import { policyLabel, type SimulationResult } from "../simulate/simulation-result.ts";
import { RUN_METRIC_NAMES, RUN_METRICS, type RunMetricName } from "./run-metric.ts";

/** Ours, which others are compared with. */
export const REFERENCE_POLICY = "kvsync";

/** Of the other policy's latency: a difference below 2 % nobody notices. */
const MATTERS_SHARE = 0.02;
/** Of a hit rate or another share: half a percentage point. */
const MATTERS_POINTS = 0.005;

/** What contrasts are made of. */
export const CONTRAST_METRICS = [
  "hitRate",
  "firstTokenMean",
  "firstTokenP50",
  "firstTokenP90",
  "firstTokenP99",
] as const;

/** A contrast's figure. */
type ContrastMetric = (typeof CONTRAST_METRICS)[number];

/** Rows of a chart over time: more than a chart has room for in pixels of a phone. */
const SERIES_ROWS_MAX = 60;

/** An interval with less than this of the mean interval's blocks, such as the last, tells nothing of a rate. */
const TELLING_SHARE = 0.1;

/** Where the distribution of TTFT is drawn. */
const QUANTILE_SHARES: readonly number[] = [
  0.001, 0.005, 0.01, 0.02, 0.03, 0.05, 0.075, 0.1, 0.15, 0.2, 0.25, 0.3, 0.35, 0.4, 0.45, 0.5, 0.55, 0.6,
  0.65, 0.7, 0.75, 0.8, 0.85, 0.9, 0.925, 0.95, 0.97, 0.98, 0.99, 0.995, 0.999, 1,
];

/** A figure over the seeds. */
export interface MetricResult extends Interval {
  /** In the order of the comparison's seeds. */
  readonly values: readonly number[];
}

/** Something over time: row i tells of the interval that begins at i × intervalSeconds; null where nothing happened. */
export interface ChartSeries {
  readonly intervalSeconds: number;
  readonly rows: readonly (number | null)[];
}

/** What charts draw of a policy in a case; all seeds together. */
interface PolicyCharts {
  /** [share of requests, seconds within which their first token came]. */
  readonly firstTokenQuantiles: readonly (readonly [number, number])[];
  /** Hits ÷ full prompt blocks of the requests admitted in the interval. */
  readonly hitRate: ChartSeries;
  /** Requests waiting: the greatest sample of the interval, each a mean of the seeds. */
  readonly waiting: ChartSeries;
  /** The oldest event that the index lacked at a routing in the interval, seconds, greatest of the seeds. */
  readonly lagSecondsMax: ChartSeries;
  /** Share of time at work of the busiest engine, of the next one, …: each a mean of the seeds. */
  readonly busyByRank: readonly number[];
}

/** A policy's figures in a case. */
export interface PolicyFigures {
  readonly policy: string;
  readonly metrics: Readonly<Record<RunMetricName, MetricResult>>;
}

/** A policy in a case. */
export interface PolicyResult extends PolicyFigures {
  readonly charts: PolicyCharts;
}

/** Ours against another policy. */
export interface Contrast {
  readonly policy: string;
  readonly metric: ContrastMetric;
  /** Ours minus the other's, seed by seed. */
  readonly difference: Interval;
  /** The difference's mean ÷ the other's mean; 0 when that is 0. */
  readonly relative: number;
  readonly verdict: "won" | "tie" | "lost";
}

/** Everything that policies were compared under. */
export interface ComparisonCase {
  readonly workload: string;
  readonly engineCount: number;
  readonly eventDelaySeconds: number;
  readonly policies: readonly PolicyResult[];
  readonly contrasts: readonly Contrast[];
}

/** See the header. */
export interface Comparison {
  readonly seeds: readonly number[];
  readonly cases: readonly ComparisonCase[];
}

/**
 * Makes the comparison.
 *
 * @param results - one per case, policy and seed; every policy of a case with the same seeds.
 * @returns the comparison; cases and policies in the order in which they first appear.
 */
export function compareResults(results: readonly SimulationResult[]): Comparison {
  const seeds = [...new Set(results.map(({ config }) => config.seed))];
  const cases = groupBy(results, ({ config }) =>
    JSON.stringify([config.workload, config.engineCount, config.eventDelaySeconds]),
  );
  return { seeds, cases: cases.map((runs) => comparisonCase(runs, seeds)) };
}

function comparisonCase(runs: readonly SimulationResult[], seeds: readonly number[]): ComparisonCase {
  const policies = groupBy(runs, ({ config }) => policyLabel(config)).map((ofPolicy) =>
    policyResult(ofPolicy.toSorted((a, b) => seeds.indexOf(a.config.seed) - seeds.indexOf(b.config.seed))),
  );
  const [first] = runs;
  return {
    workload: first?.config.workload ?? "",
    engineCount: first?.config.engineCount ?? 0,
    eventDelaySeconds: first?.config.eventDelaySeconds ?? 0,
    policies,
    contrasts: contrastsOf(policies),
  };
}

function policyResult(runs: readonly SimulationResult[]): PolicyResult {
  const metrics = {} as Record<RunMetricName, MetricResult>;
  for (const name of RUN_METRIC_NAMES) {
    const values = runs.map((run) => rounded(RUN_METRICS[name].read(run)));
    metrics[name] = roundedInterval({ ...meanInterval(values), values });
  }
  const [first] = runs;
  return { policy: first === undefined ? "" : policyLabel(first.config), metrics, charts: chartsOf(runs) };
}

function contrastsOf(policies: readonly PolicyResult[]): Contrast[] {
  const ours = policies.find(({ policy }) => policy === REFERENCE_POLICY);
  if (ours === undefined) return [];
  return policies
    .filter((other) => other !== ours)
    .flatMap((other) => CONTRAST_METRICS.map((metric) => contrastOf(metric, ours, other)));
}

function contrastOf(metric: ContrastMetric, ours: PolicyResult, other: PolicyResult): Contrast {
  const others = other.metrics[metric];
  const difference = roundedInterval(pairedDifference(ours.metrics[metric].values, others.values));
  const { better, format } = RUN_METRICS[metric];
  const matters = format === "percent" ? MATTERS_POINTS : MATTERS_SHARE * others.mean;
  const clear = difference.low > 0 || difference.high < 0;
  let verdict: Contrast["verdict"] = "tie";
  if (clear && Math.abs(difference.mean) >= matters)
    verdict = difference.mean > 0 === (better === "higher") ? "won" : "lost";
  const relative = others.mean === 0 ? 0 : rounded(difference.mean / others.mean);
  return { policy: other.policy, metric, difference, relative, verdict };
}

function chartsOf(runs: readonly SimulationResult[]): PolicyCharts {
  const seconds = latencyQuantiles(pooled(runs.map(({ firstToken }) => firstToken)), QUANTILE_SHARES);
  const intervalSeconds = runs[0]?.series.intervalSeconds ?? 1;
  const rowCount = Math.max(...runs.map(({ series }) => series.arrivals.length));
  const rowsEach = Math.ceil(rowCount / SERIES_ROWS_MAX);
  const series = (reduce: (rows: readonly number[]) => number | null): ChartSeries => ({
    intervalSeconds: intervalSeconds * rowsEach,
    rows: Array.from({ length: Math.ceil(rowCount / rowsEach) }, (_, row) => {
      const rows = Array.from({ length: rowsEach }, (__, i) => row * rowsEach + i);
      const value = reduce(rows.filter((i) => i < rowCount));
      return value === null ? null : rounded(value);
    }),
  });
  const sum = (of: (run: SimulationResult) => readonly number[], rows: readonly number[]): number =>
    runs.reduce((total, run) => total + rows.reduce((part, row) => part + (of(run)[row] ?? 0), 0), 0);
  const allRows = Array.from({ length: rowCount }, (_, row) => row);
  const tooFewBlocks =
    (TELLING_SHARE * rowsEach * sum((run) => run.series.promptBlocks, allRows)) / Math.max(1, rowCount);
  return {
    firstTokenQuantiles: QUANTILE_SHARES.map((share, i) => [share, rounded(seconds[i] ?? 0)] as const),
    hitRate: series((rows) => {
      const blocks = sum((run) => run.series.promptBlocks, rows);
      return blocks <= tooFewBlocks ? null : sum((run) => run.series.hitBlocks, rows) / blocks;
    }),
    waiting: series((rows) =>
      Math.max(...rows.map((row) => sum((run) => run.series.waiting, [row]) / runs.length)),
    ),
    lagSecondsMax: series((rows) => {
      if (sum((run) => run.series.arrivals, rows) === 0) return null;
      return Math.max(...runs.flatMap((run) => rows.map((row) => run.series.lagSecondsMax[row] ?? 0)));
    }),
    busyByRank: busyByRank(runs),
  };
}

function busyByRank(runs: readonly SimulationResult[]): number[] {
  const sorted = runs.map(({ engines }) =>
    engines.map(({ utilisation }) => utilisation).sort((a, b) => b - a),
  );
  return (sorted[0] ?? []).map((_, rank) =>
    rounded(sorted.reduce((sum, busy) => sum + (busy[rank] ?? 0), 0) / sorted.length),
  );
}

/** Histograms of several seeds as one. */
function pooled(histograms: readonly LatencyData[]): LatencyData {
  const counts = new Map<number, number>();
  for (const { buckets } of histograms)
    for (const [middle, count] of buckets) counts.set(middle, (counts.get(middle) ?? 0) + count);
  const filled = histograms.filter(({ count }) => count > 0);
  const total = (of: (data: LatencyData) => number): number =>
    histograms.reduce((sum, data) => sum + of(data), 0);
  return {
    count: total(({ count }) => count),
    sumSeconds: total(({ sumSeconds }) => sumSeconds),
    minSeconds: filled.length === 0 ? 0 : Math.min(...filled.map(({ minSeconds }) => minSeconds)),
    maxSeconds: Math.max(0, ...filled.map(({ maxSeconds }) => maxSeconds)),
    buckets: [...counts].sort(([a], [b]) => a - b),
  };
}

/** Five digits: finer than any interval, and JSON stays small. */
function rounded(value: number): number {
  return Number(value.toPrecision(5));
}

function roundedInterval<Of extends Interval>(interval: Of): Of {
  const { mean, low, high } = interval;
  return { ...interval, mean: rounded(mean), low: rounded(low), high: rounded(high) };
}

/** Groups in the order of their first members. */
function groupBy<Item>(items: readonly Item[], keyOf: (item: Item) => string): Item[][] {
  const groups = new Map<string, Item[]>();
  for (const item of items) {
    const key = keyOf(item);
    const group = groups.get(key);
    if (group === undefined) groups.set(key, [item]);
    else group.push(item);
  }
  return [...groups.values()];
}
