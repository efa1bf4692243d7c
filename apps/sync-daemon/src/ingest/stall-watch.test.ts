/** The watch over workers that stop, on a board of its own; the clock is a number. */
import { expect, test } from "vitest";

import { StallWatch } from "./stall-watch.ts";
import { BoardReader, BoardWriter, createBoardMemory, HEARTBEAT_STALE_MS } from "../board/stream-board.ts";

function setUp(limitMs = 30_000) {
  const memory = createBoardMemory();
  const clock = { nowMs: 5000 };
  const now = (): number => clock.nowMs;
  const workers = [0, 1].map((number) => new BoardWriter(memory, number, now));
  const board = new BoardReader(memory, now);
  const events: string[] = [];
  const watch = new StallWatch(board, limitMs, {
    lost: (worker, silentMs) => events.push(`lost ${worker} after ${silentMs}`),
    told: (news, worker) => events.push(`${news} ${worker}`),
  });
  /** Lets time pass in which these workers beat and the watch looks. */
  const pass = (ms: number, beating: readonly number[]): void => {
    for (let passed = 0; passed < ms; passed += 250) {
      clock.nowMs += 250;
      for (const worker of beating) workers[worker]?.beat();
      watch.look();
    }
  };
  return { board, clock, events, pass, watch };
}

test("a worker that stops is reported once, one that comes back likewise, and the other is left alone", () => {
  const { board, events, pass } = setUp();
  pass(10_000, [0, 1]);
  expect(events).toEqual([]);
  pass(HEARTBEAT_STALE_MS, [0]);
  expect([events, board.stalledWorkers()]).toEqual([[], []]);
  pass(5000, [0]);
  expect([events, board.stalledWorkers()]).toEqual([["stalled 1"], [1]]);
  pass(500, [0, 1]);
  expect(events).toEqual(["stalled 1", "resumed 1"]);
  expect(board.stalledWorkers()).toEqual([]);
});

test("a worker that does not come back is given up once, when the limit is reached", () => {
  const { events, pass } = setUp(10_000);
  pass(500, [0, 1]);
  pass(9750, [1]);
  expect(events).toEqual(["stalled 0"]);
  pass(60_000, [1]);
  expect(events).toEqual(["stalled 0", "lost 0 after 10000"]);
});

test("W1: time in which the whole process stood still counts for nobody", () => {
  const { clock, events, pass, watch } = setUp(10_000);
  pass(500, [0, 1]);
  clock.nowMs += 3_600_000;
  watch.look();
  expect(events).toEqual([]);
  pass(500, [0, 1]);
  expect(events).toEqual([]);
});
