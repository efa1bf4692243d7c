import fc from "fast-check";
import { expect, test } from "vitest";

import { type FixedWorker, KvsyncPolicy, LoadBook, type RoutingRequest } from "../src/index.ts";

const WORKERS = 5;
const MEMBERS: readonly FixedWorker[] = Array.from({ length: WORKERS }, (_, i) => ({
  worker: `w${i}`,
  capacityTokens: 10_000,
}));

function request(first: number, blocks: number): RoutingRequest {
  const keys = Uint32Array.from({ length: 16 * blocks }, (_, i) => first + (i >> 8));
  return {
    promptTokens: 16 * blocks,
    sessionId: null,
    keys,
    keyWords: 16,
    keyTokens: 16,
    sharedLaterTokens: 0,
  };
}

test("the cost of a ranking is bit for bit the sum of its terms, as an explanation gives them", () => {
  const step = fc.record({
    first: fc.integer({ min: 0, max: 3 }),
    blocks: fc.integer({ min: 0, max: 60 }),
    matched: fc.array(fc.integer({ min: 0, max: 900 }), { minLength: WORKERS, maxLength: WORKERS }),
  });
  fc.assert(
    fc.property(fc.array(step, { maxLength: 40 }), (steps) => {
      const policy = new KvsyncPolicy(WORKERS);
      const book = new LoadBook(MEMBERS);
      for (const [position, { capacityTokens }] of MEMBERS.entries()) policy.join(position, capacityTokens);
      for (const [id, { first, blocks, matched }] of steps.entries()) {
        const ask = request(first, blocks);
        const write = (): void => {
          book.clearMatches();
          for (const [position, view] of book.views.entries()) {
            view.matchedTokens = Math.min(ask.promptTokens, matched[position] ?? 0);
            view.trust = "exact";
            view.surchargeTokens = position / 3;
          }
        };
        write();
        const terms = policy.explain(ask, book.views, id);
        write();
        const into = new Uint32Array(WORKERS);
        policy.rank(ask, book.views, id, into);
        const costs = terms.map(
          ({ pending, prefill, context, running, surcharge }) =>
            pending + prefill + context + running + surcharge,
        );
        expect(MEMBERS.map((_, position) => policy.costAt(position))).toEqual(costs);
        expect([...into].map((position) => costs[position])).toEqual(costs.toSorted((a, b) => a - b));
        const [best = 0] = into;
        policy.book(best, id);
        book.send(id, best, ask.promptTokens);
      }
    }),
  );
});
