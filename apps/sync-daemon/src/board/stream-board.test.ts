/** The board's state for a rank whose worker has stopped; the clock is a number. */
import { EventBatchDecoder, PrefixIndex, type Trust, WorkerSync } from "@kvsync/core";
import { expect, test } from "vitest";

import { QUEUE_DROP_REASONS } from "./drop-reasons.ts";
import { BoardReader, BoardWriter, createBoardMemory, HEARTBEAT_STALE_MS } from "./stream-board.ts";

test("B3: a row that was cleared says the same as one that was never written", () => {
  const memory = createBoardMemory();
  const writer = new BoardWriter(memory, 0, () => 1000);
  const board = new BoardReader(memory, () => 1000);
  const index = PrefixIndex.create();
  const sync = new WorkerSync(
    { rankSlot: 3, model: "m", dpRank: 0, hasReplay: false },
    { index, decoder: new EventBatchDecoder(index.scratch) },
  );
  sync.connected(0);
  writer.position(3, sync, true);
  writer.counters(
    3,
    { ...sync.counters, messagesApplied: 7 },
    new Float64Array(QUEUE_DROP_REASONS.length).fill(2),
  );
  expect(board.report(3)).toMatchObject({ trust: "partial", counters: { messagesApplied: 7 } });
  writer.clear(3);
  expect(board.report(3)).toEqual(board.report(4));
  expect(board.trust(3)).toEqual({ trust: "unknown", reason: "not_connected" });
});

test("B4: a rank whose worker has stopped is stale where it was exact or partial, and comes back with the next beat", () => {
  const memory = createBoardMemory();
  const clock = { nowMs: 1000 };
  const now = (): number => clock.nowMs;
  const [first, second] = [0, 1].map((number) => new BoardWriter(memory, number, now));
  const board = new BoardReader(memory, now);
  const index = PrefixIndex.create();
  const sync = new WorkerSync(
    { rankSlot: 3, model: "m", dpRank: 0, hasReplay: false },
    { index, decoder: new EventBatchDecoder(index.scratch) },
  );
  const trusts = (): Trust[] => [3, 4, 5].map((slot) => board.trust(slot).trust);
  second?.position(4, sync, true);
  sync.connected(0);
  first?.position(3, sync, true);
  expect(sync.trust).toBe("partial");
  expect(trusts()).toEqual(["partial", "unknown", "unknown"]);
  clock.nowMs += HEARTBEAT_STALE_MS;
  second?.beat();
  expect(trusts()).toEqual(["partial", "unknown", "unknown"]);
  clock.nowMs += 1;
  expect(trusts()).toEqual(["stale", "unknown", "unknown"]);
  expect(board.status(3)).toMatchObject({
    trust: "stale",
    trustReason: "worker_stalled",
    workerStalled: true,
  });
  expect(board.status(4)).toMatchObject({ trust: "unknown", workerStalled: false });
  expect(board.report(3).trust).toBe("stale");
  first?.beat();
  expect(trusts()).toEqual(["partial", "unknown", "unknown"]);
  expect(board.status(3)).toMatchObject({ trust: "partial", workerStalled: false });
});
