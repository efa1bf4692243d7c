/** One line per request at verbosity 2: route, status and time. Never its address or body: those hold what callers ask about. */

import type { FastifyInstance, FastifyReply, FastifyRequest } from "fastify";

import type { LineGate } from "../log/line-gate.ts";
import { routeOf } from "./request-metrics.ts";

/**
 * Logs every response of a server.
 *
 * @param server - before it listens.
 * @param log - of the main thread.
 * @param within - runs work in the trace that a request belongs to, if there is one.
 */
export function logRequests(
  server: FastifyInstance,
  log: LineGate,
  within: (request: FastifyRequest, work: () => void) => void,
): void {
  server.addHook("onResponse", (request: FastifyRequest, reply: FastifyReply, done: () => void) => {
    if (log.isOn("summary")) {
      const facts = {
        method: request.method,
        route: routeOf(request),
        status: reply.statusCode,
        duration_ms: Math.round(reply.elapsedTime * 1000) / 1000,
      };
      within(request, () => {
        log.write("request", facts);
      });
    }
    done();
  });
}
