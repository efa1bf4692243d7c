/**
 * A publisher, its network and a stream that follows it, under virtual time: everything that a seed decides. Tests only.
 *
 *     PublisherModel ──live, FIFO, lossy──▶┐
 *        │ ring of the last n messages     ├─▶ WorkerSync ─▶ index
 *        └──replay, FIFO, lossy, END──────▶┘        ▲
 *                                        signals, ticks, lost messages
 *
 * The publisher keeps the truth: after each message, the copies of each block it holds. A restart
 * begins a new *epoch*: empty pool, sequence number 0. Every batch has its own timestamp, so the
 * world finds which message was applied last. So it can compare the index with the truth *as of
 * that message* at any moment.
 *
 * Blocks are the nodes of a small fixed tree of prompts, named by number; block n has parent (n − 1) / 2.
 */
import { assert } from "../../assert.ts";
import type { IndexWriter } from "../../prefix-index/contract.ts";
import type { Prng } from "../../prng.ts";
import { EventBatchDecoder } from "../../wire/event-batch-decoder.ts";
import { encodeEventBatch } from "../../wire/event-batch-encoder.ts";
import type { EventBatch, KvEvent } from "../../wire/events.ts";
import { encodeLiveFrames, encodeReplayEnd, encodeReplayReply } from "../../wire/message.ts";
import type { StreamPosition } from "../stream-position.ts";
import type { ReportMode, SyncLimits } from "../sync-settings.ts";
import { WorkerSync } from "../worker-sync.ts";

/** Blocks of the tree of prompts. */
export const BLOCKS = 31;
/** Tokens of a block. */
export const BLOCK_SIZE = 4;
const MODEL = "sim";
const NO_IDENTITY = new Uint8Array(0);

/** What may go wrong, as probabilities per message unless said otherwise. */
export interface WorldFaults {
  readonly liveLoss: number;
  readonly replayLoss: number;
  readonly endLoss: number;
  readonly duplicate: number;
  /** Numbers that the publisher takes and never sends. */
  readonly burnt: number;
  /** Messages with a bad event amid good ones; a third each: a store, a removal, an unknown type. */
  readonly poison: number;
  /** Messages whose payload breaks off. */
  readonly broken: number;
  /** Live messages whose number cannot be read. */
  readonly badFrames: number;
  /** Messages lost in the follower's own queue, which is told. */
  readonly queueLoss: number;
  /** Per step of traffic: the publisher restarts; the connection breaks; the replay endpoint hangs for a while. */
  readonly restart: number;
  readonly breakage: number;
  readonly stall: number;
}

/** One world's fixed choices. */
export interface WorldSettings {
  readonly hasReplay: boolean;
  /** Messages that the publisher keeps for replay. */
  readonly ringMax: number;
  /** Messages of the first epoch before the follower arrives. */
  readonly lead: number;
  /** When news of a connection reach the follower: in order with the messages, before those of the old one, or late. */
  readonly signals: "ordered" | "early" | "late";
  readonly faults: WorldFaults;
  readonly limits: Partial<SyncLimits>;
  readonly reportMode: ReportMode;
  /** Probability that a request asks for a report of what it reuses. */
  readonly reports: number;
}

/** Copies held, by block number. */
export type Truth = readonly number[];

interface Message {
  /** Null for a burnt number. */
  readonly payload: Uint8Array | null;
  /** What the message says, without poison. */
  readonly events: readonly KvEvent[];
  /** Whether something of it cannot be understood. */
  readonly isPoisoned: boolean;
  readonly truthAfter: Truth;
}

/** One life of the publisher. */
export interface Epoch {
  readonly number: number;
  readonly messages: Message[];
}

interface Delivery {
  readonly atMs: number;
  readonly order: number;
  readonly run: () => void;
  /** Whether it happens also when the follower dies. */
  readonly isOfWorld: boolean;
}

/** What a follower keeps beside its copy of the index. */
export interface WorldSnapshot {
  readonly position: StreamPosition | null;
  readonly appliedEpoch: number;
}

