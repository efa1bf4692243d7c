/**
 * The figures under docs/routing are those of the simulator and the policies as they are. One of the runs is made again,
 * and each of its figures compared: a change that moves them asks for the whole reports again.
 */
import { execFile } from "node:child_process";
import { mkdtempSync, readFileSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { promisify } from "node:util";
import { afterAll, expect, it } from "vitest";

import type { ComparisonFigures } from "./comparison-document.ts";

const MAIN = join(import.meta.dirname, "../../dist/main.js");
const COMMITTED = join(import.meta.dirname, "../../../../docs/routing/workloads.json");
/** 12,000 requests take some ten seconds of CPU. */
const RUN_MS_MAX = 900_000;

const folder = mkdtempSync(join(tmpdir(), "router-sim-committed-"));
afterAll(() => {
  rmSync(folder, { recursive: true });
});

/** Each figure of kvsync's run on chat with the first seed, by name. */
function firstRun(path: string): Readonly<Record<string, number | undefined>> {
  const { comparison } = JSON.parse(readFileSync(path, "utf8")) as ComparisonFigures;
  const [chat] = comparison.cases.filter(({ workload }) => workload === "chat");
  const result = chat?.policies.find(({ policy }) => policy === "kvsync");
  if (result === undefined) return {};
  return Object.fromEntries(Object.entries(result.metrics).map(([name, { values }]) => [name, values[0]]));
}

it(
  "seed 1 of docs/routing/workloads has today the figures that are committed",
  async () => {
    const again = join(folder, "again.json");
    const setup = ["--engines", "8", "--event-delay-ms", "5", "--seeds", "1", "--threads", "1"];
    const wanted = ["--workload", "chat", "--policy", "kvsync", ...setup, "--json", again];
    await promisify(execFile)(process.execPath, [MAIN, "compare", ...wanted]);
    const committed = firstRun(COMMITTED);
    expect(Object.keys(committed).length).toBeGreaterThan(10);
    expect(firstRun(again), "other figures: make the reports of docs/routing again").toEqual(committed);
  },
  RUN_MS_MAX,
);
