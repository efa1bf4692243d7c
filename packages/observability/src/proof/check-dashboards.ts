/**
 * Checks dashboards as JSON text: every expression (expression-shape.ts), then dashboard-linter's rules and the layout.
 *
 *  D1  uid: lower case, at most 40 characters, the file's name; not editable; no import placeholders;
 *  D2  variables: datasource first, then job and instance, multi-valued, refreshed with the time range; every `$name` in use is declared;
 *  D3  ids: positive, unique, rows included; the grid: no overlap, at most 24 columns;
 *  D4  panels: title, a description that says what is normal, the data source variable, the unit that the expression measures;
 *  D5  targets: `$__rate_interval` (a fixed look-back only in instant queries), the chosen job and instance, legends from labels that are left;
 *  D6  links lead to dashboards that exist, with variables that they have.
 */

import type { Measure } from "../promql/vector.ts";
import { type Artefacts, filesAt, PLACES } from "./artefacts.ts";
import type { CheckedRules } from "./check-rules.ts";
import { type Shape, shapeOf } from "./expression-shape.ts";
import { type Problem, ProblemList } from "./problem.ts";
import { plainPromql, type Tree } from "./promql-tree.ts";
import { canonicalText, walkTree } from "./tree-walk.ts";

/** The parts of Grafana's schema that are looked at. */
interface DashboardJson {
  readonly uid?: string;
  readonly title?: string;
  readonly description?: string;
  readonly editable?: boolean;
  readonly tags?: readonly string[];
  readonly templating?: { readonly list?: readonly VariableJson[] };
  readonly annotations?: {
    readonly list?: readonly { name?: string; expr?: string; titleFormat?: string }[];
  };
  readonly links?: readonly { title?: string; type?: string; tags?: readonly string[]; url?: string }[];
  readonly panels?: readonly PanelJson[];
}

interface VariableJson {
  readonly type?: string;
  readonly name?: string;
  readonly query?: string;
  readonly multi?: boolean;
  readonly includeAll?: boolean;
  readonly allValue?: string;
  readonly refresh?: number;
}

interface PanelJson {
  readonly id?: number;
  readonly type?: string;
  readonly title?: string;
  readonly description?: string;
  readonly datasource?: { readonly uid?: string };
  readonly gridPos?: { readonly x: number; readonly y: number; readonly w: number; readonly h: number };
  readonly targets?: readonly TargetJson[];
  readonly transformations?: readonly {
    readonly options?: { readonly renameByName?: Readonly<Record<string, string>> };
  }[];
  readonly fieldConfig?: {
    readonly defaults?: {
      readonly unit?: string;
      readonly thresholds?: { readonly steps?: readonly { value: number | null; color?: string }[] };
    };
    readonly overrides?: readonly {
      readonly matcher?: { readonly options?: string };
      readonly properties?: readonly { readonly id?: string; readonly value?: unknown }[];
    }[];
  };
}

interface TargetJson {
  readonly refId?: string;
  readonly expr?: string;
  readonly legendFormat?: string;
  readonly format?: string;
  readonly instant?: boolean;
  readonly datasource?: { readonly uid?: string };
}

/** Written a second time on purpose: a slip in the table that panels are made with must not pass here. */
const UNITS: Readonly<Record<Measure, readonly string[]>> = {
  none: ["short", "none"],
  seconds: ["s"],
  bytes: ["bytes"],
  ratio: ["percentunit"],
  percent: ["percent"],
  timestamp: ["dateTimeAsIso"],
  per_second: ["cps", "ops", "reqps"],
  bytes_per_second: ["binBps"],
};

const DATASOURCE = "${datasource}";
const GRID_COLUMNS = 24;
const REFRESH_WITH_TIME_RANGE = 2;

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
  for (const [path, text] of filesAt(artefacts.files, PLACES.dashboards)) {
    found.at(path);
    try {
      boards.push([path, JSON.parse(text) as DashboardJson]);
    } catch (error) {
      found.add("unreadable_file", error instanceof Error ? error.message : String(error));
    }
  }
  const variablesByUid = new Map(boards.map(([, board]) => [board.uid ?? "", variableNames(board)]));
  for (const [path, board] of boards) found.addAll(new BoardCheck(path, board, rules, variablesByUid).run());
  return found.found;
}

function variableNames(board: DashboardJson): Set<string> {
  return new Set((board.templating?.list ?? []).map(({ name }) => name ?? ""));
}

class BoardCheck {
  readonly #found = new ProblemList();
  readonly #path: string;
  readonly #board: DashboardJson;
  readonly #rules: CheckedRules;
  readonly #variablesByUid: ReadonlyMap<string, ReadonlySet<string>>;
  readonly #variables: ReadonlySet<string>;

