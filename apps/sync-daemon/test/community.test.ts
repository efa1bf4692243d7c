/**
 * The community's indexer API over a real daemon core, asked with the requests of Mooncake's and Dynamo's own pages
 * (docs/source/design/conductor/usage.md, docs/pages/components/router/standalone-indexer.md), endpoints and prompts aside.
 */
import { PrefixHasher, toBigInt } from "@kvsync/core";
import { afterAll, beforeAll, expect, test } from "vitest";

import { type DaemonInProcess, startInProcess } from "./daemon-in-process.ts";
import { TestEngine, until } from "./fleet.ts";

const TOKENS = Array.from({ length: 80 }, (_, i) => 1000 + 7 * i);

let running: DaemonInProcess;
const engines: TestEngine[] = [];

async function post(
  url: string,
  payload: object | string,
): Promise<{ status: number; body: Record<string, unknown> }> {
  const response = await running.app.inject({
    method: "POST",
    url,
    headers: { "content-type": "application/json" },
    payload,
  });
  return { status: response.statusCode, body: response.json() };
}

const get = async (url: string): Promise<unknown> => (await running.app.inject(url)).json();

/** Registration of one rank as Mooncake's usage page has it. */
const mooncake = (dpRank: number, instance = "engine-a") => ({
  endpoint: engines[dpRank]?.server.endpoint,
  replay_endpoint: engines[dpRank]?.server.replayEndpoint,
  type: "vLLM",
  modelname: "test/model",
  lora_name: "",
  tenant_id: "default",
  instance_id: instance,
  block_size: 16,
  dp_rank: dpRank,
  cache_group: 0,
  hash_profile: {
    strategy: "vllm_v1",
    algorithm: "sha256_cbor",
    python_hash_seed: "0",
    index_projection: "low64_be",
  },
});

async function serveAndWait(): Promise<void> {
  for (const engine of engines) {
    engine.engine.submit(
      {
        id: 1e6 + engine.engine.counters.requestsFinished,
        promptTokens: Uint32Array.from(TOKENS),
        output: { count: 1, seed: 1 },
      },
      Date.now() / 1000,
    );
    await engine.serve(0);
  }
  const last = engines.map(({ engine }) => engine.lastSequenceNumber);
  await until("both ranks are in sync", async () => {
    const { engines: reports } = (await get("/api/v1/engines")) as {
      engines: { ranks: { dp_rank: number; trust: string; last_sequence_number: number | null }[] }[];
    };
    const ranks = reports.flatMap((report) => report.ranks);
    return (
      ranks.length === 2 &&
      ranks.every((rank) => rank.trust === "exact" && rank.last_sequence_number === last[rank.dp_rank])
    );
  });
}

beforeAll(async () => {
  running = await startInProcess();
  for (const dpRank of [0, 1]) engines.push(await TestEngine.start({ id: `rank-${dpRank}`, dpRank }, dpRank));
});

afterAll(async () => {
  await running.stop();
  for (const engine of engines) await engine.stop();
});

