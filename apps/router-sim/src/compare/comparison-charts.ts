/**
 * The charts of a comparison's case, each a figure with title, drawing, text alternative and
 * caption. They show a figure side by side, the distribution of the time to first token, and the
 * course of hit rate and queue. Others show load by engine, lag, and sweeps over engines and event
 * delays. Their look is in chart.ts and the page's style sheet.
 */
import { type Axis, type ChartLine, escaped, intervalChart, lineChart, stripChart } from "../report/chart.ts";
import { type ChartSeries, type ComparisonCase, type PolicyResult, REFERENCE_POLICY } from "./comparison.ts";
import { formatMetric, RUN_METRICS, type RunMetricName } from "./run-metric.ts";

/** Up to here a chart from zero tells its least values apart. */
const LINEAR_SPREAD_MAX = 8;

/**
 * Draws everything there is to see of one case.
 *
 * @param one - the case; of at least one policy.
 * @returns figure elements.
 */
export function caseCharts(one: ComparisonCase): readonly string[] {
  return [
    metricChart("hitRate", one),
    metricChart("firstTokenP90", one),
    distributionChart(one),
    hitRateChart(one),
    loadChart(one),
    waitingChart(one),
    lagChart(one),
  ];
}

/**
 * Draws figures against the settings in which cases of one workload differ.
 *
 * @param cases - of one workload; the first is the one that the others are held to in all but the setting swept.
 * @returns figure elements; none when the cases differ in nothing.
 */
export function casesSweeps(cases: readonly ComparisonCase[]): readonly string[] {
  return [...sweepCharts(cases, ENGINE_SWEEP), ...sweepCharts(cases, DELAY_SWEEP)];
}

function figure(title: string, chart: string, caption: string): string {
  return `<figure><h3>${escaped(title.charAt(0).toUpperCase() + title.slice(1))}</h3>${chart}<figcaption>${escaped(caption)}</figcaption></figure>`;
}

function metricChart(name: RunMetricName, { policies }: ComparisonCase): string {
  const { label, format, about, better } = RUN_METRICS[name];
  const rows = policies
    .map(({ policy, metrics }) => ({ policy, ...metrics[name] }))
    .sort((a, b) => (better === "higher" ? b.mean - a.mean : a.mean - b.mean));
  const description = rows
    .map(({ policy, mean, low, high }) => {
      const [middle, from, to] = [mean, low, high].map((value) => formatMetric(value, format));
      return `${policy} ${middle ?? ""} (${from ?? ""} to ${to ?? ""})`;
    })
    .join("; ");
  const axis: Axis =
    format === "percent"
      ? shareAxis(
          `${label}, %`,
          rows.map(({ high }) => high),
        )
      : secondsAxis(
          label,
          rows.flatMap(({ mean, high }) => [mean, high]),
        );
  const words = { title: label, description };
  return figure(
    `${label}: ${about}`,
    intervalChart(words, axis, rows),
    `Mean and 95 % interval, best first.`,
  );
}

function distributionChart({ policies }: ComparisonCase): string {
  const lines = drawn(policies, ({ charts }) =>
    charts.firstTokenQuantiles.map(([share, seconds]) => [seconds, share] as const),
  );
  const seconds = policies.flatMap(({ charts }) => charts.firstTokenQuantiles.map(([, value]) => value));
  const least = Math.max(0.001, Math.min(...seconds));
  const x: Axis = {
    label: "time to first token, seconds (logarithmic)",
    scale: "log",
    domain: [least, Math.max(2 * least, ...seconds)],
    format: shortSeconds,
  };
  const description = policies
    .map(({ policy, metrics }) => {
      const [half, most] = [metrics.firstTokenP50.mean, metrics.firstTokenP99.mean];
      return `${policy}: half within ${formatMetric(half, "seconds")}, 99 % within ${formatMetric(most, "seconds")}`;
    })
    .join("; ");
  const words = { title: "Distribution of the time to first token", description };
  return figure(
    "How soon first tokens come",
    lineChart(words, x, shareAxis("requests within that time, %"), lines),
    "All seeds together. Further left is sooner.",
  );
}

