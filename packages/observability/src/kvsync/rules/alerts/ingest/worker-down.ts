/** Alert: An ingest worker stopped responding. */

import { LIMIT_METRICS } from "../../../catalogue/limits.ts";
import { INGEST } from "../../../dashboards/ingest.ts";
import { panelOf } from "../../../../dashboards/panel.ts";
import { above, max } from "../../../../promql/operators.ts";
import { ageAtScrape } from "../../../../promql/series.ts";
import { alert } from "../../../../rules/alert.ts";
import { THRESHOLDS } from "../../thresholds.ts";
import { steady, TARGET } from "../../trial.ts";
import { logLines } from "../../commands.ts";

/** Its condition, texts, runbook and trial. */
export const WORKER_DOWN = alert({
  name: "WorkerDown",
  when: above(
    max(ageAtScrape(LIMIT_METRICS.workerHeartbeat), ["cluster", "namespace", "job", "instance", "worker"]),
    THRESHOLDS.workerSilenceSeconds,
  ),
  for: "1m",
  severity: "critical",
  component: "ingest",
  summary: "An ingest worker stopped responding.",
  description: ({ label, value: silence }) =>
    `Worker ${label("worker")} of ${label("instance")} has not run its tick for ${silence}.`,
  panel: panelOf(INGEST, "heartbeat"),
  runbook: {
    meaning:
      "A worker that ends takes the process with it; one that is alive and silent is blocked in one piece of work. After `ingest.stall_seconds` (30 by default) the daemon logs `ingest_stalled` and ends with exit code 3. So this alert fires only where that setting is longer or the exit itself is blocked.",
    impact:
      "Nothing reaches the index for the engines of this worker. From two seconds on their trust is `stale` and the replica is not ready (`worker_stalled`).",
    diagnosis: [
      { text: "One worker or all?", query: ageAtScrape(LIMIT_METRICS.workerHeartbeat).text },
      {
        text: "What does it do?",
        command:
          "kubectl exec POD -- sh -c 'kill -USR1 1' && kubectl port-forward POD 9229   # then chrome://inspect",
      },
      {
        text: "Since when, and was it back in between?",
        ...logLines(10, { events: ["worker_stalled", "worker_resumed"] }),
      },
    ],
    mitigation: [{ cause: "Any.", fix: "Restart the replica: it rebuilds from the engines' replay." }],
    prevention:
      "None is known: a worker that does not answer is a defect, and the report of it is the prevention.",
    escalation:
      "kvsync's maintainers, with a profile or core of the hanging process taken before the restart.",
  },
  trial: {
    // Time in a promtool test begins at 0: a heartbeat that grows by a second per second lags by a constant.
    series: (level) => [{ ...steady(LIMIT_METRICS.workerHeartbeat, { worker: "0" }, -level), perSecond: 1 }],
    fires: 11,
    calm: 9,
    labels: { ...TARGET, worker: "0" },
    settle: "1m",
  },
});
