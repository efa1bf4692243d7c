/** Alert: The endpoint picker takes no requests. */

import { panelOf } from "../../../../dashboards/panel.ts";
import { alert } from "../../../../rules/alert.ts";
import { PICKER } from "../../../dashboards/picker.ts";
import { PICKER_METRICS } from "../../../catalogue/picker.ts";
import { equals, max, min, sum } from "../../../../promql/operators.ts";
import { value } from "../../../../promql/series.ts";
import { ask, logLines } from "../../commands.ts";
import { INSTANCE } from "../../label-sets.ts";
import { steady, TARGET } from "../../trial.ts";

/** Its condition, texts, runbook and trial. */
export const PICKER_NOT_READY = alert({
  name: "PickerNotReady",
  when: equals(min(value(PICKER_METRICS.ready), INSTANCE), 0),
  for: "2m",
  severity: "critical",
  component: "picker",
  summary: "The endpoint picker takes no requests.",
  description: ({ label }) =>
    `The endpoint picker of ${label("instance")} reports to gateways that it is not ready.`,
  panel: panelOf(PICKER, "ready"),
  runbook: {
    meaning:
      "The picker answers health checks with NOT_SERVING. It has no endpoints, the daemon has never been ready, the process is stopping, or the picker's thread is held up.",
    impact:
      "Gateways use another replica. Without one they route without the picker where they fail open, and answer errors where they fail closed.",
    diagnosis: [
      {
        text: "Does it have endpoints?",
        query: sum(value(PICKER_METRICS.endpoints), ["instance", "state"]).text,
      },
      { text: "Is the daemon ready, and what does it wait for?", command: `${ask("/readyz")} | jq` },
      {
        text: "Is the picker's thread held up?",
        query: max(value(PICKER_METRICS.eventLoopLag), ["instance"]).text,
      },
      {
        text: "Did it listen, and which addresses did it refuse?",
        ...logLines(10, { events: ["picker_listening", "endpoints_refused"] }),
      },
    ],
    mitigation: [
      {
        cause:
          "No endpoints: engines have no http addresses, or the pool of picker.pool.name selects no ready pod.",
        fix: "Add http to the engines, or correct picker.pool.name or the pool's selector. See the runbook DiscoveryStale.",
      },
      {
        cause: "The daemon has never been ready.",
        fix: "Follow the runbook KVSyncNoActiveConnections. The picker is ready once the daemon has been, or its readiness deadline has passed.",
      },
      {
        cause: "The picker's thread is late by more than a second.",
        fix: "Give the process another core, and lower picker.limits.body_bytes.",
      },
      {
        cause: "The process is stopping.",
        fix: "Wait for picker.drain_seconds. The alert ends with the replica.",
      },
    ],
    prevention: "Run two replicas behind the gateway, and give each a core for the picker.",
    escalation: "kvsync's maintainers when there are endpoints and the thread is not late.",
  },
  trial: {
    series: (level) => [steady(PICKER_METRICS.ready, {}, level)],
    fires: 0,
    calm: 1,
    labels: { ...TARGET },
    settle: "1m",
  },
});
