/**
 * Removals of one block each, joined by the decoder or one by one: no state or report of the applier depends on it.
 * Random messages: names that are not there, names twice, copies, tiers, groups, adapters with the same names, stores that
 * wait for their parents.
 */
import fc from "fast-check";
import { expect, test } from "vitest";
import { PrefixIndex } from "../prefix-index/prefix-index.ts";
import { PrefixReader } from "../prefix-index/prefix-reader.ts";
import { EventBatchDecoder, type EventSink } from "../wire/event-batch-decoder.ts";
import { encodeEventBatch } from "../wire/event-batch-encoder.ts";
import type { BatchHeader, KvEvent } from "../wire/events.ts";
import { EventApplier } from "./event-applier.ts";
import { createSyncCounters } from "./sync-report.ts";

const RANK = 3;
const NAMES = 12;
const BLOCK_SIZE = 2;

/** Gives every sink what a sink gets that takes nothing joined. */
class ApartDecoder extends EventBatchDecoder {
  override decode(payload: Uint8Array, sink: EventSink): BatchHeader {
    return super.decode(payload, {
      onBlockStored: (event) => {
        sink.onBlockStored(event);
      },
      onBlockRemoved: (event) => {
        sink.onBlockRemoved(event);
      },
      onAllBlocksCleared: () => {
        sink.onAllBlocksCleared();
      },
      onFault: (fault) => {
        sink.onFault(fault);
      },
      onUnknownField: (owner, name) => {
        sink.onUnknownField(owner, name);
      },
    });
  }
}

/** As wide as engines' names: narrow integers are not joined. */
function nameOf(block: number): bigint {
  return BigInt.asUintN(64, BigInt(block + 1) * 0x9e37_79b9_7f4a_7c15n);
}

const medium = fc.constantFrom("GPU", "GPU", "GPU", "CPU", "unheard of");
const group = fc.constantFrom(0, 0, 0, 0, 1, 2);
const removal = fc
  .record({ block: fc.nat(NAMES), medium, groupIdx: group })
  .map(
    ({ block, ...fields }): KvEvent => ({ type: "BlockRemoved", blockHashes: [nameOf(block)], ...fields }),
  );
/** Removals that are equal but for their block. */
const eviction = fc
  .record({ blocks: fc.array(fc.nat(NAMES), { minLength: 2, maxLength: 8 }), medium, groupIdx: group })
  .map(({ blocks, ...fields }): KvEvent[] =>
    blocks.map((block) => ({ type: "BlockRemoved", blockHashes: [nameOf(block)], ...fields })),
  );
const store = fc
  .record({
    first: fc.nat(NAMES - 4),
    count: fc.integer({ min: 1, max: 4 }),
    isRoot: fc.boolean(),
    medium,
    loraName: fc.constantFrom(null, null, null, "adapter"),
    groupIdx: group,
  })
  .map(
    ({ first, count, isRoot, ...fields }): KvEvent => ({
      type: "BlockStored",
      blockHashes: Array.from({ length: count }, (_, i) => nameOf(first + i)),
      parentBlockHash: isRoot || first === 0 ? null : nameOf(first - 1),
      tokenIds: Array.from({ length: count * BLOCK_SIZE }, (_, i) => first * BLOCK_SIZE + i),
      blockSize: BLOCK_SIZE,
      kvCacheSpecKind: "full_attention",
      ...fields,
    }),
  );
const message = fc
  .array(
    fc.oneof(
      store.map((event) => [event]),
      removal.map((event) => [event]),
      eviction,
      eviction,
    ),
    {
      maxLength: 5,
    },
  )
  .map((parts) => parts.flat());

/** A stream, and what it says of itself. */
class Follower {
  readonly index = PrefixIndex.create({ seed: 1, secret: [1, 2, 3, 4] });
  readonly counters = createSyncCounters();
  readonly heard: string[] = [];
  readonly #reader = PrefixReader.attach(this.index.shared, { tokensMax: 16 });
  readonly #applier: EventApplier;

  constructor(Decoder: typeof EventBatchDecoder) {
    this.#applier = new EventApplier(
      { rankSlot: RANK, model: "m", dpRank: 0, hasReplay: true },
      {
        index: this.index,
        decoder: new Decoder(this.index.scratch),
        counters: this.counters,
        listener: {
          eventApplied: (type, blocks) => this.heard.push(`applied ${type} ${blocks}`),
          eventDropped: (type, reason, blocks) => this.heard.push(`dropped ${type} ${reason} ${blocks}`),
        },
      },
    );
    this.#applier.beginAt(0, true);
  }

  apply(sequenceNumber: number, events: readonly KvEvent[]): unknown {
    this.heard.length = 0;
    const batch = { timestampSeconds: 1_757_500_000, events, dataParallelRank: 0 };
    const header = this.#applier.apply(sequenceNumber, encodeEventBatch(batch, "vllm-0.29"));
    const { index, counters } = this;
    const state = this.#applier.state();
    // Of the removals of one message all are counted before the first is dropped.
    const heard = [...this.heard].sort();
    return {
      header,
      counters,
      heard,
      state,
      stats: index.stats(),
      parked: index.copyParked(),
      rows: this.#rows(),
    };
  }

  #rows(): string[] {
    const out = new Uint32Array(5 * 256);
    const lines = this.index.contexts().flatMap(({ id }) => {
      const { rows } = this.#reader.dump(id, 0, out);
      return Array.from({ length: rows }, (_, i) => `${id}: ${out.subarray(5 * i, 5 * i + 5).join(" ")}`);
    });
    return lines.sort();
  }
}

test("removals that the decoder joins do and count what they do one by one", () => {
  fc.assert(
    fc.property(fc.array(message, { maxLength: 8 }), (messages) => {
      const joined = new Follower(EventBatchDecoder);
      const apart = new Follower(ApartDecoder);
      messages.forEach((events, i) => {
        expect(joined.apply(i, events)).toEqual(apart.apply(i, events));
        expect(joined.index.check()).toEqual([]);
      });
    }),
    { numRuns: 300 },
  );
});
