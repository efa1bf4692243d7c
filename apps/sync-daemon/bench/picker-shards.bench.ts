/**
 * The costs of a pick over a fleet of several shards: asking them, reading their rows, and ranking all endpoints.
 *
 *     node apps/sync-daemon/bench/picker-shards.bench.ts [tokens=12000] [endpoints=1000] [rounds=200]
 *
 * The other shards are one HTTP server in a process of its own. It answers in the form of a daemon's answer, with as many
 * rows as it is asked for. So the CPU of this process is the picker's alone. The ranking is measured by itself, with the same rows.
 * Medians of five runs.
 */
import { type ChildProcess, fork } from "node:child_process";
import { once } from "node:events";
import { createServer } from "node:http";
import type { AddressInfo } from "node:net";
import { cpus } from "node:os";
import { argv } from "node:process";

import { DIGEST_WORDS, shardOf } from "@kvsync/core";

import type { RankHeld } from "../src/query/match.ts";
import { EndpointFleet, type PickRequest } from "../src/picker/endpoint-fleet.ts";
import { ShardLookups } from "../src/picker/shard-lookups.ts";
import { pickerShardsSection } from "../src/settings/picker-shards-settings.ts";
import { benchFigure } from "../../../packages/core/bench/bench-figure.ts";

const RUNS = 5;
const AT_ONCE = 4;
/** Picks that the policy has in its own memory before the first run. */
const WARM_UP = 2000;
const BLOCK_TOKENS = 16;
/** Tokens that one name stands for, as for prompts of gateways. */
const NAME_TOKENS = 256;
/** Requests that an endpoint has under way. */
const OPEN_PER_ENDPOINT = 4;
const tokens = benchFigure("tokens", argv[2] ?? 12_000, 1, 1_048_576);
const endpoints = benchFigure("endpoints", argv[3] ?? 1_000, 1, 16_384);
const rounds = benchFigure("rounds", argv[4] ?? 200, 1, 100_000);

if (process.send === undefined) await measure();
else await serve();

/** Shard `s` of `count` is below /s/count/rows. */
async function serve(): Promise<void> {
  const bodies = new Map<string, string>();
  const server = createServer((request, response) => {
    request.resume();
    const [, shard = "0", count = "1", rows = "0"] = (request.url ?? "").split("/");
    const key = `${shard} ${count} ${rows}`;
    const body = bodies.get(key) ?? answerOf(Number(shard), Number(count), Number(rows));
    bodies.set(key, body);
    request.on("end", () => response.setHeader("content-type", "application/json").end(body));
  });
  server.listen(0, "127.0.0.1");
  await once(server, "listening");
  process.send?.((server.address() as AddressInfo).port);
}

/** Ids of the first workers of a shard. */
function workersOf(shard: number, count: number, rows: number): readonly string[] {
  const found: string[] = [];
  for (let n = 0; found.length < rows; n++)
    if (shardOf(`vllm-${n}`, count) === shard) found.push(`vllm-${n}`);
  return found;
}

function answerOf(shard: number, count: number, rows: number): string {
  const matches = workersOf(shard, count, rows).map((worker, i) => ({
    worker,
    dp_rank: 0,
    block_size: BLOCK_TOKENS,
    matched_blocks: 1 + (i % 700),
    matched_tokens: BLOCK_TOKENS * (1 + (i % 700)),
    held_tokens: BLOCK_TOKENS * (1 + (i % 700)),
    reusable_tokens: BLOCK_TOKENS * (1 + (i % 700)),
    tiers: { device: 1 + (i % 700), host: 0, disk: 0, remote: 0 },
    trust: "exact",
    trust_reason: null,
    trust_since: "2026-12-01T00:00:00.000Z",
    age_seconds: 0.123,
  }));
  return JSON.stringify({
    model: "m",
    requested_model: "m",
    lora_name: null,
    block_size: BLOCK_TOKENS,
    block_sizes: [BLOCK_TOKENS],
    blocks: 750,
    trust: "exact",
    decision: "exact",
    reason: null,
    ranks: { exact: 1000, partial: 0, stale: 0, unknown: 0 },
    matches,
  });
}

async function measure(): Promise<void> {
  const server = fork(import.meta.filename, { serialization: "json" });
  const [port] = (await once(server, "message")) as [number];
  console.log(`prompts of ${tokens} tokens; ${cpus()[0]?.model ?? ""}, Node ${process.version}\n`);
  console.log(
    "| other shards | rows of each | CPU of asking | bytes of an answer |\n| --- | --- | --- | --- |",
  );
  for (const shards of [1, 3, 9]) for (const rows of [1, 100, 1000]) await asking(port, shards, rows);
  console.log("\n| endpoints | rows | CPU of ranking and booking |\n| --- | --- | --- |");
  for (const count of [endpoints, 4 * endpoints, 10 * endpoints])
    for (const rows of [10, count]) ranking(count, rows);
  end(server);
}

