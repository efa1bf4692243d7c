import { expect, test } from "vitest";

import { ranksWithinOpenFiles } from "./open-files.ts";

const limits = (soft: string): string =>
  `Limit                     Soft Limit           Hard Limit           Units\nMax open files            ${soft}                 524288               files\n`;

test("ranks get the descriptors that are left when the process has its own", () => {
  expect(ranksWithinOpenFiles(limits("1024"))).toBe(176);
  expect(ranksWithinOpenFiles(limits("64"))).toBe(1);
  expect(ranksWithinOpenFiles(limits("unlimited"))).toBe(Infinity);
  expect(ranksWithinOpenFiles("")).toBe(2480);
});
