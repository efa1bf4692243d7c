/**
 * The process's log: JSON lines on standard output, written at once, so that the last line before an exit is there.
 *
 *     {"level":"info","time":"…","component":"ingest-0","event":"engine_connected","pod":"…","model":"…","message":"…"}
 *
 * `level` is what log stores know (fatal, error, warn, info, debug); lines beyond `info` have the
 * contract's number in `verbosity`. A line that belongs to a trace has `trace_id` and `span_id`.
 * line-gate.ts decides which lines are written, and observability's catalogue which there are.
 */

import { LINE_LEVELS, severityOf } from "@kvsync/observability/signals/log-event";
import { pino, stdTimeFunctions } from "pino";

import type { LogLine } from "./log-line.ts";

/**
 * Opens the log.
 *
 * @returns writes a line, whatever its level.
 */
export function openLog(): (line: LogLine) => void {
  const log = pino(
    {
      level: "trace",
      base: null,
      messageKey: "message",
      timestamp: stdTimeFunctions.isoTime,
      formatters: { level: (label) => ({ level: label }) },
    },
    pino.destination({ fd: 1, sync: true }),
  );
  return ({ level, component, event, facts, trace, message }) => {
    const severity = severityOf(level);
    const detail = severity === "debug" ? { verbosity: LINE_LEVELS[level] } : {};
    log[severity]({ component, event, ...detail, ...facts, ...trace }, message);
  };
}
