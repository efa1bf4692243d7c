/** One `POST /v1/completions`, and the usage of its answer. */
import { z } from "zod";

import { type AnsweredRequest, GatewayError } from "./gateway.ts";

const USAGE = z.object({
  usage: z.object({
    prompt_tokens: z.int().min(0),
    prompt_tokens_details: z.object({ cached_tokens: z.int().min(0) }),
  }),
});
/** Of a refusal's body, as much as an error shows. */
const BODY_SHOWN = 300;

/**
 * Sends a completion.
 *
 * @param url - of the engine, or of what stands in front of it.
 * @throws GatewayError `refused`, `not_an_answer`, `unreachable`.
 */
export async function complete(url: string, body: string): Promise<AnsweredRequest> {
  const { status, text } = await post(`${url}/v1/completions`, body);
  const shown = text.slice(0, BODY_SHOWN);
  if (status !== 200) throw new GatewayError({ code: "refused", status, body: shown }, `${status}: ${shown}`);
  const answer = USAGE.safeParse(parseJson(text));
  if (!answer.success)
    throw new GatewayError({ code: "not_an_answer", body: shown }, `an answer without usage: ${shown}`);
  const { prompt_tokens: promptTokens, prompt_tokens_details: details } = answer.data.usage;
  return { promptTokens, cachedTokens: details.cached_tokens };
}

async function post(url: string, body: string): Promise<{ readonly status: number; readonly text: string }> {
  try {
    const headers = { "content-type": "application/json" };
    const response = await fetch(url, { method: "POST", headers, body });
    return { status: response.status, text: await response.text() };
  } catch (error) {
    // fetch's own message says only that it failed.
    const reason: unknown = error instanceof Error ? (error.cause ?? error) : error;
    const cause = reason instanceof Error ? reason.message : String(reason);
    throw new GatewayError({ code: "unreachable", cause }, `${url}: ${cause}`);
  }
}

function parseJson(text: string): unknown {
  try {
    return JSON.parse(text);
  } catch {
    // What is no JSON is no answer: the caller says so.
    return null;
  }
}
