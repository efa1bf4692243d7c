/**
 * One example per rule of WorkerSync, by hand: the messages in order, and their effect. Numbers are
 * those of README.md. The simulation (worker-sync.simulation.test.ts) shows that nothing else can
 * happen; these tests show the intended cases.
 */
import { beforeEach, describe, expect, test } from "vitest";
import { NaivePrefixIndex } from "../prefix-index/testing/naive-prefix-index.ts";
import { EventBatchDecoder } from "../wire/event-batch-decoder.ts";
import { encodeEventBatch } from "../wire/event-batch-encoder.ts";
import type { KvEvent } from "../wire/events.ts";
import { encodeLiveFrames, encodeReplayEnd, encodeReplayReply } from "../wire/message.ts";
import { HoldBudget } from "./held-messages.ts";
import type { SyncAction, SyncListener } from "./sync-report.ts";
import { DEFAULT_SYNC_LIMITS, type SyncSettings } from "./sync-settings.ts";
import { WorkerSync } from "./worker-sync.ts";

const RANK = 0;
const CONTEXT = { model: "m", loraName: null, blockSize: 2, lookahead: 0 };
const T0 = 1_757_500_000;
const index = await NaivePrefixIndex.create();

/** A block of its own chain, named by number. */
function stored(block: number): KvEvent {
  return {
    type: "BlockStored",
    blockHashes: [BigInt(block)],
    parentBlockHash: null,
    tokenIds: [block, block],
    blockSize: 2,
    medium: "GPU",
  };
}

function removed(block: number): KvEvent {
  return { type: "BlockRemoved", blockHashes: [BigInt(block)], medium: "GPU" };
}

/** A publisher's message n stores block n, unless told otherwise. `life` tells publishers apart by their clocks. */
function payloadOf(
  sequenceNumber: number,
  life = 0,
  events: readonly KvEvent[] = [stored(sequenceNumber)],
): Uint8Array {
  return encodeEventBatch(
    { timestampSeconds: T0 + 1000 * life + sequenceNumber, events, dataParallelRank: 0 },
    "vllm-0.24",
  );
}

function range(from: number, to: number): number[] {
  return Array.from({ length: to - from + 1 }, (_, i) => from + i);
}

/** A stream, its clock, and hands to play engine and transport with. */
class Stage {
  nowMs = 0;
  readonly heard: string[] = [];
  readonly sync: WorkerSync;

  constructor(settings: Partial<SyncSettings> = {}, holdBudget?: HoldBudget) {
    index.clearRank(RANK);
    const listener: SyncListener = {
      trustChanged: (trust, previous) => this.heard.push(`trust ${previous} → ${trust}`),
      stateChanged: (state, previous) => this.heard.push(`state ${previous} → ${state}`),
      gapFound: (missed) => this.heard.push(`gap of ${missed}`),
      replayEnded: (status) => this.heard.push(`replay ${status}`),
      restarted: () => this.heard.push("restarted"),
      historyLost: (from) => this.heard.push(`history from ${from}`),
    };
    this.sync = new WorkerSync(
      { rankSlot: RANK, model: "m", dpRank: 0, hasReplay: true, ...settings },
      { index, decoder: new EventBatchDecoder(index.scratch), listener, holdBudget },
    );
  }

  /** Connected, and in step with a publisher that has said 0 … `last`. */
  static synced(last: number, settings: Partial<SyncSettings> = {}): Stage {
    const stage = new Stage(settings);
    stage.sync.connected(0);
    stage.answer(range(0, last));
    expect(stage.sync.trust).toBe("exact");
    return stage;
  }

  /** Numbers of the blocks that the index holds. */
  get blocks(): number[] {
    const held = new Set(index.dump(index.openContext(CONTEXT)).map((line) => line.split(" ")[0]));
    return range(0, 200).filter((block) => held.has(prefixOf(block)));
  }

  live(sequenceNumber: number, life = 0, events?: readonly KvEvent[]): void {
    this.sync.liveMessage(
      encodeLiveFrames("", sequenceNumber, payloadOf(sequenceNumber, life, events)),
      this.nowMs,
    );
  }

  /** Takes the stream's request, which must be there. */
  request(): Extract<SyncAction, { kind: "request_replay" }> {
    for (let action = this.sync.takeAction(); action !== null; action = this.sync.takeAction()) {
      if (action.kind === "request_replay") return action;
    }
    throw new Error("no request");
  }

  reply(attempt: number, sequenceNumber: number, life = 0, events?: readonly KvEvent[]): boolean {
    const payload = payloadOf(sequenceNumber, life, events);
    const identity = new Uint8Array(0);
    const frames = encodeReplayReply({ identity, shape: "plain", topic: "", sequenceNumber, payload });
    return this.sync.replayMessage(attempt, frames.slice(1), this.nowMs);
  }

  end(attempt: number): boolean {
    return this.sync.replayMessage(attempt, encodeReplayEnd(new Uint8Array(0), "topic").slice(1), this.nowMs);
  }

  /** Answers the pending request with these of a publisher's messages, from what was asked on, and END. */
  answer(sequenceNumbers: readonly number[], life = 0): number {
    const { attempt, from } = this.request();
    for (const sequenceNumber of sequenceNumbers) {
      if (sequenceNumber >= from && !this.reply(attempt, sequenceNumber, life)) return from;
    }
    this.end(attempt);
    return from;
  }

  /** Goes to the next planned time and ticks. */
  tick(): void {
    this.nowMs = this.sync.nextTickMs;
    this.sync.tick(this.nowMs);
  }
}

/** Follows live messages for so long that the numbers of a new publisher are older than any that is kept. */
function longFollowed(): Stage {
  const stage = Stage.synced(3);
  for (const sequenceNumber of [4, 5, 6]) {
    stage.nowMs += DEFAULT_SYNC_LIMITS.anchorAgeMs;
    stage.live(sequenceNumber);
  }
  return stage;
}

const prefixes = new Map<number, string>();

function prefixOf(block: number): string {
  return prefixes.get(block)!;
}

/** What the index calls block n. */
beforeEach(() => {
  if (prefixes.size > 0) return;
  const contextId = index.openContext(CONTEXT);
  for (let block = 0; block <= 200; block += 1) {
    index.clearRank(RANK);
    index.tokens.set([block, block]);
    index.hashes.set([block, 0]);
    index.storeBlocks(contextId, RANK, 0, 1, false, 0, 0, false);
    prefixes.set(block, index.dump(contextId)[0].split(" ")[0]);
  }
});

