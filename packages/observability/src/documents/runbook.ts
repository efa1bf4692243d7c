/**
 * One runbook per alert, in the shape of the prometheus-operator runbooks: meaning, impact,
 * diagnosis, mitigation, prevention, escalation.
 */

import type { Project } from "../project.ts";
import { type Alert, type DiagnosisStep, MINUTES_BEFORE_ESCALATION } from "../rules/alert.ts";
import { generatedNote, markdownTable } from "./markdown.ts";

function step({ text, query, command, logql }: DiagnosisStep, index: number): string {
  const block = query === undefined ? command : query;
  const language = query === undefined ? "sh" : "promql";
  const code = block === undefined ? "" : `\n\n   \`\`\`${language}\n   ${block}\n   \`\`\``;
  const inLoki = logql === undefined ? "" : `\n\n   In Loki:\n\n   \`\`\`logql\n   ${logql}\n   \`\`\``;
  return `${index + 1}. ${text}${code}${inLoki}`;
}

/** What placeholders in the commands stand for, where there are any. */
function placeholderNote({ placeholders }: Project, steps: readonly DiagnosisStep[]): string {
  if (placeholders === null) return "";
  const { word, text } = placeholders;
  return steps.some(({ command }) => command?.includes(word) ?? false) ? `${text}\n\n` : "";
}

/** Info is on the dashboard only: no response is under way that could take too long. */
function escalationTime({ severity }: Alert): string {
  return severity === "info"
    ? "This alert sends no notification."
    : `Escalate when the alert still fires ${MINUTES_BEFORE_ESCALATION} minutes after you began.`;
}

/**
 * The runbook of an alert.
 *
 * @param project - whose.
 * @param alert - which.
 * @returns Markdown.
 */
export function runbookPage(project: Project, alert: Alert): string {
  const { runbook, panel } = alert;
  return `${generatedNote(project.generator)}

# ${alert.name}

${alert.summary}

${markdownTable(
  ["severity", "for", "component", "panel"],
  [
    [
      alert.severity,
      alert.for,
      alert.component,
      `${panel.dashboard} › ${panel.title} (\`/d/${panel.uid}?viewPanel=${panel.id}\`)`,
    ],
  ],
)}

\`\`\`promql
${alert.expression}
\`\`\`

## Meaning

${runbook.meaning}

## Impact

${runbook.impact}

## Diagnosis

${placeholderNote(project, runbook.diagnosis)}${runbook.diagnosis.map(step).join("\n\n")}

## Mitigation

${markdownTable(
  ["cause", "what to do"],
  runbook.mitigation.map(({ cause, fix }) => [cause, fix]),
)}

## Prevention

${runbook.prevention}

## Escalation

${escalationTime(alert)} ${runbook.escalation}
`;
}
