/**
 * The meaning of odd events of real engines (A9 to A12 of event-applier.ts). They are reports,
 * stores that wait, units of another size, and names that are not names of prefixes. Bytes of
 * engines are used where they exist, events by hand otherwise. R1 is of report-proof.ts.
 * L1 is of copy-ledger.ts.
 */
import { beforeEach, describe, expect, test } from "vitest";
import { NaivePrefixIndex } from "../prefix-index/testing/naive-prefix-index.ts";
import { EventBatchDecoder } from "../wire/event-batch-decoder.ts";
import { encodeEventBatch } from "../wire/event-batch-encoder.ts";
import type { BlockStored, KvEvent } from "../wire/events.ts";
import { EventApplier } from "./event-applier.ts";
import { createSyncCounters, type SyncCounters } from "./sync-report.ts";
import type { ReportMode } from "./sync-settings.ts";

const RANK = 3;
let index: NaivePrefixIndex;
let counters: SyncCounters;
let applier: EventApplier;

function make(reportMode?: ReportMode): EventApplier {
  counters = createSyncCounters();
  return new EventApplier(
    { rankSlot: RANK, model: "m", dpRank: 0, hasReplay: true, reportMode, dropsLastBlock: false },
    { index, decoder: new EventBatchDecoder(index.scratch), counters, listener: {} },
  );
}

beforeEach(async () => {
  index = await NaivePrefixIndex.create();
  applier = make();
  applier.beginAt(0, true);
});

function apply(...events: KvEvent[]): void {
  applier.apply(1, encodeEventBatch({ timestampSeconds: 1.5, events, dataParallelRank: 0 }, "vllm-0.29"));
}

function applyHex(messages: readonly string[]): void {
  for (const [number, hex] of messages.entries()) applier.apply(number, Buffer.from(hex, "hex"));
}

/** Blocks of two tokens [n, n], named n, from the root; as vLLM announces them. */
function stored(names: readonly number[], fields: Partial<BlockStored> = {}): BlockStored {
  return {
    type: "BlockStored",
    blockHashes: names.map(BigInt),
    parentBlockHash: null,
    tokenIds: names.flatMap((name) => [name, name]),
    blockSize: 2,
    medium: "GPU",
    groupIdx: 0,
    kvCacheSpecKind: "full_attention",
    ...fields,
  };
}

function removed(names: readonly number[], medium = "GPU"): KvEvent {
  return { type: "BlockRemoved", blockHashes: names.map(BigInt), medium, groupIdx: 0 };
}

/** Tokens that a prompt finds, by default in blocks of two. */
function matched(tokens: readonly number[], blockSize = 2): number {
  const contextId = index.openContext({ model: "m", loraName: null, blockSize, lookahead: 0 });
  index.tokens.set(tokens);
  const result = index.matchTokens(contextId, tokens.length, false);
  return result.matchCount === 0 ? 0 : result.rows[1] * blockSize;
}

function blocks(...names: number[]): number[] {
  return names.flatMap((name) => [name, name]);
}

/** "exact", or that blocks may be missing. Nothing here may ever over-report. */
function trust(): string {
  expect(applier.mayOverReport).toBe(false);
  return applier.doubts.trust;
}

