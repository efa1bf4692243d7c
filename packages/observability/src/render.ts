/**
 * Everything that is generated, as text by path from the repository's root. Pure: main.ts writes it, a test compares it with what is committed.
 */

import { DASHBOARDS } from "./kvsync/dashboards/dashboards.ts";
import { grafanaDashboard, type PanelLink } from "./dashboards/grafana.ts";
import { previewSvg } from "./dashboards/preview.ts";
import { dashboardProvisioning, datasourceProvisioning } from "./dashboards/provisioning.ts";
import { alertReference, metricCatalogue, panelGuide } from "./documents/references.ts";
import { runbookPage } from "./documents/runbook.ts";
import { alertmanagerConfiguration, type Contacts, DEFAULT_CONTACTS } from "./rules/alertmanager.ts";
import { ALERT_GROUPS } from "./kvsync/rules/alerts.ts";
import { type LinkBases, RUNBOOK_FOLDER, runbookFile } from "./rules/links.ts";
import {
  type Addresses,
  DEFAULT_ADDRESSES,
  prometheusConfiguration,
  RULE_FILE,
  ruleFile,
  serviceMonitor,
} from "./rules/prometheus.ts";
import { alertTestFiles } from "./rules/promtool-tests.ts";

/** Folders that hold nothing but generated files: what is there and not rendered is stale. */
export const GENERATED_FOLDERS = [
  "infra/grafana/dashboards",
  "infra/grafana/preview",
  "infra/alertmanager",
  "infra/prometheus",
  RUNBOOK_FOLDER,
] as const;

/** The runbooks of the alerts that point at a panel, so that one who comes from the panel finds them too. */
function runbooksAt(uid: string, id: number, { runbooks }: LinkBases): PanelLink[] {
  return ALERT_GROUPS.flatMap(({ alerts }) => alerts)
    .filter(({ panel }) => panel.uid === uid && panel.id === id)
    .map(({ name }) => ({ title: `Runbook: ${name}`, url: `${runbooks}/${runbookFile(name)}` }));
}

/**
 * Renders every generated file.
 *
 * @param bases - where links in alerts lead.
 * @param contacts - whom Alertmanager writes to.
 * @param addresses - of the daemons and of Alertmanager.
 * @returns text by path.
 */
export function render(
  bases: LinkBases,
  contacts: Contacts = DEFAULT_CONTACTS,
  addresses: Addresses = DEFAULT_ADDRESSES,
): ReadonlyMap<string, string> {
  const files = new Map<string, string>();
  for (const board of DASHBOARDS) {
    files.set(
      `infra/grafana/dashboards/${board.uid}.json`,
      `${JSON.stringify(
        grafanaDashboard(board, (id) => runbooksAt(board.uid, id, bases)),
        null,
        2,
      )}\n`,
    );
    files.set(`infra/grafana/preview/${board.uid}.svg`, previewSvg(board));
  }
  files.set("infra/grafana/provisioning/datasources/kvsync.yaml", datasourceProvisioning());
  files.set("infra/grafana/provisioning/dashboards/kvsync.yaml", dashboardProvisioning());
  files.set(`infra/prometheus/${RULE_FILE}`, ruleFile(bases));
  files.set("infra/prometheus/prometheus.yaml", prometheusConfiguration(addresses));
  files.set("infra/prometheus/kvsync.service-monitor.yaml", serviceMonitor());
  files.set("infra/alertmanager/alertmanager.yaml", alertmanagerConfiguration(contacts));
  for (const [name, text] of alertTestFiles(bases)) files.set(`infra/prometheus/${name}`, text);
  for (const { alerts } of ALERT_GROUPS)
    for (const alert of alerts) files.set(`${RUNBOOK_FOLDER}/${runbookFile(alert.name)}`, runbookPage(alert));
  files.set("docs/generated/metrics.md", metricCatalogue());
  files.set("docs/generated/alerts.md", alertReference());
  files.set("docs/generated/dashboards.md", panelGuide());
  return files;
}
