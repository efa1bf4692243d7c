/** Alert: Engines that should be followed are not. */

import { DISCOVERY_METRICS } from "../../../catalogue/discovery.ts";
import { ENGINES } from "../../../dashboards/engines.ts";
import { panelOf } from "../../../../dashboards/panel.ts";
import { above, sum } from "../../../../promql/operators.ts";
import { value } from "../../../../promql/series.ts";
import { alert } from "../../../../rules/alert.ts";
import { ask, logLines } from "../../commands.ts";
import { BY_SOURCE } from "../../label-sets.ts";
import { steady, TARGET } from "../../trial.ts";

const withoutReason = ["conflict", "no_room", "malformed"] as const;

/** Its condition, texts, runbook and trial. */
export const ENGINES_REFUSED = alert({
  name: "EnginesRefused",
  when: above(sum(value(DISCOVERY_METRICS.refused, { reason: withoutReason }), BY_SOURCE), 0),
  for: "10m",
  severity: "warning",
  component: "ingest",
  summary: "Engines that should be followed are not.",
  description: ({ label, counted }) =>
    `${label("instance")} does not follow ${counted("engine", "engines")} of the source ${label("source")}.`,
  panel: panelOf(ENGINES, "refused"),
  runbook: {
    meaning:
      "Two sources contradict each other about an engine, an engine's description is invalid, or there is no room for it. The file takes precedence over registrations over HTTP, and those over Kubernetes.",
    impact: "Lookups do not know these engines, or know them as the source that won describes them.",
    diagnosis: [
      { text: "Why?", query: sum(value(DISCOVERY_METRICS.refused), ["instance", "source", "reason"]).text },
      {
        text: "Which engines, in which field, and who has it instead?",
        command: `${ask("/api/v1/engines")} | jq .refused`,
      },
      { text: "When were they refused?", ...logLines(20, { events: ["engine_refused"] }) },
    ],
    mitigation: [
      {
        cause: "conflict",
        fix: "Remove the engine from one of the two sources, or make both equal.",
      },
      {
        cause: "malformed",
        fix: "Correct the pod's labels and annotations; the message names the one and what is expected.",
      },
      {
        cause: "no_room",
        fix: "Raise limits.engines, or the limit on open files (four for each DP rank); the message names the limit.",
      },
    ],
    prevention:
      "Let one source describe each engine, and set limits.engines and the limit on open files above the planned fleet.",
    escalation: "The team that runs the engines, with the list of the second step.",
  },
  trial: {
    series: (level) => [
      steady(DISCOVERY_METRICS.refused, { source: "kubernetes", reason: "malformed" }, level),
      steady(DISCOVERY_METRICS.refused, { source: "kubernetes", reason: "duplicate" }, 7),
    ],
    fires: 1,
    calm: 0,
    labels: { ...TARGET, source: "kubernetes" },
  },
});
