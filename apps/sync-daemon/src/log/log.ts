/**
 * The process's log: JSON lines on standard output, written at once, so that the last line before an exit is there.
 *
 *     {"level":"info","time":"…","component":"ingest-0","event":"engine_connected","pod":"…","model":"…","message":"…"}
 *
 * `level` is what log stores know (error, warn, info, debug); lines beyond `info` have the
 * contract's number in `verbosity`. A line that belongs to a trace has `trace_id` and `span_id`.
 * line-gate.ts decides which lines are written.
 */

import { type Logger, pino, stdTimeFunctions } from "pino";

import { LINE_LEVELS } from "./log-level.ts";
import type { LogLine } from "./log-line.ts";

/**
 * Makes the log.
 *
 * @returns a pino logger that writes all it is given.
 */
export function createLog(): Logger {
  return pino(
    {
      level: "trace",
      base: null,
      messageKey: "message",
      timestamp: stdTimeFunctions.isoTime,
      formatters: { level: (label) => ({ level: label }) },
    },
    pino.destination({ fd: 1, sync: true }),
  );
}

/**
 * Takes lines of plain parts of the daemon, and of the ingest threads, into the log.
 *
 * @param log - made by `createLog`.
 * @param component - who speaks in lines that do not say.
 * @returns what to hand the part.
 */
export function lineWriter(log: Logger, component: string): (line: LogLine) => void {
  return (line) => {
    const { level, event, message, facts } = line;
    const verbosity = LINE_LEVELS[level];
    const severity =
      verbosity > LINE_LEVELS.info ? "debug" : level === "error" || level === "warn" ? level : "info";
    const head = { component: line.component ?? component, event };
    log[severity](severity === "debug" ? { ...head, verbosity, ...facts } : { ...head, ...facts }, message);
  };
}
