/**
 * Completions over real HTTP: answers, streams, refusals, and clients that leave. Their form is that of
 * OpenAI's API as vLLM serves it. Numbers in titles: O of completion-routes.ts, E of event-stream.ts.
 */
import { connect } from "node:net";
import { once } from "node:events";

import { afterAll, beforeAll, describe, expect, test } from "vitest";

import { EngineWorker } from "../src/engine-worker.ts";
import { complete, type CompletionAnswer, events, post, send } from "./http-client.ts";
import { until } from "./listener.ts";

const CHAT = [{ role: "user", content: "Which engine holds this prompt?" }];

let fast: EngineWorker;
let slow: EngineWorker;
let [fastUrl, slowUrl] = ["", ""];

beforeAll(async () => {
  const engine = {
    id: "e",
    model: "m",
    blockSize: 4,
    blockCount: 500,
    loraNames: ["sql"],
  };
  fast = await EngineWorker.start({ engine, speed: 1e6, dpSize: 2, answerTokens: 9 });
  slow = await EngineWorker.start({ engine: { ...engine, maxSequences: 2, maxWaiting: 3 }, speed: 1 });
  [fastUrl = "", slowUrl = ""] = [fast.httpUrls[0], slow.httpUrls[0]];
});
afterAll(() => Promise.all([fast.stop(), slow.stop()]));

function chunksOf(data: readonly string[]): CompletionAnswer[] {
  return data.slice(0, -1).map((one) => JSON.parse(one) as CompletionAnswer);
}

describe("a completion", () => {
  test("has the form of OpenAI's answer", async () => {
    const answer = await complete(`${fastUrl}/v1/completions`, {
      model: "m",
      prompt: "Once upon",
      max_tokens: 3,
    });
    expect(answer).toEqual({
      id: expect.stringMatching(/^cmpl-[0-9a-f]{32}$/) as string,
      object: "text_completion",
      created: expect.any(Number) as number,
      model: "m",
      choices: [
        {
          index: 0,
          text: expect.stringMatching(/^( [a-z]{4}){3}$/) as string,
          logprobs: null,
          finish_reason: "length",
          stop_reason: null,
        },
      ],
      usage: {
        prompt_tokens: 3,
        completion_tokens: 3,
        total_tokens: 6,
        prompt_tokens_details: { cached_tokens: 0 },
      },
    });
    expect(Math.abs(answer.created - Date.now() / 1000)).toBeLessThan(60);
  });

  test("takes text, token ids, and lists of them, one choice for each", async () => {
    const ask = (prompt: unknown): Promise<CompletionAnswer> =>
      complete(`${fastUrl}/v1/completions`, { prompt, max_tokens: 4 });
    const tokens = (await post(`${fastUrl}/tokenize`, { prompt: "Once upon" })).body["tokens"] as number[];
    const [text, ids, texts, lists] = await Promise.all([
      ask("Once upon"),
      ask(tokens),
      ask(["Once upon", "a time"]),
      ask([tokens, [7, 8]]),
    ]);
    expect(ids.choices).toEqual(text.choices);
    expect(texts.choices.map(({ index }) => index)).toEqual([0, 1]);
    expect(texts.choices[0]).toEqual(text.choices[0]);
    expect(lists.choices[0]).toEqual(text.choices[0]);
    expect(texts.choices[1]?.text).not.toBe(texts.choices[0]?.text);
    expect(lists.usage).toMatchObject({ prompt_tokens: 5, completion_tokens: 8, total_tokens: 13 });
  });

  test("of many prompts in one request is served whole, on the ranks together", async () => {
    const prompt = Array.from({ length: 60 }, (_, i) => `prompt number ${i}`);
    const { choices } = await complete(`${fastUrl}/v1/completions`, { prompt, max_tokens: 2 });
    expect(choices.map(({ index }) => index)).toEqual(prompt.map((_, i) => i));
  });

  test("ends by itself after answer-tokens, at the caller's limit, or at a stop text", async () => {
    const ask = async (more: object): Promise<[string | null, number]> => {
      const { choices, usage } = await complete(`${fastUrl}/v1/chat/completions`, {
        messages: CHAT,
        ...more,
      });
      return [choices[0]?.finish_reason ?? null, usage.completion_tokens];
    };
    expect(await ask({})).toEqual(["stop", 9]);
    expect(await ask({ max_tokens: 100 })).toEqual(["stop", 9]);
    expect(await ask({ max_tokens: 100, min_tokens: 30 })).toEqual(["stop", 30]);
    expect(await ask({ max_tokens: 100, ignore_eos: true })).toEqual(["length", 100]);
    expect(await ask({ max_tokens: 4 })).toEqual(["length", 4]);
    expect(await ask({ max_tokens: 4, max_completion_tokens: 2 })).toEqual(["length", 2]);
    const { choices } = await complete(`${fastUrl}/v1/chat/completions`, { messages: CHAT });
    const third = choices[0]?.message?.content.split(" ")[2];
    expect(await ask({ stop: [third] })).toEqual(["stop", 3]);
    // A text has OpenAI's default of 16, an engine of many tokens does not go beyond it.
    const text = await complete(`${slowUrl}/v1/completions`, { prompt: "Once" });
    expect(text.usage.completion_tokens).toBe(16);
  });

  test("of a conversation answers as the assistant, under the id that the caller gives", async () => {
    const answer = await complete(
      `${fastUrl}/v1/chat/completions`,
      { model: "sql", messages: CHAT, max_tokens: 2 },
      { "x-request-id": "my-request-1" },
    );
    expect(answer).toMatchObject({
      id: "chatcmpl-my-request-1",
      object: "chat.completion",
      model: "sql",
      choices: [
        { message: { role: "assistant", content: expect.stringMatching(/^[a-z]{4} [a-z]{4}$/) as string } },
      ],
    });
  });

  test("ignores null and the parameters of sampling", async () => {
    const body = { prompt: "Once", max_tokens: 2 };
    const plain = await complete(`${fastUrl}/v1/completions`, body);
    const more = {
      temperature: 0.7,
      top_p: 1,
      user: "u",
      n: 1,
      stop: null,
      seed: null,
      stream: null,
      logprobs: null,
    };
    expect((await complete(`${fastUrl}/v1/completions`, { ...body, ...more })).choices).toEqual(
      plain.choices,
    );
  });
});

