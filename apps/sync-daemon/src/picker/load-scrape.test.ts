/** The looks at engines in virtual time, and at simulated engines over HTTP. */
import type { Dialect } from "@kvsync/core";
import { EngineWorker } from "@kvsync/engine-sim";
import fc from "fast-check";
import { afterEach, beforeEach, describe, expect, it, vi } from "vitest";

import { EndpointFleet, type EngineLoad } from "./endpoint-fleet.ts";
import { LoadScrape, type ScrapeOutcome } from "./load-scrape.ts";
import { MetricsPages, type PageFault } from "./metrics-page.ts";

const INTERVAL_MS = 200;
const page = (running: number): Buffer => Buffer.from(`vllm:num_requests_running ${running}\n`);

/** Engines in virtual time: each answers after its delay, or is silent until it is given up. */
class World {
  readonly began: { address: string; atMs: number }[] = [];
  readonly told: [address: string, running: number | "unseen"][] = [];
  readonly outcomes: ScrapeOutcome[] = [];
  readonly answers = new Map<string, { delayMs: number; answer: Buffer | PageFault }>();
  readonly open = new Map<string, number>();
  openMax = 0;
  readonly scrape: LoadScrape;

  constructor(random: () => number = () => 0) {
    this.scrape = new LoadScrape(
      { intervalMs: INTERVAL_MS },
      {
        pages: {
          get: async (address, read) => {
            const answer = await this.#get(address);
            return typeof answer === "string" ? answer : read(answer);
          },
        },
        sink: {
          seen: (address, { running }: EngineLoad) => this.told.push([address, running]),
          unseen: (address) => this.told.push([address, "unseen"]),
        },
        watch: { scraped: (outcome) => this.outcomes.push(outcome) },
        now: () => performance.now(),
        random,
      },
    );
  }

  async #get(address: string): Promise<Buffer | PageFault> {
    this.began.push({ address, atMs: performance.now() });
    this.open.set(address, (this.open.get(address) ?? 0) + 1);
    this.openMax = Math.max(
      this.openMax,
      [...this.open.values()].reduce((sum, count) => sum + count, 0),
    );
    const { delayMs, answer } = this.answers.get(address) ?? { delayMs: 1, answer: page(1) };
    await new Promise((resolve) => setTimeout(resolve, delayMs));
    this.open.set(address, (this.open.get(address) ?? 0) - 1);
    return answer;
  }
}

let world = new World();
beforeEach(() => {
  vi.useFakeTimers();
});
afterEach(() => {
  world.scrape.stop();
  vi.useRealTimers();
});

