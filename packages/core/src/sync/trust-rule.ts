/**
 * The rule behind `exact`, as one table: everything that can happen to a rank, its effect on the
 * rank's trust, and its counter.
 *
 *     `exact` means: for any prompt, the answer is what the engine itself would reuse.
 *
 *     cause (drop, fault, field, eviction, condition) ──▶ reason ──▶ trust
 *
 * Everything that cannot be interpreted in a way that keeps this sentence true has a reason here. A
 * cause without a reason changes nothing, and its row argues why. Where several reasons hold, the
 * worst trust wins, then the oldest reason (trust-ledger.ts). docs/generated/trust.md is made from
 * this table.
 *
 * Invariants (trust-rule.test.ts)
 *  T1  A reason lowers to one trust, for every cause.
 *  T2  Each row is walked: a test produces the input that causes it and checks trust, reason and counter.
 *  T3  Each reason has a row that causes it.
 *  T4  After AllBlocksCleared, a trait holds and a loss does not. Another engine has neither.
 *
 * Not here: when a reason heals is stated in words here and done by worker-sync.ts and event-applier.ts.
 */
import type { EvictionReason } from "../prefix-index/contract.ts";
import type { FieldOwner } from "../wire/event-batch-decoder.ts";
import { FRAME_ERROR_CODES, PAYLOAD_ERROR_CODES, type WireErrorCode } from "../wire/wire-error.ts";

/**
 * How far the index can be trusted about a rank, best first.
 *  - `exact`: as of the last applied message, the answer is what the engine would reuse, no more and no less.
 *  - `partial`: nothing too much, but blocks may be missing.
 *  - `stale`: not verified, or something was not understood: too much may be named.
 *  - `unknown`: not in sync yet; an absent block says nothing.
 */
export const TRUST_LEVELS = ["exact", "partial", "stale", "unknown"] as const;

/** One of {@link TRUST_LEVELS}. */
export type Trust = (typeof TRUST_LEVELS)[number];

/** What a reason does, and until when. */
export interface TrustReasonRow {
  /** What it lowers trust to: `partial` may miss, `stale` may name too much, `unknown` says nothing. */
  readonly trust: Exclude<Trust, "exact">;
  /**
   * `condition`: it ends by itself when the stream's situation ends. `loss`: it stays until the rank begins again, by
   * AllBlocksCleared, a restart or a resync. `lost_removal`: likewise, and the rank is rebuilt for it, once the engine's
   * history has refilled. `trait`: it is a property of the engine and not of its blocks, so that it stays through
   * AllBlocksCleared, until another engine begins or a resync (T4).
   */
  readonly kind: "condition" | "loss" | "lost_removal" | "trait";
  /** For people: what is wrong with the answers. */
  readonly says: string;
  /** For people: what ends it, where the kind does not say so ({@link HEALED_BY}). */
  readonly heals?: string;
}

/** What ends a reason of each kind. */
export const HEALED_BY: Readonly<Record<TrustReasonRow["kind"], string>> = {
  condition: "the end of the situation",
  loss: "AllBlocksCleared, a restart of the engine, or a resync",
  lost_removal: "AllBlocksCleared, a restart of the engine, a resync, or the rebuild that follows by itself",
  trait: "a restart of the engine, or a resync",
};

