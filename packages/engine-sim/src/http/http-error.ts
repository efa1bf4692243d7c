/**
 * Errors of the HTTP server in OpenAI's form: {"error": {message, type, param, code}}. `code` is a
 * word to search for; `param` names the wrong field, or is null.
 *
 * Errors of Fastify and of Node's parser get the same form. Anything else is a fault of our own: 500.
 */
import type { Socket } from "node:net";

import type { FastifyError } from "fastify";

import { EngineError, type EngineErrorFacts } from "../engine-error.ts";

/** What goes out. */
export interface HttpError {
  readonly status: number;
  readonly body: { readonly error: Readonly<Record<"message" | "type" | "param" | "code", string | null>> };
}

const STATUS: Partial<Record<EngineErrorFacts["code"], number>> = {
  engine_busy: 409,
  request_aborted: 503,
  too_many_waiting: 503,
  stopped: 503,
  draining: 503,
  unknown_lora: 404,
  unknown_model: 404,
};

const FRAMEWORK: Readonly<
  Record<string, { readonly code: string; readonly message: (limit: number) => string }>
> = {
  FST_ERR_CTP_BODY_TOO_LARGE: {
    code: "body_too_large",
    message: (limit) => `the body has more than ${limit} bytes`,
  },
  FST_ERR_CTP_INVALID_MEDIA_TYPE: {
    code: "unsupported_media_type",
    message: () => "the body is not JSON: send content-type: application/json",
  },
  FST_ERR_CTP_INVALID_JSON_BODY: { code: "malformed_body", message: () => "the body is not valid JSON" },
  FST_ERR_CTP_EMPTY_JSON_BODY: { code: "malformed_body", message: () => "the body is empty, expected JSON" },
};

/**
 * The answer to an error.
 *
 * @param error - whatever was thrown.
 * @param bodyBytesMax - for the text of a body that is too large.
 */
export function httpError(error: unknown, bodyBytesMax: number): HttpError {
  if (error instanceof EngineError) {
    const { facts } = error;
    const param = "where" in facts ? facts.where : paramOf(facts.code);
    return answerOf(STATUS[facts.code] ?? 400, facts.code, error.message, param);
  }
  const { statusCode = 500, code = "", message = String(error) } = error as Partial<FastifyError>;
  const known = FRAMEWORK[code];
  if (known !== undefined) return answerOf(statusCode, known.code, known.message(bodyBytesMax), null);
  if (statusCode < 500) return answerOf(statusCode, "malformed_request", message, null);
  return answerOf(500, "internal", message, null);
}

/** The answer to a route that does not exist. */
export function unknownRoute(method: string, url: string): HttpError {
  return answerOf(404, "unknown_route", `no route ${method} ${url}`, null);
}

const PARSER: Readonly<Record<string, readonly [number, string, string, string]>> = {
  HPE_HEADER_OVERFLOW: [
    431,
    "Request Header Fields Too Large",
    "headers_too_large",
    "the headers are too long",
  ],
  ERR_HTTP_REQUEST_TIMEOUT: [408, "Request Timeout", "request_timeout", "the request did not arrive in time"],
};

/** Answers a request that Node's parser rejected, and closes the connection. */
export function answerParserError(error: Error & { readonly code?: string }, socket: Socket): void {
  if (!socket.writable || error.code === "ECONNRESET") {
    socket.destroy();
    return;
  }
  const [status, reason, code, message] = PARSER[error.code ?? ""] ?? [
    400,
    "Bad Request",
    "malformed_request",
    "the request is not HTTP/1.1",
  ];
  const body = JSON.stringify(answerOf(status, code, message, null).body);
  const head = `HTTP/1.1 ${status} ${reason}\r\ncontent-type: application/json\r\ncontent-length: ${body.length}`;
  socket.end(`${head}\r\nconnection: close\r\n\r\n${body}`);
}

function paramOf(code: EngineErrorFacts["code"]): string | null {
  if (code === "unknown_model" || code === "unknown_lora") return "model";
  return code === "unknown_rank" ? "x-data-parallel-rank" : null;
}

function answerOf(status: number, code: string, message: string, param: string | null): HttpError {
  const type = status < 500 ? "invalid_request_error" : "server_error";
  return { status, body: { error: { message, type, param, code } } };
}
