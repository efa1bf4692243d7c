/** The picker's state, as its thread sends it to those who ask. */

import type { EndpointLoad, EndpointState } from "./endpoint-fleet.ts";
import type { PickerTotals } from "./picker-metrics.ts";

/** Plain data. */
export interface PickerStatus {
  readonly isReady: boolean;
  readonly endpoints: readonly EndpointLoad[];
  readonly states: Readonly<Record<EndpointState, number>>;
  readonly totals: PickerTotals;
  /** Requests that were picked for and are not over, those over HTTP included. */
  readonly bookings: number;
  readonly openPicks: number;
  readonly expiredPicks: number;
}
