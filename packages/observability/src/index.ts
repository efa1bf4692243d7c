/** The public surface of observability: named, so that it is a page one reviews. */
export { CATALOGUE } from "./kvsync/catalogue/catalogue.ts";
export { DISCOVERY_FAILURES, DISCOVERY_METRICS, DISCOVERY_STATES } from "./kvsync/catalogue/discovery.ts";
export { INGEST_METRICS } from "./kvsync/catalogue/ingest.ts";
export { BACKPRESSURE_LEVELS, DROP_REASONS, EVENT_TYPES, LANES } from "./kvsync/catalogue/label-domains.ts";
export { LIMIT_METRICS } from "./kvsync/catalogue/limits.ts";
export { PREFIX_INDEX_METRICS } from "./kvsync/catalogue/prefix-index.ts";
export { FALLBACK_REASONS, LOOKUP_DECISIONS, ROUTING_METRICS } from "./kvsync/catalogue/routing.ts";
export { SECURITY_METRICS } from "./kvsync/catalogue/security.ts";
export { SERVICE_METRICS } from "./kvsync/catalogue/service.ts";
export { SNAPSHOT_METRICS } from "./kvsync/catalogue/snapshot.ts";
export { STREAM_METRICS } from "./kvsync/catalogue/stream.ts";
export { SPAN_OUTCOMES, type SpanOutcome, TELEMETRY_METRICS } from "./kvsync/catalogue/telemetry.ts";
export { TOKENIZER_METRICS, TOKENIZER_OUTCOMES } from "./kvsync/catalogue/tokenizer.ts";
export {
  type CounterDefinition,
  definersOf,
  doubling,
  type GaugeDefinition,
  type HistogramDefinition,
  type LabelDomain,
  type LabelDomains,
  type LabelValues,
  type MetricDefinition,
  OTHER,
  type Unit,
} from "./definition.ts";
export { counter, gauge, histogram, NAMESPACE } from "./kvsync/namespace.ts";
export { Exposition } from "./exposition.ts";
export { HARMLESS_DROP_REASONS } from "./kvsync/rules/drop-reasons.ts";
export { Counter, Gauge, Histogram, MetricSlots, type SlotAnnouncement } from "./slots.ts";
