/**
 * Tests for `promtool test rules`, one pair per alert. A level barely past the threshold fires once
 * the `for` is over and not before, with exactly its labels and texts. A level barely before the
 * threshold never fires, wherever between two scrapes the rule is evaluated. A server evaluates at
 * the same distance from the scrape in every round. So an expression that is true only late in the
 * interval would fire without end.
 *
 *   0 ────── settle ──────────────── settle + for ──▶
 *   │ expression reaches its value │ pending │ firing
 */

import { secondsOf } from "../duration.ts";
import { type Project, ruleFileName } from "../project.ts";
import type { Alert } from "./alert.ts";
import { annotationsOf, generatedYaml, isSlowGroup } from "./prometheus.ts";
import { fillTemplate } from "./template-values.ts";
import type { TrialSeries } from "./trial.ts";

/** Longest `for` that is tested at the normal interval; longer ones at one of a minute, so that tests stay quick. */
const SLOW_FOR_SECONDS = 1200;

/** A test as promtool reads it. */
interface PromtoolTest {
  readonly name: string;
  readonly interval: string;
  readonly input_series: readonly { readonly series: string; readonly values: string }[];
  readonly alert_rule_test: readonly object[];
  readonly promql_expr_test?: readonly object[];
}

/**
 * Values in promtool's notation.
 *
 * @param series - start and growth.
 * @param intervalSeconds - between samples.
 * @param seconds - how long.
 * @returns such as `0+150x80`.
 */
function promtoolValues(series: TrialSeries, intervalSeconds: number, seconds: number): string {
  const step = Number((series.perSecond * intervalSeconds).toPrecision(12));
  return `${series.start}${step < 0 ? "" : "+"}${step}x${Math.ceil(seconds / intervalSeconds)}`;
}

function testsOf(alert: Alert, links: Project["links"], intervalSeconds: number): PromtoolTest[] {
  const { trial } = alert;
  const firesAt = secondsOf(trial.settle) + secondsOf(alert.for) + 2 * intervalSeconds;
  const early = Math.max(0, secondsOf(alert.for) - intervalSeconds);
  const input = (level: number) =>
    trial.series(level).map((series) => ({
      series: series.series,
      values: promtoolValues(series, intervalSeconds, firesAt + intervalSeconds),
    }));
  const annotations = Object.fromEntries(
    Object.entries(annotationsOf(alert, links)).map(([name, text]) => [
      name,
      fillTemplate(text, trial.labels, trial.fires),
    ]),
  );
  const firing = {
    exp_labels: { ...trial.labels, severity: alert.severity, component: alert.component },
    exp_annotations: annotations,
  };
  const expect = (seconds: number, alerts: readonly object[]) => ({
    eval_time: `${seconds}s`,
    alertname: alert.name,
    exp_alerts: alerts,
  });
  const interval = `${intervalSeconds}s`;
  return [
    {
      name: `${alert.name} fires past its threshold once its time is over`,
      interval,
      input_series: input(trial.fires),
      alert_rule_test: [expect(early, []), expect(firesAt, [firing])],
    },
    {
      name: `${alert.name} stays calm before its threshold`,
      interval,
      input_series: input(trial.calm),
      alert_rule_test: [expect(firesAt, [])],
      promql_expr_test: [
        { expr: alert.expression, eval_time: `${firesAt + intervalSeconds - 1}s`, exp_samples: [] },
      ],
    },
  ];
}

/**
 * The tests of all alerts.
 *
 * @param project - whose.
 * @returns files by name, to lie beside the rule file.
 */
export function alertTestFiles(project: Project): ReadonlyMap<string, string> {
  const alerts = project.alertGroups.flatMap((group) =>
    group.alerts.map((alert) => ({
      alert,
      isSlow: isSlowGroup(group.name) || secondsOf(alert.for) > SLOW_FOR_SECONDS,
    })),
  );
  const files = new Map<string, string>();
  const add = (part: string, isSlow: boolean, intervalSeconds: number): void => {
    const chosen = alerts.filter((one) => one.isSlow === isSlow);
    if (chosen.length === 0) return;
    const tests = chosen.flatMap(({ alert }) => testsOf(alert, project.links, intervalSeconds));
    const evaluation_interval = `${intervalSeconds}s`;
    files.set(
      `${project.name}.${part}.test.yaml`,
      generatedYaml(project, { rule_files: [ruleFileName(project)], evaluation_interval, tests }),
    );
  };
  add("alerts", false, project.intervalSeconds);
  add("objectives", true, 60);
  return files;
}
