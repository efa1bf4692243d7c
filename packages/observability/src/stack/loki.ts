/**
 * Loki's configuration: one process that keeps logs in a folder, and takes them by OTLP.
 *
 *     /loki/chunks   lines        /loki/tsdb-…   index        /loki/compactor   what deletes both after the retention
 *
 * Few attributes are labels of a stream, because each combination of values is a stream of its own. All else of a line is found by `| json`.
 *
 * Source: Loki's configuration reference, and "Ingest logs using OpenTelemetry" of its documentation.
 */

import type { Project } from "../project.ts";
import { generatedYaml } from "../rules/prometheus.ts";
import { PORTS, RETENTION } from "./stack.ts";

/** Resource attributes that become labels; Loki writes `_` for each dot. */
export const STREAM_ATTRIBUTES = [
  "service.name",
  "service.instance.id",
  "k8s.namespace.name",
  "k8s.container.name",
] as const;

/** Megabytes a second; a process of ours writes at most 1,000 lines a second and thread. */
const INGESTION_RATE_MB = 8;

/**
 * The file.
 *
 * @param project - whose stack it belongs to.
 */
export function lokiConfiguration(project: Project): string {
  return generatedYaml(project, {
    auth_enabled: false,
    server: { http_listen_port: PORTS.loki, log_level: "warn" },
    common: {
      path_prefix: "/loki",
      replication_factor: 1,
      ring: { instance_addr: "127.0.0.1", kvstore: { store: "inmemory" } },
      storage: { filesystem: { chunks_directory: "/loki/chunks", rules_directory: "/loki/rules" } },
    },
    schema_config: {
      configs: [
        {
          from: "2024-04-01",
          store: "tsdb",
          object_store: "filesystem",
          schema: "v13",
          index: { prefix: "index_", period: "24h" },
        },
      ],
    },
    limits_config: {
      retention_period: `${RETENTION.logHours}h`,
      allow_structured_metadata: true,
      ingestion_rate_mb: INGESTION_RATE_MB,
      ingestion_burst_size_mb: 2 * INGESTION_RATE_MB,
      otlp_config: {
        resource_attributes: {
          ignore_defaults: true,
          attributes_config: [{ action: "index_label", attributes: STREAM_ATTRIBUTES }],
        },
      },
    },
    compactor: {
      working_directory: "/loki/compactor",
      retention_enabled: true,
      delete_request_store: "filesystem",
    },
    analytics: { reporting_enabled: false },
  });
}