/** Every reason for a trust below `exact`. A closed set: metric labels and answers carry these names. */
export const TRUST_REASONS = {
  not_connected: {
    trust: "unknown",
    kind: "condition",
    says: "No connection to the engine has been made yet.",
    heals: "the first connection",
  },
  first_history: {
    trust: "unknown",
    kind: "condition",
    says: "The engine's history is being replayed from its beginning.",
    heals: "the end of that replay",
  },
  engine_restarted: {
    trust: "unknown",
    kind: "condition",
    says: "The engine restarted, and its new history is being replayed.",
    heals: "the end of that replay",
  },
  history_lost: {
    trust: "unknown",
    kind: "condition",
    says: "Messages are lost permanently. The rank was cleared and is filled from what came after them.",
    heals: "the end of the replay",
  },
  rebuilding: {
    trust: "unknown",
    kind: "condition",
    says: "The rank was cleared and is filled again, because something in it could not be trusted.",
    heals: "the end of the replay",
  },
  worker_stalled: {
    trust: "stale",
    kind: "condition",
    says: "The ingest worker that follows the rank shows no heartbeat, so that events may wait unread.",
    heals: "the worker's next heartbeat",
  },
  resumed: {
    trust: "stale",
    kind: "condition",
    says: "The blocks come from a snapshot or another worker, and the engine has not proved to be the same yet.",
    heals: "the engine's proof, or the rank is cleared",
  },
  disconnected: {
    trust: "stale",
    kind: "condition",
    says: "The connection to the engine is down.",
    heals: "the next connection and the replay that follows it",
  },
  verifying: {
    trust: "stale",
    kind: "condition",
    says: "The engine may have restarted, and a replay must prove that it did not.",
    heals: "the end of that replay",
  },
  gap: {
    trust: "stale",
    kind: "condition",
    says: "Messages are missing and are being replayed.",
    heals: "the end of that replay",
  },
  replay_paused: {
    trust: "stale",
    kind: "condition",
    says: "Replays failed several times in a row, or the publisher contradicts itself. The next attempt waits.",
    heals: "the next replay that succeeds",
  },
  loss_suspected: {
    trust: "stale",
    kind: "condition",
    says: "A message was lost on our side or could not be numbered. Its content is not known yet.",
    heals: "the probe that follows within a second, or the next message",
  },
  probes_failed: {
    trust: "stale",
    kind: "condition",
    says: "The stream is silent and the replay socket does not answer, so that nothing shows whether it is up to date.",
    heals: "the next message, or a probe that is answered",
  },
  unreadable_message: {
    trust: "stale",
    kind: "lost_removal",
    says: "A message broke off. The missing part may contain removals.",
  },
  message_set_aside: {
    trust: "stale",
    kind: "lost_removal",
    says: "A message during which the process died is not applied again. It may hold removals.",
  },
  unreadable_removal: {
    trust: "stale",
    kind: "lost_removal",
    says: "A removal or a clear could not be read.",
  },
  unreadable_event: {
    trust: "stale",
    kind: "lost_removal",
    says: "An event could not be read far enough to see its type.",
  },
  unknown_event_type: {
    trust: "stale",
    kind: "lost_removal",
    says: "The engine sends an event type that this version does not know. It may remove blocks.",
  },
  unknown_store_field: {
    trust: "stale",
    kind: "loss",
    says: "Stores carry a field that this version does not know. It may be part of what a block is.",
  },
  unknown_batch_field: {
    trust: "stale",
    kind: "loss",
    says: "Batches carry a field that this version does not know. It may change what their events mean.",
  },
  unplaced_removal: {
    trust: "stale",
    kind: "lost_removal",
    says: "A removal names a medium or locality that is not known, and no store named it before.",
  },
  mixed_dp_ranks: {
    trust: "stale",
    kind: "trait",
    says: "Batches of one stream name different data-parallel ranks: several publishers share a socket.",
  },
  history_incomplete: {
    trust: "partial",
    kind: "loss",
    says: "Blocks from before the first available message are not known.",
  },
  snapshot_incomplete: {
    trust: "partial",
    kind: "loss",
    says: "The index could not take everything that the snapshot held of the rank.",
  },
  ambiguous_clear: {
    trust: "partial",
    kind: "trait",
    says: "The engine cleared a pool without its name. Copies on its other tiers may be left.",
  },
  unreadable_store: {
    trust: "partial",
    kind: "loss",
    says: "A store could not be read.",
  },
  unknown_removal_field: {
    trust: "partial",
    kind: "loss",
    says: "Removals or clears carry a field that this version does not know. They may mean less than was taken away.",
  },
  unannounced_block: {
    trust: "partial",
    kind: "loss",
    says: "The engine removed a block that its whole history does not mention, so that it may hold others like it.",
  },
  waiting_for_parent: {
    trust: "partial",
    kind: "condition",
    says: "Stores wait for a parent that was not announced yet. The engine holds their blocks, and lookups miss them.",
    heals: "their parent is stored, they are removed, or they are given up",
  },
  copies_uncertain: {
    trust: "partial",
    kind: "condition",
    says: "A block was announced again, as a report or as a further copy, and then removed. The engine may still hold it.",
    heals: "the block is stored again, or removed as often as it was announced",
  },
  copies_untracked: {
    trust: "partial",
    kind: "loss",
    says: "More blocks were announced again than are kept count of. The engine may hold some that were removed once.",
  },
  other_block_size: {
    trust: "partial",
    kind: "loss",
    says: "The engine stores in blocks of several sizes and combines them: offloading in larger units, tails of prompts.",
  },
  unit_size_unknown: {
    trust: "partial",
    kind: "loss",
    says: "Copies beyond the device do not have the number of blocks in a unit.",
  },
  content_names: {
    trust: "stale",
    kind: "trait",
    says: "The engine names blocks by their content alone, so that one name stands for several prefixes. A removal may take the wrong one.",
  },
  ambiguous_name: {
    trust: "stale",
    kind: "loss",
    says: "The engine uses one name for blocks of several adapters, lookaheads or block sizes. A removal may take the wrong one.",
  },
  misaligned_tokens: {
    trust: "partial",
    kind: "loss",
    says: "A store's tokens do not divide into its blocks.",
  },
  unresolved_placeholder: {
    trust: "partial",
    kind: "loss",
    says: "A store without tokens names a block that the rank does not have.",
  },
  unknown_medium: {
    trust: "partial",
    kind: "loss",
    says: "The engine stores on a medium that this version does not know.",
  },
  unknown_locality: {
    trust: "partial",
    kind: "loss",
    says: "The engine stores with a locality that this version does not know.",
  },
  remote_locality: {
    trust: "partial",
    kind: "loss",
    says: "The engine can load blocks from another node, and those are not indexed.",
  },
  unknown_kind: {
    trust: "partial",
    kind: "trait",
    says: "The engine has a KV-cache group of a kind, or without a size, that no rule is known for. A match needs all blocks of it.",
  },
  drafter_unknown: {
    trust: "stale",
    kind: "condition",
    says: "The engine has several KV-cache groups, and it is not known whether it drops the last block of a match for a drafter. If it does, each group needs a block behind the match.",
    heals: "a store that shows that a whole match is reused, or `drops_last_block` in the engine's entry",
  },
  groups_unseen: {
    trust: "stale",
    kind: "condition",
    says: "The engine has announced single blocks only, so that it may have a KV-cache group of which nothing was announced yet.",
    heals: "the first store of several blocks, or of another group",
  },
  dropped_block: {
    trust: "stale",
    kind: "trait",
    says: "The engine drops the last block of a match (`drops_last_block`) and has several KV-cache groups. Each group then needs a block behind the match, and events do not show which.",
  },
  unannounced_group: {
    trust: "stale",
    kind: "trait",
    says: "The engine removed a block of a KV-cache group that its whole history does not mention. A match needs that group too.",
  },
  group_limit: {
    trust: "partial",
    kind: "loss",
    says: "The engine has more KV-cache groups than can be followed, or one that changes its kind or window. The rank was set aside and is empty.",
  },
  group_misaligned: {
    trust: "partial",
    kind: "loss",
    says: "The blocks of a KV-cache group do not divide into those of the others. Such a rank matches nothing.",
  },
  partial_block: {
    trust: "partial",
    kind: "loss",
    says: "The engine caches parts of blocks, and those are not indexed.",
  },
  unplaced_block: {
    trust: "partial",
    kind: "loss",
    says: "A KV-cache group stored blocks without their place, and no other group has them.",
  },
  park_full: {
    trust: "partial",
    kind: "loss",
    says: "A store whose parent is unknown found no place to wait.",
  },
  index_memory_limit: {
    trust: "partial",
    kind: "loss",
    says: "The index reached its memory limit and refused a store.",
  },
  too_many_blocks: {
    trust: "partial",
    kind: "loss",
    says: "A store has more blocks than the index takes at once.",
  },
  too_many_block_sizes: {
    trust: "partial",
    kind: "loss",
    says: "The engine stores in more block sizes than one rank may have. The rank was set aside and is empty.",
  },
  index_refused: {
    trust: "partial",
    kind: "loss",
    says: "The index refused a store's context or shape.",
  },
  context_evicted: {
    trust: "partial",
    kind: "loss",
    says: "The index dropped a whole context of the rank, because there were too many.",
  },
  prefixes_evicted: {
    trust: "partial",
    kind: "loss",
    says: "The index dropped blocks of the rank, because a context had too many.",
  },
  memory_evicted: {
    trust: "partial",
    kind: "loss",
    says: "The index dropped blocks of the rank to stay within its memory limit.",
  },
  parked_evicted: {
    trust: "partial",
    kind: "loss",
    says: "The index dropped stores that waited for their parent.",
  },
} as const;

