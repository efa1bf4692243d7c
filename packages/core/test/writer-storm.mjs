/**
 * A writer in a thread of its own, for prefix-index.writers.test.ts: it runs a seeded list of writes for the ranks it is
 * given. The test runs the same list on the specification, so both are made by `applyStorm`.
 *
 * Plain JavaScript, since Node 20 runs no TypeScript.
 */
import { isMainThread, parentPort, workerData } from "node:worker_threads";
import { PrefixIndex, Prng } from "@kvsync/core";

/** Tokens of a block of a prompt: few prompts, so that writers meet in the same blocks. */
function writeChain(scratch, prompt, count, blockSize, seed) {
  for (let block = 0; block < count; block++) {
    for (let i = 0; i < blockSize; i++) scratch.tokens[block * blockSize + i] = prompt * 1000 + block;
    scratch.hashes[2 * block] = (prompt << 16) | block;
    scratch.hashes[2 * block + 1] = seed;
  }
}

/** One writer's whole life: stores, parked stores, removals, clears, on its own ranks. */
export function applyStorm(writer, { ranks, contexts, writes, seed }) {
  const random = new Prng(seed);
  const { scratch } = writer;
  for (let i = 0; i < writes; i++) {
    const rank = ranks[random.below(ranks.length)];
    const key = contexts[random.below(contexts.length)];
    const prompt = random.below(40);
    const count = 1 + random.below(24);
    const engineSeed = rank % 2;
    const dice = random.below(100);
    if (dice < 60) {
      writeChain(scratch, prompt, count, key.blockSize, engineSeed);
      writer.storeBlocks(writer.openContext(key), rank, dice % 2, count, false, 0, 0, false);
    } else if (dice < 70) {
      // A child whose parent may be there or not.
      const parent = random.below(24);
      writeChain(scratch, prompt + 100, count, key.blockSize, engineSeed);
      const low = (prompt << 16) | parent;
      writer.storeBlocks(writer.openContext(key), rank, 0, count, true, low, engineSeed, false);
    } else if (dice < 98) {
      writeChain(scratch, prompt, count, key.blockSize, engineSeed);
      writer.removeBlocks(rank, dice % 2, count);
    } else writer.clearRank(rank);
  }
}

if (!isMainThread && workerData?.storm !== undefined) {
  const writer = PrefixIndex.attach(workerData.shared, {
    parkedStoresPerRankMax: 1_000_000,
    parkedBytesMax: 2 ** 30,
  });
  parentPort.once("message", () => {
    const began = performance.now();
    applyStorm(writer, workerData.storm);
    parentPort.postMessage({ seconds: (performance.now() - began) / 1000 });
  });
  parentPort.postMessage("ready");
}
