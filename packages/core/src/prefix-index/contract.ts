/**
 * The contract of a prefix index, in words and types. Two classes implement it: `PrefixIndex` (the
 * kernel, fast) and `NaivePrefixIndex` (Maps and Sets, the specification). Model tests drive both
 * with the same commands.
 *
 * Terms
 *  - A *context* is (model, LoRA adapter, block size, lookahead). Prefix hashes are compared only inside one.
 *  - A *rank slot* is the dense integer of one (worker, DP rank), given by the caller.
 *  - A *tier* is the class of media a copy is on: device, host, disk, remote.
 *  - A *holder* is (rank slot, tier). It holds a prefix hash while it has stored more copies of it than it removed.
 *
 * Semantics
 *  S1  store(ctx, holder, parent, blocks): chains the prefix hash of each block from the parent's.
 *      Each block gains one copy at the holder, and its engine hash names it *for that rank*.
 *  S2  A parent is known iff this very rank has a block under that engine hash at any tier at that
 *      moment in that context. A store with an unknown parent is parked in a bounded place and
 *      attached when the rank stores that parent. It is attached whole and in order, and never
 *      treated as a root. A parked block that is removed (or cleared) is gone from the park.
 *  S3  remove(holder, engine hash) takes one copy away; at zero the holder no longer holds the
 *      block there. Removing what the holder does not have changes nothing and is counted. Where a
 *      copy waits in the park and another is stored, the copy that was parked first goes. The
 *      engine still has the block, and lookups continue to find it.
 *  S4  A rank may store an engine hash again with other content (a faulty or reseeded engine). The
 *      newest meaning counts; the copies of the old meaning under that rank are removed first.
 *      Other ranks' entries are never touched.
 *  S5  clearRank(rank): as if that rank had never stored anything. Its time does not depend on its number of blocks.
 *  S6  A lookup returns, per rank slot, the longest run of leading blocks of the query that the
 *      rank holds on at least one tier. It splits that number by the fastest tier of each block
 *      (device before host before disk before remote). Hashes given in place of tokens are those of
 *      one prompt, each made with the one before. A block behind a hash that is not may count as not held.
 *  S8  A rank may have KV-cache groups next to its main one. Each is a holder of its own: it
 *      stores, counts and removes by itself, under its holder slot. A parent is known when any
 *      group of the rank has it. A lookup returns for such a rank the longest prefix that all its
 *      groups allow, each by its rule (`GROUP_RULES`). It counts in blocks of the context, a
 *      multiple of every group's block size. It also returns the main group's run. A rank without a
 *      main group has the query's end in place of that run. `clearRank` closes the groups.
 *  S7  Limits (contexts, prefixes per context, memory, parked bytes) evict the least recently used
 *      or refuse. Each time they give a counted reason and the rank slots that now under-report.
 *      Readers see a rank's loss in the same moment, for any writer's call, until the rank is
 *      cleared.
 *  S11 When there are too many contexts, an empty one goes first. Next come contexts with a single
 *      engine, from the engine that has most, if that is more than an equal share. Otherwise any
 *      context may go. Among these the context that was stored to longest ago goes: lookups protect
 *      nothing. An empty context also goes by itself after some more writes. No caller can observe
 *      it.
 *  S9  For any choice of tokens, names, ranks and tiers, the cost of a call is at most in
 *      proportion to its blocks. The index exceeds its memory limit at most by the need of one
 *      piece of 256 blocks. To that end, tables mix their keys with a secret.
 *  S10 A store states the meaning of a repeated block (`RepeatRule`). Blocks of a store or removal
 *      may carry a note.
 */

import type { BytesDigester } from "../block-hash/extra-keys.ts";
import {
  CHUNK,
  GROUPS_PER_RANK_MAX,
  HOLDER_SLOTS_MAX,
  LAST,
  LOOKAHEAD_MAX,
  MATCH_ROW_WORDS,
  NOTE_HELD,
  NOTE_LAST_COPY,
  NOTE_MISSING,
  NOTE_RENAMED,
  NOTE_REPEATED,
  RANK_SLOTS_MAX,
  RUN,
  WINDOW,
} from "./kernel-boundary.generated.ts";

