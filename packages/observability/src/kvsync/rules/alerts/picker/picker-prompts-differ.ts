/** Alert: Engines store other prompts than the picker looks up. */

import { panelOf } from "../../../../dashboards/panel.ts";
import { alert } from "../../../../rules/alert.ts";
import { PICKER } from "../../../dashboards/picker.ts";
import { PICKER_METRICS } from "../../../catalogue/picker.ts";
import { INGEST_METRICS } from "../../../catalogue/ingest.ts";
import { above, ratio, sum } from "../../../../promql/operators.ts";
import { rate, value } from "../../../../promql/series.ts";
import { ask } from "../../commands.ts";
import { BY_MODEL } from "../../label-sets.ts";
import { CHECK_FLOOR_PER_SECOND, THRESHOLDS } from "../../thresholds.ts";
import { growing, MODEL, MODEL_LABELS } from "../../trial.ts";

const { promptChecks } = PICKER_METRICS;
const checked = sum(rate(promptChecks, "10m", { outcome: ["agree", "differ"] }), BY_MODEL);
const differing = sum(rate(promptChecks, "10m", { outcome: "differ" }), BY_MODEL);

/** Its condition, texts, runbook and trial. */
export const PICKER_PROMPTS_DIFFER = alert({
  name: "PickerPromptsDiffer",
  when: above(ratio(differing, checked, CHECK_FLOOR_PER_SECOND), THRESHOLDS.promptDifferenceRatio),
  for: "5m",
  severity: "warning",
  component: "picker",
  summary: "Engines store other prompts than the picker looks up.",
  description: ({ label, value: share }) =>
    `Engines of ${label("model")} do not store ${share} of the prompts that ${label("instance")} checked there.`,
  panel: panelOf(PICKER, "promptsDiffer"),
  runbook: {
    meaning:
      "The picker looks a few prompts up again, two seconds after the engine answered. The engine's stream is exact, and it holds less than half of them. It has other tokens for the prompt, or stores it under another key.",
    impact:
      "Lookups of this model find nothing, or too little. Requests are routed by the picker's own recent decisions and by load.",
    diagnosis: [
      {
        text: "Which models do the checked prompts name?",
        query: sum(rate(promptChecks, "10m", { outcome: ["agree", "differ"] }), ["model", "outcome"]).text,
      },
      {
        text: "Does the engine have the picker's tokens for a chat? ENGINE is an engine's address, TOKENIZER the host of the setting AIBRIX_REMOTE_TOKENIZER_ENDPOINT. Both print the same.",
        command:
          'for HOST in ENGINE TOKENIZER; do curl -s -m 5 http://$HOST/tokenize -H \'content-type: application/json\' -d \'{"model":"MODEL","messages":[{"role":"user","content":"hello"}]}\' | sha256sum; done',
      },
      {
        text: "Is it one engine? Compare the blocks that each holds: an engine with few of them caches nothing, or publishes little.",
        command: `${ask("/api/v1/engines")} | jq '.engines[] | {id, model, adapters, ranks}'`,
      },
      {
        text: "Are the engines' caches cleared, or very small?",
        query: sum(rate(INGEST_METRICS.eventsProcessed, "10m", { event_type: "AllBlocksCleared" }), ["pod"])
          .text,
      },
      {
        text: "How far are the streams trusted?",
        query: sum(value(INGEST_METRICS.streamTrust), ["pod", "trust"]).text,
      },
    ],
    mitigation: [
      {
        cause: "The two outputs differ: another tokenizer, or another version of the model.",
        fix: "Point AIBRIX_REMOTE_TOKENIZER_ENDPOINT at an engine of this model, or at a tokenizer with the same files.",
      },
      {
        cause: "They differ for chats and agree for a plain prompt: another chat template.",
        fix: "Give the tokenizer the engine's --chat-template, and its default chat_template_kwargs.",
      },
      {
        cause:
          "Something between picker and engine changes the request: a system prompt, tools, a rewritten model.",
        fix: "Move the change in front of the picker.",
      },
      {
        cause: "Requests name an adapter that the engine keeps under another name, or as the base model.",
        fix: "Name the adapter in adapters of the engine's entry, as in the engine's own configuration (docs/operations/discovery.md).",
      },
      {
        cause: "The gateway adds a cache_salt after the picker, or a proxy removes it.",
        fix: "Add and remove it in front of the picker.",
      },
      {
        cause: "Caches are cleared or full: blocks are gone within two seconds.",
        fix: "Give engines more KV cache. See the runbook PrefixCacheLowHitRate.",
      },
    ],
    prevention:
      "Deploy engine and tokenizer with the same model files, and compare them with kvsync doctor before the gateway uses the picker.",
    escalation: "kvsync's maintainers when both hosts print the same and one engine alone serves the model.",
  },
  trial: {
    series: (level) => [
      growing(promptChecks, { model: MODEL, outcome: "differ" }, level),
      growing(promptChecks, { model: MODEL, outcome: "agree" }, 1 - level),
    ],
    fires: 0.21,
    calm: 0.19,
    labels: MODEL_LABELS,
    settle: "11m",
  },
});
