import { describe, expect, it } from "vitest";

import { workloadFlaw, type WorkloadRequest } from "./workload.ts";

const SOUND: WorkloadRequest = { arrivalMs: 5, inputTokens: 20, outputTokens: 30, hashIds: [1, 2] };

function flawOf(...requests: readonly WorkloadRequest[]): string | null {
  return workloadFlaw({
    name: "test",
    requestCount: requests.length,
    blockTokens: 16,
    requests: () => requests,
  });
}

describe("the check of a workload", () => {
  it("passes a prompt, a longer one of the same chain, and an answer that others go on from", () => {
    const answered = { ...SOUND, answerIds: [3, 4] };
    const next = { arrivalMs: 9, inputTokens: 64, outputTokens: 1, hashIds: [1, 2, 3, 4], sessionId: 7 };
    expect(flawOf(SOUND, answered, next)).toBeNull();
  });

  it("names the request and the rule that it breaks", () => {
    expect(flawOf(SOUND, { ...SOUND, arrivalMs: 4 })).toMatch(/^request 1: .*W1/);
    expect(flawOf({ ...SOUND, inputTokens: 33 })).toMatch(/^request 0: 2 ids for 3 blocks \(W2\)/);
    expect(flawOf({ ...SOUND, answerIds: [3] })).toMatch(/2 \+ 1 ids for 4 blocks \(W3\)/);
    expect(flawOf(SOUND, { ...SOUND, hashIds: [3, 2] })).toMatch(/id 2 follows 3 and 1 \(W2\)/);
    expect(flawOf({ ...SOUND, hashIds: [1, -2] })).toMatch(/id -2 is no u32/);
    expect(flawOf({ ...SOUND, outputTokens: 0 })).toMatch(/lengths 20 and 0/);
  });

  it("counts the requests and looks at the block's size", () => {
    const empty = { name: "test", requestCount: 1, blockTokens: 16, requests: () => [] };
    expect(workloadFlaw(empty)).toBe("0 requests, not the 1 that it declares");
    expect(workloadFlaw({ ...empty, blockTokens: 24 })).toMatch(/24, not a power of two/);
  });
});
