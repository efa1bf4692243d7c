/**
 * A body of `/v1/completions` or `/v1/chat/completions`, as OpenAI and vLLM define them, in the
 * engine's terms: tokens in, tokens out, names of blocks.
 *
 *     model ─▶ adapter     cache_salt ─▶ salt     prompt, messages ─▶ tokens     max_tokens, stop, … ─▶ answer
 *
 * Parameters that would change the form of the answer are refused: n and best_of above 1,
 * echo, suffix, logprobs, and formats other than text.
 */
import { AnswerText } from "../answer-text.ts";
import { EngineError } from "../engine-error.ts";
import type { ResolvedEngineSettings } from "../engine-settings.ts";
import { chatTokens, promptTokens, unsupported } from "./prompt-reading.ts";
import { type CompletionBody, parseChatCompletion, parseTextCompletion } from "./request-body.ts";

/** OpenAI's default of a completion; a conversation has none. */
const COMPLETION_TOKENS = 16;

/** Which of the two. */
export type CompletionKind = "completion" | "chat";

/** One prompt and its answer. */
interface Question {
  readonly promptTokens: Uint32Array;
  readonly answer: AnswerText;
}

/** A request, ready for the engine. */
export interface CompletionRequest {
  readonly kind: CompletionKind;
  /** As asked for; the engine's when none was. */
  readonly model: string;
  readonly loraName: string | null;
  readonly cacheSalt: string | null;
  readonly questions: readonly Question[];
  readonly isStreamed: boolean;
  readonly includesUsage: boolean;
}

/**
 * Reads a body.
 *
 * @param kind - of which route.
 * @param body - parsed JSON.
 * @param settings - of the engine.
 * @param naturalTokens - after how many tokens an answer ends by itself.
 * @throws EngineError `malformed_body`, `unsupported_parameter`, `unknown_model`, `request_too_long`.
 */
export function readCompletion(
  kind: CompletionKind,
  body: unknown,
  settings: ResolvedEngineSettings,
  naturalTokens: number,
): CompletionRequest {
  const { fields, prompts, tokensMax } = kind === "chat" ? readChat(body) : readText(body);
  refuseUnsupported(fields);
  if (fields.stream_options !== undefined && fields.stream_options !== null && fields.stream !== true)
    throw new EngineError(
      { code: "malformed_body", where: "stream_options" },
      "stream_options: is allowed only with stream: true",
    );
  const roomTokens = settings.blockCount * settings.blockSize;
  const natural =
    fields.ignore_eos === true ? Number.POSITIVE_INFINITY : Math.max(naturalTokens, fields.min_tokens ?? 0);
  return {
    kind,
    model: fields.model ?? settings.model,
    loraName: adapterOf(fields.model ?? settings.model, settings),
    cacheSalt: fields.cache_salt ?? null,
    questions: prompts.map((prompt) => ({
      promptTokens: prompt,
      answer: new AnswerText({
        promptTokens: prompt,
        seed: fields.seed ?? 0,
        isChat: kind === "chat",
        tokensMax: limitOf(prompt.length, tokensMax, roomTokens),
        naturalTokens: natural,
        stops: typeof fields.stop === "string" ? [fields.stop] : (fields.stop ?? []),
      }),
    })),
    isStreamed: fields.stream === true,
    includesUsage: fields.stream_options?.include_usage === true,
  };
}

interface ReadBody {
  readonly fields: CompletionBody;
  readonly prompts: readonly Uint32Array[];
  readonly tokensMax: number | null;
}

function readChat(body: unknown): ReadBody {
  const fields = parseChatCompletion(body);
  const tokensMax = fields.max_completion_tokens ?? fields.max_tokens ?? null;
  return { fields, prompts: [Uint32Array.from(chatTokens(fields))], tokensMax };
}

function readText(body: unknown): ReadBody {
  const fields = parseTextCompletion(body);
  const prompts = promptTokens(fields.prompt, fields.add_special_tokens);
  return { fields, prompts, tokensMax: fields.max_tokens ?? COMPLETION_TOKENS };
}

function refuseUnsupported(fields: CompletionBody): void {
  if ((fields.n ?? 1) > 1) throw unsupported("n", "one answer per prompt is simulated");
  if ((fields.best_of ?? 1) > 1) throw unsupported("best_of", "one answer per prompt is simulated");
  if (fields.echo === true) throw unsupported("echo", "prompts cannot be turned back into text");
  if ((fields.suffix ?? "") !== "") throw unsupported("suffix", "texts are continued, not filled in");
  if (typeof fields.logprobs === "number" || fields.logprobs === true)
    throw unsupported("logprobs", "there are no probabilities");
  if (typeof fields.prompt_logprobs === "number")
    throw unsupported("prompt_logprobs", "there are no probabilities");
  if ((fields.response_format?.type ?? "text") !== "text")
    throw unsupported("response_format", "answers are words, never JSON");
}

function adapterOf(model: string, { model: base, loraNames }: ResolvedEngineSettings): string | null {
  if (model === base) return null;
  if (loraNames.includes(model)) return model;
  throw new EngineError(
    { code: "unknown_model", model },
    `model ${JSON.stringify(model)} is not served; known: ${[base, ...loraNames].join(", ")}`,
  );
}

// As vLLM, which compares with the limit that the caller gave, not with what is generated.
function limitOf(promptLength: number, tokensMax: number | null, roomTokens: number): number {
  const tokens = promptLength + (tokensMax ?? 1);
  if (tokens > roomTokens)
    throw new EngineError(
      { code: "request_too_long", tokens, tokensMax: roomTokens },
      `the prompt has ${promptLength} tokens and the answer may have ${tokensMax ?? 1}; together at most ${roomTokens} fit into the engine's cache`,
    );
  return tokensMax ?? roomTokens - promptLength;
}
