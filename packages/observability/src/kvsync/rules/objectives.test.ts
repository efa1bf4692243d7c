/** Other settings of the objectives: rules, panels, runbooks and the page follow, and wrong settings are refused. */
import { expect, test } from "vitest";
import { parse } from "yaml";

import { checkAll } from "../../proof/check-all.ts";
import { describeProblems } from "../../proof/problem.ts";
import { render } from "../../render.ts";
import { objectiveSettings } from "../../rules/objective-settings.ts";
import type { ObjectiveSettings } from "../../rules/objectives.ts";
import { KVSYNC } from "../project.ts";
import { OBJECTIVES } from "./thresholds.ts";

const CHANGED = objectiveSettings(
  {
    periodDays: 7,
    budgets: { availability: 0.002 },
    slowSeconds: { latency: 0.1024 },
    burns: [
      { long: "2h", short: "10m", factor: 10, for: "5m", severity: "critical" },
      { long: "12h", short: "1h", factor: 2, for: "30m", severity: "warning" },
    ],
  },
  OBJECTIVES,
);

function projectWith(settings: ObjectiveSettings) {
  const { objectives } = KVSYNC;
  if (objectives === null) throw new Error("kvsync has objectives");
  return objectives.withSettings(settings);
}

interface Rule {
  readonly alert?: string;
  readonly record?: string;
  readonly expr: string;
  readonly for?: string;
  readonly labels?: { readonly severity?: string };
}

const project = projectWith(CHANGED);
const files = render(project);
const { groups } = parse(files.get("infra/prometheus/kvsync.rules.yaml") ?? "") as {
  groups: readonly { rules: readonly Rule[] }[];
};
const rules = groups.flatMap((group) => group.rules);

test("files with other settings pass every check", () => {
  expect(describeProblems(checkAll(files, project))).toBe("");
});

test.each([
  ["AvailabilityBudgetBurn2h", "availability", "2h", "10m", 0.02, "5m", "critical"],
  ["AvailabilityBudgetBurn12h", "availability", "12h", "1h", 0.004, "30m", "warning"],
  ["LatencyBudgetBurn2h", "latency", "2h", "10m", 0.1, "5m", "critical"],
  ["LatencyBudgetBurn12h", "latency", "12h", "1h", 0.02, "30m", "warning"],
])(
  "%s has its windows, threshold, patience and severity",
  (name, key, long, short, threshold, wait, severity) => {
    const rule = rules.find(({ alert }) => alert === name);
    for (const window of [long, short])
      expect(rule?.expr).toContain(`slo_${key}_errors_per_request:ratio_rate${window} > ${threshold}`);
    expect([rule?.for, rule?.labels?.severity]).toEqual([wait, severity]);
  },
);

test("no alert, recording, inhibition or runbook of the former rates is left", () => {
  const names = rules.flatMap(({ alert = [], record = [] }) => [alert, record].flat());
  expect(names.filter((name) => /BudgetBurn|:slo_/.test(name)).toSorted()).toEqual(
    [
      ...["Availability", "Latency"].flatMap((title) =>
        ["2h", "12h"].map((long) => `${title}BudgetBurn${long}`),
      ),
      ...["availability", "latency"].flatMap((key) =>
        ["10m", "1h", "2h", "12h"].map((window) => `job:slo_${key}_errors_per_request:ratio_rate${window}`),
      ),
    ].toSorted(),
  );
  expect([...files.keys()].filter((path) => path.includes("budget-burn")).length).toBe(4);
  expect(project.inhibitions.filter(({ source }) => source.includes("BudgetBurn"))).toMatchObject([
    { source: "AvailabilityBudgetBurn2h", targets: { alerts: ["AvailabilityBudgetBurn12h"] } },
    { source: "LatencyBudgetBurn2h", targets: { alerts: ["LatencyBudgetBurn12h"] } },
  ]);
});

test("panels and the page have the new figures", () => {
  const board = files.get("infra/grafana/dashboards/kvsync-service.json") ?? "";
  expect(board).toContain("with a duration above 102.4 ms. The objective allows 1 % over 7 days.");
  expect(board).toContain("slo_availability_errors_per_request:ratio_rate12h");
  const page = files.get("docs/generated/objectives.md") ?? "";
  expect(page).toContain("each over 7 days:");
  expect(page).toContain("| availability | 99.8 % of the requests do not fail");
  expect(page).toContain("| latency | 99 % of the requests take at most 102.4 ms | 1 % of the requests |");
  // 10 times the budget for 2 of 168 hours.
  expect(page).toContain(
    "| `LatencyBudgetBurn2h` | 2h and 10m | 10 | 10 % | 5m | critical | 11.9048 % | 16.8 hours |",
  );
  expect(page).not.toContain("51.2");
});

test.each([
  [{ budget: {} }, 'objectives has "budget"; expected periodDays, budgets, slowSeconds, burns'],
  [{ budgets: { speed: 0.1 } }, 'budgets has "speed"; expected availability, latency'],
  [{ budgets: { latency: "1 %" } }, 'budgets.latency is "1 %"; expected a number'],
  [{ burns: [] }, "burns is no list of rates; expected one rate or more"],
  [{ burns: [{ ...OBJECTIVES.burns[0], long: "an hour" }] }, 'burns[0].long is "an hour"'],
])("a file with %j is refused with the place", (json, message) => {
  expect(() => objectiveSettings(json, OBJECTIVES)).toThrow(message);
});

test.each([
  [
    { ...OBJECTIVES, budgets: { availability: 0, latency: 0.01 } },
    "the budget of availability is 0; expected 0 to 1",
  ],
  [
    { ...OBJECTIVES, budgets: { availability: 0.1, latency: 0.01 } },
    "14.4 times the budget of availability over 1h is 1.44",
  ],
  [{ ...OBJECTIVES, periodDays: 0 }, "periodDays is 0; expected more than 0"],
  [{ ...OBJECTIVES, periodDays: 2 }, "the window 3d is longer than periodDays, which is 2"],
  [
    { ...OBJECTIVES, burns: [{ ...OBJECTIVES.burns[0], short: "1h" as const }] as const },
    "the window 1h is not longer than 1h",
  ],
  [{ ...OBJECTIVES, slowSeconds: { latency: 0.05 } }, "0.05"],
])("B1: settings that cannot be are refused: %#", (settings, message) => {
  expect(() => projectWith(settings)).toThrow(message);
});
