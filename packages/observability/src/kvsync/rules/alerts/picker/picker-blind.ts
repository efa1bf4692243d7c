/** Alert: The endpoint picker does not use the index. */

import { panelOf } from "../../../../dashboards/panel.ts";
import { alert } from "../../../../rules/alert.ts";
import { PICKER } from "../../../dashboards/picker.ts";
import { PICKER_METRICS } from "../../../catalogue/picker.ts";
import { INGEST_METRICS } from "../../../catalogue/ingest.ts";
import { NO_PROMPT_REASONS } from "../../../catalogue/picker.ts";
import { above, given, ratio, sum } from "../../../../promql/operators.ts";
import { rate, value } from "../../../../promql/series.ts";
import { ask } from "../../commands.ts";
import { INSTANCE } from "../../label-sets.ts";
import { REQUEST_FLOOR_PER_SECOND, THRESHOLDS } from "../../thresholds.ts";
import { ENGINE, growing, steady, TARGET } from "../../trial.ts";

const withPrompt = { reason: { not: NO_PROMPT_REASONS } } as const;
const all = sum(rate(PICKER_METRICS.requests, "5m", withPrompt), INSTANCE);
const byLoad = sum(rate(PICKER_METRICS.requests, "5m", { ...withPrompt, decision: "load" }), INSTANCE);
const exact = sum(value(INGEST_METRICS.streamTrust, { trust: "exact" }), INSTANCE);

/** Its condition, texts, runbook and trial. */
export const PICKER_BLIND = alert({
  name: "PickerBlind",
  when: given(
    above(ratio(byLoad, all, REQUEST_FLOOR_PER_SECOND), THRESHOLDS.blindRatio),
    above(exact, 0),
    INSTANCE,
  ),
  for: "5m",
  severity: "warning",
  component: "picker",
  summary: "The endpoint picker does not use the index.",
  description: ({ label, value: share }) =>
    `${label("instance")} decides ${share} of its requests by load alone, though ranks are exact.`,
  panel: panelOf(PICKER, "blind"),
  runbook: {
    meaning:
      "Streams of engines are exact, and yet most requests with a prompt are not looked up. Requests without a prompt, such as embeddings, do not count.",
    impact: "Requests are spread by load. Prefill is computed again and time to first token rises.",
    diagnosis: [
      {
        text: "For which reason are requests not decided by the index?",
        query: sum(rate(PICKER_METRICS.requests, "5m", { reason: { not: ["none"] } }), ["instance", "reason"])
          .text,
      },
      {
        text: "Which models and names do the engines have?",
        command: `${ask("/api/v1/engines")} | jq '.engines[] | {model, aliases, adapters}'`,
      },
    ],
    mitigation: [
      {
        cause: "no_tokens: no tokenizer is set, or it fails.",
        fix: "Set AIBRIX_REMOTE_TOKENIZER_ENDPOINT, or follow the runbook TokenizerUnavailable.",
      },
      {
        cause: "late: tokens come after the pick.",
        fix: "Follow the runbook PickerDecisionsLate.",
      },
      {
        cause: "model_unknown: requests name a model that no engine has.",
        fix: "Add the name to aliases or adapters of the engines' entries.",
      },
      {
        cause: "not_sent: the gateway does not send request bodies.",
        fix: "Set request_body_mode to FULL_DUPLEX_STREAMED, as the shipped infra/envoy/envoy.yaml does.",
      },
      {
        cause: "body_large or buffer_full: bodies are larger than the limits.",
        fix: "Raise picker.limits.body_bytes or picker.limits.buffered_bytes.",
      },
      {
        cause: "index_unknown: the engines of this model are not known yet; others are exact.",
        fix: "Follow the runbook StreamUntrusted.",
      },
      {
        cause: "encoding: clients compress bodies.",
        fix: "Have the gateway decompress them in front of the picker.",
      },
    ],
    prevention: "Try the gateway's configuration with one chat and one completion before it takes traffic.",
    escalation: "kvsync's maintainers when the reason does not explain it.",
  },
  trial: {
    series: (level) => [
      growing(PICKER_METRICS.requests, { decision: "load", reason: "no_tokens" }, level * 100),
      growing(PICKER_METRICS.requests, { decision: "index", reason: "none" }, (1 - level) * 100),
      growing(PICKER_METRICS.requests, { decision: "load", reason: "path" }, 1000),
      steady(INGEST_METRICS.streamTrust, { ...ENGINE, trust: "exact" }, 1),
    ],
    fires: 0.51,
    calm: 0.49,
    labels: { ...TARGET },
  },
});
