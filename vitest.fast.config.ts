/**
 * The tests of `npm run test:fast`: those next to the code (`src/`), without the files whose name has a slow kind. A package
 * that keeps all its tests in `test/` runs those.
 */
import { existsSync, readdirSync } from "node:fs";

import { configDefaults, defineConfig } from "vitest/config";

import { everyTest, ssr } from "./vitest.config.ts";

/** Kinds of tests that only `npm test` runs, as in `frame-reader.property.test.ts`: SUBJECT.KIND.test.ts. */
export const SLOW_KINDS = [
  // Real processes and outside tools.
  "e2e",
  // Long random searches.
  "model",
  "property",
  "simulation",
  // The product's own time limits, waited for.
  "deadline",
  // Planted mistakes, one run of the checks for each.
  "mutation",
  // Size and threads.
  "scale",
  "churn",
  "concurrency",
  "writers",
];

/** @returns the globs of a package's fast set. Vitest runs in the folder of the package. */
export function fastSet(folder = process.cwd()) {
  const source = `${folder}/src`;
  // knip loads this file in the root, which has no sources.
  const nextToCode = existsSync(source) ? readdirSync(source, { recursive: true, encoding: "utf8" }) : [];
  return {
    include: [
      nextToCode.some((name) => name.endsWith(".test.ts")) ? "src/**/*.test.ts" : "test/**/*.test.ts",
    ],
    exclude: SLOW_KINDS.map((kind) => `**/*.${kind}.test.ts`),
  };
}

const { include, exclude } = fastSet();

export default defineConfig({
  ssr,
  test: {
    ...everyTest,
    include,
    exclude: [...configDefaults.exclude, ...exclude],
    // Files share a process one after the other: half of their CPU time was the same imports again.
    isolate: false,
    reporters: ["default"],
  },
});
