/**
 * A lookup in a context whose ranks have no further KV-cache groups (match.ts), or in a context
 * whose ranks have them (match-groups.ts). Any thread, no locks.
 *
 *     lookupBegin ─▶ lookupOn: more hashes, please ─▶ lookupOn: … ─▶ lookupOn: done
 *     enters                    ◀── caller hashes ──┘                  leaves
 *
 * The prompt is hashed elsewhere (prompt.ts), as far as the lookup asks for. A caller that has begun calls
 * to the end. In between, the writer keeps what it would free.
 */
import { Context, groupOf, header } from "./layout";
import { readerEnter, readerLeave } from "./epoch";
import { contextOf } from "./context";
import { beginLookup, finishRows, Reader, rowAt, walk } from "./match";
import { hasLooseRanks, matchGroups } from "./match-groups";

/** Blocks hashed before they are looked up: a prompt that ends early is not hashed to its end. */
const PIECE_MIN: u32 = 64;
/** A piece is as long as what was walked before it, and not longer than this. */
const PIECE_MAX: u32 = 1024;

/** Begins a lookup in a context and writes its shape to the reader. False when there is none: then nothing was begun. */
export function lookupBegin(reader: Reader, slot: u32, serial: u32): bool {
  beginLookup(reader);
  readerEnter(reader.line);
  const context = contextOf(slot, serial);
  if (context === null) {
    readerLeave(reader.line);
    return false;
  }
  reader.context = changetype<usize>(context);
  reader.blockSize = context.blockSize;
  reader.lookahead = context.lookahead;
  return true;
}

/**
 * Continues with the first `ready` hashes of a query of `reader.blockCount` blocks. Returns how many it needs next; 0 when the rows
 * are there.
 */
export function lookupOn(reader: Reader, ready: u32): u32 {
  const count = reader.blockCount;
  const context = changetype<Context>(reader.context);
  const isAlive = walk(reader, ready);
  if (isAlive && ready < count) return min(count, ready + min(PIECE_MAX, max(PIECE_MIN, ready)));
  if (context.groupCount == 0 && !hasGroups(reader)) finishRows(reader, reader.walked);
  else {
    // A rank without a main group may match where no main group does.
    if (ready < count && hasLooseRanks(context)) return count;
    matchGroups(reader, context, ready);
  }
  readerLeave(reader.line);
  return 0;
}

/** Whether a rank with a row has groups that never stored to this context. */
function hasGroups(reader: Reader): bool {
  if (header().groupsOpen == 0) return false;
  for (let row: u32 = 0; row < reader.rowCount; row++)
    if (groupOf(load<u32>(rowAt(reader, row))).next != 0) return true;
  return false;
}
