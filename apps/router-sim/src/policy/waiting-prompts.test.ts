/** A prompt that waits for its first token counts as held, for as long as it waits. */
import type { RoutingRequest, WorkerView } from "@kvsync/routing";
import { describe, expect, it } from "vitest";

import { WaitingPrompts } from "./waiting-prompts.ts";

const CHUNK_TOKENS = 128;

/** Equal beginnings of `blocks` are equal prefixes; each block has 64 tokens. */
function prompt(...blocks: readonly number[]): RoutingRequest {
  return {
    promptTokens: 64 * blocks.length,
    sessionId: null,
    keys: Uint32Array.from(blocks),
    keyWords: 1,
    keyTokens: 64,
    sharedLaterTokens: 0,
  };
}

function views(...waiting: readonly number[]): WorkerView[] {
  return waiting.map((waitingRequests, position) => ({
    worker: `w${position}`,
    isEligible: true,
    capacityTokens: 100_000,
    runningRequests: waitingRequests,
    waitingRequests,
    pendingPrefillTokens: 0,
    contextTokens: 0,
    matchedTokens: 0,
    matchedSlowTokens: 0,
    surchargeTokens: 0,
    trust: "exact",
  }));
}

function matched(prompts: WaitingPrompts, request: RoutingRequest, ...waiting: readonly number[]): number[] {
  const tokens = new Float64Array(waiting.length);
  prompts.match(request, views(...waiting), tokens);
  return [...tokens];
}

describe("waiting prompts", () => {
  it("give a worker the whole chunks that wait there, from the begin and without a hole (H1)", () => {
    const prompts = new WaitingPrompts(2, CHUNK_TOKENS);
    expect(matched(prompts, prompt(1, 2, 3, 4, 5, 6), 0, 0)).toEqual([0, 0]);
    prompts.record(1);
    expect(matched(prompts, prompt(1, 2, 3, 4, 7, 8), 0, 1)).toEqual([0, 256]);
    expect(matched(prompts, prompt(9, 9, 3, 4, 5, 6), 0, 1)).toEqual([0, 0]);
    expect(matched(prompts, prompt(1), 0, 1)).toEqual([0, 0]);
  });

  it("are forgotten in the order in which they were sent, one by one, as fewer wait (H2)", () => {
    const prompts = new WaitingPrompts(1, CHUNK_TOKENS);
    for (const [waiting, blocks] of [
      [0, [1, 2]],
      [1, [1, 2]],
      [2, [3, 4]],
    ] as const) {
      matched(prompts, prompt(...blocks), waiting);
      prompts.record(0);
    }
    expect(matched(prompts, prompt(1, 2), 3)).toEqual([128]);
    expect(matched(prompts, prompt(1, 2), 2)).toEqual([128]);
    expect(matched(prompts, prompt(1, 2), 1)).toEqual([0]);
    expect(matched(prompts, prompt(3, 4), 1)).toEqual([128]);
    expect(matched(prompts, prompt(3, 4), 0)).toEqual([0]);
  });
});
