/**
 * How engines name their blocks: a SHA-256 chained over the blocks of a prompt. Three forms:
 *
 *     sha256       SHA-256 of Python's pickle, protocol 5, of (parent digest, (t₀ … t₍bs₋₁₎), keys or None)
 *     sha256_cbor  SHA-256 of the canonical CBOR of [parent digest, [t₀ … ], keys or null]
 *     sglang       SHA-256 of parent digest ‖ each token as u32 LE; a root has no parent, a salted root the salt's digest
 *
 * On the wire a digest is a u64: its last 8 bytes big-endian (vLLM), its first 8 (SGLang, TensorRT-LLM).
 *
 *     pickle of a text block  80 05 95 ‹u64 LE: bytes after it›
 *                             43 20 ‹parent› 94   28 ‹ints› 74 94   4e   87 94 2e
 *                                  int: 4b u8 | 4d u16 LE | 4a i32 LE | 8a 05 ‹5 bytes LE›
 *
 *  E1  The digest of a block depends on nothing but the root digest, the tokens up to its end and
 *      the keys up to there.
 *  E2  Equal settings and equal seed give equal digests in any process.
 *
 * Not reproduced: Python memoizes equal strings by object identity, so the pickle of a block *with*
 * keys has several byte forms. Ours writes every string out. Such digests are as opaque and as
 * stable as the real ones, but differ.
 *
 * Sources: vllm/v1/core/kv_cache_utils.py @ 001cabc1, vllm/utils/hashing.py; sglang mem_cache/utils (get_hash_str).
 */
import { hash, randomBytes } from "node:crypto";
import { assert } from "@kvsync/core";

/** Names of the algorithms. */
export type HashAlgorithm = "sha256" | "sha256_cbor" | "sglang";

/** Every algorithm, for option parsers. */
export const HASH_ALGORITHMS: readonly HashAlgorithm[] = ["sha256", "sha256_cbor", "sglang"];

/** Bytes of a digest, of every algorithm. */
export const DIGEST_BYTES = 32;

/** Most tokens of a block: keeps a pickle in one frame (64 KiB), and every real engine's blocks are smaller. */
export const BLOCK_SIZE_MAX = 4096;

/** Longest adapter name or salt, in UTF-8 bytes. Real ones are names and digests. */
export const KEY_BYTES_MAX = 256;

// One token takes at most 7 bytes; the rest is heads, the parent and two keys.
const MESSAGE_BYTES_MAX = 7 * BLOCK_SIZE_MAX + 2 * (KEY_BYTES_MAX + 16) + 128;

// PROTO 5, then FRAME with eight bytes for its length.
const PICKLE_HEAD = Uint8Array.of(0x80, 0x05, 0x95, 0, 0, 0, 0, 0, 0, 0, 0);

const NO_KEYS: readonly string[] = [];
const textEncoder = new TextEncoder();

/** A message under construction. */
interface Writer {
  readonly bytes: Uint8Array;
  length: number;
}

/** Names blocks by one algorithm and one root. Makes no allocation per block beyond the digest's own string. */
export class EngineHasher {
  readonly algorithm: HashAlgorithm;
  /** The root's parent digest (vLLM's NONE_HASH); null for SGLang, whose roots have none. */
  readonly noneHash: Uint8Array | null;
  readonly #writer: Writer = { bytes: new Uint8Array(MESSAGE_BYTES_MAX), length: 0 };
  // subarray() costs as much as a third of the hash; messages have few lengths, so views are kept by length.
  readonly #views: (Uint8Array | undefined)[] = [];

  /**
   * @param algorithm - the form.
   * @param seed - what PYTHONHASHSEED would be; null draws a random root, as vLLM does without it.
   */
  constructor(algorithm: HashAlgorithm, seed: string | null) {
    this.algorithm = algorithm;
    this.noneHash =
      algorithm === "sglang" ? null : seed === null ? randomBytes(DIGEST_BYTES) : this.#ofSeed(seed);
  }

