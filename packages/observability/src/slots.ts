/**
 * Where metric values live: flat Float64 slots in shared memory, written by one thread, read by the one that is scraped.
 *
 *   writer thread                                       scraping thread
 *   Counter.inc ──▶ chunk[slot] += n   ◀── reads ──     Exposition
 *   MetricSlots ──▶ announce({chunk | series | released}) ──(postMessage)──▶ Exposition.accept
 *
 *   chunk (SharedArrayBuffer)  ┌───────┬───────┬──────────────────────────────┬───
 *                              │counter│ gauge │ bucket₀ … bucketₙ  +Inf  sum │ …
 *                              └───────┴───────┴──────────────────────────────┴───
 *
 * Invariants
 *  M1  A slot has one writer: regions are per thread, so that no update needs an atomic. Aligned 8-byte loads and stores
 *      do not tear on the machines Node runs on; the scraper sums what several threads report for one series.
 *  M2  A slot carries one series at a time. Announcements arrive in the order they were made, and a released slot is
 *      cleared before it is given away again. The announcement has its counts: where other threads write the series, it
 *      must not fall.
 *  M3  Histogram buckets are not cumulated here; the scraper does that.
 *  M4  A value that is no number, or not finite, or would make a counter fall, is left out. If it
 *      were added once, it would stay in the series until the process ends.
 *  M5  A gauge's slot is NaN until a handle sets it. The scraper exports no line for NaN.
 *  M6  A handle is of a family of the catalogue. Another one would be refused by the scraper, in another
 *      thread and too late to name the caller.
 *
 * Not here: rendering (exposition.ts), default process metrics. Figures that led to this shape: prom-client's cached
 * child costs 440–1,050 ns per update on Node 20, a slot 4–19 ns.
 */

import {
  type CounterDefinition,
  type GaugeDefinition,
  type HistogramDefinition,
  LABEL_VALUE_BYTES_MAX,
  type LabelDomains,
  type LabelValues,
  type MetricDefinition,
  OTHER,
} from "./definition.ts";

/** Slots per shared chunk: 64 KiB, so that an idle daemon stays small and a thousand engines need few chunks. */
const CHUNK_SLOTS = 8192;

/** What a writer tells the scraper about its slots; structured-cloneable. */
export type SlotAnnouncement =
  | { readonly kind: "chunk"; readonly writer: string; readonly chunk: number; readonly values: Float64Array }
  | {
      readonly kind: "series";
      readonly writer: string;
      readonly chunk: number;
      readonly slot: number;
      readonly name: string;
      /** Label values in the definition's order, bounds already applied. */
      readonly labels: readonly string[];
    }
  | {
      readonly kind: "released";
      readonly writer: string;
      readonly chunk: number;
      readonly slot: number;
      /** What was counted there; empty for a gauge. */
      readonly counted: Float64Array;
    };

/** One series' place, shared by every handle on it. */
interface Series {
  readonly key: string;
  readonly definition: MetricDefinition;
  readonly labels: readonly string[];
  readonly chunk: number;
  readonly slot: number;
  readonly width: number;
  handles: number;
}

/** A handle on one counter series. */
export class Counter {
  readonly #values: Float64Array;
  readonly #slot: number;

  /**
   * @param values - the chunk.
   * @param slot - its place there.
   */
  constructor(values: Float64Array, slot: number) {
    this.#values = values;
    this.#slot = slot;
  }

  /**
   * Adds; a few nanoseconds, allocates nothing.
   *
   * @param amount - how much, ≥ 0; anything else is left out (M4).
   */
  inc(amount = 1): void {
    if (!(amount >= 0 && amount < Infinity)) return;
    this.#values[this.#slot] = (this.#values[this.#slot] ?? 0) + amount;
  }
}

/** A handle on one gauge series. Handles of one series add up, so that ranks of a pod and whatever shares `other` sum. */
export class Gauge {
  readonly #values: Float64Array;
  readonly #slot: number;
  #contribution = 0;

  /**
   * @param values - the chunk.
   * @param slot - its place there.
   */
  constructor(values: Float64Array, slot: number) {
    this.#values = values;
    this.#slot = slot;
  }

  /**
   * Sets this handle's contribution; a few nanoseconds, allocates nothing.
   *
   * @param value - a finite number; anything else is left out (M4).
   */
  set(value: number): void {
    if (!(value > -Infinity && value < Infinity)) return;
    const present = this.#values[this.#slot] ?? 0;
    // In this order a handle that is alone leaves exactly its value, whatever it was before: 2⁶³ + 5 − 2⁶³ is 0.
    this.#values[this.#slot] = (Number.isNaN(present) ? 0 : present) - this.#contribution + value;
    this.#contribution = value;
  }

