/** Alert: A model has no connected engine at all. */

import { INGEST_METRICS } from "../../../catalogue/ingest.ts";
import { OVERVIEW } from "../../../dashboards/overview.ts";
import { panelOf } from "../../../../dashboards/panel.ts";
import { equals, sum } from "../../../../promql/operators.ts";
import { value } from "../../../../promql/series.ts";
import { alert } from "../../../../rules/alert.ts";
import { BY_MODEL } from "../../label-sets.ts";
import { MODEL, MODEL_LABELS, steady } from "../../trial.ts";
import { logLines } from "../../commands.ts";

/** Its condition, texts, runbook and trial. */
export const KV_SYNC_NO_ACTIVE_CONNECTIONS = alert({
  name: "KVSyncNoActiveConnections",
  when: equals(sum(value(INGEST_METRICS.connectionsActive), BY_MODEL), 0),
  for: "5m",
  severity: "critical",
  component: "ingest",
  summary: "A model has no connected engine at all.",
  description: ({ label }) => `${label("instance")} has lost every engine of ${label("model")}.`,
  panel: panelOf(OVERVIEW, "connections"),
  runbook: {
    meaning:
      "All event connections of one model are down at the same time: a network cut, or all its engines are gone.",
    impact: "The model's part of the index becomes stale. Lookups report it, and gateways fall back.",
    diagnosis: [
      { text: "All models, or one?", query: sum(value(INGEST_METRICS.connectionsActive), ["model"]).text },
      {
        text: "Do the engines run?",
        command: "kubectl get pods -l model.aibrix.ai/kv-events-enabled=true -o wide",
      },
      {
        text: "Why did connections end or fail?",
        ...logLines(20, { events: ["engine_disconnected", "engine_unreachable"] }),
      },
    ],
    mitigation: [
      {
        cause: "The model was scaled to zero.",
        fix: "Nothing to do; remove it from the static list if it stays away.",
      },
      {
        cause: "A network policy or DNS change cut the daemon off.",
        fix: "Restore the path to the engines' event port.",
      },
      {
        cause: "Only this replica is cut off.",
        fix: "Delete its pod; it starts elsewhere and rebuilds from replay.",
      },
    ],
    prevention:
      "Keep engines of each model on several nodes, and allow their ports in the network policy that is deployed with them.",
    escalation: "Network on-call when several models are affected, the model's owners otherwise.",
  },
  trial: {
    series: (level) => [steady(INGEST_METRICS.connectionsActive, { model: MODEL }, level)],
    fires: 0,
    calm: 1,
    labels: MODEL_LABELS,
  },
});