/** A key of {@link TRUST_REASONS}. */
export type TrustReason = keyof typeof TRUST_REASONS;

/** The reasons in the table's order; a reason's position is its number in shared memory. */
export const TRUST_REASON_NAMES = Object.keys(TRUST_REASONS) as readonly TrustReason[];

/** One thing that happens to a rank. */
export interface TrustCause {
  /** What it makes of the rank; null when it changes nothing, which `says` then argues. */
  readonly reason: TrustReason | null;
  /** What happened; for null also why the answer still is what the engine would reuse. */
  readonly says: string;
}

/** A cause that always lowers trust. */
export interface LoweringCause extends TrustCause {
  readonly reason: TrustReason;
}

/** Why an event, or some of its blocks, did not reach the index. Counted in `eventsDropped`. */
export const EVENT_DROPS = {
  misaligned_tokens: {
    reason: "misaligned_tokens",
    says: "Token ids do not divide into the event's blocks, and a block's hash was not known either.",
  },
  unresolved_placeholder: {
    reason: "unresolved_placeholder",
    says: "An offload placeholder (no tokens) names a block that the rank does not have.",
  },
  repeated_block: {
    reason: null,
    says: "Blocks announced again from the root, of a prefix that the engine can reuse: a report, or copies. The index counts none, so that it never names too much; `copies_uncertain` follows when one of them is removed.",
  },
  copies_untracked: {
    reason: "copies_untracked",
    says: "Such a repetition without room in the ledger of copies. Or a repetition of a group other than the main group while blocks are lost.",
  },
  other_block_size: {
    reason: "other_block_size",
    says: "A store in blocks of another size than the rank's first. Stores that continue a prefix of the first size are dropped.",
  },
  unit_size_unknown: {
    reason: "unit_size_unknown",
    says: "A placeholder beyond the device without the number of blocks in its unit. Or several blocks of a vLLM group there at once. They may be one unit that can be reused only as a whole, and are not stored.",
  },
  content_names: {
    reason: "content_names",
    says: "A name that comes to mean another block, or a store behind such a name, which is dropped. Or the rank's first page is named by a hash of its tokens alone.",
  },
  ambiguous_name: {
    reason: "ambiguous_name",
    says: "A removal, a placeholder or a group's store by a name that is held in several contexts of the rank: adapters, lookaheads, block sizes. The context that was stored to last is taken.",
  },
  no_blocks: {
    reason: null,
    says: "A store without blocks. It names no block, so that nothing of it can be reused or missed.",
  },
  other_attention_kind: {
    reason: null,
    says: "A store or removal of a group that is no prefix cache: encoder-only and cross attention. No request reuses its blocks.",
  },
  unknown_kind: {
    reason: "unknown_kind",
    says: "The first store of a group whose kind has no rule, or whose window is not announced. It is indexed by the strictest rule.",
  },
  unannounced_window: {
    reason: "unknown_kind",
    says: "A removal of a block that left the one behind it, by an engine whose events name no kinds of groups. Full attention loses a prefix from its end, so the group has a window. It is indexed by the rule of full attention.",
  },
  dropped_block: {
    reason: "dropped_block",
    says: "The first store of a further KV-cache group of an engine with `drops_last_block`. The store itself is indexed.",
  },
  group_limit: {
    reason: "group_limit",
    says: "A store of a group that has no place, or has another kind or window than before. It and all later stores of the rank are dropped, because the rank would match too much.",
  },
  group_misaligned: {
    reason: "group_misaligned",
    says: "A store of a group whose block size is no multiple of the context's.",
  },
  partial_block: {
    reason: "partial_block",
    says: "A store of another block size than its group's: vLLM's entries for a part of a block.",
  },
  unplaced_block: {
    reason: "unplaced_block",
    says: "A store names fewer blocks than its tokens make, and no group of the rank had those blocks by the end of the message.",
  },
  unknown_group: {
    reason: null,
    says: "A removal in a group that stored nothing here, on a rank that already lacks something: that is why the group is not known. It cannot mean a block that we hold.",
  },
  unannounced_group: {
    reason: "unannounced_group",
    says: "Such a removal on a rank that lacks nothing. The engine has a group that we do not know, and its rule may allow less than the others do.",
  },
  unknown_medium: {
    reason: "unknown_medium",
    says: "A store on a medium that is not in the vocabulary. Its removals are skipped too, so none stays too long.",
  },
  remote_locality: {
    reason: "remote_locality",
    says: "A store on another node. vLLM marks shared tiers so; the engine loads from them, and we do not index them.",
  },
  unknown_locality: {
    reason: "unknown_locality",
    says: "A store with a locality that is not in the vocabulary.",
  },
  never_indexed: {
    reason: null,
    says: "A removal on a medium or locality whose stores were skipped, or may be older than the history. Nothing was indexed there.",
  },
  unplaced_removal: {
    reason: "unplaced_removal",
    says: "Such a removal, although the history is complete and no store was skipped: the block may be indexed under another name of its medium.",
  },
  unknown_block: {
    reason: null,
    says: "A removal of a block that is not held, on a rank that already lacks something: that is why it is not held.",
  },
  unannounced_block: {
    reason: "unannounced_block",
    says: "Such a removal on a rank that lacks nothing. The engine held a block that we did not know of, so that we and the engine disagree.",
  },
  park_full: {
    reason: "park_full",
    says: "The index's place for blocks with an unknown parent is full.",
  },
  index_memory_limit: { reason: "index_memory_limit", says: "The index's memory limit." },
  too_many_blocks: { reason: "too_many_blocks", says: "More blocks than the index takes in one store." },
  too_many_block_sizes: {
    reason: "too_many_block_sizes",
    says: "The rank stores in too many block sizes, and all of its stores are dropped.",
  },
  index_refused: { reason: "index_refused", says: "The index refused the event's context or shape." },
} as const;

