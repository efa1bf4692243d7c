/** The picker over HTTP, without a port for gateways: a daemon in this process, its picker's real thread, engines with real events. */
import { afterAll, beforeAll, describe, expect, it } from "vitest";

import type { ToPicker } from "../src/picker/picker-messages.ts";
import { PickerQuestions } from "../src/picker/picker-questions.ts";
import { type DaemonInProcess, startInProcess } from "./daemon-in-process.ts";
import { TestEngine, until } from "./fleet.ts";

const MODEL = "test/model";
const PICKER = ["--picker-enabled", "true", "--picker-port", "0", "--picker-health-port", "0"];
const addressOf = (i: number): string => `10.0.0.${i + 1}:8000`;

interface Ranked {
  readonly endpoint: string;
  readonly worker: string;
  readonly cost: number;
  readonly terms: Readonly<Record<string, number>>;
}

interface Picked {
  readonly id: string;
  readonly decision: string;
  readonly worker: string;
  readonly trust: string;
  readonly matched_tokens: number;
  readonly prompt_tokens: number;
  readonly endpoints: readonly Ranked[];
  readonly code?: string;
}

const NOTHING = { endpoints: [] } as unknown as Picked;

let running: DaemonInProcess;
const engines: TestEngine[] = [];

async function post(
  url: string,
  payload: object = {},
  from = running,
): Promise<{ status: number; body: Picked }> {
  const answer = await from.app.inject({ method: "POST", url, payload });
  return { status: answer.statusCode, body: answer.body === "" ? NOTHING : answer.json() };
}

async function status(): Promise<{
  readonly bookings: number;
  readonly open_picks: number;
  readonly predicted_cached_tokens: number;
  readonly reported_cached_tokens: number;
  readonly served_elsewhere: number;
  readonly decisions: Readonly<Record<string, number>>;
  readonly endpoints: readonly { readonly endpoint: string; readonly running: number }[];
}> {
  return (await running.app.inject({ url: "/api/v1/picker" })).json();
}

const promptOf = (engine: TestEngine | undefined): number[] => [...(engine?.firstPrompt ?? [])];

beforeAll(async () => {
  running = await startInProcess(PICKER);
  for (let i = 0; i < 3; i++) {
    const engine = await TestEngine.start({ id: `engine-${i}`, model: MODEL }, i + 1);
    engines.push(engine);
    const entry = { ...engine.entry, http: [addressOf(i)] };
    expect((await post("/api/v1/engines", entry)).status).toBe(201);
    await engine.serve(3, { isFresh: true });
  }
  await until("the picker's index is exact", async () => {
    const { body } = await post("/api/v1/picker/explain", {
      model: MODEL,
      token_ids: promptOf(engines[2]),
    });
    return body.code === undefined && body.endpoints.length === 3 && body.endpoints[0]?.worker === "engine-2";
  });
});

afterAll(async () => {
  await running.stop();
  for (const engine of engines) await engine.stop();
});

