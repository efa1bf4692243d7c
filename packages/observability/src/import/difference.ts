/**
 * How a dashboard in Grafana differs from ours, as lines that a person can read.
 *
 * Ours must be contained in theirs. A key that Grafana adds (id, version, plugin versions) is no
 * difference. A key of ours with another value there, or an array of another length, is a
 * difference.
 */

import type { Json } from "../json.ts";

/** Longest value that is shown before it is cut. */
const VALUE_LENGTH_MAX = 100;

/** One place at which they differ. */
export interface Difference {
  /** Such as `panels[3 "Dropped events"].targets[0].expr`. */
  readonly path: string;
  /** Undefined where theirs has nothing. */
  readonly theirs: Json | undefined;
  /** Undefined where ours has nothing (array elements only). */
  readonly ours: Json | undefined;
}

/**
 * Finds every place at which theirs does not have what ours has.
 *
 * @param ours - as generated.
 * @param theirs - as Grafana returns it.
 * @param path - prefix of the paths.
 * @returns places in the order of our keys; empty when ours is contained in theirs.
 */
export function differences(ours: Json | undefined, theirs: Json | undefined, path = ""): Difference[] {
  if (isList(ours) && isList(theirs)) {
    return Array.from({ length: Math.max(ours.length, theirs.length) }, (_, i) =>
      differences(ours[i], theirs[i], `${path}[${i}${named(ours[i] ?? theirs[i])}]`),
    ).flat();
  }
  if (isObject(ours) && isObject(theirs)) {
    return Object.entries(ours).flatMap(([key, value]) =>
      differences(value, theirs[key], path === "" ? key : `${path}.${key}`),
    );
  }
  return ours === theirs ? [] : [{ path, theirs, ours }];
}

function isList(json: Json | undefined): json is readonly Json[] {
  return Array.isArray(json);
}

function isObject(json: Json | undefined): json is { readonly [key: string]: Json } {
  return typeof json === "object" && json !== null && !Array.isArray(json);
}

function named(json: Json | undefined): string {
  const name = isObject(json) ? (json["title"] ?? json["name"]) : undefined;
  return typeof name === "string" ? ` "${name}"` : "";
}

/**
 * A difference as one line.
 *
 * @param difference - what to show.
 * @returns `path: theirs → ours`, with `(nothing)` for what is not there; long values are cut.
 */
export function describeDifference({ path, theirs, ours }: Difference): string {
  return `${path}: ${shown(theirs)} → ${shown(ours)}`;
}

function shown(json: Json | undefined): string {
  if (json === undefined) return "(nothing)";
  const text = JSON.stringify(json);
  return text.length <= VALUE_LENGTH_MAX ? text : `${text.slice(0, VALUE_LENGTH_MAX)}…`;
}
