/**
 * Everything real, end to end. The built command line starts engines that speak ZeroMQ, and the
 * built daemon as a process. It sends them a generated workload, injects faults, and audits. A
 * run's claims are its exit code and its JSON report.
 *
 * Runs are small (some seconds); the claims hold at any size.
 */
import { execFile } from "node:child_process";
import { mkdtemp, readFile, rm } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { afterAll, beforeAll, describe, expect, it } from "vitest";

import type { RunReport } from "../report/run-report.ts";
import { simulate } from "../simulate/simulation.ts";
import { hitRate } from "../simulate/simulation-result.ts";
import { generateWorkload } from "../trace/generator.ts";
import { openWorkload, parseWorkloadSource } from "../workload/workload-source.ts";

const MAIN = join(import.meta.dirname, "../../dist/main.js");
const RUN_TIMEOUT_MS = 120_000;

let folder = "";
beforeAll(async () => {
  folder = await mkdtemp(join(tmpdir(), "router-sim-e2e-"));
});
afterAll(async () => {
  await rm(folder, { recursive: true });
});

interface Ended {
  readonly exitCode: number;
  readonly output: string;
}

function run(args: readonly string[]): Promise<Ended> {
  return new Promise((resolve) => {
    execFile(process.execPath, [MAIN, ...args], { timeout: RUN_TIMEOUT_MS }, (error, stdout, stderr) => {
      const exitCode = error === null ? 0 : typeof error.code === "number" ? error.code : -1;
      resolve({ exitCode, output: `${stdout}\n${stderr}` });
    });
  });
}

const SMALL = [
  ...["--generate", "requests=250,minutes=5,scale=0.25", "--engines", "3", "--blocks", "3000"],
  ...["--speedup", "60", "--settle-seconds", "30"],
];

/**
 * What the calm run has instead: simulated, kvsync hits 24.6 % there and random 14.6 %, so that two runs within the tolerance below
 * cannot change places. (With three engines and seed 1 they are 0.7 points apart, and a loaded machine once reversed them.)
 */
const CALM_SEED = 3;
const CALM_ENGINES = 6;
const WIDE_MARGIN = 0.05;

/** The same as SMALL's, of the calm run's seed, for `simulate`. */
const requests = generateWorkload({ requests: 250, minutes: 5, scale: 0.25 }, CALM_SEED);
const workload = { name: "small", requestCount: requests.length, blockTokens: 512, requests: () => requests };

/** A lookup that a busy machine answers late is advice all the same. */
const PATIENT = ["--lookup-timeout-ms", "60000"];

/** A millisecond between an engine's step and the daemon's index, at 60 times real time. */
const REPLAY_DELAY_SECONDS = 0.06;

/**
 * By how much simulated and replayed hit rates may differ: two percentage points. Arrivals and choices are the same; what differs is
 * when lookups see which events, since real time jitters.
 */
const HIT_RATE_TOLERANCE = 0.02;

async function replay(
  name: string,
  ...args: readonly string[]
): Promise<{ ended: Ended; runs: readonly RunReport[] }> {
  const jsonPath = join(folder, `${name}.json`);
  const ended = await run(["replay", ...SMALL, "--json", jsonPath, ...args]);
  const document = JSON.parse(await readFile(jsonPath, "utf8").catch(() => '{"runs":[]}')) as {
    runs: RunReport[];
  };
  return { ended, runs: document.runs };
}

/** What every good run satisfies, whatever happened in it. */
function expectGood({ ended, runs }: { ended: Ended; runs: readonly RunReport[] }): RunReport {
  expect(ended.output).not.toContain("FAILED");
  expect(ended.exitCode).toBe(0);
  const report = runs.at(-1)!;
  expect(report.requests).toBe(250);
  for (const { audit } of [...report.faults, report]) {
    expect(audit.differences).toEqual([]);
    expect(audit.heldCount).toBeGreaterThan(100);
    expect(audit.dumpedCount + audit.excusedCount).toBe(audit.heldCount);
  }
  return report;
}

