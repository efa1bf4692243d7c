/**
 * Keeps the stream open: connects, reads, and connects again.
 *
 *     connecting ──▶ live ──▶ waiting ──▶ connecting …        waiting: 1, 2, 4, 8, 15 s, each with jitter
 *          │                     ▲
 *          ├──▶ refused (401, 403: until a token is given)    paused: closed by the user
 *          └─────────────────────┘                            hidden: closed with the tab out of sight
 *
 * Invariants (connection.test.ts)
 *  K1  At most one request is open, and none while paused, hidden or refused.
 *  K2  A message that the page cannot read, a missing message, and silence each end the connection.
 *  K3  A wait ends at once when the network returns or the tab is shown.
 *  K4  Pauses grow to 15 s, and a snapshot that arrived starts them from 1 s again.
 *  K5  A stream that the daemon replaces is connected again at once, and is not lost meanwhile.
 *
 * Not here: the state of the fleet (fleet-store.ts), and the words (texts.ts).
 */
import { SseReader } from "./sse-reader.ts";
import { MessageError, readMessage, type StreamMessage } from "./stream-messages.ts";

/** Why the stream is not there. */
export type LossReason =
  | "unreachable"
  | "ended"
  | "silent"
  | "offline"
  | "missing_message"
  | "unreadable_message"
  | "stopping"
  | "replaced"
  | "too_many_viewers"
  | "no_route"
  | "refused_status";

/** Where the connection stands. Times are milliseconds since 1970. */
export type ConnectionState =
  | { readonly kind: "connecting"; readonly lostAt: number | null }
  | { readonly kind: "live" }
  | {
      readonly kind: "waiting";
      readonly lostAt: number;
      readonly retryAt: number;
      readonly reason: LossReason;
      /** HTTP status, where an answer came. */
      readonly status: number | null;
    }
  | { readonly kind: "refused"; readonly status: 401 | 403 }
  | { readonly kind: "paused" }
  | { readonly kind: "hidden" };

/** What a connection needs of its page. */
export interface ConnectionOptions {
  /** Opens the stream. */
  readonly open: (signal: AbortSignal) => Promise<Response>;
  /** Takes a message; false when one before it is missing. */
  readonly onMessage: (message: StreamMessage) => boolean;
  readonly onState: (state: ConnectionState) => void;
  /** Counts bytes that arrived. */
  readonly onBytes?: (bytes: number) => void;
  /** 0 to 1, for the jitter. */
  readonly random: () => number;
}

/** Longest pauses in milliseconds, by failures in a row. */
export const PAUSES_MS = [1000, 2000, 4000, 8000, 15_000] as const;
/** The daemon sends something every 15 s at least: twice that is silence. */
export const SILENCE_MS = 32_000;

/** Ends a connection for a reason of ours. */
class Loss extends Error {
  readonly reason: LossReason;
  readonly status: number | null;
  readonly retryMs: number | null;

  constructor(reason: LossReason, status: number | null = null, retryMs: number | null = null) {
    super(reason);
    this.reason = reason;
    this.status = status;
    this.retryMs = retryMs;
  }
}

/** One stream, kept open. */
export class Connection {
  readonly #options: ConnectionOptions;
  #state: ConnectionState = { kind: "paused" };
  #abort: AbortController | null = null;
  #timer: ReturnType<typeof setTimeout> | undefined;
  #failures = 0;
  #lostAt: number | null = null;

  constructor(options: ConnectionOptions) {
    this.#options = options;
  }

  /** Connects now, from any state: also after a pause, a refusal, or with another token. */
  start(): void {
    this.#failures = 0;
    this.#connect();
  }

  /** Closes the stream until {@link start}. */
  pause(kind: "paused" | "hidden"): void {
    this.#close();
    this.#lostAt = null;
    this.#become({ kind });
  }

