/**
 * Checks that texts and queries of panels belong together: a query under another panel's title is valid PromQL, and wrong.
 *
 *  D12 No two panels of a dashboard fit better with their queries exchanged. Compared are panels of one kind and unit, since other
 *      exchanges fail the check of units. Nor do two queries of a panel fit better with each other's legends,
 *      or titles of columns: those of one measure, and of other families. Others are held by their values (D18) and quantiles (D8).
 *
 * How well a text fits a query is the cosine of their words. Words of a text are those of title and description. Words of a query are
 * its families' names and help, labels, values and functions. A word counts by how few panels have it in their query.
 *
 * Not here: the words of quantiles (D8) and of order (D11) in check-panels.ts.
 */

import { type Artefacts, filesAt } from "./artefacts.ts";
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
  const boards = filesAt(artefacts.files, artefacts.places.dashboards).map(
    ([path, text]) => [path, panelsOf(text, rules, helps)] as const,
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
  return found.found;
}

function panelsOf(text: string, rules: CheckedRules, helps: ReadonlyMap<string, string>): Panel[] {
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
      lines: linesOf(json, rules, helps),
      text: wordsOfText(json),
      query: wordsOfQueries(json, rules, helps),
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
function linesOf(panel: PanelJson, rules: CheckedRules, helps: ReadonlyMap<string, string>): Line[] {
  return (panel.targets ?? [])
    .map((target) => {
      const legend = columnTitle(panel, target) ?? target.legendFormat ?? "";
      const { shape, tree } = shapeOf(plainPromql(target.expr ?? ""), rules.names);
      return {
        legend,
        measure: shape?.measure ?? "",
        families: tree === null ? new Set<string>() : familiesOf(tree, rules),
        text: weighed([[legend.replace(/\{\{[^}]*\}\}/g, ""), IN_TITLE]]),
        query: wordsOfQueries({ targets: [target] }, rules, helps),
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

function wordsOfQueries(
  { targets = [] }: PanelJson,
  rules: CheckedRules,
  helps: ReadonlyMap<string, string>,
): Weights {
  const parts: [string, number][] = [];
  const read = (expression: string): void => {
    for (const [name] of expression.matchAll(/[A-Za-z_:][\w:]*/g)) {
      const recorded = rules.recordExpressions.get(name);
      const family = rules.names.get(name)?.family;
      if (recorded !== undefined) {
        parts.push([name.split(":").at(-1) ?? "", ELSEWHERE]);
        read(recorded);
      } else if (family === undefined) parts.push([name, ELSEWHERE]);
      else parts.push([family, IN_FAMILY_NAME], [helps.get(family) ?? "", ELSEWHERE]);
    }
  };
  for (const { expr = "" } of targets) read(expr);
  return weighed(parts);
}

/** Each word with the largest of its weights. */
function weighed(parts: readonly (readonly [text: string, weight: number])[]): Weights {
  const weights = new Map<string, number>();
  for (const [text, weight] of parts)
    for (const word of stems(text)) weights.set(word, Math.max(weights.get(word) ?? 0, weight));
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
