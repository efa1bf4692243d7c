/**
 * Objectives of a service: the share of its requests that may be bad within a period, and the alerts on
 * how fast that budget burns. Budgets, windows and factors are settings. Recorded shares, alerts with
 * trials, inhibitions and a page (documents/objectives.ts) follow from them.
 *
 *     settings ─┐
 *     share of bad requests, by window ─┴─▶ recordings ─▶ alerts: both windows above factor × budget
 *                                                          └─▶ a faster alert silences the slower ones
 *
 * An alert compares two windows. The long one shows that the burn matters, the short one that it continues.
 *
 *  B1  A budget is a share between 0 and 1, and so is each threshold. A long window is longer than its short one.
 *
 * Follows the SRE workbook, chapter 5.
 */

import type { PanelReference } from "../dashboards/panel.ts";
import { secondsOf } from "../duration.ts";
import { above, both } from "../promql/operators.ts";
import { recorded, recording, type RecordingGroup, type RecordingRule } from "../promql/recording.ts";
import type { Vec } from "../promql/vector.ts";
import { alert, type Alert, type AlertFor, type Runbook, type Severity } from "./alert.ts";
import type { Inhibition } from "./inhibition.ts";
import type { TrialSeries } from "./trial.ts";

/** A look-back of minutes, hours or days. */
export type BurnWindow = `${number}${"m" | "h" | "d"}`;

/** How fast a budget may burn, and for how long. */
export interface BurnRate {
  readonly long: BurnWindow;
  readonly short: BurnWindow;
  /** Times the rate at which the budget lasts the whole period. */
  readonly factor: number;
  readonly for: AlertFor;
  readonly severity: Severity;
}

/** What a service promises, as an operator may set it. */
export interface ObjectiveSettings<Key extends string = string> {
  /** Days for which the budgets are. */
  readonly periodDays: number;
  /** The share of requests that may be bad, by objective. */
  readonly budgets: Readonly<Record<Key, number>>;
  /** The time above which a request is slow, in seconds, by objective about time: a bound of its histogram. */
  readonly slowSeconds: Readonly<Record<string, number>>;
  /** Fastest first. */
  readonly burns: readonly [BurnRate, ...BurnRate[]];
}

/**
 * The workbook's rates for 30 days:
 *
 *     page    14.4 × budget over 1h and 5m    2 % of the budget in an hour
 *     page     6   × budget over 6h and 30m   5 % of it in six hours
 *     ticket   3   × budget over 1d and 2h   10 % of it in a day
 *     ticket   1   × budget over 3d and 6h   10 % of it in three days
 */
export const WORKBOOK_BURNS: ObjectiveSettings["burns"] = [
  { long: "1h", short: "5m", factor: 14.4, for: "2m", severity: "critical" },
  { long: "6h", short: "30m", factor: 6, for: "15m", severity: "critical" },
  { long: "1d", short: "2h", factor: 3, for: "1h", severity: "warning" },
  { long: "3d", short: "6h", factor: 1, for: "3h", severity: "warning" },
];

/** Labels of a recorded share: one for each service of an installation. */
type ServiceLabel = "cluster" | "namespace" | "job";
const DAY_SECONDS = 86_400;
const SERVICE = ["cluster", "namespace", "job"] as const;

/** The share of bad requests in a window, as it is recorded. */
type ShareRecording = RecordingRule<ServiceLabel, "ratio">;

/** One objective. */
export interface Objective<Key extends string> {
  readonly key: Key;
  /** Begins the names of its alerts. */
  readonly title: string;
  /** What may be bad, such as "match requests", and what that means, such as "fail". */
  readonly requests: string;
  readonly badly: string;
  /** The second part of the recorded names. */
  readonly metric: string;
  readonly badShare: (window: BurnWindow) => Vec<ServiceLabel, "ratio">;
  readonly runbook: Runbook;
  /** Series in which a share of the requests is bad. */
  readonly series: (share: number) => readonly TrialSeries[];
  /** The service of those series. */
  readonly service: Readonly<Record<ServiceLabel, string>>;
}

/** Whole settings or none: a wrong one would be found when it is too late. */
function checkSettings({ periodDays, budgets, burns }: ObjectiveSettings): void {
  const refuse = (what: string): never => {
    throw new RangeError(`objectives: ${what}`);
  };
  if (!(periodDays > 0)) refuse(`periodDays is ${periodDays}; expected more than 0`);
  for (const [key, budget] of Object.entries(budgets)) {
    if (!(budget > 0 && budget < 1)) refuse(`the budget of ${key} is ${budget}; expected 0 to 1`);
    for (const { long, factor } of burns)
      if (!(factor > 0 && factor * budget < 1))
        refuse(`${factor} times the budget of ${key} over ${long} is ${factor * budget}; expected 0 to 1`);
  }
  for (const { long, short } of burns) {
    if (secondsOf(long) > periodDays * DAY_SECONDS)
      refuse(`the window ${long} is longer than periodDays, which is ${periodDays}`);
    if (!(secondsOf(long) > secondsOf(short))) refuse(`the window ${long} is not longer than ${short}`);
  }
  if (new Set(burns.map(({ long }) => long)).size < burns.length) refuse("two rates have one long window");
}

