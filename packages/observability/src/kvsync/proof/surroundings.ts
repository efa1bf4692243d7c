/**
 * Files that are written by hand or generated elsewhere, and that rendered files must agree with.
 */

import { readdirSync, readFileSync } from "node:fs";
import { join } from "node:path";

import { SETTINGS_PAGE } from "./settings-table.ts";

const ROOT = join(import.meta.dirname, "..", "..", "..", "..", "..");
const FOLDERS = ["infra/kubernetes", "docs/operations", "docs/getting-started"];

/**
 * Reads them.
 *
 * @returns text by path from the repository's root.
 */
export function surroundings(): ReadonlyMap<string, string> {
  const paths = FOLDERS.flatMap((folder) =>
    readdirSync(join(ROOT, folder), { withFileTypes: true })
      .filter((entry) => entry.isFile())
      .map(({ name }) => `${folder}/${name}`),
  );
  return new Map(
    ["README.md", SETTINGS_PAGE, ...paths].map((path) => [path, readFileSync(join(ROOT, path), "utf8")]),
  );
}
