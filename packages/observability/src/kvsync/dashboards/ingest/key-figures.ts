/** Row of the dashboard "KV ingest stream": Key figures. */

import { LIMIT_METRICS } from "../../catalogue/limits.ts";
import { STREAM_METRICS } from "../../catalogue/stream.ts";
import { max, min, sum, sumOnce } from "../../../promql/operators.ts";
import { recorded } from "../../../promql/recording.ts";
import { ageAtScrape, value } from "../../../promql/series.ts";
import { RECORDINGS } from "../../rules/recordings.ts";
import { THRESHOLDS } from "../../rules/thresholds.ts";
import { barGauge, query, row, stat } from "../../../dashboards/panel.ts";
import { HERE, MODELS } from "../scope.ts";

/** The row with its panels. */
export const KEY_FIGURES = row({
  id: 100,
  title: "Key figures",
  panels: {
    rateNow: stat({
      id: 1,
      title: "Messages per second",
      shows:
        "Messages taken from the queue and applied over five minutes, each model at the replica with the most.",
      normal: "Follows the load of the engines.",
      counts: "messages",
      width: 4,
      height: 4,
      queries: [query(sumOnce(recorded(RECORDINGS.eventRate, MODELS), ["model"], []), "messages/s")],
    }),
    depthNow: stat({
      id: 2,
      title: "Queue depth",
      shows: "Messages waiting in the ingest queue now, at the replica with the most.",
      normal: "0 or close to it.",
      width: 4,
      height: 4,
      queries: [query(max(sum(value(STREAM_METRICS.streamQueueDepth, HERE), ["instance"]), []), "messages")],
    }),
    utilizationNow: stat({
      id: 3,
      title: "Queue in use",
      shows: "The fullest lane's share of its bound.",
      normal: "Below 10 %; at 100 % messages are refused.",
      width: 4,
      height: 4,
      queries: [query(max(recorded(RECORDINGS.queueUtilization, HERE), []), "in use")],
      levels: {
        warning: THRESHOLDS.queueRatioWarning,
        critical: THRESHOLDS.queueRatioCritical,
        bad: "above",
      },
    }),
    lanesInUse: barGauge({
      id: 23,
      title: "Lanes in use",
      shows: "Share of each lane's bound in use now, at the replica with the most.",
      normal: "Below 10 %; at 100 % messages are refused.",
      width: 5,
      height: 4,
      full: 1,
      queries: [query(max(recorded(RECORDINGS.queueUtilization, HERE), ["lane"]), (label) => label("lane"))],
      levels: {
        warning: THRESHOLDS.queueRatioWarning,
        critical: THRESHOLDS.queueRatioCritical,
        bad: "above",
      },
    }),
    sessions: stat({
      id: 4,
      title: "Sessions",
      shows: "Streams that the daemon follows, and viewers of its web page, at the replica with the fewest.",
      normal: "The number of DP ranks in the fleet.",
      width: 3,
      height: 4,
      queries: [
        query(
          min(sum(value(STREAM_METRICS.streamActiveSessions, HERE), ["instance", "kind"]), ["kind"]),
          (label) => label("kind"),
        ),
      ],
    }),
    heartbeat: stat({
      id: 5,
      title: "Oldest heartbeat",
      shows: "How long the quietest ingest worker had not run its tick when it was scraped.",
      normal: "Below 1 s.",
      width: 4,
      height: 4,
      queries: [query(max(ageAtScrape(LIMIT_METRICS.workerHeartbeat, HERE), []), "since tick")],
      levels: { warning: THRESHOLDS.workerSilenceSeconds, bad: "above" },
    }),
  },
});
