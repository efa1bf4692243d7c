// Shared settings of every package's test run. A package runs `vitest run --config ../../vitest.config.ts`.
import { fileURLToPath } from "node:url";

import { defineConfig } from "vitest/config";

export default defineConfig({
  // Packages of this workspace are tested from their sources: no build between a change and its test.
  ssr: { resolve: { conditions: ["source", "node", "development|production"] } },
  test: {
    include: ["src/**/*.test.ts", "test/**/*.test.ts"],
    // Only what hangs takes this long. A busy machine must not fail a test.
    testTimeout: 180_000,
    hookTimeout: 180_000,
    // Shared memory and native sockets live in real processes, not in worker threads of the runner.
    pool: "forks",
    // Programs that tests start use the compiled code of an earlier start again: a daemon starts with two thirds of the CPU time.
    env: { NODE_COMPILE_CACHE: fileURLToPath(new URL(".cache/compile", import.meta.url)) },
    // The report is what scripts/test.mjs counts; turbo keeps it with the cached result.
    reporters: ["default", "json"],
    outputFile: { json: "test-results/vitest.json" },
  },
});
