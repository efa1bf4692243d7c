/** Alert: A chat template that is rendered in the daemon makes other tokens than the engine. */

import { TOKENIZER_METRICS } from "../../../catalogue/tokenizer.ts";
import { panelOf } from "../../../../dashboards/panel.ts";
import { SERVICE } from "../../../dashboards/service.ts";
import { above, sum } from "../../../../promql/operators.ts";
import { increase } from "../../../../promql/series.ts";
import { alert } from "../../../../rules/alert.ts";
import { logLines } from "../../commands.ts";
import { INSTANCE } from "../../label-sets.ts";
import { growing, MODEL, TARGET } from "../../trial.ts";

/** Longer than the ten minutes between two rounds of probes, so that the alert stays while the template differs. */
const LOOK_BACK = "15m";

/** Its condition, texts, runbook and trial. */
export const TOKENIZER_TEMPLATE_DIFFERS = alert({
  name: "TokenizerTemplateDiffers",
  when: above(
    sum(increase(TOKENIZER_METRICS.parity, LOOK_BACK, { outcome: "differ" }), [...INSTANCE, "tokenizer"]),
    0,
  ),
  for: "1m",
  severity: "warning",
  component: "routing",
  summary: "A chat template that is rendered in the daemon makes other tokens than the engine.",
  description: ({ label }) =>
    `${label("instance")} renders conversations of ${label("tokenizer")} otherwise than the engine.`,
  panel: panelOf(SERVICE, "tokenizerParity"),
  runbook: {
    meaning:
      "A probe, or one of the compared conversations, had other tokens than the remote tokenizer made of it. The template, its version, or what @huggingface/jinja makes of it is not the engine's.",
    impact:
      "Conversations of this model go to the remote tokenizer for ten minutes at a time: slower, and right. Those since the last comparison may have matched too little.",
    diagnosis: [
      {
        text: "Which model, how often, and how do the other comparisons end?",
        query: sum(increase(TOKENIZER_METRICS.parity, LOOK_BACK), ["instance", "tokenizer", "outcome"]).text,
      },
      {
        text: "Which probe, and at which token? A request is `request`; its text is never logged.",
        ...logLines(10, { events: ["template_differs", "template_trusted"] }),
      },
    ],
    mitigation: [
      {
        cause: "A probe differs in each round: the template cannot be rendered here.",
        fix: "Set template: remote for this model in tokenizer.models.",
      },
      {
        cause:
          "The first token differs, or one of special tokens: the files are of another model or revision.",
        fix: "Take both files from the engine's model folder, and start the daemon again.",
      },
      {
        cause: "Requests differ and probes agree.",
        fix: "Set template: remote, and report the model and the position to the maintainers of kvsync.",
      },
    ],
    prevention:
      "Change the daemon's files together with the engine's model or --chat-template. Leave template at remote where the remote tokenizer is quick enough.",
    escalation: "kvsync's maintainers, with the lines of the second step.",
  },
  trial: {
    series: (level) => [
      growing(TOKENIZER_METRICS.parity, { tokenizer: MODEL, outcome: "differ" }, level),
      growing(TOKENIZER_METRICS.parity, { tokenizer: MODEL, outcome: "agree" }, 1),
    ],
    fires: 1,
    calm: 0,
    labels: { ...TARGET, tokenizer: MODEL },
  },
});
