/** The picker's decisions (K1 to K6 of picker/picker.ts) over a real daemon's index, with engines that publish real events. */
import { AssertionError } from "@kvsync/core";
import { afterAll, beforeAll, beforeEach, describe, expect, it, vi } from "vitest";

import {
  Picker,
  type PickerOptions,
  type PickerParts,
  type PickReport,
  type PredictionReport,
} from "../src/picker/picker.ts";
import type { CheckOutcome } from "../src/picker/prompt-check.ts";
import { PromptLookup } from "../src/picker/prompt-lookup.ts";
import type { ShardHolds, ShardQuestion } from "../src/picker/shard-lookups.ts";
import type { BodyGap, Decision } from "../src/picker/session.ts";
import type { TokenizeOutcome } from "../src/tokenizer/tokenize-outcome.ts";
import type { TokenizeRequest } from "../src/tokenizer/tokenize-request.ts";
import { type DaemonInProcess, startInProcess } from "./daemon-in-process.ts";
import { TestEngine, until } from "./fleet.ts";

const PROMPT = Array.from({ length: 200 }, (_, i) => 300 + i * 7);
const HELD_TOKENS = 192;
const OPTIONS: PickerOptions = {
  decisionMs: 50,
  fallbacks: 2,
  rankHeader: false,
  capacityTokens: 100_000,
  followsResponses: true,
  checkSample: 0,
};
const ADDRESSES = ["10.0.0.1:8000", "10.0.0.2:8000", "10.0.0.3:8000"] as const;

let running: DaemonInProcess;
const engines: TestEngine[] = [];

beforeAll(async () => {
  running = await startInProcess();
  for (const id of ["a", "b", "c"]) {
    const engine = await TestEngine.start({ id, model: "base", loraNames: ["tuned"] }, 1);
    engines.push(engine);
    const payload = { ...engine.entry, aliases: ["prod"] };
    expect((await running.app.inject({ method: "POST", url: "/api/v1/engines", payload })).statusCode).toBe(
      201,
    );
    if (id === "b") {
      const promptTokens = Uint32Array.from(PROMPT);
      const output = { count: 1, seed: 1 };
      engine.engine.submit(
        { id: 0, promptTokens, output, loraName: null, cacheSalt: null },
        Date.now() / 1000,
      );
    } else await engine.serve(1, { isFresh: true });
    await engine.serve(0);
  }
  await until("all ranks are exact and b holds the prompt", async () => {
    const payload = { model: "base", token_ids: PROMPT };
    const { decision, matches } = (
      await running.app.inject({ method: "POST", url: "/api/v1/match", payload })
    ).json<{
      decision: string;
      matches: { worker: string }[];
    }>();
    return decision === "exact" && matches[0]?.worker === "b";
  });
});

afterAll(async () => {
  await running.stop();
  for (const engine of engines) await engine.stop();
});

/** A request, as far as it is not the usual one. */
interface Asked {
  readonly path?: string;
  readonly gap?: BodyGap;
  readonly subset?: readonly string[] | null;
  readonly headers?: Readonly<Record<string, string>>;
  readonly steering?: readonly string[];
}

/** A picker over the daemon's index, and everything that it reports. */
class Bench {
  readonly reports: PickReport[] = [];
  readonly reported: PredictionReport[] = [];
  readonly checked: CheckOutcome[] = [];
  elsewhere = 0;
  firstTokens = 0;
  asked: TokenizeRequest[] = [];
  tokenize: (request: TokenizeRequest) => Promise<TokenizeOutcome> = () =>
    Promise.resolve({ kind: "tokens", tokens: Uint32Array.from(PROMPT) });
  readonly picker: Picker;
  #nextId = 1;

