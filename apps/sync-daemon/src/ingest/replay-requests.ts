/**
 * Running replays, with a limit on their number: a fleet that restarts must not have a thousand
 * histories in memory together.
 *
 *   request ──▶ waiting (first in first out) ──slot──▶ running ──▶ ended | abandoned
 *                                                       │ silent at first, or too long: continues without its slot
 *                                                       ▼
 *                                                    overdue (at most OVERDUE_MAX)
 *
 * A request starts only while the lane for its answers has room. An engine answers with all it has,
 * and pauses meanwhile. A request without room would make the engine pause again and again, without
 * a result. A running request reads as fast as it can into the queue's replay lane. When that lane
 * is full the request is given up, and its failure is noted behind the messages that were queued.
 * The stream applies those and asks again from there.
 *
 * A slot is for a history that flows. A replay loses its slot when it has not begun within LEND_MS
 * (a silent or unreachable engine). It also loses the slot when it is not done within SLOT_MS (a
 * slow engine). So a slow replay can continue, but other replays do not wait for it.
 */

import type { ReplayFailure } from "@kvsync/core";

import type { Closeable, Frames, ReplayPatience, Transport, Violation } from "../transport/transport.ts";

/** An engine that answers at all begins within milliseconds, unless a step holds it up. */
const LEND_MS = 250;
/** Time in which a history of 100,000 messages flows. */
const SLOT_MS = 10_000;
/** Requests that go on without a slot: each is a socket and a buffer that hardly fills. */
const OVERDUE_MAX = 256;

/** Whose replay it is, and what it does with the answers. */
export interface ReplayClient {
  /** The engine's replay socket, and the network to it. */
  readonly replayEndpoint: string;
  readonly transport: Transport;
  /** The request was sent. */
  replayStarted(attempt: number, nowMs: number): void;
  /**
   * One answer.
   *
   * @returns false when there is no room for it: the request is given up.
   */
  replayReceived(attempt: number, frames: Frames): boolean;
  /** The request ended early, behind all answers; `violation` is what the engine sent that ended it. */
  replayEndedEarly(attempt: number, failure: ReplayFailure, violation?: Violation, detail?: string): void;
}

interface Request {
  readonly client: ReplayClient;
  readonly attempt: number;
  readonly from: number;
  running: Closeable | null;
  /** When it was sent. */
  sentMs: number;
  hasBegun: boolean;
  isOverdue: boolean;
}

/** Replay requests of one thread. */
export class ReplayRequests {
  readonly #limit: number;
  readonly #patience: ReplayPatience;
  readonly #hasRoom: () => boolean;
  readonly #now: () => number;
  readonly #requests = new Map<ReplayClient, Map<number, Request>>();
  #waiting: Request[] = [];
  readonly #running = new Set<Request>();
  #overdue = 0;

  /**
   * @param limits - requests running at once, and the silence that ends one.
   * @param hasRoom - whether answers can be taken in now.
   * @param now - milliseconds that never go back.
   */
  constructor(
    limits: { readonly running: number; readonly patience: ReplayPatience },
    hasRoom: () => boolean,
    now: () => number,
  ) {
    this.#limit = limits.running;
    this.#patience = limits.patience;
    this.#hasRoom = hasRoom;
    this.#now = now;
  }

  /**
   * Asks for a replay, now or when there is room.
   *
   * @param client - who asks.
   * @param attempt - the stream's number for it.
   * @param from - first sequence number wanted.
   */
  request(client: ReplayClient, attempt: number, from: number): void {
    const request: Request = {
      client,
      attempt,
      from,
      running: null,
      sentMs: 0,
      hasBegun: false,
      isOverdue: false,
    };
    const attempts = this.#requests.get(client) ?? new Map<number, Request>();
    this.#requests.set(client, attempts);
    attempts.set(attempt, request);
    this.#waiting.push(request);
    this.startWaiting();
  }

  /**
   * Gives up one attempt. Nothing is reported of it any more.
   *
   * @param client - who asked.
   * @param attempt - which.
   */
  abandon(client: ReplayClient, attempt: number): void {
    const request = this.#requests.get(client)?.get(attempt);
    if (request === undefined) return;
    if (request.running === null) this.#waiting = this.#waiting.filter((waiting) => waiting !== request);
    else request.running.close();
    this.#forget(request);
  }

  /**
   * Gives up all of a client's attempts.
   *
   * @param client - who goes away.
   */
  abandonAll(client: ReplayClient): void {
    for (const attempt of [...(this.#requests.get(client)?.keys() ?? [])]) this.abandon(client, attempt);
  }

  /** Starts what waits, as far as there is room. To be called when room may have come, and a few times a second. O(running). */
  startWaiting(): void {
    if (this.#waiting.length === 0) return;
    this.#lendSlots();
    while (this.#running.size - this.#overdue < this.#limit && this.#hasRoom()) {
      const request = this.#waiting.shift();
      if (request === undefined) return;
      this.#start(request);
    }
  }

  #lendSlots(): void {
    const nowMs = this.#now();
    for (const request of this.#running) {
      if (this.#overdue >= OVERDUE_MAX) return;
      if (request.isOverdue || nowMs - request.sentMs < (request.hasBegun ? SLOT_MS : LEND_MS)) continue;
      request.isOverdue = true;
      this.#overdue += 1;
    }
  }

  /** A late answer flows like any other, and takes a slot like any other, even where there is none left. */
  #begin(request: Request): void {
    request.hasBegun = true;
    if (!request.isOverdue) return;
    request.isOverdue = false;
    request.sentMs = this.#now();
    this.#overdue -= 1;
  }

  #forget(request: Request): void {
    const attempts = this.#requests.get(request.client);
    attempts?.delete(request.attempt);
    if (attempts?.size === 0) this.#requests.delete(request.client);
    if (request.running === null) return;
    request.running = null;
    this.#running.delete(request);
    if (request.isOverdue) this.#overdue -= 1;
    this.startWaiting();
  }

  #start(request: Request): void {
    const { client, attempt } = request;
    const giveUp = (failure: ReplayFailure, violation?: Violation, detail?: string): void => {
      this.#forget(request);
      client.replayEndedEarly(attempt, failure, violation, detail);
    };
    request.sentMs = this.#now();
    this.#running.add(request);
    client.replayStarted(attempt, request.sentMs);
    request.running = client.transport.requestReplay(client.replayEndpoint, request.from, this.#patience, {
      message: (frames) => {
        if (!request.hasBegun) this.#begin(request);
        if (request.running === null || client.replayReceived(attempt, frames)) return;
        request.running.close();
        giveUp("refused");
      },
      ended: (failure, violation, detail) => {
        if (failure === null) this.#forget(request);
        else giveUp(failure, violation, detail);
      },
    });
  }
}
