/** Alert: The ingest queue is about to refuse messages. */

import { STREAM_METRICS } from "../../../catalogue/stream.ts";
import { INGEST } from "../../../dashboards/ingest.ts";
import { panelOf } from "../../../../dashboards/panel.ts";
import { above, sum } from "../../../../promql/operators.ts";
import { recorded } from "../../../../promql/recording.ts";
import { rate } from "../../../../promql/series.ts";
import { alert } from "../../../../rules/alert.ts";
import { RECORDINGS } from "../../recordings.ts";
import { THRESHOLDS } from "../../thresholds.ts";
import { steady, TARGET } from "../../trial.ts";

/** Its condition, texts, runbook and trial. */
export const CRITICAL_QUEUE_DEPTH = alert({
  name: "CriticalQueueDepth",
  when: above(recorded(RECORDINGS.queueUtilization), THRESHOLDS.queueRatioCritical),
  for: "1m",
  severity: "critical",
  component: "ingest",
  summary: "The ingest queue is about to refuse messages.",
  description: ({ label, value: share }) =>
    `The ${label("lane")} lane of ${label("instance")} is ${share} full.`,
  panel: panelOf(INGEST, "utilization"),
  runbook: {
    meaning:
      "The queue has nearly reached its bound. The next burst is refused and counted, and replays are asked for.",
    impact: "Streams turn stale in waves; lookups for busy models degrade.",
    diagnosis: [
      {
        text: "Already refusing?",
        query: sum(rate(STREAM_METRICS.streamEventsRejected, "5m"), ["model", "reason"]).text,
      },
      { text: "Which lane?", query: recorded(RECORDINGS.queueUtilization).text },
    ],
    mitigation: [
      {
        cause: "Sustained load above capacity.",
        fix: "Scale: more ingest workers, then models over more replicas.",
      },
      { cause: "The worker hangs.", fix: "See WorkerDown; restart the replica." },
    ],
    prevention:
      "Size the queue for the longest burst (docs/operations/capacity.md), and act on HighQueueDepth before this alert fires.",
    escalation: "Page kvsync's maintainers if scaling does not bend the curve within ten minutes.",
  },
  trial: {
    series: (level) => [
      steady(STREAM_METRICS.streamQueueDepth, { lane: "live" }, level * 1000),
      steady(STREAM_METRICS.streamQueueCapacity, { lane: "live" }, 1000),
    ],
    fires: 0.91,
    calm: 0.89,
    labels: { ...TARGET, lane: "live" },
  },
});
