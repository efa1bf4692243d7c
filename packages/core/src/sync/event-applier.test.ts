/**
 * The effect of each kind of event, rule by rule, from encoded batches to the index's contents. A1
 * to A8 are of event-applier.ts; odd-events.test.ts has A9 to A12.
 * C1 to C7 are of cache-groups.ts, E3 of extra-keys.ts.
 */
import { encode } from "@msgpack/msgpack";
import { beforeEach, describe, expect, test } from "vitest";
import { CodedError } from "../errors.ts";
import type { ContextKey, IndexWriter, StoreOutcome } from "../prefix-index/contract.ts";
import { NaivePrefixIndex } from "../prefix-index/testing/naive-prefix-index.ts";
import { EventBatchDecoder } from "../wire/event-batch-decoder.ts";
import { encodeEventBatch } from "../wire/event-batch-encoder.ts";
import type { BlockStored, KvEvent } from "../wire/events.ts";
import { saltDigest } from "../block-hash/extra-keys.ts";
import { EventApplier } from "./event-applier.ts";
import { createSyncCounters, type SyncCounters } from "./sync-report.ts";
import type { SyncSettings } from "./sync-settings.ts";
import type { EventDropReason, TrustReason } from "./trust-rule.ts";

const RANK = 3;
const base: ContextKey = { model: "m", loraName: null, blockSize: 2, lookahead: 0 };
let index: NaivePrefixIndex;
let counters: SyncCounters;
let applier: EventApplier;

function start(settings: Partial<SyncSettings> = {}, writer: IndexWriter = index): void {
  counters = createSyncCounters();
  applier = new EventApplier(
    { rankSlot: RANK, model: "m", dpRank: 0, hasReplay: true, dropsLastBlock: false, ...settings },
    { index: writer, decoder: new EventBatchDecoder(writer.scratch), counters, listener: {} },
  );
}

beforeEach(async () => {
  index = await NaivePrefixIndex.create();
  start();
});

function apply(sequenceNumber: number, ...events: KvEvent[]): void {
  const batch = { timestampSeconds: 1_757_500_000.25, events, dataParallelRank: 0 };
  applier.apply(sequenceNumber, encodeEventBatch(batch, "vllm-0.29"));
}

/** A store of blocks 1, 2, … named by themselves, tokens [n, n], a chain from the root. */
function stored(names: readonly number[], fields: Partial<BlockStored> = {}): BlockStored {
  return {
    type: "BlockStored",
    blockHashes: names.map(BigInt),
    parentBlockHash: null,
    tokenIds: names.flatMap((name) => [name, name]),
    blockSize: 2,
    medium: "GPU",
    ...fields,
  };
}

/** A store of one block in this block size. */
function storedIn(blockSize: number): BlockStored {
  const tokenIds = Array.from({ length: blockSize }, (_, i) => i);
  return stored([1000 + blockSize], { blockSize, tokenIds });
}

function removed(names: readonly number[], fields: Partial<KvEvent> = {}): KvEvent {
  return { type: "BlockRemoved", blockHashes: names.map(BigInt), medium: "GPU", ...fields } as KvEvent;
}

/** Rows of a context, without their hashes: "rank tier copies", in order of tier. */
function rows(context: Partial<ContextKey> = {}): string[] {
  const lines = index.dump(index.openContext({ ...base, ...context }));
  return lines.map((line) => line.split(" ").slice(1).join(" ")).sort();
}

/** Blocks that a prompt of these blocks finds. */
function matched(names: readonly number[], context: Partial<ContextKey> = {}, salt = ""): number {
  const contextId = index.openContext({ ...base, ...context });
  index.tokens.set(names.flatMap((name) => [name, name]));
  index.extraDigests.fill(0, 0, 2 * names.length);
  saltDigest(salt, index, index.extraDigests, 0);
  const result = index.matchTokens(contextId, 2 * names.length, true);
  return result.matchCount === 0 ? 0 : result.rows[1];
}

function dropped(): Partial<Record<EventDropReason, number>> {
  return Object.fromEntries(Object.entries(counters.eventsDropped).filter(([, count]) => count > 0));
}

/** What is wrong with the rank; null for nothing. */
function doubt(): TrustReason | null {
  return applier.doubts.reason;
}

