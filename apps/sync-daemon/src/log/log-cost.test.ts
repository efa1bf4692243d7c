/** A level that is off costs nothing: the bench's figures, as ratios within one run. Needs the build. Numbers are those of log-level.ts. */
import { execFileSync } from "node:child_process";
import { fileURLToPath } from "node:url";

import { expect, test } from "vitest";

import type { LogCost } from "../../bench/log-cost.bench.ts";

const BENCH = fileURLToPath(new URL("../../bench/log-cost.bench.ts", import.meta.url));

test("lines of a level that is off allocate nothing, where those of one that is on do (V1)", () => {
  const flags = [
    "--experimental-strip-types",
    "--expose-gc",
    "--min-semi-space-size=128",
    "--max-semi-space-size=128",
  ];
  const output = execFileSync(process.execPath, [...flags, BENCH, "--json"], { encoding: "utf8" });
  const { bytes } = JSON.parse(output) as LogCost;
  expect(bytes.on).toBeGreaterThan(100);
  // Two hundred thousand events: less than a byte each is what measuring itself takes.
  expect(bytes.off).toBeLessThan(1);
});
