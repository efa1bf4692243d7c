/**
 * A promtool test that evaluates every panel's expressions on made-up series of every family: each must have a result. An expression whose label
 * sets do not meet, whose matcher hits nothing or whose divisor is filtered away shows here as empty.
 *
 * Grafana's macros and variables get values that select everything.
 */

import { ALL_FAMILIES } from "../kvsync/catalogue/families.ts";
import { DASHBOARDS } from "../kvsync/dashboards/dashboards.ts";
import { queriesOf } from "../dashboards/panel.ts";
import type { LabelDomain } from "../definition.ts";
import { plainPromql } from "./promql-tree.ts";
import type { KnownFamily } from "../documents/exposed-names.ts";
import { generatedYaml, RULE_FILE } from "../rules/prometheus.ts";
import { DAEMON_JOB, INTERVAL_SECONDS } from "../kvsync/rules/thresholds.ts";

/** Open labels get so many values. */
const OPEN_VALUES = 2;

/** Some labels' open values mean something to our queries. */
const NAMED_VALUES: Readonly<Record<string, readonly string[]>> = {
  route: ["/api/v1/match", "/metrics"],
  status: ["200", "500"],
  pod: ["kvsync-daemon-0", "engine-0"],
  deployment: ["kvsync-daemon"],
  horizontalpodautoscaler: ["kvsync-daemon"],
};

/** How long the series run: past the longest look-back of a panel. */
const MINUTES = 70;

function valuesOf(label: string, domain: LabelDomain): readonly string[] {
  if (!("maxValues" in domain)) return domain;
  return NAMED_VALUES[label] ?? Array.from({ length: OPEN_VALUES }, (_, i) => `${label}-${i}`);
}

function combinations(family: KnownFamily): Record<string, string>[] {
  let all: Record<string, string>[] = [{ job: DAEMON_JOB, instance: "10.0.0.1:7070" }];
  for (const [label, domain] of Object.entries(family.labels))
    all = all.flatMap((labels) => valuesOf(label, domain).map((value) => ({ ...labels, [label]: value })));
  return all;
}

function seriesOf(family: KnownFamily): { series: string; values: string }[] {
  const count = (MINUTES * 60) / INTERVAL_SECONDS;
  const text = (name: string, labels: Record<string, string>) =>
    `${name}{${Object.entries(labels)
      .map(([label, value]) => `${label}=${JSON.stringify(value)}`)
      .join(",")}}`;
  return combinations(family).flatMap((labels) => {
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
 * @returns a file to lie beside the rule file.
 */
export function panelTestFile(): string {
  const tests = DASHBOARDS.flatMap((board) =>
    Object.values(board.panels).flatMap((panel) =>
      queriesOf(panel).map((query) => ({
        expr: `count(${plainPromql(query.text).replace(/"\$\w+"/g, '".+"')}) > bool 0`,
        eval_time: `${MINUTES}m`,
        exp_samples: [{ labels: "{}", value: 1 }],
      })),
    ),
  );
  return generatedYaml({
    rule_files: [RULE_FILE],
    evaluation_interval: "1m",
    tests: [
      {
        name: "every panel's expression has a result when every family has series",
        interval: `${INTERVAL_SECONDS}s`,
        input_series: ALL_FAMILIES.flatMap(seriesOf),
        promql_expr_test: tests,
      },
    ],
  });
}
