/**
 * The cost of a snapshot: how long ingest pauses for the copy, how long writing and loading take,
 * and bytes per holder. Two million blocks of 16 ranks, seeded.
 *
 *     node apps/sync-daemon/bench/snapshot.bench.ts
 */
import { mkdtempSync, rmSync } from "node:fs";
import { cpus, tmpdir } from "node:os";
import { join } from "node:path";
import { argv, execPath, version } from "node:process";

import { PrefixIndex, Prng } from "@kvsync/core";

import { loadSnapshot, writeSnapshot } from "../dist/snapshot/snapshot-file.js";

const SEED = 20261121;
const BLOCKS = 2_000_000;
const RANKS = 16;
const RUN = 64;
const ROUNDS = 5;

const random = new Prng(SEED);
const index = PrefixIndex.create();
const key = { model: "bench", loraName: null, blockSize: 16, lookahead: 0 };
for (let stored = 0; stored < BLOCKS; stored += RUN) {
  for (let i = 0; i < 16 * RUN; i++) index.scratch.tokens[i] = random.below(128_000);
  for (let i = 0; i < 2 * RUN; i++) index.scratch.hashes[i] = random.nextU32();
  index.storeBlocks(index.openContext(key), (stored / RUN) % RANKS, 0, RUN, false, 0, 0, false);
}
const mark = { sequenceNumber: 1, low: 0, high: 0, atMs: 0 };
const streams = Array.from({ length: RANKS }, (_, rankSlot) => ({
  rankSlot,
  workerId: `engine-${rankSlot}`,
  model: "bench",
  dpRank: 0,
  endpoint: `tcp://h:${rankSlot + 1}`,
  topic: "",
  reportMode: "delta" as const,
  position: {
    lastSequenceNumber: 1,
    begunAt: 0,
    lastBatchTimestampSeconds: null,
    fence: { anchor: mark, newer: mark, last: mark },
    applier: {
      groups: {
        main: null,
        mainBlockSize: 4,
        mainKind: "full_attention" as const,
        contextBlockSize: 4,
        scoutedCount: 1,
        groups: [],
        others: [],
        isSetAside: false,
      },
      outlivesClear: false,
      losses: [],
      hasParkedBelowDevice: false,
      hasGivenUp: false,
      uncertainCopies: [],
      contentNames: [],
      historyFrom: 0,
      overReportsSince: 0,
    },
  },
}));
const folder = mkdtempSync(join(tmpdir(), "kvsync-snapshot-bench-"));
const path = join(folder, "snapshot");
/** CPU of all threads so far: other programs do not count. */
function cpuMs(): number {
  const { user, system } = process.cpuUsage();
  return (user + system) / 1000;
}

const least = { copy: Infinity, write: Infinity, load: Infinity };
let [rows, bytes] = [0, 0];
for (let round = 0; round < ROUNDS; round++) {
  const began = cpuMs();
  const copy = index.copy();
  const copied = cpuMs();
  const head = { productVersion: "bench", createdMs: 0, hashSeed: "1337", streams };
  ({ rows, bytes } = writeSnapshot(path, head, copy));
  const written = cpuMs();
  const target = PrefixIndex.create();
  const loading = cpuMs();
  loadSnapshot(path, target.importer(), "1337");
  const loaded = cpuMs();
  if (target.stats().holderCount !== rows) throw new Error("not everything came back");
  least.copy = Math.min(least.copy, copied - began);
  least.write = Math.min(least.write, written - copied);
  least.load = Math.min(least.load, loaded - loading);
}
rmSync(folder, { recursive: true });
const million = rows / 1e6;
console.log(`${cpus()[0]?.model ?? "?"}, ${cpus().length} cores, Node ${version}`);
console.log(
  `${execPath} ${argv[1] ?? ""}; seed ${SEED}; ${rows} holders, ${ROUNDS} rounds, CPU, least of each`,
);
console.log(`ingest stands still   ${(least.copy / million).toFixed(1)} ms per million holders`);
console.log(`writing, beside it    ${(least.write / million).toFixed(0)} ms per million holders`);
console.log(`checking and loading  ${(least.load / million).toFixed(0)} ms per million holders`);
console.log(`size                  ${(bytes / rows).toFixed(1)} bytes a holder`);
