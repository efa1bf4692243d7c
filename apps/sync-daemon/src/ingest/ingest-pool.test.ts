/** Moves of streams between workers that answer as the test sets. Numbers are those of ingest-pool.ts. */
import { createSyncCounters, RankHomes } from "@kvsync/core";
import { MetricSlots } from "@kvsync/observability/slots";
import { STREAM_METRICS } from "@kvsync/observability/kvsync/stream";
import { afterEach, expect, test, vi } from "vitest";

import { QUEUE_DROP_REASONS } from "../board/drop-reasons.ts";
import { BoardReader, BoardWriter, createBoardMemory } from "../board/stream-board.ts";
import type { FollowedRank } from "../engine/followed-rank.ts";
import type { WriteEvent } from "../log/log-line.ts";
import { IngestPool } from "./ingest-pool.ts";
import type { SetAsideMessages } from "./set-aside.ts";
import type { IngestSettings } from "./thread-messages.ts";

afterEach(() => {
  vi.useRealTimers();
});

/** A worker that releases whatever it is asked for, takes in nothing or all, and tells by lines what it was told. */
function script(fits: boolean): URL {
  const source = `import { parentPort } from "node:worker_threads";
    parentPort.postMessage({ kind: "ready", index: null, restored: null });
    const moved = { position: { of: "released" }, parked: [], rows: { pages: [] } };
    parentPort.on("message", ({ kind, rankSlot, rank }) => {
      if (kind === "stop") parentPort.close();
      const line = { code: kind, rankSlot: rankSlot ?? rank?.rankSlot, resumeFrom: rank?.resumeFrom ?? null };
      parentPort.postMessage({ kind: "log", line });
      if (kind === "release") parentPort.postMessage({ kind: "released", rankSlot, moved });
      if (kind === "adopt") parentPort.postMessage({ kind: "adopted", rankSlot: rank.rankSlot, fits: ${String(fits)} });
      if (kind === "forget") parentPort.postMessage({ kind: "forgotten", rankSlot });
    });`;
  return new URL(`data:text/javascript,${encodeURIComponent(source)}`);
}

interface Told {
  readonly code: string;
  readonly rankSlot: number;
  readonly resumeFrom: object | null;
}

/** Four ranks, of which the first worker's two keep it busy, until a line is logged. */
async function moveOne(
  fits: boolean,
): Promise<{ readonly events: string[]; readonly told: readonly Told[] }> {
  vi.useFakeTimers({ toFake: ["setInterval", "clearInterval"] });
  const memory = createBoardMemory();
  const events: string[] = [];
  const told: Told[] = [];
  const homes = RankHomes.create().memory;
  const settings = [0, 1].map((n) => ({ worker: `ingest-${n}`, homes }) as IngestSettings);
  const pool = await IngestPool.start(settings, {
    script: script(fits),
    board: new BoardReader(memory),
    metrics: new MetricSlots(Object.values(STREAM_METRICS), "main", () => undefined),
    announce: () => undefined,
    log: ((code: string) => {
      events.push(code);
    }) as WriteEvent,
    threadLine: (line) => told.push(line as unknown as Told),
    span: () => undefined,
    died: (error) => events.push(error.message),
    stalled: () => undefined,
    stallMs: 1e9,
    setAside: { of: () => [] } as unknown as SetAsideMessages,
  });
  for (const rankSlot of [0, 1, 2, 3])
    pool.follow({
      rankSlot,
      workerId: `w${rankSlot}`,
      model: "m",
      dpRank: 0,
      resumeFrom: null,
    } as FollowedRank);
  const [busy, idle] = [new BoardWriter(memory, 0), new BoardWriter(memory, 1)];
  const unused = {
    appliedMessages: 0,
    depthLive: 0,
    depthReplay: 0,
    bytesLive: 0,
    bytesReplay: 0,
    backpressure: 0,
  };
  busy.header({ ...unused, utilization: 0.9 });
  idle.header({ ...unused, utilization: 0.1 });
  for (const messagesApplied of [10, 20, 30]) {
    const counters = { ...createSyncCounters(), messagesApplied };
    for (const rankSlot of [0, 2])
      busy.counters(rankSlot, counters, new Float64Array(QUEUE_DROP_REASONS.length));
    vi.advanceTimersByTime(1000);
  }
  await vi.waitFor(() => {
    expect(events.length).toBeGreaterThan(0);
  });
  await pool.stop();
  return { events, told };
}

/** What was said of the rank that was released, after it was followed for the first time. */
function ofReleased(told: readonly Told[]): readonly Told[] {
  const slot = told.find(({ code }) => code === "release")?.rankSlot;
  return told.filter(({ rankSlot }) => rankSlot === slot).slice(1);
}

test("a stream that moves is taken in by one worker before the other forgets it (P1, P2)", async () => {
  const { events, told } = await moveOne(true);
  expect(events).toEqual(["stream_moved"]);
  expect(ofReleased(told).map(({ code }) => code)).toEqual(["release", "adopt", "forget"]);
});

test("a stream for which the other worker has no room goes on where it was, and stream_stayed says so (P2)", async () => {
  const { events, told } = await moveOne(false);
  expect(events).toEqual(["stream_stayed"]);
  const said = ofReleased(told);
  expect(said.map(({ code }) => code)).toEqual(["release", "adopt", "follow"]);
  expect(said[2]?.resumeFrom).toEqual({ of: "released" });
});