/** Tiers in order of speed; the position is the tier's number. */
export const TIERS = ["device", "host", "disk", "remote"] as const;

/** 0 device, 1 host, 2 disk, 3 remote. */
export type Tier = 0 | 1 | 2 | 3;

/** Rank slots lie in 0 … RANK_SLOTS_MAX − 1. A thousand engines with four DP ranks each. */
export { RANK_SLOTS_MAX };

/**
 * Longest lookahead of a context. vLLM uses 1, or the number of speculative tokens with MTP of
 * several modules: fewer than ten in every published model.
 */
export { LOOKAHEAD_MAX };

/** Holder slots of further KV-cache groups lie in RANK_SLOTS_MAX … HOLDER_SLOTS_MAX − 1. */
export { HOLDER_SLOTS_MAX };

/** Indexes that can be read as one: as many as a machine has threads for. */
export const PARTS_MAX = 16;

/** KV-cache groups of one rank beside its main one: hybrid models have one to seven. */
export { GROUPS_PER_RANK_MAX };

/**
 * How a group limits a match (kernel/match-groups.ts has the rules in full; numbers are the kernel's):
 * `run`: all blocks from the first on; `window`: those that the last `window` tokens reach into; `last`: the
 * block that the match ends with; `chunk`: those of the chunk of `window` tokens that it ends in.
 */
export const GROUP_RULES: Readonly<Record<"run" | "window" | "last" | "chunk", number>> = {
  run: RUN,
  window: WINDOW,
  last: LAST,
  chunk: CHUNK,
};

/** A key of {@link GROUP_RULES}. */
export type GroupRule = keyof typeof GROUP_RULES;

/**
 * What groups are: vLLM's names (v1/kv_cache_interface.py 0.33.0, KVCacheSpecKind), `none` for a group whose events name no
 * kind, and `unknown` for every other name. The position plus 1 is the kernel's number.
 */
export const GROUP_KINDS = [
  "none",
  "unknown",
  "full_attention",
  "mla_attention",
  "sink_full_attention",
  "sliding_window",
  "sliding_window_mla",
  "mamba",
  "chunked_local_attention",
] as const;

/** A member of {@link GROUP_KINDS}. */
export type GroupKind = (typeof GROUP_KINDS)[number];

/** Number of a group whose events have none. */
export const UNNUMBERED_GROUP = -1;

/** A KV-cache group beside the main one. */
export interface GroupShape {
  /** The engine's number of the group; `UNNUMBERED_GROUP` for none. */
  readonly index: number;
  readonly rule: GroupRule;
  readonly kind: GroupKind;
  /** Tokens of the window or chunk; 0 for the other rules. */
  readonly windowTokens: number;
  /** Tokens of a block. */
  readonly blockSize: number;
}

/** Which prefix hashes an index has. Rows of another one mean nothing to it. */
export interface HashSeed {
  /** 0 … 2⁶⁴ − 1 */
  readonly value: bigint;
  /** Whether they are those of kernel/keyed-hash.ts, which a secret seed has; else XXH3's, which clients can compute. */
  readonly isKeyed: boolean;
}

/** Default hash seed, shared with Dynamo and SMG, so that fixtures and clients can be shared. */
export const DEFAULT_HASH_SEED = 1337;

/** What makes prefix hashes comparable. */
export interface ContextKey {
  readonly model: string;
  /** Null for the base model. */
  readonly loraName: string | null;
  /** Tokens per block, ≥ 1. */
  readonly blockSize: number;
  /**
   * Tokens after a block that its identity covers, 0 … `LOOKAHEAD_MAX`: 0 for most engines, 1 for
   * SGLang's EAGLE pairs and for vLLM ≥ 0.33 with EAGLE, more for MTP with several modules.
   */
  readonly lookahead: number;
}

