/** Whether lines of a log are as the catalogue declares them: event, fields, types, level, component. */
import { type EventCode, eventOf, LOG_EVENTS } from "@kvsync/observability/kvsync/log-events";
import {
  levelsOf,
  LINE_LEVELS,
  lineFaults,
  severityOf,
  THREAD,
} from "@kvsync/observability/signals/log-event";

import type { LogLine } from "../log-line.ts";

/** Names of threads, which are the components of events that every thread writes. */
const THREADS = /^(sync|test|ingest-\d+)$/;

/**
 * What is wrong with a line of the log's output.
 *
 * @param entry - parsed.
 * @returns a phrase for each fault; empty when the line is as declared.
 */
export function declarationFaults(entry: Readonly<Record<string, unknown>>): string[] {
  const code = String(entry["event"]);
  if (!isDeclared(code)) return [`the event ${code} is not declared`];
  const event = eventOf(code);
  const isComponent =
    event.component === THREAD
      ? THREADS.test(String(entry["component"]))
      : entry["component"] === event.component;
  const isLevel = levelsOf(event).some(
    ([level]) =>
      severityOf(level) === entry["level"] &&
      (severityOf(level) === "debug" ? LINE_LEVELS[level] : undefined) === entry["verbosity"],
  );
  const isMessage = typeof event.message !== "string" || event.message === entry["message"];
  return [
    ...lineFaults(event, entry),
    ...(isComponent ? [] : [`the component is ${String(entry["component"])}, expected ${event.component}`]),
    ...(isLevel ? [] : [`the level ${String(entry["level"])} is not one of the event`]),
    ...(isMessage ? [] : [`the message is ${JSON.stringify(entry["message"])}`]),
  ].map((fault) => `${code}: ${fault}`);
}

/**
 * What is wrong with a line before it is written.
 *
 * @param line - of a gate.
 */
export function lineDeclarationFaults({ level, event, component, message, facts, trace }: LogLine): string[] {
  const severity = severityOf(level);
  return declarationFaults({
    level: severity,
    time: "",
    component,
    event,
    ...(severity === "debug" ? { verbosity: LINE_LEVELS[level] } : {}),
    ...facts,
    ...trace,
    message,
  });
}

function isDeclared(code: string): code is EventCode {
  return Object.hasOwn(LOG_EVENTS, code);
}
