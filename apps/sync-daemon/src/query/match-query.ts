/**
 * A lookup as it arrives, in two forms with one meaning:
 *
 *     JSON    {model, lora_name?, block_size?, token_ids: [u32], mm_features? | prefix_hashes: ["u64"] | prompt | messages, cache_salt?, workers?, top_k?,
 *              include_unmatched?}; with prompt or messages, the tokenizer's options
 *     (tokenizer/tokenize-request.ts) binary  body = u32 LE token ids, or u64 LE hashes; the other
 *     fields as query parameters of the same names
 *
 * Reading goes straight into the index reader's input memory: a prompt of 128k tokens is not copied
 * into an array of numbers first. There is one such memory, so writing and matching happen in one
 * turn of the event loop. A prompt's tokens are written (`withTokens`) only after the tokenizer has
 * answered.
 */

import { type MediaItem, writeBigInt } from "@kvsync/core";
import { z } from "zod";

import { CHAT_OPTIONS, tokenizerFields, type TokenizerFields } from "../tokenizer/tokenize-request.ts";
import { isWellFormed, WELL_FORMED_EXPECTED } from "../engine/well-formed.ts";
import { checkFields } from "../request/check-fields.ts";
import { sourceOf } from "../request/json-numbers.ts";
import { contradictory, malformed, RequestError } from "../request/request-error.ts";

const BYTES_PER_TOKEN = 4;
const BYTES_PER_HASH = 8;
const TOKEN_MAX = 0xffff_ffff;
const TEXT_MAX = 1024;
/** Largest block size or number of matches asked for: nine digits, an int32 in every language. */
const POSITIVE_MAX = 999_999_999;
/** As many names as there can be engines. */
const WORKERS_MAX = 4096;
/** Media of one prompt; engines take a few, a video's frames are one. */
const MEDIA_MAX = 1024;
const NAME = `text of 1-${TEXT_MAX} characters`;

/** Which kind of input a query carries. */
type QueryInput = "token_ids" | "prefix_hashes";

/** What a lookup asks, whatever its prompt is given as. */
export interface QuestionFields {
  readonly model: string;
  /** Null for the base model. */
  readonly loraName: string | null;
  /** Null: the only one there is. */
  readonly blockSize: number | null;
  readonly cacheSalt: string | null;
  /** By offset, without overlap; beside token ids only. */
  readonly media: readonly MediaItem[];
  /** Null: all of the model's. */
  readonly workers: readonly string[] | null;
  /** Null: no limit. */
  readonly topK: number | null;
  readonly includeUnmatched: boolean;
}

/** A lookup, its input already in the reader's memory. */
export interface MatchQuery extends QuestionFields {
  readonly input: QueryInput;
  /** Tokens or hashes written. */
  readonly count: number;
}

/** A lookup as read: ready to be matched, or waiting for the tokens of its prompt. */
export type ReadQuery =
  | { readonly kind: "ready"; readonly query: MatchQuery }
  | {
      readonly kind: "prompt";
      readonly question: QuestionFields;
      readonly fields: TokenizerFields;
      /** Text of the body; null when it is not known. */
      readonly source: string | null;
    };

/** Where a query's input is written to. */
export interface QueryInputMemory {
  readonly tokens: Uint32Array;
  /** Shape [2 × hashes], low then high. */
  readonly hashes: Uint32Array;
  /** Most token ids taken. */
  readonly tokensMax: number;
}

const name = z
  .string(NAME)
  .min(1, NAME)
  .max(TEXT_MAX, NAME)
  .refine(isWellFormed, `${NAME}, ${WELL_FORMED_EXPECTED}`);
