/**
 * Configurations of the OpenTelemetry collector, which reads logs of containers and passes spans on.
 *
 *     /var/lib/docker/containers │ /var/log/pods ─▶ frame of the runtime ─▶ JSON line of a program ─▶ Loki, by OTLP
 *     OTLP spans ─▶ tail sampling: errors, slow ones and rare work whole, a share of the rest ─▶ Jaeger
 *
 *  L1  The body of a record is the line as the program wrote it (stack-files.test.ts).
 *  L2  A line that is no JSON arrives too, with the time at which the runtime read it (stack-files.test.ts).
 *
 * The collector stands where Promtail stood, which had its end of life in March 2026.
 *
 * Source: documentation of opentelemetry-collector-contrib: file log receiver, its operators, tail sampling.
 */

import type { Project } from "../project.ts";
import { generatedYaml } from "../rules/prometheus.ts";
import { ORDINARY_TRACES_PERCENT, PORTS, type StackFacts } from "./stack.ts";

/** Where the containers run. */
export type Runtime = "compose" | "kubernetes";

/** Until a trace is complete enough to be judged: the daemon sends spans every few seconds. */
const DECISION_WAIT = "10s";
/** Traces that wait for that; above it the oldest are judged early. */
const TRACES_WAITING = 20_000;

/** Its own metrics, for Prometheus. Without a reader they are on loopback only; the names are those of a collector without one. */
const OWN_METRICS = {
  host: "0.0.0.0",
  port: PORTS.collectorMetrics,
  without_scope_info: true,
  without_type_suffix: true,
  without_units: true,
} as const;

/** Compose's labels of a container, which `logging.options.labels` puts into each frame of its log. */
export const COMPOSE_LABELS = {
  project: "com.docker.compose.project",
  service: "com.docker.compose.service",
} as const;

/** Docker's frames: `{"log":"…\n","stream":"stdout","attrs":{…},"time":"…"}`, where a long line is several. */
function composeOperators({ name }: Project, { service }: StackFacts): readonly object[] {
  const label = (key: string): string => `attributes.frame.attrs["${key}"]`;
  return [
    { type: "json_parser", parse_from: "body", parse_to: "attributes.frame" },
    {
      type: "filter",
      expr: `attributes.frame.attrs == nil || ${label(COMPOSE_LABELS.project)} != "${name}"`,
    },
    { type: "move", from: "attributes.frame.log", to: "body" },
    {
      type: "time_parser",
      parse_from: "attributes.frame.time",
      layout_type: "gotime",
      layout: "2006-01-02T15:04:05.999999999Z07:00",
    },
    {
      type: "add",
      field: 'resource["service.name"]',
      value: `EXPR(${label(COMPOSE_LABELS.service)} == "${service}" ? "${name}" : ${label(COMPOSE_LABELS.service)})`,
    },
    {
      type: "recombine",
      combine_field: "body",
      combine_with: "",
      is_last_entry: 'body endsWith "\\n"',
      source_identifier: 'attributes["log.file.path"]',
    },
    { type: "regex_replace", field: "body", regex: "\\n$", replace_with: "" },
    { type: "remove", field: "attributes.frame" },
  ];
}

/** The frames of containerd and CRI-O; namespace, pod and container come from the path of the file. */
function kubernetesOperators({ name }: Project, { container }: StackFacts): readonly object[] {
  return [
    { type: "container" },
    {
      type: "add",
      field: 'resource["service.name"]',
      value: `EXPR(resource["k8s.container.name"] == "${container}" ? "${name}" : resource["k8s.container.name"])`,
    },
    { type: "copy", from: 'resource["k8s.pod.name"]', to: 'resource["service.instance.id"]' },
  ];
}

