/**
 * The text of a scrape, of Prometheus or of OpenMetrics: reads every writer's slots at scrape time. The only import of
 * prom-client, which contributes the default process metrics. Its successor needs a newer Node;
 * moving to it changes this file only.
 *
 *   writers' slots ──▶ Family: one prepared text per series + its values ──▶ text        ─┐
 *   prom-client registry: process_*, nodejs_* ──────────────────────────────▶ text        ─┴▶ scrape
 *
 * Series exist from their first handle on, gauges from their first value on. Families whose
 * definition has `zero is a fact` exist
 * from the first scrape on with all their series at 0. Series that several threads write are summed here.
 *
 * A scrape of a thousand engines is some 40,000 lines. It is rendered in portions with turns of the
 * event loop between them, since a scrape must not make lookups wait. So two lines of one scrape
 * may be a few milliseconds apart.
 * Lines are made from prepared texts: through prom-client's own rendering they would cost seven times as much.
 *
 * OpenMetrics adds exemplars: the trace of the last observation in a bucket that was traced. They are kept here, not in
 * slots, since only sampled spans have one. The rendering of prom-client as OpenMetrics changes the names of its counters
 * in later scrapes too. So its classic lines are rewritten.
 *
 *  X1  The classic text has no trace of exemplars and OpenMetrics.
 *  X2  A series has at most one exemplar for each bucket, in the bucket of its value; they end with the series.
 *  X3  A counter or a histogram that several threads write does not fall when one of them releases it. A fall that is not to
 *      zero would look like a restart, and all that the others have counted like news. One scrape may come between: a slot
 *      is given away before the main thread receives its release.
 *
 * `sample` gives values instead of text, for alerts that the process evaluates itself. A scrape and
 * a sampling never run at one time: collectors set gauges for one reader.
 */

import { collectDefaultMetrics, Registry } from "prom-client";

import type { LabelDomains, LabelValues, MetricDefinition, WithExemplars } from "./definition.ts";
import type { ScrapeFormat } from "./scrape-format.ts";
import type { SlotAnnouncement } from "./slots.ts";

/** Bound on series per family made ahead of use from closed labels. */
const CLOSED_SERIES_MAX = 64;

/** Lines rendered between two turns of the event loop: about a millisecond. */
const LINES_PER_TURN = 2000;

/** Gauges of the metrics library whose names end like a counter's; each repeats the sum of a gauge that stays. */
const MISNAMED_DEFAULTS = [
  "nodejs_active_handles_total",
  "nodejs_active_requests_total",
  "nodejs_active_resources_total",
] as const;

/** Series sampled between two turns of the event loop: about a millisecond. */
const SERIES_PER_TURN = 2000;

/** Between label values in a key. */
const SEPARATOR = "\u0000";

/** In place of a writer's slot: what writers counted that have released the series. */
const GONE = "";

const MS_PER_SECOND = 1000;

/** Sets the quantiles of event-loop lag, and begins their time again. */
const LAG_COLLECTOR = "nodejs_eventloop_lag_seconds";
const LAG_QUANTILES = "nodejs_eventloop_lag_";

/** A scrape this recent has set the quantiles; a sampling must not cut the time of the next scrape. */
const LAG_FRESH_MS = 20_000;

/** A series as an object, also after its end. */
export interface SeriesIdentity {
  /** Labels, made by each call. */
  readonly labels: () => Record<string, string>;
}

/** A series as `sample` gives it. The object is the next series after the call. */
export interface SampledSeries {
  readonly name: string;
  readonly kind: MetricDefinition["kind"];
  /** The same object each time, as long as there is the series. */
  readonly identity: SeriesIdentity;
  /** Upper bounds of a histogram's buckets, without the last. */
  readonly bounds: readonly number[];
  /** Reads the value; of a histogram the cumulated buckets and the sum. Valid until the next read. NaN where there is none. */
  readonly values: () => Float64Array;
}

/** Where one writer keeps one series. */
interface Source {
  readonly values: Float64Array;
  readonly slot: number;
}

/** A series as scraped. */
class ExposedSeries implements SeriesIdentity {
  /** `{label="value",…}`, or nothing without labels. */
  readonly labelText: string;
  /** By place. */
  readonly sources = new Map<string, Source>();
  /** Behind the lines of buckets in OpenMetrics, by bucket; null before the first. */
  exemplars: (string | undefined)[] | null = null;
  readonly #names: readonly string[];
  readonly #values: readonly string[];

