/**
 * The effect of hours of work on the index. Memory must not creep, limits must be kept and
 * reported, and the cost of forgetting a rank must not grow with its blocks. Contents never repeat
 * here (each block's tokens are a serial number), which is the worst case for reuse. Pools stay at
 * one size, so that memory should too.
 */
import { describe, expect, test } from "vitest";
import { Prng } from "../prng.ts";
import type { ContextKey } from "./contract.ts";
import { nameHigh, nameLow } from "./testing/fleet-world.ts";
import { PrefixIndex } from "./prefix-index.ts";

/** One sequence by default: how full tables are at a moment is a matter of luck, which should not change from run to run. */
const SEED = Number(process.env["KVSYNC_MODEL_SEED"] ?? 20_250_914);
const IS_LONG = process.env["KVSYNC_MODEL_LONG"] === "1";
const TURNOVERS = IS_LONG ? 1_000 : 40;
const RANKS = 16;
const POOL_BLOCKS = 4_096;
const BLOCK_SIZE = 4;
const CONTEXT: ContextKey = { model: "m", loraName: null, blockSize: BLOCK_SIZE, lookahead: 0 };

interface Churn {
  readonly claim: string;
  /** Ranks that store each run: 1 unshared. */
  readonly sharing: number;
  /** Whether ranks name blocks differently. */
  readonly aliases: boolean;
  /** Turnovers between two clears of a rank; 0 for none. */
  readonly clearEvery: number;
  /** Adapters that are used one after the other, a new one each turnover. */
  readonly changesContext: boolean;
  /** How often each run is stored. */
  readonly copies: number;
}

const PLAIN: Omit<Churn, "claim"> = {
  sharing: 1,
  aliases: false,
  clearEvery: 0,
  changesContext: false,
  copies: 1,
};

const CHURNS: readonly Churn[] = [
  { claim: "unshared blocks come and go", ...PLAIN },
  { claim: "shared blocks come and go", ...PLAIN, sharing: 3 },
  { claim: "shared blocks with a name per rank come and go", ...PLAIN, sharing: 3, aliases: true },
  { claim: "ranks are cleared in turn", ...PLAIN, sharing: 2, clearEvery: 1 },
  { claim: "adapters come and go", ...PLAIN, sharing: 2, changesContext: true },
  { claim: "blocks have several copies", ...PLAIN, sharing: 2, copies: 3 },
];

/** Rows of blocks that a rank holds, oldest first. */
interface Run {
  readonly first: number;
  count: number;
}

class ChurningFleet {
  readonly index: PrefixIndex;
  readonly #churn: Churn;
  readonly #random = new Prng(SEED);
  readonly #runs: Run[][] = Array.from({ length: RANKS }, () => []);
  readonly #held = new Uint32Array(RANKS);
  #serial = 0;
  #turnover = 0;

  constructor(index: PrefixIndex, churn: Churn) {
    this.index = index;
    this.#churn = churn;
  }

  /** Replaces about all that all ranks hold. */
  turnOver(): void {
    const { sharing, changesContext, clearEvery } = this.#churn;
    const loraName = changesContext ? `adapter-${String(this.#turnover)}` : null;
    const contextId = this.index.openContext({ ...CONTEXT, loraName });
    for (let stored = 0; stored < RANKS * POOL_BLOCKS; ) {
      const run = { first: this.#serial, count: 1 + this.#random.below(64) };
      this.#serial += run.count;
      const leader = this.#random.below(RANKS);
      for (let i = 0; i < sharing; i++) this.#store(contextId, (leader + i) % RANKS, run);
      stored += sharing * run.count;
    }
    if (clearEvery > 0 && this.#turnover % clearEvery === 0) this.#clear(this.#turnover % RANKS);
    this.#turnover++;
  }

  #seedOf(rank: number): number {
    return this.#churn.aliases ? rank : 0;
  }

  #store(contextId: number, rank: number, { first, count }: Run): void {
    const { tokens } = this.index.scratch;
    while (this.#held[rank] + count > POOL_BLOCKS) this.#evict(rank);
    for (let i = 0; i < count * BLOCK_SIZE; i++) tokens[i] = first * BLOCK_SIZE + i;
    for (let copy = 0; copy < this.#churn.copies; copy++) {
      this.#writeNames(rank, first, count);
      for (let i = 0; i < count * BLOCK_SIZE; i++) tokens[i] = first * BLOCK_SIZE + i;
      this.index.storeBlocks(contextId, rank, 0, count, false, 0, 0, false);
    }
    this.#runs[rank].push({ first, count });
    this.#held[rank] += count;
  }

  /** Evicts from the end of one of the oldest runs, a part of it or all. */
  #evict(rank: number): void {
    const runs = this.#runs[rank];
    const at = this.#random.below(Math.min(4, runs.length));
    const run = runs[at];
    const count = this.#random.chance(0.5) ? run.count : 1 + this.#random.below(run.count);
    run.count -= count;
    for (let copy = 0; copy < this.#churn.copies; copy++) {
      this.#writeNames(rank, run.first + run.count, count);
      this.index.removeBlocks(rank, 0, count);
    }
    this.#held[rank] -= count;
    if (run.count === 0) runs.splice(at, 1);
  }

