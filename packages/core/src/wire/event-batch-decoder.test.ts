/**
 * The decoder by example: each dialect, each way of being wrong. Payloads of engines come from our
 * encoder, which the golden vectors hold to the engines' bytes. Payloads that no engine writes come
 * from a foreign msgpack encoder or are written byte by byte.
 * Numbers in titles: D of event-batch-decoder.ts, R of event-reader.ts, T of known-tails.ts.
 */
import { encode } from "@msgpack/msgpack";
import { describe, expect, test } from "vitest";
import { type Dialect, DIALECTS } from "./dialect.ts";
import { EventBatchDecoder } from "./event-batch-decoder.ts";
import { encodeEventBatch } from "./event-batch-encoder.ts";
import type { BatchHeader, BlockStored, KvEvent } from "./events.ts";
import { normalizeEvent } from "./plain-event.ts";
import { RecordingSink } from "./recording-sink.ts";
import { fromHex } from "./vectors/golden-vectors.ts";
import { WireError } from "./wire-error.ts";
import type { WireLimits } from "./wire-limits.ts";

const TS = 1_757_500_000.25;

interface Decoded {
  readonly header: BatchHeader;
  readonly events: readonly KvEvent[];
  /** Each fault as "index code type". */
  readonly faults: readonly string[];
  readonly sink: RecordingSink;
}

function decode(payload: Uint8Array, limits: Partial<WireLimits> = {}): Decoded {
  const scratch = { tokens: new Uint32Array(16_384), hashes: new Uint32Array(2_048) };
  const sink = new RecordingSink(scratch);
  const header = new EventBatchDecoder(scratch, limits).decode(payload, sink);
  const faults = sink.faults.map(
    ({ eventIndex, error, eventType }) => `${eventIndex} ${error.code} ${String(eventType)}`,
  );
  return { header, events: sink.events, faults, sink };
}

/** Code and place of the error that decoding throws. */
function breakage(payload: Uint8Array, limits: Partial<WireLimits> = {}): string {
  try {
    decode(payload, limits);
  } catch (error) {
    if (!(error instanceof WireError) || !("offset" in error.facts)) throw error;
    return `${error.code} at ${error.facts.offset}`;
  }
  return "none";
}

const storedMap = {
  type: "BlockStored",
  block_hashes: [1],
  parent_block_hash: null,
  token_ids: [10, 11],
  block_size: 2,
  lora_id: null,
  medium: "GPU",
  lora_name: null,
};
const storedArray = ["BlockStored", [1], null, [10, 11], 2, null, "GPU"];
const removedArray = ["BlockRemoved", [1], "GPU"];
const stored: BlockStored = {
  type: "BlockStored",
  blockHashes: [1n],
  parentBlockHash: null,
  tokenIds: [10, 11],
  blockSize: 2,
  medium: "GPU",
};
const storedNormal = normalizeEvent(stored);
const removedNormal = normalizeEvent({ type: "BlockRemoved", blockHashes: [1n], medium: "GPU" });

function lookahead(...lists: readonly (readonly number[])[]): object {
  return { ...storedMap, lookahead_token_ids: lists };
}

/** Two blocks, [10, 11] and [12, 13], each with its lookahead. */
function pairOf(...lists: readonly (readonly number[])[]): object {
  return { ...lookahead(...lists), block_hashes: [1, 2], token_ids: [10, 11, 12, 13] };
}

function batchOf(...events: readonly unknown[]): Uint8Array {
  return encode([TS, events, 0]);
}

