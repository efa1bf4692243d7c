/** Alert: Long runs of messages from engines are lost in transit. */

import { INGEST_METRICS } from "../../../catalogue/ingest.ts";
import { OVERVIEW } from "../../../dashboards/overview.ts";
import { panelOf } from "../../../../dashboards/panel.ts";
import { above, quantile, sum, summed } from "../../../../promql/operators.ts";
import { recorded } from "../../../../promql/recording.ts";
import { bucketRate, countRate, rate } from "../../../../promql/series.ts";
import { alert } from "../../../../rules/alert.ts";
import { BY_ENGINE } from "../../label-sets.ts";
import { RECORDINGS } from "../../recordings.ts";
import { THRESHOLDS } from "../../thresholds.ts";
import { distributed, ENGINE, TARGET } from "../../trial.ts";

/** Its condition, texts, runbook and trial. */
export const KV_EVENT_SEQUENCE_GAPS = alert({
  name: "KVEventSequenceGaps",
  when: above(
    quantile(0.95, summed(bucketRate(INGEST_METRICS.sequenceGap, "5m"), BY_ENGINE)),
    THRESHOLDS.sequenceGapMessages,
  ),
  for: "2m",
  severity: "warning",
  component: "ingest",
  summary: "Long runs of messages from engines are lost in transit.",
  description: ({ label, counted }) =>
    `${label("instance")} misses up to ${counted("message", "messages")} at once from the engine ${label("pod")} of ${label("model")}.`,
  panel: panelOf(OVERVIEW, "gaps"),
  runbook: {
    meaning:
      "Sequence numbers jump: messages were published and did not arrive. A replay is asked for each gap.",
    impact:
      "While a gap is repaired its stream is stale. A gap longer than the engine's history clears the engine's part of the index.",
    diagnosis: [
      {
        text: "Which engines have gaps?",
        query: sum(countRate(INGEST_METRICS.sequenceGap, "5m"), ["pod"]).text,
      },
      { text: "Are they repaired?", query: sum(rate(INGEST_METRICS.replayRequests, "5m"), ["status"]).text },
      { text: "Does the daemon read fast enough?", query: recorded(RECORDINGS.queueUtilization).text },
    ],
    mitigation: [
      {
        cause: "The daemon is the bottleneck: the queue is long, back-pressure is on.",
        fix: "More CPU, or more ingest workers.",
      },
      {
        cause: "The engine's send buffer is short (high-water mark).",
        fix: "Raise hwm in the engine's KV events configuration.",
      },
      {
        cause: "The network drops connections.",
        fix: "Follow connection attempts per engine; look at the node.",
      },
    ],
    prevention:
      "Set hwm and buffer_steps of the engines by docs/operations/capacity.md, and keep the ingest queue short.",
    escalation: "The engines' team when only some engines are affected, network on-call otherwise.",
  },
  trial: {
    series: (level) => distributed(INGEST_METRICS.sequenceGap, ENGINE, 0.95, level),
    fires: 10.1,
    calm: 9.9,
    labels: { ...TARGET, ...ENGINE },
  },
});
