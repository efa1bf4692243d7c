/** Alert: Engines have other parts of prompts cached than the picker predicts. */

import { panelOf } from "../../../../dashboards/panel.ts";
import { alert } from "../../../../rules/alert.ts";
import { PICKER } from "../../../dashboards/picker.ts";
import { PICKER_METRICS } from "../../../catalogue/picker.ts";
import { INGEST_METRICS } from "../../../catalogue/ingest.ts";
import { above, minus, ratio, sum } from "../../../../promql/operators.ts";
import { rate, value } from "../../../../promql/series.ts";
import { ask } from "../../commands.ts";
import { BY_MODEL } from "../../label-sets.ts";
import { CHECK_FLOOR_PER_SECOND, THRESHOLDS } from "../../thresholds.ts";
import { growing, MODEL, MODEL_LABELS } from "../../trial.ts";

const { predictions, predictedTokens, deliveredTokens, reportedTokens } = PICKER_METRICS;
const all = sum(rate(predictions, "10m"), BY_MODEL);
const differing = sum(rate(predictions, "10m", { outcome: "differ" }), BY_MODEL);
const delivered = sum(rate(deliveredTokens, "10m"), ["instance", "model"]);

/** Its condition, texts, runbook and trial. */
export const PICKER_PREDICTIONS_DIFFER = alert({
  name: "PickerPredictionsDiffer",
  when: above(ratio(differing, all, CHECK_FLOOR_PER_SECOND), THRESHOLDS.predictionDifferenceRatio),
  for: "10m",
  severity: "warning",
  component: "picker",
  summary: "Engines have other parts of prompts cached than the picker predicts.",
  description: ({ label, value: share }) =>
    `For ${label("model")}, ${share} of the predictions of ${label("instance")} differ from what engines report.`,
  panel: panelOf(PICKER, "differing"),
  runbook: {
    meaning:
      "Engines report in usage how many tokens of a prompt they had cached. For many picks that is more than a tenth of the prompt, and two blocks, away from what the index promised.",
    impact:
      "Predicted and not there: prefill is computed again, and an idle engine may have been passed over. There and not predicted: requests go to engines without their prefix.",
    diagnosis: [
      {
        text: "Promised and not there, in tokens per second?",
        query: minus(sum(rate(predictedTokens, "10m"), ["instance", "model"]), delivered).text,
      },
      {
        text: "There and not promised?",
        query: minus(sum(rate(reportedTokens, "10m"), ["instance", "model"]), delivered).text,
      },
      {
        text: "Are prompts stored as they are looked up?",
        query: sum(rate(PICKER_METRICS.promptChecks, "10m"), ["model", "outcome"]).text,
      },
      {
        text: "Which streams are not exact, and why?",
        query: sum(value(INGEST_METRICS.streamTrust, { trust: ["partial", "stale", "unknown"] }), [
          "pod",
          "trust",
        ]).text,
      },
      {
        text: "What does the daemon know of the engines' rules?",
        command: `${ask("/api/v1/engines")} | jq .engines`,
      },
    ],
    mitigation: [
      {
        cause: "Prompt checks differ: tokenizer, template, salt or adapter.",
        fix: "Follow the runbook PickerPromptsDiffer.",
      },
      {
        cause: "Streams are stale: the index promises blocks that engines have dropped.",
        fix: "Follow the runbook StreamUntrusted.",
      },
      {
        cause: "Streams are partial: engines have blocks that the index does not know.",
        fix: "Follow the runbook StreamUntrusted, and KVEventDropRate for the reasons.",
      },
      {
        cause:
          "All is exact and less is there than promised: the engine drops blocks by a rule of its own, such as speculative decoding.",
        fix: "Set drops_last_block in the engine's entry. See docs/engines.",
      },
      {
        cause:
          "All is exact and many requests with the same beginning come at once: the first of them is still being computed.",
        fix: "Nothing is wrong. Raise the threshold where the workload is always so.",
      },
    ],
    prevention:
      "Start engines with what the daemon expects of their kind, and watch the prompt checks after each upgrade.",
    escalation:
      "kvsync's maintainers when streams are exact, prompt checks agree and the workload has no bursts.",
  },
  trial: {
    series: (level) => [
      growing(predictions, { model: MODEL, outcome: "differ" }, level),
      growing(predictions, { model: MODEL, outcome: "agree" }, 1 - level),
    ],
    fires: 0.26,
    calm: 0.24,
    labels: MODEL_LABELS,
    settle: "11m",
  },
});
