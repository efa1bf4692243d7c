/**
 * Claims about every batch and about every sequence of bytes.
 *
 * Batches are random in all that the protocol leaves open: dialect, event types, widths of
 * integers, forms of hashes, which optional fields are there. There are three oracles: the plain
 * events that were encoded, a naive decoder of thirty lines over a general msgpack library, and the
 * decoder itself. The last gets other spellings of the same batch.
 *
 * Hostile bytes are made from valid ones by cutting, flipping and replacing an event by foreign
 * values. Random bytes would fail at the first header. The claims: a coded error or an account of
 * every event, nothing read outside the payload, and time linear in its length.
 *
 * Numbers in titles: M of msgpack-cursor.ts, D of event-batch-decoder.ts, R of event-reader.ts, T of known-tails.ts.
 */
import { decode as decodeGenerally, encode } from "@msgpack/msgpack";
import fc from "fast-check";
import { describe, expect, test } from "vitest";
import { type Dialect, DIALECTS } from "./dialect.ts";
import { EventBatchDecoder, type EventSink } from "./event-batch-decoder.ts";
import { encodeEventBatch } from "./event-batch-encoder.ts";
import type { BatchHeader, BlockStored, EventBatch, ExtraKey, ExtraKeys, KvEvent } from "./events.ts";
import { normalizeEvent } from "./plain-event.ts";
import { RecordingSink } from "./recording-sink.ts";
import { fromHex, GOLDEN_VECTORS } from "./vectors/golden-vectors.ts";
import { WireError } from "./wire-error.ts";

const TOKENS_MAX = 256;
const HASHES_MAX = 32;
/** Blocks of a random event. */
const BLOCKS_MAX = 6;

interface Outcome {
  readonly events: readonly KvEvent[];
  readonly faultIndexes: readonly number[];
  readonly header: BatchHeader | null;
  readonly error: WireError | null;
}

const scratch = { tokens: new Uint32Array(TOKENS_MAX), hashes: new Uint32Array(HASHES_MAX * 2) };
/** One decoder for all payloads of this file: nothing of one may be left for the next. */
const decoder = new EventBatchDecoder(scratch);

/** Decodes, and takes a WireError as an outcome; anything else that is thrown fails the test. */
function outcomeOf(payload: Uint8Array): Outcome {
  const sink = new RecordingSink(scratch);
  let header: BatchHeader | null = null;
  let error: WireError | null = null;
  try {
    header = { ...decoder.decode(payload, sink) };
  } catch (thrown) {
    if (!(thrown instanceof WireError)) throw thrown;
    error = thrown;
  }
  return { events: sink.events, faultIndexes: sink.faults.map((fault) => fault.eventIndex), header, error };
}

const u64 = fc.bigInt({ min: 0n, max: 2n ** 64n - 1n });
const i64 = fc.bigInt({ min: -(2n ** 63n), max: 2n ** 63n - 1n });
const digest = fc
  .constantFrom(16, 32)
  .chain((length) => fc.uint8Array({ minLength: length, maxLength: length }));
const hash = fc.oneof(u64, i64, fc.bigInt({ min: -40n, max: 300n }), digest);
const u32 = fc.oneof(fc.nat(300), fc.nat(70_000), fc.nat(0xffff_ffff));
const text = fc.oneof(
  fc.constantFrom("GPU", "CPU", "full_attention", ""),
  fc.string({ unit: "grapheme", maxLength: 20 }),
  fc.string({ minLength: 30, maxLength: 40 }),
);
const nullable = <Value>(value: fc.Arbitrary<Value>): fc.Arbitrary<Value | null> => fc.option(value);

const scalarKey: fc.Arbitrary<ExtraKey> = fc.oneof(
  text,
  fc.integer({ min: -(2 ** 40), max: 2 ** 40 }),
  fc.uint8Array({ maxLength: 40 }),
);
const extraKey = fc.oneof(scalarKey, fc.tuple(text, fc.integer({ min: -100, max: 100 })));

