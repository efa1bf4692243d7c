/** Alert: The endpoint picker does not see the load of endpoints. */

import { panelOf } from "../../../../dashboards/panel.ts";
import { alert } from "../../../../rules/alert.ts";
import { PICKER } from "../../../dashboards/picker.ts";
import { PICKER_METRICS } from "../../../catalogue/picker.ts";
import { above, max, sum } from "../../../../promql/operators.ts";
import { rate, value } from "../../../../promql/series.ts";
import { INSTANCE } from "../../label-sets.ts";
import { THRESHOLDS } from "../../thresholds.ts";
import { steady, TARGET } from "../../trial.ts";

/** Its condition, texts, runbook and trial. */
export const PICKER_SCRAPES_STALE = alert({
  name: "PickerScrapesStale",
  when: above(max(value(PICKER_METRICS.scrapeAge), INSTANCE), THRESHOLDS.scrapeAgeSeconds),
  for: "5m",
  severity: "warning",
  component: "picker",
  summary: "The endpoint picker does not see the load of endpoints.",
  description: ({ label, value: time }) =>
    `${label("instance")} has had no metrics of an endpoint for ${time}.`,
  panel: panelOf(PICKER, "scrapeAge"),
  runbook: {
    meaning:
      "The picker reads the metrics of every endpoint again and again. At least one endpoint has not answered with an engine's metrics for a long time.",
    impact:
      "The picker counts only its own requests there. With several replicas, or clients that do not use the gateway, that endpoint gets too many.",
    diagnosis: [
      {
        text: "What comes of the looks?",
        query: sum(rate(PICKER_METRICS.scrapes, "5m"), ["instance", "outcome"]).text,
      },
      {
        text: "Does the endpoint answer by hand? ENDPOINT is its address, from a replica's network.",
        command: "curl -s -m 2 http://ENDPOINT/metrics | grep -cE 'num_requests_(running|waiting)|sglang'",
      },
    ],
    mitigation: [
      {
        cause: "unreachable, timeout: the engine is down or hangs, or a network policy forbids it.",
        fix: "Repair or remove the engine, or allow the daemon to reach its port.",
      },
      {
        cause: "status: the metrics are elsewhere.",
        fix: "Set picker.metrics_port and picker.metrics_path.",
      },
      {
        cause: "no_names: the engine's metrics are off, or it is neither vLLM, SGLang nor trtllm-serve.",
        fix: "Switch its metrics on, or set picker.scrape_ms to 0 when the fleet has no such metrics.",
      },
      {
        cause: "too_large, cut: the page is beyond the limit, or ends early.",
        fix: "Point picker.metrics_port at the engine itself instead of a proxy that collects several pages.",
      },
    ],
    prevention: "Let the readiness of an engine's pod depend on its server, which has the metrics too.",
    escalation: "The owners of the engines.",
  },
  trial: {
    series: (level) => [steady(PICKER_METRICS.scrapeAge, {}, level)],
    fires: 10.1,
    calm: 9.9,
    labels: { ...TARGET },
    settle: "1m",
  },
});
