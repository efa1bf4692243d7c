/**
 * Families about access: files of tokens and certificates, refused connections, and engines whose
 * ZeroMQ security does not fit ours.
 */

import { counter, gauge } from "../namespace.ts";
import { MODEL, POD, PROTOCOL_VIOLATIONS, PUBLISHER_REFUSALS } from "./label-domains.ts";

/** Codes of requests that were refused for who sent them. */
const ACCESS_CODES = [
  "missing_token",
  "malformed_authorization",
  "unknown_token",
  "insufficient_scope",
  "foreign_host",
  "rate_limited",
] as const;

/** Families about security. */
export const SECURITY_METRICS = {
  accessRefusals: counter({
    name: "kv_access_refusals_total",
    help: "Requests refused for their token, its scope, their host name, or how many of them came, by code; never by token.",
    unit: "none",
    labels: { code: ACCESS_CODES },
    preset: "zero is a fact",
    why: "A gateway has an old token, or an unknown client calls the API.",
  }),
  fileUsable: gauge({
    name: "kv_security_file_usable",
    help: "1 when the tokens or certificates on the disk are the ones in use, 0 when they were changed into something that cannot be used.",
    unit: "none",
    labels: { file: ["tokens", "tls", "picker_tls"] },
    preset: "absent until known",
    why: "A rotation that failed is not felt before the old certificate or token ends.",
  }),
  certificateExpiry: gauge({
    name: "kv_tls_certificate_expiry_timestamp_seconds",
    help: "When the certificate that HTTPS is served with ends.",
    unit: "timestamp",
    labels: {},
    preset: "absent until known",
    why: "Every caller fails at that moment.",
  }),
  connections: gauge({
    name: "kv_http_connections",
    help: "Open HTTP connections.",
    unit: "none",
    labels: {},
    preset: "absent until known",
    why: "Callers are refused when there are as many as callers.connections allows.",
  }),
  connectionsLimit: gauge({
    name: "kv_http_connections_limit",
    help: "Most open HTTP connections: callers.connections, or what the limit on open files allows.",
    unit: "none",
    labels: {},
    preset: "absent until known",
    why: "The bound that the number of connections is compared with.",
  }),
  connectionsRefused: counter({
    name: "kv_http_connections_refused_total",
    help: "HTTP connections closed because of a limit. New ones have all_taken or address_full; gave_way is an idle one that made room. The reason pipelined: too many requests of one connection waited for their answers. The reason answer_unread: the peer took nothing of an answer.",
    unit: "none",
    labels: { reason: ["all_taken", "address_full", "gave_way", "pipelined", "answer_unread"] },
    preset: "zero is a fact",
    why: "Gateways that see resets.",
  }),
  engineHandshakes: counter({
    name: "kv_zmq_security_failures_total",
    help: "Connections to engines that failed for security. The reason curve_failed: the daemon speaks CURVE, and the engine has another key or none. The reason mechanism_mismatch: only the engine speaks CURVE. The reasons second_publisher and publisher_not_allowed: an engine connected where the daemon listens and was refused. The reason too_many_pending: such a connection was closed, because 64 others wait there for their handshake or for another attempt.",
    unit: "none",
    labels: {
      pod: POD,
      model: MODEL,
      reason: ["curve_failed", "mechanism_mismatch", ...PUBLISHER_REFUSALS],
    },
    preset: "absent until known",
    why: "Such an engine is reachable, but none of its events arrive.",
  }),
  protocolViolations: counter({
    name: "kv_zmq_protocol_violations_total",
    help: "Connections that ended because of the engine's bytes, by socket of the engine. The reason too_many_parts: beyond limits.message_parts. The reason message_too_long: beyond twice limits.message_bytes. The reason buffers_full: the largest incomplete message when all together take more than limits.queue_bytes. The reason peer_silent: no sign of life. The others: not ZMTP 3 with the mechanism NULL.",
    unit: "none",
    labels: { pod: POD, model: MODEL, socket: ["events", "replay"], reason: PROTOCOL_VIOLATIONS },
    preset: "absent until known",
    why: "An engine that is attacked, broken, or no engine.",
  }),
};
