/** The board's state for a rank whose worker has stopped; the clock is a number. */
import { encodeReplayEnd, EventBatchDecoder, PrefixIndex, type Trust, WorkerSync } from "@kvsync/core";
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

function streamOf(): WorkerSync {
  const index = PrefixIndex.create();
  return new WorkerSync(
    { rankSlot: 3, model: "m", dpRank: 0, hasReplay: false },
    { index, decoder: new EventBatchDecoder(index.scratch) },
  );
}

test("B1: a writer changes its own header and the row it is given, and no other cell", () => {
  const memory = createBoardMemory();
  const board = new BoardReader(memory, () => 1000);
  const other = new BoardWriter(memory, 1, () => 1000);
  const sync = streamOf();
  other.position(2, sync, true);
  other.position(4, sync, true);
  const others = () => [board.report(2), board.report(4), board.worker(1), board.worker(2), board.report(5)];
  const before = others();
  const writer = new BoardWriter(memory, 0, () => 2000);
  sync.connected(0);
  writer.position(3, sync, true);
  writer.counters(3, sync.counters, new Float64Array(QUEUE_DROP_REASONS.length).fill(2));
  const unused = { depthReplay: 0, bytesLive: 0, bytesReplay: 0, backpressure: 0 };
  writer.header({ ...unused, appliedMessages: 7, depthLive: 1, utilization: 1 });
  writer.at(3, { sequenceNumber: 1, timestampSeconds: 2, bytes: 3 });
  expect(board.report(3)).toMatchObject({ trust: "partial", connected: true });
  expect(others()).toEqual(before);
  writer.clear(3);
  expect(others()).toEqual(before);
});

test("B5: whichever cells of a row are written already, trust and reason are of one moment", () => {
  const memory = createBoardMemory();
  const cells = new Float64Array(memory);
  const writer = new BoardWriter(memory, 0, () => 1000);
  const board = new BoardReader(memory, () => 1000);
  const sync = streamOf();
  writer.position(3, sync, false);
  const before = { cells: cells.slice(), trust: board.trust(3) };
  sync.connected(0);
  writer.position(3, sync, true);
  const after = { cells: cells.slice(), trust: board.trust(3) };
  expect(after.trust).not.toEqual(before.trust);
  const changed = [...cells.keys()].filter((i) => !Object.is(before.cells[i], after.cells[i]));
  expect(changed.length).toBeGreaterThan(1);
  for (let written = 0; written < 2 ** changed.length; written += 1) {
    changed.forEach((cell, bit) => {
      cells[cell] = ((written >> bit) & 1 ? after : before).cells[cell] ?? 0;
    });
    expect([before.trust, after.trust]).toContainEqual(board.trust(3));
  }
});

test("B6: the latest time of exactness is there with its begin and end, also a short one and behind other reasons", () => {
  const memory = createBoardMemory();
  const writer = new BoardWriter(memory, 0, () => 1000);
  const board = new BoardReader(memory, () => 1000);
  const index = PrefixIndex.create();
  const sync = new WorkerSync(
    { rankSlot: 3, model: "m", dpRank: 0, hasReplay: true },
    { index, decoder: new EventBatchDecoder(index.scratch) },
  );
  const show = () => {
    writer.position(3, sync, true);
    return board.status(3).lastExact;
  };
  const connect = (nowMs: number): void => {
    sync.connected(nowMs);
    for (let action = sync.takeAction(); action !== null; action = sync.takeAction()) {
      show();
      const end = encodeReplayEnd(new Uint8Array(), "plain").slice(1);
      if (action.kind === "request_replay") sync.replayMessage(action.attempt, end, nowMs);
    }
  };
  expect(show()).toBeNull();
  connect(100);
  expect(show()).toEqual({ sinceMs: 100, untilMs: null });
  sync.disconnected(250);
  expect(show()).toEqual({ sinceMs: 100, untilMs: 250 });
  sync.connected(300);
  expect(show()).toEqual({ sinceMs: 100, untilMs: 250 });
  connect(400);
  expect(show()).toEqual({ sinceMs: 400, untilMs: null });
  writer.clear(3);
  expect(board.status(3).lastExact).toBeNull();
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