/** Time, severity and trace of a line in JSON; the body stays as it is (L1). */
const LINE_OPERATORS: readonly object[] = [
  {
    type: "json_parser",
    if: 'body startsWith "{"',
    parse_from: "body",
    parse_to: "attributes.line",
    on_error: "send_quiet",
  },
  {
    type: "time_parser",
    if: "attributes.line?.time != nil",
    parse_from: "attributes.line.time",
    layout_type: "gotime",
    layout: "2006-01-02T15:04:05.999Z07:00",
    on_error: "send_quiet",
  },
  {
    type: "severity_parser",
    if: "attributes.line?.level != nil",
    parse_from: "attributes.line.level",
    on_error: "send_quiet",
  },
  {
    type: "trace_parser",
    if: "attributes.line?.trace_id != nil",
    trace_id: { parse_from: "attributes.line.trace_id" },
    span_id: { parse_from: "attributes.line.span_id" },
    on_error: "send_quiet",
  },
  { type: "remove", if: "attributes.line != nil", field: "attributes.line" },
  { type: "remove", field: 'attributes["log.file.path"]' },
];

function samplingPolicies({ keptSpans, slowMs }: StackFacts): readonly object[] {
  return [
    { name: "errors", type: "status_code", status_code: { status_codes: ["ERROR"] } },
    { name: "slow", type: "latency", latency: { threshold_ms: slowMs } },
    {
      name: "rare",
      type: "ottl_condition",
      ottl_condition: { span: keptSpans.map((span) => `name == "${span}"`), error_mode: "ignore" },
    },
    {
      name: "share",
      type: "probabilistic",
      probabilistic: { sampling_percentage: ORDINARY_TRACES_PERCENT },
    },
  ];
}

/**
 * The file.
 *
 * @param project - whose stack it belongs to.
 * @param facts - of the application.
 * @param runtime - whose containers write the logs.
 */
export function collectorConfiguration(project: Project, facts: StackFacts, runtime: Runtime): string {
  const isCompose = runtime === "compose";
  const at = (port: number): { readonly endpoint: string } => ({ endpoint: `0.0.0.0:${port}` });
  const jaeger = isCompose ? "jaeger" : "jaeger-collector.tracing";
  return generatedYaml(project, {
    extensions: {
      health_check: at(PORTS.health),
      // Where each file was read to, so that a restart neither repeats nor skips lines.
      file_storage: { directory: "/var/lib/otelcol", create_directory: true },
    },
    receivers: {
      file_log: {
        include: [
          isCompose ? "/var/lib/docker/containers/*/*-json.log" : `/var/log/pods/*_${project.name}*/*/*.log`,
        ],
        include_file_name: false,
        include_file_path: true,
        start_at: "beginning",
        storage: "file_storage",
        operators: [
          ...(isCompose ? composeOperators(project, facts) : kubernetesOperators(project, facts)),
          ...LINE_OPERATORS,
        ],
      },
      otlp: { protocols: { grpc: at(PORTS.otlpGrpc), http: at(PORTS.otlpHttp) } },
    },
    processors: {
      memory_limiter: { check_interval: "1s", limit_mib: 400, spike_limit_mib: 100 },
      tail_sampling: {
        decision_wait: DECISION_WAIT,
        num_traces: TRACES_WAITING,
        policies: samplingPolicies(facts),
      },
      batch: {},
    },
    exporters: {
      "otlp_http/loki": { endpoint: `http://loki:${PORTS.loki}/otlp` },
      "otlp_http/jaeger": { endpoint: `http://${jaeger}:${PORTS.otlpHttp}` },
    },
    service: {
      telemetry: { metrics: { readers: [{ pull: { exporter: { prometheus: OWN_METRICS } } }] } },
      extensions: ["health_check", "file_storage"],
      pipelines: {
        logs: {
          receivers: ["file_log"],
          processors: ["memory_limiter", "batch"],
          exporters: ["otlp_http/loki"],
        },
        traces: {
          receivers: ["otlp"],
          processors: ["memory_limiter", "tail_sampling", "batch"],
          exporters: ["otlp_http/jaeger"],
        },
      },
    },
  });
}
