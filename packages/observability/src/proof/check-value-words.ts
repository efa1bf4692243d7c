/**
 * Checks that a query counts what its text names: `decision="fallback"` under the title "Answers exact" is valid PromQL, and wrong.
 *
 *     selector, matchers ──▶ kept values of a closed label ─┐
 *     title, legend, description ──────────────────────────┴─▶ named there, and no other one
 *
 *  D18 A query of a panel that keeps some values of a closed label has them in its texts, or the project's words for them.
 *      Its legend names no other value of the label more closely. A title that names one has a query of that value. A query whose legend shows the
 *      label is exempt: each line has its own value.
 *  R9  The same of a query in a step of a runbook, and the sentence of the step.
 *
 * A value is named by all of its words: `foreign_running` by "foreign" and "running". Not here: alerts, whose trials hold what they
 * count; values that nothing has at all (E2).
 */

import type { ValueWords } from "../project.ts";
import { type Artefacts, filesAt } from "./artefacts.ts";
import type { CheckedRules } from "./check-rules.ts";
import { keptValues, shapeOf } from "./expression-shape.ts";
import { allPanels, CHOSEN_LOG, columnTitle, type DashboardJson, type PanelJson } from "./grafana-json.ts";
import { type Problem, ProblemList } from "./problem.ts";
import { plainPromql, type Tree } from "./promql-tree.ts";
import { walkTree } from "./tree-walk.ts";
import { stems } from "./word-stems.ts";

/** Some values of a label that a query keeps. */
interface Choice {
  readonly name: string;
  readonly label: string;
  readonly kept: readonly string[];
  readonly others: readonly string[];
}

/** A query with its own text. */
interface NamedQuery {
  readonly expression: string;
  /** Its legend, or its column's title; nothing for a step of a runbook. */
  readonly legend: string;
}

/**
 * Checks every panel, and every step of a runbook with a query.
 *
 * @param artefacts - all rendered files.
 * @param rules - what the check of rules found out.
 * @returns findings.
 */
export function checkValueWords(artefacts: Artefacts, rules: CheckedRules): readonly Problem[] {
  const found = new ProblemList();
  const { files, places, project } = artefacts;
  const words = project.knowledge.valueWords;
  for (const [path, text] of filesAt(files, places.dashboards))
    for (const panel of panelsOf(text)) {
      found.at(`${path}: panel ${panel.id ?? 0} "${panel.title ?? ""}"`);
      const queries = (panel.targets ?? []).map((target) => ({
        expression: plainPromql(target.expr ?? ""),
        legend: columnTitle(panel, target) ?? target.legendFormat ?? "",
      }));
      const [shows = ""] = (panel.description ?? "").split("\n\nNormal:");
      new TextCheck(panel.title ?? "", shows, queries, words, rules).run(found);
    }
  for (const [path, page] of filesAt(files, new RegExp(`^${project.places.runbooks}/`)))
    for (const [, step = "", text = ""] of page.matchAll(/^\d+\. (.*)\n\n +```promql\n([\s\S]*?)```/gm)) {
      found.at(`${path}: ${step}`);
      new TextCheck(step, "", [{ expression: text.trim(), legend: "" }], words, rules).run(found);
    }
  return found.found;
}

class TextCheck {
  readonly #title: string;
  readonly #shows: string;
  readonly #queries: readonly (NamedQuery & { readonly choices: readonly Choice[] })[];
  readonly #words: readonly ValueWords[];

  constructor(
    title: string,
    shows: string,
    queries: readonly NamedQuery[],
    words: readonly ValueWords[],
    rules: CheckedRules,
  ) {
    this.#title = title;
    this.#shows = shows;
    this.#queries = queries.map((query) => ({ ...query, choices: choicesOf(query, rules) }));
    this.#words = words;
  }

