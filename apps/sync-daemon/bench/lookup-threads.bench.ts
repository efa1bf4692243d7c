/**
 * Lookups a second that one daemon answers, by `http.threads`: prompts of 4,096 tokens over kept HTTP connections, as
 * JSON and as bytes. Daemons with one thread and with several take turns, so that what else the machine does hits all.
 *
 *   sender (a worker thread here) ──HTTP, closed loop──▶ daemon ◀──ZeroMQ── publishers of this process
 *
 * Connections send their next request when the last one was answered. CPU is of the daemon's process, and of its main
 * thread alone (/proc), each for a lookup. The machine's own idle time shows how much the other programs left.
 *
 * Run: node apps/sync-daemon/bench/lookup-threads.bench.ts [threads,threads…] [seconds] [rounds]
 */
import { spawn } from "node:child_process";
import { mkdtempSync, readFileSync, writeFileSync } from "node:fs";
import { connect } from "node:net";
import { cpus, loadavg, tmpdir } from "node:os";
import { join } from "node:path";
import { argv, execPath, version } from "node:process";
import { createInterface } from "node:readline";
import { fileURLToPath } from "node:url";
import { isMainThread, parentPort, Worker, workerData } from "node:worker_threads";

import { encodeEventBatch, encodeLiveFrames, Prng } from "@kvsync/core";
import { Publisher } from "zeromq";
import { benchFigure, benchFigures } from "../../../packages/core/bench/bench-figure.ts";

const SEED = 20260922;
const MODEL = "bench/model";
const BLOCK_SIZE = 16;
const PROMPT_TOKENS = 4096;
const PROMPTS = 32;
const ENGINES = 8;
const VOCABULARY_SIZE = 152_064;
const CONNECTIONS = 8;
const WARM_UP_SECONDS = 2;
const TICKS_PER_SECOND = 100;

type Form = "json" | "binary";

interface Order {
  readonly port: number;
  readonly form: Form;
  readonly seconds: number;
}

interface Sent {
  readonly answers: number;
  readonly wrong: number;
  readonly ms: readonly number[];
}

function promptOf(index: number): Uint32Array {
  const prng = new Prng(SEED + index);
  return Uint32Array.from({ length: PROMPT_TOKENS }, () => prng.below(VOCABULARY_SIZE));
}

function requestOf(form: Form, tokens: Uint32Array): Buffer {
  const body =
    form === "json"
      ? Buffer.from(JSON.stringify({ model: MODEL, block_size: BLOCK_SIZE, token_ids: [...tokens] }))
      : Buffer.from(tokens.buffer);
  const query = form === "json" ? "" : `?model=${encodeURIComponent(MODEL)}&block_size=${BLOCK_SIZE}`;
  const type = form === "json" ? "application/json" : "application/octet-stream";
  const head = `POST /api/v1/match${query} HTTP/1.1\r\nHost: 127.0.0.1\r\nContent-Type: ${type}\r\nContent-Length: ${body.length}\r\n\r\n`;
  return Buffer.concat([Buffer.from(head), body]);
}

/** One connection, one request at a time, until the time is over. */
function send({ port, seconds }: Order, requests: readonly Buffer[], first: number): Promise<Sent> {
  return new Promise((resolve, reject) => {
    const socket = connect({ host: "127.0.0.1", port, noDelay: true });
    const endMs = performance.now() + seconds * 1000;
    const ms: number[] = [];
    let wrong = 0;
    let next = first;
    let beganMs = 0;
    let text = "";
    const ask = (): void => {
      beganMs = performance.now();
      socket.write(requests[next++ % requests.length] ?? "");
    };
    socket.on("connect", ask);
    socket.on("error", reject);
    socket.setEncoding("latin1").on("data", (chunk: string) => {
      text += chunk;
      const headEnd = text.indexOf("\r\n\r\n");
      if (headEnd < 0) return;
      const length = Number(/content-length: (\d+)/i.exec(text)?.[1]);
      if (text.length < headEnd + 4 + length) return;
      if (!text.includes(`"matched_blocks":${PROMPT_TOKENS / BLOCK_SIZE}`)) wrong += 1;
      text = "";
      const nowMs = performance.now();
      ms.push(nowMs - beganMs);
      if (nowMs < endMs) ask();
      else {
        socket.destroy();
        resolve({ answers: ms.length, wrong, ms });
      }
    });
  });
}

function sender(): void {
  const prompts = Array.from({ length: PROMPTS }, (_, i) => promptOf(i));
  parentPort?.on("message", (order: Order) => {
    const requests = prompts.map((tokens) => requestOf(order.form, tokens));
    void Promise.all(Array.from({ length: CONNECTIONS }, (_, i) => send(order, requests, i * 3))).then(
      (all) => {
        const sent: Sent = {
          answers: all.reduce((sum, { answers }) => sum + answers, 0),
          wrong: all.reduce((sum, { wrong }) => sum + wrong, 0),
          ms: all.flatMap(({ ms }) => ms),
        };
        parentPort?.postMessage(sent);
      },
    );
  });
}

interface BenchDaemon {
  readonly threads: number;
  readonly port: number;
  readonly pid: number;
  readonly stop: () => void;
}

