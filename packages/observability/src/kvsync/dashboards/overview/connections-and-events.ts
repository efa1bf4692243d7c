/** Row of the dashboard "KV event sync overview": Connections and events. */

import { INGEST_METRICS } from "../../catalogue/ingest.ts";
import { leastOf, sum, sumOnce } from "../../../promql/operators.ts";
import { rate, value } from "../../../promql/series.ts";
import { THRESHOLDS } from "../../rules/thresholds.ts";
import { query, row, timeseries } from "../../../dashboards/panel.ts";
import { ENGINE, MODELS, PODS, RATE, REPLICAS } from "../scope.ts";

/** The row with its panels. */
export const CONNECTIONS_AND_EVENTS = row({
  id: 101,
  title: "Connections and events",
  panels: {
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
    received: timeseries({
      id: 8,
      title: "Events received",
      shows:
        "Events decoded per second, by type, each engine once however many replicas follow it. Stores follow prompts, removals follow eviction in the engines.",
      normal: "Follows the load; removals a little behind stores once the engines' caches are full.",
      width: 12,
      height: 8,
      queries: [
        query(
          sumOnce(rate(INGEST_METRICS.eventsReceived, RATE, PODS), [...ENGINE, "event_type"], ["event_type"]),
          (label) => label("event_type"),
        ),
      ],
      stacked: true,
    }),
    processed: timeseries({
      id: 9,
      title: "Event processing rate",
      shows:
        "Events applied to the index per second, by model, each engine once however many replicas follow it.",
      normal: "The same curve as the events received.",
      width: 12,
      height: 8,
      queries: [
        query(sumOnce(rate(INGEST_METRICS.eventsProcessed, RATE, PODS), ENGINE, ["model"]), (label) =>
          label("model"),
        ),
      ],
    }),
  },
});
