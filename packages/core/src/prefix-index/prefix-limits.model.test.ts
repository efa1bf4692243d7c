/**
 * The effect of limits (contract.ts S7): the index forgets, or refuses, and reports it. Under
 * honest engines forgetting has one direction. The index then holds a subset of what its
 * specification, which has no limits, holds: fewer copies, never one that is not there. And every
 * rank that it now under-reports was named to the listener, or had a store refused.
 */
import fc from "fast-check";
import { beforeEach, describe, expect, test } from "vitest";
import { assert } from "../assert.ts";
import { ReferenceHash } from "../block-hash/testing/reference-hash.ts";
import { commandsOf, TWO_LETTERS, type Situation } from "./testing/command-arbitrary.ts";
import { DEFAULT_HASH_SEED, MATCH_ROW_WORDS, type ContextKey, type MatchResult } from "./contract.ts";
import { dumpLines } from "./testing/index-pair.ts";
import { NaivePrefixIndex } from "./testing/naive-prefix-index.ts";
import type { PrefixIndexOptions } from "./index-options.ts";
import { PrefixIndex } from "./prefix-index.ts";
import { PrefixReader } from "./prefix-reader.ts";
import { PrefixWorld, type IndexCommand, type NamesCommand } from "./testing/prefix-world.ts";

const SEED = Number(process.env["KVSYNC_MODEL_SEED"] ?? Math.floor(Math.random() * 2 ** 31));
const RUNS = process.env["KVSYNC_MODEL_LONG"] === "1" ? 1_000 : 40;
const CONTEXTS: readonly ContextKey[] = [0, 1, 2, 3].map((i) => {
  return { model: "m", loraName: i === 0 ? null : `adapter-${i}`, blockSize: 4, lookahead: 0 };
});

interface Limited {
  readonly claim: string;
  readonly options: PrefixIndexOptions;
  /** What must have been heard of at least once; "rejected" is a refused store. */
  readonly heard: string;
}

const LIMITS: readonly Limited[] = [
  { claim: "few prefixes per context", options: { prefixesPerContextMax: 8 }, heard: "prefix_limit" },
  { claim: "few contexts", options: { contextCountMax: 2 }, heard: "context_limit" },
  { claim: "few parked stores", options: { parkedStoresPerRankMax: 2 }, heard: "park" },
  { claim: "little room for parked stores", options: { parkedBytesMax: 600 }, heard: "park" },
];

const HONEST: Situation = {
  contexts: CONTEXTS,
  slots: [0, 1, 2, 70],
  engineSeedCount: 2,
  tierCount: 2,
  liePercent: 0,
  reseedPercent: 0,
  letters: TWO_LETTERS,
  lengthMax: 8,
};

/** An index with limits beside its specification without, and the ranks that are known to under-report. */
class LimitedPair {
  readonly heard = new Set<string>();
  readonly #naive: NaivePrefixIndex;
  readonly #index: PrefixIndex;
  readonly #reader: PrefixReader;
  readonly #world: PrefixWorld;
  readonly #underReporting = new Set<number>();

