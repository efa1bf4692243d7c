/**
 * The KV-cache groups of a rank as all threads see them in shared memory.
 *
 * Each slot has a record (kernel/layout.ts, `Group`).
 *
 * Invariant
 *  L1  A list is one that there was: a list read while a writer changed lists is read again, up to
 *      `ATTEMPTS_MAX` times. A writer that lost its core in the middle of a change may take longer;
 *      then the list is the last one read.
 */
import {
  GROUP_KINDS,
  GROUP_RULES,
  type GroupKind,
  type GroupRule,
  type GroupShape,
  GROUPS_PER_RANK_MAX,
  HOLDER_SLOTS_MAX,
  UNNUMBERED_GROUP,
} from "./contract.ts";
import type { KernelExports, KernelMemory } from "./kernel.ts";
import {
  GROUP_BLOCK_SIZE,
  GROUP_INDEX,
  GROUP_KIND,
  GROUP_NEXT,
  GROUP_RULE,
  GROUP_WINDOW,
  GROUP_WORDS,
} from "./kernel-boundary.generated.ts";

/** A KV-cache group of a rank. */
export interface HeldGroup extends GroupShape {
  /** Holder slot; the rank slot for the main group. */
  readonly slot: number;
  readonly isMain: boolean;
}

/** A change writes ten words. */
const ATTEMPTS_MAX = 1000;

/** The kernel's number of a kind. */
export function kindNumber(kind: GroupKind): number {
  return 1 + GROUP_KINDS.indexOf(kind);
}

/**
 * The groups of a rank, its main one first.
 *
 * @param rankSlot - 0 … RANK_SLOTS_MAX − 1.
 * @returns none before the rank's first store.
 */
export function listGroups(kernel: KernelExports, memory: KernelMemory, rankSlot: number): HeldGroup[] {
  const words = new Uint32Array(memory.buffer, kernel.groupsAt(), GROUP_WORDS * HOLDER_SLOTS_MAX);
  let groups: HeldGroup[] = [];
  for (let attempt = 0; attempt < ATTEMPTS_MAX; attempt++) {
    const version = kernel.groupsVersion();
    groups = readGroups(words, rankSlot);
    if (version % 2 === 0 && kernel.groupsVersion() === version) break;
  }
  return groups;
}

function readGroups(words: Uint32Array, rankSlot: number): HeldGroup[] {
  const groups: HeldGroup[] = [];
  if (words[GROUP_WORDS * rankSlot + GROUP_KIND] !== 0) groups.push(groupAt(words, rankSlot, true));
  for (let slot = rankSlot, count = 0; count < GROUPS_PER_RANK_MAX; count++) {
    slot = words[GROUP_WORDS * slot + GROUP_NEXT];
    if (slot === 0) break;
    groups.push(groupAt(words, slot, false));
  }
  return groups;
}

function groupAt(words: Uint32Array, slot: number, isMain: boolean): HeldGroup {
  const at = GROUP_WORDS * slot;
  return {
    slot,
    isMain,
    // The kernel keeps −1 as the greatest number.
    index: words[at + GROUP_INDEX] === 0xffff_ffff ? UNNUMBERED_GROUP : words[at + GROUP_INDEX],
    rule: isMain ? "run" : ruleOf(words[at + GROUP_RULE]),
    kind: GROUP_KINDS[words[at + GROUP_KIND] - 1] ?? "none",
    windowTokens: words[at + GROUP_WINDOW],
    blockSize: words[at + GROUP_BLOCK_SIZE],
  };
}

const RULES = Object.entries(GROUP_RULES) as [GroupRule, number][];

function ruleOf(number: number): GroupRule {
  return RULES.find(([, one]) => one === number)?.[0] ?? "run";
}