  /** Takes this handle's contribution away; a series that was never set stays without a value. */
  withdraw(): void {
    if (this.#contribution !== 0) this.set(0);
  }
}

/** A handle on one histogram series. */
export class Histogram {
  readonly #values: Float64Array;
  readonly #slot: number;
  readonly #bounds: Float64Array;

  /**
   * @param values - the chunk.
   * @param slot - the first bucket's place there.
   * @param bounds - upper bounds, ascending.
   */
  constructor(values: Float64Array, slot: number, bounds: Float64Array) {
    this.#values = values;
    this.#slot = slot;
    this.#bounds = bounds;
  }

  /**
   * Records one value. A linear scan: with ten to sixteen bounds it beats a binary search, since small values are the
   * common ones.
   *
   * @param value - in the definition's unit; what is not finite is left out (M4).
   */
  observe(value: number): void {
    if (!(value > -Infinity && value < Infinity)) return;
    const bounds = this.#bounds;
    const values = this.#values;
    const slot = this.#slot;
    const count = bounds.length;
    let bucket = 0;
    while (bucket < count && value > (bounds[bucket] ?? 0)) bucket += 1;
    values[slot + bucket] = (values[slot + bucket] ?? 0) + 1;
    const sum = slot + count + 1;
    values[sum] = (values[sum] ?? 0) + value;
  }
}

/** The metrics of one writing thread: gives out handles, owns the slots. */
export class MetricSlots {
  readonly #writer: string;
  readonly #catalogue: ReadonlySet<string>;
  readonly #announce: (announcement: SlotAnnouncement) => void;
  readonly #chunks: Float64Array[] = [];
  #used = CHUNK_SLOTS;
  /** By definition name and label values. */
  readonly #series = new Map<string, Series>();
  readonly #seriesOf = new Map<object, Series>();
  /** Released slots by width, oldest first. */
  readonly #free = new Map<number, { chunk: number; slot: number }[]>();
  /** Distinct values of each open label in use, with the number of series that carry them. */
  readonly #openValues = new Map<string, Map<string, number>>();
  readonly #bounds = new Map<string, Float64Array>();

  /**
   * @param catalogue - every family that may be written.
   * @param writer - this thread's name, unique among those that the scraper hears.
   * @param announce - takes the announcements to the scraper, in order.
   */
  constructor(
    catalogue: readonly MetricDefinition[],
    writer: string,
    announce: (announcement: SlotAnnouncement) => void,
  ) {
    this.#catalogue = new Set(catalogue.map(({ name }) => name));
    this.#writer = writer;
    this.#announce = announce;
  }

  /**
   * A handle on one series, which is exported from now on (0 at first).
   *
   * @param definition - from the catalogue.
   * @param labels - one value per label.
   * @returns a handle to keep; asking is a map lookup, updating is not.
   */
  counter<L extends LabelDomains>(
    definition: CounterDefinition<L>,
    labels: LabelValues<NoInfer<L>>,
  ): Counter {
    const series = this.#open(definition, labels, 1);
    return this.#handle(series, new Counter(this.#values(series), series.slot));
  }

  /**
   * A handle on one series, which is exported from its first `set` on. Handles of one series add up.
   *
   * @param definition - from the catalogue.
   * @param labels - one value per label.
   * @returns a handle to keep.
   */
  gauge<L extends LabelDomains>(definition: GaugeDefinition<L>, labels: LabelValues<NoInfer<L>>): Gauge {
    const series = this.#open(definition, labels, 1);
    return this.#handle(series, new Gauge(this.#values(series), series.slot));
  }

  /**
   * A handle on one series, which is exported from now on (empty at first).
   *
   * @param definition - from the catalogue.
   * @param labels - one value per label.
   * @returns a handle to keep.
   */
  histogram<L extends LabelDomains>(
    definition: HistogramDefinition<L>,
    labels: LabelValues<NoInfer<L>>,
  ): Histogram {
    let bounds = this.#bounds.get(definition.name);
    if (bounds === undefined) {
      bounds = Float64Array.from(definition.buckets);
      this.#bounds.set(definition.name, bounds);
    }
    const series = this.#open(definition, labels, bounds.length + 2);
    return this.#handle(series, new Histogram(this.#values(series), series.slot, bounds));
  }

