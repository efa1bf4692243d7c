/**
 * Checks dashboards as JSON text: dashboard-linter's rules and the layout; each panel by itself in check-panels.ts.
 *
 *  D1  The uid is lower case, at most 40 characters, and the file's name. Dashboards are not
 *      editable, have no import placeholders, and refresh often enough.
 *  D2  The variables are datasource, job and instance, in this order. They are multi-valued,
 *      refreshed with the time range, and each limited by the choices before it. Every `$name` in
 *      use is declared. Annotations are on and ask the chosen data source.
 *  D3  Ids are positive and unique, also those of rows. Titles are unique, and rows have one. The
 *      grid has no overlap, and every line of it fills 24 columns, also in folded rows.
 *  D6  Links lead to dashboards that exist, and take time and choices along.
 * D13  At most 20 panels are open at first; others are in folded rows, for which Grafana asks nothing.
 * D16  The first screen (20 grid rows) has at most 14 panels, and a dashboard with the firing alerts begins with them.
 */

import type { Knowledge } from "../project.ts";
import { type Artefacts, filesAt } from "./artefacts.ts";
import { checkPanel, lostLabels, undeclaredVariables } from "./check-panels.ts";
import type { CheckedRules } from "./check-rules.ts";
import { shapeOf } from "./expression-shape.ts";
import {
  allPanels,
  type AnnotationJson,
  CHOSEN_DATASOURCE,
  CHOSEN_LOG,
  type DashboardJson,
  type PanelJson,
  type VariableJson,
} from "./grafana-json.ts";
import { type Problem, ProblemList } from "./problem.ts";
import { plainPromql, type Tree } from "./promql-tree.ts";
import { walkTree } from "./tree-walk.ts";

const GRID_COLUMNS = 24;
/** What a reader takes in, and what Grafana asks for at every refresh. */
const OPEN_PANELS_MAX = 20;
/** Grid rows that a screen shows without scrolling, and panels that a reader takes in there. */
const FIRST_SCREEN_ROWS = 20;
const FIRST_SCREEN_PANELS_MAX = 14;
const REFRESH_WITH_TIME_RANGE = 2;
const SOURCE_VARIABLES: ReadonlySet<string> = new Set(["datasource", "loki"]);
const REFRESHES: ReadonlySet<string> = new Set(["5s", "10s", "30s"]);

/**
 * Checks every dashboard.
 *
 * @param artefacts - all rendered files.
 * @param rules - what the check of rules found out.
 * @returns findings.
 */
export function checkDashboards(artefacts: Artefacts, rules: CheckedRules): readonly Problem[] {
  const found = new ProblemList();
  const boards: [string, DashboardJson][] = [];
  for (const [path, text] of filesAt(artefacts.files, artefacts.places.dashboards)) {
    found.at(path);
    try {
      boards.push([path, JSON.parse(text) as DashboardJson]);
    } catch (error) {
      found.add("unreadable_file", error instanceof Error ? error.message : String(error));
    }
  }
  const variablesByUid = new Map(boards.map(([, board]) => [board.uid ?? "", variableNames(board)]));
  for (const [path, board] of boards)
    found.addAll(
      new BoardCheck(path, board, rules, {
        variablesByUid,
        knowledge: artefacts.project.knowledge,
        presets: new Map(artefacts.project.families.map(({ name, preset }) => [name, preset])),
        drillDowns: artefacts.project.drillDowns,
        hasStack: artefacts.project.stack !== null,
      }).run(),
    );
  return found.found;
}

function variableNames(board: DashboardJson): Set<string> {
  return new Set((board.templating?.list ?? []).map(({ name }) => name ?? ""));
}

/** What a dashboard's check knows beside the dashboard. */
interface BoardSurroundings {
  /** Variables of every dashboard, by uid. */
  readonly variablesByUid: ReadonlyMap<string, ReadonlySet<string>>;
  readonly knowledge: Knowledge;
  /** How series of the project's own families begin, by name. */
  readonly presets: ReadonlyMap<string, string>;
  /** Uid of the dashboard about one thing, by the label that names it. */
  readonly drillDowns: Readonly<Record<string, string>>;
  readonly hasStack: boolean;
}

class BoardCheck {
  readonly #found = new ProblemList();
  readonly #path: string;
  readonly #board: DashboardJson;
  readonly #rules: CheckedRules;
  readonly #around: BoardSurroundings;
  readonly #variables: ReadonlySet<string>;

  constructor(path: string, board: DashboardJson, rules: CheckedRules, around: BoardSurroundings) {
    this.#path = path;
    this.#board = board;
    this.#rules = rules;
    this.#around = around;
    this.#variables = variableNames(board);
  }

