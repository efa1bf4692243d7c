/**
 * Where alerts point: a runbook's page and a dashboard's panel. The bases differ by installation
 * and are settings of the generator. The rest of each link is made here, once.
 */

import type { PanelReference } from "../dashboards/panel.ts";

/** Where documents and dashboards are served, without a slash at the end. */
export interface LinkBases {
  readonly runbooks: string;
  readonly grafana: string;
}

/**
 * The file name of an alert's runbook.
 *
 * @param alertName - CamelCase.
 * @returns kebab-case, with `.md`.
 */
export function runbookFile(alertName: string): string {
  const words = alertName.replace(/([a-z0-9])([A-Z])/g, "$1-$2").replace(/([A-Z]+)([A-Z][a-z])/g, "$1-$2");
  return `${words.toLowerCase()}.md`;
}

/**
 * The address of a panel.
 *
 * @param grafana - Grafana's base address.
 * @param panel - which.
 * @returns an address that opens the panel alone.
 */
export function panelUrl(grafana: string, panel: PanelReference): string {
  return `${grafana}/d/${panel.uid}?viewPanel=${panel.id}`;
}
