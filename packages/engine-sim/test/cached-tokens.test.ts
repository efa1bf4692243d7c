/**
 * Cached tokens that completions report over real HTTP, against a replica of the cache. The replica
 * gets nothing but the messages that are published over real ZeroMQ. Prompts become tokens by
 * `/tokenize`, as a router's would.
 *
 * Random conversations, texts and token lists run one after the other. The pool holds a few of them:
 * hits, misses and evictions are the rule. Before each request the replica counts how much of the
 * prompt the engine holds; the answer's `cached_tokens` must be that.
 * Q in a title: prompt-reading.ts.
 */
import { type Dialect, EventBatchDecoder, parseLiveFrames, Prng, RecordingSink } from "@kvsync/core";
import { afterEach, describe, expect, test } from "vitest";

import { voiceOf } from "../src/dialect.ts";
import { EngineWorker } from "../src/engine-worker.ts";
import { EventReplica } from "./event-replica.ts";
import { complete, post } from "./http-client.ts";
import { Listener, until } from "./listener.ts";

const BLOCK_SIZE = 4;
const BLOCKS = 150;

const open: AsyncDisposable[] = [];
afterEach(async () => {
  for (const one of open.splice(0).reverse()) await one[Symbol.asyncDispose]();
});

/** An engine, and the replica that follows it. */
class Followed {
  readonly url: string;
  readonly replica = new EventReplica();
  readonly #worker: EngineWorker;
  readonly #listener: Listener;
  readonly #scratch = { tokens: new Uint32Array(65_536), hashes: new Uint32Array(65_536) };
  readonly #decoder = new EventBatchDecoder(this.#scratch);
  readonly #firstNumber: number;
  #applied = 0;

  private constructor(worker: EngineWorker, listener: Listener) {
    this.#worker = worker;
    this.#listener = listener;
    // SGLang's first message comes before anybody listens; it clears what is empty.
    this.#firstNumber = worker.ranks[0]!.engine.lastSequenceNumber + 1;
    this.url = worker.httpUrls[0] ?? "";
  }

  static async start(dialect: Dialect, loraNames: readonly string[]): Promise<Followed> {
    const worker = await EngineWorker.start({
      engine: {
        id: "e",
        model: "m",
        blockSize: BLOCK_SIZE,
        blockCount: BLOCKS,
        dialect,
        loraNames,
        maxBatchedTokens: 64,
      },
      speed: 1e6,
      answerTokens: 12,
    });
    open.push({ [Symbol.asyncDispose]: () => worker.stop() });
    const listener = await Listener.to(worker.ranks[0]!.server);
    open.push(listener);
    return new Followed(worker, listener);
  }

