/**
 * A comparison as Markdown, for readers of a repository: provenance, verdicts, and a table per case. It needs what the JSON has and
 * nothing more, so a committed page can be checked against the committed figures.
 */
import { type Contrast, REFERENCE_POLICY } from "./comparison.ts";
import { type ComparisonFigures, describeComparisonProvenance } from "./comparison-document.ts";
import { formatMetric, formatSigned, RUN_METRICS, type RunMetricName } from "./run-metric.ts";

const COLUMNS: readonly RunMetricName[] = [
  "hitRate",
  "firstTokenP50",
  "firstTokenP90",
  "firstTokenP99",
  "interTokenMean",
  "outputTokenRate",
  "imbalance",
];

/** A case as far as its figures go. */
type FiguresCase = ComparisonFigures["comparison"]["cases"][number];

const WORDS: Readonly<Record<Contrast["verdict"], string>> = { won: "▲", tie: "=", lost: "▼" };

/**
 * Writes it.
 *
 * @param figures - the comparison.
 * @returns Markdown with a final newline.
 */
export function comparisonMarkdown(figures: ComparisonFigures): string {
  const { provenance, setup, workloads, comparison } = figures;
  const lines = [
    describeComparisonProvenance(provenance),
    "",
    "# Routing policies compared",
    "",
    `Made by \`${provenance.command}\`; written by the program, not by hand.`,
    "",
    `Every engine: ${setup.map(([name, value]) => `${name} ${value}`).join(", ")}.`,
    "",
    ...verdicts(comparison.cases),
  ];
  for (const one of comparison.cases) {
    const facts = workloads.find(({ name }) => name === one.workload);
    const ceiling = facts?.ceilingsByEngines.find(({ engineCount }) => engineCount === one.engineCount);
    lines.push(
      `## ${caseName(one)}`,
      "",
      ...(ceiling === undefined
        ? []
        : [
            `One LRU cache with the memory of all engines would hit ${formatMetric(ceiling.hitShare, "percent")} of prompt blocks. ` +
              "These are the workload's blocks, the last of a prompt included. Engines count their own full blocks and may hit a little more.",
            "",
          ]),
      ...caseTable(one),
      "",
    );
  }
  return `${lines.join("\n").trimEnd()}\n`;
}

function verdicts(cases: readonly FiguresCase[]): string[] {
  const others = [...new Set(cases.flatMap(({ contrasts }) => contrasts.map(({ policy }) => policy)))];
  if (others.length === 0) return [];
  return [
    `## ${REFERENCE_POLICY} against the others`,
    "",
    `Change of the p90 time to first token with ${REFERENCE_POLICY} instead, then of the hit rate in percentage points. ` +
      "Marks: ▲ better, ▼ worse, = too small or too uncertain for a verdict.",
    "",
    row(["case", ...others]),
    row(["---", ...others.map(() => "---:")]),
    ...cases.map((one) =>
      row([caseName(one), ...others.map((policy) => verdictCell(one.contrasts, policy))]),
    ),
    "",
  ];
}

function verdictCell(contrasts: readonly Contrast[], policy: string): string {
  const of = (metric: Contrast["metric"], text: (contrast: Contrast) => string): string => {
    const found = contrasts.find((one) => one.policy === policy && one.metric === metric);
    return found === undefined ? "" : `${WORDS[found.verdict]} ${text(found)}`;
  };
  return [
    of("firstTokenP90", ({ relative }) => `${formatSigned(100 * relative, 0)} %`),
    of("hitRate", ({ difference }) => `${formatSigned(100 * difference.mean, 1)} pt`),
  ].join(", ");
}

function caseTable({ policies }: FiguresCase): string[] {
  const sorted = policies.toSorted((a, b) => a.metrics.firstTokenP90.mean - b.metrics.firstTokenP90.mean);
  return [
    row(["policy", ...COLUMNS.map((name) => RUN_METRICS[name].label)]),
    row(["---", ...COLUMNS.map(() => "---:")]),
    ...sorted.map(({ policy, metrics }) =>
      row([
        policy,
        ...COLUMNS.map((name) => {
          const { mean, high } = metrics[name];
          const { format } = RUN_METRICS[name];
          return `${formatMetric(mean, format)} ± ${formatMetric(high - mean, format)}`;
        }),
      ]),
    ),
  ];
}

function caseName({ workload, engineCount, eventDelaySeconds }: FiguresCase): string {
  return `${workload}: ${engineCount} engines, events ${1_000 * eventDelaySeconds} ms late`;
}

function row(cells: readonly string[]): string {
  return `| ${cells.join(" | ")} |`;
}
