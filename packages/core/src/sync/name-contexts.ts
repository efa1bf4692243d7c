/**
 * The contexts that a rank stores in, and the names that stand for blocks in more than one of them.
 *
 *     name 7 ─┬─ context (m, no adapter)     block A        A removal, a placeholder and a group's store carry a
 *             └─ context (m, adapter X)      block B        name and no context: which block do they mean?
 *
 * An engine's hash covers what makes a context (adapter, lookahead, block size), so that one name in two contexts is no
 * name of one block. The index takes the context that was stored to last; the engine may mean the other one.
 *
 * Invariants (name-contexts.test.ts)
 *  N1  A rank with one context is asked nothing: almost every rank has one.
 *  N2  A name that is held in two contexts of the rank is found by each question.
 *  N3  At most `CONTEXTS_MAX` contexts are kept, those stored to last.
 *  N4  Some contexts of a rank may be unknown: more than are kept, or than go along with it. Then every name may be held in one
 *      of them. A name that is still held after a removal is ambiguous, and so is one that a placeholder or a group's store
 *      carries.
 *
 * Not here: the effect of an ambiguous name on trust (event-applier.ts, A13).
 */
import {
  type ContextKey,
  HELD_BLOCK,
  type IndexWriter,
  LAST_COPY,
  type Tier,
} from "../prefix-index/contract.ts";

/** Contexts of a rank that are asked about: as many as an index has by default. */
export const CONTEXTS_MAX = 1024;
/** Contexts that go with a stream to another thread or into a snapshot. */
export const CONTEXTS_KEPT_MAX = 64;

/** A context of a rank, without its model, as plain data. */
export type RankContext = Omit<ContextKey, "model">;

/** The contexts of one rank. */
export class NameContexts {
  readonly #index: IndexWriter;
  readonly #rankSlot: number;
  /** By id, in the order in which they were last stored to. */
  readonly #contexts = new Map<number, ContextKey>();
  #last = -1;
  /** N4 */
  #areSomeUnknown = false;

  constructor(index: IndexWriter, rankSlot: number) {
    this.#index = index;
    this.#rankSlot = rankSlot;
  }

  /** Whether the rank has one context at most, so that no name is ambiguous (N1). */
  get isSingle(): boolean {
    return this.#contexts.size < 2 && !this.#areSomeUnknown;
  }

  /** Id of the context that was stored to last; −1 before any. */
  get last(): number {
    return this.#last;
  }

  /** The id of a context that the rank stores to. */
  open(key: ContextKey): number {
    const contextId = this.#index.openContext(key, this.#rankSlot);
    if (contextId !== this.#last) this.#note(contextId, key);
    return contextId;
  }

  #note(contextId: number, key: ContextKey): void {
    this.#last = contextId;
    this.#contexts.delete(contextId);
    this.#contexts.set(contextId, key);
    if (this.#contexts.size <= CONTEXTS_MAX) return;
    const [oldest] = this.#contexts.keys();
    this.#contexts.delete(oldest);
    this.#areSomeUnknown = true;
  }

  /** Forgets everything: the rank is empty. */
  clear(): void {
    this.#contexts.clear();
    this.#last = -1;
    this.#areSomeUnknown = false;
  }

  /** Everything as plain data, the context stored to last at the end; null when it is too much to be kept. */
  state(): RankContext[] | null {
    if (this.#areSomeUnknown || this.#contexts.size > CONTEXTS_KEPT_MAX) return null;
    return [...this.#contexts.values()].map(({ loraName, blockSize, lookahead }) => ({
      loraName,
      blockSize,
      lookahead,
    }));
  }

  /** Takes over what another one had, whose blocks the index holds. */
  restore(model: string, state: readonly RankContext[] | null): void {
    this.clear();
    this.#areSomeUnknown = state === null;
    for (const context of state ?? []) this.open({ model, ...context });
  }

  /**
   * How many of the removed blocks may have been the wrong ones. The names are in the index's scratch, and its notes are
   * those of the removal; they are overwritten.
   *
   * @param slot - the holder that the blocks were removed from.
   * @param hadParked - whether stores of the rank waited: a removal takes those first, whatever their context.
   */
  countRemoved(slot: number, tier: Tier, blockCount: number, hadParked: boolean): number {
    const index = this.#index;
    const { notes } = index;
    const taken = notes.slice(0, blockCount);
    index.noteHeld(slot, tier, blockCount);
    let ambiguous = 0;
    const areAllAmbiguous = hadParked || this.#areSomeUnknown;
    for (let i = 0; i < blockCount; i += 1) {
      if (notes[i] !== HELD_BLOCK) continue;
      if (areAllAmbiguous || taken[i] === LAST_COPY || this.#contextsOf(i, 2, -1) > 1) ambiguous += 1;
    }
    return ambiguous;
  }

  /** How many of the names in the index's scratch are held in several contexts. */
  countNamed(blockCount: number): number {
    if (this.#areSomeUnknown) return blockCount;
    let ambiguous = 0;
    for (let i = 0; i < blockCount; i += 1) if (this.#contextsOf(i, 2, -1) > 1) ambiguous += 1;
    return ambiguous;
  }

  /**
   * Whether a run of names that is stored to a context stands for blocks of another one. Names chain, so that its first and
   * its last show it.
   */
  isRunElsewhere(contextId: number, blockCount: number): boolean {
    if (this.#areSomeUnknown) return true;
    return this.#contextsOf(0, 1, contextId) > 0 || this.#contextsOf(blockCount - 1, 1, contextId) > 0;
  }

  /** In how many contexts but `except` the name in place `i` is held, counted up to `most`. */
  #contextsOf(i: number, most: number, except: number): number {
    const { hashes } = this.#index.scratch;
    let count = 0;
    for (const contextId of this.#contexts.keys()) {
      if (contextId === except) continue;
      if (this.#index.hasBlock(contextId, this.#rankSlot, hashes[2 * i], hashes[2 * i + 1])) count += 1;
      if (count === most) break;
    }
    return count;
  }
}
