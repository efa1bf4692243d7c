/**
 * The lines about streams that stop being exact, from real streams over a real board. The clock is
 * a number.
 */
import { encodeReplayEnd, EventBatchDecoder, PrefixIndex, WorkerSync } from "@kvsync/core";
import { LINE_BOUNDS } from "@kvsync/observability/signals/log-event";
import { Counter } from "@kvsync/observability/slots";
import { expect, test } from "vitest";

import { BoardReader, BoardWriter, createBoardMemory, HEARTBEAT_STALE_MS } from "../board/stream-board.ts";
import { engineEntry } from "../engine/engine-entry.ts";
import { EngineRegistry } from "../engine/engine-registry.ts";
import { LineGate } from "../log/line-gate.ts";
import { LogLevel } from "../log/log-level.ts";
import type { LogLine } from "../log/log-line.ts";
import { recordedLines } from "../log/testing/recorded-log.ts";
import { ExactnessWatch, REPORT_AGAIN_MS } from "./exactness-watch.ts";

const REPLAY_END = encodeReplayEnd(new Uint8Array(), "plain").slice(1);

/** Streams of a fleet, one rank each, whose engines have nothing to replay. */
class Fleet {
  readonly clock = { nowMs: 1_000_000 };
  readonly lines: readonly LogLine[];
  readonly watch: ExactnessWatch;
  readonly registry: EngineRegistry;
  readonly #index = PrefixIndex.create();
  readonly #writer: BoardWriter;
  readonly #streams = new Map<string, { readonly slot: number; readonly sync: WorkerSync }>();

  constructor() {
    const now = (): number => this.clock.nowMs;
    const memory = createBoardMemory();
    this.#writer = new BoardWriter(memory, 0, now);
    const board = new BoardReader(memory, now);
    // As ingest does.
    const forget = (slot: number): Promise<void> => {
      this.#writer.clear(slot);
      return Promise.resolve();
    };
    const follower = { follow: () => undefined, forget, redial: () => undefined };
    this.registry = new EngineRegistry(follower, {
      engines: 4096,
      engineFiles: 4096,
      filesOf: ({ ranks }) => ranks.length,
    });
    const counter = new Counter(new Float64Array(1), 0);
    const dropped = { thread: counter, details: counter, peer: counter };
    const { lines, write } = recordedLines();
    this.lines = lines;
    const log = new LineGate({ thread: "sync", level: LogLevel.create(0), write, dropped, now });
    this.watch = new ExactnessWatch({ registry: this.registry, board, log, now });
  }

