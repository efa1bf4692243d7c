/**
 * The reference pages: every metric, every alert, every panel. Made from the data that the running parts are made from, so a page cannot name
 * something that does not exist or leave something out.
 */

import { posix } from "node:path";

import { layOut } from "../dashboards/layout.ts";
import { type Dashboard, type Panel, queriesOf } from "../dashboards/panel.ts";
import type { LabelDomain } from "../definition.ts";
import { type ExposedName, exposedNames, type KnownFamily } from "./exposed-names.ts";
import type { Project } from "../project.ts";
import type { Measure } from "../promql/vector.ts";
import type { Alert, Severity } from "../rules/alert.ts";
import { receiverOf } from "../rules/alertmanager.ts";
import { runbookFile } from "../rules/links.ts";
import { anchorOf, familiesRead, generatedNote, markdownTable } from "./markdown.ts";

/** Mildest first, as the tables of levels have them. */
const SEVERITIES: readonly Severity[] = ["info", "warning", "critical"];

function domainText(domain: LabelDomain): string {
  return "maxValues" in domain
    ? `at most ${domain.maxValues} values`
    : domain.map((value) => `\`${value}\``).join(", ");
}

function exampleQuery({ kind, name, labels }: KnownFamily): string {
  const by = Object.keys(labels)[0];
  const group = by === undefined ? "" : ` by (${by})`;
  if (kind === "counter") return `sum${group} (rate(${name}[5m]))`;
  if (kind === "gauge") return by === undefined ? name : `sum${group} (${name})`;
  return `histogram_quantile(0.99, sum by (${by === undefined ? "" : `${by}, `}le) (rate(${name}_bucket[5m])))`;
}

/** How soon a person acts, by severity. */
const ACTIONS: Readonly<Record<Severity, string>> = {
  critical: "At once",
  warning: "The same day",
  info: "When capacity is planned",
};

const MEASURED: Partial<Record<Measure, string>> = {
  seconds: " s",
  bytes: " bytes",
  percent: " %",
  per_second: " per second",
  bytes_per_second: " bytes per second",
};

/** The pages of one project. */
export class ReferencePages {
  readonly #project: Project;
  readonly #names: ReadonlyMap<string, ExposedName>;
  /** A recorded series stands for the families that its expression reads. */
  readonly #recorded: ReadonlyMap<string, readonly string[]>;
  readonly #alerts: readonly Alert[];
  readonly #panelsOfFamily = new Map<string, { readonly board: Dashboard; readonly panel: Panel }[]>();
  /** Addresses of runbooks and pictures, from the folder of these pages. */
  readonly #runbooks: string;
  readonly #previews: string;

  /** @param project - whose. */
  constructor(project: Project) {
    this.#project = project;
    this.#names = exposedNames([...project.families, ...project.externalFamilies], {});
    this.#recorded = new Map(
      project.recordingGroups.flatMap(({ rules }) =>
        rules.map((rule) => [rule.name, familiesRead(rule.expression, this.#names)] as const),
      ),
    );
    this.#alerts = project.alertGroups.flatMap(({ alerts }) => alerts);
    for (const board of project.dashboards)
      for (const panel of Object.values(board.panels)) this.#addPanel(board, panel);
    const { documents, runbooks, grafana } = project.places;
    this.#runbooks = posix.relative(documents, runbooks);
    this.#previews = posix.relative(documents, `${grafana}/preview`);
  }

  /**
   * The metric catalogue.
   *
   * @returns Markdown.
   */
  metricCatalogue(): string {
    const recordings = this.#project.recordingGroups.flatMap(({ rules }) => rules);
    return `${generatedNote(this.#project.generator)}

# Metrics

The metrics that ${this.#project.exporter} exports, the series that Prometheus records from them, and the metrics that are read from other exporters. All times are seconds, all sizes bytes.

## Exported

${this.#project.families.map((family) => this.#familySection(family)).join("\n\n")}

## Recorded

${markdownTable(
  ["series", "what it is", "measures"],
  recordings.map((rule) => [`\`${rule.name}\``, rule.help, rule.measure]),
)}

## Read from others