/** A key of {@link EVENT_DROPS}. */
export type EventDropReason = keyof typeof EVENT_DROPS;

/** Every {@link EventDropReason}. */
export const EVENT_DROP_REASONS = Object.keys(EVENT_DROPS) as readonly EventDropReason[];

/** Why a whole message was not applied. Counted in `messagesDropped`. */
const MESSAGE_DROPS = {
  duplicate: {
    reason: null,
    says: "Its sequence number was applied before, with the same bytes or by the same publisher. Nothing of it is new.",
  },
  covered_by_replay: {
    reason: null,
    says: "Held when a replay was asked for, which contains it. Until the replay ends, the stream's state lowers trust.",
  },
  hold_full: {
    reason: "gap",
    says: "The place for held messages is full. The rest is requested again after the replay.",
  },
  late_replay: {
    reason: null,
    says: "An answer to an attempt that was given up. The attempt that replaced it brings the same message.",
  },
  before_restart: {
    reason: null,
    says: "Received before its publisher was found to be another one. That publisher's blocks are gone, and the rank was cleared.",
  },
  set_aside: {
    reason: "message_set_aside",
    says: "The process died while it applied this message. After the restart it is passed over, so that a replayed message cannot end the process again and again.",
  },
} as const;

/** A key of {@link MESSAGE_DROPS}. */
export type MessageDropReason = keyof typeof MESSAGE_DROPS;