describe("a stream", () => {
  test.each([
    ["/v1/completions", { prompt: ["Once upon", "a time"], max_tokens: 30 }],
    ["/v1/chat/completions", { messages: CHAT }],
    ["/v1/chat/completions", { messages: CHAT, max_tokens: 40, ignore_eos: true }],
    ["/v1/completions", { prompt: "Once", max_tokens: 1 }],
  ])("E1: of %s %j has the text of the unstreamed answer", async (path, body) => {
    const whole = await complete(`${fastUrl}${path}`, body);
    const response = await send(`${fastUrl}${path}`, {
      ...body,
      stream: true,
      stream_options: { include_usage: true },
    });
    expect(response.headers.get("content-type")).toBe("text/event-stream; charset=utf-8");
    const data = await events(response);
    expect(data.at(-1)).toBe("[DONE]");
    const chunks = chunksOf(data);
    const last = chunks.pop();
    expect(last?.choices).toEqual([]);
    // The same request again: its prompt may be cached now, the rest is equal.
    expect(last?.usage).toMatchObject({
      completion_tokens: whole.usage.completion_tokens,
      prompt_tokens: whole.usage.prompt_tokens,
    });
    for (const { index, text, message, finish_reason: reason } of whole.choices) {
      const own = chunks.flatMap(({ choices }) => choices.filter((choice) => choice.index === index));
      expect(own.map((choice) => choice.text ?? choice.delta?.content ?? "").join("")).toBe(
        text ?? message?.content,
      );
      expect(own.map((choice) => choice.finish_reason).filter((one) => one !== null)).toEqual([reason]);
      expect(own.at(-1)?.finish_reason).toBe(reason);
      if (message !== undefined) expect(own[0]?.delta).toEqual({ role: "assistant", content: "" });
    }
    expect(new Set(chunks.map(({ id }) => id)).size).toBe(1);
    expect(chunks.every(({ usage }) => usage === null)).toBe(true);
  });

  test("has no usage unless asked, and sends tokens as they come", async () => {
    const response = await send(`${slowUrl}/v1/completions`, {
      prompt: "Once",
      max_tokens: 40,
      stream: true,
    });
    const arrivals: number[] = [];
    const decoder = new TextDecoder();
    let text = "";
    for await (const part of response.body!) {
      arrivals.push(performance.now());
      text += decoder.decode(part as Uint8Array);
    }
    expect(text).not.toContain("usage");
    // At speed 1 a token takes milliseconds: the first comes long before the last.
    expect(arrivals.length).toBeGreaterThan(10);
    expect(arrivals.at(-1)! - arrivals[0]!).toBeGreaterThan(20 * 2);
  });

  test("E3: of an engine that restarts ends with an error and without [DONE]", async () => {
    const response = await send(`${slowUrl}/v1/completions`, {
      prompt: "Once",
      max_tokens: 1500,
      ignore_eos: true,
      stream: true,
    });
    await until("it runs", () => slow.ranks[0]!.engine.pressure().running === 1);
    await post(`${slowUrl}/faults`, { kind: "restart" });
    const data = await events(response);
    expect(JSON.parse(data.at(-1)!)).toMatchObject({
      error: { code: "request_aborted", type: "server_error" },
    });
    expect(data).not.toContain("[DONE]");
  });
});

