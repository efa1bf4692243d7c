/**
 * A stream's report: its trust, its state, the events that it applied, and the events that it
 * dropped, with the reasons. All sets are closed, so that they serve as metric labels without a
 * change.
 */
import type { EvictionReason } from "../prefix-index/contract.ts";
import type { FieldOwner } from "../wire/event-batch-decoder.ts";
import type { WireErrorCode } from "../wire/wire-error.ts";
import {
  EVENT_DROP_REASONS,
  EVICTIONS,
  FAULT_CODES,
  FIELD_OWNERS,
  MESSAGE_DROP_REASONS,
  type EventDropReason,
  type MessageDropReason,
  type Trust,
  type TrustReason,
} from "./trust-rule.ts";

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

/**
 * Why an attempt failed: nothing heard in time, no connection, no slot for it, the transport never said a word, or the engine sent
 * what ended the connection.
 */
export const REPLAY_FAILURES = ["idle", "unreachable", "refused", "silent", "violation"] as const;

/** One of {@link REPLAY_FAILURES}. */
export type ReplayFailure = (typeof REPLAY_FAILURES)[number];

/** Event types of the protocol, and `unknown` for what has another name or none. */
export const EVENT_TYPES = ["BlockStored", "BlockRemoved", "AllBlocksCleared", "unknown"] as const;

/** One of {@link EVENT_TYPES}. */
export type EventType = (typeof EVENT_TYPES)[number];

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
  /** Events and batches that carried a field which this version does not know, by where it stood. */
  readonly unknownFields: Record<FieldOwner, number>;
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
    indexEvictions: zeros(Object.keys(EVICTIONS) as EvictionReason[]),
    eventsApplied: zeros(EVENT_TYPES),
    blocksApplied: zeros(EVENT_TYPES),
    faults: zeros(FAULT_CODES),
    unknownFields: zeros(FIELD_OWNERS),
    eventsDropped: zeros(EVENT_DROP_REASONS),
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
  /** An event or batch carries a field that is not known. `name` is one of a bounded number, fit for a log. */
  unknownField?(owner: FieldOwner, name: string): void;
  /** The engine has a KV-cache group of a kind that no rule is known for; once per kind and stream. */
  unknownKind?(kind: string): void;
  /** Trust or its reason changed; `reason` is null exactly for `exact`. */
  trustChanged?(trust: Trust, previous: Trust, reason: TrustReason | null): void;
  stateChanged?(state: StreamState, previous: StreamState): void;
}
