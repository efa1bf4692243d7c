/**
 * The DP rank at the end of a batch, read without decoding its events: [ts, events,
 * data_parallel_rank, …]. It is for sockets through which several ranks publish: each numbers its
 * own messages, and the frames do not distinguish them.
 */
import { MsgpackCursor } from "../wire/msgpack-cursor.ts";
import { WireError } from "../wire/wire-error.ts";

/** Slots of a batch before its rank: time, events. */
const SLOTS_BEFORE = 2;
const cursor = new MsgpackCursor();

/**
 * Reads a batch's DP rank.
 *
 * @param payload - a batch.
 * @returns null when it names none, or is no batch: the decoder tells what is wrong with it. O(values in the batch).
 */
export function peekDataParallelRank(payload: Uint8Array): number | null {
  try {
    cursor.open(payload);
    if (cursor.readArrayLength() <= SLOTS_BEFORE) return null;
    for (let slot = 0; slot < SLOTS_BEFORE; slot += 1) cursor.skip();
    if (cursor.takeNil()) return null;
    return cursor.readInteger();
  } catch (error) {
    if (!(error instanceof WireError)) throw error;
    return null;
  }
}
