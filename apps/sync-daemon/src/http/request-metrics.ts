/**
 * Counts and times requests by route template: a raw path is never a label.
 */

import { SERVICE_METRICS } from "@kvsync/observability/kvsync/service";
import type { Counter, Histogram, MetricSlots } from "@kvsync/observability/slots";
import type { FastifyInstance, FastifyReply, FastifyRequest } from "fastify";

declare module "fastify" {
  interface FastifyContextConfig {
    /** Whether the answer lasts as long as its reader wants: its time is not a time of answering. */
    readonly isStream?: boolean;
  }
}

type Method = "GET" | "POST" | "PUT" | "DELETE" | "other";

/** Handles of one route. */
interface RouteHandles {
  readonly duration: Histogram;
  readonly size: Histogram;
  readonly byStatus: Map<number, Counter>;
}

/**
 * The route template of a request.
 *
 * @param request - any.
 * @returns e.g. `/api/v1/engines/:id`; `unmatched` when no route took it.
 */
export function routeOf(request: FastifyRequest): string {
  // Absent when no route matched, whatever the declaration says.
  const options = request.routeOptions as { readonly url?: string | undefined };
  return options.url === undefined || options.url === "*" || options.url === "/*" ? "unmatched" : options.url;
}

/**
 * Measures every response of a server.
 *
 * @param server - before it listens.
 * @param metrics - of the main thread.
 */
export function measureRequests(server: FastifyInstance, metrics: MetricSlots): void {
  const routes = new Map<string, RouteHandles>();
  server.addHook("onResponse", (request: FastifyRequest, reply: FastifyReply, done: () => void) => {
    const route = routeOf(request);
    const method = methodOf(request.method);
    const key = `${method} ${route}`;
    let handles = routes.get(key);
    if (handles === undefined) {
      handles = {
        duration: metrics.histogram(SERVICE_METRICS.httpRequestDuration, { method, route }),
        size: metrics.histogram(SERVICE_METRICS.httpResponseSize, { method, route }),
        byStatus: new Map(),
      };
      routes.set(key, handles);
    }
    let counter = handles.byStatus.get(reply.statusCode);
    if (counter === undefined) {
      counter = metrics.counter(SERVICE_METRICS.httpRequests, {
        method,
        route,
        status: `${reply.statusCode}`,
      });
      handles.byStatus.set(reply.statusCode, counter);
    }
    counter.inc();
    if (request.routeOptions.config.isStream !== true) handles.duration.observe(reply.elapsedTime / 1000);
    const length = Number(reply.getHeader("content-length"));
    if (Number.isFinite(length)) handles.size.observe(length);
    done();
  });
}

function methodOf(method: string): Method {
  return method === "GET" || method === "POST" || method === "PUT" || method === "DELETE" ? method : "other";
}
