/**
 * A promtool test that evaluates every panel's expressions on made-up series of every family: each must have a result. An expression whose label
 * sets do not meet, whose matcher hits nothing or whose divisor is filtered away shows here as empty.
 *
 * Grafana's macros and variables get values that select everything.
 */

import { queriesOf } from "../dashboards/panel.ts";
import type { LabelDomain } from "../definition.ts";
import { plainPromql } from "./promql-tree.ts";
import type { KnownFamily } from "../documents/exposed-names.ts";
import { type Project, ruleFileName } from "../project.ts";
import { generatedYaml } from "../rules/prometheus.ts";

/** Open labels get so many values. */
const OPEN_VALUES = 2;

/** How long the series run: past the longest look-back of a panel. */
const MINUTES = 70;

function text(name: string, labels: Readonly<Record<string, string>>): string {
  const parts = Object.entries(labels).map(([label, value]) => `${label}=${JSON.stringify(value)}`);
  return `${name}{${parts.join(",")}}`;
}

function valuesOf({ knowledge }: Project, label: string, domain: LabelDomain): readonly string[] {
  if (!("maxValues" in domain)) return domain;
  return knowledge.namedValues[label] ?? Array.from({ length: OPEN_VALUES }, (_, i) => `${label}-${i}`);
}

function combinations(project: Project, family: KnownFamily): Record<string, string>[] {
  let all: Record<string, string>[] = [{ job: project.job, instance: "10.0.0.1:7070" }];
  for (const [label, domain] of Object.entries(family.labels))
    all = all.flatMap((labels) =>
      valuesOf(project, label, domain).map((value) => ({ ...labels, [label]: value })),
    );
  return all;
}

function seriesOf(project: Project, family: KnownFamily): { series: string; values: string }[] {
  const count = (MINUTES * 60) / project.intervalSeconds;
  return combinations(project, family).flatMap((labels) => {
    if (family.kind === "gauge") return [{ series: text(family.name, labels), values: `1+0x${count}` }];
    if (family.kind === "counter") return [{ series: text(family.name, labels), values: `0+30x${count}` }];
    const bounds = family.buckets ?? [];
    return [
      ...[...bounds, "+Inf"].map((bound, i) => ({
        series: text(`${family.name}_bucket`, { ...labels, le: `${bound}` }),
        values: `0+${i + 1}x${count}`,
      })),
      { series: text(`${family.name}_sum`, labels), values: `0+30x${count}` },
      { series: text(`${family.name}_count`, labels), values: `0+${bounds.length + 1}x${count}` },
    ];
  });
}

/**
 * The test of all panels.
 *
 * @param project - whose.
 * @returns a file to lie beside the rule file.
 */
export function panelTestFile(project: Project): string {
  const tests = project.dashboards.flatMap((board) =>
    Object.values(board.panels).flatMap((panel) =>
      queriesOf(panel).map((query) => ({
        expr: `count(${plainPromql(query.text).replace(/"\$\w+"/g, '".+"')}) > bool 0`,
        eval_time: `${MINUTES}m`,
        exp_samples: [{ labels: "{}", value: 1 }],
      })),
    ),
  );
  return generatedYaml(project, {
    rule_files: [ruleFileName(project)],
    evaluation_interval: "1m",
    tests: [
      {
        name: "every panel's expression has a result when every family has series",
        interval: `${project.intervalSeconds}s`,
        input_series: [...project.families, ...project.externalFamilies].flatMap((family) =>
          seriesOf(project, family),
        ),
        promql_expr_test: tests,
      },
    ],
  });
}
