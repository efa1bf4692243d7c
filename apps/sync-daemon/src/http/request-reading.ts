/**
 * Checks and reads a request before any route gets it.
 *
 *   bytes ─▶ HTTP ─▶ address ─▶ (who may: security/access-guard.ts) ─▶ content encoding, type ─▶ body ─▶ route
 *            408, 431, 400  400                                        415
 *
 * Invariants
 *  R1  A body is read by its declared encoding, or refused. Compressed bytes read as token ids
 *      would match no engine, without an error.
 *  R2  Types that no route takes are refused, not parsed. Forms are among them: a browser sends those for any page, without asking first.
 *  R3  A refusal here is a problem document, as elsewhere, and repeats nothing of the request.
 *  R4  One JSON body does not block the event loop for more than 50 ms: its length (http.json_bytes) and its shape (request/json-shape.ts) are bounded.
 *  R5  A body that another thread answers is read there, and by the same rules. One that it does not answer is read here:
 *      an error is the same with any number of threads. (lookup-threads.test.ts "R5")
 */

import { STATUS_CODES } from "node:http";
import type { Socket } from "node:net";

import { CodedError } from "@kvsync/core";
import { SERVICE_METRICS } from "@kvsync/observability/kvsync/service";
import type { MetricSlots } from "@kvsync/observability/slots";
import type { FastifyError, FastifyInstance, FastifyReply, FastifyRequest } from "fastify";

import { problem, type ProblemDocument } from "../openapi/problem-status.ts";
import type { AnsweredBody } from "../query/body-lookup.ts";
import { keepSource } from "../request/json-numbers.ts";
import { checkJsonShape } from "../request/json-shape.ts";

/** Of the framework's and Nest's own parsers, those that no route has a use for (R2). */
const UNUSED_TYPES = ["text/plain", "application/x-www-form-urlencoded"];
const ENCODING_EXPECTED = "a body as it is: no Content-Encoding, or identity";

/** A body in an encoding that is not read. */
class BodyEncodingError extends CodedError<{
  readonly code: "unsupported_media_type";
  readonly expected: string;
}> {}

/**
 * Answers what fails before there is a route to speak of, as an address that is not decodable: past Nest.
 *
 * @param error - of the framework.
 * @param _request - as far as it was read.
 * @param reply - for the answer.
 */
export function refuseAddress(error: FastifyError, _request: FastifyRequest, reply: FastifyReply): void {
  const document = problem("bad_request", `the address of the request could not be read (${error.code})`, {
    expected: "a path of this API, percent-encoded UTF-8",
  });
  reply.status(document.status).type("application/problem+json").send(document);
}

/**
 * Answers what is no request at all, or none in time, and closes its connection.
 *
 * @param metrics - count it.
 * @returns the server's handler.
 */
export function refuseUnreadable(metrics: MetricSlots): (error: Error, socket: Socket) => void {
  return (error, socket) => {
    const { code } = error as { readonly code?: string };
    // Nobody is there any more.
    if (code === "ECONNRESET" || socket.destroyed) return;
    const document = unreadable(code ?? "");
    const labels = { route: "unmatched", code: document.code };
    // A body that breaks off is counted by its route (caller_gone).
    if (code !== "HPE_INVALID_EOF_STATE") metrics.counter(SERVICE_METRICS.httpRequestErrors, labels).inc();
    const body = JSON.stringify(document);
    const { status } = document;
    if (socket.writable) {
      socket.write(
        `HTTP/1.1 ${status} ${STATUS_CODES[status] ?? ""}\r\nConnection: close\r\nContent-Type: application/problem+json\r\nContent-Length: ${Buffer.byteLength(body)}\r\n\r\n${body}`,
      );
    }
    socket.destroy(error);
  };
}

