/**
 * `extra_keys`, which distinguish blocks of equal tokens. One entry per block hash, nil or a list:
 *
 *     [ nil,  ["adapter", ["mm-abc", 0], "salt-1", bin] ]
 *       block 0            block 1: LoRA name, [multimodal identifier, offset in the block], salt, prompt-embedding digest
 *
 * Almost every event has nils only, which costs one comparison per block and gives null. The rest
 * is rare and is read into plain values. It is read by this schema, not by a general decoder. That
 * would give wrong values where an error with an offset is required (integers past 2⁵³, broken
 * UTF-8). It would also need a second walk to reject maps.
 *
 * Source: vllm/v1/core/kv_cache_utils.py @ 001cabc1, generate_block_hash_extra_keys.
 */
import type { ExtraKey, ExtraKeys } from "./events.ts";
import type { MsgpackCursor } from "./msgpack-cursor.ts";
import type { WireLimits } from "./wire-limits.ts";
import { readText } from "./wire-text.ts";

/** What is left of an event's allowance while its keys are read. */
interface KeyBudget {
  remaining: number;
}

/**
 * Reads the extra keys of an event.
 *
 * @param cursor - stands at nil or the outer list.
 * @param limits - bounds of count, depth and text.
 * @returns one entry per element, or null when all are nil. Byte strings are views of the payload.
 * @throws WireError `wrong_type`, `truncated`, `out_of_range`, `limit_exceeded`, `too_deep`, `invalid_utf8`.
 */
export function readExtraKeys(cursor: MsgpackCursor, limits: WireLimits): ExtraKeys | null {
  if (cursor.takeNil()) return null;
  const blockCount = cursor.readArrayLength();
  // The header vouched for a byte per element (cursor's M2).
  const nilEnd = cursor.position + blockCount;
  const bytes = cursor.bytes;
  let position = cursor.position;
  while (position < nilEnd && bytes[position] === 0xc0) position += 1;
  if (position === nilEnd) {
    cursor.position = nilEnd;
    return null;
  }
  const budget = { remaining: limits.extraKeysMax };
  const blocks: (readonly ExtraKey[] | null)[] = [];
  for (let block = 0; block < blockCount; block += 1) {
    spend(cursor, budget, limits);
    blocks.push(cursor.takeNil() ? null : readList(cursor, limits, budget, 1));
  }
  return blocks;
}

function readList(cursor: MsgpackCursor, limits: WireLimits, budget: KeyBudget, depth: number): ExtraKey[] {
  if (depth > limits.extraKeyDepthMax) {
    const expected = `extra keys nested at most ${limits.extraKeyDepthMax} deep`;
    throw cursor.error("too_deep", cursor.position, expected, "a deeper list");
  }
  const count = cursor.readArrayLength();
  const keys: ExtraKey[] = [];
  for (let index = 0; index < count; index += 1) {
    spend(cursor, budget, limits);
    keys.push(readKey(cursor, limits, budget, depth));
  }
  return keys;
}

function readKey(cursor: MsgpackCursor, limits: WireLimits, budget: KeyBudget, depth: number): ExtraKey {
  const format = cursor.format();
  if (format === 0xc0) {
    cursor.position += 1;
    return null;
  }
  if ((format & 0xf0) === 0x90 || format === 0xdc || format === 0xdd) {
    return readList(cursor, limits, budget, depth + 1);
  }
  if ((format & 0xe0) === 0xa0 || (format >= 0xd9 && format <= 0xdb)) {
    return readText(cursor, limits.textBytesMax);
  }
  if (format >= 0xc4 && format <= 0xc6) {
    const start = cursor.position;
    const length = cursor.readBinaryLength();
    if (length > limits.textBytesMax) {
      const expected = `an extra key of at most ${limits.textBytesMax} bytes`;
      throw cursor.error("limit_exceeded", start, expected, `${length} bytes`);
    }
    const key = cursor.bytes.subarray(cursor.position, cursor.position + length);
    cursor.position += length;
    return key;
  }
  if (format < 0x80 || format >= 0xe0 || (format >= 0xcc && format <= 0xd3)) return cursor.readInteger();
  throw cursor.wrongType("an extra key: text, integer, bin, list or nil");
}

function spend(cursor: MsgpackCursor, budget: KeyBudget, limits: WireLimits): void {
  budget.remaining -= 1;
  if (budget.remaining < 0) {
    throw cursor.error(
      "limit_exceeded",
      cursor.position,
      `at most ${limits.extraKeysMax} extra keys`,
      "more",
    );
  }
}
