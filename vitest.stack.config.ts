/** The claims of `npm run stack-check` (scripts/stack-check.mjs), which `npm test` does not run: they need programs built with Go. */
import { defineConfig } from "vitest/config";

import { everyTest, ssr } from "./vitest.config.ts";

export default defineConfig({
  ssr,
  test: {
    ...everyTest,
    include: ["test/**/*.stack.ts"],
    reporters: ["default", "json"],
    outputFile: { json: "../../.cache/stack-check/results.json" },
  },
});