  constructor(
    options: Partial<PickerOptions> = {},
    tokenizer = true,
    shards: PickerParts["shards"] = null,
    traces?: PickerParts["traces"],
  ) {
    const { reader, board, registry } = running.daemon;
    const lookup = new PromptLookup({ reader, board, registry, now: Date.now }, 1_000_000);
    const parts: PickerParts = {
      lookup,
      shards,
      tokenizer: tokenizer
        ? {
            tokenize: (request) => {
              this.asked.push(request);
              return this.tokenize(request);
            },
          }
        : null,
      watch: {
        decided: (report) => this.reports.push(report),
        servedElsewhere: () => (this.elsewhere += 1),
        firstToken: () => (this.firstTokens += 1),
        responseChunk: () => undefined,
        reported: (report) => this.reported.push(report),
        checked: (_model, outcome) => this.checked.push(outcome),
        ended: () => undefined,
        fault: () => undefined,
      },
      isReady: () => true,
      now: () => performance.now(),
      ...(traces !== undefined && { traces }),
    };
    this.picker = new Picker({ ...OPTIONS, ...options }, parts);
    this.picker.update(
      ["a", "b", "c"].map((id, i) => ({
        id,
        model: "base",
        ranks: [{ dpRank: 0 }],
        http: [ADDRESSES[i] ?? ""],
      })),
    );
  }

  /** Asks for a decision; resolves with it and the request's id. */
  ask(
    body: unknown,
    { path = "/v1/completions", gap = "none", subset = null, headers = {}, steering = [] }: Asked = {},
  ): Promise<{ id: number; decision: Decision }> {
    const bytes = Buffer.from(typeof body === "string" ? body : JSON.stringify(body));
    return new Promise((resolve) => {
      const id = this.#nextId++;
      const session = {
        id,
        isWaiting: true,
        decide: (decision: Decision): boolean => {
          resolve({ id, decision });
          return true;
        },
        fail: () => expect.unreachable(),
      };
      this.picker.ask(session, {
        headers: new Map([[":path", path], ...Object.entries(headers)]),
        steering,
        body: [bytes],
        bodyBytes: bytes.length,
        gap,
        subset,
      });
    });
  }
}

let bench: Bench;
beforeEach(() => {
  bench = new Bench();
});

/** Endpoints of a pick, in order. */
function destinations({ decision }: { decision: Decision }): readonly string[] {
  return decision.kind === "pick" ? decision.answer.destination.split(",") : [decision.answer.details];
}

