/** A viewer of a daemon's live stream without a browser: it counts what is sent, and hands over the fleet's sums. */

/** What was sent so far. */
export interface StreamSeen {
  readonly deltas: number;
  readonly bytes: number;
  /** Ranks that are exact, by the latest delta. */
  readonly exact: number;
  /** Longest time between two deltas. */
  readonly longestMs: number;
}

/** See the head of this file. */
export class FleetStream {
  readonly #abort = new AbortController();
  #seen: StreamSeen = { deltas: 0, bytes: 0, exact: 0, longestMs: 0 };
  #lastMs: number | null = null;
  #waiting: (() => void)[] = [];
  #read: Promise<void> = Promise.resolve();

  /** Opens one; resolves with its first bytes. */
  static async open(url: string): Promise<FleetStream> {
    const stream = new FleetStream();
    const { body } = await fetch(`${url}/api/v1/dashboard/stream`, { signal: stream.#abort.signal });
    if (body === null) throw new Error("a stream without a body");
    stream.#read = stream.#take(body);
    return stream;
  }

  get seen(): StreamSeen {
    return this.#seen;
  }

  /** Waits for deltas until a condition holds. */
  async until(isDone: (seen: StreamSeen) => boolean): Promise<void> {
    while (!isDone(this.#seen)) await new Promise<void>((resolve) => this.#waiting.push(resolve));
  }

  /** Waits for so many deltas from now on. */
  async passed(deltas: number): Promise<void> {
    const last = this.#seen.deltas + deltas;
    await this.until((seen) => seen.deltas >= last);
  }

  /** Ends it. */
  async close(): Promise<void> {
    this.#abort.abort();
    await this.#read;
  }

  async #take(body: ReadableStream<Uint8Array>): Promise<void> {
    const decoder = new TextDecoder();
    let rest = "";
    try {
      for await (const chunk of body) {
        const events = (rest + decoder.decode(chunk, { stream: true })).split("\n\n");
        rest = events.pop() ?? "";
        for (const event of events) this.#count(event, event.length + 2);
      }
    } catch (error) {
      if (!this.#abort.signal.aborted) throw error;
    }
  }

  #count(event: string, bytes: number): void {
    this.#seen = { ...this.#seen, bytes: this.#seen.bytes + bytes };
    const [, data = ""] = /^event: delta\ndata: (.*)$/.exec(event) ?? [];
    if (data === "") return;
    const { totals } = JSON.parse(data) as { readonly totals: { readonly trusts: readonly number[] } };
    const nowMs = performance.now();
    const longestMs = Math.max(this.#seen.longestMs, nowMs - (this.#lastMs ?? nowMs));
    this.#lastMs = nowMs;
    const deltas = this.#seen.deltas + 1;
    this.#seen = { ...this.#seen, deltas, exact: totals.trusts[0] ?? 0, longestMs };
    for (const resolve of this.#waiting.splice(0)) resolve();
  }
}
