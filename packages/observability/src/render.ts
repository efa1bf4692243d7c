/**
 * Everything that is generated, as text by path from the root. Pure: command.ts writes it, a test compares it with what is committed.
 */

import { posix } from "node:path";

import { grafanaDashboard, type PanelLink } from "./dashboards/grafana.ts";
import type { Panel } from "./dashboards/panel.ts";
import { PreviewData } from "./dashboards/preview-data.ts";
import { previewSvg } from "./dashboards/preview.ts";
import { dashboardProvisioning, datasourceProvisioning } from "./dashboards/provisioning.ts";
import { ReferencePages } from "./documents/references.ts";
import { objectivesPage } from "./documents/objectives-page.ts";
import { runbookPage } from "./documents/runbook.ts";
import { compiledRulesFile } from "./evaluation/compile-rules.ts";
import { type Project, ruleFileName } from "./project.ts";
import { alertmanagerConfiguration, localAlertmanagerConfiguration } from "./rules/alertmanager.ts";
import { runbookFile } from "./rules/links.ts";
import { localPrometheusConfiguration, prometheusConfiguration, ruleFile } from "./rules/prometheus.ts";
import { alertTestFiles } from "./rules/promtool-tests.ts";
import { logDashboard, logDashboardUid } from "./signals/log-dashboard.ts";
import { signalReferences } from "./signals/signal-references.ts";
import { clusterFiles } from "./stack/cluster.ts";
import { collectorConfiguration } from "./stack/collector.ts";
import { jaegerConfiguration } from "./stack/jaeger.ts";
import { lokiConfiguration } from "./stack/loki.ts";
import { chartFiles, dashboardFiles, operatorFiles } from "./stack/operator.ts";

/** The runbooks of the alerts that point at a panel, so that a reader of the panel finds them too. */
function runbooksAt({ alertGroups, links }: Project, uid: string, id: number): PanelLink[] {
  return alertGroups
    .flatMap(({ alerts }) => alerts)
    .filter(({ panel }) => panel.uid === uid && panel.id === id)
    .map(({ name }) => ({ title: `Runbook: ${name}`, url: `${links.runbooks}/${runbookFile(name)}` }));
}

/** Logs and, of what takes time, traces of the time that a panel shows. */
function waysOnward({ stack, logSelector, name }: Project, panel: Panel): PanelLink[] {
  if (stack === null) return [];
  const logs = exploreLink("Logs", "loki", { expr: `{${logSelector}} | json`, queryType: "range" });
  if (panel.kind === "logs") return [];
  const takesTime = panel.kind !== "table" && panel.measure === "seconds";
  if (!takesTime) return [logs];
  return [logs, exploreLink("Traces", "jaeger", { queryType: "search", service: name })];
}

/** Grafana fills in the time range, whose names must stay readable. */
function exploreLink(title: string, datasource: string, query: Readonly<Record<string, string>>): PanelLink {
  const queries = [{ refId: "A", datasource: { uid: datasource }, ...query }];
  const pane = encodeURIComponent(JSON.stringify({ datasource, queries })).slice(0, -"%7D".length);
  const range = `%2C%22range%22%3A%7B%22from%22%3A%22\${__from}%22%2C%22to%22%3A%22\${__to}%22%7D`;
  return { title, url: `/explore?schemaVersion=1&panes=%7B%22a%22%3A${pane}${range}%7D%7D` };
}

/** The data of pictures by project: it takes a second, and a process may render a project often. */
const DATA = new WeakMap<object, PreviewData>();

/** Families, rules and dashboards decide what the pictures show; links, contacts and addresses do not. */
function dataOf(project: Project): PreviewData {
  const known = DATA.get(project.dashboards);
  if (known !== undefined) return known;
  const data = new PreviewData(project);
  DATA.set(project.dashboards, data);
  return data;
}

