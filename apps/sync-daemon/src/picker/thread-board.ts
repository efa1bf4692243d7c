/**
 * How the picker's threads stand, in memory that all of them read. Each writes its own row.
 *
 *     thread 0 │ beat, lag, takes requests? │ streams, connections, held bytes │
 *     thread 1 │ …                          │ …                                │
 *                 └─▶ health of all            └─▶ limits over all threads
 *
 *  T1  All threads answer health checks alike: `serving` only while each thread takes requests and none is late.
 *      A connection that it opens next can come to any of them (thread-board.test.ts "T1").
 *  T2  Limits on streams, connections and held bytes hold over all threads. Threads that decide in the same moment
 *      can go beyond by one each (thread-board.test.ts "T2").
 *
 * A row has one writer, so no update needs an atomic: aligned 8-byte loads and stores do not tear.
 *
 * Not here: the watch that ends a process whose thread does not come back (ingest/stall-watch.ts).
 */

/** Time between two beats. */
export const BEAT_MS = 100;
/** A thread that is so late is told to gateways. */
const LAG_MS_MAX = 1000;

const COLUMNS = ["beatMs", "lagMs", "takesRequests", "streams", "connections", "heldBytes"] as const;
type Column = (typeof COLUMNS)[number];

/** What a server counts against its limits. */
export interface Usage {
  readonly streams: number;
  readonly connections: number;
  readonly heldBytes: number;
}

/** See the header. */
export class ThreadBoard {
  readonly #rows: Float64Array;
  readonly #own: number;

  /**
   * @param memory - from `memory`.
   * @param own - the row that may be written.
   */
  constructor(memory: SharedArrayBuffer, own: number) {
    this.#rows = new Float64Array(memory);
    this.#own = own;
  }

  /** Memory for so many threads. */
  static memory(threads: number): SharedArrayBuffer {
    return new SharedArrayBuffer(threads * COLUMNS.length * Float64Array.BYTES_PER_ELEMENT);
  }

  /** Threads that there are. */
  get count(): number {
    return this.#rows.length / COLUMNS.length;
  }

  /** When each thread last showed that it lives. */
  get beats(): readonly { readonly heartbeatMs: number }[] {
    return this.#all("beatMs").map((heartbeatMs) => ({ heartbeatMs }));
  }

  /** How late threads were, the latest of them, at their last beat. */
  get lagMs(): number {
    return Math.max(...this.#all("lagMs"));
  }

  /** A sign of life of this thread. */
  beat(nowMs: number, lagMs: number): void {
    this.#set("beatMs", nowMs);
    this.#set("lagMs", lagMs);
  }

  /** Whether this thread knows what it needs to take requests. */
  takesRequests(does: boolean): void {
    this.#set("takesRequests", does ? 1 : 0);
  }

  /** What this thread has. */
  uses({ streams, connections, heldBytes }: Usage): void {
    this.#set("streams", streams);
    this.#set("connections", connections);
    this.#set("heldBytes", heldBytes);
  }

  /** What all other threads have. */
  get others(): Usage {
    return {
      streams: this.#sumOfOthers("streams"),
      connections: this.#sumOfOthers("connections"),
      heldBytes: this.#sumOfOthers("heldBytes"),
    };
  }

  /** Whether requests may come (T1). */
  isServing(nowMs: number): boolean {
    for (let thread = 0; thread < this.count; thread++) {
      if (this.#get(thread, "takesRequests") !== 1 || this.#get(thread, "lagMs") > LAG_MS_MAX) return false;
      // One that stands still cannot say how late it is. This one is at work.
      const isSilent = nowMs - this.#get(thread, "beatMs") > LAG_MS_MAX + BEAT_MS;
      if (thread !== this.#own && isSilent) return false;
    }
    return true;
  }

  #all(column: Column): number[] {
    return Array.from({ length: this.count }, (_, thread) => this.#get(thread, column));
  }

  #sumOfOthers(column: Column): number {
    let sum = 0;
    for (let thread = 0; thread < this.count; thread++)
      if (thread !== this.#own) sum += this.#get(thread, column);
    return sum;
  }

  #get(thread: number, column: Column): number {
    return this.#rows[thread * COLUMNS.length + COLUMNS.indexOf(column)] ?? 0;
  }

  #set(column: Column, value: number): void {
    this.#rows[this.#own * COLUMNS.length + COLUMNS.indexOf(column)] = value;
  }
}
