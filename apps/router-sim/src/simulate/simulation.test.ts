/**
 * The promises of a simulated run as a whole. It repeats itself, its two event paths agree, it
 * conserves requests and tokens, and its settings are checked. That it is right, by theory, is
 * theory.simulation.test.ts.
 *
 * Numbers in titles: V of simulation.ts, E of event-path.ts, X of wire-path.ts, G of decision-log.ts.
 */
import { type FixedWorker, KvsyncPolicy, LoadBook, type Trust } from "@kvsync/routing";
import { describe, expect, it } from "vitest";

import { POLICY_NAMES } from "../policy/policies.ts";
import { generateWorkload } from "../trace/generator.ts";
import type { TraceRequest } from "../trace/request.ts";
import type { Workload } from "../workload/workload.ts";
import { requestLines } from "./request-csv.ts";
import { Simulation, simulate } from "./simulation.ts";
import { SimulationError, type SimulationSettings } from "./simulation-settings.ts";
import { simulationTable } from "./simulation-table.ts";

/** A workload of given requests with blocks of 512 tokens. */
function workloadOf(requests: readonly TraceRequest[]): Workload {
  return { name: "test", requestCount: requests.length, blockTokens: 512, requests: () => requests };
}

const CONVERSATION = workloadOf(generateWorkload({ requests: 400, minutes: 8, scale: 0.5 }, 5));

const SMALL: SimulationSettings = {
  seed: 1,
  policy: "kvsync",
  engineCount: 4,
  blockSize: 64,
  blockCount: 1_100,
  maxBatchedTokens: 2_048,
};

/** A line of a log of decisions; each kind has some of it. */
interface LogLine {
  readonly engines?: readonly FixedWorker[];
  readonly kind: string;
  readonly id: number;
  readonly seconds: number;
  readonly promptTokens: number;
  readonly keys: readonly number[];
  readonly keyWords: number;
  readonly keyTokens: number;
  readonly matches: readonly {
    readonly tokens: number;
    readonly slowTokens: number;
    readonly trust: Trust;
  }[];
  readonly ranking: readonly number[];
}

function json(changes: Partial<SimulationSettings> = {}): string {
  return JSON.stringify(simulate(CONVERSATION, { ...SMALL, ...changes }).result);
}

/** All but what tells the paths apart. */
function withoutPath(text: string): unknown {
  const result = JSON.parse(text) as { config: object; totals: object };
  return {
    ...result,
    config: { ...result.config, eventPath: null },
    totals: { ...result.totals, replays: null },
  };
}