/** Everything of one seed. */
export class StreamWorld {
  sync: WorkerSync;
  readonly epochs: Epoch[] = [];
  /** What happened, for the report of a failing seed. */
  readonly log: string[] = [];
  nowMs = 0;
  readonly #prng: Prng;
  readonly #settings: WorldSettings;
  #faults: WorldFaults;
  readonly #makeSync: (resumeFrom: StreamPosition | undefined) => WorkerSync;
  #deliveries: Delivery[] = [];
  #deliveryCount = 0;
  readonly #originOfTimestamp = new Map<number, number>();
  #appliedEpoch = -1;
  #lastLiveAtMs = 0;
  #lastSignalAtMs = 0;
  #timestamp = 1_757_500_000;
  #isConnected = false;
  #isUp = true;
  #replayStalledUntilMs = 0;
  #copies: number[] = [];
  #openAttempt: number | null = null;
  #turns = 0;
  /** Counters at the last step. */
  #rareBefore: { readonly sync: WorkerSync; readonly changes: number; readonly text: string } | null = null;
  /** Whether announcements may be reports, so that copies cannot be counted. */
  readonly hasReports: boolean;
  /** Called after everything that the follower was told. */
  onStep: () => void = () => undefined;

  constructor(prng: Prng, settings: WorldSettings, index: IndexWriter, rankSlot: number) {
    this.#prng = prng;
    this.#settings = settings;
    this.hasReports = settings.reports > 0;
    this.#faults = settings.faults;
    this.#makeSync = (resumeFrom) =>
      new WorkerSync(
        {
          rankSlot,
          model: MODEL,
          dpRank: 0,
          hasReplay: settings.hasReplay,
          reportMode: settings.reportMode,
          limits: settings.limits,
          resumeFrom,
        },
        {
          index,
          decoder: new EventBatchDecoder(index.scratch),
          // Work on a message ends after every second event or so: equal to work in one go (Y8).
          turn: { isOver: () => (this.#turns += 1) % 2 === 0 },
          listener: {
            messageApplied: (lane, _count, timestamp) => {
              const epoch = this.#originOfTimestamp.get(timestamp);
              assert(epoch !== undefined, "every batch has its own timestamp");
              this.#appliedEpoch = epoch;
              this.log.push(`${this.nowMs}: applied ${lane} ${epoch}/${this.sync.lastSequenceNumber ?? "?"}`);
            },
            stateChanged: (state) => this.log.push(`${this.nowMs}: ${state}`),
            restarted: () => this.log.push(`${this.nowMs}: found restarted`),
            historyLost: (from) => this.log.push(`${this.nowMs}: goes on from ${from}`),
          },
        },
      );
    this.sync = this.#makeSync(undefined);
    this.#beginEpoch();
    for (let i = 0; i < settings.lead; i += 1) this.#publish();
    this.#connect();
  }

  /** The publisher's life that the follower applied a message of last; null before the first. */
  get appliedEpoch(): Epoch | null {
    return this.epochs[this.#appliedEpoch] ?? null;
  }

  /** The publisher's present life. */
  get epoch(): Epoch {
    return this.epochs.at(-1)!;
  }

  /** Publishes for a while, with everything going wrong that may. */
  runTraffic(steps: number): void {
    for (let step = 0; step < steps; step += 1) {
      const faults = this.#faults;
      if (this.#isUp && this.#prng.chance(faults.restart)) this.#restart();
      if (this.#prng.chance(faults.breakage)) this.#breakConnection();
      if (this.#prng.chance(faults.stall)) this.#replayStalledUntilMs = this.nowMs + this.#prng.below(20_000);
      if (this.#isUp) this.#publish();
      this.#advance(this.nowMs + this.#prng.below(this.#prng.chance(0.05) ? 5000 : 60));
    }
  }

  /** Lets faults stop, says `messages` more good messages, and lets `durationMs` pass. */
  settle(messages: number, durationMs: number): void {
    this.log.push(`${this.nowMs}: faults stop`);
    this.#faults = NO_FAULTS;
    this.#replayStalledUntilMs = 0;
    const end = this.nowMs + durationMs;
    // A publisher that is down comes back within this time.
    this.#advance(this.nowMs + 3500);
    for (let i = 0; i < messages; i += 1) {
      this.#publish();
      this.#advance(this.nowMs + this.#prng.below(2000));
    }
    this.#advance(end);
  }

  /** Where the follower stands; whoever keeps it copies the index at the same moment. */
  snapshot(): WorldSnapshot {
    return { position: this.sync.position(this.nowMs), appliedEpoch: this.#appliedEpoch };
  }

  /** The follower dies and comes back with a snapshot; the index has what it had then, or nothing of the rank. */
  crash({ position, appliedEpoch }: WorldSnapshot): void {
    this.log.push(`${this.nowMs}: crashes, comes back at ${position?.lastSequenceNumber ?? "nothing"}`);
    this.#deliveries = this.#deliveries.filter(({ isOfWorld }) => isOfWorld);
    this.#openAttempt = null;
    this.#isConnected = false;
    this.#appliedEpoch = position === null ? -1 : appliedEpoch;
    this.sync = this.#makeSync(position ?? undefined);
    this.#laterInWorld(this.nowMs + 100 + this.#prng.below(3000), () => {
      if (this.#isUp && !this.#isConnected) this.#connect();
    });
  }

  // ── publisher ──────────────────────────────────────────────────────────────────────────────────────────────────

  #beginEpoch(): void {
    this.epochs.push({ number: this.epochs.length, messages: [] });
    this.#copies = new Array<number>(BLOCKS).fill(0);
  }

  #publish(): void {
    const { epoch } = this;
    const sequenceNumber = epoch.messages.length;
    if (this.#prng.chance(this.#faults.burnt)) {
      // Whatever it should have said is said by nobody; the pool changed all the same.
      this.#someEvents();
      epoch.messages.push({ payload: null, events: [], isPoisoned: true, truthAfter: [...this.#copies] });
      this.log.push(`${this.nowMs}: burnt ${epoch.number}/${sequenceNumber}`);
      return;
    }
    const events = this.#someEvents();
    const { payload, isPoisoned } = this.#encode(events);
    epoch.messages.push({ payload, events, isPoisoned, truthAfter: [...this.#copies] });
    this.#sendLive(sequenceNumber, payload);
  }

  #encode(events: readonly KvEvent[]): { payload: Uint8Array; isPoisoned: boolean } {
    this.#timestamp += 0.015625;
    this.#originOfTimestamp.set(this.#timestamp, this.epoch.number);
    const isPoisoned = this.#prng.chance(this.#faults.poison);
    const badType = this.#prng.pick(["BlockStored", "BlockRemoved", "BlockMoved"]);
    const batch = { timestampSeconds: this.#timestamp, events, dataParallelRank: 0 } satisfies EventBatch;
    let payload = encodeEventBatch(batch, "vllm-0.24");
    if (isPoisoned) {
      payload = appendEvent(payload, events.length, badType);
      // The bad event stands for one that changed the pool.
      this.#someEvents(badType === "BlockStored" ? "stores" : "any");
    }
    if (this.#prng.chance(this.#faults.broken)) {
      // The time at its head stays, by which the publisher is known.
      return { payload: payload.subarray(0, 11 + this.#prng.below(payload.length - 11)), isPoisoned: true };
    }
    return { payload, isPoisoned };
  }

  #someEvents(kind: "stores" | "any" = "any"): KvEvent[] {
    const events: KvEvent[] = [];
    if (kind === "any" && this.#prng.chance(0.01)) {
      this.#copies.fill(0);
      events.push({ type: "AllBlocksCleared" });
    }
    const count = 1 + this.#prng.below(3);
    for (let i = 0; i < count; i += 1) {
      const block = this.#prng.below(BLOCKS);
      if (kind === "any" && this.#prng.chance(0.45)) {
        const held = this.#copies.flatMap((copies, n) => (copies > 0 ? [n] : []));
        if (held.length > 0) events.push(this.#remove(this.#prng.pick(held)));
      } else {
        events.push(...this.#store(block));
      }
    }
    return events;
  }

  #remove(block: number): KvEvent {
    this.#copies[block] -= 1;
    return {
      type: "BlockRemoved",
      blockHashes: [engineHash(this.epoch.number, block)],
      medium: "GPU",
      groupIdx: 0,
    };
  }

  /** Stores a block and whatever is missing of its prefix, as an engine does that computes a prompt. */
  #store(block: number): KvEvent[] {
    const events: KvEvent[] = [];
    const path: number[] = [];
    for (let node = block; node > 0; node = (node - 1) >> 1) path.unshift(node);
    path.unshift(0);
    let first = path.findIndex((node) => this.#copies[node] === 0);
    // A fully cached prompt computes its last block again, on a second copy.
    if (first < 0) first = path.length - 1;
    const reused = path.slice(0, first);
    // A request that skips the cache computes everything again.
    if (this.#settings.reports > 0 && this.#prng.chance(0.1)) first = 0;
    else if (reused.length > 0 && this.#prng.chance(this.#settings.reports))
      events.push(this.#stored(reused, null));
    // Blocks behind a hole are computed anew as well.
    const stored = path.slice(first);
    for (const node of stored) this.#copies[node] += 1;
    events.push(this.#stored(stored, first === 0 ? null : path[first - 1]));
    return events;
  }

  #stored(nodes: readonly number[], parent: number | null): KvEvent {
    return {
      type: "BlockStored",
      blockHashes: nodes.map((node) => engineHash(this.epoch.number, node)),
      parentBlockHash: parent === null ? null : engineHash(this.epoch.number, parent),
      tokenIds: nodes.flatMap(tokensOf),
      blockSize: BLOCK_SIZE,
      medium: "GPU",
      groupIdx: 0,
      kvCacheSpecKind: "full_attention",
      extraKeys: nodes.map(() => null),
    };
  }

  #restart(): void {
    this.log.push(`${this.nowMs}: restarts`);
    const downMs = 100 + this.#prng.below(2000);
    const up = this.nowMs + downMs;
    this.#isUp = false;
    this.#disconnect();
    this.#laterInWorld(up, () => {
      this.#isUp = true;
      this.#timestamp += downMs / 1000;
      this.#beginEpoch();
      // What it says before the subscription lands is lost; sometimes enough to pass the follower's last number.
      const head = this.#prng.chance(0.4) ? this.#prng.below(60) : this.#prng.below(3);
      for (let i = 0; i < head; i += 1) this.#publish();
      this.#connect();
    });
  }

  // ── network ────────────────────────────────────────────────────────────────────────────────────────────────────

  #breakConnection(): void {
    if (!this.#isUp || !this.#isConnected) return;
    this.log.push(`${this.nowMs}: breaks`);
    this.#disconnect();
    this.#laterInWorld(this.nowMs + 100 + this.#prng.below(3000), () => {
      if (this.#isUp && !this.#isConnected) this.#connect();
    });
  }

  #disconnect(): void {
    if (!this.#isConnected) return;
    this.#isConnected = false;
    this.#signal(() => {
      this.sync.disconnected(this.nowMs);
    });
  }

  #connect(): void {
    this.#isConnected = true;
    this.#signal(() => {
      this.sync.connected(this.nowMs);
    });
  }

  #signal(run: () => void): void {
    const { signals } = this.#settings;
    if (signals === "early") this.#later(this.nowMs, run);
    else if (signals === "ordered") this.#inOrder(run);
    else {
      this.#lastSignalAtMs = Math.max(
        this.#lastSignalAtMs,
        this.#lastLiveAtMs,
        this.nowMs + this.#prng.below(1500),
      );
      this.#later(this.#lastSignalAtMs, run);
    }
  }

  #sendLive(sequenceNumber: number, payload: Uint8Array): void {
    if (!this.#isConnected || this.#prng.chance(this.#faults.liveLoss)) return;
    const frames = encodeLiveFrames("", sequenceNumber, payload);
    if (this.#prng.chance(this.#faults.badFrames)) frames[1] = frames[1].subarray(0, 7);
    const isQueueLoss = this.#prng.chance(this.#faults.queueLoss);
    const times = this.#prng.chance(this.#faults.duplicate) ? 2 : 1;
    for (let i = 0; i < times; i += 1) {
      this.#inOrder(() => {
        if (isQueueLoss) this.sync.messagesLost(this.nowMs);
        else this.sync.liveMessage(frames, this.nowMs);
      });
    }
  }

  #answer(attempt: number, from: number): void {
    if (!this.#isUp || this.nowMs < this.#replayStalledUntilMs) {
      this.#later(this.nowMs + 2000, () => {
        this.#fail(attempt, this.#isUp ? "idle" : "unreachable");
      });
      return;
    }
    const { messages } = this.epoch;
    const ring = messages.flatMap(({ payload }, sequenceNumber) =>
      payload === null ? [] : [{ sequenceNumber, payload }],
    );
    let at = this.nowMs + 1;
    for (const { sequenceNumber, payload } of ring.slice(Math.max(0, ring.length - this.#settings.ringMax))) {
      if (sequenceNumber < from || this.#prng.chance(this.#faults.replayLoss)) continue;
      const shape = this.#prng.pick(["plain", "topic"] as const);
      const frames = encodeReplayReply({ identity: NO_IDENTITY, shape, topic: "t", sequenceNumber, payload });
      at += this.#prng.below(3);
      this.#deliverReply(at, attempt, frames.slice(1));
    }
    if (this.#prng.chance(this.#faults.endLoss)) {
      this.#later(at + 2000, () => {
        this.#fail(attempt, "idle");
      });
    } else {
      this.#deliverReply(at + 1, attempt, encodeReplayEnd(NO_IDENTITY, "plain").slice(1));
    }
  }

  #deliverReply(atMs: number, attempt: number, frames: Uint8Array[]): void {
    this.#later(atMs, () => {
      // Now and then a reply of a closed socket still slips through.
      if (this.#openAttempt !== attempt && !this.#prng.chance(0.05)) return;
      if (!this.sync.replayMessage(attempt, frames, this.nowMs) && this.#openAttempt === attempt) {
        this.#openAttempt = null;
      }
    });
  }

