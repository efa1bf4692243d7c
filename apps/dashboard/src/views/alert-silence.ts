/**
 * A silence as it is put together: from an alert's labels to what Alertmanager gets. Pure.
 *
 *  L1  A silence has at least one matcher, a comment, and an end in the future.
 */
import type { Silence, SilenceMatcher, WantedSilence } from "@kvsync/client";

import type { Alert } from "../stream/stream-messages.ts";

/** A label that may become a matcher. */
export interface Choice {
  readonly name: string;
  readonly value: string;
  readonly isChosen: boolean;
}

/** Hours that are offered. */
export const HOURS = [1, 4, 24] as const;

/** The end of a silence: so many hours from now, or a moment as the browser's field has it. */
export type SilenceEnd = { readonly hours: number } | { readonly moment: string };

/** What is missing (L1). */
export type SilenceFault = "needLabel" | "needComment" | "needEnd";

/** The labels of an alert, its name first. All are chosen: the silence is as narrow as the alert. */
export function choicesOf({ name, labels = {} }: Pick<Alert, "name" | "labels">): readonly Choice[] {
  return [["alertname", name] as const, ...Object.entries(labels).sort()].map(([label, value]) => ({
    name: label,
    value,
    isChosen: true,
  }));
}

/** The request, or what is missing for it. */
export function silenceRequest(
  choices: readonly Choice[],
  end: SilenceEnd,
  comment: string,
  nowMs: number,
): WantedSilence | SilenceFault {
  const matchers = choices
    .filter(({ isChosen }) => isChosen)
    .map(({ name, value }) => ({ name, value, is_regex: false, is_equal: true }));
  if (matchers.length === 0) return "needLabel";
  if (comment.trim() === "") return "needComment";
  const endMs = "hours" in end ? nowMs + end.hours * 3_600_000 : new Date(end.moment).getTime();
  if (!(endMs > nowMs)) return "needEnd";
  return { matchers, ends_at: new Date(endMs).toISOString(), comment: comment.trim() };
}

/** The same silence again, for one that was ended by mistake. */
export function again({ matchers, ends_at, comment }: Silence): WantedSilence {
  return { matchers, ends_at, comment };
}

/** How a silence is named: by its alert where it has one, and by its matchers. */
export function nameOf(matchers: readonly SilenceMatcher[]): string {
  const named = matchers.find(
    ({ name, is_regex, is_equal }) => name === "alertname" && !is_regex && is_equal,
  );
  return named?.value ?? matchers.map(textOfMatcher).join(", ");
}

/** A matcher as Alertmanager writes it. */
export function textOfMatcher({ name, value, is_regex, is_equal }: SilenceMatcher): string {
  return `${name}${is_equal ? "=" : "!"}${is_regex ? "~" : is_equal ? "" : "="}"${value}"`;
}

/** A moment as the field for it has it: local, to the minute. */
export function fieldOf(ms: number): string {
  const date = new Date(ms - new Date(ms).getTimezoneOffset() * 60_000);
  return date.toISOString().slice(0, 16);
}
