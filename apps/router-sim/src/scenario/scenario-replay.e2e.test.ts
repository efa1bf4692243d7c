/**
 * Scenarios with everything real. Those made for it come true. One that expects too much fails with
 * the reason. A scenario that cannot be replayed is refused before anything starts. Real time runs,
 * so the tests claim no more than the scenario's own limits.
 */
import { execFile } from "node:child_process";
import { mkdtempSync, readdirSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { afterAll, describe, expect, it } from "vitest";

const MAIN = join(import.meta.dirname, "../../dist/main.js");
const FOLDER = join(import.meta.dirname, "../../scenarios/real");
const TIMEOUT_MS = 120_000;
const scratch = mkdtempSync(join(tmpdir(), "router-sim-scenario-"));
afterAll(() => {
  rmSync(scratch, { recursive: true });
});

function play(...args: readonly string[]): Promise<{ readonly exitCode: number; readonly output: string }> {
  return new Promise((resolve) => {
    const child = [MAIN, "scenario", ...args];
    execFile(process.execPath, child, { timeout: TIMEOUT_MS }, (error, stdout, stderr) => {
      const exitCode = error === null ? 0 : typeof error.code === "number" ? error.code : -1;
      resolve({ exitCode, output: `${stdout}\n${stderr}` });
    });
  });
}

function written(name: string, timeline: string): string {
  const path = join(scratch, `${name}.yaml`);
  const head = `name: ${name}\nabout: a test\nworkload: chat,requests=60,rate=20\nengines: 2\n`;
  writeFileSync(path, `${head}timeline:\n${timeline}\n`);
  return path;
}

describe("the scenarios made for real processes", { timeout: TIMEOUT_MS }, () => {
  const FILES = readdirSync(FOLDER);

  it.each(FILES)("%s comes true at ten times real time", async (file) => {
    const { exitCode, output } = await play(join(FOLDER, file), "--real", "--speedup", "10");
    // First, with all that it said: whatever else is missing is a consequence.
    expect(exitCode, output).toBe(0);
    expect(output).not.toContain("FAILED");
    expect(output.match(/^ {2}ok /gm)?.length).toBeGreaterThan(1);
    if (file === "history-too-short.yaml") expect(output).toMatch(/\d of which it could not know/);
  });
});

describe("a real scenario", { timeout: TIMEOUT_MS }, () => {
  it("that expects streams to have recovered while their messages are being lost fails, and says what it found", async () => {
    const path = written(
      "impatient",
      "  - { at: 1, lose: { engines: all, share: 1, seconds: 2 } }\n  - { at: 2, expect: { audit: recovered } }",
    );
    const { exitCode, output } = await play(path, "--real", "--speedup", "1");
    expect(output).toMatch(/FAILED 2 s: audit recovered: .*engine-\d \(\w+, \w+, message \d+ of \d+\)/);
    expect(exitCode).toBe(1);
  });

  it("refuses, before anything starts, to corrupt an index that is not simulated", async () => {
    const { exitCode, output } = await play(
      written("corrupt", "  - { at: 1, corrupt: [0] }\n  - { at: 2, expect: { audit: sound } }"),
      "--real",
    );
    expect(output).toContain("the entry at 1 s: corrupt needs an index that is simulated");
    expect(exitCode).toBe(2);
  });

  it.each([
    ["--speedup", "5"],
    ["--daemon", "x.js"],
    ["--daemon-log", "x.log"],
  ])("%s without --real is refused", async (option, value) => {
    const { exitCode, output } = await play(written("simulated", "  []"), option, value);
    expect(output).toContain(`${option} needs --real`);
    expect(exitCode).toBe(2);
  });
});
