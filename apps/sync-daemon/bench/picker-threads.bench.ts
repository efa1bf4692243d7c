/**
 * The picker with one thread and with several: requests a second, and the CPU of each, as a gateway asks it.
 *
 * A real daemon process without engines' events picks among four endpoints. The gateways are one process with `open`
 * requests at once, over `connections` HTTP/2 connections. It resets each stream after its pick, as Envoy does. A body has 200 token ids. Runs alternate, so that a machine that slows down does so for
 * all. Each run prints the CPU of the daemon's threads that pick, by the names that they have in /proc (Linux).
 *
 * A run is refused when a request got no pick.
 *
 *     node apps/sync-daemon/bench/picker-threads.bench.ts [threads=1,2,4] [seconds=8] [rounds=3] [connections=16] [open=64]
 */
import { type ChildProcess, spawn } from "node:child_process";
import { once } from "node:events";
import { mkdtempSync, readdirSync, readFileSync, rmSync, writeFileSync } from "node:fs";
import { type ClientHttp2Session, connect } from "node:http2";
import { cpus, loadavg, tmpdir } from "node:os";
import { join } from "node:path";
import { argv, execPath, version } from "node:process";
import { createInterface } from "node:readline";
import { fileURLToPath } from "node:url";

import { Prng } from "@kvsync/core";
import { freePort } from "@kvsync/engine-sim";

import { framed } from "../src/picker/wire/ext-proc-codec.ts";
import { referenceEncode } from "../src/picker/wire/testing/reference-codec.ts";
import { benchFigure, benchFigures } from "../../../packages/core/bench/bench-figure.ts";

const SEED = 20_261_130;
const MAIN = fileURLToPath(new URL("../dist/main.js", import.meta.url));
const PATH = "/envoy.service.ext_proc.v3.ExternalProcessor/Process";
const CLOCK_TICKS = 100;
const ENDPOINTS = 4;
const TOKENS = 200;
const BODIES = 64;
const PATIENCE_MS = 60_000;
const CANCEL = 8;

/** Of a run, by the gateways. */
interface Sent {
  readonly requests: number;
  readonly seconds: number;
  readonly failed: number;
}

if (argv[2] === "gateways") await gateways(argv.slice(3).map(Number));
else await compare();

async function compare(): Promise<void> {
  const counts = benchFigures("threads", argv[2] ?? "1,2,4", 1, 64);
  const seconds = benchFigure("seconds", argv[3] ?? 8, 1, 3_600);
  const rounds = benchFigure("rounds", argv[4] ?? 3, 1, 1_000);
  const connections = benchFigure("connections", argv[5] ?? 16, 1, 10_000);
  const open = benchFigure("requests open", argv[6] ?? 64, 1, 10_000);
  const [cpu] = cpus();
  console.log(
    `${cpus().length} × ${cpu?.model}, Node ${version}, load average ${loadavg()[0]?.toFixed(1)}, seed ${SEED}`,
  );
  console.log(
    `node apps/sync-daemon/bench/picker-threads.bench.ts ${[counts, seconds, rounds, connections, open].join(" ")}`,
  );
  const found = new Map<number, number[][]>(counts.map((count) => [count, []]));
  for (let round = 0; round < rounds; round++)
    for (const count of counts) found.get(count)?.push(await run(count, [seconds, connections, open]));
  console.log(
    "threads | requests/s | CPU of the picker's threads per request | of the whole daemon | busiest thread's share",
  );
  for (const [count, runs] of found) {
    const [rate = 0, own = 0, all = 0, share = 0] = (runs[0] ?? []).map((_, column) =>
      median(runs.map((row) => row[column] ?? 0)),
    );
    console.log(
      `${count} | ${rate.toFixed(0)} | ${own.toFixed(0)} µs | ${all.toFixed(0)} µs | ${(100 * share).toFixed(0)} %`,
    );
  }
}

/** One daemon. @returns requests a second; µs of its picking threads and of all threads for each; the busiest one's share. */
async function run(threads: number, load: readonly number[]): Promise<number[]> {
  const folder = mkdtempSync(join(tmpdir(), "kvsync-picker-threads-"));
  const port = await freePort();
  const engines = Array.from({ length: ENDPOINTS }, (_, i) => ({
    id: `engine-${i}`,
    model: "m",
    endpoint: `tcp://127.0.0.1:${i + 1}`,
    http: [`127.0.0.1:${1000 + i}`],
  }));
  const picker = { enabled: true, port, health_port: 0, threads, scrape_ms: 0, tls: { mode: "none" } };
  const file = join(folder, "config.json");
  writeFileSync(file, JSON.stringify({ engines, picker, snapshot: { enabled: false } }));
  const daemon = spawn(execPath, [MAIN, "--config", file, "--port", "0"], {
    stdio: ["ignore", "ignore", "inherit"],
  });
  const ended = once(daemon, "exit");
  try {
    await listening(port, daemon);
    await sent(port, [1, ...load.slice(1)]);
    const before = cpuMs(daemon);
    const { requests, seconds, failed } = await sent(port, load);
    if (failed > 0) throw new Error(`${failed} of ${requests} requests got no pick`);
    const after = cpuMs(daemon);
    const used = [...after].map(([id, { name, ms }]) => ({ name, ms: ms - (before.get(id)?.ms ?? 0) }));
    const own = used.filter(({ name }) => name.startsWith("picker"));
    const total = own.reduce((sum, { ms }) => sum + ms, 0);
    const all = used.reduce((sum, { ms }) => sum + ms, 0);
    const busiest = Math.max(...own.map(({ ms }) => ms));
    return [requests / seconds, (1000 * total) / requests, (1000 * all) / requests, busiest / total];
  } finally {
    daemon.kill("SIGKILL");
    await ended;
    rmSync(folder, { recursive: true });
  }
}

