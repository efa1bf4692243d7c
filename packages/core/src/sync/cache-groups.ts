/**
 * Selects the KV-cache group of an event, and the holder slot under which its blocks go into the
 * index.
 *
 *     kind on the wire                                        rule (contract.ts, GROUP_RULES)
 *     full_attention, mla_attention, sink_full_attention      the first one seen is the main group; others: run
 *     none (engines before vLLM 0.21)                         the same; a second such group is of a kind unknown
 *     sliding_window, sliding_window_mla                      window; without a window: run, kind unknown
 *     mamba                                                   last
 *     chunked_local_attention                                 chunk if the event has its size; else run, kind unknown
 *     encoder_only_attention, cross_attention                 no prefix cache: not indexed
 *     any other                                               run, kind unknown
 *
 * Rules
 *  C1  A kind that is unknown gets the strictest rule: no kind of attention needs more of a prefix
 *      than all of it. It never allows too much, and may allow too little, so the rank
 *      under-reports.
 *  C2  All groups of a rank share the contexts of its main group. A group of coarser blocks has a
 *      block as the last of the main group's blocks in it. vLLM names it by the hash at its end.
 *  C3  A rank of which a group cannot be opened is set aside: its other groups alone would allow too much. Its groups
 *      are forgotten, since the index gives their holder slots to other ranks.
 *  C4  A group whose blocks do not divide into those of the context is not indexed. A store of
 *      another block size than its group's (vLLM's entries for a part of a block) is not indexed
 *      either. The rank under-reports.
 *  C5  Removals name a group by its number. One that no store has named cannot mean a block that is held,
 *      unless no store has named a main group by number yet. An event without a number is the main group's.
 *
 *  C6  A group whose kind or window changes is not understood, and its rank is set aside as in C3.
 *      By either rule alone it may allow too much. No engine does that.
 *
 *  C7  Groups outlast AllBlocksCleared: the same engine has them still, and until they store again
 *      they allow nothing. Groups with the rule of full attention are read again from events, since
 *      a group of an unknown kind must be doubted again.
 *
 * The context's block size is the greatest common divisor of all groups' sizes in the first message
 * with stores. That message is read once before it is applied (`scout`), so that no group comes
 * unexpected.
 *
 * Sources, vLLM 0.33.0: v1/kv_cache_interface.py (`KVCacheSpecKind`, `get_kv_cache_spec_kind`;
 * `get_kv_cache_spec_sliding_window`: the size of a chunk is not announced). File
 * `v1/core/block_pool.py` (`cache_full_blocks`: hashes of masked and null blocks are left out;
 * `cache_partial_block`). In `v1/core/kv_cache_utils.py`, `resolve_block_hashes` makes hashes of
 * coarser blocks.
 */
import {
  GROUP_KINDS,
  type GroupKind,
  type GroupRule,
  type GroupShape,
  type IndexWriter,
  UNNUMBERED_GROUP,
} from "../prefix-index/contract.ts";
import type { EventBatchDecoder, EventSink } from "../wire/event-batch-decoder.ts";
import type { DecodedBlockStored } from "../wire/events.ts";
import { WireError } from "../wire/wire-error.ts";
import type { EventDropReason } from "./trust-rule.ts";

const MAIN = "main";
const NO_CACHE = "no cache";

type KindRule = GroupRule | typeof MAIN | typeof NO_CACHE;

const MAIN_RULE = { rule: "run", windowTokens: 0 } as const;

const RULE_BY_KIND: ReadonlyMap<string, KindRule> = new Map([
  ["full_attention", MAIN],
  ["mla_attention", MAIN],
  ["sink_full_attention", MAIN],
  ["sliding_window", "window"],
  ["sliding_window_mla", "window"],
  ["mamba", "last"],
  ["chunked_local_attention", "chunk"],
  ["encoder_only_attention", NO_CACHE],
  ["cross_attention", NO_CACHE],
]);

/** Groups remembered only as not indexed; engines have up to eight in all. */
const OTHERS_MAX = 64;
/** Events of a message that are read ahead: the groups of one request's blocks follow each other. */
const SCOUTED_EVENTS_MAX = 256;

/** Where the blocks of a store go. */
export interface GroupPlace {
  /** Holder slot; the rank's own for the main group. */
  readonly slot: number;
  readonly isMain: boolean;
  /** Block size of the context. */
  readonly contextBlockSize: number;
  /** The context's blocks in one of the group. */
  readonly stride: number;
  /** The kind of a group that was opened by the strictest rule just now (C1). */
  readonly unknownKind: string | null;
}

/** A group with its holder slot. */
export interface HolderShape extends GroupShape {
  readonly slot: number;
}