  run(found: ProblemList): void {
    for (const { legend, choices } of this.#queries)
      for (const choice of choices)
        for (const message of this.#problems(choice, legend)) found.add("value_words", message);
  }

  #problems({ name, label, kept, others }: Choice, legend: string): string[] {
    const strong = `${this.#title} ${legend}`;
    const isNamed =
      this.#called(label, kept, `${strong} ${this.#shows}`) ||
      kept.every((value) => names(strong, value)) ||
      (kept.every((value) => names(this.#shows, value)) &&
        !others.some((value) => names(this.#shows, value)));
    const wrong = [
      ...this.#otherNames(label, kept, others, legend),
      ...this.#otherNames(label, kept, others, this.#title).filter((name) => !this.#isAsked(label, name)),
    ];
    return [
      ...(isNamed
        ? []
        : [
            `${name} is counted for ${label} ${kept.join(", ")}, which no text names: write it, or add knowledge.valueWords`,
          ]),
      ...wrong.map(
        (value) => `the text names "${value}", and ${name} is counted for ${label} ${kept.join(", ")}`,
      ),
    ];
  }

  /** Other values of the label that a text names, or other words of the project, where it does not call the kept ones so. */
  #otherNames(label: string, kept: readonly string[], others: readonly string[], text: string): string[] {
    if (this.#called(label, kept, text)) return [];
    const sets = this.#words.filter(
      ({ values, words, ...set }) => set.label === label && !isSame(values, kept) && holds(text, words),
    );
    const rank = Math.min(...kept.map((value) => closeness(text, value)));
    const single = others.filter((value) => closeness(text, value) > rank);
    return [...single, ...sets.map(({ words }) => words)];
  }

  /** Whether a text has the project's words for these values. */
  #called(label: string, kept: readonly string[], text: string): boolean {
    return this.#words.some(
      (set) => set.label === label && isSame(set.values, kept) && holds(text, set.words),
    );
  }

  /** Whether another query of the panel keeps what a name stands for, so that the title is about that one. */
  #isAsked(label: string, name: string): boolean {
    const values = this.#words.find((set) => set.label === label && set.words === name)?.values ?? [name];
    return this.#queries.some(({ choices }) =>
      choices.some((choice) => choice.label === label && isWithin(values, choice.kept)),
    );
  }
}

function choicesOf({ expression, legend }: NamedQuery, rules: CheckedRules): readonly Choice[] {
  const { tree } = shapeOf(expression, rules.names);
  const choices: Choice[] = [];
  if (tree === null) return choices;
  walkTree(tree, (node) => {
    if (node.kind === "selector") choices.push(...choicesIn(node, rules));
  });
  return choices.filter(({ label }) => !new RegExp(`\\{\\{\\s*${label}\\s*\\}\\}`).test(legend));
}

function choicesIn({ name, matchers }: Tree & { kind: "selector" }, rules: CheckedRules): Choice[] {
  const labels = rules.names.get(name)?.labels ?? new Map<string, never>();
  return [...labels].flatMap(([label, known]) => {
    const kept = keptValues(matchers, label, known);
    if (label === "le" || "named" in known || "named" in kept || kept.length === known.length) return [];
    return [{ name, label, kept, others: known.filter((value) => !kept.includes(value)) }];
  });
}

/** How a text names a value: 2 by its words, 1 by words of the same stem, 0 not. */
function closeness(text: string, value: string): number {
  const parts = value.replace(/([a-z])(?=[A-Z])/g, "$1 ").replaceAll("_", " ");
  const written = text.toLowerCase().split(/\W+/);
  if (written.includes(value.toLowerCase())) return 2;
  if (
    parts
      .toLowerCase()
      .split(" ")
      .every((word) => written.includes(word))
  )
    return 2;
  const there = new Set(stems(text));
  const wanted = stems(parts);
  return wanted.length > 0 && wanted.every((word) => there.has(word)) ? 1 : 0;
}

function names(text: string, value: string): boolean {
  return closeness(text, value) > 0;
}

function holds(text: string, words: string): boolean {
  return text.toLowerCase().includes(words);
}

function isWithin(some: readonly string[], all: readonly string[]): boolean {
  return some.every((value) => all.includes(value));
}

function isSame(one: readonly string[], other: readonly string[]): boolean {
  return one.length === other.length && isWithin(one, other);
}

function panelsOf(text: string): PanelJson[] {
  try {
    return allPanels(JSON.parse(text) as DashboardJson).filter(
      ({ type, datasource }) => type !== "row" && datasource?.uid !== CHOSEN_LOG,
    );
  } catch {
    // Reported by the check of dashboards.
    return [];
  }
}
