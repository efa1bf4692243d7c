import fc from "fast-check";
import { expect, test } from "vitest";

import { TokenBucket } from "./token-bucket.ts";

const uses = fc.array(fc.integer({ min: 0, max: 400 }), { minLength: 1, maxLength: 200 });

test("T1: no window has more than the burst and what fills in it", () => {
  fc.assert(
    fc.property(
      fc.integer({ min: 1, max: 50 }),
      fc.integer({ min: 1, max: 20 }),
      uses,
      (rate, burst, pauses) => {
        const bucket = new TokenBucket(rate, burst, 0);
        const takenAtMs: number[] = [];
        let nowMs = 0;
        for (const pauseMs of pauses) {
          nowMs += pauseMs;
          if (bucket.take(nowMs)) takenAtMs.push(nowMs);
        }
        takenAtMs.forEach((fromMs, i) => {
          takenAtMs.slice(i).forEach((toMs, j) => {
            // Sums of fractions: a millionth of a token is rounding.
            expect(j + 1).toBeLessThanOrEqual(burst + (rate * (toMs - fromMs)) / 1000 + 1e-6);
          });
        });
      },
    ),
  );
});

test("T2: a token is there after the stated wait, however often one asked in between", () => {
  fc.assert(
    fc.property(
      fc.integer({ min: 1, max: 50 }),
      fc.integer({ min: 1, max: 20 }),
      uses,
      (rate, burst, pauses) => {
        const bucket = new TokenBucket(rate, burst, 0);
        for (let i = 0; i < burst; i++) expect(bucket.take(0)).toBe(true);
        expect(bucket.take(0)).toBe(false);
        const dueMs = bucket.waitMs;
        const early = pauses.filter((atMs) => atMs < dueMs - 1e-6).toSorted((a, b) => a - b);
        for (const atMs of early) expect(bucket.take(atMs)).toBe(false);
        expect(bucket.take(dueMs + 1e-6)).toBe(true);
      },
    ),
  );
});

test("a bucket that was left alone holds its burst, no more", () => {
  const bucket = new TokenBucket(5, 3, 0);
  const taken = Array.from({ length: 10 }, () => bucket.take(60_000));
  expect(taken.filter(Boolean)).toHaveLength(3);
});
