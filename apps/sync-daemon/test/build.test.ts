/**
 * A build with a mistake leaves nothing behind that could be run. `tsc -b` writes its output in spite of errors by default, and the
 * next start would run code that did not compile.
 */
import { spawnSync } from "node:child_process";
import {
  existsSync,
  mkdirSync,
  mkdtempSync,
  readdirSync,
  readFileSync,
  rmSync,
  writeFileSync,
} from "node:fs";
import { createRequire } from "node:module";
import { tmpdir } from "node:os";
import { join } from "node:path";

import { expect, test } from "vitest";

const ROOT = join(import.meta.dirname, "..", "..", "..");
const TSC = createRequire(import.meta.url).resolve("typescript/lib/tsc.js");

function tsc(args: readonly string[], cwd: string): { status: number | null; stdout: string } {
  return spawnSync(process.execPath, [TSC, ...args], { cwd, encoding: "utf8" });
}

test("a project with our settings and a mistake has no output", () => {
  const folder = mkdtempSync(join(tmpdir(), "kvsync-build-"));
  try {
    mkdirSync(join(folder, "src"));
    writeFileSync(join(folder, "src", "value.ts"), 'export const value: number = "text";\n');
    const project = {
      extends: join(ROOT, "tsconfig.base.json"),
      compilerOptions: { rootDir: "src", outDir: "dist", tsBuildInfoFile: "dist/.tsbuildinfo", types: [] },
      include: ["src"],
    };
    writeFileSync(join(folder, "tsconfig.json"), JSON.stringify(project));
    const { status, stdout } = tsc(["-b"], folder);
    expect(status).not.toBe(0);
    expect(stdout).toContain("value.ts");
    expect(existsSync(join(folder, "dist", "value.js"))).toBe(false);
  } finally {
    rmSync(folder, { recursive: true, force: true });
  }
});

test("every project that is built has these settings", () => {
  const projects = ["packages", "apps"].flatMap((kind) =>
    readdirSync(join(ROOT, kind)).map((name) => join(ROOT, kind, name, "tsconfig.build.json")),
  );
  const built = projects.filter((path) => existsSync(path));
  expect(built.length).toBeGreaterThan(5);
  for (const path of built) {
    const { extends: base, compilerOptions } = JSON.parse(readFileSync(path, "utf8")) as {
      extends: string;
      compilerOptions: object;
    };
    expect([path, base]).toEqual([path, "../../tsconfig.base.json"]);
    expect(Object.keys(compilerOptions)).not.toContain("noEmitOnError");
  }
});
