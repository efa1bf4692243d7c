/**
 * The ingest with a network that the test drives: slices, bounds, order and the end of a rank.
 * Index, streams, queue and metrics are the real ones; the clock is a number where time matters.
 */
import { mkdtempSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";

import {
  type BlockStored,
  createSyncCounters,
  DEFAULT_HASH_SEED,
  encodeEventBatch,
  encodeLiveFrames,
  encodeReplayEnd,
  encodeReplayReply,
  type KvEvent,
  PrefixIndex,
  PrefixReader,
  RankHomes,
  TRUST_REASONS,
  TRUST_RULE,
} from "@kvsync/core";
import { CATALOGUE } from "@kvsync/observability/kvsync/catalogue";
import { INGEST_METRICS } from "@kvsync/observability/kvsync/ingest";
import { NAMESPACE } from "@kvsync/observability/kvsync/namespace";
import { STREAM_METRICS } from "@kvsync/observability/kvsync/stream";
import { Exposition } from "@kvsync/observability/exposition";
import { MetricSlots } from "@kvsync/observability/slots";
import { afterEach, expect, test } from "vitest";

import type {
  Frames,
  ReplayEvents,
  ReplayPatience,
  SubscriptionEvents,
  Transport,
} from "../transport/transport.ts";
import { LineGate } from "../log/line-gate.ts";
import { LogLevel } from "../log/log-level.ts";
import { recordedLines } from "../log/testing/recorded-log.ts";
import { droppedCounters } from "../telemetry/dropped-lines.ts";
import { Ingest } from "./ingest.ts";
import { takeOver } from "./rank-takeover.ts";
import {
  BoardReader,
  BoardWriter,
  createBoardMemory,
  HEARTBEAT_STALE_MS,
  type StreamStatus,
} from "../board/stream-board.ts";
import { writeSnapshot } from "../snapshot/snapshot-file.ts";
import { restoreSnapshot } from "./snapshot-restore.ts";
import type { FollowedRank } from "../engine/followed-rank.ts";
import type { IngestSettings } from "./thread-messages.ts";

/** Records what is asked of the network. */
class ScriptedTransport implements Transport {
  readonly subscriptions: { endpoint: string; events: SubscriptionEvents; closed: boolean }[] = [];
  readonly replays: { endpoint: string; from: number; events: ReplayEvents; closed: boolean }[] = [];

  subscribe(endpoint: string, _topic: string, events: SubscriptionEvents) {
    const subscription = { endpoint, events, closed: false };
    this.subscriptions.push(subscription);
    return { close: () => void (subscription.closed = true) };
  }

  listen(endpoint: string, topic: string, events: SubscriptionEvents) {
    return this.subscribe(endpoint, topic, events);
  }

  onReplay: () => void = () => undefined;

  requestReplay(endpoint: string, from: number, _patience: ReplayPatience, events: ReplayEvents) {
    this.onReplay();
    const replay = { endpoint, from, events, closed: false };
    this.replays.push(replay);
    return { close: () => void (replay.closed = true) };
  }

  close(): void {
    return;
  }
}

const running: Ingest[] = [];

afterEach(() => {
  for (const ingest of running.splice(0)) ingest.stop();
});

function setUp(overrides: Partial<IngestSettings> = {}, index = PrefixIndex.create()) {
  const memory = createBoardMemory();
  const transport = new ScriptedTransport();
  const { lines: log, write } = recordedLines();
  const clock = { nowMs: 1000 };
  const level = LogLevel.create(1);
  const exposition = new Exposition(CATALOGUE);
  const metrics = new MetricSlots(CATALOGUE, "ingest-0", (announcement) => {
    exposition.accept(announcement);
  });
  const settings: IngestSettings = {
    worker: "ingest-0",
    workerNumber: 0,
    workerCount: 1,
    homes: RankHomes.create().memory,
    hashSeed: { value: 1337n, isKeyed: false },
    restoreFrom: null,
    board: memory,
    logLevel: level.memory,
    journal: null,
    tracedRatio: null,
    queue: { messages: { live: 1e6, replay: 1e6 }, bytes: { live: 1e9, replay: 1e9 }, messageBytes: 1e6 },
    holdBytesMax: 1e9,
    tickMs: 1,
    replayTimeoutMs: 1000,
    replayStallMs: 1000,
    replaysMax: 4,
    dials: { perSecond: 200, burst: 64 },
    reconnectMsMin: 100,
    reconnectMsMax: 1000,
    curve: { fleetKey: null, pair: { publicKey: "", secretKey: "" } },
    publisherRanges: [],
    transport: "own",
    messagePartsMax: 64,
    dnsServers: [],
    index: {
      contextCountMax: 10,
      prefixesPerContextMax: 1e6,
      memoryBytesMax: 256 * 1024 * 1024,
      parkedBytesMax: 1e6,
    },
    ...overrides,
  };
  const ingest = new Ingest(settings, {
    transports: { of: () => transport, close: () => undefined },
    index,
    board: new BoardWriter(memory, 0),
    metrics,
    spans: null,
    unknownKind: () => undefined,
    log: new LineGate({
      thread: "ingest-0",
      level,
      write,
      dropped: droppedCounters(metrics, "ingest-0"),
      now: () => clock.nowMs,
    }),
    now: () => clock.nowMs,
    random: () => 0.5,
  });
  running.push(ingest);
  return { ingest, transport, index, clock, log, memory, exposition, board: new BoardReader(memory) };
}

function rank(rankSlot: number, replay = true): FollowedRank {
  return {
    rankSlot,
    workerId: `engine-${rankSlot}`,
    model: "m",
    dpRank: 0,
    endpoint: `tcp://h:${1000 + rankSlot}`,
    replayEndpoint: replay ? `tcp://h:${5000 + rankSlot}` : null,
    topic: "",
    sharedSocket: false,
    bind: false,
    curveServerKey: null,
    reportMode: "delta",
    dropsLastBlock: false,
    engineSlot: 0,
    resumeFrom: null,
  };
}

function storedEvent(number: number): BlockStored {
  return {
    type: "BlockStored",
    blockHashes: [BigInt(number) + 1n],
    parentBlockHash: null,
    tokenIds: [number, 1, 2, 3],
    blockSize: 4,
    medium: "GPU",
  };
}

/** The batch that each test stream consists of: one root block of four tokens, another one for every number. */
function payload(number: number): Uint8Array {
  const event = storedEvent(number);
  return encodeEventBatch(
    { timestampSeconds: 1000 + number, events: [event], dataParallelRank: 0 },
    "vllm-0.29",
  );
}

const live = (number: number): Frames => encodeLiveFrames("", number, payload(number));
/** What a DEALER gets: the reply without the identity that the ROUTER routed by. */
const replayed = (number: number): Frames =>
  encodeReplayReply({
    identity: new Uint8Array(),
    topic: "",
    sequenceNumber: number,
    payload: payload(number),
    shape: "plain",
  }).slice(1);
const replayEnd = (): Frames => encodeReplayEnd(new Uint8Array(), "plain").slice(1);

async function turns(count = 5): Promise<void> {
  for (let i = 0; i < count; i++) await new Promise((resolve) => setImmediate(resolve));
}

async function until(condition: () => boolean): Promise<void> {
  for (let i = 0; i < 2000; i++) {
    if (condition()) return;
    await new Promise((resolve) => setTimeout(resolve, 1));
  }
  throw new Error("waited in vain");
}

/** A followed, connected stream whose history (none) has been told. */
async function connectedStream(
  parts: ReturnType<typeof setUp>,
  rankSlot: number,
): Promise<SubscriptionEvents> {
  parts.ingest.follow(rank(rankSlot));
  await until(() => parts.transport.subscriptions.length > 0);
  const events = parts.transport.subscriptions.at(-1)?.events;
  if (events === undefined) throw new Error("not dialled");
  events.connected();
  await turns();
  const replay = parts.transport.replays.at(-1);
  replay?.events.message(replayEnd());
  replay?.events.ended(null);
  await turns();
  expect(parts.board.status(rankSlot)).toMatchObject({ state: "live", trust: "exact", connected: true });
  return events;
}

test("live messages are applied, and the board says up to where", async () => {
  const parts = setUp();
  const events = await connectedStream(parts, 7);
  for (let number = 0; number < 10; number++) events.message(live(number));
  await turns();
  expect(parts.board.status(7)).toMatchObject({
    lastSequenceNumber: 9,
    trust: "exact",
    historyFromSequenceNumber: 0,
  });
  expect(parts.board.report(7).counters.eventsApplied.BlockStored).toBe(10);
  expect(parts.index.rankBlockCount(7)).toBe(10);
});

test.each([
  [1_000_000, false],
  [0, true],
])(
  "a rank taken over with what waits, where the park takes %d bytes: something is missing: %s (T3 of rank-takeover.ts)",
  async (parkedBytesMax, isMissing) => {
    const before = setUp();
    const events = await connectedStream(before, 3);
    // Below the device its parent may come back, so that giving it up is a loss.
    const orphan = { ...storedEvent(0), parentBlockHash: 99n, medium: "CPU" };
    const batch = encodeEventBatch(
      { timestampSeconds: 1000, events: [orphan], dataParallelRank: 0 },
      "vllm-0.29",
    );
    events.message(encodeLiveFrames("", 0, batch));
    await turns();
    const position = before.ingest.release(3);
    const parked = before.index.takeParked(3);
    expect(parked).toHaveLength(1);
    const after = setUp({}, PrefixIndex.create({ parkedBytesMax }));
    takeOver(after.ingest, after.index, { ...rank(3), resumeFrom: position }, parked);
    const { losses, conditions } = after.ingest.positions()[0]?.position.applier ?? {};
    expect(losses).toEqual(isMissing ? ["parked_evicted"] : []);
    // T3: not only from the next message on.
    expect(conditions).toEqual(isMissing ? [] : [["waiting_for_parent", 0]]);
    expect(after.index.takeParked(3)).toHaveLength(isMissing ? 0 : 1);
  },
);

test("a stream that continues with blocks that waited for it has what limits took of them meanwhile (G6)", async () => {
  const index = PrefixIndex.create({
    prefixesPerContextMax: 20,
    onEviction: (reason, _blocks, rankSlots) => {
      parts.ingest.evicted(reason, rankSlots);
    },
  });
  const parts = setUp({}, index);
  const events = await connectedStream(parts, 3);
  for (let number = 0; number < 10; number++) events.message(live(number));
  await turns();
  const resumeFrom = parts.ingest.release(3);
  const others = await connectedStream(parts, 4);
  for (let number = 0; number < 20; number++) {
    const event = storedEvent(number + 100);
    const batch = { timestampSeconds: 1000 + number, events: [event], dataParallelRank: 0 };
    others.message(encodeLiveFrames("", number, encodeEventBatch(batch, "vllm-0.29")));
  }
  await turns();
  expect(index.rankBlockCount(3)).toBeLessThan(10);
  parts.ingest.follow({ ...rank(3), resumeFrom });
  const losses = (): readonly string[] | undefined =>
    parts.ingest.positions().find(({ rankSlot }) => rankSlot === 3)?.position.applier.losses;
  expect(losses()).toEqual(["prefixes_evicted"]);
  // They are that rank's alone.
  parts.ingest.release(3);
  index.clearRank(4);
  parts.ingest.evicted("prefix_limit", [3]);
  parts.ingest.forget(3);
  parts.ingest.follow({ ...rank(3), resumeFrom });
  expect(losses()).toEqual([]);
});

const BLOCK_SIZE = 4;
const GROUP_NAMES = [101n, 102n, 103n, 104n, 105n];
const FULL_GROUP = { groupIdx: 0, kvCacheSpecKind: "full_attention" };
/** A window of 5 tokens needs the one block before the end of a prefix. */
const WINDOW_GROUP = { groupIdx: 1, kvCacheSpecKind: "sliding_window", kvCacheSpecSlidingWindow: 5 };
/** Of a kind without a rule: all of a prefix is needed. */
const UNKNOWN_GROUP = { groupIdx: 1, kvCacheSpecKind: "holographic" };

/** Blocks `from` to `end` of one prompt, in one KV-cache group. */
function storedInGroup(group: object, from: number, end: number): KvEvent {
  return {
    type: "BlockStored",
    blockHashes: GROUP_NAMES.slice(from, end),
    parentBlockHash: GROUP_NAMES[from - 1] ?? null,
    tokenIds: Array.from({ length: (end - from) * BLOCK_SIZE }, (_, i) => 9000 + from * BLOCK_SIZE + i),
    blockSize: BLOCK_SIZE,
    medium: "GPU",
    ...group,
  };
}

function removedFromGroup(groupIdx: number, ...blocks: readonly number[]): KvEvent {
  const blockHashes = blocks.map((block) => GROUP_NAMES[block] ?? 0n);
  return { type: "BlockRemoved", blockHashes, medium: "GPU", groupIdx };
}

/** Blocks that lookups of one to five blocks of the prompt find. */
function foundOfPrompt(index: PrefixIndex): number[] {
  const reader = PrefixReader.attach(index.shared, { tokensMax: 64 });
  const context = reader.findContext({ model: "m", loraName: null, blockSize: BLOCK_SIZE, lookahead: 0 });
  const found = GROUP_NAMES.map((_, block) => {
    const length = (block + 1) * BLOCK_SIZE;
    for (let i = 0; i < length; i++) reader.tokens[i] = 9000 + i;
    const { rows, matchCount } = reader.matchTokens(context, length, false);
    return matchCount === 0 ? 0 : (rows[1] ?? 0);
  });
  reader.detach();
  return found;
}

interface GroupMove {
  readonly group: string;
  readonly second: object;
  readonly trust: string;
  readonly trustReason: string | null;
  /** Blocks found by lookups of one to five blocks, before and after the move with the next message. */
  readonly before: readonly number[];
  readonly next: readonly KvEvent[];
  readonly after: readonly number[];
}

test.each<GroupMove>([
  {
    group: "a sliding window",
    second: WINDOW_GROUP,
    trust: "exact",
    trustReason: null,
    before: [1, 2, 2, 4, 4],
    next: [removedFromGroup(1, 1), storedInGroup(FULL_GROUP, 4, 5)],
    after: [1, 1, 1, 4, 4],
  },
  {
    group: "of an unknown kind",
    second: UNKNOWN_GROUP,
    trust: "partial",
    trustReason: "unknown_kind",
    before: [1, 2, 2, 2, 2],
    next: [storedInGroup(UNKNOWN_GROUP, 2, 3), storedInGroup(FULL_GROUP, 4, 5)],
    after: [1, 2, 3, 4, 4],
  },
])(
  "a rank whose second group is $group moves to another worker: answers, trust and its reason stay, and later messages are applied by group (P2)",
  async ({ second, trust, trustReason, before: foundBefore, next, after: foundAfter }) => {
    const before = setUp();
    const events = await connectedStream(before, 3);
    const batchOf = (kvEvents: readonly KvEvent[]): Uint8Array =>
      encodeEventBatch({ timestampSeconds: 1000, events: [...kvEvents], dataParallelRank: 0 }, "vllm-0.29");
    const first = batchOf([
      storedInGroup(FULL_GROUP, 0, 4),
      storedInGroup(second, 0, 4),
      removedFromGroup(1, 2),
    ]);
    events.message(encodeLiveFrames("", 0, first));
    await turns();
    expect(before.board.status(3)).toMatchObject({ trust, trustReason });
    expect(foundOfPrompt(before.index)).toEqual(foundBefore);

    const { position, parked } = structuredClone({
      position: before.ingest.release(3),
      parked: before.index.takeParked(3),
    });
    expect(position).not.toBeNull();
    const after = setUp({}, PrefixIndex.attach(before.index.shared));
    takeOver(after.ingest, after.index, { ...rank(3), resumeFrom: position }, parked);
    expect(foundOfPrompt(after.index)).toEqual(foundBefore);

    await until(() => after.transport.subscriptions.length > 0);
    after.transport.subscriptions[0]?.events.connected();
    await turns();
    // The message applied last comes again: it proves the publisher.
    const replay = after.transport.replays[0];
    expect(replay?.from).toBe(0);
    const reply = {
      identity: new Uint8Array(),
      topic: "",
      sequenceNumber: 0,
      payload: first,
      shape: "plain",
    } as const;
    replay?.events.message(encodeReplayReply(reply).slice(1));
    replay?.events.message(replayEnd());
    replay?.events.ended(null);
    await turns();
    expect(after.board.status(3)).toMatchObject({ lastSequenceNumber: 0, trust, trustReason });
    expect(foundOfPrompt(after.index)).toEqual(foundBefore);

    after.transport.subscriptions[0]?.events.message(encodeLiveFrames("", 1, batchOf(next)));
    await turns();
    expect(after.board.status(3)).toMatchObject({ lastSequenceNumber: 1, trust, trustReason });
    expect(foundOfPrompt(after.index)).toEqual(foundAfter);
  },
);

test("a rank that loses blocks to a limit by another thread's write is partial on the board at the end of the slice", async () => {
  const parts = setUp();
  await connectedStream(parts, 3);
  parts.ingest.evicted("context_limit", [3]);
  await turns();
  // Nothing of the stream itself is due: the clock stands still, and its engine sends nothing.
  expect(parts.board.status(3)).toMatchObject({ trust: "partial", trustReason: "context_evicted" });
  expect(parts.board.report(3).counters.indexEvictions.context_limit).toBe(1);
});

/** A queue that refuses what comes; the index's limits and the queue's own are the daemon's part of the rule. */
async function refused(queue: Partial<IngestSettings["queue"]>, messages: number): Promise<StreamStatus> {
  const parts = setUp({
    queue: {
      messages: { live: 1e6, replay: 1e6 },
      bytes: { live: 1e9, replay: 1e9 },
      messageBytes: 1e6,
      ...queue,
    },
  });
  const events = await connectedStream(parts, 3);
  parts.clock.nowMs += 50;
  for (let number = 0; number < messages; number++) events.message(live(number));
  await turns();
  expect(parts.board.status(3).trustSinceMs).toBe(parts.clock.nowMs);
  return parts.board.status(3);
}

/** A snapshot with a store that waits for its parent, read by a daemon whose park takes nothing. */
async function restoredWithoutRoom(): Promise<StreamStatus> {
  const before = setUp();
  const events = await connectedStream(before, 3);
  const orphan = { ...storedEvent(0), parentBlockHash: 99n };
  const batch = { timestampSeconds: 1000, events: [orphan], dataParallelRank: 0 };
  events.message(encodeLiveFrames("", 0, encodeEventBatch(batch, "vllm-0.29")));
  await turns();
  const folder = mkdtempSync(join(tmpdir(), "kvsync-walk-"));
  const path = join(folder, "snapshot");
  const head = {
    productVersion: "1",
    createdMs: 1,
    hashSeed: String(DEFAULT_HASH_SEED),
    streams: before.ingest.positions(),
  };
  writeSnapshot(path, head, before.index.copy());
  const after = setUp({}, PrefixIndex.create({ parkedBytesMax: 0 }));
  const restored = restoreSnapshot(after.index, { paths: [path], shard: null }, new Set());
  rmSync(folder, { recursive: true });
  if (restored.kind !== "restored") throw new Error(restored.message);
  after.ingest.follow({ ...rank(3), resumeFrom: restored.streams[0]?.position ?? null });
  await until(() => after.transport.subscriptions.length > 0);
  after.transport.subscriptions[0]?.events.connected();
  await turns();
  // What was stored is asked for again; the answer proves the publisher.
  const replay = after.transport.replays[0];
  const identity = new Uint8Array();
  const reply = {
    identity,
    topic: "",
    sequenceNumber: 0,
    payload: encodeEventBatch(batch, "vllm-0.29"),
    shape: "plain",
  } as const;
  replay?.events.message(encodeReplayReply(reply).slice(1));
  replay?.events.message(replayEnd());
  await turns();
  return after.board.status(3);
}

/** A worker that shows no sign of life, as the reader of its board sees it. */
async function followedByStalledWorker(): Promise<StreamStatus> {
  const parts = setUp();
  await connectedStream(parts, 3);
  const laterMs = parts.board.now() + HEARTBEAT_STALE_MS + 1;
  parts.ingest.stop();
  return new BoardReader(parts.memory, () => laterMs).status(3);
}

const OWNER_WALKS: Readonly<Record<string, () => Promise<StreamStatus>>> = {
  queue_messages: () => refused({ messages: { live: 2, replay: 2 } }, 4),
  queue_bytes: () => refused({ bytes: { live: 10, replay: 1e6 } }, 4),
  message_too_large: () => refused({ messageBytes: 10 }, 1),
  snapshot_incomplete: restoredWithoutRoom,
  worker_stalled: followedByStalledWorker,
};
/** Metrics of ingest as the rule names them, without the namespace. */
const FAMILIES = Object.values({ ...INGEST_METRICS, ...STREAM_METRICS }).map(({ name }) =>
  name.slice(`${NAMESPACE}_`.length),
);
const OWNER_ROWS = TRUST_RULE.filter(({ id }) => id.startsWith("owner."));

test("each row of the rule that is the daemon's has a walk, and no walk is without a row", () => {
  expect(Object.keys(OWNER_WALKS).map((key) => `owner.${key}`)).toEqual(OWNER_ROWS.map(({ id }) => id));
});

test.each(OWNER_ROWS)("the rule's row $id", async ({ id, reason, counter }) => {
  const status = await OWNER_WALKS[id.slice("owner.".length)]?.();
  expect(status?.trustReason).toBe(reason);
  expect(status?.trust).toBe(reason === null ? "exact" : TRUST_REASONS[reason].trust);
  expect(FAMILIES).toContain(counter);
});

test("every counter of the rule is a stream's own or a metric that is exported", () => {
  const counters: unknown = createSyncCounters();
  for (const { counter } of TRUST_RULE) {
    const at = counter
      .split(".")
      .reduce<unknown>((value, key) => (value as Record<string, unknown> | undefined)?.[key], counters);
    expect([counter, at !== undefined || FAMILIES.includes(counter)]).toEqual([counter, true]);
  }
});

test("while a storm is applied, timers and control messages get their turn", async () => {
  const parts = setUp();
  const events = await connectedStream(parts, 0);
  const frames = Array.from({ length: 20_000 }, (_, number) => live(number));
  // Here time passes as it does, since slices are cut by the clock.
  const startMs = performance.now();
  Object.defineProperty(parts.clock, "nowMs", { get: () => 1000 + performance.now() - startMs });
  for (const message of frames) events.message(message);
  let turnsSeen = 0;
  while (parts.board.status(0).lastSequenceNumber !== 19_999) {
    await new Promise((resolve) => setTimeout(resolve, 0));
    turnsSeen += 1;
    expect(turnsSeen).toBeLessThan(100_000);
  }
  expect(turnsSeen).toBeGreaterThan(2);
});

test("messages beyond the queue are refused by reason, the stream hears of it and asks the engine again (G3)", async () => {
  const parts = setUp({
    queue: { messages: { live: 4, replay: 4 }, bytes: { live: 1e6, replay: 1e6 }, messageBytes: 1e6 },
  });
  const events = await connectedStream(parts, 0);
  const asked = parts.transport.replays.length;
  for (let number = 0; number < 10; number++) events.message(live(number));
  await turns();
  expect(parts.board.report(0)).toMatchObject({
    lastSequenceNumber: 3,
    trust: "stale",
    queueDrops: {
      queue_messages: 6,
      queue_bytes: 0,
      message_too_large: 0,
      other_dp_rank: 0,
      unnamed_dp_rank: 0,
      other_topic: 0,
    },
    counters: { queueLosses: 1 },
  });
  await until(() => parts.transport.replays.length > asked);
  expect(parts.log.some(({ event }) => event === "backpressure")).toBe(true);
});

test("a replay larger than its lane is given up behind what got in, and asked for again from there", async () => {
  const parts = setUp({
    queue: { messages: { live: 100, replay: 4 }, bytes: { live: 1e6, replay: 1e6 }, messageBytes: 1e6 },
  });
  parts.ingest.follow(rank(0));
  parts.transport.subscriptions[0]?.events.connected();
  await turns();
  const [first] = parts.transport.replays;
  for (let number = 0; number < 10; number++) first?.events.message(replayed(number));
  expect(first?.closed).toBe(true);
  await turns();
  expect(parts.board.status(0).lastSequenceNumber).toBe(3);
  expect(parts.transport.replays).toHaveLength(2);
  // The last one applied comes again, as proof that the publisher is the same.
  expect(parts.transport.replays[1]?.from).toBe(3);
});

test("no more replays run at once than the limit, and each end lets the next begin", async () => {
  const parts = setUp({ replaysMax: 4 });
  for (let slot = 0; slot < 10; slot++) parts.ingest.follow(rank(slot));
  for (const { events } of parts.transport.subscriptions) events.connected();
  await turns();
  expect(parts.transport.replays).toHaveLength(4);
  for (let done = 0; done < 10; done++) {
    const replay = parts.transport.replays[done];
    replay?.events.message(replayEnd());
    replay?.events.ended(null);
    await turns();
    expect(parts.transport.replays).toHaveLength(Math.min(10, 5 + done));
  }
  for (let slot = 0; slot < 10; slot++) expect(parts.board.status(slot).trust).toBe("exact");
});

test("engines that do not begin to answer lend their slots, and take one again when they do", async () => {
  const parts = setUp({ replaysMax: 2 });
  parts.ingest.start();
  for (let slot = 0; slot < 6; slot++) parts.ingest.follow(rank(slot));
  for (const { events } of parts.transport.subscriptions) events.connected();
  await turns();
  expect(parts.transport.replays).toHaveLength(2);
  parts.clock.nowMs += 300;
  await until(() => parts.transport.replays.length === 4);
  // Two late ones begin: with the two that were begun meanwhile there are more than the limit, so that no other one is.
  for (const { events } of parts.transport.replays.slice(0, 2)) events.message(replayed(0));
  const [third, fourth] = parts.transport.replays.slice(2);
  for (const begun of [third, fourth]) begun?.events.message(replayed(0));
  parts.clock.nowMs += 300;
  await turns();
  expect(parts.transport.replays).toHaveLength(4);
  // What trickles keeps its slot for a while only.
  parts.clock.nowMs += 10_000;
  await until(() => parts.transport.replays.length === 6);
  expect(parts.transport.replays.some(({ closed }) => closed)).toBe(false);
});

test("a replay is not asked for while earlier answers fill the lane, and is as soon as there is room", async () => {
  const parts = setUp({
    queue: { messages: { live: 100, replay: 10 }, bytes: { live: 1e6, replay: 1e6 }, messageBytes: 1e6 },
  });
  parts.ingest.follow(rank(0));
  parts.ingest.follow(rank(1));
  parts.transport.subscriptions[0]?.events.connected();
  await turns();
  let appliedWhenAsked = -1;
  parts.transport.onReplay = () => {
    appliedWhenAsked = parts.index.rankBlockCount(0);
  };
  // Eight of ten places are taken when the other stream asks.
  for (let number = 0; number < 8; number++) parts.transport.replays[0]?.events.message(replayed(number));
  parts.transport.subscriptions[1]?.events.connected();
  await turns();
  expect(parts.transport.replays).toHaveLength(2);
  expect(appliedWhenAsked).toBeGreaterThan(3);
});

test("of many engines registered at once only a burst is dialled, the others at a steady rate", async () => {
  const parts = setUp();
  parts.ingest.start();
  for (let slot = 0; slot < 300; slot++) parts.ingest.follow(rank(slot));
  expect(parts.transport.subscriptions).toHaveLength(64);
  parts.clock.nowMs += 100;
  await until(() => parts.transport.subscriptions.length > 64);
  expect(parts.transport.subscriptions.length).toBe(84);
  for (let i = 0; i < 20; i++) {
    parts.clock.nowMs += 100;
    await new Promise((resolve) => setTimeout(resolve, 3));
  }
  expect(parts.transport.subscriptions.length).toBe(300);
});

test("engines that are down and come due again and again do not keep the others from being dialled", () => {
  const parts = setUp({ dials: { perSecond: 10, burst: 10 }, reconnectMsMin: 100, reconnectMsMax: 100 });
  for (let slot = 0; slot < 100; slot++) parts.ingest.follow(rank(slot));
  const dialled = new Set<string>();
  let seen = 0;
  // A dial per tenth of a second, and each is due again after that long.
  for (let i = 0; i < 300; i++) {
    for (const { endpoint, events } of parts.transport.subscriptions.slice(seen)) {
      dialled.add(endpoint);
      events.ended("refused");
    }
    seen = parts.transport.subscriptions.length;
    parts.clock.nowMs += 100;
    parts.ingest.redial(99);
  }
  expect(dialled.size).toBe(100);
  expect(seen).toBeLessThanOrEqual(10 + 300);
});

test("a connection's coming and going keeps its place among the messages (G1)", async () => {
  const parts = setUp();
  const events = await connectedStream(parts, 0);
  events.message(live(0));
  events.message(live(1));
  events.ended("disconnected");
  await turns();
  expect(parts.board.status(0)).toMatchObject({
    state: "disconnected",
    lastSequenceNumber: 1,
    connected: false,
  });
});

test("a forgotten rank leaves nothing: not in the index, not in the queue, not on the wire", async () => {
  const parts = setUp();
  const events = await connectedStream(parts, 3);
  for (let number = 0; number < 10; number++) events.message(live(number));
  await turns();
  expect(parts.index.rankBlockCount(3)).toBe(10);
  for (let number = 10; number < 20; number++) events.message(live(number));
  parts.ingest.forget(3);
  expect(parts.transport.subscriptions.at(-1)?.closed).toBe(true);
  expect(parts.index.rankBlockCount(3)).toBe(0);
  await turns();
  expect(parts.index.rankBlockCount(3)).toBe(0);
  expect(parts.board.worker(0).depthLive).toBe(0);
});

test("a message that is no message costs itself and is counted by code", async () => {
  const parts = setUp();
  const events = await connectedStream(parts, 0);
  events.message(live(0));
  events.message([new Uint8Array([1])]);
  events.message(live(1));
  await turns();
  const { lastSequenceNumber, counters } = parts.board.report(0);
  expect(lastSequenceNumber).toBe(1);
  expect(counters.faults.wrong_frame_count).toBe(1);
});

test("G2: a message that takes long is applied in parts, in its order, while other streams go on; the board is never ahead of the index (B2)", async () => {
  const parts = setUp();
  const long = await connectedStream(parts, 1);
  const short = await connectedStream(parts, 2);
  const events = Array.from({ length: 4000 }, (_, i) => storedEvent(i));
  const batch = { timestampSeconds: 1000, events, dataParallelRank: 0 };
  long.message(encodeLiveFrames("", 0, encodeEventBatch(batch, "vllm-0.29")));
  for (let number = 1; number < 4; number++) long.message(live(10_000 + number).with(1, live(number)[1]!));
  for (let number = 0; number < 10; number++) short.message(live(number));
  // From now on each look at the clock takes a millisecond.
  let ms = parts.clock.nowMs;
  Object.defineProperty(parts.clock, "nowMs", { get: () => (ms += 1) });
  const appliedBefore: (number | null)[] = [];
  await until(() => {
    const { lastSequenceNumber } = parts.board.status(1);
    if (lastSequenceNumber !== null)
      expect(parts.index.rankBlockCount(1)).toBeGreaterThanOrEqual(4000 + lastSequenceNumber);
    if (lastSequenceNumber === null) appliedBefore.push(parts.board.status(2).lastSequenceNumber);
    return lastSequenceNumber === 3;
  });
  expect(appliedBefore).toContain(9);
  expect(parts.board.report(1)).toMatchObject({ trust: "exact", counters: { gaps: 0, messagesApplied: 4 } });
  expect(parts.index.rankBlockCount(1)).toBe(4003);
});

/** Lends a message as a socket does: its buffer is read into again afterwards. */
function lend(events: SubscriptionEvents, frames: Frames): void {
  const lent = frames.map((frame) => frame.slice());
  events.message(lent, true);
  for (const frame of lent) frame.fill(0xee);
}

test("G5: a lent message that nothing waits before is applied before the next one is read", async () => {
  const parts = setUp();
  const events = await connectedStream(parts, 7);
  for (let number = 0; number < 10; number++) {
    lend(events, live(number));
    expect(parts.board.status(7)).toMatchObject({ lastSequenceNumber: number, trust: "exact" });
  }
  expect(parts.index.rankBlockCount(7)).toBe(10);
});

test("the latency of a stream's last message is not noted where another stream's begins (G4)", async () => {
  const parts = setUp();
  const events = await connectedStream(parts, 3);
  lend(events, live(0));
  parts.ingest.forget(3);
  parts.ingest.follow({ ...rank(4), model: "other" });
  await turns();
  const { name } = STREAM_METRICS.streamEventLatency;
  const lines = (await parts.exposition.scrape()).split("\n");
  expect(lines.filter((line) => line.startsWith(`${name}_count`))).toEqual([
    `${name}_count{model="other"} 0`,
  ]);
});

test("G5: lent messages that have to wait are copied, and keep their order with those that need not", async () => {
  const parts = setUp();
  const events = await connectedStream(parts, 1);
  const other = await connectedStream(parts, 2);
  const isApplied = (number: number): boolean => parts.board.status(1).lastSequenceNumber === number;
  const long = Array.from({ length: 400 }, (_, i) => storedEvent(10_000 + i));
  const batch = { timestampSeconds: 1000, events: long, dataParallelRank: 0 };
  // Too long, and whatever comes behind it, of any stream.
  lend(events, encodeLiveFrames("", 0, encodeEventBatch(batch, "vllm-0.29")));
  lend(events, live(1));
  lend(other, live(0));
  expect([isApplied(1), parts.board.status(2).lastSequenceNumber]).toEqual([false, null]);
  await until(() => isApplied(1) && parts.board.status(2).lastSequenceNumber === 0);
  // The time of a slice is over: each look at the clock takes a millisecond.
  let ms = parts.clock.nowMs;
  Object.defineProperty(parts.clock, "nowMs", { configurable: true, get: () => (ms += 1) });
  for (let number = 2; number < 20; number++) lend(events, live(number));
  const { lastSequenceNumber } = parts.board.status(1);
  expect(lastSequenceNumber).toBeGreaterThan(1);
  expect(lastSequenceNumber).toBeLessThan(19);
  await until(() => isApplied(19));
  Object.defineProperty(parts.clock, "nowMs", { value: ms, writable: true });
  // The stream is not live: what it holds is applied when its answer has come.
  lend(events, live(21));
  await until(() => parts.board.status(1).state === "replaying");
  lend(events, live(22));
  await turns();
  const replay = parts.transport.replays.at(-1);
  for (let number = replay?.from ?? 0; number < 22; number++) replay?.events.message(replayed(number));
  replay?.events.message(replayEnd());
  await until(() => isApplied(22));
  expect(parts.index.rankBlockCount(1)).toBe(400 + 22);
  expect(parts.board.status(1).trust).toBe("exact");
});

test("G4: a rank that is forgotten in the middle of a message leaves nothing, and its slot serves the next", async () => {
  const parts = setUp();
  const long = await connectedStream(parts, 1);
  const events = Array.from({ length: 4000 }, (_, i) => storedEvent(i));
  let ms = parts.clock.nowMs;
  const batch = { timestampSeconds: 1000, events, dataParallelRank: 0 };
  long.message(encodeLiveFrames("", 0, encodeEventBatch(batch, "vllm-0.29")));
  long.message(live(1));
  Object.defineProperty(parts.clock, "nowMs", { configurable: true, get: () => (ms += 1) });
  await until(() => parts.index.rankBlockCount(1) > 0);
  expect(parts.board.status(1).lastSequenceNumber).toBeNull();
  expect(parts.ingest.positions()).toEqual([]);
  parts.ingest.forget(1);
  await turns(20);
  expect(parts.index.rankBlockCount(1)).toBe(0);
  Object.defineProperty(parts.clock, "nowMs", { value: ms, writable: true });
  const next = await connectedStream(parts, 1);
  next.message(live(0));
  await until(() => parts.board.status(1).lastSequenceNumber === 0);
  expect(parts.index.rankBlockCount(1)).toBe(1);
});
