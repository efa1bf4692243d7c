/** Alert: The endpoint picker decides without tokens that are late. */

import { panelOf } from "../../../../dashboards/panel.ts";
import { alert } from "../../../../rules/alert.ts";
import { PICKER } from "../../../dashboards/picker.ts";
import { PICKER_METRICS } from "../../../catalogue/picker.ts";
import { above, quantile, ratio, sum, summed } from "../../../../promql/operators.ts";
import { bucketRate, rate } from "../../../../promql/series.ts";
import { TOKENIZER_METRICS } from "../../../catalogue/tokenizer.ts";
import { logLines } from "../../commands.ts";
import { INSTANCE } from "../../label-sets.ts";
import { REQUEST_FLOOR_PER_SECOND, THRESHOLDS } from "../../thresholds.ts";
import { growing, TARGET } from "../../trial.ts";

const all = sum(rate(PICKER_METRICS.requests, "5m"), INSTANCE);
const late = sum(rate(PICKER_METRICS.requests, "5m", { reason: "late" }), INSTANCE);

/** Its condition, texts, runbook and trial. */
export const PICKER_DECISIONS_LATE = alert({
  name: "PickerDecisionsLate",
  when: above(ratio(late, all, REQUEST_FLOOR_PER_SECOND), THRESHOLDS.lateDecisionRatio),
  for: "5m",
  severity: "warning",
  component: "picker",
  summary: "The endpoint picker decides without tokens that are late.",
  description: ({ label, value: share }) =>
    `${label("instance")} decides ${share} of its requests without their tokens, which were late.`,
  panel: panelOf(PICKER, "late"),
  runbook: {
    meaning:
      "The tokens of these prompts were not there within picker.decision_timeout_ms after the last byte of the body.",
    impact:
      "These requests waited for nothing, and were picked for by the picker's own recent decisions or by load. Their prompts may be computed again.",
    diagnosis: [
      {
        text: "How long does the tokenizer take?",
        query: quantile(0.99, summed(bucketRate(TOKENIZER_METRICS.requestDuration, "5m"), ["instance"])).text,
      },
      {
        text: "How long do decisions take?",
        query: quantile(0.99, summed(bucketRate(PICKER_METRICS.decisionDuration, "5m"), ["instance"])).text,
      },
      {
        text: "When was the tokenizer left alone?",
        ...logLines(10, { events: ["tokenizer_circuit_opened", "tokenizer_circuit_closed"] }),
      },
    ],
    mitigation: [
      {
        cause: "The tokenizer is too slow for the load.",
        fix: "Follow the runbook TokenizerUnavailable: give it capacity of its own.",
      },
      {
        cause: "Prompts are very long, and the tokenizer answers them well but late.",
        fix: "Raise picker.decision_timeout_ms to the p99 of its answers, or have gateways send token ids.",
      },
      {
        cause: "The picker's thread itself is late: see the panel of its delay.",
        fix: "Give the process another core.",
      },
    ],
    prevention:
      "Measure the tokenizer with the longest prompts of the fleet before the gateway uses the picker.",
    escalation: "The owners of the tokenizer.",
  },
  trial: {
    series: (level) => [
      growing(PICKER_METRICS.requests, { decision: "load", reason: "late" }, level * 100),
      growing(PICKER_METRICS.requests, { decision: "index", reason: "none" }, (1 - level) * 100),
    ],
    fires: 0.011,
    calm: 0.009,
    labels: { ...TARGET },
  },
});