${this.#project.externalFamilies.map((family) => this.#familySection(family)).join("\n\n")}
`;
  }

  /**
   * The alert reference.
   *
   * @returns Markdown.
   */
  alertReference(): string {
    const sections = this.#project.alertGroups.map(
      (group) => `## ${group.name}

${markdownTable(
  ["alert", "severity", "fires when", "for", "component"],
  group.alerts.map((alert) => [
    `[${alert.name}](${this.#runbooks}/${runbookFile(alert.name)})`,
    alert.severity,
    `${alert.summary} \`${alert.expression}\``,
    alert.for,
    alert.component,
  ]),
)}`,
    );
    return `${generatedNote(this.#project.generator)}

# Alerts

A critical alert pages the on-call engineer, a warning opens a ticket, and info is only on the dashboard. Each links to its runbook.

${sections.join("\n\n")}

## Receivers
Receivers of ${this.#project.places.alertmanager}/alertmanager.yaml: one notification per alert and job, with all replicas in it. A critical alert is sent at once, in Slack and by mail; a warning after
30 seconds, in Slack; info is not sent.

${markdownTable(
  ["component", "critical", "warning"],
  [...new Set(this.#alerts.map(({ component }) => component))].map((component) => [
    component,
    receiverOf(this.#project, "critical", component),
    receiverOf(this.#project, "warning", component),
  ]),
)}

## What silences what
While the cause fires, alerts for its symptoms are not sent where the labels are the same (\`inhibit_rules\`).

${markdownTable(
  ["cause", "symptoms", "same", "why"],
  this.#project.inhibitions.map((inhibition) => [
    inhibition.source,
    "alerts" in inhibition.targets
      ? inhibition.targets.alerts.join(", ")
      : `every alert of ${inhibition.targets.components.join(", ")}`,
    inhibition.equal.join(", "),
    inhibition.because,
  ]),
)}
`;
  }

  /**
   * The panel guide.
   *
   * @returns Markdown.
   */
  panelGuide(): string {
    const contents = this.#project.dashboards.map(
      (board) => `- [${board.title}](#${anchorOf(board.title)}): ${board.description}`,
    );
    return `${generatedNote(this.#project.generator)}

# Dashboards

${contents.join("\n")}

${this.#project.dashboards.map((board) => this.#dashboardSection(board)).join("\n\n")}
`;
  }

  /** The baseline of a family: its normal state as its first panels have it, and the levels of its alerts with an action each. */
  #levels(name: string): string {
    const panels = this.#panelsOfFamily.get(name) ?? [];
    return markdownTable(
      ["level", "value", "what to do"],
      [
        ...panels
          .slice(0, 3)
          .map(({ board, panel }) => [
            "normal",
            `${panel.normal} (${board.title} › ${panel.title})`,
            "Nothing.",
          ]),
        ...this.#alertsOn(name)
          .toSorted((a, b) => SEVERITIES.indexOf(a.severity) - SEVERITIES.indexOf(b.severity))
          .map((alert) => [
            alert.severity,
            `${alert.comparator} ${alert.threshold}${MEASURED[alert.measure] ?? ""} for ${alert.for}`,
            `${ACTIONS[alert.severity]}: [${alert.name}](${this.#runbooks}/${runbookFile(alert.name)}).`,
          ]),
      ],
    );
  }

  #familySection(family: KnownFamily & { help: string; why?: string; exporter?: string }): string {
    const labels = Object.entries(family.labels);
    const facts = [
      `${family.help}${family.why === undefined ? "" : ` ${family.why}`}`,
      "",
      `- ${family.kind}, unit ${family.unit}${family.exporter === undefined ? "" : `, exported by ${family.exporter}`}`,
      ...(labels.length === 0
        ? []
        : labels.map(([label, domain]) => `- label \`${label}\`: ${domainText(domain)}`)),
      ...(family.buckets === undefined
        ? []
        : [`- buckets: ${family.buckets.map((bound) => Number(bound.toPrecision(6))).join(", ")}`]),
      `- example: \`${exampleQuery(family)}\``,
      "",
      this.#levels(family.name),
    ];
    return `### ${family.name}\n\n${facts.join("\n")}`;
  }

  #panelSection(board: Dashboard, panel: Panel): string {
    const alerts = this.#alerts.filter(
      (alert) => alert.panel.uid === board.uid && alert.panel.id === panel.id,
    );
    if (panel.kind === "logs") return `#### ${panel.title}\n\n${panel.shows} **Normal:** ${panel.normal}`;
    const queries = queriesOf(panel).map((query) => `   ${query.text}`);
    return `#### ${panel.title}

${panel.shows} **Normal:** ${panel.normal}${alerts.length === 0 ? "" : ` Alerts: ${alerts.map((alert) => `[${alert.name}](${this.#runbooks}/${runbookFile(alert.name)})`).join(", ")}.`}

\`\`\`promql
${queries.map((query) => query.trim()).join("\n")}
\`\`\``;
  }

  #dashboardSection(board: Dashboard): string {
    const parts = layOut(board).map((item) =>
      item.kind === "row" ? `### ${item.row.title}` : this.#panelSection(board, item.panel),
    );
    return `## ${board.title}

${board.description} Address: \`/d/${board.uid}\`; refreshed every ${board.refresh}.

![layout](${this.#previews}/${board.uid}.svg)

${parts.join("\n\n")}`;
  }

  #addPanel(board: Dashboard, panel: Panel): void {
    const families = new Set(queriesOf(panel).flatMap((query) => [...this.#familiesBehind(query.text)]));
    for (const family of families) {
      const panels = this.#panelsOfFamily.get(family) ?? [];
      this.#panelsOfFamily.set(family, [...panels, { board, panel }]);
    }
  }

  #familiesBehind(text: string): Set<string> {
    const recorded = (text.match(/[a-z_]+:[a-z_:0-9]+/g) ?? []).flatMap(
      (name) => this.#recorded.get(name) ?? [],
    );
    return new Set([...familiesRead(text, this.#names), ...recorded]);
  }

  #alertsOn(family: string): Alert[] {
    return this.#alerts.filter((alert) => this.#familiesBehind(alert.expression).has(family));
  }
}
