/**
 * Checks one panel of a dashboard.
 *
 *  D4  A panel has a title, a description with the normal state, and the data source variable. It
 *      has the unit that the expression measures, and thresholds that ascend from or to green.
 *  D5  Queries use `$__rate_interval`, or `$__range` for the zoom as a whole. A fixed look-back is in instant queries alone, and in the
 *      title of their column. They use every choice that the dashboard offers and the metric can follow.
 *  D7  Lines have different names: a legend names every label that is left and no other. No two
 *      queries share a legend or a letter.
 *  D8  Legend, title and description name the quantiles that are computed.
 *  D10 Values that every replica has (of the fleet's engines, models, blocks) are not summed over
 *      replicas.
 *  D11 A panel whose text names the most, the fewest or the oldest has the aggregation that finds
 *      it.
 *  D9  Links lead to dashboards that exist, with variables that they have.
 *  D15 A panel over time has a line for each engine or endpoint only of the largest.
 *  D19 A panel with "by" and a label in its title keeps that label. So does one with by engine, replica or model in its description.
 *  D20 The names of states are those that the project has for the values of the family. The title or description names what the
 *      unit counts, and no other time than a second.
 *  D17 Where every query keeps a label that has a dashboard of its own, each line, bar or cell leads to it.
 *  D14 A panel has a text for the case that nothing is there. It is 0 for a rate of series that begin with their first event. It is "not
 *      scraped" for a rate of series that are always there, and none otherwise. With a stack it leads to the logs of its time, and to the traces
 *      when it shows how long something takes.
 */

import type { Knowledge } from "../project.ts";
import type { Measure } from "../promql/vector.ts";
import type { CheckedRules } from "./check-rules.ts";
import { type Shape, shapeOf } from "./expression-shape.ts";
import { CHOSEN_DATASOURCE, columnTitle, type PanelJson, type TargetJson } from "./grafana-json.ts";
import { unanswered, untold } from "./order-words.ts";
import { type Problem, ProblemList } from "./problem.ts";
import { plainPromql, type Tree } from "./promql-tree.ts";
import { quantilesIn, quantilesOf } from "./quantile-names.ts";
import { canonicalText, childrenOf, walkTree } from "./tree-walk.ts";

/** Written a second time on purpose: a slip in the table that panels are made with must not pass here. */
const UNITS: Readonly<Record<Measure, readonly string[]>> = {
  none: ["short", "none"],
  seconds: ["s"],
  bytes: ["bytes"],
  ratio: ["percentunit"],
  percent: ["percent"],
  timestamp: ["dateTimeAsIso"],
  per_second: ["ops", "reqps", "suffix: msg/s"],
  bytes_per_second: ["binBps"],
};

const RATES: ReadonlySet<string> = new Set([...UNITS.per_second, ...UNITS.bytes_per_second]);

/** The kinds of panel that every supported Grafana has. */
const KINDS: ReadonlySet<string> = new Set([
  "timeseries",
  "stat",
  "bargauge",
  "table",
  "heatmap",
  "state-timeline",
]);

/** What a panel's check knows of the dashboards around it. */
export interface PanelSurroundings {
  /** Path of the dashboard. */
  readonly path: string;
  readonly uid: string;
  /** Variables of this dashboard. */
  readonly variables: ReadonlySet<string>;
  /** Variables of every dashboard, by uid. */
  readonly variablesByUid: ReadonlyMap<string, ReadonlySet<string>>;
  readonly rules: CheckedRules;
  readonly knowledge: Knowledge;
  /** How series of the project's own families begin, by name. */
  readonly presets: ReadonlyMap<string, string>;
  /** Uid of the dashboard about one thing, by the label that names it. */
  readonly drillDowns: Readonly<Record<string, string>>;
  /** Whether logs and traces are beside the metrics. */
  readonly hasStack: boolean;
}

/**
 * Checks a panel.
 *
 * @param panel - no row.
 * @param around - what it is part of.
 * @returns findings.
 */
export function checkPanel(panel: PanelJson, around: PanelSurroundings): readonly Problem[] {
  return new PanelCheck(panel, around).run();
}

/**
 * The variables that a text names and nobody declared.
 *
 * @param text - of a query.
 * @param variables - those declared.
 * @returns their names, Grafana's own left out.
 */
