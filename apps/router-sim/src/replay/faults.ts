/**
 * Lets planned faults strike, one after the other, and measures the recovery from each while traffic continues.
 *
 *     wait for its place ─▶ strike ─▶ (fault over) ─▶ all streams caught up with what was published at that moment, and
 *     trusted ─▶ recovery time ─▶ fleet paused ─▶ checkpoint (audit) ─▶ fleet continues
 */
import { setTimeout as sleep } from "node:timers/promises";
import { Prng, unreachable } from "@kvsync/core";

import type { DaemonClient } from "../daemon/daemon-client.ts";
import type { DaemonProcess } from "../daemon/daemon-process.ts";
import type { FleetClient } from "../fleet/fleet-client.ts";
import { type Checkpoint, enginesOrNone, waitUntilCaughtUp } from "./checkpoint.ts";
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
  if (notMade !== null) subjects.announce(`the fault could not be made: ${notMade}`);
  const target = await fleet.call("positions", null);
  const recovery = await waitUntilCaughtUp(daemon, subjects.recoverySecondsMax, async (engines) =>
    laggards(target, await fleet.call("positions", null), engines),
  );
  const recoverySeconds = (performance.now() - sinceMs) / 1000;
  const unrecovered = recovery.laggards.length === 0 ? null : describeLaggards(recovery.laggards);
  if (notMade === null || unrecovered !== null)
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

/**
 * Loses live messages until more are missing at the daemon than the history will keep, and only then cuts the history. The
 * daemon looks for a lost tail by itself, so what is missing there counts, not what was lost, and it is looked at again
 * after the cut.
 *
 * @returns why the gap could not be made, or null.
 */
async function truncateHistory(keep: number, subjects: FaultSubjects): Promise<string | null> {
  const { fleet, dropPercent } = subjects;
  const positions = await fleet.call("positions", null);
  const busiest = positions.reduce((best, position) =>
    position.requestCount > best.requestCount ? position : best,
  );
  const engine = positions.indexOf(busiest);
  const lose = (percent: number): Promise<null> =>
    fleet.call("fault", { engine, fault: { kind: "drop", percent } });
  const historyBefore = (await standingOf(engine, subjects)).historyFrom;
  const deadlineMs = performance.now() + 1000 * TRUNCATE_SECONDS_MAX;
  let published = 0;
  let isMade = false;
  await lose(100);
  do {
    const standing = await standingOf(engine, subjects);
    const isMissing = standing.applied + keep + 1 < published;
    isMade = published > 0 && (isMissing || standing.historyFrom > historyBefore);
    if (isMade) break;
    published = 0;
    if (standing.published > standing.applied + keep + 1) {
      published = standing.published;
      await fleet.call("fault", { engine, fault: { kind: "truncate_history", keep } });
    } else if (standing.isIdle && subjects.arrivedShare() >= 1) {
      break;
    }
    await sleep(POLL_MS);
  } while (performance.now() < deadlineMs);
  await lose(dropPercent);
  return isMade ? null : `${busiest.worker} had too little left to do for a gap of ${keep + 2} messages`;
}

/** One engine's stream, at both ends. */
interface StreamEnds {
  readonly published: number;
  readonly applied: number;
  readonly historyFrom: number;
  /** No request waits or runs. */
  readonly isIdle: boolean;
}

async function standingOf(engine: number, { fleet, daemon }: FaultSubjects): Promise<StreamEnds> {
  const position = (await fleet.call("positions", null))[engine];
  const known = (await enginesOrNone(daemon)).find(({ id }) => id === position?.worker)?.ranks[0];
  return {
    published: position?.publishedSequenceNumber ?? -1,
    applied: known?.last_sequence_number ?? -1,
    historyFrom: known?.history_from_sequence_number ?? 0,
    isIdle: position?.requestCount === 0,
  };
}
