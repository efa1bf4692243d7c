/** Alert: The index is near its limit of contexts. */

import { LIMIT_METRICS } from "../../../catalogue/limits.ts";
import { PREFIX_INDEX_METRICS } from "../../../catalogue/prefix-index.ts";
import { OVERVIEW } from "../../../dashboards/overview.ts";
import { panelOf } from "../../../../dashboards/panel.ts";
import { above, ratio, sum } from "../../../../promql/operators.ts";
import { value } from "../../../../promql/series.ts";
import { alert } from "../../../../rules/alert.ts";
import { INSTANCE } from "../../label-sets.ts";
import { THRESHOLDS } from "../../thresholds.ts";
import { MODEL, steady, TARGET } from "../../trial.ts";

/** Its condition, texts, runbook and trial. */
export const SYNC_INDEXER_NEAR_CAPACITY = alert({
  name: "SyncIndexerNearCapacity",
  when: above(
    ratio(
      sum(value(PREFIX_INDEX_METRICS.indexerContexts), INSTANCE),
      sum(value(LIMIT_METRICS.contextsLimit), INSTANCE),
    ),
    THRESHOLDS.contextsRatio,
  ),
  for: "5m",
  severity: "warning",
  component: "index",
  summary: "The index is near its limit of contexts.",
  description: ({ label, value: share }) => `${label("instance")} uses ${share} of the contexts it may hold.`,
  panel: panelOf(OVERVIEW, "capacity"),
  runbook: {
    meaning:
      "A context is a pair of model and LoRA adapter, at one block size. New ones are made as engines speak of them.",
    impact: "At the limit, new contexts are refused or old ones forgotten: their lookups find nothing.",
    diagnosis: [
      {
        text: "Which models have many?",
        query: sum(value(PREFIX_INDEX_METRICS.indexerContexts), ["model"]).text,
      },
      {
        text: "Adapters in use.",
        query: sum(value(PREFIX_INDEX_METRICS.indexerPrefixes), ["model", "lora_id"]).text,
      },
    ],
    mitigation: [
      {
        cause: "Many LoRA adapters, as planned.",
        fix: "Raise AIBRIX_SYNC_MAX_CONTEXTS; a context without blocks costs little.",
      },
      {
        cause: "Engines name adapters that do not exist.",
        fix: "Find the engine, and correct its adapter names.",
      },
    ],
    prevention:
      "Set AIBRIX_SYNC_MAX_CONTEXTS to twice the number of models, adapters and block sizes in use.",
    escalation: "Capacity planning, in working hours.",
  },
  trial: {
    series: (level) => [
      steady(PREFIX_INDEX_METRICS.indexerContexts, { model: MODEL }, level * 1000),
      steady(LIMIT_METRICS.contextsLimit, {}, 1000),
    ],
    fires: 0.91,
    calm: 0.89,
    labels: { ...TARGET },
    settle: "1m",
  },
});
