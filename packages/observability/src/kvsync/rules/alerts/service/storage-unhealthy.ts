/** Alert: The folder for snapshots does not take and give back a file. */

import { SERVICE_METRICS } from "../../../catalogue/service.ts";
import { SNAPSHOT_METRICS } from "../../../catalogue/snapshot.ts";
import { panelOf } from "../../../../dashboards/panel.ts";
import { SERVICE } from "../../../dashboards/service.ts";
import { equals, max, sum } from "../../../../promql/operators.ts";
import { rate, value } from "../../../../promql/series.ts";
import { alert } from "../../../../rules/alert.ts";
import { ask, logLines } from "../../commands.ts";
import { INSTANCE } from "../../label-sets.ts";
import { steady, TARGET } from "../../trial.ts";
import type { CheckName } from "../../../catalogue/health-checks.ts";

const CHECK: CheckName = "snapshot_store";

/** Its condition, texts, runbook and trial. */
export const STORAGE_UNHEALTHY = alert({
  name: "StorageUnhealthy",
  when: equals(max(value(SERVICE_METRICS.healthCheck, { check: CHECK, status: "unhealthy" }), INSTANCE), 1),
  for: "30s",
  severity: "critical",
  component: "snapshot",
  summary: "The folder for snapshots does not take and give back a file.",
  description: ({ label }) =>
    `The snapshot store's check fails at ${label("instance")}: a restart now would begin from an old snapshot, or from none.`,
  panel: panelOf(SERVICE, "health"),
  runbook: {
    meaning:
      "The daemon could not write a test file to the snapshot folder, or read back other bytes, or could not write the last snapshot. Or a daemon of another machine has taken the folder over. The check's message names the case.",
    impact:
      "None while the daemon runs. After a restart the index is rebuilt from the engines' histories, which may not reach far enough.",
    diagnosis: [
      {
        text: "What exactly fails?",
        command: `${ask("/health")} | jq .checks.${CHECK}`,
      },
      { text: "Since when?", query: sum(rate(SNAPSHOT_METRICS.snapshotErrors, "5m"), ["operation"]).text },
      { text: "What did the log report?", ...logLines(5, { events: ["snapshot_failed"] }) },
    ],
    mitigation: [
      {
        cause: "ENOSPC: the volume is full.",
        fix: "Enlarge it: it takes three times the snapshot's size.",
      },
      {
        cause: "EROFS or EACCES: read-only, or another owner.",
        fix: "Mount it writable for the daemon's user.",
      },
      {
        cause: "The folder was taken over by another daemon.",
        fix: "Give each daemon a folder of its own. The message has the other one's process, host and address.",
      },
      {
        cause: "EIO: the disk.",
        fix: "Move the pod; a replica without snapshots can warm from a sibling.",
      },
    ],
    prevention:
      "Keep three times the size of a snapshot free on its volume, and mount it for the user of the image.",
    escalation: "The owner of the cluster's storage.",
  },
  trial: {
    series: (level) => [steady(SERVICE_METRICS.healthCheck, { check: CHECK, status: "unhealthy" }, level)],
    fires: 1,
    calm: 0,
    labels: { ...TARGET },
  },
});
