/**
 * The main job on real input: the whole Mooncake conversation trace (an hour, 12,031 requests). It
 * runs through sixteen engines and the real daemon, without faults and with them. After every fault
 * and at the end the audit finds no difference. Each (worker, tier, prefix) that an engine holds is
 * in the index, and nothing else is.
 *
 * The trace is not part of this repository; its README names the source. Where it is absent the runs are named as skipped,
 * and in CI they fail.
 */
import { execFile } from "node:child_process";
import { existsSync } from "node:fs";
import { mkdtemp, readFile, rm } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { afterAll, beforeAll, describe, expect, it } from "vitest";

import type { RunReport } from "../report/run-report.ts";

const MAIN = join(import.meta.dirname, "../../dist/main.js");
const CONVERSATION = join(
  import.meta.dirname,
  "../../../../../shared/data/traces/mooncake-conversation.jsonl",
);
const IN_CI = !["", "false", undefined].includes(process.env["CI"]);
const RUN_TIMEOUT_MS = 900_000;
const REQUESTS = 12_031;
/** A busy machine recovers late, and that is no fault. */
const PATIENT = ["--recovery-seconds", "600", "--settle-seconds", "600"];

let folder = "";
beforeAll(async () => {
  folder = await mkdtemp(join(tmpdir(), "router-sim-conversation-"));
});
afterAll(async () => {
  await rm(folder, { recursive: true });
});

async function replayConversation(name: string, ...faults: readonly string[]): Promise<RunReport> {
  const jsonPath = join(folder, `${name}.json`);
  const args = ["replay", "--trace", CONVERSATION, "--engines", "16", "--policy", "kvsync"];
  const output = await new Promise<string>((resolve, reject) => {
    execFile(
      process.execPath,
      [MAIN, ...args, "--speedup", "60", "--json", jsonPath, ...PATIENT, ...faults],
      { timeout: RUN_TIMEOUT_MS },
      (error, stdout, stderr) => {
        if (error === null) resolve(stdout);
        else reject(new Error(`${stdout}\n${stderr}`, { cause: error }));
      },
    );
  });
  expect(output).not.toContain("FAILED");
  const { runs } = JSON.parse(await readFile(jsonPath, "utf8")) as { runs: RunReport[] };
  const report = runs.at(-1)!;
  expect(report.requests).toBe(REQUESTS);
  for (const { audit } of [...report.faults, report]) {
    expect(audit.differences).toEqual([]);
    expect(audit.dumpedCount).toBe(audit.heldCount);
    expect(audit.heldCount).toBeGreaterThan(10_000);
  }
  expect(report.trust).toEqual({ exact: 16 });
  return report;
}

describe.skipIf(!existsSync(CONVERSATION) && !IN_CI)(
  "the whole conversation trace through 16 engines (needs mooncake-conversation.jsonl in ../shared/data/traces)",
  { timeout: RUN_TIMEOUT_MS },
  () => {
    it("is followed exactly, and routing by it comes near perfect knowledge", async () => {
      const report = await replayConversation("calm", "--lookup-timeout-ms", "60000");
      expect(report.gaps).toBe(0);
      expect(report.oracleShare).toBeGreaterThan(0.8);
    });

    // Both in one run: it is the harder case, and a whole trace takes a minute of both cores.
    it("is followed exactly while 1 % of all messages is lost, and through three engine restarts meanwhile", async () => {
      const report = await replayConversation("loss", "--drop-percent", "1", "--restart-engines", "3");
      expect(report.messagesDropped).toBeGreaterThan(1_000);
      expect(report.gaps).toBeGreaterThan(1_000);
      expect(report.restartsSeen).toBe(3);
    });

    it("is followed exactly through a killed daemon, when the engines' history reaches back to their start", async () => {
      // At sixty times real time an engine's usual 10,000 messages are a quarter of a minute; in real time they are minutes.
      const history = ["--buffer-steps", "100000"];
      const report = await replayConversation("kill", "--kill-daemon", "30", ...history);
      expect(Object.keys(report.routedWithoutAdvice)).not.toEqual([]);
    });
  },
);
