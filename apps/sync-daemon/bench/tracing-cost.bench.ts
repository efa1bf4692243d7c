/**
 * The cost of tracing for a lookup. Three forms are compared: the daemon's own Lookup with tracing
 * off, the same steps written without tracing and log, and the Lookup with tracing on. The last
 * runs outside a trace and within a trace that is sent to a collector. One process and one index
 * are used, with rounds in changing order. The fastest twentieth counts because other processes use
 * the machine too.
 *
 *     node apps/sync-daemon/bench/tracing-cost.bench.ts
 */
import { createServer } from "node:http";
import type { AddressInfo } from "node:net";
import { cpus } from "node:os";
import { argv, execPath, version } from "node:process";

import { PrefixIndex, PrefixReader, Prng } from "@kvsync/core";
import { Exposition } from "@kvsync/observability/exposition";
import { CATALOGUE } from "@kvsync/observability/kvsync/catalogue";
import { openLabel } from "@kvsync/observability/definition";
import { PREFIX_INDEX_METRICS } from "@kvsync/observability/kvsync/prefix-index";
import { ROUTING_METRICS } from "@kvsync/observability/kvsync/routing";
import { STREAM_METRICS } from "@kvsync/observability/kvsync/stream";
import { MetricSlots } from "@kvsync/observability/slots";

import { EngineRegistry } from "../dist/engine/engine-registry.js";
import { BoardReader, createBoardMemory } from "../dist/board/stream-board.js";
import { LineGate } from "../dist/log/line-gate.js";
import { LogLevel } from "../dist/log/log-level.js";
import { droppedCounters } from "../dist/telemetry/dropped-lines.js";
import { Lookup } from "../dist/query/lookup.js";
import { match, type MatchDependencies } from "../dist/query/match.js";
import type { MatchAnswer } from "../dist/query/match-answer.js";
import { type QuestionFields, withInput } from "../dist/query/match-query.js";
import { startTracing } from "../dist/telemetry/start-tracing.js";
import type { Tracing } from "../dist/telemetry/tracing.js";

const SEED = 20261121;
const MODEL = "bench/model";
const BLOCK_SIZE = 16;
const ENGINES = 16;
const SIZES = [512, 8192] as const;
const TOKENS_MAX = Math.max(...SIZES);
const ROUNDS = 200;
const ROUND_MS = 4;

const QUESTION: QuestionFields = {
  model: MODEL,
  loraName: null,
  blockSize: BLOCK_SIZE,
  cacheSalt: null,
  media: [],
  workers: null,
  topK: null,
  includeUnmatched: false,
};

const now = (): number => performance.timeOrigin + performance.now();
const slots = new MetricSlots(CATALOGUE, "main", () => undefined);
const prng = new Prng(SEED);
const tokens = Array.from({ length: TOKENS_MAX }, () => prng.below(152_064));

/** An index in which every engine holds the whole prompt. */
function world(): MatchDependencies {
  const index = PrefixIndex.create();
  const registry = new EngineRegistry(
    { follow: () => undefined, forget: () => Promise.resolve(), redial: () => undefined },
    { engines: ENGINES, engineFiles: ENGINES, filesOf: ({ ranks }) => ranks.length },
  );
  const context = index.openContext({ model: MODEL, loraName: null, blockSize: BLOCK_SIZE, lookahead: 0 });
  for (let i = 0; i < ENGINES; i++) {
    const ranks = [{ dpRank: 0, endpoint: `tcp://127.0.0.1:${5000 + i}`, replayEndpoint: null }];
    const engine = { id: `engine-${i}`, model: MODEL, topic: "", reportMode: "delta", ranks } as const;
    registry.register({
      ...engine,
      aliases: [],
      adapters: [],
      type: null,
      dropsLastBlock: false,
      sharedSocket: false,
      http: [],
      bind: false,
      curveServerKey: null,
    });
    const { scratch } = index;
    const blocks = TOKENS_MAX / BLOCK_SIZE;
    scratch.tokens.set(tokens);
    for (let block = 0; block < 2 * blocks; block++) scratch.hashes[block] = prng.nextU32();
    index.storeBlocks(context, i, 0, blocks, false, 0, 0, false);
  }
  const reader = PrefixReader.attach(index.shared, { tokensMax: TOKENS_MAX });
  return { reader, registry, board: new BoardReader(createBoardMemory()), now };
}

const dependencies = world();
const { reader } = dependencies;

