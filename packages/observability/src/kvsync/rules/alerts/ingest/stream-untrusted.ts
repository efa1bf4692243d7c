/** Alert: An engine's part of the index cannot be trusted. */

import { INGEST_METRICS } from "../../../catalogue/ingest.ts";
import { ENGINES } from "../../../dashboards/engines.ts";
import { panelOf } from "../../../../dashboards/panel.ts";
import { above, sum } from "../../../../promql/operators.ts";
import { value } from "../../../../promql/series.ts";
import { alert } from "../../../../rules/alert.ts";
import { ask, logLines } from "../../commands.ts";
import { ENGINE, MODEL_LABELS, steady } from "../../trial.ts";

const untrusted = { trust: ["partial", "stale", "unknown"] } as const;

/** Its condition, texts, runbook and trial. */
export const STREAM_UNTRUSTED = alert({
  name: "StreamUntrusted",
  when: above(
    sum(value(INGEST_METRICS.streamTrust, untrusted), [
      "cluster",
      "namespace",
      "job",
      "instance",
      "model",
      "pod",
    ]),
    0,
  ),
  for: "2m",
  severity: "warning",
  component: "ingest",
  summary: "An engine's part of the index cannot be trusted.",
  description: ({ label, counted }) =>
    `${label("instance")} does not trust ${counted("stream", "streams")} of ${label("pod")} (${label("model")}) as exact for two minutes or longer.`,
  panel: panelOf(ENGINES, "trust"),
  runbook: {
    meaning:
      "A stream is partial (history was shorter than the gap), stale (a gap is open, or the connection is down) or unknown (no message yet). Two minutes is far beyond a normal start or repair.",
    impact: "Lookups that involve this engine answer degraded or fallback.",
    diagnosis: [
      {
        text: "Which streams are not exact, and which trust do they have?",
        query: sum(value(INGEST_METRICS.streamTrust, untrusted), ["pod", "trust"]).text,
      },
      {
        text: "For which reason? docs/generated/trust.md has the meaning and the end of each.",
        query: sum(value(INGEST_METRICS.streamTrustReason), ["model", "trust", "reason"]).text,
      },
      {
        text: "The stream's own account: state, gaps, replays, drops by reason.",
        command: ask("/api/v1/engines"),
      },
      { text: "When did it change, and why?", ...logLines(20, { events: ["trust_changed"] }) },
    ],
    mitigation: [
      {
        cause: "partial, history_incomplete: the engine keeps too little history (buffer_steps).",
        fix: "It ends when the engine's cache is cleared or the engine restarts. Blocks below a system prompt that was announced before the history begins stay unknown until then. Clear the idle engine's cache (vLLM POST /reset_prefix_cache in its server's dev mode, SGLang POST /flush_cache), or restart it. Raise buffer_steps so that it does not happen again.",
      },
      {
        cause: "stale, and no replay endpoint is configured.",
        fix: "Enable the engine's replay socket (default port 5558) and list it.",
      },
      {
        cause:
          "unknown_store_field, unknown_batch_field or unknown_removal_field: the engine is newer than kvsync.",
        fix: "Update kvsync. The log's unknown_field names the field.",
      },
      { cause: "unknown: never connected.", fix: "See KVSyncConnectionFailure." },
    ],
    prevention:
      "Give every engine a replay endpoint, and a history (buffer_steps) longer than a restart of the daemon takes.",
    escalation: "kvsync's maintainers when a stream stays stale with a working replay endpoint.",
  },
  trial: {
    series: (level) => [steady(INGEST_METRICS.streamTrust, { ...ENGINE, trust: "stale" }, level)],
    fires: 1,
    calm: 0,
    labels: { ...MODEL_LABELS, pod: ENGINE.pod },
  },
});
