/**
 * One engine by example; test/event-faithfulness.test.ts tests that the events of any engine are faithful.
 *
 * Numbers in titles: F of prefix-cache.ts, V of event-log.ts, H of host-tier.ts, D of scheduler.ts, G of simulated-engine.ts.
 */
import type { BlockRemoved, BlockStored, Dialect, KvEvent } from "@kvsync/core";
import { describe, expect, test } from "vitest";
import type { EngineRequest, EngineSettings, FinishedRequest } from "./engine-contract.ts";
import { SimulatedEngine } from "./simulated-engine.ts";

function engineWith(settings: Partial<EngineSettings> = {}): SimulatedEngine {
  return new SimulatedEngine({ id: "engine", model: "m", blockSize: 4, blockCount: 32, ...settings });
}

const tokensOf = (count: number, from = 0) => Uint32Array.from({ length: count }, (_, i) => from + i);

let nextId = 0;
function request(promptTokens: Uint32Array, more: Partial<EngineRequest> = {}): EngineRequest {
  return { id: nextId++, promptTokens, output: { count: 1, seed: 1 }, ...more };
}

interface Run {
  readonly events: KvEvent[];
  readonly finished: FinishedRequest[];
  readonly tokenCounts: number[];
  preemptions: number;
}

function finish(engine: SimulatedEngine, ...requests: EngineRequest[]): Run {
  const run: Run = { events: [], finished: [], tokenCounts: [], preemptions: 0 };
  for (const each of requests) engine.submit(each, 0);
  for (let now = 0; engine.hasWork; now++) {
    const result = engine.step(now);
    run.events.push(...(result.batch?.batch.events ?? []));
    run.finished.push(...result.finished);
    run.tokenCounts.push(result.tokenCount);
    run.preemptions += result.preemptionCount;
  }
  return run;
}

const stores = (run: Run) => run.events.filter((event): event is BlockStored => event.type === "BlockStored");
const removals = (run: Run) =>
  run.events.filter((event): event is BlockRemoved => event.type === "BlockRemoved");

