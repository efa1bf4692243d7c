/** Alert: A changed configuration file is not used. */

import { DISCOVERY_METRICS } from "../../../catalogue/discovery.ts";
import { ENGINES } from "../../../dashboards/engines.ts";
import { panelOf } from "../../../../dashboards/panel.ts";
import { equals, max } from "../../../../promql/operators.ts";
import { value } from "../../../../promql/series.ts";
import { alert } from "../../../../rules/alert.ts";
import { logLines } from "../../commands.ts";
import { BY_SOURCE } from "../../label-sets.ts";
import { steady, TARGET } from "../../trial.ts";

/** Its condition, texts, runbook and trial. */
export const CONFIG_RELOAD_FAILED = alert({
  name: "ConfigReloadFailed",
  when: equals(max(value(DISCOVERY_METRICS.state, { source: "file", state: "stale" }), BY_SOURCE), 1),
  for: "1m",
  severity: "warning",
  component: "configuration",
  summary: "A changed configuration file is not used.",
  description: ({ label }) =>
    `${label("instance")} could not use the changed configuration file and keeps the engines of the previous one.`,
  panel: panelOf(ENGINES, "discoveryState"),
  runbook: {
    meaning:
      "The configuration file changed, and what is in it now cannot be read or has settings that cannot be used.",
    impact: "The list of engines stays as it was. A restart would fail with exit code 2.",
    diagnosis: [
      {
        text: "Which replicas have a stale file?",
        query: max(value(DISCOVERY_METRICS.state, { source: "file", state: "stale" }), ["instance"]).text,
      },
      {
        text: "Which setting, in which line?",
        ...logLines(1, { events: ["discovery_failed"], where: { source: "file" } }),
      },
      {
        text: "The same before it is rolled out.",
        command: "kvsync-daemon --config kvsync.yaml --check-config",
      },
    ],
    mitigation: [
      {
        cause: "The new file has a mistake.",
        fix: "Correct it, or bring the old one back. The daemon reads it within seconds.",
      },
      {
        cause: "The file cannot be read (its volume or its rights).",
        fix: "Mount it again. A ConfigMap mounted with subPath is never updated: mount the folder.",
      },
    ],
    prevention: "Run `kvsync-daemon --config FILE --check-config` in the pipeline that rolls the file out.",
    escalation: "The person who changed the configuration last.",
  },
  trial: {
    series: (level) => [steady(DISCOVERY_METRICS.state, { source: "file", state: "stale" }, level)],
    fires: 1,
    calm: 0,
    labels: { ...TARGET, source: "file" },
  },
});
