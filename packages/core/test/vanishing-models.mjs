/**
 * A process in which models come and go: each has blocks for a moment, and then none. Prints its memory before, early, late,
 * and after some more writes that store nothing, as JSON.
 */
import { PrefixIndex } from "@kvsync/core";

const EARLY = 600;
const MODELS = 10_000;
/** Twice the writes after which an empty context goes (kernel/reclaim.ts). */
const IDLE_WRITES = 2_048;
const BLOCKS = 500;

const index = PrefixIndex.create();
const { tokens, hashes } = index.scratch;

function comeAndGo(model) {
  const rankSlot = model % 7;
  const key = { model: `model-${model}`, loraName: null, blockSize: 1, lookahead: 0 };
  const write = () => {
    for (let i = 0; i < BLOCKS; i++) {
      tokens[i] = i;
      hashes[2 * i] = i;
      hashes[2 * i + 1] = model;
    }
  };
  write();
  index.storeBlocks(index.openContext(key, rankSlot), rankSlot, 0, BLOCKS, false, 0, 0, false);
  write();
  index.removeBlocks(rankSlot, 0, BLOCKS);
}

const memory = () => {
  globalThis.gc?.();
  return { rss: process.memoryUsage.rss(), allocated: index.stats().allocatedBytes };
};
const empty = memory();
let early = null;
for (let model = 0; model < MODELS; model++) {
  comeAndGo(model);
  if (model === EARLY) early = memory();
}
const late = memory();
for (let i = 0; i < IDLE_WRITES; i++) index.removeBlocks(0, 0, 1);
process.stdout.write(JSON.stringify({ empty, early, late, idle: memory() }));
