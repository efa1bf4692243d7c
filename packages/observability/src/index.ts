/** The public surface of observability: named, so that it is a page one reviews. */
export { CATALOGUE } from "./catalogue/catalogue.ts";
export { DISCOVERY_FAILURES, DISCOVERY_METRICS, DISCOVERY_STATES } from "./catalogue/discovery.ts";
export { INGEST_METRICS } from "./catalogue/ingest.ts";
export { BACKPRESSURE_LEVELS, DROP_REASONS, EVENT_TYPES, LANES } from "./catalogue/label-domains.ts";
export { LIMIT_METRICS } from "./catalogue/limits.ts";
export { PREFIX_INDEX_METRICS } from "./catalogue/prefix-index.ts";
export { FALLBACK_REASONS, LOOKUP_DECISIONS, ROUTING_METRICS } from "./catalogue/routing.ts";
export { SECURITY_METRICS } from "./catalogue/security.ts";
export { SERVICE_METRICS } from "./catalogue/service.ts";
export { SNAPSHOT_METRICS } from "./catalogue/snapshot.ts";
export { STREAM_METRICS } from "./catalogue/stream.ts";
export { SPAN_OUTCOMES, type SpanOutcome, TELEMETRY_METRICS } from "./catalogue/telemetry.ts";
export { TOKENIZER_METRICS, TOKENIZER_OUTCOMES } from "./catalogue/tokenizer.ts";
export {
  counter,
  type CounterDefinition,
  doubling,
  gauge,
  type GaugeDefinition,
  histogram,
  type HistogramDefinition,
  type LabelDomain,
  type LabelDomains,
  type LabelValues,
  type MetricDefinition,
  NAMESPACE,
  OTHER,
  type Unit,
} from "./definition.ts";
export { Exposition } from "./exposition.ts";
export { HARMLESS_DROP_REASONS } from "./rules/drop-reasons.ts";
export { Counter, Gauge, Histogram, MetricSlots, type SlotAnnouncement } from "./slots.ts";