/** Everything known of a rank's groups, as plain data. */
export interface CacheGroupsState {
  /** Number of the main group, −1 for one without a number; null before it was seen. */
  readonly main: number | null;
  readonly mainBlockSize: number;
  readonly mainKind: GroupKind;
  readonly contextBlockSize: number;
  /** Groups in the message that was read ahead. */
  readonly scoutedCount: number;
  readonly groups: readonly HolderShape[];
  readonly others: readonly (readonly [group: number, reason: EventDropReason])[];
  readonly isSetAside: boolean;
}

/** The groups of one rank. */
export class CacheGroups {
  readonly #rankSlot: number;
  readonly #index: IndexWriter;
  readonly #groups = new Map<number, HolderShape>();
  readonly #others = new Map<number, EventDropReason>();
  #main: number | null = null;
  #mainBlockSize = 0;
  #mainKind: GroupKind = "none";
  #contextBlockSize = 0;
  /** Groups in the message that was read ahead. */
  #scoutedCount = 0;
  #isSetAside = false;
  /** See `holders`; null when they changed. */
  #holders: readonly HolderShape[] | null = null;
  /** The last store's, which is nearly always the next one's too. */
  #lastPlace: GroupPlace | null = null;
  #lastGroup: number | null = null;
  #lastKind: string | null = null;
  #lastWindow: number | null = null;
  #lastBlockSize = 0;

  constructor(rankSlot: number, index: IndexWriter) {
    this.#rankSlot = rankSlot;
    this.#index = index;
  }

  /** Whether the groups' block sizes are known, so that messages need not be read ahead. */
  get isScouted(): boolean {
    return this.#contextBlockSize > 0;
  }

