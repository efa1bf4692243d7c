/**
 * Holder sets: the holders of a block, as interned bitsets; blocks held by the same ranks in the
 * same way share one.
 *
 *     set + 0   planes u8 │ is zombie u8 │ words u16      bit k of planes: the set has a plane of kind k
 *           4   references: blocks whose set this is, and sets forwarded here
 *           8   hash: XOR over the ranks of mix(local, kinds), which is secret (mix.ts): a group of engines that chooses
 *               who stores what cannot choose sets of one hash
 *          12   forward: the equal set that takes its place, 0 for none
 *          16   forwarders: of the references, how many are sets
 *          20   next in the bucket of `interned`
 *          24   previous, 28 next of all sets of the context
 *          32   ranks in the set
 *          36   next zombie
 *          40   scratch of check.ts
 *          48   planes: `words` u64 each, in order of kind; bit `local` of a plane is the rank with that number
 *
 * A set does not change once it is in use, with one exception. Clearing a rank takes its bits out
 * of all sets, in place. So the time does not depend on the number of blocks. Sets that become
 * equal by that are merged by forwarding, and the sweep (reclaim.ts) moves their blocks over. A set
 * without ranks is dead, and so are its blocks.
 *
 * A set whose last reference went is a zombie: still interned, soon wanted again as a rule. Zombies
 * are freed many at a time. The cache of transitions (set, rank, kinds) → set is emptied with them,
 * so that it never names a freed set.
 *
 * Readers look at planes, words and bits only; bits may be cleared under their eyes, which is what clearing means.
 */
import { Context, fence, header, KIND_COUNT, TEMP_SET, TRANSITIONS } from "./layout";
import { allocate, allocateZeroed, release } from "./heap";
import { LIMBO_MEMORY, retire } from "./epoch";
import { mix } from "./mix";

export const SET_HEAD: usize = 48;
const TEMP_PLANE_BYTES: usize = 1024;
const TRANSITIONS_LOG: u32 = 13;
const INTERNED_FIRST: u32 = 16;
/** Zombies before they are freed: enough that a set comes back before it goes, and little beside the live ones. */
const ZOMBIES_MIN: u32 = 256;

@unmanaged
export class HolderSet {
  planes: u8;
  isZombie: u8;
  words: u16;
  references: u32;
  hash: u32;
  forward: usize;
  forwarders: u32;
  nextInterned: usize;
  previous: usize;
  next: usize;
  rankCount: u32;
  nextZombie: usize;
  recount: u32;
}

// @ts-ignore: decorator
@inline
export function setAt(set: usize): HolderSet {
  return changetype<HolderSet>(set);
}

/** What rank `local` is in a set, as bits of kinds; 0 when it is not in it, or the set is 0. */
export function kindsOf(set: usize, local: u32): u32 {
  if (set == 0) return 0;
  const words = <usize>setAt(set).words;
  if (<usize>local >> 6 >= words) return 0;
  let at = set + SET_HEAD + (<usize>(local >> 6) << 3);
  let kinds: u32 = 0;
  for (let planes = <u32>setAt(set).planes; planes != 0; planes &= planes - 1) {
    kinds |= <u32>((load<u64>(at) >> (local & 63)) & 1) << ctz(planes);
    at += words << 3;
  }
  return kinds;
}

/** Word `word` of the plane of `kind`, 0 where the set has none. */
export function planeWord(set: usize, kind: u32, word: u32): u64 {
  const planes = <u32>setAt(set).planes;
  const words = <u32>setAt(set).words;
  if (((planes >> kind) & 1) == 0 || word >= words) return 0;
  const plane = popcnt(planes & ((1 << kind) - 1));
  return load<u64>(set + SET_HEAD + (<usize>(plane * words + word) << 3));
}

/** The set that stands for this one. */
// @ts-ignore: decorator
@inline
export function canonical(set: usize): usize {
  while (set != 0 && setAt(set).forward != 0) set = setAt(set).forward;
  return set;
}

function mixRank(local: u32, kinds: u32): u32 {
  return kinds == 0 ? 0 : <u32>(mix((local << 6) | kinds) >> 32);
}

/** Starts without sets. */
export function setsInit(context: Context): void {
  context.internedBuckets = INTERNED_FIRST;
  context.interned = allocateZeroed(context, INTERNED_FIRST << 2);
}

/** The canonical set that differs from `set` in what rank `local` is; 0 for the one without ranks. */
export function withKinds(context: Context, set: usize, local: u32, kinds: u32): usize {
  const key = (local << 6) | kinds;
  const spot = ((<u32>set * 0x9e3779b1) ^ (key * 0x85ebca77)) >> (32 - TRANSITIONS_LOG);
  const entry = TRANSITIONS + (<usize>spot << 4);
  if (load<u32>(entry) == <u32>set && load<u32>(entry, 4) == key && load<u32>(entry, 12) == context.serial)
    return <usize>load<u32>(entry, 8);
  const target = makeWithKinds(context, set, local, kinds);
  store<u32>(entry, <u32>set);
  store<u32>(entry, key, 4);
  store<u32>(entry, <u32>target, 8);
  store<u32>(entry, context.serial, 12);
  return target;
}

