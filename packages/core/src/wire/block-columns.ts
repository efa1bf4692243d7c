/**
 * The hot loops of decoding: block hashes and token ids, straight from msgpack into flat memory.
 *
 *     wire   92 cf ........ d3 ........            hashes  │ low₀ │ high₀│ low₁ │ high₁│     2 words per block
 *     wire   94 01 cd.... ce........ cc..          tokens  │  t₀  │  t₁  │  t₂  │  t₃  │     1 word per token
 *     wire   92 92 t₀ t₁ 92 t₁ t₂   (EAGLE pairs)  tokens  │  t₀  │  t₁  │  t₂  │            pairs + 1 words
 *
 * Each loop has a fast part, which runs while the widest form of an element still fits before the
 * end. It needs one comparison per element. A careful part handles the payload's last bytes and
 * unusual forms. Nothing is allocated.
 *
 * A hash is taken modulo 2⁶⁴: vLLM writes unsigned integers, SGLang and TensorRT-LLM signed ones.
 * Raw digests count by their last eight bytes, big-endian, as vLLM itself shortens them
 * (vllm/v1/core/kv_cache_utils.py @ 001cabc1, maybe_convert_block_hash).
 */
import { writeInteger } from "../block-hash/block-hash.ts";
import type { MsgpackCursor } from "./msgpack-cursor.ts";

/** Bytes of an integer hash with its format byte, the widest form that the fast loop takes. */
const HASH_BYTES = 9;
/** Bytes of a u32 with its format byte, the widest form of a token id. */
const TOKEN_BYTES = 5;
/** A shorter digest cannot give 64 bits. */
const DIGEST_BYTES_MIN = 8;
const TOKEN_MAX = 0xffff_ffff;

/**
 * Reads one block hash in any form.
 *
 * @param cursor - stands at the hash.
 * @param words - receives low and high at `index`, `index + 1`.
 * @param index - word index of the low half.
 * @param digestBytesMax - longest digest taken.
 * @throws WireError `wrong_type`, `truncated`, `out_of_range` for a digest of another length.
 */
export function readHash(
  cursor: MsgpackCursor,
  words: Uint32Array,
  index: number,
  digestBytesMax: number,
): void {
  const start = cursor.position;
  const format = cursor.format();
  if (format === 0xcf || format === 0xd3) {
    if (start + HASH_BYTES > cursor.end) throw cursor.truncated(HASH_BYTES);
    words[index + 1] = cursor.view.getUint32(start + 1);
    words[index] = cursor.view.getUint32(start + 5);
    cursor.position = start + HASH_BYTES;
  } else if (format >= 0xc4 && format <= 0xc6) {
    const length = cursor.readBinaryLength();
    if (length < DIGEST_BYTES_MIN || length > digestBytesMax) {
      const expected = `a digest of ${DIGEST_BYTES_MIN} to ${digestBytesMax} bytes`;
      throw cursor.error("out_of_range", start, expected, `${length} bytes`);
    }
    const tail = cursor.position + length - DIGEST_BYTES_MIN;
    words[index + 1] = cursor.view.getUint32(tail);
    words[index] = cursor.view.getUint32(tail + 4);
    cursor.position += length;
  } else if (format < 0x80 || format >= 0xe0 || (format >= 0xcc && format <= 0xd2)) {
    writeInteger(cursor.readInteger(), words, index);
  } else throw cursor.wrongType("a block hash, integer or bin");
}

/**
 * Reads an array of block hashes.
 *
 * @param cursor - stands at the array.
 * @param hashes - receives them, shape [2 × blocks], low then high; its length bounds the blocks.
 * @param digestBytesMax - longest digest taken.
 * @returns the number of blocks. O(blocks), allocates nothing.
 * @throws WireError `wrong_type`, `truncated`, `out_of_range`, `limit_exceeded`.
 */
export function readHashes(cursor: MsgpackCursor, hashes: Uint32Array, digestBytesMax: number): number {
  const start = cursor.position;
  const count = cursor.readArrayLength();
  const words = count * 2;
  if (words > hashes.length) {
    throw cursor.error("limit_exceeded", start, `at most ${hashes.length >>> 1} block hashes`, `${count}`);
  }
  const { bytes, view } = cursor;
  const fastEnd = cursor.end - HASH_BYTES;
  let position = cursor.position;
  let word = 0;
  for (; word < words && position <= fastEnd; word += 2) {
    const format = bytes[position];
    if (format !== 0xcf && format !== 0xd3) break;
    hashes[word + 1] = view.getUint32(position + 1);
    hashes[word] = view.getUint32(position + 5);
    position += HASH_BYTES;
  }
  cursor.position = position;
  for (; word < words; word += 2) readHash(cursor, hashes, word, digestBytesMax);
  return count;
}

/**
 * Reads the elements of an array of token ids.
 *
 * @param cursor - stands behind the array's header.
 * @param count - its number of elements.
 * @param tokens - receives them; `count` must fit.
 * @throws WireError `wrong_type`, `truncated`, `out_of_range` for what is no u32.
 */
