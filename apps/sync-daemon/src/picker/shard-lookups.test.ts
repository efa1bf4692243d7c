/** The fan-out against real HTTP servers that answer, are silent, refuse, or are away. */
import { once } from "node:events";
import { mkdtempSync, rmSync, writeFileSync } from "node:fs";
import { createServer, type IncomingMessage, type ServerResponse } from "node:http";
import type { AddressInfo } from "node:net";
import { tmpdir } from "node:os";
import { join } from "node:path";

import { SHARD_OUTCOMES } from "@kvsync/observability/kvsync/picker";
import { afterEach, expect, test } from "vitest";

import { type PickerShardsSettings, pickerShardsSection } from "../settings/picker-shards-settings.ts";
import { ShardLookups, type ShardOutcome, type ShardQuestion } from "./shard-lookups.ts";

const cleanups: (() => unknown)[] = [];
afterEach(async () => {
  for (const clean of cleanups.splice(0).reverse()) await clean();
});

const QUESTION: ShardQuestion = {
  model: "a model",
  loraName: null,
  cacheSalt: "a salt",
  tokens: Uint32Array.of(1, 2, 70_000),
};

/** A daemon of a shard, as far as it is asked. */
class Shard {
  readonly index: number;
  readonly asked: { readonly url: URL; readonly authorization: string | undefined; readonly body: Buffer }[] =
    [];
  answer: (response: ServerResponse) => void;
  url = "";

  constructor(index: number) {
    this.index = index;
    this.answer = (response) => response.end(JSON.stringify(this.rows()));
  }

  static async start(index: number): Promise<Shard> {
    const shard = new Shard(index);
    const server = createServer((request, response) => void shard.#hear(request, response));
    server.listen(0, "127.0.0.1");
    await once(server, "listening");
    cleanups.push(() => {
      server.closeAllConnections();
      server.close();
    });
    shard.url = `http://127.0.0.1:${(server.address() as AddressInfo).port}`;
    return shard;
  }

  rows(worker = `of-${this.index}`): object {
    const tiers = { device: 1, host: 0, disk: 0, remote: 0 };
    const row = {
      worker,
      dp_rank: 0,
      block_size: 2,
      matched_tokens: 2,
      held_tokens: 2,
      tiers,
      trust: "exact",
    };
    return { matches: [row], ranks: { exact: 3, partial: 0, stale: 0, unknown: 0 } };
  }

  async #hear(request: IncomingMessage, response: ServerResponse): Promise<void> {
    const body = Buffer.concat((await request.toArray()) as Buffer[]);
    const url = new URL(request.url ?? "", this.url);
    this.asked.push({ url, authorization: request.headers.authorization, body });
    this.answer(response);
  }
}

/** A picker of shard 0 with the replicas of the others, and a clock that the test moves on. */
function lookups(replicas: readonly (readonly Shard[])[], settings: Partial<PickerShardsSettings> = {}) {
  const outcomes: [number, ShardOutcome][] = [];
  const news: unknown[] = [];
  let aheadMs = 0;
  const asker = new ShardLookups(
    {
      ...pickerShardsSection.parse({ timeout_ms: 10_000 }),
      addresses: [["http://127.0.0.1:9"], ...replicas.map((shards) => shards.map(({ url }) => url))],
      ...settings,
    },
    0,
    {
      watch: {
        asked: (shard, outcome) => outcomes.push([shard, outcome]),
        missing: (shard, fault, url) => news.push([shard, fault, url]),
        back: (shard) => news.push([shard, "back"]),
        unreadable: (setting) => news.push(setting),
      },
      shardOf: (worker) => Number(worker.slice(3)),
      now: () => performance.now() + aheadMs,
    },
  );
  cleanups.push(() => asker.stop());
  return {
    asker,
    outcomes,
    news,
    ask: () => asker.ask(QUESTION, performance.now() + aheadMs + 20_000),
    pass: (ms: number) => (aheadMs += ms),
  };
}

const silent = (): void => undefined;
const dead = (response: ServerResponse): void => {
  response.destroy();
};

test("each shard but the own one is asked with the tokens as bytes, and its rows come back", async () => {
  const shards = [await Shard.start(1), await Shard.start(2)];
  const { ask, outcomes } = lookups(shards.map((shard) => [shard]));
  const { rows, restTrusts, missing } = await ask();
  expect(rows.map(({ worker, matchedTokens }) => [worker, matchedTokens])).toEqual([
    ["of-1", 2],
    ["of-2", 2],
  ]);
  expect(restTrusts).toEqual(["unknown", "exact", "exact"]);
  expect(missing).toEqual([]);
  expect(outcomes.sort()).toEqual([
    [1, "ok"],
    [2, "ok"],
  ]);
  const [asked] = shards[0]?.asked ?? [];
  expect(asked?.url.pathname).toBe("/api/v1/match");
  expect(Object.fromEntries(asked?.url.searchParams ?? [])).toEqual({
    input: "token_ids",
    model: "a model",
    cache_salt: "a salt",
  });
  expect([...new Uint32Array(new Uint8Array(asked?.body ?? []).buffer)]).toEqual([1, 2, 70_000]);
});

