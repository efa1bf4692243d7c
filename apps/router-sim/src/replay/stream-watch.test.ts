import { expect, it } from "vitest";

import type { EngineStatus } from "../daemon/daemon-client.ts";
import { describeLaggards, laggards } from "./stream-watch.ts";

function status(
  id: string,
  applied: number | null,
  trust: "exact" | "partial" | "stale" | "unknown",
  historyFrom: number | null = 0,
): EngineStatus {
  return {
    id,
    ranks: [
      {
        dp_rank: 0,
        rank_slot: 0,
        state: "live",
        trust,
        last_sequence_number: applied,
        history_from_sequence_number: historyFrom,
        gaps: 0,
        missed_messages: 0,
        replays: { requested: 0, completed: 0, failed: 0 },
        restarts: 0,
        duplicates: 0,
        faults: {},
        dropped: {},
      },
    ],
  };
}

function at(
  publishedSequenceNumber: number,
): { worker: string; publishedSequenceNumber: number; requestCount: number }[] {
  return [{ worker: "a", publishedSequenceNumber, requestCount: 0 }];
}

it("a stream lags until what was asked for has been applied", () => {
  expect(laggards(at(5), at(9), [status("a", 4, "exact")])).toHaveLength(1);
  expect(laggards(at(5), at(9), [status("a", 5, "exact")])).toEqual([]);
  expect(laggards(at(5), at(9), [status("a", 9, "exact")])).toEqual([]);
});

it("a number from the engine's former life is not being caught up", () => {
  expect(laggards(at(3), at(4), [status("a", 700, "exact")])).toHaveLength(1);
});

it("a target from the engine's former life is not waited for", () => {
  expect(laggards(at(700), at(4), [status("a", 4, "exact")])).toEqual([]);
});

it("a stream on which nothing was published is caught up when nothing was applied", () => {
  expect(laggards(at(-1), at(-1), [status("a", null, "exact", null)])).toEqual([]);
  expect(laggards(at(-1), at(-1), [status("a", 8, "exact", null)])).toHaveLength(1);
});

it("a stream lags while it is not trusted; partial needs a history that begins late", () => {
  expect(laggards(at(5), at(5), [status("a", 5, "stale")])).toHaveLength(1);
  expect(laggards(at(5), at(5), [status("a", 5, "unknown")])).toHaveLength(1);
  expect(laggards(at(5), at(5), [status("a", 5, "partial", 0)])).toHaveLength(1);
  expect(laggards(at(5), at(5), [status("a", 5, "partial", 3)])).toEqual([]);
});

it("where a live stream is enough, trust is not waited for, but what was published is", () => {
  expect(laggards(at(5), at(5), [status("a", 5, "stale")], "live")).toEqual([]);
  expect(laggards(at(5), at(5), [status("a", 4, "stale")], "live")).toHaveLength(1);
  const [{ ranks, id }] = [status("a", 5, "exact")] as const;
  const replaying = { id, ranks: ranks.map((rank) => ({ ...rank, state: "replaying" })) };
  expect(laggards(at(5), at(5), [replaying], "live")).toHaveLength(1);
});

it("a stream that the daemon does not know lags, and is said to be absent", () => {
  const [missing] = laggards(at(5), at(5), []);
  expect(missing).toMatchObject({ worker: "a", state: "absent" });
  expect(describeLaggards([missing!, missing!, missing!, missing!])).toContain("and 1 more");
});
