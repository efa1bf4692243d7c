/**
 * The input of the checks: the rendered files, the files around them, and the project that judges them.
 */

import { type ExposedName, exposedNames } from "../documents/exposed-names.ts";
import { type Project, ruleFileName } from "../project.ts";

/** Rendered text by path from the root. */
export type Files = ReadonlyMap<string, string>;

/** Everything a check may use. */
export interface Artefacts {
  readonly files: Files;
  /** Files that are not rendered here, and that rendered ones must agree with. */
  readonly surroundings: Files;
  readonly project: Project;
  readonly places: ArtefactPlaces;
}

/** Paths by what lies there. */
interface ArtefactPlaces {
  readonly rules: string;
  readonly tests: RegExp;
  readonly dashboards: RegExp;
  readonly logDashboards: RegExp;
}

/**
 * The input of the checks.
 *
 * @param files - as rendered, or as they lie on disk.
 * @param project - whose.
 * @param surroundings - files of others that a check of the project reads.
 * @returns all of them, with the paths that the project states.
 */
export function artefactsOf(files: Files, project: Project, surroundings: Files = new Map()): Artefacts {
  const { prometheus, grafana } = project.places;
  return {
    files,
    surroundings,
    project,
    places: {
      rules: `${prometheus}/${ruleFileName(project)}`,
      tests: new RegExp(`^${escaped(prometheus)}/.+\\.test\\.yaml$`),
      dashboards: new RegExp(`^${escaped(grafana)}/dashboards/.+\\.json$`),
      logDashboards: new RegExp(`^${escaped(grafana)}/log-dashboards/.+\\.json$`),
    },
  };
}

function escaped(text: string): string {
  return text.replace(/[.*+?^${}()|[\]\\]/g, "\\$&");
}

/** The names that exporters provide. */
export function scrapedNames({ project }: Artefacts): Map<string, ExposedName> {
  const { families, externalFamilies, knowledge } = project;
  return exposedNames([...families, ...externalFamilies], knowledge.namedValues);
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
