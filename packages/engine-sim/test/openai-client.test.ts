/** OpenAI's own client against the engine. */
import OpenAI, { APIUserAbortError, BadRequestError, NotFoundError } from "openai";
import { afterAll, beforeAll, expect, test } from "vitest";

import { EngineWorker } from "../src/engine-worker.ts";
import { until } from "./listener.ts";

const MESSAGES = [{ role: "user" as const, content: "Which engine holds this prompt, and how much of it?" }];

let worker: EngineWorker;
let client: OpenAI;

beforeAll(async () => {
  const engine = { id: "e", model: "demo/model", blockSize: 4, blockCount: 1000, loraNames: ["sql"] };
  worker = await EngineWorker.start({ engine, speed: 5, dpSize: 2, answerTokens: 20 });
  client = new OpenAI({ baseURL: `${worker.httpUrls[0] ?? ""}/v1`, apiKey: "none", maxRetries: 0 });
});
afterAll(() => worker.stop());

test("lists models", async () => {
  const models: string[] = [];
  for await (const { id } of client.models.list()) models.push(id);
  expect(models).toEqual(["demo/model", "sql"]);
});

test("chats, and finds the conversation cached in its next turn on the same rank", async () => {
  const headers = { "x-data-parallel-rank": "1" };
  const first = await client.chat.completions.create(
    { model: "demo/model", messages: MESSAGES },
    { headers },
  );
  const [choice] = first.choices;
  expect(choice).toMatchObject({ finish_reason: "stop", message: { role: "assistant" } });
  expect(first.usage).toMatchObject({ completion_tokens: 20, prompt_tokens_details: { cached_tokens: 0 } });
  const messages = [
    ...MESSAGES,
    { role: "assistant" as const, content: choice?.message.content ?? "" },
    { role: "user" as const, content: "Go on." },
  ];
  const again = (rank: string) =>
    client.chat.completions.create(
      { model: "demo/model", messages },
      { headers: { "x-data-parallel-rank": rank } },
    );
  const cached = (await again("1")).usage?.prompt_tokens_details?.cached_tokens ?? 0;
  // The prompt and the answer, but for what is left of their last block.
  const both = (first.usage?.prompt_tokens ?? 0) + 20;
  expect([cached > both - 8, cached <= both]).toEqual([true, true]);
  expect((await again("0")).usage?.prompt_tokens_details?.cached_tokens).toBe(0);
});

test("streams a chat, with usage in the last chunk", async () => {
  const stream = client.chat.completions.stream({
    model: "sql",
    messages: MESSAGES,
    max_completion_tokens: 7,
    stream_options: { include_usage: true },
  });
  let text = "";
  stream.on("content", (delta) => (text += delta));
  const final = await stream.finalChatCompletion();
  expect(final.choices[0]).toMatchObject({ finish_reason: "length", message: { content: text } });
  expect(text.split(" ")).toHaveLength(7);
  expect(final.usage).toMatchObject({ completion_tokens: 7 });
  const whole = await client.chat.completions.create({
    model: "sql",
    messages: MESSAGES,
    max_completion_tokens: 7,
  });
  expect(whole.choices[0]?.message.content).toBe(text);
});

test("completes a text, streamed", async () => {
  const stream = await client.completions.create({
    model: "demo/model",
    prompt: "Once",
    max_tokens: 6,
    stream: true,
  });
  let text = "";
  for await (const { choices } of stream) text += choices[0]?.text ?? "";
  const whole = await client.completions.create({ model: "demo/model", prompt: "Once", max_tokens: 6 });
  expect(text).toBe(whole.choices[0]?.text);
});

test("gets refusals as errors of its own classes", async () => {
  await expect(client.chat.completions.create({ model: "other", messages: MESSAGES })).rejects.toThrow(
    NotFoundError,
  );
  await expect(client.chat.completions.create({ model: "sql", messages: MESSAGES, n: 3 })).rejects.toThrow(
    BadRequestError,
  );
  await expect(client.completions.create({ model: "sql", prompt: [[-1]] })).rejects.toMatchObject({
    status: 400,
    code: "malformed_body",
    param: expect.stringContaining("prompt") as string,
  });
});

test("leaves a stream, and the engine stops working for it", async () => {
  const stream = await client.chat.completions.create({
    model: "sql",
    messages: MESSAGES,
    max_completion_tokens: 3000,
    stream: true,
  });
  const running = (): number => worker.ranks.reduce((sum, { engine }) => sum + engine.pressure().running, 0);
  let chunks = 0;
  for await (const { choices } of stream) {
    chunks += choices.length;
    if (chunks >= 3) break;
  }
  await until("nothing runs", () => running() === 0);
  const left = new AbortController();
  const whole = client.chat.completions.create(
    {
      model: "sql",
      messages: [{ role: "user", content: "another" }],
      max_tokens: 3000,
      min_tokens: 3000,
    } as never,
    { signal: left.signal },
  );
  await until("it runs", () => running() === 1);
  left.abort();
  await expect(whole).rejects.toThrow(APIUserAbortError);
  await until("nothing runs", () => running() === 0);
});
