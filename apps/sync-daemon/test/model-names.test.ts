/**
 * A lookup names its model as requests do. It uses the model's name, a further name that some
 * engines serve it under, or an adapter's (M1 to M4 of query/model-name.ts). One daemon, real
 * engines.
 */
import { NAMESPACE } from "@kvsync/observability/kvsync/namespace";
import { afterAll, beforeAll, expect, test } from "vitest";

import { type MatchAnswer, matchAnswer } from "../src/query/match-answer.ts";
import { type DaemonInProcess, startInProcess } from "./daemon-in-process.ts";
import { TestEngine, until } from "./fleet.ts";

const PROMPT = Array.from({ length: 65 }, (_, i) => 300 + i * 7);

let running: DaemonInProcess;
const engines: TestEngine[] = [];

beforeAll(async () => {
  running = await startInProcess();
  await join("a", "base", { aliases: ["prod", "prod"] });
  await join("b", "base", {}, ["tuned"]);
  await join("c", "other", { aliases: ["shared"], adapters: ["fresh"] });
  await join("d", "third", { aliases: ["shared", "other"] });
});

afterAll(async () => {
  await running.stop();
  for (const engine of engines) await engine.stop();
});

/** Starts and registers an engine that has served the prompt, by its model and by each of these adapters. */
async function join(
  id: string,
  model: string,
  names: object,
  loraNames: readonly string[] = [],
): Promise<void> {
  const engine = await TestEngine.start({ id, model, loraNames }, 1);
  engines.push(engine);
  const payload = { ...engine.entry, ...names };
  const created = await running.app.inject({ method: "POST", url: "/api/v1/engines", payload });
  expect(created.statusCode).toBe(201);
  for (const [i, loraName] of [null, ...loraNames].entries()) {
    const promptTokens = Uint32Array.from(PROMPT);
    const request = { id: i, promptTokens, output: { count: 1, seed: 1 }, loraName, cacheSalt: null };
    engine.engine.submit(request, Date.now() / 1000);
  }
  await engine.serve(0);
  await until("its blocks are known", async () => {
    const { body } = await ask({ model, lora_name: loraNames[0] ?? null });
    return (body.matches ?? []).some(({ worker }) => worker === id);
  });
}

async function ask(question: object): Promise<{ status: number; body: Partial<MatchAnswer> }> {
  const payload = { token_ids: PROMPT, ...question };
  const response = await running.app.inject({ method: "POST", url: "/api/v1/match", payload });
  return { status: response.statusCode, body: response.json() };
}

const workersOf = ({ body }: { body: Partial<MatchAnswer> }): string[] =>
  (body.matches ?? []).map(({ worker }) => worker).sort();

test("M1: a model's name finds all of its engines, an alias those that have it", async () => {
  const own = await ask({ model: "base" });
  expect(workersOf(own)).toEqual(["a", "b"]);
  expect(matchAnswer.parse(own.body)).toMatchObject({ model: "base", requested_model: "base" });
  const alias = await ask({ model: "prod" });
  expect(workersOf(alias)).toEqual(["a"]);
  expect(alias.body).toMatchObject({ model: "base", requested_model: "prod", lora_name: null });
});

test("M1: a model's own name goes before another model's alias", async () => {
  const answer = await ask({ model: "other" });
  expect(workersOf(answer)).toEqual(["c"]);
});

test("M2: an alias of two models is refused, naming both", async () => {
  const { status, body } = await ask({ model: "shared" });
  expect({ status, ...body }).toMatchObject({
    status: 422,
    code: "ambiguous_model",
    model: "shared",
    known: ["other", "third"],
    detail: 'model "shared": several models have this name; expected one of other, third',
  });
});

test("M3: an adapter is found by its name as the model, as it is by lora_name", async () => {
  const byName = await ask({ model: "tuned" });
  expect(byName.body).toMatchObject({
    model: "base",
    requested_model: "tuned",
    lora_name: "tuned",
    matches: [{ worker: "b", matched_tokens: 64 }],
  });
  const byField = await ask({ model: "base", lora_name: "tuned" });
  expect(byField.body.matches).toMatchObject([{ worker: "b", matched_tokens: 64 }]);
});

test("M3: an adapter that an entry names is known before it has stored anything", async () => {
  const { status, body } = await ask({ model: "fresh", include_unmatched: true });
  expect({ status, ...body }).toMatchObject({
    status: 200,
    model: "other",
    lora_name: "fresh",
    matches: [{ worker: "c", matched_tokens: 0 }],
  });
});

test("M4: an adapter that is named in two ways is one adapter", async () => {
  expect((await ask({ model: "tuned", lora_name: "tuned" })).status).toBe(200);
  expect(await ask({ model: "tuned", lora_name: "fresh" })).toMatchObject({
    status: 422,
    body: { code: "contradictory_fields", fields: ["model", "lora_name"] },
  });
});

test("a name that nothing has is refused with the names that there are", async () => {
  expect(await ask({ model: "nothing" })).toMatchObject({
    status: 404,
    body: { code: "unknown_model", known: ["base", "other", "third"] },
  });
});

test("the other API takes the same names, and an adapter that is registered there is one", async () => {
  const query = async (model_name: string): Promise<object> => {
    const payload = { model_name, token_ids: PROMPT };
    return (await running.app.inject({ method: "POST", url: "/query", payload })).json();
  };
  expect(await query("tuned")).toMatchObject({ scores: { b: { 0: 64 } } });
  expect(await query("prod")).toMatchObject({ scores: { a: { 0: 64 } } });
  const registration = {
    instance_id: "e",
    model_name: "base",
    lora_name: "lazy",
    endpoint: "tcp://127.0.0.1:19777",
  };
  await running.app.inject({ method: "POST", url: "/register", payload: registration });
  expect(await query("lazy")).toMatchObject({ scores: {}, instances: { e: { longest_matched: 0 } } });
});

test("names go with the engine that had them", async () => {
  await running.app.inject({ method: "DELETE", url: "/api/v1/engines/a" });
  expect((await ask({ model: "prod" })).status).toBe(404);
});

test("a model that no engine serves any more has no series after the next scrape", async () => {
  await join("f", "leaving", {});
  const scrape = async (): Promise<string> => (await running.app.inject("/metrics")).body;
  expect(await scrape()).toContain(`${NAMESPACE}_prefix_cache_hit_rate{model="leaving"}`);
  const removed = await running.app.inject({ method: "DELETE", url: "/api/v1/engines/f" });
  expect(removed.statusCode).toBeLessThan(300);
  await until("its series end", async () => !(await scrape()).includes("leaving"));
});