const stored: fc.Arbitrary<BlockStored> = fc
  .record({
    blockHashes: fc.array(hash, { maxLength: BLOCKS_MAX }),
    parentBlockHash: nullable(hash),
    tokens: fc.array(u32, { maxLength: 40 }),
    isBigram: fc.boolean(),
    /** Tokens of blocks of two that the hashes divide into, and those behind them. */
    aligned: fc.option(fc.array(u32, { minLength: 2 * BLOCKS_MAX + 4, maxLength: 2 * BLOCKS_MAX + 4 })),
    lookahead: fc.nat(4),
    blockSize: u32,
    loraId: nullable(fc.integer({ min: -10, max: 2 ** 40 })),
    medium: nullable(text),
    loraName: nullable(text),
    keys: fc.array(nullable(fc.array(extraKey, { minLength: 1, maxLength: 3 })), {
      minLength: BLOCKS_MAX,
      maxLength: BLOCKS_MAX,
    }),
    hasKeys: fc.boolean(),
    groupIdx: nullable(u32),
    kvCacheSpecKind: nullable(text),
    kvCacheSpecSlidingWindow: nullable(u32),
    locality: nullable(text),
    ownership: nullable(text),
    sessionId: nullable(text),
    cacheSalt: nullable(text),
  })
  .map(({ tokens, isBigram, aligned, lookahead, keys, hasKeys, ...fields }) => {
    const blockCount = fields.blockHashes.length;
    const common = {
      type: "BlockStored" as const,
      ...fields,
      extraKeys: hasKeys ? keys.slice(0, blockCount) : null,
    };
    if (aligned !== null)
      return {
        ...common,
        blockSize: 2,
        tokenIds: aligned.slice(0, 2 * blockCount),
        lookaheadTokenIds: fields.blockHashes.map((_, i) => aligned.slice(2 * i + 2, 2 * i + 2 + lookahead)),
      };
    const pairs = tokens.slice(1).map((token, index) => [tokens[index], token] as const);
    return { ...common, tokenIds: isBigram ? pairs : tokens };
  });

const removed: fc.Arbitrary<KvEvent> = fc.record({
  type: fc.constant("BlockRemoved" as const),
  blockHashes: fc.array(hash, { maxLength: BLOCKS_MAX }),
  medium: nullable(text),
  groupIdx: nullable(u32),
  locality: nullable(text),
  ownership: nullable(text),
});

const event: fc.Arbitrary<KvEvent> = fc.oneof(
  { weight: 4, arbitrary: stored },
  { weight: 3, arbitrary: removed },
  { weight: 1, arbitrary: fc.constant({ type: "AllBlocksCleared" as const }) },
);

const batch: fc.Arbitrary<EventBatch> = fc.record({
  timestampSeconds: fc.double({ min: 0, max: 2 ** 53, noNaN: true }),
  events: fc.array(event, { maxLength: 5 }),
  dataParallelRank: nullable(fc.nat(1023)),
});

const dialect = fc.constantFrom(...(Object.keys(DIALECTS) as Dialect[]));
const richest = "vllm-0.33" satisfies Dialect;
const mapDialect = fc.constantFrom<Dialect>("vllm-0.29", richest);

/** Fields that vLLM's longest array has. */
function withoutMapFields(plain: KvEvent): KvEvent {
  if (plain.type === "AllBlocksCleared") return plain;
  const cut = { ...plain, locality: null, ownership: null };
  return cut.type === "BlockStored"
    ? { ...cut, sessionId: null, cacheSalt: null, lookaheadTokenIds: null }
    : cut;
}

