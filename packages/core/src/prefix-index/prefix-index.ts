/**
 * The exact prefix index: the kernel (kernel/) behind the words of contract.ts. See README.md beside this file for the
 * layout, the invariants and what each operation costs.
 *
 *     PrefixIndex (one writing thread) ──store, remove, clear──▶ shared memory ◀──lookups── PrefixReader (any thread)
 *             │
 *             └─ ParkedStores: stores whose parent is unknown, in this thread's own memory
 *
 * Only what is foreign is checked here: numbers of blocks, slots, block sizes. Context ids are the caller's promise.
 */
import { assert } from "../assert.ts";
import { ByteDigester } from "./byte-digester.ts";
import {
  CONTEXT_NAME_BYTES_MAX,
  CONTEXT_RECORD_BYTES,
  type ContextSummary,
  contextIdOf,
  encodeName,
  keyText,
  listContexts,
  serialOf,
  slotOf,
} from "./context-table.ts";
import {
  type ContextKey,
  DEFAULT_HASH_SEED,
  type EvictionListener,
  type EvictionReason,
  GROUP_RULES,
  type GroupKind,
  type GroupShape,
  type GroupStoreOutcome,
  HOLDER_SLOTS_MAX,
  type IndexScratch,
  type IndexWriter,
  LOOKAHEAD_MAX,
  RANK_SLOTS_MAX,
  RENAMED_BLOCK,
  REPEATED_BLOCK,
  type RepeatRule,
  type StoreOutcome,
  type Tier,
  UNNUMBERED_GROUP,
} from "./contract.ts";
import { kindNumber } from "./group-table.ts";
import { type IndexCopy, IndexImport, type ParkedRecord } from "./index-copy.ts";
import { GivenUpParents } from "./given-up-parents.ts";
import { IndexError } from "./index-error.ts";
import { INVARIANTS } from "./invariants.ts";
import type { KernelExports, KernelMemory } from "./kernel.ts";
import { growTo, instantiateKernel, makeKernelMemory, PAGE_BYTES, PAGES_MAX, reach } from "./kernel.ts";
import { type ParkedStore, ParkedStores } from "./parked-stores.ts";
import { checkBlockSize } from "./prefix-hasher.ts";
import type { SharedPrefixIndex } from "./prefix-reader.ts";

/** Limits of an index. All have defaults. */
export interface PrefixIndexOptions {
  /** Seed of XXH3, taken modulo 2⁶⁴. */
  readonly seed?: number | bigint | undefined;
  /**
   * Four u32 words that the tables mix their keys with, so that nobody can choose keys that share a place. By default drawn
   * at random; given where a run has to be repeated to the letter. Given out to nobody.
   */
  readonly secret?: TableSecret | undefined;
  /** What `PrefixIndexStats.allocatedBytes` may become; 1 MiB … 3 GiB. */
  readonly memoryBytesMax?: number | undefined;
  readonly contextCountMax?: number | undefined;
  readonly prefixesPerContextMax?: number | undefined;
  readonly parkedBytesMax?: number | undefined;
  readonly parkedStoresPerRankMax?: number | undefined;
  /** Age at which `passTime` gives a parked store up. */
  readonly parkedAgeMsMax?: number | undefined;
  readonly onEviction?: EvictionListener | undefined;
}

/** 128 bits, as u32 words. */
export type TableSecret = readonly [number, number, number, number];

/** What an index holds and has done. */
export interface PrefixIndexStats {
  /** Linear memory asked of the system; it never shrinks. */
  readonly memoryBytes: number;
  /** Of it, what tables and blocks take; scratch is left out. */
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
  readonly parkedStoreCount: number;
  readonly parkedBytes: number;
  /** Stores asked for, by outcome. */
  readonly storesByOutcome: Readonly<Record<StoreOutcome, number>>;
  /** Parked stores whose parent came. */
  readonly attachedStoreCount: number;
  /** Parked stores forgotten with their rank. */
  readonly clearedStoreCount: number;
  readonly removedCount: number;
  /** Removals of what the holder did not have. */
  readonly unknownRemovalCount: number;
  /** Blocks that limits made the index forget. */
  readonly evictedByReason: Readonly<Record<EvictionReason, number>>;
}

/** Longest run of one store, in tokens: the longest prompt that engines serve. */
export const STORE_TOKENS_MAX = 1_048_576;
/** Longest run of one store, remove or known store, in blocks. */
export const STORE_BLOCKS_MAX = 262_144;

const MEMORY_BYTES_MAX = 2_147_483_648;
const CONTEXT_COUNT_MAX = 256;
/** More than a context can have in one memory: by default, memory is the limit. */
const PREFIXES_PER_CONTEXT_MAX = 134_217_728;
const PARKED_BYTES_MAX = 67_108_864;
const PARKED_STORES_PER_RANK_MAX = 1024;
/** Ten minutes: a parent that comes at all comes with a replay, within seconds. */
const PARKED_AGE_MS_MAX = 600_000;

