/**
 * The daemon's report of its streams, summed over the fleet; over several lives of the daemon when
 * it was killed.
 */
import type { EngineStatus } from "../daemon/daemon-client.ts";

/** Sums of the daemon's counters, and its last word on trust. */
export interface StreamTotals {
  readonly gaps: number;
  readonly missedMessages: number;
  readonly replaysRequested: number;
  readonly replaysCompleted: number;
  readonly replaysFailed: number;
  readonly restarts: number;
  readonly duplicates: number;
  readonly faults: Readonly<Record<string, number>>;
  readonly dropped: Readonly<Record<string, number>>;
  /** Streams by trust, as of the last reading. */
  readonly trust: Readonly<Record<string, number>>;
}

/** @returns zeros. */
export function noStreamTotals(): StreamTotals {
  return {
    gaps: 0,
    missedMessages: 0,
    replaysRequested: 0,
    replaysCompleted: 0,
    replaysFailed: 0,
    restarts: 0,
    duplicates: 0,
    faults: {},
    dropped: {},
    trust: {},
  };
}

/**
 * Sums one reading.
 *
 * @param engines - the daemon's word.
 * @returns the sums.
 */
export function streamTotals(engines: readonly EngineStatus[]): StreamTotals {
  return engines
    .flatMap(({ ranks }) => ranks)
    .map((rank) => ({
      gaps: rank.gaps,
      missedMessages: rank.missed_messages,
      replaysRequested: rank.replays.requested,
      replaysCompleted: rank.replays.completed,
      replaysFailed: rank.replays.failed,
      restarts: rank.restarts,
      duplicates: rank.duplicates,
      faults: rank.faults,
      dropped: rank.dropped,
      trust: { [rank.trust]: 1 },
    }))
    .reduce(
      (total, rank) => ({ ...addStreamTotals(total, rank), trust: addCounts(total.trust, rank.trust) }),
      noStreamTotals(),
    );
}

/**
 * Adds a later reading to an earlier life's.
 *
 * @param former - of daemons that are gone.
 * @param latest - of the one that is there; its word on trust counts.
 * @returns the sums.
 */
export function addStreamTotals(former: StreamTotals, latest: StreamTotals): StreamTotals {
  return {
    gaps: former.gaps + latest.gaps,
    missedMessages: former.missedMessages + latest.missedMessages,
    replaysRequested: former.replaysRequested + latest.replaysRequested,
    replaysCompleted: former.replaysCompleted + latest.replaysCompleted,
    replaysFailed: former.replaysFailed + latest.replaysFailed,
    restarts: former.restarts + latest.restarts,
    duplicates: former.duplicates + latest.duplicates,
    faults: addCounts(former.faults, latest.faults),
    dropped: addCounts(former.dropped, latest.dropped),
    trust: latest.trust,
  };
}

function addCounts(
  a: Readonly<Record<string, number>>,
  b: Readonly<Record<string, number>>,
): Record<string, number> {
  const sum = { ...a };
  for (const [name, count] of Object.entries(b)) if (count !== 0) sum[name] = (sum[name] ?? 0) + count;
  return sum;
}