  #clear(rank: number): void {
    this.index.clearRank(rank);
    this.#runs[rank] = [];
    this.#held[rank] = 0;
  }

  #writeNames(rank: number, first: number, count: number): void {
    const { hashes } = this.index.scratch;
    const seed = this.#seedOf(rank);
    for (let i = 0; i < count; i++) {
      hashes[2 * i] = nameLow(first + i, seed);
      hashes[2 * i + 1] = nameHigh(first + i, seed);
    }
  }
}

describe(`memory after ${TURNOVERS} turnovers (KVSYNC_MODEL_SEED=${SEED})`, { timeout: 3_600_000 }, () => {
  test.each(CHURNS)("is within 5 % of its early level when $claim", (churn) => {
    const fleet = new ChurningFleet(PrefixIndex.create({ contextCountMax: 4 }), churn);
    const allocated: number[] = [];
    for (let i = 0; i < TURNOVERS; i++) {
      fleet.turnOver();
      allocated.push(fleet.index.stats().allocatedBytes);
    }
    expect(fleet.index.check()).toEqual([]);
    const early = Math.max(...allocated.slice(5, 15));
    const late = Math.max(...allocated.slice(-10));
    console.log(`${churn.claim}: ${early} bytes early, ${late} late, ${(late / early).toFixed(3)}`);
    expect(late / early).toBeLessThan(1.05);
  });
});

describe("clearRank", () => {
  test("takes a time that does not grow with the rank's blocks", () => {
    const index = PrefixIndex.create();
    const contextId = index.openContext(CONTEXT);
    let serial = 0;
    const fill = (rank: number, blockCount: number): void => {
      for (let done = 0; done < blockCount; done += 100) {
        const { tokens, hashes } = index.scratch;
        for (let i = 0; i < 400; i++) tokens[i] = serial * BLOCK_SIZE + i;
        for (let i = 0; i < 100; i++) hashes.set([nameLow(serial + i, 0), nameHigh(serial + i, 0)], 2 * i);
        serial += 100;
        index.storeBlocks(contextId, rank, 0, 100, false, 0, 0, false);
      }
    };
    const medianClearMs = (blockCount: number, firstRank: number): number => {
      const times: number[] = [];
      for (let rank = firstRank; rank < firstRank + 9; rank++) {
        fill(rank, blockCount);
        const start = performance.now();
        index.clearRank(rank);
        times.push(performance.now() - start);
      }
      return times.sort((a, b) => a - b)[4];
    };
    medianClearMs(100, 0);
    const small = medianClearMs(100, 10);
    const large = medianClearMs(50_000, 20);
    console.log(
      `clearRank: ${(small * 1e3).toFixed(1)} µs with 100 blocks, ${(large * 1e3).toFixed(1)} µs with 50,000`,
    );
    // Five hundred times the blocks; a clear that visits blocks would take about that much longer.
    expect(large / small).toBeLessThan(20);
    expect(index.check()).toEqual([]);
  });
});
