/**
 * The invariants that `PrefixIndex.check` verifies, by number. README.md lists the same, and a test
 * compares; the walk itself is kernel/check.ts.
 */

/** Invariant I1 is the first. */
export const INVARIANTS: readonly string[] = [
  "the heap's blocks tile it, no two free ones touch, and used ones sum to `allocatedBytes`",
  "the directory has each block once, but those chained to the one before, and nothing else",
  "the agreed names have each named block once, under its engine hash, and nothing else",
  "a set's references are the blocks that have it and the sets forwarded to it",
  "a set's hash and rank count are those of its bits, and no two interned sets are equal",
  "a rank's counts are those of the blocks whose sets it is in, at one tier at least",
  "an extra copy belongs to a block that the rank holds at that tier under one name",
  "a block has exactly the own names and lists that its ranks' kinds require",
  "an id is used while its block has a set, and free counts are those of the bits",
  "`prefixCount` counts the blocks with holders, `deadCount` those whose holders were cleared",
  "a finished sweep leaves no block with a dead or forwarded set",
  "a rank that holds blocks in a context has that context in its list",
  "no table's root is deeper than 17, and no segment has more entries than room",
  "no list of names is longer than 64",
  "each group in use is in its rank's list once, and the rank's alignment fits its groups",
];
