/**
 * Names of the values of families that are states, from 0 on, as panels show them. They are written here a second time: a panel with two
 * names exchanged is valid JSON, and wrong (proof/check-panels.ts).
 */

import { BACKPRESSURE_LEVELS } from "./catalogue/label-domains.ts";
import { DISCOVERY_METRICS } from "./catalogue/discovery.ts";
import { INGEST_METRICS } from "./catalogue/ingest.ts";
import { PICKER_METRICS } from "./catalogue/picker.ts";
import { PREFIX_INDEX_METRICS } from "./catalogue/prefix-index.ts";
import { SECURITY_METRICS } from "./catalogue/security.ts";
import { STREAM_METRICS } from "./catalogue/stream.ts";
import { TOKENIZER_METRICS } from "./catalogue/tokenizer.ts";
import { PROMETHEUS_METRICS } from "../exporters.ts";

/** By family. */
export const STATE_NAMES: Readonly<Record<string, readonly string[]>> = {
  [PROMETHEUS_METRICS.up.name]: ["down", "up"],
  [INGEST_METRICS.configurationValid.name]: ["invalid", "valid"],
  [PREFIX_INDEX_METRICS.syncStatus.name]: ["inactive", "active"],
  [STREAM_METRICS.streamBackpressureState.name]: BACKPRESSURE_LEVELS,
  [TOKENIZER_METRICS.circuitState.name]: ["closed", "half open", "open"],
  [SECURITY_METRICS.fileUsable.name]: ["refused", "in use"],
  [DISCOVERY_METRICS.state.name]: ["up to date", "stale"],
  [PICKER_METRICS.ready.name]: ["not ready", "ready"],
  // Streams of an engine that are not exact.
  [INGEST_METRICS.streamTrust.name]: ["exact", "1 stream not exact", "2 streams not exact"],
};
