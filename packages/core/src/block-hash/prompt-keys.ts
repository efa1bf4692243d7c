/**
 * The extra keys of a prompt's blocks, as an engine would list them for the same request. They are
 * the identifiers of its media, and its cache salt.
 *
 *     tokens     0 ······· 16 ······· 32 ······· 48          an image at 10, of 30 tokens
 *     keys       [id, 10]  [id, -6]   [id, -22]              its identifier, and where it begins in the block
 *     window     block + lookahead: with a lookahead of 7 the block before it would list it too
 *
 * Rules
 *  K1  A block lists each item that overlaps its window, in order, as [identifier, offset − start of the block].
 *  K2  The salt follows the items of block 0, and of no other: the chain carries it on (extra-keys.ts, E2).
 *  K3  The adapter's name is no key here: it is part of the context (extra-keys.ts, E1).
 *
 * Not here: prompt embeddings, which a client has no digest of.
 *
 * Source: vllm/v1/core/kv_cache_utils.py 0.33.0, generate_block_hash_extra_keys and generate_lookahead_block_hash_extra_keys;
 * vllm/v1/core/block_pool.py, _generate_event_extra_keys.
 */
import { type BytesDigester, digestExtraKeys, type ExtraKey, type ExtraKeys } from "./extra-keys.ts";

/** One image, video or audio of a prompt, as vLLM's `mm_features` has it. */
export interface MediaItem {
  /** The engine's name of the content: its hash, or what the client gave as uuid. */
  readonly identifier: string;
  /** First of its placeholder tokens. */
  readonly offset: number;
  /** How many placeholder tokens it has, at least one. */
  readonly length: number;
}

/** What a prompt has beside its tokens. */
export interface PromptKeys {
  /** By offset, ascending, without overlap. */
  readonly media: readonly MediaItem[];
  /** Null or empty for none. */
  readonly salt: string | null;
}

/**
 * Lists the keys of a prompt's blocks.
 *
 * @param prompt - its media and salt.
 * @param shape - blocks, tokens in each, and tokens behind each that its identity covers.
 * @returns by block; null where a block has none. O(blocks + items + pairs of both that overlap).
 */
export function promptKeys(
  { media, salt }: PromptKeys,
  { blockCount, blockSize, lookahead }: PromptShape,
): ExtraKeys {
  const keys: (readonly ExtraKey[] | null)[] = [];
  let first = 0;
  for (let block = 0; block < blockCount; block += 1) {
    const start = block * blockSize;
    const end = start + blockSize + lookahead;
    while (first < media.length && endOf(media[first]) <= start) first += 1;
    const own: ExtraKey[] = [];
    for (let i = first; i < media.length && media[i].offset < end; i += 1) {
      own.push([media[i].identifier, media[i].offset - start]);
    }
    if (block === 0 && salt !== null && salt !== "") own.push(salt);
    keys.push(own.length === 0 ? null : own);
  }
  return keys;
}

/** How a context cuts a prompt. */
export interface PromptShape {
  readonly blockCount: number;
  readonly blockSize: number;
  readonly lookahead: number;
}

/**
 * Digests the keys of a prompt's blocks, for a lookup by tokens.
 *
 * @param digester - computes XXH3-64 with the index's seed.
 * @param out - receives shape [2 × blockCount]: digests, 0 for blocks without keys.
 * @returns whether any block has keys; when none has, `out` is untouched.
 */
export function digestPromptKeys(
  prompt: PromptKeys,
  shape: PromptShape,
  digester: BytesDigester,
  out: Uint32Array,
): boolean {
  if (prompt.media.length === 0 && (prompt.salt === null || prompt.salt === "")) return false;
  return digestExtraKeys(promptKeys(prompt, shape), null, null, shape.blockCount, digester, out);
}

function endOf({ offset, length }: MediaItem): number {
  return offset + length;
}
