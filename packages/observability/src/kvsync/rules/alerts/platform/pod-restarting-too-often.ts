/** Alert: A container keeps restarting. */

import { CLUSTER_METRICS } from "../../../../exporters.ts";
import { OF_KVSYNC } from "../../../catalogue/platform.ts";
import { panelOf } from "../../../../dashboards/panel.ts";
import { SERVICE } from "../../../dashboards/service.ts";
import { above, sum } from "../../../../promql/operators.ts";
import { increase } from "../../../../promql/series.ts";
import { alert } from "../../../../rules/alert.ts";
import { THRESHOLDS } from "../../thresholds.ts";
import { CONTAINER, growing } from "../../trial.ts";

/** Its condition, texts, runbook and trial. */
export const POD_RESTARTING_TOO_OFTEN = alert({
  name: "PodRestartingTooOften",
  when: above(
    sum(increase(CLUSTER_METRICS.containerRestarts, "15m", { pod: OF_KVSYNC }), [
      "cluster",
      "namespace",
      "pod",
      "container",
    ]),
    THRESHOLDS.restartsPerQuarterHour,
  ),
  for: "5m",
  severity: "warning",
  component: "platform",
  summary: "A container keeps restarting.",
  description: ({ label, value: restarts }) =>
    `Restarts of ${label("container")} of ${label("pod")} in a quarter of an hour: ${restarts}.`,
  panel: panelOf(SERVICE, "podRestarts"),
  runbook: {
    meaning:
      "The process ends and is started again: killed for memory, failing probes, or ended by an assertion.",
    impact: "After each start the index is rebuilt from replay; answers are unknown for seconds.",
    diagnosis: [
      {
        text: "How often?",
        query: sum(increase(CLUSTER_METRICS.containerRestarts, "15m", { pod: OF_KVSYNC }), [
          "pod",
          "container",
        ]).text,
      },
      {
        text: "How did it end?",
        command: "kubectl get pod POD -o jsonpath='{.status.containerStatuses[*].lastState.terminated}'",
      },
    ],
    mitigation: [
      { cause: "OOMKilled.", fix: "Raise the memory limit." },
      { cause: "Exit code 1.", fix: "Report the last log lines; roll back if it began with a release." },
      { cause: "Liveness probe.", fix: "See HighEventLoopLag." },
    ],
    prevention:
      "Set the memory limit by docs/operations/capacity.md, and roll a release out to one replica first.",
    escalation: "kvsync's maintainers.",
  },
  trial: {
    series: (level) => [growing(CLUSTER_METRICS.containerRestarts, CONTAINER, level / 900)],
    fires: 1,
    calm: 0,
    labels: CONTAINER,
    settle: "16m",
  },
});
