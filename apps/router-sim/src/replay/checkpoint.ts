/**
 * A checkpoint: wait until the daemon has applied all that the halted fleet has published, then
 * audit. The caller pauses the fleet before, and lets it continue afterward.
 */
import { setTimeout as sleep } from "node:timers/promises";

import {
  audit,
  type AuditResult,
  type EngineTruth,
  type LineageOf,
  type StreamHoldings,
  type StreamStanding,
} from "../audit/audit.ts";
import type { DaemonClient, EngineStatus } from "../daemon/daemon-client.ts";
import { DaemonError } from "../daemon/daemon-error.ts";
import { holdingsByStream, type StreamName } from "../daemon/dump.ts";
import type { FleetClient } from "../fleet/fleet-client.ts";
import { describeLaggards, type Laggard, laggards, type StreamWish } from "./stream-watch.ts";

/** How often the daemon is asked how far it is. */
const POLL_MS = 25;

/** What a checkpoint found. */
export interface Checkpoint {
  /** Real seconds until everything was applied. */
  readonly settleSeconds: number;
  /** Why it did not settle in time; null when it did. */
  readonly unsettled: string | null;
  readonly audit: AuditResult;
}

/** What a checkpoint works on. */
export interface CheckpointSubjects {
  readonly fleet: FleetClient;
  readonly daemon: DaemonClient;
  readonly model: string;
  readonly blockSize: number;
  readonly lineageOf: LineageOf;
  /** What streams are waited for to be, and the most seconds to wait. */
  readonly settledWhen: StreamWish;
  readonly settleSecondsMax: number;
  /** Alters the truth before it is compared, to check the audit itself; the identity in a real run. */
  readonly alterTruth: (truths: readonly EngineTruth[]) => readonly EngineTruth[];
}

/**
 * Waits and audits.
 *
 * @returns the findings; also when the wait was in vain, so that the differences can be seen.
 * @throws DaemonError when the daemon cannot be asked for its dump.
 */
export async function checkpoint(subjects: CheckpointSubjects): Promise<Checkpoint> {
  const { fleet, daemon, model, blockSize } = subjects;
  const positions = await fleet.call("positions", null);
  const waited = await waitUntilCaughtUp(daemon, subjects.settleSecondsMax, (engines) =>
    Promise.resolve(laggards(positions, positions, engines, subjects.settledWhen)),
  );
  const dump = await daemon.dump(model);
  const engines = await daemon.engines();
  const streamOf = new Map<number, StreamName>();
  const standings: StreamStanding[] = [];
  for (const { id, ranks } of engines) {
    for (const rank of ranks) {
      streamOf.set(rank.rank_slot, { worker: id, dpRank: rank.dp_rank });
      standings.push({
        worker: id,
        dpRank: rank.dp_rank,
        trust: rank.trust,
        historyFrom: rank.history_from_sequence_number ?? 0,
      });
    }
  }
  const holdings: StreamHoldings[] = holdingsByStream(dump, streamOf, blockSize);
  const truths = subjects.alterTruth(await fleet.call("contents", null));
  return {
    settleSeconds: waited.seconds,
    unsettled: waited.laggards.length === 0 ? null : describeLaggards(waited.laggards),
    audit: audit(truths, holdings, standings, subjects.lineageOf),
  };
}

/**
 * Asks the daemon again and again until nothing lags. A daemon that does not answer lags.
 *
 * @param daemon - is asked.
 * @param secondsMax - most seconds to wait.
 * @param lagging - what lags, given the daemon's word.
 * @returns the seconds waited, and what still lagged at the end.
 */
export async function waitUntilCaughtUp(
  daemon: DaemonClient,
  secondsMax: number,
  lagging: (engines: readonly EngineStatus[]) => Promise<readonly Laggard[]>,
): Promise<{ readonly seconds: number; readonly laggards: readonly Laggard[] }> {
  const beganMs = performance.now();
  for (;;) {
    const engines = await enginesOrNone(daemon);
    const left = await lagging(engines);
    const seconds = (performance.now() - beganMs) / 1000;
    if (left.length === 0 || seconds >= secondsMax) return { seconds, laggards: left };
    await sleep(POLL_MS);
  }
}

/**
 * What the daemon says of its streams.
 *
 * @returns nothing at all when it does not answer.
 */
export async function enginesOrNone(daemon: DaemonClient): Promise<readonly EngineStatus[]> {
  try {
    return await daemon.engines();
  } catch (error) {
    // Away, or just starting: no stream is known, and whoever waits asks again.
    if (error instanceof DaemonError) return [];
    throw error;
  }
}
