/**
 * A passage: one piece of English with the place where it is written.
 *
 * Layout: `text` has code spans, links' addresses and substituted values replaced by `CODE`, so that rules see
 * words only. Positions in a file are lines from 1.
 */

/** What stands in a passage for code and for values that are not known before the program runs. */
export const CODE = "◊";

/** The kinds of passages. Some rules apply to some kinds only. */
export type PassageKind = "heading" | "paragraph" | "cell" | "message" | "comment";

/** One piece of English. */
export interface Passage {
  readonly kind: PassageKind;
  /** From the repository's root. */
  readonly file: string;
  readonly line: number;
  readonly text: string;
}

/** One mistake. */
export interface Finding {
  readonly file: string;
  readonly line: number;
  readonly rule: string;
  /** The words that are wrong. */
  readonly found: string;
  /** What to write instead. */
  readonly instead: string;
}

/**
 * Splits a passage into sentences.
 *
 * @param text - the text of a passage.
 * @returns the sentences with their end marks. A colon, a semicolon and a line break in a list do not end one.
 */
export function sentences(text: string): readonly string[] {
  return text
    .split(/(?<=[.!?][)"'”]*)\s+(?=["'“(]?(?:[\p{Lu}\p{N}◊]|vLLM|kvsync|libzmq|llm-d|router-sim))/u)
    .map((sentence) => sentence.trim())
    .filter((sentence) => sentence !== "");
}

/**
 * Counts words.
 *
 * @param text - any text.
 * @returns the number of words; code counts as one word.
 */
export function wordCount(text: string): number {
  return text.match(/[\p{L}\p{N}◊][^\s]*/gu)?.length ?? 0;
}
