/** Alert: KV event sync was asked for and cannot run. */

import { INGEST_METRICS } from "../../../catalogue/ingest.ts";
import { OVERVIEW } from "../../../dashboards/overview.ts";
import { panelOf } from "../../../dashboards/panel.ts";
import { equals, min } from "../../../promql/operators.ts";
import { value } from "../../../promql/series.ts";
import { alert } from "../../alert.ts";
import { logLines } from "../../commands.ts";
import { INSTANCE } from "../../label-sets.ts";
import { steady, TARGET } from "../../trial.ts";

/** Its condition, texts, runbook and trial. */
export const KV_SYNC_CONFIGURATION_ERROR = alert({
  name: "KVSyncConfigurationError",
  when: equals(min(value(INGEST_METRICS.configurationValid), INSTANCE), 0),
  for: "1m",
  severity: "critical",
  component: "configuration",
  summary: "KV event sync was asked for and cannot run.",
  description: ({ label }) =>
    `${label("instance")} runs without KV event sync, because a setting that sync needs is missing or contradicts another. Lookups answer "no cache information".`,
  panel: panelOf(OVERVIEW, "configuration"),
  runbook: {
    meaning:
      "AIBRIX_KV_EVENT_SYNC_ENABLED is on, but a setting that it depends on (remote tokenizer, its type or endpoint) is absent or unusable. The daemon keeps running and tells callers that it knows nothing.",
    impact:
      "Routing falls back to load alone: no request is lost, but the prefill of shared prompts is paid again and again.",
    diagnosis: [
      { text: "See since when.", query: min(value(INGEST_METRICS.configurationValid), INSTANCE).text },
      {
        text: "The start of the log names the setting, its value and what is expected.",
        command: logLines("sync_off", 5),
      },
    ],
    mitigation: [
      {
        cause: "The tokenizer's endpoint is not set.",
        fix: "Set AIBRIX_REMOTE_TOKENIZER_ENDPOINT and restart.",
      },
      {
        cause: "The tokenizer's type is not `remote`.",
        fix: "Set AIBRIX_PREFIX_CACHE_TOKENIZER_TYPE=remote and AIBRIX_USE_REMOTE_TOKENIZER=true, and restart.",
      },
      { cause: "Sync is not wanted here.", fix: "Set AIBRIX_KV_EVENT_SYNC_ENABLED=false; the alert ends." },
    ],
    escalation:
      "Whoever rolled out the configuration last; roll it back when the cause is not found in ten minutes.",
  },
  trial: {
    series: (level) => [steady(INGEST_METRICS.configurationValid, {}, level)],
    fires: 0,
    calm: 1,
    labels: { ...TARGET },
  },
});
