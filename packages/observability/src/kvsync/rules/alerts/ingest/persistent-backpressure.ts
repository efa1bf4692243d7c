/** Alert: Ingest has not kept up for ten minutes. */

import { STREAM_METRICS } from "../../../catalogue/stream.ts";
import { INGEST } from "../../../dashboards/ingest.ts";
import { panelOf } from "../../../../dashboards/panel.ts";
import { above, max } from "../../../../promql/operators.ts";
import { recorded } from "../../../../promql/recording.ts";
import { value } from "../../../../promql/series.ts";
import { alert } from "../../../../rules/alert.ts";
import { INSTANCE } from "../../label-sets.ts";
import { RECORDINGS } from "../../recordings.ts";
import { steady, TARGET } from "../../trial.ts";

/** Its condition, texts, runbook and trial. */
export const PERSISTENT_BACKPRESSURE = alert({
  name: "PersistentBackpressure",
  when: above(max(value(STREAM_METRICS.streamBackpressureState), INSTANCE), 0),
  for: "10m",
  severity: "critical",
  component: "ingest",
  summary: "Ingest has not kept up for ten minutes.",
  description: ({ label, value: level }) =>
    `${label("instance")} has been at back-pressure level ${level} (1 warning, 2 critical, 3 overloaded) for ten minutes.`,
  panel: panelOf(INGEST, "pressureState"),
  runbook: {
    meaning: "The queue never got back to normal: the daemon applies fewer messages than the engines send.",
    impact: "Staleness grows with the queue; at the top level messages are refused.",
    diagnosis: [
      { text: "Since when, and is it getting worse?", query: recorded(RECORDINGS.queueUtilization).text },
      { text: "How many messages does it apply?", query: recorded(RECORDINGS.eventRate).text },
    ],
    mitigation: [
      {
        cause: "Not enough ingest capacity.",
        fix: "Add ingest workers, or split the fleet into shards (docs/operations/scale.md).",
      },
      {
        cause: "One engine floods.",
        fix: "Find it by events per pod, and unregister it until it is fixed.",
      },
    ],
    prevention:
      "Watch the queue and the workers against the plan of docs/operations/capacity.md, and add workers before the load grows.",
    escalation: "Page kvsync's maintainers.",
  },
  trial: {
    series: (level) => [steady(STREAM_METRICS.streamBackpressureState, {}, level)],
    fires: 1,
    calm: 0,
    labels: { ...TARGET },
    settle: "1m",
  },
});
