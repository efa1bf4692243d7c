/**
 * Begins requests so that many at once do not keep the event loop for all of them.
 *
 *   request ─▶ the turn has time left, and no other one waits ─▶ begun at once
 *         └──▶ otherwise it waits ─▶ one a turn, probes first
 *
 * Node begins every request that has arrived within one turn of the loop. 500 connections may ask at the same moment for what takes 5 ms each. That would
 * keep the loop for 2.5 seconds, and a probe would wait for all of them.
 *
 * Invariants
 *  N1  After TURN_MS of a turn no further request begins in it, and of those that wait one begins in each turn.
 *  N2  Among those that wait, probes (/livez, /readyz) go first. Others keep their order.
 *  N3  Each request begins once, unless its connection has ended by then.
 *
 * At most as many wait as the connections may have open (connection-limit.ts C1, C6). It does not end what a request takes: long answers are made in pages
 * (http/page-stream.ts).
 */

/** Time of one turn for the beginnings of requests; the longest request is of that kind. */
const TURN_MS = 10;

/** Paths of probes, with or without a query. */
const PROBE = /^\/(?:livez|readyz)(?:\?|$)/;

/** A request that waits. */
interface Waiting {
  /** Address of the request: path and query. */
  readonly url: string;
  /** Whether its connection has ended. */
  readonly isGone: () => boolean;
  readonly begin: () => void;
}

/** Turns of the event loop. */
interface Turns {
  /** Calls in the next turn. */
  readonly next: (call: () => void) => void;
  /** Milliseconds of a steady clock. */
  readonly now: () => number;
}

const LOOP_TURNS: Turns = { next: (call) => void setImmediate(call), now: () => performance.now() };

/** Begins the requests of one server. */
export class RequestTurns {
  readonly #turns: Turns;
  readonly #probes: Waiting[] = [];
  readonly #others: Waiting[] = [];
  /** When the first request of this turn began; null before it. */
  #beganMs: number | null = null;

  /**
   * @param turns - those of the event loop unless given.
   */
  constructor(turns: Turns = LOOP_TURNS) {
    this.#turns = turns;
  }

  /**
   * Begins a request, now or in a later turn.
   *
   * @param request - as it came.
   */
  take(request: Waiting): void {
    const nowMs = this.#turns.now();
    if (this.#beganMs === null) this.#open(nowMs);
    const isFree = this.#probes.length === 0 && this.#others.length === 0;
    if (isFree && nowMs - (this.#beganMs ?? nowMs) <= TURN_MS) request.begin();
    else (PROBE.test(request.url) ? this.#probes : this.#others).push(request);
  }

  #open(nowMs: number): void {
    this.#beganMs = nowMs;
    this.#turns.next(() => {
      this.#turn();
    });
  }

  #turn(): void {
    this.#beganMs = null;
    for (;;) {
      const request = this.#probes.shift() ?? this.#others.shift();
      if (request === undefined) return;
      if (request.isGone()) continue;
      this.#open(this.#turns.now());
      request.begin();
      return;
    }
  }
}
