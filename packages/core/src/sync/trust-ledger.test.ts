/** Which reason speaks for a rank, against a list that is searched each time (L1 to L3 of trust-ledger.ts). */
import { describe, expect, test } from "vitest";
import { Prng } from "../prng.ts";
import { TrustLedger } from "./trust-ledger.ts";
import { TRUST_LEVELS, TRUST_REASON_NAMES, TRUST_REASONS, type TrustReason } from "./trust-rule.ts";

describe("the reason that speaks", () => {
  test("is null exactly when nothing holds (L1)", () => {
    const ledger = new TrustLedger();
    expect([ledger.trust, ledger.reason]).toEqual(["exact", null]);
    ledger.note("gap");
    expect([ledger.trust, ledger.reason]).toEqual(["stale", "gap"]);
    ledger.end("gap");
    expect([ledger.trust, ledger.reason]).toEqual(["exact", null]);
  });

  test("is of the worst trust, and the oldest of it (L2)", () => {
    const ledger = new TrustLedger();
    ledger.note("unknown_medium");
    ledger.note("park_full");
    expect(ledger.reason).toBe("unknown_medium");
    ledger.note("disconnected");
    ledger.note("loss_suspected");
    expect([ledger.trust, ledger.reason]).toEqual(["stale", "disconnected"]);
    ledger.end("disconnected");
    expect(ledger.reason).toBe("loss_suspected");
    ledger.end("loss_suspected");
    expect([ledger.trust, ledger.reason]).toEqual(["partial", "unknown_medium"]);
  });

  test("keeps its age when it is noted again (L3)", () => {
    const ledger = new TrustLedger();
    for (const reason of ["park_full", "unknown_medium", "park_full"] as const) ledger.note(reason);
    expect(ledger.losses()).toEqual(["park_full", "unknown_medium"]);
    expect(ledger.reason).toBe("park_full");
  });

  test("a rank that begins again keeps its conditions, loses its losses, and keeps traits of the same engine", () => {
    const ledger = new TrustLedger();
    for (const reason of ["unreadable_removal", "unknown_kind", "disconnected", "park_full"] as const)
      ledger.note(reason);
    expect([ledger.hasLoss, ledger.reason]).toEqual([true, "unreadable_removal"]);
    ledger.endLosses(true);
    expect([ledger.losses(), ledger.lossCount, ledger.reason]).toEqual([["unknown_kind"], 1, "disconnected"]);
    ledger.endLosses(false);
    expect([ledger.hasLoss, ledger.trust, ledger.reason]).toEqual([false, "stale", "disconnected"]);
  });

  test("agrees with a list that is searched each time, for any order of beginnings and ends", () => {
    const prng = new Prng(7);
    const ledger = new TrustLedger();
    let oldestFirst: TrustReason[] = [];
    for (let step = 0; step < 20_000; step += 1) {
      const reason = TRUST_REASON_NAMES[prng.below(TRUST_REASON_NAMES.length)];
      if (prng.below(40) === 0) {
        const isSameEngine = prng.chance(0.5);
        const stays = isSameEngine ? ["condition", "trait"] : ["condition"];
        ledger.endLosses(isSameEngine);
        oldestFirst = oldestFirst.filter((held) => stays.includes(TRUST_REASONS[held].kind));
      } else if (prng.below(2) === 0) {
        ledger.note(reason);
        if (!oldestFirst.includes(reason)) oldestFirst.push(reason);
      } else {
        ledger.end(reason);
        oldestFirst = oldestFirst.filter((held) => held !== reason);
      }
      const worst = Math.max(
        0,
        ...oldestFirst.map((held) => TRUST_LEVELS.indexOf(TRUST_REASONS[held].trust)),
      );
      const speaks = oldestFirst.find((held) => TRUST_LEVELS.indexOf(TRUST_REASONS[held].trust) === worst);
      expect([ledger.trust, ledger.reason]).toEqual([TRUST_LEVELS[worst], speaks ?? null]);
      expect(ledger.hasLoss).toBe(oldestFirst.some((held) => TRUST_REASONS[held].kind !== "condition"));
    }
  });
});
