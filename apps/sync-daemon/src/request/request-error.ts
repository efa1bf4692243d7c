/**
 * The errors of a lookup or a dump request. Codes are stable; openapi/problem-status.ts gives each
 * its status.
 */

import { CodedError } from "@kvsync/core";

/** Facts of a request that cannot be answered. */
export type RequestFacts =
  | { readonly code: "unknown_model"; readonly model: string; readonly known: readonly string[] }
  | { readonly code: "ambiguous_model"; readonly model: string; readonly known: readonly string[] }
  | {
      readonly code: "unknown_instance";
      readonly instance_id: string;
      readonly tenant_id: string;
      readonly dp_rank: number | null;
    }
  | { readonly code: "wrong_block_size"; readonly block_size: number; readonly known: readonly number[] }
  | { readonly code: "block_size_required"; readonly known: readonly number[] }
  | { readonly code: "prefix_hashes_secret"; readonly setting: "index.prefix_hashes" }
  | { readonly code: "too_many_tokens"; readonly count: number; readonly maximum: number }
  | { readonly code: "malformed_body"; readonly where: string; readonly expected: string }
  | { readonly code: "contradictory_fields"; readonly fields: readonly string[]; readonly expected: string };

/** A request that cannot be answered. */
export class RequestError extends CodedError<RequestFacts> {}

/**
 * A body or parameter that is not what it should be.
 *
 * @param where - path of the field, or "body".
 * @param expected - what it should be.
 * @returns the error to throw.
 */
export function malformed(where: string, expected: string): RequestError {
  return new RequestError({ code: "malformed_body", where, expected }, `${where}: expected ${expected}`);
}

/** What a name of a field looks like that somebody misspelt; anything else may be a prompt in the wrong place, and is not repeated. */
const FIELD_NAME = /^[A-Za-z_][\w.-]{0,63}$/;

/**
 * A field or parameter that there is none of.
 *
 * @param name - as it came.
 * @returns the error to throw.
 */
export function unknownField(name: string): RequestError {
  const where = FIELD_NAME.test(name) ? name : "a field whose name is not shown";
  const expected = "no such field";
  return new RequestError({ code: "malformed_body", where, expected }, `${where}: there is no such field`);
}

/**
 * Fields that cannot stand together.
 *
 * @param fields - their names.
 * @param expected - what to send instead.
 * @returns the error to throw.
 */
export function contradictory(fields: readonly string[], expected: string): RequestError {
  return new RequestError(
    { code: "contradictory_fields", fields, expected },
    `${fields.join(" and ")}: expected ${expected}`,
  );
}
