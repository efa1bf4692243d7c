/**
 * kvsync's objectives about match requests: how many may fail, and how many may be slow. Settings of the generator
 * give budgets, times and windows (rules/objectives.ts).
 */

import { SERVICE_METRICS } from "../catalogue/service.ts";
import { panelOf } from "../../dashboards/panel.ts";
import { sum } from "../../promql/operators.ts";
import { recorded } from "../../promql/recording.ts";
import { rate } from "../../promql/series.ts";
import type { Alert } from "../../rules/alert.ts";
import type { Inhibition } from "../../rules/inhibition.ts";
import { type Objective, objectiveAlerts, objectiveInhibitions } from "../../rules/objectives.ts";
import { SERVICE } from "../dashboards/service.ts";
import { type Key, type KvsyncObjectives, plain, recordedAs, ROUTE, sharesOf } from "./objective-shares.ts";
import { RECORDINGS } from "./recordings.ts";
import { growing, sharedAt, TARGET } from "./trial.ts";

const MATCH = { method: "POST", ...ROUTE } as const;

function objectivesOf(settings: KvsyncObjectives): readonly Objective<Key>[] {
  const { budgets, periodDays, slowSeconds } = settings;
  const { availability, latency } = recordedAs(settings);
  const service = { cluster: TARGET.cluster, namespace: TARGET.namespace, job: TARGET.job };
  const budgetText = (key: Key): string =>
    `budget of ${plain(periodDays)} days (${plain(budgets[key] * 100)} % of requests)`;
  return [
    {
      ...availability,
      title: "Availability",
      service,
      series: (errors) => [
        growing(SERVICE_METRICS.httpRequests, { ...MATCH, status: "500" }, errors * 1000),
        growing(SERVICE_METRICS.httpRequests, { ...MATCH, status: "200" }, (1 - errors) * 1000),
      ],
      runbook: {
        meaning: `Match requests fail at a rate that would use up the error ${budgetText("availability")} too early.`,
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
      ...latency,
      title: "Latency",
      service,
      series: (errors) =>
        sharedAt(SERVICE_METRICS.httpRequestDuration, MATCH, slowSeconds.latency, 1 - errors),
      runbook: {
        meaning: `More match requests than promised take longer than ${plain(slowSeconds.latency * 1000)} ms; the ${budgetText("latency")} goes too early.`,
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
}

const PANELS = { availability: "availability", latency: "latencyObjective" } as const;

/**
 * The burn-rate alerts of both.
 *
 * @param settings - of the objectives.
 */
export function objectiveAlertsOf(settings: KvsyncObjectives): readonly Alert<"objectives">[] {
  const shares = sharesOf(settings);
  return objectivesOf(settings).flatMap((objective) =>
    objectiveAlerts(objective, shares[objective.key], settings, panelOf(SERVICE, PANELS[objective.key])),
  );
}

/**
 * A faster alert silences the slower ones of its objective.
 *
 * @param settings - of the objectives.
 */
export function objectiveInhibitionsOf(settings: KvsyncObjectives): readonly Inhibition[] {
  return ["Availability", "Latency"].flatMap((title) => objectiveInhibitions(title, settings));
}
