import { describe, expect, it } from "vitest";

import { ThreadBoard } from "./thread-board.ts";

function boards(count: number): readonly ThreadBoard[] {
  const memory = ThreadBoard.memory(count);
  return Array.from({ length: count }, (_, thread) => new ThreadBoard(memory, thread));
}

describe("threads of a picker", () => {
  it("T1: serve together: each must take requests, and none may be late or silent", () => {
    const all = boards(3);
    const serving = (nowMs: number): boolean[] => all.map((board) => board.isServing(nowMs));
    for (const board of all) board.beat(1000, 0);
    all[0]?.takesRequests(true);
    all[1]?.takesRequests(true);
    expect(serving(1000)).toEqual([false, false, false]);
    all[2]?.takesRequests(true);
    expect(serving(1000)).toEqual([true, true, true]);
    all[1]?.beat(1100, 1001);
    expect(serving(1100)).toEqual([false, false, false]);
    expect(all[0]?.lagMs).toBe(1001);
    all[1]?.beat(2300, 1000);
    all[0]?.beat(2300, 0);
    // The third has been silent for 1.3 s. It cannot say so of itself, and is at work when it is asked.
    expect(serving(2300)).toEqual([false, false, true]);
    all[2]?.beat(2300, 0);
    expect(serving(2300)).toEqual([true, true, true]);
    expect(all[2]?.beats.map(({ heartbeatMs }) => heartbeatMs)).toEqual([2300, 2300, 2300]);
  });

  it("T2: know what all others use, and nothing of their own", () => {
    const all = boards(3);
    for (const [i, board] of all.entries())
      board.uses({ streams: i + 1, connections: 10 * i, heldBytes: 2 ** (40 + i) });
    expect(all[0]?.others).toEqual({ streams: 5, connections: 30, heldBytes: 2 ** 41 + 2 ** 42 });
    expect(all[2]?.others).toEqual({ streams: 3, connections: 10, heldBytes: 2 ** 40 + 2 ** 41 });
    expect(boards(1)[0]?.others).toEqual({ streams: 0, connections: 0, heldBytes: 0 });
  });
});
