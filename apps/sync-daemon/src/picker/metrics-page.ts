/**
 * Fetches the metrics page of an endpoint, and has it read in place.
 *
 *     GET http://endpoint/metrics, on a connection that is kept ─▶ 200 and a body within its bound ─▶ read
 *                                                                  └─ anything else ─▶ why there is none
 *
 *     all connections ─▶ one memory for what comes in ─▶ HttpAnswer ─▶ memory of a page ─▶ read ─▶ the next fetch's
 *
 *  G1  A fetch ends within its time with a page or one reason. No answer of an endpoint makes it throw
 *      (metrics-page.test.ts "G1").
 *  G2  Of a page that is too large, at most the bound and one piece more are read (metrics-page.test.ts "G2").
 *  G3  A kept connection that its server has ended costs the next fetch nothing: it gets another one
 *      (metrics-page.test.ts "G3").
 *  G4  Connections end after IDLE_MS without a fetch, and all of them at `stop` (metrics-page.test.ts "G4").
 *
 * It reads sockets by itself, because pages come 500 times a second: undici takes four to five times the CPU for one
 * (docs/benchmarks.md). Redirects are not followed and nothing is decompressed: none is asked for.
 *
 * Not here: HTTP's bytes (http-answer.ts), reading pages (engine-metrics.ts), times of fetches (load-scrape.ts).
 */
import { connect, type Socket } from "node:net";

import { type AnswerFault, type AnswerProgress, HttpAnswer } from "./http-answer.ts";

/** Largest page; an engine's has some 100 kB. */
export const PAGE_BYTES_MAX = 4 * 1024 * 1024;
/** An engine closes a connection that is idle; ours goes first. */
const IDLE_MS = 4000;
/** What one read of a connection takes at most. */
const READ_BYTES = 256 * 1024;
/** Room for an engine's page. */
const PAGE_BYTES = 128 * 1024;
/** Pages of this size are kept for the next fetches; larger ones are rare. */
const PAGE_BYTES_KEPT = 1024 * 1024;
const PAGES_KEPT = 64;

/** Why there is no page. `unreachable`: no connection, or nothing that is HTTP. */
export type PageFault = "unreachable" | "timeout" | "status" | "too_large" | "cut";

/** See the header. */
export class MetricsPages {
  readonly #port: number | null;
  readonly #path: string;
  readonly #timeoutMs: number;
  /** By `host:port`; one of an address is kept. */
  readonly #idle = new Map<string, Connection>();
  readonly #open = new Set<Connection>();
  readonly #received = Buffer.allocUnsafeSlow(READ_BYTES);
  readonly #pages: Buffer[] = [];

  /** @param options - port of the metrics, null for the endpoint's own; their path; time until the end of a body. */
  constructor(options: { readonly port: number | null; readonly path: string; readonly timeoutMs: number }) {
    this.#port = options.port;
    this.#path = options.path;
    this.#timeoutMs = options.timeoutMs;
  }

  /** Connections that are open. */
  get connectionCount(): number {
    return this.#open.size;
  }

  /**
   * Fetches a page.
   *
   * @param endpoint - `ip:port`, IPv6 in brackets.
   * @param read - is given the page; its bytes are another one's when it returns.
   * @returns what was read; or why there is no page.
   */
  async get<Reading>(endpoint: string, read: (page: Buffer) => Reading): Promise<Reading | PageFault> {
    const host = endpoint.slice(0, endpoint.lastIndexOf(":"));
    const port = this.#port ?? Number(endpoint.slice(host.length + 1));
    const untilMs = performance.now() + this.#timeoutMs;
    const kept = this.#idle.get(`${host}:${port}`);
    if (kept !== undefined) {
      this.#idle.delete(kept.address);
      const outcome = await this.#fetch(kept, untilMs);
      // G3: its server had ended it, or was about to.
      if (typeof outcome !== "string") return this.#read(outcome, read);
      if (outcome !== "unanswered") return outcome;
    }
    const outcome = await this.#fetch(this.#connect(host, port), untilMs);
    if (typeof outcome !== "string") return this.#read(outcome, read);
    return outcome === "unanswered" ? "unreachable" : outcome;
  }

