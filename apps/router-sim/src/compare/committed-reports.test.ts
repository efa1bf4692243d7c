/**
 * The comparisons under docs/routing: each Markdown page is the program's output for the figures
 * next to it. The HTML page comes from the same run. The table that the conclusions rest on has
 * these figures.
 */
import { existsSync, readdirSync, readFileSync } from "node:fs";
import { join } from "node:path";
import { describe, expect, it } from "vitest";

import { type ComparisonFigures, describeComparisonProvenance } from "./comparison-document.ts";
import { comparisonMarkdown } from "./comparison-markdown.ts";
import { formatSigned } from "./run-metric.ts";

const FOLDER = join(import.meta.dirname, "../../../../docs/routing");
const NAMES = existsSync(FOLDER)
  ? readdirSync(FOLDER)
      .filter((name) => name.endsWith(".json"))
      .map((name) => name.slice(0, -".json".length))
  : [];

it("there are some", () => {
  expect(NAMES).toContain("conversation");
  expect(NAMES).toContain("workloads");
});

describe.each(NAMES)("docs/routing/%s", (name) => {
  const read = (ending: string): string => readFileSync(join(FOLDER, `${name}.${ending}`), "utf8");
  const figures = JSON.parse(read("json")) as ComparisonFigures;

  it("has the Markdown that the program writes of its figures", () => {
    expect(read("md")).toBe(comparisonMarkdown(figures));
  });

  it("has a page of the same run, and says which command made it", () => {
    expect(read("html").split("\n")[0]).toContain(describeComparisonProvenance(figures.provenance));
    expect(figures.provenance.command).toMatch(/^router-sim compare --workload/);
    expect(figures.provenance.commit).toMatch(/^[0-9a-f]{7,}$/);
  });
});

it("the table of the conclusions has the figures of the pages", () => {
  const lines = readFileSync(join(FOLDER, "README.md"), "utf8").split("\n");
  const header = lines.findIndex((line) => line.startsWith("| workload | "));
  const policies = cellsOf(lines[header] ?? "").slice(1);
  const cases = ["conversation", "workloads"].flatMap((name) => {
    const { comparison } = JSON.parse(
      readFileSync(join(FOLDER, `${name}.json`), "utf8"),
    ) as ComparisonFigures;
    return comparison.cases;
  });
  cases.forEach((one, position) => {
    const [, ...figures] = cellsOf(lines[header + 2 + position] ?? "");
    const expected = policies.map((policy) => {
      const { firstTokenP90, hitRate } =
        one.policies.find((result) => result.policy === policy)?.metrics ?? ({} as Record<string, undefined>);
      const milliseconds = (1_000 * (firstTokenP90?.mean ?? Number.NaN)).toLocaleString("en-US", {
        maximumFractionDigits: 0,
      });
      return `${milliseconds}, ${(100 * (hitRate?.mean ?? Number.NaN)).toFixed(0)} %`;
    });
    expect(
      figures.map((figure) => figure.replaceAll("*", "")),
      one.workload,
    ).toEqual(expected);
  });
});

it("the table of fleet sizes has the figures of its page", () => {
  const lines = readFileSync(join(FOLDER, "README.md"), "utf8").split("\n");
  const header = lines.findIndex((line) => line.startsWith("| engines | "));
  const policies = cellsOf(lines[header] ?? "").slice(1, -2);
  const { comparison, workloads } = JSON.parse(
    readFileSync(join(FOLDER, "fleet-size.json"), "utf8"),
  ) as ComparisonFigures;
  expect(comparison.cases).toHaveLength(3);
  comparison.cases.forEach(({ engineCount, policies: results }, position) => {
    const mean = (
      policy: string,
      metric: "firstTokenP90" | "promptStarts" | "interTokenMean" | "hitRate",
    ): number => results.find((result) => result.policy === policy)?.metrics[metric].mean ?? Number.NaN;
    const ceiling = workloads[0]?.ceilingsByEngines.find((one) => one.engineCount === engineCount);
    const expected = [
      String(engineCount),
      ...policies.map((policy) =>
        [
          `${mean(policy, "firstTokenP90").toFixed(2)} s`,
          percent(mean(policy, "promptStarts")),
          `${mean(policy, "interTokenMean").toFixed(1)} ms`,
        ].join(", "),
      ),
      percent(mean("kvsync", "hitRate")),
      percent(ceiling?.hitShare ?? Number.NaN),
    ];
    const cells = cellsOf(lines[header + 2 + position] ?? "");
    expect(cells.map((cell) => cell.replaceAll("*", ""))).toEqual(expected);
  });
});

it("the table of several routers has the figures of its page", () => {
  const lines = readFileSync(join(FOLDER, "README.md"), "utf8").split("\n");
  const header = lines.findIndex((line) => line.startsWith("| workload of several | "));
  const columns = cellsOf(lines[header] ?? "").slice(1);
  expect(columns).toHaveLength(6);
  const { comparison } = JSON.parse(
    readFileSync(join(FOLDER, "several-pickers.json"), "utf8"),
  ) as ComparisonFigures;
  expect(comparison.cases).toHaveLength(7);
  comparison.cases.forEach(({ policies, workload }, position) => {
    const p90 = (policy: string): number =>
      policies.find((result) => result.policy === policy)?.metrics.firstTokenP90.mean ?? Number.NaN;
    const expected = columns.map((column) => {
      const [count, news] = column.replace("blind", "none").split(", ");
      const change = p90(`kvsync-${count ?? ""}-${news ?? ""}`) / p90("kvsync") - 1;
      return `${formatSigned(100 * change, 0)} %`;
    });
    expect(cellsOf(lines[header + 2 + position] ?? "").slice(1), workload).toEqual(expected);
  });
});

function percent(share: number): string {
  return `${(100 * share).toFixed(0)} %`;
}

function cellsOf(line: string): string[] {
  return line
    .split("|")
    .slice(1, -1)
    .map((cell) => cell.trim());
}