test("a Mooncake client registers ranks one by one, queries tokens and rolling hashes, and unregisters", async () => {
  for (const dpRank of [0, 1]) {
    expect(await post("/register", mooncake(dpRank))).toEqual({
      status: 200,
      body: { status: "registered successfully", instance_id: "engine-a" },
    });
  }
  expect((await post("/register", mooncake(0))).status).toBe(200);
  expect(await post("/register", mooncake(0, "engine-b"))).toMatchObject({
    status: 409,
    body: { code: "engine_conflict" },
  });
  expect(await get("/services")).toMatchObject({
    count: 2,
    services: [
      {
        InstanceID: "engine-a",
        DPRank: 0,
        Type: "vLLM",
        ModelName: "test/model",
        TenantID: "default",
        BlockSize: 16,
      },
      { InstanceID: "engine-a", DPRank: 1 },
    ],
  });
  await serveAndWait();
  const query = {
    model: "test/model",
    lora_name: "",
    tenant_id: "default",
    block_size: 16,
    token_ids: TOKENS,
  };
  const found = { longest_matched: 80, GPU: 80, DP: { 0: 80, 1: 80 }, CPU: 0, DISK: 0 };
  expect((await post("/query", query)).body).toEqual({
    default: { "engine-a": found },
    instances: { "engine-a": found },
  });
  expect((await post("/query", { ...query, instance_id: "nobody" })).body).toEqual({
    default: {},
    instances: {},
  });
  expect((await post("/query", { ...query, tenant_id: "other" })).body).toEqual({ other: {}, instances: {} });
  expect((await post("/query", { ...query, cache_salt: "w8a8" })).body).toMatchObject({
    instances: { "engine-a": { longest_matched: 0 } },
  });

  const hashes = prefixHashes();
  const byHash = `{"model":"test/model","block_size":16,"seq_hashes":[${hashes.join(", ")}]}`;
  expect((await post("/query_by_hash", byHash)).body).toMatchObject({ instances: { "engine-a": found } });
  expect(await get("/global_view")).toMatchObject({
    context_count: 1,
    contexts: [
      { model_name: "test/model", block_size: 16, tenant_id: "default", instances: { "engine-a": [0, 1] } },
    ],
  });
  const [dumped] = (await get("/dump")) as { model_name: string; blocks: [string, string, number][] }[];
  expect(dumped?.model_name).toBe("test/model");
  const wanted = `0x${hashes[0]?.toString(16).padStart(16, "0") ?? ""}`;
  // In the order in which the ranks stored it, which is anybody's.
  const holders = dumped?.blocks
    .filter(([hash]) => hash === wanted)
    .map(([, instance, rank]) => `${instance} ${rank}`);
  expect(holders?.sort()).toEqual(["engine-a 0", "engine-a 1"]);
  expect(
    (await post("/unregister", { instance_id: "engine-a", tenant_id: "default", dp_rank: 1 })).body,
  ).toEqual({
    status: "unregistered successfully",
    removed_instances: ["engine-a|default|1"],
  });
  expect(
    await post("/unregister", { instance_id: "engine-a", tenant_id: "default", dp_rank: 1 }),
  ).toMatchObject({
    status: 404,
    body: { code: "unknown_instance", dp_rank: 1 },
  });
  expect((await post("/unregister", { instance_id: "engine-a", dp_rank: 0 })).status).toBe(200);
  expect(await get("/services")).toEqual({ count: 0, services: [] });
});

test("a Dynamo client registers by integer, queries tokens and local hashes, lists workers, and unregisters all ranks", async () => {
  for (const dp_rank of [0, 1]) {
    const { endpoint, replayEndpoint: replay_endpoint } = engines[dp_rank]!.server;
    const body = {
      instance_id: 1,
      endpoint,
      replay_endpoint,
      model_name: "test/model",
      block_size: 16,
      dp_rank,
    };
    expect(await post("/register", body)).toEqual({ status: 201, body: { status: "ok" } });
  }
  expect(await get("/workers")).toEqual([
    { instance_id: 1, endpoints: { 0: engines[0]?.server.endpoint, 1: engines[1]?.server.endpoint } },
  ]);
  await serveAndWait();
  const expected = {
    scores: { 1: { 0: 80, 1: 80 } },
    frequencies: [2, 2, 2, 2, 2],
    instances: { 1: { longest_matched: 80, gpu: 80, dp: { 0: 80, 1: 80 }, cpu: 80, disk: 80 } },
  };
  expect((await post("/query", { token_ids: TOKENS, model_name: "test/model" })).body).toEqual(expected);
  // Of one block each: a local hash is the prefix hash of a prompt of that block alone.
  const local = Array.from({ length: 5 }, (_, i) =>
    BigInt.asIntN(64, prefixHashes(TOKENS.slice(16 * i, 16 * i + 16))[0] ?? 0n),
  );
  const byHash = `{"block_hashes": [${local.join(", ")}], "model_name": "test/model"}`;
  expect((await post("/query_by_hash", byHash)).body).toEqual(expected);
  expect(await post("/query", { token_ids: TOKENS, model_name: "nobody's" })).toMatchObject({ status: 404 });
  expect((await post("/unregister", { instance_id: 1, model_name: "test/model" })).body).toEqual({
    status: "ok",
  });
  expect(await get("/workers")).toEqual([]);
});

