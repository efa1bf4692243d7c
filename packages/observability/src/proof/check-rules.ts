/**
 * Checks the rule file as text: every expression (expression-shape.ts), then what makes a rule a good one. Follows mixtool's lint and pint's
 * alerts/{annotation,comparison,count,for,template}, rule/{duplicate,label,link,name} and promql/impossible.
 *
 *  R1  Names are CamelCase for alerts, and level:metric:operations for recordings. The level is the
 *      labels that are left.
 *  R2  Severity and component are from closed sets (components have a team). No label is templated.
 *  R3  An alert has a `for` of at least two evaluations, a comparison, no ranks, and a threshold
 *      that can be passed. A quantile is compared where its buckets are fine enough.
 *  R4  The summary is a fixed sentence. The description is templated with labels that are left and
 *      values written by their measure. Words of order have their function, and quantiles are those
 *      of the expression.
 *  R5  Links lead to a runbook that is rendered, with its headings, and to a panel that exists.
 *  R6  An expression that a recording rule computes is not computed again.
 */

import { parse } from "yaml";

import { secondsOf } from "../duration.ts";
import type { Measure } from "../promql/vector.ts";
import { type Artefacts, filesAt, scrapedNames } from "./artefacts.ts";
import type { ExposedName } from "../documents/exposed-names.ts";
import { type Shape, shapeOf, shapeOfTree } from "./expression-shape.ts";
import { allPanels, type DashboardJson } from "./grafana-json.ts";
import { unanswered } from "./order-words.ts";
import { type Problem, ProblemList } from "./problem.ts";
import { quantilesIn, quantilesOf } from "./quantile-names.ts";
import type { Tree } from "./promql-tree.ts";
import { canonicalText, walkTree } from "./tree-walk.ts";

/** A rule as it stands in the file. */
interface RuleText {
  readonly record?: string;
  readonly alert?: string;
  readonly expr: string;
  readonly for?: string;
  readonly labels?: Readonly<Record<string, string>>;
  readonly annotations?: Readonly<Record<string, string>>;
}

interface GroupText {
  readonly name: string;
  readonly interval?: string;
  readonly rules: readonly RuleText[];
}

const SEVERITIES = new Set(["critical", "warning", "info"]);

/** A rate per minute, and a noun after a count, as the alerts' texts write them. */
const PER_MINUTE =
  /\{\{ with printf "60 \* vector\(%g\)" \$value \| query \}\}\{\{ \. \| first \| value \| printf "%\.1f" \}\}\{\{ end \}\}/g;
const PLURAL = /\{\{ if eq \$value 1\.0 \}\}[^{}]+\{\{ else \}\}[^{}]+\{\{ end \}\}/g;

/** mixtool's limits. */
const NAME_LENGTH_MAX = 40;
const RULES_PER_GROUP_MAX = 20;

/** Two bounds this close on each side leave a quantile an error of less than half. */
const BOUND_DISTANCE_MAX = 4;

/** Anything evaluated more rarely is told too late. */
const INTERVAL_SECONDS_MAX = 60;

const PANEL_ADDRESS = /\/d\/([\w-]+)\?viewPanel=(\d+)$/;
const HEADINGS = [
  "## Meaning",
  "## Impact",
  "## Diagnosis",
  "## Mitigation",
  "## Prevention",
  "## Escalation",
];

/** How a value of each measure may be written in a text. */
const HUMANIZERS: Readonly<Record<Measure, readonly string[]>> = {
  none: ["humanize", "plural"],
  per_second: ["perMinute"],
  percent: ["humanize"],
  seconds: ["humanizeDuration"],
  ratio: ["humanizePercentage"],
  bytes: ["humanize1024"],
  bytes_per_second: ["humanize1024"],
  timestamp: ["humanizeTimestamp"],
};

/** What the check of rules finds out for the checks that come after it. */
export interface CheckedRules {
  readonly problems: readonly Problem[];
  /** Scraped and recorded names. */
  readonly names: ReadonlyMap<string, ExposedName>;
  /** Recorded series by the canonical text of what they compute. */
  readonly recordedByText: ReadonlyMap<string, string>;
  readonly recordExpressions: ReadonlyMap<string, string>;
  readonly alerts: ReadonlyMap<string, CheckedAlert>;
}

/** What other checks need of an alert. */
export interface CheckedAlert {
  readonly expression: string;
  /** Address of its panel, `uid#id`. */
  readonly panel: string;
  readonly runbookUrl: string;
  /** The number that it must be above or below; null where it compares with a series, or with a state. */
  readonly threshold: number | null;
}

