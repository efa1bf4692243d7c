/**
 * The reference pages of log events, spans and health checks, made from their definitions.
 */

import { anchorOf, generatedNote, markdownTable } from "../documents/markdown.ts";
import type { Project } from "../project.ts";
import { type Fields, typeText } from "./field.ts";
import {
  COMMON_FIELDS,
  levelsOf,
  LINE_BOUNDS,
  LINE_LEVELS,
  type LineLevel,
  type LogEvent,
  type LogEvents,
  THREAD,
} from "./log-event.ts";
import type { HealthCheckDefinitions } from "./health-check.ts";
import { COMMON_ATTRIBUTES, type SpanDefinition, type Spans } from "./span.ts";

/**
 * The reference pages of a project's signals.
 *
 * @param project - whose.
 * @returns name and text of each page; none of a kind that the project does not have.
 */
export function signalReferences({
  generator,
  logEvents,
  spans,
  healthChecks,
}: Project): readonly (readonly [string, string])[] {
  const has = (signals: object): boolean => Object.keys(signals).length > 0;
  return [
    ...(has(logEvents) ? [["log-events.md", logEventReference(logEvents, generator)] as const] : []),
    ...(has(spans) ? [["spans.md", spanReference(spans, generator)] as const] : []),
    ...(has(healthChecks)
      ? [["health-checks.md", healthCheckReference(healthChecks, generator)] as const]
      : []),
  ];
}

function logEventReference(events: LogEvents, generator: string): string {
  const entries = Object.entries(events);
  return [
    generatedNote(generator),
    "# Log events",
    "",
    `Every line of the log has one of these ${entries.length} codes in \`event\`. Codes and fields are stable: programs may rely on them. The texts in \`message\` are for people.`,
    "",
    markdownTable(
      ["event", "level", "component", "meaning"],
      entries.map(([code, event]) => [
        `[\`${code}\`](#${anchorOf(code)})`,
        levelsOf(event)
          .map(([level]) => levelText(level))
          .join(", "),
        componentText(event),
        event.meaning,
      ]),
    ),
    "",
    "## Fields of every line",
    fieldTable(COMMON_FIELDS),
    "",
    "## Limits",
    boundsText(),
    "",
    ...entries.map(([code, event]) => `${eventSection(code, event)}\n`),
  ].join("\n");
}

function spanReference(spans: Spans, generator: string): string {
  return [
    generatedNote(generator),
    "# Spans",
    "",
    "A trace has these spans. Attributes are names, numbers and codes: no token, prompt, hash or address of a request.",
    "",
    markdownTable(
      ["span", "kind", "parent", "meaning"],
      Object.entries(spans).map(([name, { kind, parent, meaning }]) => [
        `[\`${name}\`](#${anchorOf(name)})`,
        kind,
        parent,
        meaning,
      ]),
    ),
    "",
    "## Attributes of every span",
    fieldTable(COMMON_ATTRIBUTES),
    "",
    ...Object.entries(spans).map(([name, span]) => `${spanSection(name, span)}\n`),
  ].join("\n");
}

function healthCheckReference(checks: HealthCheckDefinitions, generator: string): string {
  const entries = Object.entries(checks);
  return [
    generatedNote(generator),
    "# Health checks",
    "",
    "A result has the status, a message and these details. A check that fails itself, or takes too long, is unhealthy and has no details.",
    "",
    markdownTable(
      ["check", "critical", "present", "degraded", "unhealthy", "what to do"],
      entries.map(([name, { critical, present, degraded, unhealthy, response }]) => [
        name,
        critical ? "yes" : "no",
        present,
        degraded ?? "never",
        unhealthy,
        response,
      ]),
    ),
    "",
    ...entries.flatMap(([name, { details }]) => [`## Details of ${name}`, fieldTable(details), ""]),
  ].join("\n");
}

const SAMPLING: Readonly<Record<SpanDefinition["sampled"], string>> = {
  caller: "as its parent; a root by the ratio of requests",
  always: "always, unless it belongs to a request that is not traced",
  thread: "chosen by the thread that makes it",
};

function spanSection(
  name: string,
  { kind, named, parent, sampled, attributes, meaning }: SpanDefinition,
): string {
  return [
    `## ${name}`,
    meaning,
    "",
    `- name: ${named ?? `\`${name}\``}`,
    `- kind: ${kind}`,
    `- parent: ${parent}`,
    `- sampled: ${SAMPLING[sampled]}`,
    "",
    fieldTable(attributes),
  ].join("\n");
}

function boundsText(): string {
  const { thread, details, peer } = LINE_BOUNDS;
  return [
    "A line above a limit is left out, counted and reported.",
    "",
    markdownTable(
      ["limit", "lines", "lines per second", "at once"],
      [
        ["`thread`", "all lines of a thread up to `info`", String(thread.perSecond), String(thread.burst)],
        [
          "`details`",
          "all lines of a thread of the levels 2 to 5",
          String(details.perSecond),
          String(details.burst),
        ],
        [
          "`peer`",
          "lines up to `info` of one event in one thread, where an engine, a caller, a cluster or a collector can cause it",
          String(peer.perSecond),
          String(peer.burst),
        ],
      ],
    ),
  ].join("\n");
}

function levelText(level: LineLevel): string {
  const verbosity = LINE_LEVELS[level];
  return verbosity > LINE_LEVELS.info ? `\`debug\`, verbosity ${verbosity}` : `\`${level}\``;
}

function componentText({ component }: LogEvent): string {
  return component === THREAD ? "name of the thread" : `\`${component}\``;
}

function eventSection(code: string, event: LogEvent): string {
  const { message, fields, response, meaning } = event;
  const levels = levelsOf(event)
    .map(([level, when]) => (when === null ? levelText(level) : `${levelText(level)} when ${when}`))
    .join("; ");
  const limit = limitOf(event);
  return [
    `## ${code}`,
    meaning,
    "",
    `- level: ${levels}`,
    `- component: ${componentText(event)}`,
    typeof message === "string" ? `- message: \`${message}\`` : `- message: a text with ${message.says}`,
    `- limit: ${limit}`,
    `- what to do: ${response ?? "nothing."}`,
    ...(Object.keys(fields).length === 0 ? [] : ["", fieldTable(fields)]),
  ].join("\n");
}

function limitOf(event: LogEvent): string {
  const levels = levelsOf(event).map(([level]) => level);
  if (levels.every((level) => level === "fatal")) return "none; it is the last line";
  if (levels.every((level) => LINE_LEVELS[level] > LINE_LEVELS.info)) return "`details`";
  return event.cause === "peer" ? "`peer` and `thread`" : "`thread`";
}

function fieldTable(fields: Fields): string {
  return markdownTable(
    ["field", "type", "meaning"],
    Object.entries(fields).map(([name, field]) => [
      `\`${name}\``,
      typeText(field),
      [
        field.meaning,
        ...(field.null === undefined ? [] : [`\`null\`: ${field.null}`]),
        ...(field.absent === undefined ? [] : [`absent: ${field.absent}`]),
      ].join("; "),
    ]),
  );
}
