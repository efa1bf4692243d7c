/**
 * GET requests to a Kubernetes API server: status, stream of the body, and errors.
 *
 *   credentials.ts ─▶ address, certificates, token ──▶ node:https ─▶ status, stream of the body
 *
 * The official client's Watch and Informer are not used; docs/decisions/0011 gives the reasons.
 *
 * A request ends with an answer or an ApiError: every error that TLS, HTTP or a file of credentials
 * throws becomes one. Credentials are read again after `renew`, after each failure that was theirs,
 * and after each request without an answer.
 */

import { type IncomingMessage, request as httpRequest } from "node:http";
import { request as httpsRequest, type RequestOptions } from "node:https";

import { ApiError } from "./api-error.ts";
import type { CredentialReader, Credentials } from "./credentials.ts";

/** Bytes of a refusal's body that are read for its message. */
const REFUSAL_BYTES_MAX = 16 * 1024;
/** Longest Retry-After that is obeyed; beyond, the server means somebody else. */
const RETRY_AFTER_MS_MAX = 60_000;
/** A dead peer is found by the kernel after this and a few probes, where neither side has anything to say. */
const KEEPALIVE_MS = 15_000;

/** An answer that began with 200. Its body belongs to the caller, who reads it to its end or destroys it. */
export interface ApiAnswer {
  readonly body: IncomingMessage;
}

/** An API server as one account sees it. */
export class ApiServer {
  readonly #read: CredentialReader;
  #credentials: Credentials;
  /** Read again before the next request. */
  #isStale = false;

  private constructor(read: CredentialReader, credentials: Credentials) {
    this.#read = read;
    this.#credentials = credentials;
  }

  /**
   * Reads address and credentials. Nothing is sent.
   *
   * @param read - reads them, now and again.
   * @returns the server.
   * @throws ApiError credentials.
   */
  static async open(read: CredentialReader): Promise<ApiServer> {
    return new ApiServer(read, await read());
  }

  /**
   * Opens one as soon as credentials can be used: a volume may be mounted late.
   *
   * @param read - reads them, now and again.
   * @param options - time between two tries; ends the tries; called after each that failed.
   * @returns null when told to end before.
   */
  static async openLater(
    read: CredentialReader,
    options: {
      readonly pauseMs: number;
      readonly signal: AbortSignal;
      readonly failed: (error: ApiError) => void;
    },
  ): Promise<ApiServer | null> {
    const { pauseMs, signal, failed } = options;
    while (!signal.aborted) {
      try {
        return await ApiServer.open(read);
      } catch (error) {
        if (!(error instanceof ApiError)) throw error;
        failed(error);
      }
      await new Promise<void>((resolve) => {
        const timer = setTimeout(resolve, pauseMs);
        signal.addEventListener("abort", () => {
          clearTimeout(timer);
          resolve();
        });
      });
    }
    return null;
  }

  /** Its address, for people. */
  get address(): string {
    const { origin, pathname } = this.#credentials.server;
    return `${origin}${pathname === "/" ? "" : pathname}`;
  }

  /** The namespace that the account is in. */
  get namespace(): string {
    return this.#credentials.namespace;
  }

  /** Has address and credentials read again before the next request. */
  renew(): void {
    this.#isStale = true;
  }

