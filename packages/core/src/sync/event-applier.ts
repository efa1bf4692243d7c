/**
 * One rank's decoded events, written to the index; and every reason why the index may be wrong about the rank.
 *
 *     event ─▶ group ─▶ blocks? ─▶ locality ─▶ medium ─▶ tier ─▶ tokens aligned? ─yes─▶ context, digests ─▶ storeBlocks
 *                │         │           │          │                    └──no, or none──────────────────▶ storeKnownBlocks
 *                └─────────┴───────────┴──────────┴──▶ dropped under one of EVENT_DROPS' reasons
 *
 * Rules
 *  A1  Only one main-attention group is indexed. Groups share hashes, so a removal in a window group must not take a block
 *      of the main group away; and a second main group repeats the first one's blocks, so indexing both would double their
 *      copies. The first one seen counts, since group numbers mean nothing across models. Kind nil is main (engines before
 *      vLLM 0.21 send none); group nil is the main group. A removal has no kind: its group's stores have told it, and
 *      where no store ever named the main group, a group that none named may be it.
 *  A2  The vocabularies of medium and locality are closed: a block on a medium that we cannot name is not reported.
 *  A3  Token ids count only if they divide into the event's blocks exactly. If not, and in offload placeholders (which have
 *      none), the engine's hashes are looked up among the rank's blocks; those that are found gain a copy.
 *  A4  What is lost, skipped or not understood is noted in `doubts` with the reason that trust-rule.ts gives it. A lost
 *      removal or clear leaves blocks too long (`mayOverReport`), and the rank is rebuilt for it; what might have been
 *      anything counts as one: a fault without a known type, an unknown type, a broken message.
 *  A5  AllBlocksCleared ends every loss: the engine's pool is empty, and so is the rank. Which pool is meant the event does
 *      not say, so that a rank with copies beyond the device is `ambiguous_clear` from then on.
 *  A6  The cache salt of SGLang's extra field counts at the root; children inherit it through the chain (extra-keys.ts).
 *  A7  An adapter known only by `lora_id` (vLLM ≤ 0.13) is named "id:7". Such ids are given in order of registration, so
 *      the name holds on one engine only; clients of such engines ask for it by that name.
 *  A8  A rank stores in at most RANK_BLOCK_SIZES_MAX block sizes. One that stores in more is set aside: its blocks are removed
 *      and its stores dropped until its engine clears its pool or restarts. Each size costs every lookup of the model one
 *      more hash of the prompt, so one engine with many sizes would slow down, or stop, the lookups of all others.
 *
 * Not here: sequence numbers, gaps, restarts (worker-sync.ts).
 *
 * Sources: Dynamo lib/kv-router zmq_wire/filter.rs @ 17b173e9 (kinds), protocols.rs @ 2bd0a36d (media).
 */
import { assert } from "../assert.ts";
import { digestExtraKeys } from "../block-hash/extra-keys.ts";
import { CodedError } from "../errors.ts";
import type { ContextKey, IndexWriter, StoreOutcome, Tier } from "../prefix-index/contract.ts";
import type {
  Decoding,
  EventBatchDecoder,
  EventFault,
  EventSink,
  FieldOwner,
} from "../wire/event-batch-decoder.ts";
import type { BatchHeader, DecodedBlockRemoved, DecodedBlockStored } from "../wire/events.ts";
import { WireError } from "../wire/wire-error.ts";
import type { EventType, SyncCounters, SyncListener } from "./sync-report.ts";
import type { ApplierState } from "./stream-position.ts";
import type { SyncSettings } from "./sync-settings.ts";
import { TrustLedger } from "./trust-ledger.ts";
import {
  EVENT_DROPS,
  FAULTS,
  TRUST_REASONS,
  type EventDropReason,
  type TrustReason,
  UNKNOWN_FIELDS,
} from "./trust-rule.ts";

const MAIN_KINDS: ReadonlySet<string> = new Set(["full_attention", "mla_attention", "sink_full_attention"]);

