/**
 * The latency of a lookup for a router: binary queries of 12k tokens over kept HTTP connections,
 * from a separate process. A real daemon follows simulated engines over ZeroMQ. It is measured at
 * rest, by tokens and by prefix hashes, and while one engine publishes as fast as the daemon reads.
 *
 *   this process ──HTTP──▶ daemon ◀──ZeroMQ── publisher (a worker thread here: engines, then the burst)
 *
 * The burst is replayed from memory: its batches are made before the measurement. Its rate is the
 * number of messages that arrived, read from the daemon's board. Latency is from sending the
 * request until the answer is parsed.
 *
 * Run: npx pnpm@12.21.0 --filter @kvsync/sync-daemon bench
 */
import { spawn } from "node:child_process";
import { mkdtempSync, writeFileSync } from "node:fs";
import { Agent, request as httpRequest } from "node:http";
import { cpus, tmpdir } from "node:os";
import { join } from "node:path";
import { argv, execPath, version } from "node:process";
import { createInterface } from "node:readline";
import { fileURLToPath } from "node:url";
import { isMainThread, parentPort, Worker, workerData } from "node:worker_threads";

import { encodeEventBatch, encodeLiveFrames, PrefixHasher, Prng } from "@kvsync/core";
import { Publisher } from "zeromq";

const SEED = 20260922;
const MODEL = "bench/model";
const BLOCK_SIZE = 16;
const PROMPT_TOKENS = 12_288;
const PROMPTS = 32;
const ENGINES = 16;
const VOCABULARY_SIZE = 152_064;
const WARM_UP = 500;
const SAMPLES = 4000;
/** Requests per second: a router's load, not a saturation test. */
const RATE = 400;
/** One for all batches: the storm's are sent again and again, and a publisher whose clock goes back would be doubted. */
const TIMESTAMP_SECONDS = Date.now() / 1000;
const STORM_BATCHES = 2000;
const STORM_BLOCKS = 32;

/** Shared with the publisher thread: [0] 1 while the storm is on, [1] messages sent. */
type Control = Int32Array;

interface PublisherData {
  readonly control: Control;
}

function promptOf(index: number): Uint32Array {
  const prng = new Prng(SEED + index);
  return Uint32Array.from({ length: PROMPT_TOKENS }, () => prng.below(VOCABULARY_SIZE));
}

/** A message that stores `tokens` as one chain under engine hashes of its own. */
function storeOf(prng: Prng, tokens: Uint32Array): Uint8Array {
  const blockHashes = Array.from(
    { length: tokens.length / BLOCK_SIZE },
    () => (BigInt(prng.nextU32()) << 32n) | BigInt(prng.nextU32()),
  );
  const event = {
    type: "BlockStored",
    blockHashes,
    parentBlockHash: null,
    tokenIds: tokens,
    blockSize: BLOCK_SIZE,
    medium: "GPU",
  } as const;
  return encodeEventBatch(
    { timestampSeconds: TIMESTAMP_SECONDS, events: [event], dataParallelRank: 0 },
    "vllm-0.29",
  );
}

/** Storm messages: each stores a chain of 32 fresh blocks and removes that of 1,000 messages before, one event per hash. */
function stormMessages(prng: Prng): Uint8Array[] {
  const stores = Array.from({ length: STORM_BATCHES }, () => {
    const tokenIds = Uint32Array.from({ length: STORM_BLOCKS * BLOCK_SIZE }, () =>
      prng.below(VOCABULARY_SIZE),
    );
    const blockHashes = Array.from(
      { length: STORM_BLOCKS },
      () => (BigInt(prng.nextU32()) << 32n) | BigInt(prng.nextU32()),
    );
    return {
      type: "BlockStored",
      blockHashes,
      parentBlockHash: null,
      tokenIds,
      blockSize: BLOCK_SIZE,
      medium: "GPU",
    } as const;
  });
  return stores.map((store, i) => {
    const old = stores[(i + STORM_BATCHES / 2) % STORM_BATCHES];
    const removals = (old?.blockHashes ?? []).map(
      (hash) => ({ type: "BlockRemoved", blockHashes: [hash], medium: "GPU" }) as const,
    );
    const events = [...removals, store];
    return encodeEventBatch(
      { timestampSeconds: TIMESTAMP_SECONDS, events, dataParallelRank: 0 },
      "vllm-0.29",
    );
  });
}