describe("O1: a refusal", () => {
  const chat = (more: object): [string, object] => ["/v1/chat/completions", { messages: CHAT, ...more }];
  const text = (more: object): [string, object] => ["/v1/completions", { prompt: "Once", ...more }];
  test.each([
    [...text({ model: "other" }), 404, "unknown_model", "model", "known: m, sql"],
    [...text({ prompt: [] }), 400, "malformed_body", "prompt", "neither a text, nor a list of token ids"],
    [...text({ prompt: [-1] }), 400, "malformed_body", "prompt.0", "is not a token id"],
    [...text({ prompt: undefined }), 400, "malformed_body", "prompt", "neither a text"],
    [...text({ max_tokens: 0 }), 400, "malformed_body", "max_tokens", "is below 1"],
    [...text({ max_tokens: "many" }), 400, "malformed_body", "max_tokens", "is not a whole number"],
    [...text({ n: 2 }), 400, "unsupported_parameter", "n", "one answer per prompt"],
    [...text({ best_of: 2 }), 400, "unsupported_parameter", "best_of", "one answer per prompt"],
    [...text({ echo: true }), 400, "unsupported_parameter", "echo", "back into text"],
    [...text({ suffix: "end" }), 400, "unsupported_parameter", "suffix", "continued"],
    [...text({ logprobs: 1 }), 400, "unsupported_parameter", "logprobs", "no probabilities"],
    [...text({ stop: "" }), 400, "malformed_body", "stop", "is empty"],
    [...text({ stop: 7 }), 400, "malformed_body", "stop", "neither a text nor a list"],
    [...text({ stream: "yes" }), 400, "malformed_body", "stream", "neither true nor false"],
    [...text({ stream_options: {} }), 400, "malformed_body", "stream_options", "only with stream: true"],
    [...text({ cache_salt: "" }), 400, "invalid_setting", null, "1 to"],
    [...text({ max_tokens: 2_000 }), 400, "request_too_long", null, "at most 2000"],
    [...text({ prompt: "", add_special_tokens: false }), 400, "empty_request", null, "0 prompt"],
    [...chat({ messages: [] }), 400, "malformed_body", "messages", "is empty"],
    [...chat({ messages: [{ content: "x" }] }), 400, "malformed_body", "messages.0.role", "is not a text"],
    [
      ...chat({ messages: [{ role: "user", content: 7 }] }),
      400,
      "malformed_body",
      "messages.0.content",
      "neither a text nor a list",
    ],
    [
      ...chat({ messages: [{ role: "user", content: [{ type: "image_url", image_url: {} }] }] }),
      400,
      "unsupported_parameter",
      "messages.0.content.0",
      "image_url is not simulated",
    ],
    [
      ...chat({ messages: [{ role: "user", content: [{ type: "text" }] }] }),
      400,
      "malformed_body",
      "messages.0.content.0",
      "is not a text",
    ],
    [
      ...chat({ chat_template: "{{ x }}" }),
      400,
      "unsupported_parameter",
      "chat_template",
      "template of its own",
    ],
    [
      ...chat({ continue_final_message: true }),
      400,
      "malformed_body",
      "continue_final_message",
      "add_generation_prompt: false",
    ],
    [
      ...chat({ response_format: { type: "json_object" } }),
      400,
      "unsupported_parameter",
      "response_format",
      "never JSON",
    ],
    [...chat({ logprobs: true }), 400, "unsupported_parameter", "logprobs", "no probabilities"],
  ])("of %s %j is %i %s", async (path, body, status, code, param, message) => {
    for (const stream of [false, true]) {
      const answer = await post(
        `${fastUrl}${path}`,
        "stream" in body || "stream_options" in body ? body : { ...body, stream },
      );
      expect(answer).toMatchObject({
        status,
        body: {
          error: {
            code,
            param,
            type: "invalid_request_error",
            message: expect.stringContaining(message) as string,
          },
        },
      });
    }
    expect(fast.ranks.map(({ engine }) => engine.hasWork)).toEqual([false, false]);
  });

  test("of a body that is no JSON, too large, or of another type names it", async () => {
    const url = `${fastUrl}/v1/completions`;
    expect(await post(url, "{")).toMatchObject({ status: 400, body: { error: { code: "malformed_body" } } });
    expect(await post(url, "")).toMatchObject({ status: 400, body: { error: { code: "malformed_body" } } });
    expect(await post(url, { prompt: "x".repeat(9 * 1024 * 1024) })).toMatchObject({
      status: 413,
      body: { error: { code: "body_too_large", message: "the body has more than 8388608 bytes" } },
    });
    expect(await post(url, "prompt=x", { "content-type": "text/plain" })).toMatchObject({
      status: 415,
      body: { error: { code: "unsupported_media_type" } },
    });
  });

  test("of a request that is not HTTP, or has 100 kB of headers, is written out too", async () => {
    const { hostname, port } = new URL(fastUrl);
    for (const [request, status, code] of [
      ["NONSENSE\r\n\r\n", "HTTP/1.1 400 Bad Request", "malformed_request"],
      [
        `GET /health HTTP/1.1\r\nhost: x\r\nx: ${"y".repeat(100_000)}\r\n\r\n`,
        "HTTP/1.1 431 Request Header Fields Too Large",
        "headers_too_large",
      ],
    ] as const) {
      const socket = connect(Number(port), hostname);
      let answer = "";
      socket.on("data", (part: Buffer) => (answer += part.toString()));
      socket.write(request);
      await once(socket, "close");
      expect(answer.split("\r\n")[0]).toBe(status);
      expect(JSON.parse(answer.split("\r\n\r\n")[1]!)).toMatchObject({ error: { code } });
    }
  });

  test("of one prompt in a list takes none of them", async () => {
    const body = {
      prompt: Array.from({ length: 20 }, (_, i) => `prompt ${i}`),
      max_tokens: 500,
      ignore_eos: true,
    };
    // Two run and three wait; the others have no place.
    expect(await post(`${slowUrl}/v1/completions`, body)).toMatchObject({
      status: 503,
      body: { error: { code: "too_many_waiting", type: "server_error" } },
    });
    expect(slow.ranks[0]!.engine.pressure()).toMatchObject({ running: 0, waiting: 0 });
  });
});

