/**
 * The exact prefix index: the kernel (kernel/) behind the words of contract.ts. See README.md next to this file for the
 * layout, the invariants and what each operation costs.
 *
 *     PrefixIndex (one writing thread) ──store, remove, clear──▶ shared memory ◀──lookups── PrefixReader (any thread)
 *        ├─ OpenContexts    contexts by key and id
 *        ├─ BlockStores     stores, and what they attach ──▶ StoreCalls: one call of the kernel
 *        ├─ GroupStores     stores of further KV-cache groups
 *        ├─ WaitingStores   stores whose parent is unknown, in this thread's own memory
 *        └─ IndexReport     counts, evictions, faults
 *
 * Only what is foreign is checked here: numbers of blocks, slots, block sizes. Context ids are the caller's promise.
 */
import { BlockStores } from "./block-stores.ts";
import { ByteDigester } from "./byte-digester.ts";
import { checkBlockCount, checkHolderSlot, checkRankSlot } from "./call-checks.ts";
import { type ContextSummary, listContexts, serialOf, slotOf } from "./context-table.ts";
import {
  type ContextKey,
  type EvictionReason,
  GROUP_RULES,
  type GroupKind,
  type GroupShape,
  type GroupStoreOutcome,
  type IndexScratch,
  type IndexWriter,
  RANK_SLOTS_MAX,
  type RepeatRule,
  type StoreOutcome,
  type Tier,
  UNNUMBERED_GROUP,
} from "./contract.ts";
import { GroupStores } from "./group-stores.ts";
import { kindNumber } from "./group-table.ts";
import { type IndexCopy, IndexImport, type ParkedRecord } from "./index-copy.ts";
import { checkOptions, limitsOf, type PrefixIndexOptions } from "./index-options.ts";
import { IndexReport, type KernelCounts } from "./index-report.ts";
import type { KernelExports, KernelMemory } from "./kernel.ts";
import { growTo, instantiateKernel, makeKernelMemory, PAGE_BYTES, PAGES_MAX } from "./kernel.ts";
import { COUNT_EVICTED } from "./kernel-boundary.generated.ts";
import { OpenContexts } from "./open-contexts.ts";
import { checkBlockSize } from "./prefix-hasher.ts";
import type { SharedPrefixIndex } from "./prefix-reader.ts";
import { type RankRows, readRank } from "./rank-rows.ts";
import { StoreCalls } from "./store-calls.ts";
import { WaitingStores } from "./waiting-stores.ts";
import {
  initialiseIndex,
  makeIndexMemory,
  makeWriterScratch,
  STORE_BLOCKS_MAX,
  type WriterScratch,
} from "./writer-memory.ts";

/** What an index holds and has done. */
export interface PrefixIndexStats extends KernelCounts {
  /** Linear memory asked of the system; it never shrinks. */
  readonly memoryBytes: number;
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

/** For no rank in particular. */
const NO_RANK = -1;

/** The writing side of the index, and its owner. */
export class PrefixIndex implements IndexWriter {
  /** For `PrefixReader.attach`, here or in another thread. */
  readonly shared: SharedPrefixIndex;
  readonly #kernel: KernelExports;
  readonly #memory: KernelMemory;
  readonly #scratch: WriterScratch;
  readonly #digester: ByteDigester;
  readonly #report: IndexReport;
  readonly #contexts: OpenContexts;
  readonly #calls: StoreCalls;
  readonly #waiting: WaitingStores;
  readonly #stores: BlockStores;
  readonly #groupStores: GroupStores;
  readonly #groupSlots: { readonly first: number; readonly step: number };
  #removedCount = 0;
  #unknownRemovalCount = 0;

