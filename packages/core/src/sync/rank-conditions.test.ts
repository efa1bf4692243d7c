/** The conditions of one rank, and the order of their age (K1 to K3 of rank-conditions.ts). */
import { describe, expect, test } from "vitest";
import { RankConditions } from "./rank-conditions.ts";
import { TrustLedger } from "./trust-ledger.ts";

describe("conditions of a rank", () => {
  test("are in the ledger exactly while they hold (K1)", () => {
    const doubts = new TrustLedger();
    const conditions = new RankConditions(doubts);
    const names = ["waiting_for_parent", "copies_uncertain", "drafter_unknown", "groups_unseen"];
    for (let bits = 0; bits < 16; bits += 1) {
      const [waiting, copies, drafter, groups] = [1, 2, 4, 8].map((bit) => (bits & bit) !== 0);
      conditions.settle(waiting, copies, drafter, groups);
      expect(doubts.reasons().sort()).toEqual(names.filter((_, bit) => (bits & (1 << bit)) !== 0).sort());
    }
    doubts.end("groups_unseen");
    conditions.settle(true, true, true, true);
    expect(doubts.has("groups_unseen")).toBe(false);
  });

  test("keep their age among losses and among each other in a ledger that is restored (K2)", () => {
    const doubts = new TrustLedger();
    const conditions = new RankConditions(doubts);
    conditions.settle(false, false, false, true);
    doubts.note("park_full");
    conditions.settle(false, false, true, true);
    conditions.settle(true, false, true, true);
    doubts.note("unknown_medium");
    const losses = doubts.losses();
    const restored = new TrustLedger();
    new RankConditions(restored).restore(losses, conditions.state(losses));
    expect(restored.reasons()).toEqual([
      "groups_unseen",
      "park_full",
      "drafter_unknown",
      "waiting_for_parent",
      "unknown_medium",
    ]);
    expect([restored.trust, restored.reason]).toEqual([doubts.trust, doubts.reason]);
  });

  test("end with the next look where they do not hold after a restore (K3)", () => {
    const doubts = new TrustLedger();
    const conditions = new RankConditions(doubts);
    conditions.restore(["park_full"], [["copies_uncertain", 1]]);
    expect(doubts.has("copies_uncertain")).toBe(true);
    conditions.settle(false, false, false, false);
    expect(doubts.reasons()).toEqual(["park_full"]);
  });
});
