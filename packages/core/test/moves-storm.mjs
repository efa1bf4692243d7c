/**
 * A reader in a thread of its own, for parts-reader.concurrency.test.ts. It looks one prompt up while ranks move, in the context
 * that `control` names, and counts answers that are not the one there is.
 *
 * Plain JavaScript, since Node 20 runs no TypeScript.
 */
import { parentPort, workerData } from "node:worker_threads";
import { attachReader } from "@kvsync/core";

const [STOP, LOOKUPS, KEY] = [0, 1, 2];
const { shared, keys, tokenCount, ranks, blocks, control } = workerData;
const reader = attachReader(shared, { tokensMax: tokenCount });
for (let i = 0; i < tokenCount; i++) reader.tokens[i] = i;
parentPort.postMessage("ready");
let [lookups, wrong] = [0, 0];
while (Atomics.load(control, STOP) === 0) {
  const key = keys[Atomics.load(control, KEY)];
  const { matchCount, rows } = reader.matchTokens(reader.findContext(key), tokenCount, false);
  const seen = new Map();
  for (let i = 0; i < matchCount; i++) seen.set(rows[7 * i], rows[7 * i + 1]);
  const isRight =
    matchCount === ranks && seen.size === ranks && [...seen.values()].every((one) => one === blocks);
  if (!isRight) wrong += 1;
  lookups += 1;
  Atomics.add(control, LOOKUPS, 1);
}
parentPort.postMessage({ lookups, wrong });
