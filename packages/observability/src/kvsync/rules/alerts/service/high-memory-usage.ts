/** Alert: The daemon is close to its memory limit. */

import { LIMIT_METRICS } from "../../../catalogue/limits.ts";
import { PROCESS_METRICS } from "../../../../exporters.ts";
import { panelOf } from "../../../../dashboards/panel.ts";
import { SERVICE } from "../../../dashboards/service.ts";
import { above, sum } from "../../../../promql/operators.ts";
import { recorded } from "../../../../promql/recording.ts";
import { value } from "../../../../promql/series.ts";
import { alert } from "../../../../rules/alert.ts";
import { RECORDINGS } from "../../recordings.ts";
import { THRESHOLDS } from "../../thresholds.ts";
import { steady, TARGET } from "../../trial.ts";

/** Its condition, texts, runbook and trial. */
export const HIGH_MEMORY_USAGE = alert({
  name: "HighMemoryUsage",
  when: above(recorded(RECORDINGS.memory), THRESHOLDS.memoryRatio),
  for: "2m",
  severity: "warning",
  component: "process",
  summary: "The daemon is close to its memory limit.",
  description: ({ label, value: share }) => `${label("instance")} uses ${share} of the memory it may use.`,
  panel: panelOf(SERVICE, "memoryShare"),
  runbook: {
    meaning: "Resident memory approaches the container's limit; beyond it the kernel ends the process.",
    impact: "A kill means a restart and seconds of unknown answers.",
    diagnosis: [
      { text: "Index or heap?", query: sum(value(PROCESS_METRICS.heapUsed), ["instance"]).text },
      { text: "The course of it.", query: recorded(RECORDINGS.memory).text },
    ],
    mitigation: [
      {
        cause: "The fleet has grown.",
        fix: "Raise the container's limit, or lower the index's memory budget so that it evicts instead.",
      },
      { cause: "The heap rises without end.", fix: "Restart, and report: it is a leak." },
    ],
    prevention:
      "Set the limit of the container to the sum of the memory table in docs/operations/capacity.md.",
    escalation: "kvsync's maintainers for a rising heap.",
  },
  trial: {
    series: (level) => [
      steady(PROCESS_METRICS.residentMemory, {}, level * 1e9),
      steady(LIMIT_METRICS.memoryLimit, {}, 1e9),
    ],
    fires: 0.81,
    calm: 0.79,
    labels: { ...TARGET },
    settle: "1m",
  },
});