describe("a store that repeats what is there (A9)", () => {
  test("is a report in these bytes of vLLM 0.33.0: one block stored, reported, evicted", () => {
    applyHex(REPORT_THEN_EVICTION);
    expect([matched([1, 2, 3, 4, 5], 4), trust()]).toEqual([0, "partial"]);
    expect(matched(range(50, 66), 4)).toBe(16);
  });

  test("may be a copy, which the index does not name: after as many removals as stores, nothing is in doubt (L1)", () => {
    apply(stored([1]), stored([1]));
    expect([matched(blocks(1)), trust()]).toEqual([2, "exact"]);
    apply(removed([1]));
    expect([matched(blocks(1)), trust()]).toEqual([0, "partial"]);
    apply(removed([1]));
    expect([trust(), counters.eventsDropped.unannounced_block]).toEqual(["exact", 0]);
    apply(removed([1]));
    expect(counters.eventsDropped.unannounced_block).toBe(1);
  });

  test("leaves no doubt once the block is stored again, whichever it was", () => {
    apply(stored([1, 2]), stored([1, 2]), removed([2]), removed([1]));
    expect(trust()).toBe("partial");
    apply(stored([1, 2]));
    expect([matched(blocks(1, 2)), trust()]).toEqual([4, "exact"]);
    apply(removed([1]));
    expect([matched(blocks(1, 2)), trust()]).toEqual([0, "partial"]);
  });

  test("is none when one block is new, or when it goes on from a parent", () => {
    apply(stored([1]), stored([1, 2]), removed([1]));
    expect([matched(blocks(1, 2)), trust()]).toEqual([4, "exact"]);
    apply(stored([2], { parentBlockHash: 1n }), removed([2]));
    expect([matched(blocks(1, 2)), trust()]).toEqual([4, "exact"]);
  });

  test("may look new where something is missing: then each block that is there is uncertain", () => {
    applier.beginAt(1, false);
    apply(stored([2], { parentBlockHash: 1n }));
    apply(stored([1]));
    apply(stored([1, 5]));
    apply(removed([1]));
    expect(matched(blocks(1, 5))).toBe(0);
  });

  test("is a copy from engines that have no reports: arrays, no group, other tiers", () => {
    const events = [stored([1]), stored([1]), removed([1])];
    applier.apply(1, encodeEventBatch({ timestampSeconds: 1.5, events, dataParallelRank: 0 }, "vllm-0.21"));
    apply(stored([2], { groupIdx: null }), stored([2], { groupIdx: null }), removed([2]));
    apply(stored([3], { medium: "CPU" }), stored([3], { medium: "CPU" }), removed([3], "CPU"));
    expect([matched(blocks(1)), matched(blocks(2)), matched(blocks(3)), trust()]).toEqual([2, 2, 2, "exact"]);
  });

  test("is a copy where the operator knows that no client asks for reports", () => {
    applier = make("delta");
    applier.beginAt(0, true);
    apply(stored([1, 2]), stored([1, 2]), removed([1, 2]));
    expect([matched(blocks(1, 2)), trust()]).toEqual([4, "exact"]);
  });

  test("of several blocks is a report where the operator knows that no request skips the cache", () => {
    applier = make("full");
    applier.beginAt(0, true);
    apply(stored([1, 2, 3]), stored([1, 2, 3]), removed([1, 2, 3]));
    expect([matched(blocks(1, 2, 3)), trust()]).toEqual([0, "exact"]);
    // EAGLE makes a prompt of two blocks compute both again.
    apply(stored([1, 2]), stored([1, 2]), removed([1, 2]));
    expect(trust()).toBe("partial");
  });

  test("leaves its doubt behind with a clear, and takes it along to another stream", () => {
    apply(stored([1]), stored([1]), removed([1]));
    const state = applier.state();
    const next = make();
    next.restore(state, 1);
    expect(next.doubts.reason).toBe("copies_uncertain");
    applier = next;
    apply(removed([1]));
    expect(trust()).toBe("exact");
    apply(stored([1]), stored([1]), removed([1]), { type: "AllBlocksCleared" });
    expect(trust()).toBe("exact");
  });
});

describe("a store that no request can have reused is a copy (A9)", () => {
  const window = { groupIdx: 1, kvCacheSpecKind: "sliding_window", kvCacheSpecSlidingWindow: 4 };
  const mamba = { groupIdx: 1, kvCacheSpecKind: "mamba" };
  const removedThere = (names: readonly number[]): KvEvent => ({ ...removed(names), groupIdx: 1 }) as KvEvent;
  const all = blocks(1, 2, 3);

  test("since a window lacks a block that it needs", () => {
    apply(stored([1, 2, 3]), stored([1, 2, 3], window), removedThere([2]));
    apply(stored([1, 2, 3]), stored([1, 2, 3], window));
    apply(removed([1, 2, 3]), removedThere([1, 3]));
    expect([matched(all), trust()]).toEqual([6, "exact"]);
    apply(removedThere([3]));
    expect([matched(all), trust()]).toEqual([4, "exact"]);
  });

  test("since the state at its end is not there, and the states before it are left out", () => {
    const state = stored([3], { ...mamba, tokenIds: all });
    apply(stored([1, 2, 3]), state, removedThere([3]));
    apply(stored([1, 2, 3]), state, removed([1, 2, 3]));
    expect([matched(all), trust()]).toEqual([6, "exact"]);
    // A masked store is a copy whatever is there.
    apply(state, removedThere([3]));
    expect([matched(all), trust()]).toEqual([6, "exact"]);
  });

  test("but may be a report where every group allows its end, and then leaves each group in doubt", () => {
    apply(stored([1, 2, 3]), stored([1, 2, 3], window), removedThere([1]));
    expect(trust()).toBe("exact");
    apply(stored([1, 2, 3]), stored([1, 2, 3], window));
    // The first block of the window was let go, and a copy of it may be there.
    expect([matched(all), trust()]).toEqual([6, "partial"]);
    apply(removedThere([1]));
    expect(trust()).toBe("exact");
    apply(removedThere([3]));
    expect([matched(all), trust()]).toEqual([0, "partial"]);
    apply(removedThere([3]));
    expect(trust()).toBe("exact");
  });

  test("and is uncertain, but no loss, while a store waits for its parent", () => {
    apply(stored([1]), stored([1], window), stored([7], { parentBlockHash: 6n }));
    apply(stored([1]), stored([1], window), stored([6]));
    expect([applier.doubts.reason, counters.eventsDropped.copies_untracked]).toEqual([null, 0]);
    apply(removedThere([1]));
    expect([matched(blocks(1)), trust()]).toEqual([0, "partial"]);
    apply(removedThere([1]));
    expect(trust()).toBe("exact");
  });

  test("and is judged with blocks in doubt as held (R1)", () => {
    apply(stored([1, 2, 3]), stored([1, 2, 3], window), stored([1, 2, 3]), stored([1, 2, 3], window));
    apply(removedThere([3]));
    expect(trust()).toBe("partial");
    apply(stored([1, 2, 3]), stored([1, 2, 3], window), removed([1, 2, 3]));
    expect(matched(all)).toBe(0);
  });

  test("and shows what the stores of later groups are, by the message and the name at its end", () => {
    const run = { groupIdx: 2, kvCacheSpecKind: "full_attention" };
    apply(stored([1]), stored([1], window), stored([1], run), removed([1]));
    apply(stored([1]), stored([1], window), stored([1], run));
    apply(removedThere([1]), { ...removed([1]), groupIdx: 2 } as KvEvent);
    expect([matched(blocks(1)), trust()]).toEqual([2, "exact"]);
  });
});