describe("data-parallel ranks", () => {
  const finished = (): number[] => fast.ranks.map(({ engine }) => engine.counters.requestsFinished);
  const ask = (headers: Readonly<Record<string, string>>) =>
    post(`${fastUrl}/v1/completions`, { prompt: "Once", max_tokens: 1 }, headers);

  test("are chosen by x-data-parallel-rank", async () => {
    const before = finished();
    for (let i = 0; i < 5; i++) expect((await ask({ "x-data-parallel-rank": "1" })).status).toBe(200);
    expect(finished()).toEqual([before[0], before[1]! + 5]);
  });

  test.each(["2", "-1", "01", "first", "0, 1"])("refuse the rank %s, which is not served", async (rank) => {
    expect(await ask({ "x-data-parallel-rank": rank })).toMatchObject({
      status: 400,
      body: {
        error: {
          code: "unknown_rank",
          param: "x-data-parallel-rank",
          message: expect.stringContaining("served: 0, 1") as string,
        },
      },
    });
  });

  test("take turns when they are equally loaded, and the less loaded one otherwise", async () => {
    const before = finished();
    for (let i = 0; i < 6; i++) await ask({});
    expect(finished()).toEqual([before[0]! + 3, before[1]! + 3]);
  });
});

describe("O2: a client that leaves", () => {
  const pressure = () => slow.ranks[0]!.engine.pressure();
  const body = { prompt: "Once upon a time", max_tokens: 1500, ignore_eos: true };

  test.each([true, false])("ends its request at once (streamed: %s)", async (stream) => {
    const before = slow.ranks[0]!.engine.counters;
    const left = new AbortController();
    const request = send(`${slowUrl}/v1/completions`, { ...body, stream }, {}, left.signal);
    await until("it runs", () => pressure().running === 1 && pressure().freeBlocks < 490);
    left.abort();
    await expect(request.then((response) => response.text())).rejects.toThrow();
    await until("it is gone", () => pressure().running === 0);
    expect(pressure()).toMatchObject({ waiting: 0, freeBlocks: 500 });
    const after = slow.ranks[0]!.engine.counters;
    expect(after.requestsAborted - before.requestsAborted).toBe(1);
    // Steps between leaving and the end: as many as the event loop needs, not those of 1,500 tokens.
    expect(after.generatedTokens - before.generatedTokens).toBeLessThan(500);
  });

  test("with a list of prompts ends all of them, running and waiting", async () => {
    const left = new AbortController();
    const request = send(
      `${slowUrl}/v1/completions`,
      { ...body, prompt: ["a", "b", "c"], stream: true },
      {},
      left.signal,
    );
    await until("two run and one waits", () => pressure().running === 2 && pressure().waiting === 1);
    left.abort();
    await expect(request.then((response) => response.text())).rejects.toThrow();
    await until("they are gone", () => pressure().running + pressure().waiting === 0);
    expect(pressure().freeBlocks).toBe(500);
  });
});