const POSITIVE = `an integer from 1 to ${POSITIVE_MAX}`;
const positive = z.int(POSITIVE).min(1, POSITIVE).max(POSITIVE_MAX, POSITIVE);
const common = {
  model: name.describe("The model's name, an alias of it, or the name of a LoRA adapter."),
  lora_name: name.nullish().describe("The LoRA adapter; absent for the base model."),
  cache_salt: z
    .string(NAME)
    .max(TEXT_MAX, NAME)
    .refine(isWellFormed, `${NAME}, ${WELL_FORMED_EXPECTED}`)
    .nullish()
    .describe("The request's cache_salt, if it has one."),
};
// Elements are checked where they are written into the reader's memory: a schema per element would cost more than the lookup.
const list = z.custom<readonly unknown[]>(Array.isArray, "a list");
const ITEM_EXPECTED = `an integer from 0 to ${POSITIVE_MAX}`;
const position = z.int(ITEM_EXPECTED).min(0, ITEM_EXPECTED).max(POSITIVE_MAX, ITEM_EXPECTED);
const MEDIA_EXPECTED = `a list of at most ${MEDIA_MAX} media, each {identifier, offset, length}`;
/** One image, video or audio of the prompt, as vLLM's mm_features has it. */
const mediaItem = z
  .strictObject(
    {
      identifier: name.describe("The engine's name of the content: its mm_hash, or the uuid given with it."),
      offset: position.describe("First of its placeholder tokens, from 0."),
      length: positive.describe("How many placeholder tokens it has."),
    },
    "an object of identifier, offset and length",
  )
  .meta({ id: "MediaItem", description: "An image, video or audio of the prompt." });
const INPUTS = ["token_ids", "prefix_hashes", "prompt", "messages"] as const;

const BLOCK_SIZE =
  "Tokens per block: only engines that use it. Without it every size in use is looked in, up to 16.";
const INCLUDE_UNMATCHED = "List ranks without a match too.";

/** Body of a JSON lookup. */
export const jsonBody = z.strictObject(
  {
    ...common,
    block_size: positive.nullish().describe(BLOCK_SIZE),
    token_ids: list
      .meta({
        type: "array",
        items: { type: "integer", format: "int64", minimum: 0, maximum: TOKEN_MAX },
        description: "The prompt's tokens. Binary bodies are quicker.",
      })
      .optional(),
    mm_features: z
      .array(mediaItem, MEDIA_EXPECTED)
      .max(MEDIA_MAX, MEDIA_EXPECTED)
      .nullish()
      .describe("With token_ids: the media that the placeholder tokens stand for."),
    prefix_hashes: list
      .meta({
        type: "array",
        items: { type: "string", pattern: "^(\\d{1,20}|0x[0-9a-fA-F]{1,16})$" },
        description: "Chained hashes of the prompt's full blocks, as u64 texts: decimal, or 0x and hex.",
      })
      .optional(),
    ...tokenizerFields,
    workers: z
      .array(name, "a list of worker ids")
      .max(WORKERS_MAX, `at most ${WORKERS_MAX} worker ids`)
      .nullish()
      .describe("Only these; an unregistered worker counts as unknown."),
    top_k: positive.nullish().describe("Most matches in the answer."),
    include_unmatched: z.boolean("true or false").default(false).describe(INCLUDE_UNMATCHED),
  },
  "an object with model and one of token_ids, prefix_hashes, prompt, messages",
);

const digits = z
  .string(POSITIVE)
  .regex(/^[1-9]\d{0,8}$/, POSITIVE)
  .transform(Number);
const WORKER_LIST = "worker ids, separated by commas";
/** Query parameters of a binary lookup. */
export const binaryParameters = z.strictObject({
  model: common.model,
  lora_name: common.lora_name.unwrap().unwrap().optional(),
  cache_salt: common.cache_salt.unwrap().unwrap().optional(),
  input: z
    .enum(["token_ids", "prefix_hashes"], "token_ids or prefix_hashes")
    .default("token_ids")
    .describe("Content of the bytes; token_ids by default."),
  block_size: digits.optional().describe(BLOCK_SIZE),
  workers: z
    .string(WORKER_LIST)
    .regex(/^[^,]+(,[^,]+)*$/, WORKER_LIST)
    .transform((text) => text.split(","))
    .pipe(z.array(name).max(WORKERS_MAX, `at most ${WORKERS_MAX} worker ids`))
    .optional()
    .describe("Only these, separated by commas."),
  top_k: digits.optional().describe("Most matches in the answer."),
  include_unmatched: z
    .enum(["true", "false"], "true or false")
    .transform((text) => text === "true")
    .default(false)
    .describe(INCLUDE_UNMATCHED),
});