describe("a store that waits for its parent (A10)", () => {
  const orphan = stored([9], { parentBlockHash: 8n });

  test("makes the rank partial until its parent comes or it is removed", () => {
    apply(orphan);
    expect(trust()).toBe("partial");
    apply(stored([8]));
    expect([trust(), matched(blocks(8, 9))]).toEqual(["exact", 4]);
    apply(stored([7], { parentBlockHash: 6n }), removed([7]));
    expect(trust()).toBe("exact");
  });

  test("is no loss when it is given up on the device of an engine whose history is known", () => {
    apply(orphan);
    index.clearRank(RANK);
    applier.noteGivenUp();
    expect(trust()).toBe("exact");
    apply(removed([9]));
    expect(trust()).toBe("exact");
  });

  test("is a loss when it is given up below the device, or when history is missing", () => {
    apply(stored([9], { parentBlockHash: 8n, medium: "CPU" }));
    index.clearRank(RANK);
    applier.noteGivenUp();
    expect(trust()).toBe("partial");
    applier.beginAt(1, false);
    apply(orphan);
    applier.noteGivenUp();
    expect(applier.historyFrom).toBe(2);
  });
});

describe("units of another size (A11)", () => {
  const device = stored([1, 2, 3, 4]);
  const unit = (name: number, tokenIds: readonly number[], parent: bigint): BlockStored => {
    const blockHashes = [BigInt(name)];
    return stored([], {
      blockHashes,
      tokenIds,
      blockSize: tokenIds.length,
      parentBlockHash: parent,
      medium: "CPU",
    });
  };

  test.each([
    ["larger units", blocks(5, 6, 7, 8)],
    ["a tail smaller than a block", [5]],
  ])("%s behind a prefix on the device: partial, and nothing waits", (_, tokens) => {
    apply(device, unit(99, tokens, 4n));
    expect([matched([...blocks(1, 2, 3, 4), ...tokens]), trust()]).toEqual([8, "partial"]);
    expect([index.hasParked(RANK), counters.eventsDropped.other_block_size]).toEqual([false, 1]);
    apply(removed([99], "CPU"));
    expect(matched(blocks(1, 2, 3, 4))).toBe(8);
    applier.beginAt(2, true);
    expect(trust()).toBe("exact");
  });

  test("several blocks at once below the device may be one unit, of which no part is reused: not stored", () => {
    apply(stored([1, 2], { medium: "CPU" }), stored([3], { medium: "CPU" }));
    expect([matched(blocks(1, 2)), matched(blocks(3)), trust()]).toEqual([0, 2, "partial"]);
    apply(stored([5, 6], { medium: "CPU_PINNED", groupIdx: null }));
    expect(matched(blocks(5, 6))).toBe(4);
  });

  test("a chain of units from the root is found by their own size", () => {
    const root = { ...unit(50, blocks(1, 2), 0n), parentBlockHash: null };
    apply(device, root, unit(51, blocks(3, 4), 50n));
    expect([matched(blocks(1, 2, 3, 4), 4), matched(blocks(1, 2, 3, 4)), trust()]).toEqual([8, 8, "partial"]);
  });
});

