/**
 * One rank's decoded events, written to the index; and every reason why the index may be wrong about the rank.
 *
 *     event ─▶ group ─▶ blocks? ─▶ locality ─▶ medium ─▶ tier ─▶ tokens aligned? ─yes─▶ context, digests ─▶ storeBlocks
 *                │         │           │          │                    └──no, or none──────────────────▶ storeKnownBlocks
 *                └─────────┴───────────┴──────────┴──▶ dropped under one of EVENT_DROPS' reasons
 *
 * Rules
 *  A1  Every KV-cache group of a rank has its own holder slot in the index (cache-groups.ts). A
 *      match is the prefix that all groups allow. A removal takes from the group that it names.
 *      Stores of a further group are placed by name. Blocks that no other group has yet wait for
 *      the end of the message.
 *  A2  The vocabularies of medium (medium-tiers.ts) and locality are closed: a block on a medium that we cannot name is not
 *      reported.
 *  A3  Token ids count only if they divide into the event's blocks exactly. Otherwise, and in
 *      offload placeholders (which have none), the engine's hashes are looked up among the rank's
 *      blocks. Blocks that are found gain a copy.
 *  A4  Every loss, skip or misunderstood part is noted in `doubts` with the reason that
 *      trust-rule.ts gives it. A lost removal or clear leaves blocks too long (`mayOverReport`),
 *      and the rank is rebuilt for it. An input that could have been a removal counts as one: a
 *      fault without a known type, an unknown type, a broken message.
 *  A5  AllBlocksCleared ends every loss: the engine's pool is empty, and so is the rank. Traits of
 *      the engine stay (trust-rule.ts, T4). The event does not name the pool. So a rank with copies
 *      beyond the device is `ambiguous_clear` from then on.
 *  A6  The cache salt of SGLang's extra field counts at the root; children inherit it through the chain (extra-keys.ts).
 *  A7  An adapter known only by `lora_id` (vLLM ≤ 0.13) is named "id:7". Such ids are given in
 *      order of registration, so the name holds on one engine only. Clients of such engines ask for
 *      it by that name.
 *  A8  A rank stores in at most RANK_BLOCK_SIZES_MAX block sizes. A rank that stores in more is set
 *      aside: its blocks are removed and its stores dropped until its engine clears its pool or
 *      restarts. Each size costs every lookup of the model one more hash of the prompt. So one
 *      engine with many sizes would slow down, or stop, the lookups of all others.
 *  A9  A block that an engine announces again is a copy, unless it may be a report
 *      (repeated-stores.ts), in every group alike. While the engine may hold a block of which the
 *      index counts no copy for that, the rank is `copies_uncertain`.
 *  A10 While a store waits for its parent, the rank is `waiting_for_parent`. On the device of an
 *      engine whose whole history is known, the engine cannot reach a waiting block either. When
 *      its store is given up, nothing is missing until its parent is stored after all, which is a
 *      loss. Giving up any other store is a loss at once.
 *  A11 A rank's blocks have one size, that of its first store. When another size appears
 *      (offloading in larger units, tails of a prompt), the engine combines both and the index does
 *      not: a loss. A unit whose parent has the other size does not wait for it. A copy below the
 *      device that has no tokens does not show its span: a loss. The same holds for several blocks
 *      that vLLM announces there at once. They may be one unit, of which no part can be reused
 *      (vllm#57159). They are not stored.
 *  A12 A name that comes to mean another block is no name of a prefix (content-names.ts). Blocks
 *      behind it are not stored. The rank is `stale`: a removal by such a name may take the copy of
 *      another prefix.
 *  A13 A name that is held in several contexts of a rank is no name of one block (name-contexts.ts). The rank is `stale` from
 *      the first removal, placeholder or group's store by such a name on: the index takes the context stored to last.
 *  A14 A removal may name a KV-cache group that stored nothing, on a rank whose whole history is known. The rule of that
 *      group may allow less than the others do: the rank is `stale`.
 *  A15 A rank with several KV-cache groups is `drafter_unknown` until its stores show that a whole match is reused, or the
 *      operator sets it (engine-signs.ts).
 *  A16 A rank that may have a group which has not announced itself is `groups_unseen` (engine-signs.ts, S2).
 *  A17 A block that is removed before the one behind it shows a window that was not announced. The rule of full attention
 *      asks for more than the engine does: the rank is `partial`.
 *
 * Not here: sequence numbers, gaps, restarts (worker-sync.ts).
 *
 * One class, since it makes one decision: an event is stored, or dropped for the first rule that it breaks. Each rule reads
 * the state that earlier events of the rank left. State of one rule alone has a file of its own, named above. Stores of
 * further groups (A1, A9) are no such part: events of the main group use all of their state as well.
 *
 * Sources: Dynamo lib/kv-router zmq_wire/filter.rs @ 17b173e9 (kinds), protocols.rs @ 2bd0a36d (media).
 */
