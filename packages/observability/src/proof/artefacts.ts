/**
 * The input of the checks: the rendered files, and the few facts needed to judge them.
 */

import { type ExposedName, exposedNames, type KnownFamily } from "../documents/exposed-names.ts";

/** Rendered text by path from the repository's root. */
export type Files = ReadonlyMap<string, string>;

/** Everything a check may use. */
export interface Artefacts {
  readonly files: Files;
  /** Own families first; those must be on a panel. */
  readonly ownFamilies: readonly KnownFamily[];
  readonly externalFamilies: readonly KnownFamily[];
}

/** Paths by what lies there. */
export const PLACES = {
  rules: "infra/prometheus/kvsync.rules.yaml",
  tests: /^infra\/prometheus\/.+\.test\.yaml$/,
  dashboards: /^infra\/grafana\/dashboards\/.+\.json$/,
  runbooks: "docs/operations/runbooks",
} as const;

/** The names that exporters provide. */
export function scrapedNames(artefacts: Artefacts): Map<string, ExposedName> {
  return exposedNames([...artefacts.ownFamilies, ...artefacts.externalFamilies]);
}

/**
 * Files of one kind.
 *
 * @param files - all.
 * @param place - a pattern of paths.
 * @returns those that match, in their order.
 */
export function filesAt(files: Files, place: RegExp): [string, string][] {
  return [...files].filter(([path]) => place.test(path));
}
