/**
 * Rules as trees, made when files are generated, so that a process can evaluate its own alerts
 * without a parser and without Prometheus.
 *
 *     rules as text ─ promql-tree.ts ─▶ trees ─ needs? ─▶ compiled rules (JSON)
 *
 *  L1  An alert has a tree, or the reason why it needs Prometheus.
 *  L2  What the evaluator lacks fails the generation: an alert is never left out without a word.
 *  L3  Only recordings that an alert with a tree reads are there.
 *
 * An alert needs Prometheus for history when its expression looks further back than
 * WINDOW_SECONDS_MAX. Recordings that it reads count too. After a start, a process has no samples
 * of that time; like Prometheus it then takes those that there are.
 */

import { secondsOf } from "../duration.ts";
import { PROCESS_METRICS } from "../exporters.ts";
import type { Project } from "../project.ts";
import { parsePromql, type Tree } from "../proof/promql-tree.ts";
import { walkTree } from "../proof/tree-walk.ts";
import { runbookFile } from "../rules/links.ts";
import {
  COMPILED_RULES_VERSION,
  type CompiledAlert,
  type CompiledRecording,
  type CompiledRules,
  type RuleNeed,
} from "./compiled-rules.ts";
import { unsupportedPart } from "./evaluate.ts";

/** The longest range for which samples are kept. Few processes run for the days that longer ones need. */
const WINDOW_SECONDS_MAX = 6 * 3600;

/** Families that only a server of Prometheus has, about its own work. */
const OF_SCRAPES = new Set(["up"]);

const HISTOGRAM_PARTS = /_(?:bucket|sum|count)$/;

function parse(name: string, expression: string): Tree {
  const parsed = parsePromql(expression);
  if (!parsed.ok) throw new RangeError(`${name}: ${parsed.message}`);
  if (/\boffset\b/.test(expression)) throw new RangeError(`${name}: offset is not evaluated in a process`);
  return parsed.tree;
}

/** Recordings by name, and what is known of a project's families. */
interface Known {
  readonly recordings: ReadonlyMap<string, Tree>;
  readonly own: ReadonlySet<string>;
}

function knownOf({ families, recordingGroups }: Project): Known {
  const recordings = recordingGroups
    .flatMap(({ rules }) => rules)
    .map(({ name, expression }): [string, Tree] => [name, parse(name, expression)]);
  const own = [...families, ...Object.values<{ readonly name: string }>(PROCESS_METRICS)];
  return { recordings: new Map(recordings), own: new Set(own.map(({ name }) => name)) };
}

/** Every selector that a tree reads, those of recordings too. */
function selectorsOf(tree: Tree, { recordings }: Known): Extract<Tree, { kind: "selector" }>[] {
  const found: Extract<Tree, { kind: "selector" }>[] = [];
  const visit = (node: Tree): void => {
    if (node.kind !== "selector") return;
    const recorded = recordings.get(node.name);
    if (recorded === undefined) found.push(node);
    else walkTree(recorded, visit);
  };
  walkTree(tree, visit);
  return found;
}

function needOf(tree: Tree, known: Known): RuleNeed | null {
  const selectors = selectorsOf(tree, known);
  const isOwn = (name: string): boolean =>
    known.own.has(name) || known.own.has(name.replace(HISTOGRAM_PARTS, ""));
  if (selectors.some(({ name }) => OF_SCRAPES.has(name))) return "scrape";
  if (selectors.some(({ name }) => !isOwn(name))) return "other_exporters";
  const ranges = selectors.map(({ range }) => (range === null ? 0 : secondsOf(range)));
  return ranges.some((seconds) => seconds > WINDOW_SECONDS_MAX) ? "history" : null;
}

function refuseUnsupported(name: string, tree: Tree): void {
  const part = unsupportedPart(tree);
  if (part !== null) throw new RangeError(`${name}: ${part} is not evaluated in a process (evaluate.ts)`);
}

/** Recordings that trees read, also through each other, in the order of their groups (L3). */
function recordingsOf(trees: readonly Tree[], { recordings }: Known): CompiledRecording[] {
  const read = new Set<string>();
  const visit = (node: Tree): void => {
    if (node.kind !== "selector" || read.has(node.name)) return;
    const recorded = recordings.get(node.name);
    if (recorded === undefined) return;
    read.add(node.name);
    walkTree(recorded, visit);
  };
  for (const tree of trees) walkTree(tree, visit);
  return [...recordings].filter(([name]) => read.has(name)).map(([name, tree]) => ({ name, tree }));
}

/**
 * Compiles.
 *
 * @param project - whose rules.
 * @returns what a process evaluates.
 * @throws RangeError when the evaluator lacks a part of an expression (L2).
 */
export function compileRules(project: Project): CompiledRules {
  const known = knownOf(project);
  const alerts = project.alertGroups
    .flatMap((group) => group.alerts)
    .map((alert): CompiledAlert => {
      const tree = parse(alert.name, alert.expression);
      const needs = needOf(tree, known);
      if (needs === null) refuseUnsupported(alert.name, tree);
      return {
        name: alert.name,
        severity: alert.severity,
        component: alert.component,
        forSeconds: secondsOf(alert.for),
        summary: alert.summary,
        description: alert.description,
        runbook: runbookFile(alert.name),
        panel: { uid: alert.panel.uid, id: alert.panel.id },
        tree: needs === null ? tree : null,
        needs,
      };
    });
  const trees = alerts.map(({ tree }) => tree).filter((tree) => tree !== null);
  const recordings = recordingsOf(trees, known);
  for (const { name, tree } of recordings) refuseUnsupported(name, tree);
  const { intervalSeconds, job } = project;
  return { version: COMPILED_RULES_VERSION, intervalSeconds, job, recordings, alerts };
}

/**
 * The file.
 *
 * @param project - whose rules.
 * @returns JSON with one rule in each line, so that a change of a rule is a change of a line.
 */
export function compiledRulesFile(project: Project): string {
  const { recordings, alerts, ...head } = compileRules(project);
  const lines = (rules: readonly object[]): string => rules.map((rule) => JSON.stringify(rule)).join(",\n");
  return `${JSON.stringify(head).slice(0, -1)},\n"recordings":[\n${lines(recordings)}\n],\n"alerts":[\n${lines(alerts)}\n]}\n`;
}
