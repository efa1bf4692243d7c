import { expect, test } from "vitest";

import { engineReaderOf, filePlan } from "./open-files.ts";
import { readSettings } from "./read-settings.ts";

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

test.each([
  ["own", null, "own"],
  ["libzmq", null, "libzmq"],
  ["own", "engine.key", "libzmq"],
] as const)("of %s with the engines' key %s the reader is %s", (transport, server_key_file, reader) => {
  const { settings } = readSettings([], {});
  const ingest = { ...settings.ingest, transport };
  expect(engineReaderOf({ ingest, curve: { ...settings.curve, server_key_file } })).toBe(reader);
});
