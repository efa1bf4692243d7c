import { describe, expect, it } from "vitest";

import type { Checkpoint } from "../replay/checkpoint.ts";
import type { RouterBooks } from "../replay/router.ts";
import { noStreamTotals } from "../replay/stream-totals.ts";
import type { RunResult } from "../replay/run.ts";
import { Samples } from "./percentiles.ts";
import { reportOf } from "./run-report.ts";
import { resultTable, runDetails } from "./table.ts";

function checkpoint(changes: Partial<Checkpoint> = {}): Checkpoint {
  return {
    settleSeconds: 0.5,
    unsettled: null,
    audit: {
      heldCount: 10,
      dumpedCount: 9,
      differenceCount: 0,
      differences: [],
      excusedCount: 1,
      streamsByTrust: { exact: 1, partial: 1 },
    },
    ...changes,
  };
}

function samples(...values: readonly number[]): Samples {
  const made = new Samples();
  for (const value of values) made.add(value);
  return made;
}

function result(changes: Partial<RunResult> = {}): RunResult {
  const router: RouterBooks = {
    counts: {
      arrivals: 4,
      completions: 4,
      refusals: 0,
      rerouted: 0,
      promptTokens: 1_700,
      promptBlocks: 100,
      cachedBlocks: 30,
      oracleBlocks: 40,
      decisions: { exact: 3, degraded: 0, fallback: 0 },
      withoutAdvice: { timed_out: 1, unreachable: 0, refused: 0, malformed: 0, too_many_lookups: 0 },
    },
    lookupMs: samples(1, 2, 3),
    decisionMs: samples(4),
    firstTokenSeconds: samples(0.5),
    refusalsByCode: new Map<string, number>(),
    lastFailures: new Map(),
  };
  return {
    policy: "kvsync",
    wallSeconds: 2,
    router,
    fleet: {
      messages: 5,
      events: 7,
      messagesDropped: 0,
      storedBlocks: 100,
      removedBlocks: 3,
      preemptions: 0,
      engineRestarts: 0,
      replayRequests: 0,
      replayedMessages: 0,
      steps: 9,
      slipSeconds: 0,
      modelledSeconds: 60,
      busySeconds: 1,
    },
    streams: { ...noStreamTotals(), trust: { exact: 2 } },
    faults: [],
    final: checkpoint(),
    daemonExitCode: 0,
    ...changes,
  };
}

describe("a run's figures", () => {
  it("are rates of what was asked for, in blocks and in tokens, and the share of the oracle", () => {
    const report = reportOf(result(), 16);
    expect(report.blockHitRate).toBeCloseTo(0.3);
    expect(report.tokenHitRate).toBeCloseTo((30 * 16) / 1_700);
    expect(report.oracleHitRate).toBeCloseTo(0.4);
    expect(report.oracleShare).toBeCloseTo(0.75);
    expect(report.lookupMs).toEqual({ p50: 2, p99: 3, max: 3 });
    expect(report.routedWithoutAdvice).toEqual({ timed_out: 1 });
    expect(report.failures).toEqual([]);
  });

  it("name each failed expectation", () => {
    const audit = { ...checkpoint().audit, differenceCount: 2 };
    const report = reportOf(
      result({
        faults: [
          {
            kind: "kill_daemon",
            description: "daemon killed",
            struckAt: 0.5,
            recoverySeconds: 30,
            unrecovered: "engine-1 (replaying, unknown, message 3 of 9)",
            notMade: "no reason",
            checkpoint: checkpoint({ audit }),
          },
        ],
        final: checkpoint({ unsettled: "engine-0 (live, stale, message 1 of 2)" }),
        daemonExitCode: null,
      }),
      16,
    );
    expect(report.failures).toEqual([
      "daemon killed: could not be made: no reason",
      "daemon killed: not recovered: engine-1 (replaying, unknown, message 3 of 9)",
      'after "daemon killed": the audit found 2 differences',
      "at the end: not everything was applied: engine-0 (live, stale, message 1 of 2)",
      "the daemon had to be killed when it was asked to stop",
    ]);
    expect(runDetails(report).match(/^FAILED: /gm)).toHaveLength(5);
  });
});

describe("the result table", () => {
  it("has one column per policy and one line per figure", () => {
    const reports = [reportOf(result({ policy: "random" }), 16), reportOf(result(), 16)];
    const lines = resultTable(reports, "all").split("\n");
    expect(lines[0]!.trim().split(/ +/)).toEqual(["random", "kvsync"]);
    expect(lines.find((line) => line.startsWith("block hit rate"))).toMatch(/30\.00 % +30\.00 %$/);
    expect(lines.find((line) => line.startsWith("audit: missing"))).toMatch(/1 +1$/);
  });

  it("can be brief, and every brief line is one of the full table", () => {
    const report = reportOf(result(), 16);
    const full = resultTable([report], "all")
      .split("\n")
      .map((line) => line.replace(/ {2,}/g, "  "));
    const brief = resultTable([report], "brief")
      .split("\n")
      .map((line) => line.replace(/ {2,}/g, "  "));
    expect(brief).toHaveLength(11);
    for (const line of brief.slice(1)) expect(full).toContain(line);
  });

  it("says none where nothing was measured", () => {
    const silent = result();
    const router: RouterBooks = {
      ...silent.router,
      lookupMs: samples(),
      decisionMs: samples(),
      firstTokenSeconds: samples(),
    };
    const report = reportOf({ ...silent, router }, 16);
    expect(resultTable([report], "all")).toMatch(/lookup p50 \/ p99 \/ max +none$/m);
  });
});
