import { expect, test } from "vitest";

import { engineEntry } from "../engine/engine-entry.ts";
import { filePlan, filesOfEngine } from "./open-files.ts";
import { readSettings } from "./read-settings.ts";

const limits = (soft: string): string =>
  `Limit                     Soft Limit           Hard Limit           Units\nMax open files            ${soft}                 524288               files\n`;

test("engines get the descriptors that connections and the process leave, and a low limit leaves room for both", () => {
  expect(filePlan(1024, limits("524288"))).toEqual({ connections: 1024, engineFiles: 523_200 });
  expect(filePlan(1024, limits("1024"))).toEqual({ connections: 256, engineFiles: 704 });
  expect(filePlan(10, limits("1024"))).toEqual({ connections: 10, engineFiles: 950 });
  expect(filePlan(1024, limits("64"))).toEqual({ connections: 256, engineFiles: 4 });
  expect(filePlan(1024, limits("unlimited"))).toEqual({ connections: 1024, engineFiles: Infinity });
  expect(filePlan(1024, "")).toEqual({ connections: 1024, engineFiles: 9152 });
});

const KEY = "rq:rM>}U?@Lns47E1%kR.o@n%FcmmsL/@{H8]yf7";

test.each([
  ["own", null, undefined, 4],
  ["libzmq", null, undefined, 8],
  ["own", "engine.key", undefined, 8],
  ["own", null, KEY, 8],
] as const)(
  "with the reader %s, the fleet's key %s and its own key %s an engine of two ranks takes %i",
  (transport, server_key_file, curve_server_key, files) => {
    const { settings } = readSettings([], {});
    const entry = { id: "a", model: "m", endpoint: "tcp://h:1000", dp_size: 2, curve_server_key };
    const curve = { ...settings.curve, server_key_file };
    expect(
      filesOfEngine(engineEntry.parse(entry), { ingest: { ...settings.ingest, transport }, curve }),
    ).toBe(files);
  },
);
