/** The history of ranks: order, limits, ends of gaps, and reads during writes. */
import { expect, test } from "vitest";

import {
  INCIDENTS_MAX,
  RANK_HISTORY_BYTES,
  RankHistoryReader,
  RankHistoryWriter,
  TURNS_MAX,
} from "./rank-history.ts";

function history(): {
  readonly cells: Float64Array;
  readonly writer: RankHistoryWriter;
  readonly reader: RankHistoryReader;
} {
  const cells = new Float64Array(new SharedArrayBuffer(RANK_HISTORY_BYTES));
  return { cells, writer: new RankHistoryWriter(cells), reader: new RankHistoryReader(cells) };
}

test("the latest changes are there, oldest first, however many there were (H1)", () => {
  const { writer, reader } = history();
  expect(reader.turns(7)).toEqual([]);
  writer.turned(7, 100, "live", "exact");
  writer.turned(7, 100, "live", "stale");
  expect(reader.turns(7)).toEqual([
    { atMs: 100, state: "live", trust: "exact" },
    { atMs: 100, state: "live", trust: "stale" },
  ]);
  for (let i = 0; i < 2 * TURNS_MAX; i++) writer.turned(7, 1000 + i, "replaying", "unknown");
  const turns = reader.turns(7);
  // One place is the one that may be written at this moment (H2).
  expect(turns.length).toBe(TURNS_MAX - 1);
  expect(turns.map(({ atMs }) => atMs)).toEqual(
    Array.from({ length: TURNS_MAX - 1 }, (_, i) => 1000 + TURNS_MAX + 1 + i),
  );
  expect(reader.turns(6)).toEqual([]);
  expect(reader.turns(8)).toEqual([]);
});

test("a gap is open until a replay ends, and a later end does not change it", () => {
  const { writer, reader } = history();
  writer.gap(3, 1000, 40, 12);
  expect(reader.incidents(3)).toEqual([
    { kind: "gap", atMs: 1000, from: 40, messages: 12, outcome: null, seconds: null },
  ]);
  writer.restarted(3, 1500);
  writer.replayEnded(3, 3500, "completed");
  writer.gap(3, 4000, 2 ** 50, 2 ** 40);
  writer.replayEnded(3, 4000, "failed");
  expect(reader.incidents(3)).toEqual([
    { kind: "gap", atMs: 1000, from: 40, messages: 12, outcome: "completed", seconds: 2.5 },
    { kind: "restart", atMs: 1500 },
    { kind: "gap", atMs: 4000, from: 2 ** 50, messages: 2 ** 40, outcome: "failed", seconds: 0 },
  ]);
  for (let i = 0; i < INCIDENTS_MAX; i++) writer.restarted(3, 5000);
  expect(reader.incidents(3).every(({ kind }) => kind === "restart")).toBe(true);
});

test("a slot that is cleared has nothing of its former rank, and counts from the start (H3)", () => {
  const { cells, writer, reader } = history();
  writer.turned(1, 100, "live", "exact");
  writer.gap(2, 100, 1, 1);
  expect([reader.recorded(1), reader.recorded(2)]).toEqual([1, 1]);
  writer.clear(1);
  writer.clear(2);
  expect([reader.recorded(1), reader.recorded(2)]).toEqual([0, 0]);
  expect(cells.every((cell) => cell === 0)).toBe(true);
});

test("what is written between the first and the last read of a list is not in it half (H2)", () => {
  const { cells, writer } = history();
  for (let i = 0; i < TURNS_MAX; i++) writer.turned(0, i, "live", "exact");
  let reads = 0;
  // The writer goes on three entries while the reader is at its tenth cell.
  const watched = new Proxy(cells, {
    get: (target, key) => {
      reads += 1;
      if (reads === 10) for (let i = 0; i < 3; i++) writer.turned(0, 1000 + i, "live", "stale");
      return Reflect.get(target, key, target) as unknown;
    },
  });
  const turns = new RankHistoryReader(watched).turns(0);
  expect(turns.every(({ trust }) => trust === "exact")).toBe(true);
  expect(turns.map(({ atMs }) => atMs)).toEqual(Array.from({ length: TURNS_MAX - 4 }, (_, i) => i + 4));
});
