/**
 * Several names that one rank has for one block, each with copies of its own (contract.ts S3: a removal takes from the name
 * it gives). Found by block id in the rank's `lists`.
 *
 *     count u32 │ capacity u32 │ unread u32 │ – │ name × capacity          name: engine hash u64 │ copies by tier u32 × 4
 *
 * `unread` is the position, plus 1, of the name whose hash is not filled in yet. That is the rank's
 * first name when it is among the rank's own names. A search there would walk over all of them. It
 * is filled in when it is first asked for (holding.ts, `nameIn`). 0: all are.
 *
 * A list has at most `LIST_NAMES_MAX` names: engines give a block one, two while it is announced twice. Longer lists would
 * make a search that grows with what an engine sends.
 *
 * Only the writer uses it, except `copiesInList`, which `dump` calls from other threads.
 */
import { Context } from "./layout";
import { allocate } from "./heap";
import { LIMBO_MEMORY, retire } from "./epoch";

const HEAD: usize = 16;
const NAME_BYTES: usize = 24;
const FIRST: u32 = 2;
const UNREAD: usize = 8;
/** With one more, the name that was given first is forgotten. */
export const LIST_NAMES_MAX: u32 = 64;

/** An empty list. */
export function listMake(context: Context, capacity: u32 = FIRST): usize {
  const list = allocate(context, <u32>HEAD + capacity * <u32>NAME_BYTES);
  store<u32>(list, 0);
  store<u32>(list, capacity, 4);
  store<u64>(list, 0, UNREAD);
  return list;
}

// @ts-ignore: decorator
@inline
export function listCount(list: usize): u32 {
  return load<u32>(list);
}

// @ts-ignore: decorator
@inline
export function listNameAt(list: usize, i: u32): usize {
  return list + HEAD + <usize>i * NAME_BYTES;
}

/** Address of a name's entry, 0 when the list lacks it or has not read it yet. */
export function listFind(list: usize, engineHash: u64): usize {
  const unread = load<u32>(list, UNREAD);
  for (let i: u32 = 0; i < listCount(list); i++)
    if (load<u64>(listNameAt(list, i)) == engineHash && i + 1 != unread) return listNameAt(list, i);
  return 0;
}

/** Address of the entry whose hash is not filled in, 0 when all are. */
export function listUnread(list: usize): usize {
  const unread = load<u32>(list, UNREAD);
  return unread == 0 ? 0 : listNameAt(list, unread - 1);
}

/** Makes the first entry the one that is not filled in. */
export function listSetUnread(list: usize): void {
  store<u32>(list, 1, UNREAD);
}

/** Fills that entry in. */
export function listRead(list: usize, engineHash: u64): void {
  store<u64>(listUnread(list), engineHash);
  store<u32>(list, 0, UNREAD);
}

/** Appends a name without copies. Returns the list, which may have moved; its last entry is the new one. */
export function listAppend(context: Context, list: usize, engineHash: u64): usize {
  const count = listCount(list);
  if (count == load<u32>(list, 4)) {
    const bigger = listMake(context, 2 * count);
    memory.copy(bigger + HEAD, list + HEAD, <usize>count * NAME_BYTES);
    store<u32>(bigger, load<u32>(list, UNREAD), UNREAD);
    retire(context, LIMBO_MEMORY, <u32>list);
    list = bigger;
  }
  const at = listNameAt(list, count);
  store<u64>(at, engineHash);
  store<u64>(at, 0, 8);
  store<u64>(at, 0, 16);
  store<u32>(list, count + 1);
  return list;
}

/** Takes an entry out; the last one takes its place. */
export function listRemove(list: usize, at: usize): void {
  const last = listCount(list) - 1;
  memory.copy(at, listNameAt(list, last), NAME_BYTES);
  const unread = listUnread(list);
  if (unread == at) store<u32>(list, 0, UNREAD);
  else if (unread == listNameAt(list, last)) store<u32>(list, <u32>((at - list - HEAD) / NAME_BYTES) + 1, UNREAD);
  store<u32>(list, last);
}

/** Copies at a tier over all names. */
export function copiesInList(list: usize, tier: u32): u32 {
  let copies: u32 = 0;
  for (let i: u32 = 0; i < listCount(list); i++) copies += load<u32>(listNameAt(list, i) + 8 + (<usize>tier << 2));
  return copies;
}

/** The tiers at which any name has copies, as bits. */
export function tiersInList(list: usize): u32 {
  let tiers: u32 = 0;
  for (let tier: u32 = 0; tier < 4; tier++) if (copiesInList(list, tier) > 0) tiers |= 1 << tier;
  return tiers;
}
