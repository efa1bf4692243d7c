/**
 * Integers of 64 bits in the community's indexer API: hashes (signed at Dynamo) and instance ids, as JSON numbers or as texts.
 *
 *     body ─▶ quoteLongIntegers ─▶ JSON.parse, which would round them ─┬─▶ hashTexts ─▶ texts of u64, as lookups take them
 *                                                                       └─▶ instance ids: their own digits
 *     answer ◀─ instanceIdJson: an id that is a u64 goes out as a number again, digit for digit
 *
 * Every route of that API with a body declares this (http/community.controller.ts).
 */

import { endOfString } from "../request/json-shape.ts";
import { malformed } from "../request/request-error.ts";

/** An integer of so many digits may be more than a double has, and no more than 64 bits can have. */
const LONG_DIGITS_MIN = 16;
const LONG_DIGITS_MAX = 20;
const QUOTE = 0x22;
const ZERO = 0x30;
const NINE = 0x39;
/** What stands directly before or behind digits that are part of a fraction or of a power of ten. */
const PART_OF_NUMBER = "0123456789.eE+-";

/**
 * Puts quotes around integers that JSON.parse would round: u64 hashes and ids, written as numbers by clients in other languages.
 *
 * A walk over the characters, since a prompt of 128k tokens comes this way too: an expression takes three times as long as
 * JSON.parse, and one for strings and numbers together takes hours for a string that has a million escapes and no end.
 *
 * @param json - text of a body.
 * @returns the same with those as strings. O(length), whatever the text is.
 */
export function quoteLongIntegers(json: string): string {
  let quoted = "";
  let copied = 0;
  for (let at = 0; at < json.length; ) {
    const code = json.charCodeAt(at);
    if (code === QUOTE) at = endOfString(json, at);
    else if (code < ZERO || code > NINE) at += 1;
    else {
      const begin = at;
      at = endOfDigits(json, at);
      const from = startOfLongInteger(json, begin, at);
      if (from === null) continue;
      quoted += `${json.slice(copied, from)}"${json.slice(from, at)}"`;
      copied = at;
    }
  }
  return copied === 0 ? json : quoted + json.slice(copied);
}

function endOfDigits(json: string, begin: number): number {
  let at = begin + 1;
  while (json.charCodeAt(at) >= ZERO && json.charCodeAt(at) <= NINE) at += 1;
  return at;
}

/** Where the integer of these digits begins, its sign included; null when they are none, or a short one. One with a zero in front is no JSON, and stays so. */
function startOfLongInteger(json: string, begin: number, end: number): number | null {
  const digits = end - begin;
  if (digits < LONG_DIGITS_MIN || digits > LONG_DIGITS_MAX || json.charCodeAt(begin) === ZERO) return null;
  const from = json[begin - 1] === "-" ? begin - 1 : begin;
  const isPart = [json[from - 1], json[end]].some((beside) => PART_OF_NUMBER.includes(beside ?? " "));
  return isPart ? null : from;
}

/** An integer as JSON writes it: no sign, no zero in front. */
const PLAIN_INTEGER = /^(?:0|[1-9]\d{0,19})$/;

/**
 * An instance id as JSON: Dynamo's are integers of up to 64 bits, and its clients read them as such.
 *
 * @param instance - the id.
 * @returns a number where the id is a u64 in plain digits, each of them kept; otherwise a string.
 */
export function instanceIdJson(instance: string): string {
  const isInteger = PLAIN_INTEGER.test(instance) && BigInt(instance) >> 64n === 0n;
  return isInteger ? instance : JSON.stringify(instance);
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
 * @throws RequestError malformed_body, naming the first that is none.
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