export function undeclaredVariables(text: string, variables: ReadonlySet<string>): string[] {
  const named = [...text.matchAll(/\$(?:\{([A-Za-z_]\w*)[^}]*\}|([A-Za-z_]\w*))/g)];
  return named
    .map(([, braced, plain]) => braced ?? plain ?? "")
    .filter((name) => !name.startsWith("__") && !variables.has(name));
}

/**
 * The labels that a template names and that are no longer there.
 *
 * @param template - a legend or a title.
 * @param shape - of the expression.
 * @returns one sentence per label.
 */
export function lostLabels(template: string, shape: Shape): string[] {
  return labelsIn(template)
    .filter((label) => !shape.labels.has(label))
    .map((label) => `{{${label}}} has been aggregated away; (${[...shape.labels].join(", ")}) are left`);
}

function labelsIn(template: string): string[] {
  return [...template.matchAll(/\{\{\s*(\w+)\s*\}\}/g)].map(([, label = ""]) => label);
}

class PanelCheck {
  readonly #found = new ProblemList();
  readonly #panel: PanelJson;
  readonly #around: PanelSurroundings;
  readonly #quantiles = new Set<string>();

  constructor(panel: PanelJson, around: PanelSurroundings) {
    this.#panel = panel;
    this.#around = around;
    this.#found.at(`${around.path}: panel ${panel.id ?? 0} "${panel.title ?? ""}"`);
  }

  run(): readonly Problem[] {
    const targets = this.#panel.targets ?? [];
    this.#texts();
    this.#onward();
    this.#thresholds();
    if (targets.length === 0) this.#found.add("panel_targets", "asks nothing");
    for (const target of targets) this.#target(target);
    this.#apart(targets);
    this.#orderWords(targets);
    this.#byWords(targets);
    this.#states(targets);
    this.#counted();
    this.#quantileTexts();
    this.#drillDowns(targets);
    this.#addresses();
    return this.#found.found;
  }