describe("first contact", () => {
  test("asks for everything, and is exact when everything came", () => {
    const stage = new Stage();
    expect([stage.sync.state, stage.sync.trust, stage.sync.lastSequenceNumber]).toEqual([
      "connecting",
      "unknown",
      null,
    ]);
    stage.sync.connected(0);
    expect([stage.sync.state, stage.sync.trust]).toEqual(["replaying", "unknown"]);
    expect(stage.answer(range(0, 5))).toBe(0);
    expect([stage.sync.state, stage.sync.trust]).toEqual(["live", "exact"]);
    expect([stage.sync.lastSequenceNumber, stage.sync.historyFromSequenceNumber]).toEqual([5, 0]);
    expect(stage.blocks).toEqual(range(0, 5));
  });

  test("a message that only a replay brought counts as heard when it was applied", () => {
    const stage = new Stage();
    stage.sync.connected(0);
    expect(stage.sync.lastEventAtMs).toBe(null);
    stage.nowMs = 70;
    stage.answer(range(0, 2));
    expect(stage.sync.lastEventAtMs).toBe(70);
  });

  test("a publisher that has said nothing yet is exact and empty", () => {
    const stage = new Stage();
    stage.sync.connected(0);
    stage.answer([]);
    expect([stage.sync.state, stage.sync.trust, stage.sync.historyFromSequenceNumber]).toEqual([
      "live",
      "exact",
      0,
    ]);
    stage.live(0);
    expect([stage.sync.trust, stage.sync.lastSequenceNumber]).toEqual(["exact", 0]);
  });

  test("live messages that arrive during the replay are applied behind it, each once (Y1)", () => {
    const stage = new Stage();
    stage.sync.connected(0);
    const { attempt } = stage.request();
    for (const sequenceNumber of range(0, 2)) stage.reply(attempt, sequenceNumber);
    for (const sequenceNumber of range(2, 4)) stage.live(sequenceNumber);
    expect(stage.blocks).toEqual([0, 1, 2]);
    expect(stage.end(attempt)).toBe(false);
    expect([stage.sync.lastSequenceNumber, stage.sync.trust]).toEqual([4, "exact"]);
    expect(stage.blocks).toEqual(range(0, 4));
    expect(stage.sync.counters.messagesDropped.duplicate).toBe(1);
    expect(stage.sync.counters.messagesApplied).toBe(5);
  });

  test("a history that is cut is gone on with from where it begins, as partial, and not asked for twice (Y4)", () => {
    const stage = new Stage();
    stage.sync.connected(0);
    expect(stage.answer(range(7, 9))).toBe(0);
    expect(stage.sync.takeAction()).toBeNull();
    expect([stage.sync.state, stage.sync.trust]).toEqual(["live", "partial"]);
    expect([stage.sync.lastSequenceNumber, stage.sync.historyFromSequenceNumber]).toEqual([9, 7]);
    expect(stage.blocks).toEqual([7, 8, 9]);
    expect(stage.heard).toContain("history from 7");
    expect(stage.sync.counters.historyLosses).toBe(1);
  });

  test("messages before the news of a connection wait for it, but not for long (Y6)", () => {
    const stage = new Stage();
    stage.live(0);
    expect([stage.sync.state, stage.sync.nextTickMs]).toEqual([
      "connecting",
      DEFAULT_SYNC_LIMITS.connectGraceMs,
    ]);
    stage.tick();
    expect(stage.sync.state).toBe("replaying");
    stage.answer([0]);
    expect([stage.sync.trust, stage.blocks]).toEqual(["exact", [0]]);
  });
});

describe("gaps", () => {
  test("are filled from the last applied message on, which proves the publisher (Y2)", () => {
    const stage = Stage.synced(3);
    stage.live(6);
    expect([stage.sync.state, stage.sync.trust]).toEqual(["replaying", "stale"]);
    expect(stage.blocks).toEqual(range(0, 3));
    stage.live(7);
    expect(stage.answer(range(0, 6))).toBe(3);
    expect([stage.sync.state, stage.sync.trust, stage.blocks]).toEqual(["live", "exact", range(0, 7)]);
    expect([stage.sync.counters.gaps, stage.sync.counters.missedMessages]).toEqual([1, 2]);
    expect(stage.heard).toContain("gap of 2");
  });

  test("are closed as soon as the answer reaches what waits, without the rest of it or its END", () => {
    const stage = Stage.synced(3);
    stage.live(6);
    for (const sequenceNumber of [7, 8]) stage.live(sequenceNumber);
    const { attempt } = stage.request();
    for (const sequenceNumber of [3, 4, 5]) expect(stage.reply(attempt, sequenceNumber)).toBe(true);
    expect(stage.sync.state).toBe("replaying");
    expect(stage.reply(attempt, 6)).toBe(false);
    expect([stage.sync.state, stage.sync.trust, stage.blocks]).toEqual(["live", "exact", range(0, 8)]);
    expect(stage.sync.takeAction()).toEqual({ kind: "abandon_replay", attempt });
    expect(stage.sync.counters.replayEnds).toMatchObject({ completed: 2, abandoned: 0, failed: 0 });
  });

  test("a replay with a hole is asked again from the hole, and never applied past it (Y1)", () => {
    const stage = Stage.synced(0);
    stage.live(9);
    stage.answer([0, 1, 2, 5, 6, 7, 8, 9]);
    expect(stage.blocks).toEqual([0, 1, 2]);
    expect(stage.answer(range(0, 9))).toBe(2);
    expect([stage.sync.trust, stage.blocks]).toEqual(["exact", range(0, 9)]);
  });

  test("a number that the publisher burnt is found missing thrice, and costs what was before it (Y4)", () => {
    const stage = Stage.synced(3);
    stage.live(5);
    const said = [0, 1, 2, 3, 5, 6];
    for (let i = 0; i < 3; i += 1) stage.answer(said);
    expect([stage.sync.state, stage.sync.trust]).toEqual(["live", "partial"]);
    expect([stage.sync.historyFromSequenceNumber, stage.sync.lastSequenceNumber]).toEqual([5, 6]);
    expect(stage.blocks).toEqual([5, 6]);
    expect(stage.sync.takeAction()).toBeNull();
  });

  test("a replay that lost its tail is asked again, until what was seen live is reached", () => {
    const stage = Stage.synced(0);
    stage.live(9);
    stage.answer(range(0, 4));
    expect(stage.sync.trust).toBe("stale");
    expect(stage.answer(range(0, 9))).toBe(4);
    expect([stage.sync.trust, stage.blocks]).toEqual(["exact", range(0, 9)]);
  });

  test("what waits is bounded, and what did not fit is asked again (Y6)", () => {
    const stage = Stage.synced(0, { limits: { heldMessagesMax: 2 } });
    stage.live(2);
    const { attempt } = stage.request();
    for (const sequenceNumber of range(3, 6)) stage.live(sequenceNumber);
    expect([stage.sync.heldCount, stage.sync.counters.messagesDropped.hold_full]).toEqual([2, 2]);
    for (const sequenceNumber of range(0, 2)) stage.reply(attempt, sequenceNumber);
    stage.end(attempt);
    expect(stage.blocks).toEqual(range(0, 4));
    expect(stage.answer(range(0, 6))).toBe(4);
    expect([stage.sync.trust, stage.blocks]).toEqual(["exact", range(0, 6)]);
  });

  test("streams that share a budget cannot hold more than it together (Y6)", () => {
    const budget = new HoldBudget(payloadOf(0).length);
    const stage = new Stage({}, budget);
    stage.sync.connected(0);
    stage.live(0);
    stage.live(1);
    expect([stage.sync.heldCount, stage.sync.counters.messagesDropped.hold_full]).toEqual([1, 1]);
    stage.answer(range(0, 1));
    expect(budget.take(payloadOf(0).length)).toBe(true);
  });

  test("what waits when the connection breaks gives its room back at once (Y6)", () => {
    const budget = new HoldBudget(10_000);
    const stage = new Stage({}, budget);
    stage.sync.connected(0);
    stage.live(5);
    expect(stage.sync.heldCount).toBe(1);
    stage.sync.disconnected(1);
    expect(stage.sync.heldCount).toBe(0);
    expect(budget.take(10_000), "all of the budget is there again").toBe(true);
    expect(stage.sync.check()).toEqual([]);
  });

  test("an answer without END is complete when a live message continues it", () => {
    const stage = Stage.synced(0);
    stage.live(3);
    const { attempt } = stage.request();
    for (const sequenceNumber of range(0, 3)) stage.reply(attempt, sequenceNumber);
    stage.live(4);
    stage.sync.replayFailed(attempt, "idle", stage.nowMs);
    expect([stage.sync.state, stage.sync.trust, stage.blocks]).toEqual(["live", "exact", range(0, 4)]);
  });

  test("answers that never END are believed when several of them stop at the same message", () => {
    const stage = Stage.synced(0);
    stage.live(2);
    for (let i = 0; i < 3; i += 1) {
      expect(stage.sync.trust).toBe("stale");
      const { attempt, from } = stage.request();
      for (const sequenceNumber of range(from, 2)) stage.reply(attempt, sequenceNumber);
      stage.sync.replayFailed(attempt, "idle", stage.nowMs);
    }
    expect([stage.sync.state, stage.sync.trust, stage.blocks]).toEqual(["live", "exact", range(0, 2)]);
  });

  test("a live message that the replay overtook is a duplicate, not a restart", () => {
    const stage = Stage.synced(0);
    stage.live(3);
    stage.answer(range(0, 6));
    for (const sequenceNumber of range(4, 7)) stage.live(sequenceNumber);
    expect([stage.sync.trust, stage.sync.lastSequenceNumber]).toEqual(["exact", 7]);
    expect(stage.sync.counters.messagesDropped.duplicate).toBe(3);
    expect(stage.sync.counters.restarts).toBe(0);
  });
});

