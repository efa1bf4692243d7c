/** Alert: The last good snapshot is old. */

import { SNAPSHOT_METRICS } from "../../../catalogue/snapshot.ts";
import { panelOf } from "../../../../dashboards/panel.ts";
import { SERVICE } from "../../../dashboards/service.ts";
import { above, max, sum } from "../../../../promql/operators.ts";
import { rate, value } from "../../../../promql/series.ts";
import { alert } from "../../../../rules/alert.ts";
import { logLines } from "../../commands.ts";
import { INSTANCE } from "../../label-sets.ts";
import { THRESHOLDS } from "../../thresholds.ts";
import { steady, TARGET } from "../../trial.ts";

/** Its condition, texts, runbook and trial. */
export const SNAPSHOT_STALE = alert({
  name: "SnapshotStale",
  when: above(max(value(SNAPSHOT_METRICS.snapshotAge), INSTANCE), THRESHOLDS.snapshotAgeSeconds),
  for: "5m",
  severity: "warning",
  component: "snapshot",
  summary: "The last good snapshot is old.",
  description: ({ label, value: age }) =>
    `${label("instance")} last saved its index in a snapshot ${age} ago, or has saved none since it started.`,
  panel: panelOf(SERVICE, "snapshotAge"),
  runbook: {
    meaning:
      "Snapshots fail, take longer than their interval, or the interval is set longer than this alert expects.",
    impact:
      "A restart has to replay more, and where the engines' histories are shorter than that, begins cold.",
    diagnosis: [
      {
        text: "Do they fail?",
        query: sum(rate(SNAPSHOT_METRICS.snapshotErrors, "5m"), ["operation"]).text,
      },
      { text: "Why?", ...logLines(5, { events: ["snapshot_failed"] }) },
    ],
    mitigation: [
      { cause: "They fail.", fix: "See StorageUnhealthy." },
      {
        cause: "snapshot.interval_seconds is long on purpose.",
        fix: "Raise the alert's threshold with it.",
      },
    ],
    prevention:
      "Keep three times the size of a snapshot free on its volume, and the interval below ten minutes.",
    escalation: "kvsync's maintainers when the log shows no reason.",
  },
  trial: {
    series: (level) => [steady(SNAPSHOT_METRICS.snapshotAge, {}, level)],
    fires: THRESHOLDS.snapshotAgeSeconds + 1,
    calm: THRESHOLDS.snapshotAgeSeconds,
    labels: { ...TARGET },
  },
});
