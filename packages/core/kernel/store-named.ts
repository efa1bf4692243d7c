/**
 * Copies of a further KV-cache group, found by name. Its blocks are those of the rank's other
 * groups, so most stores of a group need neither tokens nor a parent.
 */
import { groupOf, header, PIECE_BLOCKS, RankInContext, rankOf } from "./layout";
import { addCopy, addName, resolve, stripName } from "./holding";
import { mixKey } from "./id-table";
import { listFirst, rankIn } from "./context";
import { relieve } from "./reclaim";
import { ownNamesGrowthBytes } from "./own-names";
import { MEMORY_LIMIT, STORED } from "./codes";
import { SLACK_BYTES } from "./write";

/**
 * Adds copies at a tier to a holder, of blocks that any group of its rank has under these names. `misses` gets
 * one byte a block: 1 where none has. Returns an outcome (write.ts); then all or nothing was done.
 */
export function storeNamed(slot: u32, tier: u32, count: u32, engineHashes: usize, misses: usize): u32 {
  const h = header();
  // A block takes a name at most, and a holder set that is shared with its neighbours.
  if (h.allocatedBytes + SLACK_BYTES + namesBytes(slot, count) > h.memoryBytesMax) return MEMORY_LIMIT;
  for (let i: u32 = 0; i < count; i++) {
    const engineHash = load<u64>(engineHashes + (<usize>i << 3));
    const mixed = mixKey(engineHash);
    const known = resolveInGroups(slot, engineHash, mixed);
    store<u8>(misses + i, known == 0 ? 1 : 0);
    if (known == 0) continue;
    addTo(slot, tier, engineHash, mixed, changetype<RankInContext>(known), foundBlock);
    if ((i & (PIECE_BLOCKS - 1)) == PIECE_BLOCKS - 1) relieve(changetype<RankInContext>(known).context);
  }
  return STORED;
}

function namesBytes(slot: u32, count: u32): u32 {
  let most: u32 = 0;
  for (let at = rankOf(slot).first; at != 0; at = changetype<RankInContext>(at).next)
    most = max(most, ownNamesGrowthBytes(changetype<RankInContext>(at), count));
  return most;
}

/** Block that `resolveInGroups` found. */
let foundBlock: u32 = 0;

/** The record of the holder, of any group of a rank, that has a block under a name; 0 for none. */
function resolveInGroups(slot: u32, engineHash: u64, mixed: u64): usize {
  const owner = groupOf(slot).owner;
  const own = resolveAt(owner, engineHash, mixed);
  if (own != 0) return own;
  for (let other = groupOf(owner).next; other != 0; other = groupOf(other).next) {
    const found = resolveAt(other, engineHash, mixed);
    if (found != 0) return found;
  }
  return 0;
}

function resolveAt(slot: u32, engineHash: u64, mixed: u64): usize {
  for (let at = rankOf(slot).first; at != 0; at = changetype<RankInContext>(at).next) {
    foundBlock = resolve(changetype<RankInContext>(at), engineHash, mixed);
    if (foundBlock != 0) return at;
  }
  return 0;
}

function addTo(slot: u32, tier: u32, engineHash: u64, mixed: u64, source: RankInContext, id: u32): void {
  const holder = source.rankSlot == slot ? source : rankIn(source.context, slot);
  const known = resolve(holder, engineHash, mixed);
  listFirst(holder);
  if (known == id) {
    addCopy(holder, tier, engineHash, mixed, id);
    return;
  }
  if (known != 0) stripName(holder, engineHash, mixed, known);
  addName(holder, tier, engineHash, mixed, id);
}
