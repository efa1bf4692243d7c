/** Answers of the web page's own routes. The events of its stream are in dashboard/delta-encoder.ts and dashboard/live-stream.ts. */

import { z } from "zod";

import { MINUTES } from "../dashboard/rank-minutes.ts";
import type { Answer } from "./answer.ts";
import { turn } from "./engine-answers.ts";

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

/** More than a screen has rows. */
const SLOTS_MAX = 64;
const SLOTS = `1 to ${SLOTS_MAX} slots of ranks, with commas between them`;

/** Which ranks are asked for. */
export const rankHoursQuery = z.strictObject({
  slots: z
    .string(SLOTS)
    .regex(new RegExp(`^\\d{1,6}(,\\d{1,6}){0,${SLOTS_MAX - 1}}$`), SLOTS)
    .describe(`Slots of at most ${SLOTS_MAX} ranks, with commas between them.`),
});

/** What `GET /api/v1/dashboard/ranks` answers. */
export const rankHours = z
  .strictObject({
    ranks: z
      .array(
        z
          .strictObject({
            rank_slot: z.int().min(0),
            engine: z.string(),
            dp_rank: z.int().min(0),
            timeline: z
              .array(turn)
              .describe("Changes of state and trust in the last hour and the one before them, oldest first."),
            events_per_second: z
              .array(z.number().nullable())
              .max(MINUTES)
              .describe("Events applied in each minute, oldest first. It is null where nothing is known."),
          })
          .meta({ id: "RankHour" }),
      )
      .max(SLOTS_MAX)
      .describe("A slot that no rank has is left out."),
  })
  .meta({ id: "RankHours", description: "The last hour of some ranks, for the rows that a page shows." });

/** The last hour of some ranks. */
export type RankHoursAnswer = Answer<typeof rankHours>;

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