/** What Lookup.tokens does, less tracing and log. */
function plainLookup(): (ids: readonly number[]) => MatchAnswer {
  const memory = { tokens: reader.tokens, hashes: reader.hashes, tokensMax: TOKENS_MAX };
  const model = openLabel("model", MODEL);
  const labels = { model };
  const decision = slots.histogram(ROUTING_METRICS.routingLatency, labels);
  const latency = slots.histogram(STREAM_METRICS.streamLookupLatency, labels);
  const percentage = slots.histogram(PREFIX_INDEX_METRICS.indexerMatchPercentage, labels);
  const hitRate = slots.gauge(ROUTING_METRICS.hitRate, labels);
  const operation = { model, operation: "match", status: "ok" } as const;
  const ok = slots.counter(PREFIX_INDEX_METRICS.indexerOperations, operation);
  const duration = slots.histogram(PREFIX_INDEX_METRICS.indexerOperationDuration, { operation: "match" });
  const models = new Map([[MODEL, { decision, latency, percentage, hitRate, ok }]]);
  return (ids) => {
    const startedMs = performance.now();
    const query = withInput(QUESTION, "token_ids", ids, memory);
    const readMs = performance.now();
    const answer = match(query, dependencies);
    const endedMs = performance.now();
    const handles = models.get(query.model);
    handles?.ok.inc();
    handles?.decision.observe((endedMs - startedMs) / 1000);
    handles?.latency.observe((endedMs - readMs) / 1000);
    duration.observe((endedMs - readMs) / 1000);
    handles?.percentage.observe(100);
    handles?.hitRate.set(1);
    return answer;
  };
}

function lookupWith(tracing: Tracing | null): Lookup {
  const dropped = droppedCounters(slots, "main");
  const log = new LineGate({
    thread: "main",
    level: LogLevel.create(1),
    write: () => undefined,
    dropped,
    now,
  });
  return new Lookup(dependencies, slots, {
    tokensMax: TOKENS_MAX,
    prefixHashes: "secret",
    tokenizers: { tokenize: () => Promise.resolve({ kind: "failed", reason: "tokenizer_not_configured" }) },
    log,
    tracing,
    exemplars: new Exposition(CATALOGUE),
  });
}

/** A collector that takes everything, and tracing to it. */
async function tracingTo(ratio: number): Promise<{ tracing: Tracing; end: () => Promise<void> }> {
  const collector = createServer((request, response) => {
    request.resume().on("end", () => response.end("{}"));
  });
  await new Promise<void>((resolve) => collector.listen(0, "127.0.0.1", resolve));
  const endpoint = `http://127.0.0.1:${(collector.address() as AddressInfo).port}`;
  const settings = { endpoint, ratio, batch_ratio: 0 };
  const tracing = await startTracing(settings, {
    version: "0.0.0",
    count: () => undefined,
    log: () => undefined,
  });
  if (tracing === null) throw new Error("tracing is off");
  return {
    tracing,
    end: async () => {
      await tracing.stop();
      collector.closeAllConnections();
      collector.close();
    },
  };
}

function fastest(values: readonly number[]): number {
  return [...values].sort((a, b) => a - b)[Math.floor(values.length / 20)] ?? Number.NaN;
}

async function main(): Promise<void> {
  const [unsampled, sampled] = [await tracingTo(0), await tracingTo(1)];
  const off = lookupWith(null);
  const [onUnsampled, onSampled] = [lookupWith(unsampled.tracing), lookupWith(sampled.tracing)];
  const plain = plainLookup();
  const subjects: Readonly<Record<string, (ids: readonly number[]) => MatchAnswer>> = {
    "without the code": plain,
    "tracing off": (ids) => off.tokens(QUESTION, ids),
    "on, not sampled": (ids) => onUnsampled.tokens(QUESTION, ids),
    "on, sampled": (ids) => onSampled.tokens(QUESTION, ids),
  };
  console.log(`${cpus()[0]?.model ?? "?"}, ${cpus().length} cores, Node ${version}, seed ${SEED}`);
  console.log(`${execPath} ${argv.slice(1).join(" ")}`);
  for (const size of SIZES) {
    const ids = tokens.slice(0, size);
    const times = new Map(Object.keys(subjects).map((name) => [name, [] as number[]]));
    for (let round = 0; round < ROUNDS; round++) {
      const all = Object.entries(subjects);
      const first = round % all.length;
      for (const [name, lookup] of [...all.slice(first), ...all.slice(0, first)]) {
        const beganMs = performance.now();
        let count = 0;
        for (; performance.now() - beganMs < ROUND_MS; count++) lookup(ids);
        times.get(name)?.push((1000 * (performance.now() - beganMs)) / count);
        // The exporter's turn, outside of what is measured.
        await new Promise(setImmediate);
      }
    }
    console.log(`\n${size} tokens, ${ENGINES} engines that hold all of them`);
    const base = fastest(times.get("without the code") ?? []);
    for (const [name, values] of times) {
      const microseconds = fastest(values);
      const ratio = (microseconds / base).toFixed(3);
      console.log(`${name.padEnd(20)}${microseconds.toFixed(2).padStart(8)} µs   ${ratio}`);
    }
  }
  await Promise.all([unsampled.end(), sampled.end()]);
}

await main();