describe("attempts that fail", () => {
  test("do not count against the engine when our own queue had no room, however often (Y6)", () => {
    const stage = new Stage();
    stage.sync.connected(stage.nowMs);
    for (let i = 0; i < 50; i += 1) stage.sync.replayFailed(stage.request().attempt, "refused", stage.nowMs);
    expect([stage.sync.state, stage.sync.counters.replayFailures.refused]).toEqual(["replaying", 50]);
    stage.answer(range(0, 5));
    expect([stage.sync.trust, stage.blocks]).toEqual(["exact", range(0, 5)]);
  });

  test("are repeated at once, then after growing pauses, then given up for a beginning without history (Y6)", () => {
    const stage = Stage.synced(3);
    stage.live(9);
    const pauses: number[] = [];
    while (stage.sync.state !== "live") {
      for (let i = 0; i < DEFAULT_SYNC_LIMITS.failedAttemptsMax; i += 1) {
        expect(stage.sync.state).toBe(
          pauses.length === 0 ? (i === 0 ? "replaying" : "verifying") : "verifying",
        );
        stage.sync.replayFailed(stage.request().attempt, "unreachable", stage.nowMs);
      }
      if (stage.sync.state === "paused") {
        pauses.push(stage.sync.nextTickMs - stage.nowMs);
        stage.tick();
      }
    }
    expect(pauses).toEqual([1000, 2000, 4000, 8000]);
    expect([stage.sync.trust, stage.blocks, stage.sync.historyFromSequenceNumber]).toEqual([
      "partial",
      [],
      null,
    ]);
    stage.live(12);
    expect([stage.sync.trust, stage.blocks, stage.sync.historyFromSequenceNumber]).toEqual([
      "partial",
      [12],
      12,
    ]);
    expect(stage.sync.counters.replayFailures.unreachable).toBe(15);
  });

  test("after that, gaps cost what was before them, until a rebuild hears the whole history again", () => {
    const stage = new Stage({ limits: { failedAttemptsMax: 1, pausesMax: 0 } });
    stage.sync.connected(0);
    stage.sync.replayFailed(stage.request().attempt, "idle", 0);
    stage.live(3);
    stage.live(5);
    expect([stage.sync.state, stage.sync.trust, stage.blocks]).toEqual(["live", "partial", [5]]);
    stage.tick();
    expect(stage.nowMs).toBe(DEFAULT_SYNC_LIMITS.rebuildMs);
    expect([stage.sync.state, stage.sync.trust]).toEqual(["live", "partial"]);
    stage.answer(range(0, 6));
    expect([stage.sync.state, stage.sync.trust, stage.blocks]).toEqual(["live", "exact", range(0, 6)]);
  });

  test("a rebuild whose history begins no earlier than ours changes nothing", () => {
    const stage = new Stage({ limits: { failedAttemptsMax: 1, pausesMax: 0 } });
    stage.sync.connected(0);
    stage.sync.replayFailed(stage.request().attempt, "idle", 0);
    stage.live(3);
    stage.tick();
    stage.answer(range(3, 9));
    expect([stage.sync.trust, stage.blocks]).toEqual(["partial", [3]]);
    expect(stage.sync.nextTickMs).toBeLessThan(Infinity);
  });

  test("a transport that never says a word is given up as well", () => {
    const stage = Stage.synced(3);
    stage.live(5);
    const { attempt } = stage.request();
    stage.sync.replayStarted(attempt, stage.nowMs);
    stage.tick();
    expect(stage.nowMs).toBe(DEFAULT_SYNC_LIMITS.replaySilenceMs);
    expect(stage.sync.takeAction()).toEqual({ kind: "abandon_replay", attempt });
    expect(stage.answer(range(0, 5))).toBeLessThanOrEqual(3);
    expect([stage.sync.trust, stage.sync.counters.replayFailures.silent]).toEqual(["exact", 1]);
  });

  test("the time that a request waits for its owner is not the publisher's silence, and has an end too", () => {
    const stage = Stage.synced(3);
    stage.live(5);
    const { attempt } = stage.request();
    stage.nowMs = 2 * DEFAULT_SYNC_LIMITS.replaySilenceMs;
    stage.sync.tick(stage.nowMs);
    expect(stage.sync.counters.replayFailures.silent).toBe(0);
    stage.sync.replayStarted(attempt, stage.nowMs);
    expect(stage.sync.nextTickMs).toBe(stage.nowMs + DEFAULT_SYNC_LIMITS.replaySilenceMs);
    const forgotten = Stage.synced(3);
    forgotten.live(5);
    forgotten.tick();
    expect(forgotten.nowMs).toBe(DEFAULT_SYNC_LIMITS.replayWaitMs);
  });

  test("a publisher that says the same again and again is given up like a silent one", () => {
    const stage = Stage.synced(3);
    stage.live(50);
    const { attempt } = stage.request();
    for (let i = 0; i < 100 && stage.reply(attempt, 3); i += 1) {
      stage.nowMs += 3000;
      if (stage.nowMs >= stage.sync.nextTickMs) stage.sync.tick(stage.nowMs);
    }
    expect(stage.sync.counters.replayFailures.silent).toBe(1);
    expect(stage.nowMs).toBeLessThan(DEFAULT_SYNC_LIMITS.replaySilenceMs + 6000);
  });

  test("an answer that goes on for ever, a message now and then, is cut and asked for anew from where it stood", () => {
    const stage = Stage.synced(3);
    stage.live(500);
    const { attempt } = stage.request();
    let number = 3;
    for (; stage.reply(attempt, number); number += 1) {
      stage.nowMs += 10_000;
      if (stage.nowMs >= stage.sync.nextTickMs) stage.sync.tick(stage.nowMs);
    }
    expect(stage.nowMs).toBe(DEFAULT_SYNC_LIMITS.replayMsMax);
    expect(stage.request().from).toBe(number - 1);
  });

  test("answers to an attempt that was given up are not wanted", () => {
    const stage = Stage.synced(3);
    stage.live(5);
    const { attempt } = stage.request();
    stage.sync.disconnected(0);
    expect(stage.sync.takeAction()).toEqual({ kind: "abandon_replay", attempt });
    expect(stage.reply(attempt, 4)).toBe(false);
    expect(stage.blocks).toEqual(range(0, 3));
    expect(stage.sync.counters.messagesDropped.late_replay).toBe(1);
  });
});

