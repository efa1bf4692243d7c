/**
 * Stores whose parents never come, given up by a real index (A10, G1). The tests cover the blocks
 * that are missing for them, and the blocks that are not.
 */
import { beforeEach, describe, expect, test } from "vitest";
import { PrefixIndex } from "../prefix-index/prefix-index.ts";
import { PrefixReader } from "../prefix-index/prefix-reader.ts";
import { EventBatchDecoder } from "../wire/event-batch-decoder.ts";
import { encodeEventBatch } from "../wire/event-batch-encoder.ts";
import type { BlockStored, KvEvent } from "../wire/events.ts";
import { EventApplier } from "./event-applier.ts";
import { createSyncCounters } from "./sync-report.ts";

const RANK = 3;
const AGE_MS = 1_000;
let index: PrefixIndex;
let reader: PrefixReader;
let applier: EventApplier;

beforeEach(() => {
  index = PrefixIndex.create({
    memoryBytesMax: 64 * 1024 * 1024,
    parkedStoresPerRankMax: 1_000,
    parkedAgeMsMax: AGE_MS,
    onEviction: () => {
      applier.noteGivenUp();
    },
  });
  reader = PrefixReader.attach(index.shared, { tokensMax: 4_096 });
  const decoder = new EventBatchDecoder(index.scratch);
  applier = new EventApplier(
    { rankSlot: RANK, model: "m", dpRank: 0, hasReplay: true },
    { index, decoder, counters: createSyncCounters(), listener: {} },
  );
  applier.beginAt(0, true);
});

function apply(...events: KvEvent[]): void {
  applier.apply(1, encodeEventBatch({ timestampSeconds: 1.5, events, dataParallelRank: 0 }, "vllm-0.29"));
}

/** A block of two tokens [n, n], named n. */
function stored(name: number, parent: number | null): BlockStored {
  return {
    type: "BlockStored",
    blockHashes: [BigInt(name)],
    parentBlockHash: parent === null ? null : BigInt(parent),
    tokenIds: [name, name],
    blockSize: 2,
    medium: "GPU",
    groupIdx: 0,
    kvCacheSpecKind: "full_attention",
  };
}

function matched(names: readonly number[]): number {
  const contextId = index.openContext({ model: "m", loraName: null, blockSize: 2, lookahead: 0 });
  reader.tokens.set(names.flatMap((name) => [name, name]));
  const { matchCount, rows } = reader.matchTokens(contextId, 2 * names.length, false);
  return matchCount === 0 ? 0 : rows[1];
}

describe("a store on the device that was given up (A10)", () => {
  test("is no loss until its parent is stored after all (G1)", () => {
    apply(stored(9, 8));
    expect(applier.doubts.reason).toBe("waiting_for_parent");
    index.passTime(2 * AGE_MS);
    expect(applier.doubts.trust).toBe("exact");
    apply(stored(7, null));
    expect(applier.doubts.trust).toBe("exact");
    apply(stored(8, null));
    expect([matched([8, 9]), applier.doubts.reason]).toEqual([1, "parked_evicted"]);
    apply({ type: "AllBlocksCleared" }, stored(8, null));
    expect(applier.doubts.trust).toBe("exact");
  });

  test("is a loss in a state that another stream takes over, since its parents do not go along", () => {
    apply(stored(9, 8));
    index.passTime(2 * AGE_MS);
    expect(applier.state().losses).toEqual(["parked_evicted"]);
  });

  test("beside eighty thousand others hides no chain, takes no memory, and leaves no doubt", () => {
    const chain: number[] = [];
    let bytes = 0;
    for (let batch = 0; batch < 160; batch += 1) {
      const name = 1_000_000 + batch;
      const orphans = Array.from({ length: 500 }, (_, i) => {
        const orphan = 2_000_000 + 2 * (500 * batch + i);
        return stored(orphan, orphan + 1);
      });
      apply(...orphans, stored(name, chain.at(-1) ?? null));
      chain.push(name);
      if (batch === 20) bytes = index.stats().memoryBytes;
    }
    expect([matched(chain), applier.doubts.reason]).toEqual([160, "waiting_for_parent"]);
    expect(index.parkedStoreCount(RANK)).toBeLessThanOrEqual(1_000);
    expect(index.stats().memoryBytes).toBe(bytes);
    index.passTime(2 * AGE_MS);
    expect([matched(chain), applier.doubts.trust]).toEqual([160, "exact"]);
    apply(stored(5, null));
    expect(applier.doubts.trust).toBe("exact");
  });
});
