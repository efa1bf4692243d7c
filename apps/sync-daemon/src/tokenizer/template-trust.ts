/**
 * Whether a template is rendered here: only while it makes the engine's tokens.
 *
 *     unproven ──all probes agree──▶ trusted ──first difference──▶ distrusted ──offMs──▶ unproven
 *        ▲  └─a probe differs──▶ distrusted       (1 of `sample` requests is compared)
 *        └──no answer: again after PROBE_AGAIN_MS
 *
 * Invariants
 *  W1  Nothing is rendered before the probes have agreed, nor within `offMs` after a difference (template-trust.test.ts "W1").
 *  W2  One round of probes at a time. A comparison that began before a difference changes nothing by its end (template-trust.test.ts "W2").
 *
 * No timers: the next request asks whether probes are due.
 */

/** Time between two rounds of probes while the engine does not answer. */
const PROBE_AGAIN_MS = 10_000;

/** How a comparison ended. */
export type ParityOutcome = "agree" | "differ" | "unanswered";

/** See the head of this file. */
export class TemplateTrust {
  readonly #sample: number;
  readonly #offMs: number;
  readonly #now: () => number;
  #isTrusted = false;
  #isProbing = false;
  #probesAtMs = Number.NEGATIVE_INFINITY;
  #requests = 0;
  /** Differences so far: what began under another count is old news (W2). */
  #era = 0;

  /**
   * @param options - `sample`: one of so many requests is compared; `offMs` without belief after a difference.
   * @param now - monotonic milliseconds.
   */
  constructor(options: { readonly sample: number; readonly offMs: number }, now: () => number) {
    this.#sample = options.sample;
    this.#offMs = options.offMs;
    this.#now = now;
  }

  /** Whether to render here. */
  get isTrusted(): boolean {
    return this.#isTrusted;
  }

  /**
   * Begins a round of probes if one is due.
   *
   * @returns what to hand to `probed`; null when none is due.
   */
  beginProbes(): number | null {
    if (this.#isTrusted || this.#isProbing || this.#now() < this.#probesAtMs) return null;
    this.#isProbing = true;
    return this.#era;
  }

  /** The round is over. */
  probed(era: number, outcome: ParityOutcome): void {
    this.#isProbing = false;
    if (era !== this.#era) return;
    if (outcome === "agree") this.#isTrusted = true;
    else if (outcome === "differ") this.#distrust();
    else this.#probesAtMs = this.#now() + PROBE_AGAIN_MS;
  }

  /**
   * Counts a request that was rendered here.
   *
   * @returns what to hand to `compared` when it is to be compared; null otherwise.
   */
  beginSample(): number | null {
    this.#requests += 1;
    return this.#requests % this.#sample === 0 ? this.#era : null;
  }

  /**
   * A request was compared.
   *
   * @returns whether the template is not believed any more because of it.
   */
  compared(era: number, outcome: ParityOutcome): boolean {
    if (outcome !== "differ" || era !== this.#era) return false;
    this.#distrust();
    return true;
  }

  #distrust(): void {
    this.#era += 1;
    this.#isTrusted = false;
    this.#probesAtMs = this.#now() + this.#offMs;
  }
}