describe("every dialect", () => {
  const digest = Uint8Array.from({ length: 32 }, (_, index) => 200 + index);
  const full: Omit<Required<BlockStored>, "blockHashes" | "parentBlockHash"> = {
    type: "BlockStored",
    tokenIds: [1, 200, 40_000, 150_000],
    blockSize: 2,
    loraId: 3,
    medium: "GPU",
    loraName: "adapter",
    extraKeys: [["adapter"], null],
    groupIdx: 1,
    kvCacheSpecKind: "sliding_window",
    kvCacheSpecSlidingWindow: 1024,
    locality: "LOCAL",
    ownership: "fs-0",
    sessionId: "session-9",
    cacheSalt: "salt",
    lookaheadTokenIds: [
      [40_000, 150_000, 7],
      [7, 8, 9],
    ],
  };
  const properties: Record<string, keyof BlockStored> = {
    lora_id: "loraId",
    medium: "medium",
    lora_name: "loraName",
    extra_keys: "extraKeys",
    group_idx: "groupIdx",
    kv_cache_spec_kind: "kvCacheSpecKind",
    kv_cache_spec_sliding_window: "kvCacheSpecSlidingWindow",
    locality: "locality",
    ownership: "ownership",
    session_id: "sessionId",
    cache_salt: "cacheSalt",
    lookahead_token_ids: "lookaheadTokenIds",
  };

  /** What is left of an event in a dialect that knows these fields only. */
  function known<Event extends KvEvent>(event: Event, fields: readonly string[]): Event {
    const lost = Object.entries(properties).filter(([field]) => !fields.includes(field));
    const cut = { ...event, ...Object.fromEntries(lost.map(([, property]) => [property, null])) };
    return cut;
  }

  const hashForms: readonly [string, BlockStored["blockHashes"], bigint | Uint8Array][] = [
    ["int", [2n ** 64n - 1n, 5n], 0x8000_0000_0000_0001n],
    ["signed int", [-1n, -(2n ** 63n)], -7n],
    ["bytes", [digest, digest.slice(0, 16)], digest],
  ];
  const cases = (Object.keys(DIALECTS) as Dialect[]).flatMap((dialect) =>
    hashForms.flatMap(([form, hashes, parent]) =>
      [null, 0, 3].map((rank) => ({ dialect, form, hashes, parent, rank })),
    ),
  );

  test.each(cases)("$dialect with $form hashes and rank $rank says what was encoded", (example) => {
    const { dialect, hashes, parent, rank } = example;
    const form = DIALECTS[dialect];
    const metadata = form.hasMetadataSlot ? ["cache_salt", "session_id"] : [];
    const storeFields = [...form.stored.required, ...form.stored.optional, ...metadata];
    const removeFields = [...form.removed.required, ...form.removed.optional];
    const store = { ...full, blockHashes: hashes, parentBlockHash: parent };
    const { medium, groupIdx, locality, ownership } = full;
    const removal: KvEvent = {
      type: "BlockRemoved",
      blockHashes: hashes,
      medium,
      groupIdx,
      locality,
      ownership,
    };
    const events: KvEvent[] = [{ type: "AllBlocksCleared" }, store, removal];
    const payload = encodeEventBatch({ timestampSeconds: TS, events, dataParallelRank: rank }, dialect);
    const decoded = decode(payload);
    expect(decoded.faults).toEqual([]);
    expect(decoded.events).toEqual([
      { type: "AllBlocksCleared" },
      normalizeEvent(known(store, storeFields)),
      normalizeEvent(known(removal, removeFields)),
    ]);
    expect(decoded.header).toEqual({
      timestampSeconds: TS,
      dataParallelRank: form.batchSlots === 2 ? null : rank,
      eventCount: 3,
      faultCount: 0,
      mapEventCount: form.events === "map" ? 3 : 0,
    });
  });

  test("arrays and maps may alternate within one batch", () => {
    expect(decode(batchOf(storedArray, storedMap, removedArray)).events).toEqual([
      storedNormal,
      storedNormal,
      removedNormal,
    ]);
  });

  test("an array shorter than the newest one has nil in the slots it lacks, and one longer is read as far as known (R2, R3)", () => {
    const short = ["BlockStored", [1], null, [10, 11], 2, null];
    const long = [...storedArray, "adapter", [null], 0, "full_attention", null, "new", { x: [1] }];
    expect(decode(batchOf(short, long, [...removedArray, 2, "kind", 128])).events).toEqual([
      { ...storedNormal, medium: null },
      { ...storedNormal, loraName: "adapter", groupIdx: 0, kvCacheSpecKind: "full_attention" },
      { ...removedNormal, groupIdx: 2 },
    ]);
  });

  test("slot 7 as a map is SGLang's metadata, whatever else it holds", () => {
    const metadata = { session_id: "s", new: [1, 2], cache_salt: "tenant-b" };
    const [event] = decode(batchOf([...storedArray, metadata])).events;
    expect(event).toEqual({ ...storedNormal, sessionId: "s", cacheSalt: "tenant-b" });
  });

  test("a field that is absent or nil is null (R2)", () => {
    const { type, block_hashes, token_ids, block_size } = storedMap;
    const absent = { type, block_hashes, token_ids, block_size };
    const nil = { ...absent, ...Object.fromEntries(Object.keys(properties).map((key) => [key, null])) };
    const removal = { type: "BlockRemoved", block_hashes };
    const bare = { ...storedNormal, medium: null };
    const decoded = decode(
      batchOf(absent, nil, removal, { ...removal, medium: null, group_idx: null, locality: null }),
    );
    expect(decoded.faults).toEqual([]);
    expect(decoded.events).toEqual([
      bare,
      bare,
      { ...removedNormal, medium: null },
      { ...removedNormal, medium: null },
    ]);
  });

  test("keys come in any order, and those that nobody knows are passed over with their values (R3)", () => {
    const { type, ...rest } = storedMap;
    const reversed = Object.fromEntries(Object.entries({ ...rest, origin: { deep: [[[1]]] } }).reverse());
    const decoded = decode(batchOf({ ...reversed, event_version: 2, type }));
    expect(decoded.faults).toEqual([]);
    expect(decoded.events).toEqual([storedNormal]);
  });

  test("a name that differs from a known one in a single letter is unknown (R3)", () => {
    const misspellings = (name: string): string[] =>
      Array.from(name, (letter, at) => name.slice(0, at) + (letter === "x" ? "y" : "x") + name.slice(at + 1));
    const optional = ["extra_keys", "group_idx", "kv_cache_spec_kind", "kv_cache_spec_sliding_window"];
    const late = ["locality", "ownership", "session_id", "cache_salt"];
    for (const name of [...Object.keys(storedMap), ...optional, ...late]) {
      for (const misspelled of misspellings(name)) {
        // True is no value of any field, so that a misspelling taken for the name is a fault.
        expect(decode(batchOf({ ...storedMap, [misspelled]: true }))).toMatchObject({
          faults: [],
          events: [storedNormal],
        });
      }
    }
    for (const type of ["BlockStored", "BlockRemoved", "AllBlocksCleared"].flatMap(misspellings)) {
      expect(decode(batchOf([type, [1], null, [10], 1, null])).faults).toEqual(["0 unknown_event_type null"]);
    }
  });

  test("keys that are no strings are passed over", () => {
    const payload = fromHex("92cb41da3054981000009183a474797065b0416c6c426c6f636b73436c656172656401029103c0");
    expect(decode(payload).events).toEqual([{ type: "AllBlocksCleared" }]);
  });

  test("a removal ignores the keys of a store, even when their values are none (R3)", () => {
    const removal = { type: "BlockRemoved", token_ids: "none", block_hashes: [1], medium: "GPU" };
    expect(decode(batchOf(removal)).events).toEqual([removedNormal]);
  });

  test("an event leaves nothing behind for the next one (R4)", () => {
    const { medium, groupIdx, locality, ownership } = full;
    const removal = {
      type: "BlockRemoved",
      blockHashes: [1n],
      medium,
      groupIdx,
      locality,
      ownership,
    } as const;
    const bare = { type: "BlockRemoved", blockHashes: [1n], medium } as const;
    const rich = encodeEventBatch(
      {
        timestampSeconds: TS,
        events: [{ ...full, blockHashes: [1n, 2n], parentBlockHash: 9n }, stored, removal, bare],
        dataParallelRank: 0,
      },
      "vllm-0.29",
    );
    const { events } = decode(rich);
    expect(events[1]).toEqual(storedNormal);
    expect(events[3]).toEqual(removedNormal);
  });

  test("what stands behind the tokens counts for each event by itself, in whatever order it comes (R4, T1)", () => {
    const { type, block_hashes, token_ids, block_size } = storedMap;
    const early = { type, block_hashes, token_ids };
    const events = [
      { ...early, block_size, parent_block_hash: 5 },
      { ...early, block_size, parent_block_hash: 6 },
      { ...early, block_size, parent_block_hash: 6 },
      { ...early, block_size, parent_block_hash: null },
      { ...early, block_size, parent_block_hash: null, lora_name: "a" },
      { ...early, block_size, parent_block_hash: null, lora_name: "b" },
      { type, token_ids, block_size, block_hashes },
      { type, token_ids, block_size, block_hashes: [7] },
      { type, lora_name: "c", block_hashes, token_ids, block_size },
      { ...early, block_size },
      { ...early, block_size },
    ];
    const decoded = decode(batchOf(...events));
    expect(decoded.faults).toEqual([]);
    expect(decoded.events).toEqual(events.flatMap((event) => decode(batchOf(event)).events));
    expect(decoded.events.slice(0, 3)).toMatchObject([
      { parentBlockHash: 5n },
      { parentBlockHash: 6n },
      { parentBlockHash: 6n },
    ]);
  });

  test("more tails than are kept are read as they are, again and again (T2)", () => {
    const adapters = Array.from({ length: 40 }, (_, i) => `adapter ${i}`);
    const names = Array.from({ length: 20 }, () => adapters).flat();
    const decoded = decode(batchOf(...names.map((lora_name) => ({ ...storedMap, lora_name }))));
    expect(decoded.faults).toEqual([]);
    expect(decoded.events).toEqual(names.map((loraName) => ({ ...storedNormal, loraName })));
  });

  test("a bad event costs itself also where its tail is known (D2, T1)", () => {
    const good = { ...storedMap };
    const { block_size, ...early } = good;
    expect(decode(batchOf(good, { ...early, token_ids: "none", block_size }, good)).faults).toEqual([
      "1 wrong_type BlockStored",
    ]);
  });

  test("strings come in every length form", () => {
    const loraName = "a".repeat(300);
    expect(decode(batchOf({ ...storedMap, lora_name: loraName })).events).toEqual([
      { ...storedNormal, loraName },
    ]);
    const longKey = fromHex("92cb41da3054981000009181d90474797065da0010416c6c426c6f636b73436c6561726564");
    expect(decode(longKey).events).toEqual([{ type: "AllBlocksCleared" }]);
  });

  test("a batch of 512 hashes and 8,192 tokens is one event", () => {
    const tokenIds = Array.from({ length: 8192 }, (_, index) => (index * 7919) % 151_000);
    const blockHashes = Array.from({ length: 512 }, (_, index) => BigInt(index) * 0x9e37_79b9_7f4a_7c15n);
    const event: BlockStored = {
      ...stored,
      blockHashes: blockHashes.map((hash) => BigInt.asUintN(64, hash)),
      tokenIds: Uint32Array.from(tokenIds),
      blockSize: 16,
    };
    const payload = encodeEventBatch({ timestampSeconds: TS, events: [event] }, "vllm-0.29");
    expect(decode(payload).events).toEqual([
      { ...storedNormal, blockHashes: event.blockHashes, tokenIds, blockSize: 16 },
    ]);
  });

  test("stores without hashes, with tokens that do not fill their blocks, and twice in a row are handed on as they are", () => {
    const empty = { ...storedMap, block_hashes: [] };
    const misaligned = { ...storedMap, token_ids: [1, 2, 3] };
    const decoded = decode(batchOf(empty, misaligned, storedMap, storedMap, removedArray, removedArray));
    expect(decoded.faults).toEqual([]);
    expect(decoded.events).toEqual([
      { ...storedNormal, blockHashes: [] },
      { ...storedNormal, tokenIds: [1, 2, 3] },
      storedNormal,
      storedNormal,
      removedNormal,
      removedNormal,
    ]);
  });

  test("EAGLE pairs are kept as the chain of tokens they overlap to", () => {
    const scratch = { tokens: new Uint32Array(4), hashes: new Uint32Array(2) };
    const sink = new RecordingSink(scratch);
    const pairs = {
      ...storedMap,
      token_ids: [
        [7, 8],
        [8, 9],
        [9, 10],
      ],
    };
    new EventBatchDecoder(scratch).decode(batchOf(pairs), sink);
    expect(Array.from(scratch.tokens)).toEqual([7, 8, 9, 10]);
    expect(sink.events).toEqual([
      {
        ...storedNormal,
        tokenIds: [
          [7, 8],
          [8, 9],
          [9, 10],
        ],
      },
    ]);
  });
});

