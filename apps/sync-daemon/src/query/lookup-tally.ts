/**
 * Counts of lookups for the web page: decisions, times, and how much of the questions was held. They
 * are plain numbers that only grow, so that a reader takes the difference of two moments.
 *
 *     lookup ─▶ tally ─▶ cells ──copy at t0, at t1──▶ rates and quantiles of that time
 *
 * Invariants
 *  T1  Every answer is counted once, by its decision and by its time.
 *  T2  There are at most MODELS_MAX models; models beyond them have no hit rate here. A model that no
 *      engine serves gives its place up as soon as another one needs it.
 *
 * Prometheus gets the same from model-metrics.ts. These are apart from it: handles of metrics are
 * written and never read.
 */

import { LOOKUP_DECISIONS } from "@kvsync/observability/kvsync/routing";

/** Models with a hit rate. */
export const MODELS_MAX = 16;
/** Times from 1 µs, four bounds in each doubling, to 16 s. */
const BOUNDS_PER_DOUBLING = 4;
const BOUNDS = 24 * BOUNDS_PER_DOUBLING;
const FIRST_BOUND_SECONDS = 1e-6;
const TIMES = LOOKUP_DECISIONS.length;
const CELLS = TIMES + BOUNDS + 1;

/** A decision of an answer. */
type Decision = (typeof LOOKUP_DECISIONS)[number];

/** What was asked for and held of a model, in questions. */
interface ModelHits {
  questions: number;
  /** Sum of shares, 0 … 1 each. */
  held: number;
}

/** Lookups between two moments. */
export interface LookupInterval {
  readonly decisions: Readonly<Record<Decision, number>>;
  /** Seconds that half of them took at most; null without any. */
  readonly p50: number | null;
  readonly p99: number | null;
  /** Share held, by model; models without a question are left out. */
  readonly hits: ReadonlyMap<string, number>;
}

/** The counts at a moment. */
export interface TallyMark {
  readonly cells: Float64Array;
  readonly hits: ReadonlyMap<string, Readonly<ModelHits>>;
}

/** See the head of this file. */
export class LookupTally {
  readonly #isServed: (model: string) => boolean;
  readonly #cells = new Float64Array(CELLS);
  readonly #hits = new Map<string, ModelHits>();

  /** @param isServed - whether an engine serves a model. */
  constructor(isServed: (model: string) => boolean) {
    this.#isServed = isServed;
  }

  /**
   * Counts an answer (T1); tens of nanoseconds.
   *
   * @param decision - of the answer.
   * @param seconds - from its arrival.
   */
  answered(decision: Decision, seconds: number): void {
    const kind = LOOKUP_DECISIONS.indexOf(decision);
    this.#cells[kind] = (this.#cells[kind] ?? 0) + 1;
    const bound = Math.ceil(BOUNDS_PER_DOUBLING * Math.log2(Math.max(seconds, 0) / FIRST_BOUND_SECONDS));
    const cell = TIMES + Math.min(Math.max(bound, 0), BOUNDS);
    this.#cells[cell] = (this.#cells[cell] ?? 0) + 1;
  }

  /**
   * Counts what the best engine holds of a question.
   *
   * @param model - a served one.
   * @param share - 0 … 1.
   */
  held(model: string, share: number): void {
    let hits = this.#hits.get(model);
    if (hits === undefined) {
      if (this.#hits.size === MODELS_MAX && !this.#makeRoom()) return;
      hits = { questions: 0, held: 0 };
      this.#hits.set(model, hits);
    }
    hits.questions += 1;
    hits.held += share;
  }

  /** T2 */
  #makeRoom(): boolean {
    for (const model of this.#hits.keys()) if (!this.#isServed(model)) return this.#hits.delete(model);
    return false;
  }

  /**
   * The counts now.
   *
   * @returns a copy, the caller's.
   */
  mark(): TallyMark {
    return {
      cells: this.#cells.slice(),
      hits: new Map([...this.#hits].map(([model, { questions, held }]) => [model, { questions, held }])),
    };
  }
}

/**
 * The lookups between two moments.
 *
 * @param from - the earlier one.
 * @param to - the later one.
 */
export function lookupsBetween(from: TallyMark, to: TallyMark): LookupInterval {
  const counts = to.cells.map((count, i) => count - (from.cells[i] ?? 0));
  const hits = new Map<string, number>();
  for (const [model, { questions, held }] of to.hits) {
    const before = from.hits.get(model);
    // A model that gave its place up and came again begins anew.
    const start = before === undefined || before.questions > questions ? { questions: 0, held: 0 } : before;
    if (questions > start.questions) hits.set(model, (held - start.held) / (questions - start.questions));
  }
  return {
    decisions: Object.fromEntries(
      LOOKUP_DECISIONS.map((decision, i) => [decision, counts[i] ?? 0]),
    ) as Record<Decision, number>,
    p50: quantile(counts, 0.5),
    p99: quantile(counts, 0.99),
    hits,
  };
}

/** A quantile of times, within the ratio of two bounds (19 %): the middle of its bounds, by ratio. */
function quantile(counts: Float64Array, share: number): number | null {
  let total = 0;
  for (let i = TIMES; i < CELLS; i++) total += counts[i] ?? 0;
  if (total === 0) return null;
  let rest = Math.ceil(share * total);
  for (let i = TIMES; i < CELLS; i++) {
    rest -= counts[i] ?? 0;
    if (rest <= 0) return FIRST_BOUND_SECONDS * 2 ** ((i - TIMES - 0.5) / BOUNDS_PER_DOUBLING);
  }
  return null;
}
