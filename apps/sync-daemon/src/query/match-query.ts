/**
 * A lookup as it arrives, in two forms with one meaning:
 *
 *   JSON    {model, lora_name?, block_size?, token_ids: [u32] | prefix_hashes: ["u64"], cache_salt?, workers?, top_k?, include_unmatched?}
 *   binary  body = u32 LE token ids, or u64 LE hashes; the other fields as query parameters of the same names
 *
 * Reading goes straight into the index reader's input memory: a prompt of 128k tokens is not turned into an array of
 * numbers on the way. That memory is one, so reading and matching happen in one turn of the event loop.
 */

import { writeBigInt } from "@kvsync/core";
import { z } from "zod";

import { malformed, QueryError } from "./query-error.ts";

const BYTES_PER_TOKEN = 4;
const BYTES_PER_HASH = 8;
const TOKEN_MAX = 0xffff_ffff;
const TEXT_MAX = 1024;
/** As many names as there can be engines. */
const WORKERS_MAX = 4096;
const NAME = `text of 1-${TEXT_MAX} characters`;

/** Which kind of input a query carries. */
type QueryInput = "token_ids" | "prefix_hashes";

/** A lookup, its input already in the reader's memory. */
export interface MatchQuery {
  readonly model: string;
  /** Null for the base model. */
  readonly loraName: string | null;
  /** Null: the only one there is. */
  readonly blockSize: number | null;
  readonly input: QueryInput;
  /** Tokens or hashes written. */
  readonly count: number;
  readonly cacheSalt: string | null;
  /** Null: all of the model's. */
  readonly workers: readonly string[] | null;
  /** Null: no limit. */
  readonly topK: number | null;
  readonly includeUnmatched: boolean;
}

/** Where a query's input is written to. */
export interface QueryInputMemory {
  readonly tokens: Uint32Array;
  /** Shape [2 × hashes], low then high. */
  readonly hashes: Uint32Array;
  /** Most token ids taken. */
  readonly tokensMax: number;
}

const name = z.string(NAME).min(1, NAME).max(TEXT_MAX, NAME);
const positive = z.int("an integer ≥ 1").min(1, "an integer ≥ 1");
const common = {
  model: name,
  lora_name: name.nullish(),
  cache_salt: z.string(NAME).max(TEXT_MAX, NAME).nullish(),
};
const list = z.custom<readonly unknown[]>(Array.isArray, "a list").optional();

const jsonBody = z.strictObject(
  {
    ...common,
    block_size: positive.nullish(),
    token_ids: list,
    prefix_hashes: list,
    workers: z
      .array(name, "a list of worker ids")
      .max(WORKERS_MAX, `at most ${WORKERS_MAX} worker ids`)
      .nullish(),
    top_k: positive.nullish(),
    include_unmatched: z.boolean("true or false").default(false),
  },
  "an object with model and token_ids or prefix_hashes",
);

const digits = z
  .string("an integer ≥ 1")
  .regex(/^[1-9]\d{0,8}$/, "an integer ≥ 1")
  .transform(Number);
const parameters = z.strictObject({
  ...common,
  input: z.enum(["token_ids", "prefix_hashes"], "token_ids or prefix_hashes").default("token_ids"),
  block_size: digits.optional(),
  workers: z
    .string("worker ids, separated by commas")
    .transform((text) => text.split(","))
    .pipe(z.array(name).max(WORKERS_MAX, `at most ${WORKERS_MAX} worker ids`))
    .optional(),
  top_k: digits.optional(),
  include_unmatched: z
    .enum(["true", "false"], "true or false")
    .transform((text) => text === "true")
    .default(false),
});

/**
 * Reads a JSON lookup.
 *
 * @param body - parsed JSON.
 * @param memory - receives the input.
 * @returns the query.
 * @throws QueryError malformed_body, contradictory_fields, too_many_tokens.
 */
export function readJsonQuery(body: unknown, memory: QueryInputMemory): MatchQuery {
  const fields = check(jsonBody, body, "body");
  const { token_ids: tokens, prefix_hashes: hashes } = fields;
  if ((tokens === undefined) === (hashes === undefined)) {
    throw contradictory(["token_ids", "prefix_hashes"], "exactly one of the two");
  }
  const input = tokens === undefined ? "prefix_hashes" : "token_ids";
  const given = tokens ?? hashes ?? [];
  refuseTooMany(given.length, input, memory);
  if (input === "token_ids") writeTokens(given, memory.tokens);
  else writeHashes(given, memory.hashes);
  return finish(fields, input, given.length, fields.workers ?? null, fields.include_unmatched);
}

/**
 * Reads a binary lookup.
 *
 * @param body - the bytes.
 * @param query - parsed query parameters.
 * @param memory - receives the input.
 * @returns the query.
 * @throws QueryError malformed_body, contradictory_fields, too_many_tokens.
 */
export function readBinaryQuery(body: Uint8Array, query: unknown, memory: QueryInputMemory): MatchQuery {
  const fields = check(parameters, query, "query");
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
  return finish(fields, input, count, fields.workers ?? null, fields.include_unmatched);
}

function finish(
  fields: {
    readonly model: string;
    readonly lora_name?: string | null | undefined;
    readonly block_size?: number | null | undefined;
    readonly cache_salt?: string | null | undefined;
    readonly top_k?: number | null | undefined;
  },
  input: QueryInput,
  count: number,
  workers: readonly string[] | null,
  includeUnmatched: boolean,
): MatchQuery {
  const cacheSalt = fields.cache_salt ?? null;
  if (cacheSalt !== null && input === "prefix_hashes") {
    throw contradictory(
      ["prefix_hashes", "cache_salt"],
      "hashes that contain the salt already, without cache_salt",
    );
  }
  return {
    model: fields.model,
    loraName: fields.lora_name ?? null,
    blockSize: fields.block_size ?? null,
    input,
    count,
    cacheSalt,
    workers,
    topK: fields.top_k ?? null,
    includeUnmatched,
  };
}

function check<Schema extends z.ZodType>(schema: Schema, value: unknown, root: string): z.output<Schema> {
  const result = schema.safeParse(value);
  if (result.success) return result.data;
  const issue = result.error.issues[0];
  const path = (issue?.path ?? []).map(String).join(".");
  const unknownKey = issue?.code === "unrecognized_keys" ? issue.keys[0] : undefined;
  if (unknownKey !== undefined) throw malformed(unknownKey, "no such field");
  throw malformed(path === "" ? root : path, issue?.message ?? "another value");
}

function refuseTooMany(count: number, input: QueryInput, memory: QueryInputMemory): void {
  const maximum = input === "token_ids" ? memory.tokensMax : memory.hashes.length / 2;
  if (count <= maximum) return;
  throw new QueryError(
    { code: "too_many_tokens", count, maximum },
    `${input}: ${count} given, at most ${maximum} are taken`,
  );
}

function writeTokens(tokens: readonly unknown[], target: Uint32Array): void {
  for (let i = 0; i < tokens.length; i++) {
    const token = tokens[i];
    if (typeof token !== "number" || !Number.isInteger(token) || token < 0 || token > TOKEN_MAX) {
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

function contradictory(fields: readonly string[], expected: string): QueryError {
  return new QueryError(
    { code: "contradictory_fields", fields, expected },
    `${fields.join(" and ")}: expected ${expected}`,
  );
}
