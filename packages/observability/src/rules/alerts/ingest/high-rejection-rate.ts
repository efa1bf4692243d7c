/** Alert: The queue refuses a visible share of messages. */

import { INGEST_METRICS } from "../../../catalogue/ingest.ts";
import { STREAM_METRICS } from "../../../catalogue/stream.ts";
import { INGEST } from "../../../dashboards/ingest.ts";
import { panelOf } from "../../../dashboards/panel.ts";
import { above, orZero, plus, ratio, sum } from "../../../promql/operators.ts";
import { rate } from "../../../promql/series.ts";
import { alert } from "../../alert.ts";
import { BY_MODEL } from "../../label-sets.ts";
import { MESSAGE_FLOOR_PER_SECOND, THRESHOLDS } from "../../thresholds.ts";
import { growing, MODEL, MODEL_LABELS } from "../../trial.ts";

const rejected = sum(rate(STREAM_METRICS.streamEventsRejected, "5m"), BY_MODEL);
const offered = plus(
  orZero(rejected, sum(rate(STREAM_METRICS.streamEvents, "5m"), BY_MODEL)),
  sum(rate(STREAM_METRICS.streamEvents, "5m"), BY_MODEL),
);

/** Its condition, texts, runbook and trial. */
export const HIGH_REJECTION_RATE = alert({
  name: "HighRejectionRate",
  when: above(ratio(rejected, offered, MESSAGE_FLOOR_PER_SECOND), THRESHOLDS.rejectedRatio),
  for: "5m",
  severity: "warning",
  component: "ingest",
  summary: "The queue refuses a visible share of messages.",
  description: ({ label, value: share }) =>
    `${label("instance")} refuses ${share} of the messages of ${label("model")}.`,
  panel: panelOf(INGEST, "rejected"),
  runbook: {
    meaning:
      "Messages are read and thrown away at the queue's bound, each one counted with a reason and repaired by a replay.",
    impact: "Replays multiply the load; streams are stale while they run.",
    diagnosis: [
      {
        text: "Which reason?",
        query: sum(rate(STREAM_METRICS.streamEventsRejected, "5m"), ["model", "reason"]).text,
      },
      {
        text: "Does replay keep up?",
        query: sum(rate(INGEST_METRICS.replayRequests, "5m"), ["status"]).text,
      },
    ],
    mitigation: [
      { cause: "queue_messages or queue_bytes: the queue is full.", fix: "As for CriticalQueueDepth." },
      {
        cause: "message_too_large: a message exceeds the limit.",
        fix: "Lower the engine's batch size, or raise the limit of message bytes.",
      },
    ],
    escalation: "kvsync's maintainers when the queue is short and messages are still refused.",
  },
  trial: {
    series: (level) => [
      growing(STREAM_METRICS.streamEventsRejected, { model: MODEL, reason: "queue_messages" }, level * 1000),
      growing(STREAM_METRICS.streamEvents, { model: MODEL, lane: "live" }, (1 - level) * 1000),
    ],
    fires: 0.011,
    calm: 0.009,
    labels: MODEL_LABELS,
  },
});