  /**
   * Takes in that the index cleared the rank.
   *
   * @param isSameEngine - its pool was cleared, and it still has the groups that it has announced (C7).
   */
  reset(isSameEngine: boolean): void {
    const kept = isSameEngine ? [...this.#groups.values()].filter(({ rule }) => rule !== "run") : [];
    this.#groups.clear();
    this.#others.clear();
    this.#main = null;
    this.#mainBlockSize = 0;
    this.#mainKind = "none";
    this.#isSetAside = false;
    this.#lastPlace = null;
    this.#holders = null;
    if (!isSameEngine) this.#contextBlockSize = 0;
    for (const group of kept) {
      const slot = this.#index.openGroup(this.#rankSlot, group);
      if (slot >= 0) this.#groups.set(group.index, { ...group, slot });
    }
  }

  /** Empties the rank in the index, which may give the slots of its groups to others: nothing of theirs is named any more. */
  setAside(): void {
    this.#index.clearRank(this.#rankSlot);
    this.#groups.clear();
    this.#lastPlace = null;
    this.#holders = null;
  }

  /**
   * Takes the block sizes of groups that a message will store to.
   *
   * @param sizes - by group number, the largest seen; groups that are no prefix caches are not among them.
   */
  scout(sizes: ReadonlyMap<number, number>): void {
    this.#scoutedCount = sizes.size;
    for (const size of sizes.values()) this.#contextBlockSize = greatestDivisor(this.#contextBlockSize, size);
  }

  /** Everything known; the caller's. */
  state(): CacheGroupsState {
    return {
      main: this.#main,
      mainBlockSize: this.#mainBlockSize,
      mainKind: this.#mainKind,
      contextBlockSize: this.#contextBlockSize,
      scoutedCount: this.#scoutedCount,
      groups: [...this.#groups.values()],
      others: [...this.#others],
      isSetAside: this.#isSetAside,
    };
  }

  /** Goes on from where another stood, whose groups the index has under the same slots. */
  restore(state: CacheGroupsState): void {
    this.#main = state.main;
    this.#mainBlockSize = state.mainBlockSize;
    this.#mainKind = state.mainKind;
    this.#contextBlockSize = state.contextBlockSize;
    this.#scoutedCount = state.scoutedCount;
    for (const group of state.groups) this.#groups.set(group.index, group);
    for (const [group, reason] of state.others) this.#others.set(group, reason);
    this.#isSetAside = state.isSetAside;
    this.#holders = null;
  }

  /** Every group that is indexed, the main one first. */
  holders(): readonly HolderShape[] {
    this.#holders ??= this.#makeHolders();
    return this.#holders;
  }

  /** Whether a group keeps states, so that a match may end inside a block of others. */
  get hasStates(): boolean {
    return this.holders().some(({ rule }) => rule === "last");
  }

  /** Whether the rank has more than one group. */
  get isHybrid(): boolean {
    return this.#groups.size > 0 && this.holders().length > 1;
  }

  #makeHolders(): readonly HolderShape[] {
    const groups = [...this.#groups.values()];
    if (this.#main === null || this.#mainBlockSize === 0) return groups;
    const shape = {
      index: this.#main,
      rule: "run",
      kind: this.#mainKind,
      windowTokens: 0,
      blockSize: this.#mainBlockSize,
    } as const;
    return [{ ...shape, slot: this.#rankSlot }, ...groups];
  }

  /** Whether an event of a group follows the main group's of the same request. */
  isAfterMain(groupIdx: number | null): boolean {
    return this.#main !== null && (groupIdx ?? UNNUMBERED_GROUP) > this.#main;
  }

  /** Where a store's blocks go, or why they are not indexed. */
  ofStore(event: DecodedBlockStored): GroupPlace | EventDropReason {
    const { groupIdx, kvCacheSpecKind: kind, kvCacheSpecSlidingWindow: window, blockSize } = event;
    const isLast =
      groupIdx === this.#lastGroup &&
      kind === this.#lastKind &&
      window === this.#lastWindow &&
      blockSize === this.#lastBlockSize;
    if (isLast && this.#lastPlace !== null) return this.#lastPlace;
    const place = this.#place(event);
    if (typeof place === "string") return place;
    this.#lastPlace = place.unknownKind === null ? place : { ...place, unknownKind: null };
    this.#lastGroup = groupIdx;
    this.#lastKind = kind;
    this.#lastWindow = window;
    this.#lastBlockSize = blockSize;
    return place;
  }

  /** The holder slot that a removal takes from, or why it means nothing here (C5). */
  ofRemoval(groupIdx: number | null): number | EventDropReason {
    const group = groupIdx ?? UNNUMBERED_GROUP;
    const open = this.#groups.get(group);
    if (open !== undefined) return open.slot;
    if (group === this.#main || group === UNNUMBERED_GROUP) return this.#rankSlot;
    const reason = this.#others.get(group);
    if (reason !== undefined) return reason;
    return this.#hasNumberedMain ? "unknown_group" : this.#rankSlot;
  }

  #place(event: DecodedBlockStored): GroupPlace | EventDropReason {
    const { kvCacheSpecKind: kind, kvCacheSpecSlidingWindow: window } = event;
    const group = event.groupIdx ?? UNNUMBERED_GROUP;
    if (this.#isSetAside) return "group_limit";
    const rule = kind === null ? MAIN : RULE_BY_KIND.get(kind);
    if (kind !== null && this.#isOtherRule(group, rule, window)) return this.#setAsideForGood();
    if (rule === NO_CACHE) {
      if (this.#others.size < OTHERS_MAX) this.#others.set(group, "other_attention_kind");
      return "other_attention_kind";
    }
    return this.#placeIn(group, rule, event);
  }

  #placeIn(
    group: number,
    rule: Exclude<KindRule, typeof NO_CACHE> | undefined,
    event: DecodedBlockStored,
  ): GroupPlace | EventDropReason {
    const { kvCacheSpecKind: kind, kvCacheSpecSlidingWindow: window } = event;
    const isMain =
      group === this.#main || (group === UNNUMBERED_GROUP && rule === MAIN && this.#main !== null);
    if (isMain) {
      if (this.#mainBlockSize === 0) this.#openMain(event);
      return this.#mainPlace(event.blockSize);
    }
    const known = this.#groups.get(group);
    if (known !== undefined) return this.#placeOf(known, event, null);
    if (rule === MAIN && !this.#hasNumberedMain && this.#canBeMain(event.blockSize)) {
      this.#main = group;
      this.#openMain(event);
      return this.#mainPlace(event.blockSize);
    }
    return this.#open(group, ruleOf(rule, kind, window), event);
  }

  /** C6. What says no window, or a kind without a rule, says nothing against the rule of before. */
  #isOtherRule(group: number, rule: KindRule | undefined, window: number | null): boolean {
    const known = group === this.#main ? MAIN_RULE : this.#groups.get(group);
    if (known === undefined) return false;
    if (rule === NO_CACHE) return true;
    if (rule === undefined || (rule !== MAIN && rule !== "last" && !(window !== null && window > 0)))
      return false;
    const [now, windowTokens] = ruleOf(rule, "", window);
    return now !== known.rule || windowTokens !== known.windowTokens;
  }

  #setAsideForGood(): "group_limit" {
    this.setAside();
    this.#isSetAside = true;
    return "group_limit";
  }

  get #hasNumberedMain(): boolean {
    return this.#main !== null && this.#main !== UNNUMBERED_GROUP;
  }

  /** A placeholder has no block size: then the next store gives it. */
  #openMain({ blockSize, kvCacheSpecKind }: DecodedBlockStored): void {
    this.#mainBlockSize = blockSize;
    this.#holders = null;
    this.#mainKind = kindOf(kvCacheSpecKind);
    const index = this.#main ?? UNNUMBERED_GROUP;
    if (blockSize > 0) this.#index.openMainGroup(this.#rankSlot, blockSize, index, this.#mainKind);
  }

  /** A main group has the context's blocks one by one: of a coarser one the blocks would not lie side by side. */
  #canBeMain(blockSize: number): boolean {
    const isAlone = this.#scoutedCount < 2 && this.#groups.size === 0;
    return isAlone || blockSize === this.#contextBlockSize || blockSize === 0;
  }

  #mainPlace(blockSize: number): GroupPlace | EventDropReason {
    const slot = this.#rankSlot;
    const isPart = this.#groups.size > 0 && blockSize > 0 && blockSize < this.#mainBlockSize;
    return isPart
      ? "partial_block"
      : { slot, isMain: true, contextBlockSize: blockSize, stride: 1, unknownKind: null };
  }

  #open(group: number, [rule, windowTokens, unknownKind]: RuleChoice, event: DecodedBlockStored) {
    const { blockSize } = event;
    if (blockSize === 0) return "unresolved_placeholder" as const;
    const shape = { index: group, rule, kind: kindOf(event.kvCacheSpecKind), windowTokens, blockSize };
    const slot = this.#index.openGroup(this.#rankSlot, shape);
    if (slot < 0) {
      return this.#setAsideForGood();
    }
    if (this.#contextBlockSize === 0)
      this.#contextBlockSize = this.#mainBlockSize > 0 ? this.#mainBlockSize : blockSize;
    const open = { ...shape, slot };
    this.#groups.set(group, open);
    this.#holders = null;
    // Beside another group, a smaller block of the main one is a part of a block (C4).
    this.#lastPlace = null;
    return this.#placeOf(open, event, unknownKind);
  }

  #placeOf(group: HolderShape, { blockSize }: DecodedBlockStored, unknownKind: string | null) {
    const stride = group.blockSize / this.#contextBlockSize;
    if (!Number.isInteger(stride)) return "group_misaligned" as const;
    if (blockSize !== group.blockSize && blockSize !== 0) return "partial_block" as const;
    const contextBlockSize = this.#contextBlockSize;
    return { slot: group.slot, isMain: false, contextBlockSize, stride, unknownKind };
  }
}

type RuleChoice = readonly [rule: GroupRule, windowTokens: number, unknownKind: string | null];

/** The rule of a group beside the main one, and its kind if that has none of its own (C1). */
function ruleOf(
  rule: GroupRule | typeof MAIN | undefined,
  kind: string | null,
  window: number | null,
): RuleChoice {
  if (rule === MAIN) return ["run", 0, kind === null ? "none" : null];
  if (rule === "last") return ["last", 0, null];
  if ((rule === "window" || rule === "chunk") && window !== null && window > 0) return [rule, window, null];
  return ["run", 0, kind ?? "none"];
}

function kindOf(kind: string | null): GroupKind {
  if (kind === null) return "none";
  return GROUP_KINDS.find((known) => known === kind && known !== "none") ?? "unknown";
}

function greatestDivisor(one: number, other: number): number {
  let [a, b] = [one, other];
  while (b !== 0) [a, b] = [b, a % b];
  return a;
}

/**
 * The block sizes of the groups that a message stores to, by group number: the largest of each, since smaller ones are
 * parts of blocks. Reads the first events of a message; what of it cannot be read is the applier's to find.
 */
export function scoutGroups(decoder: EventBatchDecoder, payload: Uint8Array): Map<number, number> {
  const sizes = new Map<number, number>();
  let events = 0;
  const scout: EventSink = {
    onBlockStored: ({ groupIdx, kvCacheSpecKind: kind, blockSize, tokenCount, medium }) => {
      const isCache = kind === null || RULE_BY_KIND.get(kind) !== NO_CACHE;
      const isDevice = medium === null || medium.toUpperCase() === "GPU";
      if (!isCache || !isDevice || tokenCount === 0 || blockSize === 0) return;
      const group = groupIdx ?? UNNUMBERED_GROUP;
      if (sizes.size < OTHERS_MAX) sizes.set(group, Math.max(sizes.get(group) ?? 0, blockSize));
    },
    onBlockRemoved: () => undefined,
    onAllBlocksCleared: () => undefined,
    onFault: () => undefined,
    onUnknownField: () => undefined,
    isTurnOver: () => ++events >= SCOUTED_EVENTS_MAX,
  };
  try {
    decoder.begin(payload, scout);
  } catch (error) {
    if (!(error instanceof WireError)) throw error;
  }
  return sizes;
}