test("an instance id of 63 bits keeps its digits on every route that it comes and goes by", async () => {
  const id = "7587888160958627596";
  const name = `"instance_id": ${id}, "model_name": "other/model"`;
  const register = `{${name}, "endpoint": "tcp://[fc00::7]:5557", "type": "TensorRT-LLM", "dp_rank": 1}`;
  expect(await post("/register", register)).toEqual({ status: 201, body: { status: "ok" } });
  const workers = await running.app.inject("/workers");
  expect(workers.headers["content-type"]).toContain("application/json");
  expect(workers.payload).toBe(`[{"instance_id":${id},"endpoints":{"1":"tcp://[fc00::7]:5557"}}]`);
  expect(await get("/services")).toMatchObject({ services: [{ InstanceID: id, Type: "TensorRT-LLM" }] });
  const query = await post("/query", `{${name}, "token_ids": [1, 2]}`);
  expect(query).toMatchObject({ status: 200, body: { instances: { [id]: { longest_matched: 0 } } } });
  expect(await post("/query_by_hash", `{${name}, "block_hashes": [-1]}`)).toMatchObject({
    body: { instances: { [id]: { longest_matched: 0 } } },
  });
  expect(await post("/unregister", `{${name}, "dp_rank": 1}`)).toEqual({
    status: 200,
    body: { status: "ok" },
  });
  expect(await get("/services")).toEqual({ count: 0, services: [] });
});

test("an instance called as a pod is, of 317 characters and a high rank, is registered and found", async () => {
  const instance_id = `${"n".repeat(63)}/${"p".repeat(253)}`;
  const body = { instance_id, model_name: "other/model", endpoint: "tcp://127.0.0.1:19889", dp_rank: 1023 };
  expect(await post("/register", body)).toMatchObject({ status: 201 });
  expect(await post("/unregister", { instance_id })).toMatchObject({ status: 200 });
});

test.each([
  ["/register", { instance_id: 1, endpoint: "tcp://127.0.0.1:5557" }, "model"],
  ["/register", { instance_id: 1e21, endpoint: "tcp://127.0.0.1:5557", model_name: "m" }, "instance_id"],
  ["/register", { instance_id: 1, endpoint: "tcp://::1:5557", model_name: "m" }, "endpoint"],
  ["/register", { instance_id: 1, endpoint: "tcp://h:1", model_name: "m", type: "Triton" }, "type"],
  ["/register", { instance_id: -1, endpoint: "tcp://127.0.0.1:5557", model_name: "m" }, "instance_id"],
  ["/register", { instance_id: 1, endpoint: "http://127.0.0.1:5557", model_name: "m" }, "endpoint"],
  ["/register", { instance_id: "a b", endpoint: "tcp://127.0.0.1:5557", model_name: "m" }, "instance_id"],
  ["/query", { model: "m" }, "token_ids"],
  ["/query", { model: "m", token_ids: [1], block_size: 0 }, "block_size"],
])("%s with %j is refused, naming %s", async (url, payload, where) => {
  expect(await post(url, payload)).toMatchObject({ status: 400, body: { code: "malformed_body", where } });
});

test("a tenant that names an instance so that both have one id does not take over another's registration", async () => {
  const own = { endpoint: "tcp://127.0.0.1:19888", modelname: "other", instance_id: "blue/i" };
  expect(await post("/register", own)).toMatchObject({ status: 200 });
  expect(await post("/register", own)).toMatchObject({ status: 200 });
  expect(await post("/register", { ...own, tenant_id: "blue", instance_id: "i" })).toMatchObject({
    status: 409,
    body: { code: "engine_conflict", field: "instance_id", conflictsWith: "blue/i of tenant default" },
  });
  expect(await get("/services")).toMatchObject({
    services: [{ InstanceID: "blue/i", TenantID: "default" }],
  });
  expect(await post("/unregister", { instance_id: "blue/i" })).toMatchObject({ status: 200 });
});

test("a hash that is none is refused by the name of the field that it came in", async () => {
  expect(await post("/query_by_hash", { model: "m", seq_hashes: [1, 1.5] })).toMatchObject({
    status: 400,
    body: { where: "seq_hashes.1" },
  });
});

test("a query by hash names its hashes in exactly one of the three ways", async () => {
  expect(await post("/query_by_hash", { model: "m" })).toMatchObject({
    status: 422,
    body: { code: "contradictory_fields" },
  });
});

/** Prefix hashes of the full blocks of a prompt. */
function prefixHashes(tokens: readonly number[] = TOKENS): bigint[] {
  const blocks = Math.floor(tokens.length / 16);
  const words = new Uint32Array(2 * blocks);
  PrefixHasher.create().hash(Uint32Array.from(tokens), blocks, 16, null, words);
  return Array.from({ length: words.length / 2 }, (_, i) =>
    toBigInt(words[2 * i] ?? 0, words[2 * i + 1] ?? 0),
  );
}
