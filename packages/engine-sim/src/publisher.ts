/**
 * One life of an engine's publisher: a PUB socket for live messages, a ROUTER for replay, one loop that serves both.
 *
 *     publish ─▶ queue ─▶ ┐                        ┌─▶ PUB ─▶ subscribers
 *                         ├─ loop: one request, ───┤
 *     ROUTER ─▶ requests ─▶ ┘  then one batch      └─▶ history (ring) ─▶ ROUTER ─▶ who asked
 *
 *  B1  Live messages stall while a replay is answered, so that a replay is a snapshot up to the last one published.
 *  B2  History holds what was sent, also what was then lost on purpose on the live path.
 *  B3  A batch is encoded and sent in the order of its publication, once.
 *  B4  Nothing lingers: messages queued when the publisher closes are gone, as with a process that
 *      dies. Its ports are free when `close` resolves (test/engine-worker.test.ts).
 *
 * The library's own drops stay what they are: PUB drops for a subscriber at `hwm`, ROUTER at libzmq's default of 1,000.
 *
 * Source: vllm/distributed/kv_events.py (ZmqEventPublisher) @ b4e69e0a; shapes of replies: the README of core's wire.
 */
import { connect } from "node:net";
import { setTimeout as sleep } from "node:timers/promises";

import { Publisher as PubSocket, Router } from "zeromq";
import {
  encodeEventBatch,
  encodeLiveFrames,
  encodeReplayEnd,
  encodeReplayReply,
  parseReplayRequest,
  type Prng,
  type Dialect,
  type ReplayRequest,
  type ReplayShape,
  WireError,
} from "@kvsync/core";
import type { NumberedBatch } from "./engine-contract.ts";
import { EngineError } from "./engine-error.ts";
import type { PoisonForm } from "./fault.ts";
import { brokenBatch, type EventPoison, withBrokenEvent } from "./poison.ts";
import { ReplayHistory } from "./replay-history.ts";

/** Queued batches from which on the engine should wait: a step's events are a few kB, so that this is some MB. */
export const BACKLOG_BATCHES = 512;

/** Replay requests waiting at most; a client has one or two open, so that more is a broken or hostile one. */
const REPLAY_REQUESTS_MAX = 256;

/** After a restart, a port can be taken by another program for a moment. */
export const REBIND_ATTEMPTS = 100;
const BIND_RETRY_MS = 20;

/** Longest wait for libzmq's I/O thread to close a listener, which takes milliseconds. */
const UNLISTENED_MS_MAX = 5000;
const UNLISTENED_POLL_MS = 2;

/** Where and how a publisher speaks. */
export interface PublisherSettings {
  readonly dialect: Dialect;
  readonly replayShape: ReplayShape;
  readonly topic: string;
  readonly bufferSteps: number;
  readonly hwm: number;
  readonly maxQueueSize: number;
  /** Null: plain ZeroMQ. */
  readonly curve: CurveServerKeys | null;
}

/** Long-term keys of a side that listens, in Z85 (40 characters each). */
export interface CurveServerKeys {
  readonly publicKey: string;
  readonly secretKey: string;
}

/** Counters of an engine's publishers, over all their lives. */
export interface PublisherCounts {
  published: number;
  publishedBytes: number;
  droppedLive: number;
  droppedReplay: number;
  replayRequests: number;
  replayRequestsIgnored: number;
  replayedMessages: number;
  poisoned: number;
  restarts: number;
}

/** What the network and the subscribers do to messages; outlives a restart of the engine. */
export interface NetworkFaults {
  readonly random: Prng;
  dropPercent: number;
  replayDropPercent: number;
  /** Live messages before this time (performance clock, ms) are lost. */
  losingUntilMs: number;
}

type Outgoing =
  | { readonly kind: "batch"; readonly batch: NumberedBatch }
  | { readonly kind: "broken_batch"; readonly sequenceNumber: number; readonly timestampSeconds: number }
  | { readonly kind: "frames"; readonly frames: readonly Uint8Array[] };

