/** Row of the dashboard "KV sync service and system": Tokenizer. */

import { TOKENIZER_FAULTS, TOKENIZER_METRICS } from "../../catalogue/tokenizer.ts";
import { max, ratio, sum, summed } from "../../../promql/operators.ts";
import { bucketRate, rate, value } from "../../../promql/series.ts";
import { THRESHOLDS } from "../../rules/thresholds.ts";
import { quantileQueries, query, row, stateTimeline, timeseries } from "../../../dashboards/panel.ts";
import { HERE, INSTANCE, RATE } from "../scope.ts";

/** The row with its panels. */
export const TOKENIZER = row({
  id: 104,
  title: "Tokenizer",
  folded: true,
  panels: {
    tokenizerOutcomes: timeseries({
      id: 22,
      title: "Tokenizer requests",
      counts: "requests",
      shows: "Lookups by prompt or messages that needed a tokenizer, per second, by how that ended.",
      normal:
        "All ok; refused when clients send what the model's template cannot render. Nothing at all when gateways send tokens.",
      width: 8,
      height: 8,
      queries: [
        query(sum(rate(TOKENIZER_METRICS.requests, RATE, HERE), ["outcome"]), (label) => label("outcome")),
      ],
    }),
    tokenizerFailures: timeseries({
      id: 23,
      title: "Tokenizer failure ratio",
      shows: "Share of these that the tokenizer did not answer in time or at all, by replica.",
      normal: "0 %.",
      width: 8,
      height: 8,
      queries: [
        query(
          ratio(
            sum(rate(TOKENIZER_METRICS.requests, RATE, { ...HERE, outcome: TOKENIZER_FAULTS }), INSTANCE),
            sum(rate(TOKENIZER_METRICS.requests, RATE, HERE), INSTANCE),
          ),
          (label) => label("instance"),
        ),
      ],
      levels: { warning: THRESHOLDS.tokenizerFailureRatio, bad: "above" },
    }),
    tokenizerLatency: timeseries({
      id: 24,
      title: "Tokenizer latency",
      shows: "Time of one question to a remote tokenizer, a second attempt included.",
      normal: "Below 10 ms; more for prompts of very many tokens.",
      width: 8,
      height: 8,
      queries: quantileQueries(
        summed(bucketRate(TOKENIZER_METRICS.requestDuration, RATE, HERE), []),
        [0.5, 0.99],
      ),
    }),
    tokenizerCache: timeseries({
      id: 25,
      title: "Tokenizer cache lookups",
      counts: "requests",
      shows:
        "Lookups by prompt or messages per second, by whether all their tokens were remembered, are being asked for already, or neither.",
      normal: "Mostly misses for distinct prompts; hits when gateways ask several times for one request.",
      width: 12,
      height: 8,
      queries: [
        query(sum(rate(TOKENIZER_METRICS.cacheLookups, RATE, HERE), ["result"]), (label) => label("result")),
      ],
    }),
    tokenizerCacheBytes: timeseries({
      id: 27,
      title: "Tokenizer cache memory",
      shows: "Memory of remembered tokens, by replica.",
      normal: "Rises to tokenizer.cache_bytes and stays there.",
      width: 6,
      height: 8,
      queries: [
        query(sum(value(TOKENIZER_METRICS.cacheBytes, HERE), INSTANCE), (label) => label("instance")),
      ],
    }),
    tokenizerCircuit: stateTimeline({
      id: 26,
      title: "Tokenizer circuit",
      shows: "Whether a tokenizer is asked at all, by replica and tokenizer.",
      normal:
        "Closed. Open after several failures in a row, then tried now and then while lookups by prompt arrive.",
      width: 6,
      height: 8,
      queries: [
        query(
          max(value(TOKENIZER_METRICS.circuitState, HERE), [...INSTANCE, "tokenizer"]),
          (label) => `${label("instance")} ${label("tokenizer")}`,
        ),
      ],
      states: [
        { value: 0, text: "closed", color: "green" },
        { value: 1, text: "half open", color: "yellow" },
        { value: 2, text: "open", color: "red" },
      ],
    }),
    tokenizerSegments: timeseries({
      id: 28,
      title: "Segments of prompts",
      shows:
        "Segments of prompts that are encoded in the daemon, per second, by whether their tokens were remembered.",
      normal: "Mostly hits while conversations grow. Nothing when no model has tokenizer_file.",
      width: 8,
      height: 8,
      queries: [
        query(sum(rate(TOKENIZER_METRICS.segmentLookups, RATE, HERE), ["result"]), (label) =>
          label("result"),
        ),
      ],
    }),
    tokenizerSegmentBytes: timeseries({
      id: 29,
      title: "Segment memory",
      shows: "Memory of remembered segments, by replica.",
      normal: "Rises to tokenizer.segment_cache_bytes and stays there.",
      width: 8,
      height: 8,
      queries: [
        query(sum(value(TOKENIZER_METRICS.segmentBytes, HERE), INSTANCE), (label) => label("instance")),
      ],
    }),
    tokenizerParity: timeseries({
      id: 30,
      title: "Chat templates against the engine",
      counts: "requests",
      shows:
        "Conversations that were rendered in the daemon and compared with the remote tokenizer, per second, by tokenizer and outcome.",
      normal: "All agree. Nothing when no model has template: local.",
      width: 8,
      height: 8,
      queries: [
        query(
          sum(rate(TOKENIZER_METRICS.parity, RATE, HERE), ["tokenizer", "outcome"]),
          (label) => `${label("tokenizer")} ${label("outcome")}`,
        ),
      ],
    }),
  },
});
