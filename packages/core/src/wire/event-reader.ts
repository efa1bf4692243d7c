/**
 * Reads one event, array or map, of any engine and version into the reused records of events.ts.
 *
 * The fields are numbered so that a field's number is its slot in vLLM's array form:
 *
 *     slot   0    1            2                  3          4           5        6       7          8           9  10    11
 *     array [tag, block_hashes, parent_block_hash, token_ids, block_size, lora_id, medium, lora_name, extra_keys, group_idx, kind, window]
 *     array [tag, block_hashes, medium, group_idx]                                      (BlockRemoved)
 *     map   {"type": tag, field: value …}        in any order; 12 … 16 exist in maps only
 *
 * Slot 7 of a store is a string or nil from vLLM (lora_name) and a map from SGLang ({cache_salt?, session_id?}).
 *
 * Invariants
 *  R1  `read` either returns with `position` behind the event, or throws a WireError and leaves the caller to skip.
 *  R2  What is absent or nil is null, except what an event cannot do without (`missing_field`, `wrong_type`).
 *  R3  A key is compared whole. Keys that an event's type does not have, and slots beyond its longest array, are passed over.
 *      Unless their value is nil, their names are in `unknownNames` after `read`.
 *  R4  After `read` every field of the record belongs to this event: nothing is left of the one before.
 *
 * It does not judge what fields mean (kinds, media, alignment of tokens and hashes): that is the stream's business.
 *
 * Sources: vllm/distributed/kv_events.py @ b4e69e0a to 0.33.0; sglang disaggregation/kv_events.py @ 006d053f; slot tables in
 * README.md.
 */
import { readHash, readHashes, readLookahead, readTokenPairs, readTokens } from "./block-columns.ts";
import type { DecodedBlockRemoved, DecodedBlockStored, DecodeScratch, KvEvent } from "./events.ts";
import { readExtraKeys } from "./extra-keys.ts";
import { KnownTails } from "./known-tails.ts";
import type { MsgpackCursor } from "./msgpack-cursor.ts";
import type { WireError } from "./wire-error.ts";
import { UnknownNames } from "./unknown-names.ts";
import type { WireLimits } from "./wire-limits.ts";
import { quoteText, readText, TextInterner } from "./wire-text.ts";

const TYPE = 0;
const BLOCK_HASHES = 1;
const PARENT_BLOCK_HASH = 2;
const TOKEN_IDS = 3;
const BLOCK_SIZE = 4;
const LORA_ID = 5;
const MEDIUM = 6;
const LORA_NAME = 7;
const EXTRA_KEYS = 8;
const GROUP_IDX = 9;
const KIND = 10;
const SLIDING_WINDOW = 11;
const LOCALITY = 12;
const OWNERSHIP = 13;
const SESSION_ID = 14;
const CACHE_SALT = 15;
const LOOKAHEAD_TOKEN_IDS = 16;
const BLOCK_STORED = 17;
const BLOCK_REMOVED = 18;
const ALL_BLOCKS_CLEARED = 19;
const UNKNOWN = 20;

/** Spelling of the names above, in their order. */
const NAMES: readonly string[] = [
  "type",
  "block_hashes",
  "parent_block_hash",
  "token_ids",
  "block_size",
  "lora_id",
  "medium",
  "lora_name",
  "extra_keys",
  "group_idx",
  "kv_cache_spec_kind",
  "kv_cache_spec_sliding_window",
  "locality",
  "ownership",
  "session_id",
  "cache_salt",
  "lookahead_token_ids",
  "BlockStored",
  "BlockRemoved",
  "AllBlocksCleared",
];

/** Unknown fields of one event that are named; more are as one. */
const UNKNOWN_FIELDS_MAX = 8;
/** Slots of the longest array form of a store; what follows is unknown. */
const STORED_SLOTS = 12;
/** Slots of the shortest, vLLM 0.9.0's. */
const STORED_SLOTS_MIN = 6;
const REMOVED_SLOTS = 4;
const REMOVED_SLOTS_MIN = 2;

const STORED_FIELDS = (1 << (LOOKAHEAD_TOKEN_IDS + 1)) - 1;
const STORED_REQUIRED = (1 << BLOCK_HASHES) | (1 << TOKEN_IDS) | (1 << BLOCK_SIZE);
const REMOVED_FIELDS =
  (1 << TYPE) | (1 << BLOCK_HASHES) | (1 << MEDIUM) | (1 << GROUP_IDX) | (1 << LOCALITY) | (1 << OWNERSHIP);