/** CPU time of each thread of a process since its start. */
function cpuMs({
  pid = 0,
}: ChildProcess): ReadonlyMap<string, { readonly name: string; readonly ms: number }> {
  return new Map(
    readdirSync(`/proc/${pid}/task`).map((id) => {
      const stat = readFileSync(`/proc/${pid}/task/${id}/stat`, "utf8");
      const name = stat.slice(stat.indexOf("(") + 1, stat.lastIndexOf(")"));
      const fields = stat.slice(stat.lastIndexOf(")") + 2).split(" ");
      return [id, { name, ms: ((Number(fields[11]) + Number(fields[12])) * 1000) / CLOCK_TICKS }] as const;
    }),
  );
}

/** Runs the gateways against a port. */
async function sent(port: number, load: readonly number[]): Promise<Sent> {
  const child = spawn(
    execPath,
    [fileURLToPath(import.meta.url), "gateways", String(port), ...load.map(String)],
    {
      stdio: ["ignore", "pipe", "inherit"],
    },
  );
  for await (const line of createInterface({ input: child.stdout })) {
    child.kill();
    return JSON.parse(line) as Sent;
  }
  throw new Error("the gateways said nothing");
}

/** The process of the gateways: prints what it sent. */
async function gateways([
  port = 0,
  seconds = 1,
  connections = 1,
  open = 1,
]: readonly number[]): Promise<void> {
  const random = new Prng(SEED);
  const requests = Array.from({ length: BODIES }, () => messagesOf(random));
  const sessions = Array.from({ length: connections }, () => connect(`http://127.0.0.1:${port}`));
  const untilMs = performance.now() + seconds * 1000;
  const counts = { requests: 0, failed: 0 };
  const beganMs = performance.now();
  await Promise.all(
    Array.from({ length: open }, async (_, i) => {
      const session = sessions[i % connections];
      for (let n = i; session !== undefined && performance.now() < untilMs; n++) {
        const isPicked = await ask(session, requests[n % BODIES] ?? Buffer.alloc(0));
        counts.requests += 1;
        if (!isPicked) counts.failed += 1;
      }
    }),
  );
  console.log(JSON.stringify({ ...counts, seconds: (performance.now() - beganMs) / 1000 }));
  for (const session of sessions) session.destroy();
}

/** @returns whether a pick came. */
function ask(session: ClientHttp2Session, messages: Buffer): Promise<boolean> {
  return new Promise((resolve) => {
    const stream = session.request({ ":method": "POST", ":path": PATH, te: "trailers" });
    let isPicked = false;
    stream.on("error", () => undefined);
    stream.on("data", () => {
      isPicked = true;
      stream.close(CANCEL);
    });
    stream.on("close", () => {
      resolve(isPicked);
    });
    stream.write(messages);
  });
}

/** Headers and body of a request, as one write. */
function messagesOf(random: Prng): Buffer {
  const prompt = Array.from({ length: TOKENS }, () => random.below(128_000));
  const header = (key: string, value: string): object => ({ key, rawValue: Buffer.from(value) });
  const headers = [header(":method", "POST"), header(":path", "/v1/completions")];
  return Buffer.concat(
    [
      {
        requestHeaders: { headers: { headers } },
        protocolConfig: { requestBodyMode: 4, responseBodyMode: 0 },
      },
      { requestBody: { body: Buffer.from(JSON.stringify({ model: "m", prompt })), endOfStream: true } },
    ].map((message) => framed(Buffer.from(referenceEncode("ProcessingRequest", message)))),
  );
}

async function listening(port: number, daemon: ChildProcess): Promise<void> {
  const until = performance.now() + PATIENCE_MS;
  for (;;) {
    const session = connect(`http://127.0.0.1:${port}`);
    const isThere = await new Promise<boolean>((resolve) => {
      session.once("connect", () => {
        resolve(true);
      });
      session.once("error", () => {
        resolve(false);
      });
    });
    session.destroy();
    if (isThere) return;
    if (daemon.exitCode !== null || performance.now() > until) throw new Error("the daemon does not listen");
    await new Promise((resolve) => setTimeout(resolve, 100));
  }
}

function median(values: readonly number[]): number {
  return values.toSorted((a, b) => a - b)[values.length >> 1] ?? 0;
}
