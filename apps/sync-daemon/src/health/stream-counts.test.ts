/** Counts of streams. */
import { TRUST_REASON_NAMES, TRUST_REASONS } from "@kvsync/core";
import fc from "fast-check";
import { expect, test } from "vitest";

import { countsText, StreamCounter } from "./stream-counts.ts";

const status = fc.oneof(
  fc.record({
    connected: fc.boolean(),
    trust: fc.constant("exact" as const),
    trustReason: fc.constant(null),
  }),
  fc.record({ connected: fc.boolean(), trustReason: fc.constantFrom(...TRUST_REASON_NAMES) }).map((one) => ({
    ...one,
    trust: TRUST_REASONS[one.trustReason].trust,
  })),
);

test("S1, S2: every stream is exact or under one reason, each reason is listed once, the most frequent first", () => {
  fc.assert(
    fc.property(fc.array(status, { maxLength: 200 }), (streams) => {
      const counter = new StreamCounter();
      for (const one of streams) counter.add(one);
      const { expected, connected, exact, not_exact } = counter.counts;
      expect(expected).toBe(streams.length);
      expect(connected).toBe(streams.filter((one) => one.connected).length);
      expect(exact).toBe(streams.filter(({ trust }) => trust === "exact").length);
      expect(not_exact.reduce((sum, one) => sum + one.streams, exact)).toBe(expected);
      expect(new Set(not_exact.map(({ reason }) => reason)).size).toBe(not_exact.length);
      const numbers = not_exact.map((one) => one.streams);
      expect(numbers).toEqual([...numbers].sort((a, b) => b - a));
    }),
  );
});

test("the text says how many, and why the others are not exact", () => {
  const counter = new StreamCounter();
  expect(countsText(counter.counts)).toBe("no engine is registered, so that there is no stream");
  counter.add({ connected: true, trust: "exact", trustReason: null });
  expect(countsText(counter.counts)).toBe("1 of 1 streams are exact and 1 are connected");
  counter.add({ connected: false, trust: "stale", trustReason: "disconnected" });
  counter.add({ connected: true, trust: "stale", trustReason: "gap" });
  counter.add({ connected: false, trust: "stale", trustReason: "disconnected" });
  expect(countsText(counter.counts)).toBe(
    "1 of 4 streams are exact and 2 are connected; not exact: disconnected 2, gap 1",
  );
});
