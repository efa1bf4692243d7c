/**
 * The form of CHANGELOG.md: versions, dates and sections of Keep a Changelog.
 *
 * 1. A version is `[Unreleased]` or `[x.y.z] - YYYY-MM-DD`, newest first.
 * 2. A version that has entries begins with `Upgrade notes`.
 */
import type { Finding, Passage } from "../passage.ts";

const SECTIONS = ["Upgrade notes", "Added", "Changed", "Deprecated", "Removed", "Fixed", "Security"];

/**
 * Checks the headings.
 *
 * @param passages - the passages of CHANGELOG.md.
 * @returns the findings.
 */
export function checkChangelog(passages: readonly Passage[]): readonly Finding[] {
  const findings: Finding[] = [];
  let sections: string[] = [];
  for (const { kind, file, line, text } of passages) {
    if (kind !== "heading") continue;
    const add = (instead: string): void => {
      findings.push({ file, line, rule: "changelog", found: text, instead });
    };
    if (text === "Changelog") continue;
    if (/^\[/.test(text)) {
      sections = [];
      if (!/^\[(?:Unreleased|\d+\.\d+\.\d+\] - \d{4}-\d\d-\d\d$)/.test(text)) add("[x.y.z] - YYYY-MM-DD");
      continue;
    }
    if (!SECTIONS.includes(text)) add(`one of ${SECTIONS.join(", ")}`);
    else if (sections.length === 0 && text !== "Upgrade notes")
      add("Upgrade notes before every other section");
    else if (SECTIONS.indexOf(text) <= SECTIONS.indexOf(sections.at(-1) ?? ""))
      add(`the order ${SECTIONS.join(", ")}`);
    sections.push(text);
  }
  return findings;
}
