/**
 * The KV-cache groups of a rank as all threads see them in shared memory.
 *
 *     record  next │ owner │ rule │ window │ block size │ index │ kind │ alignment       u32 each (kernel/layout.ts, `Group`)
 *
 * Invariant
 *  L1  A list is one that there was: what was read while a writer changed lists is read again, up to `ATTEMPTS_MAX` times. A
 *      writer that lost its core in the middle of a change may take longer; then the list is the last one read.
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

/** A KV-cache group of a rank. */
export interface HeldGroup extends GroupShape {
  /** Holder slot; the rank slot for the main group. */
  readonly slot: number;
  readonly isMain: boolean;
}

const RECORD_WORDS = 8;
const [NEXT, RULE, WINDOW, BLOCK_SIZE, INDEX, KIND] = [0, 2, 3, 4, 5, 6];
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
  const words = new Uint32Array(memory.buffer, kernel.groupsAt(), RECORD_WORDS * HOLDER_SLOTS_MAX);
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
  if (words[RECORD_WORDS * rankSlot + KIND] !== 0) groups.push(groupAt(words, rankSlot, true));
  for (let slot = rankSlot, count = 0; count < GROUPS_PER_RANK_MAX; count++) {
    slot = words[RECORD_WORDS * slot + NEXT];
    if (slot === 0) break;
    groups.push(groupAt(words, slot, false));
  }
  return groups;
}

function groupAt(words: Uint32Array, slot: number, isMain: boolean): HeldGroup {
  const at = RECORD_WORDS * slot;
  return {
    slot,
    isMain,
    // The kernel keeps −1 as the greatest number.
    index: words[at + INDEX] === 0xffff_ffff ? UNNUMBERED_GROUP : words[at + INDEX],
    rule: isMain ? "run" : ruleOf(words[at + RULE]),
    kind: GROUP_KINDS[words[at + KIND] - 1] ?? "none",
    windowTokens: words[at + WINDOW],
    blockSize: words[at + BLOCK_SIZE],
  };
}

const RULES = Object.entries(GROUP_RULES) as [GroupRule, number][];

function ruleOf(number: number): GroupRule {
  return RULES.find(([, one]) => one === number)?.[0] ?? "run";
}
