/**
 * A comparison as one HTML page that loads nothing else: the verdicts first, then each workload
 * with its charts and
 * all figures. Works without scripts (check boxes and style alone show and hide lines), in light and dark, on paper.
 *
 *     provenance                          first line of the file, as a comment, and first line on the page
 *     verdicts: case × policy             ours against each other one
 *     per workload                        facts, intervals, distribution, over time, load by engine
 *       ├ engines, when several           a sweep
 *       ├ event delays, when several      a sweep
 *       └ every figure of every case      folded
 *     what the figures mean
 */
import { escaped } from "../report/chart.ts";
import { type Comparison, type ComparisonCase, type Contrast, REFERENCE_POLICY } from "./comparison.ts";
import { caseCharts, casesSweeps } from "./comparison-charts.ts";
import {
  type ComparisonDocument,
  describeComparisonProvenance,
  type WorkloadFacts,
} from "./comparison-document.ts";
import { pageStyle, shownAtFirst } from "./page-style.ts";
import { formatMetric, formatSigned, RUN_METRIC_NAMES, RUN_METRICS } from "./run-metric.ts";

/**
 * Writes the page.
 *
 * @param document - the comparison and where it comes from.
 * @returns HTML; equal documents give equal pages.
 */
export function comparisonPage(document: ComparisonDocument): string {
  const { comparison } = document;
  const provenance = describeComparisonProvenance(document.provenance);
  const policies = policiesOf(comparison);
  const workloads = [...new Set(comparison.cases.map(({ workload }) => workload))];
  return [
    // The comment is the first line: whoever opens the file in an editor sees it too. "--" would end it.
    `<!doctype html><!-- ${escaped(provenance).replaceAll("--", "- -")} -->`,
    `<html lang="en"><head><meta charset="utf-8"><meta name="viewport" content="width=device-width,initial-scale=1">`,
    `<title>Routing policies compared</title><style>${pageStyle(policies)}</style></head><body>`,
    `<p class="provenance">${escaped(provenance)}</p>`,
    `<h1>Routing policies compared</h1>`,
    introduction(document, policies),
    verdictTable(comparison),
    policies.length > 1 ? legend(policies) : "",
    ...workloads.map((workload) =>
      workloadSection(
        workload,
        document.workloads.find(({ name }) => name === workload),
        comparison.cases.filter((one) => one.workload === workload),
      ),
    ),
    glossary(),
    `</body></html>\n`,
  ].join("\n");
}

function introduction(
  { setup, provenance, comparison }: ComparisonDocument,
  policies: readonly string[],
): string {
  const { length: seedCount } = comparison.seeds;
  const intervals =
    seedCount > 1
      ? `Figures are means of ${seedCount} seeds with their 95 % confidence intervals (Student).`
      : "One seed only: figures have no confidence intervals.";
  return (
    `<p>${plural(policies.length, "policy", "policies")} on simulated fleets, with equal arrivals for each. ${intervals}</p>` +
    `<p class="soft">Every engine: ${escaped(setup.map(([name, value]) => `${name} ${value}`).join(", "))}.</p>` +
    `<p class="soft">Made by <code>${escaped(provenance.command)}</code></p>`
  );
}

function legend(policies: readonly string[]): string {
  const items = policies.map((policy) => {
    const checked = shownAtFirst(policy, policies.length) ? " checked" : "";
    return (
      `<label><input type="checkbox" id="show-${policy}"${checked}>` +
      `<svg class="key p-${policy}" viewBox="0 0 26 10" aria-hidden="true"><line x1="0" x2="26" y1="5" y2="5"/></svg>${escaped(policy)}</label>`
    );
  });
  return `<div class="legend" role="group" aria-label="Lines that are drawn">${items.join("")}</div>`;
}

function verdictTable({ cases }: Comparison): string {
  const rows = cases.filter(({ contrasts }) => contrasts.length > 0);
  if (rows.length === 0) return "";
  const others = [...new Set(rows.flatMap(({ contrasts }) => contrasts.map(({ policy }) => policy)))];
  const head = others.map((policy) => `<th scope="col">${escaped(policy)}</th>`).join("");
  const body = rows.map((one) => {
    const cells = others.map((policy) => `<td>${verdictCell(one.contrasts, policy)}</td>`).join("");
    return `<tr><td>${escaped(caseName(one))}</td>${cells}</tr>`;
  });
  return (
    `<h2>${REFERENCE_POLICY} against the others</h2>` +
    `<div class="scroll"><table class="verdicts"><caption>Change of the p90 time to first token with ${REFERENCE_POLICY} instead; below it of the hit rate ` +
    `in percentage points. Coloured and marked ▲ better, ▼ worse where the interval leaves out zero and the change is 2 % or 0.5 points ` +
    `at least; all else is a tie (=).</caption>` +
    `<thead><tr><th scope="col">case</th>${head}</tr></thead><tbody>${body.join("")}</tbody></table></div>`
  );
}

