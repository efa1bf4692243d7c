/**
 * Made-up series for the evaluator, in promtool's notation, so that a test can give the same ones to both.
 */

import type { CompiledRules } from "../compiled-rules.ts";
import { readsOf, RuleEvaluation } from "../rule-evaluation.ts";
import { SampleStore } from "../sample-store.ts";
import type { Labels, SampleTable } from "../sample-table.ts";

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

/** A series, or all buckets of a histogram. */
interface GivenBlock {
  readonly labels: () => Labels;
  /** By place in a sample. */
  readonly series: (GivenSeries | undefined)[];
}

const boundOf = ({ labels }: GivenSeries): string | undefined => labels["le"];

/** Blocks of a metric; buckets with the same labels but for `le` are one. */
function blocksOf(given: readonly GivenSeries[], bounds: readonly string[]): GivenBlock[] {
  const blocks = new Map<string, GivenBlock>();
  for (const series of given) {
    const { le, ...labels } = series.labels;
    const key = JSON.stringify(Object.entries(labels).sort());
    const block = blocks.get(key) ?? { labels: () => labels, series: [] };
    blocks.set(key, block);
    block.series[le === undefined ? 0 : bounds.indexOf(le)] = series;
  }
  return [...blocks.values()];
}

/** Rules that run over made-up series, an instant after the other. */
export class Replay {
  readonly store: SampleStore;
  readonly evaluation: RuleEvaluation;
  readonly #given: { readonly table: SampleTable; readonly block: GivenBlock }[] = [];
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
    this.#intervalSeconds = intervalSeconds;
    this.#startSeconds = startSeconds;
    for (const name of new Set(given.map((series) => series.name))) {
      const own = given.filter((series) => series.name === name);
      const bounds = [...new Set(own.flatMap((series) => boundOf(series) ?? []))];
      const blocks = blocksOf(own, bounds);
      for (const table of this.store.tables(name)) {
        if (bounds.length > 0) table.layOutBuckets(bounds);
        this.#given.push(...blocks.map((block) => ({ table, block })));
      }
    }
  }

  /**
   * Takes the samples of the next instant and evaluates.
   *
   * @returns the instant in seconds.
   */
  step(): number {
    const at = this.#startSeconds + this.#next * this.#intervalSeconds;
    this.store.begin(at);
    for (const { table, block } of this.#given) {
      const { series } = block;
      const sample = Float64Array.from(series, (one) => one?.values[this.#next] ?? Number.NaN);
      const isThere = !sample.every((value) => Number.isNaN(value));
      if (isThere) this.store.set(table, block, sample);
    }
    this.store.end();
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
