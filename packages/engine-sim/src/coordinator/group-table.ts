/**
 * The blocks that running requests hold in one group of layers.
 *
 *     request │ · · ■ ■ ■ □ □          · left behind by a window, or a state that was not kept: the null block
 *             │     └───┘ named        □ not full yet
 *             │ 0 … `cached` blocks need not be looked at again
 *
 *  T1  Blocks of a request are in the order of its tokens; a null block is held by none.
 *  T2  A Mamba group holds the state at the end of each step and the one before it. Older states
 *      are given back. A state that another request may copy is named only at a block's end or the
 *      last boundary inside its prompt (M3 of the pool).
 *  T3  A hit that ends inside a block is continued on a private copy.
 *
 * Source: vllm/v1/core/single_type_kv_cache_manager.py, 0.33.0.
 */
import { assert } from "@kvsync/core";
import { at } from "./at.ts";
import type { GroupSettings, ResolvedCache } from "./cache-settings.ts";
import { nameOfBlock, reachableBlocks, skippedTokens } from "./group-rules.ts";
import { type KvBlockPool, NULL_BLOCK } from "./kv-block-pool.ts";

/** What a table reads of a request. */
export interface RequestTokens {
  readonly id: string;
  readonly tokens: number[];
  readonly promptCount: number;
  /** Names at the hash block size, as many as there can be. */
  readonly names: number[];
}

/** Where a table announces what it names. */
export interface TableEvents {
  /** Blocks `numbers` of the span of tokens now bear names; they are counted in units of `blockSize`. */
  stored(
    request: RequestTokens,
    group: number,
    blockSize: number,
    fromToken: number,
    endToken: number,
    numbers: readonly number[],
  ): void;
}

interface Row {
  readonly blocks: number[];
  /** Blocks that were looked at for naming; −1 before the request has any. */
  cached: number;
  /** The block that a hit ends inside, until it is copied (T3). */
  partial: { readonly block: number; readonly source: number } | null;
  /** Mamba: whether a step took blocks; block of the state before the last; blocks given back. */
  hasTaken: boolean;
  lastState: number;
  retired: number;
}

/** One group's block tables. */
export class GroupTable {
  readonly groupId: number;
  readonly dropsBlock: boolean;
  readonly #settings: GroupSettings;
  readonly #cache: ResolvedCache;
  readonly #pool: KvBlockPool;
  readonly #events: TableEvents;
  readonly #isReachable: ((block: number) => boolean) | null;
  readonly #rows = new Map<string, Row>();
  /** Keys that this step named: their states exist only after it. */
  readonly #namedThisStep = new Set<number>();
  /** Private copies of this step, which are held once more until it ends. */
  readonly #copies: number[] = [];

  constructor(
    groupId: number,
    cache: ResolvedCache,
    dropsBlock: boolean,
    pool: KvBlockPool,
    events: TableEvents,
  ) {
    this.groupId = groupId;
    this.dropsBlock = dropsBlock;
    this.#settings = at(cache.groups, groupId);
    this.#cache = cache;
    this.#pool = pool;
    this.#events = events;
    this.#isReachable = reachableBlocks(this.#settings, dropsBlock, cache.alignment);
  }

