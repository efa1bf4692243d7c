/**
 * Turns every error of a request into a problem document. Coded errors are mapped by the table,
 * errors of the framework by their status. Any other error becomes `internal_error`, with its
 * details in the log only.
 */

import { CodedError } from "@kvsync/core";
import { type ArgumentsHost, Catch, type ExceptionFilter, HttpException } from "@nestjs/common";
import { SERVICE_METRICS } from "@kvsync/observability/kvsync/service";
import type { MetricSlots } from "@kvsync/observability/slots";
import type { FastifyReply, FastifyRequest } from "fastify";
import type { ProblemCode } from "@kvsync/observability/kvsync/problem-codes";

import { errorFacts } from "../log/error-facts.ts";
import type { LineGate } from "../log/line-gate.ts";
import { methodsServedAt } from "../openapi/operations.ts";
import { problem, type ProblemDocument, PROBLEMS } from "../openapi/problem-status.ts";
import { routeOf } from "./request-metrics.ts";

const STATUS_CODES: Readonly<Record<number, ProblemCode>> = {
  404: "unknown_route",
  413: "body_too_large",
  415: "unsupported_media_type",
};

/** The only exception filter. */
@Catch()
export class ProblemFilter implements ExceptionFilter {
  readonly #log: LineGate;
  readonly #metrics: MetricSlots;

  constructor(log: LineGate, metrics: MetricSlots) {
    this.#log = log;
    this.#metrics = metrics;
  }

  /** Called by Nest. */
  catch(exception: unknown, host: ArgumentsHost): void {
    const http = host.switchToHttp();
    const request = http.getRequest<FastifyRequest>();
    const reply = http.getResponse<FastifyReply>();
    const document = this.#documentOf(exception, request);
    const labels = { route: routeOf(request), code: document.code };
    const counter = this.#metrics.counter(SERVICE_METRICS.httpRequestErrors, labels);
    counter.inc();
    if (reply.sent) return;
    if (document.code === "method_not_allowed") void reply.header("allow", document["expected"]);
    void reply.status(document.status).type("application/problem+json").send(JSON.stringify(document));
  }

  #documentOf(exception: unknown, request: FastifyRequest): ProblemDocument {
    if (exception instanceof CodedError) {
      const facts = exception.facts as { readonly code: string };
      if (facts.code in PROBLEMS) return problem(facts.code as ProblemCode, exception.message, { ...facts });
    }
    // Nobody reads this answer; it is counted, and is no fault of ours that a log should tell.
    if (request.raw.destroyed && !request.raw.complete)
      return problem("caller_gone", "the request broke off");
    const status = exception instanceof HttpException ? exception.getStatus() : 500;
    const methods = methodsServedAt(request.url);
    if (status < 500 && methods.length > 0 && !methods.includes(request.method)) {
      const expected = methods.join(", ");
      return problem("method_not_allowed", `this route takes ${expected}`, { expected });
    }
    if (exception instanceof HttpException && status < 500) {
      // The framework's own text for 404 repeats the address, which may have a salt or a misplaced prompt in it.
      const detail = status === 404 ? "no route takes this method and path" : exception.message;
      return problem(STATUS_CODES[status] ?? "bad_request", detail, {
        expected: expectation(status),
      });
    }
    this.#log.write("request_failed", { route: routeOf(request), ...errorFacts(exception) });
    return problem("internal_error", "the request failed; the log has the reason");
  }
}

function expectation(status: number): string {
  switch (status) {
    case 404:
      return "a route of this API";
    case 413:
      return "a JSON body within http.json_bytes, or a body of application/octet-stream within http.body_bytes";
    case 415:
      return "application/json or application/octet-stream";
    default:
      return "a well-formed request";
  }
}
