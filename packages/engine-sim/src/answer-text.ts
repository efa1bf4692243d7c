/**
 * The text that a simulated engine answers with: words of four letters, drawn from a seeded generator
 * and the prompt. Each word is one token of the toy tokenizer.
 *
 *     tokens   │ word │  word │  word │ end of turn        the last only where the answer ends by itself
 *     chat       baco   luri    tema                       a client may trim it and send it back
 *     text      ␣baco  ␣luri   ␣tema                       continues the prompt
 *
 *  A1  Tokenizing the text gives the tokens, end of turn apart: the next turn of a conversation finds
 *      the blocks of this answer (answer-text.test.ts "A1").
 *  A2  `slice(0, n)` joined from any cuts is the text (answer-text.test.ts "A2").
 */
import { Prng } from "@kvsync/core";

import { tokenizeText, TURN_END } from "./toy-tokenizer.ts";

const CONSONANTS = "b c d f g l m n p r s t v z".split(" ");
const VOWELS = "a e i o u".split(" ");
const LETTERS = 4;

/** Every word, consonant and vowel in turn. */
const WORDS: readonly string[] = syllables().flatMap((first) => syllables().map((second) => first + second));

let tokensOfWords: { readonly first: Uint32Array; readonly further: Uint32Array } | undefined;

/** What an answer is made of. */
export interface AnswerOptions {
  readonly promptTokens: Uint32Array;
  readonly seed: number;
  /** Whether it answers a conversation; otherwise it continues a text. */
  readonly isChat: boolean;
  /** Most tokens that the caller wants. */
  readonly tokensMax: number;
  /** Tokens after which it ends by itself. */
  readonly naturalTokens: number;
  /** Texts that end it; they are not part of it. */
  readonly stops: readonly string[];
}

/** See the header. */
export class AnswerText {
  /** What the engine generates. */
  readonly tokens: Uint32Array;
  /** Whether it ends by itself, or at a stop text, rather than at the caller's limit. */
  readonly endsItself: boolean;
  readonly #text: string;
  readonly #isChat: boolean;

  constructor({ promptTokens, seed, isChat, tokensMax, naturalTokens, stops }: AnswerOptions) {
    const isNatural = naturalTokens <= tokensMax;
    const count = Math.min(naturalTokens, tokensMax);
    const wordCount = isNatural ? count - 1 : count;
    const random = new Prng(seedOf(promptTokens, seed));
    const words = Uint16Array.from({ length: wordCount }, () => random.below(WORDS.length));
    const text = textOf(words, isChat);
    const cut = firstStop(text, stops);
    this.#isChat = isChat;
    this.#text = cut === null ? text : text.slice(0, cut.start);
    const kept = cut === null ? count : tokensUpTo(cut.end, isChat);
    const ids = wordTokens();
    this.tokens = new Uint32Array(kept);
    for (let i = 0; i < kept; i++) {
      const word = words[i];
      if (word === undefined) this.tokens[i] = TURN_END;
      else this.tokens[i] = (isChat && i === 0 ? ids.first : ids.further)[word] ?? 0;
    }
    this.endsItself = isNatural || cut !== null;
  }

  /** The whole text. */
  get text(): string {
    return this.#text;
  }

  /** The text of tokens `from` to `to` − 1. */
  slice(from: number, to: number): string {
    return this.#text.slice(this.#offsetOf(from), this.#offsetOf(to));
  }

  #offsetOf(token: number): number {
    return Math.max(0, token * (LETTERS + 1) - (this.#isChat ? 1 : 0));
  }
}

function syllables(): string[] {
  return CONSONANTS.flatMap((consonant) => VOWELS.map((vowel) => consonant + vowel));
}

function wordTokens(): { readonly first: Uint32Array; readonly further: Uint32Array } {
  const idOf = (text: string): number => tokenizeText(text, false)[0] ?? 0;
  tokensOfWords ??= {
    first: Uint32Array.from(WORDS, idOf),
    further: Uint32Array.from(WORDS, (word) => idOf(` ${word}`)),
  };
  return tokensOfWords;
}

// FNV-1a over the tokens, so that other prompts are answered with other words.
function seedOf(promptTokens: Uint32Array, seed: number): number {
  let hash = 0x811c_9dc5 ^ seed;
  for (const token of promptTokens) hash = Math.imul(hash ^ token, 0x0100_0193);
  return hash >>> 0;
}

function textOf(words: Uint16Array, isChat: boolean): string {
  const joined = Array.from(words, (word) => WORDS[word] ?? "").join(" ");
  return isChat || words.length === 0 ? joined : ` ${joined}`;
}

function firstStop(text: string, stops: readonly string[]): { start: number; end: number } | null {
  let first: { start: number; end: number } | null = null;
  for (const stop of stops) {
    const start = text.indexOf(stop);
    if (start >= 0 && (first === null || start < first.start)) first = { start, end: start + stop.length };
  }
  return first;
}

// Tokens whose text reaches `end`.
function tokensUpTo(end: number, isChat: boolean): number {
  return Math.ceil((end + (isChat ? 1 : 0)) / (LETTERS + 1));
}
