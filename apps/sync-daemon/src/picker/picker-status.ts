/** The picker's state, as its threads send it to those who ask. */

import type { EndpointLoad, EndpointState } from "./endpoint-fleet.ts";
import { type PickerTotals, sumOfTotals } from "./picker-metrics.ts";

/** What one thread does. */
interface ThreadStanding {
  readonly connections: number;
  readonly streams: number;
  /** Requests that it picked for and that are not over, those over HTTP included. */
  readonly bookings: number;
}

/** Plain data, of one thread or of all. */
export interface PickerStatus {
  readonly isReady: boolean;
  /** With the requests of all threads. */
  readonly endpoints: readonly EndpointLoad[];
  readonly states: Readonly<Record<EndpointState, number>>;
  readonly totals: PickerTotals;
  /** Shards that had no answer when a thread last asked them, ascending. */
  readonly missingShards: readonly number[];
  readonly openPicks: number;
  readonly expiredPicks: number;
  readonly threads: readonly ThreadStanding[];
}

/**
 * The state of the whole picker.
 *
 * @param first - of the thread that scrapes.
 * @param others - of the other threads.
 */
export function statusOfAll(first: PickerStatus, others: readonly PickerStatus[]): PickerStatus {
  const all = [first, ...others];
  return {
    ...first,
    isReady: all.every(({ isReady }) => isReady),
    missingShards: [...new Set(all.flatMap(({ missingShards }) => missingShards))].sort((a, b) => a - b),
    totals: sumOfTotals(all.map(({ totals }) => totals)),
    openPicks: all.reduce((sum, { openPicks }) => sum + openPicks, 0),
    expiredPicks: all.reduce((sum, { expiredPicks }) => sum + expiredPicks, 0),
    threads: all.flatMap(({ threads }) => threads),
  };
}
