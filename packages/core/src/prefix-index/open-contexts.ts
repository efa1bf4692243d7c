/**
 * The contexts that a writer has opened, by key and by id. A limit, other writers, or being empty ends a context. So each
 * use of an id asks the kernel for it first, which is one load.
 *
 * Invariants
 *  X1  `open` returns the id of a context that was there when it was asked for.
 *  X2  At most 2 × `contextCountMax` + `CONTEXTS_GONE_MAX` + 1 keys are kept; beyond, those of contexts that are gone are forgotten.
 */
import { assert } from "../assert.ts";
import { checkLookahead } from "./call-checks.ts";
import { contextIdOf, encodeName, keyText, serialOf, slotOf } from "./context-table.ts";
import type { ContextKey } from "./contract.ts";
import type { KernelExports, KernelMemory } from "./kernel.ts";
import { checkBlockSize } from "./prefix-hasher.ts";

/** Names of contexts that are gone, kept beside those there are before they are forgotten. */
const CONTEXTS_GONE_MAX = 64;

/** A writer's contexts. */
export class OpenContexts {
  readonly #kernel: KernelExports;
  readonly #memory: KernelMemory;
  readonly #nameAt: number;
  readonly #contextCountMax: number;
  readonly #takeEvictions: () => void;
  readonly #ids = new Map<string, number>();
  readonly #keys = new Map<number, ContextKey>();
  /** The last key asked for: nearly always the next one too, and comparing is cheaper than making a Map key. */
  #lastKey: ContextKey | null = null;
  #lastId = -1;

  /**
   * @param nameAt - address of room for a context's name.
   * @param takeEvictions - called when making a context dropped another.
   */
  constructor(
    kernel: KernelExports,
    memory: KernelMemory,
    nameAt: number,
    contextCountMax: number,
    takeEvictions: () => void,
  ) {
    this.#kernel = kernel;
    this.#memory = memory;
    this.#nameAt = nameAt;
    this.#contextCountMax = contextCountMax;
    this.#takeEvictions = takeEvictions;
  }

  /**
   * The id of a context, made on first use.
   *
   * @param rankSlot - the rank that will store to it; −1 for none.
   * @throws IndexError `invalid_block_size`, `invalid_lookahead`, `context_name_too_long`.
   */
  open(key: ContextKey, rankSlot: number): number {
    const last = this.#lastKey;
    if (
      last?.model === key.model &&
      last.loraName === key.loraName &&
      last.blockSize === key.blockSize &&
      last.lookahead === key.lookahead &&
      this.#isOpen(this.#lastId)
    )
      return this.#lastId;
    const known = this.#ids.get(keyText(key)) ?? -1;
    const id = this.#isOpen(known) ? known : this.#make(key, rankSlot);
    this.#lastKey = { ...key };
    this.#lastId = id;
    return id;
  }

  /** The key of a context that `open` returned. */
  keyOf(id: number): ContextKey {
    if (id === this.#lastId && this.#lastKey !== null) return this.#lastKey;
    const key = this.#keys.get(id);
    assert(key !== undefined, () => `context ${id} is not open: open it once per event`);
    this.#lastKey = key;
    this.#lastId = id;
    return key;
  }

  #isOpen(id: number): boolean {
    return id >= 0 && this.#kernel.contextSerial(slotOf(id)) === serialOf(id);
  }

  #make(key: ContextKey, rankSlot: number): number {
    checkBlockSize(key.blockSize);
    checkLookahead(key.lookahead);
    const name = encodeName(key);
    new Uint8Array(this.#memory.buffer, this.#nameAt, name.length).set(name);
    const slot = this.#kernel.contextMake(key.blockSize, key.lookahead, this.#nameAt, name.length, rankSlot);
    if (this.#kernel.hasEvictions() !== 0) this.#takeEvictions();
    const id = contextIdOf(slot, this.#kernel.contextSerial(slot));
    if (this.#keys.size > 2 * this.#contextCountMax + CONTEXTS_GONE_MAX) this.#forgetGone();
    this.#ids.set(keyText(key), id);
    this.#keys.set(id, { ...key });
    return id;
  }

  #forgetGone(): void {
    for (const [text, id] of this.#ids) if (!this.#isOpen(id)) this.#ids.delete(text);
    for (const id of this.#keys.keys()) if (!this.#isOpen(id)) this.#keys.delete(id);
  }
}
