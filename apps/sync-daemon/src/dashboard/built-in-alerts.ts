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
import { SampleStore } from "@kvsync/observability/evaluation/sample-store";
import type { SampleTable } from "@kvsync/observability/evaluation/sample-table";
import type { Exposition, SampledSeries } from "@kvsync/observability/exposition";

/** The rules read 33 series of a rank; so much is enough for 2,048 ranks. */
const SERIES_MAX = 80_000;

/** Work between two turns of the event loop, but for a single rule that takes longer. */
const TURN_MS = 1;

/** Endings that a histogram's series have. */
const PARTS = /_(?:bucket|sum|count)$/;

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
  /** Tables that read a family. */
  readonly #tables = new Map<string, readonly SampleTable[]>();
  #evaluatedSeconds: number | null = null;
  #timer: NodeJS.Timeout | null = null;
  #underWay: Promise<void> | null = null;

  /** @param sources - of the daemon. */
  constructor(sources: BuiltInSources) {
    const { rules, instance } = sources;
    const reads = readsOf(rules);
    this.#sources = sources;
    this.#store = new SampleStore(reads, rules.intervalSeconds, SERIES_MAX, { job: rules.job, instance });
    this.#evaluation = new RuleEvaluation(rules, this.#store);
    this.#families = new Set(reads.flatMap(({ name }) => [name, name.replace(PARTS, "")]));
  }

  /** Series of which samples are kept. */
  get series(): number {
    return this.#store.series;
  }

  /** Series that found no room in the latest sampling. */
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
    await exposition.sample(this.#families, (series) => {
      this.#take(series);
    });
    this.#store.end();
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

  #take(series: SampledSeries): void {
    const tables = this.#tablesOf(series);
    if (tables.length === 0) return;
    const values = series.values();
    for (const table of tables) this.#store.set(table, series.identity, values);
  }

  /** Finds and lays out the tables of a family, once. */
  #tablesOf({ name, kind, bounds }: SampledSeries): readonly SampleTable[] {
    const known = this.#tables.get(name);
    if (known !== undefined) return known;
    const valuesOf = (of: string, place: number): readonly SampleTable[] => {
      const tables = this.#store.tables(of);
      for (const table of tables) table.layOutValue(place);
      return tables;
    };
    const tables =
      kind === "histogram"
        ? [
            ...this.#bucketsOf(`${name}_bucket`, bounds),
            ...valuesOf(`${name}_count`, bounds.length),
            ...valuesOf(`${name}_sum`, bounds.length + 1),
          ]
        : valuesOf(name, 0);
    this.#tables.set(name, tables);
    return tables;
  }

  #bucketsOf(name: string, bounds: readonly number[]): readonly SampleTable[] {
    const tables = this.#store.tables(name);
    for (const table of tables) table.layOutBuckets([...bounds.map(String), "+Inf"]);
    return tables;
  }
}