describe("a replay against the real daemon", { timeout: RUN_TIMEOUT_MS }, () => {
  it("ends exact on every stream, beats random widely, and hits as often as the simulation says", async () => {
    const sized = ["--seed", String(CALM_SEED), "--engines", String(CALM_ENGINES), ...PATIENT];
    const result = await replay("calm", "--policy", "random,kvsync", ...sized);
    const informed = expectGood(result);
    const [random] = result.runs;
    expect(informed.trust).toEqual({ exact: CALM_ENGINES });
    expect(informed.gaps).toBe(0);
    expect(informed.routedWithoutAdvice).toEqual({});
    expect(informed.lookups).toBe(250);
    expect(informed.blockHitRate).toBeGreaterThan(random!.blockHitRate + WIDE_MARGIN);
    expect(informed.oracleShare).toBeGreaterThan(random!.oracleShare);
    for (const [position, { blockHitRate }] of result.runs.entries()) {
      const policy = position === 0 ? "random" : "kvsync";
      const simulated = simulate(workload, {
        ...{ seed: CALM_SEED, policy, engineCount: CALM_ENGINES, blockSize: 16, blockCount: 3_000 },
        eventDelaySeconds: REPLAY_DELAY_SECONDS,
      });
      expect(Math.abs(hitRate(simulated.result.totals) - blockHitRate)).toBeLessThan(HIT_RATE_TOLERANCE);
    }
    expect(result.ended.output).toMatch(/^seed 3 · commit \S+ · Node v\d+/);
  });

  it("of a chat, whose turns share answers and sessions, hits as often as its simulation, too", async () => {
    const text = "chat,requests=150,rate=12";
    const jsonPath = join(folder, "chat.json");
    const args = ["--workload", text, "--engines", "3", "--speedup", "10", "--json", jsonPath, ...PATIENT];
    const ended = await run(["replay", ...args, "--policy", "session-sticky,kvsync"]);
    expect(ended.exitCode, ended.output).toBe(0);
    const { runs } = JSON.parse(await readFile(jsonPath, "utf8")) as { runs: RunReport[] };
    const chat = await openWorkload(parseWorkloadSource(text), 1);
    for (const [position, policy] of (["session-sticky", "kvsync"] as const).entries()) {
      const settings = { seed: 1, policy, engineCount: 3, blockSize: 16, blockCount: 24_576 };
      const simulated = hitRate(simulate(chat, settings).result.totals);
      expect(simulated).toBeGreaterThan(0.3);
      expect(Math.abs(simulated - (runs[position]?.blockHitRate ?? 0)), policy).toBeLessThan(
        HIT_RATE_TOLERANCE,
      );
    }
  });

  it("ends exact when 5 % of the messages are lost, by replaying them", async () => {
    const report = expectGood(await replay("loss", "--drop-percent", "5"));
    expect(report.messagesDropped).toBeGreaterThan(0);
    expect(report.gaps).toBeGreaterThan(0);
    expect(report.replays.completed).toBeGreaterThan(0);
    expect(report.trust).toEqual({ exact: 3 });
  });

  it("ends exact after engines restarted empty, and routes their requests again", async () => {
    const report = expectGood(await replay("restart", "--restart-engines", "2@50"));
    expect(report.engineRestarts).toBe(2);
    expect(report.restartsSeen).toBe(2);
    expect(report.faults).toHaveLength(1);
    expect(report.trust).toEqual({ exact: 3 });
  });

  it("ends exact after the daemon was killed, and routes without advice meanwhile", async () => {
    const report = expectGood(await replay("kill", "--kill-daemon", "50"));
    const blind = Object.values(report.routedWithoutAdvice).reduce((sum, count) => sum + count, 0);
    expect(blind).toBeGreaterThan(0);
    expect(report.lookups + blind).toBe(250);
    expect(report.trust).toEqual({ exact: 3 });
  });

  it("ends exact after the daemon was frozen", async () => {
    const report = expectGood(await replay("stall", "--stall-subscriber", "1@50"));
    expect(report.routedWithoutAdvice["timed_out"]).toBeGreaterThan(0);
    expect(report.trust).toEqual({ exact: 3 });
  });

  it("says partial, and misses only what it could not learn, when history is too short to fill a gap", async () => {
    const report = expectGood(await replay("truncated", "--truncate-history", "5@50"));
    expect(report.faults[0]!.audit.streamsByTrust).toEqual({ exact: 2, partial: 1 });
    expect(report.faults[0]!.audit.excusedCount).toBeGreaterThan(0);
  });

  it.each(["ghost", "missing"])(
    "exits with 1 and lists the difference when a %s is planted",
    async (kind) => {
      const { ended, runs } = await replay(`planted-${kind}`, "--plant-difference", kind, "--requests", "60");
      expect(ended.exitCode).toBe(1);
      expect(runs[0]!.audit.differenceCount).toBeGreaterThan(0);
      expect(runs[0]!.audit.differences[0]!.kind).toBe(kind);
      expect(ended.output).toMatch(new RegExp(`${kind}: engine-\\d rank 0, device, prefix [0-9a-f]{16}`));
    },
  );
});

