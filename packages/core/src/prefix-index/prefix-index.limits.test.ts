/**
 * What limits do (contract.ts S7): the index forgets, or refuses, and says so. Under honest engines forgetting has one
 * direction. The index then holds a subset of what its specification, which has no limits, holds: fewer copies, never one
 * that is not there. And every rank that it now under-reports was named to the listener, or had a store refused.
 */
import fc from "fast-check";
import { beforeEach, describe, expect, test } from "vitest";
import { assert } from "../assert.ts";
import { ReferenceHash } from "../block-hash/reference-hash.ts";
import { commandsOf, TWO_LETTERS, type Situation } from "./command-arbitrary.ts";
import { DEFAULT_HASH_SEED, MATCH_ROW_WORDS, type ContextKey, type MatchResult } from "./contract.ts";
import { dumpLines } from "./index-pair.ts";
import { NaivePrefixIndex } from "./naive-prefix-index.ts";
import { PrefixIndex, type PrefixIndexOptions } from "./prefix-index.ts";
import { PrefixReader } from "./prefix-reader.ts";
import { PrefixWorld, type IndexCommand } from "./prefix-world.ts";

const SEED = Number(process.env["KVSYNC_MODEL_SEED"] ?? Math.floor(Math.random() * 2 ** 31));
const RUNS = process.env["KVSYNC_MODEL_LONG"] === "1" ? 1_000 : 40;
const CONTEXTS: readonly ContextKey[] = [0, 1, 2, 3].map((i) => {
  return { model: "m", loraName: i === 0 ? null : `adapter-${i}`, blockSize: 4, bigram: false };
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

  run(command: IndexCommand): void {
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
    const answer = world.write(index, command);
    world.write(naive, command);
    if (answer.startsWith("rejected")) {
      this.heard.add(answer);
      this.#underReporting.add(command.slot);
    }
    if (command.kind === "clear") this.#underReporting.delete(command.slot);
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

describe(`under limits the index forgets in one direction, and says so (KVSYNC_MODEL_SEED=${SEED})`, async () => {
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

describe("a limit of memory", () => {
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