function hitRateChart({ policies }: ComparisonCase): string {
  const description = policies
    .map(
      ({ policy, charts }) =>
        `${policy}: ${firstAndLast(charts.hitRate, (value) => formatMetric(value, "percent"))}`,
    )
    .join("; ");
  const lines = drawn(policies, ({ charts }) => timeline(charts.hitRate));
  return figure(
    "Hit rate over time",
    lineChart(
      { title: "Hit rate over time", description },
      timeAxis(policies.map(({ charts }) => charts.hitRate)),
      shareAxis(
        "hit rate, %",
        policies.flatMap(({ charts }) => charts.hitRate.rows),
      ),
      lines,
    ),
    "Requests admitted in each interval, all seeds together.",
  );
}

function loadChart({ policies }: ComparisonCase): string {
  const rows = policies.map(({ policy, charts }) => ({ policy, values: charts.busyByRank }));
  const percent = (value: number | undefined): string => formatMetric(value ?? 0, "percent");
  const description = rows
    .map(({ policy, values }) => `${policy}: busiest ${percent(values[0])}, idlest ${percent(values.at(-1))}`)
    .join("; ");
  return figure(
    "Load by engine",
    stripChart(
      { title: "Load by engine", description },
      shareAxis(
        "time at work, %",
        rows.flatMap(({ values }) => values),
      ),
      rows,
    ),
    "A mark for each engine: the share of time in which it was at work. Close together is even.",
  );
}

function waitingChart({ policies }: ComparisonCase): string {
  const most = Math.max(
    1,
    ...policies.flatMap(({ charts }) => charts.waiting.rows.map((value) => value ?? 0)),
  );
  const description = policies
    .map(({ policy, charts }) => {
      const peak = Math.max(0, ...charts.waiting.rows.map((value) => value ?? 0));
      return `${policy}: at most ${peak.toFixed(0)}`;
    })
    .join("; ");
  return figure(
    "Requests waiting",
    lineChart(
      { title: "Requests waiting over time", description },
      timeAxis(policies.map(({ charts }) => charts.waiting)),
      { label: "requests waiting, all engines", scale: "linear", domain: [0, most], format: String },
      drawn(policies, ({ charts }) => timeline(charts.waiting)),
    ),
    "The greatest sample of each interval, mean of the seeds. A line that keeps rising is a fleet too small for its load.",
  );
}

/** Lag is the transport's, not the policy's: one of ours, or the first, stands for all. */
function lagChart({ policies, eventDelaySeconds }: ComparisonCase): string {
  const ours = policies.find(({ policy }) => policy === REFERENCE_POLICY) ?? policies[0];
  if (ours === undefined) return "";
  const milliseconds = ours.charts.lagSecondsMax.rows.map((value) => 1_000 * (value ?? 0));
  const most = Math.max(...milliseconds);
  if (most === 0) {
    return `<figure><h3>Lag of the index</h3><p>None: the index had every event at the moment at which the engine's step ended.</p></figure>`;
  }
  const description = `At most ${whole(most)} ms, with a mean event delay of ${whole(1_000 * eventDelaySeconds)} ms.`;
  const { intervalSeconds } = ours.charts.lagSecondsMax;
  return figure(
    "Lag of the index",
    lineChart(
      { title: "Lag of the index over time", description },
      timeAxis([ours.charts.lagSecondsMax]),
      { label: "oldest missing event, ms", scale: "linear", domain: [0, most], format: whole },
      [{ policy: ours.policy, points: timeline({ intervalSeconds, rows: milliseconds }) }],
    ),
    "Age of the oldest event that was not in the index when a request was routed. The maximum of each interval and of the seeds.",
  );
}

/** A setting in which cases differ. */
interface Sweep {
  readonly label: string;
  readonly valueOf: (one: ComparisonCase) => number;
  /** Whatever else cases may differ in. */
  readonly otherOf: (one: ComparisonCase) => number;
}

const ENGINE_SWEEP: Sweep = {
  label: "engines",
  valueOf: ({ engineCount }) => engineCount,
  otherOf: ({ eventDelaySeconds }) => eventDelaySeconds,
};

const DELAY_SWEEP: Sweep = {
  label: "event delay, ms",
  valueOf: ({ eventDelaySeconds }) => 1_000 * eventDelaySeconds,
  otherOf: ({ engineCount }) => engineCount,
};

