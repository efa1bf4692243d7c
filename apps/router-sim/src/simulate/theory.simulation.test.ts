/**
 * The simulator against what must be true of any that is right.
 *
 *  T1  One engine that takes one request at a time, with equal requests and Poisson arrivals, is an
 *      M/D/1 queue. Its mean wait is
 *      ρ S / (2 (1 − ρ)) (Pollaczek–Khinchine).
 *  T2  One engine with memory for everything hits what a cache without limit hits, block for block.
 *  T3  The oracle, which routes for hits alone, is not beaten on hits on nine workloads of usual
 *      size. On random small ones oracle-sweep.simulation.test.ts counts how often it is.
 */
import { COST_MODELS, stepSeconds } from "@kvsync/engine-sim";
import { Prng } from "@kvsync/core";
import { expect, it } from "vitest";

import { POLICY_NAMES } from "../policy/policies.ts";
import { generateWorkload } from "../trace/generator.ts";
import { traceStats } from "../trace/trace-stats.ts";
import type { Workload, WorkloadRequest } from "../workload/workload.ts";
import { openWorkload, parseWorkloadSource } from "../workload/workload-source.ts";
import { latencyMean } from "./latency-histogram.ts";
import { simulate } from "./simulation.ts";
import { hitRate } from "./simulation-result.ts";

const PROMPT_TOKENS = 64;

/** A tenth of a percentage point: a shared beginning computed on one engine more, a turn that comes before the one before ends. */
const HIT_RATE_NOISE = 0.001;

/** Equal requests without reuse, arriving at random at a rate. */
function poisson(requestCount: number, perSecond: number, seed: number): Workload {
  return {
    name: "poisson",
    requestCount,
    blockTokens: PROMPT_TOKENS,
    *requests(): Iterable<WorkloadRequest> {
      const random = new Prng(seed);
      let arrivalMs = 0;
      for (let id = 0; id < requestCount; id++) {
        arrivalMs += (-1_000 * Math.log((random.nextU32() + 1) / 2 ** 32)) / perSecond;
        yield { arrivalMs, inputTokens: PROMPT_TOKENS, outputTokens: 1, hashIds: [id] };
      }
    },
  };
}

it.each([0.3, 0.6, 0.8])(
  "T1: at a load of %f the mean wait is that of an M/D/1 queue, within 4 %%",
  (load) => {
    const service = stepSeconds(COST_MODELS["llama-3.1-8b/1xh100"], {
      tokens: PROMPT_TOKENS,
      pairs: (PROMPT_TOKENS * (PROMPT_TOKENS + 1)) / 2,
      contextTokens: PROMPT_TOKENS,
      loadedTokens: 0,
    });
    const workload = poisson(100_000, load / service, 11);
    const { result } = simulate(workload, {
      seed: 1,
      policy: "round-robin",
      engineCount: 1,
      maxSequences: 1,
      blockSize: PROMPT_TOKENS,
      blockCount: 64,
    });
    const wait = (load * service) / (2 * (1 - load));
    expect(Math.abs(latencyMean(result.queue) / wait - 1)).toBeLessThan(0.04);
    expect(Math.abs(latencyMean(result.firstToken) / (wait + service) - 1)).toBeLessThan(0.04);
    expect(Math.abs((result.engines[0]?.utilisation ?? 0) - load)).toBeLessThan(0.01);
  },
);

it("T2: one engine with memory for everything hits exactly what a cache without limit hits", async () => {
  // One token more than whole blocks, in a block that nobody shares: engines never hit the last token's block.
  const requests = generateWorkload({ requests: 1_500, minutes: 30, scale: 1 }, 3).map((request, index) => ({
    ...request,
    inputTokens: 512 * request.hashIds.length + 1,
    hashIds: [...request.hashIds, 3_000_000_000 + index],
  }));
  const stats = await traceStats(requests);
  const workload = {
    name: "test",
    requestCount: requests.length,
    blockTokens: 512,
    requests: () => requests,
  };
  for (const blockSize of [512, 128]) {
    const { result } = simulate(workload, {
      seed: 1,
      policy: "round-robin",
      engineCount: 1,
      blockSize,
      blockCount: (400_000 * 512) / blockSize / 8,
    });
    expect((result.totals.hitBlocks * blockSize) / 512).toBe(stats.unboundedHitShare * stats.blockReferences);
  }
});

it.each<[string, number, number]>([
  ["conversation,requests=1200,minutes=8", 8, 512],
  ["conversation,requests=600,minutes=4", 2, 512],
  ["chat,requests=700", 4, 64],
  ["agents,requests=300", 3, 256],
  ["documents,requests=500", 8, 256],
  ["documents,requests=300", 2, 256],
  ["shared-prompts,requests=600", 2, 128],
  ["hot-prefix,requests=300", 2, 256],
  ["no-reuse,requests=200", 2, 256],
])("T3: no policy hits more than the oracle: %s on %i engines", async (text, engineCount, blockSize) => {
  const workload = await openWorkload(parseWorkloadSource(text), 1);
  const hits = POLICY_NAMES.map((policy) => {
    const { result } = simulate(workload, { seed: 1, policy, engineCount, blockSize });
    return { policy, hits: hitRate(result.totals) };
  });
  const oracle = hits.find(({ policy }) => policy === "oracle")?.hits ?? 0;
  expect(hits.filter((other) => other.hits > oracle + HIT_RATE_NOISE)).toEqual([]);
});
