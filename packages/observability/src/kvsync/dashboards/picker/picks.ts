/** Row of the dashboard "KV endpoint picker": Picks. */

import { NO_PROMPT_REASONS, PICKER_METRICS } from "../../catalogue/picker.ts";
import { min, ratio, sum, summed } from "../../../promql/operators.ts";
import { bucketRate, rate, value } from "../../../promql/series.ts";
import { THRESHOLDS } from "../../rules/thresholds.ts";
import { quantileQueries, query, row, stateTimeline, timeseries } from "../../../dashboards/panel.ts";
import { HERE, INSTANCE, RATE } from "../scope.ts";

const withPrompt = { ...HERE, reason: { not: NO_PROMPT_REASONS } } as const;

/** The row with its panels. */
export const PICKS = row({
  id: 100,
  title: "Picks",
  panels: {
    ready: stateTimeline({
      id: 1,
      title: "Ready",
      shows: "Whether the picker is ready for requests of gateways, by replica.",
      normal: "Ready, except for moments after a start and while a replica stops.",
      width: 24,
      height: 4,
      queries: [query(min(value(PICKER_METRICS.ready, HERE), INSTANCE), (label) => label("instance"))],
      states: [
        { value: 0, text: "not ready", color: "red" },
        { value: 1, text: "ready", color: "green" },
      ],
    }),
    decisions: timeseries({
      id: 2,
      title: "Picks by decision",
      counts: "requests",
      shows:
        "Requests decided per second: by the index, by the picker's own recent decisions, by load, or with an error.",
      normal: "Almost all by the index. Requests without a prompt, such as embeddings, are decided by load.",
      width: 8,
      height: 8,
      stacked: true,
      queries: [
        query(sum(rate(PICKER_METRICS.requests, RATE, HERE), ["decision"]), (label) => label("decision")),
      ],
    }),
    reasons: timeseries({
      id: 3,
      title: "Why not by the index",
      counts: "requests",
      shows: "Requests per second that were not decided by the index, by reason.",
      normal: "0, except for path and no_body, which have no prompt.",
      width: 8,
      height: 8,
      stacked: true,
      queries: [
        query(
          sum(rate(PICKER_METRICS.requests, RATE, { ...HERE, reason: { not: ["none"] } }), ["reason"]),
          (label) => label("reason"),
        ),
      ],
    }),
    blind: timeseries({
      id: 4,
      title: "Share decided by load",
      shows: "Share of the requests with a prompt that load alone decided, by replica.",
      normal: "0 %. More for seconds after a start, while no rank is known.",
      width: 8,
      height: 8,
      queries: [
        query(
          ratio(
            sum(rate(PICKER_METRICS.requests, RATE, { ...withPrompt, decision: "load" }), INSTANCE),
            sum(rate(PICKER_METRICS.requests, RATE, withPrompt), INSTANCE),
          ),
          (label) => label("instance"),
        ),
      ],
      levels: { warning: THRESHOLDS.blindRatio, bad: "above" },
    }),
    decisionTime: timeseries({
      id: 5,
      title: "Decision time",
      shows: "From the last byte of a request's body to its decision, tokenization included.",
      normal: "Below 1 ms with token ids or remembered tokens, else what the tokenizer takes.",
      width: 8,
      height: 8,
      logarithmic: true,
      queries: quantileQueries(
        summed(bucketRate(PICKER_METRICS.decisionDuration, RATE, HERE), []),
        [0.5, 0.99],
      ),
    }),
    late: timeseries({
      id: 6,
      title: "Late tokens",
      shows: "Share of requests that were decided without their tokens, since these were late, by replica.",
      normal: "0 %.",
      width: 8,
      height: 8,
      queries: [
        query(
          ratio(
            sum(rate(PICKER_METRICS.requests, RATE, { ...HERE, reason: "late" }), INSTANCE),
            sum(rate(PICKER_METRICS.requests, RATE, HERE), INSTANCE),
          ),
          (label) => label("instance"),
        ),
      ],
      levels: { warning: THRESHOLDS.lateDecisionRatio, bad: "above" },
    }),
    bodies: timeseries({
      id: 7,
      title: "Request bodies",
      shows: "Bytes of request bodies.",
      normal: "Far below picker.limits.body_bytes.",
      width: 8,
      height: 8,
      logarithmic: true,
      queries: quantileQueries(summed(bucketRate(PICKER_METRICS.requestBody, RATE, HERE), []), [0.5, 0.99]),
    }),
  },
});
