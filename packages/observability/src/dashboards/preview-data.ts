/**
 * Data for pictures of dashboards: made-up series of every family, as a healthy application has them, and each query
 * evaluated over them. Pictures with data show a dashboard instead of its frame.
 *
 *     families ─▶ made-up series ─▶ SampleStore ─▶ recordings ─▶ queries at each instant ─▶ lines of a panel
 *
 * Numbers follow from the names of series alone: the same catalogue gives the same pictures.
 *
 * Not here: a proof. promtool evaluates each panel (proof/panel-tests.ts).
 */

import type { LabelDomain } from "../definition.ts";
import { secondsOf } from "../duration.ts";
import { type Element, evaluate, unsupportedPart } from "../evaluation/evaluate.ts";
import { SampleStore } from "../evaluation/sample-store.ts";
import type { ExternalDefinition } from "../external.ts";
import type { MetricDefinition } from "../definition.ts";
import type { Project } from "../project.ts";
import { parsePromql, plainPromql, type Tree } from "../proof/promql-tree.ts";
import { walkTree } from "../proof/tree-walk.ts";
import { type Panel, queriesOf, type Query } from "./panel.ts";

/** One line, bar or row, with a value for each instant; NaN where it has none. */
export interface PreviewLine {
  readonly name: string;
  readonly labels: Readonly<Record<string, string>>;
  readonly values: readonly number[];
}

/** Lines of a panel, by query. */
export type PreviewLines = readonly (readonly PreviewLine[])[];

/** Instants that are shown. */
export const INSTANTS = 24;

const INTERVAL_SECONDS = 120;
/** The longest look-back that is evaluated; series over more are made up themselves. */
const RANGE_SECONDS_MAX = 3600;
const BEGIN_SECONDS = 1_767_225_600;
const SERIES_MAX = 1_000_000;
/** Series of one family in a picture. */
const COMBINATIONS_MAX = 96;
const DAY_SECONDS = 86_400;

/** Words of labels and names that a healthy application counts nothing under. */
const TROUBLE =
  /fail|error|drop|reject|refus|violat|evict|gap|fault|invalid|overload|critical|warning|fallback|degraded|lost|elsewhere|stolen|replay|differ|unknown|50\d/;
/** Values of closed labels that a healthy thing has. */
const HEALTHY = ["exact", "live", "healthy", "Running", "active", "eligible", "watching", "ok"];

/** A number from 0 to below 1, the same for a text. */
function hashed(text: string): number {
  let hash = 2_166_136_261;
  for (let i = 0; i < text.length; i++) hash = Math.imul(hash ^ text.charCodeAt(i), 16_777_619);
  return ((hash >>> 8) & 0xffff) / 0x10000;
}

/** A slow wave of a text's own, around 1. */
function wave(text: string, instant: number): number {
  return (
    1 + 0.25 * Math.sin(instant / 5 + 7 * hashed(text)) + 0.08 * Math.sin(instant * (1 + hashed(`${text}~`)))
  );
}

type Family = MetricDefinition | ExternalDefinition;

function valuesOf(
  label: string,
  domain: LabelDomain,
  named: Readonly<Record<string, readonly string[]>>,
): readonly string[] {
  if (!("maxValues" in domain)) return domain;
  return named[label] ?? ["a", "b"].slice(0, domain.maxValues).map((letter) => `${label}-${letter}`);
}

function combinations(
  { job, knowledge }: Project,
  { labels }: Family,
  most: number,
): Record<string, string>[] {
  let all = ["a", "b"].map((replica): Record<string, string> => ({ job, instance: `${job}-${replica}` }));
  for (const [label, domain] of Object.entries(labels))
    all = all
      .flatMap((head) =>
        valuesOf(label, domain, knowledge.namedValues).map((value) => ({ ...head, [label]: value })),
      )
      .slice(0, most);
  return all;
}

/** Whether a series is of what a healthy application has, by its closed labels; null where none of them says so. */
function isHealthy({ labels }: Family, of: Readonly<Record<string, string>>): boolean | null {
  for (const [label, domain] of Object.entries<LabelDomain>(labels)) {
    if ("maxValues" in domain) continue;
    const healthy = HEALTHY.find((value) => domain.includes(value));
    if (healthy !== undefined) return of[label] === healthy;
  }
  return null;
}

function gaugeValue(family: Family, labels: Readonly<Record<string, string>>, instant: number): number {
  const { name, unit } = family;
  const text = `${name} ${JSON.stringify(labels)}`;
  const share = hashed(text);
  switch (unit) {
    case "ratio":
      return (0.15 + 0.3 * share) * wave(text, instant);
    case "seconds":
      return (0.002 + 0.01 * share) * wave(text, instant);
    case "bytes":
      return bytesOf(name) * (0.5 + share) * wave(text, instant);
    case "percent":
      return 40 + 20 * share;
    case "timestamp":
      return BEGIN_SECONDS + (name.includes("expiry") ? 40 : -share) * DAY_SECONDS;
    case "none":
      return plainGauge(family, labels, Math.round((8 + 40 * share) * wave(name, instant / 4)));
  }
}