  /** Gives back what no later token needs. */
  giveBackSkipped({ id }: RequestTokens, computed: number): void {
    const skipped = skippedTokens(this.#settings, computed);
    const row = this.#rows.get(id);
    if (row === undefined) return;
    const { blocks } = row;
    const end = Math.min(Math.floor(skipped / this.#settings.blockSize), blocks.length);
    if (this.#settings.kind !== "mamba") {
      const gone: number[] = [];
      for (let block = end - 1; block >= 0 && blocks[block] !== NULL_BLOCK; block -= 1) {
        gone.push(at(blocks, block));
        blocks[block] = NULL_BLOCK;
      }
      this.#pool.release(gone);
      return;
    }
    const gone: number[] = [];
    for (let block = end - 1; block >= row.retired; block -= 1) {
      if (blocks[block] === NULL_BLOCK) continue;
      gone.push(at(blocks, block));
      blocks[block] = NULL_BLOCK;
    }
    this.#pool.release(gone);
    row.retired = Math.max(row.retired, end);
    const { lastState } = row;
    if (lastState < 0 || lastState >= Math.ceil(computed / this.#settings.blockSize) - 1) return;
    this.#pool.release([at(blocks, lastState)]);
    blocks[lastState] = NULL_BLOCK;
  }

  /**
   * Blocks to be taken from the free queue, those of the hit that are in it included.
   *
   * @param end - tokens that will have been computed.
   * @param hit - blocks of the hit; empty for a running request.
   * @param before - tokens that are computed, the hit included.
   */
  blocksWanted({ id }: RequestTokens, end: number, hit: readonly number[], before: number): number {
    const { blockSize } = this.#settings;
    const row = this.#rows.get(id);
    if (this.#settings.kind === "mamba") return this.#statesWanted(row, end, hit, before);
    const required = Math.ceil(end / blockSize);
    if (row !== undefined) return Math.max(required - row.blocks.length, 0);
    const skipped = Math.floor(skippedTokens(this.#settings, before) / blockSize);
    const taken = Math.max(required - Math.max(skipped, hit.length), 0);
    return taken + this.#freeAmong(hit.slice(skipped)) + (isPartial(hit, before, blockSize) ? 1 : 0);
  }

  #statesWanted(row: Row | undefined, end: number, hit: readonly number[], before: number): number {
    const { blockSize } = this.#settings;
    const last = hit.at(-1);
    // A state that this very step computes cannot be copied yet.
    if (last !== undefined && this.#namedThisStep.has(this.#pool.keyOfBlock(last)))
      return this.#cache.blocks + 1;
    const copies = isPartial(hit, before, blockSize) || (row?.partial ?? null) !== null;
    let taken = Math.ceil(end / blockSize) - hit.length - (row?.blocks.length ?? 0);
    if (copies) taken = Math.max(taken, 0) + 1;
    if (taken > 0) taken = Math.min(taken, copies ? 2 : 1);
    return taken + this.#freeAmong(hit);
  }

  #freeAmong(ids: readonly number[]): number {
    return ids.filter((id) => this.#pool.isFree(id)).length;
  }

  /** Begins a request with the blocks of its hit. */
  adopt({ id }: RequestTokens, hit: readonly number[], hitTokens: number): void {
    const { blockSize } = this.#settings;
    const skipped = Math.max(0, Math.floor(skippedTokens(this.#settings, hitTokens) / blockSize));
    const kept = hit.slice(skipped);
    this.#pool.hold(kept);
    const blocks = [...new Array<number>(skipped).fill(NULL_BLOCK), ...kept];
    const row: Row = {
      blocks,
      cached: blocks.length,
      partial: null,
      hasTaken: false,
      lastState: -1,
      retired: 0,
    };
    const last = kept.at(-1);
    if (last !== undefined && hitTokens % blockSize !== 0) {
      row.cached = Math.floor(hitTokens / blockSize);
      row.partial = { block: row.cached, source: last };
    }
    this.#rows.set(id, row);
  }

  /** Takes blocks for tokens up to `end`. `blocksWanted` said that there are enough. */
  extend({ id }: RequestTokens, end: number): void {
    const row = this.#row(id);
    const required = Math.ceil(end / this.#settings.blockSize);
    if (this.#settings.kind === "mamba") {
      this.#extendStates(row, required);
      return;
    }
    if (row.partial !== null) {
      const { block, source } = row.partial;
      this.#copy(row, block, source);
    }
    const { blocks } = row;
    if (required > blocks.length) blocks.push(...this.#pool.take(required - blocks.length));
  }

  // T2
  #extendStates(row: Row, required: number): void {
    const { blocks, partial } = row;
    if (required <= blocks.length && partial === null) {
      row.hasTaken = true;
      return;
    }
    if (blocks.length > 0) row.lastState = blocks.length - 1;
    for (let block = blocks.length; block < required - 1; block += 1) blocks.push(NULL_BLOCK);
    const taken = this.#pool.take(Math.max(required - blocks.length, 0) + (partial === null ? 0 : 1));
    if (partial !== null) {
      const copy = taken.shift();
      assert(copy !== undefined, "a copy was asked for");
      if (row.hasTaken) this.#keepBoundary(partial.source, copy);
      else this.#copyTo(row, partial.block, partial.source, copy);
    }
    blocks.push(...taken);
    row.hasTaken = true;
    row.partial = null;
  }

  // The request goes on writing into its block; the names move to a copy of what it was.
  #keepBoundary(source: number, copy: number): void {
    this.#pool.moveNames(source, copy);
    this.#pool.hold([source]);
    this.#copies.push(source, copy);
    if (this.#pool.keyOfBlock(copy) >= 0) this.#namedThisStep.add(this.#pool.keyOfBlock(copy));
  }

  #copy(row: Row, block: number, source: number): void {
    const copy = at(this.#pool.take(1), 0);
    this.#copyTo(row, block, source, copy);
    row.partial = null;
  }

  // Both ends of a copy are held until the step has run.
  #copyTo(row: Row, block: number, source: number, copy: number): void {
    assert(row.blocks[block] === source, "T3: a hit's last block is copied");
    row.blocks[block] = copy;
    this.#pool.hold([copy]);
    this.#copies.push(source, copy);
  }

  /** Names the full blocks among the first `tokens`. */
  nameBlocks(request: RequestTokens, tokens: number): void {
    const { kind } = this.#settings;
    const row = this.#row(request.id);
    const before = row.cached;
    this.#nameWhole(request, row, tokens);
    if (kind === "full") this.#namePromptTail(request, row, tokens);
    if (kind !== "mamba") return;
    const after = row.cached;
    this.#nameState(request, row, tokens);
    for (let block = before; block < after; block += 1) {
      const id = at(row.blocks, block);
      if (id !== NULL_BLOCK && this.#pool.keyOfBlock(id) >= 0)
        this.#namedThisStep.add(this.#pool.keyOfBlock(id));
    }
  }

  #nameWhole(request: RequestTokens, row: Row, tokens: number): void {
    const { blockSize } = this.#settings;
    const { hashBlockSize } = this.#cache;
    const end = Math.floor(Math.min(tokens, request.names.length * hashBlockSize) / blockSize);
    if (row.cached >= end) return;
    const numbers: number[] = [];
    for (let block = row.cached; block < end; block += 1) {
      const id = at(row.blocks, block);
      if (id === NULL_BLOCK || this.#isReachable?.(block) === false) continue;
      this.#pool.removeNames(id);
      const name = nameOfBlock(request.names, blockSize, hashBlockSize, block);
      this.#pool.name(this.groupId, name, id, (block + 1) * blockSize);
      numbers.push(block);
    }
    this.#events.stored(request, this.groupId, blockSize, row.cached * blockSize, end * blockSize, numbers);
    row.cached = end;
  }

  // The last boundary inside a prompt, where a resent prompt can continue.
  #namePromptTail(request: RequestTokens, row: Row, tokens: number): void {
    const { blockSize } = this.#settings;
    const { hashBlockSize } = this.#cache;
    if (blockSize === hashBlockSize) return;
    const limit = request.promptCount - (this.dropsBlock ? 0 : 1);
    const boundary = Math.min(Math.floor(limit / hashBlockSize), request.names.length) * hashBlockSize;
    if (boundary === 0 || boundary > tokens || boundary % blockSize === 0) return;
    const block = Math.floor(boundary / blockSize);
    if (block < row.blocks.length) this.#nameInside(request, at(row.blocks, block), boundary);
  }

  #nameState(request: RequestTokens, row: Row, tokens: number): void {
    const { blockSize } = this.#settings;
    const { hashBlockSize, lookahead, dropsBlock } = this.#cache;
    if (tokens <= 0 || tokens % hashBlockSize !== 0) return;
    const drops = dropsBlock.includes(true);
    const limit = drops ? request.promptCount : request.promptCount - Math.max(1, lookahead);
    const boundary = Math.floor(limit / hashBlockSize) * hashBlockSize - (drops ? hashBlockSize : 0);
    if (tokens !== boundary) return;
    const block = Math.ceil(tokens / blockSize) - 1;
    const id = row.blocks[block] ?? NULL_BLOCK;
    if (id === NULL_BLOCK || this.#pool.keyTokensOfBlock(id) === tokens) return;
    this.#nameInside(request, id, tokens);
    this.#namedThisStep.add(this.#pool.keyOf(this.groupId, at(request.names, tokens / hashBlockSize - 1)));
    if (tokens % blockSize === 0) return;
    row.partial = { block, source: id };
    row.cached = block;
  }

  #nameInside(request: RequestTokens, id: number, tokens: number): void {
    if (id === NULL_BLOCK) return;
    const { hashBlockSize } = this.#cache;
    const name = at(request.names, tokens / hashBlockSize - 1);
    const isKnown = this.#pool.bears(this.groupId, name, id);
    if (!isKnown && this.#pool.keyOfBlock(id) >= 0 && this.#pool.keyTokensOfBlock(id) < tokens)
      this.#pool.removeNames(id);
    this.#pool.name(this.groupId, name, id, tokens);
    if (isKnown) return;
    const number = tokens / hashBlockSize - 1;
    this.#events.stored(request, this.groupId, hashBlockSize, tokens - hashBlockSize, tokens, [number]);
  }

  /** Gives back all blocks of a request, the tail first (T1). */
  free(id: string): void {
    const row = this.#rows.get(id);
    if (row === undefined) return;
    this.#rows.delete(id);
    this.#pool.release(row.blocks.toReversed());
  }

  /** Ends a step. Returns the blocks that its copies held, which the caller gives back. */
  endStep(): readonly number[] {
    this.#namedThisStep.clear();
    return this.#copies.splice(0);
  }

  /** T1, walked. For tests. */
  check(): void {
    for (const { blocks } of this.#rows.values())
      for (const id of blocks) assert(!this.#pool.isFree(id), () => `T1: block ${id} is held`);
  }

  #row(id: string): Row {
    const row = this.#rows.get(id);
    assert(row !== undefined, () => `request ${id} has blocks`);
    return row;
  }
}

function isPartial(hit: readonly number[], tokens: number, blockSize: number): boolean {
  return hit.length > 0 && tokens % blockSize !== 0;
}
