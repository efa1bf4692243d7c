/**
 * Families about the daemon's log lines and trace spans.
 */

import { counter } from "../namespace.ts";
import { LINE_BOUND_NAMES } from "../../signals/log-event.ts";

/** What becomes of a span that was to be exported. */
export const SPAN_OUTCOMES = ["exported", "export_failed", "queue_full", "thread_budget"] as const;

/** One of SPAN_OUTCOMES. */
export type SpanOutcome = (typeof SPAN_OUTCOMES)[number];

/** Families about the log and traces. */
export const TELEMETRY_METRICS = {
  logLinesDropped: counter({
    name: "kv_log_lines_dropped_total",
    help: "Log lines left out because a rate limit was reached, by thread and limit.",
    unit: "none",
    labels: { thread: { maxValues: 18 }, bound: LINE_BOUND_NAMES },
    preset: "absent until known",
    why: "Readers of the log need to know how much of it is missing. The limit `peer` shows that an engine or caller floods it.",
  }),
  spans: counter({
    name: "kv_trace_spans_total",
    help: "Sampled spans by what became of them: taken by the collector, or lost to it, to a full queue, to a thread's budget.",
    unit: "none",
    labels: { outcome: SPAN_OUTCOMES },
    preset: "zero is a fact",
    why: "Traces that are missing look like requests that were not made.",
  }),
};