  /** Applies what was published so far, to the last message. */
  async catchUp(): Promise<void> {
    const { engine } = this.#worker.ranks[0]!;
    const last = engine.lastSequenceNumber;
    await until(
      "the last message is here",
      () => last < this.#firstNumber || (this.#listener.numbers().at(-1) ?? -1) >= last,
    );
    for (const frames of this.#listener.frames.slice(this.#applied)) {
      const { sequenceNumber, payload } = parseLiveFrames(frames);
      const sink = new RecordingSink(this.#scratch);
      const { timestampSeconds } = this.#decoder.decode(payload, sink);
      this.replica.apply({ timestampSeconds, events: sink.events, dataParallelRank: 0 }, sequenceNumber);
      this.#applied++;
    }
    expect(this.replica.differences(engine.contents())).toEqual([]);
  }

  /** Tokens of a prompt that the engine must find. The last token is always computed. */
  async expectedTokens(question: Question): Promise<number> {
    const tokens = await this.tokensOf(question);
    await this.catchUp();
    const held = this.replica.heldBlocks(
      Uint32Array.from(tokens),
      BLOCK_SIZE,
      question.model === "m" ? null : question.model,
      question.cache_salt ?? null,
    );
    return Math.min(held, Math.floor((tokens.length - 1) / BLOCK_SIZE)) * BLOCK_SIZE;
  }

  async tokensOf({ messages, prompt, tools }: Question): Promise<number[]> {
    if (Array.isArray(prompt)) return prompt;
    const { body } = await post(
      `${this.url}/tokenize`,
      messages === undefined ? { prompt } : { messages, tools },
    );
    return body["tokens"] as number[];
  }

  ask(question: Question): ReturnType<typeof complete> {
    const path = question.messages === undefined ? "/v1/completions" : "/v1/chat/completions";
    return complete(`${this.url}${path}`, question);
  }
}

interface Message {
  readonly role: string;
  readonly content: string | { type: "text"; text: string }[];
}

interface Question {
  readonly model: string;
  readonly messages?: Message[];
  readonly tools?: object[];
  readonly prompt?: string | number[];
  readonly max_tokens?: number;
  readonly cache_salt?: string;
}

const WORDS = ["the", "engine", "holds", "42", "blocks,", "naïve", "東京", "🧩", "of", "a", "prompt"];
const TOOLS = [{ type: "function", function: { name: "search", parameters: { limit: 1.5 } } }];

/** Conversations that grow, among texts and token lists. */
function* questions(
  random: Prng,
  names: { models: string[]; salts: (string | undefined)[] },
  answers: string[],
): Generator<Question> {
  const text = (): string => Array.from({ length: 1 + random.below(12) }, () => random.pick(WORDS)).join(" ");
  const chats: (Question | undefined)[] = [];
  for (let i = 0; i < 120; i++) {
    const salt = random.pick(names.salts);
    const naming = { model: random.pick(names.models), ...(salt === undefined ? {} : { cache_salt: salt }) };
    const kind = random.below(10);
    if (kind < 2) yield { ...naming, prompt: `The engine ${text()}`, max_tokens: 1 + random.below(8) };
    else if (kind < 3)
      yield {
        ...naming,
        prompt: Array.from({ length: 1 + random.below(40) }, () => random.below(3)),
        max_tokens: 3,
      };
    else {
      const at = random.below(8);
      const before = kind < 5 ? undefined : chats[at];
      const content = random.chance(0.3)
        ? [
            { type: "text" as const, text: text() },
            { type: "text" as const, text: text() },
          ]
        : text();
      const question: Question = {
        ...(before ?? {
          ...naming,
          messages: [{ role: "system", content: "Be brief." }],
          ...(random.chance(0.3) ? { tools: TOOLS } : {}),
        }),
      };
      const messages = [...(question.messages ?? []), { role: "user", content }];
      yield { ...question, messages };
      chats[at] = {
        ...question,
        messages: [...messages, { role: "assistant", content: answers.at(-1) ?? "" }],
      };
      if (messages.length > 7) chats[at] = undefined;
    }
  }
}

describe.each<Dialect>(["vllm-0.26", "vllm-0.33", "sglang-map", "trtllm"])("an engine of %s", (dialect) => {
  test("reports as cached exactly what its published events say that it holds", async () => {
    const voice = voiceOf(dialect);
    const loraNames = voice.adapters ? ["sql"] : [];
    const engine = await Followed.start(dialect, loraNames);
    const answers: string[] = [];
    const names = {
      models: ["m", ...loraNames],
      salts: voice.salts || voice.extraKeys ? [undefined, undefined, "tenant-a"] : [undefined],
    };
    let hits = 0;
    let answerHits = 0;
    const lengths = new Map<string, number>();
    for (const question of questions(new Prng(7), names, answers)) {
      const expected = await engine.expectedTokens(question);
      const { usage, choices } = await engine.ask(question);
      expect({ question, cached: usage.prompt_tokens_details.cached_tokens }).toEqual({
        question,
        cached: expected,
      });
      expect(usage.prompt_tokens).toBe((await engine.tokensOf(question)).length);
      answers.push(choices[0]?.message?.content ?? "");
      if (expected > 0) hits++;
      // More than the last turn's prompt was cached: its answer was found too.
      const turn = JSON.stringify([question.model, question.cache_salt, question.messages?.slice(0, -2)]);
      if (expected > (lengths.get(turn) ?? Number.POSITIVE_INFINITY)) answerHits++;
      lengths.set(
        JSON.stringify([question.model, question.cache_salt, question.messages]),
        usage.prompt_tokens,
      );
    }
    await engine.catchUp();
    expect(hits).toBeGreaterThan(40);
    expect(answerHits).toBeGreaterThan(10);
    expect(engine.replica.removalSizes.length).toBeGreaterThan(20);
  });
});

test("Q1: a prompt in one form is found in another that has the same tokens", async () => {
  const engine = await Followed.start("vllm-0.26", []);
  const cachedOf = async (question: Omit<Question, "model">): Promise<number> =>
    (await engine.ask({ model: "m", max_tokens: 1, ...question })).usage.prompt_tokens_details.cached_tokens;
  const messages = [{ role: "user", content: "one conversation in two forms, the longer the better it is" }];
  const tokens = await engine.tokensOf({ model: "m", messages });
  const whole = Math.floor((tokens.length - 1) / BLOCK_SIZE) * BLOCK_SIZE;
  expect(whole).toBeGreaterThan(8);
  expect(await cachedOf({ messages })).toBe(0);
  expect(await cachedOf({ prompt: tokens })).toBe(whole);
  const prompt = "and a text in two forms, the longer the better it is";
  expect(await cachedOf({ prompt: await engine.tokensOf({ model: "m", prompt }) })).toBe(0);
  expect(await cachedOf({ prompt })).toBeGreaterThan(8);
});
