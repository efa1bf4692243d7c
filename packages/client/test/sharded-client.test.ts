/**
 * Shards as real servers that answer, are silent, or fail, and the answer that merged-answer.ts makes. Real daemons are asked in
 * sync-daemon's tests.
 */
import { createServer, type Server, type ServerResponse } from "node:http";
import type { AddressInfo } from "node:net";

import { afterEach, expect, test } from "vitest";

import { ClientError, FleetError } from "../src/client-error.ts";
import type { MatchAnswer, Trust, WorkerMatch } from "../src/match-types.ts";
import { ShardedClient } from "../src/sharded-client.ts";

/** Where patience is not what is tested. */
const PATIENT_MS = 10_000;

const servers: Server[] = [];
afterEach(async () => {
  for (const server of servers.splice(0)) {
    server.closeAllConnections();
    await new Promise((resolve) => server.close(resolve));
  }
});

type Handler = (response: ServerResponse, url: URL) => void;
interface Shard {
  readonly url: string;
  readonly asked: URL[];
}

async function serve(handler: Handler): Promise<Shard> {
  const asked: URL[] = [];
  const server = createServer((request, response) => {
    request.resume().on("end", () => {
      const url = new URL(request.url ?? "", "http://localhost");
      asked.push(url);
      handler(response, url);
    });
  });
  servers.push(server);
  await new Promise<void>((resolve) => server.listen(0, "127.0.0.1", resolve));
  return { url: `http://127.0.0.1:${(server.address() as AddressInfo).port}`, asked };
}

function row(worker: string, tokens: number, more: Partial<WorkerMatch> = {}): WorkerMatch {
  return {
    worker,
    dp_rank: 0,
    block_size: 16,
    matched_blocks: tokens / 16,
    matched_tokens: tokens,
    held_tokens: tokens,
    reusable_tokens: tokens,
    tiers: { device: tokens / 16, host: 0, disk: 0, remote: 0 },
    trust: "exact",
    trust_reason: null,
    trust_since: null,
    age_seconds: 0,
    ...more,
  };
}

function answer(matches: WorkerMatch[], more: Partial<MatchAnswer> = {}): MatchAnswer {
  const ranks: Record<Trust, number> = { exact: 0, partial: 0, stale: 0, unknown: 0 };
  for (const { trust } of matches) ranks[trust] += 1;
  return {
    model: "m",
    requested_model: "m",
    lora_name: null,
    block_size: 16,
    block_sizes: [16],
    blocks: 4,
    trust: "exact",
    decision: "exact",
    reason: null,
    ranks,
    matches,
    ...more,
  };
}

const says =
  (body: object, status = 200): Handler =>
  (response) => {
    response.statusCode = status;
    response.end(JSON.stringify(body));
  };
const silent: Handler = () => undefined;
const refusal = (code: string, status: number): Handler => says({ code, status, detail: code }, status);

async function failure(promise: Promise<unknown>): Promise<ClientError | FleetError> {
  const error: unknown = await promise.then(
    () => "an answer",
    (reason: unknown) => reason,
  );
  if (error instanceof ClientError || error instanceof FleetError) return error;
  throw new Error(`expected a ClientError, not ${String(error)}`);
}

const question = { model: "m", tokenIds: [1, 2, 3] };

async function fleet(handlers: readonly Handler[], timeoutMs = PATIENT_MS) {
  const shards = await Promise.all(handlers.map(serve));
  return { shards, client: new ShardedClient({ shards: shards.map(({ url }) => url), timeoutMs }) };
}