describe("caching", () => {
  test("a prompt's full blocks are announced in one event, with their tokens and without a parent", () => {
    const [store, ...more] = stores(finish(engineWith(), request(tokensOf(11))));
    expect(more).toEqual([]);
    expect(store).toMatchObject({
      parentBlockHash: null,
      blockSize: 4,
      medium: "GPU",
      groupIdx: 0,
      extraKeys: [null, null],
    });
    expect(store?.blockHashes.length).toBe(2);
    expect([...(store?.tokenIds ?? [])]).toEqual([0, 1, 2, 3, 4, 5, 6, 7]);
  });

  test("a second request skips the blocks it shares, and its event continues their chain", () => {
    const engine = engineWith();
    const first = stores(finish(engine, request(tokensOf(9))))[0];
    const second = finish(engine, request(Uint32Array.of(...tokensOf(8), 90, 91, 92, 93, 94)));
    expect(second.finished[0]).toMatchObject({ cachedBlocks: 2, promptBlocks: 3 });
    expect(stores(second)[0]).toMatchObject({ parentBlockHash: first?.blockHashes[1] });
    expect(second.tokenCounts[0]).toBe(5);
  });

  test("a fully cached prompt computes its last block again and announces a second copy of it (F2)", () => {
    const engine = engineWith();
    const first = stores(finish(engine, request(tokensOf(8))))[0];
    const again = finish(engine, request(tokensOf(8)));
    expect(again.finished[0]).toMatchObject({ cachedBlocks: 1, promptBlocks: 2 });
    expect(stores(again).map((store) => store.blockHashes)).toEqual([[first?.blockHashes[1]]]);
    expect(engine.contents().rowCount).toBe(3);
  });

  test("each copy is taken back by an event of its own, and until the last one the prefix is still a hit", () => {
    const engine = engineWith({ blockCount: 6 });
    const stored = stores(finish(engine, request(tokensOf(8)), request(tokensOf(8))));
    const twice = stored
      .flatMap((store) => store.blockHashes)
      .filter((hash, index, all) => all.indexOf(hash) !== index);
    expect(twice.length).toBe(1);
    const filling = finish(engine, request(tokensOf(20, 1000)));
    const taken = removals(filling).flatMap((removal) => removal.blockHashes);
    expect(taken.filter((hash) => hash === twice[0]).length).toBe(2);
  });

  test("the tail of a chain is evicted before its head, before the store that takes its place (V1)", () => {
    const engine = engineWith({ blockCount: 4 });
    const stored = stores(finish(engine, request(tokensOf(13))))[0];
    const evicting = finish(engine, request(tokensOf(5, 500)));
    expect(evicting.events.map(({ type }) => type)).toEqual(["BlockRemoved", "BlockStored"]);
    const evicted = removals(evicting);
    expect(evicted.map((event) => event.blockHashes.length)).toEqual([1]);
    expect(evicted[0]?.blockHashes[0]).toBe(stored?.blockHashes[2]);
    expect(engine.cachedPrefixBlocks(tokensOf(13))).toBe(2);
  });

  test("blocks that fill while decoding are announced one by one", () => {
    const run = finish(
      engineWith(),
      request(tokensOf(6), { output: Uint32Array.of(70, 71, 72, 73, 74, 75, 76) }),
    );
    expect(stores(run).map((store) => [...store.tokenIds])).toEqual([
      [0, 1, 2, 3],
      [4, 5, 70, 71],
      [72, 73, 74, 75],
    ]);
  });

  test("a salt and an adapter keep equal prompts apart", () => {
    const engine = engineWith({ loraNames: ["a"] });
    finish(engine, request(tokensOf(9)));
    expect(engine.cachedPrefixBlocks(tokensOf(9))).toBe(2);
    expect(engine.cachedPrefixBlocks(tokensOf(9), "a")).toBe(0);
    expect(engine.cachedPrefixBlocks(tokensOf(9), null, "tenant")).toBe(0);
    const run = finish(engine, request(tokensOf(9), { loraName: "a", cacheSalt: "tenant" }));
    expect(stores(run)[0]).toMatchObject({ loraName: "a", loraId: 1, extraKeys: [["a", "tenant"], ["a"]] });
  });

  test("a reset clears everything with one event, and does nothing while a request runs", () => {
    const engine = engineWith();
    engine.submit(request(tokensOf(8), { output: { count: 5, seed: 1 } }), 0);
    engine.step(0);
    expect(engine.reset(1)).toBeNull();
    finish(engine);
    expect(engine.reset(2)?.batch.events).toEqual([{ type: "AllBlocksCleared" }]);
    expect(engine.contents().rowCount).toBe(0);
    expect(engine.cachedPrefixBlocks(tokensOf(8))).toBe(0);
  });
});

