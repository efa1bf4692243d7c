/**
 * Facts about the running build: the version of the package, the commit that it was built from, and
 * Node.
 *
 *     package.json   version
 *     build.json     commit: written by scripts/package.mjs; absent in a checkout, and then `null`
 */

import { readFileSync } from "node:fs";

/** What runs here. */
export interface BuildFacts {
  readonly version: string;
  /** Full hash, with `+changes` when the tree differed from it. */
  readonly commit: string | null;
  readonly node: string;
}

/** How a process was started. */
export interface StartFacts extends BuildFacts {
  readonly configFile: string | null;
  /** Source of each setting that was given outside the file, by path: `flag --port`. Values are not shown. */
  readonly sources: ReadonlyMap<string, string>;
  /** Settings as they were given, before defaults. */
  readonly given: Readonly<Record<string, unknown>>;
}

/** Reads the facts from the package's folder. */
export function buildFacts(): BuildFacts {
  const { version } = JSON.parse(textBeside("package.json") ?? "{}") as { readonly version: string };
  const { commit = null } = JSON.parse(textBeside("build.json") ?? "{}") as { readonly commit?: string };
  return { version, commit, node: process.version };
}

/** The answer to `--version`: one line. */
export function versionLine(program: string): string {
  const { version, commit, node } = buildFacts();
  return `${program} ${version}${commit === null ? "" : ` (commit ${commit})`}, Node ${node}`;
}

/** The facts as JSON and log lines have them. */
export function startReport({ version, commit, node, configFile, sources }: StartFacts): {
  readonly version: string;
  readonly commit: string | null;
  readonly node: string;
  readonly config_file: string | null;
  readonly settings_from: readonly string[];
} {
  const settings_from = [...sources].map(([path, source]) => `${path}: ${source}`);
  return { version, commit, node, config_file: configFile, settings_from };
}

/** A file of the package's folder, which is the one above `dist` and `src`; null when it is absent. */
function textBeside(name: string): string | null {
  try {
    return readFileSync(new URL(`../${name}`, import.meta.url), "utf8");
  } catch (error) {
    if ((error as NodeJS.ErrnoException).code === "ENOENT") return null;
    throw error;
  }
}
