/**
 * The answer to a lookup as it is on the wire. The schema is the documentation (OpenAPI), the type,
 * and the test of the sent answer.
 */

import { TIERS, TRUST_LEVELS, TRUST_REASON_NAMES, type TrustReason } from "@kvsync/core";
import { z } from "zod";

import { TOKENIZER_FAILURES, type TokenizerFailure } from "../tokenizer/tokenize-outcome.ts";

const count = z.int().min(0);

/** How far a rank's part of the index can be trusted. */
export const trustLevel = z.enum(TRUST_LEVELS).meta({
  id: "Trust",
  description: "exact; partial: may under-report; stale: may over-report; unknown: nothing is known.",
});
/** Why a rank's trust is below exact. */
export const trustReason = z.enum(TRUST_REASON_NAMES as readonly [TrustReason]).meta({
  id: "TrustReason",
  description:
    "Why the trust is below exact: docs/generated/trust.md has its meaning and the event that ends it.",
});
/** Since when a rank's trust and its reason are what they are. */
export const trustSince = z.iso
  .datetime()
  .nullable()
  .describe("When the present trust and reason began; null before the rank is followed.");
const decision = z.enum(["exact", "degraded", "fallback"]).meta({
  id: "Decision",
  description:
    "exact: route by it. degraded: some ranks are not exact. fallback: route as without cache information.",
});
const fallbackReason = z
  .enum(Object.keys(TOKENIZER_FAILURES) as [TokenizerFailure, ...TokenizerFailure[]])
  .meta({ id: "FallbackReason", description: "Why a prompt could not be looked up." });

const workerMatch = z
  .strictObject({
    worker: z.string().describe("The engine's id."),
    dp_rank: count,
    block_size: count
      .nullable()
      .describe("Tokens per block of what it holds; as the answer's when it holds nothing."),
    matched_blocks: count.describe(
      "Leading blocks that the engine can reuse: all its KV-cache groups allow them.",
    ),
    matched_tokens: count,
    held_tokens: count.describe(
      "Leading tokens held by the main KV-cache group; more than matched_tokens where a hybrid model's other groups allow less.",
    ),
    reusable_tokens: count.describe(
      "Of matched_tokens, what the engine will really skip: it computes at least the prompt's last token again.",
    ),
    tiers: z
      .strictObject(
        Object.fromEntries(TIERS.map((tier) => [tier, count])) as Record<
          (typeof TIERS)[number],
          typeof count
        >,
      )
      .meta({ id: "TierCounts", description: "The matched blocks by the fastest tier that holds them." }),
    trust: trustLevel,
    trust_reason: trustReason.nullable().describe("Null exactly when trust is exact."),
    trust_since: trustSince,
    age_seconds: z
      .number()
      .min(0)
      .nullable()
      .describe("Since the last event of its stream; null before the first."),
  })
  .meta({ id: "WorkerMatch", description: "One worker rank's match." });

/** The answer to a lookup. */
export const matchAnswer = z
  .strictObject({
    model: z.string().describe("As engines were registered with it."),
    requested_model: z.string().describe("As the lookup named it: the model, an alias, or an adapter."),
    lora_name: z.string().nullable().describe("The adapter, also where the lookup named it as the model."),
    block_size: count
      .nullable()
      .describe(
        "It is null when no block is stored, and when block_sizes has several sizes and the request named none.",
      ),
    block_sizes: z
      .array(count)
      .describe("The block sizes that were tried, ascending; each match has its own."),
    blocks: count
      .nullable()
      .describe(
        "Full blocks in the query: of tokens null with block_size, of prefix hashes all; null without either.",
      ),
    trust: trustLevel.describe("Worst of the ranks considered; unknown when there are none."),
    decision,
    reason: fallbackReason.nullable().describe("Why a prompt could not be looked up; null when it was."),
    ranks: z
      .strictObject(
        Object.fromEntries(TRUST_LEVELS.map((level) => [level, count])) as Record<
          (typeof TRUST_LEVELS)[number],
          typeof count
        >,
      )
      .meta({ id: "RankCounts", description: "Ranks considered, by trust." }),
    matches: z
      .array(workerMatch)
      .describe("Most matched tokens first; without include_unmatched only ranks with a match."),
  })
  .meta({
    id: "MatchAnswer",
    description: "The blocks of a prompt that each worker holds, and the trust of this answer.",
  });

/** The answer to a lookup; keys as they are in JSON. */
export type MatchAnswer = z.output<typeof matchAnswer>;

/** One worker rank's match. */
export type WorkerMatch = z.output<typeof workerMatch>;