const TIER_BY_MEDIUM: ReadonlyMap<string, Tier> = new Map([
  ["GPU", 0],
  ["DEVICE", 0],
  ["CPU", 1],
  ["CPU_PINNED", 1],
  ["CPU_TIER1", 1],
  ["cpu", 1],
  ["STORAGE", 2],
  ["DISK", 2],
  ["NVME", 2],
  ["CPU_TIER2", 2],
  ["FS", 2],
  ["OBJ", 2],
  ["EXTERNAL", 3],
  ["NETWORK", 3],
  ["REMOTE", 3],
  ["SHARED", 3],
]);

/**
 * The one medium beyond the device that AllBlocksCleared surely empties: SGLang clears its host pool with the device
 * (mem_cache/unified_radix_cache.py 0.5.23, reset). vLLM has a pool per tier and clears each alone.
 */
const CLEARED_WITH_DEVICE = "CPU_PINNED";

/** Most groups whose kind is remembered, for the reason under which their removals are dropped; engines have up to eight. */
const GROUPS_MAX = 64;

/** Block sizes of one rank (A8). Engines have one; a hybrid model or offloading in larger chunks adds one each. */
export const RANK_BLOCK_SIZES_MAX = 4;

/** What an applier works with. */
export interface ApplierDependencies {
  readonly index: IndexWriter;
  readonly decoder: EventBatchDecoder;
  readonly counters: SyncCounters;
  readonly listener: SyncListener;
  /** Absent where a message is always applied in one go. */
  readonly turn?: Turn | undefined;
}

/** How long a stream may work on a message before others have their turn. */
export interface Turn {
  /** Asked after each event. */
  isOver(): boolean;
}

/** What became of a message: its header, null when it broke off, or that there is more of it to apply. */
export type Applied = BatchHeader | null | "unfinished";

/** Applies the messages of one rank, and knows what was lost on the way. */
export class EventApplier implements EventSink {
  /** Every reason that holds for the rank; the stream's owner adds its conditions. */
  readonly doubts: TrustLedger = new TrustLedger();
  readonly #rankSlot: number;
  readonly #index: IndexWriter;
  readonly #decoder: EventBatchDecoder;
  readonly #counters: SyncCounters;
  readonly #listener: SyncListener;
  readonly #turn: Turn | undefined;
  #decoding: Decoding | null = null;
  /** Groups that are not indexed, and why (A1). */
  readonly #otherGroups = new Map<number, EventDropReason>();
  #mainGroup: number | null = null;
  /** Sizes stored in since the rank was last cleared; more than RANK_BLOCK_SIZES_MAX when it is set aside (A8). */
  readonly #blockSizes = new Set<number>();
  #context: ContextKey;
  /** The message at hand, or the last one. */
  #sequenceNumber = -1;
  #mayOverReport = false;
  /** Whether this publisher has put copies where an AllBlocksCleared may leave them (A5). */
  #outlivesClear = false;
  #historyFrom = 0;
  #overReportsSince = 0;

  constructor(settings: SyncSettings, dependencies: ApplierDependencies) {
    this.#rankSlot = settings.rankSlot;
    this.#index = dependencies.index;
    this.#decoder = dependencies.decoder;
    this.#counters = dependencies.counters;
    this.#listener = dependencies.listener;
    this.#turn = dependencies.turn;
    this.#context = { model: settings.model, loraName: null, blockSize: 0, lookahead: 0 };
    this.#index.setCopyCounting(settings.rankSlot, settings.reportMode !== "full");
  }

  /** Whether anything was lost, so that blocks which the engine holds may be missing. */
  get mayUnderReport(): boolean {
    return this.doubts.hasLoss;
  }

  /** Whether a removal was lost, so that blocks which the engine no longer holds may be left. */
  get mayOverReport(): boolean {
    return this.#mayOverReport;
  }

  /** First sequence number from which on every event took effect. */
  get historyFrom(): number {
    return this.#historyFrom;
  }

  /** Number of the last message in which a removal may have been lost. Meaningful while `mayOverReport`. */
  get overReportsSince(): number {
    return this.#overReportsSince;
  }

