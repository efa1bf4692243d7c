/** Happenings between two moments, in words. */
import { expect, test } from "vitest";

import { HAPPENINGS_MAX, happeningsBetween } from "./happenings.ts";
import { BoardFleet } from "./testing/board-fleet.ts";

test("each is told once, in the order of time, with what it is about (N1)", () => {
  const fleet = new BoardFleet();
  const [first, second] = [fleet.add("first"), fleet.add("second")];
  const { history } = fleet.writer;
  history.turned(first, 10, "live", "exact");
  history.turned(first, 20, "replaying", "exact");
  history.turned(first, 30, "replaying", "stale");
  history.gap(first, 30, 41, 1);
  history.restarted(second, 25);
  history.replayEnded(first, 1030, "completed");
  const sources = { registry: fleet.registry, history: fleet.board.history };
  const all = happeningsBetween(sources, 0, 2000);
  expect(all).toEqual([
    { at: 10, kind: "trust", engine: "first", rank: 0, trust: "exact", text: "answers are exact" },
    {
      at: 25,
      kind: "restart",
      engine: "second",
      rank: 0,
      text: "another publisher was found: the engine restarted",
    },
    {
      at: 30,
      kind: "trust",
      engine: "first",
      rank: 0,
      trust: "stale",
      text: "answers are stale, and were exact",
    },
    {
      at: 30,
      kind: "gap",
      engine: "first",
      rank: 0,
      from: 41,
      messages: 1,
      text: "1 message is missing from number 41",
    },
    {
      at: 1030,
      kind: "replay",
      engine: "first",
      rank: 0,
      from: 41,
      messages: 1,
      text: "the replay for 1 missing message ended: completed",
    },
  ]);
  const inPieces = [0, 10, 25, 29, 30, 1029].flatMap((from, i, bounds) =>
    happeningsBetween(sources, from, bounds[i + 1] ?? 2000),
  );
  expect(inPieces).toEqual(all);
  expect(happeningsBetween(sources, 1030, 2000)).toEqual([]);
});

test("a connection that is lost or made again is one happening, with the trust that it changed", () => {
  const fleet = new BoardFleet();
  const slot = fleet.add("first");
  const { history } = fleet.writer;
  history.turned(slot, 10, "live", "exact");
  history.turned(slot, 20, "disconnected", "stale");
  history.turned(slot, 30, "connecting", "stale");
  history.turned(slot, 35, "replaying", "stale");
  history.turned(slot, 40, "live", "exact");
  history.turned(slot, 50, "disconnected", "exact");
  const all = happeningsBetween({ registry: fleet.registry, history: fleet.board.history }, 10, 60);
  expect(all.map(({ at, kind, trust, text }) => [at, kind, trust, text])).toEqual([
    [20, "disconnect", "stale", "the connection was lost; answers are stale, and were exact"],
    [30, "reconnect", undefined, "connected again"],
    [40, "trust", "exact", "answers are exact, and were stale"],
    [50, "disconnect", undefined, "the connection was lost"],
  ]);
});

test("of many the latest are told (N2)", () => {
  const fleet = new BoardFleet();
  const slots = Array.from({ length: 10 }, (_, i) => fleet.add(`engine-${i}`));
  for (const slot of slots)
    for (let i = 0; i < 20; i++) fleet.writer.history.restarted(slot, 1 + slot + 10 * i);
  const told = happeningsBetween({ registry: fleet.registry, history: fleet.board.history }, 0, 1e6);
  expect(told.length).toBe(HAPPENINGS_MAX);
  expect(told.at(-1)?.at).toBe(200);
  expect(told[0]?.at).toBe(151);
});