/** Configurations of the programs beside the application; none for a project without a stack. */
function* stackFiles(project: Project): Generator<readonly [path: string, text: string]> {
  const { stack, places } = project;
  if (stack === null) return;
  const target = `${stack.service}:${stack.port}`;
  yield [`${places.prometheus}/prometheus.compose.yaml`, localPrometheusConfiguration(project, target)];
  yield [`${places.alertmanager}/alertmanager.compose.yaml`, localAlertmanagerConfiguration(project)];
  yield [`${places.loki}/loki.yaml`, lokiConfiguration(project)];
  yield [`${places.jaeger}/jaeger.yaml`, jaegerConfiguration(project)];
  const maps = posix.relative(places.cluster, places.dashboardMaps);
  for (const [file, text] of clusterFiles(project, stack, maps)) yield [`${places.cluster}/${file}`, text];
  for (const runtime of ["compose", "kubernetes"] as const)
    yield [`${places.collector}/collector.${runtime}.yaml`, collectorConfiguration(project, stack, runtime)];
}

/**
 * Renders every generated file.
 *
 * @param project - whose.
 * @returns text by path.
 */
export function render(project: Project): ReadonlyMap<string, string> {
  const { name, places, generator } = project;
  const { grafana, prometheus, alertmanager, operator, dashboardMaps, chart, runbooks, documents } = places;
  const files = new Map<string, string>();
  const boards = new Map<string, string>();
  for (const board of project.dashboards) {
    const json = grafanaDashboard(project, board, (panel) => [
      ...runbooksAt(project, board.uid, panel.id),
      ...waysOnward(project, panel),
    ]);
    const text = `${JSON.stringify(json, null, 2)}\n`;
    boards.set(board.uid, text);
    files.set(`${grafana}/dashboards/${board.uid}.json`, text);
    files.set(`${grafana}/preview/${board.uid}.svg`, previewSvg(board, dataOf(project), generator));
  }
  files.set(`${grafana}/provisioning/datasources/${name}.yaml`, datasourceProvisioning(project));
  files.set(`${grafana}/provisioning/dashboards/${name}.yaml`, dashboardProvisioning(project));
  files.set(`${prometheus}/${ruleFileName(project)}`, ruleFile(project));
  if (project.compiledRules !== null) files.set(project.compiledRules, compiledRulesFile(project));
  files.set(`${prometheus}/prometheus.yaml`, prometheusConfiguration(project));
  files.set(`${alertmanager}/alertmanager.yaml`, alertmanagerConfiguration(project));
  const maps = posix.relative(operator, dashboardMaps);
  for (const [file, text] of operatorFiles(project, maps)) files.set(`${operator}/${file}`, text);
  for (const [file, text] of dashboardFiles(project, boards)) files.set(`${dashboardMaps}/${file}`, text);
  for (const [file, text] of chartFiles(project, boards)) files.set(`${chart}/${file}`, text);
  for (const [path, text] of stackFiles(project)) files.set(path, text);
  for (const [file, text] of alertTestFiles(project)) files.set(`${prometheus}/${file}`, text);
  for (const { alerts } of project.alertGroups)
    for (const alert of alerts)
      files.set(`${runbooks}/${runbookFile(alert.name)}`, runbookPage(project, alert));
  const pages = new ReferencePages(project);
  files.set(`${documents}/metrics.md`, pages.metricCatalogue());
  if (Object.keys(project.logEvents).length > 0)
    files.set(
      `${grafana}/log-dashboards/${logDashboardUid(project)}.json`,
      `${JSON.stringify(logDashboard(project), null, 2)}\n`,
    );
  for (const [page, text] of signalReferences(project)) files.set(`${documents}/${page}`, text);
  if (project.objectives !== null)
    files.set(`${documents}/objectives.md`, objectivesPage(project, project.objectives));
  files.set(`${documents}/alerts.md`, pages.alertReference());
  files.set(`${documents}/dashboards.md`, pages.panelGuide());
  return files;
}
