/**
 * Families about the process and its HTTP rim. Default process metrics (memory, CPU, event loop, GC) come from the
 * metrics library and are not declared here.
 */

import { doubling } from "../../definition.ts";
import { counter, gauge, histogram } from "../namespace.ts";
import { PROBLEM_CODES } from "./problem-codes.ts";

const METHODS = ["GET", "POST", "PUT", "DELETE", "other"] as const;

/** Route templates; a raw path is never a label. */
const ROUTE = { maxValues: 64 } as const;

/** What becomes of a delta for a viewer. */
export const DELTA_OUTCOMES = ["sent", "skipped"] as const;

/** Families about the HTTP rim, the web page and the build. */
export const SERVICE_METRICS = {
  httpRequests: counter({
    name: "kv_http_requests_total",
    help: "HTTP requests by route template and status code.",
    unit: "none",
    labels: { method: METHODS, route: ROUTE, status: { maxValues: 32 } },
    preset: "absent until known",
    why: "Traffic and its failures.",
  }),
  httpRequestDuration: histogram({
    name: "kv_http_request_duration_seconds",
    help: "HTTP request time, from headers read to response sent.",
    unit: "seconds",
    labels: { method: METHODS, route: ROUTE },
    preset: "absent until known",
    buckets: doubling(0.0001, 16),
    why: "The latency of callers without the network.",
  }),
  httpResponseSize: histogram({
    name: "kv_http_response_size_bytes",
    help: "Bytes of HTTP response bodies whose length is known ahead; streams are not counted.",
    unit: "bytes",
    labels: { method: METHODS, route: ROUTE },
    preset: "absent until known",
    buckets: doubling(256, 12),
    why: "Large fleets without top_k give large answers.",
  }),
  httpRequestErrors: counter({
    name: "kv_http_request_errors_total",
    help: "HTTP requests answered with a problem document, by error code.",
    unit: "none",
    labels: { route: ROUTE, code: PROBLEM_CODES },
    preset: "absent until known",
    why: "Which mistake callers make.",
  }),
  healthCheck: gauge({
    name: "kv_health_check",
    help: "1 for the present status of each health check, 0 for the others.",
    unit: "none",
    labels: { check: { maxValues: 64 }, status: ["healthy", "degraded", "unhealthy"] },
    preset: "absent until known",
    why: "The result of /health, for dashboards and alerts.",
  }),
  dashboardStreamBytes: counter({
    name: "kv_dashboard_stream_bytes_total",
    help: "Bytes written to viewers of the web page's live stream.",
    unit: "bytes",
    labels: {},
    preset: "zero is a fact",
    why: "The traffic that the page costs.",
  }),
  dashboardDeltas: counter({
    name: "kv_dashboard_deltas_total",
    help: "Deltas for viewers of the web page's live stream: sent, or skipped. A viewer that has not read the earlier ones gets a snapshot instead.",
    unit: "none",
    labels: { outcome: DELTA_OUTCOMES },
    preset: "zero is a fact",
    why: "A page behind a slow line shows the fleet seconds late.",
  }),
  buildInfo: gauge({
    name: "kv_build_info",
    help: "Always 1; the labels name the running build.",
    unit: "none",
    labels: { version: { maxValues: 4 }, node_version: { maxValues: 4 } },
    preset: "absent until known",
    why: "Which replica runs what during a rollout.",
  }),
  configurationInfo: gauge({
    name: "kv_configuration_info",
    help: "Always 1; the label names the settings in effect: the same text for the same settings, secrets left out.",
    unit: "none",
    labels: { hash: { maxValues: 4 } },
    preset: "absent until known",
    why: "Replicas with different settings answer differently.",
  }),
};
