/** A picker that is off is not there. The modules of it that a daemon loads at its start read questions and figures; none picks. */
import { readFileSync } from "node:fs";
import { basename, dirname, join } from "node:path";
import { fileURLToPath } from "node:url";

import { expect, test } from "vitest";

const DIST = fileURLToPath(new URL("../dist/", import.meta.url));
const STATIC_IMPORT = /^(?:import|export)\s[^;]*?from "(\.[^"]+)"|^import "(\.[^"]+)"/gm;

/** Files of the daemon that an import of this one loads, itself among them. */
function loadedWith(entry: string): Set<string> {
  const loaded = new Set<string>();
  const waiting = [entry];
  for (let file = waiting.pop(); file !== undefined; file = waiting.pop()) {
    if (loaded.has(file)) continue;
    loaded.add(file);
    for (const [, from, bare] of readFileSync(file, "utf8").matchAll(STATIC_IMPORT))
      waiting.push(join(dirname(file), from ?? bare ?? ""));
  }
  return loaded;
}

/** Of these, the files of the picker. */
function pickerFiles(entry: string): string[] {
  const files = [...loadedWith(join(DIST, entry))].filter((file) => basename(dirname(file)) === "picker");
  return files.map((file) => basename(file)).sort();
}

test("a daemon's start loads what reads questions to a picker and its figures, and nothing that picks", () => {
  expect(loadedWith(join(DIST, "main.js")).size).toBeGreaterThan(100);
  expect(pickerFiles("main.js")).toEqual([
    ...["pick-request.js", "picker-metrics.js", "picker-questions.js", "picker-status.js"],
  ]);
});

test("the picker's thread loads what picks, which shows that the look finds it", () => {
  expect(pickerFiles("picker/picker-thread.js")).toEqual(
    expect.arrayContaining(["endpoint-fleet.js", "picker-server.js", "picker.js", "session.js"]),
  );
});
