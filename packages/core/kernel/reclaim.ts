/**
 * Reclaims memory: the end of limbo, the sweep after a clear, and eviction by limits.
 *
 * The sweep walks a context's blocks after a rank was cleared. Dead blocks are freed; blocks with a
 * forwarded set get the set that it was forwarded to. Each write does a bounded piece of it, so
 * that a clear does not make any call slow.
 */
import { Context, contextAt, header } from "./layout";
import { epochEnd, LIMBO_CONTEXT, LIMBO_IDS, limboTake } from "./epoch";
import { release } from "./heap";
import { CHUNK_LOG, chunkOf, clockNext, freeIds, setAddress } from "./arena";
import { addReference, canonical, dropReference, freeZombies, setAt } from "./holder-set";
import { evictFromRanks, forgetInRow, isDead, passRow, settleRow } from "./holding";
import { contextDrop, contextFree } from "./context";
import { LOST_TO_MEMORY } from "./losses";

/** Blocks that each write sweeps at least: with 256 a million is done after 4,000 writes, at about a microsecond each. */
const SWEEP_BLOCKS: u32 = 256;

/** Writes that an empty context lives on, as it may be stored to again, and between two looks for such. */
const EMPTY_WRITES: u32 = 1024;
/** Bytes of an empty context that go at once: to have them it took tens of thousands of blocks, beside which making it is nothing. */
const EMPTY_BYTES_MAX: u32 = 1048576;

/** Blocks that are evicted at a time where holder sets take too much. */
const RELIEF_BLOCKS: u32 = 1024;

/** Lets go of all in limbo that no reader can see. */
export function reclaim(): void {
  if (header().limboCount == 0) return;
  const oldest = epochEnd();
  for (let at = limboTake(oldest); at != 0; at = limboTake(oldest)) {
    const context = changetype<Context>(<usize>load<u32>(at, 8));
    const kind = load<u32>(at, 12);
    const value = load<u32>(at, 16);
    if (kind == LIMBO_IDS) freeIds(context, value, load<u64>(at, 24));
    else if (kind == LIMBO_CONTEXT) contextFree(context);
    else release(context, value);
  }
}

/** What ends every write: `written` blocks were written, in `context` if it is not null. */
export function finishWrite(context: Context | null, written: u32): void {
  const h = header();
  if (h.sweeping > 0) sweepSome(SWEEP_BLOCKS + 4 * written);
  if (context !== null) {
    freeZombies(context, false);
    dropIfLarge(context);
  }
  if (<u32>h.tick - h.emptiesSought >= EMPTY_WRITES) dropEmpty();
  reclaim();
}

/** Drops a context whose last block went and which takes much: its memory is worth making it again. */
export function dropIfLarge(context: Context): void {
  if (context.prefixCount == 0 && context.bytes > EMPTY_BYTES_MAX && context.serial != 0)
    contextDrop(context, 0);
}

/** Drops the contexts that have been empty for some time: engines load an adapter, serve it, and never again. */
function dropEmpty(): void {
  const h = header();
  h.emptiesSought = <u32>h.tick;
  for (let slot: u32 = 0; slot < h.contextSlots; slot++) {
    const context = contextAt(slot);
    if (context.serial == 0 || context.prefixCount > 0) continue;
    if (context.lastStore + EMPTY_WRITES <= h.tick) contextDrop(context, 0);
  }
}

/** Has all blocks of a context walked once from here on. */
export function startSweep(context: Context): void {
  if (context.sweepLeft == 0) header().sweeping++;
  context.sweepLeft = context.chunkCount << CHUNK_LOG;
}

function sweepSome(blocks: u32): void {
  const slots = header().contextSlots;
  for (let slot: u32 = 0; slot < slots; slot++) {
    const context = contextAt(slot);
    if (context.sweepLeft == 0) continue;
    const piece = min(blocks, context.sweepLeft);
    sweep(context, piece);
    context.sweepLeft -= piece;
    if (context.sweepLeft == 0) {
      header().sweeping--;
      freeZombies(context, false);
    }
    blocks -= piece;
    if (blocks == 0) return;
  }
}

function sweep(context: Context, blocks: u32): void {
  const end = context.chunkCount << CHUNK_LOG;
  let id = context.sweepCursor;
  for (; blocks > 0; blocks--, id++) {
    if (id >= end) id = 0;
    const chunk = chunkOf(context, id);
    if (chunk == 0) continue;
    passRow(context, id);
    const at = setAddress(chunk, id);
    const set = <usize>load<u32>(at);
    if (set == 0) continue;
    if (isDead(set)) {
      context.deadCount--;
      forgetInRow(context, id);
      dropReference(context, set);
    } else if (setAt(set).forward != 0) {
      const target = canonical(set);
      addReference(target);
      store<u32>(at, <u32>target);
      dropReference(context, set);
    }
  }
  settleRow(context);
  context.sweepCursor = id;
}

/** Sweeps a context to the end now: a limit is near, and dead blocks should go before live ones. */
export function sweepAll(context: Context): void {
  if (context.sweepLeft == 0) return;
  sweep(context, context.sweepLeft);
  context.sweepLeft = 0;
  header().sweeping--;
}

/**
 * Evicts up to `count` blocks (CLOCK) for a limit (losses.ts): in the order of the arena, which is about that of storing, those passed over that were
 * matched or stored again since the hand last came by. Returns how many went.
 */
export function evict(context: Context, count: u32, limit: u32): u32 {
  let evicted: u32 = 0;
  while (evicted < count) {
    const id = clockNext(context);
    if (id == 0) break;
    passRow(context, id);
    const set = <usize>load<u32>(setAddress(chunkOf(context, id), id));
    if (set == 0) continue;
    if (isDead(set)) {
      context.deadCount--;
    } else {
      evictFromRanks(context, set, id, limit);
      context.prefixCount--;
      context.hasEvicted = 1;
      evicted++;
    }
    forgetInRow(context, id);
    dropReference(context, set);
  }
  settleRow(context);
  return evicted;
}

/**
 * Keeps the limit of memory while holder sets are made that no store reckons with: removals and copies give blocks that had one
 * set many. Called between pieces of a call, so that no more than one piece's sets are ever too many.
 */
export function relieve(context: Context): void {
  const h = header();
  freeZombies(context, false);
  while (h.allocatedBytes > h.memoryBytesMax) {
    freeZombies(context, true);
    reclaim();
    if (h.allocatedBytes <= h.memoryBytesMax) return;
    const evicted = evict(context, RELIEF_BLOCKS, LOST_TO_MEMORY);
    if (evicted == 0) return;
    h.evicted2 += evicted;
  }
}