import { assert } from "../assert.ts";
import { digestExtraKeys } from "../block-hash/extra-keys.ts";
import { CodedError } from "../errors.ts";
import {
  type ContextKey,
  type IndexWriter,
  MISSING_BLOCK,
  RENAMED_BLOCK,
  type RepeatRule,
  type StoreOutcome,
  type Tier,
} from "../prefix-index/contract.ts";
import type {
  Decoding,
  EventBatchDecoder,
  EventFault,
  EventSink,
  FieldOwner,
} from "../wire/event-batch-decoder.ts";
import type { BatchHeader, DecodedBlockRemoved, DecodedBlockStored } from "../wire/events.ts";
import { WireError } from "../wire/wire-error.ts";
import { CacheGroups, type GroupPlace, scoutGroups } from "./cache-groups.ts";
import { ContentNames } from "./content-names.ts";
import { EngineSigns } from "./engine-signs.ts";
import { NameContexts } from "./name-contexts.ts";
import { tierOfMedium } from "./medium-tiers.ts";
import { RankBlockSizes } from "./rank-block-sizes.ts";
import { RankConditions } from "./rank-conditions.ts";
import { RepeatedStores } from "./repeated-stores.ts";
import { RootVerdict } from "./root-verdict.ts";
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
import { UnplacedStores } from "./unplaced-stores.ts";

/**
 * The one medium beyond the device that AllBlocksCleared surely empties: SGLang clears its host pool with the device
 * (mem_cache/unified_radix_cache.py 0.5.23, reset). vLLM has a pool per tier and clears each alone.
 */
const CLEARED_WITH_DEVICE = "CPU_PINNED";

/** Kinds without a rule that are reported by name; an engine has a handful of groups. */
export const UNKNOWN_KINDS_MAX = 16;

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

/** The event that a listener is being called for. */
export interface EventAtHand {
  /** Null for a medium that is none. */
  readonly tier: Tier | null;
  /** Null without an adapter, and for a removal. */
  readonly loraName: string | null;
  /** High word of its first block's hash; null without a block. */
  readonly hashHigh: number | null;
}

