/** The page about a project's objectives: promises, budgets, and the alerts on how fast these burn. */

import { secondsOf } from "../duration.ts";
import type { Project } from "../project.ts";
import type { Alert } from "../rules/alert.ts";
import type { BurnRate, ObjectiveFacts } from "../rules/objectives.ts";
import { generatedNote, markdownTable } from "./markdown.ts";

const DAY_SECONDS = 86_400;

/** A number as a person would write it. */
function plain(value: number): string {
  return String(Number(value.toPrecision(6)));
}

function percent(share: number): string {
  return `${plain(share * 100)} %`;
}

/** How long a budget lasts at a rate. */
function lasting(days: number): string {
  return days < 3 ? `${plain(days * 24)} hours` : `${plain(days)} days`;
}

function alertRow(
  title: string,
  budget: number,
  { long, short, factor }: BurnRate,
  { settings: { periodDays } }: ObjectiveFacts,
  alerts: readonly Alert[],
): string[][] {
  const alert = alerts.find((candidate) => candidate.name.endsWith(`${title}BudgetBurn${long}`));
  // Its group was left out.
  if (alert === undefined) return [];
  const lost = (factor * secondsOf(long)) / (periodDays * DAY_SECONDS);
  return [
    [
      `\`${alert.name}\``,
      `${long} and ${short}`,
      plain(factor),
      percent(factor * budget),
      alert.for,
      alert.severity,
      percent(lost),
      lasting(periodDays / factor),
    ],
  ];
}

/**
 * The page.
 *
 * @param project - with objectives.
 * @param facts - about them.
 * @returns Markdown.
 */
export function objectivesPage({ generator, alertGroups }: Project, facts: ObjectiveFacts): string {
  const { settings, opening, promises, shownAt } = facts;
  const { periodDays, budgets, burns } = settings;
  const alerts = alertGroups.flatMap((group) => group.alerts);
  const [first] = burns;
  const budgetOf = (key: string): number => budgets[key] ?? Number.NaN;
  return `${generatedNote(generator)}

# Objectives

${opening} over ${plain(periodDays)} days:

${markdownTable(
  ["objective", "promise", "error budget"],
  promises.map(({ key, title, promise }) => [
    title.toLowerCase(),
    promise,
    `${percent(budgetOf(key))} of the requests`,
  ]),
)}

${shownAt}

## Burn rate
The burn rate is the share of bad requests divided by the budget. At 1 the budget lasts ${plain(periodDays)} days. At
${plain(first.factor)} it lasts ${lasting(periodDays / first.factor)}.

An alert compares two windows with the same factor. The long window shows that enough of the budget
is lost to matter. The short window shows that the loss continues, so the alert ends soon after the
cause does.

${markdownTable(
  [
    "alert",
    "windows",
    "burn rate",
    "share of bad requests",
    "waits",
    "severity",
    "budget lost by then",
    "budget lasts",
  ],
  promises.flatMap(({ key, title }) =>
    burns.flatMap((burn) => alertRow(title, budgetOf(key), burn, facts, alerts)),
  ),
)}

Critical alerts page an engineer, and warnings make a ticket. A faster alert of an objective
inhibits its slower ones, so a page comes alone.

## Reading an alert
1. Open the panel of the alert. When the short window has fallen, the cause is gone, and the alert
   ends by itself.
2. Follow the runbook of the alert ([alerts](alerts.md)).
3. After a page, compute what is left: the share of bad requests of ${plain(periodDays)} days, divided by the budget.

With few requests one failure is a large share. At 10 requests in an hour a single failure is 10 %,
and the alert may fire. Where traffic is that low, leave the group out with \`generate --without-group\`.

## Other objectives
Period, budgets, times and rates are settings of the generator:

\`\`\`json
${JSON.stringify({ periodDays, budgets, slowSeconds: settings.slowSeconds, burns: [first] }, null, 2)}
\`\`\`
\`generate --objectives FILE\` reads such a file. Settings that it leaves out stay as they are, and a list of \`burns\` replaces
all rates. A time must be a bound of a bucket of the histogram. Rules, tests of the rules, dashboards,
runbooks and this page follow.
`;
}
