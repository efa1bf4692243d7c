/**
 * Alerts evaluated in a process, at each sampling: recorded series first, then each alert's condition.
 *
 *               condition holds              `for` is over
 *     (none) ─────────────────▶ pending ─────────────────▶ firing
 *        ▲                         │                          │
 *        └──── no longer ──────────┴───────────────◀──────────┘
 *
 * Invariants
 *  R1  A series is pending from the first sampling on at which the condition held without a break. It
 *      fires at the first sampling that is at least `for` later. Prometheus does the same.
 *  R2  An alert that cannot be evaluated keeps no series, and its standing has the reason.
 *  R3  At most SERIES_PER_ALERT_MAX series of an alert are followed. The others are counted in `leftOut`.
 *
 * Not here: when samples are taken, and who is notified.
 */

import { secondsOf } from "../duration.ts";
import type { Tree, TreeMatcher } from "../proof/promql-tree.ts";
import { fillTemplate } from "../rules/template-values.ts";
import { walkTree } from "../proof/tree-walk.ts";
import type { CompiledAlert, CompiledRules } from "./compiled-rules.ts";
import { type Element, evaluate, EvaluationError } from "./evaluate.ts";
import { type Read, type SampleStore, SHORT_SECONDS } from "./sample-store.ts";
import type { Labels } from "./sample-table.ts";

/** Series of one alert: as many engines as a daemon usually follows. */
const SERIES_PER_ALERT_MAX = 1024;

/** A series for which an alert's condition holds. */
export interface ActiveAlert {
  readonly name: string;
  readonly state: "pending" | "firing";
  /** Those of the series; not `alertname`, `severity` and `component`. */
  readonly labels: Labels;
  readonly value: number;
  readonly sinceSeconds: number;
  readonly summary: string;
  readonly description: string;
}

/** How an alert stands. */
export interface RuleStanding {
  readonly rule: CompiledAlert;
  readonly state: "inactive" | "pending" | "firing" | "needs_prometheus" | "failed";
  /** Why it cannot be evaluated; null when it is. */
  readonly problem: string | null;
  /** Series that are not followed (R3). */
  readonly leftOut: number;
  readonly alerts: readonly ActiveAlert[];
}

interface Active {
  readonly labels: Labels;
  readonly sinceSeconds: number;
  value: number;
  isFiring: boolean;
}

interface Followed {
  readonly rule: CompiledAlert;
  active: Map<string, Active>;
  problem: string | null;
  leftOut: number;
}

/**
 * What rules read, for a `SampleStore`.
 *
 * @param rules - compiled.
 * @returns each metric name once for short and once for long ranges; recorded series are not among them.
 */
export function readsOf(rules: CompiledRules): readonly Read[] {
  const recorded = new Set(rules.recordings.map(({ name }) => name));
  const reads = new Map<
    string,
    { name: string; selectors: (readonly TreeMatcher[])[]; rangeSeconds: number }
  >();
  const trees = [...rules.recordings, ...rules.alerts].map(({ tree }) => tree);
  for (const tree of trees.filter((one) => one !== null)) {
    for (const { name, matchers, range } of selectorsIn(tree)) {
      if (recorded.has(name)) continue;
      const seconds = range === null ? 0 : secondsOf(range);
      const key = seconds > SHORT_SECONDS ? `${name} long` : name;
      const read = reads.get(key) ?? { name, selectors: [], rangeSeconds: 0 };
      reads.set(key, read);
      read.selectors.push(matchers);
      read.rangeSeconds = Math.max(read.rangeSeconds, seconds);
    }
  }
  return [...reads.values()];
}

function selectorsIn(tree: Tree): Extract<Tree, { kind: "selector" }>[] {
  const selectors: Extract<Tree, { kind: "selector" }>[] = [];
  walkTree(tree, (node) => {
    if (node.kind === "selector") selectors.push(node);
  });
  return selectors;
}

/** See the head of this file. */
export class RuleEvaluation {
  readonly #rules: CompiledRules;
  readonly #store: SampleStore;
  readonly #followed: readonly Followed[];

  /**
   * @param rules - compiled.
   * @param store - made for what they read.
   */
  constructor(rules: CompiledRules, store: SampleStore) {
    this.#rules = rules;
    this.#store = store;
    this.#followed = rules.alerts.map((rule) => ({ rule, active: new Map(), problem: null, leftOut: 0 }));
  }