  constructor(
    path: string,
    board: DashboardJson,
    rules: CheckedRules,
    variablesByUid: ReadonlyMap<string, ReadonlySet<string>>,
  ) {
    this.#path = path;
    this.#board = board;
    this.#rules = rules;
    this.#variablesByUid = variablesByUid;
    this.#variables = variableNames(board);
  }

  run(): readonly Problem[] {
    this.#found.at(this.#path);
    this.#identity();
    this.#templating();
    this.#annotations();
    this.#links();
    this.#ids();
    this.#grid();
    for (const panel of this.#board.panels ?? []) if (panel.type !== "row") this.#panel(panel);
    return this.#found.found;
  }

  /** D1. */
  #identity(): void {
    const { uid = "", editable, title, description, tags } = this.#board;
    if (!/^[a-z0-9-]{1,40}$/.test(uid) || !this.#path.endsWith(`/${uid}.json`))
      this.#found.add(
        "dashboard_uid",
        `uid "${uid}" must be lower case, at most 40 characters, and the file's name`,
      );
    if (editable !== false)
      this.#found.add("dashboard_editable", "must not be editable: edits would be lost");
    if (!title || !description || (tags ?? []).length === 0)
      this.#found.add("panel_text", "needs title, description and tags");
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
    for (const variable of others) {
      const { name = "", type, query = "", multi, includeAll, allValue, refresh } = variable;
      if (
        type !== "query" ||
        !multi ||
        !includeAll ||
        allValue !== ".+" ||
        refresh !== REFRESH_WITH_TIME_RANGE
      )
        this.#found.add(
          "dashboard_variable",
          `${name} must be multi-valued with All = .+, refreshed with the time range`,
        );
      const parts = /^label_values\((.+), (\w+)\)$/.exec(query);
      if (parts === null) {
        this.#found.add("dashboard_variable", `${name} must ask label_values(selector, label), not ${query}`);
        continue;
      }
      this.#declared(query);
      const { shape, problems } = shapeOf(parts[1] ?? "", this.#rules.names);
      for (const { code, message } of problems) this.#found.add(code, `variable ${name}: ${message}`);
      if (shape !== null && !shape.labels.has(parts[2] ?? ""))
        this.#found.add(
          "unknown_label",
          `variable ${name} asks for the label ${parts[2] ?? ""}, which is not there`,
        );
    }
  }

  #declared(text: string): void {
    for (const [, braced, plain] of text.matchAll(/\$(?:\{([A-Za-z_]\w*)[^}]*\}|([A-Za-z_]\w*))/g)) {
      const name = braced ?? plain ?? "";
      if (!name.startsWith("__") && !this.#variables.has(name))
        this.#found.add("undeclared_variable", `$${name} is not a variable of this dashboard`);
    }
  }

  #annotations(): void {
    const list = this.#board.annotations?.list ?? [];
    if (list.length === 0)
      this.#found.add("dashboard_variable", "has no annotations for alerts and restarts");
    for (const { name = "", expr = "", titleFormat = "" } of list) {
      this.#found.at(`${this.#path}: annotation ${name}`);
      this.#declared(expr);
      const { shape, problems } = shapeOf(plainPromql(expr), this.#rules.names);
      for (const { code, message } of problems) this.#found.add(code, message);
      if (shape !== null) this.#labelsLeft(titleFormat, shape);
    }
    this.#found.at(this.#path);
  }

  #labelsLeft(template: string, shape: Shape): void {
    for (const [, label = ""] of template.matchAll(/\{\{\s*(\w+)\s*\}\}/g)) {
      if (!shape.labels.has(label))
        this.#found.add(
          "legend_label",
          `{{${label}}} has been aggregated away; (${[...shape.labels].join(", ")}) are left`,
        );
    }
  }

  /** D6. */
  #links(): void {
    const links = this.#board.links ?? [];
    if (links.length === 0) this.#found.add("dead_link", "has no links to the other dashboards");
    for (const { title = "", type, tags } of links) {
      const reaches = type === "dashboards" && (tags ?? []).some((tag) => this.#board.tags?.includes(tag));
      if (!reaches) this.#found.add("dead_link", `${title} leads nowhere: no dashboard carries its tags`);
    }
  }

  #address(url: string): void {
    const parts = /^\/d\/([\w-]+)(?:\?(.*))?$/.exec(url);
    const variables = this.#variablesByUid.get(parts?.[1] ?? "");
    if (variables === undefined) {
      this.#found.add("dead_link", `${url} leads to no dashboard`);
      return;
    }
    for (const [, name = ""] of (parts?.[2] ?? "").matchAll(/var-(\w+)=/g)) {
      if (!variables.has(name))
        this.#found.add("dead_link", `${url} sets ${name}, which that dashboard lacks`);
    }
  }

  /** D3. */
  #ids(): void {
    const seen = new Set<number>();
    for (const { id = 0, title = "" } of this.#board.panels ?? []) {
      if (id <= 0 || seen.has(id))
        this.#found.add("panel_id", `"${title}" has the id ${id}: 0, or taken already`);
      seen.add(id);
    }
  }

  #grid(): void {
    const taken = new Map<string, string>();
    for (const { gridPos, title = "" } of this.#board.panels ?? []) {
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
  }

  /** D4. */
  #panel(panel: PanelJson): void {
    this.#found.at(`${this.#path}: panel ${panel.id ?? 0} "${panel.title ?? ""}"`);
    if (!panel.title || !panel.description?.includes("Normal:"))
      this.#found.add("panel_text", "needs a title and a description that says what is normal");
    if (panel.datasource?.uid !== DATASOURCE)
      this.#found.add("panel_datasource", "must ask the data source that is chosen at the top");
    if ((panel.targets ?? []).length === 0) this.#found.add("panel_targets", "asks nothing");
    this.#thresholds(panel);
    for (const target of panel.targets ?? []) this.#target(panel, target);
    for (const override of panel.fieldConfig?.overrides ?? []) {
      for (const { id, value } of override.properties ?? []) {
        if (id !== "links" || !Array.isArray(value)) continue;
        for (const link of value as { url?: string }[]) this.#address(link.url ?? "");
      }
    }
  }

  #thresholds(panel: PanelJson): void {
    const steps = panel.fieldConfig?.defaults?.thresholds?.steps ?? [];
    const values = steps.map(({ value }) => value ?? -Infinity);
    const ascending = values.every((value, i) => i === 0 || value > (values[i - 1] ?? Infinity));
    if (steps.length === 0 || steps[0]?.value !== null || !ascending || steps.some(({ color }) => !color))
      this.#found.add("panel_threshold", "thresholds must begin with no value, ascend, and be coloured");
  }

  /** D5. */
  #target(panel: PanelJson, target: TargetJson): void {
    const { expr = "", legendFormat = "" } = target;
    this.#declared(expr);
    if (target.datasource?.uid !== DATASOURCE)
      this.#found.add("panel_datasource", "a query asks another data source");
    const { shape, tree, problems } = shapeOf(plainPromql(expr), this.#rules.names);
    for (const { code, message } of problems) this.#found.add(code, message);
    if (shape === null || tree === null) return;
    if (!target.instant && /\[(?!\$__rate_interval\])/.test(expr))
      this.#found.add("panel_range", "use $__rate_interval: a fixed look-back does not fit every zoom");
    this.#labelsLeft(legendFormat, shape);
    this.#unit(panel, target, shape);
    this.#scope(tree);
    walkTree(tree, (node) => {
      const recorded =
        node.kind === "selector" ? undefined : this.#rules.recordedByText.get(canonicalText(node));
      if (recorded !== undefined) this.#found.add("recorded_series_exists", `${recorded} has this already`);
    });
  }

  #unit(panel: PanelJson, target: TargetJson, shape: Shape): void {
    // A heat map over buckets colours by observations per second; the histogram's own unit is on its axis.
    const measure: Measure = target.format === "heatmap" ? "per_second" : shape.measure;
    const unit = panel.type === "table" ? columnUnit(panel, target) : panel.fieldConfig?.defaults?.unit;
    if (unit === undefined || !UNITS[measure].includes(unit))
      this.#found.add("panel_unit", `the unit is ${unit ?? "missing"}, the expression measures ${measure}`);
  }

  #scope(tree: Tree): void {
    walkTree(tree, (node) => {
      if (node.kind !== "selector") return;
      const labels = this.#rules.names.get(node.name)?.labels;
      for (const label of ["job", "instance"]) {
        const chosen = node.matchers.some(
          (matcher) => matcher.label === label && matcher.operator === "=~" && matcher.value === `$${label}`,
        );
        if (labels?.has(label) === true && !chosen)
          this.#found.add("panel_scope", `${node.name} must be matched with ${label}=~"$${label}"`);
      }
    });
  }
}

function columnUnit(panel: PanelJson, target: TargetJson): string | undefined {
  const field = (panel.targets ?? []).length === 1 ? "Value" : `Value #${target.refId ?? ""}`;
  const renamed = (panel.transformations ?? []).flatMap(
    ({ options }) => options?.renameByName?.[field] ?? [],
  )[0];
  const override = (panel.fieldConfig?.overrides ?? []).find(({ matcher }) => matcher?.options === renamed);
  const value = override?.properties?.find(({ id }) => id === "unit")?.value;
  return typeof value === "string" ? value : undefined;
}