  constructor(names: readonly string[], values: readonly string[]) {
    const labels = names.map((label, i) => `${label}="${escapeValue(values[i] ?? "")}"`);
    this.labelText = labels.length === 0 ? "" : `{${labels.join(",")}}`;
    this.#names = names;
    this.#values = values;
  }

  labels(): Record<string, string> {
    return Object.fromEntries(this.#names.map((label, i) => [label, this.#values[i] ?? ""]));
  }
}

/** The scraper's side of the metrics. One per process. */
export class Exposition {
  readonly #registry = new Registry();
  readonly #chunks = new Map<string, Float64Array>();
  readonly #families = new Map<string, Family>();
  /** Family and key of what lies at a writer's slot. */
  readonly #places = new Map<string, { family: Family; key: string }>();
  readonly #collectors: (() => void | Promise<void>)[] = [];
  /** The scrapes that run, by format. */
  readonly #scrapes = new Map<ScrapeFormat, Promise<Buffer>>();
  /** The last scrape or sampling. */
  #turn: Promise<unknown> = Promise.resolve();
  #lagReadMs = -Infinity;
  /** Identities of the metrics library's series. */
  readonly #defaults = new Map<string, SeriesIdentity>();

  /**
   * @param catalogue - every family that may be written; one that is not here is refused.
   * @throws RangeError when a family has too many series to be preset.
   */
  constructor(catalogue: readonly MetricDefinition[]) {
    for (const definition of catalogue) {
      const family = new Family(definition);
      this.#families.set(definition.name, family);
    }
    collectDefaultMetrics({ register: this.#registry });
    for (const name of MISNAMED_DEFAULTS) this.#registry.removeSingleMetric(name);
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
      released?.family.remove(released.key, place, announcement.counted);
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
   * @param collector - runs alone and before a line is rendered; one that has much to do leaves turns of the event loop.
   */
  beforeScrape(collector: () => void | Promise<void>): void {
    this.#collectors.push(collector);
  }

  /**
   * Keeps the trace of an observation, for scrapes as OpenMetrics.
   *
   * @param definition - of the histogram that counted it.
   * @param labels - of the series; nothing is kept of one that is not exported.
   * @param value - that was observed.
   * @param traceId - 32 hexadecimal digits, of a trace that is sampled.
   */
  exemplar<L extends LabelDomains>(
    definition: WithExemplars<L>,
    labels: LabelValues<NoInfer<L>>,
    value: number,
    traceId: string,
  ): void {
    this.#families.get(definition.name)?.exemplar(labels, value, traceId);
  }

  /**
   * Renders everything, as `scrapeBytes` does.
   *
   * @param format - of the text.
   * @returns the text.
   */
  async scrape(format: ScrapeFormat = "text"): Promise<string> {
    return (await this.scrapeBytes(format)).toString();
  }

  /**
   * Renders everything. Cost: about half a microsecond per line, in portions of a millisecond. Callers at one time share a
   * scrape: where monitoring is open, anybody may ask, and one of a large fleet is megabytes.
   *
   * @param format - of the text.
   * @returns the text in UTF-8; all who share it have the same bytes.
   */
  scrapeBytes(format: ScrapeFormat = "text"): Promise<Buffer> {
    const running = this.#scrapes.get(format);
    if (running !== undefined) return running;
    const scrape = this.#alone(() => this.#render(format)).finally(() => {
      this.#scrapes.delete(format);
    });
    this.#scrapes.set(format, scrape);
    return scrape;
  }

  /**
   * Gives the values of some families, as a scrape would have them at this moment.
   *
   * @param names - of families; default metrics of the process too.
   * @param take - called for each series, in portions of a millisecond.
   */
  sample(names: ReadonlySet<string>, take: (series: SampledSeries) => void): Promise<void> {
    return this.#alone(async () => {
      for (const collector of this.#collectors) await collector();
      let count = 0;
      for (const name of names)
        for (const series of this.#families.get(name)?.sampled() ?? []) {
          take(series);
          if (++count % SERIES_PER_TURN === 0) await new Promise(setImmediate);
        }
      for (const name of names) if (!this.#families.has(name)) await this.#sampleDefault(name, take);
    });
  }

  async #sampleDefault(name: string, take: (series: SampledSeries) => void): Promise<void> {
    if (name.startsWith(LAG_QUANTILES) && performance.now() - this.#lagReadMs > LAG_FRESH_MS)
      await this.#registry.getSingleMetric(LAG_COLLECTOR)?.get();
    const metric = await this.#registry.getSingleMetric(name)?.get();
    const value = metric?.values[0]?.value;
    if (metric === undefined || value === undefined) return;
    const identity = this.#defaults.get(name) ?? { labels: () => ({}) };
    this.#defaults.set(name, identity);
    const kind = String(metric.type) === "counter" ? "counter" : "gauge";
    take({ name, kind, identity, bounds: [], values: () => Float64Array.of(value) });
  }

  #alone<Result>(work: () => Promise<Result>): Promise<Result> {
    const turn = this.#turn.then(work, work);
    this.#turn = turn.catch(() => undefined);
    return turn;
  }

