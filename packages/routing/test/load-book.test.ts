/** The books against one that adds everything up each time, through joins, moves, leaves and late news. */

import { LoadBook } from "@kvsync/routing";
import fc from "fast-check";
import { describe, expect, it } from "vitest";

const CAPACITY_TOKENS = 400_000;

/** What a request is to the naive book. */
interface Known {
  readonly position: number;
  readonly promptTokens: number;
  readonly pendingTokens: number;
  readonly isWaiting: boolean;
}

type Step =
  | {
      readonly kind: "send";
      readonly request: number;
      readonly position: number;
      readonly tokens: number;
      readonly matched: number;
    }
  | { readonly kind: "firstToken" | "end"; readonly request: number }
  | { readonly kind: "move"; readonly request: number; readonly position: number }
  | {
      readonly kind: "foreign";
      readonly position: number;
      readonly running: number;
      readonly waiting: number;
    }
  | { readonly kind: "leave"; readonly position: number }
  | { readonly kind: "join"; readonly position: number };

const POSITIONS = 3;
const position = fc.nat(POSITIONS - 1);
const request = fc.nat(9);
const step: fc.Arbitrary<Step> = fc.oneof(
  fc.record({ kind: fc.constant("send"), request, position, tokens: fc.nat(5_000), matched: fc.nat(6_000) }),
  fc.record({ kind: fc.constantFrom("firstToken", "end"), request }),
  fc.record({ kind: fc.constant("move"), request, position }),
  fc.record({ kind: fc.constant("foreign"), position, running: fc.nat(9), waiting: fc.nat(9) }),
  fc.record({ kind: fc.constant("leave"), position }),
  fc.record({ kind: fc.constant("join"), position }),
);

/** Keeps requests and foreign load as they are, and sums them when asked. */
class NaiveBook {
  readonly #requests = new Map<number, Known>();
  readonly #foreign = new Map<number, { requests: number; waiting: number; pending: number }>();
  readonly #prompts: number[] = [];
  readonly members = new Set(Array.from({ length: POSITIONS }, (_, at) => at));

  isUnderWay(id: number): boolean {
    return this.#requests.has(id);
  }

  apply(one: Step): void {
    if (one.kind === "send") {
      this.#prompts.push(one.tokens);
      this.#requests.set(one.request, {
        position: one.position,
        promptTokens: one.tokens,
        pendingTokens: Math.max(0, one.tokens - one.matched),
        isWaiting: true,
      });
    } else if (one.kind === "join") this.members.add(one.position);
    else if (one.kind === "foreign") {
      if (!this.members.has(one.position)) return;
      const recent = this.#prompts.slice(-256);
      const mean = recent.length === 0 ? 0 : recent.reduce((sum, tokens) => sum + tokens, 0) / recent.length;
      this.#foreign.set(one.position, {
        requests: one.running + one.waiting,
        waiting: one.waiting,
        pending: Math.round(one.waiting * mean),
      });
    } else if (one.kind === "leave") {
      this.members.delete(one.position);
      this.#foreign.delete(one.position);
      for (const [id, { position: at }] of this.#requests) if (at === one.position) this.#requests.delete(id);
    } else this.#change(one);
  }

  #change(one: Extract<Step, { kind: "firstToken" | "end" | "move" }>): void {
    const known = this.#requests.get(one.request);
    if (known === undefined) return;
    const isHomeless = "position" in one && !this.members.has(one.position);
    if (one.kind === "end" || (isHomeless && one.position !== known.position))
      this.#requests.delete(one.request);
    else if (one.kind === "firstToken") this.#requests.set(one.request, { ...known, isWaiting: false });
    else if ("position" in one && one.position !== known.position)
      this.#requests.set(one.request, {
        ...known,
        position: one.position,
        pendingTokens: known.promptTokens,
      });
  }

  loads(at: number): Readonly<Record<string, number>> {
    const here = [...this.#requests.values()].filter((known) => known.position === at);
    const waiting = here.filter(({ isWaiting }) => isWaiting);
    const foreign = this.#foreign.get(at) ?? { requests: 0, waiting: 0, pending: 0 };
    return {
      runningRequests: here.length + foreign.requests,
      waitingRequests: waiting.length + foreign.waiting,
      pendingPrefillTokens: waiting.reduce((sum, known) => sum + known.pendingTokens, foreign.pending),
      contextTokens: here.reduce((sum, known) => sum + known.promptTokens, 0),
    };
  }

  foreign(at: number): Readonly<Record<string, number>> {
    const { requests, waiting, pending } = this.#foreign.get(at) ?? { requests: 0, waiting: 0, pending: 0 };
    return { requests, waiting, pendingTokens: pending };
  }
}

function fixedBook(): LoadBook {
  return new LoadBook(
    Array.from({ length: POSITIONS }, (_, at) => ({ worker: `w${at}`, capacityTokens: CAPACITY_TOKENS })),
  );
}

