/** Alert: Connections to engines keep failing. */

import { INGEST_METRICS } from "../../../catalogue/ingest.ts";
import { ENGINES } from "../../../dashboards/engines.ts";
import { panelOf } from "../../../../dashboards/panel.ts";
import { above, sum } from "../../../../promql/operators.ts";
import { rate } from "../../../../promql/series.ts";
import { alert } from "../../../../rules/alert.ts";
import { logLines } from "../../commands.ts";
import { BY_ENGINE } from "../../label-sets.ts";
import { THRESHOLDS } from "../../thresholds.ts";
import { ENGINE, growing, TARGET } from "../../trial.ts";

/** Its condition, texts, runbook and trial. */
export const KV_SYNC_CONNECTION_FAILURE = alert({
  name: "KVSyncConnectionFailure",
  when: above(
    sum(rate(INGEST_METRICS.connections, "5m", { status: "failed" }), BY_ENGINE),
    THRESHOLDS.connectionFailuresPerSecond,
  ),
  for: "2m",
  severity: "warning",
  component: "ingest",
  summary: "Connections to engines keep failing.",
  description: ({ label, value: rateText }) =>
    `${label("instance")} fails to connect to the engine ${label("pod")} of ${label("model")}: ${rateText} failed attempts per minute.`,
  panel: panelOf(ENGINES, "connections"),
  runbook: {
    meaning: "Engines that are listed cannot be reached at their event socket, or accept and close at once.",
    impact:
      "The index does not receive these engines' blocks. Lookups report the engines with trust unknown or stale.",
    diagnosis: [
      {
        text: "Attempts to connect to which engines failed?",
        query: sum(rate(INGEST_METRICS.connections, "5m", { status: "failed" }), ["pod", "model"]).text,
      },
      {
        text: "Which address does the daemon try, and how does it fail?",
        ...logLines(20, { events: ["engine_unreachable"] }),
      },
      {
        text: "Is the port open from the daemon?",
        command: "kubectl exec POD -- kvsync inspect tcp://ENGINE_IP:5557 --seconds 10",
      },
    ],
    mitigation: [
      {
        cause: "The engine runs without event publishing.",
        fix: "Start it with its KV events configuration (publisher zmq, endpoint tcp://*:5557).",
      },
      {
        cause: "A network policy blocks the engines' ports.",
        fix: "Allow the daemon to reach them. Each DP rank needs one events port from 5557 on, and one replay port from the replay endpoint's port on (docs/getting-started/engines.md).",
      },
      {
        cause:
          "One side speaks CURVE and the other does not, or the engine's key is another one (panel: engines with other ZeroMQ security).",
        fix: "Set curve.server_key_file to the engines' public key, or unset it where they speak plain ZeroMQ (docs/operations/security.md).",
      },
      {
        cause: "The engine is gone but still listed.",
        fix: "Take it out of the configuration file, or DELETE /api/v1/engines/ID when it was registered over HTTP.",
      },
    ],
    prevention: "Take engines off the list when they are scaled down, or let Kubernetes discovery do it.",
    escalation: "The team that runs the engines, with the list of pods from the first query.",
  },
  trial: {
    series: (level) => [growing(INGEST_METRICS.connections, { ...ENGINE, status: "failed" }, level)],
    fires: 0.11,
    calm: 0.09,
    labels: { ...TARGET, ...ENGINE },
  },
});
