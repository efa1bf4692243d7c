/**
 * Fetches the metrics page of an endpoint.
 *
 *     GET http://endpoint/metrics, on a connection that is kept ─▶ 200 and a body within its bound ─▶ page
 *                                                                  └─ anything else ─▶ why there is none
 *
 *  G1  A fetch ends within its time with a page or one reason. No answer of an endpoint makes it throw
 *      (metrics-page.test.ts "G1").
 *  G2  Of a page that is too large, at most the bound and one piece more are read (metrics-page.test.ts "G2").
 *
 * Redirects are not followed and nothing is decompressed: none is asked for.
 *
 * Not here: reading pages (engine-metrics.ts), times of fetches (load-scrape.ts).
 */
import { Agent, type Dispatcher } from "undici";

/** Largest page; an engine's has some 100 kB. */
export const PAGE_BYTES_MAX = 4 * 1024 * 1024;
/** An engine closes a connection that is idle; ours goes first. */
const IDLE_MS = 4000;
const OK = 200;

/** Why there is no page. */
export type PageFault = "unreachable" | "timeout" | "status" | "too_large" | "cut";

/** See the header. */
export class MetricsPages {
  readonly #port: number | null;
  readonly #path: string;
  readonly #timeoutMs: number;
  readonly #agent: Agent;

  /** @param options - port of the metrics, null for the endpoint's own; their path; time until the end of a body. */
  constructor(options: { readonly port: number | null; readonly path: string; readonly timeoutMs: number }) {
    this.#port = options.port;
    this.#path = options.path;
    this.#timeoutMs = options.timeoutMs;
    this.#agent = new Agent({
      connections: 1,
      pipelining: 1,
      keepAliveTimeout: IDLE_MS,
      connect: { timeout: options.timeoutMs },
    });
  }

  /**
   * Fetches a page.
   *
   * @param endpoint - `ip:port`, IPv6 in brackets.
   * @returns the page, the caller's; or why there is none.
   */
  get(endpoint: string): Promise<Buffer | PageFault> {
    const host = endpoint.slice(0, endpoint.lastIndexOf(":"));
    const origin = `http://${this.#port === null ? endpoint : `${host}:${this.#port}`}`;
    const headers = { accept: "text/plain" };
    return new Promise((resolve) => {
      const reading = new PageReading(this.#timeoutMs, resolve);
      this.#agent.dispatch({ origin, path: this.#path, method: "GET", headers }, reading);
    });
  }

  /** Closes the connections. */
  async stop(): Promise<void> {
    await this.#agent.destroy();
  }
}

/** One answer. The first outcome is told; what comes after it changes nothing. */
class PageReading implements Dispatcher.DispatchHandler {
  readonly #resolve: (outcome: Buffer | PageFault) => void;
  readonly #timer: NodeJS.Timeout;
  readonly #chunks: Buffer[] = [];
  #bytes = 0;
  #controller: Dispatcher.DispatchController | null = null;
  #isAnswered = false;
  #isOver = false;

  constructor(timeoutMs: number, resolve: (outcome: Buffer | PageFault) => void) {
    this.#resolve = resolve;
    this.#timer = setTimeout(this.#end.bind(this), timeoutMs, "timeout");
  }

  onRequestStart(controller: Dispatcher.DispatchController): void {
    this.#controller = controller;
    if (this.#isOver) this.#abort();
  }

  onResponseStart(_controller: Dispatcher.DispatchController, status: number): void {
    this.#isAnswered = true;
    if (status !== OK) this.#end("status");
  }

  onResponseData(_controller: Dispatcher.DispatchController, chunk: Buffer): void {
    this.#bytes += chunk.length;
    if (this.#bytes > PAGE_BYTES_MAX) this.#end("too_large");
    else this.#chunks.push(chunk);
  }

  onResponseEnd(): void {
    this.#end(Buffer.concat(this.#chunks));
  }

  onResponseError(): void {
    this.#end(this.#isAnswered ? "cut" : "unreachable");
  }

  #end(outcome: Buffer | PageFault): void {
    if (this.#isOver) return;
    this.#isOver = true;
    clearTimeout(this.#timer);
    if (typeof outcome === "string") this.#abort();
    this.#resolve(outcome);
  }

  /** The connection is closed; the next fetch gets another. */
  #abort(): void {
    this.#controller?.abort(new Error("the page is not wanted any more"));
  }
}