  async #render(format: ScrapeFormat): Promise<Buffer> {
    const isOpen = format === "openmetrics";
    for (const collector of this.#collectors) await collector();
    // Bytes of portions: one text of all lines would be joined and encoded in a single turn.
    const portions: Buffer[] = [];
    const lines: string[] = [];
    const endPortion = (): void => {
      lines.push("");
      portions.push(Buffer.from(lines.join("\n")));
      lines.length = 0;
    };
    for (const family of this.#families.values()) {
      for (const series of family.begin(lines, isOpen)) {
        family.render(series, lines, isOpen);
        if (lines.length < LINES_PER_TURN) continue;
        endPortion();
        await new Promise(setImmediate);
      }
      // OpenMetrics has no empty lines.
      if (!isOpen) lines.push("");
    }
    endPortion();
    const defaults = await this.#registry.metrics();
    portions.push(Buffer.from(isOpen ? asOpenMetrics(defaults) : defaults));
    this.#lagReadMs = performance.now();
    return Buffer.concat(portions);
  }
}

/** One family's series. */
class Family {
  readonly #definition: MetricDefinition;
  readonly #labelNames: readonly string[];
  readonly #series = new Map<string, ExposedSeries>();
  readonly #preset = new Set<string>();

  constructor(definition: MetricDefinition) {
    this.#definition = definition;
    this.#labelNames = Object.keys(definition.labels);
    if (definition.preset === "zero is a fact")
      for (const labels of closedCombinations(definition)) this.#preset.add(this.#ensure(labels));
  }

  add(labels: readonly string[], place: string, source: Source): string {
    const key = this.#ensure(labels);
    this.#series.get(key)?.sources.set(place, source);
    return key;
  }

