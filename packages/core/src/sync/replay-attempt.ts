/**
 * One request for replay from the moment it is wanted to its end, and the actions that remain for
 * its owner.
 *
 *     begin ──▶ requested ──takeAction──▶ sent ──start──▶ answered ──▶ end
 *                   │                      └────abandon────▶ abandonment ──takeAction──▶ (nothing)
 *                   └──abandon──▶ (nothing: no request was sent)
 *
 * Invariants
 *  R2  At most one attempt is in progress. Numbers of attempts grow, and no number is asked for twice.
 *  R3  An attempt is abandoned only if its request was taken, once, and before the next request.
 *
 * Not here: the purpose of an attempt and the effect of its end (worker-sync.ts).
 */
import { assert } from "../assert.ts";
import type { SyncAction } from "./sync-report.ts";
import type { SyncLimits } from "./sync-settings.ts";

/**
 * What a replay is for.
 *  - history: the stream's beginning, from 0. - gap: from the last applied message. - verify: likewise, from an older one.
 *  - probe: from the last one, of a live stream that is idle. - rebuild: what came after a lasting loss, or all of it.
 */
export type Purpose = "history" | "gap" | "verify" | "probe" | "rebuild";

/** What is known of an attempt when it is asked for. */
export interface AttemptPlan {
  readonly purpose: Purpose;
  /** First message that is asked for. */
  readonly from: number;
  /** Last live number seen; −1 for none. The answer should reach it. */
  readonly target: number;
  /** Whether its publisher need not prove that it is ours. */
  readonly isProven: boolean;
}

/** One attempt and how far it has come. */
export class ReplayAttempt {
  readonly number: number;
  readonly target: number;
  purpose: Purpose;
  /** Whether its publisher has proved that it is ours, or need not. */
  isProven: boolean;
  /** Messages applied from its answers. */
  appliedCount = 0;
  /** What was noticed since it was asked for, and its answer cannot settle. */
  isLossSuspected = false;
  wentBackwards = false;
  readonly #limits: SyncLimits;
  #heardCount = 0;
  /** Highest number heard: only what is beyond it is progress. */
  #heardUpTo = -1;
  /** When it is given up for want of progress; until it is started, for want of a start. */
  #deadlineMs: number;
  /** When it is given up whatever it brings. */
  #endMs = Infinity;

  constructor(number: number, plan: AttemptPlan, limits: SyncLimits, nowMs: number) {
    this.number = number;
    this.target = plan.target;
    this.purpose = plan.purpose;
    this.isProven = plan.isProven;
    this.#limits = limits;
    this.#deadlineMs = nowMs + limits.replayWaitMs;
  }

  /** Whether any message came. */
  get hasHeard(): boolean {
    return this.#heardCount > 0;
  }

  /** When it has to be given up, unless something new comes. */
  get giveUpMs(): number {
    return Math.min(this.#deadlineMs, this.#endMs);
  }

  /** Its request was sent: from now on the publisher is waited for. */
  start(nowMs: number): void {
    this.#deadlineMs = nowMs + this.#limits.replaySilenceMs;
    this.#endMs = nowMs + this.#limits.replayMsMax;
  }

  /** An answer of any kind came. The owner may not have reported the start. */
  answered(nowMs: number): void {
    if (this.#endMs === Infinity) this.start(nowMs);
  }

  /** A message came. */
  heard(sequenceNumber: number, nowMs: number): void {
    this.#heardCount += 1;
    if (sequenceNumber <= this.#heardUpTo) return;
    this.#heardUpTo = sequenceNumber;
    this.#deadlineMs = nowMs + this.#limits.replaySilenceMs;
  }

  /** The rank begins with this answer: its publisher has nothing to prove, and what follows is a gap like any other. */
  beginsRank(): void {
    this.purpose = "gap";
    this.isProven = true;
  }
}

/** The attempts of one stream, and its actions. */
export class ReplayAttempts {
  readonly #limits: SyncLimits;
  #count = 0;
  #current: ReplayAttempt | null = null;
  #request: SyncAction | null = null;
  #abandonment: SyncAction | null = null;

  constructor(limits: SyncLimits) {
    this.#limits = limits;
  }

  /** The one that is under way; null when none is. */
  get current(): ReplayAttempt | null {
    return this.#current;
  }

  /** Begins one and asks for it. */
  begin(plan: AttemptPlan, nowMs: number): void {
    assert(this.#current === null, "R2: one attempt at a time");
    this.#count += 1;
    this.#current = new ReplayAttempt(this.#count, plan, this.#limits, nowMs);
    this.#request = { kind: "request_replay", attempt: this.#count, from: plan.from };
  }

  /** The present attempt is over by itself: its owner waits for nothing more of it. */
  end(): void {
    this.#current = null;
    this.#request = null;
  }

  /** The present attempt is over for us, and whoever sent it has to be told. */
  abandon(): void {
    if (this.#current === null) return;
    if (this.#request === null) {
      assert(this.#abandonment === null, "R3: an attempt is asked for only when the one before is settled");
      this.#abandonment = { kind: "abandon_replay", attempt: this.#current.number };
    }
    this.end();
  }

  /** The next thing to do, or null: the end of the last attempt before the request of the next. */
  takeAction(): SyncAction | null {
    const action = this.#abandonment ?? this.#request;
    if (this.#abandonment !== null) this.#abandonment = null;
    else this.#request = null;
    return action;
  }
}