function verdictCell(contrasts: readonly Contrast[], policy: string): string {
  const of = (metric: Contrast["metric"]): Contrast | undefined =>
    contrasts.find((one) => one.policy === policy && one.metric === metric);
  const [latency, hits] = [of("firstTokenP90"), of("hitRate")];
  if (latency === undefined || hits === undefined) return "";
  const change = `${formatSigned(100 * latency.relative, 0)} %`;
  const points = `${formatSigned(100 * hits.difference.mean, 1)} pt`;
  return `${marked(latency.verdict, change)}<small>${marked(hits.verdict, points)}</small>`;
}

const MARKS: Readonly<Record<Contrast["verdict"], string>> = { won: "▲", tie: "=", lost: "▼" };

function marked(verdict: Contrast["verdict"], text: string): string {
  return `<span class="${verdict}">${MARKS[verdict]} ${text}</span>`;
}

function workloadSection(
  name: string,
  facts: WorkloadFacts | undefined,
  cases: readonly ComparisonCase[],
): string {
  const [main] = cases;
  if (main === undefined) return "";
  return [
    `<section><h2>${escaped(name)}</h2>`,
    facts === undefined
      ? ""
      : `<p>${escaped(facts.about)}</p><p class="soft">${escaped(describeFacts(facts))}</p>`,
    `<p class="soft">Charts: ${escaped(setting(main))}.</p>`,
    `<div class="charts">`,
    ...caseCharts(main),
    ...casesSweeps(cases),
    `</div>`,
    ...cases.map(figureTable),
    `</section>`,
  ].join("\n");
}

function figureTable(one: ComparisonCase): string {
  const head = RUN_METRIC_NAMES.map(
    (name) => `<th scope="col">${escaped(RUN_METRICS[name].label)}</th>`,
  ).join("");
  const rows = one.policies.map(({ policy, metrics }) => {
    const cells = RUN_METRIC_NAMES.map((name) => {
      const { format } = RUN_METRICS[name];
      const { mean, high, count } = metrics[name];
      const half = count > 1 ? `<small>± ${escaped(formatMetric(high - mean, format))}</small>` : "";
      return `<td>${escaped(formatMetric(mean, format))}${half}</td>`;
    });
    return `<tr${policy === REFERENCE_POLICY ? ' class="ours"' : ""}><td>${escaped(policy)}</td>${cells.join("")}</tr>`;
  });
  return (
    `<details><summary>All figures: ${escaped(setting(one))}</summary><div class="scroll"><table>` +
    `<thead><tr><th scope="col">policy</th>${head}</tr></thead><tbody>${rows.join("")}</tbody></table></div></details>`
  );
}

function glossary(): string {
  const items = RUN_METRIC_NAMES.map((name) => {
    const { label, about } = RUN_METRICS[name];
    return `<dt>${escaped(label)}</dt><dd>${escaped(about)}</dd>`;
  });
  return `<section><h2>What the figures mean</h2><dl>${items.join("")}</dl></section>`;
}

function policiesOf({ cases }: Comparison): string[] {
  return [...new Set(cases.flatMap(({ policies }) => policies.map(({ policy }) => policy)))];
}

function caseName(one: ComparisonCase): string {
  return `${one.workload}, ${setting(one)}`;
}

function setting({ engineCount, eventDelaySeconds }: ComparisonCase): string {
  return `${plural(engineCount, "engine", "engines")}, events ${whole(1_000 * eventDelaySeconds)} ms late`;
}

function describeFacts(facts: WorkloadFacts): string {
  const { requestCount, durationSeconds, inputTokensMean, outputTokensMean, ceiling } = facts;
  const shares = facts.ceilingsByEngines.map(
    ({ engineCount, hitShare }) => `${formatMetric(hitShare, "percent")} with the memory of ${engineCount}`,
  );
  return (
    `${whole(requestCount)} requests in ${duration(durationSeconds)}; prompts of ${whole(inputTokensMean)} tokens, ` +
    `answers of ${whole(outputTokensMean)}. If all engines were one cache, ${formatMetric(ceiling, "percent")} of prompt blocks ` +
    `would hit without limit, ${shares.join(", ")} engines. That counts the workload's blocks, ` +
    `the last of a prompt included; engines count full blocks of theirs, so that they may hit a little more.`
  );
}

/** Two minutes and more in minutes: a run of seconds does not last "0 minutes". */
function duration(seconds: number): string {
  return seconds < 120 ? plural(Math.round(seconds), "second", "seconds") : `${whole(seconds / 60)} minutes`;
}

function plural(count: number, one: string, many: string): string {
  return `${whole(count)} ${count === 1 ? one : many}`;
}

function whole(value: number): string {
  return Math.round(value).toLocaleString("en-US");
}
