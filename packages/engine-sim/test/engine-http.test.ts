// The HTTP face over real sockets: vLLM's and SGLang's routes, and those that drive the simulation.
import { afterAll, beforeAll, describe, expect, test } from "vitest";
import { EngineServer } from "../src/engine-server.ts";
import { SimulatedEngine } from "../src/simulated-engine.ts";

const engine = new SimulatedEngine({
  id: "engine",
  model: "m",
  blockSize: 4,
  blockCount: 100,
  loraNames: ["a"],
});
let server: EngineServer;

beforeAll(async () => {
  server = await EngineServer.start({ engine, httpPort: 0 });
});
afterAll(() => server.stop());

async function get(path: string): Promise<{ status: number; body: string }> {
  const response = await fetch(`${server.httpUrl!}${path}`);
  return { status: response.status, body: await response.text() };
}

async function post(path: string, body: unknown): Promise<{ status: number; body: Record<string, unknown> }> {
  const response = await fetch(`${server.httpUrl!}${path}`, {
    method: "POST",
    headers: { "content-type": "application/json" },
    body: typeof body === "string" ? body : JSON.stringify(body),
  });
  return { status: response.status, body: (await response.json()) as Record<string, unknown> };
}

describe("as vLLM and SGLang", () => {
  test("GET /health is 200 and empty", async () => {
    expect(await get("/health")).toEqual({ status: 200, body: "" });
  });

  test("POST /tokenize takes a prompt, with special tokens unless told otherwise", async () => {
    const { status, body } = await post("/tokenize", { model: "m", prompt: "Hello world" });
    expect(status).toBe(200);
    expect(body).toMatchObject({ count: (body["tokens"] as number[]).length, max_model_len: 400 });
    const plain = await post("/tokenize", { prompt: "Hello world", add_special_tokens: false });
    expect(plain.body["tokens"]).toEqual((body["tokens"] as number[]).slice(1));
  });

  test("POST /tokenize takes messages, with a generation prompt unless told otherwise", async () => {
    const messages = [{ role: "user", content: "Hello" }];
    const opened = (await post("/tokenize", { messages })).body["tokens"] as number[];
    const closed = (await post("/tokenize", { messages, add_generation_prompt: false })).body[
      "tokens"
    ] as number[];
    expect(opened.slice(0, closed.length)).toEqual(closed);
    expect(opened.length).toBeGreaterThan(closed.length);
  });

  test("GET /server_info names the actual ports", async () => {
    const info = JSON.parse((await get("/server_info")).body) as { kv_events: Record<string, unknown> };
    expect(info.kv_events).toMatchObject({
      publisher: "zmq",
      endpoint_host: "127.0.0.1",
      endpoint_port_base: Number(new URL(server.endpoint).port),
      replay_endpoint: server.replayEndpoint,
      block_size: 4,
    });
  });

  test("POST /reset_prefix_cache is refused while a request runs, and clears afterwards", async () => {
    engine.submit(
      { id: 1, promptTokens: Uint32Array.of(1, 2, 3, 4, 5), output: { count: 2, seed: 1 }, loraName: "a" },
      0,
    );
    server.publish(engine.step(0).batch!);
    expect(await post("/reset_prefix_cache", {})).toMatchObject({
      status: 409,
      body: { error: { code: "engine_busy" } },
    });
    const contents = JSON.parse((await get("/contents")).body) as { rows: unknown[][] };
    expect(contents.rows.map((row) => row.slice(2))).toEqual([["a", "device", 0]]);
    expect(contents.rows[0]?.[0]).toMatch(/^0x[0-9a-f]{16}$/);
    engine.step(1);
    expect((await post("/reset_prefix_cache", {})).status).toBe(200);
    expect(engine.contents().rowCount).toBe(0);
  });
});

describe("faults", () => {
  test("are applied, and a restart keeps this server and says how many requests it aborted (N1)", async () => {
    expect(await post("/faults", { kind: "drop", percent: 5, replay_percent: 1 })).toMatchObject({
      status: 200,
      body: { applied: true, aborted_requests: 0 },
    });
    engine.submit({ id: 2, promptTokens: Uint32Array.of(1), output: { count: 2, seed: 1 } }, 0);
    expect((await post("/faults", { kind: "restart" })).body).toEqual({ applied: true, aborted_requests: 1 });
    const counters = JSON.parse((await get("/counters")).body) as { publisher: Record<string, number> };
    expect(counters.publisher["restarts"]).toBe(1);
  });

  test.each([
    [{ kind: "explode" }, "kind"],
    [{ kind: "drop", percent: 101 }, "percent"],
    [{ kind: "drop", percent: 1, replayPercent: 1 }, "the body"],
    [{ kind: "hold", seconds: 1e9 }, "seconds"],
    [{ kind: "poison", form: "malformed_batch", count: 0 }, "count"],
    [[], "the body"],
  ])("%j are refused, naming %s", async (fault, where) => {
    const { status, body } = await post("/faults", fault);
    expect(status).toBe(400);
    expect(body).toMatchObject({ error: { code: "malformed_body" } });
    expect((body["error"] as { message: string }).message).toContain(`${where}:`);
  });
});

describe("what is not understood", () => {
  test.each([
    ["{", 400],
    [{}, 400],
    [{ prompt: 7 }, 400],
    [{ messages: [{ role: "user" }] }, 400],
    [{ prompt: "x".repeat(9 * 1024 * 1024) }, 413],
  ])("by /tokenize gets a code, a sentence and no tokens", async (body, status) => {
    const answer = await post("/tokenize", body);
    expect(answer.status).toBe(status);
    expect(Object.keys(answer.body)).toEqual(["error"]);
    expect(Object.keys(answer.body["error"] as object)).toEqual(["message", "type", "param", "code"]);
  });

  test("as a completion is unknown while nobody drives the engine", async () => {
    expect(await post("/v1/completions", { prompt: "x" })).toMatchObject({
      status: 404,
      body: { error: { code: "unknown_route" } },
    });
  });

  test("as a rank is refused with the ranks that there are", async () => {
    expect(await get("/contents?dp_rank=3")).toMatchObject({
      status: 400,
      body: expect.stringContaining("served: 0") as string,
    });
  });

  test("as a route is 404 with the route named", async () => {
    expect(await get("/v2/everything")).toMatchObject({
      status: 404,
      body: expect.stringContaining("/v2/everything") as string,
    });
  });
});
