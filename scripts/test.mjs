/**
 * `npm test`: install, build, every static check, every test; then one table and one closing line. A test that needs something
 * this machine lacks is named as skipped, with what would bring it; in CI a skip is a failure.
 *
 * In CI the folder for a container is made and started. The demonstration runs once under each end
 * of the range of supported Nodes, which npm's `node` package brings, both at the same time.
 */
import { existsSync, readFileSync, readdirSync, rmSync } from "node:fs";
import { join } from "node:path";
import { IN_CI, ROOT, bringNode, installAndBuild, step, turbo, useSupportedNode } from "./workspace.mjs";

/** Supported Nodes other than the one that runs the tests: the floor of package.json and the newest. */
const OTHER_NODES = ["22.14.0", "24"];

await useSupportedNode();
const started = performance.now();
console.log(`kvsync: every check and test, on Node ${process.version}`);
await installAndBuild();

const failedSteps = [];
async function check(title, command, options) {
  const result = await step(title, command, options);
  if (!result.ok) failedSteps.push(title);
  return result;
}

const workspaces = [
  ...["packages", "apps"].flatMap((group) => readdirSync(join(ROOT, group)).map((name) => join(group, name))),
  "examples",
];

console.log("\nstatic checks");
await check("formatting (biome)", turbo("//#format:check"));
await check("lint (eslint, type-checked)", turbo("lint", "//#lint:scripts", "--concurrency=2"), {
  seconds: 130,
});
await check(
  "direction of dependencies (dependency-cruiser), dead code and dependencies (knip)",
  turbo("//#boundaries", "//#dead-code", "--continue"),
);
await check("packages as they are published (pack, publint)", ["node", join("scripts", "pack.mjs")]);
// The build knows of the sources alone, and vitest does not look at types.
await check("types of tests and benchmarks (tsc)", turbo("types"), { seconds: 30 });

console.log("\ntests");
for (const workspace of workspaces)
  rmSync(join(ROOT, workspace, "test-results"), { recursive: true, force: true });
await check("the tests of every package", turbo("test", "--concurrency=1", "--continue"), { seconds: 1800 });
if (IN_CI) {
  await check("the folder that a container is made of", [
    "node",
    join("scripts", "package.mjs"),
    join(".cache", "package"),
  ]);
  const commands = [];
  for (const version of OTHER_NODES)
    commands.push([
      await bringNode(version),
      join("apps", "router-sim", "dist", "main.js"),
      "demo",
      "--once",
    ]);
  const [first, ...beside] = commands;
  // They wait for a clock most of the time.
  await check(`demonstrations under Node ${OTHER_NODES.join(" and ")}`, first, { beside });
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
      seconds: wallSeconds(report),
      skipped: of("skipped", "pending", "todo", "disabled").map((assertion) => assertion.fullName),
    });
  }
  return rows;
}

/** From the start of a package's run to the end of its last file. */
function wallSeconds({ startTime, testResults }) {
  return (Math.max(startTime, ...testResults.map(({ endTime }) => endTime)) - startTime) / 1000;
}

const rows = readResults();
console.log();
for (const row of rows) {
  console.log(
    `  ${row.workspace.padEnd(24)} ${String(row.passed).padStart(5)} passed ${String(row.failed).padStart(4)} failed ${String(row.skipped.length).padStart(4)} skipped ${row.seconds.toFixed(0).padStart(5)} s`,
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
