/** The picker's answers over HTTP: their schemas, and the way from the picker's own data to them. */

import { z } from "zod";

import { TRUST_LEVELS } from "@kvsync/core";

import type { Explanation } from "../picker/endpoint-fleet.ts";
import type { PickerStatus } from "../picker/picker-status.ts";

const count = z.int().min(0);
const tokens = z.number().min(0);
const trust = z.enum(TRUST_LEVELS);
const dpRank = count.nullable().describe("It is null when all ranks of the engine are behind the endpoint.");

const missingShards = z
  .array(count)
  .describe("Shards that did not answer in time; their engines count as engines without a match.");

const terms = z
  .strictObject({
    held_tokens: tokens.describe("Counts as held: the greater of the next two."),
    index_tokens: tokens.describe("Held by the index, by the weight of its trust."),
    own_tokens: tokens.describe("Sent there lately."),
    fresh_tokens: tokens.describe("To be computed."),
    pressure: tokens.describe("Use of its cache, 0 to 4; 1 is the mean."),
    pending: tokens,
    prefill: tokens.describe("fresh_tokens × (1 + pressure)."),
    context: tokens,
    running: tokens,
    surcharge: tokens.describe("For an adapter to be loaded, and for another endpoint than the session's."),
  })
  .meta({
    id: "PickTerms",
    description: "pending, prefill, context, running and surcharge add up to the cost.",
  });
const ranked = z
  .strictObject({
    endpoint: z.string().describe("As ip:port."),
    worker: z.string(),
    dp_rank: dpRank,
    trust,
    cost: tokens.describe("In tokens of prefill."),
    terms,
  })
  .meta({ id: "RankedEndpoint", description: "An endpoint for a request, and the cost there." });

/** The answer to a question how a pick would be made. */
export const pickExplanation = z
  .strictObject({
    prompt_tokens: count,
    reason: z.string().describe("Why the index was not used, or not all of it; none when it was."),
    missing_shards: missingShards,
    endpoints: z.array(ranked).describe("Best first."),
  })
  .meta({ id: "PickExplanation", description: "The ranking of all endpoints for a request." });

/** The answer to a pick. */
export const pickAnswer = z
  .strictObject({
    id: z.string().describe("To end the pick with."),
    decision: z
      .enum(["index", "degraded", "own", "load"])
      .describe("degraded: by the index, without the engines of the missing shards."),
    worker: z.string().describe("The engine of the first endpoint."),
    trust,
    matched_tokens: count.describe("Tokens that count as held there."),
    prompt_tokens: count,
    reason: z.string().describe("Why the index was not used, or not all of it; none when it was."),
    missing_shards: missingShards,
    endpoints: z.array(ranked).describe("The picked one first, then those for retries."),
  })
  .meta({ id: "PickAnswer", description: "Endpoints for a request. It is booked at the first." });

/** The answer to a report of outcomes. */
export const outcomesAnswer = z
  .strictObject({ taken: count, unknown: count.describe("Of workers that have no endpoint.") })
  .meta({ id: "OutcomesAnswer" });

/** The picker's state. */
export const pickerReport = z
  .strictObject({
    ready: z.boolean().describe("Whether health checks of gateways are answered with SERVING."),
    bookings: count.describe("Open requests."),
    threads: z
      .array(
        z
          .strictObject({
            connections: count.describe("Of gateways."),
            streams: count.describe("Open requests of these connections."),
            bookings: count.describe("Open requests that it picked for, those over HTTP included."),
          })
          .meta({ id: "PickerThread" }),
      )
      .describe("The threads that pick, each with its share."),
    open_picks: count.describe("Open requests that were picked for over HTTP."),
    expired_picks: count.describe("Picks over HTTP that their routers did not end in time, since the start."),
    decisions: z.strictObject({ index: count, degraded: count, own: count, load: count, immediate: count }),
    reasons: z
      .record(z.string(), count)
      .describe("Decisions without the index, or without a shard of it, by their reason."),
    missing_shards: z.array(count).describe("Shards that had no answer when they were last asked."),
    predictions: z
      .strictObject({ agree: count, differ: count })
      .describe("Predictions that engines' own counts were compared with."),
    predicted_cached_tokens: tokens.describe("Of these predictions."),
    reported_cached_tokens: tokens.describe("By the engines' own counts."),
    served_elsewhere: count,
    faults: count,
    states: z.strictObject({ eligible: count, not_ready: count, penalty: count, stale: count }),
    endpoints: z.array(
      z
        .strictObject({
          endpoint: z.string(),
          worker: z.string(),
          model: z.string().nullable(),
          dp_rank: dpRank,
          running: count,
          waiting: count,
          pending_tokens: tokens,
          context_tokens: tokens,
          capacity_tokens: tokens,
          foreign_running: count.describe("Requests that others sent there."),
        })
        .meta({ id: "PickerEndpoint" }),
    ),
  })
  .meta({ id: "PickerReport", description: "The endpoint picker: endpoints, loads, decisions." });

/** A row of a ranking. */
export type RankedEndpoint = z.output<typeof ranked>;

/**
 * The rows of a ranking.
 *
 * @param explanation - from the picker.
 * @param only - addresses, in their order; all without.
 */
export function rankedEndpoints({ ranking }: Explanation, only?: readonly string[]): RankedEndpoint[] {
  const rows = ranking.map(({ endpoint, trust: level, cost, terms: own }): RankedEndpoint => {
    const { address, worker, dpRank: rank } = endpoint;
    return {
      endpoint: address,
      worker,
      dp_rank: rank,
      trust: level,
      cost,
      terms: {
        held_tokens: own.heldTokens,
        index_tokens: own.indexTokens,
        own_tokens: own.ownTokens,
        fresh_tokens: own.freshTokens,
        pressure: own.pressure,
        pending: own.pending,
        prefill: own.prefill,
        context: own.context,
        running: own.running,
        surcharge: own.surcharge,
      },
    };
  });
  return only === undefined ? rows : only.flatMap((one) => rows.filter(({ endpoint }) => endpoint === one));
}

/** The picker's state as it is answered. */
export function pickerReportOf(status: PickerStatus): z.output<typeof pickerReport> {
  const { totals } = status;
  return {
    ready: status.isReady,
    bookings: status.threads.reduce((sum, { bookings }) => sum + bookings, 0),
    threads: status.threads.map(({ connections, streams, bookings }) => ({ connections, streams, bookings })),
    open_picks: status.openPicks,
    expired_picks: status.expiredPicks,
    decisions: totals.decisions,
    reasons: totals.reasons,
    missing_shards: [...status.missingShards],
    predictions: totals.predictions,
    predicted_cached_tokens: totals.predictedTokens,
    reported_cached_tokens: totals.reportedTokens,
    served_elsewhere: totals.servedElsewhere,
    faults: totals.faults,
    states: status.states,
    endpoints: status.endpoints.map(({ endpoint, ...load }) => ({
      endpoint: endpoint.address,
      worker: endpoint.worker,
      model: endpoint.model,
      dp_rank: endpoint.dpRank,
      running: load.running,
      waiting: load.waiting,
      pending_tokens: load.pendingTokens,
      context_tokens: load.contextTokens,
      capacity_tokens: load.capacityTokens,
      foreign_running: load.foreignRunning,
    })),
  };
}
