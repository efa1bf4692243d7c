/**
 * The cost of reading engines' metrics for the endpoint picker, in CPU time of the process that fetches. It measures the scan of
 * one page of vLLM's size, a page over HTTP in turns with undici, and 100 endpoints five times a second.
 *
 *     node apps/sync-daemon/bench/load-scrape.bench.ts
 *
 * Engines answer from a process of their own.
 */
import { fork } from "node:child_process";
import { createServer } from "node:http";
import type { AddressInfo } from "node:net";
import { cpus, loadavg } from "node:os";
import { argv, execPath, version } from "node:process";
import { fileURLToPath } from "node:url";

import { Agent } from "undici";

import { readEngineMetrics } from "../dist/picker/engine-metrics.js";
import { LoadScrape } from "../dist/picker/load-scrape.js";
import { MetricsPages } from "../dist/picker/metrics-page.js";

const ENDPOINTS = 100;
const INTERVAL_MS = 200;
const SECONDS = 10;
const ROUNDS = 2000;
const PAIRS = 7;
const BURSTS = 10;

/** A page as long as vLLM's: 1,229 lines, some 110 kB, nearly all of them buckets. */
function vllmPage(): Buffer {
  const labels = 'engine="0",model_name="Qwen/Qwen3-8B"';
  const gauges = [
    ["num_requests_running", 3],
    ["num_requests_waiting", 2],
    ["kv_cache_usage_perc", 0.5],
  ].map(
    ([name, value]) =>
      `# HELP vllm:${name} Text.\n# TYPE vllm:${name} gauge\nvllm:${name}{${labels}} ${value}\n`,
  );
  const cache = `vllm:cache_config_info{block_size="16",cache_dtype="auto",${labels},num_gpu_blocks="74272"} 1.0\n`;
  const buckets = Array.from(
    { length: 1217 },
    (_, i) => `vllm:e2e_latency_seconds_bucket{${labels},le="${(i * 0.3).toFixed(1)}"} 0.0\n`,
  );
  return Buffer.from([...gauges, ...buckets.slice(0, 600), cache, ...buckets.slice(600)].join(""));
}

function median(values: readonly number[]): number {
  return [...values].sort((a, b) => a - b)[Math.floor(values.length / 2)] ?? Number.NaN;
}

function scanMicroseconds(page: Buffer): number {
  return median(
    Array.from({ length: ROUNDS }, () => {
      const beganMs = performance.now();
      readEngineMetrics(page);
      return (performance.now() - beganMs) * 1000;
    }),
  );
}

/** CPU time of one page, in microseconds, with all engines asked at once, again and again. */
async function pageMicroseconds(
  ports: readonly number[],
  get: (address: string) => Promise<unknown>,
): Promise<number> {
  const { user, system } = await cpuOf(async () => {
    for (let i = 0; i < BURSTS; i++) await Promise.all(ports.map((port) => get(`127.0.0.1:${port}`)));
  });
  return (user + system) / (BURSTS * ports.length);
}

async function cpuOf(work: () => Promise<void>): Promise<NodeJS.CpuUsage> {
  const before = process.cpuUsage();
  await work();
  return process.cpuUsage(before);
}

/** A page as undici gets it. */
function withUndici(agent: Agent, address: string): Promise<Buffer> {
  return new Promise((resolve, reject) => {
    const chunks: Buffer[] = [];
    agent.dispatch(
      { origin: `http://${address}`, path: "/metrics", method: "GET", headers: { accept: "text/plain" } },
      {
        onRequestStart: () => undefined,
        onResponseStart: () => undefined,
        onResponseData: (_controller, chunk) => chunks.push(chunk),
        onResponseEnd: () => {
          resolve(Buffer.concat(chunks));
        },
        onResponseError: (_controller, error) => {
          reject(error);
        },
      },
    );
  });
}

/** Rounds in turns, so that a machine that slows down does so for both. */
async function comparePages(ports: readonly number[]): Promise<void> {
  const pages = new MetricsPages({ port: null, path: "/metrics", timeoutMs: 60_000 });
  const agent = new Agent({ connections: 1, pipelining: 1 });
  const own = (address: string): Promise<unknown> => pages.get(address, ({ length }) => length);
  const other = (address: string): Promise<unknown> => withUndici(agent, address);
  const times: { own: number; other: number }[] = [];
  for (let round = 0; round <= PAIRS; round++)
    times.push({ own: await pageMicroseconds(ports, own), other: await pageMicroseconds(ports, other) });
  pages.stop();
  await agent.destroy();
  const [, ...warm] = times;
  console.log(
    `a page without its scan: ${median(warm.map((one) => one.own)).toFixed(0)} µs of CPU, with undici ` +
      `${median(warm.map((one) => one.other)).toFixed(0)} µs; own / undici by pair ` +
      warm.map(({ own, other }) => (own / other).toFixed(2)).join(" "),
  );
}

/** Share of a core. */
async function scrapeCores(ports: readonly number[]): Promise<{ cores: number; pages: number }> {
  let seen = 0;
  const pages = new MetricsPages({ port: null, path: "/metrics", timeoutMs: 2 * INTERVAL_MS });
  const scrape = new LoadScrape(
    { intervalMs: INTERVAL_MS },
    {
      pages,
      sink: { seen: () => undefined, unseen: () => undefined },
      watch: {
        scraped: (outcome) => {
          if (outcome === "ok") seen += 1;
        },
      },
      now: () => performance.now(),
      random: Math.random,
    },
  );
  scrape.follow(ports.map((port) => `127.0.0.1:${port}`));
  await new Promise((resolve) => setTimeout(resolve, 2000));
  seen = 0;
  const { user, system } = await cpuOf(() => new Promise((resolve) => setTimeout(resolve, SECONDS * 1000)));
  const counted = seen;
  scrape.stop();
  pages.stop();
  return { cores: (user + system) / 1e6 / SECONDS, pages: counted };
}

async function serve(): Promise<void> {
  const page = vllmPage();
  const ports = await Promise.all(
    Array.from({ length: ENDPOINTS }, async () => {
      const server = createServer((_, response) => {
        response.setHeader("content-type", "text/plain; version=0.0.4");
        response.end(page);
      });
      await new Promise<void>((resolve) => server.listen(0, "127.0.0.1", resolve));
      return (server.address() as AddressInfo).port;
    }),
  );
  process.send?.(ports);
}

if (argv.includes("--engines")) await serve();
else {
  const page = vllmPage();
  const lines = page.toString().split("\n").length - 1;
  console.log(
    `${cpus()[0]?.model ?? "?"}, ${cpus().length} cores, load ${loadavg()[0]?.toFixed(1)}, Node ${version}, ${execPath}`,
  );
  console.log(`scan of ${page.length} bytes, ${lines} lines: ${scanMicroseconds(page).toFixed(0)} µs`);
  const engines = fork(fileURLToPath(import.meta.url), ["--engines"]);
  const ports = await new Promise<number[]>((resolve) =>
    engines.once("message", (sent) => {
      resolve(sent as number[]);
    }),
  );
  await comparePages(ports);
  const { cores, pages } = await scrapeCores(ports);
  console.log(
    `${ENDPOINTS} endpoints every ${INTERVAL_MS} ms: ${cores.toFixed(3)} of a core, ${(pages / SECONDS).toFixed(0)} pages a second, ` +
      `${((cores * 1e6 * SECONDS) / pages).toFixed(0)} µs a page`,
  );
  engines.kill();
}
