/** Row of the dashboard "KV ingest stream": Back-pressure and errors. */

import { STREAM_METRICS } from "../../catalogue/stream.ts";
import { max, sumOnce } from "../../../promql/operators.ts";
import { rate, value } from "../../../promql/series.ts";
import { THRESHOLDS } from "../../rules/thresholds.ts";
import { query, row, stateTimeline, timeseries } from "../../../dashboards/panel.ts";
import { HERE, MODELS, RATE } from "../scope.ts";

/** The row with its panels. */
export const PRESSURE_AND_ERRORS = row({
  id: 103,
  title: "Back-pressure and errors",
  panels: {
    pressureState: stateTimeline({
      id: 14,
      title: "Back-pressure state",
      shows: "The level that the queue is in, by replica.",
      normal: "Normal; warning for moments during a burst of messages.",
      width: 12,
      height: 6,
      queries: [
        query(max(value(STREAM_METRICS.streamBackpressureState, HERE), ["instance"]), (label) =>
          label("instance"),
        ),
      ],
      states: [
        { value: 0, text: "normal", color: "green" },
        { value: 1, text: "warning", color: "yellow" },
        { value: 2, text: "critical", color: "orange" },
        { value: 3, text: "overloaded", color: "red" },
      ],
    }),
    pressure: timeseries({
      id: 15,
      title: "Back-pressure events",
      shows: "Transitions of the queue into a level, per second, at the replica with the most.",
      normal: "0.",
      width: 12,
      height: 6,
      queries: [
        query(
          sumOnce(rate(STREAM_METRICS.streamBackpressureActivations, RATE, HERE), ["level"], ["level"]),
          (label) => label("level"),
        ),
      ],
      levels: { warning: THRESHOLDS.backpressureActivationsPerSecond, bad: "above" },
    }),
    rejected: timeseries({
      id: 16,
      title: "Rejected messages",
      counts: "messages",
      shows:
        "Messages refused at the queue per second, by reason, at the replica with the most. Replay repairs them, at a cost.",
      normal: "0.",
      width: 12,
      height: 8,
      queries: [
        query(
          sumOnce(rate(STREAM_METRICS.streamEventsRejected, RATE, MODELS), ["model", "reason"], ["reason"]),
          (label) => label("reason"),
        ),
      ],
    }),
    failures: timeseries({
      id: 17,
      title: "Failed messages",
      counts: "messages",
      shows:
        "Messages per second that could not be applied as a whole, by kind of error, at the replica with the most.",
      normal: "0.",
      width: 12,
      height: 8,
      queries: [
        query(
          sumOnce(rate(STREAM_METRICS.streamBatchFailures, RATE, HERE), ["error_type"], ["error_type"]),
          (label) => label("error_type"),
        ),
      ],
    }),
  },
});
