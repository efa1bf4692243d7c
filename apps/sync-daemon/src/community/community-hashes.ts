/**
 * Hashes in bodies of the community's indexer API: 64 bits as JSON numbers, signed at Dynamo, or as texts.
 *
 *   body ─▶ quoteLongIntegers ─▶ JSON.parse, which would round them ─▶ hashTexts ─▶ texts of u64, as lookups take them
 */

import { malformed } from "../request/request-error.ts";

/** An integer of more digits than a double has, and no more than 64 bits can have. */
const LONG_INTEGER = /(?<![\d.eE+-])-?\d{16,20}(?![\d.eE])/g;

/**
 * Puts quotes around integers that JSON.parse would round: u64 hashes, written as numbers by clients in other languages.
 *
 * One expression for strings and numbers would be shorter, and take hours for a string that has a million escapes and no end.
 *
 * @param json - text of a body.
 * @returns the same with those as strings. O(length), whatever the text is.
 */
export function quoteLongIntegers(json: string): string {
  let quoted = "";
  for (let at = 0; at < json.length; ) {
    const open = json.indexOf('"', at);
    const outside = json.slice(at, open < 0 ? json.length : open);
    quoted += outside.replace(LONG_INTEGER, '"$&"');
    if (open < 0) break;
    at = endOfString(json, open);
    quoted += json.slice(open, at);
  }
  return quoted;
}

/** Behind the quote that ends the string which begins at `open`; the end of the text when none does. */
function endOfString(json: string, open: number): number {
  for (let close = json.indexOf('"', open + 1); close >= 0; close = json.indexOf('"', close + 1)) {
    let escapes = 0;
    while (json[close - 1 - escapes] === "\\") escapes += 1;
    if (escapes % 2 === 0) return close + 1;
  }
  return json.length;
}

/** A hash as a text: i64 or u64 in decimal, or hex. */
export const HASH_TEXT = /^(-?\d{1,20}|0x[0-9a-fA-F]{1,16})$/;
const HASH_EXPECTED = "an integer of 64 bits, signed or not, as a number or a text";

/**
 * Hashes as they come, as the u64 texts that lookups take.
 *
 * @param hashes - integers, or texts of integers; i64 or u64.
 * @param field - what the request calls them.
 * @returns texts of u64.
 * @throws QueryError malformed_body, naming the first that is none.
 */
export function hashTexts(hashes: readonly unknown[], field: string): readonly string[] {
  return hashes.map((hash, i) => {
    const number = integerOf(hash);
    if (number === null || number < -(1n << 63n) || number >> 64n > 0n)
      throw malformed(`${field}.${i}`, HASH_EXPECTED);
    return String(BigInt.asUintN(64, number));
  });
}

function integerOf(hash: unknown): bigint | null {
  if (typeof hash === "number") return Number.isSafeInteger(hash) ? BigInt(hash) : null;
  return typeof hash === "string" && HASH_TEXT.test(hash) ? BigInt(hash) : null;
}
