/**
 * Reads the prompt of an inference request from its path and body.
 *
 *     /v1/completions         prompt: text, token ids, or a list of either  ─┐
 *     /v1/chat/completions    messages, tools, template options             ─┴─▶ a prompt to look up
 *     anything else, no JSON, an encoding, no body                           ──▶ its size alone, and the reason
 *
 *  Q1  No request is refused: one that is not understood has its size and a reason (request-reading.test.ts "Q1").
 *  Q2  A list of prompts is looked up by its first and counts with the lengths of all
 *      (request-reading.test.ts "Q2").
 *
 * Not here: tokens of texts (remote-tokenizer.ts), which model a name means (model-name.ts).
 * Source: OpenAI's API as vLLM serves it (`prompt` of completions), the endpoint picker's specification of paths.
 */
import { z } from "zod";

import { isWellFormed } from "../engine/well-formed.ts";
import { tokenizerFields, type TokenizerFields } from "../tokenizer/tokenize-request.ts";
import type { PickQuestion } from "./session.ts";

/** Bytes of text that stand for one token where tokens are not known. */
const BYTES_PER_TOKEN = 4;
/** Longest model name, salt or adapter that is looked up. */
const NAME_MAX = 1024;

/** Why a prompt cannot be looked up, as far as the request shows it. */
export type ReadingReason =
  | "no_body"
  | "not_sent"
  | "body_large"
  | "buffer_full"
  | "path"
  | "encoding"
  | "not_json"
  | "not_understood";

/** The prompt of a request. */
export type PromptInput =
  /** Token ids, unchecked. */
  | { readonly kind: "token_ids"; readonly tokens: readonly unknown[] }
  /** A question to the model's tokenizer. */
  | {
      readonly kind: "text";
      readonly fields: TokenizerFields;
      /** Text of the body; null when it is not needed. */
      readonly source: string | null;
    };

/** A request as the picker understands it. */
export interface InferenceRequest {
  /** Null when the request names none, or none that could be looked up. */
  readonly model: string | null;
  readonly cacheSalt: string | null;
  /** Null when it cannot be looked up; `reason` has why. */
  readonly prompt: PromptInput | null;
  /** Null exactly when there is a prompt. */
  readonly reason: ReadingReason | null;
  /** Tokens of the whole prompt by its bytes, or by its ids where they are all given. */
  readonly estimatedTokens: number;
  /** Of a list of prompts: tokens of all but the first, by the same rule. */
  readonly otherTokens: number;
}

const name = z.string().min(1).max(NAME_MAX).refine(isWellFormed);
const common = { model: name.optional().catch(undefined), cache_salt: name.nullish().catch(undefined) };
const { add_special_tokens } = tokenizerFields;
const chatRequest = z
  .object({ ...common, ...tokenizerFields, messages: tokenizerFields.messages.unwrap() })
  .omit({ prompt: true });
const promptText = z.string();
const completionRequest = z.object({
  ...common,
  add_special_tokens,
  prompt: z.union([
    promptText,
    z.array(z.number()).min(1),
    z.array(promptText).min(1),
    z.array(z.array(z.number())).min(1),
  ]),
});

/**
 * Reads a request.
 *
 * @param question - as the session asks it.
 * @returns what it asks for. Cost: one pass over the body.
 */
export function readRequest(question: PickQuestion): InferenceRequest {
  const { headers, gap, bodyBytes } = question;
  const bySize = (reason: ReadingReason, model: string | null = null): InferenceRequest => ({
    model,
    cacheSalt: null,
    prompt: null,
    reason,
    estimatedTokens: Math.ceil(Math.max(bodyBytes, announcedBytes(headers)) / BYTES_PER_TOKEN),
    otherTokens: 0,
  });
  if (gap !== "none") return bySize(gap);
  const encoding = headers.get("content-encoding") ?? "identity";
  if (encoding.trim().toLowerCase() !== "identity") return bySize("encoding");
  const source = textOf(question.body);
  const body = parse(source);
  if (body === null) return bySize("not_json");
  const model = name.safeParse(body["model"]);
  switch (routeOf(headers.get(":path") ?? "")) {
    case "completions": {
      const read = completionRequest.safeParse(body);
      return read.success ? completion(read.data) : bySize("not_understood", model.data ?? null);
    }
    case "chat/completions": {
      const read = chatRequest.safeParse(body);
      return read.success ? chat(read.data, bodyBytes, source) : bySize("not_understood", model.data ?? null);
    }
    default:
      return bySize("path", model.data ?? null);
  }
}

/** What follows the last `/v1/` of a path, without its query. */
function routeOf(path: string): string {
  const [plain = ""] = path.split("?", 1);
  const at = plain.lastIndexOf("/v1/");
  return at < 0 ? "" : plain.slice(at + 4).replace(/\/$/, "");
}

/** A body that was not read still says how long it is. */
function announcedBytes(headers: ReadonlyMap<string, string>): number {
  const text = headers.get("content-length") ?? "";
  return /^\d{1,12}$/.test(text) ? Number(text) : 0;
}

function textOf(chunks: readonly Uint8Array[]): string {
  const [only] = chunks;
  const bytes =
    chunks.length === 1 && only !== undefined
      ? Buffer.from(only.buffer, only.byteOffset, only.length)
      : Buffer.concat(chunks);
  return bytes.toString();
}

/** Null for anything but a JSON object. */
function parse(json: string): Record<string, unknown> | null {
  try {
    const value: unknown = JSON.parse(json);
    return typeof value === "object" && value !== null && !Array.isArray(value)
      ? (value as Record<string, unknown>)
      : null;
  } catch {
    return null;
  }
}

function chat(
  { model, cache_salt: cacheSalt, ...fields }: z.output<typeof chatRequest>,
  bodyBytes: number,
  source: string,
): InferenceRequest {
  const estimatedTokens = Math.ceil(bodyBytes / BYTES_PER_TOKEN);
  return {
    model: model ?? null,
    cacheSalt: cacheSalt ?? null,
    prompt: { kind: "text", fields, source },
    reason: null,
    estimatedTokens,
    otherTokens: 0,
  };
}

function completion(read: z.output<typeof completionRequest>): InferenceRequest {
  const { prompt, model, cache_salt: cacheSalt, ...fields } = read;
  const prompts = promptsOf(prompt);
  const [first = ""] = prompts;
  const lengths = prompts.map(tokensOf);
  const [own = 0] = lengths;
  const otherTokens = lengths.reduce((sum, length) => sum + length, 0) - own;
  return {
    model: model ?? null,
    cacheSalt: cacheSalt ?? null,
    prompt:
      typeof first === "string"
        ? { kind: "text", fields: { ...fields, prompt: first }, source: null }
        : { kind: "token_ids", tokens: first },
    reason: null,
    estimatedTokens: own + otherTokens,
    otherTokens,
  };
}

type OnePrompt = string | readonly number[];

function promptsOf(prompt: z.output<typeof completionRequest>["prompt"]): readonly OnePrompt[] {
  if (typeof prompt === "string") return [prompt];
  return isTokenList(prompt) ? [prompt] : prompt;
}

function isTokenList(prompt: number[] | string[] | number[][]): prompt is number[] {
  return typeof prompt[0] === "number";
}

function tokensOf(prompt: OnePrompt): number {
  return typeof prompt === "string" ? Math.ceil(Buffer.byteLength(prompt) / BYTES_PER_TOKEN) : prompt.length;
}
