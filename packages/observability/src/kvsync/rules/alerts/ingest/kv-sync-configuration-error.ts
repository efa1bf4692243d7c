/** Alert: KV event sync was asked for and cannot run. */

import { INGEST_METRICS } from "../../../catalogue/ingest.ts";
import { OVERVIEW } from "../../../dashboards/overview.ts";
import { panelOf } from "../../../../dashboards/panel.ts";
import { equals, min } from "../../../../promql/operators.ts";
import { value } from "../../../../promql/series.ts";
import { alert } from "../../../../rules/alert.ts";
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
    `${label("instance")} runs without KV event sync, because a setting that sync needs is missing or contradicts another. Sync needs AIBRIX_USE_REMOTE_TOKENIZER=true, and the type and endpoint of the tokenizer. Lookups answer "no cache information".`,
  panel: panelOf(OVERVIEW, "configuration"),
  runbook: {
    meaning:
      "sync.enabled is unset and sync.aibrix_enabled (AIBRIX_KV_EVENT_SYNC_ENABLED) is true, so AIBrix's rule applies. One of the three tokenizer settings that the rule requires is missing or has another value. The daemon runs but follows no engine, and every lookup answers fallback.",
    impact:
      "Routing falls back to load alone: no request is lost, but the prefill of shared prompts is paid again and again.",
    diagnosis: [
      { text: "See since when.", query: min(value(INGEST_METRICS.configurationValid), INSTANCE).text },
      {
        text: "The start of the log names the setting, its value and what is expected.",
        ...logLines(5, { events: ["sync_off"] }),
      },
    ],
    mitigation: [
      {
        cause: "sync.tokenizer_endpoint is not set.",
        fix: "Set AIBRIX_REMOTE_TOKENIZER_ENDPOINT and restart.",
      },
      {
        cause: "sync.tokenizer_type is not `remote`, or sync.remote_tokenizer is not true.",
        fix: "Set AIBRIX_PREFIX_CACHE_TOKENIZER_TYPE=remote and AIBRIX_USE_REMOTE_TOKENIZER=true, and restart.",
      },
      {
        cause: "Engines should be followed without a remote tokenizer.",
        fix: "Set sync.enabled to true (KVSYNC_SYNC_ENABLED=true) and restart. It decides alone, and AIBrix's rule no longer applies.",
      },
      {
        cause: "Sync is not wanted here.",
        fix: "Set sync.enabled to false (KVSYNC_SYNC_ENABLED=false) and restart; the alert ends.",
      },
    ],
    prevention:
      "Run `kvsync-daemon --check-config` with the environment of the deployment before it is rolled out.",
    escalation:
      "The person who rolled out the configuration last. Roll it back when the cause is not found in ten minutes.",
  },
  trial: {
    series: (level) => [steady(INGEST_METRICS.configurationValid, {}, level)],
    fires: 0,
    calm: 1,
    labels: { ...TARGET },
  },
});
