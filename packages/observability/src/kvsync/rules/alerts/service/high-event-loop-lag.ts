/** Alert: The daemon's main thread is held up. */

import { LIMIT_METRICS } from "../../../catalogue/limits.ts";
import { PROCESS_METRICS } from "../../../../exporters.ts";
import { panelOf } from "../../../../dashboards/panel.ts";
import { SERVICE } from "../../../dashboards/service.ts";
import { aboveLimit, max } from "../../../../promql/operators.ts";
import { recorded } from "../../../../promql/recording.ts";
import { value } from "../../../../promql/series.ts";
import { alert } from "../../../../rules/alert.ts";
import { INSTANCE } from "../../label-sets.ts";
import { RECORDINGS } from "../../recordings.ts";
import { DAEMON_JOB } from "../../thresholds.ts";
import { steady, TARGET } from "../../trial.ts";

const daemon = { job: DAEMON_JOB } as const;

/** Its condition, texts, runbook and trial. */
export const HIGH_EVENT_LOOP_LAG = alert({
  name: "HighEventLoopLag",
  when: aboveLimit(
    max(value(PROCESS_METRICS.eventLoopLagP99, daemon), INSTANCE),
    max(value(LIMIT_METRICS.eventLoopLagLimit), INSTANCE),
    LIMIT_METRICS.eventLoopLagLimit.name,
  ),
  for: "2m",
  severity: "warning",
  component: "process",
  summary: "The daemon's main thread is held up.",
  description: ({ label, value: time }) => `The event loop of ${label("instance")} runs up to ${time} late.`,
  panel: panelOf(SERVICE, "eventLoop"),
  runbook: {
    meaning:
      "Something keeps the main thread from its next event for longer than health.event_loop_lag_ms allows: long synchronous work, garbage collection, or no CPU.",
    impact: "Every request waits this much longer; probes may fail.",
    diagnosis: [
      {
        text: "Garbage collection?",
        query: "sum by (instance, kind) (rate(nodejs_gc_duration_seconds_sum[5m]))",
      },
      { text: "CPU?", query: recorded(RECORDINGS.cpu).text },
      { text: "The limit.", query: max(value(LIMIT_METRICS.eventLoopLagLimit), INSTANCE).text },
    ],
    mitigation: [
      {
        cause: "CPU limit below one core.",
        fix: "Raise it: main thread and ingest workers need a core each.",
      },
      { cause: "Very large JSON bodies.", fix: "Send prompts as binary bodies, or raise http.threads." },
    ],
    prevention:
      "Give the process one core more than it has ingest workers, and let large callers use the binary form.",
    escalation: "kvsync's maintainers, with a CPU profile.",
  },
  trial: {
    series: (level) => [
      steady(PROCESS_METRICS.eventLoopLagP99, {}, level),
      steady(LIMIT_METRICS.eventLoopLagLimit, {}, 0.1),
    ],
    fires: 0.11,
    calm: 0.09,
    labels: { ...TARGET },
    settle: "1m",
  },
});
