/** A history of decisions: the decisions that count, for how long, and for which worker. */
import { describe, expect, it } from "vitest";

import { DecisionHistory, namePrefixes, type RoutingRequest } from "@kvsync/routing";

/** Chunks of one block of 64 tokens, named by numbers. */
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

function sent(history: DecisionHistory, request: RoutingRequest, nowSeconds = 0): number[] {
  const matched = new Float64Array(3);
  history.match(request, matched, nowSeconds);
  return [...matched];
}

function send(history: DecisionHistory, request: RoutingRequest, position: number, nowSeconds = 0): void {
  sent(history, request, nowSeconds);
  history.record(position, nowSeconds);
}

describe("a history of decisions", () => {
  it("D1: credits a worker with the leading chunks that were sent to it without a hole", () => {
    const history = new DecisionHistory(3, 10, 64);
    send(history, prompt(1, 2, 3), 0);
    send(history, prompt(1, 9), 1);
    expect(sent(history, prompt(1, 2, 3, 4))).toEqual([192, 64, 0]);
    expect(sent(history, prompt(7, 2, 3))).toEqual([0, 0, 0]);
  });

  it("D2: lets a prefix live on from the last time that it was sent", () => {
    const history = new DecisionHistory(3, 10, 64);
    send(history, prompt(1, 2), 0, 0);
    send(history, prompt(1), 0, 6);
    expect(sent(history, prompt(1, 2), 9)).toEqual([128, 0, 0]);
    expect(sent(history, prompt(1, 2), 15)).toEqual([64, 0, 0]);
    expect(sent(history, prompt(1, 2), 16)).toEqual([0, 0, 0]);
    expect(history.chunkCount).toBe(0);
  });

  it("D3: keeps at most as many entries as it may, and the oldest go first", () => {
    const history = new DecisionHistory(3, 1_000, 64, 4);
    for (const first of [1, 3, 5]) send(history, prompt(first, first + 1), 0);
    expect(history.chunkCount).toBe(4);
    expect(sent(history, prompt(1, 2))).toEqual([0, 0, 0]);
    expect(sent(history, prompt(5, 6))).toEqual([128, 0, 0]);
  });

  it("D4: does not credit the next worker at a position with what went to the last one", () => {
    const history = new DecisionHistory(3, 10, 64);
    send(history, prompt(1, 2), 0);
    history.leave(0);
    expect(sent(history, prompt(1, 2))).toEqual([0, 0, 0]);
    send(history, prompt(1), 0);
    expect(sent(history, prompt(1, 2))).toEqual([64, 0, 0]);
  });
});

describe("names of prefixes", () => {
  it("are equal for equal beginnings, and differ after the first difference", () => {
    const one = namePrefixes(prompt(1, 2, 3, 4), 64).prefixes;
    const other = namePrefixes(prompt(1, 2, 9, 4), 64).prefixes;
    expect(other.slice(0, 2)).toEqual(one.slice(0, 2));
    expect(other[2]).not.toBe(one[2]);
    expect(other[3]).not.toBe(one[3]);
  });

  it("differ from the first chunk on in which any one word differs, whatever its place in the chunk", () => {
    for (const words of [1, 2, 3, 4, 5, 7, 16]) {
      const request = { ...prompt(...Array.from({ length: 3 * words }, (_, i) => i)), keyWords: words };
      const names = namePrefixes(request, 64).prefixes;
      expect(names).toHaveLength(3);
      for (let i = 0; i < request.keys.length; i++) {
        const other = namePrefixes({ ...request, keys: request.keys.with(i, 999) }, 64).prefixes;
        const chunk = Math.floor(i / words);
        expect(other.map((name, k) => name === names[k])).toEqual([0, 1, 2].map((k) => k < chunk));
      }
    }
  });

  it("are whole numbers below 2⁵³ and differ over 200,000 small prompts", () => {
    const seen = new Set<number>();
    for (let i = 0; i < 200_000; i++) {
      const [name = -1] = namePrefixes(prompt(i), 64).prefixes;
      if (!Number.isSafeInteger(name) || name < 0) expect.fail(`${name} of ${i}`);
      seen.add(name);
    }
    expect(seen.size).toBe(200_000);
  });
});
