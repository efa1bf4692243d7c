import { expect, test } from "vitest";

import { filePlan } from "./open-files.ts";

const limits = (soft: string): string =>
  `Limit                     Soft Limit           Hard Limit           Units\nMax open files            ${soft}                 524288               files\n`;

test("ranks get the descriptors that connections and the process leave, and a low limit leaves room for both", () => {
  expect(filePlan(1024, "libzmq", limits("524288"))).toEqual({ connections: 1024, ranks: 130_800 });
  expect(filePlan(1024, "own", limits("1024"))).toEqual({ connections: 256, ranks: 352 });
  expect(filePlan(1024, "libzmq", limits("1024"))).toEqual({ connections: 256, ranks: 176 });
  expect(filePlan(10, "libzmq", limits("1024"))).toEqual({ connections: 10, ranks: 237 });
  expect(filePlan(1024, "libzmq", limits("64"))).toEqual({ connections: 256, ranks: 1 });
  expect(filePlan(1024, "libzmq", limits("unlimited"))).toEqual({ connections: 1024, ranks: Infinity });
  expect(filePlan(1024, "libzmq", "")).toEqual({ connections: 1024, ranks: 2288 });
});
