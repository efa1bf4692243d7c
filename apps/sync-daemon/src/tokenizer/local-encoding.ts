/**
 * Answers a question to `/tokenize` with files: the work of a tokenizer thread, and the messages to it and from it.
 *
 *     body ─▶ prompt, or conversation ─chat-template.ts─▶ text ─vocabulary.ts─▶ ids
 *
 * Not here: which conversations are rendered (isPlainChat, template-trust.ts).
 */

import { readFileSync, statSync } from "node:fs";

import { ChatTemplate } from "./chat-template.ts";
import type { TokenizeOutcome } from "./tokenize-outcome.ts";
import type { TokenizerFields } from "./tokenize-request.ts";
import type { TokenizerModel } from "../settings/tokenizer-settings.ts";
import { type SegmentCounts, Vocabulary, VocabularyError } from "./vocabulary.ts";

/** Largest file: four times the largest vocabulary of today. */
const FILE_BYTES_MAX = 128 * 1024 * 1024;

/** A model's files. */
export interface VocabularyFiles {
  readonly model: string;
  readonly tokenizerFile: string;
  readonly configFile: string;
  readonly isTemplateLocal: boolean;
}

/** What is expected of a vocabulary's files. */
export const VOCABULARY_EXPECTED = "a file of a Hugging Face tokenizer that this user can read";

/**
 * The models that have files, by their places in the list.
 *
 * @param models - of the settings.
 */
export function vocabularyFiles(models: readonly TokenizerModel[]): ReadonlyMap<number, VocabularyFiles> {
  const found = new Map<number, VocabularyFiles>();
  for (const [i, entry] of models.entries()) {
    const { model, tokenizer_file: tokenizerFile, config_file: configFile, template } = entry;
    if (tokenizerFile !== null && configFile !== null)
      found.set(i, { model, tokenizerFile, configFile, isTemplateLocal: template === "local" });
  }
  return found;
}

/** What a thread is started with. */
export interface TokenizerThreadData {
  readonly vocabularies: readonly VocabularyFiles[];
  /** Of each vocabulary. */
  readonly segmentBytes: number;
  readonly tokensMax: number;
}

/** Something to encode. */
export interface TokenizeJob {
  readonly id: number;
  readonly model: string;
  /** As vLLM takes it. */
  readonly body: string;
}

/** What a thread says. */
export type TokenizerThreadMessage =
  | { readonly kind: "ready" }
  /** A file cannot be used. */
  | {
      readonly kind: "refused";
      readonly model: string;
      readonly file: "tokenizer_file" | "config_file";
      readonly message: string;
    }
  | {
      readonly kind: "done";
      readonly id: number;
      readonly outcome: TokenizeOutcome;
      readonly counts: SegmentCounts;
    };

/** A vocabulary, and its template where it renders. */
export interface OpenVocabulary {
  readonly vocabulary: Vocabulary;
  readonly template: ChatTemplate | null;
}

/**
 * Reads a model's files.
 *
 * @throws VocabularyError.
 */
export function openVocabulary(files: VocabularyFiles, segmentBytes: number): OpenVocabulary {
  const config = textOf("config_file", files.configFile);
  const vocabulary = new Vocabulary(textOf("tokenizer_file", files.tokenizerFile), config, segmentBytes);
  return { vocabulary, template: files.isTemplateLocal ? new ChatTemplate(config) : null };
}

function textOf(file: "tokenizer_file" | "config_file", path: string): string {
  try {
    const { size } = statSync(path);
    if (size > FILE_BYTES_MAX) throw new Error(`has ${size} bytes; expected at most ${FILE_BYTES_MAX}`);
    return readFileSync(path, "utf8");
  } catch (error) {
    const code = error instanceof Error && "code" in error ? String(error.code) : "";
    const known: Readonly<Record<string, string>> = {
      ENOENT: "there is no such file",
      EACCES: "this user may not read it",
      EISDIR: "is a folder",
    };
    const why = known[code] ?? (error instanceof Error ? error.message : code);
    throw new VocabularyError({ code: "unreadable", file }, why);
  }
}

/**
 * Answers one question.
 *
 * @returns ids; tokenizer_refused for a text that is too long, and for what the template refuses.
 */
export function tokenizeLocally(
  { vocabulary, template }: OpenVocabulary,
  body: string,
  tokensMax: number,
): TokenizeOutcome {
  const fields = JSON.parse(body) as TokenizerFields;
  const isChat = fields.messages !== undefined;
  const text = isChat ? rendered(template, fields) : (fields.prompt ?? "");
  if (text === null) return { kind: "failed", reason: "tokenizer_refused" };
  // vLLM's defaults: a template writes its special tokens itself.
  const tokens = vocabulary.encode(text, fields.add_special_tokens ?? !isChat);
  return tokens.length > tokensMax
    ? { kind: "failed", reason: "tokenizer_refused" }
    : { kind: "tokens", tokens };
}

function rendered(template: ChatTemplate | null, fields: TokenizerFields): string | null {
  try {
    return template?.render(fields) ?? null;
  } catch {
    // A template refuses conversations, such as one that begins with an answer. Its message may quote them.
    return null;
  }
}
