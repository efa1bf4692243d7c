/** Row of the dashboard "KV endpoint picker": Predictions. */

import { PICKER_METRICS } from "../../catalogue/picker.ts";
import { ratio, sum } from "../../../promql/operators.ts";
import { rate } from "../../../promql/series.ts";
import { THRESHOLDS } from "../../rules/thresholds.ts";
import { query, row, timeseries } from "../../../dashboards/panel.ts";
import { HERE, RATE } from "../scope.ts";

const { predictions, promptChecks, predictedTokens, deliveredTokens, reportedTokens } = PICKER_METRICS;

/** The row with its panels. */
export const PREDICTIONS = row({
  id: 101,
  title: "Predictions",
  panels: {
    tokens: timeseries({
      id: 8,
      title: "Predicted against delivered tokens",
      shows:
        "Cached tokens per second that picks by the index expected, those of them that engines had, and all that engines reported. Only answers that report their cached tokens count.",
      normal: "The three lines are close together.",
      width: 8,
      height: 8,
      queries: [
        query(sum(rate(predictedTokens, RATE, HERE), []), "predicted"),
        query(sum(rate(deliveredTokens, RATE, HERE), []), "delivered"),
        query(sum(rate(reportedTokens, RATE, HERE), []), "reported by engines"),
      ],
    }),
    promptTokens: timeseries({
      id: 9,
      title: "Prompt tokens",
      shows: "Tokens per second of the prompts that were picked for.",
      normal: "Follows the traffic.",
      width: 8,
      height: 8,
      queries: [query(sum(rate(PICKER_METRICS.promptTokens, RATE, HERE), []), "prompts")],
    }),
    deliveredShare: timeseries({
      id: 10,
      title: "Delivered share of the predicted tokens",
      shows: "Share of the expected cached tokens that engines had, by model.",
      normal: "Nearly 100 %.",
      width: 8,
      height: 8,
      queries: [
        query(
          ratio(
            sum(rate(deliveredTokens, RATE, HERE), ["model"]),
            sum(rate(predictedTokens, RATE, HERE), ["model"]),
          ),
          (label) => label("model"),
        ),
      ],
    }),
    differing: timeseries({
      id: 11,
      title: "Predictions that differ",
      shows: "Share of predictions that are off by more than a tenth of the prompt and two blocks, by model.",
      normal: "Below 10 %, of prompts with a beginning that another request was still computing.",
      width: 12,
      height: 8,
      queries: [
        query(
          ratio(
            sum(rate(predictions, RATE, { ...HERE, outcome: "differ" }), ["model"]),
            sum(rate(predictions, RATE, HERE), ["model"]),
          ),
          (label) => label("model"),
        ),
      ],
      levels: { warning: THRESHOLDS.predictionDifferenceRatio, bad: "above" },
    }),
    promptsDiffer: timeseries({
      id: 12,
      title: "Prompts that engines store otherwise",
      shows:
        "Share of checked prompts that the engine that served them does not store, by model. Checks of engines that are not exact are left out.",
      normal: "0 %.",
      width: 6,
      height: 8,
      queries: [
        query(
          ratio(
            sum(rate(promptChecks, RATE, { ...HERE, outcome: "differ" }), ["model"]),
            sum(rate(promptChecks, RATE, { ...HERE, outcome: ["agree", "differ"] }), ["model"]),
          ),
          (label) => label("model"),
        ),
      ],
      levels: { warning: THRESHOLDS.promptDifferenceRatio, bad: "above" },
    }),
    checks: timeseries({
      id: 13,
      title: "Prompt checks",
      shows: "Prompts that were looked up again at the engine that served them, per second, by outcome.",
      normal: "All agree. One pick in picker.check_sample is checked.",
      width: 6,
      height: 8,
      queries: [query(sum(rate(promptChecks, RATE, HERE), ["outcome"]), (label) => label("outcome"))],
    }),
  },
});
