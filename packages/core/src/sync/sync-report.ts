/**
 * What a stream tells about itself: how far it can be trusted, what it is doing, what it applied, and what it dropped and
 * why. All sets are closed, so that they serve as metric labels as they stand.
 */
import type { EvictionReason } from "../prefix-index/contract.ts";
import { PAYLOAD_ERROR_CODES, FRAME_ERROR_CODES, type WireErrorCode } from "../wire/wire-error.ts";

/**
 * How far the index can be trusted about a rank.
 *  - `exact`: as of the last applied message, the index holds what the engine holds, no more and no less.
 *  - `partial`: nothing too much, but blocks may be missing.
 *  - `stale`: not verified, or a removal was lost: blocks may be reported that are gone.
 *  - `unknown`: not in sync yet; an absent block says nothing.
 */
export const TRUST_LEVELS = ["exact", "partial", "stale", "unknown"] as const;

/** One of {@link TRUST_LEVELS}. */
export type Trust = (typeof TRUST_LEVELS)[number];

/** What a stream is doing; drawn in worker-sync.ts. */
export const STREAM_STATES = [
  "connecting",
  "replaying",
  "verifying",
  "paused",
  "live",
  "disconnected",
] as const;

/** One of {@link STREAM_STATES}. */
export type StreamState = (typeof STREAM_STATES)[number];

/** What the owner of the sockets is asked to do. Numbers of attempts are unique within a stream and grow. */
export type SyncAction =
  | {
      /** Ask the engine for everything from `from` on, over a fresh socket, and hand the answers to `replayMessage`. */
      readonly kind: "request_replay";
      readonly attempt: number;
      readonly from: number;
    }
  | {
      /** Close that attempt's socket; whatever still comes from it is not wanted. */
      readonly kind: "abandon_replay";
      readonly attempt: number;
    };

/** How an attempt ended. Metric label values. */
export const REPLAY_STATUSES = ["completed", "failed", "abandoned"] as const;

/** One of {@link REPLAY_STATUSES}. */
export type ReplayStatus = (typeof REPLAY_STATUSES)[number];

/** Why an attempt failed: nothing heard in time, no connection, no slot for it, or the transport never said a word. */
export const REPLAY_FAILURES = ["idle", "unreachable", "refused", "silent"] as const;

/** One of {@link REPLAY_FAILURES}. */
export type ReplayFailure = (typeof REPLAY_FAILURES)[number];

/** Event types of the protocol, and `unknown` for what has another name or none. */
export const EVENT_TYPES = ["BlockStored", "BlockRemoved", "AllBlocksCleared", "unknown"] as const;

/** One of {@link EVENT_TYPES}. */
export type EventType = (typeof EVENT_TYPES)[number];

/** What a loss may have done to the index: nothing, hidden a block, or left one in that is gone. */
export type LossEffect = "harmless" | "may_under_report" | "may_over_report";

/** Why an event, or some of its blocks, did not reach the index, and what that does to trust. */
export const EVENT_DROP_EFFECTS = {
  /** Token ids do not divide into the event's blocks, and a block's hash was not known either. */
  misaligned_tokens: "may_under_report",
  /** An offload placeholder (no tokens) names a block that the rank does not have. */
  unresolved_placeholder: "may_under_report",
  /** A store without blocks: windowed groups announce spans whose blocks are masked. */
  no_blocks: "harmless",
  /** Not a main-attention group: sliding window, Mamba, cross attention. */
  other_attention_kind: "harmless",
  /** A second main-attention group, which repeats the first one's blocks. */
  other_main_group: "harmless",
  /** A removal in a group that stored nothing here: it cannot mean a block we hold. */
  unknown_group: "harmless",
  /** A store on a medium that is not in the vocabulary. Its removals are skipped alike, so no block stays too long. */
  unknown_medium: "may_under_report",
  /** Blocks on another node: not this worker's. */
  remote_locality: "harmless",
  /** A store with a locality that is not in the vocabulary. */
  unknown_locality: "may_under_report",
  /** Skipped removals on such a medium or locality: nothing was stored there. */
  never_indexed: "harmless",
  /** A removal of a block that the rank does not hold. */
  unknown_block: "harmless",
  /** The index's place for blocks with an unknown parent is full. */
  park_full: "may_under_report",
  /** The index's memory limit. */
  index_memory_limit: "may_under_report",
  /** More blocks than the index takes in one store. */
  too_many_blocks: "may_under_report",
  /** The rank stores in more block sizes than RANK_BLOCK_SIZES_MAX: it is set aside, all of its stores are dropped. */
  too_many_block_sizes: "may_under_report",
  /** The index refused the event's context or shape. */
  index_refused: "may_under_report",
} as const;

/** A key of {@link EVENT_DROP_EFFECTS}. */
export type EventDropReason = keyof typeof EVENT_DROP_EFFECTS;