  /** Closes the connections. */
  stop(): void {
    for (const connection of this.#open) connection.close();
  }

  #connect(host: string, port: number): Connection {
    const connection = new Connection(host, port, this.#received, () => {
      this.#open.delete(connection);
      if (this.#idle.get(connection.address) === connection) this.#idle.delete(connection.address);
    });
    this.#open.add(connection);
    return connection;
  }

  async #fetch(connection: Connection, untilMs: number): Promise<HttpAnswer | PageFault | "unanswered"> {
    const answer = new HttpAnswer(this.#pages.pop() ?? Buffer.allocUnsafeSlow(PAGE_BYTES), PAGE_BYTES_MAX);
    const outcome = await connection.fetch(this.#path, answer, untilMs - performance.now());
    if (outcome === "whole" && answer.isKept && !this.#idle.has(connection.address)) {
      this.#idle.set(connection.address, connection);
      connection.rest();
    } else connection.close();
    if (outcome === "whole") return answer;
    this.#giveBack(answer);
    if (outcome === "not_http") return answer.hasBegun ? "unreachable" : "unanswered";
    return outcome;
  }

  #read<Reading>(answer: HttpAnswer, read: (page: Buffer) => Reading): Reading {
    try {
      return read(answer.body);
    } finally {
      this.#giveBack(answer);
    }
  }

  #giveBack({ memory }: HttpAnswer): void {
    if (memory.length <= PAGE_BYTES_KEPT && this.#pages.length < PAGES_KEPT) this.#pages.push(memory);
  }
}

/** One connection, with at most one answer on its way. */
class Connection {
  readonly address: string;
  readonly #socket: Socket;
  #resting: NodeJS.Timeout | undefined;
  /** Takes the outcome of the answer on its way; null without one. */
  #ended: ((outcome: "whole" | AnswerFault | "timeout") => void) | null = null;
  #answer: HttpAnswer | null = null;

  /**
   * @param received - memory for each read; what came is taken before the next.
   * @param closed - told once.
   */
  constructor(host: string, port: number, received: Buffer, closed: () => void) {
    this.address = `${host}:${port}`;
    this.#socket = connect({
      host: host.replace(/^\[|\]$/g, ""),
      port,
      noDelay: true,
      onread: {
        buffer: received,
        callback: (count, bytes) => {
          this.#take((bytes as Buffer).subarray(0, count));
          return true;
        },
      },
    });
    // "close" follows, and says all that there is to know.
    this.#socket.on("error", () => undefined);
    this.#socket.on("end", () => {
      this.#gone();
    });
    this.#socket.once("close", () => {
      clearTimeout(this.#resting);
      this.#gone();
      closed();
    });
  }

  /** Sends a request, and writes what comes into `answer`. */
  fetch(path: string, answer: HttpAnswer, timeoutMs: number): Promise<"whole" | AnswerFault | "timeout"> {
    this.#answer = answer;
    clearTimeout(this.#resting);
    return new Promise((resolve) => {
      const timer = setTimeout(this.#end.bind(this), timeoutMs, "timeout");
      this.#ended = (outcome) => {
        clearTimeout(timer);
        resolve(outcome);
      };
      if (this.#socket.destroyed) this.#gone();
      else this.#socket.write(`GET ${path} HTTP/1.1\r\nhost: ${this.address}\r\naccept: text/plain\r\n\r\n`);
    });
  }

  /** Waits for the next fetch, up to IDLE_MS. */
  rest(): void {
    this.#resting = setTimeout(this.close.bind(this), IDLE_MS);
    this.#resting.unref();
  }

  /** Ends it. */
  close(): void {
    this.#socket.destroy();
  }

  #take(bytes: Buffer): void {
    const progress: AnswerProgress = this.#answer === null ? "cut" : this.#answer.push(bytes);
    if (progress === "more") return;
    // Bytes that nobody asked for.
    if (this.#answer === null) this.#socket.destroy();
    this.#end(progress);
  }

  #gone(): void {
    if (this.#answer !== null) this.#end(this.#answer.end());
    this.#socket.destroy();
  }

  #end(outcome: "whole" | AnswerFault | "timeout"): void {
    const ended = this.#ended;
    this.#ended = null;
    this.#answer = null;
    ended?.(outcome);
  }
}
