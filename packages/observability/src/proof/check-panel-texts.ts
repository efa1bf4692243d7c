/**
 * Checks that texts and queries of panels belong together: a query under another panel's title is valid PromQL, and wrong.
 *
 *  D12 No two panels of a dashboard fit better with their queries exchanged. Compared are panels of one kind and unit, since other
 *      exchanges fail the check of units. Nor do two queries of a panel fit better with each other's legends,
 *      or titles of columns: those of one measure, and of other families. Others are held by their values (D18) and quantiles (D8).
 *  D21 No other family of the same kind, unit and labels fits a panel's text as well as the family in its query. So each such replacement is found: the text fits the family that was there better. Recorded series count as families.
 *      Two queries of a panel are not the same.
 *
 * How well a text fits a query is the cosine of their words. Words of a text are those of title and description. Words of a query are
 * its families' names and help, labels, values and functions. A word counts by how few panels have it in their query.
 *
 * Not here: the words of quantiles (D8) and of order (D11) in check-panels.ts.
 */

import { type Artefacts, filesAt } from "./artefacts.ts";
import type { ExposedName } from "../documents/exposed-names.ts";
import type { CheckedRules } from "./check-rules.ts";
import { shapeOf } from "./expression-shape.ts";
import { allPanels, CHOSEN_LOG, columnTitle, type DashboardJson, type PanelJson } from "./grafana-json.ts";
import { type Problem, ProblemList } from "./problem.ts";
import { plainPromql, type Tree } from "./promql-tree.ts";
import { walkTree } from "./tree-walk.ts";
import { stems } from "./word-stems.ts";

/** How much a word counts, by where it stands. */
const IN_TITLE = 3;
const IN_FAMILY_NAME = 2;
const ELSEWHERE = 1;

/** A name in an expression. */
const NAME = /[A-Za-z_:][\w:]*/g;

type Weights = ReadonlyMap<string, number>;

/** A query and the words of its legend, or of its column's title. The names of labels are left out. */
interface Line {
  readonly legend: string;
  readonly measure: string;
  readonly families: ReadonlySet<string>;
  readonly text: Weights;
  readonly query: Weights;
}

/** A text and what it is about. */
type Fitted = Pick<Line, "text" | "query">;

interface Panel {
  readonly json: PanelJson;
  readonly lines: readonly Line[];
  readonly text: Weights;
  readonly query: Weights;
}

/**
 * Compares every two panels.
 *
 * @param artefacts - all rendered files.
 * @param rules - what the check of rules found out.
 * @returns findings.
 */
export function checkPanelTexts(artefacts: Artefacts, rules: CheckedRules): readonly Problem[] {
  const found = new ProblemList();
  const helps = new Map(
    [...artefacts.project.families, ...artefacts.project.externalFamilies].map(
      ({ name, help }) => [name, help] as const,
    ),
  );
  const vocabulary = new Vocabulary(rules, helps);
  const boards = filesAt(artefacts.files, artefacts.places.dashboards).map(
    ([path, text]) => [path, panelsOf(text, rules, vocabulary)] as const,
  );
  const rarity = rarityOf(boards.flatMap(([, panels]) => panels));
  for (const [path, panels] of boards)
    panels.forEach((one, i) => {
      found.at(`${path}: panel ${one.json.id ?? 0} "${one.json.title ?? ""}"`);
      one.lines.forEach((line, j) => {
        for (const other of one.lines.slice(j + 1))
          if (areAlike(line, other) && !areInPlace(line, other, rarity))
            found.add(
              "panel_exchanged",
              `the legend "${line.legend}" fits the query of "${other.legend}" better, and the other way round; name in it what the query counts`,
            );
      });
      for (const other of panels.slice(i + 1)) {
        if (!isAlike(one.json, other.json) || areInPlace(one, other, rarity)) continue;
        found.at(`${path}: panel ${one.json.id ?? 0} "${one.json.title ?? ""}"`);
        found.add(
          "panel_exchanged",
          `its text fits the queries of "${other.json.title ?? ""}" better, and the other way round; name in the text what the query counts`,
        );
      }
    });
  const exchange = new FamilyExchange(rules, vocabulary, rarity);
  for (const [path, panels] of boards)
    for (const panel of panels)
      for (const message of exchange.problemsOf(panel)) {
        found.at(`${path}: panel ${panel.json.id ?? 0} "${panel.json.title ?? ""}"`);
        found.add("panel_family", message);
      }
  return found.found;
}