describe("the picker", () => {
  it("sends a prompt to the engine that holds it, by its token ids", async () => {
    const asked = await bench.ask({ model: "base", prompt: PROMPT });
    expect(destinations(asked)[0]).toBe(ADDRESSES[1]);
    expect(destinations(asked)).toHaveLength(3);
    expect(asked.decision).toMatchObject({
      answer: {
        facts: {
          worker: "b",
          matched_tokens: HELD_TOKENS,
          prompt_tokens: PROMPT.length,
          trust: "exact",
          decision: "index",
        },
      },
      leaves: false,
    });
    expect(bench.reports).toMatchObject([
      { basis: "index", reason: "none", heldTokens: HELD_TOKENS, promptTokens: 200 },
    ]);
  });

  it.each([
    ["the model's name", "base"],
    ["a further name of it", "prod"],
  ])("asks the tokenizer for a text's tokens, under %s", async (_what, model) => {
    expect(destinations(await bench.ask({ model, prompt: "some text" }))[0]).toBe(ADDRESSES[1]);
    expect(JSON.parse(bench.asked[0]?.body ?? "")).toEqual({ model: "base", prompt: "some text" });
  });

  it("keeps a session at the endpoint that it had, by the header of the settings", async () => {
    bench = new Bench({ sessionHeader: "x-session-id" });
    const body = { model: "base", prompt: [1, 2, 3] };
    const headers = { "x-session-id": "s" };
    await bench.ask(body, { headers, subset: [ADDRESSES[2]] });
    expect(destinations(await bench.ask(body, { headers, subset: ADDRESSES.slice(1) }))[0]).toBe(
      ADDRESSES[2],
    );
    expect(
      destinations(
        await bench.ask(body, { headers: { "x-session-id": "t" }, subset: ADDRESSES.slice(1) }),
      )[0],
    ).toBe(ADDRESSES[1]);
  });

  describe("of a fleet with several shards", () => {
    const asked: { readonly question: ShardQuestion; readonly deadlineMs: number }[] = [];
    /** What the other shards answer. */
    let answer: () => Promise<ShardHolds>;
    const complete: ShardHolds = { rows: [], restTrusts: ["unknown", "exact"], missing: [] };

    beforeEach(() => {
      asked.length = 0;
      answer = () => Promise.resolve(complete);
      const ask = (question: ShardQuestion, deadlineMs: number): Promise<ShardHolds> => {
        asked.push({ question, deadlineMs });
        return answer();
      };
      bench = new Bench({ shard: { index: 0, count: 2 } }, true, { ask });
    });

    it("asks the others for the tokens under the model's name, and puts their rows beside its own", async () => {
      const row = {
        worker: "c",
        dpRank: 0,
        slowTokens: 0,
        heldTokens: 200,
        blockSize: 16,
        trust: "exact",
      } as const;
      answer = () => Promise.resolve({ ...complete, rows: [{ ...row, matchedTokens: 200 }] });
      const beganMs = performance.now();
      const pick = await bench.ask({ model: "prod", prompt: PROMPT, cache_salt: "mine" });
      expect(destinations(pick)[0]).toBe(ADDRESSES[2]);
      expect(asked[0]?.question).toEqual({
        model: "base",
        loraName: null,
        cacheSalt: "mine",
        tokens: Uint32Array.from(PROMPT),
      });
      expect(asked[0]?.deadlineMs).toBeGreaterThanOrEqual(beganMs + OPTIONS.decisionMs);
      expect(bench.reports).toMatchObject([{ basis: "index", reason: "none", heldTokens: 200 }]);
    });

    it("K6: names the shards that are missing, trusts the pick less, and compares no prediction of it", async () => {
      answer = () => Promise.resolve({ ...complete, missing: [1, 3] });
      const { id, decision } = await bench.ask({ model: "base", prompt: PROMPT });
      expect(decision).toMatchObject({
        answer: { facts: { worker: "b", decision: "degraded", trust: "partial", missing_shards: "1,3" } },
      });
      expect(bench.reports).toMatchObject([{ basis: "degraded", reason: "shard_missing", trust: "partial" }]);
      bench.picker.cachedTokens(id, 0);
      expect(bench.reported).toEqual([]);
    });

    it("asks no tokenizer for what has no tokens, or tokens that are none", async () => {
      await bench.ask({ model: "nothing", prompt: PROMPT });
      await bench.ask({ model: "base", prompt: [1, -1] });
      expect(asked).toEqual([]);
      expect(bench.reports).toHaveLength(2);
    });

    it("decides nothing for a client that left while the shards were asked", async () => {
      let tell: (holds: ShardHolds) => void = () => undefined;
      answer = () => new Promise((resolve) => (tell = resolve));
      const session = { id: 99, isWaiting: true, decide: () => expect.unreachable(), fail: () => undefined };
      const body = Buffer.from(JSON.stringify({ model: "base", prompt: PROMPT }));
      const headers = new Map([[":path", "/v1/completions"]]);
      bench.picker.ask(session, { headers, body: [body], bodyBytes: body.length, gap: "none", subset: null });
      session.isWaiting = false;
      bench.picker.over(session, "client");
      tell(complete);
      await new Promise(setImmediate);
      expect([asked.length, bench.reports, bench.picker.bookingCount]).toEqual([1, [], 0]);
    });

    it("keeps a prompt's own rows while another prompt is looked up", async () => {
      const others: (() => void)[] = [];
      answer = () =>
        new Promise((resolve) =>
          others.push(() => {
            resolve(complete);
          }),
        );
      const first = bench.ask({ model: "base", prompt: PROMPT });
      const second = bench.ask({ model: "base", prompt: PROMPT.map((token) => token + 1) });
      for (const tell of others) tell();
      expect(destinations(await first)[0]).toBe(ADDRESSES[1]);
      await second;
      expect(bench.reports.map(({ heldTokens }) => heldTokens)).toEqual([HELD_TOKENS, 0]);
      expect(asked.map(({ question }) => question.tokens[0])).toEqual([PROMPT[0], (PROMPT[0] ?? 0) + 1]);
    });
  });

  it("looks up another prompt under a salt", async () => {
    const asked = await bench.ask({ model: "base", prompt: PROMPT, cache_salt: "mine" });
    expect(bench.reports).toMatchObject([{ heldTokens: 0 }]);
    expect(asked.decision.kind).toBe("pick");
  });

  it("K1: decides without the tokens when they are late, once", async () => {
    let answer: (outcome: TokenizeOutcome) => void = () => undefined;
    bench.tokenize = () => new Promise((resolve) => (answer = resolve));
    const { decision } = await bench.ask({ model: "base", prompt: "some text" });
    expect(decision.kind).toBe("pick");
    expect(bench.reports).toMatchObject([{ basis: "load", reason: "late" }]);
    answer({ kind: "tokens", tokens: Uint32Array.from(PROMPT) });
    await Promise.resolve();
    expect(bench.reports).toHaveLength(1);
  });

  it("forgets a request whose client left before the tokens came: nothing is decided, booked or remembered", async () => {
    let answer: (outcome: TokenizeOutcome) => void = () => undefined;
    bench.tokenize = () => new Promise((resolve) => (answer = resolve));
    const session = { id: 99, isWaiting: true, decide: () => expect.unreachable(), fail: () => undefined };
    const body = Buffer.from(JSON.stringify({ model: "base", prompt: "text" }));
    const headers = new Map([[":path", "/v1/completions"]]);
    bench.picker.ask(session, { headers, body: [body], bodyBytes: body.length, gap: "none", subset: null });
    session.isWaiting = false;
    bench.picker.over(session, "client");
    answer({ kind: "tokens", tokens: Uint32Array.from(PROMPT) });
    await new Promise(setImmediate);
    expect([bench.reports, bench.picker.bookingCount]).toEqual([[], 0]);
  });

  it("K5: ends the stream of a request whose tokens fail, and decides for the next one", async () => {
    bench.tokenize = () => Promise.reject(new Error("broken"));
    const body = Buffer.from(JSON.stringify({ model: "base", prompt: "text" }));
    const headers = new Map([[":path", "/v1/completions"]]);
    const question = { headers, body: [body], bodyBytes: body.length, gap: "none", subset: null } as const;
    await new Promise<void>((resolve) => {
      bench.picker.ask(
        { id: 99, isWaiting: true, decide: () => expect.unreachable(), fail: resolve },
        question,
      );
    });
    expect(bench.picker.bookingCount).toBe(0);
    expect((await bench.ask({ model: "base", prompt: PROMPT })).decision.kind).toBe("pick");
  });

  it("K5: lets a failed assertion through, which ends the process", async () => {
    const failure = new AssertionError("broken");
    bench.tokenize = () => Promise.reject(failure);
    const body = Buffer.from(JSON.stringify({ model: "base", prompt: "text" }));
    const headers = new Map([[":path", "/v1/completions"]]);
    const heard = new Promise((resolve) => process.once("unhandledRejection", resolve));
    // The runner's own listeners would fail the run.
    const others = process.listeners("unhandledRejection").slice(0, -1);
    for (const other of others) process.off("unhandledRejection", other);
    bench.picker.ask(
      { id: 99, isWaiting: true, decide: () => expect.unreachable(), fail: () => expect.unreachable() },
      { headers, body: [body], bodyBytes: body.length, gap: "none", subset: null },
    );
    expect(await heard).toBe(failure);
    for (const other of others) process.on("unhandledRejection", other);
  });

  it.each([
    ["no_tokens", { model: "base", prompt: "text" }, {}],
    ["path", { model: "base", input: "text" }, { path: "/v1/embeddings" }],
    ["not_json", "{", {}],
    ["no_body", "", { gap: "no_body" as const }],
    ["model_unknown", { model: "stranger", prompt: [1, 2, 3] }, {}],
    ["tokens_unusable", { model: "base", prompt: [1, -2, 3.5] }, {}],
  ])("K2: picks by load what cannot be looked up: %s", async (reason, body, options) => {
    bench = new Bench({}, false);
    expect((await bench.ask(body, options)).decision.kind).toBe("pick");
    expect(bench.reports).toMatchObject([{ basis: "load", reason, heldTokens: 0 }]);
  });

  it("K2: sends a growing text to one engine without any tokenizer", async () => {
    bench = new Bench({}, false);
    const text = "once upon a time ".repeat(2000);
    const turn = async (prompt: string): Promise<string | undefined> => {
      const asked = await bench.ask({ model: "base", prompt });
      bench.picker.over(
        { id: asked.id, isWaiting: false, decide: () => false, fail: () => undefined },
        "complete",
      );
      return destinations(asked)[0];
    };
    const first = await turn(text);
    for (let turns = 1; turns <= 4; turns++)
      expect(await turn(text + "and then ".repeat(10 * turns))).toBe(first);
    expect(bench.reports.map(({ basis }) => basis)).toEqual(["load", "own", "own", "own", "own"]);
  });

  it("K2: answers with an error for an empty pool and an empty subset alone", async () => {
    expect(destinations(await bench.ask({ model: "base", prompt: PROMPT }, { subset: [] }))).toEqual([
      "kvsync_subset_empty",
    ]);
    bench.picker.update([]);
    const { decision } = await bench.ask({ model: "base", prompt: PROMPT });
    expect(decision).toMatchObject({
      kind: "immediate",
      answer: { status: 503, details: "kvsync_no_endpoint" },
    });
    expect(decision.kind === "immediate" && JSON.parse(decision.answer.body)).toMatchObject({
      error: { type: "service_unavailable", code: "no_endpoint" },
    });
    expect([bench.reports.map(({ basis, reason }) => [basis, reason]), bench.picker.bookingCount]).toEqual([
      [
        ["immediate", "subset_empty"],
        ["immediate", "no_endpoint"],
      ],
      0,
    ]);
  });

  it("K3: compares its prediction with the engine's own count, streamed or not", async () => {
    const one = await bench.ask({ model: "base", prompt: PROMPT });
    const session = { id: one.id, isWaiting: false, decide: () => false, fail: () => undefined };
    bench.picker.served(session, ADDRESSES[1]);
    bench.picker.firstToken(session);
    bench.picker.responseTail(
      session,
      Buffer.from('data: {"usage":{"prompt_tokens_details":{"cached_tokens": 176}}}\n\ndata: [DONE]\n\n'),
    );
    bench.picker.over(session, "complete");
    expect([bench.reported, bench.elsewhere, bench.firstTokens, bench.picker.bookingCount]).toEqual([
      [{ model: "base", predictedTokens: HELD_TOKENS, cachedTokens: 176, differs: false }],
      0,
      1,
      0,
    ]);
    bench.picker.responseTail(session, Buffer.from('"cached_tokens":1'));
    expect(bench.reported).toHaveLength(1);
  });

  it("counts answers that name no endpoint as misses, of gateways that name one at other times", async () => {
    const unnamed = async (): Promise<void> => {
      const { id } = await bench.ask({ model: "base", prompt: PROMPT });
      const session = { id, isWaiting: false, decide: () => false, fail: () => undefined };
      bench.picker.served(session, null);
      bench.picker.over(session, "complete");
    };
    for (let i = 0; i < 3; i++) await unnamed();
    expect(bench.picker.states.penalty).toBe(0);
    const { id } = await bench.ask({ model: "base", prompt: PROMPT });
    const session = { id, isWaiting: false, decide: () => false, fail: () => undefined };
    bench.picker.served(session, ADDRESSES[1]);
    bench.picker.over(session, "complete");
    for (let i = 0; i < 3; i++) await unnamed();
    expect([bench.picker.states.penalty, bench.elsewhere]).toEqual([1, 0]);
  });

  it.each([
    ["what differs by two blocks", PROMPT, HELD_TOKENS - 32, false],
    ["what differs by more", PROMPT, HELD_TOKENS - 33, true],
    ["more than was predicted", PROMPT.slice(0, 16), 100, true],
  ])("K3: tells %s", async (_what, prompt, cachedTokens, differs) => {
    const { id } = await bench.ask({ model: "base", prompt });
    const session = { id, isWaiting: false, decide: () => false, fail: () => undefined };
    bench.picker.responseTail(session, Buffer.from(`"cached_tokens":${cachedTokens}}`));
    bench.picker.responseTail(session, Buffer.from('"cached_tokens":1'));
    expect(bench.reported).toMatchObject([{ cachedTokens, differs }]);
  });

  it.each([
    ["no prediction by the index", { model: "stranger", prompt: PROMPT }],
    ["the first of several prompts", { model: "base", prompt: [PROMPT, PROMPT] }],
  ])("K3: compares nothing for %s", async (_what, body) => {
    const { id } = await bench.ask(body);
    bench.picker.responseTail(
      { id, isWaiting: false, decide: () => false, fail: () => undefined },
      Buffer.from('"cached_tokens":1'),
    );
    expect(bench.reported).toEqual([]);
  });

  it("looks a prompt up again at the engine that served it", async () => {
    bench = new Bench({ checkSample: 1 });
    for (const address of [ADDRESSES[1], ADDRESSES[2], "10.9.9.9:1"]) {
      const { id } = await bench.ask({ model: "base", prompt: PROMPT });
      vi.useFakeTimers({ toFake: ["setTimeout", "clearTimeout"] });
      const session = { id, isWaiting: false, decide: () => false, fail: () => undefined };
      bench.picker.served(session, address);
      bench.picker.firstToken(session);
      vi.advanceTimersByTime(2000);
      vi.useRealTimers();
    }
    expect(bench.checked).toEqual(["agree", "differ"]);
  });

  it("counts an answer of another endpoint, and moves the booking there", async () => {
    const one = await bench.ask({ model: "base", prompt: PROMPT });
    bench.picker.served(
      { id: one.id, isWaiting: false, decide: () => false, fail: () => undefined },
      ADDRESSES[2],
    );
    bench.picker.served(
      { id: one.id, isWaiting: false, decide: () => false, fail: () => undefined },
      ADDRESSES[2],
    );
    expect([bench.elsewhere, bench.picker.bookingCount]).toEqual([1, 1]);
  });

  it("K4: tells no text of a prompt, and strips headers that steer", async () => {
    const secret = "the secret text";
    const { decision } = await bench.ask({ model: "base", prompt: secret.repeat(50) });
    expect(JSON.stringify([decision, bench.reports])).not.toContain("secret");
    expect(decision.kind === "pick" && decision.answer.removeHeaders).toContain(
      "x-gateway-destination-endpoint-served",
    );
  });

  it("strips a rank that the client chose, and every header that steers pickers or engines", async () => {
    const steering = ["x-llm-d-slo-ttft-ms", "x-slo-anything", "x-gateway-inference-new"];
    const { decision } = await bench.ask({ model: "base", prompt: PROMPT }, { steering });
    const removed = decision.kind === "pick" ? decision.answer.removeHeaders : [];
    expect(removed).toEqual(
      expect.arrayContaining([...steering, "x-data-parallel-rank", "x-prefiller-host-port"]),
    );
    expect(new Set(removed).size).toBe(removed.length);
  });

  it("tells the engine the span of a traced pick, and leaves the caller's header alone otherwise", async () => {
    const trace = { traceId: "a".repeat(32), spanId: "b".repeat(16), traceparent: "00-a-b-01" };
    bench = new Bench({}, true, null, { begin: (caller) => (caller === "traced" ? trace : null) });
    const set = async (traceparent: string): Promise<unknown> => {
      const { decision } = await bench.ask({ model: "base", prompt: PROMPT }, { headers: { traceparent } });
      return decision.kind === "pick" && decision.answer.setHeaders.find(([name]) => name === "traceparent");
    };
    expect([await set("traced"), await set("other")]).toEqual([["traceparent", "00-a-b-01"], undefined]);
    expect(bench.reports.map((report) => report.trace)).toEqual([trace, null]);
  });

  it("adds a request id where none came, and leaves where responses are not followed", async () => {
    bench = new Bench({ followsResponses: false });
    const named = await bench.ask({ model: "base", prompt: PROMPT }, { headers: { "x-request-id": "mine" } });
    const unnamed = await bench.ask({ model: "base", prompt: PROMPT });
    const names = ({ decision }: { decision: Decision }): unknown =>
      decision.kind === "pick" && [decision.answer.setHeaders.map(([name]) => name), decision.leaves];
    expect([names(named), names(unnamed)]).toEqual([
      [[], true],
      [["x-request-id"], true],
    ]);
  });

  it("says that it serves while it is ready, and not while it drains", () => {
    const services = ["", "readiness", "liveness", "envoy.service.ext_proc.v3.ExternalProcessor", "stranger"];
    const health = (): string[] => services.map((service) => bench.picker.health(service));
    expect(health()).toEqual(["serving", "serving", "serving", "serving", "service_unknown"]);
    bench.picker.drain();
    expect(health()).toEqual(["not_serving", "not_serving", "serving", "not_serving", "service_unknown"]);
  });
});
