/**
 * The cost of reading engines' metrics for the endpoint picker. First the scan of one page of vLLM's size. Then 100
 * endpoints five times a second over HTTP, in CPU time of the process that fetches.
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

import { readEngineMetrics } from "../dist/picker/engine-metrics.js";
import { LoadScrape } from "../dist/picker/load-scrape.js";
import { MetricsPages } from "../dist/picker/metrics-page.js";

const ENDPOINTS = 100;
const INTERVAL_MS = 200;
const SECONDS = 10;
const ROUNDS = 2000;

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
  const before = process.cpuUsage();
  await new Promise((resolve) => setTimeout(resolve, SECONDS * 1000));
  const { user, system } = process.cpuUsage(before);
  const counted = seen;
  scrape.stop();
  await pages.stop();
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
  const { cores, pages } = await scrapeCores(ports);
  console.log(
    `${ENDPOINTS} endpoints every ${INTERVAL_MS} ms: ${cores.toFixed(3)} of a core, ${(pages / SECONDS).toFixed(0)} pages a second`,
  );
  engines.kill();
}
