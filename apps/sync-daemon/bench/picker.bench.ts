/**
 * The cost of the endpoint picker: CPU time of its thread for each request, by the system's own account of that thread. A daemon
 * process picks; this process speaks ext_proc to it without Envoy, whose share of two cores would be the greater.
 *
 *     node apps/sync-daemon/bench/picker.bench.ts [requests=4000] [endpoints=16,100,1000]
 *
 * The same exchanges with node:http2 alone are measured in turns with it (picker-floor.ts). Small bodies have token ids, so that no tokenizer is asked. Bodies of 500 kB are text without a tokenizer: they are read,
 * decided by load, and sent back. Rounds of every kind take turns; medians are printed. At the end lookups over HTTP are timed
 * under several loads of the picker. The system counts how long their threads waited for a core. Needs Linux.
 */
import { spawn } from "node:child_process";
import { once } from "node:events";
import { argv, execPath } from "node:process";
import { fileURLToPath } from "node:url";

import { Prng } from "@kvsync/core";

import { type Frames, framesOf, LoadClient, ready, sendAll } from "../src/picker/testing/load-client.ts";
import {
  machine,
  MODEL,
  PickerDaemon,
  PickerFloor,
  type ThreadTimes,
  threadTimes,
} from "./picker-process.ts";
import { benchFigure, benchFigures } from "../../../packages/core/bench/bench-figure.ts";

const SEED = 20_261_130;
const CLIENTS = 16;
const ROUNDS = 5;
const LARGE_BYTES = 500_000;
const LARGE_REQUESTS = 200;
const LOOKUPS = 1000;
/** Loads of the picker that leave a core free, in requests a second; so many of them at once. */
const PACES = [100, 400];
const PACED_AT_ONCE = 4;
const SELF = fileURLToPath(import.meta.url);
const [, , mode, loadPort, loadPerSecond] = argv;
const isLoad = mode === "load";
const requests = isLoad ? 0 : benchFigure("requests", argv[2] ?? 4_000, 1, 10_000_000);
const fleets = isLoad ? [] : benchFigures("engines", argv[3] ?? "16,100,1000", 1, 4_096);

function median(values: readonly number[]): number {
  return quantile(values, 0.5);
}

function quantile(values: readonly number[], share: number): number {
  const sorted = [...values].sort((a, b) => a - b);
  return sorted[Math.min(sorted.length - 1, Math.floor(sorted.length * share))] ?? Number.NaN;
}

const random = new Prng(SEED);
const small = Array.from({ length: 64 }, () =>
  framesOf(JSON.stringify({ model: MODEL, prompt: Array.from({ length: 8 }, () => random.below(128_000)) })),
);
const long = Array.from({ length: 8 }, () =>
  framesOf(
    JSON.stringify({ model: MODEL, prompt: Array.from({ length: 2048 }, () => random.below(128_000)) }),
  ),
);
const large = Array.from({ length: 8 }, () => {
  const words = Array.from({ length: LARGE_BYTES / 8 }, () =>
    random.below(10_000_000).toString().padStart(7, "0"),
  );
  return framesOf(JSON.stringify({ model: MODEL, prompt: words.join(" ") }));
});

interface Round {
  readonly threadMs: number;
  readonly processMs: number;
  readonly p50: number;
  readonly p99: number;
  readonly perSecond: number;
}

async function round(
  daemon: PickerDaemon | PickerFloor,
  client: LoadClient,
  kinds: readonly Frames[],
  count: number,
  clients: number,
): Promise<Round> {
  const [thread, all, beganMs] = [daemon.threadCpuMs, daemon.processCpuMs, performance.now()];
  const { ms, failures } = await sendAll(client, kinds, count, clients);
  const seconds = (performance.now() - beganMs) / 1000;
  if (failures.size > 0) throw new Error(`failed: ${JSON.stringify([...failures])}`);
  return {
    threadMs: (daemon.threadCpuMs - thread) / count,
    processMs: (daemon.processCpuMs - all) / count,
    p50: median(ms),
    p99: quantile(ms, 0.99),
    perSecond: count / seconds,
  };
}

function line(what: string, rounds: readonly Round[]): string {
  const of = (pick: (one: Round) => number): number => median(rounds.map(pick));
  return (
    `${what}: ${of((one) => one.threadMs).toFixed(3)} ms of CPU of the thread ` +
    `(${rounds.map(({ threadMs }) => threadMs.toFixed(3)).join(" ")}), ${of((one) => one.processMs).toFixed(3)} of all threads; ` +
    `${of((one) => one.perSecond).toFixed(0)}/s, p50 ${of((one) => one.p50).toFixed(2)} ms, p99 ${of((one) => one.p99).toFixed(1)} ms`
  );
}

/** Lookups, each with the times of the daemon's main thread and of this process for it. */
interface Lookups {
  readonly p50: number;
  readonly meanMs: number;
  readonly daemon: ThreadTimes;
  readonly own: ThreadTimes;
}

