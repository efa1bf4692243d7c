/**
 * The programs that make an application visible: which ones, in which version, at which port, and how long they keep what
 * they are given. Configurations, Compose files, pages and checks take these facts from here.
 *
 *     application ─┬─ /metrics ──▶ Prometheus ─▶ Alertmanager ─▶ mail, Slack
 *                  ├─ stdout ────▶ collector ──▶ Loki ────┐
 *                  └─ OTLP ──────▶ collector ──▶ Jaeger ──┴─▶ Grafana, which asks all of them
 *
 * The versions are those that the files were written for. Programs of other vendors are used unchanged, as their images.
 */

/** Images, each with the tag that is used everywhere. */
export const IMAGES = {
  prometheus: "docker.io/prom/prometheus:v3.16.0",
  alertmanager: "docker.io/prom/alertmanager:v0.35.0",
  grafana: "docker.io/grafana/grafana:13.2.3",
  loki: "docker.io/grafana/loki:3.7.8",
  jaeger: "docker.io/jaegertracing/jaeger:2.23.0",
  collector: "docker.io/otel/opentelemetry-collector-contrib:0.165.1",
  mailpit: "docker.io/axllent/mailpit:v1.30",
  envoy: "docker.io/envoyproxy/envoy:distroless-v1.40.0",
} as const;

/** Exporters of a cluster that rules read, where no operator has brought them. */
export const CLUSTER_IMAGES = {
  stateMetrics: "registry.k8s.io/kube-state-metrics/kube-state-metrics:v2.17.0",
  nodeExporter: "docker.io/prom/node-exporter:v1.12.1",
} as const;

/** Ports that each program listens at. */
export const PORTS = {
  prometheus: 9090,
  alertmanager: 9093,
  grafana: 3000,
  loki: 3100,
  jaeger: 16_686,
  otlpGrpc: 4317,
  otlpHttp: 4318,
  /** Health of the collector, and of Jaeger. */
  health: 13_133,
  /** The collector's own metrics. */
  collectorMetrics: 8888,
  mail: 1025,
  mailPage: 8025,
  stateMetrics: 8080,
  nodeExporter: 9100,
} as const;

/** How much is kept. */
export const RETENTION = {
  metricsDays: 30,
  /** Prometheus drops its oldest blocks above this, before the days are over. */
  metricsGigabytes: 25,
  logHours: 744,
  /** Traces in Jaeger's memory: at 20 a second these are eight minutes. */
  traces: 10_000,
} as const;

/** Share of ordinary traces that the collector hands on. */
export const ORDINARY_TRACES_PERCENT = 10;

/** What of an application the stack must know. */
export interface StackFacts {
  /** Compose's name of its service; its log is the stream that the project's `logSelector` selects. */
  readonly service: string;
  /** Kubernetes' name of its container, whose log is the same stream. */
  readonly container: string;
  /** Its port for metrics. */
  readonly port: number;
  /** Spans of rare work, all of whose traces are kept. */
  readonly keptSpans: readonly string[];
  /** A trace that takes longer is kept. */
  readonly slowMs: number;
  /** From a span to metrics of its time, in Grafana. */
  readonly spanMetrics: {
    /** Labels by the attribute of a span that has their value. */
    readonly labels: Readonly<Record<string, string>>;
    /** Names of series with the labels; their matchers are filled in. */
    readonly series: Readonly<Record<string, string>>;
  };
}