  /**
   * Names consecutive full blocks of one prompt.
   *
   * @param tokens - the whole prompt; block i is `tokens[i × blockSize … (i + 1) × blockSize)`.
   * @param firstBlock - position of the first block to name; its predecessor's digest is read from `digests`.
   * @param endBlock - position after the last block to name.
   * @param blockSize - tokens per block, 1 … BLOCK_SIZE_MAX.
   * @param loraName - on every block's keys; null for the base model.
   * @param cacheSalt - on block 0's keys; null for none.
   * @param digests - digests of the prompt's blocks, 32 bytes each; receives those of the blocks named.
   */
  hashBlocks(
    tokens: Uint32Array,
    firstBlock: number,
    endBlock: number,
    blockSize: number,
    loraName: string | null,
    cacheSalt: string | null,
    digests: Uint8Array,
  ): void {
    const loraKeys = loraName === null ? NO_KEYS : [loraName];
    let parent = this.noneHash;
    let parentOffset = 0;
    if (firstBlock > 0) {
      parent = digests;
      parentOffset = (firstBlock - 1) * DIGEST_BYTES;
    } else if (this.algorithm === "sglang") parent = this.#sglangRoot(loraName, cacheSalt);
    for (let block = firstBlock; block < endBlock; block++) {
      const keys = block === 0 && cacheSalt !== null ? [...loraKeys, cacheSalt] : loraKeys;
      this.#write(parent, parentOffset, tokens, block * blockSize, blockSize, keys);
      this.#digestInto(digests, block * DIGEST_BYTES);
      parent = digests;
      parentOffset = block * DIGEST_BYTES;
    }
  }

  #write(
    parent: Uint8Array | null,
    parentOffset: number,
    tokens: Uint32Array,
    from: number,
    count: number,
    keys: readonly string[],
  ): void {
    const writer = this.#writer;
    writer.length = 0;
    switch (this.algorithm) {
      case "sha256":
        writePickleHead(writer);
        writeByte(writer, 0x43);
        writeByte(writer, DIGEST_BYTES);
        writeParent(writer, parent, parentOffset);
        writeByte(writer, 0x94);
        writePickleTokens(writer, tokens, from, count);
        writePickleKeys(writer, keys);
        writeByte(writer, 0x87);
        finishPickle(writer);
        break;
      case "sha256_cbor":
        writeByte(writer, 0x83);
        writeCborHead(writer, 2, DIGEST_BYTES);
        writeParent(writer, parent, parentOffset);
        writeCborHead(writer, 4, count);
        for (let i = from; i < from + count; i++) writeCborHead(writer, 0, tokens[i] ?? 0);
        writeCborKeys(writer, keys);
        break;
      case "sglang":
        if (parent !== null) writeParent(writer, parent, parentOffset);
        for (let i = from; i < from + count; i++) writeU32(writer, tokens[i] ?? 0);
        break;
    }
  }

  #digestInto(out: Uint8Array, offset: number): void {
    const length = this.#writer.length;
    const view = (this.#views[length] ??= this.#writer.bytes.subarray(0, length));
    // Asked for a latin1 string, OpenSSL's one-shot call takes a fifth of the time that a Buffer result does.
    const text = hash("sha256", view, "binary");
    for (let i = 0; i < DIGEST_BYTES; i++) out[offset + i] = text.charCodeAt(i);
  }

  #ofSeed(seed: string): Uint8Array {
    const writer = this.#writer;
    writer.length = 0;
    if (this.algorithm === "sha256") {
      writePickleHead(writer);
      writePickleString(writer, seed);
      finishPickle(writer);
    } else writeCborText(writer, seed);
    const out = new Uint8Array(DIGEST_BYTES);
    this.#digestInto(out, 0);
    return out;
  }

  // The salt's form is SGLang's; how it folds an adapter in is not published, so that part is our own.
  #sglangRoot(loraName: string | null, cacheSalt: string | null): Uint8Array | null {
    let text = "";
    if (cacheSalt !== null) text += `sglang-cache-salt-v1\0${cacheSalt}`;
    if (loraName !== null) text += `kvsync-sim-lora\0${loraName}`;
    if (text === "") return null;
    const out = new Uint8Array(DIGEST_BYTES);
    this.#writer.length = 0;
    writeText(this.#writer, text);
    this.#digestInto(out, 0);
    return out;
  }
}

/**
 * Whether the u64 form of a digest is its first 8 bytes (SGLang, TensorRT-LLM) rather than its last (vLLM).
 *
 * @param algorithm - who made the digest.
 * @returns byte offset of the u64 within the digest; it is big-endian there.
 */
export function externalOffset(algorithm: HashAlgorithm): number {
  return algorithm === "sglang" ? 0 : DIGEST_BYTES - 8;
}

function writeByte(writer: Writer, value: number): void {
  writer.bytes[writer.length++] = value;
}

function writeU32(writer: Writer, value: number): void {
  const { bytes, length } = writer;
  bytes[length] = value;
  bytes[length + 1] = value >>> 8;
  bytes[length + 2] = value >>> 16;
  bytes[length + 3] = value >>> 24;
  writer.length = length + 4;
}

