/**
 * Checks what else is rendered: the configurations of Prometheus, Alertmanager and Grafana, and the pages and pictures for people.
 *
 *  G1  Prometheus loads the rule file that is there. It scrapes the job that rules and dashboards
 *      ask for, as often as rules are evaluated.
 *  G2  Alertmanager routes every component, notifies when an alert ends, and holds no secret.
 *  G3  Grafana's provisioning has the folder that the import uses, and refuses edits by hand. It
 *      has the scrape interval that `$__rate_interval` is made from.
 *  G4  Every family, alert and panel is in its page, every panel in its dashboard's picture.
 */

import { parse } from "yaml";

import type { Project } from "../project.ts";
import { type Artefacts, filesAt } from "./artefacts.ts";
import type { CheckedRules } from "./check-rules.ts";
import { allPanels, type DashboardJson } from "./grafana-json.ts";
import { type Problem, ProblemList } from "./problem.ts";

const SECRET = /hooks\.slack\.com|(?:password|token|secret|api_url): (?!\/)\S/i;

/** The parts of the configurations that are looked at. */
interface PrometheusYaml {
  readonly global?: { readonly scrape_interval?: string; readonly evaluation_interval?: string };
  readonly rule_files?: readonly string[];
  readonly scrape_configs?: readonly { readonly job_name?: string; readonly metrics_path?: string }[];
}
interface DatasourcesYaml {
  readonly datasources?: readonly {
    readonly uid?: string;
    readonly type?: string;
    readonly isDefault?: boolean;
    readonly jsonData?: { readonly timeInterval?: string };
  }[];
}
interface ProvidersYaml {
  readonly providers?: readonly {
    readonly folderUid?: string;
    readonly folder?: string;
    readonly allowUiUpdates?: boolean;
    readonly disableDeletion?: boolean;
  }[];
}

/**
 * Checks configurations and pages.
 *
 * @param artefacts - all rendered files.
 * @param rules - what the check of rules found out.
 * @returns findings.
 */
export function checkConfigurations(artefacts: Artefacts, rules: CheckedRules): readonly Problem[] {
  const found = new ProblemList();
  const text = (path: string) => {
    found.at(path);
    return artefacts.files.get(path) ?? "";
  };
  const { project, places } = artefacts;
  const { name } = project;
  const prometheusPath = `${project.places.prometheus}/prometheus.yaml`;
  const provisioning = `${project.places.grafana}/provisioning`;
  const ruleText = artefacts.files.get(places.rules) ?? "";
  checkPrometheus(text(prometheusPath), places.rules, ruleText, rules.names, found);
  checkAlertmanager(text(`${project.places.alertmanager}/alertmanager.yaml`), ruleText, found);
  const interval = /scrape_interval: (\S+)/.exec(artefacts.files.get(prometheusPath) ?? "")?.[1];
  checkDatasources(text(`${provisioning}/datasources/${name}.yaml`), interval, found);
  checkProviders(text(`${provisioning}/dashboards/${name}.yaml`), project, found);
  checkPages(artefacts, rules, found);
  return found.found;
}

function checkDatasources(text: string, interval: string | undefined, found: ProblemList): void {
  const { datasources = [] } = (parse(text) ?? {}) as DatasourcesYaml;
  const defaults = datasources.filter(({ isDefault }) => isDefault === true);
  const [first] = defaults;
  if (defaults.length !== 1 || first?.type !== "prometheus" || first.jsonData?.timeInterval !== interval)
    found.add(
      "configuration",
      `the default data source must be Prometheus, scraping every ${interval ?? "?"}`,
    );
  for (const [, uid] of text.matchAll(/datasourceUid: (\S+)/g))
    if (!datasources.some((one) => one.uid === uid))
      found.add("configuration", `a link leads to the data source ${uid ?? ""}, which is not provisioned`);
}

function checkProviders(text: string, { name, title }: Project, found: ProblemList): void {
  const { providers = [] } = (parse(text) ?? {}) as ProvidersYaml;
  for (const { folder, folderUid, allowUiUpdates, disableDeletion } of providers)
    if (folderUid !== name || folder !== title || allowUiUpdates !== false || disableDeletion !== true)
      found.add(
        "configuration",
        `must fill the folder ${name} ("${title}"), and forbid edits and deletions in it`,
      );
}

/** G1. */
function checkPrometheus(
  text: string,
  rules: string,
  ruleText: string,
  names: CheckedRules["names"],
  found: ProblemList,
): void {
  const { global, rule_files = [], scrape_configs = [] } = (parse(text) ?? {}) as PrometheusYaml;
  if (!rule_files.some((name) => rules.endsWith(`/${name}`)))
    found.add("configuration", `does not load ${rules}`);
  // The cluster's own configuration scrapes its exporters.
  const asked = new Set(
    [...ruleText.matchAll(/([A-Za-z_:][\w:]*)\{job="([^"]+)"/g)].flatMap(([, name = "", job = ""]) =>
      names.get(name)?.isOfTarget === true ? [job] : [],
    ),
  );
  for (const job of asked)
    if (!scrape_configs.some(({ job_name, metrics_path }) => job_name === job && metrics_path === "/metrics"))
      found.add("configuration", `does not scrape /metrics of the job ${job}, which rules ask for`);
  if (global?.scrape_interval !== global?.evaluation_interval)
    found.add("configuration", "scrapes and evaluates at different intervals");
}

/** G2. */
function checkAlertmanager(text: string, ruleText: string, found: ProblemList): void {
  for (const [, component = ""] of ruleText.matchAll(/component: (\S+)/g))
    if (!new RegExp(`component=~"(?:[^"]*\\|)?${component}(?:\\|[^"]*)?"`).test(text))
      found.add("configuration", `routes nothing of the component ${component}`);
  for (const [, components = ""] of text.matchAll(/component=~\\?"([^"\\]+)/g))
    for (const component of components.split("|"))
      if (!new RegExp(`component: ${component}$`, "m").test(ruleText))
        found.add("configuration", `routes the component ${component}, which no alert has`);
  if (/send_resolved: false/.test(text)) found.add("configuration", "does not notify when an alert ends");
  if (SECRET.test(text)) found.add("configuration", "holds a secret; secrets are read from files");
}

/** G4. */
function checkPages({ files, project, places }: Artefacts, rules: CheckedRules, found: ProblemList): void {
  const { documents, grafana } = project.places;
  const need = (path: string, part: string) => {
    found.at(path);
    if (!(files.get(path) ?? "").includes(part)) found.add("document_gap", `lacks ${part.trim()}`);
  };
  for (const { name } of [...project.families, ...project.externalFamilies])
    need(`${documents}/metrics.md`, `\n### ${name}\n`);
  for (const name of rules.alerts.keys()) need(`${documents}/alerts.md`, `| [${name}](`);
  for (const [, text] of filesAt(files, places.dashboards)) {
    const { uid = "", panels } = readable(text);
    const picture = `${grafana}/preview/${uid}.svg`;
    need(picture, "</svg>");
    for (const { id, title = "", type } of allPanels({ panels })) {
      if (type === "row") continue;
      need(`${documents}/dashboards.md`, title);
      need(picture, `>#${id ?? ""}</text>`);
      need(picture, `>${title.slice(0, TITLE_SHOWN)}`);
    }
  }
}

/** Pictures cut titles that are wider than their panel; so much of each is shown. */
const TITLE_SHOWN = 12;

function readable(text: string): DashboardJson {
  try {
    return JSON.parse(text) as DashboardJson;
  } catch {
    // Reported by the check of dashboards.
    return {};
  }
}
