/**
 * Files with a function above the limit on complexity are those of `complexity.json`, with the number that it gives them, and the
 * list only shrinks. `eslint.config.mjs` reads it.
 */
import { readFileSync } from "node:fs";
import { fileURLToPath } from "node:url";

import { ESLint } from "eslint";
import tseslint from "typescript-eslint";
import { expect, test } from "vitest";

/** The limit of `eslint.config.mjs`. */
const COMPLEXITY_MAX = 15;
/** Lowered together with the list. */
const FILES_LEFT_MAX = 4;
const root = fileURLToPath(new URL("../../../", import.meta.url));
const LEFT = JSON.parse(readFileSync(new URL("complexity.json", import.meta.url), "utf8")) as Readonly<
  Record<string, number>
>;

test("every file of the list is as complex as it says, and the list becomes shorter", async () => {
  const eslint = new ESLint({
    cwd: root,
    overrideConfigFile: true,
    overrideConfig: {
      files: ["**/*.ts"],
      languageOptions: { parser: tseslint.parser },
      rules: { complexity: ["error", COMPLEXITY_MAX] },
    },
  });
  const found: Record<string, number> = {};
  for (const { filePath, messages } of await eslint.lintFiles(Object.keys(LEFT))) {
    const numbers = messages.map(({ message }) => Number(/complexity of (\d+)/.exec(message)?.[1] ?? 0));
    found[filePath.slice(root.length)] = Math.max(0, ...numbers);
  }
  expect(found).toEqual(LEFT);
  expect(Object.keys(LEFT).length).toBeLessThanOrEqual(FILES_LEFT_MAX);
});