test("H1: a silent replica leaves time for the next one of its shard", async () => {
  const replicas = [await Shard.start(1), await Shard.start(1)];
  const { ask, outcomes } = lookups([replicas], { timeout_ms: 400 });
  for (const shard of replicas) {
    shard.answer = silent;
    expect((await ask()).missing).toEqual([]);
    shard.answer = (response) => response.end(JSON.stringify(shard.rows()));
  }
  expect(outcomes).toEqual([
    [1, "ok"],
    [1, "ok"],
  ]);
});

test("H1: a question whose time is over asks no shard", async () => {
  const shard = await Shard.start(1);
  const { asker, outcomes } = lookups([[shard]]);
  expect((await asker.ask(QUESTION, performance.now())).missing).toEqual([1]);
  expect(outcomes).toEqual([[1, "no_time"]]);
  expect(shard.asked).toEqual([]);
});

test("H2: a shard without an answer is missing with its reason, told once, and back with the first answer", async () => {
  const [one, other] = [await Shard.start(1), await Shard.start(2)];
  const { asker, ask, outcomes, news } = lookups([[one], [other]], { timeout_ms: 300 });
  const cases: readonly [(response: ServerResponse) => void, ShardOutcome][] = [
    [silent, "timeout"],
    [dead, "unreachable"],
    [(response) => response.writeHead(401).end("{}"), "status"],
    [(response) => response.end("no JSON"), "malformed"],
    [(response) => response.end(JSON.stringify(one.rows("of-2"))), "wrong_shard"],
  ];
  const sound = one.answer;
  for (const [answer, reason] of cases) {
    one.answer = answer;
    const { rows, restTrusts, missing } = await ask();
    expect([missing, rows.map(({ worker }) => worker)]).toEqual([[1], ["of-2"]]);
    expect(restTrusts).toEqual(["unknown", "unknown", "exact"]);
    expect(asker.missing).toEqual([1]);
    await ask();
    one.answer = sound;
    expect((await ask()).missing).toEqual([]);
    expect(asker.missing).toEqual([]);
    expect(outcomes.filter(([shard]) => shard === 1).splice(-3)).toEqual([
      [1, reason],
      [1, reason],
      [1, "ok"],
    ]);
    expect(news.splice(0)).toEqual([
      [1, reason, one.url],
      [1, "back"],
    ]);
  }
});

test("H2: the reasons are those of the catalogue", () => {
  const known: Readonly<Record<ShardOutcome, true>> = {
    ok: true,
    timeout: true,
    unreachable: true,
    status: true,
    malformed: true,
    too_large: true,
    wrong_shard: true,
    circuit_open: true,
    busy: true,
    no_time: true,
  };
  expect(Object.keys(known).sort()).toEqual([...SHARD_OUTCOMES].sort());
});

test("H3: after three failures a replica is left alone for a second, then one question tries it", async () => {
  const shard = await Shard.start(1);
  const { ask, outcomes, pass } = lookups([[shard]]);
  const sound = shard.answer;
  shard.answer = dead;
  for (let i = 0; i < 5; i++) await ask();
  expect(outcomes.splice(0).map(([, outcome]) => outcome)).toEqual([
    ...Array<ShardOutcome>(3).fill("unreachable"),
    ...Array<ShardOutcome>(2).fill("circuit_open"),
  ]);
  pass(1001);
  await Promise.all([ask(), ask(), ask()]);
  expect(
    outcomes
      .splice(0)
      .map(([, outcome]) => outcome)
      .sort(),
  ).toEqual(["circuit_open", "circuit_open", "unreachable"]);
  shard.answer = sound;
  pass(1001);
  expect((await ask()).missing).toEqual([]);
  expect((await ask()).missing).toEqual([]);
});

test("H4: open questions and the bytes of an answer are bounded", async () => {
  const shard = await Shard.start(1);
  const { asker, ask, outcomes } = lookups([[shard]], { requests: 2, answer_bytes: 1000 });
  const held: ServerResponse[] = [];
  shard.answer = (response) => held.push(response);
  const open = [ask(), ask()];
  while (held.length < 2) await new Promise(setImmediate);
  expect(asker.openCount).toBe(2);
  expect((await ask()).missing).toEqual([1]);
  expect(outcomes).toEqual([[1, "busy"]]);
  for (const response of held) response.end(`"${"x".repeat(2000)}"`);
  for (const { missing } of await Promise.all(open)) expect(missing).toEqual([1]);
  expect(outcomes.slice(1)).toEqual([
    [1, "too_large"],
    [1, "too_large"],
  ]);
  expect(asker.openCount).toBe(0);
});

test("H5: a token that changes on the disk counts from the next look on, and one that is gone stays", async () => {
  const folder = mkdtempSync(join(tmpdir(), "kvsync-shard-lookups-"));
  cleanups.push(() => {
    rmSync(folder, { recursive: true });
  });
  const file = join(folder, "token");
  writeFileSync(file, "first\n");
  const shard = await Shard.start(1);
  const { asker, ask, news } = lookups([[shard]], { token_file: file });
  await ask();
  writeFileSync(file, "second\n");
  await ask();
  asker.renew();
  await ask();
  rmSync(file);
  asker.renew();
  await ask();
  expect(shard.asked.map(({ authorization }) => authorization)).toEqual([
    "Bearer first",
    "Bearer first",
    "Bearer second",
    "Bearer second",
  ]);
  expect(news).toEqual(["picker.shards.token_file"]);
});
