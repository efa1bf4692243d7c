/**
 * The cost that viewers of the web page have for lookups: the p99 of `POST /api/v1/match` with ten viewers against none.
 *
 *     daemon (a process, RANKS ranks) ◀─ rounds of lookups, by turns: no viewer, ten viewers that read their streams
 *
 *     node apps/sync-daemon/bench/dashboard-lookups.bench.ts [ranks=200] [rounds=10]
 *
 * Viewers read in a thread of their own, so that reading takes no time of the thread that asks. The rounds alternate, so that a change of the machine's load meets both alike. The figure is the median
 * of the ratios of neighboring rounds.
 */
import { type ChildProcess, spawn } from "node:child_process";
import { once } from "node:events";
import { mkdtempSync, rmSync, writeFileSync } from "node:fs";
import { cpus, tmpdir } from "node:os";
import { join } from "node:path";
import { createInterface } from "node:readline";
import { fileURLToPath } from "node:url";
import { Worker } from "node:worker_threads";
import { benchFigure } from "../../../packages/core/bench/bench-figure.ts";

const MAIN = fileURLToPath(new URL("../dist/main.js", import.meta.url));
const VIEWERS = 10;
const LOOKUPS = 1000;
const WARM_UP = 500;
const PROMPT = Array.from({ length: 2048 }, (_, i) => (i * 7919) % 128_000);

const ranks = benchFigure("ranks", process.argv[2] ?? 200, 1, 4_096);
const rounds = benchFigure("rounds", process.argv[3] ?? 10, 1, 10_000);

const folder = mkdtempSync(join(tmpdir(), "kvsync-bench-"));
const config = join(folder, "config.yaml");
// No engine listens there: the fleet's rows change with each attempt to connect.
const engines = Array.from({ length: ranks }, (_, i) => ({
  id: `engine-${i}`,
  model: "bench/model",
  endpoint: `tcp://127.0.0.1:${20_000 + i}`,
}));
writeFileSync(config, JSON.stringify({ engines, snapshot: { enabled: false } }));

async function start(): Promise<{ readonly child: ChildProcess; readonly url: string }> {
  const child = spawn(process.execPath, [MAIN, "--config", config, "--port", "0"], {
    stdio: ["ignore", "pipe", "inherit"],
  });
  for await (const line of createInterface({ input: child.stdout })) {
    const { event, port } = JSON.parse(line) as { readonly event: string; readonly port?: number };
    if (event === "listening") return { child, url: `http://127.0.0.1:${port ?? 0}` };
  }
  throw new Error("the daemon ended");
}

const { child, url } = await start();
child.stdout?.resume();

/** Milliseconds of each lookup, ascending. */
async function lookups(count: number): Promise<number[]> {
  const body = JSON.stringify({ model: "bench/model", token_ids: PROMPT });
  const taken: number[] = [];
  for (let i = 0; i < count; i++) {
    const beganMs = performance.now();
    const response = await fetch(`${url}/api/v1/match`, {
      method: "POST",
      headers: { "content-type": "application/json" },
      body,
    });
    await response.arrayBuffer();
    taken.push(performance.now() - beganMs);
  }
  return taken.sort((a, b) => a - b);
}

const p99 = (sorted: readonly number[]): number => sorted[Math.floor(sorted.length * 0.99)] ?? 0;

/** Reads streams until it is ended. */
const VIEWER = `
  const { workerData: { url, count }, parentPort } = require("node:worker_threads");
  Promise.all(Array.from({ length: count }, async () => {
    const { body } = await fetch(url + "/api/v1/dashboard/stream");
    return body.getReader();
  })).then((readers) => {
    parentPort.postMessage("open");
    for (const reader of readers) {
      const read = () => reader.read().then(({ done }) => done || read());
      read();
    }
  });
`;

async function withViewers(count: number): Promise<number> {
  const viewers = new Worker(VIEWER, { eval: true, workerData: { url, count } });
  await once(viewers, "message");
  const sorted = await lookups(LOOKUPS);
  await viewers.terminate();
  return p99(sorted);
}

await lookups(WARM_UP);
const ratios: number[] = [];
for (let round = 0; round < rounds; round++) {
  const without = await withViewers(0);
  const viewed = await withViewers(VIEWERS);
  ratios.push(viewed / without);
  console.log(`p99 ${without.toFixed(2)} ms without, ${viewed.toFixed(2)} ms with ${VIEWERS} viewers`);
}
ratios.sort((a, b) => a - b);
console.log(
  `${cpus()[0]?.model ?? "unknown"}, ${cpus().length} cores, Node ${process.version}, ${ranks} ranks`,
);
console.log(`p99 with viewers ÷ without: median ${(ratios[Math.floor(rounds / 2)] ?? 0).toFixed(3)}`);
child.kill();
await once(child, "exit");
rmSync(folder, { recursive: true, force: true });
