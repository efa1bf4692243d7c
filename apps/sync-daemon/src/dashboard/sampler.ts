/**
 * The last hour of the fleet: a sample every five seconds in rings, so that a page that is opened
 * has charts at once.
 *
 *     fleet, lookups ──every STEP_SECONDS──▶ ring of each series ──▶ history
 *
 * Invariants
 *  P1  A sample is at the same place in all rings. A series that had no value then has null there.
 *  P2  Series are bounded: SERIES, and a hit rate for each of MODELS_MAX models. A model's ring goes
 *      once it has no value left.
 *  P3  A sampler that was late leaves places without values: time is the place in the ring.
 *
 * It runs with and without viewers, and is the only part of the page that does.
 */

import { MODELS_MAX, type LookupTally, lookupsBetween, type TallyMark } from "../query/lookup-tally.ts";
import { EventGrowth, type FleetSources, indexSums } from "./fleet-sums.ts";

/** Time between two samples. */
export const STEP_SECONDS = 5;

/** Series that are always there, as the history names them. */
const SERIES = [
  "events_applied.stored",
  "events_applied.removed",
  "events_applied.cleared",
  "lookups.exact",
  "lookups.degraded",
  "lookups.fallback",
  "lookup_p50",
  "lookup_p99",
  "exact_share",
  "memory_used",
  "mappings",
  "queue_messages",
] as const;

/** A history, as it is sent: rates are per second, times in seconds, memory in bytes. */
export interface History {
  readonly step: number;
  /** Time of the first value, in seconds since the Unix epoch. */
  readonly from: number;
  readonly series: Readonly<Record<string, readonly (number | null)[]>>;
}

/** Takes samples. */
export class Sampler {
  readonly #sources: FleetSources;
  readonly #tally: LookupTally;
  readonly #places: number;
  readonly #rings = new Map<string, Float64Array>();
  readonly #events = new EventGrowth();
  #mark: TallyMark;
  /** Number of the latest sample since the epoch; null before the first. */
  #latest: number | null = null;
  #timer: NodeJS.Timeout | null = null;

  /**
   * @param sources - the fleet.
   * @param tally - of the lookups.
   * @param seconds - that are kept.
   */
  constructor(sources: FleetSources, tally: LookupTally, seconds: number) {
    this.#sources = sources;
    this.#tally = tally;
    this.#places = Math.ceil(seconds / STEP_SECONDS);
    this.#mark = tally.mark();
    this.#events.since(sources);
    for (const name of SERIES) this.#ring(name);
  }

  /**
   * Samples from now on.
   *
   * @param now - milliseconds since the Unix epoch.
   */
  start(now: () => number): void {
    this.#timer = setInterval(() => {
      this.sample(now());
    }, STEP_SECONDS * 1000);
    this.#timer.unref();
  }

  /** Ends that. */
  stop(): void {
    if (this.#timer !== null) clearInterval(this.#timer);
  }

  /**
   * Takes a sample.
   *
   * @param nowMs - since the Unix epoch.
   */
  sample(nowMs: number): void {
    const number = Math.floor(nowMs / (STEP_SECONDS * 1000));
    if (this.#latest !== null && number <= this.#latest) return;
    const steps = this.#latest === null ? 1 : number - this.#latest;
    this.#forget(number, steps);
    this.#latest = number;
    const seconds = steps * STEP_SECONDS;
    let ranks = 0;
    let exact = 0;
    const nowShared = this.#sources.board.now();
    const { stored, removed, cleared } = this.#events.since(this.#sources, (_owner, { rankSlot }) => {
      ranks += 1;
      if (this.#sources.board.trust(rankSlot, nowShared).trust === "exact") exact += 1;
    });
    const mark = this.#tally.mark();
    const { decisions, p50, p99, hits } = lookupsBetween(this.#mark, mark);
    this.#mark = mark;
    const { used, mappings } = indexSums(this.#sources.reader);
    const waiting = this.#sources.board
      .workers()
      .reduce((sum, { depthLive, depthReplay }) => sum + depthLive + depthReplay, 0);
    const values: Readonly<Record<(typeof SERIES)[number], number | null>> = {
      "events_applied.stored": stored / seconds,
      "events_applied.removed": removed / seconds,
      "events_applied.cleared": cleared / seconds,
      "lookups.exact": decisions.exact / seconds,
      "lookups.degraded": decisions.degraded / seconds,
      "lookups.fallback": decisions.fallback / seconds,
      lookup_p50: p50,
      lookup_p99: p99,
      exact_share: ranks === 0 ? null : exact / ranks,
      memory_used: used,
      mappings,
      queue_messages: waiting,
    };
    for (const name of SERIES) this.#put(name, number, values[name]);
    for (const [model, share] of hits) this.#put(`hit_rate{${model}}`, number, share);
    this.#dropEmpty();
  }

  /**
   * The latest values.
   *
   * @param seconds - at most; what is kept, when more.
   * @returns oldest first; no values before the first sample.
   */
  history(seconds: number): History {
    const places = Math.min(this.#places, Math.ceil(seconds / STEP_SECONDS));
    const latest = this.#latest;
    if (latest === null) return { step: STEP_SECONDS, from: 0, series: {} };
    const first = latest - places + 1;
    const series = [...this.#rings].map(([name, ring]) => [
      name,
      Array.from({ length: places }, (_, i) => {
        const value = ring[(first + i) % this.#places] ?? Number.NaN;
        return Number.isNaN(value) ? null : value;
      }),
    ]);
    return {
      step: STEP_SECONDS,
      from: first * STEP_SECONDS,
      series: Object.fromEntries(series) as History["series"],
    };
  }

  /** P3: what lies between the last sample and this one had no values. */
  #forget(number: number, steps: number): void {
    const places = Math.min(steps, this.#places);
    for (const ring of this.#rings.values())
      for (let i = 0; i < places; i++) ring[(number - i) % this.#places] = Number.NaN;
  }

  #put(name: string, number: number, value: number | null): void {
    const ring = this.#ring(name);
    if (ring !== null) ring[number % this.#places] = value ?? Number.NaN;
  }

  /** Null beyond the limit (P2). */
  #ring(name: string): Float64Array | null {
    const known = this.#rings.get(name);
    if (known !== undefined) return known;
    if (this.#rings.size >= SERIES.length + MODELS_MAX) return null;
    const ring = new Float64Array(this.#places).fill(Number.NaN);
    this.#rings.set(name, ring);
    return ring;
  }

  /** P2 */
  #dropEmpty(): void {
    for (const [name, ring] of this.#rings)
      if (name.startsWith("hit_rate{") && ring.every(Number.isNaN)) this.#rings.delete(name);
  }
}
