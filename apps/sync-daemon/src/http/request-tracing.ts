/**
 * A span per request. It continues the caller's `traceparent`, is named by method and route, and
 * ends with the response or the caller's disconnect. Probes and scrapes are not traced: they would
 * be most of the traces, without information.
 *
 * Installed only where tracing is on.
 */

import type { FastifyInstance, FastifyReply, FastifyRequest } from "fastify";

import type { OpenSpan, Tracing } from "../telemetry/tracing.ts";
import { routeOf } from "./request-metrics.ts";

const UNTRACED: ReadonlySet<string> = new Set([
  "/livez",
  "/readyz",
  "/health",
  "/api/v1/health",
  "/api/v1/kv-sync/health",
  "/metrics",
  "/api/v1/metrics",
]);
const STATUS_FAILED = 500;

/**
 * Traces every request of a server but probes and scrapes.
 *
 * @param server - before it listens.
 * @param tracing - of the daemon.
 * @returns runs work in the trace of a request, if the request is traced.
 */
export function traceRequests(
  server: FastifyInstance,
  tracing: Tracing,
): (request: FastifyRequest, work: () => void) => void {
  const open = new WeakMap<FastifyRequest, OpenSpan>();
  const end = (request: FastifyRequest, status: number | null, error: string | null): void => {
    const span = open.get(request);
    if (span === undefined) return;
    tracing.close(span, status, error);
  };
  server.addHook("onRequest", (request: FastifyRequest, _reply: FastifyReply, done: () => void) => {
    const route = routeOf(request);
    if (!UNTRACED.has(route)) open.set(request, tracing.openRequest(request.method, route, request.headers));
    done();
  });
  // After the body was read: what the socket's events call would not be in the request's context.
  server.addHook("preValidation", (request: FastifyRequest, _reply: FastifyReply, done: () => void) => {
    const span = open.get(request);
    if (span === undefined) done();
    else tracing.run(span, done);
  });
  server.addHook("onResponse", (request: FastifyRequest, reply: FastifyReply, done: () => void) => {
    const { statusCode } = reply;
    end(request, statusCode, statusCode >= STATUS_FAILED ? String(statusCode) : null);
    done();
  });
  server.addHook("onRequestAbort", (request: FastifyRequest, done: () => void) => {
    end(request, null, "aborted");
    done();
  });
  return (request, work) => {
    const span = open.get(request);
    if (span === undefined) work();
    else tracing.run(span, work);
  };
}