  #fail(attempt: number, reason: "idle" | "unreachable"): void {
    if (this.#openAttempt !== attempt) return;
    this.#openAttempt = null;
    this.sync.replayFailed(attempt, reason, this.nowMs);
  }

  // ── time ───────────────────────────────────────────────────────────────────────────────────────────────────────

  #inOrder(run: () => void): void {
    this.#lastLiveAtMs = Math.max(this.#lastLiveAtMs, this.nowMs + this.#prng.below(40));
    this.#later(this.#lastLiveAtMs, run);
  }

  #later(atMs: number, run: () => void): void {
    this.#schedule(atMs, run, false);
  }

  #laterInWorld(atMs: number, run: () => void): void {
    this.#schedule(atMs, run, true);
  }

  #schedule(atMs: number, run: () => void, isOfWorld: boolean): void {
    this.#deliveryCount += 1;
    const delivery = { atMs, order: this.#deliveryCount, run, isOfWorld };
    let position = this.#deliveries.length;
    while (position > 0 && this.#deliveries[position - 1].atMs > atMs) position -= 1;
    this.#deliveries.splice(position, 0, delivery);
  }

  #advance(untilMs: number): void {
    for (;;) {
      this.#act();
      const tickMs = Math.max(this.sync.nextTickMs, this.nowMs);
      const delivery = this.#deliveries[0] as Delivery | undefined;
      const next = Math.min(tickMs, delivery?.atMs ?? Infinity);
      if (next > untilMs) break;
      this.nowMs = Math.max(this.nowMs, next);
      if (delivery !== undefined && delivery.atMs <= tickMs) {
        this.#deliveries.shift();
        delivery.run();
      } else {
        this.sync.tick(this.nowMs);
      }
      this.#act();
      const broken = this.sync.check();
      assert(broken.length === 0, () => broken.join("; "));
      this.#checkRareChanges();
      this.onStep();
    }
    this.nowMs = untilMs;
  }

  /** `rareChanges` stays only while the counters do that not every message changes. */
  #checkRareChanges(): void {
    const { sync } = this;
    const rare = { ...sync.counters, messagesApplied: 0, eventsApplied: 0, blocksApplied: 0 };
    const now = { sync, changes: sync.rareChanges, text: JSON.stringify(rare) };
    const before = this.#rareBefore;
    if (before?.sync === sync)
      assert(
        (now.changes === before.changes) === (now.text === before.text),
        () => `rare changes: ${before.text} became ${now.text}`,
      );
    this.#rareBefore = now;
  }

  #act(): void {
    while (this.sync.isApplying) this.sync.continueApplying(this.nowMs);
    for (let action = this.sync.takeAction(); action !== null; action = this.sync.takeAction()) {
      if (action.kind === "abandon_replay") {
        if (this.#openAttempt === action.attempt) this.#openAttempt = null;
        continue;
      }
      const { attempt, from } = action;
      this.#openAttempt = attempt;
      this.sync.replayStarted(attempt, this.nowMs);
      this.log.push(`${this.nowMs}: asks ${from} (attempt ${attempt})`);
      this.#later(this.nowMs + 1 + this.#prng.below(20), () => {
        if (this.#openAttempt === attempt) this.#answer(attempt, from);
      });
    }
  }
}

