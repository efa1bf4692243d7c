/**
 * Encodes texts with a model's own vocabulary, and remembers the segments between added tokens.
 *
 *     text ─▶ cut at added tokens ─▶ segment ─▶ its digest ─▶ memory ─hit──▶ ids
 *                                                               └miss─▶ library ─▶ ids ─▶ memory
 *     ids of segments and added tokens, within the ids that the post-processor adds at both ends
 *
 * The turns of a conversation are segments, and so are its earlier turns when it comes again, longer. Only the new ones are encoded.
 *
 * Invariants
 *  V1  By segments a text has the ids that it has as a whole (vocabulary.property.test.ts "V1"). Byte-level BPE has no state
 *      from one segment to the next. Other vocabularies are encoded whole, and so are those with added tokens that take white
 *      space around them. A file for which PROBES texts show otherwise is refused.
 *  V2  Segments take at most the bytes given; the least recently used ones go.
 *
 * Segments are remembered by a digest, so that no text stays.
 *
 * Not here: threads (tokenizer-threads.ts), templates (chat-template.ts).
 * Source: tokenizer.json of huggingface/tokenizers, as @huggingface/tokenizers reads it.
 */

import { hash } from "node:crypto";

import * as library from "@huggingface/tokenizers";
import { CodedError } from "@kvsync/core";
import { LRUCache } from "lru-cache";
import { z } from "zod";

/** What is used of the library, whose types Node's rules of modules do not find. */
interface Tokenizer {
  encode(
    text: string,
    options: { readonly add_special_tokens: boolean },
  ): { readonly ids: readonly number[] };
}
const { Tokenizer: LibraryTokenizer } = library as unknown as {
  readonly Tokenizer: new (tokenizer: object, config: object) => Tokenizer;
};

/** Texts that are encoded both ways before a file is used. */
const PROBES = 32;
/** Memory of a segment beside its ids: key, typed array, the map's own. */
const SEGMENT_BYTES = 256;

/** A file that cannot be used. */
export class VocabularyError extends CodedError<{
  readonly code: "unreadable" | "not_json" | "not_a_vocabulary" | "segments_differ" | "no_template";
  /** Which of the two. */
  readonly file: "tokenizer_file" | "config_file";
}> {}

const addedToken = z.looseObject({
  content: z.string().min(1),
  id: z.int().min(0),
  lstrip: z.boolean().default(false),
  rstrip: z.boolean().default(false),
  single_word: z.boolean().default(false),
  normalized: z.boolean().default(false),
});
const preTokenizer = z.looseObject({
  type: z.string(),
  pretokenizers: z.array(z.looseObject({ type: z.string() })).optional(),
});
const tokenizerFile = z.looseObject({
  added_tokens: z.array(addedToken),
  normalizer: z.looseObject({ type: z.string() }).nullish(),
  pre_tokenizer: preTokenizer.nullish(),
  model: z.looseObject({ type: z.string() }),
});
const configFile = z.looseObject({});

type TokenizerFile = z.output<typeof tokenizerFile>;

/** What segments have done so far. */
export interface SegmentCounts {
  readonly hits: number;
  readonly misses: number;
  readonly bytes: number;
}

/** See the head of this file. */
export class Vocabulary {
  readonly #library: Tokenizer;
  /** Ids of added tokens by their text. */
  readonly #added: ReadonlyMap<string, number>;
  /** Null: texts are encoded whole. */
  readonly #cuts: RegExp | null;
  readonly #ends: { readonly before: readonly number[]; readonly behind: readonly number[] } | null;
  readonly #segments: LRUCache<string, Uint32Array> | null;
  #hits = 0;
  #misses = 0;