/**
 * Reads a JSON lookup.
 *
 * @param body - parsed JSON.
 * @param memory - receives the input, unless it is a prompt or messages.
 * @returns the query.
 * @throws RequestError malformed_body, contradictory_fields, too_many_tokens.
 */
export function readJsonQuery(body: unknown, memory: QueryInputMemory): ReadQuery {
  const fields = checkFields(jsonBody, body);
  const given = INPUTS.filter((input) => fields[input] !== undefined);
  const [input] = given;
  if (input === undefined || given.length > 1) {
    throw contradictory(given.length === 0 ? INPUTS : given, `exactly one of ${INPUTS.join(", ")}`);
  }
  refuseStrayOptions(fields, input);
  const media = mediaOf(fields, input);
  const question = questionOf(fields, fields.workers ?? null, fields.include_unmatched, media);
  if (input === "prompt" || input === "messages") {
    return { kind: "prompt", question, fields, source: sourceOf(body) };
  }
  return { kind: "ready", query: withInput(question, input, fields[input] ?? [], memory) };
}

/** Media in the order of their places; each has its own. */
function mediaOf(
  { mm_features: given, token_ids: tokens }: z.output<typeof jsonBody>,
  input: (typeof INPUTS)[number],
): readonly MediaItem[] {
  const items = given ?? [];
  if (items.length === 0) return [];
  if (input !== "token_ids") {
    const expected = "mm_features with token_ids only: the engine's render answer has both";
    throw contradictory([input, "mm_features"], expected);
  }
  const placed = items
    .map((item, i) => ({ item, where: `mm_features.${i}` }))
    .sort((a, b) => a.item.offset - b.item.offset);
  let free = 0;
  for (const { item, where } of placed) {
    const end = item.offset + item.length;
    if (item.offset < free)
      throw malformed(`${where}.offset`, `an offset from ${free} on, where the item before it ends`);
    if (end > (tokens?.length ?? 0))
      throw malformed(
        where,
        `placeholders within the prompt's ${tokens?.length ?? 0} tokens, not up to ${end}`,
      );
    free = end;
  }
  return placed.map(({ item }) => item);
}

/**
 * Refuses query parameters beside a JSON lookup: they would be ignored, and the caller would not know.
 *
 * @param parameters - parsed.
 * @throws RequestError contradictory_fields.
 */
export function refuseParameters(parameters: unknown): void {
  const given = Object.keys(parameters ?? {});
  if (given.length === 0) return;
  const known = given.filter((parameter) => parameter in binaryParameters.shape);
  throw contradictory(
    known.length === 0 ? ["query parameters"] : known,
    "fields in the JSON body only; query parameters go with application/octet-stream",
  );
}

/**
 * Completes a lookup with a list of tokens or hashes. Match at once afterwards: the memory is everybody's.
 *
 * @param question - what was asked.
 * @param input - what the list holds.
 * @param list - token ids, or hashes as u64 texts; checked here, element by element.
 * @param memory - receives them.
 * @returns the query.
 * @throws RequestError malformed_body, contradictory_fields, too_many_tokens.
 */
export function withInput(
  question: QuestionFields,
  input: QueryInput,
  list: readonly unknown[],
  memory: QueryInputMemory,
): MatchQuery {
  refuseTooMany(list.length, input, memory);
  if (input === "token_ids") writeTokens(list, memory.tokens);
  else writeHashes(list, memory.hashes);
  return finish(question, input, list.length);
}

/**
 * Completes a lookup by prompt with the prompt's tokens. Match at once afterwards: the memory is everybody's.
 *
 * @param question - what was asked.
 * @param tokens - of its prompt.
 * @param memory - receives them.
 * @returns the query.
 * @throws RequestError too_many_tokens.
 */
export function withTokens(
  question: QuestionFields,
  tokens: Uint32Array,
  memory: QueryInputMemory,
): MatchQuery {
  refuseTooMany(tokens.length, "token_ids", memory);
  memory.tokens.set(tokens);
  return finish(question, "token_ids", tokens.length);
}

