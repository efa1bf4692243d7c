/** docs/operations/objectives.md against the rules: each burn-rate alert with its windows, share, wait and severity, and the promises. */
import { readFileSync } from "node:fs";

import { expect, test } from "vitest";
import { parse } from "yaml";

import { ruleFile } from "../../rules/prometheus.ts";
import { KVSYNC } from "../project.ts";
import { OBJECTIVES } from "./thresholds.ts";

const PAGE = readFileSync(new URL("../../../../../docs/operations/objectives.md", import.meta.url), "utf8");
const HOURS = { m: 1 / 60, h: 1, d: 24 } as const;
const PERIOD_HOURS = 30 * 24;

interface Rule {
  readonly alert?: string;
  readonly expr: string;
  readonly for?: string;
  readonly labels?: { readonly severity?: string };
}
const { groups } = parse(ruleFile(KVSYNC)) as { groups: readonly { rules: readonly Rule[] }[] };
const burns = groups.flatMap(({ rules }) => rules).filter(({ alert = "" }) => alert.includes("BudgetBurn"));

function hoursOf(window: string): number {
  return Number.parseInt(window, 10) * HOURS[window.slice(-1) as keyof typeof HOURS];
}

test.each(burns.map((rule) => [rule.alert ?? "", rule] as const))(
  "%s is on the page as it is in the rules",
  (name, rule) => {
    const row = PAGE.split("\n").find((line) => line.startsWith(`| \`${name}\``)) ?? "";
    const [, , windows = "", factor = "", share = "", wait, severity, lost = "", lasts = ""] = row
      .split("|")
      .map((cell) => cell.trim());
    const [long = "", short = ""] = windows.split(" and ");
    for (const window of [long, short]) expect(rule.expr).toContain(`ratio_rate${window}`);
    const thresholds = [...rule.expr.matchAll(/> ([\d.]+)/g)].map(([, threshold]) => Number(threshold));
    const threshold = Number.parseFloat(share) / 100;
    expect(thresholds).toHaveLength(2);
    for (const one of thresholds) expect(one).toBeCloseTo(threshold, 9);
    const budget = OBJECTIVES.budgets[name.startsWith("Latency") ? "latency" : "availability"];
    expect(Number(factor) * budget).toBeCloseTo(threshold, 9);
    expect([wait, severity]).toEqual([rule.for, rule.labels?.severity]);
    // What the long window has taken of the budget when its share is exactly at the threshold.
    expect((Number(factor) * hoursOf(long)) / PERIOD_HOURS).toBeCloseTo(Number.parseFloat(lost) / 100, 9);
    const lastsHours = Number.parseFloat(lasts) * (lasts.endsWith("days") ? 24 : 1);
    expect(PERIOD_HOURS / Number(factor)).toBeCloseTo(lastsHours, 9);
  },
);

test("the promises are those of the thresholds, and no other alert is on the page", () => {
  const { budgets, latencySeconds } = OBJECTIVES;
  for (const budget of Object.values(budgets)) expect(PAGE).toContain(`${budget * 100} % of the requests |`);
  expect(PAGE).toContain(`at most ${latencySeconds * 1000} ms`);
  const listed = [...PAGE.matchAll(/^\| `(\w+)`/gm)].map(([, name]) => name);
  expect(listed.toSorted()).toEqual(burns.map(({ alert }) => alert).toSorted());
  expect(listed).toHaveLength(8);
});
