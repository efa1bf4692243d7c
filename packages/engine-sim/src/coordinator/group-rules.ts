/**
 * Which blocks of a group a hit needs, by kind of attention:
 *
 *     full      ■ ■ ■ ■ ■ ■│            every block from the start
 *     window    · · · ■ ■ ■│            the last ceil((w − 1) / block size), or all from the start
 *     chunked   · · · · ■ ■│            all blocks of the chunk that the next token is in
 *     mamba     · · · · · ■│            the block that ends at the hit: it holds the state
 *                          └ end of the hit, a multiple of the alignment
 *
 * Each search gets the most that a hit may be and returns the longest that its group allows. Blocks
 * that a hit does not need are the null block in what it returns.
 *
 * Source: vllm/v1/core/single_type_kv_cache_manager.py (find_longest_cache_hit, reachable_block_mask,
 * get_num_skipped_tokens of each manager), 0.33.0.
 */
import { assert } from "@kvsync/core";
import { at } from "./at.ts";
import type { GroupSettings } from "./cache-settings.ts";
import { type KvBlockPool, NULL_BLOCK } from "./kv-block-pool.ts";

/** A hit in one group. */
export interface GroupHit {
  readonly tokens: number;
  /** By block of the group; the caller's. */
  readonly blocks: number[];
}

/** What a search is about. */
export interface HitQuery {
  readonly pool: KvBlockPool;
  /** All groups of equal settings: a block counts where each of them has it. */
  readonly groupIds: readonly number[];
  readonly settings: GroupSettings;
  /** Names at the hash block size. */
  readonly names: readonly number[];
  readonly hashBlockSize: number;
  readonly alignment: number;
  readonly maxTokens: number;
  readonly dropsBlock: boolean;
}

/** The longest hit of a group, for each of `groupIds` with its blocks. */
export function findGroupHit(query: HitQuery): readonly GroupHit[] {
  switch (query.settings.kind) {
    case "full":
      return findFull(query);
    case "window":
      return findWindow(query, query.settings.window);
    case "chunked":
      return findChunked(query, query.settings.chunk);
    case "mamba":
      return findMamba(query);
  }
}

/** The name of a group's block: that of the last hash block in it. */
export function nameOfBlock(
  names: readonly number[],
  blockSize: number,
  hashBlockSize: number,
  block: number,
): number {
  return at(names, ((block + 1) * blockSize) / hashBlockSize - 1);
}

function findFull(query: HitQuery): readonly GroupHit[] {
  const { settings, alignment, maxTokens, names, hashBlockSize } = query;
  const { blockSize } = settings;
  const lists = query.groupIds.map((): number[] => []);
  const wholeMax = Math.min(Math.floor(maxTokens / blockSize), wholeBlocks(query));
  for (let block = 0; block < wholeMax; block += 1)
    if (!take(query, nameOfBlock(names, blockSize, hashBlockSize, block), lists)) break;
  let tokens = at(lists, 0).length * blockSize;
  const looksInside = alignment < blockSize && blockSize % alignment === 0;
  if (looksInside) tokens = extendInside(query, lists, tokens);
  if (query.dropsBlock && tokens > 0) tokens -= Math.min(alignment, blockSize);
  tokens -= tokens % alignment;
  const count = Math.ceil(tokens / blockSize);
  return lists.map((blocks) => ({ tokens, blocks: blocks.slice(0, count) }));
}

// The longest prefix that ends inside the first block that is not there as a whole.
function extendInside(query: HitQuery, lists: number[][], tokens: number): number {
  const { settings, alignment, maxTokens, names } = query;
  const first = tokens / alignment;
  const end = Math.min(
    first + settings.blockSize / alignment - 1,
    Math.floor(maxTokens / alignment),
    names.length,
  );
  for (let unit = end - 1; unit >= first; unit -= 1)
    if (take(query, at(names, unit), lists)) return (unit + 1) * alignment;
  return tokens;
}

