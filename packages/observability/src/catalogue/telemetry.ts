/**
 * Families about what the daemon tells beside metrics: lines of the log, and spans.
 */

import { counter } from "../definition.ts";

/** What becomes of a span that was to be exported. */
export const SPAN_OUTCOMES = ["exported", "export_failed", "queue_full", "thread_budget"] as const;

/** One of SPAN_OUTCOMES. */
export type SpanOutcome = (typeof SPAN_OUTCOMES)[number];

/** Families about the log and traces. */
export const TELEMETRY_METRICS = {
  logLinesDropped: counter({
    name: "kv_log_lines_dropped_total",
    help: "Lines that the log's level would have let through and its budget did not, by the thread that had them to say.",
    unit: "none",
    labels: { thread: { maxValues: 17 } },
    preset: "absent until known",
    why: "At a detailed level some lines are missing; who reads the log has to know.",
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
