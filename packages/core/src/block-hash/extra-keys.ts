/**
 * The keys that distinguish blocks of equal tokens (cache salt, multimodal items, prompt
 * embeddings). They exist as bytes and as a digest that goes into the block's hash. Engines and
 * clients must arrive at the same digest, so the byte form is fixed here:
 *
 *     keys of a block, in the engine's order, one after the other:
 *       text      01  u32 LE length in bytes   UTF-8
 *       integer   02  i64 LE, two's complement
 *       bytes     03  u32 LE length            the bytes
 *       list      04  u32 LE count             that many keys
 *       nil       05
 *       other number  06  f64 LE
 *     digest = XXH3-64(bytes, the index's seed); a block without keys has digest 0, and a digest that comes out as 0 is 1
 *
 *     saltDigest("salt-1") = XXH3-64(01 06 00 00 00 73 61 6c 74 2d 31)
 *
 * Rules
 *  E1  The adapter's name is part of the context, not of the keys: the first text equal to it is left out.
 *  E2  The salt belongs to block 0 of a root; the chain carries it to all later blocks. A prompt with a salt and nothing else
 *      therefore has `saltDigest` at block 0 and 0 everywhere else.
 *  E3  vLLM lists the salt among block 0's keys; SGLang gives it in a field of its own, on children too. The field counts on
 *      block 0 of a root only, as a text behind the keys, so that both engines' salted blocks have equal hashes.
 *  E4  Bare texts are not distinguished (salt, or a multimodal identifier of older vLLMs): equal
 *      keys in equal order are equal.
 *  E5  The keys of a block with lookahead are those of the block and of its lookahead (vLLM's
 *      generate_lookahead_block_hash_extra_keys, 0.33.0). An image that begins right behind a block
 *      is among them. Its offset is past the block's end. They are used unchanged.
 *
 * Source of the order of keys: vllm/v1/core/kv_cache_utils.py @ 001cabc1, generate_block_hash_extra_keys.
 */
import { utf8 } from "../text-codec.ts";

/** One entry of `extra_keys`: LoRA name, cache salt, [identifier, offset] of a multimodal item, or a digest. */
export type ExtraKey = string | number | Uint8Array | readonly ExtraKey[] | null;

/** Extra keys by block: nil where a block has none. */
export type ExtraKeys = readonly (readonly ExtraKey[] | null)[];

/** Whatever computes XXH3-64 with the index's seed: an index, a reader, a hasher. */
export interface BytesDigester {
  /** XXH3-64 of `bytes`; `out` receives low and high word at `index`, `index + 1`. */
  digestBytes(bytes: Uint8Array, out: Uint32Array, index: number): void;
}

const TEXT = 1;
const INTEGER = 2;
const BYTES = 3;
const LIST = 4;
const NIL = 5;
const NUMBER = 6;

/**
 * The byte form of a block's keys.
 *
 * @param keys - in the engine's order, without the adapter's name. Nesting is bounded by whoever read them.
 * @returns new bytes, none for no keys.
 */
export function encodeExtraKeys(keys: readonly ExtraKey[]): Uint8Array {
  const parts: Uint8Array[] = [];
  for (const key of keys) appendKey(parts, key);
  const bytes = new Uint8Array(parts.reduce((sum, part) => sum + part.length, 0));
  let position = 0;
  for (const part of parts) {
    bytes.set(part, position);
    position += part.length;
  }
  return bytes;
}

/**
 * The digest that a cache salt gives to block 0 of a prompt (E2). Clients and the match endpoint use it.
 *
 * @param salt - as sent to the engine; the empty salt is no salt and gives 0, as engines have it.
 * @param digester - computes XXH3-64 with the index's seed.
 * @param out - receives low and high word at `index`, `index + 1`.
 */
export function saltDigest(salt: string, digester: BytesDigester, out: Uint32Array, index: number): void {
  digestKeys(salt === "" ? [] : [salt], digester, out, index);
}

/**
 * Digests the keys of a store's blocks.
 *
 * @param keys - by block; null, and missing entries, mean none.
 * @param loraName - the adapter whose name is left out (E1).
 * @param rootSalt - SGLang's field, given only when the store begins a chain (E3).
 * @param blockCount - how many blocks to fill.
 * @param out - receives shape [2 × blockCount]: digests, 0 for blocks without keys.
 * @returns whether any block has keys; when none has, `out` is untouched.
 */
export function digestExtraKeys(
  keys: ExtraKeys | null,
  loraName: string | null,
  rootSalt: string | null,
  blockCount: number,
  digester: BytesDigester,
  out: Uint32Array,
): boolean {
  let found = false;
  for (let block = 0; block < blockCount; block += 1) {
    const own = withoutAdapter(keys?.[block] ?? NO_KEYS, loraName);
    const all = block === 0 && rootSalt !== null && rootSalt !== "" ? [...own, rootSalt] : own;
    if (all.length === 0) {
      if (found) out.fill(0, 2 * block, 2 * block + 2);
      continue;
    }
    if (!found) out.fill(0, 0, 2 * block);
    found = true;
    digestKeys(all, digester, out, 2 * block);
  }
  return found;
}

const NO_KEYS: readonly ExtraKey[] = [];

function withoutAdapter(keys: readonly ExtraKey[], loraName: string | null): readonly ExtraKey[] {
  const position = loraName === null ? -1 : keys.indexOf(loraName);
  return position < 0 ? keys : keys.toSpliced(position, 1);
}

function digestKeys(
  keys: readonly ExtraKey[],
  digester: BytesDigester,
  out: Uint32Array,
  index: number,
): void {
  if (keys.length === 0) {
    out.fill(0, index, index + 2);
    return;
  }
  digester.digestBytes(encodeExtraKeys(keys), out, index);
  if (out[index] === 0 && out[index + 1] === 0) out[index] = 1;
}

function appendKey(parts: Uint8Array[], key: ExtraKey): void {
  if (key === null) {
    parts.push(Uint8Array.of(NIL));
  } else if (typeof key === "string") {
    appendBytes(parts, TEXT, utf8.encode(key));
  } else if (typeof key === "number") {
    parts.push(encodeNumber(key));
  } else if (key instanceof Uint8Array) {
    appendBytes(parts, BYTES, key);
  } else {
    parts.push(header(LIST, key.length));
    for (const inner of key) appendKey(parts, inner);
  }
}

function appendBytes(parts: Uint8Array[], tag: number, bytes: Uint8Array): void {
  parts.push(header(tag, bytes.length), bytes);
}

function header(tag: number, count: number): Uint8Array {
  const bytes = new Uint8Array(5);
  bytes[0] = tag;
  new DataView(bytes.buffer).setUint32(1, count, true);
  return bytes;
}

function encodeNumber(value: number): Uint8Array {
  const bytes = new Uint8Array(9);
  const view = new DataView(bytes.buffer);
  if (Number.isSafeInteger(value)) {
    bytes[0] = INTEGER;
    view.setInt32(1, value, true);
    view.setInt32(5, Math.floor(value / 2 ** 32), true);
  } else {
    bytes[0] = NUMBER;
    view.setFloat64(1, value, true);
  }
  return bytes;
}
