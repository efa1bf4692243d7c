/** Checks which tests `npm run test:fast` runs (`vitest.fast.config.ts`). */
import { existsSync, readFileSync, readdirSync } from "node:fs";
import { basename, dirname, join, matchesGlob } from "node:path";
import { fileURLToPath } from "node:url";

import { expect, test } from "vitest";

import { fastSet, SLOW_KINDS } from "../../../vitest.fast.config.ts";

const ROOT = fileURLToPath(new URL("../../../", import.meta.url));

interface Manifest {
  readonly scripts?: Readonly<Record<string, string>>;
}

const FOLDERS = ["packages", "apps"]
  .flatMap((group) => readdirSync(join(ROOT, group)).map((name) => join(group, name)))
  .filter((folder) => existsSync(join(ROOT, folder, "package.json")));

function testFiles(folder: string): string[] {
  return ["src", "test"]
    .filter((part) => existsSync(join(ROOT, folder, part)))
    .flatMap((part) =>
      readdirSync(join(ROOT, folder, part), { recursive: true, encoding: "utf8" }).map((name) =>
        join(part, name),
      ),
    )
    .filter((name) => name.endsWith(".test.ts"));
}

function fastFiles(folder: string): string[] {
  const { include, exclude } = fastSet(join(ROOT, folder));
  return testFiles(folder).filter(
    (name) =>
      include.some((glob) => matchesGlob(name, glob)) && !exclude.some((glob) => matchesGlob(name, glob)),
  );
}

test("each package has tests in the fast set, and the script that runs them", () => {
  for (const folder of FOLDERS) {
    expect(fastFiles(folder), folder).not.toEqual([]);
    const { scripts } = JSON.parse(readFileSync(join(ROOT, folder, "package.json"), "utf8")) as Manifest;
    expect(scripts?.["test:fast"], folder).toBe("vitest run --config ../../vitest.fast.config.ts");
  }
});

test("no test of a slow kind is in the fast set, neither SUBJECT.KIND.test.ts nor a bare KIND.test.ts", () => {
  const slow = FOLDERS.flatMap((folder) =>
    fastFiles(folder)
      .filter((name) => {
        const parts = basename(name, ".test.ts").split(".");
        const kind = parts.at(-1) ?? "";
        // `simulation.test.ts` next to `simulation.ts` tests that file; without it the name is a kind.
        const hasSubject = parts.length === 1 && existsSync(join(ROOT, folder, dirname(name), `${kind}.ts`));
        return SLOW_KINDS.includes(kind) && !hasSubject;
      })
      .map((name) => join(folder, name)),
  );
  expect(slow).toEqual([]);
});

test("each slow kind is the name of a test", () => {
  const names = FOLDERS.flatMap(testFiles);
  expect(SLOW_KINDS.filter((kind) => !names.some((name) => name.endsWith(`.${kind}.test.ts`)))).toEqual([]);
});
