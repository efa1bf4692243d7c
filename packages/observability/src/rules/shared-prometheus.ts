/**
 * The rules in a Prometheus that has rules of others: alerts under longer names, and groups left out.
 *
 * The prefix is applied to the rendered text. The name of an alert is a word that nothing else uses, so that rules, tests, inhibitions
 * and pages stay in agreement.
 *
 * Not here: the addresses of runbooks, which keep their names.
 */

import type { Project } from "../project.ts";

/** mixtool's limit. */
export const ALERT_NAME_LENGTH_MAX = 40;

/**
 * Leaves groups of alerts out, and the routes of components that no other alert has.
 *
 * @param project - whose.
 * @param names - of groups that exist.
 * @returns the project without them.
 */
export function withoutGroups(project: Project, names: readonly string[]): Project {
  const alertGroups = project.alertGroups.filter(({ name }) => !names.includes(name));
  const components = new Set(alertGroups.flatMap(({ alerts }) => alerts.map(({ component }) => component)));
  const teamOf = Object.fromEntries(
    Object.entries(project.teamOf).filter(([component]) => components.has(component)),
  );
  return { ...project, alertGroups, teamOf };
}

/**
 * Writes a prefix before every alert's name.
 *
 * @param files - rendered.
 * @param project - whose.
 * @param prefix - CamelCase; empty to change nothing.
 * @returns the files with the longer names.
 */
export function withAlertPrefix(
  files: ReadonlyMap<string, string>,
  project: Project,
  prefix: string,
): ReadonlyMap<string, string> {
  const names = project.alertGroups.flatMap(({ alerts }) => alerts.map(({ name }) => name));
  if (prefix === "" || names.length === 0) return files;
  const anyName = new RegExp(`\\b(?:${names.join("|")})\\b`, "g");
  return new Map([...files].map(([path, text]) => [path, text.replace(anyName, (name) => prefix + name)]));
}
