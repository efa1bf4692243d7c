/**
 * The cost of a message from its TCP connection to the index. Compared are the daemon's own ZMTP reader and libzmq, or this build
 * and that of another checkout.
 * A real daemon process follows engines that publish at a steady rate. The CPU time of all its threads is divided by messages.
 * So is that of each group of threads: ingest, main, and V8's helpers with the rest.
 * Runs alternate, so that a machine that slows down does so for both. The median counts. It has what the daemon costs without
 * any message, which is measured first: timers, the figures of its page, and V8's compilers after the start.
 *
 * Messages store single blocks and evict as many, with a prefill now and then. The engines are sockets of this process.
 * Then all engines go and come back on their ports, `storms` times: descriptors, memory and the time to reconnect are printed.
 * A run whose messages are not all applied within a minute is an error, so that a loss does not look like a slow machine.
 *
 *     node apps/sync-daemon/bench/engine-streams.bench.ts [engines=128] [seconds=8] [rounds=3] [storms=0] [CHECKOUT]
 */
import { type ChildProcess, spawn } from "node:child_process";
import { once } from "node:events";
import { mkdtempSync, readdirSync, readFileSync, rmSync, writeFileSync } from "node:fs";
import { type AddressInfo, createServer, type Server, type Socket } from "node:net";
import { cpus, tmpdir } from "node:os";
import { join } from "node:path";
import { argv, execPath, version } from "node:process";
import { createInterface } from "node:readline";
import { fileURLToPath } from "node:url";

import { encodeEventBatch, encodeLiveFrames, encodeMessage, type KvEvent, Prng } from "@kvsync/core";
import { benchFigure } from "../../../packages/core/bench/bench-figure.ts";

const SEED = 20_261_129;
const BLOCK_SIZE = 16;
/** Blocks that an engine holds before it evicts. */
const POOL = 300;
/** One message in as many stores a whole prompt: 7.7 blocks a message, with the removals. */
const PREFILL_EVERY = 45;
/** Messages a second of one engine, all engines together at most: half of what two cores apply. */
const RATE = 100;
const RATE_OF_ALL = 3200;
const TICK_MS = 50;
/** Messages of an engine before the ones that are measured: they fill its pool. */
const WARM_MESSAGES = 100;
const PATIENCE_MS = 60_000;
/** Time for the last messages to be applied and shown. */
const SETTLE_MS = 1500;
/** Time without a message, in which is measured what the daemon costs by itself. */
const IDLE_MS = 5000;
const MAIN = fileURLToPath(new URL("../dist/main.js", import.meta.url));
const PAGE_BYTES = 4096;
const MIB = 1024 * 1024;

const engines = benchFigure("engines", argv[2] ?? 128, 1, 4_096);
const seconds = benchFigure("seconds", argv[3] ?? 8, 1, 3_600);
const rounds = benchFigure("rounds", argv[4] ?? 3, 1, 1_000);
const storms = benchFigure("storms", argv[5] ?? 0, 0, 1_000);
const checkout = argv[6];

/** What a publisher says before its messages. */
const OPENING = Buffer.concat([
  Buffer.from([0xff, 0, 0, 0, 0, 0, 0, 0, 1, 0x7f, 3, 1]),
  Buffer.from("NULL".padEnd(52, "\0")),
  Buffer.from("04190552454144590b536f636b65742d5479706500000003505542", "hex"),
]);

/** The messages of every engine, as bytes, and the blocks of those that are measured: stores and removals. */
function published(count: number): { readonly messages: Uint8Array[]; readonly blocks: number } {
  const random = new Prng(SEED);
  const held: bigint[] = [];
  let next = 1n;
  let blocks = 0;
  const store = (many: number): KvEvent => {
    const blockHashes = Array.from({ length: many }, () => next++);
    held.push(...blockHashes);
    const tokenIds = Array.from({ length: many * BLOCK_SIZE }, () => random.below(128_000));
    return {
      type: "BlockStored",
      blockHashes,
      parentBlockHash: null,
      tokenIds,
      blockSize: BLOCK_SIZE,
      medium: "GPU",
    };
  };
  const messages = Array.from({ length: count }, (_, number) => {
    const stores =
      number % PREFILL_EVERY === 0
        ? [store(64)]
        : Array.from({ length: 1 + random.below(4) }, () => store(1));
    const gone = held.splice(0, Math.max(0, held.length - POOL));
    const removals = gone.map(
      (hash): KvEvent => ({ type: "BlockRemoved", blockHashes: [hash], medium: "GPU" }),
    );
    if (number >= WARM_MESSAGES)
      blocks +=
        gone.length +
        stores.reduce((sum, event) => sum + ("blockHashes" in event ? event.blockHashes.length : 0), 0);
    const batch = { timestampSeconds: 1_757_500_000, events: [...removals, ...stores], dataParallelRank: 0 };
    return encodeMessage(encodeLiveFrames("", number, encodeEventBatch(batch, "vllm-0.24")));
  });
  return { messages, blocks };
}