/** Memory beside what the limit counts: scratch, readers' buffers, and holes between blocks. */
const MEMORY_SLACK_BYTES = 268_435_456;
/** Kernel's fixed part and the scratch of a writer fit in the first growths; see kernel/layout.ts. */
const PAGES_FIRST = 16;
const OUTCOMES: readonly StoreOutcome[] = [
  "stored",
  "parked",
  "rejected_memory_limit",
  "rejected_too_many_blocks",
];
/** Outcome of the kernel beside them: the context was dropped. */
const GONE = 4;
const REPEATED = 5;
/** Times that a store opens its context again; contexts that are dropped faster are too few by far. */
const REOPEN_MAX = 8;
/** Names of contexts that are gone, kept beside those there are before they are forgotten. */
const CONTEXTS_GONE_MAX = 64;
/** For no rank in particular. */
const NO_RANK = -1;
/** Added to a store's outcome when limits took blocks (kernel/index.ts). */
const EVICTED = 16;
/** Added when a block has a note (kernel/write.ts). */
const NOTED = 32;
/** As REPEATS_… in kernel/write.ts. */
const REPEAT_CODES: Readonly<Record<RepeatRule, number>> = { count: 0, skip_all: 1, skip_each: 2 };
/** Added to the count of a removal or a store of known blocks (kernel/index.ts). */
const COUNT_EVICTED = 0x4000_0000;
const KERNEL_REASONS = ["context_limit", "prefix_limit", "memory_limit"] as const;
const STATS_WORDS = 9;
const FAULT_WORDS = 3;
const FAULTS_MAX = 64;
const REPORT_WORDS = Math.max(3 + RANK_SLOTS_MAX / 32, FAULT_WORDS * FAULTS_MAX, STATS_WORDS);

interface Scratch extends IndexScratch {
  readonly skips: Uint8Array;
  readonly notes: Uint8Array;
  readonly tokensAt: number;
  readonly hashesAt: number;
  readonly extrasAt: number;
  readonly notesAt: number;
  readonly prefixesAt: number;
  readonly reportAt: number;
  readonly describeAt: number;
  readonly nameAt: number;
}

/** What a removal took out of the park: how many blocks, a byte for each block of the removal, and all its names. */
interface ParkedRemoval {
  readonly count: number;
  readonly taken: Uint8Array;
  readonly hashes: Uint32Array;
}

