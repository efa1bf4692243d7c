/** Row of the dashboard "KV sync service and system": Objectives. */

import { max } from "../../../promql/operators.ts";
import { recorded } from "../../../promql/recording.ts";
import { type Key, type KvsyncObjectives, plain, sharesOf } from "../../rules/objective-shares.ts";
import { type Query, query, type Row, row, timeseries } from "../../../dashboards/panel.ts";

const JOB = { job: { variable: "job" } } as const;

/**
 * The row with its panels: the bad share over each long window of the alerts.
 *
 * @param settings - of the objectives.
 */
export function serviceObjectives(settings: KvsyncObjectives): Row<"availability" | "latencyObjective"> {
  const { budgets, burns, periodDays, slowSeconds } = settings;
  const shares = sharesOf(settings);
  const lines = (key: Key): readonly [Query<"ratio">, ...Query<"ratio">[]] => {
    const [first, ...others] = burns;
    const over = ({ long }: (typeof burns)[number]): Query<"ratio"> =>
      query(max(recorded(shares[key].of(long), JOB), []), long);
    return [over(first), ...others.map(over)];
  };
  const allowed = (key: Key): string =>
    `The objective allows ${plain(budgets[key] * 100)} % over ${plain(periodDays)} days.`;
  return row({
    id: 102,
    title: "Objectives",
    panels: {
      availability: timeseries({
        id: 12,
        title: "Availability: failed share of matches",
        shows: `Share of match requests that failed. ${allowed("availability")}`,
        normal: "Below the line of the objective.",
        width: 12,
        height: 8,
        queries: lines("availability"),
        levels: { warning: budgets.availability, bad: "above" },
      }),
      latencyObjective: timeseries({
        id: 13,
        title: "Latency: slow share of matches",
        shows: `Share of match requests with a duration above ${plain(slowSeconds.latency * 1000)} ms. ${allowed("latency")}`,
        normal: "Below the line of the objective.",
        width: 12,
        height: 8,
        queries: lines("latency"),
        levels: { warning: budgets.latency, bad: "above" },
      }),
    },
  });
}
