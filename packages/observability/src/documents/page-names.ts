/**
 * Names of metrics in pages that people write. The generator gives them the namespace of the
 * metrics, so that a change of the namespace reaches these pages too.
 *
 *     old_kv_events_total            a name of a metric, by the part after its namespace
 *     old_kv_events_total_bucket     a series of a histogram
 *     level:old_kv_events:rate5m     a recorded series
 *     old_kv_events_                 the beginning of names: two words or more, and an underscore
 *
 *  W1  A text with the present namespace stays as it is.
 *  W2  A word that is no name, or the beginning of none, stays as it is.
 *
 * Not here: names of metrics that no longer exist. The linter of pages reports those.
 */

import { existsSync, readdirSync, readFileSync, statSync } from "node:fs";
import { join } from "node:path";

import type { Project } from "../project.ts";

/** Words of a beginning: one alone would fit too much. */
const BEGINNING_WORDS_MIN = 2;

/** A word of lower case with an underscore in it; settings (`sync.enabled`) and paths are none. */
const WORD = /(?<![A-Za-z0-9_./$-])[a-z][a-z0-9]*_[a-z0-9_]+/g;

/**
 * Gives the names of metrics in a text a namespace.
 *
 * @param text - of a page.
 * @param namespace - of the metrics.
 * @param bareNames - their names without it.
 * @returns the text, the same one where nothing had another namespace.
 */
export function withNamespace(text: string, namespace: string, bareNames: ReadonlySet<string>): string {
  const beginnings = new Set([...bareNames].flatMap(beginningsOf));
  return text.replace(WORD, (word) => {
    for (let at = word.indexOf("_"); at > 0; at = word.indexOf("_", at + 1)) {
      const rest = word.slice(at + 1);
      const isName = bareNames.has(rest) || bareNames.has(rest.replace(/_(?:bucket|sum|count)$/, ""));
      if (isName || beginnings.has(rest)) return `${namespace}_${rest}`;
    }
    return word;
  });
}

function beginningsOf(name: string): string[] {
  const words = name.split("_");
  return words.flatMap((_, i) => (i < BEGINNING_WORDS_MIN ? [] : [`${words.slice(0, i).join("_")}_`]));
}

/**
 * The pages whose names of metrics have another namespace.
 *
 * @param root - the repository.
 * @param project - whose.
 * @returns their text as it should be, by path; empty when all is well, or the project has no pages.
 */
export function renamedPages(
  root: string,
  { pages, families, recordingGroups, places }: Project,
): ReadonlyMap<string, string> {
  if (pages === null) return new Map();
  const { namespace } = pages;
  const recorded = recordingGroups.flatMap(({ rules }) => rules.map(({ name }) => name.split(":")[1] ?? ""));
  const bareNames = new Set(
    [...families.map(({ name }) => name), ...recorded].flatMap((name) =>
      name.startsWith(`${namespace}_`) ? [name.slice(namespace.length + 1)] : [],
    ),
  );
  const generated = [places.documents, places.runbooks].map((folder) => `${folder}/`);
  const renamed = new Map<string, string>();
  for (const path of pages.paths.flatMap((start) => markdownBelow(root, start))) {
    if (generated.some((folder) => path.startsWith(folder))) continue;
    const text = readFileSync(join(root, path), "utf8");
    const right = withNamespace(text, namespace, bareNames);
    if (right !== text) renamed.set(path, right);
  }
  return renamed;
}

/** A page, or the pages of a folder; none where nothing is there, as in the empty root of a trial run. */
function markdownBelow(root: string, start: string): string[] {
  if (!existsSync(join(root, start))) return [];
  if (statSync(join(root, start)).isFile()) return [start];
  return readdirSync(join(root, start), { recursive: true, encoding: "utf8" })
    .filter((name) => name.endsWith(".md"))
    .sort()
    .map((name) => `${start}/${name}`);
}
