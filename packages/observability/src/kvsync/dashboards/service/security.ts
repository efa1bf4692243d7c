/** Row of the dashboard "KV sync service and system": Security. */

import { LINES_MAX } from "../scope.ts";
import { INGEST_METRICS } from "../../catalogue/ingest.ts";
import { SECURITY_METRICS } from "../../catalogue/security.ts";
import { min, orZero, sum, sumOnce, timeLeft } from "../../../promql/operators.ts";
import { rate, value } from "../../../promql/series.ts";
import { THRESHOLDS } from "../../rules/thresholds.ts";
import { query, row, stat, stateTimeline, timeseries } from "../../../dashboards/panel.ts";
import { ENGINE, HERE, INSTANCE, RATE } from "../scope.ts";

/** The row with its panels. */
export const SECURITY = row({
  id: 130,
  title: "Security",
  folded: true,
  panels: {
    refusedCallers: timeseries({
      id: 131,
      title: "Refused callers",
      counts: "requests",
      shows: "Requests per second refused for their token, its scope, or the caller's rate.",
      normal: "0.",
      width: 8,
      height: 8,
      queries: [
        query(sum(rate(SECURITY_METRICS.accessRefusals, RATE, HERE), ["code"]), (label) => label("code")),
      ],
      levels: { warning: THRESHOLDS.refusedCallersPerSecond, bad: "above" },
    }),
    securityFiles: stateTimeline({
      id: 132,
      title: "Files of tokens and certificates",
      shows: "Whether the files on the disk are the ones in use.",
      normal: "In use; refused after a rotation that went wrong.",
      width: 8,
      height: 8,
      queries: [
        query(
          min(value(SECURITY_METRICS.fileUsable, HERE), ["instance", "file"]),
          (label) => `${label("instance")} ${label("file")}`,
        ),
      ],
      states: [
        { value: 0, text: "refused", color: "red" },
        { value: 1, text: "in use", color: "green" },
      ],
    }),
    certificate: stat({
      id: 133,
      title: "Certificate time left",
      shows:
        "Time until the first certificate of the HTTP API expires. The panel is empty when the API does not use TLS.",
      normal: "More than two weeks.",
      width: 8,
      height: 8,
      queries: [query(timeLeft(min(value(SECURITY_METRICS.certificateExpiry, HERE), [])), "time left")],
      levels: { warning: THRESHOLDS.certificateSecondsLeft, critical: 86_400, bad: "below" },
    }),
    connections: timeseries({
      id: 137,
      title: "Open connections",
      shows: "Open HTTP connections of each replica, and the most that callers.connections allows.",
      normal: "Far below the limit.",
      width: 8,
      height: 8,
      queries: [
        query(sum(value(SECURITY_METRICS.connections, HERE), INSTANCE), (label) => label("instance")),
        query(
          sum(value(SECURITY_METRICS.connectionsLimit, HERE), INSTANCE),
          (label) => `${label("instance")} limit`,
        ),
      ],
    }),
    refusedConnections: timeseries({
      id: 134,
      title: "Refused connections",
      shows: "HTTP connections per second closed at once because there were too many.",
      normal: "0.",
      width: 8,
      height: 8,
      queries: [
        query(sum(rate(SECURITY_METRICS.connectionsRefused, RATE, HERE), INSTANCE), (label) =>
          label("instance"),
        ),
      ],
    }),
    engineHandshakes: timeseries({
      id: 135,
      most: LINES_MAX,
      title: "Engines with other ZeroMQ security",
      shows:
        "Connections to engines per second that failed for security. Either CURVE failed (another key, or only one side speaks it), or the daemon listens and refused the engine. The label reason has the cause.",
      normal: "0.",
      width: 8,
      height: 8,
      queries: [
        query(
          orZero(
            sumOnce(rate(SECURITY_METRICS.engineHandshakes, RATE, HERE), ENGINE, ["pod"]),
            sumOnce(rate(INGEST_METRICS.connections, RATE, HERE), ENGINE, ["pod"]),
          ),
          (label) => label("pod"),
        ),
      ],
    }),
    protocolViolations: timeseries({
      id: 136,
      most: LINES_MAX,
      title: "Protocol violations of engines",
      shows:
        "Connections to engines per second that ended because the engine broke the ZeroMQ protocol, at the replica with the most. The label reason of the metric has the cause.",
      normal: "0.",
      width: 24,
      height: 8,
      queries: [
        query(
          orZero(
            sumOnce(rate(SECURITY_METRICS.protocolViolations, RATE, HERE), ENGINE, ["pod"]),
            sumOnce(rate(INGEST_METRICS.connections, RATE, HERE), ENGINE, ["pod"]),
          ),
          (label) => label("pod"),
        ),
      ],
    }),
  },
});
