/**
 * The cost of a message from its TCP connection to the index, with the daemon's own ZMTP reader and with libzmq.
 * A real daemon process follows engines that publish at a steady rate. The CPU time of all its threads is divided by messages.
 * Runs alternate, so that a machine that slows down does so for both. The median counts.
 *
 * Messages store single blocks and evict as many, with a prefill now and then. The engines are sockets of this process.
 * With many engines the run is a soak: memory and descriptors are printed.
 *
 *     node apps/sync-daemon/bench/engine-streams.bench.ts [engines=128] [seconds=8] [rounds=3]
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

const SEED = 20_261_129;
const BLOCK_SIZE = 16;
/** Blocks that an engine holds before it evicts. */
const POOL = 4000;
/** Messages a second of one engine, all engines together at most. */
const RATE = 100;
const RATE_OF_ALL = 12_800;
const TICK_MS = 50;
const WARM_SECONDS = 2;
const MAIN = fileURLToPath(new URL("../dist/main.js", import.meta.url));
const CLOCK_TICKS = 100;
const PAGE_BYTES = 4096;
const MIB = 1024 * 1024;

const [engines = 128, seconds = 8, rounds = 3] = argv.slice(2).map(Number);

/** What a publisher says before its messages. */
const OPENING = Buffer.concat([
  Buffer.from([0xff, 0, 0, 0, 0, 0, 0, 0, 1, 0x7f, 3, 1]),
  Buffer.from("NULL".padEnd(52, "\0")),
  Buffer.from("04190552454144590b536f636b65742d5479706500000003505542", "hex"),
]);

/** The messages of every engine, as bytes, and their blocks: stores and removals. */
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
    const stores = random.chance(0.02)
      ? [store(64)]
      : Array.from({ length: 1 + random.below(4) }, () => store(1));
    const gone = held.splice(0, Math.max(0, held.length - POOL));
    const removals = gone.map(
      (hash): KvEvent => ({ type: "BlockRemoved", blockHashes: [hash], medium: "GPU" }),
    );
    blocks +=
      gone.length +
      stores.reduce((sum, event) => sum + ("blockHashes" in event ? event.blockHashes.length : 0), 0);
    const batch = { timestampSeconds: 1_757_500_000, events: [...removals, ...stores], dataParallelRank: 0 };
    return encodeMessage(encodeLiveFrames("", number, encodeEventBatch(batch, "vllm-0.24")));
  });
  return { messages, blocks };
}

interface Sample {
  readonly cpuSeconds: number;
  readonly residentBytes: number;
  readonly files: number;
}

function sample(pid: number): Sample {
  const fields = readFileSync(`/proc/${pid}/stat`, "utf8").split(") ")[1]?.split(" ") ?? [];
  const cpuSeconds = (Number(fields[11]) + Number(fields[12])) / CLOCK_TICKS;
  const residentBytes = Number(readFileSync(`/proc/${pid}/statm`, "utf8").split(" ")[1]) * PAGE_BYTES;
  return { cpuSeconds, residentBytes, files: readdirSync(`/proc/${pid}/fd`).length };
}

/** One engine's event socket. */
class Engine {
  readonly server: Server;
  #socket: Socket | null = null;

  constructor() {
    this.server = createServer((socket) => {
      socket.on("error", () => undefined);
      socket.resume();
      socket.write(OPENING);
      this.#socket = socket;
    }).listen(0, "127.0.0.1");
  }

  get endpoint(): string {
    return `tcp://127.0.0.1:${(this.server.address() as AddressInfo).port}`;
  }

  get isConnected(): boolean {
    return this.#socket !== null;
  }

  send(bytes: Uint8Array): void {
    this.#socket?.write(bytes);
  }

  close(): void {
    this.#socket?.destroy();
    this.server.close();
  }
}

async function appliedMessages(url: string): Promise<number> {
  const text = await (await fetch(`${url}/metrics`)).text();
  return Number(/^\S*kv_stream_events_total\{[^}]*lane="live"\} (\S+)$/m.exec(text)?.[1] ?? 0);
}

const sleep = (ms: number): Promise<unknown> => new Promise((resolve) => setTimeout(resolve, ms));

async function start(
  config: object,
  folder: string,
): Promise<{ readonly child: ChildProcess; readonly url: string }> {
  const file = join(folder, "config.yaml");
  // JSON is YAML.
  writeFileSync(file, JSON.stringify(config));
  const child = spawn(execPath, [MAIN, "--config", file, "--port", "0"], {
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

async function run(transport: string): Promise<{ readonly micros: number; readonly end: Sample }> {
  const folder = mkdtempSync(join(tmpdir(), "kvsync-bench-"));
  const all = Array.from({ length: engines }, () => new Engine());
  await Promise.all(all.map(({ server }) => once(server, "listening")));
  const { child, url } = await start(
    {
      engines: all.map(({ endpoint }, i) => ({ id: `engine-${i}`, model: "bench/model", endpoint })),
      ingest: { transport },
    },
    folder,
  );
  const pid = child.pid ?? 0;
  try {
    while (!all.every(({ isConnected }) => isConnected)) await sleep(50);
    await sleep(1000);
    const beganMs = performance.now();
    let sent = 0;
    let from: Sample | null = null;
    let fromApplied = 0;
    for (;;) {
      const passed = (performance.now() - beganMs) / 1000;
      if (passed >= WARM_SECONDS + seconds) break;
      if (passed >= WARM_SECONDS && from === null) {
        fromApplied = await appliedMessages(url);
        from = sample(pid);
      }
      const due = Math.min(messages.length, Math.floor(passed * rate));
      if (due > sent) {
        const bytes = Buffer.concat(messages.slice(sent, due));
        for (const engine of all) engine.send(bytes);
        sent = due;
      }
      await sleep(TICK_MS);
    }
    while ((await appliedMessages(url)) < sent * engines) await sleep(50);
    const end = sample(pid);
    const count = (await appliedMessages(url)) - fromApplied;
    return { micros: ((end.cpuSeconds - (from?.cpuSeconds ?? 0)) / count) * 1e6, end };
  } finally {
    child.kill("SIGKILL");
    for (const engine of all) engine.close();
    rmSync(folder, { recursive: true, force: true });
  }
}

const rate = Math.min(RATE, RATE_OF_ALL / engines);
const { messages, blocks } = published(Math.ceil(rate * (WARM_SECONDS + seconds)) + 1);
const bytes = messages.reduce((sum, message) => sum + message.byteLength, 0) / messages.length;
process.stdout.write(
  `Node ${version}, ${cpus()[0]?.model ?? ""}; ${engines} engines, ${rate.toFixed(1)} messages a second each, ` +
    `${(blocks / messages.length).toFixed(1)} blocks and ${bytes.toFixed(0)} bytes a message\n`,
);
const results = new Map<string, number[]>([
  ["own", []],
  ["libzmq", []],
]);
for (let round = 0; round < rounds; round += 1) {
  for (const [transport, micros] of results) {
    const { micros: one, end } = await run(transport);
    micros.push(one);
    process.stdout.write(
      `${transport}: ${one.toFixed(1)} µs CPU a message, ${(end.residentBytes / MIB).toFixed(0)} MiB resident, ${end.files} descriptors\n`,
    );
  }
}
for (const [transport, micros] of results) {
  const sorted = micros.toSorted((a, b) => a - b);
  process.stdout.write(
    `${transport}: median ${(sorted[Math.floor(sorted.length / 2)] ?? 0).toFixed(1)} µs\n`,
  );
}