/**
 * Input memory of the next store or remove. Written by the caller, read by the index. Afterwards `hashes` is as it was, the
 * rest is undefined.
 */
export interface IndexScratch {
  /** Token ids, block after block; `blockCount × blockSize` of them, and the context's lookahead. */
  readonly tokens: Uint32Array;
  /** Engine block hashes, shape [2 × blockCount], low then high. */
  readonly hashes: Uint32Array;
  /** Digest of each block's extra keys and salt, shape [2 × blockCount]; 0 for a block without. Read only with `hasExtra`. */
  readonly extraDigests: Uint32Array;
}

/**
 * What became of a store. `rejected` means nothing was changed, but for `rejected_memory_limit`: leading blocks may be stored,
 * where the limit was met on the way.
 */
export type StoreOutcome =
  | "stored"
  | "parked"
  | "repeated"
  | "rejected_park_full"
  | "rejected_memory_limit"
  | "rejected_too_many_blocks";

/** What became of a group's store. */
export interface GroupStoreOutcome {
  readonly outcome: StoreOutcome;
  /** Blocks that no group of the rank has, of a store without usable tokens. */
  readonly unplacedCount: number;
}

/**
 * What a store does with blocks that the holder already has under these very names with this very content (S10):
 *  - `count`: each gains a copy.
 *  - `skip_all`: when the holder has all of them, the store changes nothing and its outcome is `repeated`; else as `count`.
 *  - `skip_each`: none of them gains a copy; each is noted as `REPEATED_BLOCK`. So is a block that waits with a parked store,
 *    which attaches it if this store brings its parent.
 */
export type RepeatRule = "count" | "skip_all" | "skip_each";

/** Note of a stored block: the holder had it, and it gained no copy. */
export { NOTE_REPEATED as REPEATED_BLOCK };
/** Note of a stored block: its name meant another block to this rank until now (S4). */
export { NOTE_RENAMED as RENAMED_BLOCK };
/** Note of a removed block: nothing was found under this name. */
export { NOTE_MISSING as MISSING_BLOCK };
/** Note of a removed block: its name has no copy at this tier any more. */
export { NOTE_LAST_COPY as LAST_COPY };

/** Note of a block that was asked for: the holder has a copy of it. */
export { NOTE_HELD as HELD_BLOCK };

/** Why the index itself forgot something. These are metric label values. */
export type EvictionReason = "context_limit" | "prefix_limit" | "memory_limit" | "park_limit";

/** Called when a limit made the index forget: the ranks named under-report from now on. */
export type EvictionListener = (
  reason: EvictionReason,
  blockCount: number,
  rankSlots: readonly number[],
) => void;

/** The writer's side. One thread at a time writes. `digestBytes` is XXH3-64 with the index's seed. */
export interface IndexWriter extends BytesDigester {
  readonly scratch: IndexScratch;

  /**
   * The id of a context, made on first use. Making one may drop another (S11).
   *
   * @param rankSlot - the rank that will store to it.
   * @returns a number that is never given to another context again (slot and generation).
   */
  openContext(key: ContextKey, rankSlot?: number): number;

  /**
   * Stores the blocks in `scratch` for a holder (S1, S2, S4).
   *
   * @param contextId - from `openContext`, and still open: call that once per event, it is a map lookup.
   * @param hasParent - false at the root of a chain.
   * @param hasExtra - whether `scratch.extraDigests` counts.
   * @param repeats - `count` unless given (S10).
   * @returns what became of it; "parked" when the parent is unknown.
   */
  storeBlocks(
    contextId: number,
    rankSlot: number,
    tier: Tier,
    blockCount: number,
    hasParent: boolean,
    parentLow: number,
    parentHigh: number,
    hasExtra: boolean,
    repeats?: RepeatRule,
  ): StoreOutcome;

  /**
   * One byte a block of the last store (`REPEATED_BLOCK`, `RENAMED_BLOCK`) or removal (`MISSING_BLOCK`, `LAST_COPY`), or of `noteHeld`. Of a store, read it only with `hasNotes`.
   */
  readonly notes: Uint8Array;

