/**
 * A line for the log, as threads hand it over. Structured-cloneable. Only this file makes one, from
 * an event that the catalogue declares, so that the log has no other lines.
 *
 *     write("engine_connected", { pod, model, dp_rank, endpoint })   another code, a missing, an unknown or a wrong
 *                                                                  field, a missing level or text: does not compile
 *
 * A fact is never a token, a prompt, or text that a caller sent.
 */

import { type EventCode, eventOf, type LOG_EVENTS } from "@kvsync/observability/kvsync/log-events";
import type { Exactly } from "@kvsync/observability/signals/field";
import {
  type AnyFacts,
  type EventFacts,
  type LineLevel,
  type MoreOf,
  THREAD,
} from "@kvsync/observability/signals/log-event";

/** The trace and span that a line belongs to. */
export interface TraceIds {
  readonly trace_id: string;
  readonly span_id: string;
}

declare const declared: unique symbol;

/** One line. */
export interface LogLine {
  readonly [declared]: true;
  readonly level: LineLevel;
  readonly event: EventCode;
  readonly component: string;
  readonly message: string;
  readonly facts: AnyFacts;
  /** Null outside of any trace. */
  readonly trace: TraceIds | null;
}

/** A declared event. */
type EventOf<Code extends EventCode> = (typeof LOG_EVENTS)[Code];

/** Writes a declared event: its facts, then the level where it has several, and the text where it varies. */
export type WriteEvent = <Code extends EventCode, Given extends EventFacts<EventOf<Code>>>(
  code: Code,
  facts: Exactly<EventFacts<EventOf<Code>>, Given>,
  ...more: MoreOf<EventOf<Code>>
) => void;

/** What a call adds to the facts, of any event. */
export interface Added {
  readonly level?: LineLevel;
  readonly text?: string;
}

/**
 * The level of a line.
 *
 * @param code - of its event.
 * @param added - by the call.
 */
export function levelOf(code: EventCode, added: Added | undefined): LineLevel {
  const { level } = eventOf(code);
  return typeof level === "string" ? level : (added?.level ?? "warn");
}

/**
 * Makes a line. WriteEvent is its typed face.
 *
 * @param thread - that writes it.
 * @param code - of its event.
 * @param facts - of the event.
 * @param added - level and text, where the event takes them.
 */
export function lineOf(thread: string, code: EventCode, facts: AnyFacts, added: Added | undefined): LogLine {
  const { component, message } = eventOf(code);
  return {
    level: levelOf(code, added),
    event: code,
    component: component === THREAD ? thread : component,
    message: typeof message === "string" ? message : (added?.text ?? message.says),
    facts,
    trace: null,
  } as LogLine;
}

/**
 * Writes events without a limit: before there is a LineGate, and when the process ends.
 *
 * @param thread - that writes.
 * @param write - takes each line.
 */
export function eventWriter(thread: string, write: (line: LogLine) => void): WriteEvent {
  return (code, facts, ...more: readonly unknown[]) => {
    write(lineOf(thread, code, facts, more[0] as Added | undefined));
  };
}