  /** X3 */
  remove(key: string, place: string, counted: Float64Array): void {
    const series = this.#series.get(key);
    if (series === undefined) return;
    series.sources.delete(place);
    const others = series.sources.size - Number(series.sources.has(GONE));
    if (others === 0 && !this.#preset.has(key)) this.#series.delete(key);
    else if (counted.length > 0) {
      const before = series.sources.get(GONE)?.values;
      series.sources.set(GONE, { values: counted.map((value, i) => value + (before?.[i] ?? 0)), slot: 0 });
    }
  }

  exemplar(labels: Readonly<Record<string, string>>, value: number, traceId: string): void {
    if (this.#definition.kind !== "histogram") return;
    const series = this.#series.get(this.#labelNames.map((name) => labels[name] ?? "").join(SEPARATOR));
    if (series === undefined) return;
    const { buckets } = this.#definition;
    const found = buckets.findIndex((bound) => value <= bound);
    series.exemplars ??= [];
    series.exemplars[found === -1 ? buckets.length : found] =
      ` # {trace_id="${traceId}"} ${value} ${Date.now() / MS_PER_SECOND}`;
  }

  /** Each series, also those without a value: one object for all, since there are thousands. */
  *sampled(): Generator<SampledSeries> {
    const { name, kind } = this.#definition;
    const bounds = kind === "histogram" ? this.#definition.buckets : [];
    const values = new Float64Array(kind === "histogram" ? bounds.length + 2 : 1);
    const read = (series: ExposedSeries): Float64Array => {
      if (kind === "histogram") cumulate(series, values);
      else values[0] = kind === "gauge" ? known(series) : total(series, 0);
      return values;
    };
    let present = new ExposedSeries([], []);
    const sampled = { name, kind, identity: present, bounds, values: () => read(present) };
    for (const series of this.#series.values()) {
      present = series;
      sampled.identity = series;
      yield sampled;
    }
  }

  /** Appends HELP and TYPE, and gives the series to render. */
  begin(lines: string[], isOpen: boolean): IterableIterator<ExposedSeries> {
    const { name, help, kind } = this.#definition;
    const text = help.replaceAll("\\", "\\\\").replaceAll("\n", "\\n");
    const head = [`# HELP ${name} ${text}`, `# TYPE ${name} ${kind}`];
    lines.push(...(isOpen ? head.map(openMetricsHead) : head));
    return this.#series.values();
  }

  /** Appends the lines of one series. */
  render(series: ExposedSeries, lines: string[], isOpen: boolean): void {
    const { name, kind } = this.#definition;
    if (kind === "histogram")
      renderHistogram(name, this.#definition.buckets, series, lines, isOpen ? series.exemplars : null);
    else {
      const value = kind === "gauge" ? known(series) : total(series, 0);
      if (!Number.isNaN(value)) lines.push(`${name}${series.labelText} ${value}`);
    }
  }

  #ensure(values: readonly string[]): string {
    const key = values.join(SEPARATOR);
    if (!this.#series.has(key)) this.#series.set(key, new ExposedSeries(this.#labelNames, values));
    return key;
  }
}

function escapeValue(value: string): string {
  return value.replaceAll("\\", "\\\\").replaceAll('"', '\\"').replaceAll("\n", "\\n");
}

function total(series: ExposedSeries, offset: number): number {
  let sum = 0;
  for (const { values, slot } of series.sources.values()) sum += values[slot + offset] ?? 0;
  return sum;
}

/** The sum of what writers have set; NaN when none of them has. */
function known(series: ExposedSeries): number {
  let sum = Number.NaN;
  for (const { values, slot } of series.sources.values()) {
    const value = values[slot] ?? Number.NaN;
    if (!Number.isNaN(value)) sum = (Number.isNaN(sum) ? 0 : sum) + value;
  }
  return sum;
}

/** Cumulated buckets, and the sum behind them. */
function cumulate(series: ExposedSeries, into: Float64Array): void {
  const last = into.length - 1;
  into.fill(0);
  for (const { values, slot } of series.sources.values())
    for (let i = 0; i <= last; i++) into[i] = (into[i] ?? 0) + (values[slot + i] ?? 0);
  for (let i = 1; i < last; i++) into[i] = (into[i] ?? 0) + (into[i - 1] ?? 0);
}

function renderHistogram(
  name: string,
  buckets: readonly number[],
  series: ExposedSeries,
  lines: string[],
  exemplars: ExposedSeries["exemplars"],
): void {
  const { labelText } = series;
  const head = labelText === "" ? `${name}_bucket{` : `${name}_bucket${labelText.slice(0, -1)},`;
  let cumulated = 0;
  for (let i = 0; i <= buckets.length; i++) {
    cumulated += total(series, i);
    lines.push(`${head}le="${buckets[i] ?? "+Inf"}"} ${cumulated}${exemplars?.[i] ?? ""}`);
  }
  lines.push(
    `${name}_sum${labelText} ${total(series, buckets.length + 1)}`,
    `${name}_count${labelText} ${cumulated}`,
  );
}

/** HELP or TYPE as OpenMetrics has it: a counter's family has no `_total`, and quotes are escaped. */
function openMetricsHead(line: string): string {
  return line.replace(/^(# (?:HELP|TYPE) \w+?)_total /, "$1 ").replace(/(?<!\\)"/g, '\\"');
}

/** Lines of the metrics library, and the end of the text. */
function asOpenMetrics(text: string): string {
  const lines = text.split("\n").filter((line) => line !== "");
  return [...lines.map((line) => (line.startsWith("#") ? openMetricsHead(line) : line)), "# EOF", ""].join(
    "\n",
  );
}

/** All combinations of a family's closed labels. */
function closedCombinations({ name, labels }: MetricDefinition): string[][] {
  let combinations: string[][] = [[]];
  for (const [label, domain] of Object.entries(labels)) {
    if ("maxValues" in domain)
      throw new RangeError(`metric ${name} cannot be preset: the values of ${label} are not listed`);
    combinations = combinations.flatMap((head) => domain.map((value) => [...head, value]));
  }
  if (combinations.length > CLOSED_SERIES_MAX)
    throw new RangeError(
      `metric ${name} has ${combinations.length} series to preset; the limit is ${CLOSED_SERIES_MAX}`,
    );
  return combinations;
}
