/**
 * Queries for lines of declared events: a command for kubectl and jq, and LogQL for Loki. Codes,
 * fields and words of fields are compared with the declarations by the compiler.
 *
 *     logSearch(EVENTS, { events: ["engine_refused"], where: { reason: "conflict" } }) ─┬─▶ jq:    select(.event == …) | {time, …}
 *                                                                                      └─▶ LogQL: | json … | event="…" | reason="…"
 *
 * LogQL extracts only the fields that it compares. A field with the name of a label of the stream
 * gets the suffix `_extracted` in Loki, so no query here compares `pod`.
 */

import type { LineLevel, LogEvent, LogEvents } from "./log-event.ts";

/** The words of each text field that the events of a search share. */
type WordsOf<One extends LogEvent> = {
  readonly [Name in keyof One["fields"] as One["fields"][Name]["type"] extends readonly string[]
    ? Name
    : never]?: One["fields"][Name]["type"] extends readonly (infer Word)[] ? Word : never;
};

/** Which lines. */
export interface LogSearch<Events extends LogEvents, Code extends keyof Events & string> {
  readonly events: readonly [Code, ...Code[]];
  /** Fields with one of their words; all must hold. */
  readonly where?: [keyof WordsOf<Events[Code]>] extends [never] ? never : WordsOf<Events[Code]>;
}

/** A search, in both languages. */
export interface LogQueries {
  /** Filter of jq: one object per line, with the fields of its event. */
  readonly jq: string;
  /** Stages of LogQL behind the selector of the stream. */
  readonly logql: string;
}

/** Fields that a reader of a line sees first, and last. */
const FIRST = ["time"] as const;
const LAST = ["message"] as const;

/**
 * Makes the queries of a search.
 *
 * @param declared - all events.
 * @param search - which lines.
 */
export function logSearch<Events extends LogEvents, Code extends keyof Events & string>(
  declared: Events,
  { events, where }: LogSearch<Events, Code>,
): LogQueries {
  const conditions = Object.entries((where ?? {}) as Readonly<Record<string, string>>);
  const own = events.flatMap((code) => Object.keys(declared[code]?.fields ?? {}));
  const isText = (code: Code): boolean => typeof declared[code]?.message !== "string";
  const shown = [
    ...FIRST,
    ...(events.length > 1 ? ["event"] : []),
    ...new Set(own.filter((name) => name !== "stack")),
    ...(events.some(isText) ? LAST : []),
  ];
  const selected = [
    events.map((code) => `.event == "${code}"`).join(" or "),
    ...conditions.map(([name, word]) => `.${name} == "${word}"`),
  ];
  const parts = selected.map((part) => (selected.length > 1 && part.includes(" or ") ? `(${part})` : part));
  return {
    jq: `select(${parts.join(" and ")}) | {${shown.join(", ")}}`,
    logql: [
      `| json ${["event", ...conditions.map(([name]) => name)].map((name) => `${name}="${name}"`).join(", ")}`,
      eventFilter(events),
      ...conditions.map(([name, word]) => `| ${name}="${word}"`),
    ].join(" "),
  };
}

/**
 * The stage of LogQL that keeps lines of some events, whose code was extracted before.
 *
 * @param events - at least one.
 */
export function eventFilter(events: readonly string[]): string {
  return events.length === 1 ? `| event="${events.join("")}"` : `| event=~"${events.join("|")}"`;
}

/**
 * A query for lines by their level, whatever their event.
 *
 * @param selector - labels of the log's stream.
 * @param levels - of the lines; empty: all.
 * @param view - the lines, or their number over time by event.
 */
export function levelQuery(selector: string, levels: readonly LineLevel[], view: "lines" | "counts"): string {
  const filter = levels.length === 0 ? "" : ` | level=~"${levels.join("|")}"`;
  if (view === "lines") return `{${selector}} | json event="event", level="level"${filter}`;
  return `sum by (event) (count_over_time({${selector}} | json event="event", level="level"${filter} [$__auto]))`;
}
