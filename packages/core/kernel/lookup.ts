/**
 * A lookup in a context whose ranks have no further KV-cache groups (match.ts), or in a context
 * whose ranks have them (match-groups.ts). Any thread, no locks.
 */
import { groupOf, header } from "./layout";
import { readerEnter, readerLeave } from "./epoch";
import { contextOf } from "./context";
import { beginLookup, finishRows, Reader, rowAt, walk } from "./match";
import { matchGroups } from "./match-groups";

/** Looks up the query in the reader's tokens (`isTokens`: `count` of them) or hashes (`count` blocks). */
export function match(reader: Reader, slot: u32, serial: u32, count: u32, isTokens: bool, hasExtra: bool): void {
  beginLookup(reader);
  reader.blockCount = isTokens ? 0 : count;
  readerEnter(reader.line);
  const context = contextOf(slot, serial);
  if (context !== null) {
    if (isTokens) reader.blockCount = count < context.lookahead ? 0 : (count - context.lookahead) / context.blockSize;
    const extras = isTokens && hasExtra ? reader.extras : 0;
    if (context.groupCount != 0) matchGroups(reader, context, isTokens, extras);
    else {
      finishRows(reader, walk(reader, context, isTokens, extras));
      if (header().groupsOpen != 0 && hasGroups(reader)) matchGroups(reader, context, isTokens, extras);
    }
  }
  readerLeave(reader.line);
}

/** Whether a rank with a row has groups that never stored to this context. */
function hasGroups(reader: Reader): bool {
  for (let row: u32 = 0; row < reader.rowCount; row++)
    if (groupOf(load<u32>(rowAt(reader, row))).next != 0) return true;
  return false;
}