async function publish(control: Control): Promise<void> {
  const prng = new Prng(SEED);
  const sockets: Publisher[] = [];
  const endpoints: string[] = [];
  for (let i = 0; i < ENGINES; i++) {
    const socket = new Publisher({ linger: 0, sendHighWaterMark: 100_000 });
    await socket.bind("tcp://127.0.0.1:0");
    sockets.push(socket);
    endpoints.push(socket.lastEndpoint ?? "");
  }
  const storm = stormMessages(prng);
  const numbers = new Array<number>(ENGINES).fill(0);
  const send = async (engine: number, payload: Uint8Array): Promise<void> => {
    const number = numbers[engine] ?? 0;
    numbers[engine] = number + 1;
    await sockets[engine]?.send(encodeLiveFrames("", number, payload));
  };
  parentPort?.postMessage(endpoints);
  const obey = async (order: "prompts" | "storm"): Promise<void> => {
    if (order === "prompts") {
      for (let i = 0; i < PROMPTS; i++) await send(i % ENGINES, storeOf(prng, promptOf(i)));
      parentPort?.postMessage(numbers);
      return;
    }
    for (let i = 0; Atomics.load(control, 0) === 1; i++) {
      const payload = storm[i % storm.length];
      if (payload !== undefined) await send(ENGINES - 1, payload);
      Atomics.add(control, 1, 1);
      // Not further ahead than a queue's worth, or the publisher's own memory is what is measured.
      if (i % 64 === 63) await new Promise(setImmediate);
      while (Atomics.load(control, 1) - Atomics.load(control, 2) > 20_000 && Atomics.load(control, 0) === 1) {
        await new Promise((resolve) => setTimeout(resolve, 1));
      }
    }
  };
  parentPort?.on("message", (order: "prompts" | "storm") => {
    void obey(order);
  });
}

async function startDaemon(endpoints: readonly string[]): Promise<{ url: string; stop: () => void }> {
  const main = fileURLToPath(new URL("../dist/main.js", import.meta.url));
  const engines = endpoints.map((endpoint, i) => ({ id: `engine-${i}`, model: MODEL, endpoint }));
  const config = join(mkdtempSync(join(tmpdir(), "kvsync-bench-")), "config.yaml");
  // JSON is YAML.
  writeFileSync(config, JSON.stringify({ engines, index: { prefix_hashes: "public" } }));
  const child = spawn(execPath, [main, "--config", config, "--port", "0"], {
    stdio: ["ignore", "pipe", "inherit"],
  });
  const port = await new Promise<number>((resolve, reject) => {
    createInterface({ input: child.stdout }).on("line", (line) => {
      const entry = JSON.parse(line) as { event?: string; port?: number };
      if (entry.event === "listening" && entry.port !== undefined) resolve(entry.port);
    });
    child.on("exit", (code) => {
      reject(new Error(`the daemon ended with ${code}`));
    });
  });
  return { url: `http://127.0.0.1:${port}`, stop: () => child.kill("SIGTERM") };
}

const agent = new Agent({ keepAlive: true, maxSockets: 8 });

/** The same prompts as eight bytes a block. */
function hashesOf(tokens: Uint32Array): Buffer {
  const blocks = PROMPT_TOKENS / BLOCK_SIZE;
  const words = new Uint32Array(2 * blocks);
  PrefixHasher.create().hash(tokens, blocks, BLOCK_SIZE, null, words);
  return Buffer.from(words.buffer);
}

function ask(url: string, body: Buffer): Promise<{ ms: number; matched: number }> {
  const beganMs = performance.now();
  const input = body.length === 4 * PROMPT_TOKENS ? "token_ids" : "prefix_hashes";
  return new Promise((resolve, reject) => {
    const outgoing = httpRequest(
      `${url}/api/v1/match?model=${encodeURIComponent(MODEL)}&block_size=${BLOCK_SIZE}&input=${input}`,
      {
        method: "POST",
        agent,
        headers: { "content-type": "application/octet-stream", "content-length": body.length },
      },
      (response) => {
        const chunks: Buffer[] = [];
        response.on("data", (chunk: Buffer) => chunks.push(chunk));
        response.on("end", () => {
          const answer = JSON.parse(Buffer.concat(chunks).toString()) as {
            matches: { matched_blocks: number }[];
          };
          resolve({ ms: performance.now() - beganMs, matched: answer.matches[0]?.matched_blocks ?? 0 });
        });
      },
    );
    outgoing.on("error", reject);
    outgoing.end(body);
  });
}

interface Latencies {
  readonly p50: number;
  readonly p90: number;
  readonly p99: number;
  readonly max: number;
  readonly wrong: number;
}

/** Open loop at RATE: a request is sent when it is due, whether or not the last one has been answered. */
async function measure(url: string, bodies: readonly Buffer[], samples: number): Promise<Latencies> {
  const expected = PROMPT_TOKENS / BLOCK_SIZE;
  const startMs = performance.now();
  const pending: Promise<{ ms: number; matched: number }>[] = [];
  for (let i = 0; i < samples; i++) {
    const dueMs = startMs + (i * 1000) / RATE;
    const wait = dueMs - performance.now();
    if (wait > 0) await new Promise((resolve) => setTimeout(resolve, wait));
    pending.push(ask(url, bodies[i % bodies.length] ?? Buffer.alloc(0)));
  }
  const answers = await Promise.all(pending);
  const sorted = answers.map(({ ms }) => ms).sort((a, b) => a - b);
  const at = (share: number): number =>
    sorted[Math.min(sorted.length - 1, Math.floor(share * sorted.length))] ?? 0;
  const wrong = answers.filter(({ matched }) => matched !== expected).length;
  return { p50: at(0.5), p90: at(0.9), p99: at(0.99), max: at(1), wrong };
}