describe("stores and removals", () => {
  test("reach the index in the order of the batch", () => {
    apply(0, stored([1, 2, 3]), removed([2]), stored([2], { parentBlockHash: 1n }), removed([3]));
    expect(matched([1, 2, 3])).toBe(2);
    expect(counters.eventsApplied).toEqual({
      BlockStored: 2,
      BlockRemoved: 2,
      AllBlocksCleared: 0,
      unknown: 0,
    });
    expect(counters.blocksApplied).toEqual({
      BlockStored: 4,
      BlockRemoved: 2,
      AllBlocksCleared: 0,
      unknown: 0,
    });
    expect(doubt()).toBeNull();
  });

  test("a removal of what is not held changes nothing and is counted by block", () => {
    apply(0, stored([1]), removed([1, 8, 9]));
    expect([matched([1]), dropped(), doubt()]).toEqual([0, { unannounced_block: 1 }, "unannounced_block"]);
    expect(counters.blocksApplied.BlockRemoved).toBe(1);
  });

  test("a cleared pool empties the rank and heals what was lost (A5)", () => {
    apply(4, stored([1]), stored([7], { tokenIds: [7] }));
    expect(doubt()).toBe("misaligned_tokens");
    apply(5, { type: "AllBlocksCleared" }, stored([2]));
    expect([matched([1]), matched([2]), doubt(), applier.historyFrom]).toEqual([0, 1, null, 5]);
  });

  test.each([
    ["CPU", null, "ambiguous_clear"],
    ["CPU_PINNED", null, null],
    ["TAPE", null, "ambiguous_clear"],
    ["GPU", "REMOTE", "ambiguous_clear"],
  ])(
    "a clear says no pool, so that copies on %s, locality %s, may be left (A5)",
    (medium, locality, reason) => {
      apply(0, stored([1], { medium, locality }), { type: "AllBlocksCleared" });
      expect([matched([1]), doubt()]).toEqual([0, reason]);
    },
  );
});

