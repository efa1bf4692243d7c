/**
 * The reference pages: every metric, every alert, every panel. Made from the data that the running parts are made from, so a page cannot name
 * something that does not exist or leave something out.
 */

import { CATALOGUE } from "../kvsync/catalogue/catalogue.ts";
import { ALL_FAMILIES } from "../kvsync/catalogue/families.ts";
import { EXTERNAL_CATALOGUE } from "../kvsync/catalogue/platform.ts";
import { DASHBOARDS } from "../kvsync/dashboards/dashboards.ts";
import { layOut } from "../dashboards/layout.ts";
import { type Dashboard, type Panel, queriesOf } from "../dashboards/panel.ts";
import type { LabelDomain } from "../definition.ts";
import { exposedNames, type KnownFamily } from "./exposed-names.ts";
import type { Measure } from "../promql/vector.ts";
import type { Alert, Severity } from "../rules/alert.ts";
import { receiverOf } from "../rules/alertmanager.ts";
import { ALERT_GROUPS } from "../kvsync/rules/alerts.ts";
import { INHIBITIONS } from "../kvsync/rules/inhibitions.ts";
import { runbookFile } from "../rules/links.ts";
import { RECORDING_GROUPS } from "../kvsync/rules/recordings.ts";
import { anchorOf, familiesRead, GENERATED_NOTE, markdownTable } from "./markdown.ts";

const RUNBOOKS = "../operations/runbooks";

const ROUTING_TEXT = `Receivers of infra/alertmanager/alertmanager.yaml: one notification per alert and job, with all replicas in it. A critical alert is sent at once, in Slack and by mail; a warning after
30 seconds, in Slack; info is not sent.`;

/** Mildest first, as the tables of levels have them. */
const SEVERITIES: readonly Severity[] = ["info", "warning", "critical"];

const NAMES = exposedNames(ALL_FAMILIES);

/** A recorded series stands for the families that its expression reads. */
const RECORDED = new Map(
  RECORDING_GROUPS.flatMap(({ rules }) =>
    rules.map((rule) => [rule.name, familiesRead(rule.expression, NAMES)] as const),
  ),
);

function familiesBehind(text: string): Set<string> {
  const recorded = (text.match(/[a-z_]+:[a-z_:0-9]+/g) ?? []).flatMap((name) => RECORDED.get(name) ?? []);
  return new Set([...familiesRead(text, NAMES), ...recorded]);
}

const PANELS_OF_FAMILY = new Map<string, { board: Dashboard; panel: Panel }[]>();
for (const board of DASHBOARDS) {
  for (const panel of Object.values(board.panels)) {
    const families = new Set(queriesOf(panel).flatMap((query) => [...familiesBehind(query.text)]));
    for (const family of families)
      PANELS_OF_FAMILY.set(family, [...(PANELS_OF_FAMILY.get(family) ?? []), { board, panel }]);
  }
}

const ALERTS: readonly Alert[] = ALERT_GROUPS.flatMap(({ alerts }) => alerts);

function alertsOn(family: string): Alert[] {
  return ALERTS.filter((alert) => familiesBehind(alert.expression).has(family));
}

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

/** The baseline of a family: its normal state as its first panels have it, and the levels of its alerts with an action each. */
function levels(name: string): string {
  const panels = PANELS_OF_FAMILY.get(name) ?? [];
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
      ...alertsOn(name)
        .toSorted((a, b) => SEVERITIES.indexOf(a.severity) - SEVERITIES.indexOf(b.severity))
        .map((alert) => [
          alert.severity,
          `${alert.comparator} ${alert.threshold}${MEASURED[alert.measure] ?? ""} for ${alert.for}`,
          `${ACTIONS[alert.severity]}: [${alert.name}](${RUNBOOKS}/${runbookFile(alert.name)}).`,
        ]),
    ],
  );
}

function familySection(family: KnownFamily & { help: string; why?: string; exporter?: string }): string {
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
    levels(family.name),
  ];
  return `### ${family.name}\n\n${facts.join("\n")}`;
}

/**
 * The metric catalogue.
 *
 * @returns Markdown.
 */
export function metricCatalogue(): string {
  const recordings = RECORDING_GROUPS.flatMap(({ rules }) => rules);
  return `${GENERATED_NOTE}

# Metrics

The metrics that the daemon exports, the series that Prometheus records from them, and the metrics that are read from other exporters. All times are seconds, all sizes bytes.

## Exported

${CATALOGUE.map(familySection).join("\n\n")}

## Recorded

${markdownTable(
  ["series", "what it is", "measures"],
  recordings.map((rule) => [`\`${rule.name}\``, rule.help, rule.measure]),
)}

## Read from others

${EXTERNAL_CATALOGUE.map(familySection).join("\n\n")}
`;
}

/**
 * The alert reference.
 *
 * @returns Markdown.
 */
export function alertReference(): string {
  const sections = ALERT_GROUPS.map(
    (group) => `## ${group.name}

${markdownTable(
  ["alert", "severity", "fires when", "for", "component"],
  group.alerts.map((alert) => [
    `[${alert.name}](${RUNBOOKS}/${runbookFile(alert.name)})`,
    alert.severity,
    `${alert.summary} \`${alert.expression}\``,
    alert.for,
    alert.component,
  ]),
)}`,
  );
  return `${GENERATED_NOTE}

# Alerts

A critical alert pages the on-call engineer, a warning opens a ticket, and info is only on the dashboard. Each links to its runbook.

${sections.join("\n\n")}

## Receivers
${ROUTING_TEXT}

${markdownTable(
  ["component", "critical", "warning"],
  [...new Set(ALERTS.map(({ component }) => component))].map((component) => [
    component,
    receiverOf("critical", component),
    receiverOf("warning", component),
  ]),
)}

## What silences what
While the cause fires, alerts for its symptoms are not sent where the labels are the same (\`inhibit_rules\`).

${markdownTable(
  ["cause", "symptoms", "same", "why"],
  INHIBITIONS.map((inhibition) => [
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

function panelSection(board: Dashboard, panel: Panel): string {
  const alerts = ALERTS.filter((alert) => alert.panel.uid === board.uid && alert.panel.id === panel.id);
  const queries = queriesOf(panel).map((query) => `   ${query.text}`);
  return `#### ${panel.title}

${panel.shows} **Normal:** ${panel.normal}${alerts.length === 0 ? "" : ` Alerts: ${alerts.map((alert) => `[${alert.name}](${RUNBOOKS}/${runbookFile(alert.name)})`).join(", ")}.`}

\`\`\`promql
${queries.map((query) => query.trim()).join("\n")}
\`\`\``;
}

function dashboardSection(board: Dashboard): string {
  const parts = layOut(board).map((item) =>
    item.kind === "row" ? `### ${item.row.title}` : panelSection(board, item.panel),
  );
  return `## ${board.title}

${board.description} Address: \`/d/${board.uid}\`; refreshed every ${board.refresh}.

![layout](../../infra/grafana/preview/${board.uid}.svg)

${parts.join("\n\n")}`;
}

/**
 * The panel guide.
 *
 * @returns Markdown.
 */
export function panelGuide(): string {
  const contents = DASHBOARDS.map(
    (board) => `- [${board.title}](#${anchorOf(board.title)}): ${board.description}`,
  );
  return `${GENERATED_NOTE}

# Dashboards

${contents.join("\n")}

${DASHBOARDS.map(dashboardSection).join("\n\n")}
`;
}
