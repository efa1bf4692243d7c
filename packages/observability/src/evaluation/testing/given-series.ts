/**
 * Made-up series for the evaluator, in promtool's notation, so that a test can give the same ones to both.
 */

import type { CompiledRules } from "../compiled-rules.ts";
import { readsOf, RuleEvaluation } from "../rule-evaluation.ts";
import { type Labels, type Row, SampleStore } from "../sample-store.ts";

/** A series: a value for each instant; null where it ended. */
export interface GivenSeries {
  readonly name: string;
  readonly labels: Labels;
  readonly values: readonly (number | null)[];
}

/**
 * Reads a series of a promtool test.
 *
 * @param series - name and labels.
 * @param values - `start+stepxcount`.
 * @returns its samples.
 */
export function givenSeries({ series, values }: { series: string; values: string }): GivenSeries {
  const [, start, step, count] = /^(-?[\d.e+-]+?)([+-][\d.e-]+)x(\d+)$/.exec(values) ?? [];
  if (count === undefined) throw new RangeError(`not in the notation of trials: ${values}`);
  return {
    ...nameAndLabels(series),
    values: Array.from({ length: Number(count) + 1 }, (_, i) => Number(start) + i * Number(step)),
  };
}

/**
 * Reads a selector of one series.
 *
 * @param series - `name{label="value",…}`.
 * @returns its parts.
 */
export function nameAndLabels(series: string): { readonly name: string; readonly labels: Labels } {
  const brace = series.indexOf("{");
  const pairs = [...series.slice(brace).matchAll(/(\w+)="((?:[^"\\]|\\.)*)"/g)];
  const labels = pairs.map(([, label, value]): [string, string] => [
    label ?? "",
    JSON.parse(`"${value ?? ""}"`) as string,
  ]);
  return { name: brace === -1 ? series : series.slice(0, brace), labels: Object.fromEntries(labels) };
}

/** Rules that run over made-up series, an instant after the other. */
export class Replay {
  readonly store: SampleStore;
  readonly evaluation: RuleEvaluation;
  readonly #given: readonly { readonly series: GivenSeries; row: Row | null }[];
  readonly #intervalSeconds: number;
  readonly #startSeconds: number;
  #next = 0;

  /**
   * @param rules - compiled.
   * @param given - the series.
   * @param intervalSeconds - between samples.
   * @param startSeconds - the first instant.
   */
  constructor(
    rules: CompiledRules,
    given: readonly GivenSeries[],
    intervalSeconds: number,
    startSeconds = 0,
  ) {
    this.store = new SampleStore(readsOf(rules), intervalSeconds, 100_000);
    this.evaluation = new RuleEvaluation(rules, this.store);
    this.#given = given.map((series) => ({ series, row: this.store.row(series.name, series.labels) }));
    this.#intervalSeconds = intervalSeconds;
    this.#startSeconds = startSeconds;
  }

  /**
   * Takes the samples of the next instant and evaluates.
   *
   * @returns the instant in seconds.
   */
  step(): number {
    const at = this.#startSeconds + this.#next * this.#intervalSeconds;
    this.store.begin(at);
    for (const { series, row } of this.#given) {
      const value = series.values[this.#next] ?? null;
      if (row !== null && value !== null) this.store.set(row, value);
    }
    this.#next += 1;
    this.evaluation.evaluate(at);
    return at;
  }
}

/**
 * Numbers that look random and are the same for a seed.
 *
 * @param seed - any integer.
 * @returns the next one at each call, from 0 to below 1.
 */
export function seeded(seed: number): () => number {
  let state = seed >>> 0;
  return () => {
    state = (Math.imul(state, 1_664_525) + 1_013_904_223) >>> 0;
    return state / 2 ** 32;
  };
}
