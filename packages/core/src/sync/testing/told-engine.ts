/**
 * Tests only: one rank's applier on an index, its events in their order, and its trust after them.
 *
 * Blocks are named by a number and have that number as their two tokens.
 */
import type { IndexWriter } from "../../prefix-index/contract.ts";
import type { Dialect } from "../../wire/dialect.ts";
import { EventBatchDecoder } from "../../wire/event-batch-decoder.ts";
import { encodeEventBatch } from "../../wire/event-batch-encoder.ts";
import type { BlockStored, KvEvent } from "../../wire/events.ts";
import { EventApplier } from "../event-applier.ts";
import type { ApplierState } from "../stream-position.ts";
import { createSyncCounters, type SyncCounters } from "../sync-report.ts";
import type { SyncSettings } from "../sync-settings.ts";

const RANK = 3;

/** See the head of this file. */
export class ToldEngine {
  readonly counters: SyncCounters = createSyncCounters();
  readonly #index: IndexWriter;
  readonly #settings: Partial<SyncSettings>;
  readonly #dialect: Dialect;
  /** Kinds without a rule that the listener of the applier at hand was told of. */
  kinds: string[] = [];
  #applier: EventApplier;
  #next = 0;

  constructor(index: IndexWriter, settings: Partial<SyncSettings> = {}, dialect: Dialect = "vllm-0.29") {
    index.clearRank(RANK);
    this.#index = index;
    this.#settings = settings;
    this.#dialect = dialect;
    this.#applier = this.#make();
  }

  /** A message. */
  says(...events: KvEvent[]): this {
    const batch = { timestampSeconds: 1.5, events, dataParallelRank: 0 };
    this.#applier.apply(this.#next++, encodeEventBatch(batch, this.#dialect));
    return this;
  }

  /** A message whose last byte is missing. */
  breaksOff(...events: KvEvent[]): this {
    const batch = { timestampSeconds: 1.5, events, dataParallelRank: 0 };
    this.#applier.apply(this.#next++, encodeEventBatch(batch, this.#dialect).subarray(0, -1));
    return this;
  }

  /** Goes on from the state as plain data, as after a restart of the follower. */
  isRestored(): this {
    const state = JSON.parse(JSON.stringify(this.#applier.state())) as ApplierState;
    this.#applier = this.#make();
    this.#applier.restore(state, this.#next - 1);
    return this;
  }

  /** Another engine begins. */
  isRestarted(): this {
    this.#applier.beginAt(this.#next, true);
    return this;
  }

  /** Trust and its reason. */
  get trust(): string {
    const { trust, reason } = this.#applier.doubts;
    return reason === null ? trust : `${trust}: ${reason}`;
  }

  /** Everything that goes along with the rank. */
  get state(): ApplierState {
    return this.#applier.state();
  }

  #make(): EventApplier {
    const kinds: string[] = [];
    this.kinds = kinds;
    const settings = { rankSlot: RANK, model: "m", dpRank: 0, hasReplay: true, reportMode: "delta" } as const;
    return new EventApplier(
      { ...settings, ...this.#settings },
      {
        index: this.#index,
        decoder: new EventBatchDecoder(this.#index.scratch),
        counters: this.counters,
        listener: { unknownKind: (kind) => kinds.push(kind) },
      },
    );
  }
}

/** A store of these blocks, from the root unless given a parent. */
export function stored(names: number | readonly number[], fields: Partial<BlockStored> = {}): BlockStored {
  const all = [names].flat();
  return {
    type: "BlockStored",
    blockHashes: all.map(BigInt),
    parentBlockHash: null,
    tokenIds: all.flatMap((name) => [name, name]),
    blockSize: 2,
    medium: "GPU",
    ...fields,
  };
}

/** A removal of these blocks. */
export function removed(names: number | readonly number[], fields: Partial<KvEvent> = {}): KvEvent {
  return {
    type: "BlockRemoved",
    blockHashes: [names].flat().map(BigInt),
    medium: "GPU",
    ...fields,
  } as KvEvent;
}

/** The parent of a store. */
export function behind(name: number): Partial<BlockStored> {
  return { parentBlockHash: BigInt(name) };
}
