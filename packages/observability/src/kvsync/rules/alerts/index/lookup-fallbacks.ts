/** Alert: Many lookups are answered without cache information. */

import { ROUTING_METRICS } from "../../../catalogue/routing.ts";
import { INGEST_METRICS } from "../../../catalogue/ingest.ts";
import { OVERVIEW } from "../../../dashboards/overview.ts";
import { panelOf } from "../../../../dashboards/panel.ts";
import { above, ratio, sum } from "../../../../promql/operators.ts";
import { rate, value } from "../../../../promql/series.ts";
import { alert } from "../../../../rules/alert.ts";
import { ask } from "../../commands.ts";
import { BY_MODEL } from "../../label-sets.ts";
import { REQUEST_FLOOR_PER_SECOND, THRESHOLDS } from "../../thresholds.ts";
import { growing, MODEL, MODEL_LABELS } from "../../trial.ts";

const all = sum(rate(ROUTING_METRICS.lookups, "5m"), BY_MODEL);
const fallbacks = sum(rate(ROUTING_METRICS.lookups, "5m", { decision: "fallback" }), BY_MODEL);

/** Its condition, texts, runbook and trial. */
export const LOOKUP_FALLBACKS = alert({
  name: "LookupFallbacks",
  when: above(ratio(fallbacks, all, REQUEST_FLOOR_PER_SECOND), THRESHOLDS.fallbackRatio),
  for: "5m",
  severity: "warning",
  component: "routing",
  summary: "Many lookups are answered without cache information.",
  description: ({ label, value: share }) =>
    `${label("instance")} answers ${share} of the lookups for ${label("model")} with a fallback.`,
  panel: panelOf(OVERVIEW, "fallbackShare"),
  runbook: {
    meaning:
      "The answer to these lookups is `fallback`. The daemon follows no engine of the model, trusts none of them, or gets no tokens for the prompt.",
    impact:
      "The gateway routes these requests without cache information. Prefill is computed again and time to first token rises.",
    diagnosis: [
      {
        text: "Which reason is counted?",
        query: sum(rate(ROUTING_METRICS.fallbacks, "5m"), ["instance", "model", "reason"]).text,
      },
      {
        text: "How far are the model's streams trusted?",
        query: sum(value(INGEST_METRICS.streamTrust), ["instance", "model", "trust"]).text,
      },
      { text: "Which reason does each stream have?", command: `${ask("/api/v1/engines")} | jq .engines` },
    ],
    mitigation: [
      {
        cause: "ranks_unknown: the engines are not connected, or the daemon started seconds ago.",
        fix: "Follow the runbooks of StreamUntrusted and KVSyncConnectionFailure. After a start the streams become known within seconds.",
      },
      {
        cause: "no_ranks: the lookups ask for workers of which none is registered.",
        fix: "Compare the gateway's list of workers with /api/v1/engines.",
      },
      {
        cause:
          "tokenizer_unavailable, tokenizer_timeout, circuit_open and the other reasons of the tokenizer.",
        fix: "Follow the runbook of TokenizerUnavailable, or have the gateway send token ids.",
      },
      {
        cause: "tokenizer_not_configured: the gateway sends prompts and no tokenizer is set.",
        fix: "Set AIBRIX_REMOTE_TOKENIZER_ENDPOINT, or have the gateway send token ids.",
      },
    ],
    prevention:
      "Deploy engines with KV events and a replay socket, and have gateways send token ids, which need no tokenizer.",
    escalation: "kvsync's maintainers when the streams are exact and the tokenizer answers.",
  },
  trial: {
    series: (level) => [
      growing(ROUTING_METRICS.lookups, { model: MODEL, decision: "fallback" }, level * 100),
      growing(ROUTING_METRICS.lookups, { model: MODEL, decision: "exact" }, (1 - level) * 100),
    ],
    fires: 0.11,
    calm: 0.09,
    labels: MODEL_LABELS,
  },
});
