/** Alert: The index forgets blocks because of its own limits. */

import { PREFIX_INDEX_METRICS } from "../../../catalogue/prefix-index.ts";
import { OVERVIEW } from "../../../dashboards/overview.ts";
import { panelOf } from "../../../../dashboards/panel.ts";
import { above, sum } from "../../../../promql/operators.ts";
import { rate, value } from "../../../../promql/series.ts";
import { alert } from "../../../../rules/alert.ts";
import { THRESHOLDS } from "../../thresholds.ts";
import { growing, TARGET } from "../../trial.ts";

/** Its condition, texts, runbook and trial. */
export const SYNC_INDEXER_EVICTION_RATE = alert({
  name: "SyncIndexerEvictionRate",
  when: above(
    sum(rate(PREFIX_INDEX_METRICS.indexerEvictions, "5m"), [
      "cluster",
      "namespace",
      "job",
      "instance",
      "reason",
    ]),
    THRESHOLDS.evictionsPerSecond,
  ),
  for: "5m",
  severity: "warning",
  component: "index",
  summary: "The index forgets blocks because of its own limits.",
  description: ({ label, value: rateText }) =>
    `${label("instance")} evicts ${rateText} blocks per minute (${label("reason")}).`,
  panel: panelOf(OVERVIEW, "evictions"),
  runbook: {
    meaning: "The engines hold more than the index may: blocks are dropped that are still in a cache.",
    impact: "Lookups under-report; trust is partial.",
    diagnosis: [
      {
        text: "Which limit?",
        query: sum(rate(PREFIX_INDEX_METRICS.indexerEvictions, "5m"), ["reason"]).text,
      },
      {
        text: "How large is the index?",
        query: sum(value(PREFIX_INDEX_METRICS.indexerMemory), ["instance", "kind"]).text,
      },
    ],
    mitigation: [
      { cause: "memory_limit.", fix: "Raise the memory budget: about 40 bytes per block and worker." },
      {
        cause: "park_limit: stores whose parents never arrive.",
        fix: "Look for gaps; parents are lost messages.",
      },
    ],
    prevention:
      "Set limits.index_bytes by the formula of docs/operations/capacity.md, and again before the fleet grows.",
    escalation: "Capacity planning.",
  },
  trial: {
    series: (level) => [growing(PREFIX_INDEX_METRICS.indexerEvictions, { reason: "memory_limit" }, level)],
    fires: 1.01,
    calm: 0.99,
    labels: { ...TARGET, reason: "memory_limit" },
  },
});
