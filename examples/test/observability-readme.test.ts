/** The program in the README of packages/observability is complete: it compiles, generates its files and passes its checks. */
import { spawnSync } from "node:child_process";
import { mkdirSync, readFileSync, rmSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import { fileURLToPath } from "node:url";

import { afterAll, beforeAll, expect, test } from "vitest";

const EXAMPLES = fileURLToPath(new URL("..", import.meta.url));
const README = join(EXAMPLES, "..", "packages", "observability", "README.md");
/** Below this package, so that its imports are found. */
const FOLDER = join(EXAMPLES, "test-results", "readme");
const HAS_PROMTOOL = spawnSync("promtool", ["--version"]).status === 0;
/** Node 22.14 reads TypeScript only with this; later ones without. */
const NODE = ["--experimental-strip-types", "--no-warnings"];

/** Each block of the README that begins with the name of its file. */
const FILES = [...readFileSync(README, "utf8").matchAll(/```ts\n(\/\/ (\S+)\n[\s\S]*?)```/g)].map(
  ([, text = "", name = ""]) => ({ name, text }),
);

beforeAll(() => {
  mkdirSync(FOLDER, { recursive: true });
  for (const { name, text } of FILES) writeFileSync(join(FOLDER, name), text);
});
afterAll(() => {
  rmSync(FOLDER, { recursive: true });
});

function run(
  program: string,
  ...args: string[]
): { readonly status: number | null; readonly output: string } {
  const env = { ...process.env, CI: "false" };
  const { status, stdout, stderr } = spawnSync(program, args, { cwd: FOLDER, encoding: "utf8", env });
  return { status, output: stdout + stderr };
}

test("it compiles", () => {
  const names = FILES.map(({ name }) => name);
  expect(names).toEqual(["metrics.ts", "monitoring.ts", "command.ts", "monitoring.test.ts"]);
  const tsc = join(EXAMPLES, "node_modules", "typescript", "bin", "tsc");
  const strict = ["--noEmit", "--strict", "--module", "nodenext", "--target", "es2022", "--types", "node"];
  const args = [tsc, "--ignoreConfig", ...strict, "--allowImportingTsExtensions", "--skipLibCheck", ...names];
  expect(run(process.execPath, ...args)).toEqual({ status: 0, output: "" });
});

test("its commands do what the README says", () => {
  expect(run(process.execPath, ...NODE, "command.ts", "generate").status).toBe(0);
  const { output } = run(process.execPath, ...NODE, "command.ts", "check");
  expect(output).toBe("20 files pass every check\n");
  expect(run(process.execPath, ...NODE, "--test", "monitoring.test.ts").status).toBe(0);
});

test.skipIf(!HAS_PROMTOOL)("promtool: its alert fires past its threshold and not before", () => {
  run(process.execPath, ...NODE, "command.ts", "generate");
  const { status, output } = run("promtool", "test", "rules", "infra/prometheus/shop.alerts.test.yaml");
  expect(status, output).toBe(0);
});