/** A part is smaller than its whole, so that their ratio is a share. */
function bytesOf(name: string): number {
  return /_(?:avail|available|free|used)(?:_|$)/.test(name) ? 2 ** 30 / 3 : 2 ** 30;
}

/** Flags are up, states are the first, and what is in trouble is none. */
function plainGauge(family: Family, labels: Readonly<Record<string, string>>, otherwise: number): number {
  const { name } = family;
  const healthy = isHealthy(family, labels);
  if (healthy !== null) return healthy ? 1 : 0;
  if (/(?:^up|_valid|_ready|_status|_usable|_info)$/.test(name)) return 1;
  if (/_active$/.test(name)) return 2;
  if (/_state$/.test(name) || TROUBLE.test(name)) return 0;
  return otherwise;
}

/** Events per second of a counter or a histogram. */
function ratePerSecond(family: Family, labels: Readonly<Record<string, string>>, instant: number): number {
  const text = `${family.name} ${JSON.stringify(labels)}`;
  const isTrouble = [family.name, ...Object.values(labels)].some((word) => TROUBLE.test(word));
  const size = family.unit === "bytes" ? 2 ** 16 : family.unit === "seconds" ? 0.02 : 8;
  if (isTrouble) return 0;
  return size * (0.3 + hashed(text)) * wave(text, instant);
}

/** A series of a family at an instant, or all buckets of one; counters and buckets as they have grown. */
interface Made {
  readonly name: string;
  readonly labels: Readonly<Record<string, string>>;
  /** Of buckets; null for a single value. */
  readonly bounds: readonly string[] | null;
  readonly at: (instant: number) => readonly number[];
}

function madeUp(family: Family, labels: Readonly<Record<string, string>>): Made[] {
  const { name, kind } = family;
  const single = (as: string, at: (instant: number) => number): Made => ({
    name: as,
    labels,
    bounds: null,
    at: (instant) => [at(instant)],
  });
  if (kind === "gauge") return [single(name, (instant) => gaugeValue(family, labels, instant))];
  let grown = 0;
  let growth = 0;
  const total = (instant: number): number => {
    growth = INTERVAL_SECONDS * ratePerSecond(family, labels, instant);
    return (grown += growth);
  };
  if (kind === "counter") return [single(name, total)];
  const bounds = family.buckets ?? [];
  const typical = bounds[Math.floor(bounds.length * 0.3)] ?? 1;
  const shape = JSON.stringify(labels);
  /** What comes in with each instant, summed over them. */
  const summed = (part: (instant: number) => number): ((instant: number) => number) => {
    let sum = 0;
    return (instant) => (sum += growth * part(instant));
  };
  const shareBelow = (i: number, instant: number): number =>
    1 - Math.exp(-(((i + 1) / (bounds.length * 0.35 * wave(shape, instant))) ** 2));
  const buckets = [...bounds, Infinity].map((bound, i) =>
    summed((instant) => (bound === Infinity ? 1 : shareBelow(i, instant))),
  );
  return [
    single(`${name}_count`, total),
    single(
      `${name}_sum`,
      summed((instant) => typical * wave(shape, instant)),
    ),
    {
      name: `${name}_bucket`,
      labels,
      bounds: [...bounds.map(String), "+Inf"],
      at: (instant) => buckets.map((bucket) => bucket(instant)),
    },
  ];
}

function treeOf(text: string): Tree | null {
  const parsed = parsePromql(plainPromql(text).replace(/=~"\$\w+"/g, '=~".*"'));
  if (!parsed.ok) return null;
  // The largest lines are chosen when they are drawn.
  const { tree } = parsed;
  return evaluable(tree.kind === "aggregation" && tree.operator === "topk" ? tree.of : tree);
}

/** Without what the evaluator does not know and what changes nothing here: substitutes for absent series, and zero where one is. */
function evaluable(tree: Tree): Tree {
  if (tree.kind === "aggregation") return { ...tree, of: evaluable(tree.of) };
  if (tree.kind !== "binary" || unsupportedPart(tree.right) === null) return tree;
  return tree.operator === "or" || tree.operator === "*" ? evaluable(tree.left) : tree;
}

function rangeOf(tree: Tree): number {
  let longest = 0;
  walkTree(tree, (node) => {
    if (node.kind === "selector" && node.range !== null) longest = Math.max(longest, secondsOf(node.range));
  });
  return longest;
}

