/**
 * Families about what the daemon tells beside metrics: the log.
 */

import { counter } from "../definition.ts";

/** Families about the log. */
export const TELEMETRY_METRICS = {
  logLinesDropped: counter({
    name: "kv_log_lines_dropped_total",
    help: "Lines that the log's level would have let through and its budget did not, by the thread that had them to say.",
    unit: "none",
    labels: { thread: { maxValues: 17 } },
    why: "At a detailed level some lines are missing; who reads the log has to know.",
  }),
};