const REMOVED_REQUIRED = 1 << BLOCK_HASHES;
const CLEARED_FIELDS = 1 << TYPE;
const METADATA_FIELDS = (1 << CACHE_SALT) | (1 << SESSION_ID);
/** Fields of a store that differ from event to event; where no other comes before the tokens, the tail may be known. */
const VARYING_FIELDS = (1 << TYPE) | (1 << BLOCK_HASHES) | (1 << PARENT_BLOCK_HASH) | (1 << TOKEN_IDS);

const U32_MAX = 0xffff_ffff;

/**
 * Names as big-endian words, so that comparing one takes a read per four bytes: row r holds the whole words of name r, and
 * `NAME_TAILS[r]` its last four bytes, which overlap the word before when the length is no multiple of four.
 */
const WORDS_PER_NAME = 7;
const NAME_WORDS = new Uint32Array(NAMES.length * WORDS_PER_NAME);
const NAME_TAILS = new Uint32Array(NAMES.length);
/**
 * The name, if any, by its length and by six bits of its first byte, which tell letters apart. No two names share both, so
 * that one read finds the only name to compare with.
 */
const NAME_LENGTH_MAX = 4 * WORDS_PER_NAME;
const NAME_OF_START = new Uint8Array((NAME_LENGTH_MAX + 1) << 6).fill(UNKNOWN);
for (const [row, name] of NAMES.entries()) {
  const view = new DataView(Uint8Array.from(name, (letter) => letter.charCodeAt(0)).buffer);
  for (let at = 0; at + 4 <= name.length; at += 4) {
    NAME_WORDS[row * WORDS_PER_NAME + (at >>> 2)] = view.getUint32(at);
  }
  NAME_TAILS[row] = view.getUint32(name.length - 4);
  NAME_OF_START[(name.length << 6) | (name.charCodeAt(0) & 63)] = row;
}

/** The name that these `length` bytes spell, or UNKNOWN. All of them lie inside the payload. */
function nameAt(bytes: Uint8Array, view: DataView, start: number, length: number): number {
  if (length < 4 || length > NAME_LENGTH_MAX) return UNKNOWN;
  const name = NAME_OF_START[(length << 6) | (bytes[start] & 63)];
  if (name === UNKNOWN) return UNKNOWN;
  const last = start + length - 4;
  let word = name * WORDS_PER_NAME;
  for (let at = start; at < last; at += 4) {
    if (view.getUint32(at) !== NAME_WORDS[word]) return UNKNOWN;
    word += 1;
  }
  return view.getUint32(last) === NAME_TAILS[name] ? name : UNKNOWN;
}

/** Reads events one after the other; see the head of this file. */
export class EventReader {
  /** The last store read. */
  readonly stored: DecodedBlockStored = {
    type: "BlockStored",
    blockCount: 0,
    hasParent: false,
    parentLow: 0,
    parentHigh: 0,
    tokenCount: 0,
    lookahead: 0,
    isPaired: false,
    blockSize: 0,
    loraId: null,
    medium: null,
    loraName: null,
    extraKeys: null,
    groupIdx: null,
    kvCacheSpecKind: null,
    kvCacheSpecSlidingWindow: null,
    locality: null,
    ownership: null,
    sessionId: null,
    cacheSalt: null,
  };

  /** The last removal read. */
  readonly removed: DecodedBlockRemoved = {
    type: "BlockRemoved",
    blockCount: 0,
    medium: null,
    groupIdx: null,
    locality: null,
    ownership: null,
  };

  /** Type of the event being read, null as long as it is not known; tells whose fault a thrown error is. */
  eventType: KvEvent["type"] | null = null;

  /** Unknown fields of the event read last: the first `unknownCount` of these names. */
  readonly unknownNames: string[] = new Array<string>(UNKNOWN_FIELDS_MAX).fill("");
  unknownCount = 0;
  /** Where the block hashes of the event read last begin. */
  hashesAt = 0;
  /** Names for unknown fields. */
  readonly unknown: UnknownNames = new UnknownNames();