describe("restarts", () => {
  test("a reconnected publisher that shows the same message goes on as it was (Y2)", () => {
    const stage = Stage.synced(3);
    stage.sync.disconnected(10);
    expect([stage.sync.state, stage.sync.trust]).toEqual(["disconnected", "stale"]);
    stage.sync.connected(20);
    expect([stage.sync.state, stage.sync.trust]).toEqual(["verifying", "stale"]);
    stage.answer(range(0, 5));
    expect([stage.sync.trust, stage.blocks, stage.sync.counters.restarts]).toEqual(["exact", range(0, 5), 0]);
  });

  test("a reconnected publisher that shows another message is another one, though it has passed our number (Y2)", () => {
    const stage = Stage.synced(3);
    stage.sync.disconnected(10);
    stage.sync.connected(20);
    stage.answer(range(0, 9), 1);
    expect([stage.sync.state, stage.sync.trust, stage.blocks]).toEqual(["replaying", "unknown", []]);
    expect(stage.answer(range(0, 9), 1)).toBe(0);
    expect([stage.sync.trust, stage.blocks, stage.sync.counters.restarts]).toEqual(["exact", range(0, 9), 1]);
  });

  test("a reconnected publisher that has not come as far is another one, once several answers agree", () => {
    const stage = Stage.synced(3);
    stage.sync.disconnected(10);
    stage.sync.connected(20);
    for (let i = 0; i < 3; i += 1) {
      expect(stage.blocks).toEqual(range(0, 3));
      stage.answer([]);
    }
    stage.answer([0], 1);
    expect([stage.sync.trust, stage.blocks, stage.sync.counters.restarts]).toEqual(["exact", [0], 1]);
  });

  test("a restart is found in the gap that it shows as, without news of a reconnect (Y2)", () => {
    const stage = Stage.synced(3);
    stage.live(7, 1);
    stage.answer(range(0, 7), 1);
    stage.answer(range(0, 7), 1);
    expect([stage.sync.trust, stage.blocks, stage.sync.counters.restarts]).toEqual(["exact", range(0, 7), 1]);
  });

  test("a restart is found at once when a number that we kept comes again with other bytes", () => {
    const stage = Stage.synced(3);
    stage.live(4);
    stage.live(0, 1);
    expect([stage.sync.state, stage.blocks]).toEqual(["replaying", []]);
    stage.answer([0, 1], 1);
    expect([stage.sync.trust, stage.blocks, stage.sync.counters.restarts]).toEqual(["exact", [0, 1], 1]);
  });

  test("a restart is found when the numbers go back to one that we did not keep", () => {
    const stage = Stage.synced(9);
    stage.live(10);
    stage.live(5, 1);
    expect([stage.sync.state, stage.sync.trust]).toEqual(["verifying", "stale"]);
    stage.answer(range(0, 5), 1);
    stage.answer(range(0, 5), 1);
    expect([stage.sync.trust, stage.blocks, stage.sync.counters.restarts]).toEqual(["exact", range(0, 5), 1]);
  });

  test("a restart without news of a reconnect is one, whatever was heard before it on the same connection", () => {
    const stage = longFollowed();
    stage.live(1, 1);
    for (let i = 0; i < 3; i += 1) expect(stage.answer([0, 1], 1)).toBeGreaterThan(3);
    stage.answer([0, 1], 1);
    expect([stage.sync.trust, stage.blocks, stage.sync.counters.restarts]).toEqual(["exact", [0, 1], 1]);
  });

  test("a restart without any news is found by the probe of an engine that kept history before", () => {
    const stage = longFollowed();
    stage.tick();
    for (let i = 0; i < 3; i += 1) stage.answer([0, 1], 1);
    expect(stage.sync.counters.restarts).toBe(1);
    // It is asked thrice for what its predecessor said last, and then believed.
    for (let i = 0; i < 3; i += 1) stage.answer([0, 1], 1);
    expect([stage.sync.trust, stage.blocks]).toEqual(["exact", [0, 1]]);
  });

  test.each([
    ["a number that was kept", 6, 3],
    ["a number that was not kept", 1, 6],
  ])(
    "a publisher that restarts and keeps nothing is not taken for one that has said nothing: %s comes again",
    (_, sequenceNumber, answers) => {
      const stage = longFollowed();
      stage.live(sequenceNumber, 1);
      for (let i = 0; i < answers; i += 1) stage.answer([], 1);
      expect([stage.sync.trust, stage.blocks, stage.heard.at(-1)]).toEqual([
        "partial",
        [],
        "trust unknown → partial",
      ]);
    },
  );

  test("a restart is counted, too, where no replay ever brought anything", () => {
    const stage = new Stage();
    stage.sync.connected(0);
    stage.answer([]);
    for (const sequenceNumber of [0, 1, 2]) stage.live(sequenceNumber);
    stage.live(1, 1);
    for (let i = 0; i < 6; i += 1) stage.answer([], 1);
    expect([stage.sync.trust, stage.blocks, stage.sync.counters.restarts]).toEqual(["partial", [], 1]);
  });

  test("a later batch under an earlier number is a restart, though live numbers never went back", () => {
    const stage = Stage.synced(1);
    stage.tick();
    stage.answer(range(0, 9));
    stage.live(5, 1);
    expect([stage.sync.state, stage.sync.trust]).toEqual(["verifying", "stale"]);
  });

  test("numbers that go back while a replay is under way put its publisher in doubt", () => {
    const stage = Stage.synced(3);
    stage.live(6);
    const { attempt } = stage.request();
    for (const sequenceNumber of range(3, 6)) stage.reply(attempt, sequenceNumber);
    stage.live(0, 1);
    stage.live(1, 1);
    stage.end(attempt);
    expect([stage.sync.state, stage.sync.trust]).toEqual(["verifying", "stale"]);
    stage.answer([0, 1], 1);
    stage.answer([0, 1], 1);
    expect([stage.sync.trust, stage.blocks]).toEqual(["exact", [0, 1]]);
  });

  test("a live message that its publisher, asked again and again, does not know is another one's", () => {
    const stage = Stage.synced(3);
    stage.live(77);
    for (let i = 0; i < 3; i += 1) {
      expect(stage.sync.state).toBe("replaying");
      stage.answer(range(0, 3));
    }
    expect([stage.sync.state, stage.sync.trust, stage.blocks]).toEqual(["live", "exact", range(0, 3)]);
    expect(stage.sync.takeAction()).toBeNull();
  });

  test("a restart that continues our count by chance is found when the late news of the reconnect come (Y2)", () => {
    const stage = Stage.synced(3);
    stage.nowMs = 9000;
    stage.live(4, 1);
    stage.live(5, 1);
    expect(stage.sync.trust).toBe("exact");
    stage.sync.disconnected(9100);
    stage.sync.connected(9100);
    expect(stage.answer(range(0, 5), 1)).toBeLessThanOrEqual(3);
    stage.answer(range(0, 5), 1);
    expect([stage.sync.trust, stage.blocks, stage.sync.counters.restarts]).toEqual(["exact", range(0, 5), 1]);
  });

  test.each([
    ["a connection that was not seen to break", null],
    ["a break, however long it lasted", 3 * DEFAULT_SYNC_LIMITS.anchorAgeMs],
  ])(
    "a history too short for the proof is not vouched for by what the new connection may have said (Y2): %s",
    (_, brokenMs) => {
      const stage = longFollowed();
      stage.live(7, 1);
      stage.live(8, 1);
      if (brokenMs !== null) stage.sync.disconnected(stage.nowMs);
      stage.nowMs += brokenMs ?? 0;
      stage.sync.connected(stage.nowMs);
      for (let i = 0; i < 3; i += 1) expect(stage.answer([8, 9], 1)).toBe(5);
      expect(stage.answer([8, 9], 1)).toBe(0);
      expect([stage.sync.trust, stage.blocks, stage.sync.historyFromSequenceNumber]).toEqual([
        "partial",
        [8, 9],
        8,
      ]);
    },
  );

  test("a history too short for the proof is vouched for by what was said long before the suspicion", () => {
    const stage = longFollowed();
    stage.sync.connected(stage.nowMs + DEFAULT_SYNC_LIMITS.anchorAgeMs);
    expect(stage.answer([6, 7])).toBe(5);
    expect([stage.sync.trust, stage.blocks]).toEqual(["exact", range(0, 7)]);
  });

  test.each([
    ["was disproved", 0, range(0, 6)],
    ["came true", 1, range(0, 6)],
  ])("a suspicion that %s does not count against what is said after it", (_, life, history) => {
    const stage = longFollowed();
    stage.sync.connected(stage.nowMs);
    while (stage.sync.state !== "live") stage.answer(history, life);
    for (const sequenceNumber of [7, 8, 9]) {
      stage.nowMs += DEFAULT_SYNC_LIMITS.anchorAgeMs;
      stage.live(sequenceNumber, life);
    }
    stage.nowMs += DEFAULT_SYNC_LIMITS.anchorAgeMs;
    stage.sync.connected(stage.nowMs);
    expect(stage.answer([9, 10], life)).toBe(8);
    expect([stage.sync.trust, stage.blocks]).toEqual(["exact", range(0, 10)]);
  });

  test("a suspicion that lasts does not let the new publisher vouch for itself (Y2)", () => {
    const stage = longFollowed();
    stage.live(7, 1);
    stage.live(8, 1);
    stage.live(3, 1);
    const suspectSinceMs = stage.nowMs;
    while (stage.nowMs < suspectSinceMs + 2 * DEFAULT_SYNC_LIMITS.anchorAgeMs) stage.tick();
    for (let i = 0; i < 3; i += 1) expect(stage.answer([8, 9], 1)).toBe(5);
    expect([stage.answer([8, 9], 1), stage.blocks]).toEqual([0, [8, 9]]);
  });

  test("a publisher that proved itself in an answer that broke off is in doubt only since the next break (Y2)", () => {
    const stage = Stage.synced(3);
    stage.nowMs = 10_000;
    stage.live(4);
    stage.sync.disconnected(10_001);
    stage.nowMs = 20_000;
    stage.sync.connected(20_000);
    const { attempt, from } = stage.request();
    expect(from).toBe(0);
    // 0 proves it; 5 and 6 are applied, and the rest of the answer never comes.
    for (const sequenceNumber of range(0, 6)) stage.reply(attempt, sequenceNumber);
    expect(stage.sync.lastSequenceNumber).toBe(6);
    stage.sync.disconnected(30_000);
    // By now the engine keeps nothing from before 5, which was applied long before this break.
    stage.nowMs = 40_000;
    stage.sync.connected(40_000);
    stage.answer(range(5, 7));
    expect(stage.sync.state).toBe("live");
    expect(stage.sync.lastSequenceNumber).toBe(7);
    expect(stage.blocks, "what the rank held is still there").toEqual(range(0, 7));
    expect(stage.sync.trust).toBe("exact");
  });
  test("a suspicion of the publisher before does not count against a history that is cut short", () => {
    const stage = longFollowed();
    stage.sync.disconnected(stage.nowMs);
    stage.sync.connected(stage.nowMs);
    stage.answer([5], 1);
    const { attempt } = stage.request();
    for (const sequenceNumber of range(0, 5)) {
      stage.reply(attempt, sequenceNumber, 1);
      stage.nowMs += DEFAULT_SYNC_LIMITS.anchorAgeMs;
    }
    stage.sync.disconnected(stage.nowMs);
    stage.sync.connected(stage.nowMs);
    expect(stage.answer([5, 6], 1)).toBe(4);
    expect([stage.sync.trust, stage.blocks]).toEqual(["exact", range(0, 6)]);
  });

  test("a batch from before the last one, by its clock, is not applied before its publisher is proven", () => {
    const stage = Stage.synced(3);
    const events = [stored(100)];
    const payload = encodeEventBatch({ timestampSeconds: T0 - 60, events, dataParallelRank: 0 }, "vllm-0.24");
    stage.sync.liveMessage(encodeLiveFrames("", 4, payload), 0);
    expect([stage.sync.state, stage.blocks]).toEqual(["verifying", range(0, 3)]);
    stage.answer(range(0, 4));
    expect([stage.sync.trust, stage.blocks]).toEqual(["exact", range(0, 4)]);
  });

  test("what the last life said and comes late is not taken for the next message of this one", () => {
    const stage = Stage.synced(10);
    stage.sync.connected(0);
    // It was back after a second and a half; what it said before still waited in a queue of ours.
    const life = 0.0015;
    stage.answer(range(0, 3), life);
    stage.answer(range(0, 3), life);
    expect([stage.sync.trust, stage.blocks]).toEqual(["exact", range(0, 3)]);
    stage.live(4, 0, [stored(99)]);
    expect([stage.sync.trust, stage.blocks]).toEqual(["stale", range(0, 3)]);
    stage.answer(range(0, 4), life);
    expect([stage.sync.trust, stage.blocks]).toEqual(["exact", range(0, 4)]);
  });

  test("messages that waited when the restart was found are forgotten (Y3)", () => {
    const stage = Stage.synced(3);
    stage.live(6);
    const { attempt } = stage.request();
    stage.live(7);
    stage.reply(attempt, 3, 1);
    expect(stage.sync.counters.messagesDropped.before_restart).toBe(1);
    stage.answer([...range(0, 6)], 1);
    expect([stage.sync.trust, stage.blocks]).toEqual(["exact", range(0, 6)]);
  });

  test("what was received before a replay is asked for is never applied (Y3)", () => {
    const stage = Stage.synced(3);
    stage.sync.disconnected(0);
    // Still in the socket when the news of the break came; its publisher is gone before anybody else has it.
    stage.live(4, 0, [stored(150)]);
    stage.sync.connected(0);
    stage.answer(range(0, 3));
    expect([stage.sync.trust, stage.blocks]).toEqual(["exact", range(0, 3)]);
  });

  test("a publisher with two faces is asked after pauses that grow, and holds nothing meanwhile (Y7)", () => {
    const stage = Stage.synced(5);
    stage.live(2, 1);
    const askedMs: number[] = [];
    while (stage.nowMs < 300_000) {
      for (let action = stage.sync.takeAction(); action !== null; action = stage.sync.takeAction()) {
        if (action.kind !== "request_replay") continue;
        askedMs.push(stage.nowMs);
        if (stage.reply(action.attempt, 0, 1)) stage.reply(action.attempt, 0, 2);
      }
      stage.tick();
      expect(stage.blocks).toEqual([]);
    }
    expect(askedMs.length).toBeLessThan(20);
    const pauses = askedMs.slice(1).map((atMs, i) => atMs - (askedMs[i] ?? 0));
    expect(pauses.slice(0, 6)).toEqual([0, 1000, 2000, 4000, 8000, 16_000]);
    expect(pauses.at(-1)).toBe(DEFAULT_SYNC_LIMITS.pauseMsMax);
  });

  test("a publisher that restarts for the first time in a while is asked at once", () => {
    const stage = Stage.synced(5);
    for (const life of [1, 2, 3]) {
      stage.live(2, life);
      const atMs = stage.nowMs;
      // It may first be asked to prove that it is the one before; then it tells all it has.
      while (stage.sync.state !== "live") stage.answer(range(0, 2), life);
      expect([stage.nowMs, stage.sync.trust]).toEqual([atMs, "exact"]);
      stage.nowMs += 60_000;
    }
  });

  test("a publisher whose live numbers keep jumping back causes one verification per pause, not one per message", () => {
    const stage = Stage.synced(5);
    for (let i = 0; i < 50; i += 1) {
      stage.live(1);
      for (let action = stage.sync.takeAction(); action !== null; action = stage.sync.takeAction()) {
        if (action.kind !== "request_replay") continue;
        for (const sequenceNumber of range(action.from, 5)) stage.reply(action.attempt, sequenceNumber);
        stage.end(action.attempt);
      }
    }
    expect(stage.sync.counters.replaysRequested).toBeLessThanOrEqual(3);
    expect([stage.sync.state, stage.sync.trust]).toEqual(["paused", "stale"]);
    stage.tick();
    stage.answer(range(0, 5));
    expect([stage.sync.state, stage.sync.trust]).toEqual(["live", "exact"]);
  });
});

