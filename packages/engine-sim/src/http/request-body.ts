/**
 * Bodies of `/tokenize`, `/v1/completions` and `/v1/chat/completions`: the checks, and the form in which
 * the rest of the server gets them. Fields that are not here are accepted and ignored, as in vLLM:
 * temperature, top_p, tool_choice, chat_template_kwargs and the like.
 */
import { z } from "zod";

import { EngineError } from "../engine-error.ts";
import { malformedBody } from "../fault.ts";

/** As the daemon's lookups. */
const MESSAGES_MAX = 4096;
/** Prompts of one completion request; each is a request to the engine. */
const PROMPTS_MAX = 256;
/** OpenAI takes 4, vLLM any number. */
const STOPS_MAX = 16;

/** `null` counts as absent: clients send it for options that they do not use. */
type Nullish<Value> = Value | null | undefined;

/** A part of a message's content. */
export interface ContentPart {
  readonly type: string;
  readonly text?: unknown;
}

/** The fields of a conversation. */
export interface ChatBody {
  readonly messages: readonly {
    readonly role: string;
    readonly content?: string | readonly ContentPart[] | null | undefined;
    readonly tool_calls?: Nullish<readonly unknown[]>;
  }[];
  readonly tools?: Nullish<readonly unknown[]>;
  readonly add_generation_prompt: boolean;
  readonly continue_final_message: boolean;
  readonly chat_template?: unknown;
}

/** The fields that both kinds of completions have. */
export interface CompletionBody {
  readonly model?: Nullish<string>;
  readonly stream?: Nullish<boolean>;
  readonly stream_options?: Nullish<{ readonly include_usage?: Nullish<boolean> }>;
  readonly max_tokens?: Nullish<number>;
  readonly min_tokens?: Nullish<number>;
  readonly ignore_eos?: Nullish<boolean>;
  readonly stop?: Nullish<string | readonly string[]>;
  readonly seed?: Nullish<number>;
  readonly cache_salt?: Nullish<string>;
  readonly n?: Nullish<number>;
  readonly best_of?: Nullish<number>;
  readonly echo?: Nullish<boolean>;
  readonly suffix?: Nullish<string>;
  readonly logprobs?: Nullish<boolean | number>;
  readonly prompt_logprobs?: Nullish<number>;
  readonly response_format?: Nullish<{ readonly type: string }>;
}

/** A completion's `prompt`: a text, its tokens, or a list of either. */
export type Prompt = string | readonly string[] | readonly number[] | readonly (readonly number[])[];

/** A text to continue. */
export interface TextCompletionBody extends CompletionBody {
  readonly prompt: Prompt;
  readonly add_special_tokens: boolean;
}

/** A conversation to continue. */
export interface ChatCompletionBody extends CompletionBody, ChatBody {
  readonly max_completion_tokens?: Nullish<number>;
}

/** A text to tokenize. */
export interface TextTokenizeBody {
  readonly prompt: string;
  readonly add_special_tokens: boolean;
}

const text = z.string("is not a text");
const flag = z.boolean("is neither true nor false");
const count = z.int("is not a whole number");
const token = z.int("is not a token id").min(0, "is not a token id").max(0xffff_ffff, "is not a token id");
const stop = text.min(1, "is empty");
const list = z.array(z.unknown(), "is not a list");

const message = z.looseObject({
  role: text,
  content: z
    .union(
      [z.string(), z.array(z.looseObject({ type: z.string() })), z.null()],
      "is neither a text nor a list of parts with a type",
    )
    .optional(),
  tool_calls: list.nullish(),
});

const chatFields = {
  messages: z.array(message, "is not a list of messages").min(1, "is empty").max(MESSAGES_MAX),
  tools: list.nullish(),
  add_generation_prompt: flag.default(true),
  continue_final_message: flag.default(false),
  chat_template: z.unknown().optional(),
};

const completionFields = {
  model: text.nullish(),
  stream: flag.nullish(),
  stream_options: z.looseObject({ include_usage: flag.nullish() }, "is not an object").nullish(),
  max_tokens: count.min(1, "is below 1").nullish(),
  min_tokens: count.min(0, "is below 0").nullish(),
  ignore_eos: flag.nullish(),
  stop: z
    .union([stop, z.array(stop).max(STOPS_MAX)], `is neither a text nor a list of up to ${STOPS_MAX} texts`)
    .nullish(),
  seed: count.nullish(),
  cache_salt: text.nullish(),
  n: count.min(1, "is below 1").nullish(),
  best_of: count.nullish(),
  echo: flag.nullish(),
  suffix: text.nullish(),
  logprobs: z.union([flag, count], "is neither a number nor a flag").nullish(),
  prompt_logprobs: count.nullish(),
  response_format: z.looseObject({ type: text }, "is not an object").nullish(),
};

const prompt = z.union(
  [
    z.string(),
    z.array(token).min(1),
    z.array(z.string()).min(1).max(PROMPTS_MAX),
    z.array(z.array(token).min(1)).min(1).max(PROMPTS_MAX),
  ],
  `is neither a text, nor a list of token ids, nor a list of 1-${PROMPTS_MAX} of one of the two`,
);

const CHAT: z.ZodType<ChatBody> = z.object(chatFields);
const TEXT: z.ZodType<TextTokenizeBody> = z.object({ prompt: text, add_special_tokens: flag.default(true) });
const TEXT_COMPLETION: z.ZodType<TextCompletionBody> = z.object({
  ...completionFields,
  prompt,
  add_special_tokens: flag.default(true),
});
const CHAT_COMPLETION: z.ZodType<ChatCompletionBody> = z.object({
  ...completionFields,
  ...chatFields,
  max_completion_tokens: count.min(1, "is below 1").nullish(),
});

/**
 * Reads a body of `/tokenize`.
 *
 * @throws EngineError `malformed_body`.
 */
export function parseTokenize(body: unknown): ChatBody | TextTokenizeBody {
  const isObject = typeof body === "object" && body !== null;
  if (isObject && "messages" in body) return checked(CHAT, body);
  if (isObject && "prompt" in body) return checked(TEXT, body);
  throw new EngineError(
    { code: "malformed_body", where: "the body" },
    'the body is not an object with "prompt" or "messages"',
  );
}

/**
 * Reads a body of `/v1/completions`.
 *
 * @throws EngineError `malformed_body`.
 */
export function parseTextCompletion(body: unknown): TextCompletionBody {
  return checked(TEXT_COMPLETION, body);
}

/**
 * Reads a body of `/v1/chat/completions`.
 *
 * @throws EngineError `malformed_body`.
 */
export function parseChatCompletion(body: unknown): ChatCompletionBody {
  return checked(CHAT_COMPLETION, body);
}

function checked<Body>(schema: z.ZodType<Body>, body: unknown): Body {
  const parsed = schema.safeParse(body);
  if (!parsed.success) throw malformedBody(parsed.error);
  return parsed.data;
}