describe("KV-cache groups (A1)", () => {
  const full = { groupIdx: 0, kvCacheSpecKind: "full_attention" };
  const sliding = { groupIdx: 1, kvCacheSpecKind: "sliding_window", kvCacheSpecSlidingWindow: 4 };
  const mamba = { groupIdx: 1, kvCacheSpecKind: "mamba" };

  test("a removal in a window group takes that group's block, and a match needs both", () => {
    apply(0, stored([1, 2, 3], full), stored([1, 2, 3], sliding), removed([1], { groupIdx: 1 }));
    expect([matched([1]), matched([1, 2]), matched([1, 2, 3])]).toEqual([0, 0, 3]);
    apply(1, removed([1], { groupIdx: 0 }));
    expect([matched([1, 2, 3]), rows().length, doubt()]).toEqual([0, 4, null]);
  });

  test.each(["full_attention", "mla_attention", "sink_full_attention", null])("kind %s is main", (kind) => {
    apply(0, stored([1], { groupIdx: 2, kvCacheSpecKind: kind }));
    expect([matched([1]), rows(), doubt()]).toEqual([1, ["3 0 1"], null]);
  });

  test.each(["encoder_only_attention", "cross_attention"])("kind %s is no prefix cache", (kind) => {
    apply(
      0,
      stored([1], full),
      stored([1], { groupIdx: 2, kvCacheSpecKind: kind }),
      removed([1], { groupIdx: 2 }),
    );
    expect([matched([1]), dropped(), doubt()]).toEqual([1, { other_attention_kind: 2 }, null]);
  });

  test.each([
    ["something_new", {}],
    ["chunked_local_attention", {}],
    ["sliding_window", {}],
  ])("kind %s without its size needs all blocks, and the rank is partial (C1)", (kind, fields) => {
    // Groups come apart here, which reports do as well.
    start({ reportMode: "delta" });
    apply(0, stored([1, 2], full), stored([2], { ...fields, groupIdx: 2, kvCacheSpecKind: kind }));
    expect([matched([1, 2]), doubt()]).toEqual([0, "unknown_kind"]);
    apply(1, stored([1], { groupIdx: 2, kvCacheSpecKind: kind }));
    expect([matched([1, 2]), dropped()]).toEqual([2, { unknown_kind: 1 }]);
  });

  test("a model whose only group keeps states matches where one lies", () => {
    apply(0, stored([1, 2, 3], mamba), removed([1, 3], { groupIdx: 1 }));
    expect([matched([1]), matched([1, 2]), matched([1, 2, 3]), doubt()]).toEqual([0, 2, 2, null]);
  });

  test("of several main groups both have to allow a match, and each has copies of its own", () => {
    apply(0, stored([1], full), stored([1], { ...full, groupIdx: 4 }));
    expect([matched([1]), rows()]).toEqual([1, ["3 0 1", "4096 0 1"]]);
    apply(1, removed([1], { groupIdx: 4 }));
    expect([matched([1]), rows(), dropped()]).toEqual([0, ["3 0 1"], {}]);
  });

  test("blocks that a group leaves out are placed by the names of the others, also when these come later", () => {
    const masked = stored([2], { ...mamba, tokenIds: [1, 1, 2, 2] });
    apply(0, masked, stored([1, 2], full));
    expect([matched([1, 2]), matched([1]), doubt()]).toEqual([2, 0, null]);
  });

  test("a removal does not overtake the store that waits for a name", () => {
    const masked = stored([2], { ...mamba, tokenIds: [1, 1, 2, 2] });
    apply(
      0,
      stored([1], full),
      masked,
      removed([2], { groupIdx: 1 }),
      stored([2], { ...full, parentBlockHash: 1n }),
    );
    expect([matched([1, 2]), doubt()]).toEqual([0, "unplaced_block"]);
  });

  test("a group of coarser blocks has a block where all of it is matched (C2)", () => {
    const coarse = stored([2, 4], { ...sliding, blockSize: 4, tokenIds: [1, 1, 2, 2, 3, 3, 4, 4] });
    apply(0, stored([1, 2, 3, 4], full), coarse);
    expect([1, 2, 3, 4].map((count) => matched([1, 2, 3, 4].slice(0, count)))).toEqual([0, 2, 2, 4]);
    apply(1, removed([4], { groupIdx: 1 }));
    expect([matched([1, 2, 3, 4]), doubt()]).toEqual([2, null]);
  });

  test("a main group of coarser blocks than another group's is matched with it (C2)", () => {
    const coarse = stored([2], { ...full, blockSize: 4, tokenIds: [1, 1, 2, 2] });
    apply(0, coarse, stored([1, 2], sliding));
    expect([matched([1, 2]), matched([1]), doubt()]).toEqual([2, 0, null]);
  });

  test("so is one that comes a message later than the finer group (C2)", () => {
    apply(0, stored([1], sliding));
    const coarse = stored([2], { ...full, blockSize: 4, tokenIds: [1, 1, 2, 2] });
    apply(1, stored([2], { ...sliding, parentBlockHash: 1n, tokenIds: [2, 2] }), coarse);
    expect([matched([1, 2]), matched([1]), doubt()]).toEqual([2, 0, null]);
  });

  test("a group that does not fit the context's blocks leaves nothing to match (C4)", () => {
    apply(0, stored([1, 2, 3], full));
    apply(1, stored([2], { ...mamba, blockSize: 3, tokenIds: [1, 1, 2] }));
    expect([matched([1, 2, 3]), doubt()]).toEqual([0, "group_misaligned"]);
  });

  test("a store of another block size than its group's is not indexed, and the rank under-reports (C4)", () => {
    apply(0, stored([1, 2], full), stored([1, 2], sliding));
    const before = rows();
    const child = { parentBlockHash: 2n, blockSize: 1, tokenIds: [9] };
    apply(1, stored([9], { ...full, ...child }), stored([9], { ...sliding, ...child }));
    expect([rows(), matched([1, 2]), dropped()]).toEqual([before, 2, { partial_block: 2 }]);
    expect([doubt(), applier.doubts.trust]).toEqual(["partial_block", "partial"]);
  });

  test("a rank with more groups than can be followed is set aside (C3)", () => {
    // Groups come apart here, which reports do as well.
    start({ reportMode: "delta" });
    apply(0, stored([1], full));
    for (let group = 1; group <= 16; group++) apply(group, stored([1], { ...mamba, groupIdx: group }));
    expect([matched([1]), rows(), doubt()]).toEqual([0, [], "group_limit"]);
  });

  test.each([
    ["groups", () => Array.from({ length: 16 }, (_, i) => stored([1], { ...mamba, groupIdx: i + 1 }))],
    ["block sizes", () => [stored([1], mamba), ...[1, 3, 4, 5, 7].map(storedIn)]],
  ])(
    "a rank set aside for its %s takes nothing away from the rank that has its holder slots now (C3)",
    (_, events) => {
      start({ reportMode: "delta" });
      apply(0, stored([1], full));
      events().forEach((event, i) => {
        apply(1 + i, event);
      });
      const aside = applier;
      const other = RANK + 1;
      start({ rankSlot: other });
      apply(0, stored([1], full), stored([1], mamba));
      const before = rows();
      applier = aside;
      apply(20, removed([1], { groupIdx: 1 }), removed([1], { groupIdx: 2 }));
      expect(before.length).toBe(2);
      expect(rows()).toEqual(before);
    },
  );

  test.each([
    ["from a window to full attention", sliding, { ...full, groupIdx: 1 }],
    ["its window", sliding, { ...sliding, kvCacheSpecSlidingWindow: 40 }],
    ["from states to a window", mamba, sliding],
    ["to no prefix cache", mamba, { groupIdx: 1, kvCacheSpecKind: "encoder_only_attention" }],
    ["from full attention to a window, the main one", sliding, { ...sliding, groupIdx: 0 }],
  ])("a rank of which a group changes %s is set aside (C6)", (_, before, after) => {
    apply(0, stored([1, 2], full), stored([1, 2], before));
    expect(matched([1, 2])).toBe(2);
    apply(1, stored([3], { ...after, parentBlockHash: 2n }));
    expect([matched([1, 2]), rows(), dropped(), doubt()]).toEqual([0, [], { group_limit: 1 }, "group_limit"]);
  });

  test("stores that say less of a group's kind than others did change nothing", () => {
    apply(0, stored([1, 2], full), stored([1, 2], sliding));
    const child = { parentBlockHash: 2n };
    apply(1, stored([3], { ...child, groupIdx: 0 }), stored([3], { ...child, groupIdx: 1 }));
    apply(2, stored([4], { ...full, parentBlockHash: 3n }));
    apply(2, stored([4], { ...sliding, parentBlockHash: 3n, kvCacheSpecSlidingWindow: null }));
    expect([matched([1, 2, 3, 4]), dropped(), doubt()]).toEqual([4, {}, null]);
  });

  test.each([
    ["window", sliding],
    ["group of states", mamba],
  ])("a %s that stored nothing since the pool was cleared allows nothing (C7)", (_, group) => {
    apply(0, stored([1, 2], full), stored([1, 2], group));
    apply(1, { type: "AllBlocksCleared" });
    apply(2, stored([1, 2], full));
    expect([matched([1, 2]), doubt()]).toEqual([0, null]);
    apply(3, stored([1, 2], group));
    expect([matched([1, 2]), doubt()]).toEqual([2, null]);
    // The next process may be of another model.
    applier.beginAt(0, true);
    apply(0, stored([1, 2], full));
    expect(matched([1, 2])).toBe(2);
  });

  test("what waits for a name goes with the rank that is set aside", () => {
    start({ reportMode: "delta" });
    const tooMany = Array.from({ length: 16 }, (_, i) => stored([1], { ...mamba, groupIdx: i + 1 }));
    apply(0, stored([1], full), stored([1, 9], { ...mamba, tokenIds: [1] }), ...tooMany);
    expect([rows(), dropped(), doubt()]).toEqual([[], { group_limit: 1 }, "group_limit"]);
  });

  test("events without a group belong to the main one (C5)", () => {
    apply(0, stored([1], full), stored([1]), removed([1]), removed([1]));
    expect([rows(), dropped()]).toEqual([[], {}]);
  });

  test("a removal in a group that never stored takes no block, and shows a group that a match needs too (A14, C5)", () => {
    apply(0, stored([1], full), removed([1], { groupIdx: 9 }));
    expect([matched([1]), dropped(), doubt()]).toEqual([1, { unannounced_group: 1 }, "unannounced_group"]);
    expect(applier.doubts.trust).toBe("stale");
  });

  test("such a removal says nothing new where history is missing: the group stored before it", () => {
    applier.beginAt(1, false);
    apply(1, stored([1], full), removed([1], { groupIdx: 9 }));
    expect([dropped(), doubt()]).toEqual([{ unknown_group: 1 }, "history_incomplete"]);
  });

  test("a removal in a group is not lost on an engine whose stores name none: no ghosts (C5)", () => {
    apply(0, stored([1, 2]), removed([1], { groupIdx: 0 }));
    expect([rows(), dropped(), doubt()]).toEqual([["3 0 1"], {}, null]);
  });

  test("after a restart groups are learnt anew", () => {
    apply(0, stored([1], full), stored([1], sliding));
    applier.beginAt(0, true);
    apply(0, stored([1], { ...full, groupIdx: 1 }), removed([1], { groupIdx: 0 }));
    expect([matched([1]), dropped()]).toEqual([1, { unannounced_group: 1 }]);
  });

  test("another applier goes on with the same groups", () => {
    apply(0, stored([1, 2], full), stored([1, 2], sliding));
    const state = applier.state();
    start();
    applier.restore(state, 0);
    apply(1, removed([2], { groupIdx: 1 }));
    expect([matched([1, 2]), rows().length, doubt()]).toEqual([1, 3, null]);
  });
});