  /** Whether a block of the last store has a note. */
  readonly hasNotes: boolean;

  /** Names, low then high word, that came to mean another block with stores which the last one attached. */
  readonly attachedRenames: readonly number[];

  /** Whether a store that was given up waited for one of the names in `scratch.hashes`; seldom also for others. */
  hasGivenUpParent(rankSlot: number, blockCount: number): boolean;

  /**
   * Adds a copy at `tier` of blocks that the rank has under these engine hashes, in any context (offload placeholders,
   * which carry no tokens).
   *
   * @returns how many of them were known; the others change nothing.
   */
  storeKnownBlocks(rankSlot: number, tier: Tier, blockCount: number): number;

  /**
   * Takes one copy away of each block in `scratch.hashes` (S3), in whichever contexts the rank has them, parked ones too.
   *
   * @returns how many of them the holder had.
   */
  removeBlocks(rankSlot: number, tier: Tier, blockCount: number): number;

  /** Forgets everything of a rank, parked stores and groups too (S5, S8). */
  clearRank(rankSlot: number): void;

  /**
   * Notes that a rank has a main group with blocks of so many tokens. Needed beside `openGroup`, and for the list of a rank's
   * groups; number and kind are only for the latter, and by default `UNNUMBERED_GROUP` and `none`.
   */
  openMainGroup(rankSlot: number, blockSize: number, index?: number, kind?: GroupKind): void;

  /**
   * Opens a KV-cache group beside a rank's main one, until `clearRank`.
   *
   * @returns its holder slot, for `storeGroupBlocks` and `removeBlocks`; −1 when there is none left.
   */
  openGroup(rankSlot: number, group: GroupShape): number;

  /**
   * Adds a copy of each block in `scratch.hashes` to a group: of those that any group of its rank has under
   * these names; and of the others, if `hasTokens`, as `storeBlocks` does, from the tokens in `scratch`.
   *
   * @param stride - blocks of the context in one of the group: `scratch.tokens` holds `blockCount × stride`
   *   blocks, of which each `stride`-th is stored; `scratch.extraDigests` has one for each of the group.
   * @param hasTokens - false when the tokens in `scratch` do not divide into the blocks.
   * @returns what became of them, and how many were not placed: their hashes are then the first in
   *   `scratch.hashes`, in order.
   */
  storeGroupBlocks(
    contextId: number,
    groupSlot: number,
    tier: Tier,
    blockCount: number,
    stride: number,
    hasTokens: boolean,
    hasParent: boolean,
    parentLow: number,
    parentHigh: number,
    hasExtra: boolean,
  ): GroupStoreOutcome;

  /** Whether the rank has a block under this engine hash in this context, at any tier: then it may be a parent (S2). */
  hasBlock(contextId: number, rankSlot: number, low: number, high: number): boolean;

  /**
   * Notes each block in `scratch.hashes` of which the holder has a copy at this tier under this name, in any context
   * (`HELD_BLOCK`; 0 for the others). Nothing is changed. O(blocks).
   */
  noteHeld(holderSlot: number, tier: Tier, blockCount: number): void;

  /** Whether stores of this rank wait for their parent. O(1). */
  hasParked(rankSlot: number): boolean;
}

/** One lookup's answer. Reused by the reader: valid until its next call. */
export interface MatchResult {
  /** Full blocks in the query. */
  blockCount: number;
  /** Rows in `rows`: rank slots with at least one matched block, in no particular order. */
  matchCount: number;
  /**
   * Shape [MATCH_ROW_WORDS × matchCount]: rank slot, matched blocks, then how many of these have device, host, disk,
   * remote as their fastest tier (the four sum to the matched blocks), then the main group's run, which is
   * longer than the match where another group allows less.
   */
  rows: Uint32Array;
}

/** u32 words per row of `MatchResult.rows`. */
export { MATCH_ROW_WORDS };
