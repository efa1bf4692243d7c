/**
 * Events as they travel in reality, in virtual time. Each step's changes become a batch in vLLM's
 * bytes under a sequence number. A network delays and loses messages. Core's stream states find
 * gaps, request replays and set their trust.
 * The code is the daemon's; only sockets and clock are missing.
 *
 *     publisher ──live: delayed, lossy──▶ WorkerSync ─▶ decoder ─▶ index
 *        └ history ◀──── request ──────────┘  ▲
 *             └──replay, one round trip later─┘
 *
 * The network of replays is ideal: the replies of an attempt arrive together, a round trip after the request, and none is
 * lost. Streams are connected when the run begins.
 *
 *  X1  A restarted engine has no history, and numbers from 0; its stream detects that the
 *      connection breaks and comes back.
 */
import {
  encodeEventBatch,
  encodeLiveFrames,
  encodeReplayEnd,
  encodeReplayReply,
  EventBatchDecoder,
  type KvEvent,
  type Prng,
  type SyncLimits,
  WorkerSync,
} from "@kvsync/core";

import type { Trust } from "@kvsync/routing";
import { NAME_WORDS } from "./block-naming.ts";
import { ArrivalTimes, type EventPath, type EventPathCounts, type NetworkSettings } from "./event-path.ts";
import { EventQueue } from "./event-queue.ts";
import { type FleetIndex, SIMULATED_MODEL } from "./fleet-index.ts";
import type { StepLog, StepLogReader } from "./step-log.ts";

const DIALECT = "vllm-0.26";
/** Virtual time 0 on the engines' wall clocks; any time after 2020 would do. */
const EPOCH_SECONDS = 1_767_225_600;
const NO_IDENTITY = new Uint8Array(0);
const MS = 1000;
/** Of a batch: the array's header and its timestamp. */
const READABLE_BYTES = 11;

/** Told what publishers said and what took effect, for audits. */
export interface WireJournal {
  /** A publisher made a message; `changes` is a StepLog's copy. Timestamps differ between messages of one engine. */
  published(engine: number, sequenceNumber: number, timestampSeconds: number, changes: Uint32Array): void;
  /** The message of that timestamp took effect on the index, first or again. */
  applied(engine: number, timestampSeconds: number): void;
}

/** What last came out of the network. */
export interface WireEvent {
  readonly kind: "message" | "replay" | "connection" | "tick";
  readonly engine: number;
  /** Of the message, or the first that a replay was asked for; null otherwise. */
  readonly sequenceNumber: number | null;
}

/** One engine's publisher and the stream that follows it. */
interface Stream {
  sync: WorkerSync;
  /** Number of the next message. */
  nextNumber: number;
  /** The last messages, the oldest first, null for a number that was never sent; the first one's number is nextNumber − history.length. */
  history: (Uint8Array | null)[];
  historyMax: number;
  /** Which life the publisher is in; what is on its way from an earlier one is dropped. */
  life: number;
  openAttempt: number | null;
  loss: number;
  /** Messages to come that will break off. */
  poisoned: number;
  /** Until when the publisher is stuck; what it sends meanwhile goes out then. */
  heldUntil: number;
  /** When its messages on the way were sent, the oldest first. */
  readonly sentAt: number[];
}

/** See the header. */
export class WirePath implements EventPath {
  readonly counts: EventPathCounts = { messages: 0, lost: 0, reordered: 0, replays: 0 };
  readonly #index: FleetIndex;
  readonly #network: NetworkSettings;
  readonly #random: Prng;
  readonly #times: ArrivalTimes;
  readonly #limits: Partial<SyncLimits>;
  readonly #decoder: EventBatchDecoder;
  readonly #streams: readonly Stream[];
  readonly #queue = new EventQueue();
  readonly #actions: ((nowSeconds: number) => void)[] = [];
  readonly #unused: number[] = [];
  readonly #batch = new BatchBuilder();
  #stalledUntil = 0;
  /** For audits; null unless somebody keeps one. */
  journal: WireJournal | null = null;
  /** What `advance` did last; null before. */
  lastEvent: WireEvent | null = null;