/** Groups of a daemon's threads. */
const GROUPS = ["ingest", "main", "others"] as const;

interface Sample {
  /** CPU time of all threads, and of each group. */
  readonly atMs: number;
  readonly cpuSeconds: number;
  readonly groupSeconds: Readonly<Record<(typeof GROUPS)[number], number>>;
  readonly residentBytes: number;
  readonly files: number;
}

function sample(pid: number): Sample {
  const groupSeconds = { ingest: 0, main: 0, others: 0 };
  for (const thread of readdirSync(`/proc/${pid}/task`)) {
    const name = readFileSync(`/proc/${pid}/task/${thread}/comm`, "utf8");
    const nanos = Number(readFileSync(`/proc/${pid}/task/${thread}/schedstat`, "utf8").split(" ")[0]);
    const group = name.startsWith("ingest-") ? "ingest" : thread === String(pid) ? "main" : "others";
    groupSeconds[group] += nanos / 1e9;
  }
  const cpuSeconds = GROUPS.reduce((sum, group) => sum + groupSeconds[group], 0);
  const residentBytes = Number(readFileSync(`/proc/${pid}/statm`, "utf8").split(" ")[1]) * PAGE_BYTES;
  return {
    atMs: performance.now(),
    cpuSeconds,
    groupSeconds,
    residentBytes,
    files: readdirSync(`/proc/${pid}/fd`).length,
  };
}

/** One engine's event socket. */
class Engine {
  #server: Server | null = null;
  #socket: Socket | null = null;
  #port = 0;

  async listen(): Promise<void> {
    this.#server = createServer((socket) => {
      socket.on("error", () => undefined);
      socket.resume();
      socket.write(OPENING);
      this.#socket = socket;
    }).listen(this.#port, "127.0.0.1");
    await once(this.#server, "listening");
    this.#port = (this.#server.address() as AddressInfo).port;
  }

  get endpoint(): string {
    return `tcp://127.0.0.1:${this.#port}`;
  }

  get isConnected(): boolean {
    return this.#socket !== null;
  }

  send(bytes: Uint8Array): void {
    this.#socket?.write(bytes);
  }

  close(): void {
    this.#socket?.destroy();
    this.#socket = null;
    this.#server?.close();
  }
}

/** Waits until it holds. */
async function until(what: string, holds: () => boolean | Promise<boolean>): Promise<void> {
  const dueMs = performance.now() + PATIENCE_MS;
  while (!(await holds())) {
    if (performance.now() > dueMs) throw new Error(`not within ${PATIENCE_MS / 1000} s: ${what}`);
    await sleep(20);
  }
}

/** The sum of a family's samples whose labels match. */
async function metric(url: string, family: string, labels = ""): Promise<number> {
  const text = await (await fetch(`${url}/metrics`)).text();
  const lines = text.matchAll(new RegExp(`^\\S*${family}\\{[^}]*${labels}[^}]*\\} (\\S+)$`, "gm"));
  return [...lines].reduce((sum, [, value]) => sum + Number(value), 0);
}

const appliedMessages = (url: string): Promise<number> =>
  metric(url, "kv_stream_events_total", 'lane="live"');

const sleep = (ms: number): Promise<unknown> => new Promise((resolve) => setTimeout(resolve, ms));

async function start(
  main: string,
  config: object,
  folder: string,
): Promise<{ readonly child: ChildProcess; readonly url: string }> {
  const file = join(folder, "config.yaml");
  // JSON is YAML.
  writeFileSync(file, JSON.stringify(config));
  const child = spawn(execPath, [main, "--config", file, "--port", "0"], {
    stdio: ["ignore", "pipe", "inherit"],
  });
  for await (const line of createInterface({ input: child.stdout })) {
    const entry = JSON.parse(line) as { readonly event?: string; readonly port?: number };
    if (entry.event !== "listening") continue;
    child.stdout.resume();
    return { child, url: `http://127.0.0.1:${entry.port}` };
  }
  throw new Error("the daemon ended before it listened");
}

/**
 * Sends messages from..to of each engine at the rate.
 *
 * @returns a sample of when all are applied. It is taken before the daemon is asked for its metrics: an answer costs as much as a
 *   thousand messages, and the garbage of several is collected at once.
 */
async function publish(
  all: readonly Engine[],
  { pid, url }: { readonly pid: number; readonly url: string },
  from: number,
  to: number,
): Promise<Sample> {
  const beganMs = performance.now();
  let sent = from;
  while (sent < to) {
    const due = Math.min(to, from + Math.floor(((performance.now() - beganMs) / 1000) * rate));
    if (due > sent) {
      const bytes = Buffer.concat(messages.slice(sent, due));
      for (const engine of all) engine.send(bytes);
      sent = due;
    }
    await sleep(TICK_MS);
  }
  const dueMs = performance.now() + PATIENCE_MS;
  for (;;) {
    await sleep(SETTLE_MS);
    const end = sample(pid);
    if ((await appliedMessages(url)) >= to * all.length) return end;
    const rejected = await metric(url, "kv_stream_events_rejected_total");
    if (rejected > 0) throw new Error(`${rejected} messages were dropped: the rate is beyond this machine`);
    if (performance.now() > dueMs) throw new Error(`${to} messages of each engine are not applied`);
  }
}

