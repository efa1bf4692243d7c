/**
 * Looks at the metrics of every endpoint again and again, for the load that others cause and for the engines' room.
 *
 *     endpoints ─▶ each at its own time, every interval ─▶ line ─▶ at most 64 fetches at once ─▶ page ─▶ read ─▶ seen
 *                                                                                     └─ no page for 2 s ─▶ unseen
 *
 *  L1  One fetch of an endpoint is open at a time, and at most FETCHES_MAX in all. The next begins an interval after
 *      the last was due (load-scrape.test.ts "L1").
 *  L2  Each fetch that ends has one outcome (load-scrape.test.ts "L2").
 *  L3  A reading counts for AGE_MS_MAX. Then the endpoint is reported as unseen, once (load-scrape.test.ts "L3").
 *  L4  Nothing is kept of an endpoint that is gone. The result of its last fetch is dropped
 *      (load-scrape.test.ts "L4").
 *
 * Each endpoint begins at a random time within the interval, so that a fleet is not asked in one breath.
 *
 * Not here: HTTP (metrics-page.ts), names of metrics (engine-metrics.ts), what is made of a load (endpoint-fleet.ts).
 */
import type { EngineLoad } from "./endpoint-fleet.ts";
import { readEngineMetrics } from "./engine-metrics.ts";
import type { PageFault } from "./metrics-page.ts";

/** Fetches under way at once: connections, and pages in memory. */
const FETCHES_MAX = 64;
/** Older figures say nothing of now. */
const AGE_MS_MAX = 2000;

/** The result of a fetch. `no_names`: a page that no known engine wrote. */
export type ScrapeOutcome = "ok" | PageFault | "no_names";

/** What a scrape works with. */
export interface LoadScrapeParts {
  readonly pages: {
    get<Reading>(endpoint: string, read: (page: Buffer) => Reading): Promise<Reading | PageFault>;
  };
  /** Gets what engines say; see EndpointFleet. */
  readonly sink: { seen(address: string, load: EngineLoad): void; unseen(address: string): void };
  readonly watch: { scraped(outcome: ScrapeOutcome): void };
  /** Milliseconds, on a clock that never goes back. */
  readonly now: () => number;
  /** 0 … 1. */
  readonly random: () => number;
}

interface Followed {
  readonly address: string;
  /** When its next fetch is due. */
  dueMs: number;
  /** When it last said something; when it came, before. */
  saidMs: number;
  isUnseen: boolean;
  timer: NodeJS.Timeout | null;
}

/** See the header. */
export class LoadScrape {
  readonly #intervalMs: number;
  readonly #parts: LoadScrapeParts;
  readonly #followed = new Map<string, Followed>();
  /** Due, first come first fetched. */
  #line: Followed[] = [];
  #fetches = 0;
  readonly #aging: NodeJS.Timeout;

  /** @param options - time between two fetches of an endpoint. */
  constructor(options: { readonly intervalMs: number }, parts: LoadScrapeParts) {
    this.#intervalMs = options.intervalMs;
    this.#parts = parts;
    this.#aging = setInterval(this.#age.bind(this), AGE_MS_MAX / 10);
    this.#aging.unref();
  }

  /** Replaces the endpoints that are looked at. */
  follow(addresses: readonly string[]): void {
    const wanted = new Set(addresses);
    for (const followed of this.#followed.values()) if (!wanted.has(followed.address)) this.#forget(followed);
    for (const address of wanted) if (!this.#followed.has(address)) this.#begin(address);
  }

  /** Time since the endpoint said something that has been silent longest; null without endpoints. */
  get ageSeconds(): number | null {
    const said = [...this.#followed.values()].map(({ saidMs }) => saidMs);
    return said.length === 0 ? null : (this.#parts.now() - Math.min(...said)) / 1000;
  }

  /** Looks at nothing any more. */
  stop(): void {
    clearInterval(this.#aging);
    this.follow([]);
  }

  #begin(address: string): void {
    const nowMs = this.#parts.now();
    const dueMs = nowMs + this.#parts.random() * this.#intervalMs;
    const followed: Followed = { address, dueMs, saidMs: nowMs, isUnseen: true, timer: null };
    this.#followed.set(address, followed);
    this.#wait(followed);
  }

  #forget(followed: Followed): void {
    if (followed.timer !== null) clearTimeout(followed.timer);
    this.#followed.delete(followed.address);
    this.#line = this.#line.filter((other) => other !== followed);
  }

  #wait(followed: Followed): void {
    followed.timer = setTimeout(
      () => {
        followed.timer = null;
        this.#line.push(followed);
        this.#advance();
      },
      Math.max(0, followed.dueMs - this.#parts.now()),
    );
    followed.timer.unref();
  }

  #advance(): void {
    while (this.#fetches < FETCHES_MAX) {
      const followed = this.#line.shift();
      if (followed === undefined) return;
      this.#fetches += 1;
      void this.#fetch(followed).finally(() => {
        this.#fetches -= 1;
        this.#advance();
      });
    }
  }

  async #fetch(followed: Followed): Promise<void> {
    const { pages, sink, watch, now } = this.#parts;
    const load = await pages.get(followed.address, readEngineMetrics);
    if (this.#followed.get(followed.address) !== followed) return;
    watch.scraped(typeof load === "string" ? load : load === null ? "no_names" : "ok");
    if (load !== null && typeof load !== "string") {
      followed.saidMs = now();
      followed.isUnseen = false;
      sink.seen(followed.address, load);
    }
    // Where it took longer than an interval, the times that have passed are left out.
    followed.dueMs = Math.max(followed.dueMs + this.#intervalMs, now());
    this.#wait(followed);
  }

  #age(): void {
    const oldestMs = this.#parts.now() - AGE_MS_MAX;
    for (const followed of this.#followed.values()) {
      if (followed.isUnseen || followed.saidMs >= oldestMs) continue;
      followed.isUnseen = true;
      this.#parts.sink.unseen(followed.address);
    }
  }
}
