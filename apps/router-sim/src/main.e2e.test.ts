/**
 * router-sim as a process among others: pipes whose readers go, signals, paths that cannot be written, options that contradict each
 * other. Every error is one line, never a stack trace.
 */
import { type ChildProcess, spawn } from "node:child_process";
import { once } from "node:events";
import { access, mkdtemp, rm } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { afterAll, beforeAll, expect, it } from "vitest";

const MAIN = join(import.meta.dirname, "../dist/main.js");

let folder = "";
beforeAll(async () => {
  folder = await mkdtemp(join(tmpdir(), "router-sim-main-"));
});
afterAll(async () => {
  await rm(folder, { recursive: true });
});

/** A process, and what it says on stderr until it ends. */
interface Run {
  readonly child: ChildProcess;
  readonly ended: Promise<{ exitCode: number | null; signal: string | null; errors: string; lines: string }>;
}

function start(...args: readonly string[]): Run {
  const child = spawn(process.execPath, [MAIN, ...args], { stdio: ["ignore", "pipe", "pipe"] });
  let errors = "";
  let lines = "";
  child.stderr.on("data", (chunk: Buffer) => (errors += chunk.toString()));
  child.stdout.on("data", (chunk: Buffer) => (lines += chunk.toString()));
  const ended = once(child, "close").then(([exitCode, signal]) => ({
    exitCode: exitCode as number | null,
    signal: signal as string | null,
    errors,
    lines,
  }));
  return { child, ended };
}

const SMALL = ["--workload", "chat,requests=100", "--engines", "2"];

it.each([
  ["simulate", ...SMALL, "--policy", "all"],
  ["compare", ...SMALL, "--seeds", "1-2", "--policy", "random,kvsync"],
  ["trace", "stats", "chat,requests=100"],
  ["--help"],
])("ends without a word when nobody reads on: %s", async (...args) => {
  const { child, ended } = start(...args);
  child.stdout?.destroy();
  const { exitCode, errors } = await ended;
  expect(errors).toBe("");
  expect(exitCode).toBe(141);
});

it("an interrupt ends a simulation at once, though it computes without a pause", async () => {
  const { child, ended } = start("simulate", "--workload", "chat,requests=1000000", "--engines", "8");
  await once(child.stdout!, "data");
  child.kill("SIGINT");
  expect(await ended).toMatchObject({ exitCode: null, signal: "SIGINT" });
});

it.each([
  ["simulate", "--json"],
  ["simulate", "--requests-csv"],
  ["compare", "--json"],
  ["compare", "--html"],
  ["compare", "--markdown"],
  ["replay", "--json"],
  ["replay", "--daemon-log"],
])("%s says that it cannot write to %s before it begins", async (command, option) => {
  for (const path of [join(folder, "absent/report"), folder]) {
    const { exitCode, errors, lines } = await start(command, ...SMALL, option, path).ended;
    expect(errors).toMatch(/^error: cannot write .*(ENOENT|directory)[^\n]*\n$/);
    expect([exitCode, lines]).toEqual([2, ""]);
  }
});

it("leaves no file behind when it only looks whether it may write one", async () => {
  const path = join(folder, "later.json");
  const { exitCode } = await start("simulate", "--workload", "absent.jsonl", "--json", path).ended;
  expect(exitCode).toBe(2);
  await expect(access(path)).rejects.toThrow("ENOENT");
});

it("refuses to restart more engines than there are", async () => {
  const { exitCode, errors } = await start("replay", ...SMALL, "--restart-engines", "3").ended;
  expect(errors).toContain("3 of 2 engines cannot be restarted");
  expect(exitCode).toBe(2);
});

it.each([
  [["simulate", "--engines", "0"], "--engines <n>", "0", "Too small: expected an integer from 1 to "],
  [
    ["compare", "--event-loss-percent", "half"],
    "--event-loss-percent <x>",
    "half",
    "Not a number: expected a number",
  ],
  [["replay", "--speedup", "0x10"], "--speedup <x>", "0x10", "Not a number: expected a number from 0.1 to "],
  [["scenario", "--speedup", ""], "--speedup <x>", "", "Not a number: expected a number from 0.1 to "],
  [
    ["generate-trace", "--seed", "1.5"],
    "--seed <n>",
    "1.5",
    "Not an integer: expected an integer from 0 to ",
  ],
])("refuses %j: names the option, what is wrong and what was expected", async (args, option, text, fault) => {
  const { exitCode, errors, lines } = await start(...args).ended;
  expect(errors).toContain(`error: option '${option}' argument '${text}' is invalid. ${fault}`);
  expect([exitCode, lines]).toEqual([2, ""]);
});