  readonly #cursor: MsgpackCursor;
  readonly #scratch: DecodeScratch;
  readonly #limits: WireLimits;
  readonly #texts = new TextInterner();
  readonly #tails = new KnownTails();
  /** Where the tail of the event at hand begins, −1 when it may not be kept; its pairs, and the keys before it. */
  #tailAt = -1;
  #tailPairs = 0;
  #keysBeforeTail = 0;
  readonly #parent = new Uint32Array(2);
  /** Where `lookahead_token_ids` of the event at hand begin, −1 when it has none. */
  #lookaheadAt = -1;

  /**
   * @param cursor - what to read from.
   * @param scratch - receives hashes and tokens; its lengths bound an event.
   * @param limits - bounds of everything else.
   */
  constructor(cursor: MsgpackCursor, scratch: DecodeScratch, limits: WireLimits) {
    this.#cursor = cursor;
    this.#scratch = scratch;
    this.#limits = limits;
  }

  /**
   * Reads the event at the cursor (R1). O(bytes); allocates nothing but what `extra_keys` and new strings need.
   *
   * @returns its type: what it says is in `stored` or `removed`, and in the scratch.
   * @throws WireError, any payload code but those of whole batches.
   */
  read(): KvEvent["type"] {
    this.eventType = null;
    this.unknownCount = 0;
    const format = this.#cursor.format();
    if ((format & 0xf0) === 0x80 || format === 0xde || format === 0xdf) return this.#readMap();
    if ((format & 0xf0) === 0x90 || format === 0xdc || format === 0xdd) return this.#readArray();
    throw this.#cursor.wrongType("an event, array or map");
  }