  /**
   * Forgets the rank, its groups and its losses.
   *
   * @param fromSequenceNumber - the message that will be applied first.
   * @param isComplete - whether the engine's pool was empty before that message.
   */
  beginAt(fromSequenceNumber: number, isComplete: boolean): void {
    this.#decoding = null;
    this.#index.clearRank(this.#rankSlot);
    this.#otherGroups.clear();
    this.#blockSizes.clear();
    this.#mainGroup = null;
    this.#outlivesClear = false;
    this.#mayOverReport = false;
    this.doubts.endLosses();
    if (!isComplete) this.doubts.note("history_incomplete");
    this.#historyFrom = fromSequenceNumber;
    this.#sequenceNumber = fromSequenceNumber - 1;
  }

  /** What is known beside the index; the caller's. */
  state(): ApplierState {
    return {
      mainGroup: this.#mainGroup,
      otherGroups: [...this.#otherGroups],
      blockSizes: [...this.#blockSizes],
      outlivesClear: this.#outlivesClear,
      losses: this.doubts.losses(),
      historyFrom: this.#historyFrom,
      overReportsSince: this.#overReportsSince,
    };
  }

  /** Goes on from where another applier stood, whose blocks the index holds. */
  restore(state: ApplierState, lastSequenceNumber: number): void {
    this.#mainGroup = state.mainGroup;
    for (const [group, reason] of state.otherGroups) this.#otherGroups.set(group, reason);
    for (const blockSize of state.blockSizes ?? []) this.#blockSizes.add(blockSize);
    this.#outlivesClear = state.outlivesClear;
    for (const reason of state.losses) {
      this.doubts.note(reason);
      if (TRUST_REASONS[reason].kind === "lost_removal") this.#mayOverReport = true;
    }
    this.#historyFrom = state.historyFrom;
    this.#overReportsSince = state.overReportsSince;
    this.#sequenceNumber = lastSequenceNumber;
  }

  /**
   * Something of the rank is lost, up to the message at hand; what comes after it will be there.
   *
   * @param reason - of kind `loss` or `lost_removal`.
   */
  lose(reason: TrustReason): void {
    this.doubts.note(reason);
    this.#historyFrom = this.#sequenceNumber + 1;
    if (TRUST_REASONS[reason].kind !== "lost_removal") return;
    this.#mayOverReport = true;
    this.#overReportsSince = this.#sequenceNumber;
  }

  /**
   * Applies a message's events, in order, until the turn is over.
   *
   * @param payload - the third frame; kept while the message is unfinished.
   * @returns its header; null when the message broke off, which is counted as a loss (A4); `unfinished`
   *   when `proceed` has to be called for the rest.
   */
  apply(sequenceNumber: number, payload: Uint8Array): Applied {
    this.#sequenceNumber = sequenceNumber;
    try {
      if (this.#turn === undefined) return this.#decoder.decode(payload, this);
      return this.#keep(this.#decoder.begin(payload, this));
    } catch (error) {
      return this.#breakOff(error);
    }
  }

  /** Goes on with the unfinished message. */
  proceed(): Applied {
    const decoding = this.#decoding;
    assert(decoding !== null, () => "no message is unfinished");
    this.#decoding = null;
    try {
      return this.#keep(this.#decoder.proceed(decoding));
    } catch (error) {
      return this.#breakOff(error);
    }
  }

  /** Decoder's callback. */
  isTurnOver(): boolean {
    return this.#turn?.isOver() ?? false;
  }

  #keep(decoded: BatchHeader | Decoding): Applied {
    if (!("isUnfinished" in decoded)) return decoded;
    this.#decoding = decoded;
    return "unfinished";
  }

  #breakOff(error: unknown): null {
    if (!(error instanceof WireError)) throw error;
    this.#counters.faults[error.code] += 1;
    this.#listener.messageDropped?.(error.code);
    this.lose(FAULTS.message.reason);
    return null;
  }

  /** Decoder's callback. */
  onBlockStored(event: DecodedBlockStored): void {
    const { blockCount } = event;
    const reason = this.#groupOfStore(event.groupIdx, event.kvCacheSpecKind) ?? localityOfStore(event);
    if (reason !== null) {
      if (event.locality !== null && event.locality !== "LOCAL") this.#outlivesClear = true;
      this.#drop("BlockStored", reason, blockCount);
      return;
    }
    if (blockCount === 0) {
      this.#drop("BlockStored", "no_blocks", 0);
      return;
    }
    const tier = event.medium === null ? 0 : TIER_BY_MEDIUM.get(event.medium);
    if (tier !== 0 && event.medium !== CLEARED_WITH_DEVICE) this.#outlivesClear = true;
    if (tier === undefined) this.#drop("BlockStored", "unknown_medium", blockCount);
    else if (this.#blockSizes.size > RANK_BLOCK_SIZES_MAX)
      this.#drop("BlockStored", "too_many_block_sizes", blockCount);
    else if (event.tokenCount === 0) this.#storeKnown(tier, blockCount, "unresolved_placeholder");
    else if (event.tokenCount === blockCount * event.blockSize) this.#store(event, tier);
    else this.#storeKnown(tier, blockCount, "misaligned_tokens");
  }

  /** Decoder's callback. */
  onBlockRemoved(event: DecodedBlockRemoved): void {
    const { blockCount } = event;
    const group = this.#groupOfRemoval(event.groupIdx);
    if (group !== null) {
      this.#drop("BlockRemoved", group, blockCount);
      return;
    }
    const tier = event.medium === null ? 0 : TIER_BY_MEDIUM.get(event.medium);
    if (tier === undefined || (event.locality !== null && event.locality !== "LOCAL")) {
      this.#drop("BlockRemoved", this.#isWhole ? "unplaced_removal" : "never_indexed", blockCount);
      return;
    }
    const removed = this.#index.removeBlocks(this.#rankSlot, tier, blockCount);
    this.#count("BlockRemoved", removed);
    if (removed === blockCount) return;
    this.#drop("BlockRemoved", this.#isWhole ? "unannounced_block" : "unknown_block", blockCount - removed);
  }

  /** Decoder's callback. */
  onAllBlocksCleared(): void {
    this.#index.clearRank(this.#rankSlot);
    this.#blockSizes.clear();
    this.#mayOverReport = false;
    this.doubts.endLosses();
    this.#historyFrom = this.#sequenceNumber;
    if (this.#outlivesClear) this.doubts.note("ambiguous_clear");
    this.#count("AllBlocksCleared", 0);
  }

  /** Decoder's callback. */
  onFault(fault: EventFault): void {
    const type = fault.eventType ?? "unknown";
    this.#counters.faults[fault.error.code] += 1;
    this.#listener.eventDropped?.(type, fault.error.code, 0);
    this.lose(reasonOfFault(fault));
  }

  /** Decoder's callback. */
  onUnknownField(owner: FieldOwner, name: string): void {
    this.#counters.unknownFields[owner] += 1;
    this.#listener.unknownField?.(owner, name);
    this.lose(UNKNOWN_FIELDS[owner].reason);
  }

  /** Whether everything that the engine ever told is in the index: then a removal must find its block. */
  get #isWhole(): boolean {
    return !this.mayUnderReport;
  }

  /** A8. One set lookup an event. */
  #isBlockSizeTaken(blockSize: number): boolean {
    if (this.#blockSizes.has(blockSize)) return true;
    this.#blockSizes.add(blockSize);
    if (this.#blockSizes.size <= RANK_BLOCK_SIZES_MAX) return true;
    this.#index.clearRank(this.#rankSlot);
    return false;
  }

  #store(event: DecodedBlockStored, tier: Tier): void {
    const { blockCount, hasParent } = event;
    if (!this.#isBlockSizeTaken(event.blockSize)) {
      this.#drop("BlockStored", "too_many_block_sizes", blockCount);
      return;
    }
    const context = this.#contextOf(event);
    const salt = hasParent ? null : event.cacheSalt;
    const digests = this.#index.scratch.extraDigests;
    let outcome: StoreOutcome;
    try {
      const hasExtra =
        (event.extraKeys !== null || salt !== null) &&
        digestExtraKeys(event.extraKeys, context.loraName, salt, blockCount, this.#index, digests);
      outcome = this.#index.storeBlocks(
        this.#index.openContext(context, this.#rankSlot),
        this.#rankSlot,
        tier,
        blockCount,
        hasParent,
        event.parentLow,
        event.parentHigh,
        hasExtra,
      );
    } catch (error) {
      // Keys, context or shape that the index does not take are the engine's doing; a failed assertion is ours and passes.
      if (!(error instanceof CodedError)) throw error;
      this.#drop("BlockStored", "index_refused", blockCount);
      return;
    }
    if (outcome === "stored" || outcome === "parked") this.#count("BlockStored", blockCount);
    else this.#drop("BlockStored", REASON_OF_REJECTION[outcome], blockCount);
  }

  #storeKnown(tier: Tier, blockCount: number, reason: "unresolved_placeholder" | "misaligned_tokens"): void {
    const known = this.#index.storeKnownBlocks(this.#rankSlot, tier, blockCount);
    if (known > 0) this.#count("BlockStored", known);
    if (known < blockCount) this.#drop("BlockStored", reason, blockCount - known);
  }

  /** The event's context. One object serves all events alike: almost every event of an engine has the same. */
  #contextOf(event: DecodedBlockStored): ContextKey {
    const last = this.#context;
    const loraName = event.loraName ?? (event.loraId === null ? null : `id:${event.loraId}`);
    if (
      last.blockSize !== event.blockSize ||
      last.loraName !== loraName ||
      last.lookahead !== event.lookahead
    ) {
      const { blockSize, lookahead } = event;
      this.#context = { model: last.model, loraName, blockSize, lookahead };
    }
    return this.#context;
  }

