/**
 * The form of a lookup as its body, and the same lookup as a command line.
 *
 * The input is kept in the page alone: not in the address, not in any storage.
 */
import type { MatchAnswer } from "@kvsync/client";

import { PREFIXES } from "../texts/prefixes.ts";

/** How the prompt is given. */
export type PromptKind = "prompt" | "messages" | "tokens";

/** The body of `POST /api/v1/match`. */
export type MatchBody = Readonly<Record<string, unknown>> & { readonly model: string };

const TOKEN_MAX = 0xffff_ffff;
/** Matches that are listed. */
export const MATCHES_MAX = 50;

/** A body, or what is wrong with the input, in words. */
export type ReadInput =
  | { readonly kind: "body"; readonly body: MatchBody }
  | { readonly kind: "fault"; readonly fault: string };

/** Reads the form. */
export function readInput(kind: PromptKind, text: string, model: string, adapter: string): ReadInput {
  if (model.trim() === "") return { kind: "fault", fault: PREFIXES.noModel };
  if (text.trim() === "") return { kind: "fault", fault: PREFIXES.emptyInput };
  const base = {
    model: model.trim(),
    ...(adapter.trim() === "" ? {} : { lora_name: adapter.trim() }),
    top_k: MATCHES_MAX,
  };
  if (kind === "prompt") return { kind: "body", body: { ...base, prompt: text } };
  if (kind === "tokens") {
    const tokens = tokensOf(text);
    return tokens === null
      ? { kind: "fault", fault: PREFIXES.badTokens }
      : { kind: "body", body: { ...base, token_ids: tokens } };
  }
  const messages = messagesOf(text);
  return messages === null
    ? { kind: "fault", fault: PREFIXES.badMessages }
    : { kind: "body", body: { ...base, messages } };
}

/** Token ids with commas, spaces or lines between them, also as a JSON list. */
function tokensOf(text: string): number[] | null {
  const words = text
    .replaceAll(/[[\]]/g, " ")
    .split(/[\s,]+/)
    .filter((word) => word !== "");
  if (words.length === 0 || words.some((word) => !/^\d{1,10}$/.test(word))) return null;
  const tokens = words.map(Number);
  return tokens.every((token) => token <= TOKEN_MAX) ? tokens : null;
}

function messagesOf(text: string): readonly unknown[] | null {
  try {
    const value: unknown = JSON.parse(text);
    const isMessage = (one: unknown): boolean =>
      typeof one === "object" && one !== null && "role" in one && typeof one.role === "string";
    return Array.isArray(value) && value.length > 0 && value.every(isMessage) ? value : null;
  } catch {
    return null;
  }
}

/** The same question to the picker: it takes no adapter and no limit. */
export function pickerBodyOf(body: MatchBody): MatchBody {
  const question = Object.entries(body).filter(([name]) => name !== "lora_name" && name !== "top_k");
  const { lora_name: adapter } = body;
  // A gateway names an adapter as the model.
  return { ...Object.fromEntries(question), model: typeof adapter === "string" ? adapter : body.model };
}

/** The lookup for a shell. The token's place is a variable: it is never written out. */
export function curlOf(url: URL, body: MatchBody, hasToken: boolean): string {
  const quoted = (text: string): string => `'${text.replaceAll("'", `'\\''`)}'`;
  const headers = ["content-type: application/json"].map((header) => `-H ${quoted(header)}`);
  if (hasToken) headers.push('-H "authorization: Bearer $TOKEN"');
  return `curl ${quoted(url.href)} ${headers.join(" ")} --data-raw ${quoted(JSON.stringify(body))}`;
}

/** Full blocks of the query: the answer's own number, or that of the block size of the longest match. */
export function blocksOf({ blocks, matches }: MatchAnswer): number {
  return blocks ?? Math.max(0, ...matches.map(({ matched_blocks }) => matched_blocks));
}