  /**
   * @param index - written to.
   * @param engineCount - engines.
   * @param settings - network; `historyMessages` that a publisher keeps for replays; `limits` replaces single ones of the streams.
   * @param random - of the network; used by nobody else.
   */
  constructor(
    index: FleetIndex,
    engineCount: number,
    settings: NetworkSettings & {
      readonly historyMessages: number;
      readonly limits?: Partial<SyncLimits> | undefined;
    },
    random: Prng,
  ) {
    this.#index = index;
    this.#network = settings;
    this.#random = random;
    this.#times = new ArrivalTimes(settings, engineCount, random);
    this.#limits = settings.limits ?? {};
    this.#decoder = new EventBatchDecoder(index.index.scratch);
    this.#streams = Array.from({ length: engineCount }, (_, engine) => ({
      sync: this.#makeSync(engine),
      nextNumber: 0,
      history: [],
      historyMax: settings.historyMessages,
      life: 0,
      openAttempt: null,
      loss: settings.loss,
      poisoned: 0,
      heldUntil: 0,
      sentAt: [],
    }));
    for (const [engine, stream] of this.#streams.entries()) {
      stream.sync.connected(0);
      this.#act(engine, 0);
    }
  }

  /** See EventPath. */
  get nextAt(): number {
    let next = this.#queue.nextAt;
    for (const { sync } of this.#streams) next = Math.min(next, sync.nextTickMs / MS);
    return Math.max(next, this.#stalledUntil);
  }

  /** See EventPath. */
  publish(engine: number, log: StepLog, nowSeconds: number): void {
    const stream = this.#stream(engine);
    const timestamp = EPOCH_SECONDS + nowSeconds;
    let payload = this.#batch.encode(log, timestamp);
    if (stream.poisoned > 0) {
      stream.poisoned--;
      // The time at its head stays, by which a message is known.
      payload = payload.subarray(0, Math.max(READABLE_BYTES, Math.floor(payload.length / 2)));
    }
    const number = stream.nextNumber++;
    this.journal?.published(engine, number, timestamp, log.copy());
    stream.history.push(payload);
    if (stream.history.length > stream.historyMax) stream.history.shift();
    this.counts.messages++;
    if (stream.loss > 0 && this.#random.chance(stream.loss)) {
      this.counts.lost++;
      return;
    }
    const { life } = stream;
    const sentAt = Math.max(nowSeconds, stream.heldUntil);
    stream.sentAt.push(nowSeconds);
    this.#plan(this.#times.next(engine, sentAt, this.counts), (now) => {
      if (stream.life !== life) return;
      this.lastEvent = { kind: "message", engine, sequenceNumber: number };
      stream.sentAt.shift();
      stream.sync.liveMessage(encodeLiveFrames("", number, payload), now * MS);
      this.#act(engine, now);
    });
  }

  /** See EventPath. */
  restarted(engine: number, nowSeconds: number): void {
    const stream = this.#stream(engine);
    stream.life++;
    stream.nextNumber = 0;
    stream.history = [];
    stream.sentAt.length = 0;
    stream.openAttempt = null;
    this.#plan(nowSeconds + this.#network.delaySeconds, (now) => {
      this.lastEvent = { kind: "connection", engine, sequenceNumber: null };
      stream.sync.disconnected(now * MS);
      stream.sync.connected(now * MS);
      this.#act(engine, now);
    });
  }

  /** The process that keeps the index dies and is back at once: everything it knew is gone. */
  loseIndex(nowSeconds: number): void {
    for (const [engine, stream] of this.#streams.entries()) {
      this.#index.index.clearRank(engine);
      stream.openAttempt = null;
      stream.sync = this.#makeSync(engine);
      stream.sync.connected(nowSeconds * MS);
      this.#act(engine, nowSeconds);
    }
  }

  /** Loses this share of an engine's live messages from now on. */
  setLoss(engine: number, loss: number): void {
    this.#stream(engine).loss = loss;
  }

  /** The publisher of an engine is stuck until then: its messages go out afterwards, all at once. */
  hold(engine: number, untilSeconds: number): void {
    this.#stream(engine).heldUntil = untilSeconds;
  }

  /** Cuts an engine's history to its last messages, for good. */
  truncateHistory(engine: number, keep: number): void {
    const stream = this.#stream(engine);
    stream.historyMax = keep;
    stream.history.splice(0, Math.max(0, stream.history.length - keep));
  }

  /** A number is taken and never sent, live or in a replay. */
  burnSequenceNumber(engine: number): void {
    const stream = this.#stream(engine);
    stream.nextNumber++;
    stream.history.push(null);
  }

  /** The next messages of an engine break off, live and in replays: what they said cannot be read. */
  poison(engine: number, count: number): void {
    this.#stream(engine).poisoned += count;
  }

  /** Nothing is read until then, as when the process that keeps the index is frozen; afterwards everything is, in order. */
  stall(untilSeconds: number): void {
    this.#stalledUntil = Math.max(this.#stalledUntil, untilSeconds);
  }

  /** The stream that follows an engine. */
  syncOf(engine: number): WorkerSync {
    return this.#stream(engine).sync;
  }

  /** See EventPath. */
  advance(nowSeconds: number): void {
    if (nowSeconds < this.#stalledUntil) return;
    while (this.#queue.nextAt <= nowSeconds) {
      const at = Math.max(this.#queue.nextAt, this.#stalledUntil);
      const slot = this.#queue.take();
      const action = this.#actions[slot];
      this.#unused.push(slot);
      action?.(at);
    }
    for (const [engine, { sync }] of this.#streams.entries()) {
      // A tick's time went through a division, and may have come back an ulp short of itself.
      const dueMs = sync.nextTickMs;
      if (dueMs / MS > nowSeconds) continue;
      this.lastEvent = { kind: "tick", engine, sequenceNumber: null };
      sync.tick(Math.max(dueMs, nowSeconds * MS));
      this.#act(engine, nowSeconds);
    }
  }

  /** See EventPath. */
  trustOf(engine: number): Trust {
    return this.#stream(engine).sync.trust;
  }

  /** See EventPath. */
  lagSeconds(nowSeconds: number): number {
    let oldest = nowSeconds;
    for (const { sentAt } of this.#streams) oldest = Math.min(oldest, sentAt[0] ?? oldest);
    return nowSeconds - oldest;
  }

  #stream(engine: number): Stream {
    const stream = this.#streams[engine];
    if (stream === undefined) throw new RangeError(`there is no engine ${engine}`);
    return stream;
  }

  #makeSync(engine: number): WorkerSync {
    return new WorkerSync(
      {
        rankSlot: engine,
        model: SIMULATED_MODEL,
        dpRank: 0,
        hasReplay: true,
        // Nobody asks these engines for reports: every announcement is a copy, and copies can be compared.
        reportMode: "delta",
        limits: this.#limits,
      },
      {
        index: this.#index.index,
        decoder: this.#decoder,
        listener: {
          messageApplied: (_lane, _count, timestampSeconds) =>
            this.journal?.applied(engine, timestampSeconds),
        },
      },
    );
  }

  /** Does what a stream asks for. */
  #act(engine: number, nowSeconds: number): void {
    const stream = this.#stream(engine);
    const { sync } = stream;
    for (let action = sync.takeAction(); action !== null; action = sync.takeAction()) {
      const { attempt } = action;
      if (action.kind === "abandon_replay") {
        if (stream.openAttempt === attempt) stream.openAttempt = null;
        continue;
      }
      const { from } = action;
      this.counts.replays++;
      stream.openAttempt = attempt;
      sync.replayStarted(attempt, nowSeconds * 1000);
      this.#plan(nowSeconds + 2 * this.#network.delaySeconds, (now) => {
        this.#answer(engine, attempt, from, now);
      });
    }
  }

  #answer(engine: number, attempt: number, from: number, nowSeconds: number): void {
    const stream = this.#stream(engine);
    if (stream.openAttempt !== attempt) return;
    this.lastEvent = { kind: "replay", engine, sequenceNumber: from };
    const first = stream.nextNumber - stream.history.length;
    let isWanted = true;
    for (let number = Math.max(first, from); number < stream.nextNumber && isWanted; number++) {
      const payload = stream.history[number - first];
      if (payload === undefined || payload === null) continue;
      const reply = {
        identity: NO_IDENTITY,
        shape: "plain",
        topic: "",
        sequenceNumber: number,
        payload,
      } as const;
      isWanted = stream.sync.replayMessage(attempt, encodeReplayReply(reply).slice(1), nowSeconds * MS);
    }
    if (isWanted)
      stream.sync.replayMessage(attempt, encodeReplayEnd(NO_IDENTITY, "plain").slice(1), nowSeconds * MS);
    if (stream.openAttempt === attempt) stream.openAttempt = null;
    this.#act(engine, nowSeconds);
  }

  #plan(atSeconds: number, action: (nowSeconds: number) => void): void {
    const slot = this.#unused.pop() ?? this.#actions.length;
    this.#actions[slot] = action;
    this.#queue.plan(atSeconds, slot);
  }
}

