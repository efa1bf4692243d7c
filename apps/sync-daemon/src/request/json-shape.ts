/**
 * Bounds the shape of a JSON text before it is parsed. `JSON.parse` takes 100 ms for a megabyte of short names, and 80 ms for one of brackets; a megabyte
 * of token ids takes 2 ms.
 *
 * A walk over the characters: strings are skipped, so text is free. Whether the text is JSON is for the parser to find out; a text that is none is bounded
 * too.
 *
 * Invariants
 *  J1  A text that passes has at most NAMES_MAX names, CONTAINERS_MAX objects and arrays, and DEPTH_MAX of those inside each other.
 *  J2  The walk is O(length), and ends at the first bound that is passed.
 */

import { malformed } from "./request-error.ts";

/** Names in all objects: a conversation of thousands of messages. */
const NAMES_MAX = 16_384;
const CONTAINERS_MAX = 16_384;
/** Objects and arrays inside each other: tools' schemas are the deepest that is sent. */
const DEPTH_MAX = 128;

const QUOTE = 0x22;
const COLON = 0x3a;
const OPEN_ARRAY = 0x5b;
const CLOSE_ARRAY = 0x5d;
const OPEN_OBJECT = 0x7b;
const CLOSE_OBJECT = 0x7d;

/**
 * Checks the shape of a text.
 *
 * @param json - as it came.
 * @throws RequestError malformed_body, naming the bound.
 */
export function checkJsonShape(json: string): void {
  let names = 0;
  let containers = 0;
  let depth = 0;
  for (let at = 0; at < json.length; ) {
    const code = json.charCodeAt(at);
    if (code === QUOTE) {
      at = endOfString(json, at);
      continue;
    }
    at += 1;
    if (code === COLON) {
      names += 1;
      if (names > NAMES_MAX) throw malformed("body", `at most ${NAMES_MAX} names of members in one body`);
    } else if (code === OPEN_ARRAY || code === OPEN_OBJECT) {
      containers += 1;
      depth += 1;
      if (depth > DEPTH_MAX)
        throw malformed("body", `objects and arrays at most ${DEPTH_MAX} inside each other`);
      if (containers > CONTAINERS_MAX)
        throw malformed("body", `at most ${CONTAINERS_MAX} objects and arrays in one body`);
    } else if (code === CLOSE_ARRAY || code === CLOSE_OBJECT) depth -= 1;
  }
}

/**
 * Finds the end of a string in JSON.
 *
 * @param json - the text.
 * @param open - position of its opening quote.
 * @returns the position behind its closing quote; the end of the text when it has none. Linear over a whole text, however many escapes there are.
 */
export function endOfString(json: string, open: number): number {
  for (let close = json.indexOf('"', open + 1); close >= 0; close = json.indexOf('"', close + 1)) {
    let escapes = 0;
    while (json[close - 1 - escapes] === "\\") escapes += 1;
    if (escapes % 2 === 0) return close + 1;
  }
  return json.length;
}