  /** D9. */
  #addresses(): void {
    const { defaults, overrides = [] } = this.#panel.fieldConfig ?? {};
    for (const { url = "" } of defaults?.links ?? []) this.#address(url);
    for (const { id, value } of overrides.flatMap(({ properties = [] }) => properties)) {
      if (id !== "links" || !Array.isArray(value)) continue;
      for (const link of value as { url?: string }[]) this.#address(link.url ?? "");
    }
  }

  /** D14. */
  #onward(): void {
    const { type, links = [], fieldConfig } = this.#panel;
    const { unit, noValue } = fieldConfig?.defaults ?? {};
    const absence = this.#absence(unit ?? "");
    if (noValue !== absence)
      this.#found.add(
        "panel_onward",
        `has "${noValue ?? ""}" for the case that nothing is there; expected ${absence}`,
      );
    if (!this.#around.hasStack) return;
    const asked = links.flatMap(({ url = "" }) => exploredSource(url) ?? []);
    for (const source of type !== "table" && unit === "s" ? ["loki", "jaeger"] : ["loki"])
      if (!asked.includes(source)) this.#found.add("panel_onward", `has no link to ${source} at its time`);
  }

  /** D14: a rate reads as 0 only where it is one. */
  #absence(unit: string): string {
    if (!RATES.has(unit) || this.#panel.type === "table") return "none";
    const { presets } = this.#around;
    const { names, recordExpressions } = this.#around.rules;
    const expressions = (this.#panel.targets ?? []).flatMap(({ expr = "" }) => [
      plainPromql(expr),
      ...[...recordExpressions].flatMap(([name, recorded]) => (expr.includes(name) ? [recorded] : [])),
    ]);
    const found = new Set<string>();
    for (const expression of expressions) {
      const { tree } = shapeOf(expression, names);
      if (tree !== null)
        walkTree(tree, (node) => {
          if (node.kind === "selector") found.add(presets.get(names.get(node.name)?.family ?? "") ?? "");
        });
    }
    if (found.has("zero is a fact")) return "not scraped";
    return found.has("absent until known") ? "0" : "none";
  }

  /** D17. */
  #drillDowns(targets: readonly TargetJson[]): void {
    const { drillDowns, rules } = this.#around;
    const asked = targets.map(({ expr = "" }) => shapeOf(plainPromql(expr), rules.names));
    // Under other exporters' series the same label names something else.
    if (asked.length === 0 || !asked.every(({ tree }) => tree !== null && isOfChosen(tree))) return;
    for (const [label, uid] of Object.entries(drillDowns)) {
      if (!asked.every(({ shape }) => shape?.labels.has(label) === true)) continue;
      if (!this.#linksOf(label).some((url) => url.startsWith(`/d/${uid}?`) && url.includes(`var-${label}=`)))
        this.#found.add("panel_drill_down", `no line leads to the dashboard ${uid} of its ${label}`);
    }
  }

  /** Addresses with the value of a label and the time range in them. */
  #linksOf(label: string): string[] {
    const { defaults, overrides = [] } = this.#panel.fieldConfig ?? {};
    const isTable = this.#panel.type === "table";
    const cells = overrides
      .filter(({ matcher }) => matcher?.options === label)
      .flatMap(({ properties = [] }) => properties)
      .flatMap(({ id, value }) => (id === "links" ? (value as { readonly url?: string }[]) : []));
    const value = isTable ? "=${__value.raw}" : `=\${__field.labels.${label}}`;
    return (isTable ? cells : (defaults?.links ?? []))
      .map(({ url = "" }) => url)
      .filter((url) => url.includes(`var-${label}${value}`) && url.includes("${__url_time_range}"));
  }

  #texts(): void {
    const { type = "", title, description = "", datasource, options } = this.#panel;
    if (!KINDS.has(type)) this.#found.add("schema", `${type} is no kind of panel that Grafana 10 to 13 have`);
    if (!title || !/Normal: \S/.test(description))
      this.#found.add("panel_text", "needs a title and a description with the normal state");
    if (datasource?.uid !== CHOSEN_DATASOURCE)
      this.#found.add("panel_datasource", "must ask the data source that is chosen at the top");
    // A bar gauge has its names beside the bars.
    if (type !== "bargauge" && options?.legend?.showLegend === false)
      this.#found.add("legend_label", "the legend is hidden: the lines cannot be identified");
  }

  /** D11. */
  #orderWords(targets: readonly TargetJson[]): void {
    const { title = "", description = "" } = this.#panel;
    const [shows = ""] = description.split("\n\nNormal:");
    const queries = targets.map(({ expr = "" }) => expr);
    for (const message of unanswered(`${title}. ${shows}`, queries)) this.#found.add("order_word", message);
    for (const message of queries.flatMap((query) => untold(`${title}. ${shows}`, query)))
      this.#found.add("order_word", message);
  }

  /** D20. */
  #states(targets: readonly TargetJson[]): void {
    const { stateNames } = this.#around.knowledge;
    const names = (this.#panel.fieldConfig?.defaults?.mappings ?? []).flatMap(({ options = {} }) =>
      Object.entries(options).map(([value, { text = "" }]) => `${value} ${text}`),
    );
    if (names.length === 0) return;
    const asked = Object.entries(stateNames).filter(([family]) =>
      targets.some(({ expr = "" }) => new RegExp(`\\b${family}\\b`).test(expr)),
    );
    const expected = asked.flatMap(([, states]) => states.map((text, value) => `${value} ${text}`));
    if (names.join() !== expected.join())
      this.#found.add(
        "panel_states",
        `the states are ${names.join(", ")}; knowledge.stateNames has ${expected.join(", ") || "none of the family"}`,
      );
  }

  /** D20. */
  #counted(): void {
    const { title = "", description = "", fieldConfig } = this.#panel;
    const unit = fieldConfig?.defaults?.unit ?? "";
    const [shows = ""] = description.split("\n\nNormal:");
    const words = COUNTED[unit];
    if (words !== undefined && !words.test(`${title} ${shows}`))
      this.#found.add("panel_unit", `no text names what ${unit} counts: ${words.source}`);
    if (words !== undefined && /\bper (?:minute|hour|day)\b/i.test(`${title} ${shows}`))
      this.#found.add("panel_unit", `the values are per second, and the text has another time`);
  }

  /** D5: no rate of the whole zoom, and a column's title names its look-back. */
  #lookBack(target: TargetJson): void {
    const { instant, expr = "" } = target;
    if (instant !== true && /\b(?:rate|increase)\([^[]*\[\$__range\]/.test(expr))
      this.#found.add("panel_range", "use $__rate_interval: a rate over the whole zoom is a flat line");
    const title = columnTitle(this.#panel, target) ?? "";
    const stated = [...title.matchAll(/\b(\d+) (min|h|d)\b/g)].map(
      ([, count = "", unit = ""]) => count + unit.charAt(0),
    );
    const asked = [...expr.matchAll(/\[(\d+[mhd])\]/g)].map(([, range = ""]) => range);
    if (new Set(asked).size > 1 || stated.join() !== [...new Set(asked)].join())
      this.#found.add(
        "panel_range",
        `the title of the column names ${stated.join() || "no time"}, the query looks back ${asked.join() || "none"}`,
      );
  }

  /** D19. */
  #byWords(targets: readonly TargetJson[]): void {
    const { title = "", description = "" } = this.#panel;
    const [shows = ""] = description.split("\n\nNormal:");
    const { names } = this.#around.rules;
    const shapes = targets.flatMap(({ expr = "" }) => shapeOf(plainPromql(expr), names).shape ?? []);
    const isLabel = (word: string): boolean =>
      [...names.values()].some(({ labels }) => labels.has(labelCalled(word)));
    const said = [...byWords(title).filter(isLabel), ...byWords(shows).filter((word) => word in CALLED)];
    for (const word of new Set(said))
      if (!shapes.some(({ labels }) => labels.has(labelCalled(word))))
        this.#found.add("panel_by", `the text has "by ${word}", and no query keeps ${labelCalled(word)}`);
  }

  #thresholds(): void {
    const steps = this.#panel.fieldConfig?.defaults?.thresholds?.steps ?? [];
    const values = steps.map(({ value }) => value ?? -Infinity);
    const ascending = values.every((value, i) => i === 0 || value > (values[i - 1] ?? Infinity));
    if (steps.length === 0 || steps[0]?.value !== null || !ascending || steps.some(({ color }) => !color))
      this.#found.add("panel_threshold", "thresholds must begin with no value, ascend, and be colored");
    const greens = steps.flatMap(({ color }, i) => (color === "green" ? [i] : []));
    if (greens.length !== 1 || (greens[0] !== 0 && greens[0] !== steps.length - 1))
      this.#found.add("panel_threshold", "thresholds must lead from green, or to it");
  }

  /** D5. */
  #target(target: TargetJson): void {
    const { rules, variables } = this.#around;
    const { expr = "", legendFormat = "" } = target;
    for (const name of undeclaredVariables(expr, variables))
      this.#found.add("undeclared_variable", `$${name} is not a variable of this dashboard`);
    if (target.datasource?.uid !== CHOSEN_DATASOURCE)
      this.#found.add("panel_datasource", "a query asks another data source");
    if (target.hide === true) this.#found.add("panel_targets", `query ${target.refId ?? ""} is hidden`);
    const { shape, tree, problems } = shapeOf(plainPromql(expr), rules.names);
    for (const { code, message } of problems) this.#found.add(code, message);
    if (shape === null || tree === null) return;
    const isTable = this.#panel.type === "table";
    if (isTable !== (target.instant === true))
      this.#found.add("panel_range", "a table asks for this moment, and nothing else does");
    if (!target.instant && /\[(?!\$__(?:rate_interval|range)\])/.test(expr))
      this.#found.add("panel_range", "use $__rate_interval: a fixed look-back does not fit every zoom");
    this.#lookBack(target);
    this.#legend(legendFormat, shape, isTable);
    this.#unit(target, shape);
    this.#crowd(shape, tree);
    this.#choices(tree);
    this.#replicas(tree);
    this.#quantilesOf(tree, legendFormat);
    walkTree(tree, (node) => {
      const recorded = node.kind === "selector" ? undefined : rules.recordedByText.get(canonicalText(node));
      if (recorded !== undefined) this.#found.add("recorded_series_exists", `${recorded} has this already`);
    });
  }

  /** D15. */
  #crowd({ labels }: Shape, tree: Tree): void {
    const { knowledge, uid } = this.#around;
    const { id = 0, type } = this.#panel;
    if ((type !== "timeseries" && type !== "state-timeline") || knowledge.uncrowded.has(`${uid}#${id}`))
      return;
    const crowded = [...labels].find((label) => knowledge.crowded.has(label));
    if (crowded === undefined || (tree.kind === "aggregation" && tree.operator === "topk")) return;
    this.#found.add("panel_crowded", `a line for each ${crowded}; expected topk around the query`);
  }

  /** D7. */
  #legend(legend: string, shape: Shape, isTable: boolean): void {
    for (const message of lostLabels(legend, shape)) this.#found.add("legend_label", message);
    if (legend === "") this.#found.add("legend_label", "a query has no legend");
    const unnamed = [...shape.labels].filter((label) => !labelsIn(legend).includes(label));
    if (!isTable && unnamed.length > 0)
      this.#found.add(
        "legend_ambiguous",
        `"${legend}" names several lines alike: they differ in (${unnamed.join(", ")})`,
      );
  }

  #apart(targets: readonly TargetJson[]): void {
    for (const key of ["refId", "legendFormat"] as const) {
      const all = targets.map((target) => target[key] ?? "");
      for (const text of new Set(all.filter((one, i) => all.indexOf(one) !== i)))
        this.#found.add("legend_ambiguous", `several queries have the ${key} "${text}"`);
    }
  }

  #unit(target: TargetJson, shape: Shape): void {
    // A heat map over buckets colours by observations per second; the histogram's own unit is on its axis.
    const measure: Measure = target.format === "heatmap" ? "per_second" : shape.measure;
    const isTable = this.#panel.type === "table";
    const unit = isTable ? columnUnit(this.#panel, target) : this.#panel.fieldConfig?.defaults?.unit;
    if (unit === undefined || !UNITS[measure].includes(unit))
      this.#found.add("panel_unit", `the unit is ${unit ?? "missing"}, the expression measures ${measure}`);
  }

  /** What is chosen at the top holds for every series that has the label: otherwise a panel shows what was not asked for. */
  #choices(tree: Tree): void {
    const { rules, variables } = this.#around;
    walkTree(tree, (node) => {
      if (node.kind !== "selector") return;
      const exposed = rules.names.get(node.name);
      for (const { label, operator, value } of node.matchers)
        if (value.startsWith("$") && (operator !== "=~" || value !== `$${label}`))
          this.#found.add("panel_scope", `${label}${operator}"${value}" is not ${label}=~"$${label}"`);
      if (exposed?.isOfTarget !== true) return;
      for (const label of variables) {
        const isChosen = node.matchers.some(
          (matcher) => matcher.label === label && matcher.value === `$${label}`,
        );
        const isExempt = this.#around.knowledge.unchosen.has(
          `${this.#around.uid}#${this.#panel.id ?? 0}#${label}`,
        );
        if (exposed.labels.has(label) && !isChosen && !isExempt)
          this.#found.add("panel_scope", `${node.name} must be matched with ${label}=~"$${label}"`);
      }
    });
  }

  /**
   * D10: what every replica sees (kvsync's replicas all follow every engine), each of them reports. Below a sum over replicas, the largest or the
   * smallest of them has to be taken first. A quantile or a ratio is the same however often each thing is in it.
   */
  #replicas(tree: Tree): void {
    if (tree.kind === "call" && tree.name === "histogram_quantile") return;
    if (tree.kind === "binary" && tree.operator === "/") return;
    if (tree.kind === "aggregation") {
      if (tree.operator === "min" || tree.operator === "max") return;
      const keepsReplicas = tree.mode === "by" && tree.labels.includes("instance");
      if (tree.operator === "sum" && !keepsReplicas) this.#summed(tree.of);
    }
    for (const child of childrenOf(tree)) this.#replicas(child);
  }

  #summed(tree: Tree): void {
    if (tree.kind === "aggregation" && (tree.operator === "min" || tree.operator === "max")) return;
    if (tree.kind === "selector" && this.#isOfEveryReplica(tree))
      this.#found.add(
        "replicas_summed",
        `each replica counts ${tree.name}; take min or max by what is counted before the sum`,
      );
    for (const child of childrenOf(tree)) this.#summed(child);
  }

  #isOfEveryReplica({ name, matchers }: Tree & { kind: "selector" }): boolean {
    const { seenByEveryReplica, ofOneReplica } = this.#around.knowledge;
    const recorded = this.#around.rules.recordExpressions.get(name);
    if (recorded !== undefined) return [...seenByEveryReplica].some((seen) => recorded.includes(seen));
    const family = this.#around.rules.names.get(name)?.family ?? name;
    const isOfOne = matchers.some(({ label, value }) => ofOneReplica[label] === value);
    return seenByEveryReplica.has(family) && !isOfOne;
  }

  /** D8: a query's own legend. */
  #quantilesOf(tree: Tree, legend: string): void {
    const computed = quantilesOf(tree);
    const stated = quantilesIn(legend);
    for (const name of computed) this.#quantiles.add(name);
    for (const name of stated)
      if (!computed.has(name))
        this.#found.add("quantile_name", `the legend names ${name}, the query asks for ${listed(computed)}`);
    for (const name of computed)
      if (!stated.has(name) && !quantilesIn(this.#panel.title ?? "").has(name))
        this.#found.add("quantile_name", `neither title nor legend names the ${name}`);
  }

  /** D8: the panel's texts. */
  #quantileTexts(): void {
    const { title = "", description = "" } = this.#panel;
    for (const [what, text] of Object.entries({ title, description }))
      for (const name of quantilesIn(text))
        if (!this.#quantiles.has(name))
          this.#found.add(
            "quantile_name",
            `the ${what} speaks of ${name}, the queries ask for ${listed(this.#quantiles)}`,
          );
  }

  /** D9. */
  #address(url: string): void {
    // Grafana's own list of rules.
    if (url.startsWith("/alerting/list?")) return;
    const parts = /^\/d\/([\w-]+)(?:\?(.*))?$/.exec(url);
    const variables = this.#around.variablesByUid.get(parts?.[1] ?? "");
    if (variables === undefined) {
      this.#found.add("dead_link", `${url} leads to no dashboard`);
      return;
    }
    for (const [, name = ""] of (parts?.[2] ?? "").matchAll(/var-(\w+)=/g)) {
      if (!variables.has(name))
        this.#found.add("dead_link", `${url} sets ${name}, which that dashboard lacks`);
    }
  }
}