describe("silence", () => {
  test("an idle stream is probed at growing intervals, and END alone verifies it", () => {
    const stage = Stage.synced(3);
    const asked: number[] = [];
    for (let i = 0; i < 6; i += 1) {
      const before = stage.nowMs;
      stage.tick();
      asked.push(stage.nowMs - before);
      expect([stage.sync.state, stage.sync.trust]).toEqual(["live", "exact"]);
      expect(stage.answer(range(0, 3))).toBe(3);
    }
    expect(asked).toEqual([1000, 10_000, 20_000, 40_000, 60_000, 60_000]);
    expect([stage.sync.counters.probes, stage.sync.counters.gaps]).toEqual([6, 0]);
  });

  test("a probe that is answered with more has found a lost tail, and applies it", () => {
    const stage = Stage.synced(3);
    stage.tick();
    stage.answer(range(0, 5));
    expect([stage.sync.trust, stage.blocks]).toEqual(["exact", range(0, 5)]);
    expect([stage.sync.counters.gaps, stage.sync.counters.missedMessages]).toEqual([1, 2]);
  });

  test("a probe that is cut short in a lost tail goes on from there at once, as a gap", () => {
    const stage = Stage.synced(3);
    stage.tick();
    const { attempt } = stage.request();
    for (const sequenceNumber of range(3, 5)) stage.reply(attempt, sequenceNumber);
    stage.sync.replayFailed(attempt, "refused", stage.nowMs);
    expect([stage.sync.state, stage.sync.trust]).toEqual(["replaying", "stale"]);
    expect(stage.answer(range(0, 9))).toBe(5);
    expect([stage.sync.trust, stage.blocks]).toEqual(["exact", range(0, 9)]);
  });

  test("a probe finds a publisher that restarted unnoticed (Y2)", () => {
    const stage = Stage.synced(3);
    stage.tick();
    stage.answer(range(0, 3), 1);
    stage.answer(range(0, 3), 1);
    expect([stage.sync.trust, stage.blocks, stage.sync.counters.restarts]).toEqual(["exact", range(0, 3), 1]);
  });

  test("live messages go on being applied while a probe is under way", () => {
    const stage = Stage.synced(3);
    stage.tick();
    const { attempt } = stage.request();
    stage.live(4);
    expect([stage.sync.trust, stage.blocks]).toEqual(["exact", range(0, 4)]);
    for (const sequenceNumber of range(3, 5)) stage.reply(attempt, sequenceNumber);
    stage.end(attempt);
    stage.live(5);
    expect([stage.sync.trust, stage.sync.lastSequenceNumber]).toEqual(["exact", 5]);
  });

  test("an idle stream that cannot be probed is stale until it is heard of again", () => {
    const stage = Stage.synced(3);
    for (let i = 0; i < DEFAULT_SYNC_LIMITS.failedProbesMax; i += 1) {
      expect(stage.sync.trust).toBe("exact");
      stage.tick();
      stage.sync.replayFailed(stage.request().attempt, "idle", stage.nowMs);
    }
    expect([stage.sync.state, stage.sync.trust]).toEqual(["live", "stale"]);
    stage.live(4);
    expect(stage.sync.trust).toBe("exact");
  });

  test("messages lost in our own queue are asked for at once, and trust waits for the answer", () => {
    const stage = Stage.synced(3);
    stage.nowMs = 500;
    stage.sync.messagesLost(500);
    expect([stage.sync.state, stage.sync.trust]).toEqual(["live", "stale"]);
    stage.answer(range(0, 6));
    expect([stage.sync.trust, stage.blocks]).toEqual(["exact", range(0, 6)]);
  });

  test("losses during the answer are asked for once more, after a moment", () => {
    const stage = Stage.synced(3);
    stage.sync.messagesLost(0);
    stage.sync.messagesLost(1);
    stage.answer(range(0, 3));
    expect([stage.sync.trust, stage.sync.nextTickMs]).toEqual(["stale", DEFAULT_SYNC_LIMITS.lossProbeMs]);
    stage.tick();
    stage.answer(range(0, 4));
    expect([stage.sync.trust, stage.blocks]).toEqual(["exact", range(0, 4)]);
  });
});