describe("media and locality (A2)", () => {
  test.each([
    ["GPU", 0],
    [null, 0],
    ["CPU", 1],
    ["CPU_PINNED", 1],
    ["cpu", 1],
    ["gpu", 0],
    ["Gpu", 0],
    ["CPU_TIER2", 2],
    ["STORAGE", 2],
    ["FS", 2],
    ["EXTERNAL", 3],
  ])("medium %s is tier %i", (medium, tier) => {
    apply(0, stored([1], { medium }));
    expect(rows()).toEqual([`3 ${tier} 1`]);
    apply(1, removed([1], { medium }));
    expect(rows()).toEqual([]);
  });

  test("tiers are held independently", () => {
    apply(0, stored([1]), stored([1], { medium: "CPU" }), removed([1]));
    expect(rows()).toEqual(["3 1 1"]);
  });

  test.each(["TAPE", "", "GPU_", "ﬀ"])("medium %o is not in the vocabulary", (medium) => {
    apply(0, stored([1], { medium }), removed([1], { medium }));
    expect([rows(), dropped(), doubt()]).toEqual([
      [],
      { unknown_medium: 1, never_indexed: 1 },
      "unknown_medium",
    ]);
  });

  test("blocks on other nodes are not indexed, which is a miss, since the engine loads them", () => {
    apply(0, stored([1], { medium: "CPU", locality: "REMOTE" }), stored([2], { locality: "LOCAL" }));
    expect([matched([1]), matched([2]), dropped(), doubt()]).toEqual([
      0,
      1,
      { remote_locality: 1 },
      "remote_locality",
    ]);
    apply(1, removed([2], { locality: "REMOTE" }));
    expect([matched([2]), dropped().never_indexed]).toEqual([1, 1]);
  });

  test("an unknown locality is not reported, and said to be missing", () => {
    apply(0, stored([1], { locality: "NEARBY" }));
    expect([rows(), dropped(), doubt()]).toEqual([[], { unknown_locality: 1 }, "unknown_locality"]);
  });
});