/** A publisher from its binding to its end. Made unbound, so that batches can be queued while ports become free. */
export class Publisher {
  readonly #settings: PublisherSettings;
  readonly #counts: PublisherCounts;
  readonly #network: NetworkFaults;
  readonly #history: ReplayHistory;
  readonly #pub = new PubSocket();
  readonly #router = new Router();
  #queue: Outgoing[] = [];
  #queueHead = 0;
  readonly #requests: ReplayRequest[] = [];
  #poison: EventPoison[] = [];
  #heldUntilMs = 0;
  #sending = false;
  #closed = false;
  #wake: (() => void) | null = null;
  #whenDrained: (() => void)[] = [];
  #loops: Promise<unknown> = Promise.resolve();
  readonly #endpoints: string[] = [];

  constructor(
    settings: PublisherSettings,
    dependencies: { counts: PublisherCounts; network: NetworkFaults },
  ) {
    this.#settings = settings;
    this.#counts = dependencies.counts;
    this.#network = dependencies.network;
    this.#history = new ReplayHistory(settings.bufferSteps);
    this.#pub.sendHighWaterMark = settings.hwm;
    this.#pub.linger = 0;
    this.#router.linger = 0;
    if (settings.curve === null) return;
    for (const socket of [this.#pub, this.#router]) {
      socket.curveServer = true;
      socket.curvePublicKey = settings.curve.publicKey;
      socket.curveSecretKey = settings.curve.secretKey;
    }
  }

  /**
   * Binds both sockets and begins to send.
   *
   * @param endpoint - of PUB; port `*` takes a free one.
   * @param replayEndpoint - of ROUTER; null runs without replay.
   * @param bindAttempts - how often to try a port that is in use: 1 for a first start, `REBIND_ATTEMPTS` after a restart.
   * @returns the actual endpoints.
   * @throws EngineError `bind_failed`.
   */
  async open(
    endpoint: string,
    replayEndpoint: string | null,
    bindAttempts: number,
  ): Promise<{ endpoint: string; replayEndpoint: string | null }> {
    for (const socket of [this.#pub, this.#router]) socket.ipv6 = endpoint.startsWith("tcp://[");
    const bound = await bind(this.#pub, endpoint, bindAttempts);
    this.#endpoints.push(bound);
    const replayBound =
      replayEndpoint === null ? null : await bind(this.#router, replayEndpoint, bindAttempts);
    if (replayBound !== null) this.#endpoints.push(replayBound);
    this.#loops = Promise.all([this.#publishLoop(), replayBound === null ? null : this.#receiveLoop()]);
    return { endpoint: bound, replayEndpoint: replayBound };
  }

  /** Batches waiting to be sent. */
  get queueLength(): number {
    return this.#queue.length - this.#queueHead;
  }

  /** Batches that a replay could have. */
  get historySize(): number {
    return this.#history.size;
  }

  /** Queues a batch. @throws EngineError `publish_queue_full`. */
  publish(batch: NumberedBatch): void {
    this.#push({ kind: "batch", batch });
  }

  /** Resolves when the queue is empty and its last message is with the socket, or the publisher has closed. */
  drained(): Promise<void> {
    if (this.#closed || (this.queueLength === 0 && !this.#sending)) return Promise.resolve();
    return new Promise((resolve) => this.#whenDrained.push(resolve));
  }

  /** Sends nothing, live or replayed, for a while; what is published waits. */
  hold(seconds: number): void {
    this.#heldUntilMs = performance.now() + seconds * 1000;
    this.#wakeUp();
  }

  /** Forgets all but the newest `keep` batches of history. */
  truncateHistory(keep: number): void {
    this.#history.truncate(keep);
  }

  /**
   * Sends something broken: inside the next batch, or by itself.
   *
   * @param form - see `PoisonForm`.
   * @param takeNumber - gives the sequence number of a broken batch.
   * @param timestampSeconds - time of a broken batch.
   */
  poison(form: PoisonForm, takeNumber: () => number, timestampSeconds: number): void {
    this.#counts.poisoned++;
    const topic = new TextEncoder().encode(this.#settings.topic);
    const payload = encodeEventBatch(
      { timestampSeconds, events: [], dataParallelRank: 0 },
      this.#settings.dialect,
    );
    switch (form) {
      case "malformed_event":
      case "unknown_event_type":
      case "unknown_field":
        this.#poison.push(form);
        break;
      case "malformed_batch":
        this.#push({ kind: "broken_batch", sequenceNumber: takeNumber(), timestampSeconds });
        break;
      case "short_sequence_frame":
        this.#push({ kind: "frames", frames: [topic, new Uint8Array(7), payload] });
        break;
      case "missing_sequence_frame":
        this.#push({ kind: "frames", frames: [topic, payload] });
        break;
    }
  }

  /**
   * Closes both sockets, forgets what was queued. Resolves when both loops have ended and the ports are free (B4).
   */
  async close(): Promise<void> {
    if (this.#closed) return;
    this.#closed = true;
    this.#queue = [];
    this.#queueHead = 0;
    this.#wakeUp();
    this.#pub.close();
    this.#router.close();
    await this.#loops;
    await Promise.all(this.#endpoints.map(unlistened));
    this.#resolveDrained();
  }

  #push(message: Outgoing): void {
    const { maxQueueSize } = this.#settings;
    if (this.#closed) throw new EngineError({ code: "stopped" }, "the publisher was closed");
    if (this.queueLength >= maxQueueSize)
      throw new EngineError(
        { code: "publish_queue_full", queueMax: maxQueueSize },
        `${maxQueueSize} batches wait to be sent, the limit; await drained() while backlogged`,
      );
    this.#queue.push(message);
    this.#wakeUp();
  }

  // Closing the sockets ends it: a send or receive under way rejects, which is the end and not a failure.
  async #publishLoop(): Promise<void> {
    while (!this.#closed) {
      const heldMs = this.#heldUntilMs - performance.now();
      if (heldMs > 0) {
        await this.#sleep(heldMs);
        continue;
      }
      const request = this.#requests.shift();
      const message = this.#shift();
      this.#sending = true;
      try {
        if (request !== undefined) await this.#answer(request);
        if (message !== undefined) await this.#send(message);
      } catch (error) {
        if (!this.#isClosed()) throw error;
      }
      this.#sending = false;
      if (this.queueLength > 0 || this.#requests.length > 0) continue;
      this.#resolveDrained();
      await this.#sleep(null);
    }
  }

  async #receiveLoop(): Promise<void> {
    for await (const frames of this.#router) {
      try {
        const request = parseReplayRequest(frames);
        if (this.#requests.length >= REPLAY_REQUESTS_MAX) this.#counts.replayRequestsIgnored++;
        else this.#requests.push(request);
      } catch (error) {
        // As in vLLM, what is not a request gets no answer.
        if (!(error instanceof WireError)) throw error;
        this.#counts.replayRequestsIgnored++;
      }
      this.#wakeUp();
    }
  }

  async #send(message: Outgoing): Promise<void> {
    if (message.kind === "frames") {
      await this.#pub.send([...message.frames]);
      return;
    }
    const sent =
      message.kind === "batch"
        ? { sequenceNumber: message.batch.sequenceNumber, payload: this.#encode(message.batch) }
        : { sequenceNumber: message.sequenceNumber, payload: brokenBatch(message.timestampSeconds) };
    const network = this.#network;
    const lost =
      performance.now() < network.losingUntilMs || network.random.chance(network.dropPercent / 100);
    if (lost) this.#counts.droppedLive++;
    else await this.#pub.send(encodeLiveFrames(this.#settings.topic, sent.sequenceNumber, sent.payload));
    this.#history.add(sent);
    this.#counts.published++;
    this.#counts.publishedBytes += sent.payload.length;
  }

  #encode(batch: NumberedBatch): Uint8Array {
    const { dialect } = this.#settings;
    let payload = encodeEventBatch(batch.batch, dialect);
    for (const form of this.#poison) payload = withBrokenEvent(payload, form, dialect);
    this.#poison = [];
    return payload;
  }

  async #answer(request: ReplayRequest): Promise<void> {
    const { replayShape: shape, topic } = this.#settings;
    const { identity, startSequenceNumber } = request;
    const network = this.#network;
    this.#counts.replayRequests++;
    for (const { sequenceNumber, payload } of this.#history.from(startSequenceNumber)) {
      if (network.random.chance(network.replayDropPercent / 100)) {
        this.#counts.droppedReplay++;
        continue;
      }
      await this.#router.send(encodeReplayReply({ identity, shape, topic, sequenceNumber, payload }));
      this.#counts.replayedMessages++;
    }
    await this.#router.send(encodeReplayEnd(identity, shape));
  }

  #shift(): Outgoing | undefined {
    const message = this.#queue[this.#queueHead];
    if (message === undefined) return undefined;
    this.#queueHead++;
    // Compacted when half is dead, so that each entry is moved once on average.
    if (this.#queueHead * 2 > this.#queue.length) {
      this.#queue = this.#queue.slice(this.#queueHead);
      this.#queueHead = 0;
    }
    return message;
  }

  // Until woken, or for a time.
  async #sleep(milliseconds: number | null): Promise<void> {
    let timer: NodeJS.Timeout | undefined;
    await new Promise<void>((resolve) => {
      this.#wake = resolve;
      if (this.#closed) resolve();
      else if (milliseconds !== null) timer = setTimeout(resolve, Math.max(0, milliseconds));
    });
    this.#wake = null;
    clearTimeout(timer);
  }

  #wakeUp(): void {
    this.#wake?.();
  }

  // A method, since the compiler does not see that awaiting may change the field.
  #isClosed(): boolean {
    return this.#closed;
  }

  #resolveDrained(): void {
    const waiting = this.#whenDrained;
    this.#whenDrained = [];
    for (const resolve of waiting) resolve();
  }
}

/**
 * Waits until nothing listens at an endpoint. libzmq closes a listener in its I/O thread, at some time after `close` returns. Its
 * own event of that is not used: a socket with a monitor aborts the process when it closes in a worker thread.
 */
async function unlistened(endpoint: string): Promise<void> {
  const deadlineMs = performance.now() + UNLISTENED_MS_MAX;
  while (performance.now() < deadlineMs && !(await isRefused(endpoint))) await sleep(UNLISTENED_POLL_MS);
}

function isRefused(endpoint: string): Promise<boolean> {
  const { hostname, port } = new URL(endpoint);
  const socket = connect(Number(port), hostname.replace(/^\[|\]$/g, ""));
  return new Promise((resolve) => {
    socket.once("connect", () => {
      socket.destroy();
      resolve(false);
    });
    socket.once("error", () => {
      resolve(true);
    });
  });
}

async function bind(socket: PubSocket | Router, endpoint: string, attemptsMax: number): Promise<string> {
  for (let attempt = 1; ; attempt++) {
    try {
      await socket.bind(endpoint);
      return socket.lastEndpoint ?? endpoint;
    } catch (error) {
      const inUse = error instanceof Error && "code" in error && error.code === "EADDRINUSE";
      if (!inUse || attempt === attemptsMax)
        throw new EngineError(
          { code: "bind_failed", endpoint },
          `cannot bind ${endpoint}: ${error instanceof Error ? error.message : String(error)}`,
          { cause: error },
        );
      await new Promise((resolve) => setTimeout(resolve, BIND_RETRY_MS));
    }
  }
}
