/**
 * Every family that a query may read: our own and other exporters'.
 */

import type { MetricDefinition } from "../../definition.ts";
import type { ExternalDefinition } from "../../external.ts";
import { CATALOGUE } from "./catalogue.ts";
import { INGEST_METRICS } from "./ingest.ts";
import { EXTERNAL_CATALOGUE } from "./platform.ts";
import { PREFIX_INDEX_METRICS } from "./prefix-index.ts";
import { SECURITY_METRICS } from "./security.ts";
import { STREAM_METRICS } from "./stream.ts";

/** What this system and its neighbours export. */
export const ALL_FAMILIES: readonly (MetricDefinition | ExternalDefinition)[] = [
  ...CATALOGUE,
  ...EXTERNAL_CATALOGUE,
];

/** Families about lookups: each lookup is counted by the one replica that answers it. */
const OF_LOOKUPS: ReadonlySet<string> = new Set([
  STREAM_METRICS.streamLookupLatency.name,
  PREFIX_INDEX_METRICS.indexerOperationDuration.name,
  PREFIX_INDEX_METRICS.indexerMatchPercentage.name,
]);

/** Families about engines and the index: every replica follows every engine, so each replica reports the same of them. */
export const SEEN_BY_EVERY_REPLICA: ReadonlySet<string> = new Set(
  [
    ...Object.values<MetricDefinition>(INGEST_METRICS),
    ...Object.values<MetricDefinition>(STREAM_METRICS),
    ...Object.values<MetricDefinition>(PREFIX_INDEX_METRICS),
    SECURITY_METRICS.engineHandshakes,
  ]
    .map(({ name }) => name)
    .filter((name) => !OF_LOOKUPS.has(name)),
);