  /** Registers an engine; its stream has not been connected. */
  add(id: string): void {
    const port = 1000 + this.#streams.size;
    const entry = { id, model: "m", endpoint: `tcp://h:${port}`, replay_endpoint: `tcp://r:${port}` };
    const { registered } = this.registry.register(engineEntry.parse(entry));
    const slot = registered.ranks[0]?.rankSlot ?? -1;
    const settings = {
      rankSlot: slot,
      model: "m",
      dpRank: 0,
      hasReplay: true,
      startedAtMs: this.clock.nowMs,
    };
    const decoder = new EventBatchDecoder(this.#index.scratch);
    const sync = new WorkerSync(settings, { index: this.#index, decoder });
    this.#streams.set(id, { slot, sync });
    this.#show(id);
  }

  /** Connects, and has the replay end at once: the stream is exact. */
  connect(id: string): void {
    const { sync } = this.#of(id);
    sync.connected(this.clock.nowMs);
    for (let action = sync.takeAction(); action !== null; action = sync.takeAction())
      if (action.kind === "request_replay") sync.replayMessage(action.attempt, REPLAY_END, this.clock.nowMs);
    expect(sync.trust).toBe("exact");
    this.#show(id);
  }

  disconnect(id: string): void {
    const { sync } = this.#of(id);
    sync.disconnected(this.clock.nowMs);
    sync.takeAction();
    this.#show(id);
  }

  /** Looks after so much time, during which the worker is alive. */
  lookAfter(seconds: number): void {
    this.clock.nowMs += 1000 * seconds;
    this.#writer.beat();
    this.watch.look();
  }

  #of(id: string) {
    const stream = this.#streams.get(id);
    if (stream === undefined) throw new Error(`there is no engine ${id}`);
    return stream;
  }

  #show(id: string): void {
    const { slot, sync } = this.#of(id);
    this.#writer.position(slot, sync, sync.state !== "disconnected" && sync.state !== "connecting");
  }
}

test("a stream that stops being exact is told of once with its reason and how long it had been exact, and once when it is again", () => {
  const fleet = new Fleet();
  fleet.add("a");
  fleet.connect("a");
  fleet.lookAfter(0);
  fleet.clock.nowMs += 90_000;
  fleet.disconnect("a");
  fleet.lookAfter(0.25);
  fleet.lookAfter(0.25);
  expect(fleet.lines).toEqual([
    {
      level: "warn",
      component: "health",
      event: "stream_not_exact",
      message: "a stream is no longer exact, and lookups that involve it answer with less trust",
      trace: null,
      facts: {
        pod: "a",
        model: "m",
        dp_rank: 0,
        trust: "stale",
        reason: "disconnected",
        state: "disconnected",
        connected: false,
        exact_seconds: 90,
        losses: 1,
      },
    },
  ]);
  fleet.clock.nowMs += 4500;
  fleet.connect("a");
  fleet.lookAfter(0.25);
  fleet.lookAfter(60);
  expect(fleet.lines.slice(1)).toMatchObject([
    {
      level: "warn",
      event: "stream_exact_again",
      facts: { pod: "a", model: "m", dp_rank: 0, trust: "exact", not_exact_seconds: 5 },
    },
  ]);
});

test("K1: a stream that was never exact is not told of, neither then nor when it is exact for the first time", () => {
  const fleet = new Fleet();
  fleet.add("a");
  fleet.lookAfter(60);
  fleet.connect("a");
  fleet.lookAfter(1);
  expect(fleet.lines).toEqual([]);
});

test("K2, K3: a stream that keeps losing is told of once in a while with the number of losses, and its lines alternate", () => {
  const fleet = new Fleet();
  fleet.add("a");
  fleet.connect("a");
  fleet.lookAfter(0);
  const rounds = 120;
  for (let i = 0; i < rounds; i++) {
    fleet.disconnect("a");
    fleet.lookAfter(0.5);
    fleet.connect("a");
    fleet.lookAfter(0.5);
  }
  const events = fleet.lines.map(({ event }) => event);
  expect(events.length).toBeLessThanOrEqual(2 * Math.ceil((1000 * rounds) / REPORT_AGAIN_MS));
  expect(events).toEqual(events.map((_, i) => (i % 2 === 0 ? "stream_not_exact" : "stream_exact_again")));
  const losses = fleet.lines
    .filter(({ event }) => event === "stream_not_exact")
    .map(({ facts }) => facts["losses"]);
  expect(losses.slice(1)).toEqual(losses.slice(1).map(() => REPORT_AGAIN_MS / 1000));
});

test("K3: one that is still not exact when it may be told of again is told of", () => {
  const fleet = new Fleet();
  fleet.add("a");
  fleet.connect("a");
  fleet.lookAfter(0);
  fleet.disconnect("a");
  fleet.lookAfter(0.25);
  fleet.connect("a");
  fleet.lookAfter(0.25);
  fleet.disconnect("a");
  fleet.lookAfter(0.25);
  expect(fleet.lines).toHaveLength(2);
  fleet.lookAfter(REPORT_AGAIN_MS / 1000);
  expect(fleet.lines.slice(2)).toMatchObject([{ event: "stream_not_exact", facts: { losses: 1 } }]);
});

test("a stream that was exact between two looks only, and is then lost, is told of", () => {
  const fleet = new Fleet();
  fleet.add("a");
  fleet.lookAfter(1);
  fleet.connect("a");
  fleet.clock.nowMs += 100;
  fleet.disconnect("a");
  fleet.lookAfter(0.15);
  expect(fleet.lines).toMatchObject([
    { event: "stream_not_exact", facts: { pod: "a", exact_seconds: 0.1, losses: 1 } },
  ]);
});

test("losses that end between two looks have no line of their own, and the next line counts them", () => {
  const fleet = new Fleet();
  fleet.add("a");
  fleet.connect("a");
  fleet.lookAfter(1);
  for (let i = 0; i < 3; i++) {
    fleet.clock.nowMs += 10;
    fleet.disconnect("a");
    fleet.clock.nowMs += 10;
    fleet.connect("a");
    fleet.lookAfter(0.25);
  }
  expect(fleet.lines).toEqual([]);
  fleet.disconnect("a");
  fleet.lookAfter(0.25);
  expect(fleet.lines).toMatchObject([{ event: "stream_not_exact", facts: { losses: 4 } }]);
});

test("a stream whose worker has stopped is told of with that reason", () => {
  const fleet = new Fleet();
  fleet.add("a");
  fleet.connect("a");
  fleet.lookAfter(0);
  fleet.clock.nowMs += HEARTBEAT_STALE_MS + 1;
  fleet.watch.look();
  fleet.lookAfter(0.25);
  expect(fleet.lines).toMatchObject([
    { event: "stream_not_exact", facts: { reason: "worker_stalled", connected: true } },
    { event: "stream_exact_again" },
  ]);
});

test("K4: an engine that was removed and comes back begins without a past", async () => {
  const fleet = new Fleet();
  fleet.add("a");
  fleet.connect("a");
  fleet.lookAfter(0);
  await fleet.registry.remove("a");
  fleet.lookAfter(1);
  fleet.add("a");
  fleet.lookAfter(1);
  expect(fleet.lines).toEqual([]);
});

test("a fleet of a thousand that restarts writes at most two bursts of lines, and how many were left out", () => {
  const fleet = new Fleet();
  const ids = Array.from({ length: 1000 }, (_, i) => `engine-${i}`);
  for (const id of ids) {
    fleet.add(id);
    fleet.connect(id);
  }
  fleet.lookAfter(0);
  for (const id of ids) fleet.disconnect(id);
  fleet.lookAfter(0.25);
  for (const id of ids) fleet.connect(id);
  fleet.lookAfter(0.25);
  fleet.lookAfter(0.75);
  fleet.lookAfter(0.25);
  const count = (event: string): number => fleet.lines.filter((line) => line.event === event).length;
  expect(count("stream_not_exact")).toBe(LINE_BOUNDS.peer.burst);
  expect(count("stream_exact_again")).toBe(LINE_BOUNDS.peer.burst);
  expect(fleet.lines.filter(({ event }) => event === "lines_left_out")).toMatchObject([
    { facts: { of_event: "stream_not_exact", lines: 1000 - LINE_BOUNDS.peer.burst } },
    { facts: { of_event: "stream_exact_again", lines: 1000 - LINE_BOUNDS.peer.burst } },
  ]);
});