describe("scheduling", () => {
  test("a prompt beyond the token budget is prefilled in chunks, each with an event of its own (D1)", () => {
    const run = finish(engineWith({ maxBatchedTokens: 8 }), request(tokensOf(20)));
    expect(run.tokenCounts).toEqual([8, 8, 4]);
    expect(stores(run).map((store) => store.blockHashes.length)).toEqual([2, 2, 1]);
  });

  test("decoding requests go before waiting ones in a step's budget", () => {
    const engine = engineWith({ maxBatchedTokens: 8 });
    engine.submit(request(tokensOf(6), { output: { count: 3, seed: 1 } }), 0);
    engine.submit(request(tokensOf(20, 100)), 0);
    expect([engine.step(0), engine.step(1)].map((result) => result.tokenCount)).toEqual([8, 8]);
    expect(engine.pressure()).toMatchObject({ running: 2, waiting: 0, pendingPrefillTokens: 11 });
  });

  test("no more requests run than allowed, first come first served (D1, D2)", () => {
    const engine = engineWith({ maxSequences: 2 });
    const requests = [0, 1, 2].map((i) => request(tokensOf(4, i * 100), { output: { count: 2, seed: 1 } }));
    for (const each of requests) engine.submit(each, 0);
    expect(engine.step(0).firstTokens).toEqual([requests[0]?.id, requests[1]?.id]);
    expect(engine.pressure()).toMatchObject({ running: 2, waiting: 1 });
  });

  test("a preempted request goes before those that wait (D2)", () => {
    const engine = engineWith({ blockCount: 6 });
    const [older, younger, later] = [tokensOf(8), tokensOf(8, 100), tokensOf(4, 200)].map((tokens) =>
      request(tokens, { output: { count: 9, seed: 1 } }),
    );
    const run = finish(engine, older!, younger!, later!);
    expect(run.preemptions).toBeGreaterThan(0);
    expect(run.finished.map(({ id }) => id)).toEqual([older!.id, younger!.id, later!.id]);
  });

  test("out of blocks, the youngest request loses its own, and finishes later with its prefix found again", () => {
    const engine = engineWith({ blockCount: 6 });
    const [older, younger] = [tokensOf(8), tokensOf(8, 100)].map((tokens) =>
      request(tokens, { output: { count: 9, seed: 1 } }),
    );
    const run = finish(engine, older!, younger!);
    expect(run.preemptions).toBeGreaterThan(0);
    expect(run.finished.map(({ id, preemptions }) => [id, preemptions > 0])).toEqual([
      [older!.id, false],
      [younger!.id, true],
    ]);
    expect(run.finished.map((finished) => finished.outputTokens)).toEqual([9, 9]);
  });

  test("a step costs more time with more tokens, and twice as much in an engine half as fast", () => {
    const duration = (tokens: number, slowness: number) => {
      const engine = engineWith({ blockCount: 1000, slowness });
      engine.submit(request(tokensOf(tokens)), 0);
      return engine.step(0).durationSeconds;
    };
    expect(duration(2000, 1)).toBeGreaterThan(duration(100, 1));
    expect(duration(100, 2)).toBeCloseTo(2 * duration(100, 1), 12);
  });

  test("requests that are done, preempted or aborted cost the later ones no time", () => {
    const first = (engine: SimulatedEngine) => {
      engine.submit(request(tokensOf(5, 900)), 0);
      return engine.step(0).durationSeconds;
    };
    const used = engineWith({ blockCount: 6 });
    const run = finish(
      used,
      ...[0, 100].map((from) => request(tokensOf(8, from), { output: { count: 9, seed: 1 } })),
    );
    expect(run.preemptions).toBeGreaterThan(0);
    used.submit(request(tokensOf(8, 300), { output: { count: 9, seed: 1 } }), 0);
    used.step(0);
    used.restart(0);
    expect(first(used)).toBe(first(engineWith({ blockCount: 6 })));
  });

  test("a step without work takes no time, no number and announces nothing", () => {
    expect(engineWith().step(5)).toMatchObject({ durationSeconds: 0, batch: null, tokenCount: 0 });
  });

  test("the first token comes at the end of the last prefill chunk, the end after the last token", () => {
    const engine = engineWith({ maxBatchedTokens: 8 });
    const each = request(tokensOf(12), { output: { count: 2, seed: 1 } });
    engine.submit(each, 10);
    expect(engine.step(20).firstTokens).toEqual([]);
    const second = engine.step(30);
    const firstTokenAtSeconds = 30 + second.durationSeconds;
    expect([second.firstTokens, second.finished]).toEqual([[each.id], []]);
    const third = engine.step(40);
    const finishedAtSeconds = 40 + third.durationSeconds;
    expect(third.finished).toMatchObject([
      { submittedAtSeconds: 10, firstTokenAtSeconds, finishedAtSeconds },
    ]);
    expect(engine.hasWork).toBe(false);
  });
});

describe("the host tier", () => {
  test("takes in what the device evicts, announced before the eviction, and gives it back as a hit (F3)", () => {
    const engine = engineWith({ blockCount: 4, hostBlockCount: 8 });
    const stored = stores(finish(engine, request(tokensOf(13))))[0];
    const evicting = finish(engine, request(tokensOf(13, 500)));
    const moved = evicting.events.filter(
      (event) => event.type !== "AllBlocksCleared" && event.groupIdx === 0,
    );
    expect(moved.slice(0, 2)).toMatchObject([
      { type: "BlockStored", medium: "CPU", blockSize: 0, blockHashes: [stored?.blockHashes[2]] },
      { type: "BlockRemoved", medium: "GPU", blockHashes: [stored?.blockHashes[2]] },
    ]);
    expect(engine.cachedPrefixBlocks(tokensOf(13))).toBe(3);
    expect(finish(engine, request(tokensOf(13))).finished[0]).toMatchObject({
      cachedBlocks: 3,
      cachedHostBlocks: 3,
    });
  });

  test("is full at its capacity, and then the least recently used goes with an event, before the new one (H2)", () => {
    const engine = engineWith({ blockCount: 4, hostBlockCount: 2 });
    finish(engine, request(tokensOf(13)));
    const evicting = finish(engine, request(tokensOf(13, 500)));
    const onHost = evicting.events.filter(
      (event) => event.type !== "AllBlocksCleared" && event.medium === "CPU",
    );
    expect(onHost.map(({ type }) => type)).toEqual([
      "BlockStored",
      "BlockStored",
      "BlockRemoved",
      "BlockStored",
    ]);
    expect(engine.contents().tierOf.filter((tier) => tier === 1).length).toBe(2);
  });
});

