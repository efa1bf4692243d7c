/**
 * The pickers in front of a simulated fleet. Each has books and a policy of its own. All read one index.
 *
 *     request ─ by chance ─▶ picker ─▶ rank, book ─▶ engine
 *                              ▲ what it knows of the others:
 *                              │   none       nothing
 *                              │   scraping   running and waiting requests of every engine, each `scrapeSeconds`
 *                              └   sharing    every decision, first token and end, `shareDelaySeconds` late
 *
 *  H1  One picker finds nothing foreign at the engines (picker-group.test.ts "H1").
 *  H2  A request has one picker, also when it is routed again (picker-group.test.ts "H2").
 *  H3  Pickers that share decide as one when all news arrive at once, and have equal books once they have (picker-group.test.ts "H3").
 *
 * Not here: lookups, engines, loss of news.
 */
import { Prng } from "@kvsync/core";
import { type FixedWorker, KvsyncPolicy, LoadBook, type RoutingPolicy } from "@kvsync/routing";

import type { PickersConfig } from "./simulation-result.ts";

/** One picker. */
interface Picker {
  readonly book: LoadBook;
  readonly policy: RoutingPolicy;
  /** News of the others, in order of arrival. */
  readonly inbox: { readonly atSeconds: number; readonly tell: (picker: Picker) => void }[];
  nextScrapeAt: number;
}

/** What an engine says of itself. */
interface EngineLoad {
  readonly runningCount: number;
  readonly waitingCount: number;
}

/** See the header. */
export class PickerGroup {
  readonly #config: PickersConfig;
  readonly #seed: number;
  readonly #pickers: readonly Picker[];

  /**
   * @param config - how many, and what they know of each other.
   * @param members - the engines.
   * @param policyOf - makes the policy of a picker.
   * @param seed - of the choice of a picker.
   */
  constructor(
    config: PickersConfig,
    members: readonly FixedWorker[],
    policyOf: (picker: number) => RoutingPolicy,
    seed: number,
  ) {
    this.#config = config;
    this.#seed = seed;
    // Pickers do not scrape at one moment: their first scrapes are spread over the interval.
    this.#pickers = Array.from({ length: config.count }, (_, picker) => ({
      book: new LoadBook(members),
      policy: policyOf(picker),
      inbox: [],
      nextScrapeAt:
        config.news === "scraping"
          ? (config.scrapeSeconds * (picker + 1)) / config.count
          : Number.POSITIVE_INFINITY,
    }));
  }

  /** When the next scrape happens; Infinity when none does. */
  get nextScrapeAt(): number {
    return Math.min(...this.#pickers.map(({ nextScrapeAt }) => nextScrapeAt));
  }

  /** The picker of a request, with all news that have reached it by now. */
  of(request: number, nowSeconds: number): { readonly book: LoadBook; readonly policy: RoutingPolicy } {
    const picker = this.#pickerOf(request);
    while ((picker.inbox[0]?.atSeconds ?? Number.POSITIVE_INFINITY) <= nowSeconds)
      picker.inbox.shift()?.tell(picker);
    return picker;
  }

  /** Books a request that its picker sends to an engine. The views must still have its matches. */
  send(request: number, engine: number, promptTokens: number, nowSeconds: number): void {
    const { book, policy } = this.#pickerOf(request);
    book.send(request, engine, promptTokens);
    const freshTokens = Math.max(0, promptTokens - (book.views[engine]?.matchedTokens ?? 0));
    const decision = policy instanceof KvsyncPolicy ? policy.decisionFor(engine) : null;
    this.#share(request, nowSeconds, (other) => {
      other.book.send(request, engine, promptTokens, freshTokens);
      if (decision !== null && other.policy instanceof KvsyncPolicy)
        other.policy.learn(engine, decision, nowSeconds + this.#config.shareDelaySeconds);
    });
  }

  /** The first token of a request has come. */
  firstToken(request: number, nowSeconds: number): void {
    this.#pickerOf(request).book.firstToken(request);
    this.#share(request, nowSeconds, ({ book }) => {
      book.firstToken(request);
    });
  }

  /** A request is over. */
  end(request: number, nowSeconds: number): void {
    this.#pickerOf(request).book.end(request);
    this.#share(request, nowSeconds, ({ book }) => {
      book.end(request);
    });
  }

  /** Lets the pickers scrape whose time has come. */
  scrape(nowSeconds: number, engines: readonly EngineLoad[]): void {
    for (const picker of this.#pickers) {
      if (picker.nextScrapeAt > nowSeconds) continue;
      picker.nextScrapeAt += this.#config.scrapeSeconds;
      for (const [engine, { runningCount, waitingCount }] of engines.entries())
        picker.book.seen(engine, runningCount, waitingCount);
    }
  }

  #pickerOf(request: number): Picker {
    const { length } = this.#pickers;
    // By the request alone: its later news find it without a table.
    const at =
      length === 1 ? 0 : new Prng((this.#seed ^ Math.imul(request + 1, 0x9e37_79b1)) >>> 0).below(length);
    const picker = this.#pickers[at];
    if (picker === undefined) throw new RangeError("a group has a picker");
    return picker;
  }

  #share(request: number, nowSeconds: number, tell: (picker: Picker) => void): void {
    if (this.#config.news !== "sharing") return;
    const atSeconds = nowSeconds + this.#config.shareDelaySeconds;
    const from = this.#pickerOf(request);
    for (const picker of this.#pickers) if (picker !== from) picker.inbox.push({ atSeconds, tell });
  }
}
