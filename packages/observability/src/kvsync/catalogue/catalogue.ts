/**
 * Every family there is. A family that is not here cannot be scraped, and one that is here is emitted: tests compare both
 * ways with a running daemon.
 */

import type { MetricDefinition } from "../../definition.ts";
import { DISCOVERY_METRICS } from "./discovery.ts";
import { INGEST_METRICS } from "./ingest.ts";
import { LIMIT_METRICS } from "./limits.ts";
import { PICKER_METRICS } from "./picker.ts";
import { PREFIX_INDEX_METRICS } from "./prefix-index.ts";
import { ROUTING_METRICS } from "./routing.ts";
import { SECURITY_METRICS } from "./security.ts";
import { SERVICE_METRICS } from "./service.ts";
import { SNAPSHOT_METRICS } from "./snapshot.ts";
import { STREAM_METRICS } from "./stream.ts";
import { TELEMETRY_METRICS } from "./telemetry.ts";
import { TOKENIZER_METRICS } from "./tokenizer.ts";

/** All families, in the order of exposition. */
export const CATALOGUE: readonly MetricDefinition[] = [
  DISCOVERY_METRICS,
  INGEST_METRICS,
  PREFIX_INDEX_METRICS,
  STREAM_METRICS,
  ROUTING_METRICS,
  PICKER_METRICS,
  TOKENIZER_METRICS,
  SERVICE_METRICS,
  SECURITY_METRICS,
  SNAPSHOT_METRICS,
  LIMIT_METRICS,
  TELEMETRY_METRICS,
].flatMap((part) => Object.values<MetricDefinition>(part));