/** Nothing goes wrong. */
export const NO_FAULTS: WorldFaults = {
  liveLoss: 0,
  replayLoss: 0,
  endLoss: 0,
  duplicate: 0,
  burnt: 0,
  poison: 0,
  broken: 0,
  badFrames: 0,
  queueLoss: 0,
  restart: 0,
  breakage: 0,
  stall: 0,
};

/** Token ids of a block: its number, so that equal prefixes have equal tokens in every epoch. */
export function tokensOf(block: number): number[] {
  return [block, block + 1000, block + 70_000, 7];
}

/** What the publisher of an epoch calls a block. */
export function engineHash(epoch: number, block: number): bigint {
  return (BigInt(epoch + 1) << 40n) | BigInt(block + 1);
}

/** Writes one bad event of this type behind a batch's good ones (fewer than 15). */
function appendEvent(payload: Uint8Array, eventCount: number, type: string): Uint8Array {
  // [ts, [events…], rank 0]: the array header of events is at byte 10, the rank is the last byte.
  assert(payload[10] === 0x90 + eventCount && eventCount < 15, "a short batch");
  const name = new TextEncoder().encode(type);
  const key = new TextEncoder().encode("type");
  const bad = [0x82, 0xa0 + key.length, ...key, 0xa0 + name.length, ...name, 0xa1, 0x78, 0x05];
  const longer = Uint8Array.from([...payload.subarray(0, -1), ...bad, 0]);
  longer[10] += 1;
  return longer;
}
