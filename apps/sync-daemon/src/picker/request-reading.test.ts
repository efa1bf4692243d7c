import fc from "fast-check";
import { describe, expect, it } from "vitest";

import { type InferenceRequest, readRequest } from "./request-reading.ts";
import type { BodyGap } from "./session.ts";

interface Options {
  readonly gap?: BodyGap;
  readonly readsTexts?: boolean;
  readonly headers?: Readonly<Record<string, string>>;
  readonly cuts?: readonly number[];
}

function read(
  path: string,
  body: unknown,
  { gap = "none", readsTexts = true, headers = {}, cuts = [] }: Options = {},
): Omit<InferenceRequest, "bytes"> {
  const bytes = Buffer.from(typeof body === "string" ? body : JSON.stringify(body));
  const ends = [...cuts.map((cut) => Math.min(cut, bytes.length)).sort((a, b) => a - b), bytes.length];
  let begin = 0;
  const chunks = ends.map((end) => bytes.subarray(begin, (begin = end)));
  const question = {
    headers: new Map([[":path", path], ...Object.entries(headers)]),
    body: chunks,
    bodyBytes: bytes.length,
    gap,
    subset: null,
  };
  const { bytes: joined, ...request } = readRequest(question, readsTexts);
  expect(joined.equals(bytes), "the body in one piece").toBe(true);
  return request;
}

describe("a completion", () => {
  it("is looked up by its text, with the options of its tokenizer", () => {
    expect(
      read("/v1/completions", { model: "m", prompt: "hello", add_special_tokens: false, max_tokens: 5 }),
    ).toEqual({
      model: "m",
      cacheSalt: null,
      prompt: { kind: "text", fields: { prompt: "hello", add_special_tokens: false }, source: null },
      reason: null,
      estimatedTokens: 2,
      otherTokens: 0,
    });
  });

  it("is looked up by its token ids", () => {
    expect(read("/v1/completions", { model: "m", prompt: [1, 2, 3], cache_salt: "s" })).toMatchObject({
      cacheSalt: "s",
      prompt: { kind: "token_ids", tokens: [1, 2, 3] },
      estimatedTokens: 3,
    });
  });

  it("Q2: of several prompts is looked up by the first, and counts with the lengths of all", () => {
    expect(read("/v1/completions", { model: "m", prompt: ["12345678", "1234", "1"] })).toMatchObject({
      prompt: { kind: "text", fields: { prompt: "12345678" } },
      estimatedTokens: 4,
      otherTokens: 2,
    });
    expect(
      read("/v1/completions", {
        model: "m",
        prompt: [
          [1, 2],
          [3, 4, 5],
        ],
      }),
    ).toMatchObject({
      prompt: { kind: "token_ids", tokens: [1, 2] },
      estimatedTokens: 5,
      otherTokens: 3,
    });
  });
});

describe("a chat", () => {
  const messages = [{ role: "user", content: "hi" }];

  it("is looked up by its messages, with the options of its template", () => {
    const more = { tools: [{ a: 1 }], chat_template_kwargs: { b: 2 }, continue_final_message: true };
    expect(read("/v1/chat/completions", { model: "m", messages, temperature: 1, ...more })).toMatchObject({
      model: "m",
      prompt: { kind: "text", fields: { messages, ...more } },
      reason: null,
    });
  });

  it.each([
    "/v1/chat/completions",
    "/openai/v1/chat/completions",
    "/a/v1/b/v1/chat/completions/",
    "/v1/chat/completions?x=1",
  ])("is known at %s", (path) => {
    expect(read(path, { model: "m", messages }).prompt?.kind).toBe("text");
  });
});

