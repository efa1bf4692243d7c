/** Row of the dashboard "KV engines": Position and lag. */

import { LINES_MAX } from "../scope.ts";
import { INGEST_METRICS } from "../../catalogue/ingest.ts";
import { max, sumOnce } from "../../../promql/operators.ts";
import { rate, value } from "../../../promql/series.ts";
import { query, row, timeseries } from "../../../dashboards/panel.ts";
import { ENGINE, PODS, RATE } from "../scope.ts";

/** The row with its panels. */
export const POSITION_AND_LAG = row({
  id: 102,
  title: "Position and lag",
  panels: {
    lastEvent: timeseries({
      id: 5,
      most: LINES_MAX,
      title: "Last event age",
      shows: "Time since the last message of a stream was applied.",
      normal:
        "A saw-tooth that follows the load. A straight line up is silence; a probe then shows whether the engine is idle or dead.",
      width: 12,
      height: 8,
      queries: [
        query(
          max(value(INGEST_METRICS.streamLastEventAge, PODS), ["pod", "dp_rank"]),
          (label) => `${label("pod")} ${label("dp_rank")}`,
        ),
      ],
    }),
    position: timeseries({
      id: 6,
      most: LINES_MAX,
      title: "Last sequence number",
      shows: "The last message applied, by stream.",
      normal: "Rises with the load; falls only when an engine restarts.",
      width: 12,
      height: 8,
      queries: [
        query(
          max(value(INGEST_METRICS.streamLastSequenceNumber, PODS), ["pod", "dp_rank"]),
          (label) => `${label("pod")} ${label("dp_rank")}`,
        ),
      ],
    }),
    events: timeseries({
      id: 7,
      most: LINES_MAX,
      title: "Events by engine",
      shows: "Events applied per second, by engine.",
      normal: "Close together, as far as the router spreads load.",
      width: 8,
      height: 8,
      queries: [
        query(sumOnce(rate(INGEST_METRICS.eventsProcessed, RATE, PODS), ENGINE, ["pod"]), (label) =>
          label("pod"),
        ),
      ],
    }),
    blocks: timeseries({
      id: 13,
      most: LINES_MAX,
      title: "Blocks held",
      shows: "Blocks that the index holds for each stream.",
      normal:
        "Rises to the engine's cache size, then stays level; a fall to nothing is a clear or a restart.",
      width: 8,
      height: 8,
      queries: [
        query(
          max(value(INGEST_METRICS.streamBlocks, PODS), ["pod", "dp_rank"]),
          (label) => `${label("pod")} ${label("dp_rank")}`,
        ),
      ],
    }),
    blocksChanged: timeseries({
      id: 8,
      most: LINES_MAX,
      title: "Caches cleared",
      shows: "AllBlocksCleared events per second, by engine: each empties the engine's part of the index.",
      normal: "0, except during weight updates and restarts.",
      width: 8,
      height: 8,
      queries: [
        query(
          sumOnce(
            rate(INGEST_METRICS.eventsProcessed, RATE, { ...PODS, event_type: "AllBlocksCleared" }),
            ENGINE,
            ["pod"],
          ),
          (label) => label("pod"),
        ),
      ],
    }),
  },
});
