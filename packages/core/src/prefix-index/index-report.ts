/**
 * Reports of the kernel about an index: counts, blocks that limits took, faults. Each is words at a writer's report address.
 *
 *     counts      9 words, in the order of `indexStats`
 *     evictions   blocks by reason (context, prefix, memory) │ bitset of the rank slots that lost any
 *     faults      invariant │ first │ second        each
 */
import type { EvictionListener, EvictionReason, HashSeed } from "./contract.ts";
import { INVARIANTS } from "./invariants.ts";
import type { KernelExports, KernelMemory } from "./kernel.ts";
import {
  EVICTION_REASONS,
  EVICTION_WORDS,
  FAULT_WORDS,
  FAULTS_MAX,
  STATS_WORDS,
} from "./kernel-boundary.generated.ts";

const KERNEL_REASONS = ["context_limit", "prefix_limit", "memory_limit"] as const;
/** Room that a report needs. */
export const REPORT_WORDS: number = Math.max(EVICTION_WORDS, FAULT_WORDS * FAULTS_MAX, STATS_WORDS);

/** What an index holds, as the kernel counts it. */
export interface KernelCounts {
  /** What tables and blocks take of the memory; scratch is left out. */
  readonly allocatedBytes: number;
  /** Contexts in which anybody holds a block. Empty ones go by and by. */
  readonly contextCount: number;
  /** Distinct prefixes that anybody holds, over all contexts. */
  readonly prefixCount: number;
  /** (rank, tier, block) triples. */
  readonly holderCount: number;
  /** Engine hashes known, over all ranks. */
  readonly mappingCount: number;
  /** Distinct sets of holders. */
  readonly setCount: number;
  /** Blocks of cleared ranks that were not swept yet. */
  readonly deadCount: number;
  /** Blocks still to be walked by the sweep after a clear. */
  readonly sweepCount: number;
  /** Things unlinked that readers may still be in. */
  readonly limboCount: number;
}

/** Reads a writer's reports. */
export class IndexReport {
  readonly #kernel: KernelExports;
  readonly #memory: KernelMemory;
  readonly #at: number;
  readonly #onEviction: EvictionListener | undefined;
  readonly #evictedByReason: Record<EvictionReason, number> = {
    context_limit: 0,
    prefix_limit: 0,
    memory_limit: 0,
    park_limit: 0,
  };

  /** @param at - address of `REPORT_WORDS` words of the writer's own. */
  constructor(
    kernel: KernelExports,
    memory: KernelMemory,
    at: number,
    onEviction: EvictionListener | undefined,
  ) {
    this.#kernel = kernel;
    this.#memory = memory;
    this.#at = at;
    this.#onEviction = onEviction;
  }

  /** Blocks that limits made the index forget, so far. */
  get evictedByReason(): Readonly<Record<EvictionReason, number>> {
    return { ...this.#evictedByReason };
  }

  /** Counts what limits took since the last time, and reports it to the listener. */
  takeEvictions(): void {
    this.#kernel.evictionsTake(this.#at);
    const words = this.#words(EVICTION_WORDS).slice();
    const rankSlots: number[] = [];
    for (let word = EVICTION_REASONS; word < words.length; word++)
      for (let bits = words[word]; bits !== 0; bits &= bits - 1)
        rankSlots.push(32 * (word - EVICTION_REASONS) + (31 - Math.clz32(bits & -bits)));
    for (const [i, reason] of KERNEL_REASONS.entries())
      if (words[i] > 0) this.countEvicted(reason, words[i], rankSlots);
  }

  /** Counts blocks that a limit took, and reports them to the listener. */
  countEvicted(reason: EvictionReason, blockCount: number, rankSlots: readonly number[]): void {
    this.#evictedByReason[reason] += blockCount;
    this.#onEviction?.(reason, blockCount, rankSlots);
  }

  /** What the index holds. O(contexts × ranks). */
  counts(): KernelCounts {
    this.#kernel.indexStats(this.#at);
    const [allocatedBytes, contextCount, prefixCount, holderCount, mappingCount, ...more] =
      this.#words(STATS_WORDS);
    const [setCount, deadCount, sweepCount, limboCount] = more;
    return {
      allocatedBytes,
      contextCount,
      prefixCount,
      holderCount,
      mappingCount,
      setCount,
      deadCount,
      sweepCount,
      limboCount,
    };
  }

  /** Violations of the invariants of README.md, at most 64. Walks everything. */
  faults(): string[] {
    const count = this.#kernel.indexCheck(this.#at);
    const words = this.#words(FAULT_WORDS * count);
    return Array.from({ length: count }, (_, i) => {
      const [invariant, first, second] = words.subarray(FAULT_WORDS * i);
      return `I${invariant}: violated at ${first}, ${second}: ${INVARIANTS[invariant - 1]}`;
    });
  }

  /** Seed of all hashes in the index. */
  seed(): HashSeed {
    this.#kernel.hashSeedRead(this.#at);
    const [low, high, keyed] = this.#words(3);
    return { value: (BigInt(high) << 32n) | BigInt(low), isKeyed: keyed === 1 };
  }

  #words(count: number): Uint32Array {
    return new Uint32Array(this.#memory.buffer, this.#at, count);
  }
}
