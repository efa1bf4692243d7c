/** Row of the dashboard "KV event sync overview": Connections. */

import { INGEST_METRICS } from "../../catalogue/ingest.ts";
import { PREFIX_INDEX_METRICS } from "../../catalogue/prefix-index.ts";
import { leastOf, max, min, orZero, ratio, sum, sumOnce } from "../../../promql/operators.ts";
import { rate, value } from "../../../promql/series.ts";
import { THRESHOLDS } from "../../rules/thresholds.ts";
import { query, row, stat, stateTimeline, timeseries } from "../../../dashboards/panel.ts";
import { ENGINE, HERE, MODELS, PODS, RATE, REPLICAS } from "../scope.ts";

const EACH_REPLICA = ["job", "instance"] as const;
const streams = sum(value(INGEST_METRICS.streamState, PODS), EACH_REPLICA);

/** The row with its panels. */
export const CONNECTIONS = row({
  id: 105,
  title: "Connections",
  panels: {
    configuration: stat({
      id: 1,
      title: "Configuration",
      shows: "Whether sync, when it was asked for, has all the settings that it needs.",
      normal: "Valid.",
      width: 4,
      height: 4,
      queries: [query(min(value(INGEST_METRICS.configurationValid, HERE), []), "configuration")],
      levels: { critical: 1, warning: 1, bad: "below" },
      states: [
        { value: 0, text: "invalid", color: "red" },
        { value: 1, text: "valid", color: "green" },
      ],
    }),
    connected: stat({
      id: 2,
      title: "Connected streams",
      shows:
        "Open connections to engine event sockets per known stream (DP rank), all models together, at the replica with the fewest.",
      normal: "100 %.",
      width: 4,
      height: 4,
      queries: [
        query(
          min(
            ratio(
              orZero(sum(value(INGEST_METRICS.connectionsActive, MODELS), EACH_REPLICA), streams),
              streams,
            ),
            [],
          ),
          "connected",
        ),
      ],
      levels: { warning: 0.99, critical: 0.9, bad: "below" },
    }),
    syncStatus: stateTimeline({
      id: 5,
      title: "Sync status by model",
      shows: "Whether at least one engine of the model is connected.",
      normal: "Active all the time.",
      width: 16,
      height: 4,
      queries: [
        query(max(value(PREFIX_INDEX_METRICS.syncStatus, MODELS), ["model"]), (label) => label("model")),
      ],
      states: [
        { value: 0, text: "inactive", color: "red" },
        { value: 1, text: "active", color: "green" },
      ],
    }),
    connections: timeseries({
      id: 6,
      title: "Active connections by model",
      shows: "Open connections to engine event sockets, at the replica with the fewest.",
      normal: "Flat; steps only when engines are added, removed or rolled.",
      width: 12,
      height: 8,
      queries: [
        query(
          leastOf(
            sum(value(INGEST_METRICS.connectionsActive, MODELS), ["job", "instance", "model"]),
            REPLICAS,
            ["model"],
          ),
          (label) => label("model"),
        ),
      ],
      levels: { critical: 1, warning: 1, bad: "below" },
    }),
    attempts: timeseries({
      id: 7,
      title: "Connection attempts",
      shows:
        "Attempts per second to connect to engines, by outcome. Each engine counts once, at the replica with the most.",
      normal: "0, except when engines start; failures stay below one in ten seconds.",
      width: 12,
      height: 8,
      queries: [
        query(
          sumOnce(rate(INGEST_METRICS.connections, RATE, PODS), [...ENGINE, "status"], ["status"]),
          (label) => label("status"),
        ),
      ],
      levels: { warning: THRESHOLDS.connectionFailuresPerSecond, bad: "above" },
    }),
  },
});