describe("numbers and restarts", () => {
  test("batches are numbered without a hole, but for numbers that were burnt (G1)", () => {
    const engine = engineWith();
    const numbers: number[] = [];
    for (let i = 0; i < 3; i++) {
      engine.submit(request(tokensOf(5, i * 50)), 0);
      numbers.push(engine.step(i).batch?.sequenceNumber ?? -1);
      if (i === 1) expect(engine.burnSequenceNumber()).toBe(2);
    }
    expect(numbers).toEqual([0, 1, 3]);
    expect([...engine.contents().announcedIn]).toEqual([0, 1, 3]);
  });

  test("a restart loses requests and blocks, and draws a random root anew", () => {
    const engine = engineWith({ hashSeed: null });
    const [before] = stores(finish(engine, request(tokensOf(5))));
    const waiting = request(tokensOf(5));
    engine.submit(waiting, 0);
    expect(engine.restart(1)).toEqual({ abortedRequests: [waiting.id], batch: null });
    expect(engine.hasWork).toBe(false);
    const [after] = stores(finish(engine, { ...waiting }));
    expect(after?.blockHashes).not.toEqual(before?.blockHashes);
    expect(engine.lastSequenceNumber).toBe(0);
  });

  test("equal settings, requests and times give equal batches (G3)", () => {
    const [one, other] = [0, 1].map(() => {
      const engine = engineWith({ hashSeed: "7", blockCount: 6, hostBlockCount: 4 });
      const batches: unknown[] = [];
      for (let id = 0; id < 8; id++)
        engine.submit({ id, promptTokens: tokensOf(9 + id, 3 * id), output: { count: 4, seed: id } }, 0);
      for (let now = 0; engine.hasWork; now++) batches.push(engine.step(now).batch);
      return batches;
    });
    expect(one).toEqual(other);
    expect(one?.length).toBeGreaterThan(8);
  });

  test("engines with equal seeds name blocks alike, with different seeds differently, and hold the same prefixes", () => {
    const [one, same, other] = ["7", "7", "8"].map((hashSeed) => {
      const engine = engineWith({ hashSeed });
      finish(engine, request(tokensOf(9)));
      return engine.contents();
    });
    expect(one?.engineHashes).toEqual(same?.engineHashes);
    expect(one?.engineHashes).not.toEqual(other?.engineHashes);
    expect(one?.prefixHashes).toEqual(other?.prefixHashes);
  });
});

