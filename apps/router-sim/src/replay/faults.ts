/**
 * Lets planned faults strike, one after the other, and measures the recovery from each while traffic goes on.
 *
 *     wait for its place ─▶ strike ─▶ (fault over) ─▶ all streams caught up with what was published at that moment, and
 *     trusted ─▶ recovery time ─▶ fleet paused ─▶ checkpoint (audit) ─▶ fleet goes on
 */
import { setTimeout as sleep } from "node:timers/promises";
import { Prng, unreachable } from "@kvsync/core";

import type { DaemonClient } from "../daemon/daemon-client.ts";
import type { DaemonProcess } from "../daemon/daemon-process.ts";
import type { FleetClient } from "../fleet/fleet-client.ts";
import { type Checkpoint, waitUntilCaughtUp } from "./checkpoint.ts";
import { describeFault, type PlannedFault } from "./fault-plan.ts";
import { describeLaggards, laggards } from "./stream-watch.ts";

const POLL_MS = 20;

/** The busiest engine publishes some hundred messages a second; one that is slower will not get there. */
const TRUNCATE_SECONDS_MAX = 60;

/** What became of one fault. */
export interface FaultRecord {
  readonly kind: PlannedFault["kind"];
  readonly description: string;
  /** Share of the workload that had arrived. */
  readonly struckAt: number;
  /**
   * Real seconds until every stream was caught up and trusted: since the fault's end, and for a killed daemon since
   * its death, so that its start counts.
   */
  readonly recoverySeconds: number;
  /** What had not recovered within the limit; null when all had. */
  readonly unrecovered: string | null;
  /** Why the fault could not be made; null when it was. */
  readonly notMade: string | null;
  readonly checkpoint: Checkpoint;
}

/** What faults work on. */
export interface FaultSubjects {
  readonly fleet: FleetClient;
  readonly process: DaemonProcess;
  readonly daemon: DaemonClient;
  readonly seed: number;
  /** Share of live messages that is lost all the time, percent. */
  readonly dropPercent: number;
  /** Most seconds that a recovery may take. */
  readonly recoverySecondsMax: number;
  /** Share of the workload that has arrived, 0 … 1. */
  readonly arrivedShare: () => number;
  /** Called before the daemon dies, so that its counters can be kept. */
  readonly beforeKill: () => Promise<void>;
  readonly checkpoint: () => Promise<Checkpoint>;
  readonly announce: (line: string) => void;
}

/**
 * Runs all planned faults.
 *
 * @param plan - in any order.
 * @param subjects - see FaultSubjects.
 * @param signal - ends the waiting for faults whose time has not come.
 * @returns a record per fault that struck, in order.
 */
export async function runFaults(
  plan: readonly PlannedFault[],
  subjects: FaultSubjects,
  signal: AbortSignal,
): Promise<FaultRecord[]> {
  const records: FaultRecord[] = [];
  for (const fault of plan.toSorted((a, b) => a.at - b.at)) {
    while (subjects.arrivedShare() < fault.at) {
      if (signal.aborted) return records;
      await sleep(POLL_MS);
    }
    records.push(await runFault(fault, subjects));
  }
  return records;
}

async function runFault(fault: PlannedFault, subjects: FaultSubjects): Promise<FaultRecord> {
  const { fleet, daemon } = subjects;
  const struckAt = subjects.arrivedShare();
  const description = describeFault(fault);
  subjects.announce(`fault: ${description}`);
  const { sinceMs, notMade } = await strike(fault, subjects);
  const target = await fleet.call("positions", null);
  const recovery = await waitUntilCaughtUp(daemon, subjects.recoverySecondsMax, async (engines) =>
    laggards(target, await fleet.call("positions", null), engines),
  );
  const recoverySeconds = (performance.now() - sinceMs) / 1000;
  const unrecovered = recovery.laggards.length === 0 ? null : describeLaggards(recovery.laggards);
  subjects.announce(
    unrecovered === null
      ? `recovered: every stream caught up and trusted ${recoverySeconds.toFixed(2)} s after the fault`
      : `not recovered within ${subjects.recoverySecondsMax} s: ${unrecovered}`,
  );
  await fleet.call("pause", null);
  const checkpoint = await subjects.checkpoint();
  await fleet.call("resume", null);
  return {
    kind: fault.kind,
    description,
    struckAt,
    recoverySeconds,
    unrecovered,
    notMade,
    checkpoint,
  };
}

/** A fault that is over. */
interface Struck {
  /** Real time that its recovery counts from, ms of the monotonic clock. */
  readonly sinceMs: number;
  /** Why it could not be made, or null. */
  readonly notMade: string | null;
}

/** Makes the fault and waits until it is over. */
async function strike(fault: PlannedFault, subjects: FaultSubjects): Promise<Struck> {
  switch (fault.kind) {
    case "stall_subscriber":
      subjects.process.freeze();
      await sleep(1000 * fault.seconds);
      subjects.process.thaw();
      return { sinceMs: performance.now(), notMade: null };
    case "restart_engines":
      await restartEngines(fault.count, subjects);
      return { sinceMs: performance.now(), notMade: null };
    case "kill_daemon": {
      await subjects.beforeKill();
      await subjects.process.kill();
      const sinceMs = performance.now();
      await subjects.process.startAgain();
      return { sinceMs, notMade: null };
    }
    case "truncate_history": {
      const notMade = await truncateHistory(fault.keep, subjects);
      return { sinceMs: performance.now(), notMade };
    }
    default:
      return unreachable(fault);
  }
}

async function restartEngines(count: number, { fleet, seed }: FaultSubjects): Promise<void> {
  const random = new Prng(seed);
  const left = fleet.engines.map((_, engine) => engine);
  const chosen = Array.from({ length: Math.min(count, left.length) }, () =>
    left.splice(random.below(left.length), 1),
  ).flat();
  await Promise.all(chosen.map((engine) => fleet.call("fault", { engine, fault: { kind: "restart" } })));
}

/** Loses live messages until more are lost than the history will keep, and only then cuts the history. */
async function truncateHistory(keep: number, subjects: FaultSubjects): Promise<string | null> {
  const { fleet, dropPercent } = subjects;
  const before = await fleet.call("positions", null);
  const busiest = before.reduce((best, position) =>
    position.requestCount > best.requestCount ? position : best,
  );
  const engine = before.indexOf(busiest);
  const lose = (percent: number): Promise<null> =>
    fleet.call("fault", { engine, fault: { kind: "drop", percent } });
  await lose(100);
  const enough = busiest.publishedSequenceNumber + keep + 2;
  const reached = await waitForNumber(subjects, engine, enough);
  await fleet.call("fault", { engine, fault: { kind: "truncate_history", keep } });
  await lose(dropPercent);
  return reached
    ? null
    : `${busiest.worker} published fewer than ${keep + 2} messages in ${TRUNCATE_SECONDS_MAX} s`;
}

/** @returns false when the engine will not get there: the workload has ended for it, or it takes too long. */
async function waitForNumber(
  { fleet, arrivedShare }: FaultSubjects,
  engine: number,
  sequenceNumber: number,
): Promise<boolean> {
  const deadlineMs = performance.now() + 1000 * TRUNCATE_SECONDS_MAX;
  for (;;) {
    const position = (await fleet.call("positions", null))[engine];
    if (position === undefined) return false;
    if (position.publishedSequenceNumber >= sequenceNumber) return true;
    const idleForGood = position.requestCount === 0 && arrivedShare() >= 1;
    if (idleForGood || performance.now() >= deadlineMs) return false;
    await sleep(POLL_MS);
  }
}
