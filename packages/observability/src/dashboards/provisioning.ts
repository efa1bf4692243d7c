/**
 * Files by which a Grafana finds its data sources and the dashboards without a hand on it.
 */

import type { Project } from "../project.ts";
import { generatedYaml } from "../rules/prometheus.ts";
import { PORTS } from "../stack/stack.ts";

/** Data sources as dashboards and each other name them. */
const SOURCES = {
  prometheus: "prometheus",
  loki: "loki",
  jaeger: "jaeger",
  alertmanager: "alertmanager",
} as const;

/** Address of a program of the stack, by its name in Compose and in a cluster. */
function serviceUrl(name: string, port: number): string {
  return `http://${name}:${port}`;
}

/**
 * The data sources: metrics; with a stack also logs, traces and alerts, each with links to the others.
 *
 *     latency with an exemplar ─▶ trace ─▶ lines of that trace          line with a trace ─▶ trace ─▶ latency at that time
 *
 * @param project - whose scrape interval the data source has.
 * @param jaegerHost - Jaeger's name, which may be in another namespace.
 * @returns for Grafana's `provisioning/datasources`, where `$$` is one `$`.
 */
export function datasourceProvisioning(project: Project, jaegerHost = "jaeger"): string {
  const others = project.stack === null ? [] : stackSources(project, jaegerHost);
  return generatedYaml(project, { apiVersion: 1, datasources: [prometheusSource(project), ...others] });
}

function prometheusSource({ intervalSeconds, stack }: Project): object {
  const exemplars =
    stack === null
      ? {}
      : { exemplarTraceIdDestinations: [{ name: "trace_id", datasourceUid: SOURCES.jaeger }] };
  return {
    name: "Prometheus",
    uid: SOURCES.prometheus,
    type: "prometheus",
    access: "proxy",
    url: serviceUrl("prometheus", PORTS.prometheus),
    isDefault: true,
    jsonData: { timeInterval: `${intervalSeconds}s`, httpMethod: "POST", ...exemplars },
  };
}

function stackSources({ logSelector, stack }: Project, jaegerHost: string): readonly object[] {
  const { labels = {}, series = {} } = stack?.spanMetrics ?? {};
  return [
    {
      name: "Loki",
      uid: SOURCES.loki,
      type: "loki",
      access: "proxy",
      url: serviceUrl("loki", PORTS.loki),
      jsonData: {
        derivedFields: [
          {
            name: "trace",
            matcherType: "label",
            matcherRegex: "trace_id",
            url: "$${__value.raw}",
            datasourceUid: SOURCES.jaeger,
          },
        ],
      },
    },
    {
      name: "Jaeger",
      uid: SOURCES.jaeger,
      type: "jaeger",
      access: "proxy",
      url: serviceUrl(jaegerHost, PORTS.jaeger),
      jsonData: {
        tracesToLogsV2: {
          datasourceUid: SOURCES.loki,
          spanStartTimeShift: "-1m",
          spanEndTimeShift: "1m",
          customQuery: true,
          query: `{${logSelector}} | trace_id="$$\{__trace.traceId}"`,
        },
        tracesToMetrics: {
          datasourceUid: SOURCES.prometheus,
          spanStartTimeShift: "-5m",
          spanEndTimeShift: "5m",
          tags: Object.entries(labels).map(([key, value]) => ({ key, value })),
          queries: Object.entries(series).map(([name, metric]) => ({ name, query: `${metric}{$$__tags}` })),
        },
        nodeGraph: { enabled: true },
      },
    },
    {
      name: "Alertmanager",
      uid: SOURCES.alertmanager,
      type: "alertmanager",
      access: "proxy",
      url: serviceUrl("alertmanager", PORTS.alertmanager),
      jsonData: { implementation: "prometheus", handleGrafanaManagedAlerts: false },
    },
  ];
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