/** Why a whole message was not applied. What they lose is either asked for again or in the trust. */
export const MESSAGE_DROP_REASONS = [
  /** Its sequence number was applied before. */
  "duplicate",
  /** Held when a replay was asked for, which contains it. */
  "covered_by_replay",
  /** The place for held messages is full. */
  "hold_full",
  /** An answer to an attempt that was given up. */
  "late_replay",
  /** Received before its publisher was found to be another one, or, without replay to ask, had to be taken for one. */
  "before_restart",
] as const;

/** One of {@link MESSAGE_DROP_REASONS}. */
export type MessageDropReason = (typeof MESSAGE_DROP_REASONS)[number];

/** Every reason under which events or messages are dropped: the closed set of a metric's label. */
export type DropReason = EventDropReason | MessageDropReason | WireErrorCode;

/** Running totals of one stream since it was made. Owned by the stream; read whenever you like. */
export interface SyncCounters {
  messagesApplied: number;
  /** Gaps found, and the messages missing in them. */
  gaps: number;
  missedMessages: number;
  replaysRequested: number;
  /** How attempts ended, and why those failed that did. */
  readonly replayEnds: Record<ReplayStatus, number>;
  readonly replayFailures: Record<ReplayFailure, number>;
  /** Probes of an idle stream; they count as requested replays too. */
  probes: number;
  /** Publishers found to be others than before. */
  restarts: number;
  /** Times that history was missing for good, so that the rank was cleared and went on from a later message. */
  historyLosses: number;
  /** Live messages that were held while a replay ran. */
  heldMessages: number;
  /** Batches that named another DP rank than their socket's. */
  dpRankMismatches: number;
  /** Times the owner's queue reported lost messages. */
  queueLosses: number;
  /** Times the index reported that it forgot something of this rank. */
  readonly indexEvictions: Record<EvictionReason, number>;
  readonly eventsApplied: Record<EventType, number>;
  /** Blocks added and taken away by the applied events. */
  readonly blocksApplied: Record<EventType, number>;
  /** Events and messages that broke the protocol, by code. */
  readonly faults: Record<WireErrorCode, number>;
  /** Events dropped although well formed, by reason. */
  readonly eventsDropped: Record<EventDropReason, number>;
  /** Messages dropped, by reason. */
  readonly messagesDropped: Record<MessageDropReason, number>;
}

/** Makes counters at zero. */
export function createSyncCounters(): SyncCounters {
  return {
    messagesApplied: 0,
    gaps: 0,
    missedMessages: 0,
    replaysRequested: 0,
    replayEnds: zeros(REPLAY_STATUSES),
    replayFailures: zeros(REPLAY_FAILURES),
    probes: 0,
    restarts: 0,
    historyLosses: 0,
    heldMessages: 0,
    dpRankMismatches: 0,
    queueLosses: 0,
    indexEvictions: { context_limit: 0, prefix_limit: 0, memory_limit: 0, park_limit: 0 },
    eventsApplied: zeros(EVENT_TYPES),
    blocksApplied: zeros(EVENT_TYPES),
    faults: zeros([...PAYLOAD_ERROR_CODES, ...FRAME_ERROR_CODES]),
    eventsDropped: zeros(Object.keys(EVENT_DROP_EFFECTS) as EventDropReason[]),
    messagesDropped: zeros(MESSAGE_DROP_REASONS),
  };
}

function zeros<Key extends string>(keys: readonly Key[]): Record<Key, number> {
  return Object.fromEntries(keys.map((key) => [key, 0])) as Record<Key, number>;
}

/**
 * Told what happens, as it happens, for metrics and logs. Every method is optional. Arguments are numbers and members of
 * closed sets: a call allocates nothing. A listener must not call the stream back.
 */
export interface SyncListener {
  /** A message took effect. `timestampSeconds` is the engine's wall clock. */
  messageApplied?(lane: "live" | "replay", eventCount: number, timestampSeconds: number): void;
  /** An event took effect on `blockCount` blocks. */
  eventApplied?(type: EventType, blockCount: number): void;
  /** An event, or some blocks of it, was dropped. */
  eventDropped?(type: EventType, reason: EventDropReason | WireErrorCode, blockCount: number): void;
  /** A message was dropped. */
  messageDropped?(reason: MessageDropReason | WireErrorCode): void;
  /** Messages were found missing. */
  gapFound?(missedMessages: number): void;
  /** An attempt ended. */
  replayEnded?(status: ReplayStatus): void;
  /** The publisher is another one than before; its rank was cleared. */
  restarted?(): void;
  /** History is gone for good; the index reflects the publisher from `fromSequenceNumber` on. */
  historyLost?(fromSequenceNumber: number): void;
  trustChanged?(trust: Trust, previous: Trust): void;
  stateChanged?(state: StreamState, previous: StreamState): void;
}