describe("token ids that do not belong to the blocks (A3)", () => {
  test("are not used, but the blocks whose hashes are known gain a copy", () => {
    apply(0, stored([1, 2]));
    apply(1, stored([1, 2, 5], { tokenIds: [9, 9, 9], medium: "CPU" }));
    expect(rows()).toEqual(["3 0 1", "3 0 1", "3 1 1", "3 1 1"]);
    expect([dropped(), doubt(), applier.historyFrom]).toEqual([
      { misaligned_tokens: 1, unit_size_unknown: 1 },
      "unit_size_unknown",
      2,
    ]);
  });

  test("a placeholder of known blocks is a copy of each, of units whose size it does not say (A11)", () => {
    apply(0, stored([1, 2]));
    apply(1, stored([1, 2], { tokenIds: [], blockSize: 0, medium: "CPU" }));
    expect([rows(), doubt()]).toEqual([["3 0 1", "3 0 1", "3 1 1", "3 1 1"], "unit_size_unknown"]);
  });

  test("a placeholder of unknown blocks hides them", () => {
    apply(0, stored([8], { tokenIds: [], blockSize: 0, medium: "CPU" }));
    expect([rows(), dropped(), doubt()]).toEqual([
      [],
      { unresolved_placeholder: 1 },
      "unresolved_placeholder",
    ]);
  });

  test("a store without blocks is nothing", () => {
    apply(0, stored([], { tokenIds: [1, 2, 3] }));
    expect([rows(), dropped(), doubt()]).toEqual([[], { no_blocks: 1 }, null]);
  });

  test("pairs of tokens are aligned by their number, in a context of their own", () => {
    const pairs = [
      [1, 2],
      [2, 3],
      [3, 4],
      [4, 5],
    ] as const;
    const batch = { timestampSeconds: 1, events: [stored([1, 2], { tokenIds: pairs })], dataParallelRank: 0 };
    applier.apply(0, encodeEventBatch(batch, "sglang-map"));
    expect([rows(), rows({ lookahead: 1 })]).toEqual([[], ["3 0 1", "3 0 1"]]);
  });

  test("a lookahead of one token is in the context of pairs, a longer one in its own", () => {
    const payload = (lookaheadTokenIds: readonly (readonly number[])[]): Uint8Array =>
      encodeEventBatch(
        { timestampSeconds: 1, events: [stored([1, 2], { lookaheadTokenIds })], dataParallelRank: 0 },
        "vllm-0.33",
      );
    applier.apply(0, payload([[2], [9]]));
    expect([rows(), rows({ lookahead: 1 })]).toEqual([[], ["3 0 1", "3 0 1"]]);
    applier.apply(
      1,
      payload([
        [2, 2, 9],
        [9, 9, 9],
      ]),
    );
    expect(rows({ lookahead: 3 })).toEqual(["3 0 1", "3 0 1"]);
    index.tokens.set([1, 1, 2, 2, 9, 9, 9]);
    const contextId = index.openContext({ ...base, lookahead: 3 });
    expect([5, 6, 7].map((count) => index.matchTokens(contextId, count, false).rows[1])).toEqual([1, 1, 2]);
    expect(applier.mayUnderReport).toBe(false);
  });

  test("a lookahead that contradicts the tokens costs the event, and what it stored may be missing (A4)", () => {
    const event = stored([1, 2], { lookaheadTokenIds: [[3], [9]] });
    applier.apply(
      0,
      encodeEventBatch({ timestampSeconds: 1, events: [event], dataParallelRank: 0 }, "vllm-0.33"),
    );
    expect([counters.faults.lookahead_misaligned, rows({ lookahead: 1 })]).toEqual([1, []]);
    expect([applier.mayUnderReport, applier.mayOverReport]).toEqual([true, false]);
  });
});