/** D21. */
class FamilyExchange {
  readonly #rules: CheckedRules;
  readonly #vocabulary: Vocabulary;
  readonly #rarity: (word: string) => number;
  /** Names that no other check tells apart. */
  readonly #alike = new Map<string, string[]>();

  constructor(rules: CheckedRules, vocabulary: Vocabulary, rarity: (word: string) => number) {
    this.#rules = rules;
    this.#vocabulary = vocabulary;
    this.#rarity = rarity;
    for (const [name, exposed] of rules.names) {
      const key = alikeKey(exposed);
      this.#alike.set(key, [...(this.#alike.get(key) ?? []), name]);
    }
  }

  /** One sentence for each family that another one could stand for. */
  problemsOf({ json, text }: Panel): string[] {
    const targets = json.targets ?? [];
    const isTwice = (expr: string, at: number): boolean =>
      targets.some((target, j) => j !== at && target.expr === expr);
    return targets.flatMap((target, i) => {
      const legend = columnTitle(json, target) ?? target.legendFormat ?? "";
      const line = together([text, weighed([[legend.replace(/\{\{[^}]*\}\}/g, ""), IN_TITLE]])]);
      const fitWith = (expr: string): number => {
        const exchanged = targets.map((each, j) => (i === j ? { expr } : each));
        return (
          fit(line, this.#words([{ expr }]), this.#rarity) + fit(text, this.#words(exchanged), this.#rarity)
        );
      };
      const { expr = "" } = target;
      const own = fitWith(expr);
      if (expr !== "" && isTwice(expr, i)) return ["two of its queries are the same"];
      return [...new Set(expr.match(NAME))].flatMap((name) =>
        this.#othersOf(name)
          .filter((other) => {
            const exchanged = expr.replace(NAME, (each) => (each === name ? other : each));
            return fitWith(exchanged) >= own && !isTwice(exchanged, i) && this.#passes(exchanged);
          })
          .map(
            (other) =>
              `its text fits ${other} as well as ${name}${legend === "" ? "" : `, of "${legend}"`}; name in it what the query counts`,
          ),
      );
    });
  }

  /** Whether the checks of expressions find nothing. */
  #passes(expr: string): boolean {
    return shapeOf(plainPromql(expr), this.#rules.names).problems.length === 0;
  }

  #words(targets: readonly { readonly expr?: string }[]): Weights {
    return wordsOfQueries({ targets }, this.#vocabulary);
  }

  #othersOf(name: string): readonly string[] {
    const exposed = this.#rules.names.get(name);
    if (exposed === undefined) return [];
    const meant = this.#meantBy(name);
    return (this.#alike.get(alikeKey(exposed)) ?? []).filter((other) => this.#meantBy(other) !== meant);
  }

  /** What a name stands for: recorded over another look-back, a series stands for the same. */
  #meantBy(name: string): string {
    const expression = this.#rules.recordExpressions.get(name);
    if (expression === undefined) return this.#rules.names.get(name)?.family ?? name;
    const families = new Set(
      (expression.match(NAME) ?? [])
        .filter((each) => this.#rules.names.has(each))
        .map((each) => this.#meantBy(each)),
    );
    return families.size === 1 ? ([...families][0] ?? name) : name.replace(/\d+[smhd]$/, "");
  }
}

function alikeKey({ nature, measure, labels }: ExposedName): string {
  return JSON.stringify([nature, measure, [...labels.keys()].sort()]);
}

function panelsOf(text: string, rules: CheckedRules, vocabulary: Vocabulary): Panel[] {
  let board: DashboardJson;
  try {
    board = JSON.parse(text) as DashboardJson;
  } catch {
    // Reported by the check of dashboards.
    return [];
  }
  return allPanels(board)
    .filter(({ type, datasource }) => type !== "row" && datasource?.uid !== CHOSEN_LOG)
    .map((json) => ({
      json,
      lines: linesOf(json, rules, vocabulary),
      text: wordsOfText(json),
      query: wordsOfQueries(json, vocabulary),
    }));
}

/** Whether an exchange of their queries passes the checks of units and of values. */
function areAlike(one: Line, other: Line): boolean {
  return one.measure === other.measure && ![...one.families].some((family) => other.families.has(family));
}

/** Whether the texts of two do not fit better with their queries exchanged. */
function areInPlace(one: Fitted, other: Fitted, rarity: (word: string) => number): boolean {
  const asTheyAre = fit(one.text, one.query, rarity) + fit(other.text, other.query, rarity);
  const exchanged = fit(one.text, other.query, rarity) + fit(other.text, one.query, rarity);
  return asTheyAre > exchanged;
}

function isAlike(one: PanelJson, other: PanelJson): boolean {
  return one.type === other.type && one.fieldConfig?.defaults?.unit === other.fieldConfig?.defaults?.unit;
}

/** Queries whose legend has words of its own. */
function linesOf(panel: PanelJson, rules: CheckedRules, vocabulary: Vocabulary): Line[] {
  return (panel.targets ?? [])
    .map((target) => {
      const legend = columnTitle(panel, target) ?? target.legendFormat ?? "";
      const { shape, tree } = shapeOf(plainPromql(target.expr ?? ""), rules.names);
      return {
        legend,
        measure: shape?.measure ?? "",
        families: tree === null ? new Set<string>() : familiesOf(tree, rules),
        text: weighed([[legend.replace(/\{\{[^}]*\}\}/g, ""), IN_TITLE]]),
        query: wordsOfQueries({ targets: [target] }, vocabulary),
      };
    })
    .filter(({ text }) => text.size > 0);
}

