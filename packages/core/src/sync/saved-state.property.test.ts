/**
 * A rank that continues from its saved state reports the same trust and reason as before. From then on it reports the same as
 * one that was never saved. Events are random, of every kind that lowers trust, and so are the moments.
 */
import { describe, expect, test } from "vitest";
import { Prng } from "../prng.ts";
import { NaivePrefixIndex } from "../prefix-index/testing/naive-prefix-index.ts";
import type { BlockStored, KvEvent } from "../wire/events.ts";
import { behind, removed, stored, ToldEngine } from "./testing/told-engine.ts";
import { TRUST_LEVELS, type Trust, type TrustReason } from "./trust-rule.ts";

const RUNS = 200;
/** Shapes of stores in one run: with all of them, each rank would be stale at once. */
const SHAPES = 4;
const MESSAGES = 25;
const NAMES = 8;

const FIELDS: readonly Partial<BlockStored>[] = [
  {},
  {},
  { loraName: "x" },
  { groupIdx: 0, kvCacheSpecKind: "full_attention" },
  { groupIdx: 0, kvCacheSpecKind: "full_attention" },
  { groupIdx: 1, kvCacheSpecKind: "sliding_window", kvCacheSpecSlidingWindow: 4 },
  { groupIdx: 2, kvCacheSpecKind: "something_new" },
  { groupIdx: 2, kvCacheSpecKind: "another_kind" },
  { medium: "CPU" },
  { medium: "TAPE" },
  { locality: "REMOTE" },
  { tokenIds: [], blockSize: 0, medium: "CPU" },
  { blockSize: 1, tokenIds: [5] },
  { cacheSalt: "tenant" },
];

function randomEvent(random: Prng, shapes: readonly Partial<BlockStored>[], parents: number): KvEvent {
  const name = 1 + random.below(NAMES);
  if (random.chance(0.03)) return { type: "AllBlocksCleared" };
  if (random.chance(0.3))
    return removed(name, { groupIdx: random.pick([null, 0, 0, 1, 2, random.chance(0.1) ? 9 : 0]) });
  const parent = random.chance(parents) ? behind(1 + random.below(NAMES)) : {};
  const fields = random.pick(shapes);
  if (fields.tokenIds === undefined && random.chance(0.3))
    return stored([name, 9, 10], { ...fields, ...parent });
  return stored(name, { ...fields, ...parent });
}

/** How low a trust as `ToldEngine` gives it is. */
function levelOf(trust: string): number {
  return TRUST_LEVELS.indexOf(trust.split(":")[0] as Trust);
}

const seen = new Set<TrustReason>();

async function compare(seed: number, dropsLastBlock: boolean | undefined): Promise<void> {
  const random = new Prng(seed);
  const shapes = Array.from({ length: SHAPES }, () => random.pick(FIELDS));
  // Where nothing else is wrong: copies that may be reports.
  if (random.chance(0.2)) shapes.fill({ groupIdx: 0, kvCacheSpecKind: "full_attention" });
  const parents = random.pick([0, 0.5]);
  const settings = { dropsLastBlock, reportMode: random.pick(["auto", "delta"] as const) };
  const dialect = random.pick(["vllm-0.33", "vllm-0.29"] as const);
  const indexes = [await NaivePrefixIndex.create(), await NaivePrefixIndex.create()] as const;
  const kept = new ToldEngine(indexes[0], settings, dialect);
  const moved = new ToldEngine(indexes[1], settings, dialect);
  for (let message = 0; message < MESSAGES; message += 1) {
    const events = Array.from({ length: 1 + random.below(3) }, () => randomEvent(random, shapes, parents));
    for (const engine of [kept, moved]) engine.says(...events);
    const before = moved.trust;
    if (random.chance(0.3)) {
      const { state } = moved;
      for (const reason of state.losses) seen.add(reason);
      for (const [reason] of state.conditions ?? []) seen.add(reason);
      expect(moved.isRestored().trust).toBe(before);
      expect(moved.state).toEqual(state);
      expect(moved.kinds).toEqual(kept.kinds);
    }
    // The names that a proof waits for do not go along, so that it may come later.
    if (dropsLastBlock === undefined)
      expect(levelOf(moved.trust)).toBeGreaterThanOrEqual(levelOf(kept.trust));
    else expect(moved.trust).toBe(kept.trust);
    const key = { model: "m", loraName: null, blockSize: 2, lookahead: 0 };
    const [one, other] = indexes.map((index) => index.dump(index.openContext(key)));
    expect(other).toEqual(one);
  }
}

describe("a rank that goes on from its saved state", () => {
  test("says what it said, and what one says that was never saved", async () => {
    for (let seed = 0; seed < RUNS; seed += 1) await compare(seed, seed % 2 === 0);
    // Otherwise the claim above would be about few of the reasons.
    expect([...seen].sort()).toEqual(
      expect.arrayContaining(["ambiguous_name", "copies_uncertain", "unknown_kind"]),
    );
    expect(seen.size).toBeGreaterThanOrEqual(12);
  });

  test("says what it said where nobody told it of drafters", async () => {
    for (let seed = 0; seed < RUNS; seed += 1) await compare(seed, undefined);
    expect(seen.has("drafter_unknown")).toBe(true);
    expect(seen.has("groups_unseen")).toBe(true);
  });
});