/** Every {@link MessageDropReason}. */
export const MESSAGE_DROP_REASONS = Object.keys(MESSAGE_DROPS) as readonly MessageDropReason[];

/** What bytes that break the protocol cost, by where they stand. Counted in `faults` under the error's code. */
export const FAULTS = {
  store: { reason: "unreadable_store", says: "A BlockStored that cannot be read." },
  removal: { reason: "unreadable_removal", says: "A BlockRemoved that cannot be read." },
  clear: {
    reason: "unreadable_removal",
    says: "An AllBlocksCleared that cannot be read: all of the rank may be gone.",
  },
  untyped: { reason: "unreadable_event", says: "An event that cannot be read as far as its type." },
  unknown_type: { reason: "unknown_event_type", says: "An event of a type that this version does not know." },
  message: {
    reason: "unreadable_message",
    says: "A payload that breaks off or is no batch. The events before the break took effect.",
  },
  live_frames: {
    reason: "loss_suspected",
    says: "A live message whose frames cannot be read. It took a number that is not known.",
  },
  replay_frames: {
    reason: null,
    says: "A replay reply whose frames cannot be read. The next reply shows the hole, and the rest is asked for again.",
  },
} as const;

/** A key of {@link FAULTS}. */
export type FaultPlace = keyof typeof FAULTS;

