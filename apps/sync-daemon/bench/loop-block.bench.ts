/**
 * The longest time that one request keeps the event loop, for each route with its largest legal input.
 *
 * A chain of `setImmediate` measures each turn of the loop. A turn is measured in CPU time of the thread,
 * where Node has it, because other processes use the machine too. The figure of a route is the least
 * of its runs' longest turns. The daemon follows many engines, and one of them holds a large index.
 *
 *     node apps/sync-daemon/bench/loop-block.bench.ts [engines] [runs] [name of a row]
 */
import { mkdtempSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { argv, version } from "node:process";

import { stringify } from "yaml";

import { createApp } from "../dist/app.module.js";
import { Daemon } from "../dist/daemon.js";
import { readSettings } from "../dist/settings/read-settings.js";
import { TestEngine } from "../test/fleet.ts";
import { benchFigure } from "../../../packages/core/bench/bench-figure.ts";

const ENGINES = benchFigure("engines", argv[2] ?? 1_000, 1, 4_096);
const RUNS = benchFigure("runs", argv[3] ?? 5, 1, 10_000);
const ONLY = argv[4] ?? null;
const BOUND_MS = 50;
const MODEL = "test/model";
const JSON_BYTES = 2 ** 20;

/** Thread CPU in milliseconds; wall time before Node 22.19. */
function cpuMs(): number {
  const { threadCpuUsage } = process as { threadCpuUsage?: () => { user: number; system: number } };
  if (threadCpuUsage === undefined) return performance.now();
  const { user, system } = threadCpuUsage.call(process);
  return (user + system) / 1000;
}

/** The longest turn of the loop while something runs. */
async function longestTurn(work: () => Promise<void>): Promise<number> {
  let longest = 0;
  let last = cpuMs();
  let isOver = false;
  const turn = (): void => {
    const now = cpuMs();
    longest = Math.max(longest, now - last);
    last = now;
    if (!isOver) setImmediate(turn);
  };
  setImmediate(turn);
  await work();
  isOver = true;
  await new Promise(setImmediate);
  return longest;
}

function filled(part: (i: number) => string, bytes = JSON_BYTES - 256): string {
  const parts: string[] = [];
  for (let i = 0, length = 0; length < bytes; i++) {
    parts.push(part(i));
    length += part(i).length + 1;
  }
  return parts.join(",");
}

const folder = mkdtempSync(join(tmpdir(), "kvsync-loop-"));
const engine = await TestEngine.start({ id: "engine-0", blockCount: 400_000 }, 1);
const listed = Array.from({ length: ENGINES - 1 }, (_, i) => ({
  id: `away-${i}`,
  model: MODEL,
  endpoint: `tcp://127.0.${1 + (i >> 8)}.${i & 255}:9`,
}));
const file = join(folder, "config.yaml");
writeFileSync(file, stringify({ engines: [engine.entry, ...listed] }));
const { settings } = readSettings(["--config", file, "--index-prefix-hashes", "public", "--port", "0"], {});
const daemon = await Daemon.start(settings, {
  whyFolderLost: () => null,
  ingestScript: new URL("../dist/ingest/ingest-thread.js", import.meta.url),
  snapshotScript: new URL("../dist/snapshot/snapshot-thread.js", import.meta.url),
  tokenizerScript: new URL("../dist/tokenizer/tokenizer-thread.js", import.meta.url),
  start: {
    version: "0.0.0-bench",
    commit: null,
    node: version,
    configFile: null,
    sources: new Map(),
    given: {},
  },
  log: () => undefined,
  died: (error) => {
    throw error;
  },
  stalled: () => undefined,
  lookupThreads: {
    script: new URL("../dist/lookup-threads/lookup-thread.js", import.meta.url),
    died: (error) => {
      throw error;
    },
    stalled: () => undefined,
  },
});
const app = await createApp(daemon);
for (let i = 0; i < 40; i++) await engine.serve(100, { isFresh: true });
await new Promise((resolve) => setTimeout(resolve, 3000));
const [rank] = daemon.registry.engine("engine-0")?.ranks ?? [];
const blocks = rank === undefined ? 0 : daemon.reader.rankBlockCount(rank.rankSlot);

const json = { "content-type": "application/json" };
const binary = { "content-type": "application/octet-stream" };
const tokens = Buffer.from(Uint32Array.from({ length: settings.limits.query_tokens }, (_, i) => i).buffer);
const known = Buffer.from(engine.firstPrompt.slice().buffer);
const numbers = (bytes?: number): string => `[${filled(String, bytes)}]`;
const names = (count: number, name: string): string =>
  JSON.stringify(Array.from({ length: count }, (_, i) => `${name}-${i}`));
const hashTexts = `[${filled((i) => `"${10n ** 18n + BigInt(i)}"`)}]`;

const REQUESTS: readonly {
  readonly name: string;
  readonly method: "GET" | "POST";
  readonly url: string;
  readonly headers?: Record<string, string>;
  readonly payload?: string | Buffer;
}[] = [
  {
    name: `match, ${settings.limits.query_tokens} tokens, binary`,
    method: "POST",
    url: `/api/v1/match?model=${MODEL}`,
    headers: binary,
    payload: tokens,
  },
  {
    name: "match, a prompt that is held, binary",
    method: "POST",
    url: `/api/v1/match?model=${MODEL}`,
    headers: binary,
    payload: known,
  },
  {
    name: "match, 1 MiB of token ids",
    method: "POST",
    url: "/api/v1/match",
    headers: json,
    payload: `{"model":"${MODEL}","token_ids":${numbers()}}`,
  },
  {
    name: "match, 1 MiB of prefix hashes",
    method: "POST",
    url: "/api/v1/match",
    headers: json,
    payload: `{"model":"${MODEL}","block_size":16,"prefix_hashes":${hashTexts}}`,
  },
  {
    name: "query, 1 MiB of token ids",
    method: "POST",
    url: "/query",
    headers: json,
    payload: `{"model":"${MODEL}","token_ids":${numbers()}}`,
  },
  {
    name: "query_by_hash, 1 MiB of hashes",
    method: "POST",
    url: "/query_by_hash",
    headers: json,
    payload: `{"model":"${MODEL}","block_size":16,"seq_hashes":[${filled((i) => String(10n ** 18n + BigInt(i)))}]}`,
  },
  {
    name: "engines: 1,024 ranks, 16 aliases, 256 adapters",
    method: "POST",
    url: "/api/v1/engines",
    headers: json,
    payload: `{"id":"large","model":"large","endpoint":"tcp://127.0.0.1:20000","replay_endpoint":"tcp://127.0.0.1:30000","dp_size":1024,"aliases":${names(16, "alias")},"adapters":${names(256, "adapter")}}`,
  },
  { name: "engines: a list", method: "GET", url: "/api/v1/engines" },
  {
    name: "register",
    method: "POST",
    url: "/register",
    headers: json,
    payload: '{"instance_id":"i","endpoint":"tcp://127.0.0.1:19999","modelname":"m"}',
  },
  { name: "services", method: "GET", url: "/services" },
  { name: "workers", method: "GET", url: "/workers" },
  { name: "global_view", method: "GET", url: "/global_view" },
  { name: "dump of the community's API", method: "GET", url: "/dump" },
  { name: "dump", method: "GET", url: `/api/v1/dump?model=${MODEL}` },
  { name: "snapshot", method: "GET", url: "/api/v1/snapshot" },
  { name: "metrics", method: "GET", url: "/metrics" },
  { name: "health", method: "GET", url: "/health" },
  { name: "health of the streams", method: "GET", url: "/api/v1/kv-sync/health" },
  { name: "readyz, verbose", method: "GET", url: "/readyz?verbose" },
  { name: "openapi.json", method: "GET", url: "/openapi.json" },
];

console.log(`node ${version}; ${ENGINES} engines, ${blocks} blocks held by one; ${RUNS} runs`);
const rows: { route: string; status: number; bytes: number; "longest turn (ms)": number; bound: string }[] =
  [];
for (const { name, ...request } of REQUESTS) {
  if (ONLY !== null && name !== ONLY) continue;
  let least = Number.POSITIVE_INFINITY;
  let status = 0;
  let bytes = 0;
  for (let run = 0; run < RUNS; run++) {
    const longest = await longestTurn(async () => {
      const response = await app.inject(request);
      status = response.statusCode;
      bytes = response.rawPayload.length;
    });
    least = Math.min(least, longest);
  }
  rows.push({
    route: name,
    status,
    bytes,
    "longest turn (ms)": Math.round(least * 10) / 10,
    bound: least < BOUND_MS ? "" : "over",
  });
}
console.table(rows);
await app.close();
await daemon.stop(5000);
await engine.stop();
rmSync(folder, { recursive: true, force: true });
process.exit(0);
