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
 *  Q3  A body whose shape would keep the parser busy is not parsed (request-reading.test.ts "Q3").
 *  Q4  Without a tokenizer a text stays bytes, and the request is read the same otherwise (request-reading.test.ts "Q4").
 *
 * Not here: tokens of texts (remote-tokenizer.ts), which model a name means (model-name.ts).
 * Source: OpenAI's API as vLLM serves it (`prompt` of completions), the endpoint picker's specification of paths.
 */
import { z } from "zod";

import { isWellFormed } from "../engine/well-formed.ts";
import { jsonMembers } from "../request/json-members.ts";
import { checkJsonShape } from "../request/json-shape.ts";
import { RequestError } from "../request/request-error.ts";
import { tokenizerFields, type TokenizerFields } from "../tokenizer/tokenize-request.ts";
import type { PickQuestion } from "./session.ts";

/** Bytes of text that stand for one token where tokens are not known. */
const BYTES_PER_TOKEN = 4;
/** Longest model name, salt or adapter that is looked up. */
const NAME_MAX = 1024;
/** Longest JSON of such a name: each character as an escape. */
const NAME_JSON_BYTES_MAX = 6 * NAME_MAX + 2;

const QUOTE = 0x22;
const OPEN_ARRAY = 0x5b;

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
  /** A text that nobody is asked about. */
  | { readonly kind: "unread" }
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
  /** The body in one piece; what came of it when there is a gap. */
  readonly bytes: Buffer;
}

const name = z.string().min(1).max(NAME_MAX).refine(isWellFormed);
const common = { model: name.optional().catch(undefined), cache_salt: name.nullish().catch(undefined) };
const { add_special_tokens } = tokenizerFields;
const chatRequest = z
  .object({ ...common, ...tokenizerFields, messages: tokenizerFields.messages.unwrap() })
  .omit({ prompt: true });

type OnePrompt = string | readonly unknown[];
type Prompt = string | readonly unknown[] | readonly OnePrompt[];

const completionRequest = z.object({
  ...common,
  add_special_tokens,
  prompt: z.custom<Prompt>(isPrompt),
});

/**
 * Reads a request.
 *
 * @param question - as the session asks it.
 * @param readsTexts - whether anybody makes tokens of texts.
 * @returns what it asks for. Cost: one pass over the body.
 */
export function readRequest(question: PickQuestion, readsTexts = true): InferenceRequest {
  const { headers, gap, bodyBytes } = question;
  const bytes = joined(question.body);
  const bySize = (reason: ReadingReason, model: string | null = null): InferenceRequest => ({
    model,
    cacheSalt: null,
    prompt: null,
    reason,
    estimatedTokens: Math.ceil(Math.max(bodyBytes, announcedBytes(headers)) / BYTES_PER_TOKEN),
    otherTokens: 0,
    bytes,
  });
  if (gap !== "none") return bySize(gap);
  const encoding = headers.get("content-encoding") ?? "identity";
  if (encoding.trim().toLowerCase() !== "identity") return bySize("encoding");
  const route = routeOf(headers.get(":path") ?? "");
  return (readsTexts ? null : unreadText(route, bytes)) ?? parsed(route, bytes, bySize);
}

/** Reads a request as a whole; `bySize` makes one that cannot be looked up. */
function parsed(
  route: string,
  bytes: Buffer,
  bySize: (reason: ReadingReason, model?: string | null) => InferenceRequest,
): InferenceRequest {
  const source = bytes.toString();
  const body = parse(source);
  if (body === null || body === "shapeless") return bySize(body === null ? "not_json" : "not_understood");
  const model = name.safeParse(body["model"]);
  switch (route) {
    case "completions": {
      const read = completionRequest.safeParse(body);
      return read.success ? completion(read.data, bytes) : bySize("not_understood", model.data ?? null);
    }
    case "chat/completions": {
      const read = chatRequest.safeParse(body);
      return read.success ? chat(read.data, bytes, source) : bySize("not_understood", model.data ?? null);
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

function joined(chunks: readonly Uint8Array[]): Buffer {
  const [only] = chunks;
  return chunks.length === 1 && only !== undefined
    ? Buffer.from(only.buffer, only.byteOffset, only.length)
    : Buffer.concat(chunks);
}

/**
 * Reads a request by its text alone: Q4.
 *
 * @returns null for one that is not of a text, or that is not understood: it is to be read as a whole.
 */
function unreadText(route: string, bytes: Buffer): InferenceRequest | null {
  const promptName = route === "completions" ? "prompt" : route === "chat/completions" ? "messages" : null;
  const members = promptName === null ? null : jsonMembers(bytes);
  const prompt = members?.get(promptName ?? "");
  if (members === null || prompt?.[0] !== (promptName === "prompt" ? QUOTE : OPEN_ARRAY)) return null;
  const textBytes = promptName === "prompt" ? prompt.length - 2 : bytes.length;
  return {
    model: nameOf(members.get("model")),
    cacheSalt: nameOf(members.get("cache_salt")),
    prompt: { kind: "unread" },
    reason: null,
    estimatedTokens: Math.ceil(textBytes / BYTES_PER_TOKEN),
    otherTokens: 0,
    bytes,
  };
}

/** A name as it is written in JSON; null for none that could be looked up. */
function nameOf(json: Buffer | undefined): string | null {
  if (json === undefined || json.length > NAME_JSON_BYTES_MAX) return null;
  try {
    return name.safeParse(JSON.parse(json.toString())).data ?? null;
  } catch {
    return null;
  }
}

/** Null for anything but a JSON object. */
function parse(json: string): Record<string, unknown> | "shapeless" | null {
  try {
    checkJsonShape(json);
    const value: unknown = JSON.parse(json);
    return typeof value === "object" && value !== null && !Array.isArray(value)
      ? (value as Record<string, unknown>)
      : null;
  } catch (error) {
    return error instanceof RequestError ? "shapeless" : null;
  }
}

function chat(
  { model, cache_salt: cacheSalt, ...fields }: z.output<typeof chatRequest>,
  bytes: Buffer,
  source: string,
): InferenceRequest {
  const estimatedTokens = Math.ceil(bytes.length / BYTES_PER_TOKEN);
  return {
    model: model ?? null,
    cacheSalt: cacheSalt ?? null,
    prompt: { kind: "text", fields, source },
    reason: null,
    estimatedTokens,
    otherTokens: 0,
    bytes,
  };
}

function completion(read: z.output<typeof completionRequest>, bytes: Buffer): InferenceRequest {
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
    bytes,
  };
}

/** Whether it is a text, token ids, or a list of either. Of token ids only the first is looked at: the lookup checks them. */
function isPrompt(value: unknown): value is Prompt {
  if (typeof value === "string") return true;
  if (!Array.isArray(value) || value.length === 0) return false;
  const list: readonly unknown[] = value;
  const [first] = list;
  if (typeof first === "number") return true;
  if (typeof first === "string") return list.every((one) => typeof one === "string");
  return list.every((one) => Array.isArray(one) && (one.length === 0 || typeof one[0] === "number"));
}

function promptsOf(prompt: Prompt): readonly OnePrompt[] {
  if (typeof prompt === "string") return [prompt];
  return isTokenList(prompt) ? [prompt] : prompt;
}

function isTokenList(prompt: readonly unknown[] | readonly OnePrompt[]): prompt is readonly unknown[] {
  return typeof prompt[0] === "number";
}

function tokensOf(prompt: OnePrompt): number {
  return typeof prompt === "string" ? Math.ceil(Buffer.byteLength(prompt) / BYTES_PER_TOKEN) : prompt.length;
}
