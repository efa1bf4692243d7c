/** A comparison for the terminal: one table per case, policies by their p90 time to first token, then the verdicts in a line. */
import { textTable } from "../report/text-table.ts";
import {
  type ComparisonCase,
  type Contrast,
  CONTRAST_METRICS,
  type MetricResult,
  REFERENCE_POLICY,
} from "./comparison.ts";
import { formatMetric, RUN_METRICS, type RunMetricName } from "./run-metric.ts";

/** What a terminal has room for; JSON and page have all figures. */
const COLUMNS: readonly RunMetricName[] = [
  "hitRate",
  "firstTokenP50",
  "firstTokenP90",
  "firstTokenP99",
  "interTokenMean",
  "outputTokenRate",
  "utilisation",
  "imbalance",
];

/**
 * Writes a case.
 *
 * @param one - the case.
 * @returns lines without a final newline.
 */
export function comparisonTable(one: ComparisonCase): string {
  const policies = one.policies.toSorted(
    (a, b) => a.metrics.firstTokenP90.mean - b.metrics.firstTokenP90.mean,
  );
  const cells = [
    ["", ...COLUMNS.map((name) => RUN_METRICS[name].label)],
    ...policies.map(({ policy, metrics }) => [policy, ...COLUMNS.map((name) => cell(name, metrics[name]))]),
  ];
  const { workload, engineCount, eventDelaySeconds } = one;
  const title = `${workload}: ${engineCount} engines, events ${1_000 * eventDelaySeconds} ms late`;
  return [title, ...textTable(cells), ...verdictLines(one.contrasts)].join("\n");
}

function cell(name: RunMetricName, { mean, high, count }: MetricResult): string {
  const { format } = RUN_METRICS[name];
  const text = formatMetric(mean, format);
  return count > 1 ? `${text} ± ${formatMetric(high - mean, format)}` : text;
}

/** One line per figure: whom ours won against, tied with and lost to. */
function verdictLines(contrasts: readonly Contrast[]): string[] {
  if (contrasts.length === 0) return [];
  return CONTRAST_METRICS.map((metric) => {
    const parts = (["won", "tie", "lost"] as const).map((verdict) => {
      const names = contrasts
        .filter((contrast) => contrast.metric === metric && contrast.verdict === verdict)
        .map(({ policy }) => policy);
      return names.length === 0 ? "" : `${VERDICT_WORDS[verdict]} ${names.join(", ")}`;
    });
    const text = parts.filter((part) => part !== "").join("; ");
    return `${REFERENCE_POLICY}, ${RUN_METRICS[metric].label}: ${text}`;
  });
}

const VERDICT_WORDS: Readonly<Record<Contrast["verdict"], string>> = {
  won: "better than",
  tie: "ties with",
  lost: "worse than",
};
