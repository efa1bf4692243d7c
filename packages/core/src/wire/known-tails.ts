/**
 * The end of a store event in a map, behind its tokens. Nearly every event of an engine ends with the same bytes: they are
 * compared, not read.
 *
 *     86 a4 type … a9 token_ids 9x … │ aa block_size 10 a6 medium a3 GPU …
 *                                    └ the tail: the same bytes in the same place have the same meaning
 *
 * Invariants
 *  T1  A tail is taken for known only if all its bytes are those of a tail that was read without a fault. The event
 *      has only type, hashes, parent and tokens before it, so that no key of the tail occurs twice.
 *  T2  `KEPT_MAX` tails of `BYTES_MAX` bytes are kept. Then one newcomer in `PASSED_MAX` takes the place of the oldest, so that
 *      many kinds of events cost little more than without this.
 *
 * Keys and salts of one prompt, and sessions, are not for keeping: the reader does not offer such a tail.
 */
import type { DecodedBlockStored } from "./events.ts";
import type { MsgpackCursor } from "./msgpack-cursor.ts";

/** Engines of one fleet write few: one for each group, medium and release. */
const KEPT_MAX = 8;
const BYTES_MAX = 256;
const PASSED_MAX = 16;

/** Fields that a tail may set. */
type TailFields = Pick<
  DecodedBlockStored,
  | "blockSize"
  | "loraId"
  | "medium"
  | "loraName"
  | "groupIdx"
  | "kvCacheSpecKind"
  | "kvCacheSpecSlidingWindow"
  | "locality"
  | "ownership"
>;

interface Tail {
  /** Keys with their values. */
  readonly pairs: number;
  readonly byteCount: number;
  /** Whole words of its bytes, big-endian, and its last four bytes, which overlap the word before. */
  readonly words: Uint32Array;
  readonly lastWord: number;
  /** The keys that it has, a bit each. */
  readonly keys: number;
  readonly fields: Readonly<TailFields>;
}

/** The tails that were read last; of one reader. */
export class KnownTails {
  readonly #kept: Tail[] = [];
  #oldest = 0;
  /** Tails that were not kept since the last one that was. */
  #passed = 0;
  /** The tail that was found last is looked at first. */
  #found = 0;

  /**
   * Reads the tail at the cursor, if it is known.
   *
   * @param cursor - behind the tokens; behind the event if the tail is known, otherwise left where it is.
   * @param pairs - of the event that are left.
   * @param stored - receives the tail's fields.
   * @returns the keys of the tail, a bit each; 0 when it is not known.
   */
  take(cursor: MsgpackCursor, pairs: number, stored: DecodedBlockStored): number {
    const kept = this.#kept;
    for (let i = 0, at = this.#found; i < kept.length; i += 1, at = at + 1 === kept.length ? 0 : at + 1) {
      const tail = kept[at];
      if (tail.pairs !== pairs || !isAt(tail, cursor)) continue;
      this.#found = at;
      cursor.position += tail.byteCount;
      const { fields } = tail;
      stored.blockSize = fields.blockSize;
      stored.loraId = fields.loraId;
      stored.medium = fields.medium;
      stored.loraName = fields.loraName;
      stored.groupIdx = fields.groupIdx;
      stored.kvCacheSpecKind = fields.kvCacheSpecKind;
      stored.kvCacheSpecSlidingWindow = fields.kvCacheSpecSlidingWindow;
      stored.locality = fields.locality;
      stored.ownership = fields.ownership;
      return tail.keys;
    }
    return 0;
  }

  /**
   * Keeps a tail that was read.
   *
   * @param cursor - behind it.
   * @param start - where it begins.
   * @param pairs - that it has.
   * @param keys - that it has, a bit each.
   * @param stored - the event's fields.
   */
  keep(
    cursor: MsgpackCursor,
    start: number,
    pairs: number,
    keys: number,
    stored: Readonly<DecodedBlockStored>,
  ): void {
    const byteCount = cursor.position - start;
    if (byteCount < 4 || byteCount > BYTES_MAX) return;
    this.#passed = (this.#passed + 1) % PASSED_MAX;
    if (this.#kept.length === KEPT_MAX && this.#passed !== 0) return;
    const words = new Uint32Array(byteCount >>> 2);
    for (let i = 0; i < words.length; i += 1) words[i] = cursor.view.getUint32(start + 4 * i);
    const { blockSize, loraId, medium, loraName, groupIdx, kvCacheSpecKind } = stored;
    const { kvCacheSpecSlidingWindow, locality, ownership } = stored;
    const tail = {
      pairs,
      byteCount,
      words,
      lastWord: cursor.view.getUint32(cursor.position - 4),
      keys,
      fields: {
        blockSize,
        loraId,
        medium,
        loraName,
        groupIdx,
        kvCacheSpecKind,
        kvCacheSpecSlidingWindow,
        locality,
        ownership,
      },
    };
    this.#kept[this.#oldest] = tail;
    this.#found = this.#oldest;
    this.#oldest = (this.#oldest + 1) % KEPT_MAX;
  }
}

function isAt({ byteCount, words, lastWord }: Tail, { view, position, end }: MsgpackCursor): boolean {
  if (byteCount > end - position) return false;
  for (let i = 0, at = position; i < words.length; i += 1, at += 4)
    if (view.getUint32(at) !== words[i]) return false;
  return view.getUint32(position + byteCount - 4) === lastWord;
}