  /** The network returned or the tab is shown: ends a wait (K3). */
  wake(): void {
    if (this.#state.kind === "waiting" || this.#state.kind === "hidden") this.start();
  }

  /** The network is gone: the stream is lost, whatever its socket still seems to be. */
  offline(): void {
    if (this.#state.kind === "live" || this.#state.kind === "connecting") this.#lose(new Loss("offline"));
  }

  #become(state: ConnectionState): void {
    this.#state = state;
    this.#options.onState(state);
  }

  #close(): void {
    clearTimeout(this.#timer);
    this.#abort?.abort();
    this.#abort = null;
  }

  #connect(): void {
    // K1
    this.#close();
    const abort = new AbortController();
    this.#abort = abort;
    this.#become({ kind: "connecting", lostAt: this.#lostAt });
    this.#watchSilence();
    this.#run(abort.signal).catch((error: unknown) => {
      if (abort.signal.aborted) return;
      this.#lose(error);
    });
  }

  #watchSilence(): void {
    clearTimeout(this.#timer);
    this.#timer = setTimeout(() => {
      this.#lose(new Loss("silent"));
    }, SILENCE_MS);
  }

  async #run(signal: AbortSignal): Promise<void> {
    const response = await this.#options.open(signal).catch(() => {
      throw new Loss("unreachable");
    });
    const isOver = (): boolean => signal.aborted;
    if (isOver()) return;
    if (response.status === 401 || response.status === 403) {
      this.#close();
      this.#become({ kind: "refused", status: response.status });
      return;
    }
    if (!response.ok || response.body === null) throw lossOf(response);
    const reader = new SseReader();
    const chunks = response.body.getReader();
    for (;;) {
      const { done, value } = await chunks.read().catch(() => {
        throw new Loss("ended");
      });
      if (isOver()) return;
      if (done) throw new Loss("ended");
      this.#watchSilence();
      this.#options.onBytes?.(value.byteLength);
      for (const { event, data } of reader.read(value)) this.#take(event, data);
    }
  }

  #take(event: string, data: string): void {
    const message = readMessage(event, data);
    if (message === null) return;
    if (message.kind === "bye")
      throw new Loss(
        message.body.reason === "replaced" ? "replaced" : "stopping",
        null,
        message.body.retry_ms,
      );
    // K2
    if (!this.#options.onMessage(message)) throw new Loss("missing_message");
    if (message.kind !== "snapshot") return;
    this.#failures = 0;
    this.#lostAt = null;
    this.#become({ kind: "live" });
  }

  #lose(error: unknown): void {
    this.#close();
    const now = Date.now();
    const loss = error instanceof Loss ? error : new Loss(unreadable(error));
    // K5: but not without end, when no snapshot ever arrives.
    if (loss.retryMs === 0 && this.#failures === 0) {
      this.#failures = 1;
      this.#connect();
      return;
    }
    this.#lostAt ??= now;
    const pause = PAUSES_MS[Math.min(this.#failures, PAUSES_MS.length - 1)] ?? 0;
    // A missing message is no fault of the network: a fresh snapshot mends it.
    const asked = loss.retryMs === 0 ? null : loss.retryMs;
    const wait = asked ?? pause * (0.5 + this.#options.random() / 2);
    this.#failures += 1;
    this.#timer = setTimeout(() => {
      this.#connect();
    }, wait);
    this.#become({
      kind: "waiting",
      lostAt: this.#lostAt,
      retryAt: now + wait,
      reason: loss.reason,
      status: loss.status,
    });
  }
}

function unreadable(error: unknown): LossReason {
  if (error instanceof MessageError || error instanceof Error) return "unreadable_message";
  return "ended";
}

function lossOf({ status, headers }: Response): Loss {
  const seconds = Number(headers.get("retry-after") ?? Number.NaN);
  const retryMs = Number.isFinite(seconds) ? seconds * 1000 : null;
  if (status === 503) return new Loss("too_many_viewers", status, retryMs);
  return new Loss(status === 404 ? "no_route" : "refused_status", status, retryMs);
}
