/** Alert: Events are dropped for reasons that cost accuracy. */

import { INGEST_METRICS } from "../../../catalogue/ingest.ts";
import { OVERVIEW } from "../../../dashboards/overview.ts";
import { panelOf } from "../../../../dashboards/panel.ts";
import { above, sum } from "../../../../promql/operators.ts";
import { rate } from "../../../../promql/series.ts";
import { alert } from "../../../../rules/alert.ts";
import { ask, logLines } from "../../commands.ts";
import { HARMLESS_DROP_REASONS } from "../../drop-reasons.ts";
import { BY_MODEL } from "../../label-sets.ts";
import { THRESHOLDS } from "../../thresholds.ts";
import { ENGINE, growing, MODEL_LABELS } from "../../trial.ts";

const lossy = { reason: { not: HARMLESS_DROP_REASONS } } as const;

/** Its condition, texts, runbook and trial. */
export const KV_EVENT_DROP_RATE = alert({
  name: "KVEventDropRate",
  when: above(
    sum(rate(INGEST_METRICS.eventsDropped, "5m", lossy), BY_MODEL),
    THRESHOLDS.droppedEventsPerSecond,
  ),
  for: "2m",
  severity: "warning",
  component: "ingest",
  summary: "Events are dropped for reasons that cost accuracy.",
  description: ({ label, value: rateText }) =>
    `${label("instance")} drops ${rateText} events per minute of ${label("model")}; the index lacks their blocks.`,
  panel: panelOf(OVERVIEW, "dropped"),
  runbook: {
    meaning:
      "Events arrive and are not applied. Reasons that lose nothing (groups that are not indexed, duplicates, messages that a replay covers) are left out of this alert.",
    impact: "The streams concerned lose the trust `exact`; gateways see fewer matches than there are.",
    diagnosis: [
      {
        text: "Which reason, which engine? Drops that lose nothing are left out.",
        query: sum(rate(INGEST_METRICS.eventsDropped, "5m", lossy), ["pod", "reason"]).text,
      },
      {
        text: "Each stream's own account of drops and faults, by reason.",
        command: ask("/api/v1/engines"),
      },
      {
        text: "Does an engine send fields or caches that are not known?",
        ...logLines(10, { events: ["unknown_field", "unknown_cache_kind", "engine_set_aside"] }),
      },
    ],
    mitigation: [
      {
        cause: "Reason queue_messages or queue_bytes: messages arrive faster than they are applied.",
        fix: "Raise AIBRIX_KV_EVENT_WORKERS, and the CPU limit by one core for each worker (docs/operations/capacity.md).",
      },
      {
        cause: "Reason index_memory_limit or park_full.",
        fix: "Raise the index's memory budget; see the capacity panels.",
      },
      {
        cause: "A wire error such as truncated or wrong_type: the engine speaks a dialect that is not known.",
        fix: "Compare its version with the supported ones; pin the engine until the dialect is added.",
      },
      {
        cause: "Reason unknown_medium or unknown_locality.",
        fix: "The engine is newer than the daemon's list. Blocks that it offloads there are not indexed. Upgrade the daemon.",
      },
    ],
    prevention: "Update the daemon before the engines, and keep the index below its memory budget.",
    escalation: "kvsync's maintainers, with the reason and the engine's version.",
  },
  trial: {
    series: (level) => [
      growing(
        INGEST_METRICS.eventsDropped,
        { ...ENGINE, event_type: "BlockStored", reason: "index_memory_limit" },
        level,
      ),
      growing(
        INGEST_METRICS.eventsDropped,
        { ...ENGINE, event_type: "BlockRemoved", reason: "unknown_block" },
        1000,
      ),
    ],
    fires: 10.1,
    calm: 9.9,
    labels: MODEL_LABELS,
  },
});