describe("looks in virtual time", () => {
  it("begin at a random time within the interval, and come every interval", async () => {
    const randoms = [0.25, 0.75];
    world = new World(() => randoms.shift() ?? 0);
    const beganMs = performance.now();
    world.scrape.follow(["a:1", "b:1"]);
    await vi.advanceTimersByTimeAsync(3 * INTERVAL_MS);
    const times = world.began.map(({ address, atMs }) => [address, atMs - beganMs]);
    expect(times).toEqual(
      [50, 250, 450].flatMap((ms) => [
        ["a:1", ms],
        ["b:1", ms + 100],
      ]),
    );
    expect(new Set(world.outcomes)).toEqual(new Set(["ok"]));
  });

  it("L1: are one at a time for an endpoint; times that passed are left out", async () => {
    world = new World();
    world.answers.set("a:1", { delayMs: 2.5 * INTERVAL_MS, answer: page(1) });
    const beganMs = performance.now();
    world.scrape.follow(["a:1"]);
    await vi.advanceTimersByTimeAsync(10 * INTERVAL_MS);
    // A timer that is due at once fires after a millisecond.
    const times = world.began.map(({ atMs }) => 5 * Math.floor((atMs - beganMs) / 5));
    expect(times).toEqual([0, 500, 1000, 1500]);
  });

  it("L2: have one outcome each", async () => {
    world = new World();
    world.scrape.follow(["a:1"]);
    await vi.advanceTimersByTimeAsync(INTERVAL_MS / 2);
    const answers = [page(2), "timeout", "status", Buffer.from("{}"), "cut", page(3)] as const;
    for (const answer of answers) {
      world.answers.set("a:1", { delayMs: 1, answer });
      await vi.advanceTimersByTimeAsync(INTERVAL_MS);
    }
    expect(world.outcomes).toEqual(["ok", "ok", "timeout", "status", "no_names", "cut", "ok"]);
    expect(world.told).toEqual([
      ["a:1", 1],
      ["a:1", 2],
      ["a:1", 3],
    ]);
  });

  it("L3: count for two seconds after the engine said something, and the age shows it", async () => {
    world = new World();
    expect(world.scrape.ageSeconds).toBeNull();
    world.scrape.follow(["a:1", "b:1"]);
    await vi.advanceTimersByTimeAsync(INTERVAL_MS);
    world.answers.set("a:1", { delayMs: 1, answer: "unreachable" });
    await vi.advanceTimersByTimeAsync(1800);
    const ofA = () => world.told.filter(([address]) => address === "a:1");
    expect(ofA().at(-1)).toEqual(["a:1", 1]);
    await vi.advanceTimersByTimeAsync(4000);
    expect(ofA().filter(([, what]) => what === "unseen")).toHaveLength(1);
    expect(world.scrape.ageSeconds).toBeCloseTo(6, 0);
    expect(world.told.filter(([address]) => address === "b:1").map(([, what]) => what)).not.toContain(
      "unseen",
    );
    world.answers.set("a:1", { delayMs: 1, answer: page(4) });
    await vi.advanceTimersByTimeAsync(INTERVAL_MS + 1);
    expect(ofA().at(-1)).toEqual(["a:1", 4]);
    expect(world.scrape.ageSeconds).toBeLessThan(0.3);
  });

  it("L1: never are more than 64, and hanging engines do not keep others from being seen", async () => {
    world = new World(Math.random);
    const addresses = Array.from({ length: 200 }, (_, i) => `e${i}:1`);
    for (const address of addresses.slice(0, 80))
      world.answers.set(address, { delayMs: 2 * INTERVAL_MS, answer: "timeout" });
    world.scrape.follow(addresses);
    await vi.advanceTimersByTimeAsync(5000);
    expect(world.openMax).toBe(64);
    const seen = new Set(world.told.map(([address]) => address));
    expect(addresses.slice(80).every((address) => seen.has(address))).toBe(true);
  });

  it("L1, L3, L4: hold for any fleet that comes and goes while engines answer, fail and hang", async () => {
    const answer = fc.constantFrom<Buffer | PageFault>(
      page(1),
      page(7),
      "timeout",
      "unreachable",
      Buffer.from("x"),
    );
    const step = fc.record({
      members: fc.uniqueArray(fc.nat(5), { maxLength: 6 }),
      answers: fc.array(fc.record({ delayMs: fc.nat(900), answer }), { minLength: 6, maxLength: 6 }),
      forMs: fc.integer({ min: 1, max: 4000 }),
    });
    await fc.assert(
      fc.asyncProperty(fc.array(step, { maxLength: 8 }), async (steps) => {
        world = new World();
        let members: string[] = [];
        for (const { members: next, answers, forMs } of steps) {
          members = next.map((number) => `e${number}:1`);
          for (const [number, one] of answers.entries()) world.answers.set(`e${number}:1`, one);
          world.scrape.follow(members);
          const toldBefore = world.told.length;
          await vi.advanceTimersByTimeAsync(forMs);
          for (const [address] of world.told.slice(toldBefore)) expect(members).toContain(address);
        }
        const unseenTwice = members.some((member) => {
          const news = world.told.filter(([address]) => address === member).map(([, what]) => what);
          return news.some((what, i) => what === "unseen" && news[i - 1] === "unseen");
        });
        expect(unseenTwice).toBe(false);
        const began = world.began.length;
        world.scrape.stop();
        await vi.advanceTimersByTimeAsync(2000);
        expect(world.began.length).toBe(began);
        expect([...world.open.values()].every((count) => count === 0)).toBe(true);
      }),
      { numRuns: 60 },
    );
  });
});

describe("looks at simulated engines", () => {
  it.each<[Dialect, string]>([
    ["vllm-0.26", "/metrics"],
    ["sglang-map", "/metrics"],
    ["trtllm", "/prometheus/metrics"],
  ])("see requests of others and the room of %s", async (dialect, path) => {
    vi.useRealTimers();
    const worker = await EngineWorker.start({
      engine: { id: "e", model: "m", blockSize: 16, blockCount: 1000, dialect, maxSequences: 2 },
      speed: 0.02,
    });
    const url = worker.httpUrls[0] ?? "";
    const address = new URL(url).host;
    const fleet = new EndpointFleet({ capacityTokens: 1, rankHeader: false });
    fleet.update([{ id: "e", model: "m", ranks: [{ dpRank: 0 }], http: [address] }]);
    const pages = new MetricsPages({ port: null, path, timeoutMs: 60_000 });
    const outcomes = new Set<ScrapeOutcome>();
    world = new World();
    const scrape = new LoadScrape(
      { intervalMs: 20 },
      {
        pages,
        sink: fleet,
        watch: { scraped: (outcome) => outcomes.add(outcome) },
        now: () => performance.now(),
        random: Math.random,
      },
    );
    const left = new AbortController();
    try {
      scrape.follow([address]);
      const requests = Array.from({ length: 3 }, async () =>
        fetch(`${url}/v1/completions`, {
          method: "POST",
          headers: { "content-type": "application/json" },
          body: JSON.stringify({ model: "m", prompt: [1, 2, 3], max_tokens: 100 }),
          signal: left.signal,
        }).catch(() => undefined),
      );
      await vi.waitFor(
        () => {
          expect(fleet.loads()).toMatchObject([
            { capacityTokens: 16_000, foreignRunning: 3, running: 3, waiting: 1 },
          ]);
        },
        { timeout: 60_000 },
      );
      left.abort();
      await Promise.all(requests);
      await vi.waitFor(
        () => {
          expect(fleet.loads()).toMatchObject([{ foreignRunning: 0, running: 0, waiting: 0 }]);
        },
        { timeout: 60_000 },
      );
      expect([...outcomes]).toEqual(["ok"]);
    } finally {
      left.abort();
      scrape.stop();
      pages.stop();
      await worker.stop();
    }
  });
});