describe("adapters, salts and other keys", () => {
  test("an adapter has a context of its own, by name or else by number (A7)", () => {
    apply(
      0,
      stored([1], { loraName: "a", loraId: 7, extraKeys: [["a"]] }),
      stored([1], { loraId: 7 }),
      stored([2]),
    );
    expect([matched([1], { loraName: "a" }), matched([1], { loraName: "id:7" }), matched([1])]).toEqual([
      1, 1, 0,
    ]);
    expect(matched([2])).toBe(1);
  });

  test("a salted prompt is found with its salt only, whichever engine stored it (A6, E3)", () => {
    apply(0, stored([1, 2], { extraKeys: [["pepper"], null] }), stored([3], { parentBlockHash: 2n }));
    expect([matched([1, 2, 3]), matched([1, 2, 3], {}, "pepper"), matched([1], {}, "salt")]).toEqual([
      0, 3, 0,
    ]);
    index.clearRank(RANK);
    const events = [
      stored([1, 2], { cacheSalt: "pepper" }),
      stored([3], { parentBlockHash: 2n, cacheSalt: "pepper" }),
    ];
    applier.apply(1, encodeEventBatch({ timestampSeconds: 1, events, dataParallelRank: 0 }, "sglang-map"));
    expect([matched([1, 2, 3]), matched([1, 2, 3], {}, "pepper")]).toEqual([0, 3]);
  });

  test("blocks with other multimodal items are other blocks", () => {
    apply(0, stored([1], { extraKeys: [[["image", 0]]] }));
    expect(matched([1])).toBe(0);
    expect(rows()).toEqual(["3 0 1"]);
  });
});

