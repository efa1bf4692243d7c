import fc from "fast-check";
import { describe, expect, it } from "vitest";

import { TraceError } from "../trace/request.ts";
import { traceStats } from "../trace/trace-stats.ts";
import { NO_FACTORS, withFactors, type WorkloadFactors } from "./workload-factor.ts";
import { openWorkload, parseWorkloadSource } from "./workload-source.ts";
import { type Workload, workloadFlaw, type WorkloadRequest } from "./workload.ts";

async function opened(text: string): Promise<Workload> {
  return await openWorkload(parseWorkloadSource(text), 1);
}

async function hitShare(workload: Workload): Promise<number> {
  return (await traceStats(workload.requests())).unboundedHitShare;
}

describe("factors on a workload", () => {
  it("keep its rules in every combination, for sessions with answers and for recorded prompts", async () => {
    const bases = [await opened("agents,requests=300"), await opened("conversation,requests=200,minutes=2")];
    const factors = fc.record<WorkloadFactors>({
      speedup: fc.constantFrom(0.5, 1, 7),
      jitter: fc.constantFrom(0, 0.5, 40),
      duplicate: fc.constantFrom(1, 2, 3),
      length: fc.constantFrom(1 / 16, 0.25, 1, 4),
      lora: fc.constantFrom(0, 1, 5),
    });
    fc.assert(
      fc.property(fc.constantFrom(...bases), factors, (base, chosen) => {
        const changed = withFactors(base, chosen, 1);
        expect(workloadFlaw(changed)).toBeNull();
        expect(changed.requestCount).toBe(base.requestCount * chosen.duplicate);
      }),
      { numRuns: 60 },
    );
  });

  it("keep a prompt of one token and an answer of one within the rules when lengths shrink", () => {
    const shortest = fc.record({
      inputTokens: fc.integer({ min: 1, max: 600 }),
      outputTokens: fc.integer({ min: 1, max: 40 }),
      answered: fc.boolean(),
    });
    fc.assert(
      fc.property(shortest, fc.constantFrom(1 / 16, 1 / 8, 0.5), (lengths, length) => {
        const { inputTokens, outputTokens, answered } = lengths;
        const blocks = Math.ceil(inputTokens / 256);
        const answerBlocks = Math.ceil((inputTokens + outputTokens) / 256) - blocks;
        const request: WorkloadRequest = {
          arrivalMs: 0,
          inputTokens,
          outputTokens,
          hashIds: Array.from({ length: blocks }, (_, i) => i),
          ...(answered ? { answerIds: Array.from({ length: answerBlocks }, (_, i) => blocks + i) } : {}),
        };
        const base = { name: "one", requestCount: 1, blockTokens: 256, requests: () => [request] };
        expect(workloadFlaw(withFactors(base, { ...NO_FACTORS, length }, 1))).toBeNull();
      }),
      { numRuns: 500 },
    );
  });

  it("duplicate multiplies requests and distinct blocks and leaves the share of reuse as it was", async () => {
    const [single, triple] = [
      await opened("chat,requests=2000"),
      await opened("chat,requests=2000,duplicate=3"),
    ];
    const [one, three] = [await traceStats(single.requests()), await traceStats(triple.requests())];
    expect(three.distinctBlocks).toBe(3 * one.distinctBlocks);
    expect(three.unboundedHitShare).toBeCloseTo(one.unboundedHitShare, 12);
    expect(new Set([...triple.requests()].map(({ sessionId }) => sessionId)).size).toBe(
      3 * new Set([...single.requests()].map(({ sessionId }) => sessionId)).size,
    );
  });

  it("length multiplies lengths and nothing else; speedup divides times and nothing else", async () => {
    const plain = await opened("chat,requests=500");
    const long = await opened("chat,requests=500,length=4");
    const longer = [...long.requests()];
    const faster = [...(await opened("chat,requests=500,speedup=4")).requests()];
    expect(long.blockTokens).toBe(4 * plain.blockTokens);
    [...plain.requests()].forEach((request, i) => {
      expect(longer[i]).toEqual({
        ...request,
        inputTokens: 4 * request.inputTokens,
        outputTokens: 4 * request.outputTokens,
      });
      expect(faster[i]).toEqual({ ...request, arrivalMs: request.arrivalMs / 4 });
    });
  });

  it("jitter moves every arrival by less than it says, by half of it on average, and drops nothing", async () => {
    const plain = [...(await opened("conversation,requests=4000,minutes=20")).requests()];
    const moved = [...(await opened("conversation,requests=4000,minutes=20,jitter=3")).requests()];
    const keyOf = ({ hashIds, inputTokens, outputTokens }: WorkloadRequest): string =>
      `${hashIds.at(-1) ?? ""} ${inputTokens} ${outputTokens}`;
    const before = new Map(plain.map((request) => [keyOf(request), request.arrivalMs]));
    const moves = moved.map((request) => request.arrivalMs - (before.get(keyOf(request)) ?? Number.NaN));
    expect(moves).toHaveLength(plain.length);
    expect(Math.min(...moves)).toBeGreaterThanOrEqual(0);
    expect(Math.max(...moves)).toBeLessThan(3_000);
    expect(Math.abs(moves.reduce((sum, move) => sum + move, 0) / moves.length - 1_500)).toBeLessThan(50);
    const other = openWorkload(parseWorkloadSource("conversation,requests=9,minutes=20,jitter=3"), 2);
    expect([...(await other).requests()]).not.toEqual(moved.slice(0, 9));
  });

  it("lora gives each session one adapter, by Zipf's law, and no block to two adapters", async () => {
    const adapterOfSession = new Map<number, string>();
    const adapterOfId = new Map<number, string>();
    for (const request of (await opened("chat,requests=20000,lora=4")).requests()) {
      const { sessionId = -1, loraName = "", hashIds } = request;
      expect(adapterOfSession.get(sessionId) ?? loraName).toBe(loraName);
      adapterOfSession.set(sessionId, loraName);
      for (const id of hashIds) {
        expect(adapterOfId.get(id) ?? loraName).toBe(loraName);
        adapterOfId.set(id, loraName);
      }
    }
    const harmonic = 1 + 1 / 2 + 1 / 3 + 1 / 4;
    for (const rank of [1, 2, 3, 4]) {
      const sessions = [...adapterOfSession.values()].filter((name) => name === `adapter-${rank}`).length;
      expect(Math.abs(sessions / adapterOfSession.size - 1 / rank / harmonic)).toBeLessThan(0.03);
    }
  });

  it("lora splits what a recorded workload shares, and keeps a conversation under one adapter", async () => {
    const plain = await hitShare(await opened("conversation,requests=3000,minutes=15"));
    const mixed = await hitShare(await opened("conversation,requests=3000,minutes=15,lora=3"));
    expect(mixed).toBeLessThan(plain);
    expect(mixed).toBeGreaterThan(0.97 * plain);
  });

  it("refuse ids that copies would push beyond u32, naming the id and the factor", () => {
    const request = { arrivalMs: 0, inputTokens: 1, outputTokens: 1, hashIds: [3_000_000_000] };
    const base = { name: "one", requestCount: 1, blockTokens: 512, requests: () => [request] };
    const copies = withFactors(base, { ...NO_FACTORS, duplicate: 2 }, 1);
    expect(() => [...copies.requests()]).toThrow(TraceError);
    expect(() => [...copies.requests()]).toThrow(/3000000000 times 2/);
  });
});