/** Two charts against a setting, when cases differ in it while the other one is the first case's. */
function sweepCharts(cases: readonly ComparisonCase[], sweep: Sweep): string[] {
  const [main] = cases;
  if (main === undefined) return [];
  const held = cases
    .filter((one) => sweep.otherOf(one) === sweep.otherOf(main))
    .sort((a, b) => sweep.valueOf(a) - sweep.valueOf(b));
  if (held.length < 2) return [];
  const values = held.map(sweep.valueOf);
  const x: Axis = { label: sweep.label, scale: "steps", domain: values, format: whole };
  const seconds = held.flatMap(({ policies }) => policies.map(({ metrics }) => metrics.firstTokenP90.mean));
  const hitRates = held.flatMap(({ policies }) => policies.map(({ metrics }) => metrics.hitRate.mean));
  return [
    sweepChart("hitRate", held, sweep, x, shareAxis("hit rate, %", hitRates)),
    sweepChart("firstTokenP90", held, sweep, x, secondsAxis("TTFT p90", seconds)),
  ];
}

function sweepChart(
  name: RunMetricName,
  cases: readonly ComparisonCase[],
  { label, valueOf }: Sweep,
  x: Axis,
  y: Axis,
): string {
  const metric = RUN_METRICS[name];
  const lines = ordered((cases[0]?.policies ?? []).map(({ policy }) => policy)).map((policy) => ({
    policy,
    points: cases.map((one) => [valueOf(one), meanOf(one, policy, name)] as const),
  }));
  const description = lines
    .map(({ policy, points }) => {
      const course = points.map(([at, value]) =>
        value === null ? "" : `${formatMetric(value, metric.format)} at ${whole(at)}`,
      );
      return `${policy}: ${course.join(", ")}`;
    })
    .join("; ");
  const title = `${metric.label} against ${label}`;
  return figure(
    title,
    lineChart({ title, description }, x, y, lines, true),
    "Means of the seeds; all else as above.",
  );
}

function meanOf(one: ComparisonCase, policy: string, name: RunMetricName): number | null {
  return one.policies.find((result) => result.policy === policy)?.metrics[name].mean ?? null;
}

/** Ours last, so that it lies above the others. */
function ordered(policies: readonly string[]): string[] {
  return policies.toSorted((a, b) => Number(a === REFERENCE_POLICY) - Number(b === REFERENCE_POLICY));
}

function drawn(
  policies: readonly PolicyResult[],
  pointsOf: (policy: PolicyResult) => ChartLine["points"],
): ChartLine[] {
  return ordered(policies.map(({ policy }) => policy)).flatMap((name) =>
    policies.filter(({ policy }) => policy === name).map((one) => ({ policy: name, points: pointsOf(one) })),
  );
}

function timeline({ intervalSeconds, rows }: ChartSeries): ChartLine["points"] {
  return rows.map((value, row) => [((row + 0.5) * intervalSeconds) / 60, value] as const);
}

function timeAxis(series: readonly ChartSeries[]): Axis {
  const minutes = Math.max(
    ...series.map(({ intervalSeconds, rows }) => (intervalSeconds * rows.length) / 60),
  );
  return { label: "minutes", scale: "linear", domain: [0, minutes], format: String };
}

/** An axis of percent: to 100, or to a little more than the greatest of `values`. */
function shareAxis(label: string, values: readonly (number | null)[] = [1]): Axis {
  const most = Math.min(1, 1.08 * Math.max(0.01, ...values.map((value) => value ?? 0)));
  const format = (value: number): string => String(Number((100 * value).toFixed(1)));
  return { label, scale: "linear", domain: [0, most], format };
}

/** From zero when the values are of one order of magnitude, logarithmic when they are not. */
function secondsAxis(what: string, values: readonly number[]): Axis {
  const positive = values.filter((value) => value > 0);
  const most = Math.max(0.001, ...positive);
  const least = Math.min(most, ...positive);
  return most > LINEAR_SPREAD_MAX * least
    ? {
        label: `${what}, seconds (logarithmic)`,
        scale: "log",
        domain: [least / 1.3, most * 1.1],
        format: shortSeconds,
      }
    : { label: `${what}, seconds`, scale: "linear", domain: [0, 1.05 * most], format: shortSeconds };
}

function firstAndLast({ rows }: ChartSeries, format: (value: number) => string): string {
  const known = rows.filter((value) => value !== null);
  const [first, last] = [known[0], known.at(-1)];
  return first === undefined || last === undefined
    ? "none"
    : `${format(first)} at the begin, ${format(last)} at the end`;
}

function shortSeconds(value: number): string {
  return String(Number(value.toPrecision(3)));
}

function whole(value: number): string {
  return Math.round(value).toLocaleString("en-US");
}