/** Empties the cache of transitions. */
export function forgetTransitions(): void {
  memory.fill(TRANSITIONS, 0, <usize>16 << TRANSITIONS_LOG);
}

function tempWord(kind: u32, word: u32): usize {
  return TEMP_SET + <usize>kind * TEMP_PLANE_BYTES + (<usize>word << 3);
}

/** Copies a set (0: the empty one) to TEMP_SET, with room for rank `local`. */
function loadTemp(set: usize, local: u32): void {
  const words: u32 = set == 0 ? 0 : setAt(set).words;
  const tempWords = max(words, (local >> 6) + 1);
  header().tempWords = tempWords;
  for (let kind: u32 = 0; kind < KIND_COUNT; kind++) {
    for (let word: u32 = 0; word < tempWords; word++)
      store<u64>(tempWord(kind, word), set == 0 ? 0 : planeWord(set, kind, word));
  }
}

/** Cuts TEMP_SET to the planes and words that it needs. */
function trimTemp(): void {
  const tempWords = header().tempWords;
  let used: u32 = 0;
  let planes: u32 = 0;
  for (let kind: u32 = 0; kind < KIND_COUNT; kind++) {
    for (let word: u32 = 0; word < tempWords; word++) {
      if (load<u64>(tempWord(kind, word)) == 0) continue;
      planes |= 1 << kind;
      used = max(used, word + 1);
    }
  }
  header().tempWords = used;
  header().tempPlanes = planes;
}

function equalsTemp(set: usize): bool {
  const tempPlanes = header().tempPlanes;
  const tempWords = header().tempWords;
  const words = max(<u32>setAt(set).words, tempWords);
  for (let kind: u32 = 0; kind < KIND_COUNT; kind++) {
    for (let word: u32 = 0; word < words; word++) {
      const wanted = ((tempPlanes >> kind) & 1) != 0 && word < tempWords ? load<u64>(tempWord(kind, word)) : 0;
      if (planeWord(set, kind, word) != wanted) return false;
    }
  }
  return true;
}

function findTemp(context: Context, hash: u32, rankCount: u32): usize {
  let set = <usize>load<u32>(bucketFor(context, hash));
  for (; set != 0; set = setAt(set).nextInterned) {
    if (setAt(set).hash == hash && setAt(set).rankCount == rankCount && equalsTemp(set)) return set;
  }
  return 0;
}

function makeWithKinds(context: Context, set: usize, local: u32, kinds: u32): usize {
  const old = kindsOf(set, local);
  if (old == kinds) return set;
  const rankCount = (set == 0 ? 0 : setAt(set).rankCount) + (old == 0 ? 1 : 0) - (kinds == 0 ? 1 : 0);
  if (rankCount == 0) return 0;
  loadTemp(set, local);
  const bit: u64 = (<u64>1) << (local & 63);
  for (let kind: u32 = 0; kind < KIND_COUNT; kind++) {
    const at = tempWord(kind, local >> 6);
    store<u64>(at, ((kinds >> kind) & 1) != 0 ? load<u64>(at) | bit : load<u64>(at) & ~bit);
  }
  trimTemp();
  const hash = (set == 0 ? 0 : setAt(set).hash) ^ mixRank(local, old) ^ mixRank(local, kinds);
  const known = findTemp(context, hash, rankCount);
  return known != 0 ? known : makeFromTemp(context, hash, rankCount);
}

function makeFromTemp(context: Context, hash: u32, rankCount: u32): usize {
  const tempPlanes = header().tempPlanes;
  const tempWords = header().tempWords;
  const planeBytes = <usize>tempWords << 3;
  const set = allocate(context, <u32>SET_HEAD + popcnt(tempPlanes) * <u32>planeBytes);
  memory.fill(set, 0, SET_HEAD);
  const made = setAt(set);
  made.planes = <u8>tempPlanes;
  made.words = <u16>tempWords;
  made.hash = hash;
  made.rankCount = rankCount;
  let at = set + SET_HEAD;
  for (let kind: u32 = 0; kind < KIND_COUNT; kind++) {
    if (((tempPlanes >> kind) & 1) == 0) continue;
    memory.copy(at, tempWord(kind, 0), planeBytes);
    at += planeBytes;
  }
  made.next = context.sets;
  if (context.sets != 0) setAt(context.sets).previous = set;
  context.sets = set;
  context.setCount++;
  intern(context, set);
  // Nobody refers to it yet; should that stay so, the zombies' round frees it.
  bury(context, set);
  // Its address will be stored where readers find it: they must find its planes too, and the ranks that its bits mean.
  fence();
  return set;
}

// @ts-ignore: decorator
@inline
function bucketFor(context: Context, hash: u32): usize {
  return context.interned + (<usize>(hash & (context.internedBuckets - 1)) << 2);
}

function intern(context: Context, set: usize): void {
  if (context.internedCount >= 2 * context.internedBuckets) growInterned(context);
  const bucket = bucketFor(context, setAt(set).hash);
  setAt(set).nextInterned = <usize>load<u32>(bucket);
  store<u32>(bucket, <u32>set);
  context.internedCount++;
}