async function applied(url: string): Promise<number> {
  const response = await fetch(`${url}/api/v1/engines`);
  const { engines } = (await response.json()) as { engines: { ranks: { messages_applied: number }[] }[] };
  return engines.reduce(
    (sum, { ranks }) => sum + ranks.reduce((own, rank) => own + rank.messages_applied, 0),
    0,
  );
}

/** CPU time of the daemon's process so far, all threads. */
async function cpuSeconds(url: string): Promise<number> {
  const text = await (await fetch(`${url}/metrics`)).text();
  return Number(/^process_cpu_seconds_total (\S+)$/m.exec(text)?.[1]);
}

function row(name: string, { p50, p90, p99, max, wrong }: Latencies): string {
  const cells = [p50, p90, p99, max].map((ms) => `${ms.toFixed(2)} ms`.padStart(10)).join("");
  return `${name.padEnd(24)}${cells}   wrong answers ${wrong}`;
}

async function main(): Promise<void> {
  const control: Control = new Int32Array(new SharedArrayBuffer(16));
  const publisher = new Worker(new URL(import.meta.url), { workerData: { control } satisfies PublisherData });
  const heard = <Value>(): Promise<Value> => new Promise((resolve) => publisher.once("message", resolve));
  const daemon = await startDaemon(await heard<string[]>());
  const say = (line: string): void => {
    process.stdout.write(`${line}\n`);
  };
  say(`${cpus()[0]?.model ?? "unknown CPU"} x ${cpus().length}, Node ${version}, seed ${SEED}`);
  say(`node ${argv.slice(1).join(" ")}`);
  say(`${PROMPT_TOKENS}-token binary lookups at ${RATE}/s, ${ENGINES} engines, ${SAMPLES} samples\n`);
  say(`${"".padEnd(24)}${["p50", "p90", "p99", "max"].map((head) => head.padStart(10)).join("")}`);
  const connected = async (): Promise<boolean> => {
    const { engines } = (await (await fetch(`${daemon.url}/api/v1/engines`)).json()) as {
      engines: { ranks: { connected: boolean }[] }[];
    };
    return engines.every(({ ranks }) => ranks.every((rank) => rank.connected));
  };
  while (!(await connected())) await new Promise((resolve) => setTimeout(resolve, 20));
  publisher.postMessage("prompts");
  await heard<number[]>();
  while ((await applied(daemon.url)) < PROMPTS) await new Promise((resolve) => setTimeout(resolve, 20));
  const bodies = Array.from({ length: PROMPTS }, (_, i) => Buffer.from(promptOf(i).buffer));
  await measure(daemon.url, bodies, WARM_UP);
  const restingSeconds = await cpuSeconds(daemon.url);
  say(row("at rest", await measure(daemon.url, bodies, SAMPLES)));
  const perLookup = ((await cpuSeconds(daemon.url)) - restingSeconds) / SAMPLES;
  const hashes = Array.from({ length: PROMPTS }, (_, i) => hashesOf(promptOf(i)));
  await measure(daemon.url, hashes, WARM_UP);
  const hashSeconds = await cpuSeconds(daemon.url);
  say(row("at rest, by hashes", await measure(daemon.url, hashes, SAMPLES)));
  const perHashLookup = ((await cpuSeconds(daemon.url)) - hashSeconds) / SAMPLES;
  const pace = setInterval(() => {
    void applied(daemon.url).then((count) => Atomics.store(control, 2, count - PROMPTS));
  }, 50);
  Atomics.store(control, 0, 1);
  publisher.postMessage("storm");
  await new Promise((resolve) => setTimeout(resolve, 500));
  const [before, beforeMs, beforeSeconds] = [
    await applied(daemon.url),
    performance.now(),
    await cpuSeconds(daemon.url),
  ];
  const stormy = await measure(daemon.url, bodies, SAMPLES);
  const messages = (await applied(daemon.url)) - before;
  const rate = messages / ((performance.now() - beforeMs) / 1000);
  const ingestSeconds = (await cpuSeconds(daemon.url)) - beforeSeconds - perLookup * SAMPLES;
  say(row("during a storm", stormy));
  say(
    `\nstorm: ${Math.round(rate)} messages/s, ${Math.round(rate * STORM_BLOCKS * 2)} block events/s applied meanwhile`,
  );
  say(
    `CPU: ${(perLookup * 1e3).toFixed(2)} ms a lookup, ${(perHashLookup * 1e3).toFixed(2)} ms by hashes, ${((ingestSeconds / messages / STORM_BLOCKS / 2) * 1e9).toFixed(0)} ns a block event, sockets included`,
  );
  Atomics.store(control, 0, 0);
  clearInterval(pace);
  daemon.stop();
  agent.destroy();
  await publisher.terminate();
}

if (isMainThread) await main();
else await publish((workerData as PublisherData).control);
