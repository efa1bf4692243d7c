/** kvsync's rules as the daemon evaluates them: the generated file, which is part of this package. */

import { readFileSync } from "node:fs";

import { type CompiledRules, readCompiledRules } from "../evaluation/compiled-rules.ts";

/** The same place from `src` and from `dist`. */
const FILE = new URL("../../generated/kvsync.rules.json", import.meta.url);

/**
 * Reads them.
 *
 * @returns the rules of this version.
 */
export function builtInRules(): CompiledRules {
  return readCompiledRules(readFileSync(FILE, "utf8"));
}
