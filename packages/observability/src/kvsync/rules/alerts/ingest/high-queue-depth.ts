/** Alert: The ingest queue is filling up. */

import { STREAM_METRICS } from "../../../catalogue/stream.ts";
import { INGEST } from "../../../dashboards/ingest.ts";
import { panelOf } from "../../../../dashboards/panel.ts";
import { above } from "../../../../promql/operators.ts";
import { recorded } from "../../../../promql/recording.ts";
import { alert } from "../../../../rules/alert.ts";
import { RECORDINGS } from "../../recordings.ts";
import { THRESHOLDS } from "../../thresholds.ts";
import { steady, TARGET } from "../../trial.ts";

/** Its condition, texts, runbook and trial. */
export const HIGH_QUEUE_DEPTH = alert({
  name: "HighQueueDepth",
  when: above(recorded(RECORDINGS.queueUtilization), THRESHOLDS.queueRatioWarning),
  for: "2m",
  severity: "warning",
  component: "ingest",
  summary: "The ingest queue is filling up.",
  description: ({ label, value: share }) =>
    `The ${label("lane")} lane of ${label("instance")} is ${share} full.`,
  panel: panelOf(INGEST, "utilization"),
  runbook: {
    meaning: "Messages arrive faster than they are applied, and have done so for minutes.",
    impact:
      "Events reach the index later and later. At the bound, messages are refused and replays repair them at extra cost.",
    diagnosis: [
      { text: "Load or slowness?", query: recorded(RECORDINGS.eventRate).text },
      { text: "Busy workers?", query: recorded(RECORDINGS.workerUtilization).text },
    ],
    mitigation: [
      {
        cause: "More load than one worker applies.",
        fix: "Add ingest workers, or move models to another replica.",
      },
      { cause: "CPU throttling.", fix: "Raise the CPU limit; see HighCPUUsage." },
      {
        cause: "A burst of messages after a network cut.",
        fix: "It drains by itself; watch that the slope is down.",
      },
    ],
    prevention:
      "Plan ingest workers for the peak of the day, and set a CPU limit of one core for each of them and one for HTTP.",
    escalation: "kvsync's maintainers if utilization is below 50 % and the queue still grows.",
  },
  trial: {
    series: (level) => [
      steady(STREAM_METRICS.streamQueueDepth, { lane: "live" }, level * 1000),
      steady(STREAM_METRICS.streamQueueCapacity, { lane: "live" }, 1000),
    ],
    fires: 0.81,
    calm: 0.79,
    labels: { ...TARGET, lane: "live" },
  },
});