describe("no replay endpoint", () => {
  test("a late joiner is partial from its first message on", () => {
    const stage = new Stage({ hasReplay: false });
    stage.sync.connected(0);
    expect([stage.sync.state, stage.sync.trust, stage.sync.takeAction()]).toEqual(["live", "partial", null]);
    stage.live(7);
    stage.live(8);
    expect([stage.sync.trust, stage.sync.historyFromSequenceNumber, stage.blocks]).toEqual([
      "partial",
      7,
      [7, 8],
    ]);
  });

  test("a follower from number 0 on is exact", () => {
    const stage = new Stage({ hasReplay: false });
    stage.sync.connected(0);
    stage.live(0);
    expect([stage.sync.trust, stage.sync.historyFromSequenceNumber]).toEqual(["exact", 0]);
  });

  test("a gap costs what was before it (Y4)", () => {
    const stage = new Stage({ hasReplay: false });
    stage.sync.connected(0);
    for (const sequenceNumber of [0, 1, 4]) stage.live(sequenceNumber);
    expect([stage.sync.trust, stage.sync.historyFromSequenceNumber, stage.blocks]).toEqual([
      "partial",
      4,
      [4],
    ]);
  });

  test("a reconnect costs what was before it, since nobody can prove to be the same", () => {
    const stage = new Stage({ hasReplay: false });
    stage.sync.connected(0);
    stage.live(0);
    stage.sync.disconnected(0);
    expect([stage.sync.trust, stage.blocks]).toEqual(["stale", [0]]);
    stage.sync.connected(0);
    expect([stage.sync.trust, stage.blocks]).toEqual(["partial", []]);
    stage.live(1);
    expect([stage.sync.trust, stage.blocks]).toEqual(["partial", [1]]);
  });

  test("what arrives between two connections may be anybody's, and is not mixed with what comes after", () => {
    const stage = new Stage({ hasReplay: false });
    stage.sync.connected(0);
    stage.live(0);
    stage.sync.disconnected(0);
    stage.live(1);
    stage.sync.connected(0);
    stage.live(2, 1);
    expect([stage.sync.trust, stage.blocks, stage.sync.historyFromSequenceNumber]).toEqual([
      "partial",
      [2],
      2,
    ]);
    expect(stage.sync.counters.messagesDropped.before_restart).toBe(1);
  });

  test("before the first connection there is only one it can be", () => {
    const stage = new Stage({ hasReplay: false });
    stage.live(0);
    stage.sync.connected(0);
    expect([stage.sync.trust, stage.blocks]).toEqual(["exact", [0]]);
  });

  test("numbers that begin again are a restart, and from 0 on exact", () => {
    const stage = new Stage({ hasReplay: false });
    stage.sync.connected(0);
    stage.live(5);
    stage.live(0, 1);
    expect([stage.sync.trust, stage.blocks, stage.sync.counters.restarts]).toEqual(["exact", [0], 1]);
  });

  test("the same message twice is a duplicate", () => {
    const stage = new Stage({ hasReplay: false });
    stage.sync.connected(0);
    stage.live(0);
    stage.live(0);
    expect([stage.sync.trust, stage.sync.counters.messagesDropped.duplicate]).toEqual(["exact", 1]);
  });

  test("an engine that keeps nothing for its replay endpoint is followed as if it had none (Y6)", () => {
    const stage = new Stage();
    stage.sync.connected(0);
    stage.answer([]);
    stage.live(5);
    for (let i = 0; i < 3; i += 1) stage.answer([]);
    stage.live(6);
    expect([stage.sync.state, stage.sync.trust, stage.blocks]).toEqual(["live", "partial", [6]]);
    stage.live(8);
    expect([stage.sync.trust, stage.blocks]).toEqual(["partial", [8]]);
    expect(stage.sync.takeAction()).toBeNull();
  });
});

