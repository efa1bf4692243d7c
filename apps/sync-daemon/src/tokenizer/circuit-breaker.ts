/**
 * Leaves a failing dependency alone for a while, then tries it with one request.
 *
 *   closed ──`failures` in a row──▶ open ──`openMs` later, at the next request──▶ half open (that one request)
 *     ▲                              ▲                                              │
 *     └──────── success ─────────────┼──────────────────────────────────────────────┤
 *                                    └──────────────── failure ─────────────────────┘
 *
 * Invariants
 *  C1  While half open, exactly one request is in progress; others are refused.
 *  C2  A request that began before the circuit opened changes nothing by how it ends: its news is older than the decision.
 *
 * No library is used: the state is three numbers, and it has to be a metric.
 */

/** Where it stands; the position is the value of the gauge. */
export const CIRCUIT_STATES = ["closed", "half_open", "open"] as const;

/** Where it stands. */
export type CircuitState = (typeof CIRCUIT_STATES)[number];

/** Proof that a request was let through; handed back with how it ended. */
export type CircuitTicket = number;

/** Counts failures, and refuses. */
export class CircuitBreaker {
  readonly #failuresMax: number;
  readonly #openMs: number;
  readonly #now: () => number;
  #state: CircuitState = "closed";
  #failures = 0;
  #opensUntilMs = 0;
  /** Of the current state: tickets of earlier ones are old news (C2). */
  #era = 0;

  /**
   * @param options - `failures` in a row open it, for `openMs`.
   * @param now - monotonic milliseconds.
   */
  constructor(options: { readonly failures: number; readonly openMs: number }, now: () => number) {
    this.#failuresMax = options.failures;
    this.#openMs = options.openMs;
    this.#now = now;
  }

  /** Where it stands now. */
  get state(): CircuitState {
    return this.#state;
  }

  /**
   * Asks to let one request through.
   *
   * @returns null when it is refused; otherwise what to hand to `succeeded` or `failed`.
   */
  enter(): CircuitTicket | null {
    if (this.#state === "half_open") return null;
    if (this.#state === "open") {
      if (this.#now() < this.#opensUntilMs) return null;
      this.#become("half_open");
    }
    return this.#era;
  }

  /** The request ended well: the dependency is fine. */
  succeeded(ticket: CircuitTicket): void {
    if (ticket !== this.#era) return;
    this.#failures = 0;
    if (this.#state !== "closed") this.#become("closed");
  }

  /** The request failed by the dependency's fault. */
  failed(ticket: CircuitTicket): void {
    if (ticket !== this.#era) return;
    this.#failures += 1;
    if (this.#state === "closed" && this.#failures < this.#failuresMax) return;
    this.#opensUntilMs = this.#now() + this.#openMs;
    this.#become("open");
  }

  #become(state: CircuitState): void {
    this.#state = state;
    this.#era += 1;
    if (state === "closed") this.#failures = 0;
  }
}
