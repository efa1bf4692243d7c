/**
 * The Prometheus text of a process: reads every writer's slots at scrape time. The only import of prom-client, whose
 * successor needs a newer Node; moving over is a change of this file.
 *
 * Closed-label families exist from the first scrape on with all their series at 0, so that `rate()` misses no first
 * increment; series with open labels exist from their first handle on.
 *
 * Series that several threads write are summed here. Rendering is prom-client's own, fed by objects that have the shape of
 * its metrics (`{name, help, type, get()}`), which its registry accepts beside its default process metrics.
 */

import { collectDefaultMetrics, type Metric, Registry } from "prom-client";

import type { MetricDefinition } from "./definition.ts";
import type { SlotAnnouncement } from "./slots.ts";

/** Bound on series per family made ahead of use from closed labels. */
const CLOSED_SERIES_MAX = 64;

/** Where one writer keeps one series. */
interface Source {
  readonly values: Float64Array;
  readonly slot: number;
}

/** A series as scraped. */
interface ExposedSeries {
  readonly labels: Readonly<Record<string, string>>;
  readonly sources: Map<string, Source>;
}

/** One line of a scrape, as prom-client renders it. */
interface SampleLine {
  readonly metricName?: string;
  readonly labels: Readonly<Record<string, string | number>>;
  readonly value: number;
}

/** The scraper's side of the metrics. One per process. */
export class Exposition {
  readonly #registry = new Registry();
  readonly #chunks = new Map<string, Float64Array>();
  readonly #families = new Map<string, Family>();
  /** Family and key of what lies at a writer's slot. */
  readonly #places = new Map<string, { family: Family; key: string }>();
  readonly #collectors: (() => void)[] = [];

  /**
   * @param catalogue - every family that may be written; one that is not here is refused.
   */
  constructor(catalogue: readonly MetricDefinition[]) {
    for (const definition of catalogue) {
      const family = new Family(definition);
      this.#families.set(definition.name, family);
      this.#registry.registerMetric(family.asMetric());
    }
    collectDefaultMetrics({ register: this.#registry });
  }

  /**
   * Learns of a writer's slots.
   *
   * @param announcement - from a `MetricSlots`, in the order it made them.
   * @throws RangeError when it names a family that the catalogue lacks, or a chunk never announced.
   */
  accept(announcement: SlotAnnouncement): void {
    const chunkKey = `${announcement.writer} ${announcement.chunk}`;
    if (announcement.kind === "chunk") {
      this.#chunks.set(chunkKey, announcement.values);
      return;
    }
    const place = `${chunkKey} ${announcement.slot}`;
    if (announcement.kind === "released") {
      const released = this.#places.get(place);
      released?.family.remove(released.key, place);
      this.#places.delete(place);
      return;
    }
    const family = this.#families.get(announcement.name);
    const values = this.#chunks.get(chunkKey);
    if (family === undefined) throw new RangeError(`metric ${announcement.name} is not in the catalogue`);
    if (values === undefined) throw new RangeError(`metric chunk ${chunkKey} was never announced`);
    const key = family.add(announcement.labels, place, { values, slot: announcement.slot });
    this.#places.set(place, { family, key });
  }

  /**
   * Has something run before each scrape, to set gauges that are read rather than counted.
   *
   * @param collector - quick and synchronous.
   */
  beforeScrape(collector: () => void): void {
    this.#collectors.push(collector);
  }

  /** The `content-type` of `scrape()`. */
  get contentType(): string {
    return this.#registry.contentType;
  }

  /**
   * Renders everything. Cost: about 5 µs per series.
   *
   * @returns Prometheus text format 0.0.4.
   */
  async scrape(): Promise<string> {
    for (const collector of this.#collectors) collector();
    return this.#registry.metrics();
  }
}

/** One family's series, in prom-client's shape. */
class Family {
  readonly #definition: MetricDefinition;
  readonly #labelNames: readonly string[];
  readonly #series = new Map<string, ExposedSeries>();
  readonly #preset = new Set<string>();

  constructor(definition: MetricDefinition) {
    this.#definition = definition;
    this.#labelNames = Object.keys(definition.labels);
    for (const labels of closedCombinations(definition)) this.#preset.add(this.#ensure(labels));
  }

  asMetric(): Metric {
    const { name, help, kind } = this.#definition;
    const metric = {
      name,
      help,
      type: kind,
      aggregator: "sum",
      get: () => Promise.resolve({ name, help, type: kind, values: this.#lines() }),
    };
    // prom-client's registry asks for no more than this; its declaration says the class.
    return metric as unknown as Metric;
  }

  add(labels: readonly string[], place: string, source: Source): string {
    const key = this.#ensure(labels);
    this.#series.get(key)?.sources.set(place, source);
    return key;
  }

  remove(key: string, place: string): void {
    const series = this.#series.get(key);
    series?.sources.delete(place);
    if (series?.sources.size === 0 && !this.#preset.has(key)) this.#series.delete(key);
  }

  #ensure(values: readonly string[]): string {
    const key = values.join("\u0000");
    if (!this.#series.has(key)) {
      const labels = Object.fromEntries(this.#labelNames.map((label, i) => [label, values[i] ?? ""]));
      this.#series.set(key, { labels, sources: new Map() });
    }
    return key;
  }

  #lines(): SampleLine[] {
    const lines: SampleLine[] = [];
    for (const series of this.#series.values()) {
      if (this.#definition.kind === "histogram") {
        histogramLines(this.#definition.name, this.#definition.buckets, series, lines);
      } else {
        lines.push({ labels: series.labels, value: total(series, 0) });
      }
    }
    return lines;
  }
}

function total(series: ExposedSeries, offset: number): number {
  let sum = 0;
  for (const { values, slot } of series.sources.values()) sum += values[slot + offset] ?? 0;
  return sum;
}

function histogramLines(
  name: string,
  buckets: readonly number[],
  series: ExposedSeries,
  lines: SampleLine[],
): void {
  let cumulated = 0;
  for (let i = 0; i <= buckets.length; i++) {
    cumulated += total(series, i);
    const le = buckets[i] ?? "+Inf";
    lines.push({ metricName: `${name}_bucket`, labels: { ...series.labels, le }, value: cumulated });
  }
  const sum = total(series, buckets.length + 1);
  lines.push({ metricName: `${name}_sum`, labels: series.labels, value: sum });
  lines.push({ metricName: `${name}_count`, labels: series.labels, value: cumulated });
}

/** All combinations of a family's closed labels; none when a label is open, or when they are too many to make ahead. */
function closedCombinations(definition: MetricDefinition): string[][] {
  let combinations: string[][] = [[]];
  for (const domain of Object.values(definition.labels)) {
    if ("maxValues" in domain) return [];
    combinations = combinations.flatMap((head) => domain.map((value) => [...head, value]));
    if (combinations.length > CLOSED_SERIES_MAX) return [];
  }
  return combinations;
}