  /**
   * Reads a vocabulary, and checks that its segments can be believed (V1).
   *
   * @param tokenizer - text of tokenizer.json.
   * @param config - text of tokenizer_config.json.
   * @param segmentBytes - memory for segments; 0 remembers none.
   * @throws VocabularyError.
   */
  constructor(tokenizer: string, config: string, segmentBytes: number) {
    const file = parsed("tokenizer_file", tokenizer, tokenizerFile);
    this.#library = libraryOf(file, parsed("config_file", config, configFile));
    this.#added = new Map(file.added_tokens.map(({ content, id }) => [content, id]));
    this.#ends = endsOf(this.#library);
    this.#cuts = this.#ends !== null && hasSegments(file) ? cutsAt([...this.#added.keys()]) : null;
    const sizeCalculation = ({ byteLength }: Uint32Array): number => byteLength + SEGMENT_BYTES;
    this.#segments = segmentBytes === 0 ? null : new LRUCache({ maxSize: segmentBytes, sizeCalculation });
    if (this.#cuts !== null) this.#prove();
  }

  /** Whether texts are encoded by segments. */
  get isSegmented(): boolean {
    return this.#cuts !== null;
  }

  /** What segments have done so far. */
  get counts(): SegmentCounts {
    return { hits: this.#hits, misses: this.#misses, bytes: this.#segments?.calculatedSize ?? 0 };
  }

  /**
   * Encodes a text.
   *
   * @param text - any.
   * @param addSpecialTokens - whether the post-processor adds its tokens, such as the one that begins a prompt.
   * @returns ids. O(length), and the library's work for what is new.
   */
  encode(text: string, addSpecialTokens: boolean): Uint32Array {
    if (this.#cuts === null || this.#ends === null) return this.encodeWhole(text, addSpecialTokens);
    const { before, behind } = addSpecialTokens ? this.#ends : { before: [], behind: [] };
    const parts: (Uint32Array | number)[] = [...before];
    let at = 0;
    for (const found of text.matchAll(this.#cuts)) {
      if (found.index > at) parts.push(this.#segment(text.slice(at, found.index)));
      parts.push(this.#added.get(found[0]) ?? 0);
      at = found.index + found[0].length;
    }
    if (at < text.length) parts.push(this.#segment(text.slice(at)));
    parts.push(...behind);
    return joined(parts);
  }

  /** Encodes a text without looking at its segments. */
  encodeWhole(text: string, addSpecialTokens: boolean): Uint32Array {
    return Uint32Array.from(this.#library.encode(text, { add_special_tokens: addSpecialTokens }).ids);
  }

  #segment(text: string): Uint32Array {
    if (this.#segments === null) return this.encodeWhole(text, false);
    const digest = hash("sha256", text, "base64");
    const known = this.#segments.get(digest);
    if (known !== undefined) {
      this.#hits += 1;
      return known;
    }
    this.#misses += 1;
    const ids = this.encodeWhole(text, false);
    this.#segments.set(digest, ids);
    return ids;
  }

  #prove(): void {
    for (const [i, text] of probes([...this.#added.keys()]).entries()) {
      const [one, other] = [this.encode(text, true), this.encodeWhole(text, true)];
      if (one.length === other.length && one.every((id, at) => id === other[at])) continue;
      throw new VocabularyError(
        { code: "segments_differ", file: "tokenizer_file" },
        `encodes probe text ${i + 1} of ${PROBES} otherwise by segments than as a whole; use a remote tokenizer for this model`,
      );
    }
    this.#segments?.clear();
    [this.#hits, this.#misses] = [0, 0];
  }
}

function parsed<Schema extends z.ZodType>(
  file: "tokenizer_file" | "config_file",
  text: string,
  schema: Schema,
): z.output<Schema> {
  let value: unknown;
  try {
    value = JSON.parse(text);
  } catch {
    // The message of the parser quotes the file.
    throw new VocabularyError({ code: "not_json", file }, "is not JSON");
  }
  const read = schema.safeParse(value);
  if (read.success) return read.data;
  const [issue] = read.error.issues;
  const where = issue?.path.join(".") ?? "";
  const what = file === "tokenizer_file" ? "tokenizer.json" : "tokenizer_config.json";
  throw new VocabularyError(
    { code: "not_a_vocabulary", file },
    `is no ${what} of Hugging Face${where === "" ? "" : ` (${where})`}`,
  );
}

function libraryOf(file: TokenizerFile, config: object): Tokenizer {
  try {
    return new LibraryTokenizer(file, config);
  } catch (error) {
    const reason = error instanceof Error ? error.message : String(error);
    throw new VocabularyError(
      { code: "not_a_vocabulary", file: "tokenizer_file" },
      `cannot be read by @huggingface/tokenizers: ${reason}`,
    );
  }
}

/** Whether no segment depends on what is around it (V1). */
function hasSegments({ model, pre_tokenizer: pre, normalizer, added_tokens: added }: TokenizerFile): boolean {
  const steps = pre?.pretokenizers ?? (pre === undefined || pre === null ? [] : [pre]);
  const isByteLevel = steps.some(({ type }) => type === "ByteLevel");
  const isUnicodeForm = normalizer === undefined || normalizer === null || /^NFK?[CD]$/.test(normalizer.type);
  const hasNormalizer = normalizer !== undefined && normalizer !== null;
  const areFree = added.every(
    (token) => !token.lstrip && !token.rstrip && !token.single_word && !(token.normalized && hasNormalizer),
  );
  return model.type === "BPE" && isByteLevel && isUnicodeForm && areFree && added.length > 0;
}

/** The longest of several added tokens that begin at one place counts, as in the library. */
function cutsAt(contents: readonly string[]): RegExp {
  const longest = contents.toSorted((a, b) => b.length - a.length);
  return new RegExp(longest.map((text) => text.replace(/[\\^$.*+?()[\]{}|]/g, "\\$&")).join("|"), "g");
}

/** What the post-processor adds around a text; null when that is not all that it does. */
function endsOf(tokenizer: Tokenizer): { readonly before: number[]; readonly behind: number[] } | null {
  const { ids: bare } = tokenizer.encode("a", { add_special_tokens: false });
  const { ids: all } = tokenizer.encode("a", { add_special_tokens: true });
  for (let at = 0; at + bare.length <= all.length; at += 1)
    if (bare.every((id, i) => id === all[at + i]))
      return { before: all.slice(0, at), behind: all.slice(at + bare.length) };
  return null;
}

function joined(parts: readonly (Uint32Array | number)[]): Uint32Array {
  const ids = new Uint32Array(
    parts.reduce<number>((sum, part) => sum + (typeof part === "number" ? 1 : part.length), 0),
  );
  let at = 0;
  for (const part of parts) {
    if (typeof part === "number") ids[at] = part;
    else ids.set(part, at);
    at += typeof part === "number" ? 1 : part.length;
  }
  return ids;
}

/** What differs between tokenizers: spaces, digits, scripts, what looks like the beginning of an added token. */
const PIECES = [
  "The KV cache holds 1234 blocks,  two spaces, and a tab\there.",
  " leading",
  "trailing ",
  "\n",
  "\r\n\r\n",
  "naïve façade",
  "e\u0301 and \u00e9",
  "東京 と 北京",
  "Москва́",
  "مرحبا بالعالم",
  "emoji 🧩👩‍👩‍👧",
  "<",
  "<|",
  "|>",
  "don't WON'T 3.14 100000",
  "\u00a0\u2003",
  "if (a<b) { return c>>1; }",
] as const;

/** Texts of our own around added tokens, each pair of a piece and a token in another order. */
function probes(added: readonly string[]): string[] {
  return Array.from({ length: PROBES }, (_, i) => {
    const token = (offset: number): string => added[(i * 7 + offset) % added.length] ?? "";
    const piece = (offset: number): string => PIECES[(i + offset) % PIECES.length] ?? "";
    return `${piece(0)}${token(0)}${piece(3)}${piece(5)}${token(1)}${token(2)}${piece(8)}${token(0)}${i % 2 === 0 ? piece(11) : ""}`;
  });
}