describe("a bad event costs itself only (D2, R1, R2)", () => {
  const bad: readonly [claim: string, event: unknown, fault: string][] = [
    ["nil instead of an event", null, "wrong_type null"],
    ["a bare string instead of an event", "AllBlocksCleared", "wrong_type null"],
    ["an empty array", [], "wrong_length null"],
    ["an array whose type is no string", [1, 2], "wrong_type null"],
    ["a map without a type", { block_hashes: [1] }, "missing_field null"],
    ["a type of the future, as an array", ["BlockInactive", [1], "GPU"], "unknown_event_type null"],
    [
      "a type of the future, as a map",
      { type: "BlockInactive", block_hashes: [1] },
      "unknown_event_type null",
    ],
    ["a type that only has a known one's length", ["BlockStoree", [1]], "unknown_event_type null"],
    ["a field's name as a type", ["block_hashes"], "unknown_event_type null"],
    ["a store of five slots", ["BlockStored", [1], null, [1], 1], "wrong_length BlockStored"],
    ["a removal of one slot", ["BlockRemoved"], "wrong_length BlockRemoved"],
    ["a store without hashes", { ...storedMap, block_hashes: null }, "wrong_type BlockStored"],
    [
      "a store without the key of hashes",
      { type: "BlockStored", token_ids: [], block_size: 1 },
      "missing_field BlockStored",
    ],
    [
      "a store without the key of tokens",
      { type: "BlockStored", block_hashes: [], block_size: 1 },
      "missing_field BlockStored",
    ],
    [
      "a store without the key of the block size",
      { type: "BlockStored", block_hashes: [], token_ids: [] },
      "missing_field BlockStored",
    ],
    [
      "a removal without the key of hashes",
      { type: "BlockRemoved", medium: "GPU" },
      "missing_field BlockRemoved",
    ],
    ["a hash that is text", { ...storedMap, block_hashes: ["1"] }, "wrong_type BlockStored"],
    ["a hash that is a float", { ...storedMap, block_hashes: [1.5] }, "wrong_type BlockStored"],
    [
      "a digest of seven bytes",
      { ...storedMap, block_hashes: [new Uint8Array(7)] },
      "out_of_range BlockStored",
    ],
    [
      "a digest of 65 bytes",
      { ...storedMap, block_hashes: [new Uint8Array(65)] },
      "out_of_range BlockStored",
    ],
    ["a negative token", { ...storedMap, token_ids: [1, -1] }, "out_of_range BlockStored"],
    ["a token of 33 bits", { ...storedMap, token_ids: [2 ** 32, 1] }, "out_of_range BlockStored"],
    ["a token that is text", { ...storedMap, token_ids: [1, "2"] }, "wrong_type BlockStored"],
    ["a pair among tokens", { ...storedMap, token_ids: [1, [2, 3]] }, "wrong_type BlockStored"],
    ["a token among pairs", { ...storedMap, token_ids: [[1, 2], 2] }, "wrong_type BlockStored"],
    ["a pair of three", { ...storedMap, token_ids: [[1, 2, 3]] }, "wrong_length BlockStored"],
    [
      "pairs that do not overlap",
      {
        ...storedMap,
        token_ids: [
          [1, 2],
          [3, 4],
        ],
      },
      "bigram_gap BlockStored",
    ],
    ["a negative block size", { ...storedMap, block_size: -1 }, "out_of_range BlockStored"],
    ["a block size of nil", { ...storedMap, block_size: null }, "wrong_type BlockStored"],
    ["a medium that is a number", { ...storedMap, medium: 1 }, "wrong_type BlockStored"],
    [
      "a medium longer than any name",
      { ...storedMap, medium: "x".repeat(1025) },
      "limit_exceeded BlockStored",
    ],
    [
      "extra keys for two blocks of one",
      { ...storedMap, extra_keys: [null, ["a"]] },
      "extra_keys_misaligned BlockStored",
    ],
    ["lookahead of two blocks of one", lookahead([12], [13]), "lookahead_misaligned BlockStored"],
    ["lookahead lists of two lengths", pairOf([12], [14, 15]), "lookahead_misaligned BlockStored"],
    ["lookahead that contradicts the tokens", pairOf([11], [14]), "lookahead_misaligned BlockStored"],
    [
      "lookahead lists that contradict each other",
      pairOf([12, 13, 14], [15, 16, 17]),
      "lookahead_misaligned BlockStored",
    ],
    [
      "lookahead beside pairs",
      {
        ...lookahead([12]),
        token_ids: [
          [1, 2],
          [2, 3],
        ],
      },
      "lookahead_misaligned BlockStored",
    ],
    ["lookahead that is text", { ...storedMap, lookahead_token_ids: "12" }, "wrong_type BlockStored"],
    ["lookahead with a negative token", lookahead([-1]), "out_of_range BlockStored"],
    [
      "a lookahead longer than any engine's",
      lookahead(Array.from({ length: 33 }, () => 1)),
      "limit_exceeded BlockStored",
    ],
    ["extra keys that are a map", { ...storedMap, extra_keys: [{ a: 1 }] }, "wrong_type BlockStored"],
    ["an extra key that is true", { ...storedMap, extra_keys: [[true]] }, "wrong_type BlockStored"],
    ["extra keys nested five deep", { ...storedMap, extra_keys: [[[[[[1]]]]]] }, "too_deep BlockStored"],
  ];

  test.each(bad)("%s", (_, event, fault) => {
    const decoded = decode(batchOf(storedArray, event, removedArray));
    expect(decoded.faults).toEqual([`1 ${fault}`]);
    expect(decoded.events).toEqual([storedNormal, removedNormal]);
    expect(decoded.header).toMatchObject({ eventCount: 3, faultCount: 1 });
  });

  test("broken UTF-8 in a name is a fault at its first byte", () => {
    const payload = fromHex(
      "92cb41da3054981000009293ac426c6f636b52656d6f7665649101a2c328" + "91b0416c6c426c6f636b73436c6561726564",
    );
    const decoded = decode(payload);
    expect(decoded.faults).toEqual(["0 invalid_utf8 BlockRemoved"]);
    expect(decoded.sink.faults[0].error.facts).toMatchObject({ offset: 28 });
    expect(decoded.events).toEqual([{ type: "AllBlocksCleared" }]);
  });

  test("a key that comes twice is a fault, not a guess", () => {
    const twice = fromHex(
      "92cb41da3054981000009183a474797065ac426c6f636b52656d6f766564ac626c6f636b5f6861736865739101ac626c6f636b5f6861736865739102",
    );
    expect(decode(twice).faults).toEqual(["0 duplicate_key BlockRemoved"]);
    const types = fromHex("92cb41da3054981000009182a474797065b0416c6c426c6f636b73436c6561726564a474797065c0");
    expect(decode(types).faults).toEqual(["0 duplicate_key AllBlocksCleared"]);
  });

  test("the fault says where, what was expected and what was there", () => {
    const { sink } = decode(batchOf(storedArray, { ...storedMap, token_ids: [10, "x"] }));
    const { error } = sink.faults[0];
    const payload = batchOf(storedArray, { ...storedMap, token_ids: [10, "x"] });
    const offset = payload.findLastIndex((byte, index) => byte === 0xa1 && payload[index + 1] === 0x78);
    expect(error.facts).toEqual({ code: "wrong_type", offset, expected: "an integer", actual: "str" });
    expect(error.message).toBe(`wrong_type at byte ${offset} of the payload: expected an integer, got str`);
  });

  test("an unknown type is named, shortened and quoted", () => {
    const { sink } = decode(batchOf([`Block"${"x".repeat(200)}`]));
    expect(sink.faults[0].error.facts).toMatchObject({ actual: `"Block\\"${"x".repeat(58)}"` });
  });

  test("what a sink throws is not taken for the event's fault", () => {
    const scratch = { tokens: new Uint32Array(4), hashes: new Uint32Array(4) };
    const sink = new RecordingSink(scratch);
    sink.onBlockStored = (): void => {
      throw new WireError({ code: "wrong_type", offset: 0, expected: "a", actual: "b" });
    };
    expect(() => new EventBatchDecoder(scratch).decode(batchOf(storedMap), sink)).toThrow(WireError);
    expect(sink.faults).toEqual([]);
  });
});