describe("the books", () => {
  it("B1: say at every step what a book says that adds everything up", () => {
    fc.assert(
      fc.property(fc.array(step, { maxLength: 60 }), (steps) => {
        const book = fixedBook();
        const naive = new NaiveBook();
        for (const one of steps) {
          const isRefused =
            (one.kind === "send" && (naive.isUnderWay(one.request) || !naive.members.has(one.position))) ||
            (one.kind === "join" && naive.members.has(one.position));
          if (isRefused) {
            expect(() => {
              apply(book, one);
            }).toThrow(RangeError);
            continue;
          }
          naive.apply(one);
          apply(book, one);
          for (const [at, view] of book.views.entries()) {
            expect(view, `position ${at}`).toMatchObject(naive.loads(at));
            expect(book.foreignOf(at), `position ${at}`).toEqual(naive.foreign(at));
          }
        }
      }),
      { numRuns: 300 },
    );
  });

  it("B2: take back exactly what they booked, in whatever order the news come", () => {
    const book = fixedBook();
    const [view] = book.views;
    view!.matchedTokens = 300;
    book.send(1, 0, 1_000);
    book.clearMatches();
    book.send(2, 0, 50);
    expect(view).toMatchObject({
      runningRequests: 2,
      waitingRequests: 2,
      pendingPrefillTokens: 750,
      contextTokens: 1_050,
    });
    book.firstToken(1);
    book.firstToken(1);
    expect(view).toMatchObject({ runningRequests: 2, waitingRequests: 1, pendingPrefillTokens: 50 });
    book.move(2, 1);
    book.end(2);
    book.end(1);
    book.end(1);
    book.firstToken(2);
    for (const one of book.views)
      expect(one).toMatchObject({
        runningRequests: 0,
        waitingRequests: 0,
        pendingPrefillTokens: 0,
        contextTokens: 0,
      });
    expect(book.requestCount).toBe(0);
  });

  it("B3: start at zero for the next worker at a position, whatever late news come for the last one", () => {
    const book = fixedBook();
    book.send(1, 0, 1_000);
    book.foreign(0, 3, 2);
    book.leave(0);
    expect(book.views[0]).toMatchObject({ worker: "", isEligible: false });
    // A scrape that was on its way, and an answer from the worker that left.
    book.foreign(0, 3, 2);
    book.send(2, 1, 100);
    book.move(2, 0);
    expect(book.requestCount).toBe(0);
    book.join(0, "next", 1_000);
    book.firstToken(1);
    book.end(1);
    expect(book.views[0]).toMatchObject({
      worker: "next",
      isEligible: true,
      capacityTokens: 1_000,
      runningRequests: 0,
      pendingPrefillTokens: 0,
      contextTokens: 0,
    });
  });

  it("B4: count as foreign what an engine had beyond our own requests in both of two looks", () => {
    const book = fixedBook();
    book.send(1, 0, 300, 100);
    book.seen(0, 21, 9);
    expect(book.foreignOf(0)).toMatchObject({ requests: 0 });
    book.seen(0, 20, 10);
    expect(book.foreignOf(0)).toEqual({ requests: 29, waiting: 9, pendingTokens: 9 * 300 });
    book.seen(0, 7, 0);
    expect(book.foreignOf(0)).toEqual({ requests: 6, waiting: 0, pendingTokens: 0 });
    expect(book.views[0]).toMatchObject({
      runningRequests: 7,
      waitingRequests: 1,
      pendingPrefillTokens: 100,
    });
    // Alone: whether ours runs or waits there, it is ours.
    fc.assert(
      fc.property(fc.boolean(), fc.nat(5), (runs, others) => {
        book.seen(0, runs ? 1 : 0, runs ? 0 : 1);
        book.seen(0, others + 1, 0);
        expect(book.foreignOf(0).requests).toBe(0);
      }),
    );
    book.seen(0, 9, 0);
    book.unseen(0);
    expect(book.foreignOf(0).requests).toBe(0);
    book.seen(0, 9, 0);
    book.leave(0);
    book.seen(0, 9, 0);
    book.join(0, "next", 1_000);
    book.seen(0, 9, 0);
    expect(book.views[0]).toMatchObject({ worker: "next", runningRequests: 0 });
  });

  it("take a worker's room when it becomes known, and keep its load", () => {
    const book = fixedBook();
    book.send(1, 0, 1_000);
    book.resize(0, 64_000);
    expect(book.views[0]).toMatchObject({ capacityTokens: 64_000, runningRequests: 1, contextTokens: 1_000 });
  });

  it("refuse a position that is taken or out of range", () => {
    const book = fixedBook();
    expect(() => {
      book.join(0, "other", 1);
    }).toThrow("position 0 is taken");
    expect(() => {
      book.join(16_384, "other", 1);
    }).toThrow("not in 0 … 16383");
    expect(() => {
      book.send(1, 7, 1);
    }).toThrow("no worker is at position 7");
    book.leave(2);
    expect(() => {
      book.send(1, 2, 1);
    }).toThrow("no worker is at position 2");
    expect(() => {
      book.resize(2, 1);
    }).toThrow("no worker is at position 2");
    book.send(1, 0, 1);
    expect(() => {
      book.send(1, 1, 1);
    }).toThrow("request 1 was sent already");
  });
});

function apply(book: LoadBook, one: Step): void {
  switch (one.kind) {
    case "send":
      book.clearMatches();
      book.views[one.position]!.matchedTokens = one.matched;
      book.send(one.request, one.position, one.tokens);
      break;
    case "firstToken":
      book.firstToken(one.request);
      break;
    case "end":
      book.end(one.request);
      break;
    case "move":
      book.move(one.request, one.position);
      break;
    case "foreign":
      book.foreign(one.position, one.running, one.waiting);
      break;
    case "leave":
      book.leave(one.position);
      break;
    case "join":
      book.join(one.position, "next", CAPACITY_TOKENS);
      break;
  }
}