  #readArray(): KvEvent["type"] {
    const cursor = this.#cursor;
    const start = cursor.position;
    const length = cursor.readArrayLength();
    if (length === 0) throw cursor.error("wrong_length", start, "an event with its type", "an empty array");
    const tag = this.#readTag();
    if (tag === BLOCK_STORED) this.#readStoredSlots(start, length);
    else if (tag === BLOCK_REMOVED) this.#readRemovedSlots(start, length);
    else this.#passSlots(1, length);
    return this.#finish(tag);
  }

  #readStoredSlots(start: number, length: number): void {
    const cursor = this.#cursor;
    const stored = this.stored;
    if (length < STORED_SLOTS_MIN) throw this.#tooFewSlots(start, length, STORED_SLOTS_MIN);
    stored.blockCount = this.#readHashes();
    this.#readParent();
    this.#readTokens();
    stored.blockSize = this.#readCount();
    stored.loraId = this.#readLoraId();
    if (length > 6) stored.medium = this.#readName();
    if (length > 7) this.#readNameOrMetadata();
    if (length > 8) stored.extraKeys = readExtraKeys(cursor, this.#limits);
    if (length > 9) stored.groupIdx = this.#readOptionalCount();
    if (length > 10) stored.kvCacheSpecKind = this.#readName();
    if (length > 11) stored.kvCacheSpecSlidingWindow = this.#readOptionalCount();
    this.#passSlots(STORED_SLOTS, length);
  }

  #readRemovedSlots(start: number, length: number): void {
    const stored = this.stored;
    if (length < REMOVED_SLOTS_MIN) throw this.#tooFewSlots(start, length, REMOVED_SLOTS_MIN);
    stored.blockCount = this.#readHashes();
    if (length > 2) stored.medium = this.#readName();
    if (length > 3) stored.groupIdx = this.#readOptionalCount();
    this.#passSlots(REMOVED_SLOTS, length);
  }

  /** Passes over what stands behind an event's longest known form. */
  #passSlots(from: number, length: number): void {
    const cursor = this.#cursor;
    for (let slot = from; slot < length; slot += 1) {
      if (cursor.takeNil()) continue;
      cursor.skip();
      this.#noteUnknown(this.unknown.slot(slot));
    }
  }

  /** Passes over the value of a key that is not known here. */
  #passPair(keyStart: number): void {
    const cursor = this.#cursor;
    const keyEnd = cursor.position;
    if (cursor.takeNil()) return;
    cursor.skip();
    this.#noteUnknown(this.unknown.key(cursor.bytes, keyStart, keyEnd));
  }

  #noteUnknown(name: string): void {
    if (this.unknownCount === UNKNOWN_FIELDS_MAX) return;
    this.unknownNames[this.unknownCount] = name;
    this.unknownCount += 1;
  }

  #tooFewSlots(start: number, length: number, slotsMin: number): WireError {
    return this.#cursor.error("wrong_length", start, `at least ${slotsMin} slots`, `${length}`);
  }

  #readNameOrMetadata(): void {
    const format = this.#cursor.format();
    const isMap = (format & 0xf0) === 0x80 || format === 0xde || format === 0xdf;
    if (isMap) this.#readPairs(this.#cursor.readMapLength(), METADATA_FIELDS, 0);
    else this.stored.loraName = this.#readName();
  }

  #readMap(): KvEvent["type"] {
    const cursor = this.#cursor;
    const start = cursor.position;
    const count = cursor.readMapLength();
    const body = cursor.position;
    let tag: number;
    let seen = 0;
    if (count > 0 && this.#readKey() === TYPE) {
      tag = this.#readTag();
      seen = 1 << TYPE;
    } else {
      cursor.position = body;
      tag = this.#findTag(start, count);
      cursor.position = body;
    }
    const isStored = tag === BLOCK_STORED;
    const isRemoved = tag === BLOCK_REMOVED;
    const fields = isStored ? STORED_FIELDS : isRemoved ? REMOVED_FIELDS : CLEARED_FIELDS;
    seen = this.#readPairs(seen === 0 ? count : count - 1, fields, seen);
    const missing = (isStored ? STORED_REQUIRED : isRemoved ? REMOVED_REQUIRED : 0) & ~seen;
    if (missing !== 0) {
      const name = NAMES[31 - Math.clz32(missing)];
      throw cursor.error("missing_field", start, `the key ${name}`, "a map without it");
    }
    if (isStored && this.#tailAt >= 0) this.#keepTail(seen);
    return this.#finish(tag);
  }

  /** The type of a map event that does not begin with it, as the maps of every known engine do. */
  #findTag(start: number, count: number): number {
    const cursor = this.#cursor;
    for (let pair = 0; pair < count; pair += 1) {
      if (this.#readKey() === TYPE) return this.#readTag();
      cursor.skip();
    }
    throw cursor.error("missing_field", start, "the key type", "a map without it");
  }

  /** Reads pairs whose key is in the bit set `fields`, passes over the others; returns `seen` with those read. */
  #readPairs(count: number, fields: number, seen: number): number {
    const cursor = this.#cursor;
    let read = seen;
    for (let pair = 0; pair < count; pair += 1) {
      const start = cursor.position;
      const field = this.#readKey();
      // Names of events are no keys; their bits are in no set. UNKNOWN's neither.
      const bit = 1 << field;
      if ((fields & bit) === 0) this.#passPair(start);
      else if ((read & bit) !== 0) throw this.#duplicateKey(start, field);
      else {
        read |= bit;
        this.#readField(field);
        if (field !== TOKEN_IDS) continue;
        const known = this.#takeTail(count - pair - 1, read);
        if (known !== 0) return read | known;
      }
    }
    return read;
  }

  /** Reads what follows the tokens of a map, if it is known (known-tails.ts); returns its fields, or 0. */
  #takeTail(pairs: number, read: number): number {
    if ((read & ~VARYING_FIELDS) !== 0) return 0;
    const known = this.#tails.take(this.#cursor, pairs, this.stored);
    if (known !== 0) return known;
    this.#tailAt = this.#cursor.position;
    this.#tailPairs = pairs;
    this.#keysBeforeTail = read;
    return 0;
  }

  /** Keeps the tail of a store that was read without a fault, if other events may end with it too. */
  #keepTail(seen: number): void {
    const { blockCount, extraKeys, sessionId, cacheSalt } = this.stored;
    const keys = seen & ~this.#keysBeforeTail;
    // A run has as many empty keys as blocks: few of them are of one length.
    const isCommon = blockCount === 1 && extraKeys === null && sessionId === null && cacheSalt === null;
    if (!isCommon || this.unknownCount > 0 || this.#lookaheadAt >= 0) return;
    if (keys === 0 || (keys & VARYING_FIELDS) !== 0) return;
    this.#tails.keep(this.#cursor, this.#tailAt, this.#tailPairs, keys, this.stored);
  }

  #duplicateKey(start: number, field: number): WireError {
    return this.#cursor.error("duplicate_key", start, `the key ${NAMES[field]} once`, "it again");
  }

  /** Reads a key and returns its number, UNKNOWN for other names and for keys that are no strings. */
  #readKey(): number {
    const cursor = this.#cursor;
    const format = cursor.format();
    if ((format & 0xe0) !== 0xa0) return this.#readLongKey(format);
    const length = format & 0x1f;
    const start = cursor.position + 1;
    if (start + length > cursor.end) throw cursor.truncated(length + 1);
    cursor.position = start + length;
    return nameAt(cursor.bytes, cursor.view, start, length);
  }

  #readLongKey(format: number): number {
    const cursor = this.#cursor;
    if (format < 0xd9 || format > 0xdb) {
      cursor.skip();
      return UNKNOWN;
    }
    const length = cursor.readTextLength();
    const start = cursor.position;
    cursor.position = start + length;
    return nameAt(cursor.bytes, cursor.view, start, length);
  }

  /** Reads the type of an event and makes the records ready for it (R4). */
  #readTag(): number {
    const cursor = this.#cursor;
    const start = cursor.position;
    const length = cursor.readTextLength();
    const tag = nameAt(cursor.bytes, cursor.view, cursor.position, length);
    if (tag === BLOCK_STORED) this.#resetStored();
    else if (tag === BLOCK_REMOVED) this.#resetRemoved();
    else if (tag === ALL_BLOCKS_CLEARED) this.eventType = "AllBlocksCleared";
    else {
      const text = cursor.bytes.subarray(cursor.position, cursor.position + length);
      throw cursor.error("unknown_event_type", start, "a known event type", quoteText(text));
    }
    cursor.position += length;
    return tag;
  }

  #readField(field: number): void {
    const cursor = this.#cursor;
    const stored = this.stored;
    switch (field) {
      case BLOCK_HASHES:
        stored.blockCount = this.#readHashes();
        break;
      case PARENT_BLOCK_HASH:
        this.#readParent();
        break;
      case TOKEN_IDS:
        this.#readTokens();
        break;
      case BLOCK_SIZE:
        stored.blockSize = this.#readCount();
        break;
      case LORA_ID:
        stored.loraId = this.#readLoraId();
        break;
      case MEDIUM:
        stored.medium = this.#readName();
        break;
      case LORA_NAME:
        stored.loraName = this.#readName();
        break;
      case EXTRA_KEYS:
        stored.extraKeys = readExtraKeys(cursor, this.#limits);
        break;
      case GROUP_IDX:
        stored.groupIdx = this.#readOptionalCount();
        break;
      case KIND:
        stored.kvCacheSpecKind = this.#readName();
        break;
      case SLIDING_WINDOW:
        stored.kvCacheSpecSlidingWindow = this.#readOptionalCount();
        break;
      default:
        this.#readMapField(field);
    }
  }

  /** A field that has no slot in the array form, or TYPE. */
  #readMapField(field: number): void {
    const cursor = this.#cursor;
    const stored = this.stored;
    switch (field) {
      case LOCALITY:
        stored.locality = this.#readName();
        break;
      case OWNERSHIP:
        stored.ownership = this.#readName();
        break;
      case SESSION_ID:
        // A session is new in most events: keeping its string would push out the ones that repeat.
        stored.sessionId = cursor.takeNil() ? null : readText(cursor, this.#limits.textBytesMax);
        break;
      case CACHE_SALT:
        stored.cacheSalt = this.#readName();
        break;
      case LOOKAHEAD_TOKEN_IDS:
        // Read when hashes and tokens are known: they may come later in the map.
        if (!cursor.takeNil()) {
          this.#lookaheadAt = cursor.position;
          cursor.skip();
        }
        break;
      default:
        // TYPE, which findTag has read.
        cursor.skip();
    }
  }

  #readHashes(): number {
    this.hashesAt = this.#cursor.position;
    return readHashes(this.#cursor, this.#scratch.hashes, this.#limits.digestBytesMax);
  }

  #readParent(): void {
    const cursor = this.#cursor;
    const stored = this.stored;
    stored.hasParent = !cursor.takeNil();
    if (!stored.hasParent) return;
    readHash(cursor, this.#parent, 0, this.#limits.digestBytesMax);
    stored.parentLow = this.#parent[0];
    stored.parentHigh = this.#parent[1];
  }

  #readTokens(): void {
    const cursor = this.#cursor;
    const stored = this.stored;
    const tokens = this.#scratch.tokens;
    const start = cursor.position;
    const count = cursor.readArrayLength();
    const first = count === 0 ? 0 : cursor.format();
    const isPaired = (first & 0xf0) === 0x90 || first === 0xdc || first === 0xdd;
    if (count + (isPaired ? 1 : 0) > tokens.length) {
      throw cursor.error("limit_exceeded", start, `at most ${tokens.length} token ids`, `${count}`);
    }
    stored.tokenCount = count;
    stored.isPaired = isPaired;
    stored.lookahead = isPaired ? 1 : 0;
    if (isPaired) readTokenPairs(cursor, count, tokens);
    else readTokens(cursor, count, tokens);
  }

  #readName(): string | null {
    const cursor = this.#cursor;
    if (cursor.format() !== 0xc0) return this.#texts.read(cursor, this.#limits.textBytesMax);
    cursor.position += 1;
    return null;
  }

  #readLoraId(): number | null {
    const cursor = this.#cursor;
    if (cursor.format() !== 0xc0) return cursor.readInteger();
    cursor.position += 1;
    return null;
  }

  #readOptionalCount(): number | null {
    const cursor = this.#cursor;
    if (cursor.format() !== 0xc0) return this.#readCount();
    cursor.position += 1;
    return null;
  }

  #readCount(): number {
    const cursor = this.#cursor;
    const start = cursor.position;
    const format = cursor.format();
    if (format < 0x80) {
      cursor.position = start + 1;
      return format;
    }
    const count = cursor.readInteger();
    if (count < 0 || count > U32_MAX) throw this.#notU32(start, count);
    return count;
  }

  #notU32(start: number, count: number): WireError {
    return this.#cursor.error("out_of_range", start, `an integer of 0 to ${U32_MAX}`, `${count}`);
  }

  /** Checks what only the whole event shows, and moves a removal's fields to its own record. */
  #finish(tag: number): KvEvent["type"] {
    const stored = this.stored;
    if (tag === ALL_BLOCKS_CLEARED) return "AllBlocksCleared";
    if (tag === BLOCK_REMOVED) {
      const removed = this.removed;
      removed.blockCount = stored.blockCount;
      removed.medium = stored.medium;
      removed.groupIdx = stored.groupIdx;
      removed.locality = stored.locality;
      removed.ownership = stored.ownership;
      return "BlockRemoved";
    }
    if (stored.extraKeys !== null && stored.extraKeys.length !== stored.blockCount) {
      const actual = `${stored.extraKeys.length} entries`;
      const expected = `extra keys for ${stored.blockCount} blocks`;
      throw this.#cursor.error("extra_keys_misaligned", this.#cursor.position, expected, actual);
    }
    if (this.#lookaheadAt >= 0) this.#readLookahead();
    return "BlockStored";
  }

  #readLookahead(): void {
    const cursor = this.#cursor;
    const stored = this.stored;
    const end = cursor.position;
    const start = this.#lookaheadAt;
    cursor.position = start;
    if (stored.isPaired) {
      const expected = "lookahead tokens either in pairs or in lists";
      throw cursor.error("lookahead_misaligned", start, expected, "both");
    }
    const blockSize = stored.tokenCount === stored.blockCount * stored.blockSize ? stored.blockSize : 0;
    const lookaheadMax = this.#limits.lookaheadMax;
    const { tokens } = this.#scratch;
    stored.lookahead = readLookahead(cursor, stored.blockCount, blockSize, tokens, lookaheadMax);
    cursor.position = end;
  }

  #resetStored(): void {
    this.eventType = "BlockStored";
    const stored = this.stored;
    stored.blockCount = 0;
    stored.hasParent = false;
    stored.parentLow = 0;
    stored.parentHigh = 0;
    stored.tokenCount = 0;
    stored.lookahead = 0;
    this.#lookaheadAt = -1;
    this.#tailAt = -1;
    stored.isPaired = false;
    stored.blockSize = 0;
    stored.loraId = null;
    stored.medium = null;
    stored.loraName = null;
    stored.extraKeys = null;
    stored.groupIdx = null;
    stored.kvCacheSpecKind = null;
    stored.kvCacheSpecSlidingWindow = null;
    stored.locality = null;
    stored.ownership = null;
    stored.sessionId = null;
    stored.cacheSalt = null;
  }

  /** A removal is read into the store's record first, so that each field has one reader; this clears what it uses. */
  #resetRemoved(): void {
    this.eventType = "BlockRemoved";
    const stored = this.stored;
    stored.blockCount = 0;
    stored.medium = null;
    stored.groupIdx = null;
    stored.locality = null;
    stored.ownership = null;
  }
}