  /**
   * Evaluates everything.
   *
   * @param atSeconds - the instant, in seconds since the Unix epoch; each later than the one before.
   */
  evaluate(atSeconds: number): void {
    const steps = this.steps(atSeconds);
    while (steps.next().done !== true);
  }

  /**
   * Evaluates everything in steps, so that other work can come between. Samples must not change meanwhile.
   *
   * @param atSeconds - as in `evaluate`.
   * @yields after each rule.
   */
  *steps(atSeconds: number): Generator<undefined, void> {
    const recorded = new Map<string, readonly Element[]>();
    for (const { name, tree } of this.#rules.recordings) {
      const found = this.#try(tree, recorded, atSeconds);
      recorded.set(name, typeof found === "string" ? [] : found);
      yield;
    }
    for (const followed of this.#followed) {
      const { tree } = followed.rule;
      if (tree === null) continue;
      const found = this.#try(tree, recorded, atSeconds);
      followed.problem = typeof found === "string" ? found : null;
      follow(followed, typeof found === "string" ? [] : found, atSeconds);
      yield;
    }
  }

  /**
   * The recorded series at an instant.
   *
   * @param atSeconds - the instant.
   * @returns by name; a series whose expression has no value there is empty.
   */
  recorded(atSeconds: number): ReadonlyMap<string, readonly Element[]> {
    const recorded = new Map<string, readonly Element[]>();
    for (const { name, tree } of this.#rules.recordings) {
      const found = this.#try(tree, recorded, atSeconds);
      recorded.set(name, typeof found === "string" ? [] : found);
    }
    return recorded;
  }

  /** How each alert stands, in the order of the rules. */
  standings(): readonly RuleStanding[] {
    return this.#followed.map(({ rule, active, problem, leftOut }) => {
      const alerts = [...active.values()].map((one) => describe(rule, one));
      return { rule, state: stateOf(rule, problem, alerts), problem, leftOut, alerts };
    });
  }

  #try(
    tree: Tree,
    recorded: ReadonlyMap<string, readonly Element[]>,
    atSeconds: number,
  ): readonly Element[] | string {
    try {
      const value = evaluate(tree, { store: this.#store, recorded, atSeconds });
      return typeof value === "number" ? [] : value;
    } catch (error) {
      if (error instanceof EvaluationError) return error.message;
      throw error;
    }
  }
}

function follow(followed: Followed, found: readonly Element[], atSeconds: number): void {
  const { rule, active: before } = followed;
  const active = new Map<string, Active>();
  followed.leftOut = 0;
  for (const { labels, value } of found) {
    const key = JSON.stringify(Object.entries(labels).sort(([one], [other]) => (one < other ? -1 : 1)));
    if (active.size >= SERIES_PER_ALERT_MAX) {
      followed.leftOut += 1;
      continue;
    }
    const one = before.get(key) ?? { labels, sinceSeconds: atSeconds, value, isFiring: false };
    one.value = value;
    one.isFiring ||= atSeconds - one.sinceSeconds >= rule.forSeconds;
    active.set(key, one);
  }
  followed.active = active;
}

function stateOf(
  { tree }: CompiledAlert,
  problem: string | null,
  alerts: readonly ActiveAlert[],
): RuleStanding["state"] {
  if (tree === null) return "needs_prometheus";
  if (problem !== null) return "failed";
  if (alerts.some(({ state }) => state === "firing")) return "firing";
  return alerts.length > 0 ? "pending" : "inactive";
}

function describe(rule: CompiledAlert, { labels, value, sinceSeconds, isFiring }: Active): ActiveAlert {
  return {
    name: rule.name,
    state: isFiring ? "firing" : "pending",
    labels,
    value,
    sinceSeconds,
    summary: rule.summary,
    description: fillTemplate(rule.description, withNamed(rule.description, labels), value),
  };
}

/** A label that the series lacks is empty in a text. */
function withNamed(template: string, labels: Labels): Labels {
  const named = [...template.matchAll(/\$labels\.(\w+)/g)].map(([, name]): [string, string] => [
    name ?? "",
    "",
  ]);
  return { ...Object.fromEntries(named), ...labels };
}
