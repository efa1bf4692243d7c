/**
 * A question to `POST /tokenize` of vLLM, in either of its forms, and the same question as SGLang takes it.
 *
 *   prompt    {model, prompt, add_special_tokens?}
 *   messages  {model, messages, add_generation_prompt?, continue_final_message?, add_special_tokens?, chat_template?,
 *              chat_template_kwargs?, tools?}
 *   answer    {count, max_model_len, tokens: [int], …}
 *
 * Options that a caller leaves out are left out here too, so that the tokenizer's defaults are the engine's. An adapter is asked for as the model,
 * as in vLLM's other routes.
 *
 * SGLang renders a conversation with the model's own template, and opens the assistant's turn unless the last message is
 * continued. It ignores fields that it does not know, so a question that depends on one of them is not asked.
 *
 * Sources: vllm/entrypoints/serve/tokenize/protocol.py @ 6e448d0ea9bf (vllm-project/vllm); TokenizeRequest in
 * python/sglang/srt/entrypoints/openai/protocol.py @ 004c82e07d87 (sgl-project/sglang). SGLang before it takes prompts alone.
 */

import { createHash } from "node:crypto";

import { z } from "zod";

import { hasOddNumber } from "../request/json-numbers.ts";

const MESSAGES_MAX = 4096;
const MESSAGES_EXPECTED = `a list of 1-${MESSAGES_MAX} messages, each an object with a role`;
const yes = z.boolean("true or false").optional();
const bag = z.record(z.string(), z.unknown(), "an object").optional();

/** The fields of a lookup that are the tokenizer's. */
export const tokenizerFields = {
  prompt: z.string("a text").optional().describe("Text to tokenize, as a completion request's prompt."),
  messages: z
    .array(z.looseObject({ role: z.string("a text") }, MESSAGES_EXPECTED), MESSAGES_EXPECTED)
    .min(1, MESSAGES_EXPECTED)
    .max(MESSAGES_MAX, MESSAGES_EXPECTED)
    .optional()
    .describe("Conversation to put through the model's chat template, as a chat completion's messages."),
  add_special_tokens: yes.describe("Prompt or messages: whether special tokens are added."),
  add_generation_prompt: yes.describe("Messages: whether the assistant's turn is opened at the end."),
  continue_final_message: yes.describe("Messages: whether the last message is left open."),
  chat_template: z.string("a text").optional().describe("Messages: a template instead of the model's own."),
  chat_template_kwargs: bag.describe("Messages: further arguments of the template."),
  tools: z.array(z.unknown(), "a list").optional().describe("Messages: tools that the template describes."),
} as const;

/** Names of the fields that only messages may have. */
export const CHAT_OPTIONS = [
  "add_generation_prompt",
  "continue_final_message",
  "chat_template",
  "chat_template_kwargs",
  "tools",
] as const;

/** The tokenizer's fields as a lookup has them. */
export type TokenizerFields = z.output<z.ZodObject<typeof tokenizerFields>>;

/** Members of a body whose numbers can get into a prompt; those of plain messages have none. */
const RENDERED: ReadonlySet<string> = new Set(["tools", "chat_template_kwargs"]);

/** The answer, as far as it is used. */
export const tokenizeAnswer = z.object({ tokens: z.custom<readonly unknown[]>(Array.isArray) });

/** A question, ready to send. */
export interface TokenizeRequest {
  /** Whose tokenizer makes the tokens: never an adapter. */
  readonly model: string;
  /** The name that the question has in `body`: the adapter's where there is one. */
  readonly name: string;
  readonly fields: TokenizerFields;
  /** Whether tools or template arguments have a number that Python and JavaScript write differently (request/json-numbers.ts). */
  readonly hasOddNumbers: boolean;
  /** JSON, as vLLM takes it. Holds the prompt: never to be logged. */
  readonly body: string;
  /** Names the question without telling it: two questions have the same digest when they are the same. */
  readonly digest: string;
}

/**
 * Makes the question.
 *
 * @param name - as the engine serves it; the adapter's name where there is one.
 * @param fields - with prompt or messages, one of the two.
 * @param more - `model`: the base model of an adapter, or of an alias. `source`: text of the body that the fields are from; without it their
 *   numbers count as odd.
 * @returns the request. O(length of the prompt).
 */
export function tokenizeRequest(
  name: string,
  fields: TokenizerFields,
  { model = name, source = null }: { readonly model?: string; readonly source?: string | null } = {},
): TokenizeRequest {
  // No value is nested too deep for it: json-shape.ts bounds the depth of a body.
  const body = JSON.stringify({
    model: name,
    prompt: fields.prompt,
    messages: fields.messages,
    add_special_tokens: fields.add_special_tokens,
    add_generation_prompt: fields.add_generation_prompt,
    continue_final_message: fields.continue_final_message,
    chat_template: fields.chat_template,
    chat_template_kwargs: fields.chat_template_kwargs,
    tools: fields.tools,
  });
  const hasOptions = fields.tools !== undefined || fields.chat_template_kwargs !== undefined;
  const hasOddNumbers = hasOptions && (source === null || hasOddNumber(source, RENDERED));
  const digest = createHash("sha256").update(body).digest("base64");
  return { model, name, fields, hasOddNumbers, body, digest };
}

/**
 * The question as SGLang takes it.
 *
 * @returns JSON; null when SGLang would answer another question.
 */
export function sglangBody({ name, fields }: TokenizeRequest): string | null {
  const { prompt, messages, add_special_tokens, continue_final_message } = fields;
  if (messages === undefined) return JSON.stringify({ model: name, prompt, add_special_tokens });
  const opensTurn = fields.add_generation_prompt ?? continue_final_message !== true;
  const isOwnTemplate = fields.chat_template === undefined && add_special_tokens !== true;
  if (!isOwnTemplate || opensTurn === (continue_final_message === true)) return null;
  return JSON.stringify({
    model: name,
    messages,
    continue_final_message,
    chat_template_kwargs: fields.chat_template_kwargs,
    tools: fields.tools,
  });
}