test("rows of all shards are one list, most matched tokens first, cut as asked, and ranks add up (G2)", async () => {
  const { client, shards } = await fleet([
    says(answer([row("b", 32), row("a", 16)])),
    says(answer([row("c", 64), row("d", 32, { trust: "stale", trust_reason: "gap" })])),
    says(
      answer([], { block_size: null, block_sizes: [], blocks: null, decision: "fallback", trust: "unknown" }),
    ),
  ]);
  const merged = await client.match({ ...question, topK: 3 });
  expect(merged.matches.map(({ worker }) => worker)).toEqual(["c", "b", "d"]);
  expect(merged).toMatchObject({
    decision: "degraded",
    trust: "stale",
    ranks: { exact: 3, partial: 0, stale: 1, unknown: 0 },
    block_size: 16,
    block_sizes: [16],
    blocks: 4,
    missing: [],
  });
  for (const { asked } of shards) expect(asked[0]?.searchParams.get("top_k")).toBe("3");
});

test("a shard that is silent is named, and the answer is degraded and partial at the deadline (S1, S2, G2)", async () => {
  const { client, shards } = await fleet([says(answer([row("a", 16)])), silent], 300);
  // The first call of a process loads the runtime's fetch.
  await fetch(shards[0]?.url ?? "");
  const beganMs = performance.now();
  const merged = await client.match(question);
  expect(performance.now() - beganMs).toBeLessThan(3000);
  expect(merged).toMatchObject({ decision: "degraded", trust: "partial" });
  expect(merged.matches.map(({ worker }) => worker)).toEqual(["a"]);
  expect(merged.missing).toEqual([
    { shard: 1, url: shards[1]?.url, facts: { code: "timeout", timeoutMs: expect.any(Number) as number } },
  ]);
});

test("a replica that is silent leaves time for the next one, and is asked last afterwards (S1, S4)", async () => {
  const quiet = await serve(silent);
  const good = await serve(says(answer([row("a", 16)])));
  const client = new ShardedClient({ shards: [[quiet.url, good.url]], timeoutMs: 2000 });
  for (let i = 0; i < 4; i++)
    expect(await client.match(question)).toMatchObject({ decision: "exact", missing: [] });
  expect(quiet.asked).toHaveLength(1);
  expect(good.asked).toHaveLength(4);
});

test("replicas take turns (S4)", async () => {
  const [one, other] = [await serve(says(answer([]))), await serve(says(answer([])))];
  const client = new ShardedClient({ shards: [[one.url, other.url]], timeoutMs: PATIENT_MS });
  for (let i = 0; i < 6; i++) await client.match(question);
  expect([one.asked.length, other.asked.length]).toEqual([3, 3]);
});

test("when no shard answers the call rejects and names all (S2)", async () => {
  const { client, shards } = await fleet([refusal("overloaded", 503), (response) => response.destroy()]);
  const error = await failure(client.match(question));
  expect(error.facts).toMatchObject({
    code: "no_shard",
    missing: [
      { shard: 0, url: shards[0]?.url, facts: { code: "refused", status: 503 } },
      { shard: 1, url: shards[1]?.url, facts: { code: "unreachable" } },
    ],
  });
  expect(error.message).toContain("none of 2 shards answered");
});

test("a question that is wrong is refused as one daemon refuses it, and a token that one shard does not know is its own fault (S3)", async () => {
  const wrong = await fleet([says(answer([])), refusal("malformed_body", 400)]);
  expect((await failure(wrong.client.match(question))).facts).toMatchObject({ code: "refused", status: 400 });
  const closed = await fleet([says(answer([row("a", 16)])), refusal("unknown_token", 401)]);
  expect((await closed.client.match(question)).missing).toMatchObject([{ shard: 1, facts: { status: 401 } }]);
});

test("a model that some shards do not serve is theirs who do; one that none serves is unknown", async () => {
  const some = await fleet([refusal("unknown_model", 404), says(answer([row("a", 16)]))]);
  expect(await some.client.match(question)).toMatchObject({ decision: "exact", missing: [] });
  const none = await fleet([refusal("unknown_model", 404), refusal("unknown_model", 404)]);
  expect((await failure(none.client.match(question))).facts).toMatchObject({
    problem: { code: "unknown_model" },
  });
  const missing = await fleet([refusal("unknown_model", 404), (response) => response.destroy()]);
  expect((await failure(missing.client.match(question))).code).toBe("no_shard");
});

