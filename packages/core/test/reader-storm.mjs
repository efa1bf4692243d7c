/**
 * A reader in its own thread, for prefix-index.concurrency.test.ts. It looks prompts up as fast as
 * it can while the test's thread writes. It checks each answer against facts that hold at any
 * moment:
 *
 *   - a rank belongs to one family of prompts and is never reported for another family's;
 *   - a rank is never reported deeper than it ever stores;
 *   - the tiers of a row sum to its matched blocks, and no rank has two rows.
 *
 * Runs on the built package, as a user's worker thread does. Plain JavaScript, since Node 20 runs no TypeScript.
 */
import { parentPort, workerData } from "node:worker_threads";
import { MATCH_ROW_WORDS, PrefixReader, Prng } from "@kvsync/core";

const { shared, control, plan, number, seed } = workerData;
const random = new Prng(seed);
const reader = PrefixReader.attach(shared);
const seenAt = new Int32Array(plan.rankCount);
const counts = { lookups: 0, rows: 0, matchedBlocks: 0 };
const violations = [];
let contextIds = [];

function writeTokens(family, branch) {
  for (let block = 0; block < plan.depth; block++)
    for (let i = 0; i < plan.blockSize; i++)
      reader.tokens[block * plan.blockSize + i] =
        ((family * plan.branchCount + branch) * plan.depth + block) * 64 + i;
}

function checkRow(rows, at, family) {
  const [slot, matched, device, host, disk, remote] = rows.subarray(at, at + MATCH_ROW_WORDS);
  const wrong = [];
  if (slot >= plan.rankCount) wrong.push("a rank that never was");
  else {
    if (slot % plan.familyCount !== family) wrong.push("another family's rank");
    if (matched > plan.depths[slot]) wrong.push("deeper than the rank ever stores");
    if (seenAt[slot] === counts.lookups) wrong.push("a second row of one rank");
    seenAt[slot] = counts.lookups;
  }
  if (matched === 0) wrong.push("an empty row");
  if (device + host + disk + remote !== matched) wrong.push("tiers that do not sum up");
  if (wrong.length > 0 && violations.length < 10)
    violations.push(
      `${wrong.join(", ")}: family ${family}, row ${[slot, matched, device, host, disk, remote]}`,
    );
  counts.matchedBlocks += matched;
}

function lookUp() {
  // Ids are kept for a while on purpose: a context may be evicted, and its slot be another's, in between.
  if (counts.lookups % 64 === 0) contextIds = plan.contexts.map((key) => reader.findContext(key));
  const contextId = random.pick(contextIds);
  if (contextId < 0) return;
  const [family, branch] = [random.below(plan.familyCount), random.below(plan.branchCount)];
  const byTokens = random.chance(0.5);
  if (byTokens) writeTokens(family, branch);
  else reader.hashes.set(plan.hashes.subarray(...hashRange(family, branch)));
  counts.lookups++;
  const { matchCount, rows } = byTokens
    ? reader.matchTokens(contextId, plan.depth * plan.blockSize, false)
    : reader.matchHashes(contextId, plan.depth);
  for (let i = 0; i < matchCount; i++) checkRow(rows, i * MATCH_ROW_WORDS, family);
  counts.rows += matchCount;
}

function hashRange(family, branch) {
  const start = 2 * (family * plan.branchCount + branch) * plan.depth;
  return [start, start + 2 * plan.depth];
}

parentPort.postMessage("ready");
const [STOP, LOOKUPS] = [0, 1];
while (Atomics.load(control, STOP) === 0) {
  lookUp();
  Atomics.store(control, LOOKUPS + number, counts.lookups);
}
parentPort.postMessage({ ...counts, violations });