/** Evaluates all queries of a project once. */
export class PreviewData {
  readonly #lines = new Map<string, Map<string, PreviewLine & { values: number[] }>>();

  readonly #instants: number;

  /**
   * @param project - whose families and dashboards. Cost: about a second for kvsync's.
   * @param size - instants, and series of a family at most; those of a picture unless stated.
   */
  constructor(project: Project, { instants = INSTANTS, seriesPerFamily = COMBINATIONS_MAX } = {}) {
    this.#instants = instants;
    const queries = project.dashboards.flatMap(({ panels }) =>
      Object.values<Panel>(panels).flatMap((panel) => queriesOf(panel)),
    );
    const evaluated = new Map<string, Tree>();
    for (const { text } of queries) {
      const tree = treeOf(text);
      if (tree !== null && unsupportedPart(tree) === null) evaluated.set(text, tree);
    }
    this.#evaluate(project, evaluated, seriesPerFamily);
  }

  /** The lines of a panel's queries; none for a query that is not evaluated here. */
  of(panel: Panel): PreviewLines {
    return queriesOf(panel).map((query) => this.#named(query));
  }

  #named({ text, legend }: Query): PreviewLine[] {
    return [...(this.#lines.get(text)?.values() ?? [])].map((line) => ({
      ...line,
      name: legend.replace(/\{\{(\w+)\}\}/g, (_, label: string) => line.labels[label] ?? ""),
    }));
  }

  #evaluate(project: Project, queries: ReadonlyMap<string, Tree>, seriesPerFamily: number): void {
    const recordings = project.recordingGroups
      .flatMap(({ rules }) => rules)
      .map(({ name, expression, labels }) => ({ name, labels, tree: treeOf(expression) }));
    const made = seriesOf(project, seriesPerFamily);
    const names = new Set(made.map(({ name }) => name));
    const reads = [...names].map((name) => ({ name, selectors: [[]], rangeSeconds: RANGE_SECONDS_MAX }));
    const store = new SampleStore(reads, INTERVAL_SECONDS, SERIES_MAX);
    for (const { name, bounds } of made)
      if (bounds !== null) for (const table of store.tables(name)) table.layOutBuckets(bounds);
    const owned = made.map((series) => ({ series, owner: { labels: () => series.labels } }));
    const warmUp = RANGE_SECONDS_MAX / INTERVAL_SECONDS + 1;
    for (let instant = 0; instant < warmUp + this.#instants; instant++) {
      const atSeconds = BEGIN_SECONDS + instant * INTERVAL_SECONDS;
      store.begin(atSeconds);
      for (const { series, owner } of owned) {
        const sample = Float64Array.from(series.at(instant));
        for (const table of store.tables(series.name)) store.set(table, owner, sample);
      }
      store.end();
      if (instant < warmUp) continue;
      const recorded = new Map<string, readonly Element[]>();
      for (const { name, labels, tree } of recordings) {
        const isShort = tree !== null && unsupportedPart(tree) === null && rangeOf(tree) <= RANGE_SECONDS_MAX;
        const value = isShort
          ? evaluate(tree, { store, recorded, atSeconds })
          : standIn(project, labels, instant);
        recorded.set(name, typeof value === "number" ? [] : value);
      }
      for (const [text, tree] of queries)
        this.#keep(text, evaluate(tree, { store, recorded, atSeconds }), instant - warmUp);
    }
  }

  #keep(text: string, value: number | readonly Element[], instant: number): void {
    const lines = this.#lines.get(text) ?? new Map<string, PreviewLine & { values: number[] }>();
    this.#lines.set(text, lines);
    const elements = typeof value === "number" ? [{ labels: {}, value }] : value;
    for (const { labels, value: now } of elements) {
      const key = JSON.stringify(labels);
      const line = lines.get(key) ?? {
        name: "",
        labels,
        values: new Array<number>(this.#instants).fill(Number.NaN),
      };
      lines.set(key, line);
      line.values[instant] = now;
    }
  }
}

/** A recorded share over days, too long to evaluate here. */
function standIn({ job }: Project, labels: readonly string[], instant: number): readonly Element[] {
  const named = Object.fromEntries(labels.map((label) => [label, label === "job" ? job : ""]));
  return [{ labels: named, value: 0.0004 * wave(labels.join(" "), instant) }];
}

function seriesOf(project: Project, most: number): Made[] {
  // No alert fires.
  const families = [...project.families, ...project.externalFamilies].filter(
    ({ name }) => !name.startsWith("ALERTS"),
  );
  return families.flatMap((family) =>
    combinations(project, family, most).flatMap((labels) => madeUp(family, labels)),
  );
}