  /**
   * Asks for something.
   *
   * @param path - from the root, with its query.
   * @param options - how long the headers may take; ends the request and its body when aborted.
   * @returns the answer, when it is 200.
   * @throws ApiError of every code but malformed and too_large.
   */
  async get(
    path: string,
    options: { readonly timeoutMs: number; readonly signal: AbortSignal },
  ): Promise<ApiAnswer> {
    const requestOptions: RequestOptions = {
      method: "GET",
      headers: { accept: "application/json", "user-agent": "kvsync-daemon" },
      signal: options.signal,
    };
    try {
      if (this.#isStale) this.#credentials = await this.#read();
      await this.#credentials.apply(requestOptions);
      this.#isStale = false;
    } catch (error) {
      this.#isStale = true;
      throw error;
    }
    let answer: IncomingMessage;
    try {
      answer = await this.#send(new URL(`${this.address}${path}`), requestOptions, options.timeoutMs);
    } catch (error) {
      // The server may have another address or another authority since they were read.
      this.#isStale = true;
      throw error;
    }
    if (answer.statusCode === 200) return { body: answer };
    throw await this.#refusal(answer, options.timeoutMs);
  }

  #send(url: URL, options: RequestOptions, timeoutMs: number): Promise<IncomingMessage> {
    const server = this.address;
    const send = url.protocol === "https:" ? httpsRequest : httpRequest;
    return new Promise((resolve, reject) => {
      let request: ReturnType<typeof send>;
      try {
        request = send(url, options, resolve);
      } catch (error) {
        // TLS and HTTP throw at once when they cannot begin.
        reject(unreachable(server, error));
        return;
      }
      const timer = setTimeout(() => {
        const message = `${server} did not begin to answer within ${timeoutMs} ms`;
        request.destroy(new ApiError({ code: "timeout", server }, message));
      }, timeoutMs);
      request.setSocketKeepAlive(true, KEEPALIVE_MS);
      request.once("response", () => {
        clearTimeout(timer);
      });
      request.on("error", (error) => {
        clearTimeout(timer);
        reject(error instanceof ApiError ? error : unreachable(server, error));
      });
      request.end();
    });
  }

  async #refusal(answer: IncomingMessage, timeoutMs: number): Promise<ApiError> {
    const status = answer.statusCode ?? 0;
    const server = this.address;
    const facts = { code: refusalCode(status), server, status, retryAfterMs: retryAfter(answer) } as const;
    // What it says is of interest, but not worth waiting for.
    const timer = setTimeout(() => {
      answer.destroy();
    }, timeoutMs);
    const said = await refusalText(answer);
    clearTimeout(timer);
    return new ApiError(facts, `${server} answered ${status}${said === "" ? "" : `: ${said}`}`);
  }
}

/**
 * Says that a connection to the server broke.
 *
 * @param server - its address.
 * @param cause - what broke it.
 * @returns disconnected.
 */
export function disconnected(server: string, cause: unknown): ApiError {
  return new ApiError({ code: "disconnected", server }, `${server} broke off: ${reasonOf(cause)}`, { cause });
}

/**
 * The reason that a status stands for.
 *
 * @param status - of HTTP, or of a Status object in a watch.
 * @returns the code.
 */
export function refusalCode(status: number) {
  switch (status) {
    case 401:
      return "unauthorized" as const;
    case 403:
      return "forbidden" as const;
    case 410:
      return "gone" as const;
    case 429:
      return "throttled" as const;
    default:
      return status >= 500 ? ("server_error" as const) : ("refused" as const);
  }
}

function unreachable(server: string, cause: unknown): ApiError {
  return new ApiError({ code: "unreachable", server }, `${server} cannot be reached: ${reasonOf(cause)}`, {
    cause,
  });
}

function reasonOf(error: unknown): string {
  if (error instanceof AggregateError) return error.errors.map(reasonOf).join("; ");
  return error instanceof Error ? error.message : String(error);
}

function retryAfter(answer: IncomingMessage): number | null {
  const seconds = Number(answer.headers["retry-after"] ?? Number.NaN);
  return Number.isFinite(seconds) && seconds >= 0 ? Math.min(seconds * 1000, RETRY_AFTER_MS_MAX) : null;
}

/** The message of a Status object, or the beginning of whatever was said. */
async function refusalText(answer: IncomingMessage): Promise<string> {
  let text = "";
  try {
    for await (const chunk of answer.setEncoding("utf8")) {
      text += String(chunk);
      if (text.length > REFUSAL_BYTES_MAX) break;
    }
    const { message } = JSON.parse(text) as { readonly message?: unknown };
    return typeof message === "string" ? message : text.slice(0, 200);
  } catch {
    return text.slice(0, 200);
  }
}
