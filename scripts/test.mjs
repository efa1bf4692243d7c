/**
 * `npm test`: install, build, every static check, every test; then one table and one closing line. A test that needs something
 * this machine lacks is named as skipped, with what would bring it; in CI a skip is a failure.
 *
 * In CI the folder for a container is made and started, and the demonstration runs once under the newest supported Node, which npm's `node` package brings.
 */
import { existsSync, readFileSync, readdirSync, rmSync } from "node:fs";
import { join } from "node:path";
import { IN_CI, ROOT, installAndBuild, pnpm, requireNode, step } from "./workspace.mjs";

const NEWEST_NODE = "24";

requireNode();
const started = performance.now();
console.log(`kvsync: every check and test, on Node ${process.version}`);
await installAndBuild();

const failedSteps = [];
async function check(title, command, options) {
  const result = await step(title, command, options);
  if (!result.ok) failedSteps.push(title);
  return result;
}

const workspaces = ["packages", "apps"].flatMap((group) =>
  readdirSync(join(ROOT, group)).map((name) => join(group, name)),
);

console.log("\nstatic checks");
await check("formatting (biome)", pnpm("exec", "biome", "format", "."));
await check("lint (eslint, type-checked)", pnpm("exec", "eslint", "."));
await check("direction of dependencies (dependency-cruiser)", pnpm("run", "boundaries"));
await check("dead code and dependencies (knip)", pnpm("run", "dead-code"));

await check(
  "export maps (publint)",
  pnpm("--recursive", "--filter", "./packages/*", "exec", "publint", "--strict"),
);

// The build leaves tests and benchmarks out, and vitest does not check types.
const projects = workspaces.map((workspace) => join(workspace, "tsconfig.test.json"));
await check("types of tests and benchmarks (tsc)", pnpm("exec", "tsc", "-b", ...projects));

console.log("\ntests");
for (const workspace of workspaces)
  rmSync(join(ROOT, workspace, "test-results"), { recursive: true, force: true });
await check(
  "the tests of every package",
  pnpm("turbo", "test", "--concurrency=1", "--continue", "--output-logs=errors-only"),
);
if (IN_CI) {
  await check("the folder that a container is made of", [
    "node",
    join("scripts", "package.mjs"),
    join(".cache", "package"),
  ]);
  await check(`demonstration under Node ${NEWEST_NODE}`, [
    "npx",
    "--yes",
    "--package",
    `node@${NEWEST_NODE}`,
    "node",
    join("apps", "router-sim", "dist", "main.js"),
    "demo",
    "--once",
  ]);
}

/** Reads the JSON reports that vitest left in each package. */
function readResults() {
  const rows = [];
  for (const workspace of workspaces) {
    const path = join(ROOT, workspace, "test-results", "vitest.json");
    if (!existsSync(path)) continue;
    const report = JSON.parse(readFileSync(path, "utf8"));
    const assertions = report.testResults.flatMap((file) => file.assertionResults);
    const of = (...statuses) => assertions.filter((assertion) => statuses.includes(assertion.status));
    rows.push({
      workspace,
      passed: of("passed").length,
      // A file that cannot even be loaded has no assertions; it counts as one failure.
      failed:
        of("failed").length +
        report.testResults.filter((file) => file.status === "failed" && file.assertionResults.length === 0)
          .length,
      skipped: of("skipped", "pending", "todo", "disabled").map((assertion) => assertion.fullName),
    });
  }
  return rows;
}

const rows = readResults();
console.log();
for (const row of rows) {
  console.log(
    `  ${row.workspace.padEnd(24)} ${String(row.passed).padStart(5)} passed ${String(row.failed).padStart(4)} failed ${String(row.skipped.length).padStart(4)} skipped`,
  );
}
const skipped = rows.flatMap((row) => row.skipped.map((name) => `${row.workspace}: ${name}`));
if (skipped.length > 0) {
  console.log(`\nskipped${IN_CI ? " (in CI a skip is a failure)" : ""}:`);
  for (const name of skipped) console.log(`  ${name}`);
}
const untested = workspaces.filter((workspace) => !rows.some((row) => row.workspace === workspace));
if (untested.length > 0) failedSteps.push(`no test report from ${untested.join(", ")}`);
if (IN_CI && skipped.length > 0) failedSteps.push("skipped tests");

const passed = rows.reduce((sum, row) => sum + row.passed, 0);
const failed = rows.reduce((sum, row) => sum + row.failed, 0);
console.log(`\n${((performance.now() - started) / 1000).toFixed(0)} s in all`);
if (failedSteps.length > 0) console.log(`failed: ${failedSteps.join("; ")}`);
else console.log("everything passed");
console.log(
  `${passed} passed, ${Math.max(failed, failedSteps.length > 0 ? 1 : 0)} failed, ${skipped.length} skipped`,
);
process.exitCode = failedSteps.length === 0 && failed === 0 && passed > 0 ? 0 : 1;
