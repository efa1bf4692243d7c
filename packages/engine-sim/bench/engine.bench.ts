/**
 * The cost of a simulated engine: the share of one core that a fleet of them takes in a replay.
 * Prompts have 12,000 tokens (the mean of the Mooncake conversation trace), half of each shared
 * with an earlier one. They go through one engine whose pool holds a few of them, so that nearly
 * every stored block evicts another. Hashing, prefix hashing, events and, on the second line,
 * encoding are inside the measured time. Making the prompts is not.
 *
 *     node bench/engine.bench.ts [requests, default 2000]
 */
import { cpus } from "node:os";
import { encodeEventBatch, Prng } from "@kvsync/core";
import { type EngineRequest, SimulatedEngine } from "@kvsync/engine-sim";
import { benchFigure } from "../../core/bench/bench-figure.ts";

const PROMPT_TOKENS = 12_000;
const SHARED_TOKENS = 4_400;
const OUTPUT_TOKENS = 340;
const SEED = 1;
const ROUNDS = 5;

const requestCount = benchFigure("requests", process.argv[2] ?? 2_000, 1, 10_000_000);

function requestsOf(count: number): EngineRequest[] {
  const random = new Prng(SEED);
  const families = Array.from({ length: 8 }, () =>
    Uint32Array.from({ length: SHARED_TOKENS }, () => random.below(128_256)),
  );
  return Array.from({ length: count }, (_, id) => {
    const promptTokens = new Uint32Array(PROMPT_TOKENS);
    promptTokens.set(random.pick(families));
    for (let i = SHARED_TOKENS; i < PROMPT_TOKENS; i++) promptTokens[i] = random.below(128_256);
    return { id, promptTokens, output: { count: OUTPUT_TOKENS, seed: id } };
  });
}

interface Round {
  readonly stepSeconds: number;
  readonly encodeSeconds: number;
  /** Of the whole process, collector's threads included: what counts when others share the machine. */
  readonly cpuSeconds: number;
  readonly steps: number;
  readonly storedBlocks: number;
  readonly bytes: number;
}

function run(requests: readonly EngineRequest[]): Round {
  const engine = new SimulatedEngine({ id: "bench", model: "m", blockSize: 16, blockCount: 12_000 });
  let next = 0;
  let now = 0;
  let encodeNanoseconds = 0n;
  let bytes = 0;
  const cpuStart = process.cpuUsage();
  const start = process.hrtime.bigint();
  while (next < requests.length || engine.hasWork) {
    for (
      let request = requests[next];
      engine.pressure().waiting < 4 && request !== undefined;
      request = requests[++next]
    )
      engine.submit(request, now);
    const { batch, durationSeconds } = engine.step(now);
    now += durationSeconds;
    if (batch === null) continue;
    const encodeStart = process.hrtime.bigint();
    bytes += encodeEventBatch(batch.batch, engine.settings.dialect).length;
    encodeNanoseconds += process.hrtime.bigint() - encodeStart;
  }
  const total = process.hrtime.bigint() - start;
  const cpu = process.cpuUsage(cpuStart);
  const { steps, storedBlocks } = engine.counters;
  return {
    stepSeconds: Number(total - encodeNanoseconds) / 1e9,
    encodeSeconds: Number(encodeNanoseconds) / 1e9,
    cpuSeconds: (cpu.user + cpu.system) / 1e6,
    steps,
    storedBlocks,
    bytes,
  };
}

/** A batch of decoding sequences far from any block's end: what an eventless step costs. */
function quietStepNanoseconds(running: number): number {
  const blockSize = 4096;
  const engine = new SimulatedEngine({ id: "bench", model: "m", blockSize, blockCount: running });
  for (let id = 0; id < running; id++)
    engine.submit({ id, promptTokens: Uint32Array.of(id), output: { count: blockSize - 2, seed: id } }, 0);
  engine.step(0);
  const steps = blockSize - 4;
  const start = process.hrtime.bigint();
  for (let step = 0; step < steps; step++) engine.step(step);
  return Number(process.hrtime.bigint() - start) / steps;
}

const requests = requestsOf(requestCount);
const rounds = Array.from({ length: ROUNDS }, () => run(requests));
const perBlock = rounds.map(
  (round) => ((round.stepSeconds + round.encodeSeconds) * 1e9) / round.storedBlocks,
);
const order = [...rounds.keys()].sort((a, b) => (perBlock[a] ?? 0) - (perBlock[b] ?? 0));
console.log(`machine: ${cpus()[0]?.model.trim()} × ${cpus().length}, Node ${process.version}, seed ${SEED}`);
console.log(`command: node bench/engine.bench.ts ${requestCount}`);
for (const [name, index] of [
  ["min", order[0]],
  ["median", order[Math.floor(ROUNDS / 2)]],
] as const) {
  const round = rounds[index ?? 0];
  if (round === undefined) continue;
  const nanoseconds = (seconds: number) => ((seconds * 1e9) / round.storedBlocks).toFixed(0);
  console.log(
    `${name}: ${nanoseconds(round.stepSeconds + round.encodeSeconds)} ns per stored block ` +
      `(engine ${nanoseconds(round.stepSeconds)}, encoding ${nanoseconds(round.encodeSeconds)}), ` +
      `${nanoseconds(round.cpuSeconds)} ns of CPU time; ` +
      `${round.storedBlocks} stored, ${round.steps} steps, ${(round.bytes / round.storedBlocks).toFixed(0)} B per block`,
  );
}
for (const running of [1, 16, 256]) {
  const samples = Array.from({ length: ROUNDS }, () => quietStepNanoseconds(running)).sort((a, b) => a - b);
  console.log(
    `eventless step, ${running} running: min ${samples[0]?.toFixed(0)} ns, median ${samples[Math.floor(ROUNDS / 2)]?.toFixed(0)} ns`,
  );
}