/**
 * Checks the rule file.
 *
 * @param artefacts - all rendered files.
 * @returns findings, and the names that dashboards may use.
 */
export function checkRules(artefacts: Artefacts): CheckedRules {
  return new RuleCheck(artefacts).run();
}

class RuleCheck {
  readonly #artefacts: Artefacts;
  readonly #found = new ProblemList();
  readonly #names: Map<string, ExposedName>;
  readonly #recordedByText = new Map<string, string>();
  readonly #recordExpressions = new Map<string, string>();
  readonly #alerts = new Map<string, CheckedAlert>();
  readonly #panels: ReadonlySet<string>;

  constructor(artefacts: Artefacts) {
    this.#artefacts = artefacts;
    this.#names = scrapedNames(artefacts);
    this.#panels = new Set(
      filesAt(artefacts.files, artefacts.places.dashboards).flatMap(([, text]) => panelAddresses(text)),
    );
  }

  run(): CheckedRules {
    this.#found.at(this.#artefacts.places.rules);
    for (const group of this.#groups()) {
      this.#found.at(`${this.#artefacts.places.rules}: group ${group.name}`);
      if (group.name.length > NAME_LENGTH_MAX)
        this.#found.add("rule_group", "the name is longer than 40 characters");
      if (group.rules.length > RULES_PER_GROUP_MAX)
        this.#found.add("rule_group", "more than 20 rules; split it");
      if (!(secondsOf(group.interval ?? "") <= INTERVAL_SECONDS_MAX))
        this.#found.add("rule_group", `must state an interval of at most ${INTERVAL_SECONDS_MAX}s`);
      for (const rule of group.rules) this.#rule(rule, secondsOf(group.interval ?? ""));
    }
    for (const [name, { runbookUrl }] of this.#alerts) this.#namedAlerts(name, runbookUrl);
    return {
      problems: this.#found.found,
      names: this.#names,
      recordedByText: this.#recordedByText,
      recordExpressions: this.#recordExpressions,
      alerts: this.#alerts,
    };
  }

  #groups(): readonly GroupText[] {
    try {
      const content = parse(this.#artefacts.files.get(this.#artefacts.places.rules) ?? "") as {
        groups?: unknown;
      } | null;
      if (Array.isArray(content?.groups)) return content.groups as readonly GroupText[];
    } catch (error) {
      this.#found.add("unreadable_file", error instanceof Error ? error.message : String(error));
      return [];
    }
    this.#found.add("unreadable_file", "expected a list of groups");
    return [];
  }

  #rule(rule: RuleText, intervalSeconds: number): void {
    const name = rule.alert ?? rule.record ?? "";
    this.#found.at(`${this.#artefacts.places.rules}: ${name}`);
    const { shape, tree, problems } = shapeOf(rule.expr, this.#names);
    for (const { code, message } of problems) this.#found.add(code, message);
    if (shape === null || tree === null) return;
    if (rule.record !== undefined) this.#record(rule.record, rule.expr, shape, tree);
    else this.#alert(rule, shape, tree, intervalSeconds);
  }

  /** R1, R6. */
  #record(name: string, expression: string, shape: Shape, tree: Tree): void {
    const level =
      [...shape.labels].filter((label) => !/^(?:cluster|namespace|job)$/.test(label)).join("_") || "job";
    const [stated, metric, operations, ...rest] = name.split(":");
    if (metric === undefined || operations === undefined || rest.length > 0)
      this.#found.add("rule_name", "a recorded series is named level:metric:operations");
    if (stated !== level)
      this.#found.add("record_level", `the level names ${stated ?? "nothing"}, the labels are ${level}`);
    if (this.#names.has(name)) this.#found.add("rule_duplicate", `${name} is defined already`);
    this.#recordedByText.set(canonicalText(tree), name);
    this.#recordExpressions.set(name, expression);
    this.#names.set(name, {
      name,
      family: name,
      nature: "gauge",
      measure: shape.measure,
      labels: new Map([...shape.labels].map((label) => [label, shape.values.get(label) ?? { named: null }])),
      buckets: shape.buckets,
      additive: shape.additive,
      isOfTarget: true,
    });
    this.#operations(operations ?? "", expression, tree);
  }

  /** R1: what the name says was done to the series is what was done. */
  #operations(operations: string, expression: string, tree: Tree): void {
    const [stated, computed] = [[...quantilesIn(operations.replaceAll("_", " "))], [...quantilesOf(tree)]];
    if (stated.join() !== computed.join())
      this.#found.add(
        "quantile_name",
        `the name has ${stated.join() || "nothing"}, it is ${computed.join() || "no quantile"}`,
      );
    const windows = new Set([...expression.matchAll(/\[(\w+)\]/g)].map(([, range]) => range));
    const window = /rate(\d+[smhd])$/.exec(operations)?.[1];
    if ([...windows].join() !== (window ?? ""))
      this.#found.add(
        "rule_name",
        `the name has ${window ?? "no"} look-back, it is ${[...windows].join() || "none"}`,
      );
  }

  #alert(rule: RuleText, shape: Shape, tree: Tree, intervalSeconds: number): void {
    const name = rule.alert ?? "";
    if (!/^[A-Z][A-Za-z0-9]+$/.test(name) || name.length > NAME_LENGTH_MAX)
      this.#found.add("rule_name", "an alert is named in CamelCase, with at most 40 characters");
    if (this.#alerts.has(name)) this.#found.add("rule_duplicate", `${name} is defined already`);
    const annotations = rule.annotations ?? {};
    const [, uid = "", id = ""] = PANEL_ADDRESS.exec(annotations["dashboard_url"] ?? "") ?? [];
    this.#alerts.set(name, {
      expression: rule.expr,
      panel: `${uid}#${id}`,
      runbookUrl: annotations["runbook_url"] ?? "",
      threshold: thresholdOf(tree),
    });
    this.#labels(rule.labels ?? {});
    const forSeconds = secondsOf(rule.for ?? "");
    if (!(forSeconds >= 2 * intervalSeconds))
      this.#found.add(
        "rule_for",
        `for ${rule.for ?? "nothing"} is less than two evaluations (${2 * intervalSeconds}s)`,
      );
    this.#condition(shape, tree);
    this.#recomputed(tree);
    this.#texts(annotations, shape, rule.expr);
    this.#quantileTexts(annotations, tree);
    this.#links(name, annotations);
  }

  /** R2. */
  #labels(labels: Readonly<Record<string, string>>): void {
    if (!SEVERITIES.has(labels["severity"] ?? ""))
      this.#found.add(
        "rule_label",
        `severity "${labels["severity"] ?? ""}" is none of critical, warning, info`,
      );
    if (!((labels["component"] ?? "") in this.#artefacts.project.teamOf))
      this.#found.add(
        "rule_label",
        `component "${labels["component"] ?? ""}" is not one that Alertmanager routes`,
      );
    for (const [label, text] of Object.entries(labels)) {
      if (label !== "severity" && label !== "component")
        this.#found.add("rule_label", `${label} would hide the label of the series themselves`);
      if (text.includes("{{"))
        this.#found.add("rule_label", `${label} is templated: every value would be another alert`);
    }
  }

  /** R3. */
  #condition(shape: Shape, tree: Tree): void {
    if (!shape.compared)
      this.#found.add("no_comparison", "without a comparison it fires for as long as there is data");
    walkTree(tree, (node) => {
      if (node.kind === "aggregation" && ["topk", "bottomk"].includes(node.operator))
        this.#found.add("rank_in_alert", `${node.operator} always has a first place`);
      if (node.kind === "binary" && node.right.kind === "number") this.#threshold(node, node.right.value);
    });
  }

  #threshold(node: Tree & { kind: "binary" }, threshold: number): void {
    const { left, operator } = node;
    if (isCount(left) && isNeverOfCounts(operator, threshold))
      this.#found.add("never_true", "a count is never 0, it is absent; use absent()");
    const compared = shapeOfTree(left, this.#names);
    const { measure, additive, nature, buckets } = compared;
    const most = additive ? undefined : SHARE_MAX[measure];
    if (most !== undefined && (threshold < 0 || threshold > most))
      this.#found.add("threshold_out_of_range", `a share is between 0 and ${most}, not at ${threshold}`);
    if (nature === "gauge" && buckets !== null) this.#quantileThreshold(operator, threshold, buckets);
  }

  #quantileThreshold(operator: string, threshold: number, buckets: readonly number[]): void {
    const highest = buckets.at(-1) ?? Infinity;
    if ((operator === ">" || operator === ">=") && threshold >= highest)
      this.#found.add(
        "threshold_outside_buckets",
        `a quantile never exceeds the last bucket bound, ${highest}`,
      );
    else if (isBetweenDistantBounds(buckets, threshold))
      this.#found.add(
        "coarse_buckets",
        `${threshold} is no bucket bound, and has no two of them within a factor of ${BOUND_DISTANCE_MAX} on each side: the quantile is a guess`,
      );
  }

  /** R6. */
  #recomputed(tree: Tree): void {
    walkTree(tree, (node) => {
      const recorded = this.#recordedByText.get(canonicalText(node));
      if (recorded !== undefined && node.kind !== "selector")
        this.#found.add("recorded_series_exists", `${recorded} has this already`);
    });
  }

  /** R4. */
  #texts(annotations: Readonly<Record<string, string>>, shape: Shape, expression: string): void {
    const { summary = "", description: templated = "" } = annotations;
    const description = templated
      .replace(PER_MINUTE, "{{ $value | perMinute }}")
      .replace(PLURAL, "{{ $value | plural }}");
    if (!/^[A-Z][^{}]+\.$/.test(summary))
      this.#found.add("rule_annotation", "the summary must be a fixed sentence");
    // Of an absence there is neither a which nor a how much.
    const saysSomething = shape.labels.size > 0 || shape.measure !== "none";
    if (saysSomething && !description.includes("{{"))
      this.#found.add("rule_annotation", "the description must name which and how much");
    const doubled = /\{\{ \$value \| (humanize\w+) \}\} ?(%|per cent|m?s\b|seconds|bytes|B\b)/.exec(
      description,
    );
    if (doubled !== null)
      this.#found.add(
        "rule_template",
        `${doubled[1] ?? ""} writes the unit, and "${doubled[2] ?? ""}" follows it`,
      );
    if (/\{\{ \$value \| perMinute \}\}(?!.* (?:per|a) minute)/.test(description))
      this.#found.add("rule_template", "a rate per minute is not called one");
    if (/\{\{ \$value \| humanize \}\} [a-z]/.test(description))
      this.#found.add("rule_template", "a count needs a noun that fits one and many");
    this.#orderWords(description, expression);
    this.#actions(description, shape);
  }

  /** R4. */
  #quantileTexts({ summary = "", description = "" }: Readonly<Record<string, string>>, tree: Tree): void {
    const computed = quantilesOf(tree);
    for (const name of quantilesIn(`${summary} ${description}`))
      if (!computed.has(name))
        this.#found.add(
          "quantile_name",
          `the text speaks of ${name}, the expression is ${[...computed].join() || "no quantile"}`,
        );
  }

  #actions(description: string, shape: Shape): void {
    for (const [, action = ""] of description.matchAll(/\{\{(.*?)\}\}/g)) {
      const label = /^ \$labels\.(\w+) $/.exec(action)?.[1];
      const humanizer = /^ \$value \| (\w+) $/.exec(action)?.[1];
      if (label === undefined && humanizer === undefined)
        this.#found.add("rule_template", `{{${action}}} is none of our templates`);
      if (label !== undefined && !shape.labels.has(label))
        this.#found.add(
          "rule_template",
          `$labels.${label} has been aggregated away; (${[...shape.labels].join(", ")}) are left`,
        );
      if (humanizer !== undefined && !HUMANIZERS[shape.measure].includes(humanizer))
        this.#found.add("rule_template", `a value in ${shape.measure} is not written by ${humanizer}`);
    }
  }

  /** R5. */
  #links(name: string, annotations: Readonly<Record<string, string>>): void {
    const runbookUrl = annotations["runbook_url"] ?? "";
    const anchor = runbookUrl.split("#")[1];
    const page = this.#page(runbookUrl);
    if (page === undefined)
      this.#found.add(
        "dead_runbook",
        `no runbook is rendered for ${annotations["runbook_url"] ?? "an empty link"}`,
      );
    else {
      if (!page.includes(`\n# ${name}\n`))
        this.#found.add("dead_runbook", `the runbook is not about ${name}`);
      for (const heading of HEADINGS) {
        if (!new RegExp(`\\n${heading}\\n\\n(?!## |$)\\S`).test(page))
          this.#found.add("alert_without_runbook", `the runbook has no ${heading}, or nothing under it`);
      }
      if (anchor !== undefined && !HEADINGS.some((heading) => heading.slice(3).toLowerCase() === anchor))
        this.#found.add("dead_runbook", `the runbook has no heading for #${anchor}`);
      this.#runbookQueries(page);
    }
    if (!this.#panels.has(this.#alerts.get(name)?.panel ?? ""))
      this.#found.add(
        "dead_panel_link",
        `${annotations["dashboard_url"] ?? "an empty link"} leads to no panel`,
      );
  }

  /** R5: alerts that a runbook sends its reader to. */
  #namedAlerts(name: string, runbookUrl: string): void {
    this.#found.at(`${this.#artefacts.places.rules}: ${name}`);
    const page = this.#page(runbookUrl) ?? "";
    for (const [, other = ""] of page.matchAll(/\b[Ss]ee ([A-Z][a-z]*[A-Z]\w+)/g))
      if (!this.#alerts.has(other))
        this.#found.add("dead_runbook", `the runbook sends to ${other}, which is no alert`);
  }

  #page(runbookUrl: string): string | undefined {
    const [address = ""] = runbookUrl.split("#");
    return this.#artefacts.files.get(
      `${this.#artefacts.project.places.runbooks}/${address.split("/").at(-1) ?? ""}`,
    );
  }

  #orderWords(text: string, expression: string, where = ""): void {
    for (const message of unanswered(text, [expression, ...this.#recordedBehind(expression)]))
      this.#found.add("order_word", `${where}${message}`);
  }

  /** What recorded series of an expression compute. */
  #recordedBehind(expression: string): string[] {
    return [...this.#recordExpressions].flatMap(([name, recorded]) =>
      expression.includes(name) ? [recorded] : [],
    );
  }

  /** Queries of runbooks are held to the same checks: they are copied when it is urgent. */
  #runbookQueries(page: string): void {
    for (const [, step = "", text = ""] of page.matchAll(/^\d+\. (.*)\n\n +```promql\n([\s\S]*?)```/gm))
      this.#orderWords(step, text, "in the runbook: ");
    for (const [, text = ""] of page.matchAll(/```promql\n([\s\S]*?)```/g)) {
      for (const { code, message } of shapeOf(text.trim(), this.#names).problems)
        this.#found.add(code, `in the runbook: ${message}`);
    }
  }
}

/** The comparison that an alert is about: the leftmost, since what follows `and` only narrows it down. */
function thresholdOf(tree: Tree): number | null {
  if (tree.kind !== "binary") return null;
  if (tree.operator === "and") return thresholdOf(tree.left);
  const { operator, right } = tree;
  if (operator !== ">" && operator !== "<") return null;
  if (right.kind === "number") return right.value;
  return right.kind === "negation" && right.of.kind === "number" ? -right.of.value : null;
}

/** `uid#id` of each panel of a dashboard; none when the text cannot be read, which its own check reports. */
function panelAddresses(text: string): string[] {
  try {
    const board = JSON.parse(text) as DashboardJson;
    const { uid } = board;
    return allPanels(board)
      .filter(({ type }) => type !== "row")
      .map(({ id }) => `${uid ?? ""}#${id ?? ""}`);
  } catch {
    return [];
  }
}

/**
 * Whether each alert is shown to fire and not to fire.
 *
 * @param artefacts - all rendered files.
 * @param alertNames - alerts of the rule file.
 * @returns alerts without such tests.
 */
export function checkAlertTests(artefacts: Artefacts, alertNames: Iterable<string>): readonly Problem[] {
  const found = new ProblemList();
  const fires = new Set<string>();
  const calm = new Set<string>();
  for (const [path, text] of filesAt(artefacts.files, artefacts.places.tests)) {
    found.at(path);
    const content = parse(text) as {
      tests?: { alert_rule_test?: { alertname: string; exp_alerts?: unknown[] }[] }[];
    } | null;
    for (const test of content?.tests ?? []) {
      const cases = test.alert_rule_test ?? [];
      const firing = cases.filter(({ exp_alerts }) => (exp_alerts ?? []).length > 0);
      for (const { alertname } of firing) fires.add(alertname);
      if (firing.length === 0) for (const { alertname } of cases) calm.add(alertname);
    }
  }
  for (const name of alertNames) {
    found.at(`${artefacts.places.rules}: ${name}`);
    if (!fires.has(name) || !calm.has(name))
      found.add(
        "alert_without_test",
        "no promtool test shows it firing past its threshold and calm before it",
      );
  }
  return found.found;
}

/** Whether a quantile near this value is interpolated over a range that is too wide to tell one side from the other. */
function isBetweenDistantBounds(bounds: readonly number[], threshold: number): boolean {
  const within = (low: number, high: number): number =>
    bounds.filter((bound) => bound > low && bound < high).length;
  return (
    !bounds.includes(threshold) &&
    (within(threshold / BOUND_DISTANCE_MAX, threshold) < 2 ||
      within(threshold, threshold * BOUND_DISTANCE_MAX) < 2)
  );
}

/** Greatest value of a measure that is a share. */
const SHARE_MAX: Partial<Record<Shape["measure"], number>> = { ratio: 1, percent: 100 };

/** Whether no count compares so: an empty one is absent. */
function isNeverOfCounts(operator: string, threshold: number): boolean {
  return (operator === "==" && threshold === 0) || (operator === "<" && threshold <= 1);
}

function isCount(tree: Tree): boolean {
  return tree.kind === "aggregation" && tree.operator === "count";
}