/** What each wire error can cost. Every code is one of the `faults` counters. */
export const FAULT_COSTS: Readonly<Record<WireErrorCode, readonly FaultPlace[]>> = {
  truncated: ["message"],
  reserved_byte: ["message"],
  trailing_bytes: ["message"],
  payload_too_large: ["message"],
  too_many_faults: ["message"],
  wrong_type: ["store", "removal", "untyped", "message"],
  wrong_length: ["store", "removal", "untyped", "message"],
  out_of_range: ["store", "removal", "message"],
  limit_exceeded: ["store", "removal", "message"],
  too_deep: ["store"],
  invalid_utf8: ["store", "removal"],
  missing_field: ["store", "removal", "untyped", "message"],
  duplicate_key: ["store", "removal", "clear", "message"],
  unknown_event_type: ["unknown_type"],
  bigram_gap: ["store"],
  extra_keys_misaligned: ["store"],
  lookahead_misaligned: ["store"],
  wrong_frame_count: ["live_frames", "replay_frames"],
  missing_delimiter: ["replay_frames"],
  wrong_sequence_length: ["live_frames", "replay_frames"],
  sequence_number_out_of_range: ["live_frames", "replay_frames"],
  empty_payload: ["live_frames", "replay_frames"],
};

/**
 * Fields that no event of the wire's vocabulary has, by where they stand. Counted in `unknownFields`. A field that is nil
 * says nothing and counts as absent.
 */
export const UNKNOWN_FIELDS: Readonly<Record<FieldOwner, LoweringCause>> = {
  BlockStored: {
    reason: "unknown_store_field",
    says: "A store's hash may cover the field, as it covers adapter, salt and media. Then two blocks of equal tokens differ, and a match names too much.",
  },
  BlockRemoved: {
    reason: "unknown_removal_field",
    says: "The hashes are the widest that a removal can mean. A field can only narrow it, as medium, group and locality did, so that too much was taken away.",
  },
  AllBlocksCleared: {
    reason: "unknown_removal_field",
    says: "Everything is the widest that a clear can mean. A field can only narrow it, to a tier or a group.",
  },
  batch: {
    reason: "unknown_batch_field",
    says: "A field next to the events may change the meaning of all of them.",
  },
};

