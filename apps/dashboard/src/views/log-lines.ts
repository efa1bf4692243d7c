/**
 * Lines of the log that the page has, and those that a filter shows.
 *
 *  L1  At most KEPT_MAX lines are kept, each once, the newest last.
 */
import type { LogLine, LogLines, Severity } from "@kvsync/client";

/** As many as the daemon keeps. */
export const KEPT_MAX = 1000;

/** Severities, the gravest first. */
export const SEVERITIES: readonly Severity[] = ["fatal", "error", "warn", "info", "debug"];

/** Which lines are shown. */
export interface LineFilter {
  readonly level: Severity;
  readonly text: string;
  readonly event: string;
  readonly pod: string;
}

/**
 * Adds an answer to the lines that are here (L1).
 *
 * @returns the lines, oldest first. A daemon that counts from the start again replaces them.
 */
export function withAnswer(lines: readonly LogLine[], answer: LogLines): readonly LogLine[] {
  const last = lines.at(-1)?.n ?? 0;
  if (answer.last < last) return answer.lines.slice(-KEPT_MAX);
  return [...lines, ...answer.lines.filter(({ n }) => n > last)].slice(-KEPT_MAX);
}

/** The lines that a filter shows, the newest first. */
export function filterLines(lines: readonly LogLine[], filter: LineFilter): readonly LogLine[] {
  const most = SEVERITIES.indexOf(filter.level);
  const text = filter.text.toLowerCase();
  return lines
    .filter(
      (line) =>
        SEVERITIES.indexOf(line.level) <= most &&
        (filter.event === "" || line.event === filter.event) &&
        (filter.pod === "" || line.facts?.["pod"] === filter.pod) &&
        (text === "" || textOf(line).toLowerCase().includes(text)),
    )
    .toReversed();
}

function textOf({ component, event, message, facts }: LogLine): string {
  return `${component} ${event} ${message} ${JSON.stringify(facts)}`;
}