describe("losses (A4)", () => {
  test.each([
    ["a store", "BlockStored", false, "unreadable_store"],
    ["a removal", "BlockRemoved", true, "unreadable_removal"],
    ["an event of unknown type", "BlockMoved", true, "unknown_event_type"],
  ])("%s that cannot be read may have done what such events do", (_, type, overReports, reason) => {
    applier.apply(5, encode([1.5, [{ type, block_hashes: 1 }], 0]));
    expect([applier.mayOverReport, applier.historyFrom, doubt()]).toEqual([overReports, 6, reason]);
  });

  test("what a message lost by breaking off may have been anything, so that history begins behind it", () => {
    applier.apply(5, encode([1.5, [["AllBlocksCleared"]], 0]).subarray(0, -1));
    expect([doubt(), applier.mayOverReport, applier.historyFrom]).toEqual(["unreadable_message", true, 6]);
  });

  test("A8: a rank that stores in more than four block sizes is set aside until its pool is cleared", () => {
    const ofSize = (size: number): string[] => rows({ blockSize: size });
    apply(0, storedIn(1), storedIn(2), storedIn(3), storedIn(4), storedIn(2));
    expect([ofSize(1).length, ofSize(4).length, doubt()]).toEqual([1, 1, "other_block_size"]);
    apply(1, storedIn(7));
    expect([1, 2, 3, 4, 7].flatMap(ofSize)).toEqual([]);
    expect(doubt()).toBe("too_many_block_sizes");
    // Not even the sizes that were taken before, and not after a hand-over to another applier either.
    apply(2, storedIn(2));
    const state = applier.state();
    start();
    applier.restore(state, 2);
    apply(3, storedIn(2));
    expect([ofSize(2), dropped().too_many_block_sizes]).toEqual([[], 1]);
    apply(4, { type: "AllBlocksCleared" }, storedIn(7));
    expect([ofSize(7).length, doubt()]).toEqual([1, null]);
  });

  test("keys that the index does not take cost their store only", () => {
    const digestBytes = (): never => {
      throw new RefusalError();
    };
    start({}, { ...overriding(() => "stored"), digestBytes });
    apply(0, stored([1], { extraKeys: [["salt"]] }), stored([2]));
    expect([dropped(), counters.eventsApplied.BlockStored]).toEqual([{ index_refused: 1 }, 1]);
  });

  test("so do those of a rank with several groups, which are looked at before they are stored", () => {
    let isRefusing = false;
    const openContext = (key: ContextKey): number => {
      if (isRefusing) throw new RefusalError();
      return index.openContext(key);
    };
    const groups = [
      { groupIdx: 0, kvCacheSpecKind: "full_attention" },
      { groupIdx: 1, kvCacheSpecKind: "mamba" },
    ];
    start({ dropsLastBlock: undefined }, { ...overriding(() => "stored"), openContext });
    apply(0, ...groups.map((group) => stored([1], group)));
    isRefusing = true;
    apply(1, ...groups.map((group) => stored([2], { ...group, parentBlockHash: 1n })));
    expect([dropped(), doubt()]).toEqual([{ index_refused: 2 }, "drafter_unknown"]);
  });

  test("an error of our own is not taken for the engine's", () => {
    start({}, refusing(new TypeError("ours")));
    expect(() => {
      apply(0, stored([1]));
    }).toThrow(TypeError);
  });
});

class RefusalError extends CodedError<{ code: "refused" }> {
  constructor() {
    super({ code: "refused" }, "refused: not this context");
  }
}

function refusing(error: Error): IndexWriter {
  return overriding(() => {
    throw error;
  });
}

function overriding(storeBlocks: () => StoreOutcome): IndexWriter {
  return {
    scratch: index.scratch,
    openContext: (key) => index.openContext(key),
    storeBlocks,
    storeKnownBlocks: (...call) => index.storeKnownBlocks(...call),
    removeBlocks: (...call) => index.removeBlocks(...call),
    openMainGroup: (rankSlot, blockSize) => {
      index.openMainGroup(rankSlot, blockSize);
    },
    openGroup: (...call) => index.openGroup(...call),
    storeGroupBlocks: (...call) => index.storeGroupBlocks(...call),
    clearRank: (rankSlot) => {
      index.clearRank(rankSlot);
    },
    hasBlock: (...call) => index.hasBlock(...call),
    hasParked: (rankSlot) => index.hasParked(rankSlot),
    noteHeld: (...call) => {
      index.noteHeld(...call);
    },
    attachedRenames: [],
    hasGivenUpParent: () => false,
    notes: index.notes,
    hasNotes: false,
    digestBytes: (...call) => {
      index.digestBytes(...call);
    },
  };
}
