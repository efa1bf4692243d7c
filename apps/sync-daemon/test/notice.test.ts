/** NOTICE lists the content of the packaged daemon, under accepted licenses only. */
import { readFileSync } from "node:fs";
import { fileURLToPath } from "node:url";

import { expect, test } from "vitest";

interface Shipped {
  readonly name: string;
  readonly version: string;
  readonly license: string;
  readonly folder: string;
}

const { ACCEPTED, licenseTexts, noticeText, shippedPackages } = (await import(
  new URL("../../../scripts/notice.mjs", import.meta.url).href
)) as {
  readonly ACCEPTED: readonly string[];
  readonly licenseTexts: (packages: readonly Shipped[]) => string;
  readonly noticeText: (packages: readonly Shipped[]) => string;
  readonly shippedPackages: (...folders: readonly string[]) => readonly Shipped[];
};

const packages = shippedPackages(
  fileURLToPath(new URL("../", import.meta.url)),
  fileURLToPath(new URL("../../dashboard/", import.meta.url)),
);
const dependencies = (): readonly string[] => {
  const manifest = readFileSync(new URL("../package.json", import.meta.url), "utf8");
  const { dependencies: own } = JSON.parse(manifest) as { dependencies: Record<string, string> };
  return Object.keys(own).filter((name) => !name.startsWith("@kvsync/"));
};

test("NOTICE is committed as it is generated (node scripts/notice.mjs)", () => {
  expect(readFileSync(new URL("../../../NOTICE", import.meta.url), "utf8")).toBe(noticeText(packages));
});

test("it has every dependency of the daemon, and libzmq, which comes inside of one", () => {
  const names = packages.map(({ name }) => name);
  expect(dependencies().filter((name) => !names.includes(name))).toEqual([]);
  expect(names.length).toBeGreaterThan(dependencies().length);
  expect(noticeText(packages)).toContain(
    "- libzmq: MPL-2.0, https://mozilla.org/MPL/2.0/; source: https://github.com/",
  );
  expect(licenseTexts(packages)).toContain("libzmq` binaries that are licensed under MPL-2.0");
});

test("every license is one that was accepted", () => {
  expect(packages.filter(({ license }) => !ACCEPTED.includes(license))).toEqual([]);
});