describe("the picker over HTTP", () => {
  it("explains a ranking with terms that add up to the cost, and books nothing", async () => {
    const { body } = await post("/api/v1/picker/explain", {
      model: MODEL,
      token_ids: promptOf(engines[1]),
    });
    expect(body).toMatchObject({ reason: "none", prompt_tokens: promptOf(engines[1]).length });
    expect(body.endpoints.map(({ cost }) => cost)).toEqual(
      body.endpoints.map(({ cost }) => cost).toSorted((a, b) => a - b),
    );
    expect(body.endpoints[0]?.endpoint).toBe(addressOf(1));
    for (const { cost, terms } of body.endpoints) {
      const { pending = 0, prefill = 0, context = 0, running: runningTerm = 0 } = terms;
      expect(pending + prefill + context + runningTerm).toBeCloseTo(cost);
    }
    expect(await status()).toMatchObject({ bookings: 0, open_picks: 0 });
  });

  it("picks as it explains, books under an id, and ends by it once", async () => {
    const { body } = await post("/api/v1/pick", { model: MODEL, token_ids: promptOf(engines[0]) });
    expect(body).toMatchObject({ decision: "index", worker: "engine-0", trust: "exact" });
    expect(body.endpoints[0]).toMatchObject({ endpoint: addressOf(0), worker: "engine-0" });
    expect(body.matched_tokens).toBeGreaterThan(0);
    const booked = await status();
    expect(booked).toMatchObject({ bookings: 1, open_picks: 1 });
    expect(booked.endpoints.find(({ endpoint }) => endpoint === addressOf(0))?.running).toBe(1);
    expect((await post(`/api/v1/pick/${body.id}/end`)).status).toBe(204);
    expect(await post(`/api/v1/pick/${body.id}/end`)).toMatchObject({
      status: 404,
      body: { code: "unknown_pick" },
    });
    expect(await status()).toMatchObject({ bookings: 0, open_picks: 0 });
  });

  it("compares the prediction with the engine's own count that an end brings, and moves on to who answered", async () => {
    const before = await status();
    const ask = { model: MODEL, token_ids: promptOf(engines[0]) };
    const { body } = await post("/api/v1/pick", ask);
    const cached = body.matched_tokens + 16;
    const end = { served: addressOf(1), cached_tokens: cached };
    expect((await post(`/api/v1/pick/${body.id}/end`, end)).status).toBe(204);
    const after = await status();
    expect([
      after.predicted_cached_tokens - before.predicted_cached_tokens,
      after.reported_cached_tokens - before.reported_cached_tokens,
      after.served_elsewhere - before.served_elsewhere,
      after.bookings,
    ]).toEqual([body.matched_tokens, cached, 1, 0]);
    expect(await post(`/api/v1/pick/${body.id}/end`, { cached_tokens: -1 })).toMatchObject({
      status: 400,
      body: { code: "malformed_body" },
    });
  });

  it("picks by load what it has no tokens for, also a conversation", async () => {
    for (const input of [{ prompt: "a text" }, { messages: [{ role: "user", content: "a text" }] }]) {
      const { body } = await post("/api/v1/pick", { model: MODEL, ...input });
      expect(body).toMatchObject({ reason: "no_tokens", matched_tokens: 0 });
      await post(`/api/v1/pick/${body.id}/end`);
    }
  });

  it("picks among the endpoints that are allowed", async () => {
    const asked = { model: MODEL, token_ids: promptOf(engines[0]) };
    const { body } = await post("/api/v1/pick", { ...asked, endpoints: [addressOf(2)] });
    expect(body.endpoints.map(({ endpoint }) => endpoint)).toEqual([addressOf(2)]);
    await post(`/api/v1/pick/${body.id}/end`);
    expect(await post("/api/v1/pick", { ...asked, endpoints: [] })).toMatchObject({
      status: 503,
      body: { code: "subset_empty" },
    });
  });

  it.each([
    [{ model: MODEL }, "contradictory_fields"],
    [{ model: MODEL, prompt: "a", token_ids: [1] }, "contradictory_fields"],
    [{ model: MODEL, token_ids: [1], top_k: 1 }, "malformed_body"],
    [{ token_ids: [1] }, "malformed_body"],
    [{ model: MODEL, token_ids: [1], endpoints: "10.0.0.1:8000" }, "malformed_body"],
  ])("refuses %j as %s", async (body, code) => {
    expect((await post("/api/v1/pick", body)).body.code).toBe(code);
  });

  it("takes outcomes, and counts those of workers that it does not know", async () => {
    const outcomes = [
      { worker: "engine-0", predicted: 100, cached: 96 },
      { worker: "stranger", predicted: 1, cached: 1 },
    ];
    expect(await post("/api/v1/outcomes", { outcomes })).toEqual({
      status: 200,
      body: { taken: 1, unknown: 1 },
    });
    expect((await post("/api/v1/outcomes", { outcomes: [] })).body.code).toBe("malformed_body");
  });

  it("refuses every question while the picker is off", async () => {
    const off = await startInProcess();
    try {
      for (const url of ["/api/v1/pick", "/api/v1/picker/explain"])
        expect(await post(url, { model: MODEL, token_ids: [1] }, off)).toMatchObject({
          status: 503,
          body: { code: "picker_off" },
        });
    } finally {
      await off.stop();
    }
  });
});

describe("questions to a thread", () => {
  it("B1: refuses what a thread does not answer in time, and what is too much for it", async () => {
    const questions = new PickerQuestions();
    const sent: number[] = [];
    const send = (message: ToPicker): void => {
      if (message.kind === "ask") sent.push(message.id);
    };
    questions.connect([{ send, pickPrefix: "a-" }], 50);
    const late = Array.from({ length: 1024 }, () =>
      questions.ask({ kind: "status" }).catch((error: unknown) => error),
    );
    expect(() => questions.ask({ kind: "status" })).toThrow(
      expect.objectContaining({ facts: { code: "picker_busy", maximum: 1024 } }) as Error,
    );
    for (const error of await Promise.all(late))
      expect(error).toMatchObject({ facts: { code: "picker_unanswered", timeout_ms: 50 } });
    const ended = questions.ask({ kind: "end", pick: "a-1", news: {} });
    questions.answered({ kind: "answer", id: 1, answer: false });
    questions.answered({ kind: "answer", id: sent.at(-1) ?? 0, answer: true });
    expect(await ended).toBe(true);
  });
});
