/** Counters of the log lines that a thread leaves out, by the limit that they met. */

import { TELEMETRY_METRICS } from "@kvsync/observability/kvsync/telemetry";
import type { LineBound } from "@kvsync/observability/signals/log-event";
import type { Counter, MetricSlots } from "@kvsync/observability/slots";

/**
 * Makes them; each is exported as 0 from the start.
 *
 * @param metrics - of the thread.
 * @param thread - its name.
 */
export function droppedCounters(metrics: MetricSlots, thread: string): Record<LineBound, Counter> {
  const of = (bound: LineBound): Counter =>
    metrics.counter(TELEMETRY_METRICS.logLinesDropped, { thread, bound });
  return { thread: of("thread"), details: of("details"), peer: of("peer") };
}
