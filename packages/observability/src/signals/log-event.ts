/**
 * The definition of a log event, as typed data: its code, level, component, message, fields, meaning
 * and what to do. Emitting code, the reference page, runbooks' commands and dashboards' queries are
 * projections of it.
 *
 *     logEvents("discovery", { engine_refused: {…} }) ─┬─▶ LineGate.write("engine_refused", facts)   another code, a missing,
 *                                                      │                                             unknown or wrong field: no compile
 *                                                      ├─▶ docs/generated/log-events.md
 *                                                      ├─▶ a step of a runbook (rules/commands.ts)
 *                                                      └─▶ LogQL of a panel (logql.ts)
 *
 * Invariants
 *  E1  Every line has a named limit on its rate. One that a peer can cause has a limit of its own
 *      event, so that no peer displaces the lines about others.
 *  E2  No field has the name of a common field.
 */

import {
  type FactValue,
  type Facts,
  type Fields,
  faultsOf,
  integer,
  oneOf,
  orAbsent,
  text,
} from "./field.ts";

/** What a line's level is called, and the verbosity from which on it is written. */
export const LINE_LEVELS = {
  fatal: 0,
  error: 0,
  warn: 0,
  info: 1,
  summary: 2,
  event: 3,
  detail: 4,
  debug: 5,
} as const;

/** How important, or how detailed, a line is. */
export type LineLevel = keyof typeof LINE_LEVELS;

/** What stands for the thread that writes, where threads write the same event. */
export const THREAD = "(thread)";

/**
 * Limits on lines, in lines per second and at once (E1). A fatal line has none: it is the last one.
 *
 * - `thread`: all lines of a thread up to `info`.
 * - `details`: all lines of a thread of the levels 2 to 5. They never displace those of `thread`.
 * - `peer`: lines up to `info` of one event in one thread, in addition to `thread`, for events that
 *   an engine, a caller, a cluster or a collector can cause. When a fleet restarts, a person needs the
 *   first lines of each event and the number of the others.
 */
export const LINE_BOUNDS = {
  thread: { perSecond: 1000, burst: 1000 },
  details: { perSecond: 1000, burst: 1000 },
  peer: { perSecond: 2, burst: 20 },
} as const satisfies Readonly<Record<LineBound, { readonly perSecond: number; readonly burst: number }>>;

/** Names of the limits. */
export const LINE_BOUND_NAMES = ["thread", "details", "peer"] as const;

/** Name of a limit. */
export type LineBound = (typeof LINE_BOUND_NAMES)[number];

/** A log event. */
export interface LogEvent {
  readonly component: string;
  /** One level, or several with the case of each. */
  readonly level: LineLevel | Readonly<Partial<Record<LineLevel, string>>>;
  /** The text of every line; or what a text says that is written for each line. */
  readonly message: string | { readonly says: string };
  readonly fields: Fields;
  /** Who can cause it: a peer, which gives it the limit `peer`, or only the daemon and its operators. */
  readonly cause: "daemon" | "peer";
  /** What has happened; sentences. */
  readonly meaning: string;
  /** What an operator does then; sentences. Null: nothing. */
  readonly response: string | null;
}

/** Log events by code. */
export type LogEvents = Readonly<Record<string, LogEvent>>;

/** What a call adds to the facts: the level where there are several, the text where it varies. */
type Added<One extends LogEvent> = (One["level"] extends LineLevel
  ? unknown
  : { readonly level: keyof One["level"] }) &
  (One["message"] extends string ? unknown : { readonly text: string });

/** The arguments of a call behind its facts. */
export type MoreOf<One extends LogEvent> = unknown extends Added<One> ? [] : [more: Added<One>];

/** The facts that a call has to pass. */
export type EventFacts<One extends LogEvent> = Facts<One["fields"]>;

/**
 * Defines the events of a component.
 *
 * @param component - the part that writes them; THREAD where it is the name of the thread.
 * @param events - by code, without component.
 * @returns the events, with codes, levels and fields as literal types.
 * @throws RangeError for a field with the name of a common one (E2).
 */
export function logEvents<
  const Component extends string,
  const Written extends Readonly<Record<string, Omit<LogEvent, "component">>>,
>(
  component: Component,
  events: Written,
): { readonly [Code in keyof Written]: Written[Code] & { readonly component: Component } } {
  for (const [code, { fields }] of Object.entries(events))
    for (const name of Object.keys(fields))
      if (name in COMMON_FIELDS)
        throw new RangeError(`log event ${code}: the field ${name} is one that every line has`);
  const made = Object.entries(events).map(([code, event]) => [code, { component, ...event }]);
  return Object.fromEntries(made) as ReturnType<typeof logEvents<Component, Written>>;
}

/** The severities that log stores know; levels beyond `info` are `debug` there. */
const SEVERITIES = ["fatal", "error", "warn", "info", "debug"] as const;

/** Fields that lines have whatever their event. */
export const COMMON_FIELDS = {
  level: oneOf(SEVERITIES, "severity; `debug` for the levels 2 to 5"),
  time: text("ISO 8601, with milliseconds, in UTC"),
  component: text("part of the daemon, or the ingest worker"),
  event: text("code of the event"),
  verbosity: orAbsent(integer("the level, 2 to 5"), "the severity is not `debug`"),
  trace_id: orAbsent(text("trace that the line belongs to"), "the line belongs to no trace"),
  span_id: orAbsent(text("span that the line belongs to"), "the line belongs to no trace"),
  message: text("a sentence for people"),
} as const satisfies Fields;

/**
 * The severity of a level, as the line has it.
 *
 * @param level - of an event.
 */
export function severityOf(level: LineLevel): (typeof SEVERITIES)[number] {
  switch (level) {
    case "fatal":
    case "error":
    case "warn":
    case "info":
      return level;
    case "summary":
    case "event":
    case "detail":
    case "debug":
      return "debug";
  }
}

/**
 * The levels of an event.
 *
 * @param event - any.
 * @returns each, with the case in which it is used; null where there is one level.
 */
export function levelsOf({ level }: LogEvent): readonly (readonly [LineLevel, string | null])[] {
  return typeof level === "string"
    ? [[level, null]]
    : Object.entries(level).map(([name, when]) => [name as LineLevel, when]);
}

/**
 * What is wrong with the fields of a line, at run time: for tests that watch a running process.
 *
 * @param event - as declared.
 * @param entry - the line, parsed.
 * @returns a phrase for each missing field, unknown field, and value of another type.
 */
export function lineFaults({ fields }: LogEvent, entry: Readonly<Record<string, unknown>>): string[] {
  return faultsOf({ ...COMMON_FIELDS, ...fields }, entry);
}

/** Facts of any event. */
export type AnyFacts = Readonly<Record<string, FactValue>>;
