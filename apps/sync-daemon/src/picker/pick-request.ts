/**
 * Questions to the picker over HTTP, for routers that no gateway asks for: read on the main thread, asked in the picker's.
 *
 *     JSON ─▶ checked ─▶ the same request as a gateway would pass on ─▶ Picker.ask
 *
 * So a prompt is tokenized, looked up and decided in one way, over HTTP as for a gateway.
 */

import { POSITIONS_MAX } from "@kvsync/routing";
import { z } from "zod";

import { jsonBody } from "../query/match-query.ts";
import { checkFields } from "../request/check-fields.ts";
import { contradictory } from "../request/request-error.ts";

/** Endpoints that one question may allow; as many as a picker can have. */
const ENDPOINTS_MAX = POSITIONS_MAX;
const ENDPOINTS_EXPECTED = `a list of at most ${ENDPOINTS_MAX} endpoints, each ip:port`;
/** Outcomes in one report. */
const OUTCOMES_MAX = 1000;
const TOKENS_MAX = 1_000_000_000;
const OUTCOMES_EXPECTED = `a list of 1-${OUTCOMES_MAX} outcomes`;
const INPUTS = ["token_ids", "prompt", "messages"] as const;

/** Body of a pick, and of a question how it would be made. */
export const pickBody = jsonBody
  .omit({
    lora_name: true,
    block_size: true,
    mm_features: true,
    prefix_hashes: true,
    workers: true,
    top_k: true,
    include_unmatched: true,
  })
  .extend({
    endpoints: z
      .array(z.string(ENDPOINTS_EXPECTED).min(1).max(256), ENDPOINTS_EXPECTED)
      .max(ENDPOINTS_MAX, ENDPOINTS_EXPECTED)
      .nullish()
      .describe("Only these, each as ip:port; absent for all."),
  });

const tokens = z.int("a number of tokens").min(0, "a number of tokens").max(TOKENS_MAX, "a number of tokens");

const SERVED_EXPECTED = "an endpoint, ip:port";

/** Body of a pick's end. */
export const endBody = z.strictObject({
  served: z
    .string(SERVED_EXPECTED)
    .min(1, SERVED_EXPECTED)
    .max(256, SERVED_EXPECTED)
    .nullish()
    .describe("The endpoint that answered, as ip:port: the first one when absent."),
  cached_tokens: tokens
    .nullish()
    .describe("The engine's own count: usage.prompt_tokens_details.cached_tokens."),
});

/** What is known when a request is over. */
export type PickEnd = z.output<typeof endBody>;

/** Body of a report of outcomes. */
export const outcomesBody = z.strictObject({
  outcomes: z
    .array(
      z.strictObject({
        worker: z.string("a worker id").min(1, "a worker id").max(1024, "a worker id"),
        predicted: tokens.describe("Tokens that were predicted as cached: matched_tokens of the pick."),
        cached: tokens.describe("The engine's own count: usage.prompt_tokens_details.cached_tokens."),
      }),
      OUTCOMES_EXPECTED,
    )
    .min(1, OUTCOMES_EXPECTED)
    .max(OUTCOMES_MAX, OUTCOMES_EXPECTED),
});

/** A request as a gateway would pass it on. */
export interface AskedPick {
  readonly path: string;
  readonly body: Uint8Array;
  readonly subset: readonly string[] | null;
}

/** What became of predictions. */
export type Outcome = z.output<typeof outcomesBody>["outcomes"][number];

/**
 * Reads a question.
 *
 * @param body - parsed JSON.
 * @throws RequestError malformed_body, contradictory_fields.
 */
export function readPick(body: unknown): AskedPick {
  const { endpoints, token_ids: tokenIds, ...fields } = checkFields(pickBody, body);
  const given = INPUTS.filter((input) => (input === "token_ids" ? tokenIds : fields[input]) !== undefined);
  if (given.length !== 1)
    throw contradictory(given.length === 0 ? INPUTS : given, `exactly one of ${INPUTS.join(", ")}`);
  const asked = tokenIds === undefined ? fields : { ...fields, prompt: tokenIds };
  return {
    path: fields.messages === undefined ? "/v1/completions" : "/v1/chat/completions",
    body: Buffer.from(JSON.stringify(asked)),
    subset: endpoints ?? null,
  };
}