function findWindow(query: HitQuery, window: number): readonly GroupHit[] {
  const { settings, alignment, maxTokens, names, hashBlockSize, dropsBlock } = query;
  const { blockSize } = settings;
  const needed = windowBlocks(window, blockSize, dropsBlock);
  const blockMax = Math.min(Math.floor(maxTokens / blockSize), wholeBlocks(query));
  const lists = query.groupIds.map(() => new Array<number>(blockMax).fill(NULL_BLOCK));
  const isAligned = (count: number) => (count * blockSize) % alignment === 0;
  let run = 0;
  let count = -1;
  for (let block = blockMax - 1; block >= 0 && count < 0; block -= 1) {
    const found = findAll(query, nameOfBlock(names, blockSize, hashBlockSize, block));
    if (found === null) {
      run = 0;
      continue;
    }
    if (run === 0 && !isAligned(dropsBlock ? block : block + 1)) continue;
    for (const [place, list] of lists.entries()) list[block] = at(found, place);
    run += 1;
    if (run >= needed) count = block + run;
  }
  if (count < 0) {
    // A run from the start is a hit however short it is.
    count = run;
    while (!isAligned(count)) count -= 1;
  }
  if (dropsBlock && count > 0) {
    count -= 1;
    while (!isAligned(count)) count -= 1;
  }
  return lists.map((blocks) => ({ tokens: count * blockSize, blocks: blocks.slice(0, count) }));
}

function findChunked(query: HitQuery, chunk: number): readonly GroupHit[] {
  const { settings, alignment, maxTokens, names, hashBlockSize } = query;
  const { blockSize } = settings;
  assert(!query.dropsBlock && blockSize === alignment, "chunked groups have blocks of one size, no drafter");
  const chunkStart = Math.floor((Math.floor(maxTokens / chunk) * chunk) / blockSize);
  const lists = query.groupIds.map(() => new Array<number>(chunkStart).fill(NULL_BLOCK));
  for (let block = chunkStart; block < Math.floor(maxTokens / blockSize); block += 1)
    if (!take(query, nameOfBlock(names, blockSize, hashBlockSize, block), lists)) break;
  return lists.map((blocks) => ({ tokens: blocks.length * blockSize, blocks }));
}

function findMamba(query: HitQuery): readonly GroupHit[] {
  const { settings, alignment, maxTokens, names, hashBlockSize } = query;
  const { blockSize } = settings;
  const looksInside = alignment < blockSize && blockSize % alignment === 0;
  const unit = looksInside ? alignment : blockSize;
  const unitMax = Math.min(Math.floor(maxTokens / unit), looksInside ? names.length : wholeBlocks(query));
  for (let count = unitMax; count > 0; count -= 1) {
    const tokens = count * unit;
    if (!looksInside && tokens % alignment !== 0) continue;
    const found = findAll(query, at(names, tokens / hashBlockSize - 1));
    if (found === null) continue;
    const skipped = Math.ceil(tokens / blockSize) - 1;
    return found.map((id) => ({ tokens, blocks: [...new Array<number>(skipped).fill(NULL_BLOCK), id] }));
  }
  return query.groupIds.map(() => ({ tokens: 0, blocks: [] }));
}

function wholeBlocks({ names, hashBlockSize, settings }: HitQuery): number {
  return Math.floor((names.length * hashBlockSize) / settings.blockSize);
}

function findAll({ pool, groupIds }: HitQuery, name: number): number[] | null {
  const found = groupIds.map((group) => pool.find(group, name));
  return found.includes(-1) ? null : found;
}

function take(query: HitQuery, name: number, lists: number[][]): boolean {
  const found = findAll(query, name);
  if (found === null) return false;
  for (const [place, list] of lists.entries()) list.push(at(found, place));
  return true;
}

function windowBlocks(window: number, blockSize: number, dropsBlock: boolean): number {
  return Math.ceil((window - 1) / blockSize) + (dropsBlock ? 1 : 0);
}

/**
 * Which of a group's blocks can ever serve a hit and are therefore named.
 *
 * @param alignment - hits end at its multiples.
 * @returns null for all of them.
 */
export function reachableBlocks(
  settings: GroupSettings,
  dropsBlock: boolean,
  alignment: number,
): ((block: number) => boolean) | null {
  if (settings.kind !== "window") return null;
  const { blockSize, window } = settings;
  if (alignment % blockSize !== 0) return null;
  const needed = windowBlocks(window, blockSize, dropsBlock);
  const perSegment = alignment / blockSize;
  if (needed >= perSegment) return null;
  const shift = dropsBlock ? 1 : 0;
  return (block) => block >= shift && (block - shift) % perSegment >= perSegment - needed;
}

/** Tokens at the start that a group no longer needs once so many are computed. */
export function skippedTokens(settings: GroupSettings, computed: number): number {
  switch (settings.kind) {
    case "full":
      return 0;
    case "window":
      return Math.max(0, computed - settings.window + 1);
    case "chunked":
      return Math.floor(computed / settings.chunk) * settings.chunk;
    case "mamba":
      return computed - 1;
  }
}
