/**
 * From what a value measures to how Grafana writes it: the only place where a Grafana unit is named.
 */

import * as units from "@grafana/grafana-foundation-sdk/units";

import type { Measure } from "../promql/vector.ts";

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
