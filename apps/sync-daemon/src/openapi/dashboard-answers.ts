/** Answers of the web page's own routes. The events of its stream are in dashboard/delta-encoder.ts and dashboard/live-stream.ts. */

import { z } from "zod";

import type { Answer } from "./answer.ts";

/** Longest history that a daemon may keep: `dashboard.history_seconds`. */
const HISTORY_SECONDS_MAX = 43_200;
const SECONDS = `an integer from 5 to ${HISTORY_SECONDS_MAX}`;

/** What is asked of the history. */
export const historyQuery = z.strictObject({
  seconds: z.coerce
    .number(SECONDS)
    .int(SECONDS)
    .min(5, SECONDS)
    .max(HISTORY_SECONDS_MAX, SECONDS)
    .default(3600)
    .describe("How far back."),
});

/** What `GET /api/v1/dashboard/history` answers. */
export const historyAnswer = z
  .strictObject({
    step: z.int().describe("Seconds between two values."),
    from: z.int().describe("Time of the first value, in seconds since the Unix epoch."),
    series: z
      .record(z.string(), z.array(z.number().nullable()))
      .describe(
        "Rates are per second, times in seconds, memory in bytes. It is null where there was nothing.",
      ),
  })
  .meta({ id: "DashboardHistory", description: "The last hour of the fleet in steps." });

/** What `GET /api/v1/whoami` answers. */
export const whoamiAnswer = z
  .strictObject({
    name: z.string().nullable().describe("The token's; null while no tokens are in use."),
    scope: z.enum(["read", "admin"]).describe("Without tokens every caller has admin scope."),
    tokens_in_use: z.boolean(),
  })
  .meta({ id: "Whoami", description: "Whose token a request has, and what it may do." });

/** Who asks. */
export type WhoamiAnswer = Answer<typeof whoamiAnswer>;
