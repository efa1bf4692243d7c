/**
 * The cost of a large fleet for a shard that follows a part of it: each shard has the entries of all engines.
 *
 *   node apps/sync-daemon/bench/shard-sources.bench.ts [ENGINES SHARDS]
 *
 * Prints CPU time of the first list of engines, and of a list in which one engine changed. A watch of pods
 * states such a list after each change. Medians of nine. The registry's follower does nothing.
 */
import { cpus } from "node:os";

import { EngineSources, type StatedEngine } from "../src/discovery/engine-sources.ts";
import { engineEntry } from "../src/engine/engine-entry.ts";
import { EngineRegistry } from "../src/engine/engine-registry.ts";
import { FleetShard } from "../src/engine/fleet-shard.ts";
import { benchFigure } from "../../../packages/core/bench/bench-figure.ts";

const engineCount = benchFigure("engines", process.argv[2] ?? 10_000, 1, 16_384);
const shardCount = benchFigure("shards", process.argv[3] ?? 10, 1, 1_024);
const ROUNDS = 9;

function entry(n: number, incarnation: number): StatedEngine {
  const address = `10.${n >> 16}.${(n >> 8) & 255}.${n & 255}`;
  const port = 5557 + incarnation;
  const engine = engineEntry.parse({
    id: `vllm-${n}`,
    model: "demo/model",
    endpoint: `tcp://${address}:${port}`,
    replay_endpoint: `tcp://${address}:${port + 1000}`,
  });
  return { engine, incarnation: String(incarnation) };
}

function cpuMs(work: () => void): number {
  const before = process.cpuUsage();
  work();
  const { user, system } = process.cpuUsage(before);
  return (user + system) / 1000;
}

function median(values: readonly number[]): number {
  return values.toSorted((a, b) => a - b)[values.length >> 1] ?? Number.NaN;
}

const fleet = Array.from({ length: engineCount }, (_, n) => entry(n, 0));
const registry = new EngineRegistry(
  { follow: () => undefined, forget: () => Promise.resolve(), redial: () => undefined },
  { engines: 4096, engineFiles: Infinity, filesOf: () => 4 },
);
const heard = { log: () => undefined, refused: () => undefined };
const sources = new EngineSources(registry, heard, new FleetShard(0, shardCount));
const first = cpuMs(() => {
  sources.state("kubernetes", fleet);
});
const changes = Array.from({ length: ROUNDS }, (_, round) => {
  const n = (round * 7919) % engineCount;
  const changed = fleet.with(n, entry(n, round + 1));
  return cpuMs(() => {
    sources.state("kubernetes", changed);
  });
});
const { length: cores } = cpus();
process.stdout.write(
  `${cores} × ${cpus()[0]?.model.trim() ?? "?"}, Node ${process.version}\n` +
    `${engineCount} engines, ${shardCount} shards: ${sources.ownCount} followed, ${sources.elsewhereCount} elsewhere\n` +
    `first list ${first.toFixed(1)} ms, one change ${median(changes).toFixed(1)} ms of CPU\n`,
);
