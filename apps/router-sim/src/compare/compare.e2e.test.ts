/**
 * `compare` as a process, on workloads of seconds. Its output is the same for any number of
 * threads, and names its settings.
 */
import { execFile } from "node:child_process";
import { mkdtemp, readFile, rm } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { afterAll, beforeAll, describe, expect, it } from "vitest";

import type { ComparisonDocument } from "./comparison-document.ts";

const MAIN = join(import.meta.dirname, "../../dist/main.js");

let folder = "";
beforeAll(async () => {
  folder = await mkdtemp(join(tmpdir(), "router-sim-compare-"));
});
afterAll(async () => {
  await rm(folder, { recursive: true });
});

function run(...args: readonly string[]): Promise<{ exitCode: number; output: string }> {
  return new Promise((resolve) => {
    const child = execFile(process.execPath, [MAIN, ...args], (_error, stdout, stderr) => {
      resolve({ exitCode: child.exitCode ?? -1, output: stdout + stderr });
    });
  });
}

const SMALL = [
  ...["--workload", "chat,requests=150", "--workload", "no-reuse,requests=60,length=0.25"],
  ...["--policy", "random,kvsync", "--engines", "2,3", "--seeds", "1-3", "--blocks", "600"],
];

/** Everything but the command line, in which the file names differ. */
async function comparisonIn(path: string): Promise<unknown> {
  const { comparison, setup, workloads } = JSON.parse(await readFile(path, "utf8")) as ComparisonDocument;
  return { comparison, setup, workloads };
}

describe("router-sim compare", () => {
  it("writes the same comparison with one thread and with three, and the page beside it", async () => {
    const [json, other, html] = ["a.json", "b.json", "a.html"].map((name) => join(folder, name)) as [
      string,
      string,
      string,
    ];
    const alone = await run("compare", ...SMALL, "--threads", "1", "--json", json, "--html", html);
    expect(alone).toMatchObject({ exitCode: 0 });
    expect(alone.output).toMatch(/^seeds 1 to 3 · commit \S+ · Node v\d/);
    expect(alone.output).toMatch(/24 runs, 2,520 requests in/);
    expect(await run("compare", ...SMALL, "--threads", "3", "--json", other)).toMatchObject({ exitCode: 0 });
    expect(await comparisonIn(other)).toEqual(await comparisonIn(json));

    const document = JSON.parse(await readFile(json, "utf8")) as ComparisonDocument;
    expect(document.provenance.seeds).toEqual([1, 2, 3]);
    expect(document.provenance.command).toContain("compare --workload chat,requests=150");
    expect(document.comparison.cases).toHaveLength(4);
    expect(document.workloads.map(({ name }) => name)).toEqual([
      "chat,requests=150",
      "no-reuse,requests=60,length=0.25",
    ]);
    const [chat, nothing] = [document.comparison.cases[0], document.comparison.cases[2]];
    expect(chat?.policies.map(({ policy }) => policy)).toEqual(["random", "kvsync"]);
    for (const { metrics } of nothing?.policies ?? []) expect(metrics.hitRate.values).toEqual([0, 0, 0]);
    for (const { metrics } of chat?.policies ?? []) expect(metrics.hitRate.mean).toBeGreaterThan(0.1);
    const page = await readFile(html, "utf8");
    expect(page).toContain("<h2>chat,requests=150</h2>");
    expect(page).toMatch(/150 requests in \d seconds; .*engines count full blocks of theirs/);
  });

  it("runs one picker once, and several with each kind of news, each under its name", async () => {
    const json = join(folder, "pickers.json");
    const args = [
      "--workload",
      "chat,requests=150",
      "--policy",
      "kvsync",
      "--engines",
      "2",
      "--seeds",
      "1-2",
    ];
    const pickers = ["--pickers", "1,2", "--picker-news", "scraping,sharing", "--picker-delay-ms", "0"];
    expect(await run("compare", ...args, ...pickers, "--threads", "1", "--json", json)).toMatchObject({
      exitCode: 0,
    });
    const { comparison, setup } = JSON.parse(await readFile(json, "utf8")) as ComparisonDocument;
    const [policies] = comparison.cases.map((one) => one.policies);
    expect(policies?.map(({ policy }) => policy)).toEqual([
      "kvsync",
      "kvsync-2-scraping",
      "kvsync-2-sharing",
    ]);
    expect(policies?.[2]?.metrics).toEqual(policies?.[0]?.metrics);
    expect(new Map(setup).get("sharing pickers")).toMatch(/ 0 ms late$/);
  });

  it("refuses what it cannot run, by name, with exit code 2", async () => {
    const wrong: readonly [readonly string[], string][] = [
      [["--policy", "random"], "--workload"],
      [["--workload", "chats"], 'no workload "chats"'],
      [["--workload", "chat", "--policy", "best"], '"best"'],
      [["--workload", "chat", "--engines", "2,0"], "--engines"],
      [["--workload", "chat", "--pickers", "65"], "--pickers"],
      [["--workload", "chat", "--picker-news", "rumours"], '"rumours" is none of none, scraping, sharing'],
      [["--workload", "chat", "--engines", "2,2"], "the same twice"],
      [["--workload", "chat", "--seeds", "5-1"], "rising range"],
      [["--workload", "chat", "--seeds", "1-1000", "--engines", "1,2,3"], "expected at most 20000"],
      [["--workload", "/absent.jsonl", "--seeds", "1", "--policy", "random"], "ENOENT"],
      [["--workload", "/absent.jsonl", "--threads", "2"], "error: cannot read /absent.jsonl: ENOENT"],
      [["--workload", "chat,requests=9", "--block-size", "7", "--threads", "2"], "error: blockSize is 7"],
    ];
    for (const [args, message] of wrong) {
      const { exitCode, output } = await run("compare", ...args);
      expect(output).toContain(message);
      expect(exitCode).toBe(2);
    }
  });
});