  constructor(world: PrefixWorld, hash: ReferenceHash, options: PrefixIndexOptions) {
    this.#world = world;
    this.#naive = new NaivePrefixIndex(hash);
    this.#index = PrefixIndex.create({
      ...options,
      onEviction: (reason, blockCount, rankSlots) => {
        assert(blockCount > 0 && rankSlots.length > 0, `an empty eviction for ${reason}`);
        this.heard.add(reason);
        for (const slot of rankSlots) this.#underReporting.add(slot);
      },
    });
    this.#reader = PrefixReader.attach(this.#index.shared, { tokensMax: 4_096 });
  }

  run(asked: IndexCommand): void {
    // What a limit took makes a repeated store a new one, whose copies count here and not there.
    const command = asked.kind === "store" ? { ...asked, repeats: "count" as const } : asked;
    const [world, naive, index, reader] = [this.#world, this.#naive, this.#index, this.#reader];
    if (command.kind === "matchTokens" || command.kind === "matchHashes") {
      const key = world.contexts[command.context];
      const expected = matchedOf(world.match(naive, naive.openContext(key), command));
      const contextId = reader.findContext(key);
      if (contextId < 0) return;
      for (const [slot, matched] of matchedOf(world.match(reader, contextId, command)))
        assert(matched <= (expected.get(slot) ?? 0), `rank ${slot} is over-reported: ${matched} blocks`);
      return;
    }
    const before = command.kind === "remove" ? this.#held() : null;
    const answer = world.write(index, command);
    world.write(naive, command);
    if (before !== null && command.kind === "remove") this.#expectOnlyNamedLost(command, before);
    if (answer.startsWith("rejected")) {
      this.heard.add(answer);
      this.#underReporting.add(command.slot);
    }
    if (command.kind === "clear") this.#underReporting.delete(command.slot);
  }

  /** A removal takes from the blocks that it names, whatever was evicted and stored under their ids since. */
  #expectOnlyNamedLost({ context, path, from, slot, tier }: NamesCommand, before: Map<string, number>): void {
    const named = new Set(this.#world.prefixHashes(context, path).slice(from));
    const after = this.#held();
    for (const [holder, copies] of before) {
      if ((after.get(holder) ?? 0) === copies) continue;
      const [prefix, ofSlot, ofTier] = holder.split(" ");
      const isNamed = named.has(prefix) && Number(ofSlot) === slot && Number(ofTier) === tier;
      assert(isNamed, `${holder} lost copies by a removal of something else`);
    }
  }

  #held(): Map<string, number> {
    return copiesOf(
      this.#world.contexts.flatMap((key) => {
        const contextId = this.#reader.findContext(key);
        return contextId < 0 ? [] : dumpLines(this.#reader, contextId);
      }),
    );
  }

  compareAll(): void {
    const violations = this.#index.check();
    assert(violations.length === 0, () => violations.join("; "));
    for (const key of this.#world.contexts) {
      const contextId = this.#reader.findContext(key);
      const held = copiesOf(contextId < 0 ? [] : dumpLines(this.#reader, contextId));
      const expected = copiesOf(this.#naive.dump(this.#naive.openContext(key)));
      for (const [holder, copies] of held)
        assert(copies <= (expected.get(holder) ?? 0), `${holder} has ${copies} copies, which is too many`);
      for (const [holder, copies] of expected) {
        const slot = Number(holder.split(" ")[1]);
        const isReported = (held.get(holder) ?? 0) === copies || this.#underReporting.has(slot);
        assert(isReported, `${holder} is missing copies, and nobody was told`);
      }
    }
  }
}

function matchedOf({ matchCount, rows }: MatchResult): Map<number, number> {
  const starts = Array.from({ length: matchCount }, (_, i) => i * MATCH_ROW_WORDS);
  return new Map(starts.map((start) => [rows[start], rows[start + 1]]));
}

/** "prefixHash rankSlot tier" → copies. */
function copiesOf(lines: readonly string[]): Map<string, number> {
  return new Map(
    lines.map((line) => [line.slice(0, line.lastIndexOf(" ")), Number(line.slice(line.lastIndexOf(" ")))]),
  );
}

describe(`under limits the index forgets in one direction, and says so (S7, KVSYNC_MODEL_SEED=${SEED})`, async () => {
  const hash = await ReferenceHash.create(DEFAULT_HASH_SEED);
  const world = new PrefixWorld(CONTEXTS, hash);

  test.each(LIMITS)("with $claim", { timeout: 600_000 }, ({ options, heard }) => {
    const allHeard = new Set<string>();
    const property = fc.property(commandsOf(HONEST), (commands) => {
      const pair = new LimitedPair(world, hash, options);
      commands.forEach((command, i) => {
        pair.run(command);
        if (i % 10 === 9) pair.compareAll();
      });
      pair.compareAll();
      for (const one of pair.heard) allHeard.add(one);
    });
    fc.assert(property, { seed: SEED, numRuns: RUNS });
    expect([...allHeard].join()).toContain(heard);
  });
});

describe(`ids that limits freed are used again (KVSYNC_MODEL_SEED=${SEED})`, async () => {
  const hash = await ReferenceHash.create(DEFAULT_HASH_SEED);

  test("and the name of a block that went does not become the name of the one that has its id", () => {
    const index = PrefixIndex.create({ prefixesPerContextMax: 24 });
    const contextId = index.openContext(CONTEXTS[0]);
    const { tokens, hashes } = index.scratch;
    /** Ranks name block n by (n, rank), so that the name of rank 1 is always its own beside the one of rank 0. */
    const store = (rank: number, block: number): void => {
      for (let i = 0; i < 4; i++) tokens[i] = block * 4 + i;
      hashes.set([block, rank]);
      index.storeBlocks(contextId, rank, 0, 1, false, 0, 0, false);
    };
    const remove = (rank: number, block: number): number => {
      hashes.set([block, rank]);
      return index.removeBlocks(rank, 0, 1);
    };
    for (const rank of [0, 1]) store(rank, 0);
    let block = 1;
    for (; index.rankBlockCount(1) > 0 && block < 10_000; block++) store(0, block);
    expect(index.rankBlockCount(1)).toBe(0);
    // Ids go round by the thousand; in some round block 0's is the new block's.
    for (const end = block + 5_000; block < end; block++) {
      for (const rank of [0, 1]) store(rank, block);
      expect([block, remove(1, 0), remove(1, block)]).toEqual([block, 0, 1]);
    }
    expect(index.check()).toEqual([]);
  });

  test("and what a rank calls its blocks is never mistaken for another", { timeout: 600_000 }, () => {
    // One context, so that thousands of blocks pass through the few ids there are; two seeds, so that ranks have own names.
    const situation = { ...HONEST, contexts: CONTEXTS.slice(0, 1), slots: [0, 1], tierCount: 1 };
    const world = new PrefixWorld(situation.contexts, hash);
    const property = fc.property(commandsOf(situation, 6_000), (commands) => {
      const pair = new LimitedPair(world, hash, { prefixesPerContextMax: 24 });
      for (const command of commands) pair.run(command);
      pair.compareAll();
    });
    fc.assert(property, { seed: SEED, numRuns: RUNS / 10 });
  });
});

describe("what was used lately outlives what was not (S7)", () => {
  /** Stores a root of 50 blocks that is like no other. */
  function storeRoot(index: PrefixIndex, key: ContextKey, root: number): void {
    const { tokens, hashes } = index.scratch;
    const contextId = index.openContext(key);
    for (let i = 0; i < 200; i++) tokens[i] = root * 200 + i;
    for (let i = 0; i < 50; i++) hashes.set([root * 50 + i, 1], 2 * i);
    index.storeBlocks(contextId, 0, 0, 50, false, 0, 0, false);
  }

  function matchedBlocks(reader: PrefixReader, key: ContextKey, root: number): number {
    for (let i = 0; i < 200; i++) reader.tokens[i] = root * 200 + i;
    const { matchCount, rows } = reader.matchTokens(reader.findContext(key), 200, false);
    return matchCount === 0 ? 0 : rows[1];
  }

  test("a prompt that is looked up or stored again stays, among a hundred times as many that are not", () => {
    const index = PrefixIndex.create({ prefixesPerContextMax: 2_000 });
    const reader = PrefixReader.attach(index.shared, { tokensMax: 4_096 });
    for (let root = 0; root < 1_000; root++) {
      storeRoot(index, CONTEXTS[0], root);
      if (root % 10 === 0) storeRoot(index, CONTEXTS[0], 1);
      expect([root, matchedBlocks(reader, CONTEXTS[0], 0)]).toEqual([root, 50]);
    }
    expect([matchedBlocks(reader, CONTEXTS[0], 1), matchedBlocks(reader, CONTEXTS[0], 2)]).toEqual([50, 0]);
  });

  test("of the contexts the one stored to longest ago goes, whatever is looked up", () => {
    const index = PrefixIndex.create({ contextCountMax: 3 });
    const reader = PrefixReader.attach(index.shared, { tokensMax: 4_096 });
    CONTEXTS.slice(0, 3).forEach((key, root) => {
      storeRoot(index, key, root);
    });
    expect(matchedBlocks(reader, CONTEXTS[0], 0)).toBe(50);
    storeRoot(index, CONTEXTS[3], 3);
    const found = CONTEXTS.map((key, root) =>
      reader.findContext(key) < 0 ? 0 : matchedBlocks(reader, key, root),
    );
    expect(found).toEqual([0, 50, 50, 50]);
  });

  test("an id of a context that was dropped finds nothing, also when its place is another's", () => {
    const index = PrefixIndex.create({ contextCountMax: 1 });
    const reader = PrefixReader.attach(index.shared, { tokensMax: 4_096 });
    storeRoot(index, CONTEXTS[0], 0);
    const old = reader.findContext(CONTEXTS[0]);
    for (const key of [CONTEXTS[1], CONTEXTS[2], CONTEXTS[0]]) storeRoot(index, key, 0);
    expect(reader.findContext(CONTEXTS[0])).not.toBe(old);
    expect(reader.matchTokens(old, 200, false).matchCount).toBe(0);
    expect(dumpLines(reader, old)).toEqual([]);
    expect(matchedBlocks(reader, CONTEXTS[0], 0)).toBe(50);
  });
});

describe("a limit of memory (S7, S9)", () => {
  const MEMORY_BYTES_MAX = 16 * 2 ** 20;
  const SCRATCH_BYTES_MAX = 16 * 2 ** 20;
  const reasons = new Set<string>();
  let index: PrefixIndex;
  let refused = 0;

  /** Stores runs of 100 blocks that never were before. */
  function storeNew(runCount: number, firstRun: number): void {
    const contextId = index.openContext(CONTEXTS[0]);
    for (let run = firstRun; run < firstRun + runCount; run++) {
      const { tokens, hashes } = index.scratch;
      for (let i = 0; i < 400; i++) tokens[i] = run * 400 + i;
      for (let i = 0; i < 100; i++) hashes.set([run * 100 + i, 1], 2 * i);
      if (index.storeBlocks(contextId, run % 8, 0, 100, false, 0, 0, false) !== "stored") refused++;
    }
  }

  beforeEach(() => {
    reasons.clear();
    refused = 0;
    const onEviction = (reason: string): unknown => reasons.add(reason);
    index = PrefixIndex.create({ memoryBytesMax: MEMORY_BYTES_MAX, onEviction });
  });

  test("is kept however much is stored, and what was stored last is there", () => {
    storeNew(20_000, 0);
    const { allocatedBytes, memoryBytes } = index.stats();
    expect(allocatedBytes).toBeLessThanOrEqual(MEMORY_BYTES_MAX);
    // What the system gave holds the scratch for a store of a million tokens, too.
    expect(memoryBytes).toBeLessThanOrEqual(1.25 * MEMORY_BYTES_MAX + SCRATCH_BYTES_MAX);
    expect(index.check()).toEqual([]);
    expect([...reasons]).toEqual(["memory_limit"]);
    const reader = PrefixReader.attach(index.shared, { tokensMax: 4_096 });
    const contextId = reader.findContext(CONTEXTS[0]);
    let found = 0;
    for (let run = 19_900; run < 20_000; run++) {
      for (let i = 0; i < 400; i++) reader.tokens[i] = run * 400 + i;
      const { matchCount, rows } = reader.matchTokens(contextId, 400, false);
      if (matchCount === 1 && rows[1] === 100) found++;
    }
    console.log(
      `${index.stats().prefixCount} prefixes in 16 MiB, ${refused} stores refused, ${found} of the last 100 found`,
    );
    expect(found).toBeGreaterThan(90);
  });
});
