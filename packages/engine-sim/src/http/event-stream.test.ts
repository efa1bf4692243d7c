/** A stream of chunks into a reader that stops and goes. */
import { Writable } from "node:stream";

import { expect, test } from "vitest";

import { AnswerText } from "../answer-text.ts";
import type { AnswerHead } from "./completion-answer.ts";
import { EventStream } from "./event-stream.ts";

const TOKENS = 5_000;
const USAGE = {
  prompt_tokens: 1,
  completion_tokens: TOKENS,
  total_tokens: TOKENS + 1,
  prompt_tokens_details: { cached_tokens: 0 },
};

const answer = new AnswerText({
  promptTokens: Uint32Array.of(1),
  seed: 1,
  isChat: true,
  tokensMax: TOKENS,
  naturalTokens: TOKENS + 1,
  stops: [],
});
const head: AnswerHead = {
  id: "chatcmpl-1",
  created: 1,
  request: {
    kind: "chat",
    model: "m",
    loraName: null,
    cacheSalt: null,
    questions: [{ promptTokens: Uint32Array.of(1), answer }],
    isStreamed: true,
    includesUsage: false,
  },
};

test("E2: a client that does not read holds back one buffer, and gets the same text in fewer chunks", async () => {
  let text = "";
  let release: (() => void) | null = null;
  const out = new Writable({
    highWaterMark: 2048,
    decodeStrings: false,
    write(chunk, _encoding, done) {
      text += String(chunk);
      // The first write is stuck until it is released.
      if (release === null) release = done;
      else done();
    },
  });
  const stream = new EventStream(out, head);
  let most = 0;
  for (let count = 1; count <= TOKENS; count++) {
    stream.generated(0, count);
    most = Math.max(most, out.writableLength);
  }
  expect(most).toBeLessThan(2 * 2048);
  release!();
  const ended = new Promise((resolve) => out.once("finish", resolve));
  await new Promise((resolve) => setImmediate(resolve));
  stream.finish(USAGE);
  await ended;
  const events = text.split("\n\n").filter((event) => event !== "");
  expect(events.pop()).toBe("data: [DONE]");
  const chunks = events.map(
    (event) =>
      JSON.parse(event.slice("data: ".length)) as {
        choices: { delta: { content?: string }; finish_reason: string | null }[];
      },
  );
  expect(chunks.map(({ choices }) => choices[0]?.delta.content ?? "").join("")).toBe(answer.text);
  expect(chunks.map(({ choices }) => choices[0]?.finish_reason).filter((reason) => reason !== null)).toEqual([
    "length",
  ]);
  expect(chunks.length).toBeLessThan(TOKENS / 10);
});