  private constructor(options: PrefixIndexOptions, shared: SharedPrefixIndex | null) {
    const limits = limitsOf(options);
    const memory = shared === null ? makeIndexMemory(limits) : shared.memory;
    const kernel = instantiateKernel(memory);
    if (shared === null) initialiseIndex(kernel, limits);
    const scratch = makeWriterScratch(kernel, memory);
    const report = new IndexReport(kernel, memory, scratch.reportAt, limits.onEviction);
    this.#groupSlots = { first: RANK_SLOTS_MAX + limits.part.number, step: limits.part.count };
    this.#memory = memory;
    this.#kernel = kernel;
    this.#scratch = scratch;
    this.#report = report;
    this.#digester = new ByteDigester(kernel, memory);
    this.#contexts = new OpenContexts(kernel, memory, scratch.nameAt, limits.contextCountMax, () => {
      report.takeEvictions();
    });
    this.#calls = new StoreCalls(kernel, scratch, report);
    this.#waiting = new WaitingStores(kernel, scratch, report, limits);
    this.#stores = new BlockStores(scratch, this.#contexts, this.#calls, this.#waiting);
    this.#groupStores = new GroupStores(kernel, scratch, this.#stores);
    this.shared = { memory };
  }

  /**
   * Makes an empty index.
   *
   * @throws IndexError `invalid_option` when a limit is out of its range.
   */
  static create(options: PrefixIndexOptions = {}): PrefixIndex {
    checkOptions(options);
    return new PrefixIndex(options, null);
  }

  /**
   * A second writer of an index, for another thread. A rank belongs to one writer at a time; contexts belong to all.
   *
   * @param shared - `PrefixIndex.shared` of the first.
   * @param options - park and listener are this writer's own; the limits of the index are the first one's, and have to be
   *   the same here.
   * @throws IndexError `invalid_option` when a limit is out of its range.
   */
  static attach(shared: SharedPrefixIndex, options: PrefixIndexOptions = {}): PrefixIndex {
    checkOptions(options);
    return new PrefixIndex(options, shared);
  }

  /** Input memory of the next store or remove: `STORE_TOKENS_MAX` tokens (and `LOOKAHEAD_MAX`), `STORE_BLOCKS_MAX` hashes and digests. */
  get scratch(): IndexScratch {
    return this.#scratch;
  }

  /**
   * The id of a context, made on first use. Making one beyond `contextCountMax` drops another (contract.ts S11).
   *
   * @param rankSlot - the rank that will store to it, for its engine's share of contexts.
   * @throws IndexError `invalid_block_size`, `invalid_lookahead`, `context_name_too_long`.
   */
  openContext(key: ContextKey, rankSlot: number = NO_RANK): number {
    return this.#contexts.open(key, rankSlot);
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
    this.#calls.begin();
    return this.#stores.store(
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
    const { first, step } = this.#groupSlots;
    const slot = this.#kernel.rankGroup(rankSlot, index, ...numbers, windowTokens, blockSize, first, step);
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
    checkHolderSlot(groupSlot);
    this.#calls.begin();
    return this.#groupStores.store(
      {
        contextId,
        rankSlot: groupSlot,
        tier,
        blockCount,
        hasParent,
        parentLow,
        parentHigh,
        hasExtra,
      },
      stride,
      hasTokens,
    );
  }

  /** See `IndexWriter.storeKnownBlocks`. */
  storeKnownBlocks(rankSlot: number, tier: Tier, blockCount: number): number {
    checkRankSlot(rankSlot);
    checkBlockCount(blockCount);
    return this.#countOf(this.#kernel.indexStoreKnown(rankSlot, tier, blockCount, this.#scratch.hashesAt));
  }

  /** See `IndexWriter.removeBlocks`. */
  removeBlocks(rankSlot: number, tier: Tier, blockCount: number): number {
    checkHolderSlot(rankSlot);
    checkBlockCount(blockCount);
    const { hashes, hashesAt, notes, notesAt } = this.#scratch;
    const parked = this.#waiting.removeNamed(rankSlot, tier, blockCount);
    const left = blockCount - (parked?.count ?? 0);
    let removed = this.#countOf(this.#kernel.indexRemove(rankSlot, tier, left, hashesAt, notesAt));
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
    this.#report.takeEvictions();
    return outcome - COUNT_EVICTED;
  }

  /** See `IndexWriter.clearRank`. O(holder sets of the rank's contexts); its blocks are swept by later writes. */
  clearRank(rankSlot: number): void {
    checkRankSlot(rankSlot);
    this.#waiting.clearRank(rankSlot);
    this.#kernel.indexClear(rankSlot);
  }

  /**
   * Says what time it is, for the age of parked stores: those that waited longer than `parkedAgeMsMax` are given up, with the
   * reason `park_limit`. Without calls nothing ages.
   *
   * @param nowMs - of any clock that does not go back.
   */
  passTime(nowMs: number): void {
    this.#waiting.passTime(nowMs);
  }

  /** Stores of a rank that wait for their parents: blocks that its engine holds and lookups miss. */
  parkedStoreCount(rankSlot: number): number {
    checkRankSlot(rankSlot);
    return this.#waiting.countOf(rankSlot);
  }

  /**
   * Says that a rank is of the same engine as others: engines share contexts (contract.ts S11), not ranks. Default: of its own.
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
    return this.#calls.hasNotes;
  }

  /** See `IndexWriter.attachedRenames`. */
  get attachedRenames(): readonly number[] {
    return this.#calls.attachedRenames;
  }

  /** See `IndexWriter.hasGivenUpParent`. O(blocks). */
  hasGivenUpParent(rankSlot: number, blockCount: number): boolean {
    checkRankSlot(rankSlot);
    checkBlockCount(blockCount);
    return this.#waiting.hasGivenUpParent(rankSlot, blockCount);
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
    const { hashesAt, notesAt } = this.#scratch;
    this.#kernel.indexNoteHeld(holderSlot, tier, blockCount, hashesAt, notesAt);
  }

  /** See `IndexWriter.hasParked`. */
  hasParked(rankSlot: number): boolean {
    checkRankSlot(rankSlot);
    return this.#waiting.storeCount > 0 && this.#waiting.familyOf(rankSlot) !== null;
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
    return this.#report.seed().value;
  }

  /** Whether prefix hashes are those of kernel/keyed-hash.ts. */
  get hasKeyedHashes(): boolean {
    return this.#report.seed().isKeyed;
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
    const { seed, hasKeyedHashes } = this;
    return { memory, bytes, seed, hasKeyedHashes, parked: this.copyParked() };
  }

  /** This writer's parked stores, in the order of parking; they stay parked. */
  copyParked(): ParkedRecord[] {
    return this.#waiting.records();
  }

  /** Takes a rank's parked stores out, for the writer that the rank goes to. In the order of parking. */
  takeParked(rankSlot: number): ParkedRecord[] {
    checkRankSlot(rankSlot);
    return this.#waiting.takeRank(rankSlot);
  }

  /** Fills this index with what was read of another's copy. The ranks concerned must be empty. */
  importer(): IndexImport {
    const { hashes, prefixesAt } = this.#scratch;
    return new IndexImport({
      kernel: this.#kernel,
      prefixes: new Uint32Array(this.#memory.buffer, prefixesAt, 2 * STORE_BLOCKS_MAX),
      hashes,
      groupSlots: this.#groupSlots,
      openContext: (key) => this.openContext(key),
      park: (store) => this.#waiting.park(store),
      evicted: () => {
        this.#report.takeEvictions();
      },
    });
  }

  /**
   * Everything of a rank but its parked stores (`takeParked`), for another index; it stays here. The scratch is used.
   * O(blocks of the rank's contexts), some nanoseconds for each that is another rank's.
   */
  exportRank(rankSlot: number): RankRows {
    checkRankSlot(rankSlot);
    const { tokensAt, hashesAt } = this.#scratch;
    const [kernel, memory, contexts] = [this.#kernel, this.#memory, this.contexts()];
    return readRank({ kernel, memory, contexts, outAt: tokensAt, cursorAt: hashesAt }, rankSlot);
  }

  /** What the index holds and has done. O(contexts × ranks). */
  stats(): PrefixIndexStats {
    return {
      ...this.#report.counts(),
      memoryBytes: this.#memory.buffer.byteLength,
      parkedStoreCount: this.#waiting.storeCount,
      parkedBytes: this.#waiting.bytes,
      storesByOutcome: this.#stores.countByOutcome,
      attachedStoreCount: this.#stores.attachedCount,
      clearedStoreCount: this.#waiting.clearedCount,
      removedCount: this.#removedCount,
      unknownRemovalCount: this.#unknownRemovalCount,
      evictedByReason: this.#report.evictedByReason,
    };
  }

  /**
   * Walks everything and holds it against the invariants of README.md. Slow: for tests and audits.
   *
   * @returns the violations, at most 64, each beginning with the invariant's number ("I4: …"); empty when all is well.
   */
  check(): string[] {
    return this.#report.faults();
  }
}