/** Applies the messages of one rank, and knows what was lost on the way. */
export class EventApplier implements EventSink {
  /** Every reason that holds for the rank; the stream's owner adds its conditions. */
  readonly doubts: TrustLedger = new TrustLedger();
  /** See `WorkerSync.rareChanges`. */
  rareChanges = 0;
  readonly #rankSlot: number;
  readonly #index: IndexWriter;
  readonly #decoder: EventBatchDecoder;
  readonly #counters: SyncCounters;
  readonly #listener: SyncListener;
  readonly #turn: Turn | undefined;
  #decoding: Decoding | null = null;
  readonly #groups: CacheGroups;
  /** Stores of groups whose blocks no group has yet (A1). */
  readonly #unplaced: UnplacedStores;
  /** Kinds without a rule that the listener knows of. */
  readonly #unknownKinds = new Set<string>();
  readonly #dropsLastBlock: boolean;
  readonly #repeats: RepeatedStores;
  readonly #contentNames = new ContentNames();
  readonly #contexts: NameContexts;
  readonly #signs: EngineSigns;
  readonly #root = new RootVerdict();
  /** What the last store of the main group was to do with repeated blocks. */
  #rule: RepeatRule = "count";
  /** Whether a store below the device waits, or waited, for its parent (A10). */
  #hasParkedBelowDevice = false;
  /** Whether stores that waited were given up without a loss (A10): their removals find nothing. */
  #hasGivenUp = false;
  readonly #blockSizes = new RankBlockSizes();
  /** The event that is being applied, and the block of it; null between events. The decoder's object. */
  #atHand: DecodedBlockStored | DecodedBlockRemoved | null = null;
  #blockAtHand = 0;
  #lastMedium: string | null = null;
  #lastTier: Tier | undefined = 0;
  #context: ContextKey;
  /** The message at hand, or the last one. */
  #sequenceNumber = -1;
  #mayOverReport = false;
  readonly #conditions = new RankConditions(this.doubts);
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
    this.#dropsLastBlock = settings.dropsLastBlock === true;
    this.#groups = new CacheGroups(settings.rankSlot, dependencies.index);
    this.#unplaced = new UnplacedStores(dependencies.index, settings.rankSlot);
    this.#context = { model: settings.model, loraName: null, blockSize: 0, lookahead: 0 };
    this.#contexts = new NameContexts(this.#index, settings.rankSlot);
    this.#signs = new EngineSigns(
      this.#index,
      this.#decoder,
      this.#groups,
      settings.rankSlot,
      settings.dropsLastBlock,
    );
    this.#repeats = new RepeatedStores(this.#index, this.#groups, settings.reportMode ?? "auto");
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
    this.#forget(false);
    this.#outlivesClear = false;
    this.#mayOverReport = false;
    this.doubts.endLosses(false);
    if (!isComplete) this.doubts.note("history_incomplete");
    this.#historyFrom = fromSequenceNumber;
    this.#sequenceNumber = fromSequenceNumber - 1;
  }

  /** What is known beside the index; the caller's. */
  state(): ApplierState {
    const copies = this.#repeats.state();
    const losses = this.doubts.losses();
    if (copies === null && !losses.includes("copies_untracked")) losses.push("copies_untracked");
    // The parents of what was given up do not go along.
    if (this.#hasGivenUp && !losses.includes("parked_evicted")) losses.push("parked_evicted");
    return {
      groups: this.#groups.state(),
      blockSizes: this.#blockSizes.state(),
      outlivesClear: this.#outlivesClear,
      losses,
      conditions: this.#conditions.state(losses),
      hasParkedBelowDevice: this.#hasParkedBelowDevice,
      hasGivenUp: this.#hasGivenUp,
      uncertainCopies: copies ?? [],
      contentNames: this.#contentNames.state(),
      contexts: this.#contexts.state(),
      signs: this.#signs.state(),
      unknownKinds: [...this.#unknownKinds],
      historyFrom: this.#historyFrom,
      overReportsSince: this.#overReportsSince,
    };
  }

  /** Goes on from where another applier stood, whose blocks the index holds. */
  restore(state: ApplierState, lastSequenceNumber: number): void {
    this.#groups.restore(state.groups);
    this.#blockSizes.restore(state.blockSizes ?? []);
    this.#outlivesClear = state.outlivesClear;
    this.#conditions.restore(state.losses, state.conditions ?? []);
    this.#mayOverReport ||= state.losses.some((loss) => TRUST_REASONS[loss].kind === "lost_removal");
    this.#historyFrom = state.historyFrom;
    this.#overReportsSince = state.overReportsSince;
    this.#hasParkedBelowDevice = state.hasParkedBelowDevice;
    this.#hasGivenUp = state.hasGivenUp;
    this.#repeats.restore(state.uncertainCopies);
    this.#contentNames.restore(state.contentNames);
    this.#contexts.restore(this.#context.model, state.contexts === undefined ? [] : state.contexts);
    if (state.signs !== undefined) this.#signs.restore(state.signs);
    for (const kind of state.unknownKinds ?? []) this.#tellUnknownKind(kind);
    this.#sequenceNumber = lastSequenceNumber;
    this.#settleConditions();
  }

  /**
   * Something of the rank is lost, up to the message at hand; what comes after it will be there.
   *
   * @param reason - no condition.
   */
  lose(reason: TrustReason): void {
    this.doubts.note(reason);
    this.#historyFrom = this.#sequenceNumber + 1;
    if (TRUST_REASONS[reason].kind !== "lost_removal") return;
    this.#mayOverReport = true;
    this.#overReportsSince = this.#sequenceNumber;
  }

  /** Stores that waited for their parent were given up by the index, for its limits (A10). */
  noteGivenUp(): void {
    if (this.mayUnderReport || this.#hasParkedBelowDevice) this.lose("parked_evicted");
    this.#hasGivenUp = true;
    this.#settleConditions();
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
    this.#root.forget();
    this.#signs.begin();
    if (!this.#groups.isScouted) this.#groups.scout(scoutGroups(this.#decoder, payload));
    try {
      return this.#keep(
        this.#turn === undefined ? this.#decoder.decode(payload, this) : this.#decoder.begin(payload, this),
      );
    } catch (error) {
      return this.#breakOff(error);
    }
  }

  /** Passes over a message during which the process died before. */
  setAside(sequenceNumber: number): null {
    this.#sequenceNumber = sequenceNumber;
    this.lose("message_set_aside");
    return null;
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
    if ("isUnfinished" in decoded) {
      this.#decoding = decoded;
      this.#settleConditions();
      return "unfinished";
    }
    this.#endMessage();
    return decoded;
  }

  /** After the last event of a message, also of one that broke off: conditions follow from all that it did. */
  #endMessage(): void {
    this.#atHand = null;
    if (!this.#unplaced.isEmpty) this.#placeLeft();
    // A17: what the message showed as a whole.
    if (this.#signs.findsWindow()) this.#drop("BlockRemoved", "unannounced_window", 0);
    this.#settleConditions();
  }

  #breakOff(error: unknown): null {
    if (!(error instanceof WireError)) throw error;
    this.#counters.faults[error.code] += 1;
    this.rareChanges += 1;
    this.#listener.messageDropped?.(error.code);
    this.lose(FAULTS.message.reason);
    this.#endMessage();
    return null;
  }

  /** The event that the listener is being called for; null where the call is about no one event. */
  get eventAtHand(): EventAtHand | null {
    const event = this.#atHand;
    if (event === null) return null;
    const { hashes } = this.#index.scratch;
    const at = 2 * this.#blockAtHand;
    return {
      tier: this.#tierOf(event.medium) ?? null,
      loraName: event.type === "BlockStored" ? event.loraName : null,
      hashHigh: this.#blockAtHand < event.blockCount ? hashes[at + 1] : null,
    };
  }

  /** Decoder's callback. */
  onBlockStored(event: DecodedBlockStored): void {
    this.#atHand = event;
    this.#blockAtHand = 0;
    const place = this.#groups.ofStore(event);
    if (typeof place === "string") {
      this.#refuse(event, place);
      return;
    }
    const reason = localityOfStore(event);
    if (reason !== null) {
      this.#refuse(event, reason);
      return;
    }
    if (place.unknownKind !== null) this.#noteUnknownKind(place.unknownKind);
    if (this.#dropsLastBlock && !place.isMain && !this.doubts.has("dropped_block"))
      this.#drop("BlockStored", "dropped_block", 0);
    if (event.blockCount === 0) this.#drop("BlockStored", "no_blocks", 0);
    else this.#storeOn(this.#tierOf(event.medium), event, place);
  }

  /** A store of which nothing is indexed, for its group or its locality. */
  #refuse(event: DecodedBlockStored, reason: EventDropReason): void {
    if (event.locality !== null && event.locality !== "LOCAL") this.#outlivesClear = true;
    // The rank is set aside (C3): what waits names groups that are gone.
    if (reason === "group_limit") this.#unplaced.clear();
    if (reason === "partial_block") this.#signs.noteParts();
    this.#drop("BlockStored", reason, event.blockCount);
  }

  #storeOn(tier: Tier | undefined, event: DecodedBlockStored, place: GroupPlace): void {
    const { blockCount } = event;
    if (tier !== 0 && event.medium !== CLEARED_WITH_DEVICE) this.#outlivesClear = true;
    // A10: what was given up can be reached after all.
    if (this.#hasGivenUp && this.#index.hasGivenUpParent(this.#rankSlot, blockCount))
      this.lose("parked_evicted");
    if (tier === undefined) this.#drop("BlockStored", "unknown_medium", blockCount);
    else if (this.#blockSizes.areTooMany) this.#drop("BlockStored", "too_many_block_sizes", blockCount);
    else {
      if (!this.#signs.isQuiet) this.#showStore(event, place, tier);
      if (place.isMain) this.#storeMain(event, tier);
      else this.#storeGroup(event, tier, place);
    }
  }

  #storeMain(event: DecodedBlockStored, tier: Tier): void {
    const { blockCount, tokenCount } = event;
    if (tokenCount === 0) this.#storeKnown(tier, blockCount, "unresolved_placeholder");
    else if (tier > 0 && blockCount > 1 && event.groupIdx !== null)
      this.#drop("BlockStored", "unit_size_unknown", blockCount);
    else if (tokenCount === blockCount * event.blockSize) this.#store(event, tier);
    else this.#storeKnown(tier, blockCount, "misaligned_tokens");
  }

  /** A12, A15, A16: before the index is given the store. */
  #showStore(event: DecodedBlockStored, place: GroupPlace, tier: Tier): void {
    if (tier > 0) {
      this.#signs.noteBelowDevice();
      return;
    }
    const isKnown = (): boolean => this.#isFirstKnown(event, place);
    if (this.#signs.noteStore(event, place, isKnown)) this.#drop("BlockStored", "content_names", 0);
  }

  /** Whether any group of the rank has the first of the event's blocks; true where the index does not take its context. */
  #isFirstKnown(event: DecodedBlockStored, place: GroupPlace): boolean {
    const { hashes } = this.#index.scratch;
    try {
      const contextId = this.#contexts.open(this.#contextOf(event, place.contextBlockSize));
      return this.#index.hasBlock(contextId, this.#rankSlot, hashes[0], hashes[1]);
    } catch (error) {
      if (!(error instanceof CodedError)) throw error;
      return true;
    }
  }

  /** Decoder's callback. */
  onBlockRemoved(event: DecodedBlockRemoved): void {
    this.#atHand = event;
    this.#blockAtHand = 0;
    this.#remove(event, false);
  }

  /**
   * Decoder's callback. One call of the index, with the outcome of one for each: not where that depends on what the index
   * holds between two of them.
   */
  onRemovalsJoined(event: DecodedBlockRemoved): void {
    this.#atHand = event;
    this.#blockAtHand = 0;
    if (this.#contexts.isSingle && !this.#index.hasParked(this.#rankSlot)) {
      this.#remove(event, true);
      return;
    }
    const { hashes } = this.#index.scratch;
    const { blockCount } = event;
    event.blockCount = 1;
    for (let i = 0; i < blockCount; i += 1) {
      if (i > 0) hashes.copyWithin(0, 2 * i, 2 * i + 2);
      this.#remove(event, false);
    }
  }

  /** Takes in a removal, or (`isJoined`) one for each of its blocks. */
  #remove(event: DecodedBlockRemoved, isJoined: boolean): void {
    const { blockCount } = event;
    const slot = this.#groups.ofRemoval(event.groupIdx);
    if (typeof slot === "string") {
      this.#dropRemoved(slot, blockCount, isJoined);
      return;
    }
    // What waits may be what is removed: it is placed, or lost, before that.
    if (!this.#unplaced.isEmpty) this.#placeLeft();
    const tier = this.#tierOf(event.medium);
    if (tier === undefined || (event.locality !== null && event.locality !== "LOCAL")) {
      this.#dropRemoved("unplaced_removal", blockCount, isJoined);
      return;
    }
    const hadParked = !this.#contexts.isSingle && this.#index.hasParked(this.#rankSlot);
    const removed = this.#index.removeBlocks(slot, tier, blockCount);
    const uncertain = tier === 0 ? this.#repeats.noteRemoved(slot, blockCount) : 0;
    if (tier === 0 && !this.#signs.isQuiet)
      this.#signs.noteRemoved(slot, blockCount, slot === this.#rankSlot);
    if (isJoined) this.#countRemovedSingly(blockCount, removed);
    else this.#countRemoved(removed);
    const missing = blockCount - removed - uncertain;
    if (missing > 0) this.#dropRemoved("unknown_block", missing, isJoined);
    if (this.#contexts.isSingle) return;
    const ambiguous = this.#contexts.countRemoved(slot, tier, blockCount, hadParked);
    if (ambiguous > 0) this.#drop("BlockRemoved", "ambiguous_name", ambiguous);
  }

  /** Drops blocks of a removal, or as many removals: the first that is lost is the reason for others. */
  #dropRemoved(reason: EventDropReason, blockCount: number, isJoined: boolean): void {
    if (!isJoined) this.#drop("BlockRemoved", this.#reasonOfDrop(reason), blockCount);
    else for (let i = 0; i < blockCount; i += 1) this.#drop("BlockRemoved", this.#reasonOfDrop(reason), 1);
  }

  /** What a removal is dropped for, by what is known of the rank. */
  #reasonOfDrop(reason: EventDropReason): EventDropReason {
    if (reason === "unknown_group") return this.#reasonOfUnknownGroup();
    if (reason === "unknown_block") return this.#reasonOfMissing();
    if (reason === "unplaced_removal") return this.#isWhole ? "unplaced_removal" : "never_indexed";
    return reason;
  }

  /** A14 */
  #reasonOfUnknownGroup(): EventDropReason {
    return this.#isWhole ? "unannounced_group" : "unknown_group";
  }

  #reasonOfMissing(): EventDropReason {
    return !this.#isWhole || this.#hasGivenUp ? "unknown_block" : "unannounced_block";
  }

  /** Decoder's callback. */
  onAllBlocksCleared(): void {
    this.#atHand = null;
    this.#forget(true);
    this.#mayOverReport = false;
    this.doubts.endLosses(true);
    this.#historyFrom = this.#sequenceNumber;
    if (this.#outlivesClear) this.doubts.note("ambiguous_clear");
    this.#counters.eventsApplied.AllBlocksCleared += 1;
    this.#listener.eventApplied?.("AllBlocksCleared", 0);
  }

  /** Decoder's callback. */
  onFault(fault: EventFault): void {
    this.#atHand = null;
    const type = fault.eventType ?? "unknown";
    this.#counters.faults[fault.error.code] += 1;
    this.rareChanges += 1;
    this.#listener.eventDropped?.(type, fault.error.code, 0);
    this.lose(reasonOfFault(fault));
  }

  /** Decoder's callback. */
  onUnknownField(owner: FieldOwner, name: string): void {
    this.#counters.unknownFields[owner] += 1;
    this.rareChanges += 1;
    this.#listener.unknownField?.(owner, name);
    this.lose(UNKNOWN_FIELDS[owner].reason);
  }

  /** Whether everything that the engine ever told is in the index: then a removal must find its block. */
  get #isWhole(): boolean {
    return !this.mayUnderReport;
  }

  /** The tier of a medium; the word is nearly always that of the event before. */
  #tierOf(medium: string | null): Tier | undefined {
    if (medium === this.#lastMedium) return this.#lastTier;
    this.#lastMedium = medium;
    this.#lastTier = tierOfMedium(medium);
    return this.#lastTier;
  }

  /** A8 */
  #isBlockSizeTaken(blockSize: number): boolean {
    if (this.#blockSizes.take(blockSize)) return true;
    this.#groups.setAside();
    this.#unplaced.clear();
    this.#repeats.clear();
    this.doubts.end("other_block_size");
    return false;
  }

  #store(event: DecodedBlockStored, tier: Tier): void {
    const { blockCount } = event;
    let outcome: StoreOutcome | "other_block_size" | "too_many_block_sizes" | "content_names";
    try {
      outcome = this.#storeIn(this.#contextOf(event), event, tier);
    } catch (error) {
      // Keys, context or shape that the index does not take are the engine's doing; a failed assertion is ours and passes.
      if (!(error instanceof CodedError)) throw error;
      this.#drop("BlockStored", "index_refused", blockCount);
      return;
    }
    if (outcome === "stored") {
      this.#noteStored(blockCount, tier);
      if (tier === 0 && !this.#signs.isQuiet) this.#signs.noteStored(event, this.#contexts.last);
      if (tier === 0) this.#noteRoot(event, this.#rule !== "skip_each");
    } else if (outcome === "repeated") {
      this.#settleRepeated(event);
    } else if (outcome === "parked") {
      if (tier > 0) this.#hasParkedBelowDevice = true;
      this.#countStored(blockCount);
    } else {
      this.#drop("BlockStored", REASON_OF_REJECTION[outcome], blockCount);
    }
  }

  /** Stores in a context what may be stored there. */
  #storeIn(
    context: ContextKey,
    event: DecodedBlockStored,
    tier: Tier,
  ): StoreOutcome | "other_block_size" | "too_many_block_sizes" | "content_names" {
    const { blockCount, hasParent, parentLow, parentHigh } = event;
    const index = this.#index;
    const contextId = this.#contexts.open(context);
    if (hasParent && !this.#contentNames.isEmpty && this.#contentNames.has(parentLow, parentHigh))
      return "content_names";
    if (this.#blockSizes.isOther(event.blockSize)) {
      // Its parent has a name of the other size: it would wait for ever.
      if (hasParent && !index.hasBlock(contextId, this.#rankSlot, parentLow, parentHigh))
        return "other_block_size";
      this.#drop("BlockStored", "other_block_size", 0);
    }
    if (!this.#isBlockSizeTaken(event.blockSize)) return "too_many_block_sizes";
    const hasExtra = this.#digestExtras(event);
    const isMap = this.#decoder.isMapEvent;
    // What follows a parent is no report: most stores are not asked about further.
    const repeats = tier > 0 || hasParent ? "count" : this.#repeats.ruleFor(event, isMap, this.#mayMiss);
    this.#rule = repeats;
    return index.storeBlocks(
      contextId,
      this.#rankSlot,
      tier,
      blockCount,
      hasParent,
      parentLow,
      parentHigh,
      hasExtra,
      repeats,
    );
  }

  /** The index changed nothing, since all blocks were there: they are copies for certain, or may be a report (A9). */
  #settleRepeated(event: DecodedBlockStored): void {
    const { blockCount } = event;
    const isCertain = !this.#repeats.canBeReport(event);
    if (isCertain) this.#countStored(this.#index.storeKnownBlocks(this.#rankSlot, 0, blockCount));
    else this.#noteRepeated(blockCount, true);
    this.#noteRoot(event, isCertain);
  }

  #noteStored(blockCount: number, tier: Tier): void {
    let repeated = 0;
    if (this.#index.hasNotes) {
      this.#noteRenamed(blockCount);
      repeated = this.#noteRepeated(blockCount, false);
    }
    if (this.#index.attachedRenames.length > 0) this.#noteAttachedRenames();
    if (tier === 0) this.#repeats.noteStored(this.#rankSlot, blockCount);
    this.#countStored(blockCount - repeated);
  }

  /** Returns how many blocks of the store were there already (A9). */
  #noteRepeated(blockCount: number, isWhole: boolean): number {
    const { repeated, untracked } = this.#repeats.noteRepeated(this.#rankSlot, blockCount, isWhole);
    if (repeated > 0) this.#drop("BlockStored", "repeated_block", repeated);
    if (untracked > 0) this.#drop("BlockStored", "copies_untracked", 0);
    return repeated;
  }

  /** Keeps the names that came to mean other blocks (A12). */
  #noteRenamed(blockCount: number): void {
    const { notes, scratch } = this.#index;
    let isAny = false;
    for (let i = 0; i < blockCount; i += 1) {
      if ((notes[i] & RENAMED_BLOCK) === 0) continue;
      this.#contentNames.add(scratch.hashes[2 * i], scratch.hashes[2 * i + 1]);
      isAny = true;
    }
    if (isAny) this.#drop("BlockStored", "content_names", 0);
  }

  /** Of stores that waited, likewise. */
  #noteAttachedRenames(): void {
    const { attachedRenames } = this.#index;
    for (let i = 0; i < attachedRenames.length; i += 2)
      this.#contentNames.add(attachedRenames[i], attachedRenames[i + 1]);
    this.#drop("BlockStored", "content_names", 0);
  }

  #storeKnown(tier: Tier, blockCount: number, reason: "unresolved_placeholder" | "misaligned_tokens"): void {
    const known = this.#index.storeKnownBlocks(this.#rankSlot, tier, blockCount);
    const ambiguous = this.#contexts.isSingle ? 0 : this.#contexts.countNamed(blockCount);
    if (ambiguous > 0) this.#drop("BlockStored", "ambiguous_name", ambiguous);
    if (known > 0) this.#countStored(known);
    if (known > 0 && tier > 0) this.#drop("BlockStored", "unit_size_unknown", 0);
    if (known < blockCount) this.#drop("BlockStored", reason, blockCount - known);
  }

  /** The event's context. One object serves all events alike: almost every event of an engine has the same. */
  #contextOf(event: DecodedBlockStored, blockSize = event.blockSize): ContextKey {
    const last = this.#context;
    const loraName = event.loraName ?? (event.loraId === null ? null : `id:${event.loraId}`);
    if (last.blockSize !== blockSize || last.loraName !== loraName || last.lookahead !== event.lookahead) {
      const { lookahead } = event;
      this.#context = { model: last.model, loraName, blockSize, lookahead };
    }
    return this.#context;
  }

  /** A1. By name; what no name finds, by tokens if they divide into the blocks, or at the end of the message. */
  #storeGroup(event: DecodedBlockStored, tier: Tier, place: GroupPlace): void {
    const { blockCount } = event;
    const context = this.#contextOf(event, place.contextBlockSize);
    try {
      if (tier === 0 && this.#mayBeReported(event, context)) {
        this.#noteGroupReport(place.slot, blockCount);
        return;
      }
      if (tier === 0) this.#repeats.noteStored(place.slot, blockCount);
      const contextId = this.#contexts.open(context);
      if (!this.#contexts.isSingle && this.#contexts.isRunElsewhere(contextId, blockCount))
        this.#drop("BlockStored", "ambiguous_name", 0);
      const unplacedCount = this.#storeGroupIn(contextId, event, tier, place);
      if (unplacedCount > 0 && !this.#unplaced.keep(context, tier, place.slot, unplacedCount))
        this.#drop("BlockStored", "unplaced_block", unplacedCount);
    } catch (error) {
      if (!(error instanceof CodedError)) throw error;
      this.#drop("BlockStored", "index_refused", blockCount);
    }
  }

  /** Returns how many of the blocks no group has. */
  #storeGroupIn(contextId: number, event: DecodedBlockStored, tier: Tier, place: GroupPlace): number {
    const { blockCount, hasParent, parentLow, parentHigh } = event;
    // Keys of a coarse block lie where only a finer one's hash would tell.
    const hasTokens =
      event.tokenCount > 0 &&
      event.tokenCount === blockCount * event.blockSize &&
      (place.stride === 1 || event.extraKeys === null);
    const { outcome, unplacedCount } = this.#index.storeGroupBlocks(
      contextId,
      place.slot,
      tier,
      blockCount,
      place.stride,
      hasTokens,
      hasParent,
      parentLow,
      parentHigh,
      hasTokens && this.#digestExtras(event),
    );
    if (this.#index.attachedRenames.length > 0) this.#noteAttachedRenames();
    const placed = blockCount - unplacedCount;
    if (outcome !== "stored" && outcome !== "parked")
      this.#drop("BlockStored", REASON_OF_REJECTION[outcome], blockCount);
    else if (placed > 0) this.#countStored(placed);
    return unplacedCount;
  }

  /** Digests what a store's blocks depend on beside their tokens; whether there is anything (A6). */
  #digestExtras({ extraKeys, hasParent, cacheSalt, blockCount }: DecodedBlockStored): boolean {
    const salt = hasParent ? null : cacheSalt;
    if (extraKeys === null && salt === null) return false;
    const { loraName } = this.#context;
    const { extraDigests } = this.#index.scratch;
    return digestExtraKeys(extraKeys, loraName, salt, blockCount, this.#index, extraDigests);
  }

  /**
   * A9 for a group beside the main one. Where the main group's store of the same request came before, that one has shown
   * which it is.
   */
  #mayBeReported(event: DecodedBlockStored, context: ContextKey): boolean {
    if (!this.#repeats.looksLikeReport(event, this.#decoder.isMapEvent)) return false;
    const { hashes } = this.#index.scratch;
    if (this.#mayMiss) {
      const contextId = this.#index.openContext(context, this.#rankSlot);
      return this.#index.hasBlock(contextId, this.#rankSlot, hashes[0], hashes[1]);
    }
    return !this.#isRootCertainFor(event) && this.#repeats.canBeReport(event);
  }

  /** Where blocks are lost, such a store is not taken: a report of a group also names what the group let go. */
  #noteGroupReport(slot: number, blockCount: number): void {
    const { untracked } = this.#lacksBlocks
      ? { untracked: blockCount }
      : this.#repeats.noteUncertain(slot, blockCount);
    if (untracked > 0) this.#drop("BlockStored", "copies_untracked", untracked);
    else this.#drop("BlockStored", "repeated_block", blockCount);
  }

  #isRootCertainFor({ groupIdx, blockCount }: DecodedBlockStored): boolean {
    const { hashes } = this.#index.scratch;
    const isCertain = this.#root.isCertain(hashes, blockCount);
    return isCertain && this.#groups.isAfterMain(groupIdx);
  }

  #noteRoot({ hasParent, blockCount }: DecodedBlockStored, isCertain: boolean): void {
    if (!hasParent) this.#root.note(this.#index.scratch.hashes, blockCount, isCertain);
  }

  /** Places what waited, now that more of the message was applied; what no group has is lost. */
  #placeLeft(): void {
    const atHand = this.#atHand;
    this.#atHand = null;
    this.#unplaced.placeAll((placed, lost) => {
      if (placed > 0) this.#countStored(placed);
      if (lost > 0) this.#drop("BlockStored", "unplaced_block", lost);
    });
    this.#atHand = atHand;
  }

  #noteUnknownKind(kind: string): void {
    this.#drop("BlockStored", "unknown_kind", 0);
    this.#tellUnknownKind(kind);
  }

  #tellUnknownKind(kind: string): void {
    if (this.#unknownKinds.has(kind) || this.#unknownKinds.size >= UNKNOWN_KINDS_MAX) return;
    this.#unknownKinds.add(kind);
    this.#listener.unknownKind?.(kind);
  }

  // Each with names that the compiler sees: a name that varies is looked up in a table, four times an event.
  #countStored(blockCount: number): void {
    const { eventsApplied, blocksApplied } = this.#counters;
    eventsApplied.BlockStored += 1;
    blocksApplied.BlockStored += blockCount;
    this.#listener.eventApplied?.("BlockStored", blockCount);
  }

  #countRemoved(blockCount: number): void {
    const { eventsApplied, blocksApplied } = this.#counters;
    eventsApplied.BlockRemoved += 1;
    blocksApplied.BlockRemoved += blockCount;
    this.#listener.eventApplied?.("BlockRemoved", blockCount);
  }

  /** As `countRemoved` for each of some removals of one block; the index's notes are those of all. */
  #countRemovedSingly(eventCount: number, removedCount: number): void {
    const { eventsApplied, blocksApplied } = this.#counters;
    const { notes } = this.#index;
    eventsApplied.BlockRemoved += eventCount;
    blocksApplied.BlockRemoved += removedCount;
    if (this.#listener.eventApplied === undefined) return;
    for (let i = 0; i < eventCount; i += 1) {
      this.#blockAtHand = i;
      this.#listener.eventApplied("BlockRemoved", notes[i] === MISSING_BLOCK ? 0 : 1);
    }
    this.#blockAtHand = 0;
  }

  /**
   * Whether blocks that the engine holds may be missing from the index. A kind without a rule costs matches and no block. Neither
   * do parts of blocks, where no group of states lets a match end with one.
   */
  get #lacksBlocks(): boolean {
    if (!this.mayUnderReport) return false;
    const hasParts = this.doubts.has("partial_block");
    const harmless = Number(this.doubts.has("unknown_kind")) + Number(hasParts);
    return this.doubts.lossCount > harmless || (hasParts && this.#groups.hasStates);
  }

  /** Whether the engine may hold blocks that the index lacks, for another reason than uncertain copies (A9). */
  get #mayMiss(): boolean {
    return this.#lacksBlocks || !this.#unplaced.isEmpty || this.#index.hasParked(this.#rankSlot);
  }

  /** Begins and ends the conditions that follow from what the rank's rooms hold (A9, A10, A15, A16). */
  #settleConditions(): void {
    this.#conditions.settle(
      this.#index.hasParked(this.#rankSlot),
      this.#repeats.isInDoubt,
      this.#signs.isDrafterUnknown,
      this.#signs.mayHideGroups,
    );
  }

  /** Empties the rank. */
  #forget(keepsGroups: boolean): void {
    this.#index.clearRank(this.#rankSlot);
    this.#groups.reset(keepsGroups);
    this.#unplaced.clear();
    this.#repeats.clear();
    this.#contentNames.clear();
    this.#contexts.clear();
    this.#signs.clear(keepsGroups);
    this.#blockSizes.clear();
    this.#hasParkedBelowDevice = false;
    this.#hasGivenUp = false;
    this.#settleConditions();
  }

  #drop(type: EventType, reason: EventDropReason, blockCount: number): void {
    this.#counters.eventsDropped[reason] += 1;
    this.rareChanges += 1;
    this.#listener.eventDropped?.(type, reason, blockCount);
    const lost = EVENT_DROPS[reason].reason;
    if (lost !== null) this.lose(lost);
  }
}

const REASON_OF_REJECTION = {
  other_block_size: "other_block_size",
  too_many_block_sizes: "too_many_block_sizes",
  content_names: "content_names",
  // A group's store has no rule for repeated blocks.
  repeated: "repeated_block",
  rejected_park_full: "park_full",
  rejected_memory_limit: "index_memory_limit",
  rejected_too_many_blocks: "too_many_blocks",
} as const satisfies Record<string, EventDropReason>;

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