async function startDaemon(endpoints: readonly string[], threads: number): Promise<BenchDaemon> {
  const main = fileURLToPath(new URL("../dist/main.js", import.meta.url));
  const engines = endpoints.map((endpoint, i) => ({ id: `engine-${i}`, model: MODEL, endpoint }));
  const config = join(mkdtempSync(join(tmpdir(), "kvsync-bench-")), "config.yaml");
  // JSON is YAML.
  const http = threads === 1 ? {} : { threads };
  writeFileSync(config, JSON.stringify({ engines, http }));
  const child = spawn(
    execPath,
    [...(process.env["BENCH_NODE"]?.split(" ") ?? []), main, "--config", config, "--port", "0"],
    {
      stdio: ["ignore", "pipe", "inherit"],
    },
  );
  const port = await new Promise<number>((resolve, reject) => {
    createInterface({ input: child.stdout }).on("line", (line) => {
      const entry = JSON.parse(line) as { event?: string; port?: number };
      if (entry.event === "listening" && entry.port !== undefined) resolve(entry.port);
    });
    child.on("exit", (code) => {
      reject(new Error(`the daemon ended with ${code}`));
    });
  });
  return { threads, port, pid: child.pid ?? 0, stop: () => child.kill("SIGTERM") };
}

/** CPU seconds of a process, or of one thread of it. */
function cpuSeconds(path: string): number {
  const fields = readFileSync(path, "utf8")
    .replace(/^.*\) /, "")
    .split(" ");
  return (Number(fields[11]) + Number(fields[12])) / TICKS_PER_SECOND;
}

async function applied({ port }: BenchDaemon): Promise<number> {
  const response = await fetch(`http://127.0.0.1:${port}/api/v1/engines`);
  const { engines } = (await response.json()) as {
    engines: { ranks: { connected: boolean; messages_applied: number }[] }[];
  };
  const ranks = engines.flatMap((engine) => engine.ranks);
  return ranks.every(({ connected }) => connected)
    ? ranks.reduce((sum, { messages_applied }) => sum + messages_applied, 0)
    : -1;
}

async function until(holds: () => Promise<boolean>): Promise<void> {
  while (!(await holds())) await new Promise((resolve) => setTimeout(resolve, 20));
}

async function main(): Promise<void> {
  const counts = benchFigures("threads", argv[2] ?? "1,2", 1, 64);
  const seconds = benchFigure("seconds", argv[3] ?? 4, 1, 3_600);
  const rounds = benchFigure("rounds", argv[4] ?? 3, 1, 1_000);
  const sockets: Publisher[] = [];
  for (let i = 0; i < ENGINES; i++) {
    const socket = new Publisher({ linger: 0 });
    await socket.bind("tcp://127.0.0.1:0");
    sockets.push(socket);
  }
  const endpoints = sockets.map(({ lastEndpoint }) => lastEndpoint ?? "");
  const daemons = await Promise.all(counts.map((threads) => startDaemon(endpoints, threads)));
  for (const daemon of daemons) await until(async () => (await applied(daemon)) >= 0);
  const prng = new Prng(SEED);
  for (let i = 0; i < PROMPTS; i++) {
    const tokenIds = promptOf(i);
    const blockHashes = Array.from(
      { length: PROMPT_TOKENS / BLOCK_SIZE },
      () => (BigInt(prng.nextU32()) << 32n) | BigInt(prng.nextU32()),
    );
    const stored = {
      type: "BlockStored",
      blockHashes,
      parentBlockHash: null,
      tokenIds,
      blockSize: BLOCK_SIZE,
      medium: "GPU",
    } as const;
    const batch = { timestampSeconds: Date.now() / 1000, events: [stored], dataParallelRank: 0 };
    await sockets[i % ENGINES]?.send(
      encodeLiveFrames("", Math.floor(i / ENGINES), encodeEventBatch(batch, "vllm-0.29")),
    );
  }
  for (const daemon of daemons) await until(async () => (await applied(daemon)) >= PROMPTS);
  const worker = new Worker(new URL(import.meta.url), { workerData: "sender" });
  const sent = (order: Order): Promise<Sent> => {
    worker.postMessage(order);
    return new Promise((resolve) => worker.once("message", resolve));
  };
  const say = (line: string): void => {
    process.stdout.write(`${line}\n`);
  };
  say(
    `${cpus()[0]?.model ?? "unknown CPU"} x ${cpus().length}, Node ${version}, seed ${SEED}, load ${loadavg()[0]?.toFixed(1)}`,
  );
  say(`${PROMPT_TOKENS} tokens, ${CONNECTIONS} connections, ${seconds} s a row, ${rounds} rounds\n`);
  say("form    threads   answers/s   CPU µs a lookup   main thread's   p50 ms   p99 ms   wrong");
  for (const form of ["json", "binary"] as const) {
    for (const daemon of daemons) await sent({ port: daemon.port, form, seconds: WARM_UP_SECONDS });
    for (let round = 0; round < rounds; round++) {
      for (const daemon of daemons) {
        const { pid, port, threads } = daemon;
        const paths = [`/proc/${pid}/stat`, `/proc/${pid}/task/${pid}/stat`];
        const before = paths.map(cpuSeconds);
        const { answers, wrong, ms } = await sent({ port, form, seconds });
        const [all = 0, ofMain = 0] = paths.map(
          (path, i) => ((cpuSeconds(path) - (before[i] ?? 0)) / answers) * 1e6,
        );
        const sorted = [...ms].sort((a, b) => a - b);
        const at = (share: number): string => (sorted[Math.floor(share * sorted.length)] ?? 0).toFixed(2);
        say(
          `${form.padEnd(8)}${String(threads).padStart(7)}${(answers / seconds).toFixed(0).padStart(12)}${all.toFixed(0).padStart(18)}${ofMain.toFixed(0).padStart(16)}${at(0.5).padStart(9)}${at(0.99).padStart(9)}${String(wrong).padStart(8)}`,
        );
      }
    }
  }
  for (const { stop } of daemons) stop();
  for (const socket of sockets) socket.close();
  await worker.terminate();
}

if (isMainThread) await main();
else if (workerData === "sender") sender();
