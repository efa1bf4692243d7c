/**
 * Files by which a Grafana finds its data source and the dashboards without a hand on it.
 */

import type { Project } from "../project.ts";
import { generatedYaml } from "../rules/prometheus.ts";

/**
 * The data source.
 *
 * @param project - whose scrape interval the data source has.
 * @returns for Grafana's `provisioning/datasources`.
 */
export function datasourceProvisioning(project: Project): string {
  return generatedYaml(project, {
    apiVersion: 1,
    datasources: [
      {
        name: "Prometheus",
        uid: "prometheus",
        type: "prometheus",
        access: "proxy",
        url: "http://prometheus:9090",
        isDefault: true,
        jsonData: { timeInterval: `${project.intervalSeconds}s`, httpMethod: "POST" },
      },
    ],
  });
}

/**
 * The folder of dashboards.
 *
 * @param project - whose.
 * @returns for Grafana's `provisioning/dashboards`.
 */
export function dashboardProvisioning(project: Project): string {
  const { name, title } = project;
  return generatedYaml(project, {
    apiVersion: 1,
    providers: [
      {
        name,
        orgId: 1,
        folder: title,
        folderUid: name,
        type: "file",
        disableDeletion: true,
        allowUiUpdates: false,
        updateIntervalSeconds: 30,
        options: { path: `/var/lib/grafana/dashboards/${name}`, foldersFromFilesStructure: false },
      },
    ],
  });
}
