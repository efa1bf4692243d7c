/**
 * The text of a panel that has no series. "No data" would read as a fault, and 0 as a measurement:
 *
 *     rate of series that begin with their first event   0            nothing of its kind has happened
 *     rate of series that are exported from the start    not scraped  it would be 0 otherwise
 *     everything else, and what others export            none         there is nothing to show
 */

import type { Project } from "../project.ts";
import { type Panel, queriesOf } from "./panel.ts";

/**
 * The text.
 *
 * @param project - whose families and recordings the queries read.
 * @param panel - with queries for Prometheus.
 * @returns a word or two.
 */
export function noValueOf(
  project: Pick<Project, "families" | "recordingGroups">,
  panel: Exclude<Panel, { kind: "logs" }>,
): string {
  if (!("measure" in panel) || !panel.measure.endsWith("per_second")) return "none";
  const presets = queriesOf(panel).flatMap(({ text }) => presetsOf(project, text));
  if (presets.length === 0) return "none";
  return presets.includes("zero is a fact") ? "not scraped" : "0";
}

/** How series of the families in an expression begin; families of others have none. */
function presetsOf(project: Pick<Project, "families" | "recordingGroups">, expression: string): string[] {
  return [...expression.matchAll(/[A-Za-z_:][\w:]*/g)].flatMap(([name]) => {
    const recorded = project.recordingGroups.flatMap(({ rules }) => rules).find((rule) => rule.name === name);
    if (recorded !== undefined) return presetsOf(project, recorded.expression);
    const family = project.families.find((one) => one.name === name.replace(/_(?:bucket|sum|count)$/, ""));
    return family === undefined ? [] : [family.preset];
  });
}