/** Every place of an unknown field. */
export const FIELD_OWNERS = Object.keys(UNKNOWN_FIELDS) as readonly FieldOwner[];

/**
 * Fields that are read and not interpreted, each with the argument why answers stay what the engine would reuse. A field
 * that is neither interpreted nor named here is an unknown one.
 */
export const HARMLESS_FIELDS = {
  session_id:
    "Attribution only. vLLM 0.33 and SGLang 0.5.23 both document that the block may be shared with other sessions and that its hash does not depend on it.",
  ownership:
    "Names the secondary tier that holds the copy. Copies are counted per hash and tier, so that two owners of one medium are two copies and each removal takes its own away.",
} as const;

/** What the index's own limits cost. Counted in `indexEvictions`. */
export const EVICTIONS: Readonly<Record<EvictionReason, LoweringCause>> = {
  context_limit: { reason: "context_evicted", says: "More contexts than `limits.contexts` allows." },
  prefix_limit: { reason: "prefixes_evicted", says: "More blocks in one context than the limit allows." },
  memory_limit: { reason: "memory_evicted", says: "The index's memory limit." },
  park_limit: {
    reason: "parked_evicted",
    says: "Stores that waited for a parent made room for newer ones, or waited longer than ten minutes, below the device or without the whole history. On the device of a whole history the engine cannot reach them either, until their parent is stored.",
  },
};

/** What else happens to a stream. `counter` is a path in SyncCounters, or the metric where there is none, without its namespace. */
const STREAM_CAUSES = {
  not_connected: {
    reason: "not_connected",
    counter: "kv_stream_state",
    says: "The rank is registered and its first connection has not been made.",
  },
  first_history: {
    reason: "first_history",
    counter: "replaysRequested",
    says: "The first replay, from number 0, is running; also after a resync.",
  },
  engine_restarted: {
    reason: "engine_restarted",
    counter: "restarts",
    says: "The publisher is another one than before.",
  },
  history_lost: {
    reason: "history_lost",
    counter: "historyLosses",
    says: "Several answers agree that messages are lost permanently.",
  },
  rebuilding: {
    reason: "rebuilding",
    counter: "replaysRequested",
    says: "A rebuild brought its first message.",
  },
  history_incomplete: {
    reason: "history_incomplete",
    counter: "historyLosses",
    says: "The first message applied is not the publisher's first.",
  },
  no_replay: {
    reason: "history_incomplete",
    counter: "kv_stream_state",
    says: "The engine has no replay endpoint, or it proved useless, and what was stored before the connection is not known.",
  },
  resumed: {
    reason: "resumed",
    counter: "kv_stream_state",
    says: "The stream continues from a snapshot or from another worker and is not connected yet.",
  },
  disconnected: {
    reason: "disconnected",
    counter: "kv_stream_state",
    says: "The connection was lost.",
  },
  verifying: {
    reason: "verifying",
    counter: "replaysRequested",
    says: "After a reconnect, or numbers or times that go backward, the publisher must prove itself.",
  },
  gap: { reason: "gap", counter: "gaps", says: "Sequence numbers did not arrive." },
  replay_paused: {
    reason: "replay_paused",
    counter: "replayFailures.idle",
    says: "Attempts failed three times without progress.",
  },
  queue_loss: {
    reason: "loss_suspected",
    counter: "queueLosses",
    says: "The owner's queue dropped live messages of the stream.",
  },
  probes_failed: {
    reason: "probes_failed",
    counter: "replayFailures.idle",
    says: "Three probes of a silent stream failed in a row.",
  },
  ambiguous_clear: {
    reason: "ambiguous_clear",
    counter: "eventsApplied.AllBlocksCleared",
    says: "AllBlocksCleared of a rank with copies beyond the device. vLLM has a pool per tier and clears each alone. SGLang clears device and host together, so that CPU_PINNED copies do not count.",
  },
  parked_store: {
    reason: "waiting_for_parent",
    counter: "eventsApplied.BlockStored",
    says: "A store whose parent is not known waits. No lookup reaches it before its parent is stored.",
  },
  uncertain_copy: {
    reason: "copies_uncertain",
    counter: "eventsApplied.BlockRemoved",
    says: "The last certain copy of a block was removed that was announced again before.",
  },
  unknown_drafter: {
    reason: "drafter_unknown",
    counter: "eventsApplied.BlockStored",
    says: "A store of a second KV-cache group of an engine without lookahead hashes, for which the operator did not set `drops_last_block`.",
  },
  unseen_groups: {
    reason: "groups_unseen",
    counter: "eventsApplied.BlockStored",
    says: "vLLM 0.33 and later: a store of a single block, before any store of several blocks or of a second group.",
  },
  other_dp_rank: {
    reason: null,
    counter: "dpRankMismatches",
    says: "Batches name another rank than their socket's, always the same one: engines number ranks over several nodes. The socket still has one publisher.",
  },
  mixed_dp_ranks: {
    reason: "mixed_dp_ranks",
    counter: "dpRankMismatches",
    says: "Batches of one publisher name several ranks.",
  },
} as const;

