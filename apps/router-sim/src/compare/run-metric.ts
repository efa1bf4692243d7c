/**
 * The figures that runs are compared by: each with its name, its good direction, and its place in a
 * result. One list,
 * which the terminal's table, the JSON and the page share.
 */
import { BUCKET_SHARE, latencyMean, type LatencyData } from "../simulate/latency-histogram.ts";
import { hitRate, type SimulationResult } from "../simulate/simulation-result.ts";

/** Within this long a first token feels prompt: the limit of the share of prompt starts. */
const PROMPT_START_SECONDS = 1;

/** How a figure is written. */
export type MetricFormat = "percent" | "seconds" | "milliseconds" | "rate" | "ratio" | "count";

/** One figure of a run. */
export interface RunMetric {
  readonly label: string;
  readonly format: MetricFormat;
  /** Which direction is good; null when neither is. */
  readonly better: "higher" | "lower" | null;
  /** What it means, one sentence. */
  readonly about: string;
  readonly read: (result: SimulationResult) => number;
}

/** Every figure by its name in JSON. */
export const RUN_METRICS = {
  hitRate: {
    label: "hit rate",
    format: "percent",
    better: "higher",
    about: "full prompt blocks whose prefill was skipped",
    read: ({ totals }) => hitRate(totals),
  },
  shareOfBest: {
    label: "share of best",
    format: "percent",
    better: null,
    about:
      "hits, of what the best engine held of each prompt when it arrived: under this policy's own placement",
    read: ({ totals }) => quotient(totals.hitBlocks, totals.bestHitBlocks),
  },
  firstTokenMean: {
    label: "TTFT mean",
    format: "seconds",
    better: "lower",
    about: "from arrival to the first output token, mean",
    read: ({ firstToken }) => latencyMean(firstToken),
  },
  firstTokenP50: {
    label: "TTFT p50",
    format: "seconds",
    better: "lower",
    about: "from arrival to the first output token, median",
    read: ({ firstToken }) => quantile(firstToken, 0.5),
  },
  firstTokenP90: {
    label: "TTFT p90",
    format: "seconds",
    better: "lower",
    about: "from arrival to the first output token, nine of ten requests within",
    read: ({ firstToken }) => quantile(firstToken, 0.9),
  },
  firstTokenP99: {
    label: "TTFT p99",
    format: "seconds",
    better: "lower",
    about: "from arrival to the first output token, 99 of 100 requests within",
    read: ({ firstToken }) => quantile(firstToken, 0.99),
  },
  promptStarts: {
    label: `TTFT ≤ ${PROMPT_START_SECONDS} s`,
    format: "percent",
    better: "higher",
    about: `requests whose first token came within ${PROMPT_START_SECONDS} s`,
    read: ({ firstToken }) => shareWithin(firstToken, PROMPT_START_SECONDS),
  },
  interTokenMean: {
    label: "ITL mean",
    format: "milliseconds",
    better: "lower",
    about: "between two output tokens of a request, mean",
    read: ({ interToken }) => 1_000 * latencyMean(interToken),
  },
  interTokenP99: {
    label: "ITL p99",
    format: "milliseconds",
    better: "lower",
    about: "between two output tokens of a request, 99 of 100 within",
    read: ({ interToken }) => 1_000 * quantile(interToken, 0.99),
  },
  endToEndP90: {
    label: "E2E p90",
    format: "seconds",
    better: "lower",
    about: "from arrival to the last output token, nine of ten requests within",
    read: ({ endToEnd }) => quantile(endToEnd, 0.9),
  },
  queueP99: {
    label: "queue p99",
    format: "seconds",
    better: "lower",
    about: "from arrival to the first admission into a batch, 99 of 100 requests within",
    read: ({ queue }) => quantile(queue, 0.99),
  },
  outputTokenRate: {
    label: "output tokens/s",
    format: "rate",
    better: "higher",
    about: "output tokens of all engines, per second from the first arrival to the last completion",
    read: ({ totals }) => quotient(totals.outputTokens, totals.makespanSeconds),
  },
  utilisation: {
    label: "busy",
    format: "percent",
    better: null,
    about: "share of time in which an engine was at work, mean of the engines",
    read: ({ engines }) => mean(engines.map(({ utilisation }) => utilisation)),
  },
  imbalance: {
    label: "imbalance",
    format: "ratio",
    better: "lower",
    about: "the busiest engine's time at work ÷ the mean; 1 is even",
    read: ({ engines }) => {
      const busy = engines.map(({ busySeconds }) => busySeconds);
      return quotient(Math.max(...busy), mean(busy));
    },
  },
  overestimate: {
    label: "overestimate",
    format: "percent",
    better: null,
    about:
      "blocks that the router expected at the chosen engine beyond those that hit, of all full prompt blocks; below 0 it expected less",
    read: ({ totals }) => quotient(totals.predictedHitBlocks - totals.hitBlocks, totals.promptBlocks),
  },
  preemptions: {
    label: "preemptions",
    format: "count",
    better: "lower",
    about: "requests thrown out of a batch for lack of KV blocks",
    read: ({ totals }) => totals.preemptions,
  },
  refused: {
    label: "refused",
    format: "count",
    better: "lower",
    about: "requests that no engine could take",
    read: ({ totals }) => totals.refused,
  },
} as const satisfies Readonly<Record<string, RunMetric>>;