describe("a request that cannot be looked up", () => {
  it.each([
    ["path", "/v1/embeddings", { model: "m", input: "x" }, {}],
    ["path", "/v2/completions", { model: "m", prompt: "x" }, {}],
    ["not_json", "/v1/completions", "{", {}],
    ["not_json", "/v1/completions", "[1]", {}],
    ["encoding", "/v1/completions", { prompt: "x" }, { headers: { "content-encoding": "gzip" } }],
    ["not_understood", "/v1/completions", { model: "m", prompt: { a: 1 } }, {}],
    ["not_understood", "/v1/chat/completions", { model: "m", messages: [] }, {}],
    ["not_understood", "/v1/completions", { model: "m", prompt: [] }, {}],
    ["not_understood", "/v1/completions", { model: "m", prompt: ["a", 1] }, {}],
    ["not_understood", "/v1/completions", { model: "m", prompt: [[1], ["a"]] }, {}],
    ["body_large", "/v1/completions", '{"prompt":', { gap: "body_large" }],
  ] as const)("has a reason: %s (%s)", (reason, path, body, options) => {
    expect(read(path, body, options)).toMatchObject({ prompt: null, reason });
  });

  it("keeps its model where it names one", () => {
    expect(read("/v1/embeddings", { model: "m", input: "x" }).model).toBe("m");
    expect(read("/v1/completions", { model: 5, prompt: "x" }).model).toBeNull();
  });

  it("counts by the length that it announces when its body was not read", () => {
    expect(
      read("/v1/completions", "", { gap: "not_sent", headers: { "content-length": "4000" } }).estimatedTokens,
    ).toBe(1000);
    expect(
      read("/v1/completions", "", { gap: "not_sent", headers: { "content-length": "-4" } }).estimatedTokens,
    ).toBe(0);
  });
});

describe("a body without a tokenizer", () => {
  it("Q4: is the same request with its text unread, wherever the text stands", () => {
    const filler = fc.dictionary(fc.string(), fc.jsonValue({ maxDepth: 2 }), { maxKeys: 4 });
    const text = fc.oneof(
      fc.record({ prompt: fc.string({ unit: "grapheme" }) }),
      fc.record({
        messages: fc.array(fc.record({ role: fc.string(), content: fc.string() }), { minLength: 1 }),
      }),
    );
    fc.assert(
      fc.property(filler, fc.string(), text, filler, (before, model, asked, after) => {
        const path = "prompt" in asked ? "/v1/completions" : "/v1/chat/completions";
        const body = { ...before, ...after, model, ...asked };
        const whole = read(path, body);
        const unread = read(path, body, { readsTexts: false });
        // The length of a text is that of its JSON, which escapes make longer.
        const { estimatedTokens } = unread;
        expect(unread).toEqual({ ...whole, prompt: { kind: "unread" }, estimatedTokens });
        expect(estimatedTokens).toBeGreaterThanOrEqual(whole.estimatedTokens);
      }),
    );
  });

  it("Q4: is read as a whole where its prompt is no text", () => {
    for (const prompt of [[1, 2], ["a", "b"], [[1]], 5, {}, null]) {
      const body = { model: "m", prompt };
      expect(read("/v1/completions", body, { readsTexts: false })).toEqual(read("/v1/completions", body));
    }
    expect(read("/v1/completions", '{"prompt":"a"', { readsTexts: false }).reason).toBe("not_json");
  });
});

describe("any body", () => {
  it("Q3: of names or brackets alone is not parsed, with a tokenizer and without", () => {
    const names = JSON.stringify(Object.fromEntries(Array.from({ length: 200_000 }, (_, i) => [`n${i}`, 1])));
    for (const body of [names, `{"prompt":${"[".repeat(1_000_000)}`])
      for (const readsTexts of [true, false])
        expect(read("/v1/completions", body, { readsTexts })).toMatchObject({ reason: "not_understood" });
  });

  it("Q1: is read without a throw, and has either a prompt or a reason", () => {
    const path = fc.constantFrom("/v1/completions", "/v1/chat/completions", "/v1/other", "");
    const body = fc.oneof(
      fc.json(),
      fc.string(),
      fc
        .record(
          { model: fc.anything(), prompt: fc.anything(), messages: fc.anything(), tools: fc.anything() },
          { requiredKeys: [] },
        )
        .map((value) => {
          try {
            return JSON.stringify(value);
          } catch {
            return "";
          }
        }),
    );
    fc.assert(
      fc.property(path, body, fc.array(fc.nat(200), { maxLength: 4 }), (at, text, cuts) => {
        const request = read(at, text, { cuts });
        expect(request.prompt === null).toBe(request.reason !== null);
        expect(request.estimatedTokens).toBeGreaterThanOrEqual(0);
        expect(request).toEqual(read(at, text));
      }),
      { numRuns: 2000 },
    );
  });
});