describe("the command line", () => {
  it("refuses wrong options with exit code 2, naming the option, the value and what it expects", async () => {
    const wrong: readonly [readonly string[], string][] = [
      [["replay"], "one of --trace FILE, --generate SPEC and --workload WORKLOAD is needed"],
      [["replay", "--generate", "requests=none"], "requests"],
      [["replay", "--generate", "conversation", "--trace", "x"], "--trace"],
      [["replay", "--generate", "conversation", "--engines", "0"], "--engines"],
      [["replay", "--generate", "conversation", "--policy", "best"], '"best"'],
      [["replay", "--generate", "conversation", "--restart-engines", "1@200"], "--restart-engines"],
      [["replay", "--generate", "conversation", "--dialect", "vllm-9"], "vllm-0.26"],
      [["replay", "--nonsense"], "--nonsense"],
      [["fly"], "fly"],
      [["trace", "stats", join(folder, "absent")], "ENOENT"],
      [["trace", "stats", "--cache-blocks", "10,x", "t"], "--cache-blocks"],
      [["generate-trace", "chat,length=2", join(folder, "t")], "blocks of 1024 tokens; expected 512"],
      [["generate-trace", "chat,requests=2", join(folder, "absent", "t")], "ENOENT"],
      [["trace-stats", "t"], "trace-stats is now called trace stats"],
    ];
    for (const [args, message] of wrong) {
      const { exitCode, output } = await run(args);
      expect(output).toContain(message);
      expect(exitCode).toBe(2);
    }
  });

  it("shows its help with exit code 0", async () => {
    for (const args of [["--help"], ["replay", "--help"], ["demo", "--help"]]) {
      const { exitCode, output } = await run(args);
      expect(exitCode).toBe(0);
      expect(output).toContain("Usage:");
    }
  });

  it("says which daemon it cannot start", async () => {
    const { exitCode, output } = await run(["replay", ...SMALL, "--daemon", join(folder, "no-daemon.js")]);
    expect(exitCode).toBe(1);
    expect(output).toContain("no-daemon.js");
  });

  it("writes a generated workload that it can read", async () => {
    const path = join(folder, "generated.jsonl");
    const generated = await run(["generate-trace", "agents,requests=50,lora=2,speedup=3", path]);
    expect(generated).toMatchObject({ exitCode: 0 });
    const { exitCode, output } = await run(["trace", "stats", path]);
    expect(exitCode).toBe(0);
    expect(output).toMatch(/^seed 1 · commit \S+ · Node v/);
    expect(output).toMatch(/requests +50 in/);
  });
});
