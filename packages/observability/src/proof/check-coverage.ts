/**
 * The reverse direction: no page or panel is missing for anything that is exported, recorded or
 * alerted on.
 *
 *  C1  Every family of ours is on a panel, and every recorded series is read.
 *  C3  A histogram that keeps traces is on a panel that asks for them.
 *  C2  The panel that an alert points at shows the alert's families and leads back to its runbook.
 *      If the panel has colors, one begins at the alert's threshold.
 */

import { type Artefacts, filesAt, scrapedNames } from "./artefacts.ts";
import type { CheckedAlert, CheckedRules } from "./check-rules.ts";
import type { ExposedName } from "../documents/exposed-names.ts";
import { shapeOf } from "./expression-shape.ts";
import { allPanels, type DashboardJson, type PanelJson } from "./grafana-json.ts";
import { type Problem, ProblemList } from "./problem.ts";
import { plainPromql } from "./promql-tree.ts";
import { walkTree } from "./tree-walk.ts";

/** Panels of objectives are colored at the budget, their alerts fire at multiples of it. */
const BUDGETS = /:slo_/;

/**
 * Finds what nobody would see.
 *
 * @param artefacts - all rendered files.
 * @param rules - what the check of rules found out.
 * @returns findings.
 */
export function checkCoverage(artefacts: Artefacts, rules: CheckedRules): readonly Problem[] {
  return new CoverageCheck(artefacts, rules).run();
}

class CoverageCheck {
  readonly #found = new ProblemList();
  readonly #artefacts: Artefacts;
  readonly #rules: CheckedRules;
  readonly #scraped: ReadonlyMap<string, ExposedName>;
  /** By `uid#id`. */
  readonly #panels: ReadonlyMap<string, PanelJson>;

  constructor(artefacts: Artefacts, rules: CheckedRules) {
    this.#artefacts = artefacts;
    this.#rules = rules;
    this.#scraped = scrapedNames(artefacts);
    this.#panels = panelsOf(artefacts);
  }

  run(): readonly Problem[] {
    const alerts = [...this.#rules.alerts];
    const onPanels = new Set([...this.#panels.values()].flatMap((panel) => this.#namesOnPanel(panel)));
    const inAlerts = new Set(alerts.flatMap(([, { expression }]) => this.#namesIn(expression)));
    this.#found.at("catalogue");
    const families = this.#familiesOf(onPanels);
    for (const { name } of this.#artefacts.project.families)
      if (!families.has(name))
        this.#found.add(
          "metric_without_panel",
          `${name} is on no panel: expected a query that reads it in a row of a dashboard`,
        );
    this.#exemplars();
    this.#found.at(this.#artefacts.places.rules);
    for (const name of this.#rules.recordExpressions.keys())
      if (!onPanels.has(name) && !inAlerts.has(name))
        this.#found.add("recording_unused", `nothing reads ${name}`);
    for (const [name, alert] of alerts) this.#alert(name, alert);
    return this.#found.found;
  }

  /** C3. */
  #exemplars(): void {
    const asked = [...this.#panels.values()]
      .flatMap(({ targets = [] }) => targets)
      .filter(({ exemplar }) => exemplar === true)
      .flatMap(({ expr = "" }) => this.#namesIn(expr));
    for (const family of this.#artefacts.project.families)
      if (
        family.kind === "histogram" &&
        family.exemplars === true &&
        !asked.includes(`${family.name}_bucket`)
      )
        this.#found.add("exemplars_unseen", `no panel asks for the traces that ${family.name} keeps`);
  }

  /** C2. */
  #alert(name: string, alert: CheckedAlert): void {
    const panel = this.#panels.get(alert.panel);
    if (panel === undefined) return;
    this.#found.at(`${this.#artefacts.places.rules}: ${name}`);
    const watched = this.#familiesOf(this.#namesIn(alert.expression));
    const shown = this.#familiesOf(this.#namesOnPanel(panel));
    const title = `"${panel.title ?? ""}"`;
    if (![...watched].some((family) => shown.has(family)))
      this.#found.add("panel_unrelated", `${title} shows none of ${[...watched].join(", ")}`);
    if (!(panel.links ?? []).some(({ url }) => url === alert.runbookUrl))
      this.#found.add("runbook_unreachable", `${title} does not lead to ${alert.runbookUrl}`);
    const steps = (panel.fieldConfig?.defaults?.thresholds?.steps ?? []).flatMap(({ value }) => value ?? []);
    const at = alert.threshold;
    // "More than none" of something that is counted is a line at 1.
    if (steps.length > 0 && at !== null && at !== 0 && !steps.includes(at) && !BUDGETS.test(alert.expression))
      this.#found.add(
        "panel_threshold",
        `${title} is colored at ${steps.join(", ")}, the alert fires at ${at}`,
      );
  }

  #namesOnPanel({ targets }: PanelJson): string[] {
    return (targets ?? []).flatMap(({ expr }) => this.#namesIn(expr ?? ""));
  }

  #namesIn(expression: string): string[] {
    const { tree } = shapeOf(plainPromql(expression), this.#rules.names);
    const names: string[] = [];
    if (tree !== null)
      walkTree(tree, (node) => {
        if (node.kind === "selector") names.push(node.name);
      });
    return names;
  }

  /** Families behind names, those behind recorded series included. */
  #familiesOf(names: Iterable<string>): Set<string> {
    const behind = [...names].flatMap((name) => {
      const recorded = this.#rules.recordExpressions.get(name);
      return recorded === undefined ? [name] : [name, ...this.#namesIn(recorded)];
    });
    return new Set(behind.flatMap((name) => this.#scraped.get(name)?.family ?? []));
  }
}

function panelsOf({ files, places }: Artefacts): Map<string, PanelJson> {
  return new Map(
    filesAt(files, places.dashboards).flatMap(([, text]) => {
      try {
        const board = JSON.parse(text) as DashboardJson;
        const { uid = "" } = board;
        return allPanels(board).map((panel) => [`${uid}#${panel.id ?? ""}`, panel] as const);
      } catch {
        // Reported by the check of dashboards.
        return [];
      }
    }),
  );
}
