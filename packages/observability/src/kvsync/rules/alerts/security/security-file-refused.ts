/** Alert: Tokens or certificates on the disk cannot be used. */

import { SECURITY_METRICS } from "../../../catalogue/security.ts";
import { panelOf } from "../../../../dashboards/panel.ts";
import { SERVICE } from "../../../dashboards/service.ts";
import { equals, min } from "../../../../promql/operators.ts";
import { value } from "../../../../promql/series.ts";
import { alert } from "../../../../rules/alert.ts";
import { logLines } from "../../commands.ts";
import { INSTANCE } from "../../label-sets.ts";
import { steady, TARGET } from "../../trial.ts";

/** Its condition, texts, runbook and trial. */
export const SECURITY_FILE_REFUSED = alert({
  name: "SecurityFileRefused",
  when: equals(min(value(SECURITY_METRICS.fileUsable), [...INSTANCE, "file"]), 0),
  for: "2m",
  severity: "warning",
  component: "configuration",
  summary: "Tokens or certificates on the disk cannot be used.",
  description: ({ label }) =>
    `${label("instance")} keeps the ${label("file")} that it read before; the version on the disk cannot be used.`,
  panel: panelOf(SERVICE, "securityFiles"),
  runbook: {
    meaning:
      "A file was changed into something that cannot be read or used. The previous content stays in use.",
    impact: "None yet. A restart would fail, new tokens do not count, and an old certificate will end.",
    diagnosis: [
      {
        text: "What is wrong with it? The line names the file, the entry and what was expected.",
        ...logLines(2, { events: ["security_file_refused"] }),
      },
    ],
    mitigation: [
      {
        cause: "A certificate without its key, or the key of another.",
        fix: "Write both; they are looked at together.",
      },
      {
        cause: "A mistake in the file of tokens.",
        fix: "Correct it; it is read within security.reload_seconds.",
      },
      { cause: "The file is gone or may not be read.", fix: "Restore the secret, or its permissions." },
    ],
    prevention:
      "Write a changed secret to all its files at once, and check it with `kvsync-daemon --check-config` first.",
    escalation: "The team that rotates secrets.",
  },
  trial: {
    series: (level) => [steady(SECURITY_METRICS.fileUsable, { file: "tls" }, level)],
    fires: 0,
    calm: 1,
    labels: { ...TARGET, file: "tls" },
    settle: "1m",
  },
});
