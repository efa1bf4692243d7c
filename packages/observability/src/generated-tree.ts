/**
 * Rendered files against those on disk: the missing, the different, and the ones no longer
 * rendered.
 */

import { existsSync, mkdirSync, readdirSync, readFileSync, rmSync, writeFileSync } from "node:fs";
import { dirname, join } from "node:path";

import { generatedFolders, type Project } from "./project.ts";

/** One file that is not as it is rendered. */
export interface StaleFile {
  readonly path: string;
  readonly state: "missing" | "different" | "no longer rendered";
}

/**
 * Compares.
 *
 * @param root - the repository.
 * @param project - whose folders are looked at.
 * @param files - as rendered.
 * @returns what is not as it should be; empty when all is.
 */
export function staleFiles(root: string, project: Project, files: ReadonlyMap<string, string>): StaleFile[] {
  const stale: StaleFile[] = [];
  for (const [path, text] of files) {
    const place = join(root, path);
    if (!existsSync(place)) stale.push({ path, state: "missing" });
    else if (readFileSync(place, "utf8") !== text) stale.push({ path, state: "different" });
  }
  for (const folder of generatedFolders(project)) {
    if (!existsSync(join(root, folder))) continue;
    for (const name of readdirSync(join(root, folder))) {
      const path = `${folder}/${name}`;
      if (!files.has(path)) stale.push({ path, state: "no longer rendered" });
    }
  }
  return stale;
}

/**
 * Makes the tree as it is rendered: writes what is missing or different, removes what is no longer rendered.
 *
 * @param root - the repository.
 * @param project - whose folders are looked at.
 * @param files - as rendered.
 * @returns what was changed.
 */
export function writeTree(root: string, project: Project, files: ReadonlyMap<string, string>): StaleFile[] {
  const stale = staleFiles(root, project, files);
  for (const { path, state } of stale) {
    const place = join(root, path);
    if (state === "no longer rendered") {
      rmSync(place);
      continue;
    }
    mkdirSync(dirname(place), { recursive: true });
    writeFileSync(place, files.get(path) ?? "");
  }
  return stale;
}
