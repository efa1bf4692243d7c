/**
 * Files by which a Grafana finds its data source and our dashboards without a hand on it.
 */

import { generatedYaml } from "../rules/prometheus.ts";
import { INTERVAL_SECONDS } from "../kvsync/rules/thresholds.ts";
import { FOLDER } from "../kvsync/dashboards/dashboards.ts";

/**
 * The data source.
 *
 * @returns for Grafana's `provisioning/datasources`.
 */
export function datasourceProvisioning(): string {
  return generatedYaml({
    apiVersion: 1,
    datasources: [
      {
        name: "Prometheus",
        uid: "prometheus",
        type: "prometheus",
        access: "proxy",
        url: "http://prometheus:9090",
        isDefault: true,
        jsonData: { timeInterval: `${INTERVAL_SECONDS}s`, httpMethod: "POST" },
      },
    ],
  });
}

/**
 * The folder of dashboards.
 *
 * @returns for Grafana's `provisioning/dashboards`.
 */
export function dashboardProvisioning(): string {
  return generatedYaml({
    apiVersion: 1,
    providers: [
      {
        name: FOLDER.uid,
        orgId: 1,
        folder: FOLDER.title,
        folderUid: FOLDER.uid,
        type: "file",
        disableDeletion: true,
        allowUiUpdates: false,
        updateIntervalSeconds: 30,
        options: { path: "/var/lib/grafana/dashboards/kvsync", foldersFromFilesStructure: false },
      },
    ],
  });
}