  run(): readonly Problem[] {
    this.#found.at(this.#path);
    this.#identity();
    this.#templating();
    this.#annotations();
    this.#links();
    this.#ids();
    this.#grid(this.#board.panels ?? []);
    for (const { panels = [] } of this.#board.panels ?? []) this.#grid(panels);
    this.#size();
    this.#firstScreen();
    const around = {
      path: this.#path,
      uid: this.#board.uid ?? "",
      variables: new Set([...this.#variables].filter((name) => !SOURCE_VARIABLES.has(name))),
      ...this.#around,
      rules: this.#rules,
    };
    // Panels of the log are read in check-logs.ts.
    for (const panel of allPanels(this.#board))
      if (panel.type !== "row" && panel.datasource?.uid !== CHOSEN_LOG)
        this.#found.addAll(checkPanel(panel, around));
    return this.#found.found;
  }

  /** D1. */
  #identity(): void {
    const { uid = "", editable, title, description, tags, refresh = "" } = this.#board;
    if (!/^[a-z0-9-]{1,40}$/.test(uid) || !this.#path.endsWith(`/${uid}.json`))
      this.#found.add(
        "dashboard_uid",
        `uid "${uid}" must be lower case, at most 40 characters, and the file's name`,
      );
    if (editable !== false)
      this.#found.add("dashboard_editable", "must not be editable: edits would be lost");
    if (!title || !description || (tags ?? []).length === 0)
      this.#found.add("panel_text", "needs title, description and tags");
    if (!REFRESHES.has(refresh))
      this.#found.add("dashboard_refresh", `refreshes every "${refresh}", not every 5s, 10s or 30s`);
    if ("__inputs" in this.#board)
      this.#found.add("schema", "__inputs is for exports by hand, not for provisioning");
  }

  /** D2. */
  #templating(): void {
    const [first, ...others] = this.#board.templating?.list ?? [];
    if (first?.type !== "datasource" || first.name !== "datasource" || first.query !== "prometheus")
      this.#found.add("dashboard_variable", "the first variable must be the Prometheus data source");
    for (const name of ["job", "instance"]) {
      if (!this.#variables.has(name)) this.#found.add("dashboard_variable", `needs the variable ${name}`);
    }
    const offered: string[] = [];
    for (const variable of others.filter((one) => !isLogSource(one))) {
      this.#found.at(`${this.#path}: variable ${variable.name ?? ""}`);
      this.#variable(variable, offered);
      offered.push(variable.name ?? "");
    }
    this.#found.at(this.#path);
  }

  #variable(variable: VariableJson, offered: readonly string[]): void {
    const { query = "", definition, datasource } = variable;
    if (!offersAll(variable))
      this.#found.add(
        "dashboard_variable",
        "must be multi-valued with All = .+, refreshed with the time range",
      );
    if (datasource?.uid !== CHOSEN_DATASOURCE || definition !== query)
      this.#found.add(
        "dashboard_variable",
        "must ask the chosen data source, with the query of its definition",
      );
    const [, selector, label = ""] = /^label_values\((.+), (\w+)\)$/.exec(query) ?? [];
    if (selector === undefined) {
      this.#found.add("dashboard_variable", `must ask label_values(selector, label), not ${query}`);
      return;
    }
    this.#declared(query);
    const { shape, tree, problems } = shapeOf(selector, this.#rules.names);
    for (const { code, message } of problems) this.#found.add(code, message);
    if (shape === null || tree === null) return;
    if (!shape.labels.has(label))
      this.#found.add("unknown_label", `asks for the label ${label}, which is not there`);
    const unlimited = offered.filter((name) => shape.labels.has(name) && !isChosen(tree, name));
    if (unlimited.length > 0)
      this.#found.add("dashboard_variable", `is not limited by what is chosen for ${unlimited.join(", ")}`);
  }

  #declared(text: string): void {
    for (const name of undeclaredVariables(text, this.#variables))
      this.#found.add("undeclared_variable", `$${name} is not a variable of this dashboard`);
  }

  #annotations(): void {
    const list = this.#board.annotations?.list ?? [];
    if (list.length === 0)
      this.#found.add("dashboard_annotation", "has no annotations for alerts and restarts");
    for (const annotation of list) {
      this.#found.at(`${this.#path}: annotation ${annotation.name ?? ""}`);
      this.#annotation(annotation);
    }
    this.#found.at(this.#path);
  }

  #annotation({ enable, datasource, expr = "", titleFormat = "", tagKeys = "" }: AnnotationJson): void {
    this.#declared(expr);
    if (enable !== true || datasource?.uid !== CHOSEN_DATASOURCE)
      this.#found.add("dashboard_annotation", "must be on, and ask the chosen data source");
    const { shape, problems } = shapeOf(plainPromql(expr), this.#rules.names);
    for (const { code, message } of problems) this.#found.add(code, message);
    if (shape === null) return;
    const tags = tagKeys === "" ? [] : tagKeys.split(",").map((tag) => `{{${tag}}}`);
    for (const message of lostLabels([titleFormat, ...tags].join(" "), shape))
      this.#found.add("legend_label", message);
  }

  /** D6. */
  #links(): void {
    const links = this.#board.links ?? [];
    if (links.length === 0) this.#found.add("dead_link", "has no links to the other dashboards");
    for (const { title = "", type, tags, keepTime, includeVars } of links) {
      const reaches = type === "dashboards" && (tags ?? []).some((tag) => this.#board.tags?.includes(tag));
      if (!reaches) this.#found.add("dead_link", `${title} leads nowhere: no dashboard carries its tags`);
      if (keepTime !== true || includeVars !== true)
        this.#found.add("dead_link", `${title} forgets the time range, or what was chosen`);
    }
  }

  /** D3. */
  #ids(): void {
    const seen = new Set<number>();
    for (const { id = 0, title = "" } of allPanels(this.#board)) {
      if (id <= 0 || seen.has(id))
        this.#found.add(
          "panel_id",
          `"${title}" has the id ${id}: expected one above 0 that no other panel or row of the dashboard has`,
        );
      seen.add(id);
    }
    const titles = allPanels(this.#board).map(({ title = "" }) => title);
    for (const title of new Set(titles.filter((one, i) => one === "" || titles.indexOf(one) !== i)))
      this.#found.add("panel_text", `several panels or rows are called "${title}", or one has no title`);
  }

  /** D13. */
  #size(): void {
    const open = (this.#board.panels ?? []).filter(({ type }) => type !== "row").length;
    if (open > OPEN_PANELS_MAX)
      this.#found.add(
        "panel_budget",
        `${open} panels are open at first; expected at most ${OPEN_PANELS_MAX}`,
      );
  }

  /** D16. */
  #firstScreen(): void {
    const panels = (this.#board.panels ?? []).filter(({ type }) => type !== "row");
    const first = panels.filter(({ gridPos }) => (gridPos?.y ?? 0) < FIRST_SCREEN_ROWS);
    if (first.length > FIRST_SCREEN_PANELS_MAX)
      this.#found.add(
        "first_screen",
        `${first.length} panels begin on the first screen; expected at most ${FIRST_SCREEN_PANELS_MAX}`,
      );
    const isOfAlerts = ({ targets = [] }: PanelJson): boolean =>
      targets.some(({ expr = "" }) => /\bALERTS\{/.test(expr));
    const [top] = panels;
    if (panels.some(isOfAlerts) && top !== undefined && !isOfAlerts(top))
      this.#found.add("first_screen", `"${top.title ?? ""}" comes before the alerts that fire`);
  }

  #grid(panels: readonly PanelJson[]): void {
    const taken = new Map<string, string>();
    for (const { gridPos, title = "" } of panels) {
      if (
        gridPos === undefined ||
        gridPos.w < 1 ||
        gridPos.h < 1 ||
        gridPos.x < 0 ||
        gridPos.x + gridPos.w > GRID_COLUMNS
      ) {
        this.#found.add("grid", `"${title}" does not fit into 24 columns`);
        continue;
      }
      for (let x = gridPos.x; x < gridPos.x + gridPos.w; x++) {
        for (let y = gridPos.y; y < gridPos.y + gridPos.h; y++) {
          const other = taken.get(`${x},${y}`);
          if (other !== undefined && other !== title) {
            this.#found.add("grid", `"${title}" lies over "${other}"`);
            return;
          }
          taken.set(`${x},${y}`, title);
        }
      }
    }
    this.#lines(taken.keys());
  }

  /** @param taken - each place, as `x,y`. */
  #lines(taken: Iterable<string>): void {
    const columns = new Map<number, number>();
    for (const place of taken) {
      const line = Number(place.split(",")[1]);
      columns.set(line, (columns.get(line) ?? 0) + 1);
    }
    const top = Math.min(...columns.keys());
    const bottom = Math.max(...columns.keys());
    for (let y = top; y <= bottom; y++)
      if (columns.get(y) !== GRID_COLUMNS) {
        this.#found.add("grid", `line ${y} has ${columns.get(y) ?? 0} of ${GRID_COLUMNS} columns`);
        return;
      }
  }
}

function isLogSource({ type, name, query }: VariableJson): boolean {
  return type === "datasource" && name === "loki" && query === "loki";
}

function isChosen(tree: Tree, name: string): boolean {
  let chosen = false;
  walkTree(tree, (node) => {
    if (node.kind !== "selector") return;
    chosen ||= node.matchers.some(
      ({ label, operator, value }) => label === name && operator === "=~" && value === `$${name}`,
    );
  });
  return chosen;
}

function offersAll({ type, multi, includeAll, allValue, refresh }: VariableJson): boolean {
  const isMany = multi === true && includeAll === true && allValue === ".+";
  return type === "query" && isMany && refresh === REFRESH_WITH_TIME_RANGE;
}