/** What texts call the things that a unit counts. */
const COUNTED: Readonly<Record<string, RegExp>> = {
  reqps: /\b(?:requests?|lookups?|conversations?)\b/i,
  "suffix: msg/s": /\bmessages?\b/i,
  ops: /./,
};

/** Labels by what texts call the things that they name. */
const CALLED: Readonly<Record<string, string>> = { engine: "pod", replica: "instance", model: "model" };

function labelCalled(word: string): string {
  return CALLED[word] ?? word;
}

/** Words that follow "by", with those that "and" adds. */
function byWords(text: string): string[] {
  return [...text.matchAll(/\bby ([a-z_]+)(?: and ([a-z_]+))?/g)].flatMap(([, one = "", other = ""]) => [
    one,
    other,
  ]);
}

/** Whether every selector is limited to the jobs that are chosen at the top. */
function isOfChosen(tree: Tree): boolean {
  let isChosen = true;
  walkTree(tree, (node) => {
    if (node.kind === "selector")
      isChosen &&= node.matchers.some(({ label, value }) => label === "job" && value === "$job");
  });
  return isChosen;
}

function listed(names: ReadonlySet<string>): string {
  return names.size === 0 ? "no quantile" : [...names].join(", ");
}

function columnUnit(panel: PanelJson, target: TargetJson): string | undefined {
  const renamed = columnTitle(panel, target);
  const override = (panel.fieldConfig?.overrides ?? []).find(({ matcher }) => matcher?.options === renamed);
  const value = override?.properties?.find(({ id }) => id === "unit")?.value;
  return typeof value === "string" ? value : undefined;
}

/** The data source that a link to Grafana's Explore opens, with the time of the panel; `null` for other links. */
function exploredSource(url: string): string | null {
  const [, panes] = /^\/explore\?schemaVersion=1&panes=(.+)$/.exec(url) ?? [];
  if (panes === undefined) return null;
  try {
    const { a } = JSON.parse(decodeURIComponent(panes)) as {
      a: { datasource: string; queries: readonly unknown[]; range: { from: string; to: string } };
    };
    const isWhole = a.queries.length > 0 && a.range.from === "${__from}" && a.range.to === "${__to}";
    return isWhole ? a.datasource : null;
  } catch {
    return null;
  }
}