/** A key of {@link STREAM_CAUSES}. */
export type StreamCause = keyof typeof STREAM_CAUSES;

/** What happens outside of core, in the program that follows streams. `counter` is a metric without its namespace. */
const OWNER_CAUSES = {
  queue_messages: {
    reason: "loss_suspected",
    counter: "kv_stream_events_rejected_total",
    says: "A lane of the queue holds as many messages as it may.",
  },
  queue_bytes: {
    reason: "loss_suspected",
    counter: "kv_stream_events_rejected_total",
    says: "A lane of the queue holds as many bytes as it may.",
  },
  message_too_large: {
    reason: "loss_suspected",
    counter: "kv_stream_events_rejected_total",
    says: "A message is larger than `limits.message_bytes`.",
  },
  snapshot_incomplete: {
    reason: "snapshot_incomplete",
    counter: "kv_stream_trust",
    says: "A parked store of the snapshot found no place in the index.",
  },
  worker_stalled: {
    reason: "worker_stalled",
    counter: "kv_stream_trust",
    says: "The ingest worker's heartbeat is too old.",
  },
} as const;

/** One line of the whole table. */
export interface TrustRow extends TrustCause {
  /** `family.key`, unique. */
  readonly id: string;
  /** A path in SyncCounters, or the name of a metric. */
  readonly counter: string;
}

/** The whole table, flat, in the order of the page. */
export const TRUST_RULE: readonly TrustRow[] = [
  ...counted("event", EVENT_DROPS, (key) => `eventsDropped.${key}`),
  ...counted("message", MESSAGE_DROPS, (key) => `messagesDropped.${key}`),
  ...counted("fault", FAULTS, () => "faults"),
  ...counted("field", UNKNOWN_FIELDS, (key) => `unknownFields.${key}`),
  ...counted("eviction", EVICTIONS, (key) => `indexEvictions.${key}`),
  ...counted("stream", STREAM_CAUSES, (key) => STREAM_CAUSES[key as StreamCause].counter),
  ...counted("owner", OWNER_CAUSES, (key) => OWNER_CAUSES[key as keyof typeof OWNER_CAUSES].counter),
];

function counted(
  family: string,
  causes: Readonly<Record<string, TrustCause>>,
  counter: (key: string) => string,
): TrustRow[] {
  return Object.entries(causes).map(([key, { reason, says }]) => ({
    id: `${family}.${key}`,
    reason,
    says,
    counter: counter(key),
  }));
}

/** Every wire error code, for counters. */
export const FAULT_CODES: readonly WireErrorCode[] = [...PAYLOAD_ERROR_CODES, ...FRAME_ERROR_CODES];