/** Windows of all rates, shortest first. */
function windowsOf({ burns }: ObjectiveSettings): BurnWindow[] {
  const windows = new Set(burns.flatMap(({ long, short }) => [short, long]));
  return [...windows].toSorted((one, other) => secondsOf(one) - secondsOf(other));
}

/** The recorded shares of one objective, by window. */
export interface ObjectiveShares {
  readonly group: RecordingGroup;
  /** @throws RangeError for a window that no rate has. */
  readonly of: (window: BurnWindow) => ShareRecording;
}

/**
 * Records the share of bad requests over each window.
 *
 * @param project - name of the application, which begins the group's.
 * @param objective - which.
 * @param settings - with the windows.
 * @returns the recordings.
 * @throws RangeError for settings that cannot be (B1).
 */
export function objectiveShares<Key extends string>(
  project: string,
  {
    key,
    metric,
    requests,
    badly,
    badShare,
  }: Omit<Objective<Key>, "runbook" | "series" | "service" | "title">,
  settings: ObjectiveSettings<Key>,
): ObjectiveShares {
  checkSettings(settings);
  const rules = new Map(
    windowsOf(settings).map((window): [BurnWindow, ShareRecording] => [
      window,
      recording({
        metric,
        operations: `ratio_rate${window}`,
        help: `Share of ${requests} over ${window} that ${badly}.`,
        expression: badShare(window),
      }),
    ]),
  );
  return {
    group: { name: `${project}-objective-${key}`, rules: [...rules.values()] },
    of: (window) => {
      const rule = rules.get(window);
      if (rule === undefined) throw new RangeError(`objectives: no rate has the window ${window}`);
      return rule;
    },
  };
}

/**
 * The alerts of an objective.
 *
 * @param objective - which.
 * @param shares - as they are recorded.
 * @param settings - with budgets and rates.
 * @param panel - that shows the shares.
 * @returns one for each rate.
 */
export function objectiveAlerts<Key extends string>(
  { key, title, requests, badly, runbook, series, service }: Objective<Key>,
  shares: ObjectiveShares,
  { budgets, burns }: ObjectiveSettings<Key>,
  panel: PanelReference,
): readonly Alert<"objectives">[] {
  return burns.map(({ long, short, factor, for: patience, severity }) => {
    // Rounded, so that the threshold reads as a person would write it.
    const threshold = Number((factor * budgets[key]).toPrecision(6));
    return alert({
      name: `${title}BudgetBurn${long}`,
      when: both(above(recorded(shares.of(long)), threshold), above(recorded(shares.of(short)), threshold)),
      for: patience,
      severity,
      component: "objectives",
      summary: `The ${key} budget of ${requests} burns ${factor} times as fast as it may.`,
      description: ({ label, value: share }) =>
        `${share} of the ${requests} of ${label("job")} over ${long} ${badly}.`,
      panel,
      runbook,
      trial: { series, fires: threshold * 1.02, calm: threshold * 0.98, labels: service, settle: "10m" },
    });
  });
}

/**
 * A faster alert of an objective silences its slower ones.
 *
 * @param title - of the objective.
 * @param settings - with the rates.
 */
export function objectiveInhibitions(title: string, { burns }: ObjectiveSettings): readonly Inhibition[] {
  const named = ({ long }: BurnRate): string => `${title}BudgetBurn${long}`;
  return burns
    .map((burn, i) => ({ burn, slower: burns.slice(i + 1) }))
    .filter(({ burn, slower }) => burn.severity === "critical" && slower.length > 0)
    .map(({ burn, slower }) => ({
      because: "the same budget, burning faster",
      source: named(burn),
      targets: { alerts: slower.map(named) },
      equal: SERVICE,
    }));
}

/** The objectives of a project: what its page needs beside the alerts, and the way to others. */
export interface ObjectiveFacts {
  readonly settings: ObjectiveSettings;
  /** The sentence that the page begins with, such as "kvsync promises two things about …". */
  readonly opening: string;
  readonly promises: readonly {
    readonly key: string;
    readonly title: string;
    /** What is promised, such as "99.9 % of the requests succeed". */
    readonly promise: string;
  }[];
  /** Where the shares are shown: a link in Markdown. */
  readonly shownAt: string;
}
