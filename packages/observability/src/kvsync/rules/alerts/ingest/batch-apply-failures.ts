/** Alert: Whole messages cannot be applied. */

import { INGEST_METRICS } from "../../../catalogue/ingest.ts";
import { STREAM_METRICS } from "../../../catalogue/stream.ts";
import { INGEST } from "../../../dashboards/ingest.ts";
import { panelOf } from "../../../../dashboards/panel.ts";
import { above, sum } from "../../../../promql/operators.ts";
import { rate } from "../../../../promql/series.ts";
import { alert } from "../../../../rules/alert.ts";
import { ask } from "../../commands.ts";
import { growing, TARGET } from "../../trial.ts";

/** Its condition, texts, runbook and trial. */
export const BATCH_APPLY_FAILURES = alert({
  name: "BatchApplyFailures",
  when: above(
    sum(rate(STREAM_METRICS.streamBatchFailures, "5m"), [
      "cluster",
      "namespace",
      "job",
      "instance",
      "error_type",
    ]),
    0,
  ),
  for: "2m",
  severity: "critical",
  component: "ingest",
  summary: "Whole messages cannot be applied.",
  description: ({ label, value: rateText }) =>
    `${label("instance")} fails to apply ${rateText} messages per minute (${label("error_type")}).`,
  panel: panelOf(INGEST, "failures"),
  runbook: {
    meaning:
      "A message could not be read as a batch of events at all: another protocol, another version, or corruption.",
    impact:
      "Each such message may have held removals, so its stream is stale until a replay repairs it; with an unknown dialect it never is.",
    diagnosis: [
      {
        text: "Whose messages? Their drops are of event type unknown.",
        query: sum(rate(INGEST_METRICS.eventsDropped, "5m", { event_type: "unknown" }), ["pod", "reason"])
          .text,
      },
      { text: "The faults of each stream, by code.", command: ask("/api/v1/engines") },
    ],
    mitigation: [
      {
        cause: "An engine version with another message format.",
        fix: "Roll the engine back, or upgrade the daemon to a version that supports the format.",
      },
      {
        cause: "Something else publishes on that port.",
        fix: "Correct the endpoint in the engine's registration.",
      },
    ],
    prevention:
      "Try a new engine version with `kvsync inspect` against one engine before the fleet is rolled.",
    escalation: "kvsync's maintainers, with the fault's code and the engine's version.",
  },
  trial: {
    series: (level) => [
      growing(STREAM_METRICS.streamBatchFailures, { worker: "0", error_type: "undecodable" }, level),
    ],
    fires: 0.1,
    calm: 0,
    labels: { ...TARGET, error_type: "undecodable" },
  },
});
