/**
 * OpenAI's answers: one object, or the chunks of a stream.
 *
 *     completion          text_completion          text_completion            …
 *     chat                chat.completion          chat.completion.chunk      role first, then content
 *     stream options      include_usage: `usage: null` in every chunk, and one chunk without choices that has it
 */
import type { FinishedRequest } from "../engine-contract.ts";
import type { CompletionKind, CompletionRequest } from "./completion-request.ts";

/** Why an answer ended. */
export type FinishReason = "stop" | "length";

/** What every object of one answer has in common. */
export interface AnswerHead {
  readonly id: string;
  readonly created: number;
  readonly request: CompletionRequest;
}

/** OpenAI's `usage`. */
export interface Usage {
  readonly prompt_tokens: number;
  readonly completion_tokens: number;
  readonly total_tokens: number;
  readonly prompt_tokens_details: { readonly cached_tokens: number };
}

const OBJECTS: Readonly<Record<CompletionKind, { readonly whole: string; readonly chunk: string }>> = {
  completion: { whole: "text_completion", chunk: "text_completion" },
  chat: { whole: "chat.completion", chunk: "chat.completion.chunk" },
};

/**
 * Sums up what the engine did for the prompts of a request.
 *
 * @param finished - one per prompt.
 * @param blockSize - tokens of a block: cached tokens are the engine's own hit, in whole blocks.
 */
export function usageOf(finished: readonly FinishedRequest[], blockSize: number): Usage {
  const sum = (valueOf: (one: FinishedRequest) => number): number =>
    finished.reduce((total, one) => total + valueOf(one), 0);
  const prompt = sum(({ promptTokens }) => promptTokens);
  const completion = sum(({ outputTokens }) => outputTokens);
  return {
    prompt_tokens: prompt,
    completion_tokens: completion,
    total_tokens: prompt + completion,
    prompt_tokens_details: { cached_tokens: blockSize * sum(({ cachedBlocks }) => cachedBlocks) },
  };
}

/** Why the answer to a prompt ends. */
export function finishReason(request: CompletionRequest, index: number): FinishReason {
  return request.questions[index]?.answer.endsItself === true ? "stop" : "length";
}

/** The answer as one object. */
export function wholeAnswer(head: AnswerHead, usage: Usage): object {
  const { request } = head;
  const choices = request.questions.map(({ answer: { text } }, index) => ({
    index,
    ...(request.kind === "chat"
      ? { message: { role: "assistant", content: text, refusal: null } }
      : { text }),
    logprobs: null,
    finish_reason: finishReason(request, index),
    stop_reason: null,
  }));
  return { ...common(head, OBJECTS[request.kind].whole), choices, usage };
}

/** One piece of one choice. */
export function textChunk(
  head: AnswerHead,
  index: number,
  text: string,
  reason: FinishReason | null,
): object {
  const content = head.request.kind === "chat" ? { delta: text === "" ? {} : { content: text } } : { text };
  return chunkOf(head, { index, ...content, logprobs: null, finish_reason: reason });
}

/** The first chunk of a choice of a conversation. */
export function roleChunk(head: AnswerHead, index: number): object {
  const delta = { role: "assistant", content: "" };
  return chunkOf(head, { index, delta, logprobs: null, finish_reason: null });
}

/** The last chunk of a stream with `include_usage`. */
export function usageChunk(head: AnswerHead, usage: Usage): object {
  return { ...common(head, OBJECTS[head.request.kind].chunk), choices: [], usage };
}

function chunkOf(head: AnswerHead, choice: object): object {
  const { kind, includesUsage } = head.request;
  const chunk = { ...common(head, OBJECTS[kind].chunk), choices: [choice] };
  return includesUsage ? { ...chunk, usage: null } : chunk;
}

function common({ id, created, request }: AnswerHead, object: string): object {
  return { id, object, created, model: request.model };
}