/**
 * Reads a binary lookup.
 *
 * @param body - the bytes.
 * @param query - parsed query parameters.
 * @param memory - receives the input.
 * @returns the query.
 * @throws RequestError malformed_body, contradictory_fields, too_many_tokens.
 */
export function readBinaryQuery(body: Uint8Array, query: unknown, memory: QueryInputMemory): MatchQuery {
  const fields = checkFields(binaryParameters, query, "query");
  const { input } = fields;
  const width = input === "token_ids" ? BYTES_PER_TOKEN : BYTES_PER_HASH;
  if (body.byteLength % width !== 0) {
    throw malformed("body", `a multiple of ${width} bytes (${input}, little-endian), not ${body.byteLength}`);
  }
  const count = body.byteLength / width;
  refuseTooMany(count, input, memory);
  const target = input === "token_ids" ? memory.tokens : memory.hashes;
  // The machine is little-endian like the body (core's block-hash.ts), and low words come first: bytes as they are.
  new Uint8Array(target.buffer, target.byteOffset, target.byteLength).set(body);
  return finish(questionOf(fields, fields.workers ?? null, fields.include_unmatched), input, count);
}

function questionOf(
  fields: {
    readonly model: string;
    readonly lora_name?: string | null | undefined;
    readonly block_size?: number | null | undefined;
    readonly cache_salt?: string | null | undefined;
    readonly top_k?: number | null | undefined;
  },
  workers: readonly string[] | null,
  includeUnmatched: boolean,
  media: readonly MediaItem[] = [],
): QuestionFields {
  return {
    model: fields.model,
    loraName: fields.lora_name ?? null,
    blockSize: fields.block_size ?? null,
    cacheSalt: fields.cache_salt ?? null,
    media,
    workers,
    topK: fields.top_k ?? null,
    includeUnmatched,
  };
}

function finish(question: QuestionFields, input: QueryInput, count: number): MatchQuery {
  if (question.cacheSalt !== null && input === "prefix_hashes") {
    throw contradictory(
      ["prefix_hashes", "cache_salt"],
      "hashes that contain the salt already, without cache_salt",
    );
  }
  return { ...question, input, count };
}

/** The tokenizer's options belong to what it is given, and mean nothing beside tokens or hashes. */
function refuseStrayOptions(fields: z.output<typeof jsonBody>, input: (typeof INPUTS)[number]): void {
  const stray = CHAT_OPTIONS.find((option) => fields[option] !== undefined && input !== "messages");
  if (stray !== undefined) throw contradictory([input, stray], `${stray} beside messages only`);
  if (fields.add_special_tokens !== undefined && input !== "prompt" && input !== "messages") {
    throw contradictory([input, "add_special_tokens"], "add_special_tokens with prompt or messages only");
  }
}

function refuseTooMany(count: number, input: QueryInput, memory: QueryInputMemory): void {
  const maximum = input === "token_ids" ? memory.tokensMax : memory.hashes.length / 2;
  if (count <= maximum) return;
  throw new RequestError(
    { code: "too_many_tokens", count, maximum },
    `${input}: ${count} given, at most ${maximum} are taken`,
  );
}

function writeTokens(tokens: readonly unknown[], target: Uint32Array): void {
  for (let i = 0; i < tokens.length; i++) {
    const token = tokens[i];
    if (typeof token !== "number" || token >>> 0 !== token) {
      throw malformed(`token_ids.${i}`, `an integer from 0 to ${TOKEN_MAX}`);
    }
    target[i] = token;
  }
}

function writeHashes(hashes: readonly unknown[], target: Uint32Array): void {
  hashes.forEach((hash, i) => {
    if (
      typeof hash !== "string" ||
      !/^(\d{1,20}|0x[0-9a-fA-F]{1,16})$/.test(hash) ||
      BigInt(hash) >> 64n !== 0n
    ) {
      throw malformed(
        `prefix_hashes.${i}`,
        'a u64 as text, decimal or "0x" and hex (JSON numbers lose digits)',
      );
    }
    writeBigInt(BigInt(hash), target, 2 * i);
  });
}
