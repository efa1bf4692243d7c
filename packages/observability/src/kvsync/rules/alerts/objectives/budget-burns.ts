/**
 * Alerts on how fast the error budgets burn, two windows each. The long window shows that the burn
 * matters, the short one that it continues.
 * Factors and windows are those of the SRE workbook, chapter 5, as kubernetes-mixin uses them for 30 days.
 *
 *     page    14.4 × budget over 1h and 5m    2 % of the budget in an hour
 *     page     6   × budget over 6h and 30m   5 % of it in six hours
 *     ticket   3   × budget over 1d and 2h   10 % of it in a day
 *     ticket   1   × budget over 3d and 6h   10 % of it in three days
 */

import { SERVICE_METRICS } from "../../../catalogue/service.ts";
import { panelOf } from "../../../../dashboards/panel.ts";
import { SERVICE } from "../../../dashboards/service.ts";
import { above, both, sum } from "../../../../promql/operators.ts";
import { recorded } from "../../../../promql/recording.ts";
import { rate } from "../../../../promql/series.ts";
import { alert, type Alert, type AlertFor, type Runbook, type Severity } from "../../../../rules/alert.ts";
import { type BurnWindow, OBJECTIVE_RECORDINGS, RECORDINGS } from "../../recordings.ts";
import { OBJECTIVES } from "../../thresholds.ts";
import type { TrialSeries } from "../../../../rules/trial.ts";
import { growing, sharedAt, TARGET } from "../../trial.ts";

interface Burn {
  readonly long: BurnWindow;
  readonly short: BurnWindow;
  readonly factor: number;
  readonly for: AlertFor;
  readonly severity: Severity;
}

const BURNS: readonly Burn[] = [
  { long: "1h", short: "5m", factor: 14.4, for: "2m", severity: "critical" },
  { long: "6h", short: "30m", factor: 6, for: "15m", severity: "critical" },
  { long: "1d", short: "2h", factor: 3, for: "1h", severity: "warning" },
  { long: "3d", short: "6h", factor: 1, for: "3h", severity: "warning" },
];

interface Objective {
  readonly key: "availability" | "latency";
  readonly title: string;
  readonly what: string;
  readonly panel: "availability" | "latencyObjective";
  readonly runbook: Runbook;
  readonly series: (errorRatio: number) => readonly TrialSeries[];
}

const MATCH = { method: "POST", route: "/api/v1/match" } as const;

const OBJECTIVE_LIST: readonly Objective[] = [
  {
    key: "availability",
    title: "Availability",
    what: "fail",
    panel: "availability",
    series: (errors) => [
      growing(SERVICE_METRICS.httpRequests, { ...MATCH, status: "500" }, errors * 1000),
      growing(SERVICE_METRICS.httpRequests, { ...MATCH, status: "200" }, (1 - errors) * 1000),
    ],
    runbook: {
      meaning: `Match requests fail at a rate that would use up the error budget of 30 days (${OBJECTIVES.budgets.availability * 100} % of requests) too early.`,
      impact:
        "Gateways fall back for the requests concerned; the objective will be missed if this continues.",
      diagnosis: [
        { text: "Which replica?", query: recorded(RECORDINGS.errorRatio).text },
        {
          text: "Which error?",
          query: sum(rate(SERVICE_METRICS.httpRequestErrors, "5m"), ["code", "instance"]).text,
        },
      ],
      mitigation: [
        { cause: "It began with a release.", fix: "Roll back." },
        { cause: "One replica is ill.", fix: "Delete its pod." },
        { cause: "Overload.", fix: "Add replicas." },
      ],
      prevention: "Roll a release out to one replica first, and keep two replicas or more.",
      escalation: "kvsync's maintainers; the owners of the gateways when the budget is gone.",
    },
  },
  {
    key: "latency",
    title: "Latency",
    what: `take longer than ${OBJECTIVES.latencySeconds * 1000} ms`,
    panel: "latencyObjective",
    series: (errors) =>
      sharedAt(SERVICE_METRICS.httpRequestDuration, MATCH, OBJECTIVES.latencySeconds, 1 - errors),
    runbook: {
      meaning: `More match requests than promised take longer than ${OBJECTIVES.latencySeconds * 1000} ms; the budget of 30 days (${OBJECTIVES.budgets.latency * 100} % of requests) goes too early.`,
      impact: "Time to first token grows by what gateways wait here.",
      diagnosis: [
        { text: "Which replica and route?", query: recorded(RECORDINGS.requestP99).text },
        { text: "Lookup or around it?", query: recorded(RECORDINGS.lookupLatencyP99).text },
        { text: "CPU?", query: recorded(RECORDINGS.cpu).text },
      ],
      mitigation: [
        {
          cause: "Tokenization takes the time.",
          fix: "Send token ids, or give the tokenizer more capacity.",
        },
        { cause: "The process lacks CPU.", fix: "Raise its limit or add replicas." },
      ],
      prevention: "Plan CPU and replicas by docs/operations/capacity.md, and have gateways send token ids.",
      escalation: "kvsync's maintainers.",
    },
  },
];

function burnAlert(objective: Objective, burn: Burn): Alert<"objectives"> {
  const recordings = OBJECTIVE_RECORDINGS[objective.key];
  // Rounded, so that the threshold reads as a person would write it.
  const threshold = Number((burn.factor * OBJECTIVES.budgets[objective.key]).toPrecision(6));
  return alert({
    name: `${objective.title}BudgetBurn${burn.long}`,
    when: both(
      above(recorded(recordings[burn.long]), threshold),
      above(recorded(recordings[burn.short]), threshold),
    ),
    for: burn.for,
    severity: burn.severity,
    component: "objectives",
    summary: `The ${objective.key} budget of match requests burns ${burn.factor} times as fast as it may.`,
    description: ({ label, value: share }) =>
      `${share} of the match requests of ${label("job")} over ${burn.long} ${objective.what}.`,
    panel: panelOf(SERVICE, objective.panel),
    runbook: objective.runbook,
    trial: {
      series: objective.series,
      fires: threshold * 1.02,
      calm: threshold * 0.98,
      labels: { cluster: TARGET.cluster, namespace: TARGET.namespace, job: TARGET.job },
      settle: "10m",
    },
  });
}

/** Burn-rate alerts of both objectives. */
export const OBJECTIVE_ALERTS: readonly Alert<"objectives">[] = OBJECTIVE_LIST.flatMap((objective) =>
  BURNS.map((burn) => burnAlert(objective, burn)),
);
