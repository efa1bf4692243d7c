/** Alert: Little of the prompts is found in any cache. */

import { PREFIX_INDEX_METRICS } from "../../../catalogue/prefix-index.ts";
import { ROUTING_METRICS } from "../../../catalogue/routing.ts";
import { OVERVIEW } from "../../../dashboards/overview.ts";
import { panelOf } from "../../../../dashboards/panel.ts";
import { above, below, given, sum } from "../../../../promql/operators.ts";
import { recorded } from "../../../../promql/recording.ts";
import { countRate, value } from "../../../../promql/series.ts";
import { alert } from "../../../../rules/alert.ts";
import { BY_MODEL } from "../../label-sets.ts";
import { RECORDINGS } from "../../recordings.ts";
import { REQUEST_FLOOR_PER_SECOND, THRESHOLDS } from "../../thresholds.ts";
import { distributed, MODEL, MODEL_LABELS, steady } from "../../trial.ts";

/** Its condition, texts, runbook and trial. */
export const PREFIX_CACHE_LOW_HIT_RATE = alert({
  name: "PrefixCacheLowHitRate",
  when: given(
    below(recorded(RECORDINGS.hitRate), THRESHOLDS.hitRate),
    above(
      sum(countRate(PREFIX_INDEX_METRICS.indexerMatchPercentage, "5m"), BY_MODEL),
      REQUEST_FLOOR_PER_SECOND,
    ),
    BY_MODEL,
  ),
  for: "10m",
  severity: "info",
  component: "routing",
  summary: "Little of the prompts is found in any cache.",
  description: ({ label, value: share }) =>
    `For ${label("model")}, the best worker holds ${share} of a prompt on average (${label("instance")}).`,
  panel: panelOf(OVERVIEW, "hitRate"),
  runbook: {
    meaning: "The share of a prompt that some engine already holds is low while there is traffic.",
    impact: "Prefill is computed again; time to first token rises.",
    diagnosis: [
      { text: "All at once, or slowly?", query: recorded(RECORDINGS.hitRate).text },
      { text: "Is the index complete?", query: recorded(RECORDINGS.dropRatio).text },
      {
        text: "How many blocks are there?",
        query: sum(value(PREFIX_INDEX_METRICS.indexerPrefixes), ["model"]).text,
      },
    ],
    mitigation: [
      { cause: "The workload has no shared prefixes.", fix: "Nothing to do; this alert is information." },
      {
        cause: "The client's tokenizer or block size differs from the engines'.",
        fix: "Compare one prompt's tokens on both sides.",
      },
      { cause: "Caches are too small for the working set.", fix: "More KV memory per engine, or tiers." },
    ],
    prevention:
      "After a change of tokenizer, chat template or block size, run `kvsync doctor` before traffic returns.",
    escalation: "The owners of the workload, in working hours.",
  },
  trial: {
    series: (level) => [
      steady(ROUTING_METRICS.hitRate, { model: MODEL }, level),
      ...distributed(PREFIX_INDEX_METRICS.indexerMatchPercentage, { model: MODEL }, 0.5, 25),
    ],
    fires: 0.29,
    calm: 0.31,
    labels: MODEL_LABELS,
  },
});
