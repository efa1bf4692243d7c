/**
 * Several writers of one index, each in its own thread and with its own ranks
 * (`test/writer-storm.mjs`). The blocks of a rank do not depend on other ranks. So in the end the
 * index has to equal its specification, which runs the writers' lists one after the other.
 */
import { once } from "node:events";
import { Worker } from "node:worker_threads";
import { describe, expect, test } from "vitest";
import { applyStorm } from "../../test/writer-storm.mjs";
import { ReferenceHash } from "../block-hash/testing/reference-hash.ts";
import { DEFAULT_HASH_SEED, type ContextKey, type IndexWriter } from "./contract.ts";
import { dumpLines } from "./testing/index-pair.ts";
import { NaivePrefixIndex } from "./testing/naive-prefix-index.ts";
import { PrefixIndex } from "./prefix-index.ts";
import { PrefixReader } from "./prefix-reader.ts";

const SEED = Number(process.env["KVSYNC_MODEL_SEED"] ?? Math.floor(Math.random() * 2 ** 31));
const WRITES = 6_000;
const UNLIMITED_PARK = { parkedStoresPerRankMax: 1_000_000, parkedBytesMax: 2 ** 30 };

interface Storm {
  readonly ranks: readonly number[];
  readonly contexts: readonly ContextKey[];
  readonly writes: number;
  readonly seed: number;
}

function contextsOf(count: number): ContextKey[] {
  return Array.from({ length: count }, (_, i) => ({
    model: "m",
    loraName: i === 0 ? null : `adapter-${i}`,
    blockSize: 4,
    lookahead: 0,
  }));
}

function stormsOf(writers: number, contexts: readonly ContextKey[]): Storm[] {
  return Array.from({ length: writers }, (_, i) => ({
    ranks: [i, i + writers, i + 2 * writers],
    contexts,
    writes: WRITES,
    seed: SEED + i,
  }));
}

async function storm(index: PrefixIndex, storms: readonly Storm[]): Promise<void> {
  const threads = storms.map(
    (one) =>
      new Worker(new URL("../../test/writer-storm.mjs", import.meta.url), {
        workerData: { shared: index.shared, storm: one },
      }),
  );
  await Promise.all(threads.map((thread) => once(thread, "message")));
  const done = threads.map((thread) => once(thread, "message"));
  for (const thread of threads) thread.postMessage("go");
  await Promise.all(done);
  await Promise.all(threads.map((thread) => thread.terminate()));
}

describe(`several writers (KVSYNC_MODEL_SEED=${SEED})`, () => {
  test.each([2, 4])("%i threads leave what their lists say, one after the other", async (writers) => {
    const contexts = contextsOf(3);
    const storms = stormsOf(writers, contexts);
    const index = PrefixIndex.create(UNLIMITED_PARK);
    await storm(index, storms);
    expect(index.check()).toEqual([]);
    const naive = new NaivePrefixIndex(await ReferenceHash.create(DEFAULT_HASH_SEED));
    const specified: IndexWriter = naive;
    for (const one of storms) applyStorm(specified, one);
    const reader = PrefixReader.attach(index.shared, { tokensMax: 64 });
    for (const key of contexts)
      expect(dumpLines(reader, reader.findContext(key))).toEqual(naive.dump(naive.openContext(key)));
  });

  test("contexts that writers take from each other cost a store, not the index", async () => {
    const index = PrefixIndex.create({ ...UNLIMITED_PARK, contextCountMax: 2 });
    await storm(index, stormsOf(3, contextsOf(6)));
    expect(index.check()).toEqual([]);
    expect(index.contexts().length).toBeLessThanOrEqual(2);
  });

  test("a rank that goes from one writer to another takes its parked stores along", () => {
    const first = PrefixIndex.create();
    const second = PrefixIndex.attach(first.shared);
    const [key] = contextsOf(1);
    const store = (writer: PrefixIndex, names: readonly number[], parent: number | null): string => {
      names.forEach((name, i) => {
        writer.scratch.tokens.fill(name, 4 * i, 4 * i + 4);
        writer.scratch.hashes.set([name, 0], 2 * i);
      });
      return writer.storeBlocks(
        writer.openContext(key),
        7,
        0,
        names.length,
        parent !== null,
        parent ?? 0,
        0,
        false,
      );
    };
    expect(store(first, [3, 4], 2)).toBe("parked");
    const importer = second.importer();
    for (const parked of first.takeParked(7)) importer.park(parked);
    expect([first.stats().parkedStoreCount, second.stats().parkedStoreCount]).toEqual([0, 1]);
    expect(store(second, [1, 2], null)).toBe("stored");
    expect(second.rankBlockCount(7)).toBe(4);
    expect(second.check()).toEqual([]);
  });
});
