/**
 * The input of the checks: the rendered files, and the few facts needed to judge them.
 */

import { type ExposedName, exposedNames, type KnownFamily } from "../documents/exposed-names.ts";

/** Rendered text by path from the repository's root. */
export type Files = ReadonlyMap<string, string>;

/** A family with the sentence that says what it is. */
type DescribedFamily = KnownFamily & { readonly help: string };

/** Everything a check may use. */
export interface Artefacts {
  readonly files: Files;
  /** Files that are not rendered here, and that rendered ones must agree with. */
  readonly surroundings: Files;
  /** Own families first; those must be on a panel. */
  readonly ownFamilies: readonly DescribedFamily[];
  readonly externalFamilies: readonly DescribedFamily[];
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