describe("limits", () => {
  test("tokens and hashes of an event are bounded by the scratch, and the next event is read", () => {
    const scratch = { tokens: new Uint32Array(3), hashes: new Uint32Array(4) };
    const sink = new RecordingSink(scratch);
    const payload = batchOf(
      { ...storedMap, token_ids: [1, 2, 3, 4] },
      {
        ...storedMap,
        token_ids: [
          [1, 2],
          [2, 3],
          [3, 4],
        ],
      },
      { ...storedMap, block_hashes: [1, 2, 3] },
      { ...storedMap, token_ids: [1, 2, 3], block_hashes: [1, 2] },
    );
    new EventBatchDecoder(scratch).decode(payload, sink);
    expect(sink.faults.map(({ error }) => error.code)).toEqual(Array(3).fill("limit_exceeded"));
    expect(sink.events).toEqual([{ ...storedNormal, tokenIds: [1, 2, 3], blockHashes: [1n, 2n] }]);
  });

  test("a payload, a batch and its faults are bounded, at their limits still accepted (D4)", () => {
    const payload = batchOf(removedArray, null, null);
    expect(breakage(payload, { payloadBytesMax: payload.byteLength })).toBe("none");
    expect(breakage(payload, { payloadBytesMax: payload.byteLength - 1 })).toBe("payload_too_large at 0");
    expect(breakage(payload, { eventsMax: 3 })).toBe("none");
    expect(breakage(payload, { eventsMax: 2 })).toBe("limit_exceeded at 10");
    expect(breakage(payload, { faultsMax: 2 })).toBe("none");
    expect(breakage(payload, { faultsMax: 1 })).toBe(`too_many_faults at ${payload.byteLength - 2}`);
  });

  test("extra keys are bounded in number, depth and length", () => {
    const keys = { ...storedMap, extra_keys: [["a", ["b", 0]]] };
    expect(decode(batchOf(keys), { extraKeysMax: 5, extraKeyDepthMax: 2 }).faults).toEqual([]);
    expect(decode(batchOf(keys), { extraKeysMax: 4 }).faults).toEqual(["0 limit_exceeded BlockStored"]);
    expect(decode(batchOf(keys), { extraKeyDepthMax: 1 }).faults).toEqual(["0 too_deep BlockStored"]);
    const long = { ...storedMap, extra_keys: [[new Uint8Array(9)]] };
    expect(decode(batchOf(long), { textBytesMax: 8 }).faults).toEqual(["0 limit_exceeded BlockStored"]);
  });

  test("a header that announces more elements than there are bytes is refused at once", () => {
    for (const hex of [
      "92cb41da305498100000ddffffffff",
      "ddffffffff",
      "dfffffffff",
      "92cb41da30549810000091dfffffffff",
    ]) {
      expect(breakage(fromHex(hex))).toMatch(/^truncated at/);
    }
  });
});