function writeParent(writer: Writer, parent: Uint8Array | null, offset: number): void {
  assert(parent !== null, "a vLLM root has NONE_HASH as its parent");
  const { bytes, length } = writer;
  for (let i = 0; i < DIGEST_BYTES; i++) bytes[length + i] = parent[offset + i] ?? 0;
  writer.length = length + DIGEST_BYTES;
}

function writeText(writer: Writer, text: string): void {
  const encoded = textEncoder.encode(text);
  assert(
    writer.length + encoded.length <= writer.bytes.length,
    "keys and seeds are bounded where they enter",
  );
  writer.bytes.set(encoded, writer.length);
  writer.length += encoded.length;
}

// The frame's length is filled in by finishPickle.
function writePickleHead(writer: Writer): void {
  writer.bytes.set(PICKLE_HEAD, writer.length);
  writer.length += PICKLE_HEAD.length;
}

function finishPickle(writer: Writer): void {
  writeByte(writer, 0x94);
  writeByte(writer, 0x2e);
  const end = writer.length;
  writer.length = 3;
  writeU32(writer, end - PICKLE_HEAD.length);
  writer.length = end;
}

function writePickleTokens(writer: Writer, tokens: Uint32Array, from: number, count: number): void {
  const marked = count > 3;
  if (marked) writeByte(writer, 0x28);
  const { bytes } = writer;
  let at = writer.length;
  for (let i = from; i < from + count; i++) {
    const token = tokens[i] ?? 0;
    if (token < 0x100) {
      bytes[at] = 0x4b;
      bytes[at + 1] = token;
      at += 2;
    } else if (token < 0x1_0000) {
      bytes[at] = 0x4d;
      bytes[at + 1] = token;
      bytes[at + 2] = token >>> 8;
      at += 3;
    } else {
      // From 2³¹ on Python needs LONG1 with a fifth, zero byte to keep the sign.
      const long = token >= 0x8000_0000;
      if (long) bytes[at++] = 0x8a;
      bytes[at] = long ? 5 : 0x4a;
      bytes[at + 1] = token;
      bytes[at + 2] = token >>> 8;
      bytes[at + 3] = token >>> 16;
      bytes[at + 4] = token >>> 24;
      at += 5;
      if (long) bytes[at++] = 0;
    }
  }
  writer.length = at;
  // Tuples of one to three have opcodes of their own and no mark.
  writeByte(writer, marked ? 0x74 : 0x84 + count);
  writeByte(writer, 0x94);
}

function writePickleString(writer: Writer, text: string): void {
  const bytes = textEncoder.encode(text).length;
  if (bytes < 0x100) {
    writeByte(writer, 0x8c);
    writeByte(writer, bytes);
  } else {
    writeByte(writer, 0x58);
    writeU32(writer, bytes);
  }
  writeText(writer, text);
}

function writePickleKeys(writer: Writer, keys: readonly string[]): void {
  if (keys.length === 0) {
    writeByte(writer, 0x4e);
    return;
  }
  for (const key of keys) {
    writePickleString(writer, key);
    writeByte(writer, 0x94);
  }
  writeByte(writer, 0x84 + keys.length);
  writeByte(writer, 0x94);
}

function writeCborHead(writer: Writer, major: number, value: number): void {
  const { bytes, length } = writer;
  const top = major << 5;
  if (value < 24) {
    bytes[length] = top | value;
    writer.length = length + 1;
  } else if (value < 0x100) {
    bytes[length] = top | 24;
    bytes[length + 1] = value;
    writer.length = length + 2;
  } else if (value < 0x1_0000) {
    bytes[length] = top | 25;
    bytes[length + 1] = value >>> 8;
    bytes[length + 2] = value;
    writer.length = length + 3;
  } else {
    bytes[length] = top | 26;
    bytes[length + 1] = value >>> 24;
    bytes[length + 2] = value >>> 16;
    bytes[length + 3] = value >>> 8;
    bytes[length + 4] = value;
    writer.length = length + 5;
  }
}

function writeCborText(writer: Writer, text: string): void {
  writeCborHead(writer, 3, textEncoder.encode(text).length);
  writeText(writer, text);
}

function writeCborKeys(writer: Writer, keys: readonly string[]): void {
  if (keys.length === 0) {
    writeByte(writer, 0xf6);
    return;
  }
  writeCborHead(writer, 4, keys.length);
  for (const key of keys) writeCborText(writer, key);
}
