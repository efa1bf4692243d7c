/**
 * One store of a run in a writer's scratch: the kernel's call, its outcome, and the notes that it left.
 *
 *     outcome of the kernel   kind │ + EVICTED: limits took blocks │ + NOTED: a block has a note
 *
 * Numbers only are passed to the kernel: a boolean, or a word of more than 31 bits, costs a call of V8's runtime.
 *
 * Invariant
 *  C1  `hasNotes` is true when a block of a caller's last store has a note; `attachedRenames` is of the stores that it
 *      attached. `begin` clears both.
 */
import { RENAMED_BLOCK, type RepeatRule, type StoreOutcome, type Tier } from "./contract.ts";
import { serialOf, slotOf } from "./context-table.ts";
import type { IndexReport } from "./index-report.ts";
import type { KernelExports } from "./kernel.ts";
import {
  CONTEXT_GONE,
  EVICTED,
  MEMORY_LIMIT,
  NOTED,
  REPEATED,
  REPEATS_COUNT,
  REPEATS_EACH,
  REPEATS_IF_ALL,
  STORED,
  TOO_MANY_BLOCKS,
  UNKNOWN_PARENT,
} from "./kernel-boundary.generated.ts";
import type { WriterScratch } from "./writer-memory.ts";

/** By the kernel's number of an outcome; `gone`: the context was dropped. */
const OUTCOMES: (StoreOutcome | "gone")[] = [];
OUTCOMES[STORED] = "stored";
OUTCOMES[UNKNOWN_PARENT] = "parked";
OUTCOMES[MEMORY_LIMIT] = "rejected_memory_limit";
OUTCOMES[TOO_MANY_BLOCKS] = "rejected_too_many_blocks";
OUTCOMES[CONTEXT_GONE] = "gone";
OUTCOMES[REPEATED] = "repeated";

const REPEAT_CODES: Readonly<Record<RepeatRule, number>> = {
  count: REPEATS_COUNT,
  skip_all: REPEATS_IF_ALL,
  skip_each: REPEATS_EACH,
};

/** What a store needs to know beside what lies in scratch. */
export interface StoreRequest {
  readonly contextId: number;
  readonly rankSlot: number;
  readonly tier: Tier;
  readonly blockCount: number;
  readonly hasParent: boolean;
  readonly parentLow: number;
  readonly parentHigh: number;
  readonly hasExtra: boolean;
}

/** The kernel's stores of one writer. */
export class StoreCalls {
  readonly #kernel: KernelExports;
  readonly #scratch: WriterScratch;
  readonly #report: IndexReport;
  #hasNotes = false;
  #attachedRenames: number[] = [];

  constructor(kernel: KernelExports, scratch: WriterScratch, report: IndexReport) {
    this.#kernel = kernel;
    this.#scratch = scratch;
    this.#report = report;
  }

  /** Whether a block of the last store has a note. */
  get hasNotes(): boolean {
    return this.#hasNotes;
  }

  /** Names, low then high word, that came to mean another block with stores that were attached. */
  get attachedRenames(): readonly number[] {
    return this.#attachedRenames;
  }

  /** Begins a store of a caller. */
  begin(): void {
    this.#hasNotes = false;
    if (this.#attachedRenames.length > 0) this.#attachedRenames = [];
  }

  /** Notes blocks beside the kernel's notes. */
  setNoted(): void {
    this.#hasNotes = true;
  }

  /**
   * Stores from scratch.
   *
   * @param skipsAt - 0, or the address of `scratch.skips`.
   */
  store(
    contextId: number,
    rankSlot: number,
    tier: Tier,
    blockCount: number,
    hasParent: boolean,
    parentLow: number,
    parentHigh: number,
    hasExtra: boolean,
    skipsAt: number,
    repeats: RepeatRule,
  ): StoreOutcome | "gone" {
    const { tokensAt, hashesAt, extrasAt, prefixesAt, notesAt } = this.#scratch;
    const outcome = this.#kernel.indexStore(
      slotOf(contextId),
      serialOf(contextId),
      rankSlot,
      tier,
      blockCount,
      Number(hasParent),
      parentLow | 0,
      parentHigh | 0,
      tokensAt,
      hashesAt,
      hasExtra ? extrasAt : 0,
      skipsAt,
      prefixesAt,
      REPEAT_CODES[repeats],
      notesAt,
    );
    if (outcome === STORED) return "stored";
    if ((outcome & EVICTED) !== 0) this.#report.takeEvictions();
    if ((outcome & NOTED) !== 0) this.#hasNotes = true;
    return OUTCOMES[outcome % EVICTED];
  }

  /** Stores what was parked and lies in scratch: it counts copies, and its notes go to `attachedRenames`. */
  attach(request: StoreRequest): StoreOutcome | "gone" {
    const { hashes, notes, skipsAt } = this.#scratch;
    const { contextId, rankSlot, tier, blockCount, hasParent, parentLow, parentHigh, hasExtra } = request;
    const hadNotes = this.#hasNotes;
    notes.fill(0, 0, blockCount);
    const outcome = this.store(
      contextId,
      rankSlot,
      tier,
      blockCount,
      hasParent,
      parentLow,
      parentHigh,
      hasExtra,
      skipsAt,
      "count",
    );
    for (let i = 0; i < blockCount; i++)
      if ((notes[i] & RENAMED_BLOCK) !== 0) this.#attachedRenames.push(hashes[2 * i], hashes[2 * i + 1]);
    this.#hasNotes = hadNotes;
    return outcome;
  }
}
