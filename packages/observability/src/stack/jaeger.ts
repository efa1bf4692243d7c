/**
 * Jaeger's configuration: version 2, which is a collector with a store and a page. The store is memory of a fixed number of traces.
 *
 * A search that asks for more traces than the store may hold gets the answer 500.
 *
 * Source: Jaeger's documentation of version 2, "Configuration" and "Memory".
 */

import type { Project } from "../project.ts";
import { generatedYaml } from "../rules/prometheus.ts";
import { PORTS, RETENTION } from "./stack.ts";

/**
 * The file.
 *
 * @param project - whose stack it belongs to.
 */
export function jaegerConfiguration(project: Project): string {
  const at = (port: number): { readonly endpoint: string } => ({ endpoint: `0.0.0.0:${port}` });
  const store = project.name;
  return generatedYaml(project, {
    service: {
      extensions: ["jaeger_storage", "jaeger_query", "healthcheckv2"],
      pipelines: {
        traces: { receivers: ["otlp"], processors: ["batch"], exporters: ["jaeger_storage_exporter"] },
      },
    },
    extensions: {
      healthcheckv2: { use_v2: true, http: at(PORTS.health) },
      // Traced by default, into its own receiver: each search would take the place of our traces in a store of a fixed number.
      jaeger_query: { enable_tracing: false, storage: { traces: store }, http: at(PORTS.jaeger) },
      jaeger_storage: { backends: { [store]: { memory: { max_traces: RETENTION.traces } } } },
    },
    receivers: { otlp: { protocols: { grpc: at(PORTS.otlpGrpc), http: at(PORTS.otlpHttp) } } },
    processors: { batch: {} },
    exporters: { jaeger_storage_exporter: { trace_storage: store } },
  });
}