/** Makes batches of logs: as an engine's step makes them. */
class BatchBuilder implements StepLogReader {
  #events: KvEvent[] = [];

  encode(log: StepLog, timestampSeconds: number): Uint8Array {
    this.#events = [];
    log.tell(this);
    return encodeEventBatch({ timestampSeconds, events: this.#events, dataParallelRank: 0 }, DIALECT);
  }

  stored(words: Uint32Array, count: number, hasParent: boolean): void {
    const hashes = hashesOf(words);
    const parentBlockHash = hasParent ? (hashes.shift() ?? null) : null;
    this.#events.push({
      type: "BlockStored",
      blockHashes: hashes,
      parentBlockHash,
      tokenIds: words.slice(words.length - count * NAME_WORDS),
      blockSize: NAME_WORDS,
      medium: "GPU",
      groupIdx: 0,
      kvCacheSpecKind: "full_attention",
      extraKeys: hashes.map(() => null),
    });
  }

  offloaded(low: number, high: number): void {
    this.#events.push({
      type: "BlockStored",
      blockHashes: hashesOf(Uint32Array.of(low, high)),
      parentBlockHash: null,
      tokenIds: [],
      blockSize: 0,
      medium: "CPU",
      groupIdx: 0,
      kvCacheSpecKind: "full_attention",
    });
  }

  removed(tier: 0 | 1, words: Uint32Array): void {
    const medium = tier === 0 ? "GPU" : "CPU";
    this.#events.push({ type: "BlockRemoved", blockHashes: hashesOf(words), medium, groupIdx: 0 });
  }

  cleared(): void {
    this.#events.push({ type: "AllBlocksCleared" });
  }
}

function hashesOf(words: Uint32Array): bigint[] {
  const hashes: bigint[] = [];
  for (let at = 0; at < words.length; at += NAME_WORDS)
    hashes.push((BigInt(words[at + 1] ?? 0) << 32n) | BigInt(words[at] ?? 0));
  return hashes;
}