/** A figure's name. */
export type RunMetricName = keyof typeof RUN_METRICS;

/** Every figure's name, in the order of tables. */
export const RUN_METRIC_NAMES = Object.keys(RUN_METRICS) as readonly RunMetricName[];

/**
 * Writes a figure for people.
 *
 * @param value - in the figure's unit (shares 0 … 1).
 * @param format - how.
 * @returns text with its unit.
 */
export function formatMetric(value: number, format: MetricFormat): string {
  switch (format) {
    case "percent":
      return `${(100 * value).toFixed(2)} %`;
    case "seconds":
      return value < 1 ? `${(1_000 * value).toFixed(0)} ms` : `${value.toFixed(value < 100 ? 2 : 0)} s`;
    case "milliseconds":
      return `${value.toFixed(value < 100 ? 1 : 0)} ms`;
    case "rate":
      return `${Math.round(value).toLocaleString("en-US")}/s`;
    case "ratio":
      return value.toFixed(2);
    case "count":
      return Number.isInteger(value) ? value.toLocaleString("en-US") : value.toFixed(1);
  }
}

/**
 * Writes a change with its sign.
 *
 * @param value - the change.
 * @param digits - after the point.
 * @returns "+3", "−3", or "0" when that is what is left of it.
 */
export function formatSigned(value: number, digits: number): string {
  const text = Math.abs(value).toFixed(digits);
  if (Number(text) === 0) return text;
  return `${value < 0 ? "−" : "+"}${text}`;
}

/**
 * Within a bucket the recordings are taken as evenly spread: the bucket's middle alone would make runs equal that are not, and
 * intervals of their means too narrow.
 */
function quantile(data: LatencyData, share: number): number {
  const rank = share * data.count;
  let seen = 0;
  for (const [middle, count] of data.buckets) {
    if (seen + count >= rank) {
      const width = BUCKET_SHARE * 2 ** Math.floor(Math.log2(middle));
      const value = middle + ((rank - seen) / count - 0.5) * width;
      return Math.min(data.maxSeconds, Math.max(data.minSeconds, value));
    }
    seen += count;
  }
  return data.maxSeconds;
}

/** Share of recordings that are at most a limit; to the width of a bucket, 1.6 %. */
function shareWithin(data: LatencyData, seconds: number): number {
  let within = 0;
  for (const [middle, count] of data.buckets) if (middle <= seconds) within += count;
  return quotient(within, data.count);
}

function mean(values: readonly number[]): number {
  return quotient(
    values.reduce((sum, value) => sum + value, 0),
    values.length,
  );
}

function quotient(part: number, whole: number): number {
  return whole === 0 ? 0 : part / whole;
}
