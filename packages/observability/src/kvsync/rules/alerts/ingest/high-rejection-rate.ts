/** Alert: A visible share of messages is refused, at the queue or by the filter before it. */

import { INGEST_METRICS } from "../../../catalogue/ingest.ts";
import { STREAM_METRICS } from "../../../catalogue/stream.ts";
import { INGEST } from "../../../dashboards/ingest.ts";
import { panelOf } from "../../../../dashboards/panel.ts";
import { above, orZero, plus, ratio, sum } from "../../../../promql/operators.ts";
import { recorded } from "../../../../promql/recording.ts";
import { rate } from "../../../../promql/series.ts";
import { alert } from "../../../../rules/alert.ts";
import { BY_MODEL } from "../../label-sets.ts";
import { RECORDINGS } from "../../recordings.ts";
import { MESSAGE_FLOOR_PER_SECOND, THRESHOLDS } from "../../thresholds.ts";
import { growing, MODEL, MODEL_LABELS } from "../../trial.ts";

const rejected = sum(rate(STREAM_METRICS.streamEventsRejected, "5m"), BY_MODEL);
const taken = recorded(RECORDINGS.eventRate);
const offered = plus(orZero(rejected, taken), taken);

/** Its condition, texts, runbook and trial. */
export const HIGH_REJECTION_RATE = alert({
  name: "HighRejectionRate",
  when: above(ratio(rejected, offered, MESSAGE_FLOOR_PER_SECOND), THRESHOLDS.rejectedRatio),
  for: "5m",
  severity: "warning",
  component: "ingest",
  summary: "A visible share of messages is refused before it is applied.",
  description: ({ label, value: share }) =>
    `${label("instance")} refuses ${share} of the messages of ${label("model")}.`,
  panel: panelOf(INGEST, "rejected"),
  runbook: {
    meaning:
      "Messages are read and dropped before they are applied, each one counted with a reason. Those refused at the queue are repaired by a replay; those of other ranks or topics belong to no stream.",
    impact:
      "At the queue: replays multiply the load, and streams are stale while they run. Other ranks or topics: their blocks are missing in answers.",
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
      {
        cause:
          "other_dp_rank: a relay, or a wrong port, brings messages of several DP ranks through one socket, and the engine's entry names one rank.",
        fix: "Set shared_socket: true and dp_size in the entry, or give each rank its own endpoint. The log line ranks_share_socket names the engine.",
      },
      {
        cause:
          "unnamed_dp_rank: the entry sets shared_socket, and batches carry no data_parallel_rank. The relay or engine is too old, or only one rank publishes there.",
        fix: "Upgrade the engine (vLLM from 0.9.1), or remove shared_socket and give each rank its own endpoint.",
      },
      {
        cause:
          "other_topic: the entry's topic is only the beginning of the topic that the engine publishes under.",
        fix: "Set topic to the engine's whole topic. The log line topic_not_published names both.",
      },
    ],
    prevention:
      "Check new engine entries with `kvsync inspect`: it shows topics and DP ranks before the entry is used.",
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