function growInterned(context: Context): void {
  const old = context.interned;
  const oldBuckets = context.internedBuckets;
  context.internedBuckets = 2 * oldBuckets;
  context.interned = allocateZeroed(context, context.internedBuckets << 2);
  for (let i: u32 = 0; i < oldBuckets; i++) {
    let set = <usize>load<u32>(old + (<usize>i << 2));
    while (set != 0) {
      const next = setAt(set).nextInterned;
      const bucket = bucketFor(context, setAt(set).hash);
      setAt(set).nextInterned = <usize>load<u32>(bucket);
      store<u32>(bucket, <u32>set);
      set = next;
    }
  }
  release(context, old);
}

function outern(context: Context, set: usize): void {
  let at = bucketFor(context, setAt(set).hash);
  while (<usize>load<u32>(at) != set) at = <usize>load<u32>(at) + offsetof<HolderSet>("nextInterned");
  store<u32>(at, <u32>setAt(set).nextInterned);
  context.internedCount--;
}

// @ts-ignore: decorator
@inline
export function addReference(set: usize): void {
  setAt(set).references++;
}

// @ts-ignore: decorator
@inline
export function dropReference(context: Context, set: usize): void {
  if (--setAt(set).references == 0 && setAt(set).isZombie == 0) bury(context, set);
}

/** As `dropReference`, of `count` blocks. */
export function dropReferences(context: Context, set: usize, count: u32): void {
  setAt(set).references -= count;
  if (setAt(set).references == 0 && setAt(set).isZombie == 0) bury(context, set);
}

function bury(context: Context, set: usize): void {
  setAt(set).isZombie = 1;
  setAt(set).nextZombie = context.zombies;
  context.zombies = set;
  context.zombieCount++;
}

/** Frees the zombies that nobody came back to, if they are many, or whatever their number. */
export function freeZombies(context: Context, isForced: bool): void {
  if (!isForced && context.zombieCount < ZOMBIES_MIN + (context.setCount >> 2)) return;
  forgetTransitions();
  while (context.zombies != 0) {
    const set = context.zombies;
    const zombie = setAt(set);
    context.zombies = zombie.nextZombie;
    context.zombieCount--;
    zombie.isZombie = 0;
    if (zombie.references > 0) continue;
    if (zombie.forward != 0) {
      setAt(zombie.forward).forwarders--;
      dropReference(context, zombie.forward);
    } else if (zombie.rankCount > 0) {
      outern(context, set);
    }
    if (zombie.previous != 0) setAt(zombie.previous).next = zombie.next;
    else context.sets = zombie.next;
    if (zombie.next != 0) setAt(zombie.next).previous = zombie.previous;
    context.setCount--;
    retire(context, LIMBO_MEMORY, <u32>set);
  }
}

/** Takes rank `local` out of all sets, in place. Afterwards the sweep has to go over the context's blocks. */
export function clearFromSets(context: Context, local: u32): void {
  forgetTransitions();
  for (let set = context.sets; set != 0; set = setAt(set).next) {
    const kinds = kindsOf(set, local);
    if (kinds == 0) continue;
    const cleared = setAt(set);
    if (cleared.forward == 0) outern(context, set);
    clearBits(set, local);
    cleared.hash ^= mixRank(local, kinds);
    cleared.rankCount--;
    if (cleared.rankCount == 0) {
      const blocks = cleared.references - cleared.forwarders;
      context.prefixCount -= blocks;
      context.deadCount += blocks;
    }
    if (cleared.forward == 0 && cleared.rankCount > 0) reintern(context, set);
  }
}

function clearBits(set: usize, local: u32): void {
  const words = <usize>setAt(set).words;
  let at = set + SET_HEAD + (<usize>(local >> 6) << 3);
  for (let planes = <u32>setAt(set).planes; planes != 0; planes &= planes - 1) {
    store<u64>(at, load<u64>(at) & ~((<u64>1) << (local & 63)));
    at += words << 3;
  }
}

function reintern(context: Context, set: usize): void {
  loadTemp(set, 0);
  trimTemp();
  const equal = findTemp(context, setAt(set).hash, setAt(set).rankCount);
  if (equal == 0) {
    intern(context, set);
    return;
  }
  setAt(set).forward = equal;
  setAt(equal).forwarders++;
  addReference(equal);
}

/** Whether a set's hash and number of ranks are those of its bits, and it is found under them (I5). */
export function setIsSound(context: Context, set: usize): bool {
  let hash: u32 = 0;
  let rankCount: u32 = 0;
  for (let local: u32 = 0; local < <u32>setAt(set).words << 6; local++) {
    const kinds = kindsOf(set, local);
    hash ^= mixRank(local, kinds);
    if (kinds != 0) rankCount++;
  }
  if (hash != setAt(set).hash || rankCount != setAt(set).rankCount) return false;
  if (rankCount == 0) return true;
  loadTemp(set, 0);
  trimTemp();
  if (setAt(set).forward != 0) return equalsTemp(setAt(set).forward);
  return findTemp(context, hash, rankCount) == set;
}