describe("poison", () => {
  const frames = (payload: Uint8Array, sequenceNumber: number): Uint8Array[] =>
    encodeLiveFrames("", sequenceNumber, payload);

  /** [ts, [event…, bad], rank]: `bad` has a type and nothing that it needs. */
  function withBadEvent(sequenceNumber: number, type: string, events: readonly KvEvent[]): Uint8Array {
    const payload = payloadOf(sequenceNumber, 0, events);
    const name = new TextEncoder().encode(type);
    const bad = [0x81, 0xa4, ...new TextEncoder().encode("type"), 0xa0 + name.length, ...name];
    const longer = Uint8Array.from([...payload.subarray(0, -1), ...bad, 0]);
    longer[10] += 1;
    return longer;
  }

  test("a bad store costs itself, and may hide its block: partial (Y7)", () => {
    const stage = Stage.synced(3);
    stage.sync.liveMessage(frames(withBadEvent(4, "BlockStored", [stored(4)]), 4), 0);
    expect([stage.sync.trust, stage.sync.historyFromSequenceNumber, stage.blocks]).toEqual([
      "partial",
      5,
      range(0, 4),
    ]);
    expect(stage.sync.counters.faults.missing_field).toBe(1);
  });

  test.each(["BlockRemoved", "BlockMoved"])("a bad %s may have removed something: stale (Y5, Y7)", (type) => {
    const stage = Stage.synced(3);
    stage.sync.liveMessage(frames(withBadEvent(4, type, [stored(4)]), 4), 0);
    expect([stage.sync.trust, stage.blocks]).toEqual(["stale", range(0, 4)]);
  });

  test("a message that breaks off costs itself, and the stream goes on (Y7)", () => {
    const stage = Stage.synced(3);
    stage.sync.liveMessage(frames(payloadOf(4).subarray(0, 30), 4), 0);
    stage.live(5);
    expect([stage.sync.trust, stage.sync.lastSequenceNumber]).toEqual(["stale", 5]);
    expect(stage.blocks).toEqual([0, 1, 2, 3, 5]);
    expect(stage.sync.counters.faults.truncated).toBe(1);
  });

  test("a cleared pool heals what poison did", () => {
    const stage = Stage.synced(3);
    stage.sync.liveMessage(frames(withBadEvent(4, "BlockRemoved", []), 4), 0);
    stage.live(5, 0, [{ type: "AllBlocksCleared" }, stored(50)]);
    expect([stage.sync.trust, stage.sync.historyFromSequenceNumber, stage.blocks]).toEqual([
      "exact",
      5,
      [50],
    ]);
  });

  test("a stream that stays stale is rebuilt from what came after, as partial", () => {
    const stage = Stage.synced(3);
    stage.sync.liveMessage(frames(withBadEvent(4, "BlockRemoved", []), 4), 0);
    for (const sequenceNumber of range(5, 8)) stage.live(sequenceNumber);
    while (stage.nowMs < DEFAULT_SYNC_LIMITS.rebuildMs) {
      stage.tick();
      if (stage.nowMs < DEFAULT_SYNC_LIMITS.rebuildMs) stage.answer(range(8, 8));
    }
    expect([stage.sync.trust, stage.blocks]).toEqual(["stale", [0, 1, 2, 3, 5, 6, 7, 8]]);
    expect(stage.answer(range(0, 8))).toBe(5);
    expect([stage.sync.trust, stage.sync.historyFromSequenceNumber]).toEqual(["partial", 5]);
    expect(stage.blocks).toEqual(range(5, 8));
  });

  test("a rebuild is not begun for a rank whose history is whole by then, whatever the publisher before had kept", () => {
    const stage = new Stage();
    stage.sync.connected(0);
    stage.answer(range(30, 31), -1);
    expect(stage.sync.historyFromSequenceNumber).toBe(30);
    stage.sync.disconnected(1);
    stage.nowMs = 2;
    stage.sync.connected(2);
    // Thrice without what it was asked for: another publisher, whose whole history is asked for.
    for (let answers = 0; answers < 4; answers += 1) stage.answer(range(0, 3));
    expect([stage.sync.trust, stage.blocks]).toEqual(["exact", range(0, 3)]);
    stage.sync.liveMessage(frames(withBadEvent(4, "BlockRemoved", []), 4), stage.nowMs);
    stage.live(5);
    while (stage.nowMs < DEFAULT_SYNC_LIMITS.rebuildMs) {
      stage.tick();
      if (stage.nowMs < DEFAULT_SYNC_LIMITS.rebuildMs) stage.answer([5]);
    }
    const { attempt, from } = stage.request();
    expect(from, "a rebuild was asked for").toBe(5);
    // While the answer is on its way the engine clears its pool: nothing is lost any more.
    stage.live(6, 0, [{ type: "AllBlocksCleared" }, stored(60)]);
    expect(stage.sync.trust).toBe("exact");
    expect(stage.reply(attempt, 5)).toBe(false);
    expect([stage.sync.trust, stage.blocks]).toEqual(["exact", [60]]);
  });

  test("a message whose number cannot be read is looked for by a probe", () => {
    const stage = Stage.synced(3);
    const [topic, number, payload] = frames(payloadOf(4), 4);
    stage.sync.liveMessage([topic, number.subarray(0, 3), payload], 0);
    stage.sync.liveMessage([payload], 0);
    expect([stage.sync.trust, stage.sync.nextTickMs]).toEqual(["stale", DEFAULT_SYNC_LIMITS.lossProbeMs]);
    expect(stage.sync.counters.faults.wrong_sequence_length).toBe(1);
    expect(stage.sync.counters.faults.wrong_frame_count).toBe(1);
    stage.tick();
    stage.answer(range(0, 4));
    expect([stage.sync.trust, stage.blocks]).toEqual(["exact", range(0, 4)]);
  });

  test("a reply that cannot be read leaves a hole, which is asked again", () => {
    const stage = Stage.synced(0);
    stage.live(3);
    const { attempt } = stage.request();
    stage.reply(attempt, 0);
    expect(stage.sync.replayMessage(attempt, [new Uint8Array(1)], 0)).toBe(true);
    expect(stage.reply(attempt, 2)).toBe(false);
    stage.answer(range(0, 3));
    expect([stage.sync.trust, stage.blocks]).toEqual(["exact", range(0, 3)]);
  });
});

