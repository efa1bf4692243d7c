// Shared settings of every package's test run. A package runs `vitest run --config ../../vitest.config.ts`.
import { availableParallelism } from "node:os";
import { fileURLToPath } from "node:url";

import { configDefaults, defineConfig } from "vitest/config";

/**
 * Files that run alone, after the others. They fill every core, measure turns of a loop, or follow a clock that is many times as fast
 * as real time.
 */
const ALONE = [
  "src/**/*.{concurrency,scale,writers}.test.ts",
  "src/replay/{conversation,replay}.e2e.test.ts",
  "src/scenario/scenario-replay.e2e.test.ts",
  "test/healthy.e2e.test.ts",
  "test/loop-block.test.ts",
];

/** Packages of this workspace are tested from their sources: no build between a change and its test. */
export const ssr = { resolve: { conditions: ["source", "node", "development|production"] } };

/** What holds for every test. */
export const everyTest = {
  // Only what hangs takes this long. A busy machine must not fail a test.
  testTimeout: 180_000,
  hookTimeout: 180_000,
  // Shared memory and native sockets live in real processes, not in worker threads of the runner.
  pool: "forks",
  // Programs that tests start use the compiled code of an earlier start again: a daemon starts with two thirds of the CPU time.
  env: { NODE_COMPILE_CACHE: fileURLToPath(new URL(".cache/compile", import.meta.url)) },
};

/** What holds for files of which several run at the same time. */
const together = {
  exclude: [...configDefaults.exclude, ...ALONE],
  // Two files at a time at least: most of the daemon's wait for processes, clocks and sockets.
  maxWorkers: Math.max(2, availableParallelism() - 1),
  sequence: { groupOrder: 0 },
};

export default defineConfig({
  ssr,
  test: {
    ...everyTest,
    // The report is what scripts/test.mjs counts; turbo keeps it with the cached result.
    reporters: ["default", "json"],
    outputFile: { json: "test-results/vitest.json" },
    projects: [
      {
        extends: true,
        // Next to the code. Files share a process one after the other: half of their CPU time was the same imports again.
        test: { ...together, name: "code", include: ["src/**/*.test.ts"], isolate: false },
      },
      {
        extends: true,
        // Processes, sockets and browsers: what a file leaves open ends with its own process.
        test: { ...together, name: "processes", include: ["test/**/*.test.ts"] },
      },
      {
        extends: true,
        test: { name: "alone", include: ALONE, maxWorkers: 1, sequence: { groupOrder: 1 } },
      },
    ],
  },
});
