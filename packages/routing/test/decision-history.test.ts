/** A history of decisions: the decisions that count, for how long, and for which worker. */
import fc from "fast-check";
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

  it("D3: keeps at most as many records as it may, and the oldest decisions go first", () => {
    const history = new DecisionHistory(3, 1_000, 64, 4);
    for (const first of [1, 3, 5]) send(history, prompt(first, first + 1), 0, first);
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

/** A decision, as a plain list keeps it. */
interface Sent {
  readonly blocks: readonly number[];
  readonly position: number;
  readonly until: number;
}

/** The same by adding everything up each time. */
class NaiveHistory {
  #sent: Sent[] = [];

  get chunkCount(): number {
    return this.#sent.reduce((sum, { blocks }) => sum + blocks.length, 0);
  }

  match(blocks: readonly number[], nowSeconds: number): number[] {
    this.#sent = this.#sent.filter(({ until }) => until > nowSeconds);
    return [0, 1, 2].map((position) => {
      const lengths = this.#sent
        .filter((one) => one.position === position)
        .map((one) => blocks.findIndex((block, i) => block !== one.blocks[i]))
        .map((length) => (length < 0 ? blocks.length : length));
      return 64 * Math.max(0, ...lengths);
    });
  }

  record(blocks: readonly number[], position: number, nowSeconds: number): void {
    while (this.chunkCount + blocks.length > LIMIT)
      this.#sent = this.#sent.filter(({ until }, _, all) => until !== all[0]?.until);
    this.#sent.push({ blocks, position, until: nowSeconds + LIFE });
  }

  leave(position: number): void {
    this.#sent = this.#sent.map((one) => (one.position === position ? { ...one, position: -1 } : one));
  }
}

const LIFE = 10;
const LIMIT = 2000;
const SEED = 20_261_201;

describe("a history of many decisions", () => {
  it("D1 to D4: says at every step what a list of all decisions says", () => {
    const blocks = fc.array(fc.nat(1), { maxLength: 40, size: "max" });
    const step = fc.record({
      seconds: fc.oneof({ weight: 20, arbitrary: fc.constant(0) }, { weight: 1, arbitrary: fc.nat(8) }),
      blocks,
      position: fc.nat(2),
      leaves: fc.nat(20).map((n) => n === 0),
    });
    let most = 0;
    fc.assert(
      fc.property(fc.array(step, { maxLength: 300, size: "max" }), (steps) => {
        const [history, naive] = [new DecisionHistory(3, LIFE, 64, LIMIT), new NaiveHistory()];
        let nowSeconds = 0;
        for (const { seconds, blocks: asked, position, leaves } of steps) {
          nowSeconds += seconds;
          expect(sent(history, prompt(...asked), nowSeconds)).toEqual(naive.match(asked, nowSeconds));
          if (leaves) for (const one of [history, naive]) one.leave(position);
          history.record(position, nowSeconds);
          naive.record(asked, position, nowSeconds);
          expect(history.chunkCount).toBe(naive.chunkCount);
          most = Math.max(most, history.chunkCount);
        }
      }),
      { seed: SEED, numRuns: 100 },
    );
    // More than the room that it begins with, and as much as it may have.
    expect(most).toBeGreaterThan(LIMIT - 40);
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
