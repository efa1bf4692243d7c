/** Alert: The endpoint picker gets no answer of a shard. */

import { panelOf } from "../../../../dashboards/panel.ts";
import { alert } from "../../../../rules/alert.ts";
import { PICKER } from "../../../dashboards/picker.ts";
import { PICKER_METRICS } from "../../../catalogue/picker.ts";
import { above, quantile, ratio, sum, summed } from "../../../../promql/operators.ts";
import { bucketRate, rate } from "../../../../promql/series.ts";
import { ask, logLines } from "../../commands.ts";
import { INSTANCE } from "../../label-sets.ts";
import { REQUEST_FLOOR_PER_SECOND, THRESHOLDS } from "../../thresholds.ts";
import { growing, TARGET } from "../../trial.ts";

const BY_SHARD = [...INSTANCE, "shard_index"] as const;
const all = sum(rate(PICKER_METRICS.shardLookups, "5m"), BY_SHARD);
const failed = sum(rate(PICKER_METRICS.shardLookups, "5m", { outcome: { not: ["ok"] } }), BY_SHARD);

/** Its condition, texts, runbook and trial. */
export const PICKER_SHARD_MISSING = alert({
  name: "PickerShardMissing",
  when: above(ratio(failed, all, REQUEST_FLOOR_PER_SECOND), THRESHOLDS.shardMissingRatio),
  for: "5m",
  severity: "warning",
  component: "picker",
  summary: "The endpoint picker gets no answer of a shard.",
  description: ({ label, value: share }) =>
    `${label("instance")} decides ${share} of its requests without shard ${label("shard_index")}.`,
  panel: panelOf(PICKER, "shardFailures"),
  runbook: {
    meaning:
      "The fleet is split over several daemons, and the picker asks each of them for a pick. One shard does not answer within picker.shards.timeout_ms.",
    impact:
      "Engines of that shard count as engines without a match. Their prompts are computed again elsewhere. The picker continues, with the decision degraded.",
    diagnosis: [
      {
        text: "For which reason is there no usable answer?",
        query: sum(rate(PICKER_METRICS.shardLookups, "5m", { outcome: { not: ["ok"] } }), [
          "instance",
          "shard_index",
          "outcome",
        ]).text,
      },
      {
        text: "How long do shards take?",
        query: quantile(0.99, summed(bucketRate(PICKER_METRICS.shardDuration, "5m"), BY_SHARD)).text,
      },
      { text: "Which shards are missing now?", command: `${ask("/api/v1/picker")} | jq .missing_shards` },
      {
        text: "At which address, since when?",
        ...logLines(10, { events: ["picker_shard_missing", "picker_shard_back"] }),
      },
    ],
    mitigation: [
      {
        cause: "unreachable: no replica of the shard runs, or a network policy forbids the connection.",
        fix: "Start the shard's pods, or allow the daemons to reach each other's HTTP port.",
      },
      {
        cause:
          "timeout, circuit_open: the shard is too slow. After three failures a replica is left alone for a second.",
        fix: "Give the shard another replica or more CPU, or raise picker.shards.timeout_ms.",
      },
      {
        cause: "status: the shard refuses the picker's token, or has too many requests.",
        fix: "Put a token with read scope into picker.shards.token_file, or follow the runbook CallersRefused there.",
      },
      {
        cause: "wrong_shard: the addresses are in another order than the shards.",
        fix: "Correct picker.shards.addresses: the first one is shard 0.",
      },
      {
        cause: "too_large, busy: an answer or the open questions are beyond a limit.",
        fix: "Raise picker.shards.answer_bytes or picker.shards.requests.",
      },
      {
        cause: "no_time: the tokenizer took the time of the decision.",
        fix: "Follow the runbook PickerDecisionsLate.",
      },
      {
        cause: "malformed: another program answers at the address, or a daemon of another version.",
        fix: "Correct picker.shards.addresses, or update all shards.",
      },
    ],
    prevention: "Run two replicas of each shard, and name both in picker.shards.addresses.",
    escalation: "The owners of the shard's pods.",
  },
  trial: {
    series: (level) => [
      growing(PICKER_METRICS.shardLookups, { shard_index: "2", outcome: "timeout" }, level * 100),
      growing(PICKER_METRICS.shardLookups, { shard_index: "2", outcome: "ok" }, (1 - level) * 100),
      growing(PICKER_METRICS.shardLookups, { shard_index: "1", outcome: "ok" }, 100),
    ],
    fires: 0.06,
    calm: 0.04,
    labels: { ...TARGET, shard_index: "2" },
  },
});
