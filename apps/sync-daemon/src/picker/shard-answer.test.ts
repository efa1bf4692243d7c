import fc from "fast-check";
import { expect, test } from "vitest";

import { readShardAnswer } from "./shard-answer.ts";

const OWN = 1;
/** Workers by the shard in their name; others have no endpoint. */
const shardOf = (worker: string): number | null => {
  const shard = /^of-(\d)$/.exec(worker)?.[1];
  return shard === undefined ? null : Number(shard);
};

const ROW = {
  worker: "of-1",
  dp_rank: 0,
  block_size: 16,
  matched_blocks: 3,
  matched_tokens: 48,
  held_tokens: 64,
  tiers: { device: 1, host: 1, disk: 0, remote: 1 },
  trust: "exact",
};
const NO_RANKS = { exact: 0, partial: 0, stale: 0, unknown: 0 };
const RANKS = { exact: 2, partial: 0, stale: 0, unknown: 0 };

const read = (answer: unknown, status = 200) => readShardAnswer(status, JSON.stringify(answer), OWN, shardOf);

test("an answer's rows come as the picker has its own", () => {
  expect(read({ matches: [ROW], ranks: RANKS })).toEqual({
    rows: [
      {
        worker: "of-1",
        dpRank: 0,
        matchedTokens: 48,
        slowTokens: 32,
        heldTokens: 64,
        blockSize: 16,
        trust: "exact",
      },
    ],
    restTrust: "exact",
  });
});

test("A1: of foreign bytes come rows or a fault, whatever they are", () => {
  fc.assert(
    fc.property(fc.integer({ min: 100, max: 599 }), fc.oneof(fc.string(), fc.json()), (status, text) => {
      const answer = readShardAnswer(status, text, OWN, shardOf);
      if (status === 200 && typeof answer === "string") expect(answer).toBe("malformed");
    }),
  );
  for (const field of Object.keys(ROW).filter((name) => name !== "matched_blocks"))
    for (const value of [null, -1, 0.5, "x", [], {}])
      expect(
        read({ matches: [{ ...ROW, [field]: value }], ranks: RANKS }),
        `${field} ${JSON.stringify(value)}`,
      ).toSatisfy((answer: unknown) => answer === "malformed" || (field === "worker" && value === "x"));
  expect(read({ matches: [], ranks: null })).toBe("malformed");
  expect(read({ code: "insufficient_scope" }, 403)).toBe("status");
});

test("A1: a shard that knows no engine of the model holds nothing of it", () => {
  expect(read({ code: "unknown_model" }, 404)).toEqual({ rows: [], restTrust: "unknown" });
  expect(read({ code: "not_found" }, 404)).toBe("status");
});

test("A2: an answer with another shard's worker is none, and a worker without an endpoint has no row", () => {
  expect(read({ matches: [ROW, { ...ROW, worker: "of-2" }], ranks: RANKS })).toBe("wrong_shard");
  expect(read({ matches: [{ ...ROW, worker: "gone" }], ranks: RANKS })).toEqual({
    rows: [],
    restTrust: "exact",
  });
});

test.each([
  [{ exact: 1 }, "unknown"],
  [{ exact: 3 }, "exact"],
  [{ exact: 3, partial: 1 }, "partial"],
  [{ exact: 1, stale: 2 }, "stale"],
  [{ exact: 1, partial: 1, stale: 1, unknown: 1 }, "unknown"],
])("A3: of the ranks %j, with one exact row, those without a row are %s", (ranks, restTrust) => {
  expect(read({ matches: [ROW], ranks: { ...NO_RANKS, ...ranks } })).toMatchObject({ restTrust });
});