test("an adapter that only some shards know by its blocks is asked for at the others with its model", async () => {
  const knows = says(answer([row("a", 16)], { requested_model: "tuned", lora_name: "tuned" }));
  const { client, shards } = await fleet([
    knows,
    (response, url) => {
      const isMeant = url.searchParams.get("model") === "m" && url.searchParams.get("lora_name") === "tuned";
      if (isMeant) says(answer([row("b", 0)], { lora_name: "tuned" }))(response, url);
      else refusal("unknown_model", 404)(response, url);
    },
  ]);
  const merged = await client.match({ ...question, model: "tuned", includeUnmatched: true });
  expect(merged).toMatchObject({ requested_model: "tuned", lora_name: "tuned", ranks: { exact: 2 } });
  expect(shards[1]?.asked).toHaveLength(2);
});

test("several models of one name, and a block size that no shard uses, are refused (G4)", async () => {
  const models = await fleet([says(answer([])), says(answer([], { model: "n" }))]);
  expect((await failure(models.client.match({ ...question, model: "alias" }))).facts).toMatchObject({
    problem: { code: "ambiguous_model", known: ["m", "n"] },
  });
  const sizes = await fleet([
    says(answer([], { block_sizes: [16] })),
    says(answer([], { block_sizes: [32] })),
  ]);
  expect(await sizes.client.match({ ...question, blockSize: 32 })).toMatchObject({
    block_sizes: [32],
    block_size: 32,
  });
  expect((await failure(sizes.client.match({ ...question, blockSize: 64 }))).facts).toMatchObject({
    problem: { code: "wrong_block_size", known: [16, 32] },
  });
  expect(await sizes.client.match(question)).toMatchObject({
    block_sizes: [16, 32],
    block_size: null,
    blocks: null,
  });
});

test("a rank that two shards have counts once, by its better trust (G1)", async () => {
  const { client } = await fleet([
    says(answer([row("a", 64, { trust: "stale", trust_reason: "resumed" })])),
    says(answer([row("a", 32)])),
  ]);
  const merged = await client.match(question);
  expect(merged.matches).toEqual([row("a", 32)]);
  expect(merged).toMatchObject({ decision: "exact", ranks: { exact: 1, stale: 0 } });
});

test("a shard without tokens is missing; without tokens anywhere the answer is the fallback (G3)", async () => {
  const untokenized = says(
    answer([], {
      decision: "fallback",
      reason: "tokenizer_timeout",
      block_size: null,
      block_sizes: [],
      blocks: null,
    }),
  );
  const some = await fleet([says(answer([row("a", 16)])), untokenized]);
  expect(await some.client.match({ model: "m", prompt: "hi" })).toMatchObject({
    decision: "degraded",
    missing: [{ shard: 1, url: null, facts: { code: "not_tokenized", reason: "tokenizer_timeout" } }],
  });
  const all = await fleet([untokenized, untokenized]);
  expect(await all.client.match({ model: "m", prompt: "hi" })).toMatchObject({
    decision: "fallback",
    reason: "tokenizer_timeout",
    missing: [],
  });
});

test("shards that cannot be asked are refused at once", () => {
  expect(() => new ShardedClient({ shards: [] })).toThrow("shards: expected at least one");
  expect(() => new ShardedClient({ shards: ["http://a", []] })).toThrow(
    "shards[1]: expected at least one address",
  );
  expect(() => new ShardedClient({ shards: ["ftp://a"] })).toThrow(TypeError);
});

test("an aborted call rejects with the reason of its signal", async () => {
  const { client } = await fleet([silent, silent]);
  const controller = new AbortController();
  const call = client.match(question, { signal: controller.signal });
  controller.abort(new Error("the request is gone"));
  await expect(call).rejects.toThrow("the request is gone");
});