/** Lookups over HTTP, one after the other. */
async function lookups(daemon: PickerDaemon): Promise<Lookups> {
  const { url } = daemon;
  const before = [daemon.mainThread, threadTimes(process.pid)];
  const body = JSON.stringify({ model: MODEL, token_ids: Array.from({ length: 512 }, (_, i) => i) });
  const ms: number[] = [];
  for (let i = 0; i < LOOKUPS; i++) {
    const beganMs = performance.now();
    const response = await fetch(`${url}/api/v1/match`, {
      method: "POST",
      headers: { "content-type": "application/json" },
      body,
    });
    await response.text();
    ms.push(performance.now() - beganMs);
  }
  const [main, own] = [daemon.mainThread, threadTimes(process.pid)].map(({ cpuMs, waitMs }, i) => ({
    cpuMs: (cpuMs - (before[i]?.cpuMs ?? 0)) / LOOKUPS,
    waitMs: (waitMs - (before[i]?.waitMs ?? 0)) / LOOKUPS,
  })) as [ThreadTimes, ThreadTimes];
  return {
    p50: median(ms),
    meanMs: ms.reduce((sum, one) => sum + one, 0) / LOOKUPS,
    daemon: main,
    own,
  };
}

/** Runs lookups while a child process keeps the picker busy. Null: as busy as it can. */
async function lookupsWhile(daemon: PickerDaemon, perSecond: number | null): Promise<Lookups> {
  const child = spawn(execPath, [SELF, "load", String(daemon.port), String(perSecond ?? 0)], {
    stdio: ["ignore", "pipe", "inherit"],
  });
  await once(child.stdout, "data");
  const found = await lookups(daemon);
  child.kill();
  await once(child, "exit");
  return found;
}

/** The process that keeps a picker busy, until it is ended. */
async function keepBusy(port: number, perSecond: number): Promise<never> {
  const client = new LoadClient(port);
  await ready(client, small);
  console.log("busy");
  if (perSecond === 0) for (;;) await sendAll(client, small, 200, CLIENTS);
  const beganMs = performance.now();
  for (let i = 0; ; i += PACED_AT_ONCE) {
    const waitMs = beganMs + (1000 * i) / perSecond - performance.now();
    if (waitMs > 0) await new Promise((resolve) => setTimeout(resolve, waitMs));
    await sendAll(client, small, PACED_AT_ONCE, PACED_AT_ONCE);
  }
}

function lookupLine(what: string, { p50, meanMs, daemon, own }: Lookups, quiet: Lookups): string {
  const times = ({ cpuMs, waitMs }: ThreadTimes): string => `${cpuMs.toFixed(3)} + ${waitMs.toFixed(3)}`;
  return (
    `  lookup over HTTP, ${what}: p50 ${p50.toFixed(2)} ms (${(p50 / quiet.p50).toFixed(2)} ×), mean ${meanMs.toFixed(2)} ms; ` +
    `CPU + wait for a core: ${times(daemon)} ms of the daemon's main thread, ${times(own)} ms of this process`
  );
}

if (isLoad) await keepBusy(Number(loadPort), Number(loadPerSecond));
console.log(`${machine()}, seed ${SEED}, ${requests} requests a round`);
for (const engines of fleets) {
  const daemon = await PickerDaemon.start(engines);
  const client = new LoadClient(daemon.port);
  const floor = await PickerFloor.start();
  const floorClient = new LoadClient(floor.port);
  const isFirst = engines === fleets[0];
  await ready(client, small);
  // What the first requests compile is not measured.
  await round(daemon, client, small, 2 * requests, CLIENTS);
  await round(floor, floorClient, small, 2 * requests, CLIENTS);
  const rounds = { small: [] as Round[], one: [] as Round[], long: [] as Round[], large: [] as Round[] };
  const floors = { small: [] as Round[], one: [] as Round[], large: [] as Round[] };
  for (let i = 0; i < ROUNDS; i++) {
    rounds.small.push(await round(daemon, client, small, requests, CLIENTS));
    rounds.one.push(await round(daemon, client, small, requests / 10, 1));
    rounds.long.push(await round(daemon, client, long, requests / 10, CLIENTS));
    if (!isFirst) continue;
    floors.small.push(await round(floor, floorClient, small, requests, CLIENTS));
    floors.one.push(await round(floor, floorClient, small, requests / 10, 1));
    rounds.large.push(await round(daemon, client, large, LARGE_REQUESTS, 1));
    floors.large.push(await round(floor, floorClient, large, LARGE_REQUESTS, 1));
  }
  floorClient.close();
  floor.stop();
  console.log(`${engines} endpoints, ${daemon.residentMib.toFixed(0)} MiB resident`);
  console.log(line(`  8 tokens, ${CLIENTS} at once`, rounds.small));
  console.log(line("  8 tokens, one at a time", rounds.one));
  console.log(line(`  2,048 tokens, ${CLIENTS} at once`, rounds.long));
  if (isFirst) {
    console.log(line("  500 kB of text, one at a time", rounds.large));
    console.log(line(`  node:http2 alone, 8 tokens, ${CLIENTS} at once`, floors.small));
    console.log(line("  node:http2 alone, 8 tokens, one at a time", floors.one));
    console.log(line("  node:http2 alone, 500 kB of text, one at a time", floors.large));
    await lookups(daemon);
    const quiet = await lookups(daemon);
    for (const perSecond of [...PACES, null])
      console.log(
        lookupLine(
          `picker ${perSecond === null ? "as busy as it can be" : `at ${perSecond} requests a second`}`,
          await lookupsWhile(daemon, perSecond),
          quiet,
        ),
      );
    console.log(lookupLine("picker idle", await lookups(daemon), quiet));
  }
  client.close();
  await daemon.stop();
}