describe("the rest", () => {
  test("removals of a replayed gap take effect: no ghosts (Y5)", () => {
    const stage = Stage.synced(3);
    stage.live(5, 0, [removed(2)]);
    const { attempt } = stage.request();
    stage.reply(attempt, 3);
    stage.reply(attempt, 4, 0, [removed(1)]);
    stage.reply(attempt, 5, 0, [removed(2)]);
    stage.end(attempt);
    expect([stage.sync.trust, stage.blocks]).toEqual(["exact", [0, 3]]);
  });

  test("what the index forgot makes the stream partial, from the next message on whole", () => {
    const stage = Stage.synced(3);
    stage.sync.indexEvicted("prefix_limit");
    expect([stage.sync.trust, stage.sync.historyFromSequenceNumber]).toEqual(["partial", 4]);
    expect(stage.sync.counters.indexEvictions.prefix_limit).toBe(1);
    expect(stage.heard.at(-1)).toBe("trust exact → partial");
  });

  test("a batch that names another DP rank is applied to the socket's, and counted", () => {
    const stage = Stage.synced(0, { dpRank: 3 });
    expect(stage.blocks).toEqual([0]);
    expect(stage.sync.counters.dpRankMismatches).toBe(1);
  });

  test("an operator's resync forgets the rank and asks for everything", () => {
    const stage = Stage.synced(3);
    stage.sync.resync(0);
    expect([stage.sync.trust, stage.blocks]).toEqual(["unknown", []]);
    expect(stage.answer(range(0, 3))).toBe(0);
    expect([stage.sync.trust, stage.blocks]).toEqual(["exact", range(0, 3)]);
  });

  test("an engine that leaves takes its blocks along, and its attempt", () => {
    const stage = Stage.synced(3);
    stage.live(5);
    const { attempt } = stage.request();
    stage.sync.close();
    expect(stage.sync.takeAction()).toEqual({ kind: "abandon_replay", attempt });
    expect([stage.sync.trust, stage.blocks]).toEqual(["unknown", []]);
  });

  test("state and trust are told as they change, each change once", () => {
    const stage = Stage.synced(1);
    stage.heard.length = 0;
    stage.live(3);
    stage.answer(range(0, 3));
    expect(stage.heard).toEqual([
      "gap of 1",
      "state live → replaying",
      "trust exact → stale",
      "replay completed",
      "state replaying → live",
      "trust stale → exact",
    ]);
  });
});

describe("a stream that is handed over", () => {
  test("leaves its blocks, and the one that takes it up goes on from its last message after a proof", () => {
    const stage = Stage.synced(3);
    stage.live(6);
    const position = stage.sync.handOver(stage.nowMs);
    expect([stage.sync.trust, stage.blocks]).toEqual(["stale", range(0, 3)]);
    const blocks = index.dump(index.openContext(CONTEXT));
    expect(position).toMatchObject({ lastSequenceNumber: 3, begunAt: 0 });
    const sync = new WorkerSync(
      { rankSlot: RANK, model: "m", dpRank: 0, hasReplay: true, resumeFrom: position ?? undefined },
      { index, decoder: new EventBatchDecoder(index.scratch) },
    );
    expect([sync.trust, sync.lastSequenceNumber]).toEqual(["stale", 3]);
    sync.connected(stage.nowMs);
    expect(sync.takeAction()).toMatchObject({ kind: "request_replay", from: 0 });
    expect(index.dump(index.openContext(CONTEXT))).toEqual(blocks);
  });

  test("is proven by its last message where the history no longer has an older one", () => {
    const position = longFollowed().sync.handOver(15_000)!;
    const stage = new Stage({ resumeFrom: position });
    stage.sync.connected(15_000);
    expect(stage.answer([6, 7])).toBe(5);
    expect([stage.sync.trust, stage.sync.lastSequenceNumber]).toEqual(["exact", 7]);
  });

  test.each([["before the news of a new connection"], ["by a version that did not note the time"]])(
    "%s is not proven by what that connection may have said",
    (when) => {
      const stage = longFollowed();
      stage.live(7, 1);
      stage.live(8, 1);
      const { suspectSinceMs, ...older } = stage.sync.position(stage.nowMs)!;
      const resumeFrom = when.startsWith("by") ? older : { ...older, suspectSinceMs };
      const next = new Stage({ resumeFrom });
      next.sync.connected(stage.nowMs);
      for (let i = 0; i < 3; i += 1) expect(next.answer([8, 9], 1)).toBe(5);
      expect(next.answer([8, 9], 1)).toBe(0);
      expect([next.sync.trust, next.blocks]).toEqual(["partial", [8, 9]]);
    },
  );

  test("in doubt is proven by nothing that was said shortly before", () => {
    const stage = longFollowed();
    stage.live(7, 1);
    stage.sync.disconnected(stage.nowMs);
    const next = new Stage({ resumeFrom: stage.sync.handOver(stage.nowMs)! });
    next.sync.connected(stage.nowMs);
    for (let i = 0; i < 3; i += 1) expect(next.answer([7, 8], 1)).toBe(5);
    expect(next.answer([7, 8], 1)).toBe(0);
    expect([next.sync.trust, next.blocks]).toEqual(["partial", [7, 8]]);
  });

  test("is not, before it ever was in step", () => {
    const stage = new Stage();
    stage.sync.connected(0);
    expect(stage.sync.handOver(0)).toBeNull();
  });
});