test("many clients at once each get their own answer", async () => {
  const ask = async (i: number): Promise<boolean> => {
    const messages = [{ role: "user", content: `question number ${i}` }];
    const [whole, response] = await Promise.all([
      complete(`${fastUrl}/v1/chat/completions`, { messages, max_tokens: 30, ignore_eos: true }),
      send(`${fastUrl}/v1/chat/completions`, { messages, max_tokens: 30, ignore_eos: true, stream: true }),
    ]);
    const text = chunksOf(await events(response))
      .map(({ choices }) => choices[0]?.delta?.content ?? "")
      .join("");
    return text === whole.choices[0]?.message?.content;
  };
  const results: boolean[] = [];
  for (let round = 0; round < 5; round++)
    results.push(...(await Promise.all(Array.from({ length: 20 }, (_, i) => ask(20 * round + i)))));
  expect(results).toEqual(results.map(() => true));
  expect(fast.ranks.map(({ engine }) => engine.pressure().freeBlocks)).toEqual([500, 500]);
});

test("GET /v1/models lists the model and its adapters", async () => {
  const response = await fetch(`${fastUrl}/v1/models`);
  expect(await response.json()).toMatchObject({
    object: "list",
    data: [
      { id: "m", object: "model", parent: null, max_model_len: 2000 },
      { id: "sql", object: "model", parent: "m" },
    ],
  });
});