  #groupOfStore(group: number | null, kind: string | null): EventDropReason | null {
    if (kind !== null && !MAIN_KINDS.has(kind)) {
      this.#rememberGroup(group, "other_attention_kind");
      return "other_attention_kind";
    }
    if (group === null) return null;
    this.#mainGroup ??= group;
    if (group === this.#mainGroup) return null;
    this.#rememberGroup(group, "other_main_group");
    return "other_main_group";
  }

  #groupOfRemoval(group: number | null): EventDropReason | null {
    if (group === null || group === this.#mainGroup) return null;
    return this.#otherGroups.get(group) ?? (this.#mainGroup === null ? null : "unknown_group");
  }

  #rememberGroup(group: number | null, reason: "other_attention_kind" | "other_main_group"): void {
    if (group !== null && this.#otherGroups.size < GROUPS_MAX) this.#otherGroups.set(group, reason);
  }

  #count(type: EventType, blockCount: number): void {
    this.#counters.eventsApplied[type] += 1;
    this.#counters.blocksApplied[type] += blockCount;
    this.#listener.eventApplied?.(type, blockCount);
  }

  #drop(type: EventType, reason: EventDropReason, blockCount: number): void {
    this.#counters.eventsDropped[reason] += 1;
    this.#listener.eventDropped?.(type, reason, blockCount);
    const lost = EVENT_DROPS[reason].reason;
    if (lost !== null) this.lose(lost);
  }
}

const REASON_OF_REJECTION: Record<Exclude<StoreOutcome, "stored" | "parked">, EventDropReason> = {
  rejected_park_full: "park_full",
  rejected_memory_limit: "index_memory_limit",
  rejected_too_many_blocks: "too_many_blocks",
};

function reasonOfFault({ error, eventType }: EventFault): TrustReason {
  switch (eventType) {
    case "BlockStored":
      return FAULTS.store.reason;
    case "BlockRemoved":
      return FAULTS.removal.reason;
    case "AllBlocksCleared":
      return FAULTS.clear.reason;
    case null:
      return error.code === "unknown_event_type" ? FAULTS.unknown_type.reason : FAULTS.untyped.reason;
  }
}

function localityOfStore({ locality }: DecodedBlockStored): EventDropReason | null {
  if (locality === null || locality === "LOCAL") return null;
  return locality === "REMOTE" ? "remote_locality" : "unknown_locality";
}
