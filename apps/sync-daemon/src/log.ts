/** The process's log: JSON lines on standard output, written at once, so that the last line before an exit is there. */

import { type Logger, pino, stdTimeFunctions } from "pino";

import type { LogLine } from "./ingest/thread-messages.ts";

/**
 * Makes the log.
 *
 * @param level - least severe level written.
 * @returns a pino logger.
 */
export function createLog(level: string): Logger {
  return pino(
    {
      level,
      base: null,
      messageKey: "message",
      timestamp: stdTimeFunctions.isoTime,
      formatters: { level: (label) => ({ level: label }) },
    },
    pino.destination({ fd: 1, sync: true }),
  );
}

/**
 * Takes lines of plain parts of the daemon, and of the ingest thread, into the log.
 *
 * @param log - made by `createLog`.
 * @param component - who speaks.
 * @returns what to hand the part.
 */
export function lineWriter(log: Logger, component: string): (line: LogLine) => void {
  const child = log.child({ component });
  return ({ level, event, message, facts }) => {
    child[level]({ event, ...facts }, message);
  };
}