export function readTokens(cursor: MsgpackCursor, count: number, tokens: Uint32Array): void {
  const { bytes, view } = cursor;
  const fastEnd = cursor.end - TOKEN_BYTES;
  const pairEnd = fastEnd - TOKEN_BYTES;
  let position = cursor.position;
  let index = 0;
  while (index < count && position <= fastEnd) {
    // Two at a time: the place of a token follows from the format of the one before, and that chain is most of the time.
    // The second format is taken from bytes that are loaded together with the first.
    while (index < count - 1 && position <= pairEnd) {
      const first = bytes[position];
      const width = 1 << (first & 3);
      const shift = 32 - (width << 3);
      const second = (view.getUint32(position + 2) >>> shift) & 0xff;
      if (first < 0xcc || first > 0xce || second < 0xcc || second > 0xce) break;
      tokens[index] = view.getUint32(position + 1) >>> shift;
      const secondWidth = 1 << (second & 3);
      const secondAt = position + width + 2;
      tokens[index + 1] = view.getUint32(secondAt) >>> (32 - (secondWidth << 3));
      position = secondAt + secondWidth;
      index += 2;
    }
    if (index === count || position > fastEnd) break;
    const format = bytes[position];
    if (format >= 0xcc && format <= 0xce) {
      // u8, u16 and u32 without a branch between them: vocabularies pass 65,535, so that widths alternate at random, and
      // a branch that is guessed wrong costs more than the token (a 16-token block 106 ns instead of 36).
      const width = 1 << (format & 3);
      tokens[index] = view.getUint32(position + 1) >>> (32 - (width << 3));
      position += width + 1;
    } else if (format < 0x80) {
      tokens[index] = format;
      position += 1;
    } else break;
    index += 1;
  }
  cursor.position = position;
  for (; index < count; index += 1) tokens[index] = readToken(cursor);
}

/**
 * Reads the elements of SGLang's EAGLE form: pairs [t₀,t₁],[t₁,t₂],… each of which begins with the end of the last.
 *
 * @param cursor - stands behind the array's header.
 * @param count - its number of pairs, at least 1.
 * @param tokens - receives t₀ … t_count; `count + 1` must fit.
 * @throws WireError `wrong_type`, `wrong_length`, `truncated`, `out_of_range`, `bigram_gap` when two pairs do not overlap.
 */
export function readTokenPairs(cursor: MsgpackCursor, count: number, tokens: Uint32Array): void {
  for (let index = 0; index < count; index += 1) {
    const start = cursor.position;
    const length = cursor.readArrayLength();
    if (length !== 2) throw cursor.error("wrong_length", start, "a pair of token ids", `${length} elements`);
    const first = readToken(cursor);
    if (index > 0 && first !== tokens[index]) {
      throw cursor.error("bigram_gap", start, `a pair that begins with token ${tokens[index]}`, `${first}`);
    }
    tokens[index] = first;
    tokens[index + 1] = readToken(cursor);
  }
}

/**
 * Reads `lookahead_token_ids`: for each block the tokens after it that its hash covers.
 *
 *     tokens     t₀ t₁ │ t₂ t₃ │          block size 2, two blocks
 *     lookahead   [t₂ t₃ t₄] [t₄ t₅ t₆]   must agree with what is known; t₄ t₅ t₆ are written behind t₃
 *
 * @param cursor - stands at the outer list.
 * @param blockCount - hashes of the event: as many lists are expected.
 * @param blockSize - tokens from one block to the next, all of which lie in `tokens`; 0 when the event's
 *   tokens do not divide into its blocks, so that the lists cannot be placed.
 * @param tokens - holds `blockCount × blockSize` tokens; receives those behind them.
 * @param lookaheadMax - longest list taken.
 * @returns the length of the lists, 0 without blocks.
 * @throws WireError `wrong_type`, `truncated`, `out_of_range`, `limit_exceeded`; `lookahead_misaligned`
 *   when the lists are too few, of different lengths, or contradict the tokens.
 */
export function readLookahead(
  cursor: MsgpackCursor,
  blockCount: number,
  blockSize: number,
  tokens: Uint32Array,
  lookaheadMax: number,
): number {
  const start = cursor.position;
  const count = cursor.readArrayLength();
  if (count !== blockCount) {
    throw cursor.error("lookahead_misaligned", start, `lookahead of ${blockCount} blocks`, `${count} lists`);
  }
  let lookahead = 0;
  let known = blockCount * blockSize;
  for (let block = 0; block < count; block += 1) {
    const at = cursor.position;
    const length = cursor.readArrayLength();
    if (block === 0) lookahead = checkLookahead(cursor, at, length, known, tokens.length, lookaheadMax);
    if (length !== lookahead) {
      throw cursor.error("lookahead_misaligned", at, `${lookahead} tokens of lookahead`, `${length}`);
    }
    let next = (block + 1) * blockSize;
    for (let i = 0; i < length; i += 1, next += 1) {
      const tokenAt = cursor.position;
      const token = readToken(cursor);
      if (blockSize === 0) continue;
      if (next === known) tokens[known++] = token;
      else if (tokens[next] !== token) {
        throw cursor.error("lookahead_misaligned", tokenAt, `token ${tokens[next]}`, `${token}`);
      }
    }
  }
  return lookahead;
}

function checkLookahead(
  cursor: MsgpackCursor,
  at: number,
  length: number,
  tokenCount: number,
  tokensMax: number,
  lookaheadMax: number,
): number {
  if (length > lookaheadMax) {
    throw cursor.error("limit_exceeded", at, `at most ${lookaheadMax} tokens of lookahead`, `${length}`);
  }
  if (tokenCount + length > tokensMax) {
    const actual = `${tokenCount + length}`;
    throw cursor.error("limit_exceeded", at, `at most ${tokensMax} token ids`, actual);
  }
  return length;
}

function readToken(cursor: MsgpackCursor): number {
  const start = cursor.position;
  const token = cursor.readInteger();
  if (token < 0 || token > TOKEN_MAX) {
    throw cursor.error("out_of_range", start, `a token id of 0 to ${TOKEN_MAX}`, `${token}`);
  }
  return token;
}