function familiesOf(tree: Tree, rules: CheckedRules): ReadonlySet<string> {
  const families = new Set<string>();
  walkTree(tree, (node) => {
    if (node.kind === "selector") families.add(rules.names.get(node.name)?.family ?? node.name);
  });
  return families;
}

function wordsOfText({ title = "", description = "" }: PanelJson): Weights {
  const [shows = ""] = description.split("\n\nNormal:");
  return weighed([
    [shows, ELSEWHERE],
    [title, IN_TITLE],
  ]);
}

function wordsOfQueries({ targets = [] }: PanelJson, vocabulary: Vocabulary): Weights {
  const names = targets.flatMap(({ expr = "" }) => expr.match(NAME) ?? []);
  return together([...new Set(names)].map((name) => vocabulary.wordsOf(name)));
}

/** What names in expressions say. */
class Vocabulary {
  readonly #rules: CheckedRules;
  readonly #helps: ReadonlyMap<string, string>;
  readonly #words = new Map<string, Weights>();

  constructor(rules: CheckedRules, helps: ReadonlyMap<string, string>) {
    this.#rules = rules;
    this.#helps = helps;
  }

  /** The words of a name, and of the help of its family; those of its expression, of a recorded series. */
  wordsOf(name: string): Weights {
    const known = this.#words.get(name);
    if (known !== undefined) return known;
    const words = this.#read(name);
    this.#words.set(name, words);
    return words;
  }

  #read(name: string): Weights {
    const recorded = this.#rules.recordExpressions.get(name);
    const family = this.#rules.names.get(name)?.family;
    if (recorded !== undefined)
      return together([
        weighed([[name.split(":").at(-1) ?? "", ELSEWHERE]]),
        ...(recorded.match(NAME) ?? []).map((part) => this.wordsOf(part)),
      ]);
    if (family === undefined) return weighed([[name, ELSEWHERE]]);
    return weighed([
      [family, IN_FAMILY_NAME],
      [this.#helps.get(family) ?? "", ELSEWHERE],
    ]);
  }
}

/** Each word with the largest of its weights. */
function weighed(parts: readonly (readonly [text: string, weight: number])[]): Weights {
  const weights = new Map<string, number>();
  for (const [text, weight] of parts)
    for (const word of stems(text)) weights.set(word, Math.max(weights.get(word) ?? 0, weight));
  return weights;
}

/** The words of several, each with the largest of its weights. */
function together(all: readonly Weights[]): Weights {
  const weights = new Map<string, number>();
  for (const one of all)
    for (const [word, weight] of one) weights.set(word, Math.max(weights.get(word) ?? 0, weight));
  return weights;
}

function rarityOf(panels: readonly Panel[]): (word: string) => number {
  const counts = new Map<string, number>();
  for (const { query } of panels)
    for (const word of query.keys()) counts.set(word, (counts.get(word) ?? 0) + 1);
  return (word) => Math.log((panels.length + 1) / ((counts.get(word) ?? 0) + 0.5));
}

function fit(text: Weights, query: Weights, rarity: (word: string) => number): number {
  let common = 0;
  for (const [word, weight] of text) common += weight * (query.get(word) ?? 0) * rarity(word) ** 2;
  const length = (weights: Weights): number =>
    Math.hypot(...[...weights].map(([word, weight]) => weight * rarity(word)));
  return common / Math.max(length(text) * length(query), Number.MIN_VALUE);
}
