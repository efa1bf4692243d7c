/**
 * Prompts of a request in tokens. `/tokenize` and the completions read them with the same code. A
 * lookup by the tokens of `/tokenize` finds the blocks that the completion stored.
 *
 *     prompt     text │ token ids │ list of either (completions)
 *     messages   content: text, parts of text, or null; tool_calls; tools
 *
 *  Q1  A conversation has the same tokens in `/tokenize` and `/v1/chat/completions`, a text in `/tokenize` and
 *      `/v1/completions` (test/cached-tokens.test.ts "Q1").
 *
 * Not here: media. A part that is not text is refused, since its tokens would be invented.
 */
import { EngineError } from "../engine-error.ts";
import { type ChatMessage, tokenizeMessages, tokenizeText } from "../toy-tokenizer.ts";
import { type ChatBody, type ContentPart, parseTokenize, type Prompt } from "./request-body.ts";

/**
 * The tokens that a body of `/tokenize` asks for.
 *
 * @throws EngineError `malformed_body`, `unsupported_parameter`.
 */
export function tokenizeTokens(body: unknown): number[] {
  const parsed = parseTokenize(body);
  return "messages" in parsed ? chatTokens(parsed) : tokenizeText(parsed.prompt, parsed.add_special_tokens);
}

/**
 * The prompts of a completion, each in tokens.
 *
 * @param addSpecialTokens - for texts.
 */
export function promptTokens(prompt: Prompt, addSpecialTokens: boolean): readonly Uint32Array[] {
  if (typeof prompt === "string") return [Uint32Array.from(tokenizeText(prompt, addSpecialTokens))];
  if (isTokens(prompt)) return [Uint32Array.from(prompt)];
  return prompt.map((one) =>
    Uint32Array.from(typeof one === "string" ? tokenizeText(one, addSpecialTokens) : one),
  );
}

/**
 * The tokens of a conversation.
 *
 * @throws EngineError `malformed_body` for a part of text without text or two contradicting options,
 * `unsupported_parameter` for media and templates.
 */
export function chatTokens(chat: ChatBody): number[] {
  const {
    tools,
    add_generation_prompt: addGenerationPrompt,
    continue_final_message: continueFinalMessage,
  } = chat;
  if (chat.chat_template !== undefined && chat.chat_template !== null)
    throw unsupported("chat_template", "the engine renders conversations with a template of its own");
  if (continueFinalMessage && addGenerationPrompt)
    throw new EngineError(
      { code: "malformed_body", where: "continue_final_message" },
      "continue_final_message: expects add_generation_prompt: false, since another turn cannot follow an open one",
    );
  return tokenizeMessages(chat.messages.map(chatMessage), {
    tools: tools ?? [],
    addGenerationPrompt,
    continueFinalMessage,
  });
}

/** The error for a parameter whose effect is not simulated. */
export function unsupported(where: string, reason: string): EngineError {
  return new EngineError({ code: "unsupported_parameter", where }, `${where}: ${reason}; leave it out`);
}

function chatMessage(
  { role, content, tool_calls: toolCalls }: ChatBody["messages"][number],
  position: number,
): ChatMessage {
  const where = `messages.${position}.content`;
  const hasCalls = toolCalls !== undefined && toolCalls !== null;
  if ((content === undefined || content === null) && !hasCalls)
    throw new EngineError(
      { code: "malformed_body", where },
      `${where}: is missing; only a message with tool_calls may leave it out`,
    );
  const joined =
    typeof content === "string"
      ? content
      : (content ?? []).map((part, index) => textOf(part, `${where}.${index}`)).join("");
  return { role, content: joined, toolCalls: toolCalls ?? [] };
}

function textOf({ type, text }: ContentPart, where: string): string {
  if (type !== "text") throw unsupported(where, `a part of type ${type} is not simulated`);
  if (typeof text !== "string")
    throw new EngineError({ code: "malformed_body", where }, `${where}.text: is not a text`);
  return text;
}

function isTokens(prompt: Exclude<Prompt, string>): prompt is readonly number[] {
  return typeof prompt[0] === "number";
}
