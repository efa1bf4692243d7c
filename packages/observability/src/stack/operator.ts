/**
 * The resources by which the Prometheus Operator and Grafana's sidecar find everything in a cluster, as a component of Kustomize.
 *
 *     operator/service-monitor.yaml   what to scrape            operator/prometheus-rule.yaml   recorded series and alerts
 *     dashboards/dashboards.yaml      a ConfigMap for each dashboard, with the label that the sidecar looks for
 *
 *  O1  A ConfigMap stays below the limit of the API server (operator.test.ts).
 *
 * Source: prometheus-operator's API reference, monitoring.coreos.com/v1; kube-prometheus-stack's values for the sidecar.
 */

import { generatedYaml, ruleFile, ruleGroups, serviceMonitor } from "../rules/prometheus.ts";
import type { Project } from "../project.ts";

/** The sidecar of kube-prometheus-stack looks for this label, whatever its value. */
const DASHBOARD_LABEL = { grafana_dashboard: "1" } as const;

/**
 * The files of the component.
 *
 * @param project - whose.
 * @param dashboards - path of their kustomization.
 * @returns text by file name.
 */
export function operatorFiles(project: Project, dashboards: string): ReadonlyMap<string, string> {
  const files = new Map([
    ["service-monitor.yaml", serviceMonitor(project)],
    ["prometheus-rule.yaml", prometheusRule(project)],
  ]);
  const kustomization = {
    apiVersion: "kustomize.config.k8s.io/v1alpha1",
    kind: "Component",
    resources: [...files.keys(), dashboards],
  };
  return files.set("kustomization.yaml", generatedYaml(project, kustomization));
}

/**
 * A kustomization of the dashboards alone, which the operator's component and the stack without an operator use.
 *
 * @param project - whose.
 * @param dashboards - JSON of each, by its uid.
 * @returns text by file name.
 */
export function dashboardFiles(
  project: Project,
  dashboards: ReadonlyMap<string, string>,
): ReadonlyMap<string, string> {
  const kustomization = {
    apiVersion: "kustomize.config.k8s.io/v1beta1",
    kind: "Kustomization",
    resources: ["dashboards.yaml"],
  };
  return new Map([
    ["dashboards.yaml", dashboardMaps(project, dashboards)],
    ["kustomization.yaml", generatedYaml(project, kustomization)],
  ]);
}

/**
 * The same for a Helm chart, whose templates put names, labels and chosen values around them.
 *
 * @param project - whose.
 * @param dashboards - JSON of each, by its uid.
 * @returns text by path in the chart's folder of files.
 */
export function chartFiles(
  project: Project,
  dashboards: ReadonlyMap<string, string>,
): ReadonlyMap<string, string> {
  const boards = [...dashboards].map(
    ([uid, json]) => [`dashboards/${uid}.json`, withoutSpace(json)] as const,
  );
  return new Map([
    ["service-monitor.yaml", serviceMonitor(project)],
    ["rules.yaml", ruleFile(project)],
    ...boards,
  ]);
}

/** Without indentation, since nobody reads it here. */
function withoutSpace(json: string): string {
  return JSON.stringify(JSON.parse(json));
}

function prometheusRule(project: Project): string {
  return generatedYaml(project, {
    apiVersion: "monitoring.coreos.com/v1",
    kind: "PrometheusRule",
    metadata: { name: project.job, labels: { "app.kubernetes.io/name": project.job } },
    spec: { groups: ruleGroups(project) },
  });
}

/**
 * The ConfigMap of a dashboard.
 *
 * @param uid - of the dashboard.
 * @returns its name.
 */
export function dashboardMapName(uid: string): string {
  return `${uid}-dashboard`;
}

/**
 * A ConfigMap for each dashboard, with the label that Grafana's sidecar looks for.
 *
 * @param project - whose.
 * @param dashboards - JSON of each, by its uid.
 * @returns YAML of all.
 */
export function dashboardMaps(project: Project, dashboards: ReadonlyMap<string, string>): string {
  const maps = [...dashboards].map(([uid, json]) => ({
    apiVersion: "v1",
    kind: "ConfigMap",
    metadata: {
      name: dashboardMapName(uid),
      labels: { "app.kubernetes.io/name": project.job, ...DASHBOARD_LABEL },
      annotations: { grafana_folder: project.title },
    },
    data: { [`${uid}.json`]: withoutSpace(json) },
  }));
  const [first = "", ...rest] = maps.map((map) => generatedYaml(project, map));
  const withoutNote = rest.map((text) => text.slice(text.indexOf("\n") + 1));
  return [first, ...withoutNote].join("---\n");
}