describe("a simulated run", () => {
  it.each(POLICY_NAMES)("of %s is repeated byte for byte by its seed (V4)", (policy) => {
    expect(json({ policy })).toBe(json({ policy }));
  });

  it("with loss, delay and reordering is repeated byte for byte too (V4), and another seed gives another run", () => {
    const faults = { eventLoss: 0.05, eventDelaySeconds: 0.05, eventReorder: 0.2 };
    expect(json(faults)).toBe(json(faults));
    expect(json(faults)).not.toBe(json({ ...faults, seed: 2 }));
    expect(json({ policy: "random" })).not.toBe(json({ policy: "random", seed: 2 }));
  });

  it.each([
    { eventDelaySeconds: 0 },
    { eventDelaySeconds: 0.2 },
    { eventDelaySeconds: 0.02, eventReorder: 0.3 },
    { hostBlockCount: 1_000 },
  ])(
    "whose events travel on the wire is the same as one whose events are written directly (E1): %o",
    (changes) => {
      expect(withoutPath(json({ ...changes, eventPath: "wire" }))).toEqual(withoutPath(json(changes)));
    },
  );

  it("ends every request once, and its sums agree with each other (V3)", () => {
    const { result, requests } = simulate(CONVERSATION, {
      ...SMALL,
      keepRequests: true,
      hostBlockCount: 500,
    });
    const { totals, series, engines } = result;
    const sum = (values: Iterable<number>): number => [...values].reduce((total, value) => total + value, 0);
    expect(totals).toMatchObject({ requests: 400, completed: 400, refused: 0 });
    expect(result.firstToken.count).toBe(400);
    expect(result.interToken.count).toBe(totals.outputTokens - 400);
    expect(sum(engines.map((engine) => engine.requests))).toBe(400);
    expect(sum(series.arrivals)).toBe(400);
    expect(sum(series.completions)).toBe(400);
    expect(sum(series.hitBlocks)).toBe(totals.hitBlocks);
    expect(sum(series.promptBlocks)).toBe(totals.promptBlocks);
    expect(sum(requests?.hitBlocks ?? [])).toBe(totals.hitBlocks);
    expect(sum(requests?.bestHitBlocks ?? [])).toBe(totals.bestHitBlocks);
    expect(sum(requests?.outputTokens ?? [])).toBe(totals.outputTokens);
    expect(sum(requests?.endToEndSeconds ?? [])).toBeCloseTo(result.endToEnd.sumSeconds, 1);
    expect(totals.hitHostBlocks).toBeGreaterThan(0);
    expect(totals.hitBlocks).toBeGreaterThan(0.05 * totals.promptBlocks);
    // A hit is counted when an engine takes the request up, a little after the best match was asked for.
    expect(totals.hitBlocks).toBeLessThan(1.1 * totals.bestHitBlocks);
    for (const { utilisation } of engines) expect(utilisation).toBeGreaterThan(0);
  });

  it("tells of every request in a line of CSV", () => {
    const { requests, result } = simulate(CONVERSATION, { ...SMALL, keepRequests: true });
    if (requests === null) throw new Error("requests were to be kept");
    const lines = [...requestLines(requests)].join("").trimEnd().split("\n");
    expect(lines).toHaveLength(401);
    const fields = lines[0]?.split(",") ?? [];
    const rows = lines.slice(1).map((line) => line.split(",").map(Number));
    const column = (name: string): number[] => rows.map((row) => row[fields.indexOf(name)] ?? Number.NaN);
    expect(column("request")).toEqual(rows.map((_, i) => i));
    const total = (name: string): number => column(name).reduce((sum, value) => sum + value, 0);
    expect(total("hit_blocks")).toBe(result.totals.hitBlocks);
    expect(total("input_tokens")).toBe(result.totals.promptTokens);
    expect(total("first_token_s")).toBeCloseTo(result.firstToken.sumSeconds, 2);
  });

  it("G1: logs decisions with all that they were made by: another policy that is given it ranks alike", () => {
    const { decisions } = simulate(CONVERSATION, { ...SMALL, policy: "kvsync", keepDecisions: true });
    const [fleet, ...lines] = (decisions ?? []).map((line) => JSON.parse(line) as LogLine);
    const engines = fleet?.engines ?? [];
    const book = new LoadBook(engines);
    const policy = new KvsyncPolicy(engines.length);
    for (const [position, { capacityTokens }] of engines.entries()) policy.join(position, capacityTokens);
    let count = 0;
    for (const line of lines) {
      const { kind, id, seconds, promptTokens, keys, keyWords, keyTokens, matches } = line;
      if (kind === "first_token") book.firstToken(id);
      else if (kind === "over") book.end(id);
      else {
        book.clearMatches();
        for (const [position, { tokens, slowTokens, trust }] of matches.entries())
          Object.assign(book.views[position] ?? {}, {
            matchedTokens: tokens,
            matchedSlowTokens: slowTokens,
            trust,
          });
        const routing = { promptTokens, keyWords, keyTokens, keys: Uint32Array.from(keys) };
        const into = new Uint32Array(engines.length);
        policy.rank({ ...routing, sessionId: null, sharedLaterTokens: 0 }, book.views, seconds, into);
        expect([...into]).toEqual(line.ranking);
        policy.book(into[0] ?? 0, seconds);
        book.send(id, into[0] ?? 0, promptTokens);
        count += 1;
      }
    }
    expect(count).toBe(400);
    const wrong = { ...SMALL, keepDecisions: true, policy: "random" } as const;
    expect(() => simulate(CONVERSATION, wrong)).toThrow(/keepDecisions/);
  });

  it("counts a request that is longer than an engine's memory as refused, and goes on (V3)", () => {
    const { result, requests } = simulate(CONVERSATION, { ...SMALL, blockCount: 100, keepRequests: true });
    expect(result.totals.refused).toBeGreaterThan(10);
    expect(result.totals.completed + result.totals.refused).toBe(400);
    expect([...(requests?.firstTokenSeconds ?? [])].filter((seconds) => seconds === -1)).toHaveLength(
      result.totals.refused,
    );
  });

  it("routes again what a restarted engine lost, and its index follows (V3, X1)", () => {
    const run = (changes: Partial<SimulationSettings>): Simulation => {
      const simulation = new Simulation(CONVERSATION, { ...SMALL, ...changes });
      simulation.runUntil(200);
      simulation.restartEngine(1);
      simulation.runToEnd();
      return simulation;
    };
    const direct = run({ eventDelaySeconds: 0.05 });
    expect(direct.result().totals).toMatchObject({ requests: 400, completed: 400 });
    const wire = run({ eventDelaySeconds: 0.05, eventPath: "wire" });
    expect(wire.result().totals).toMatchObject({ requests: 400, completed: 400 });
    expect(wire.wire?.syncOf(1).counters.restarts).toBe(1);
    expect(wire.wire?.trustOf(1)).toBe("exact");
  });

  it("lets events happen in order of time: messages before arrivals, and these before ends of steps (V1)", () => {
    const requests = [...CONVERSATION.requests()];
    // Arrivals of one second come together, so that events of one time are the rule.
    const together = requests.map((request) => ({
      ...request,
      arrivalMs: 1000 * Math.floor(request.arrivalMs / 1000),
    }));
    const simulation = new Simulation(
      { ...CONVERSATION, requests: () => together },
      { ...SMALL, eventDelaySeconds: 0.5, pickerCount: 2, pickerNews: "scraping" },
    );
    const order = ["network", "scrape", "arrival", "step"];
    let ties = 0;
    let before = { at: 0, kind: 0 };
    while (simulation.hasWork) {
      simulation.next();
      const event = { at: simulation.nowSeconds, kind: order.indexOf(simulation.lastEvent) };
      expect(event.at).toBeGreaterThanOrEqual(before.at);
      if (event.at === before.at) {
        ties++;
        expect(event.kind).toBeGreaterThanOrEqual(before.kind);
      }
      before = event;
    }
    expect(ties).toBeGreaterThan(100);
    simulation.close();
  });

  it("publishes what a step changes when it ends; the engine holds it from the beginning of the step (V2)", () => {
    const simulation = new Simulation(CONVERSATION, { ...SMALL, engineCount: 1, eventDelaySeconds: 0 });
    const held = (): number => {
      let copies = 0;
      simulation.forEachHeld(0, () => copies++);
      return copies;
    };
    const indexed = (): number => simulation.index.dump(0, new Uint32Array(8_000)).rows;
    while (held() === 0) simulation.next();
    const begun = simulation.nowSeconds;
    const first = held();
    expect([simulation.lastEvent, indexed()]).toEqual(["step", 0]);
    while (indexed() === 0) simulation.next();
    expect(simulation.nowSeconds).toBeGreaterThan(begun);
    expect(indexed()).toBe(first);
    simulation.close();
  });

  it("is described by a table with a line per policy", () => {
    const lines = simulationTable([simulate(CONVERSATION, SMALL).result]).split("\n");
    expect(lines[0]).toMatch(/^400 requests, test; 4 × llama-3.1-8b\/1xh100 with 1,100 blocks of 64 tokens/);
    expect(lines.at(-1)).toMatch(/^kvsync +\d+\.\d %/);
  });
});

describe("the settings of a run", () => {
  it.each<[Partial<SimulationSettings>, string]>([
    [{ engineCount: 0 }, "engineCount is 0; expected a whole number from 1 to 16384"],
    [{ blockSize: 48 }, "blockSize is 48; expected a divisor of the workload's blocks of 512 tokens"],
    [{ blockSize: 4 }, "blockSize is 4; expected a whole number from 8 to 512"],
    [{ eventLoss: 1.5 }, "eventLoss is 1.5; expected a share from 0 to 1"],
    [{ eventDelaySeconds: -1 }, "eventDelaySeconds is -1; expected seconds from 0 to 3600"],
    [{ eventLoss: 0.1, eventPath: "direct" }, "eventPath is direct; expected wire"],
    [
      { engineCount: 4097, eventPath: "wire" },
      "engineCount is 4097; expected at most 4096 with the event path wire",
    ],
  ])("are refused by name: %o", (changes, message) => {
    const settings = { ...SMALL, ...changes };
    expect(() => simulate(CONVERSATION, settings)).toThrow(SimulationError);
    expect(() => simulate(CONVERSATION, settings)).toThrow(message);
  });
});