describe("groups, reports and removals by dialect", () => {
  test("a full report announces again what a request found cached, and takes nothing more back", () => {
    const engine = engineWith({ reportMode: "full", blockCount: 6 });
    const first = stores(finish(engine, request(tokensOf(9))))[0];
    const again = finish(engine, request(tokensOf(9)));
    expect(stores(again)[0]).toMatchObject({ blockHashes: first?.blockHashes, parentBlockHash: null });
    expect(stores(again)[0]?.tokenIds.length).toBe(8);
    expect(engine.contents().rowCount).toBe(2);
    const evicting = finish(engine, request(tokensOf(23, 500)));
    expect(removals(evicting).length).toBe(2);
  });

  test("a sliding-window group announces the same hashes and takes them back early", () => {
    const engine = engineWith({ slidingWindowTokens: 8, maxSequences: 1 });
    const run = finish(engine, request(tokensOf(17)));
    const windowed = stores(run).filter((store) => store.groupIdx === 1);
    expect(windowed[0]).toMatchObject({ kvCacheSpecKind: "sliding_window", kvCacheSpecSlidingWindow: 8 });
    expect(windowed[0]?.blockHashes).toEqual(stores(run)[0]?.blockHashes);
    expect(removals(run).map((event) => event.groupIdx)).toEqual([1, 1]);
    expect(engine.contents().rowCount).toBe(4);
  });

  test.each<[Dialect, number[]]>([
    ["vllm-0.26", [1, 1, 1]],
    ["sglang-map", [3]],
    ["trtllm", [3]],
  ])("%s takes a run of three blocks back in events of %j hashes (V2)", (dialect, counts) => {
    const engine = engineWith({ dialect, blockCount: 4 });
    finish(engine, request(tokensOf(13)));
    expect(
      removals(finish(engine, request(tokensOf(13, 500)))).map((event) => event.blockHashes.length),
    ).toEqual(counts);
  });
});

describe("what is refused", () => {
  test.each<[string, EngineRequest, object]>([
    ["an empty prompt", request(new Uint32Array(0)), { code: "empty_request" }],
    ["no output", request(tokensOf(4), { output: { count: 0, seed: 1 } }), { code: "empty_request" }],
    ["more than the pool", request(tokensOf(128)), { code: "request_too_long", tokens: 129, tokensMax: 128 }],
    ["an unknown adapter", request(tokensOf(4), { loraName: "b" }), { code: "unknown_lora", loraName: "b" }],
    [
      "an empty salt",
      request(tokensOf(4), { cacheSalt: "" }),
      { code: "invalid_setting", setting: "cacheSalt" },
    ],
  ])("a request with %s, by a code and its facts, and nothing changes", (_name, refused, facts) => {
    const engine = engineWith();
    expect(() => {
      engine.submit(refused, 0);
    }).toThrow(expect.objectContaining({ facts: expect.objectContaining(facts) as object }));
    expect(engine.hasWork).toBe(false);
  });

  test("an id in use, and a queue beyond its limit", () => {
    const engine = engineWith({ maxWaiting: 1 });
    const first = request(tokensOf(4));
    engine.submit(first, 0);
    expect(() => {
      engine.submit({ ...first }, 0);
    }).toThrow(expect.objectContaining({ code: "duplicate_request" }));
    expect(() => {
      engine.submit(request(tokensOf(4)), 0);
    }).toThrow(expect.objectContaining({ code: "too_many_waiting" }));
  });

  test("a salt where the dialect cannot tell of it", () => {
    expect(() => {
      engineWith({ dialect: "vllm-0.14" }).submit(request(tokensOf(4), { cacheSalt: "t" }), 0);
    }).toThrow(expect.objectContaining({ code: "unsupported_by_dialect" }));
  });

  test.each<[Partial<EngineSettings>, string]>([
    [{ blockSize: 0 }, "blockSize"],
    [{ blockCount: 1.5 }, "blockCount"],
    [{ slowness: Number.NaN }, "slowness"],
    [{ dialect: "vllm-9" as "vllm-0.14" }, "dialect"],
    [{ dialect: "sglang-map", hashAlgorithm: "sha256" }, "hashAlgorithm"],
    [{ dialect: "trtllm", hashForm: "bytes" }, "hashForm"],
    [{ dialect: "trtllm", loraNames: ["a"] }, "loraNames"],
    [{ loraNames: ["a", "a"] }, "loraNames"],
    [{ dialect: "vllm-0.9.1", hostBlockCount: 1 }, "hostBlockCount"],
    [{ dialect: "sglang-map", hostSelfDescribing: false }, "hostSelfDescribing"],
    [{ dialect: "vllm-0.18", slidingWindowTokens: 8 }, "slidingWindowTokens"],
    [{ dialect: "vllm-0.21", reportMode: "full" }, "reportMode"],
    [{ id: "" }, "id"],
  ])("settings %j, naming %s", (settings, setting) => {
    expect(() => engineWith(settings)).toThrow(
      expect.objectContaining({
        facts: expect.objectContaining({ code: "invalid_setting", setting }) as object,
      }),
    );
  });
});
