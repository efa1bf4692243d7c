/** Alert: A remote tokenizer does not answer. */

import { TOKENIZER_FAULTS, TOKENIZER_METRICS } from "../../../catalogue/tokenizer.ts";
import { panelOf } from "../../../../dashboards/panel.ts";
import { SERVICE } from "../../../dashboards/service.ts";
import { above, both, max, ratio, sum } from "../../../../promql/operators.ts";
import { rate, value } from "../../../../promql/series.ts";
import { alert } from "../../../../rules/alert.ts";
import { INSTANCE } from "../../label-sets.ts";
import { REQUEST_FLOOR_PER_SECOND, THRESHOLDS } from "../../thresholds.ts";
import { growing, TARGET } from "../../trial.ts";

const tokenizations = sum(rate(TOKENIZER_METRICS.requests, "5m"), INSTANCE);
const tokenizerFaults = sum(rate(TOKENIZER_METRICS.requests, "5m", { outcome: TOKENIZER_FAULTS }), INSTANCE);
import { logLines } from "../../commands.ts";

/** Its condition, texts, runbook and trial. */
export const TOKENIZER_UNAVAILABLE = alert({
  name: "TokenizerUnavailable",
  when: both(
    above(ratio(tokenizerFaults, tokenizations), THRESHOLDS.tokenizerFailureRatio),
    above(tokenizations, REQUEST_FLOOR_PER_SECOND),
  ),
  for: "2m",
  severity: "warning",
  component: "routing",
  summary: "A remote tokenizer does not answer.",
  description: ({ label, value: share }) =>
    `${label("instance")} gets no tokens for ${share} of the lookups by prompt or messages.`,
  panel: panelOf(SERVICE, "tokenizerFailures"),
  runbook: {
    meaning:
      "The tokenizer is down, slow, overloaded or answers something else than tokens. Refusals of single prompts do not count.",
    impact:
      'These lookups answer "fallback" with the reason: their requests are routed without cache information. Lookups by tokens or hashes are not affected.',
    diagnosis: [
      {
        text: "Which tokenizer fails, and how? `default` is sync.tokenizer_endpoint, other values are models of tokenizer.models.",
        query: sum(rate(TOKENIZER_METRICS.requests, "5m"), ["instance", "tokenizer", "outcome"]).text,
      },
      {
        text: "Is it left alone (2) at the moment?",
        query: max(value(TOKENIZER_METRICS.circuitState), ["instance", "tokenizer"]).text,
      },
      {
        text: "Does it answer by hand?",
        command:
          'curl -s -m 2 http://TOKENIZER/tokenize -H \'content-type: application/json\' -d \'{"model":"MODEL","prompt":"hello"}\'',
      },
      {
        text: "When did the circuit open and close?",
        ...logLines(10, { events: ["tokenizer_circuit_opened", "tokenizer_circuit_closed"] }),
      },
    ],
    mitigation: [
      {
        cause: "tokenizer_unavailable or circuit_open: it is down, or the endpoint is wrong.",
        fix: "Start it, or correct AIBRIX_REMOTE_TOKENIZER_ENDPOINT or the endpoint in tokenizer.models. The circuit closes by itself with the first good answer.",
      },
      {
        cause: "tokenizer_timeout or tokenizer_overloaded: it is too slow for the load.",
        fix: "Give it capacity of its own (an engine busy with inference tokenizes late), raise tokenizer.connections, or have gateways send tokens.",
      },
      {
        cause: "tokenizer_malformed: the endpoint is something else.",
        fix: "Point it at a server with POST /tokenize of vLLM or SGLang, and name which one it is.",
      },
    ],
    prevention: "Give the tokenizer replicas and capacity of its own, or have gateways send token ids.",
    escalation: "The owners of the tokenizer; kvsync's maintainers when it answers well by hand.",
  },
  trial: {
    series: (level) => [
      growing(TOKENIZER_METRICS.requests, { tokenizer: "default", outcome: "circuit_open" }, level * 100),
      growing(TOKENIZER_METRICS.requests, { tokenizer: "default", outcome: "ok" }, (1 - level) * 100),
    ],
    fires: 0.11,
    calm: 0.09,
    labels: { ...TARGET },
  },
});