describe("every batch", () => {
  test("encoded in the richest dialect and decoded again, it is what it was", () => {
    fc.assert(
      fc.property(batch, (plain) => {
        const outcome = outcomeOf(encodeEventBatch(plain, richest));
        const expected = plain.events
          .map((one) => (one.type === "BlockStored" ? { ...one, cacheSalt: null } : one))
          .map(normalizeEvent);
        expect(outcome.error).toBeNull();
        expect(outcome.faultIndexes).toEqual([]);
        expect(outcome.events).toEqual(expected);
        expect(outcome.header?.timestampSeconds).toBe(plain.timestampSeconds);
        expect(outcome.header?.dataParallelRank).toBe(plain.dataParallelRank);
      }),
    );
  });

  test("arrays and maps of the same events decode alike", () => {
    fc.assert(
      fc.property(batch, (plain) => {
        const events = plain.events.map(withoutMapFields);
        const asArrays = outcomeOf(encodeEventBatch({ ...plain, events }, "vllm-0.21"));
        const asMaps = outcomeOf(encodeEventBatch({ ...plain, events }, "vllm-0.24"));
        expect(asArrays.error).toBeNull();
        expect(asArrays.events).toEqual(asMaps.events);
        expect(asArrays.events).toEqual(events.map(normalizeEvent));
      }),
    );
  });

  test("in every dialect, it decodes to what a general msgpack decoder makes of the same bytes", () => {
    fc.assert(
      fc.property(batch, dialect, (plain, spelling) => {
        const payload = encodeEventBatch(plain, spelling);
        const outcome = outcomeOf(payload);
        const [timestamp, events, rank] = decodeGenerally(payload, { useBigInt64: true }) as unknown[];
        expect(outcome.error).toBeNull();
        expect(outcome.faultIndexes).toEqual([]);
        expect(outcome.events).toEqual((events as unknown[]).map(naiveEvent));
        expect(outcome.header?.timestampSeconds).toBe(timestamp);
        expect(outcome.header?.dataParallelRank).toBe(rank ?? null);
      }),
    );
  });

  test("a foreign encoder's spelling of the same values decodes alike", () => {
    fc.assert(
      fc.property(batch, mapDialect, (plain, spelling) => {
        const payload = encodeEventBatch(plain, spelling);
        const again = encode(decodeGenerally(payload, { useBigInt64: true }), { useBigInt64: true });
        expect(outcomeOf(again)).toEqual(outcomeOf(payload));
      }),
    );
  });
});

/** Decodes and stops wherever `stops` says, with another payload decoded in each pause. */
function outcomeInParts(payload: Uint8Array, stops: readonly boolean[], between: Uint8Array): Outcome {
  const sink = new RecordingSink(scratch);
  let asked = 0;
  const stopping: EventSink = {
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
    isTurnOver: () => stops[asked++ % stops.length],
  };
  let at = decoder.begin(payload, stopping);
  while ("isUnfinished" in at) {
    outcomeOf(between);
    at = decoder.proceed(at);
  }
  const faultIndexes = sink.faults.map(({ eventIndex }) => eventIndex);
  return { events: sink.events, faultIndexes, header: at, error: null };
}

