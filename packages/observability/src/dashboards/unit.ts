/**
 * From what a value measures to how Grafana writes it: the only place where a Grafana unit is named.
 */

import * as units from "@grafana/grafana-foundation-sdk/units";

import type { Measure } from "../promql/vector.ts";

/** Grafana's unit of a rate, by what is counted. */
const RATE_UNITS = { requests: units.RequestsPerSecond, messages: "suffix: msg/s" } as const;

/** Grafana's unit for each measure. */
export const GRAFANA_UNITS: Readonly<Record<Measure, string>> = {
  none: units.Short,
  seconds: units.Seconds,
  bytes: units.BytesIEC,
  ratio: units.PercentUnit,
  percent: units.Percent,
  timestamp: units.DatetimeISO,
  per_second: units.OpsPerSecond,
  bytes_per_second: units.BytesPerSecondIEC,
};

/**
 * Grafana's unit of a panel.
 *
 * @param panel - what its values measure, and what a rate among them counts.
 */
export function unitOf({
  measure,
  counts,
}: {
  readonly measure: Measure;
  readonly counts?: keyof typeof RATE_UNITS;
}): string {
  return counts !== undefined && measure === "per_second" ? RATE_UNITS[counts] : GRAFANA_UNITS[measure];
}