  /**
   * Gives a handle back; the series ends with its last one. A gauge's contribution is taken away first.
   *
   * @param handle - from this object; not to be used afterwards.
   */
  release(handle: Counter | Gauge | Histogram): void {
    const series = this.#seriesOf.get(handle);
    if (series === undefined) return;
    this.#seriesOf.delete(handle);
    if (handle instanceof Gauge) handle.withdraw();
    series.handles -= 1;
    if (series.handles > 0) return;
    this.#series.delete(series.key);
    this.#countOpenValues(series.definition, series.labels, -1);
    const free = this.#free.get(series.width);
    if (free === undefined) this.#free.set(series.width, [{ chunk: series.chunk, slot: series.slot }]);
    else free.push({ chunk: series.chunk, slot: series.slot });
    const { chunk, slot, width } = series;
    const counted = Float64Array.from(
      handle instanceof Gauge ? [] : this.#values(series).subarray(slot, slot + width),
    );
    this.#announce({ kind: "released", writer: this.#writer, chunk, slot, counted });
  }

  /**
   * Whether a handle records under `other`, because its label's bound was reached when it was asked for.
   *
   * @param handle - from this object.
   * @returns true also for a value that is too long; asked for again when others were released, it may have its own.
   */
  isOther(handle: Counter | Gauge | Histogram): boolean {
    return this.#seriesOf.get(handle)?.labels.includes(OTHER) ?? false;
  }

  #handle<Handle extends Counter | Gauge | Histogram>(series: Series, handle: Handle): Handle {
    series.handles += 1;
    this.#seriesOf.set(handle, series);
    return handle;
  }

  #values(series: Series): Float64Array {
    const values = this.#chunks[series.chunk];
    if (values === undefined) throw new RangeError(`no metric chunk ${series.chunk}`);
    return values;
  }

  #open(definition: MetricDefinition, given: Readonly<Record<string, string>>, width: number): Series {
    if (!this.#catalogue.has(definition.name))
      throw new RangeError(
        `metric ${definition.name} is not in the catalogue; list it where its family's neighbors are`,
      );
    const labels = Object.entries(definition.labels).map(([label, domain]) => {
      const value = given[label] ?? "";
      if (!("maxValues" in domain)) return value;
      if (Buffer.byteLength(value) > LABEL_VALUE_BYTES_MAX) return OTHER;
      const values = this.#openValues.get(`${definition.name} ${label}`);
      const known = values?.has(value) ?? false;
      return known || (values?.size ?? 0) < domain.maxValues ? value : OTHER;
    });
    const key = `${definition.name}\u0000${labels.join("\u0000")}`;
    const existing = this.#series.get(key);
    if (existing !== undefined) return existing;
    const place = this.#place(width);
    const series: Series = { key, definition, labels, ...place, width, handles: 0 };
    if (definition.kind === "gauge") this.#values(series).fill(Number.NaN, place.slot, place.slot + width);
    this.#series.set(key, series);
    this.#countOpenValues(definition, labels, 1);
    this.#announce({ kind: "series", writer: this.#writer, ...place, name: definition.name, labels });
    return series;
  }

  #countOpenValues(definition: MetricDefinition, labels: readonly string[], change: 1 | -1): void {
    Object.entries(definition.labels).forEach(([label, domain], i) => {
      const value = labels[i];
      if (!("maxValues" in domain) || value === undefined || value === OTHER) return;
      const key = `${definition.name} ${label}`;
      const values = this.#openValues.get(key) ?? new Map<string, number>();
      this.#openValues.set(key, values);
      const count = (values.get(value) ?? 0) + change;
      if (count > 0) values.set(value, count);
      else values.delete(value);
    });
  }

  #place(width: number): { chunk: number; slot: number } {
    const freed = this.#free.get(width)?.shift();
    if (freed !== undefined) {
      this.#chunks[freed.chunk]?.fill(0, freed.slot, freed.slot + width);
      return freed;
    }
    if (this.#used + width > CHUNK_SLOTS) {
      const values = new Float64Array(new SharedArrayBuffer(CHUNK_SLOTS * Float64Array.BYTES_PER_ELEMENT));
      this.#announce({ kind: "chunk", writer: this.#writer, chunk: this.#chunks.length, values });
      this.#chunks.push(values);
      this.#used = 0;
    }
    const slot = this.#used;
    this.#used += width;
    return { chunk: this.#chunks.length - 1, slot };
  }
}
