/**
 * The shares of match requests that fail and that are slow, as they are recorded for kvsync's objectives.
 *
 * Not here: budgets and alerts (objectives.ts).
 */

import { SERVICE_METRICS } from "../catalogue/service.ts";
import { complement, orZero, ratio, sum } from "../../promql/operators.ts";
import { countRate, rate, rateWithin } from "../../promql/series.ts";
import {
  type BurnWindow,
  type ObjectiveSettings,
  type ObjectiveShares,
  objectiveShares,
} from "../../rules/objectives.ts";

/** The objectives, by key. */
export type Key = "availability" | "latency";

/** Settings of both. */
export type KvsyncObjectives = ObjectiveSettings<Key> & {
  readonly slowSeconds: { readonly latency: number };
};

const SERVICE = ["cluster", "namespace", "job"] as const;
/** The requests that are promised something. */
export const ROUTE = { route: "/api/v1/match" } as const;
const REQUESTS = "match requests";

function failedShare(window: BurnWindow) {
  const all = sum(rate(SERVICE_METRICS.httpRequests, window, ROUTE), SERVICE);
  const failed = { ...ROUTE, status: { pattern: "5.." } } as const;
  return ratio(orZero(sum(rate(SERVICE_METRICS.httpRequests, window, failed), SERVICE), all), all);
}

function slowShare(seconds: number) {
  const { httpRequestDuration } = SERVICE_METRICS;
  return (window: BurnWindow) =>
    complement(
      ratio(
        sum(rateWithin(httpRequestDuration, seconds, window, ROUTE), SERVICE),
        sum(countRate(httpRequestDuration, window, ROUTE), SERVICE),
      ),
    );
}

/** A number as a person would write it. */
export function plain(value: number): string {
  return String(Number(value.toPrecision(6)));
}

/**
 * What is recorded of each.
 *
 * @param settings - of the objectives.
 */
export function recordedAs({ slowSeconds }: KvsyncObjectives) {
  const { latency } = slowSeconds;
  return {
    availability: {
      key: "availability",
      requests: REQUESTS,
      badly: "failed",
      metric: "slo_availability_errors_per_request",
      badShare: failedShare,
    },
    latency: {
      key: "latency",
      requests: REQUESTS,
      badly: `took longer than ${plain(latency * 1000)} ms`,
      metric: "slo_latency_errors_per_request",
      badShare: slowShare(latency),
    },
  } as const;
}

/**
 * The recorded shares of both.
 *
 * @param settings - of the objectives.
 */
export function sharesOf(settings: KvsyncObjectives): Readonly<Record<Key, ObjectiveShares>> {
  const { availability, latency } = recordedAs(settings);
  return {
    availability: objectiveShares("kvsync", availability, settings),
    latency: objectiveShares("kvsync", latency, settings),
  };
}