/** The writing side of the index, and its owner. */
export class PrefixIndex implements IndexWriter {
  /** For `PrefixReader.attach`, here or in another thread. */
  readonly shared: SharedPrefixIndex;
  readonly #kernel: KernelExports;
  readonly #memory: KernelMemory;
  readonly #scratch: Scratch;
  readonly #digester: ByteDigester;
  readonly #park: ParkedStores;
  readonly #onEviction: EvictionListener | undefined;
  readonly #contextCountMax: number;
  readonly #parkedAgeMsMax: number;
  readonly #contextIds = new Map<string, number>();
  readonly #contextKeys = new Map<number, ContextKey>();
  /** The last key asked for: nearly always the next one too, and comparing is cheaper than making a Map key. */
  #lastKey: ContextKey | null = null;
  #lastContextId = -1;
  /** As `passTime` last said. */
  #nowMs = 0;
  #hasNotes = false;
  #attachedRenames: number[] = [];
  readonly #givenUp = new GivenUpParents();
  #parkedSequence = 0;
  #attachedStoreCount = 0;
  #clearedStoreCount = 0;
  #removedCount = 0;
  #unknownRemovalCount = 0;
  readonly #storesByOutcome: Record<StoreOutcome, number> = {
    stored: 0,
    parked: 0,
    repeated: 0,
    rejected_park_full: 0,
    rejected_memory_limit: 0,
    rejected_too_many_blocks: 0,
  };
  readonly #evictedByReason: Record<EvictionReason, number> = {
    context_limit: 0,
    prefix_limit: 0,
    memory_limit: 0,
    park_limit: 0,
  };

  private constructor(options: PrefixIndexOptions, shared: SharedPrefixIndex | null) {
    this.#contextCountMax = options.contextCountMax ?? CONTEXT_COUNT_MAX;
    this.#memory = shared === null ? makeMemory(options) : shared.memory;
    this.#kernel = instantiateKernel(this.#memory);
    if (shared === null) initialise(this.#kernel, this.#contextCountMax, options);
    this.#scratch = makeScratch(this.#kernel, this.#memory);
    this.#digester = new ByteDigester(this.#kernel, this.#memory);
    this.#park = new ParkedStores(
      options.parkedBytesMax ?? PARKED_BYTES_MAX,
      options.parkedStoresPerRankMax ?? PARKED_STORES_PER_RANK_MAX,
    );
    this.#parkedAgeMsMax = options.parkedAgeMsMax ?? PARKED_AGE_MS_MAX;
    this.#onEviction = options.onEviction;
    this.shared = { memory: this.#memory };
  }

  /**
   * Makes an empty index.
   *
   * @throws IndexError `invalid_option` when a limit is out of its range.
   */
  static create(options: PrefixIndexOptions = {}): PrefixIndex {
    checkOption("memoryBytesMax", options.memoryBytesMax, 1_048_576, 3_221_225_472);
    checkOption("contextCountMax", options.contextCountMax, 1, 4000);
    checkOption("prefixesPerContextMax", options.prefixesPerContextMax, 1, PREFIXES_PER_CONTEXT_MAX);
    checkOption("parkedBytesMax", options.parkedBytesMax, 0, Number.MAX_SAFE_INTEGER);
    checkOption("parkedStoresPerRankMax", options.parkedStoresPerRankMax, 0, Number.MAX_SAFE_INTEGER);
    checkOption("parkedAgeMsMax", options.parkedAgeMsMax, 0, Number.MAX_SAFE_INTEGER);
    return new PrefixIndex(options, null);
  }

  /**
   * A second writer of an index, for another thread. A rank belongs to one writer at a time; contexts belong to all.
   *
   * @param shared - `PrefixIndex.shared` of the first.
   * @param options - park and listener are this writer's own; the limits of the index are the first one's, and have to be
   *   the same here.
   */
  static attach(shared: SharedPrefixIndex, options: PrefixIndexOptions = {}): PrefixIndex {
    return new PrefixIndex(options, shared);
  }

  /** Input memory of the next store or remove: `STORE_TOKENS_MAX` tokens (and `LOOKAHEAD_MAX`), `STORE_BLOCKS_MAX` hashes and digests. */
  get scratch(): IndexScratch {
    return this.#scratch;
  }

  /**
   * The id of a context, made on first use. Making one beyond `contextCountMax` drops another (contract.ts S8).
   *
   * @param rankSlot - the rank that will store to it, for its engine's share of contexts.
   * @throws IndexError `invalid_block_size`, `invalid_lookahead`, `context_name_too_long`.
   */
  openContext(key: ContextKey, rankSlot: number = NO_RANK): number {
    const last = this.#lastKey;
    if (
      last?.model === key.model &&
      last.loraName === key.loraName &&
      last.blockSize === key.blockSize &&
      last.lookahead === key.lookahead &&
      this.#isOpen(this.#lastContextId)
    )
      return this.#lastContextId;
    const known = this.#contextIds.get(keyText(key)) ?? -1;
    const id = this.#isOpen(known) ? known : this.#makeContext(key, rankSlot);
    this.#lastKey = { ...key };
    this.#lastContextId = id;
    return id;
  }

  /** Contexts go by limits and when they are empty, and by other writers' doing too. */
  #isOpen(contextId: number): boolean {
    return contextId >= 0 && this.#kernel.contextSerial(slotOf(contextId)) === serialOf(contextId);
  }

  #makeContext(key: ContextKey, rankSlot: number): number {
    checkBlockSize(key.blockSize);
    checkLookahead(key.lookahead);
    const name = encodeName(key);
    const { nameAt } = this.#scratch;
    new Uint8Array(this.#memory.buffer, nameAt, name.length).set(name);
    const slot = this.#kernel.contextMake(key.blockSize, key.lookahead, nameAt, name.length, rankSlot);
    if (this.#kernel.hasEvictions() !== 0) this.#reportEvictions();
    const id = contextIdOf(slot, this.#kernel.contextSerial(slot));
    if (this.#contextKeys.size > 2 * this.#contextCountMax + CONTEXTS_GONE_MAX) this.#forgetContexts();
    this.#contextIds.set(keyText(key), id);
    this.#contextKeys.set(id, { ...key });
    return id;
  }

  /** See `IndexWriter.storeBlocks`. O(blocks); about 80–120 ns for a new one. */
  storeBlocks(
    contextId: number,
    rankSlot: number,
    tier: Tier,
    blockCount: number,
    hasParent: boolean,
    parentLow: number,
    parentHigh: number,
    hasExtra: boolean,
    repeats: RepeatRule = "count",
  ): StoreOutcome {
    checkRankSlot(rankSlot);
    this.#hasNotes = false;
    if (this.#attachedRenames.length > 0) this.#attachedRenames = [];
    return this.#storeOrPark(
      contextId,
      rankSlot,
      tier,
      blockCount,
      hasParent,
      parentLow,
      parentHigh,
      hasExtra,
      false,
      repeats,
    );
  }

  #storeOrPark(
    contextId: number,
    rankSlot: number,
    tier: Tier,
    blockCount: number,
    hasParent: boolean,
    parentLow: number,
    parentHigh: number,
    hasExtra: boolean,
    hasSkips: boolean,
    repeats: RepeatRule,
  ): StoreOutcome {
    const key = this.#keyOf(contextId);
    const tokenCount = blockCount * key.blockSize + key.lookahead;
    const fits = blockCount <= STORE_BLOCKS_MAX && tokenCount <= this.#scratch.tokens.length;
    let outcome: StoreOutcome = "rejected_too_many_blocks";
    if (fits) {
      // Asked for only when something is parked at all: most stores have nothing to do with it.
      const family = this.#park.storeCount === 0 ? null : this.#parkedFamilyOf(rankSlot);
      // The kernel leaves the hashes alone, but attaching writes the next store's over them.
      const stored = family !== null ? this.#scratch.hashes.slice(0, 2 * blockCount) : null;
      const isPassed =
        !hasSkips &&
        family !== null &&
        repeats === "skip_each" &&
        this.#skipParked(rankSlot, tier, blockCount);
      const skipsAt = hasSkips || isPassed ? this.#scratch.skips.byteOffset : 0;
      let result: StoreOutcome | "gone" = "gone";
      for (let attempt = 0; result === "gone" && attempt <= REOPEN_MAX; attempt++)
        result = this.#store(
          // Dropped by another writer between opening and storing.
          attempt === 0 ? contextId : this.openContext(key, rankSlot),
          rankSlot,
          tier,
          blockCount,
          hasParent,
          parentLow,
          parentHigh,
          hasExtra,
          skipsAt,
          repeats,
        );
      outcome = result === "gone" ? "rejected_memory_limit" : result;
      if (isPassed && outcome === "stored") this.#noteSkipped(blockCount);
      if (outcome === "parked") {
        const store = this.#copyOf(
          key,
          rankSlot,
          tier,
          blockCount,
          parentLow,
          parentHigh,
          hasExtra,
          hasSkips,
        );
        if (!this.#parkStore(store)) outcome = "rejected_park_full";
      } else if (outcome === "stored" && stored !== null && family !== null) {
        const notes = this.#scratch.notes.slice(0, blockCount);
        this.#attachChildren(key, family, stored);
        this.#scratch.hashes.set(stored);
        this.#scratch.notes.set(notes);
      }
    }
    this.#storesByOutcome[outcome]++;
    return outcome;
  }

  /**
   * One store from scratch; `skipsAt` is 0, or the address of `scratch.skips`.
   *
   * @param repeats - null for a store that was parked: it counts copies, and its notes go to `attachedRenames`.
   */
  #store(
    contextId: number,
    rankSlot: number,
    tier: Tier,
    blockCount: number,
    hasParent: boolean,
    parentLow: number,
    parentHigh: number,
    hasExtra: boolean,
    skipsAt: number,
    repeats: RepeatRule | null,
  ): StoreOutcome | "gone" {
    const { tokensAt, hashesAt, extrasAt, prefixesAt, notesAt } = this.#scratch;
    if (repeats === null) this.#scratch.notes.fill(0, 0, blockCount);
    const outcome = this.#kernel.indexStore(
      slotOf(contextId),
      serialOf(contextId),
      rankSlot,
      tier,
      blockCount,
      Number(hasParent),
      // A word of more than 31 bits would be an object.
      parentLow | 0,
      parentHigh | 0,
      tokensAt,
      hashesAt,
      hasExtra ? extrasAt : 0,
      skipsAt,
      prefixesAt,
      repeats === null ? 0 : REPEAT_CODES[repeats],
      notesAt,
    );
    if (outcome === 0) return "stored";
    if ((outcome & EVICTED) !== 0) this.#reportEvictions();
    if ((outcome & NOTED) !== 0) {
      if (repeats === null) this.#noteAttachedRenames(blockCount);
      else this.#hasNotes = true;
    }
    const kind = outcome % EVICTED;
    if (kind === GONE) return "gone";
    return kind === REPEATED ? "repeated" : OUTCOMES[kind];
  }

  #noteAttachedRenames(blockCount: number): void {
    const { hashes, notes } = this.#scratch;
    for (let i = 0; i < blockCount; i++)
      if ((notes[i] & RENAMED_BLOCK) !== 0) this.#attachedRenames.push(hashes[2 * i], hashes[2 * i + 1]);
  }

  /** Marks the blocks in scratch that wait with a parked store as not to be stored; whether there are any. */
  #skipParked(rankSlot: number, tier: Tier, blockCount: number): boolean {
    const { hashes, skips } = this.#scratch;
    let isAny = false;
    for (let i = 0; i < blockCount; i++) {
      const isParked = this.#park.hasBlock(rankSlot, tier, hashes[2 * i], hashes[2 * i + 1]);
      skips[i] = Number(isParked);
      isAny ||= isParked;
    }
    return isAny;
  }

  #noteSkipped(blockCount: number): void {
    const { notes, skips } = this.#scratch;
    for (let i = 0; i < blockCount; i++) if (skips[i] === 1) notes[i] |= REPEATED_BLOCK;
    this.#hasNotes = true;
  }

  /** Attaches what waits for these blocks, the store parked first to come first (contract.ts S2). */
  #attachChildren(context: ContextKey, family: readonly number[], hashes: Uint32Array): void {
    const ready: ParkedStore[] = [];
    const addWaiting = (words: Uint32Array, removed: Uint8Array | null): void => {
      const readyBefore = ready.length;
      for (const slot of family)
        for (let i = 0; i < words.length / 2 && this.#park.storeCountOf(slot) > 0; i++) {
          if (removed?.[i] === 1) continue;
          for (const store of this.#park.waitingFor(context, slot, words[2 * i], words[2 * i + 1])) {
            this.#park.remove(store);
            ready.push(store);
          }
        }
      if (ready.length > readyBefore) ready.sort((one, other) => other.sequence - one.sequence);
    };
    addWaiting(hashes, null);
    while (ready.length > 0) {
      const store = ready.pop()!;
      if (this.#attach(store)) addWaiting(store.hashes, store.removed);
    }
  }

  /** False when the parent is gone again, by a limit: then the store is parked anew. */
  #attach(store: ParkedStore): boolean {
    const { tokens, hashes, extraDigests, skips } = this.#scratch;
    tokens.set(store.tokens);
    hashes.set(store.hashes);
    skips.set(store.removed);
    if (store.extraDigests !== null) extraDigests.set(store.extraDigests);
    const { context, rankSlot, tier, blockCount, parentLow, parentHigh } = store;
    const hasExtra = store.extraDigests !== null;
    const outcome = this.#store(
      this.openContext(context, rankSlot),
      rankSlot,
      tier,
      blockCount,
      true,
      parentLow,
      parentHigh,
      hasExtra,
      skips.byteOffset,
      null,
    );
    if (outcome === "stored") this.#attachedStoreCount++;
    else if (outcome !== "parked" || !this.#parkStore(store)) this.#countParkedLost([store]);
    return outcome === "stored";
  }

  #copyOf(
    context: ContextKey,
    rankSlot: number,
    tier: Tier,
    blockCount: number,
    parentLow: number,
    parentHigh: number,
    hasExtra: boolean,
    hasSkips: boolean,
  ): ParkedStore {
    const { tokens, hashes, extraDigests, skips } = this.#scratch;
    const removed = hasSkips ? skips.slice(0, blockCount) : new Uint8Array(blockCount);
    return {
      sequence: this.#parkedSequence++,
      parkedMs: this.#nowMs,
      context,
      rankSlot,
      tier,
      parentLow: parentLow >>> 0,
      parentHigh: parentHigh >>> 0,
      blockCount,
      tokens: tokens.slice(0, blockCount * context.blockSize + context.lookahead),
      hashes: hashes.slice(0, 2 * blockCount),
      extraDigests: hasExtra ? extraDigests.slice(0, 2 * blockCount) : null,
      removed,
    };
  }

  #parkStore(store: ParkedStore): boolean {
    const gone = this.#park.park(store);
    if (gone !== null) this.#countParkedLost(gone);
    return gone !== null;
  }

  #countParkedLost(stores: readonly ParkedStore[]): void {
    if (stores.length === 0) return;
    const blockCount = stores.reduce((sum, store) => sum + store.blockCount, 0);
    this.#evictedByReason.park_limit += blockCount;
    const ranks = new Set<number>();
    for (const { rankSlot, parentLow, parentHigh } of stores) {
      const owner = this.#kernel.holderOwner(rankSlot);
      ranks.add(owner);
      this.#givenUp.add(owner, parentLow, parentHigh);
    }
    this.#onEviction?.("park_limit", blockCount, [...ranks]);
  }

  /** The holder slots of the rank that a holder slot belongs to, its main group's first. */
  #familyOf(slot: number): number[] {
    const family = [this.#kernel.holderOwner(slot)];
    for (let next = this.#kernel.groupNext(family[0]); next !== 0; next = this.#kernel.groupNext(next))
      family.push(next);
    return family;
  }

  /** The same, or null when none of it is parked. */
  #parkedFamilyOf(slot: number): number[] | null {
    const family = this.#familyOf(slot);
    return family.some((one) => this.#park.storeCountOf(one) > 0) ? family : null;
  }

  /** See `IndexWriter.openMainGroup`. */
  openMainGroup(
    rankSlot: number,
    blockSize: number,
    index: number = UNNUMBERED_GROUP,
    kind: GroupKind = "none",
  ): void {
    checkRankSlot(rankSlot);
    checkBlockSize(blockSize);
    this.#kernel.rankMain(rankSlot, blockSize, index, kindNumber(kind));
  }

  /** See `IndexWriter.openGroup`. */
  openGroup(rankSlot: number, { index, rule, kind, windowTokens, blockSize }: GroupShape): number {
    checkRankSlot(rankSlot);
    checkBlockSize(blockSize);
    const numbers = [GROUP_RULES[rule], kindNumber(kind)] as const;
    const slot = this.#kernel.rankGroup(rankSlot, index, ...numbers, windowTokens, blockSize);
    return slot === 0 ? -1 : slot;
  }

  /** See `IndexWriter.storeGroupBlocks`. O(blocks). */
  storeGroupBlocks(
    contextId: number,
    groupSlot: number,
    tier: Tier,
    blockCount: number,
    stride: number,
    hasTokens: boolean,
    hasParent: boolean,
    parentLow: number,
    parentHigh: number,
    hasExtra: boolean,
  ): GroupStoreOutcome {
    if (this.#attachedRenames.length > 0) this.#attachedRenames = [];
    checkBlockCount(blockCount * stride);
    const { hashes, skips } = this.#scratch;
    const named = this.#kernel.indexStoreNamed(
      groupSlot,
      tier,
      blockCount,
      hashes.byteOffset,
      skips.byteOffset,
    );
    if (OUTCOMES[named] !== "stored") return { outcome: "rejected_memory_limit", unplacedCount: 0 };
    let missedCount = 0;
    for (let i = 0; i < blockCount; i++) missedCount += skips[i];
    if (missedCount === 0) return { outcome: "stored", unplacedCount: 0 };
    if (!hasTokens) {
      let kept = 0;
      for (let i = 0; i < blockCount; i++)
        if (skips[i] === 1) hashes.copyWithin(2 * kept++, 2 * i, 2 * i + 2);
      return { outcome: "stored", unplacedCount: missedCount };
    }
    this.#spread(blockCount, stride, hasExtra);
    const outcome = this.#storeOrPark(
      contextId,
      groupSlot,
      tier,
      blockCount * stride,
      hasParent,
      parentLow,
      parentHigh,
      hasExtra,
      true,
      "count",
    );
    return { outcome, unplacedCount: 0 };
  }

  /** Places a group's hashes and digests at the context's blocks, and makes of what was missed what is not to be skipped. */
  #spread(blockCount: number, stride: number, hasExtra: boolean): void {
    const { hashes, extraDigests, skips } = this.#scratch;
    for (let i = blockCount - 1; i >= 0; i--) {
      const isMissed = skips[i] === 1;
      const first = i * stride;
      const [low, high] = [hashes[2 * i], hashes[2 * i + 1]];
      const [extraLow, extraHigh] = [extraDigests[2 * i], extraDigests[2 * i + 1]];
      skips.fill(1, first, first + stride);
      hashes.fill(0, 2 * first, 2 * (first + stride));
      skips[first + stride - 1] = isMissed ? 0 : 1;
      hashes[2 * (first + stride) - 2] = low;
      hashes[2 * (first + stride) - 1] = high;
      if (!hasExtra) continue;
      extraDigests.fill(0, 2 * first, 2 * (first + stride));
      extraDigests[2 * first] = extraLow;
      extraDigests[2 * first + 1] = extraHigh;
    }
  }

  /** See `IndexWriter.storeKnownBlocks`. */
  storeKnownBlocks(rankSlot: number, tier: Tier, blockCount: number): number {
    checkRankSlot(rankSlot);
    checkBlockCount(blockCount);
    return this.#countOf(
      this.#kernel.indexStoreKnown(rankSlot, tier, blockCount, this.#scratch.hashes.byteOffset),
    );
  }

  /** See `IndexWriter.removeBlocks`. */
  removeBlocks(rankSlot: number, tier: Tier, blockCount: number): number {
    checkHolderSlot(rankSlot);
    checkBlockCount(blockCount);
    const { hashes, notes } = this.#scratch;
    const parked =
      this.#park.storeCount > 0 && this.#park.storeCountOf(rankSlot) > 0
        ? this.#removeParked(rankSlot, tier, blockCount)
        : null;
    const left = blockCount - (parked?.count ?? 0);
    let removed = this.#countOf(
      this.#kernel.indexRemove(rankSlot, tier, left, hashes.byteOffset, notes.byteOffset),
    );
    if (parked !== null && parked.count > 0) {
      removed += parked.count;
      hashes.set(parked.hashes);
      let noted = left;
      for (let i = blockCount - 1; i >= 0; i--) notes[i] = parked.taken[i] === 1 ? 0 : notes[--noted];
    }
    this.#removedCount += removed;
    this.#unknownRemovalCount += blockCount - removed;
    return removed;
  }

  /** The count in an outcome of the kernel, after what it says of limits was reported. */
  #countOf(outcome: number): number {
    if (outcome < COUNT_EVICTED) return outcome;
    this.#reportEvictions();
    return outcome - COUNT_EVICTED;
  }

  /** Takes what waits under these names out of the park, once a name; the names left move to the front of scratch. */
  #removeParked(rankSlot: number, tier: Tier, blockCount: number): ParkedRemoval {
    const { hashes } = this.#scratch;
    const taken = new Uint8Array(blockCount);
    const before = hashes.slice(0, 2 * blockCount);
    let kept = 0;
    for (let i = 0; i < blockCount; i++) {
      const [low, high] = [hashes[2 * i], hashes[2 * i + 1]];
      if (this.#park.removeBlock(rankSlot, tier, low, high)) {
        taken[i] = 1;
        continue;
      }
      hashes[2 * kept] = low;
      hashes[2 * kept + 1] = high;
      kept++;
    }
    return { count: blockCount - kept, taken, hashes: before };
  }

  /** See `IndexWriter.clearRank`. O(holder sets of the rank's contexts); its blocks are swept by later writes. */
  clearRank(rankSlot: number): void {
    checkRankSlot(rankSlot);
    for (const slot of this.#familyOf(rankSlot)) this.#clearedStoreCount += this.#park.clearRank(slot);
    this.#givenUp.clearRank(rankSlot);
    this.#kernel.indexClear(rankSlot);
  }

  /**
   * Says what time it is, for the age of parked stores: those that waited longer than `parkedAgeMsMax` are given up, with the
   * reason `park_limit`. Without calls nothing ages.
   *
   * @param nowMs - of any clock that does not go back.
   */
  passTime(nowMs: number): void {
    this.#nowMs = nowMs;
    this.#countParkedLost(this.#park.expire(nowMs - this.#parkedAgeMsMax));
  }

  /** Stores of a rank that wait for their parents: blocks that its engine holds and lookups miss. */
  parkedStoreCount(rankSlot: number): number {
    return this.#familyOf(rankSlot).reduce((count, slot) => count + this.#park.storeCountOf(slot), 0);
  }

  /**
   * Says that a rank is of the same engine as others: engines share contexts (contract.ts S8), not ranks. Default: of its own.
   *
   * @param ownerSlot - the rank slot that stands for the engine: any of its ranks', the same for all.
   */
  setRankOwner(rankSlot: number, ownerSlot: number): void {
    checkRankSlot(rankSlot);
    checkRankSlot(ownerSlot);
    this.#kernel.rankOwner(rankSlot, ownerSlot);
  }

  /** See `IndexWriter.notes`. */
  get notes(): Uint8Array {
    return this.#scratch.notes;
  }

  /** See `IndexWriter.hasNotes`. */
  get hasNotes(): boolean {
    return this.#hasNotes;
  }

  /** See `IndexWriter.attachedRenames`. */
  get attachedRenames(): readonly number[] {
    return this.#attachedRenames;
  }

  /** See `IndexWriter.hasGivenUpParent`. O(blocks). */
  hasGivenUpParent(rankSlot: number, blockCount: number): boolean {
    return this.#givenUp.hasAny(rankSlot, this.#scratch.hashes, blockCount);
  }

  /** See `IndexWriter.hasBlock`. */
  hasBlock(contextId: number, rankSlot: number, low: number, high: number): boolean {
    checkRankSlot(rankSlot);
    return this.#kernel.indexHas(slotOf(contextId), serialOf(contextId), rankSlot, low, high);
  }

  /** See `IndexWriter.noteHeld`. */
  noteHeld(holderSlot: number, tier: Tier, blockCount: number): void {
    checkHolderSlot(holderSlot);
    checkBlockCount(blockCount);
    const { hashes, notes } = this.#scratch;
    this.#kernel.indexNoteHeld(holderSlot, tier, blockCount, hashes.byteOffset, notes.byteOffset);
  }

  /** See `IndexWriter.hasParked`. */
  hasParked(rankSlot: number): boolean {
    return this.#park.storeCount > 0 && this.#parkedFamilyOf(rankSlot) !== null;
  }

  /**
   * XXH3-64 of any bytes with the index's seed, for digests of extra keys.
   *
   * @param bytes - at most 1 MiB.
   * @param out - receives low and high at `index`, `index + 1`.
   * @throws IndexError `too_many_bytes`.
   */
  digestBytes(bytes: Uint8Array, out: Uint32Array, index: number): void {
    this.#digester.digest(bytes, out, index);
  }

  /** Seed of all hashes in this index. Who knows it can make two prompts of one hash: it is not for logs. */
  get seed(): bigint {
    const { reportAt } = this.#scratch;
    this.#kernel.hashSeedRead(reportAt);
    const [low, high] = new Uint32Array(this.#memory.buffer, reportAt, 2);
    return (BigInt(high) << 32n) | BigInt(low);
  }

  /** The contexts there are, in no particular order. */
  contexts(): ContextSummary[] {
    return listContexts(this.#kernel, this.#memory, -1, this.#scratch.describeAt);
  }

  /** Blocks that a rank holds, each counted once, whatever the tiers. */
  rankBlockCount(rankSlot: number): number {
    checkRankSlot(rankSlot);
    return this.#kernel.rankBlocks(rankSlot);
  }

  /**
   * A copy of everything, as it is between two calls. Costs a copy of `memoryBytes`, about 10 ms per million blocks, and
   * as much memory.
   *
   * @param used - an earlier copy that nobody reads any more: its memory is taken, and its rows are gone. Whoever copies again
   *   and again gives it, since the memory of one that was let go comes back only when the thread's heap is collected, which
   *   the size of it does nothing to bring about.
   */
  copy(used: IndexCopy | null = null): IndexCopy {
    const source = this.#memory.buffer;
    const bytes = source.byteLength;
    const memory = used?.memory ?? makeKernelMemory(bytes / PAGE_BYTES, PAGES_MAX);
    growTo(memory, bytes);
    new Uint8Array(memory.buffer).set(new Uint8Array(source));
    return { memory, bytes, seed: this.seed, parked: this.copyParked() };
  }

  /** This writer's parked stores, in the order of parking; they stay parked. */
  copyParked(): ParkedRecord[] {
    return [...this.#park.stores()].map(recordOf);
  }

  /** Takes a rank's parked stores out, for the writer that the rank goes to. In the order of parking. */
  takeParked(rankSlot: number): ParkedRecord[] {
    const family = this.#familyOf(rankSlot);
    const stores = [...this.#park.stores()].filter((store) => family.includes(store.rankSlot));
    for (const slot of family) this.#park.clearRank(slot);
    return stores.map(recordOf);
  }

  /** Fills this index with what was read of another's copy. The ranks concerned must be empty. */
  importer(): IndexImport {
    const { hashes, prefixesAt } = this.#scratch;
    return new IndexImport({
      kernel: this.#kernel,
      prefixes: new Uint32Array(this.#memory.buffer, prefixesAt, 2 * STORE_BLOCKS_MAX),
      hashes,
      openContext: (key) => this.openContext(key),
      park: (store) => this.#parkStore({ ...store, sequence: this.#parkedSequence++, parkedMs: this.#nowMs }),
      evicted: () => {
        this.#reportEvictions();
      },
    });
  }

  /** What the index holds and has done. O(contexts × ranks). */
  stats(): PrefixIndexStats {
    const { reportAt } = this.#scratch;
    this.#kernel.indexStats(reportAt);
    const words = new Uint32Array(this.#memory.buffer, reportAt, STATS_WORDS);
    const [allocatedBytes, contextCount, prefixCount, holderCount, mappingCount] = words;
    return {
      memoryBytes: this.#memory.buffer.byteLength,
      allocatedBytes,
      contextCount,
      prefixCount,
      holderCount,
      mappingCount,
      setCount: words[5],
      deadCount: words[6],
      sweepCount: words[7],
      limboCount: words[8],
      parkedStoreCount: this.#park.storeCount,
      parkedBytes: this.#park.bytes,
      storesByOutcome: { ...this.#storesByOutcome },
      attachedStoreCount: this.#attachedStoreCount,
      clearedStoreCount: this.#clearedStoreCount,
      removedCount: this.#removedCount,
      unknownRemovalCount: this.#unknownRemovalCount,
      evictedByReason: { ...this.#evictedByReason },
    };
  }

  /**
   * Walks everything and holds it against the invariants of README.md. Slow: for tests and audits.
   *
   * @returns the violations, at most 64, each beginning with the invariant's number ("I4: …"); empty when all is well.
   */
  check(): string[] {
    const { reportAt } = this.#scratch;
    const count = this.#kernel.indexCheck(reportAt);
    const words = new Uint32Array(this.#memory.buffer, reportAt, FAULT_WORDS * count);
    return Array.from({ length: count }, (_, i) => {
      const [invariant, first, second] = words.subarray(FAULT_WORDS * i);
      return `I${invariant}: violated at ${first}, ${second}: ${INVARIANTS[invariant - 1]}`;
    });
  }

  #keyOf(contextId: number): ContextKey {
    if (contextId === this.#lastContextId && this.#lastKey !== null) return this.#lastKey;
    const key = this.#contextKeys.get(contextId);
    assert(key !== undefined, () => `context ${contextId} is not open: open it once per event`);
    this.#lastKey = key;
    this.#lastContextId = contextId;
    return this.#lastKey;
  }

  /** Reports to the listener what limits took. */
  #reportEvictions(): void {
    const { reportAt } = this.#scratch;
    this.#kernel.evictionsTake(reportAt);
    const words = new Uint32Array(this.#memory.buffer, reportAt, 3 + RANK_SLOTS_MAX / 32).slice();
    const rankSlots: number[] = [];
    for (let word = 3; word < words.length; word++)
      for (let bits = words[word]; bits !== 0; bits &= bits - 1)
        rankSlots.push(32 * (word - 3) + (31 - Math.clz32(bits & -bits)));
    for (const [i, reason] of KERNEL_REASONS.entries()) {
      if (words[i] === 0) continue;
      this.#evictedByReason[reason] += words[i];
      this.#onEviction?.(reason, words[i], rankSlots);
    }
  }

  /** Forgets the names of contexts that are gone. */
  #forgetContexts(): void {
    for (const [text, id] of this.#contextIds) if (!this.#isOpen(id)) this.#contextIds.delete(text);
    for (const id of this.#contextKeys.keys()) if (!this.#isOpen(id)) this.#contextKeys.delete(id);
  }
}

function recordOf(store: ParkedStore): ParkedRecord {
  const { context, rankSlot, tier, parentLow, parentHigh, tokens, hashes, extraDigests } = store;
  // Removals go on being noted in the store's own; nothing else of it changes.
  const removed = store.removed.slice();
  return { context, rankSlot, tier, parentLow, parentHigh, tokens, hashes, extraDigests, removed };
}

function makeMemory({ memoryBytesMax = MEMORY_BYTES_MAX }: PrefixIndexOptions): KernelMemory {
  const pagesMax = Math.ceil((memoryBytesMax * 1.25 + MEMORY_SLACK_BYTES) / PAGE_BYTES);
  return makeKernelMemory(PAGES_FIRST, Math.min(PAGES_MAX, pagesMax));
}

function initialise(kernel: KernelExports, contextCountMax: number, options: PrefixIndexOptions): void {
  const seed = BigInt.asUintN(64, BigInt(options.seed ?? DEFAULT_HASH_SEED));
  kernel.hashSeed(Number(seed & 0xffff_ffffn), Number(seed >> 32n));
  const [low0, low1, high0, high1] = options.secret ?? crypto.getRandomValues(new Uint32Array(4));
  kernel.tableSecret(low0, low1, high0, high1);
  const prefixesMax = options.prefixesPerContextMax ?? PREFIXES_PER_CONTEXT_MAX;
  kernel.indexInit(options.memoryBytesMax ?? MEMORY_BYTES_MAX, contextCountMax, prefixesMax);
}

function makeScratch(kernel: KernelExports, memory: KernelMemory): Scratch {
  const tokensAt = kernel.scratchMake(4 * (STORE_TOKENS_MAX + LOOKAHEAD_MAX));
  const hashesAt = kernel.scratchMake(8 * STORE_BLOCKS_MAX);
  const extrasAt = kernel.scratchMake(8 * STORE_BLOCKS_MAX);
  const prefixesAt = kernel.scratchMake(8 * STORE_BLOCKS_MAX);
  const skipsAt = kernel.scratchMake(STORE_BLOCKS_MAX);
  const notesAt = kernel.scratchMake(STORE_BLOCKS_MAX);
  const reportAt = kernel.scratchMake(4 * REPORT_WORDS);
  const describeAt = kernel.scratchMake(CONTEXT_RECORD_BYTES);
  const nameAt = kernel.scratchMake(CONTEXT_NAME_BYTES_MAX);
  // Only now, that the memory has its size: a view does not grow with it.
  const ends = [
    tokensAt + 4 * (STORE_TOKENS_MAX + LOOKAHEAD_MAX),
    hashesAt + 8 * STORE_BLOCKS_MAX,
    extrasAt + 8 * STORE_BLOCKS_MAX,
    prefixesAt + 8 * STORE_BLOCKS_MAX,
    skipsAt + STORE_BLOCKS_MAX,
    notesAt + STORE_BLOCKS_MAX,
    reportAt + 4 * REPORT_WORDS,
    describeAt + CONTEXT_RECORD_BYTES,
    nameAt + CONTEXT_NAME_BYTES_MAX,
  ];
  reach(memory, Math.max(...ends));
  return {
    tokens: new Uint32Array(memory.buffer, tokensAt, STORE_TOKENS_MAX + LOOKAHEAD_MAX),
    hashes: new Uint32Array(memory.buffer, hashesAt, 2 * STORE_BLOCKS_MAX),
    extraDigests: new Uint32Array(memory.buffer, extrasAt, 2 * STORE_BLOCKS_MAX),
    skips: new Uint8Array(memory.buffer, skipsAt, STORE_BLOCKS_MAX),
    notes: new Uint8Array(memory.buffer, notesAt, STORE_BLOCKS_MAX),
    tokensAt,
    hashesAt,
    extrasAt,
    notesAt,
    prefixesAt,
    reportAt,
    describeAt,
    nameAt,
  };
}

function checkOption(option: string, actual: number | undefined, min: number, max: number): void {
  if (actual === undefined || (Number.isInteger(actual) && actual >= min && actual <= max)) return;
  throw new IndexError(
    { code: "invalid_option", option, actual, expected: `${min} … ${max}` },
    `${option} is ${actual}, expected a whole number in ${min} … ${max}`,
  );
}

function checkLookahead(lookahead: number): void {
  if (Number.isInteger(lookahead) && lookahead >= 0 && lookahead <= LOOKAHEAD_MAX) return;
  throw new IndexError(
    { code: "invalid_lookahead", lookahead, lookaheadMax: LOOKAHEAD_MAX },
    `a lookahead of ${lookahead} tokens is not a whole number in 0 … ${LOOKAHEAD_MAX}`,
  );
}

function checkRankSlot(rankSlot: number): void {
  if (Number.isInteger(rankSlot) && rankSlot >= 0 && rankSlot < RANK_SLOTS_MAX) return;
  throw new IndexError(
    { code: "invalid_rank_slot", rankSlot, rankSlotsMax: RANK_SLOTS_MAX },
    `rank slot ${rankSlot} is not a whole number in 0 … ${RANK_SLOTS_MAX - 1}`,
  );
}

function checkHolderSlot(slot: number): void {
  if (!(Number.isInteger(slot) && slot >= RANK_SLOTS_MAX && slot < HOLDER_SLOTS_MAX)) checkRankSlot(slot);
}

function checkBlockCount(blockCount: number): void {
  if (blockCount <= STORE_BLOCKS_MAX) return;
  throw new IndexError(
    { code: "too_many_blocks", actual: blockCount, expectedMax: STORE_BLOCKS_MAX },
    `${blockCount} blocks in one call, at most ${STORE_BLOCKS_MAX} fit`,
  );
}
