/** Row of the dashboard "KV sync service and system": Objectives. */

import { max } from "../../../promql/operators.ts";
import { recorded } from "../../../promql/recording.ts";
import { OBJECTIVE_RECORDINGS } from "../../rules/recordings.ts";
import { OBJECTIVES } from "../../rules/thresholds.ts";
import { query, row, timeseries } from "../../../dashboards/panel.ts";

const JOB = { job: { variable: "job" } } as const;

/** The row with its panels. */
export const SERVICE_OBJECTIVES = row({
  id: 102,
  title: "Objectives",
  panels: {
    availability: timeseries({
      id: 12,
      title: "Availability: failed share of matches",
      shows: `Share of match requests that failed. The objective allows ${OBJECTIVES.budgets.availability * 100} % over 30 days.`,
      normal: "Below the line of the objective.",
      width: 12,
      height: 8,
      queries: [
        query(max(recorded(OBJECTIVE_RECORDINGS.availability["1h"], JOB), []), "1 hour"),
        query(max(recorded(OBJECTIVE_RECORDINGS.availability["1d"], JOB), []), "1 day"),
      ],
      levels: { warning: OBJECTIVES.budgets.availability, bad: "above" },
    }),
    latencyObjective: timeseries({
      id: 13,
      title: "Latency: slow share of matches",
      shows: `Share of match requests that took longer than ${OBJECTIVES.latencySeconds * 1000} ms. The objective allows ${OBJECTIVES.budgets.latency * 100} % over 30 days.`,
      normal: "Below the line of the objective.",
      width: 12,
      height: 8,
      queries: [
        query(max(recorded(OBJECTIVE_RECORDINGS.latency["1h"], JOB), []), "1 hour"),
        query(max(recorded(OBJECTIVE_RECORDINGS.latency["1d"], JOB), []), "1 day"),
      ],
      levels: { warning: OBJECTIVES.budgets.latency, bad: "above" },
    }),
  },
});
