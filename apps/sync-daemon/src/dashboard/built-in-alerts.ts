/**
 * The daemon's own alerts: the generated rules, evaluated over its own metrics.
 *
 *     slots ─every interval─▶ SampleStore ─▶ RuleEvaluation ─▶ how each rule stands
 *
 * Invariants
 *  B1  Samples are read from the slots, never from the text of a scrape.
 *  B2  It runs with and without viewers: an alert waits for its `for`, and a page that is opened
 *      later must show it.
 *  B3  Samples are bounded: SERIES_MAX series, and the longest range of the rules. Series beyond that
 *      are counted.
 *  B4  A sampling begins only when the one before has ended, and never at an earlier time.
 *
 * Series have the labels `job` and `instance` as if they had been scraped.
 */

import type { CompiledRules } from "@kvsync/observability/evaluation/compiled-rules";
import { readsOf, RuleEvaluation, type RuleStanding } from "@kvsync/observability/evaluation/rule-evaluation";
import { type Row, SampleStore } from "@kvsync/observability/evaluation/sample-store";
import type { Exposition, SampledSeries } from "@kvsync/observability/exposition";

/** The rules read 33 series of a rank; so much is enough for 2,048 ranks. */
const SERIES_MAX = 80_000;

/** Work between two turns of the event loop, but for a single rule that takes longer. */
const TURN_MS = 1;

/** Endings that a histogram's series have. */
const PARTS = /_(?:bucket|sum|count)$/;

/** Rows of a series, and the places of their values. */
interface Kept {
  rows: readonly { readonly row: Row; readonly place: number }[];
  sampling: number;
}

/** What is sampled, and when. */
export interface BuiltInSources {
  readonly rules: CompiledRules;
  readonly exposition: Exposition;
  /** Value of the label `instance`. */
  readonly instance: string;
  /** Milliseconds since the Unix epoch. */
  readonly now: () => number;
}

/** See the head of this file. */
export class BuiltInAlerts {
  readonly #sources: BuiltInSources;
  readonly #store: SampleStore;
  readonly #evaluation: RuleEvaluation;
  readonly #families: ReadonlySet<string>;
  readonly #kept = new Map<object, Kept>();
  #sampling = 0;
  #evaluatedSeconds: number | null = null;
  #timer: NodeJS.Timeout | null = null;
  #underWay: Promise<void> | null = null;

  /** @param sources - of the daemon. */
  constructor(sources: BuiltInSources) {
    const { rules } = sources;
    const reads = readsOf(rules);
    this.#sources = sources;
    this.#store = new SampleStore(reads, rules.intervalSeconds, SERIES_MAX);
    this.#evaluation = new RuleEvaluation(rules, this.#store);
    this.#families = new Set(reads.flatMap(({ name }) => [name, name.replace(PARTS, "")]));
  }

  /** Series of which samples are kept. */
  get series(): number {
    return this.#store.series;
  }

  /** Series that found no room, at all samplings. */
  get leftOut(): number {
    return this.#store.leftOut;
  }

  /** When the rules were evaluated, in seconds since the Unix epoch; null before the first time. */
  get atSeconds(): number | null {
    return this.#evaluatedSeconds;
  }

  /** Samples and evaluates from now on, the first time at once. */
  start(): void {
    void this.sample();
    this.#timer = setInterval(() => {
      void this.sample();
    }, this.#sources.rules.intervalSeconds * 1000);
    this.#timer.unref();
  }

  /** Ends it. */
  stop(): void {
    if (this.#timer !== null) clearInterval(this.#timer);
    this.#timer = null;
  }

  /**
   * Takes samples and evaluates the rules. Called by its own timer.
   *
   * @returns resolves when both are done.
   */
  sample(): Promise<void> {
    this.#underWay ??= this.#sample().finally(() => {
      this.#underWay = null;
    });
    return this.#underWay;
  }

  /** How each rule stands. */
  standings(): readonly RuleStanding[] {
    return this.#evaluation.standings();
  }

  async #sample(): Promise<void> {
    const { exposition, now } = this.#sources;
    const at = now() / 1000;
    // A clock that was set back: B4.
    if (at <= this.#store.latestSeconds) return;
    this.#store.begin(at);
    this.#sampling += 1;
    await exposition.sample(this.#families, (series) => {
      this.#take(series);
    });
    this.#forgetEnded();
    // A rule over a thousand ranks takes a millisecond or two: lookups come between.
    let restMs = performance.now() + TURN_MS;
    const steps = this.#evaluation.steps(at);
    while (steps.next().done !== true) {
      if (performance.now() < restMs) continue;
      await new Promise(setImmediate);
      restMs = performance.now() + TURN_MS;
    }
    this.#evaluatedSeconds = at;
  }

  /** Rows of a series that ended are given back once their samples are gone. */
  #forgetEnded(): void {
    for (const [identity, kept] of this.#kept) {
      if (kept.sampling === this.#sampling) continue;
      kept.rows = kept.rows.filter(({ row }) => !this.#store.release(row));
      if (kept.rows.length === 0) this.#kept.delete(identity);
    }
  }

  #take(series: SampledSeries): void {
    let kept = this.#kept.get(series.identity);
    if (kept === undefined) {
      kept = { rows: this.#rowsOf(series), sampling: 0 };
      this.#kept.set(series.identity, kept);
    }
    kept.sampling = this.#sampling;
    if (kept.rows.length === 0) return;
    const values = series.values();
    for (const { row, place } of kept.rows) this.#store.set(row, values[place] ?? 0);
  }

  #rowsOf({ name, kind, labels: own, bounds }: SampledSeries): Kept["rows"] {
    const { instance, rules } = this.#sources;
    const labels = { ...own(), job: rules.job, instance };
    const rows: { row: Row; place: number }[] = [];
    const add = (of: string, with_: Record<string, string>, place: number): void => {
      if (!this.#store.reads(of)) return;
      const row = this.#store.row(of, with_);
      if (row !== null) rows.push({ row, place });
    };
    if (kind !== "histogram") {
      add(name, labels, 0);
      return rows;
    }
    for (const [place, bound] of [...bounds, Infinity].entries())
      add(`${name}_bucket`, { ...labels, le: bound === Infinity ? "+Inf" : String(bound) }, place);
    add(`${name}_count`, labels, bounds.length);
    add(`${name}_sum`, labels, bounds.length + 1);
    return rows;
  }
}
