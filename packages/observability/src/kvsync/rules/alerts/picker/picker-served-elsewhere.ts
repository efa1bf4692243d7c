/** Alert: Other endpoints than the picked ones answer. */

import { panelOf } from "../../../../dashboards/panel.ts";
import { alert } from "../../../../rules/alert.ts";
import { PICKER } from "../../../dashboards/picker.ts";
import { PICKER_METRICS } from "../../../catalogue/picker.ts";
import { above, max, ratio, sum } from "../../../../promql/operators.ts";
import { rate, value } from "../../../../promql/series.ts";
import { ask } from "../../commands.ts";
import { INSTANCE } from "../../label-sets.ts";
import { REQUEST_FLOOR_PER_SECOND, THRESHOLDS } from "../../thresholds.ts";
import { growing, TARGET } from "../../trial.ts";

const all = sum(rate(PICKER_METRICS.requests, "5m"), INSTANCE);
const elsewhere = sum(rate(PICKER_METRICS.servedElsewhere, "5m"), INSTANCE);

/** Its condition, texts, runbook and trial. */
export const PICKER_SERVED_ELSEWHERE = alert({
  name: "PickerServedElsewhere",
  when: above(ratio(elsewhere, all, REQUEST_FLOOR_PER_SECOND), THRESHOLDS.servedElsewhereRatio),
  for: "5m",
  severity: "warning",
  component: "picker",
  summary: "Other endpoints than the picked ones answer.",
  description: ({ label, value: share }) =>
    `Other endpoints answered ${share} of the requests that ${label("instance")} picked for.`,
  panel: panelOf(PICKER, "servedElsewhere"),
  runbook: {
    meaning:
      "The gateway reports which endpoint served a request. For many requests it is not the first one of the pick: the gateway retried, or does not follow picks.",
    impact:
      "These requests compute their prefill again. An endpoint that did not serve three picks in a row is passed over for seconds.",
    diagnosis: [
      {
        text: "At which replicas are endpoints in penalty?",
        query: max(value(PICKER_METRICS.endpoints, { state: "penalty" }), ["instance"]).text,
      },
      {
        text: "Which endpoints have no running request?",
        query: max(value(PICKER_METRICS.endpointLoad, { kind: "running" }), ["endpoint"]).text,
      },
      { text: "What does the picker know of them?", command: `${ask("/api/v1/picker")} | jq` },
      {
        text: "Does the gateway reach the picked endpoint? ENDPOINT is one of them; ask from a gateway's pod.",
        command: "curl -s -m 2 -o /dev/null -w '%{http_code}\\n' http://ENDPOINT/health",
      },
    ],
    mitigation: [
      {
        cause: "An endpoint refuses connections or restarts, and the gateway retries at the next one.",
        fix: "Repair or remove the engine. The picker comes back to it by itself.",
      },
      {
        cause: "The gateway cannot reach the addresses: they are of another network.",
        fix: "Give engines http addresses that the gateway reaches.",
      },
      {
        cause: "All requests are served elsewhere: the gateway balances by itself.",
        fix: "Use the shipped infra/envoy/envoy.yaml: its cluster takes the endpoint from the metadata envoy.lb, then from the header.",
      },
      {
        cause: "A service mesh or a proxy between gateway and engines chooses again.",
        fix: "Exclude the engines' ports from it.",
      },
    ],
    prevention: "Check the path from gateway to each engine before the engine is added.",
    escalation: "The owners of the gateway.",
  },
  trial: {
    series: (level) => [
      growing(PICKER_METRICS.servedElsewhere, {}, level * 100),
      growing(PICKER_METRICS.requests, { decision: "index", reason: "none" }, 100),
    ],
    fires: 0.051,
    calm: 0.049,
    labels: { ...TARGET },
  },
});
