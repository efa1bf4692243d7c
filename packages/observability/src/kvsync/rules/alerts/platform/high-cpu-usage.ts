/** Alert: A container is about to be throttled. */

import { CLUSTER_METRICS } from "../../../../exporters.ts";
import { OF_KVSYNC } from "../../../catalogue/platform.ts";
import { panelOf } from "../../../../dashboards/panel.ts";
import { SERVICE } from "../../../dashboards/service.ts";
import { above, ratio, sum } from "../../../../promql/operators.ts";
import { rate, value } from "../../../../promql/series.ts";
import { alert } from "../../../../rules/alert.ts";
import { THRESHOLDS } from "../../thresholds.ts";
import { CONTAINER, growing, steady } from "../../trial.ts";

const cores = { resource: "cpu", pod: OF_KVSYNC } as const;

/** Its condition, texts, runbook and trial. */
export const HIGH_CPU_USAGE = alert({
  name: "HighCPUUsage",
  when: above(
    ratio(
      sum(rate(CLUSTER_METRICS.containerCpu, "5m", { pod: OF_KVSYNC }), [
        "cluster",
        "namespace",
        "pod",
        "container",
      ]),
      sum(value(CLUSTER_METRICS.containerCpuLimit, cores), ["cluster", "namespace", "pod", "container"]),
    ),
    THRESHOLDS.cpuRatio,
  ),
  for: "10m",
  severity: "warning",
  component: "platform",
  summary: "A container is about to be throttled.",
  description: ({ label, value: share }) =>
    `${label("container")} of ${label("pod")} uses ${share} of its CPU limit.`,
  panel: panelOf(SERVICE, "containerCpu"),
  runbook: {
    meaning: "The container uses nearly all the CPU that its limit allows; the kernel will pause it.",
    impact: "Lookups get slow in bursts, and the ingest queue grows.",
    diagnosis: [
      {
        text: "Which container?",
        query: sum(rate(CLUSTER_METRICS.containerCpu, "5m", { pod: OF_KVSYNC }), ["pod", "container"]).text,
      },
      {
        text: "Its limit.",
        query: sum(value(CLUSTER_METRICS.containerCpuLimit, cores), ["pod", "container"]).text,
      },
    ],
    mitigation: [
      {
        cause: "The fleet or its traffic has grown.",
        fix: "Raise the limit: one core for HTTP and one per ingest worker.",
      },
      { cause: "A loop that should not be there.", fix: "Take a CPU profile, restart, report." },
    ],
    prevention: "Plan the CPU limit by docs/operations/capacity.md when engines or traffic are added.",
    escalation: "Capacity planning.",
  },
  trial: {
    series: (level) => [
      growing(CLUSTER_METRICS.containerCpu, CONTAINER, level * 2),
      steady(CLUSTER_METRICS.containerCpuLimit, { ...CONTAINER, resource: "cpu", unit: "core" }, 2),
    ],
    fires: 0.81,
    calm: 0.79,
    labels: CONTAINER,
  },
});
