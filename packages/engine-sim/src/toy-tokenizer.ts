/**
 * A tokenizer that needs no files: deterministic, of a large vocabulary, prefix-preserving like real ones. Made for tests
 * of everything around tokens; its ids mean nothing to any model.
 *
 *     text ─▶ pieces: a run of letters with the space before it, cut every PIECE_LETTERS letters │ one digit │ one other sign
 *     piece ─▶ id = FIRST_TEXT_ID + FNV-1a(UTF-8 of the piece) mod (VOCABULARY_SIZE − FIRST_TEXT_ID)
 *
 *     prompt    1 ‹text›                                      1 only with special tokens
 *     messages  1 (2 ‹role› 3 ‹content› 4)…  2 ‹assistant› 3   the last three only with a generation prompt
 *     tools     the JSON of the list, as the content of a first turn of the role "tools"
 *     calls     the JSON of a turn's tool calls, after its content
 *
 * A message's tokens depend on nothing after it, so that a conversation's next turn extends the prompt of the last one.
 */
import { VOCABULARY_SIZE } from "./active-request.ts";

/** One turn of a conversation. */
export interface ChatMessage {
  readonly role: string;
  readonly content: string;
  readonly toolCalls?: readonly unknown[] | undefined;
}

/** How a conversation is put into tokens. */
export interface ChatTemplateOptions {
  readonly tools?: readonly unknown[] | undefined;
  /** Whether the assistant's turn is opened at the end. */
  readonly addGenerationPrompt: boolean;
  /** Whether the last turn is left open, to be continued. */
  readonly continueFinalMessage?: boolean | undefined;
}

const BEGIN = 1;
const ROLE = 2;
const ROLE_END = 3;
/** Ends a turn; also the token with which an answer ends by itself. */
export const TURN_END = 4;
// Below it are the special tokens, as in real vocabularies.
const FIRST_TEXT_ID = 256;
// English text comes out at some 4 letters a token, as with real ones.
const PIECE_LETTERS = 5;

const PIECES = new RegExp(` ?\\p{L}{1,${PIECE_LETTERS}}|\\p{N}|[^\\p{L}\\p{N}]`, "gu");
const textEncoder = new TextEncoder();

/**
 * Tokens of a text.
 *
 * @param text - any; lone surrogates count as U+FFFD.
 * @param addSpecialTokens - whether the text begins a prompt.
 * @returns ids below `VOCABULARY_SIZE`.
 */
export function tokenizeText(text: string, addSpecialTokens: boolean): number[] {
  const ids = addSpecialTokens ? [BEGIN] : [];
  appendText(ids, text);
  return ids;
}

/**
 * Tokens of a conversation under the built-in chat template.
 *
 * @param messages - its turns.
 * @returns ids below `VOCABULARY_SIZE`.
 */
export function tokenizeMessages(messages: readonly ChatMessage[], options: ChatTemplateOptions): number[] {
  const { tools = [], addGenerationPrompt, continueFinalMessage = false } = options;
  const ids = [BEGIN];
  if (tools.length > 0) appendTurn(ids, "tools", JSON.stringify(tools));
  for (const { role, content, toolCalls = [] } of messages)
    appendTurn(ids, role, toolCalls.length === 0 ? content : content + JSON.stringify(toolCalls));
  if (continueFinalMessage) ids.pop();
  if (addGenerationPrompt) appendRole(ids, "assistant");
  return ids;
}

function appendTurn(ids: number[], role: string, content: string): void {
  appendRole(ids, role);
  appendText(ids, content);
  ids.push(TURN_END);
}

function appendRole(ids: number[], role: string): void {
  ids.push(ROLE);
  appendText(ids, role);
  ids.push(ROLE_END);
}

function appendText(ids: number[], text: string): void {
  for (const [piece] of text.matchAll(PIECES)) {
    let hash = 0x811c_9dc5;
    for (const byte of textEncoder.encode(piece)) hash = Math.imul(hash ^ byte, 0x0100_0193);
    ids.push(FIRST_TEXT_ID + ((hash >>> 0) % (VOCABULARY_SIZE - FIRST_TEXT_ID)));
  }
}