function unreadable(code: string): ProblemDocument {
  switch (code) {
    case "ERR_HTTP_REQUEST_TIMEOUT":
      return problem("request_overdue", "the request was not there in time", {
        expected: "a whole request within callers.request_seconds",
      });
    case "HPE_HEADER_OVERFLOW":
      return problem("headers_too_large", "the address and the headers are too long", {
        expected: "at most 16 KiB of them",
      });
    default:
      return problem("bad_request", "malformed HTTP request", {
        expected: "HTTP/1.1, with one length of the body, over TLS where it is served so",
      });
  }
}

/** The body of a lookup that another thread has answered (R5). */
export class BodyAnswer {
  readonly answered: AnsweredBody;
  /** When the body was there, by `performance.now()`. */
  readonly startedMs: number;

  constructor(answered: AnsweredBody, startedMs: number) {
    this.answered = answered;
    this.startedMs = startedMs;
  }
}

/** Threads that answer bodies. */
interface BodyThreads {
  /** Null, or later null, for a body that is to be read here. */
  answer(body: Buffer): Promise<AnsweredBody | null> | null;
}

/**
 * Has a server read bodies as its routes take them. After Nest has put its own parsers there.
 *
 * @param server - before it is ready.
 * @param jsonBytes - largest JSON body.
 * @param threads - answer bodies of routes that declare `threadsAnswer`; null without any.
 */
export function readBodies(server: FastifyInstance, jsonBytes: number, threads: BodyThreads | null): void {
  server.removeContentTypeParser(UNUSED_TYPES);
  readJson(server, jsonBytes, threads);
}

/**
 * Refuses bodies in an encoding (R1). Behind the door: strangers are refused as such.
 *
 * @param server - before its routes are registered.
 */
export function refuseEncodings(server: FastifyInstance): void {
  server.addHook("preParsing", (request, _reply, _payload, done) => {
    const encoding = request.headers["content-encoding"]?.trim().toLowerCase() ?? "identity";
    if (encoding === "identity" || encoding === "") {
      done();
      return;
    }
    const facts = { code: "unsupported_media_type", expected: ENCODING_EXPECTED } as const;
    done(new BodyEncodingError(facts, `the body has a Content-Encoding; expected ${ENCODING_EXPECTED}`));
  });
}

declare module "fastify" {
  interface FastifyContextConfig {
    /** Rewrites the text of a JSON body before it is parsed. A route that needs it declares it with `RouteConfig`. */
    readonly rewriteJson?: (text: string) => string;
    /** Whether threads may answer a body without query parameters. Their answer is a `BodyAnswer`. */
    readonly threadsAnswer?: boolean;
  }
}

type Done = (error: Error | null, value?: unknown) => void;

/** JSON whose shape is bounded before it is parsed (R4). */
function readJson(server: FastifyInstance, bodyLimit: number, threads: BodyThreads | null): void {
  const parse = server.getDefaultJsonParser("error", "error");
  const read = (request: FastifyRequest, body: string, done: Done): void => {
    try {
      checkJsonShape(body);
    } catch (error) {
      done(error as Error);
      return;
    }
    void parse(request, request.routeOptions.config.rewriteJson?.(body) ?? body, (error, value) => {
      keepSource(value, body);
      done(error, value);
    });
  };
  server.removeContentTypeParser("application/json");
  if (threads === null) {
    server.addContentTypeParser("application/json", { parseAs: "string", bodyLimit }, read);
    return;
  }
  server.addContentTypeParser(
    "application/json",
    { parseAs: "buffer", bodyLimit },
    (request: FastifyRequest, body: Buffer, done: Done) => {
      const startedMs = performance.now();
      const answering = mayBeAnswered(request) ? threads.answer(body) : null;
      if (answering === null) read(request, body.toString("utf8"), done);
      else
        void answering.then((answered) => {
          if (answered === null) read(request, body.toString("utf8"), done);
          else done(null, new BodyAnswer(answered, startedMs));
        });
    },
  );
}

/** A lookup with query parameters is refused. */
function mayBeAnswered({ routeOptions, query }: FastifyRequest): boolean {
  return routeOptions.config.threadsAnswer === true && Object.keys(query ?? {}).length === 0;
}
