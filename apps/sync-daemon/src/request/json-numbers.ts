/**
 * Finds numbers that Python and JavaScript write differently, in the source of a JSON body. Templates put numbers into prompts.
 *
 *     1.0    JavaScript writes 1          1e3    JavaScript writes 1000
 *     1e-7   Python writes 1e-07          12345678901234567890   JavaScript writes 12345678901234567000
 *
 * Only values of certain members of the outermost object count: a temperature of 1.0 is in no prompt.
 *
 *  N1  A number that is not found is written alike by both, and as it came (json-numbers.test.ts "N1").
 *  N2  The walk is O(length): strings are skipped.
 */

import { endOfString } from "./json-shape.ts";

/** Sources of bodies, as long as the bodies are in use. */
const SOURCES = new WeakMap<object, string>();

/** Remembers the text that a body was parsed from. */
export function keepSource(body: unknown, text: string): void {
  if (typeof body === "object" && body !== null) SOURCES.set(body, text);
}

/**
 * The text that a body was parsed from.
 *
 * @returns null when nobody kept it.
 */
export function sourceOf(body: unknown): string | null {
  return typeof body === "object" && body !== null ? (SOURCES.get(body) ?? null) : null;
}

/** From here on Python writes an exponent. */
const DECIMAL_MAX = 1e16;
const DECIMAL_MIN = 1e-4;
const NUMBER = /-?[\d.][\d.eE+-]*/y;

/**
 * Looks for such numbers.
 *
 * @param json - a JSON object.
 * @param names - of the members whose values are looked at.
 * @returns whether there is one.
 */
export function hasOddNumber(json: string, names: ReadonlySet<string>): boolean {
  let depth = 0;
  let member = "";
  for (let at = 0; at < json.length; ) {
    const sign = json[at] ?? "";
    if (sign === '"') {
      const end = endOfString(json, at);
      if (depth === 1 && isName(json, end)) member = json.slice(at + 1, end - 1);
      at = end;
      continue;
    }
    const number = numberAt(json, at, sign);
    if (number !== "" && names.has(member) && isOdd(number)) return true;
    depth += DEPTHS[sign] ?? 0;
    at += Math.max(1, number.length);
  }
  return false;
}

const DEPTHS: Readonly<Record<string, number>> = { "{": 1, "[": 1, "}": -1, "]": -1 };

function numberAt(json: string, at: number, sign: string): string {
  if (!/[-\d]/.test(sign)) return "";
  NUMBER.lastIndex = at;
  return NUMBER.exec(json)?.[0] ?? "";
}

/** Whether a colon follows. */
function isName(json: string, end: number): boolean {
  let at = end;
  while (/\s/.test(json[at] ?? "")) at += 1;
  return json[at] === ":";
}

function isOdd(source: string): boolean {
  const value = Number(source);
  if (String(value) !== source || source.includes("e")) return true;
  const size = Math.abs(value);
  return Number.isInteger(value) ? !Number.isSafeInteger(value) : size < DECIMAL_MIN || size >= DECIMAL_MAX;
}