describe("names that stand for several contents (A12)", () => {
  test("three equal pages, named by their tokens alone (SGLang before 0.5.6)", () => {
    applyHex(CONTENT_NAMES);
    expect([matched([1, 2, 1, 2, 1, 2]), trust()]).toEqual([0, "stale"]);
    expect(counters.eventsDropped.content_names).toBe(2);
  });

  test("nothing is attached behind such a name, whichever prefix it means", () => {
    const child = (name: number, parent: number): BlockStored =>
      stored([name], { parentBlockHash: BigInt(parent), groupIdx: null });
    apply(stored([1], { groupIdx: null }), child(2, 1), stored([5], { groupIdx: null }), child(2, 5));
    apply(child(3, 2));
    expect([matched(blocks(5, 2, 3)), matched(blocks(1, 2, 3)), trust()]).toEqual([4, 2, "stale"]);
    const next = make();
    next.restore(applier.state(), 1);
    applier = next;
    apply(child(4, 2));
    expect(matched(blocks(5, 2, 4))).toBe(4);
  });
});

describe("a name that comes to mean another block with a store that waited (A12)", () => {
  const child = (name: number, parent: number): BlockStored =>
    stored([name], { parentBlockHash: BigInt(parent), groupIdx: null });

  test("is the one that nothing is attached behind", () => {
    apply(stored([1], { groupIdx: null }), child(2, 1), child(2, 8), stored([8], { groupIdx: null }));
    expect(counters.eventsDropped.content_names).toBe(1);
    apply(child(3, 2), child(4, 8));
    expect([matched(blocks(8, 2, 3)), matched(blocks(8, 4)), trust()]).toEqual([4, 4, "stale"]);
  });
});

function range(from: number, to: number): number[] {
  return Array.from({ length: to - from }, (_, i) => from + i);
}

/** A block is stored; a request asks for a report of it; it is evicted for a prompt of four blocks. */
const REPORT_THEN_EVICTION = [
  "93cb41dac2da1fd6fa1491de000ba474797065ab426c6f636b53746f726564ac626c6f636b5f68617368657391cf8fce057e" +
    "23bae91db1706172656e745f626c6f636b5f68617368c0a9746f6b656e5f6964739401020304aa626c6f636b5f73697a6504" +
    "a76c6f72615f6964c0a66d656469756da3475055a96c6f72615f6e616d65c0aa65787472615f6b65797391c0a967726f7570" +
    "5f69647800b26b765f63616368655f737065635f6b696e64ae66756c6c5f617474656e74696f6ec0",
  "93cb41dac2da1fd724ef91de000ba474797065ab426c6f636b53746f726564ac626c6f636b5f68617368657391cf8fce057e" +
    "23bae91db1706172656e745f626c6f636b5f68617368c0a9746f6b656e5f6964739401020304aa626c6f636b5f73697a6504" +
    "a76c6f72615f6964c0a66d656469756da3475055a96c6f72615f6e616d65c0aa65787472615f6b65797391c0a967726f7570" +
    "5f69647800b26b765f63616368655f737065635f6b696e64ae66756c6c5f617474656e74696f6ec0",
  "93cb41dac2da1fd728c79284a474797065ac426c6f636b52656d6f766564ac626c6f636b5f68617368657391cf8fce057e23" +
    "bae91da66d656469756da3475055a967726f75705f69647800de000ba474797065ab426c6f636b53746f726564ac626c6f63" +
    "6b5f68617368657394cfc10763660ce55bf1cf8c502c55ad0e9cf4cf9ec553280f6e65dacf039971a23cbda461b170617265" +
    "6e745f626c6f636b5f68617368c0a9746f6b656e5f696473dc001032333435363738393a3b3c3d3e3f4041aa626c6f636b5f" +
    "73697a6504a76c6f72615f6964c0a66d656469756da3475055a96c6f72615f6e616d65c0aa65787472615f6b65797394c0c0" +
    "c0c0a967726f75705f69647800b26b765f63616368655f737065635f6b696e64ae66756c6c5f617474656e74696f6ec0",
];

/** Blocks of two tokens, all [1, 2]: from the root, behind itself, behind itself. */
const CONTENT_NAMES = [
  "92cb41da3054981000009196ab426c6f636b53746f726564910bc092010202c0",
  "92cb41da3054985000009196ab426c6f636b53746f726564910b0b92010202c0",
  "92cb41da3054989000009196ab426c6f636b53746f726564910b0b92010202c0",
];