describe("the batch", () => {
  const cleared = ["AllBlocksCleared"];

  test("a timestamp may be an integer or a short float, and must be finite", () => {
    expect(decode(encode([1_757_500_000, [cleared], 0])).header.timestampSeconds).toBe(1_757_500_000);
    expect(decode(fromHex("92ca3fc0000090")).header.timestampSeconds).toBe(1.5);
    expect(breakage(fromHex("92cb7ff800000000000090"))).toBe("out_of_range at 1");
    expect(breakage(encode([null, []]))).toBe("wrong_type at 1");
  });

  test("slots after the third are passed over", () => {
    const decoded = decode(encode([TS, [cleared], 5, { new: [1] }, "x"]));
    expect(decoded.header.dataParallelRank).toBe(5);
    expect(decoded.events).toEqual([{ type: "AllBlocksCleared" }]);
  });

  test("a batch as a map is read in any order of its keys", () => {
    const decoded = decode(
      encode({ type: "KVEventBatch", data_parallel_rank: 2, events: [cleared], ts: TS }),
    );
    expect(decoded.header).toMatchObject({ timestampSeconds: TS, dataParallelRank: 2, eventCount: 1 });
    expect(decoded.events).toEqual([{ type: "AllBlocksCleared" }]);
  });

  test("what is no batch is refused whole, with the reason and the place (D3)", () => {
    expect(breakage(new Uint8Array(0))).toBe("truncated at 0");
    expect(breakage(encode("batch"))).toBe("wrong_type at 0");
    expect(breakage(encode([TS]))).toBe("wrong_length at 0");
    expect(breakage(encode([TS, null]))).toBe("wrong_type at 10");
    expect(breakage(encode({ ts: TS }))).toBe("missing_field at 0");
    expect(breakage(encode({ events: [] }))).toBe("missing_field at 0");
    expect(breakage(fromHex("82a6" + "6576656e7473" + "90a66576656e747390"))).toBe("duplicate_key at 9");
    expect(breakage(fromHex("c1"))).toBe("reserved_byte at 0");
    expect(breakage(fromHex("92cb41da30549810000091c1"))).toBe("reserved_byte at 11");
    expect(breakage(fromHex("93cb41da30549810000090c1"))).toBe("reserved_byte at 11");
    expect(breakage(fromHex("93cb41da30549810000090a3"))).toBe("truncated at 11");
  });

  test.each([
    ["-1", -1, -1],
    ["a float", 2.5, 2.5],
    ["a float that is whole", fromHex("cb4008000000000000"), 3],
    ["beyond 53 bits", fromHex("cfffffffffffffffff"), Number.NaN],
    ["text", "0", Number.NaN],
    ["a list", [0], Number.NaN],
  ])("a rank that is %s costs nothing: the socket knows it better", (_, rank, read) => {
    const head = fromHex("93cb41da30549810000091");
    const slot = rank instanceof Uint8Array ? rank : encode(rank);
    const { header, events } = decode(Uint8Array.of(...head, ...encode(cleared), ...slot));
    expect(events).toEqual([{ type: "AllBlocksCleared" }]);
    expect(header.dataParallelRank).toBe(read);
  });

  test("a batch as a map passes over keys that it does not know, of any length, type or coding", () => {
    const known = encode({ ts: TS, events: [cleared] }).subarray(1);
    for (const key of [
      "a2fffe",
      "d921" + "78".repeat(33),
      "db000f4240" + "78".repeat(1_000_000),
      "05",
      "c0",
      "9101",
    ]) {
      const decoded = decode(Uint8Array.from([0x83, ...fromHex(key), 0xc0, ...known]));
      expect(decoded.events, key.slice(0, 8)).toEqual([{ type: "AllBlocksCleared" }]);
    }
  });

  test("bytes behind the batch break it, after its events were delivered (D3)", () => {
    const payload = Uint8Array.of(...batchOf(cleared), 0xc0);
    const scratch = { tokens: new Uint32Array(4), hashes: new Uint32Array(4) };
    const sink = new RecordingSink(scratch);
    expect(() => new EventBatchDecoder(scratch).decode(payload, sink)).toThrow(WireError);
    expect(sink.events).toEqual([{ type: "AllBlocksCleared" }]);
    expect(breakage(payload)).toBe(`trailing_bytes at ${payload.byteLength - 1}`);
  });

  test("an empty batch says nothing", () => {
    expect(decode(encode([TS, [], 0]))).toMatchObject({ events: [], faults: [], header: { eventCount: 0 } });
  });

  test("a decoder goes on after a broken payload as if it had not seen it", () => {
    const scratch = { tokens: new Uint32Array(64), hashes: new Uint32Array(64) };
    const decoder = new EventBatchDecoder(scratch);
    const sink = new RecordingSink(scratch);
    const rich = encode([TS, [{ ...storedMap, lora_name: "adapter", extra_keys: [["a"]] }, null], 3]);
    expect(() => decoder.decode(rich.subarray(0, -1), sink)).toThrow(WireError);
    sink.clear();
    const header = decoder.decode(encode([TS, [storedArray]]), sink);
    expect(sink.events).toEqual([storedNormal]);
    expect(header).toEqual({
      timestampSeconds: TS,
      dataParallelRank: null,
      eventCount: 1,
      faultCount: 0,
      mapEventCount: 0,
    });
  });
});
