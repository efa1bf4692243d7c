/**
 * A sample of which block follows which. It detects an engine that removes a block and keeps the one behind it.
 *
 *     stored    A ─ B ─ C          sampled: A ▸ B, B ▸ C
 *     removed   A                  B is still there: no engine of full attention does that
 *
 * A request gives its blocks back from the last to the first, and SGLang evicts leaves. Full attention therefore loses a
 * prefix from its end. An engine whose only group has a window loses it from its beginning, and still reuses what is behind.
 * Before vLLM 0.21 its events name no kind.
 *
 * An edge keeps its place in the sample until its first block is removed. Each edge is judged once, and new edges do not
 * displace old ones.
 *
 * Invariants (chain-sample.test.ts)
 *  E1  Judged at the end of a message: a removal of a whole run may take several events, from its first block on.
 *  E2  At most EDGES_MAX edges; one look at the table for each block stored or removed.
 *
 * Not here: ranks with copies beyond the device, where a block may be held on another tier than the one it was removed from.
 *
 * Sources: vLLM 0.11.0 and 0.20.2, v1/core/single_type_kv_cache_manager.py (free, remove_skipped_blocks); SGLang 0.5.7,
 * srt/mem_cache/radix_cache.py (evict).
 */
import type { IndexWriter } from "../prefix-index/contract.ts";

/** Edges of one rank: 24 kB, for ranks whose events name no kinds. A power of two. */
const EDGES_MAX = 1024;
const WORDS = 4;

/** The sample of one rank. */
export class ChainSample {
  readonly #index: IndexWriter;
  readonly #rankSlot: number;
  /** By hash of the first name: both names, low then high. Names of 0 mark a free place. */
  #edges: Uint32Array | null = null;
  #contextIds: Float64Array | null = null;
  /** Places whose first block was removed in this message. */
  readonly #judged: number[] = [];
  #isOver = false;

  constructor(index: IndexWriter, rankSlot: number) {
    this.#index = index;
    this.#rankSlot = rankSlot;
  }

  /** Whether nothing is sampled any more. */
  get isOver(): boolean {
    return this.#isOver;
  }

  /** Whether anything waits for the end of the message. */
  get isWaiting(): boolean {
    return this.#judged.length > 0;
  }

  /** Blocks were stored on the device, whose names are in the index's scratch. */
  noteStored(contextId: number, blockCount: number, hasParent: boolean, low: number, high: number): void {
    const { hashes } = this.#index.scratch;
    if (hasParent) this.#add(contextId, low, high, hashes[0], hashes[1]);
    for (let i = 2; i < 2 * blockCount; i += 2)
      this.#add(contextId, hashes[i - 2], hashes[i - 1], hashes[i], hashes[i + 1]);
  }

  /** Blocks were removed from the device, whose names are in the index's scratch. */
  noteRemoved(blockCount: number): void {
    const edges = this.#edges;
    if (edges === null) return;
    const { hashes } = this.#index.scratch;
    for (let i = 0; i < 2 * blockCount; i += 2) {
      const place = placeOf(hashes[i], hashes[i + 1]);
      if (edges[WORDS * place] === hashes[i] && edges[WORDS * place + 1] === hashes[i + 1])
        this.#judged.push(place);
    }
  }

  /** At the end of a message: whether a block was removed whose follower is still there (E1). */
  findsHole(): boolean {
    let isFound = false;
    for (const place of this.#judged) isFound = this.#judge(place) || isFound;
    this.#judged.length = 0;
    if (isFound) this.end();
    return isFound;
  }

  /** Samples nothing from now on. */
  end(): void {
    this.clear();
    this.#isOver = true;
  }

  /** Forgets everything: the rank is empty. */
  clear(): void {
    this.#edges = null;
    this.#contextIds = null;
    this.#judged.length = 0;
    this.#isOver = false;
  }

  #add(contextId: number, low: number, high: number, nextLow: number, nextHigh: number): void {
    this.#edges ??= new Uint32Array(WORDS * EDGES_MAX);
    this.#contextIds ??= new Float64Array(EDGES_MAX);
    const place = placeOf(low, high);
    const at = WORDS * place;
    if ((this.#edges[at] | this.#edges[at + 1]) !== 0) return;
    this.#edges[at] = low;
    this.#edges[at + 1] = high;
    this.#edges[at + 2] = nextLow;
    this.#edges[at + 3] = nextHigh;
    this.#contextIds[place] = contextId;
  }

  #judge(place: number): boolean {
    const edges = this.#edges;
    const contextId = this.#contextIds?.[place];
    if (edges === null || contextId === undefined) return false;
    const [low, high, nextLow, nextHigh] = edges.subarray(WORDS * place, WORDS * place + WORDS);
    // A further copy of the block, or a new one, keeps its place.
    if (this.#index.hasBlock(contextId, this.#rankSlot, low, high)) return false;
    edges.fill(0, WORDS * place, WORDS * place + WORDS);
    return this.#index.hasBlock(contextId, this.#rankSlot, nextLow, nextHigh);
  }
}

function placeOf(low: number, high: number): number {
  return (Math.imul(low, 0x9e37_79b1) ^ high) >>> 22;
}