/** All engines go and come back. Prints what that costs. */
async function storm(all: readonly Engine[], pid: number): Promise<void> {
  const up = sample(pid);
  for (const engine of all) engine.close();
  // Dials that are under way end within their time, since nobody listens.
  await until("the connections are gone", () => sample(pid).files <= up.files - all.length);
  await sleep(1000);
  const down = sample(pid);
  const beganMs = performance.now();
  await Promise.all(all.map((engine) => engine.listen()));
  await until("all engines are connected again", () => all.every(({ isConnected }) => isConnected));
  const reconnectMs = performance.now() - beganMs;
  await until("the descriptors are back", () => sample(pid).files >= up.files);
  const back = sample(pid);
  process.stdout.write(
    `  storm: ${((up.files - down.files) / all.length).toFixed(2)} descriptors an engine, all back after ${reconnectMs.toFixed(0)} ms, ` +
      `${back.files - up.files} descriptors and ${((back.residentBytes - up.residentBytes) / MIB).toFixed(1)} MiB more than before\n`,
  );
}

/** A daemon to measure. */
interface Candidate {
  readonly main: string;
  readonly transport: string;
}

async function run({ main, transport }: Candidate): Promise<{
  readonly micros: number;
  /** Of them, what as long a time without messages takes. */
  readonly idle: number;
  readonly groups: string;
  readonly end: Sample;
}> {
  const folder = mkdtempSync(join(tmpdir(), "kvsync-bench-"));
  const all = Array.from({ length: engines }, () => new Engine());
  for (const engine of all) await engine.listen();
  const { child, url } = await start(
    main,
    {
      engines: all.map(({ endpoint }, i) => ({ id: `engine-${i}`, model: "bench/model", endpoint })),
      ingest: { transport },
    },
    folder,
  );
  const pid = child.pid ?? 0;
  try {
    await until("all engines are connected", () => all.every(({ isConnected }) => isConnected));
    await publish(all, { pid, url }, 0, WARM_MESSAGES);
    const rest = sample(pid);
    await sleep(IDLE_MS);
    const from = sample(pid);
    const end = await publish(all, { pid, url }, WARM_MESSAGES, messages.length);
    const count = (messages.length - WARM_MESSAGES) * engines;
    for (let i = 0; i < storms; i += 1) await storm(all, pid);
    const micros = (until: number, since: number): number => ((until - since) / count) * 1e6;
    const idleShare = (from.cpuSeconds - rest.cpuSeconds) / (from.atMs - rest.atMs);
    const idle = micros(idleShare * (end.atMs - from.atMs), 0);
    const groups = GROUPS.map(
      (group) => `${group} ${micros(end.groupSeconds[group], from.groupSeconds[group]).toFixed(1)}`,
    ).join(", ");
    return { micros: micros(end.cpuSeconds, from.cpuSeconds), idle, groups, end };
  } finally {
    child.kill("SIGKILL");
    for (const engine of all) engine.close();
    rmSync(folder, { recursive: true, force: true });
  }
}

const rate = Math.min(RATE, RATE_OF_ALL / engines);
const { messages, blocks } = published(WARM_MESSAGES + Math.ceil(rate * seconds));
const bytes = messages.reduce((sum, message) => sum + message.byteLength, 0) / messages.length;
process.stdout.write(
  `Node ${version}, ${cpus()[0]?.model ?? ""}; ${engines} engines, ${rate.toFixed(1)} messages a second each, ` +
    `${(blocks / (messages.length - WARM_MESSAGES)).toFixed(1)} blocks and ${bytes.toFixed(0)} bytes a message\n`,
);
const candidates = new Map<string, Candidate>(
  checkout === undefined
    ? [
        ["own", { main: MAIN, transport: "own" }],
        ["libzmq", { main: MAIN, transport: "libzmq" }],
      ]
    : [
        ["this build", { main: MAIN, transport: "own" }],
        [checkout, { main: join(checkout, "apps/sync-daemon/dist/main.js"), transport: "own" }],
      ],
);
const results = new Map([...candidates.keys()].map((name): [string, number[]] => [name, []]));
for (let round = 0; round < rounds; round += 1) {
  for (const [name, candidate] of candidates) {
    const { micros, idle, groups, end } = await run(candidate);
    results.get(name)?.push(micros);
    process.stdout.write(
      `${name}: ${micros.toFixed(1)} µs CPU a message (${groups}), ${idle.toFixed(1)} of it without messages, ${(end.residentBytes / MIB).toFixed(0)} MiB resident, ${end.files} descriptors\n`,
    );
  }
}
for (const [name, micros] of results) {
  const sorted = micros.toSorted((a, b) => a - b);
  process.stdout.write(`${name}: median ${(sorted[Math.floor(sorted.length / 2)] ?? 0).toFixed(1)} µs\n`);
}