/** Decodes for a sink that takes removals joined, and takes each apart again. */
function outcomeJoined(payload: Uint8Array): Outcome {
  const sink = new RecordingSink(scratch);
  let error: WireError | null = null;
  let header: BatchHeader | null = null;
  const joining: EventSink = {
    onBlockStored: (event) => {
      sink.onBlockStored(event);
    },
    onBlockRemoved: (event) => {
      sink.onBlockRemoved(event);
    },
    onRemovalsJoined: (event) => {
      for (let i = 0; i < event.blockCount; i++) {
        scratch.hashes.copyWithin(0, 2 * i, 2 * i + 2);
        sink.onBlockRemoved({ ...event, blockCount: 1 });
      }
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
  };
  try {
    header = { ...decoder.decode(payload, joining) };
  } catch (thrown) {
    if (!(thrown instanceof WireError)) throw thrown;
    error = thrown;
  }
  return { events: sink.events, faultIndexes: sink.faults.map((fault) => fault.eventIndex), header, error };
}

const validPayload = fc.oneof(
  fc.tuple(batch, dialect).map(([plain, spelling]) => encodeEventBatch(plain, spelling)),
  fc.constantFrom(...GOLDEN_VECTORS.map(({ hex }) => fromHex(hex))),
);

/** The payload between bytes that would change what is decoded if they were read. */
function surrounded(payload: Uint8Array, filler: number): Uint8Array {
  const bytes = new Uint8Array(payload.byteLength + 64).fill(filler);
  bytes.set(payload, 32);
  return bytes.subarray(32, 32 + payload.byteLength);
}

/** Every event is accounted for, or the payload was refused. */
function expectAccount(outcome: Outcome): void {
  if (outcome.header === null) {
    expect(outcome.error).toBeInstanceOf(WireError);
    return;
  }
  const { eventCount, faultCount } = outcome.header;
  expect([outcome.events.length, outcome.faultIndexes.length]).toEqual([eventCount - faultCount, faultCount]);
}

test("a batch decoded in parts, others between them, gives the events of one decoded at once (D6)", () => {
  const stops = fc.array(fc.boolean(), { minLength: 1, maxLength: 5 });
  fc.assert(
    fc.property(validPayload, validPayload, stops, (payload, between, where) => {
      expect(outcomeInParts(payload, where, between)).toEqual(outcomeOf(payload));
    }),
  );
});

const eviction: fc.Arbitrary<KvEvent[]> = fc
  .tuple(fc.array(hash, { minLength: 1, maxLength: 6 }), nullable(text), nullable(u32), fc.boolean())
  .map(([hashes, medium, groupIdx, isInPairs]) =>
    hashes.map((each) => ({
      type: "BlockRemoved",
      blockHashes: isInPairs ? [each, each] : [each],
      medium,
      groupIdx,
    })),
  );

test("a sink that takes removals joined gets the events of one that does not, whole or cut (D1)", () => {
  const events = fc.array(
    fc.oneof(
      stored.map((event) => [event]),
      eviction,
      eviction,
    ),
    { maxLength: 4 },
  );
  const cut = fc.double({ min: 0, max: 1, noNaN: true });
  fc.assert(
    fc.property(events, dialect, cut, fc.boolean(), (parts, spelling, part, isCut) => {
      const plain = { timestampSeconds: 1, events: parts.flat(), dataParallelRank: 0 };
      const payload = encodeEventBatch(plain, spelling);
      const bytes = isCut ? payload.subarray(0, Math.floor(part * payload.byteLength)) : payload;
      const [one, other] = [outcomeJoined(bytes), outcomeOf(bytes)];
      expect({ ...one, error: one.error?.code }).toEqual({ ...other, error: other.error?.code });
    }),
    { numRuns: 1_000 },
  );
});

describe("hostile bytes", () => {
  test("each vector cut anywhere is refused, after the events that were whole", () => {
    for (const { hex } of GOLDEN_VECTORS) {
      const payload = fromHex(hex);
      const whole = outcomeOf(payload).events;
      for (let length = 0; length < payload.byteLength; length += 1) {
        const outcome = outcomeOf(payload.subarray(0, length));
        expect(outcome.error?.code).toBe("truncated");
        expect(outcome.faultIndexes).toEqual([]);
        expect(outcome.events).toEqual(whole.slice(0, outcome.events.length));
      }
    }
  });

  test("any batch cut anywhere is refused, after the events that were whole (D3)", () => {
    fc.assert(
      fc.property(
        validPayload,
        fc.double({ min: 0, max: 1, maxExcluded: true, noNaN: true }),
        (payload, part) => {
          const outcome = outcomeOf(payload.subarray(0, Math.floor(payload.byteLength * part)));
          const whole = outcomeOf(payload).events;
          expect(outcome.error?.code).toBe("truncated");
          expect(outcome.events).toEqual(whole.slice(0, outcome.events.length));
        },
      ),
      { numRuns: 500 },
    );
  });

  test("flipped bytes give a coded error or an account of every event, whatever lies around the payload (D1, M1)", () => {
    const flips = fc.array(fc.tuple(fc.nat(), fc.integer({ min: 1, max: 255 })), {
      minLength: 1,
      maxLength: 4,
    });
    fc.assert(
      fc.property(validPayload, flips, (payload, changes) => {
        const bytes = Uint8Array.from(payload);
        for (const [at, mask] of changes) bytes[at % bytes.byteLength] ^= mask;
        const outcome = outcomeOf(bytes);
        expectAccount(outcome);
        for (const filler of [0x00, 0x93, 0xff]) {
          expect(outcomeOf(surrounded(bytes, filler))).toEqual(outcome);
        }
      }),
      { numRuns: 2000 },
    );
  });

  test("each byte of each vector, with each bit flipped and as each long format, gives a coded error or an account of every event", () => {
    for (const { hex } of GOLDEN_VECTORS) {
      const bytes = fromHex(hex);
      for (let at = 0; at < bytes.byteLength; at += 1) {
        const original = bytes[at];
        const flipped = Array.from({ length: 8 }, (_, bit) => original ^ (1 << bit));
        const formats = Array.from({ length: 32 }, (_, row) => 0xc0 + row);
        for (const value of [...flipped, ...formats]) {
          bytes[at] = value;
          expectAccount(outcomeOf(bytes));
        }
        bytes[at] = original;
      }
    }
  });

  test("a decoder that knows an event's tail reads a changed one as a new decoder does, fault and place included (T1)", () => {
    const account = (one: EventBatchDecoder, payload: Uint8Array): unknown => {
      const sink = new RecordingSink(scratch);
      try {
        const header = one.decode(payload, sink);
        return [sink.events, sink.faults, { ...header }];
      } catch (error) {
        if (!(error instanceof WireError)) throw error;
        return [sink.events, sink.faults, error.message];
      }
    };
    for (const { hex } of GOLDEN_VECTORS) {
      const known = fromHex(hex);
      const bytes = Uint8Array.from(known);
      for (let at = 0; at < bytes.byteLength; at += 1) {
        for (const change of [1, 0x20, 0x80]) {
          account(decoder, known);
          bytes[at] = known[at] ^ change;
          expect(account(decoder, bytes)).toEqual(account(new EventBatchDecoder(scratch), bytes));
        }
        bytes[at] = known[at];
      }
    }
  });

  test("a foreign value in an event's place costs that event alone (D1, D2, R1)", () => {
    const foreign = fc.anything({ withNullPrototype: false, withBigInt: false, maxDepth: 3 }).map(encodable);
    fc.assert(
      fc.property(batch, foreign, fc.nat(), (plain, value, where) => {
        const encoded = plain.events.map((one) =>
          encodeEventBatch({ timestampSeconds: 0, events: [one] }, "vllm-0.29"),
        );
        // Behind the batch's header, the float and the header of one event stands the event.
        const bodies = encoded.map((bytes) => bytes.subarray(11));
        const at = where % (bodies.length + 1);
        bodies.splice(at, 0, encode(value));
        const head = Uint8Array.of(0x92, 0xcb, 0, 0, 0, 0, 0, 0, 0, 0, 0x90 | bodies.length);
        const outcome = outcomeOf(Uint8Array.from([head, ...bodies].flatMap((bytes) => Array.from(bytes))));
        expect(outcome.error).toBeNull();
        expect(outcome.faultIndexes).toEqual([at]);
        expect(outcome.events).toEqual(outcomeOf(encodeEventBatch(plain, "vllm-0.29")).events);
      }),
    );
  });

  test("nesting of any depth and batches of nothing but faults cost time in proportion to their bytes (D4, M4)", () => {
    const size = 1 << 20;
    const head = fromHex("92cb41da305498100000");
    const withHead = (...bytes: readonly Uint8Array[]): Uint8Array =>
      Uint8Array.from([head, ...bytes].flatMap((part) => Array.from(part)));
    const deep = new Uint8Array(size).fill(0x91);
    deep[size - 1] = 0xc0;
    const hostile = [
      withHead(fromHex("91"), deep),
      // A store whose hashes, tokens or extra keys are the nest.
      withHead(fromHex("9196ab426c6f636b53746f726564"), deep, fromHex("c0c0c0c0")),
      withHead(fromHex("9196ab426c6f636b53746f72656490c0"), deep, fromHex("c0c0")),
      withHead(fromHex("9199ab426c6f636b53746f72656490c09000c0c0c0"), deep),
      // As many bad events as a batch may have.
      withHead(fromHex("dd00004000"), new Uint8Array(16_384).fill(0xc0)),
    ];
    const benign = encodeEventBatch(
      {
        timestampSeconds: 0,
        events: Array.from({ length: size / 256 }, () => ({
          type: "BlockStored",
          blockHashes: [2n ** 60n],
          parentBlockHash: null,
          tokenIds: Uint32Array.from({ length: 16 }, (_, index) => 1000 * index),
          blockSize: 16,
          medium: "GPU",
        })),
      },
      "vllm-0.29",
    );
    const nanosecondsPerByte = (payload: Uint8Array): number => {
      const runs = Array.from({ length: 5 }, () => {
        const start = process.hrtime.bigint();
        outcomeOf(payload);
        return Number(process.hrtime.bigint() - start) / payload.byteLength;
      });
      return Math.min(...runs);
    };
    const usual = nanosecondsPerByte(benign);
    for (const payload of hostile.slice(0, 4)) {
      expect(outcomeOf(payload).faultIndexes).toEqual([0]);
      expect(nanosecondsPerByte(payload) / usual).toBeLessThan(5);
    }
    // A fault makes an error, so that a byte of this batch costs as much as a few hundred others; the limit on faults bounds it.
    const [, , , , faults] = hostile;
    expect(outcomeOf(faults).faultIndexes.length).toBe(16_384);
    expect((nanosecondsPerByte(faults) * faults.byteLength) / (usual * benign.byteLength)).toBeLessThan(50);
  });
});

/** What a general msgpack encoder takes of anything, and what is no event. */
function encodable(value: unknown): unknown {
  if (typeof value === "number" || typeof value === "string" || typeof value === "boolean") return value;
  if (Array.isArray(value)) return value.map(encodable);
  if (typeof value === "object" && value !== null) {
    return Object.fromEntries(Object.entries(value).map(([key, inner]) => [`_${key}`, encodable(inner)]));
  }
  return null;
}

const STORED_SLOTS = [
  "type",
  "block_hashes",
  "parent_block_hash",
  "token_ids",
  "block_size",
  "lora_id",
  "medium",
  "lora_name",
  "extra_keys",
  "group_idx",
  "kv_cache_spec_kind",
  "kv_cache_spec_sliding_window",
];
const REMOVED_SLOTS = ["type", "block_hashes", "medium", "group_idx"];

/** Plain fields as the general decoder leaves them; it checks nothing, and neither do we. */
interface RawFields {
  readonly type: "BlockStored";
  readonly block_hashes: readonly (number | bigint | Uint8Array)[];
  readonly parent_block_hash: number | bigint | Uint8Array | null;
  readonly token_ids: readonly number[];
  readonly block_size: number;
  readonly lora_id: number | bigint | null;
  readonly medium: string | null;
  readonly lora_name: string | null;
  readonly extra_keys: unknown;
  readonly group_idx: number | null;
  readonly kv_cache_spec_kind: string | null;
  readonly kv_cache_spec_sliding_window: number | null;
  readonly locality: string | null;
  readonly ownership: string | null;
  readonly session_id: string | null;
  readonly cache_salt: string | null;
  readonly lookahead_token_ids: readonly (readonly number[])[] | null;
}

/** What an absent field means. */
const ABSENT: Omit<RawFields, "type"> = {
  block_hashes: [],
  parent_block_hash: null,
  token_ids: [],
  block_size: 0,
  lora_id: null,
  medium: null,
  lora_name: null,
  extra_keys: null,
  group_idx: null,
  kv_cache_spec_kind: null,
  kv_cache_spec_sliding_window: null,
  locality: null,
  ownership: null,
  session_id: null,
  cache_salt: null,
  lookahead_token_ids: null,
};

/** The naive decoder: names the slots, then takes the fields it knows out of a plain object. */
function naiveEvent(raw: unknown): KvEvent {
  const present = (Array.isArray(raw) ? named(raw) : raw) as Partial<RawFields> & Pick<RawFields, "type">;
  const fields: RawFields = { ...ABSENT, ...present };
  const parent = fields.parent_block_hash;
  return normalizeEvent({
    type: fields.type,
    blockHashes: fields.block_hashes.map(big),
    parentBlockHash: parent === null ? null : big(parent),
    tokenIds: fields.token_ids,
    blockSize: fields.block_size,
    loraId: fields.lora_id === null ? null : Number(fields.lora_id),
    medium: fields.medium,
    loraName: fields.lora_name,
    extraKeys: smallKeys(fields.extra_keys) as ExtraKeys | null,
    groupIdx: fields.group_idx,
    kvCacheSpecKind: fields.kv_cache_spec_kind,
    kvCacheSpecSlidingWindow: fields.kv_cache_spec_sliding_window,
    locality: fields.locality,
    ownership: fields.ownership,
    sessionId: fields.session_id,
    cacheSalt: fields.cache_salt,
    lookaheadTokenIds: fields.lookahead_token_ids,
  });
}

function named(slots: readonly unknown[]): Record<string, unknown> {
  const names = slots[0] === "BlockRemoved" ? REMOVED_SLOTS : STORED_SLOTS;
  const metadata: unknown = slots[7];
  const pairs = slots.map((value, slot) => [names[slot], value] as const);
  if (slots[0] === "BlockStored" && typeof metadata === "object" && metadata !== null) {
    return { ...Object.fromEntries(pairs.slice(0, 7)), ...metadata };
  }
  return Object.fromEntries(pairs);
}

function big(value: number | bigint | Uint8Array): bigint | Uint8Array {
  return typeof value === "number" ? BigInt(value) : value;
}

/** The general decoder makes a bigint of every integer that was written in 64 bits. */
function smallKeys(key: unknown): unknown {
  if (typeof key === "bigint") return Number(key);
  return Array.isArray(key) ? key.map(smallKeys) : key;
}