function end(server: ChildProcess): void {
  server.kill();
  server.unref();
}

async function asking(port: number, others: number, rows: number): Promise<void> {
  const count = others + 1;
  const known = new Set(Array.from({ length: others }, (_, i) => workersOf(i + 1, count, rows)).flat());
  const shardByWorker = new Map([...known].map((worker) => [worker, shardOf(worker, count)]));
  const asker = new ShardLookups(
    {
      ...pickerShardsSection.parse({ timeout_ms: 10_000 }),
      addresses: Array.from({ length: count }, (_, shard) => [
        `http://127.0.0.1:${port}/${shard}/${count}/${rows}`,
      ]),
    },
    0,
    {
      watch: {
        asked: () => undefined,
        missing: () => undefined,
        back: () => undefined,
        unreadable: () => undefined,
      },
      shardOf: (worker) => shardByWorker.get(worker) ?? null,
      now: () => performance.now(),
    },
  );
  const question = { model: "m", loraName: null, cacheSalt: null, tokens: new Uint32Array(tokens) };
  const ask = async (): Promise<void> => {
    const { rows: found } = await asker.ask(question, performance.now() + 10_000);
    if (found.length !== others * rows) throw new Error(`${found.length} rows of ${others * rows}`);
  };
  const times = Math.max(20, Math.floor(rounds / (others * (1 + rows / 100))));
  const run = async (): Promise<number> => {
    const before = process.cpuUsage();
    for (let n = 0; n < times; n += AT_ONCE) await Promise.all(Array.from({ length: AT_ONCE }, ask));
    const { user, system } = process.cpuUsage(before);
    return (user + system) / 1000 / (AT_ONCE * Math.ceil(times / AT_ONCE));
  };
  await run();
  const all: number[] = [];
  for (let n = 0; n < RUNS; n++) all.push(await run());
  await asker.stop();
  const bytes = answerOf(1, count, rows).length;
  console.log(`| ${others} | ${rows} | ${median(all).toFixed(2)} ms | ${bytes} |`);
}

function ranking(count: number, rows: number): void {
  const fleet = new EndpointFleet({ capacityTokens: 400_000, rankHeader: false });
  const address = (n: number): string => `10.${n >> 16}.${(n >> 8) & 255}.${n & 255}:8000`;
  const worker = (n: number): string => `vllm-${n}`;
  fleet.update(
    Array.from({ length: count }, (_, n) => ({
      id: worker(n),
      model: "m",
      ranks: [{ dpRank: 0 }],
      http: [address(n)],
    })),
  );
  let id = 0;
  let nowSeconds = 0;
  const keys = new Uint32Array(DIGEST_WORDS * Math.floor(tokens / NAME_TOKENS));
  const names = { keys, keyWords: DIGEST_WORDS, keyTokens: NAME_TOKENS };
  const pick = (): void => {
    id += 1;
    nowSeconds += 1 / (2 * count);
    keys.fill(id);
    const holds = Array.from({ length: rows }, (_, i): RankHeld => {
      const matchedTokens = BLOCK_TOKENS * (i % 700);
      const held = {
        slowTokens: 0,
        heldTokens: matchedTokens,
        blockSize: BLOCK_TOKENS,
        trust: "exact",
      } as const;
      return {
        worker: worker(rows === count ? i : (id * 31 + i) % count),
        dpRank: 0,
        matchedTokens,
        ...held,
      };
    });
    const request: PickRequest = {
      workers: null,
      subset: null,
      promptTokens: tokens,
      names,
      holds,
      restTrusts: ["exact"],
    };
    fleet.pick(id, request, 3, nowSeconds);
    fleet.end(id - OPEN_PER_ENDPOINT * count);
  };
  for (let n = 0; n < WARM_UP; n++) pick();
  const all = Array.from({ length: RUNS }, () => {
    const before = process.cpuUsage();
    for (let n = 0; n < rounds; n++) pick();
    const { user, system } = process.cpuUsage(before);
    return (user + system) / 1000 / rounds;
  });
  console.log(`| ${count} | ${rows} | ${median(all).toFixed(3)} ms |`);
}

function median(values: readonly number[]): number {
  return values.toSorted((a, b) => a - b)[values.length >> 1] ?? Number.NaN;
}
