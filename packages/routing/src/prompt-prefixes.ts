/**
 * Numbers for the beginnings of prompts, for policies that remember their decisions. They are a
 * chained hash at the end of every whole chunk of some tokens. It is cut to the 53 bits that a
 * Map's number keys hold exactly.
 *
 *     words of a chunk   0 1 2 3 │ 4 5 6 7 │ …      word i goes to lane i mod 4: one multiplication, and no lane waits
 *     lanes              p q r s │ p q r s │ …      for another
 *     (a, b) ─ p q r s of a chunk ─▶ (a, b) ─ …      the state at the end of each chunk
 *     prefix = 21 bits of a, 32 bits of b
 *
 * Two prompts with one number are taken for one beginning: a request goes to a less good worker.
 * Nothing is answered by these numbers, so they are not keyed and need not resist an attacker.
 */
import type { RoutingRequest } from "./policy.ts";

const TWO_32 = 2 ** 32;
const HIGH_MASK = 0x1f_ffff;

/** Prefixes of a prompt, and the tokens of one chunk. The array is the caller's. */
export interface NamedPrefixes {
  readonly prefixes: readonly number[];
  readonly chunkTokens: number;
}

/**
 * Names a prompt's beginnings.
 *
 * @param chunkTokens - how finely prompts are told apart; at least one engine block makes a chunk.
 * @returns a number per whole chunk. Cost: about half a nanosecond per word of `keys`.
 */
export function namePrefixes(request: RoutingRequest, chunkTokens: number): NamedPrefixes {
  const { keys, keyWords, keyTokens } = request;
  const step = Math.max(1, Math.floor(chunkTokens / keyTokens));
  const words = step * keyWords;
  const chunks = Math.floor(keys.length / words);
  const prefixes: number[] = [];
  let a = 0x243f_6a88;
  // From here on all are integers of 32 bits with a sign. A lane that began beyond them would be a
  // float, and take twice as long.
  let b = 0x85a3_08d3 | 0;
  let at = 0;
  for (let chunk = 0; chunk < chunks; chunk++) {
    let [p, q, r, s] = [a, b, ~a, ~b];
    const end = at + words;
    for (const last = end - 3; at < last; at += 4) {
      p = lane(p, keys[at] ?? 0);
      q = lane(q, keys[at + 1] ?? 0);
      r = lane(r, keys[at + 2] ?? 0);
      s = lane(s, keys[at + 3] ?? 0);
    }
    for (; at < end; at++) p = lane(p, keys[at] ?? 0);
    for (const word of [p, q, r, s]) {
      a = Math.imul(a ^ word, 0x9e37_79b1) ^ (b >>> 15);
      // An integer: a sum beyond 32 bits is a float, and costs several times as much.
      b = (Math.imul(b ^ word ^ (a >>> 13), 0x85eb_ca6b) + a) | 0;
    }
    const high = Math.imul(a ^ (b >>> 16), 0xc2b2_ae35) ^ (a >>> 11);
    const low = Math.imul(b ^ (a >>> 15), 0x27d4_eb2f) ^ (b >>> 13);
    prefixes.push(((high >>> 0) & HIGH_MASK) * TWO_32 + (low >>> 0));
  }
  return { prefixes, chunkTokens: step * keyTokens };
}

/** The high bits of a product depend on all of its factors; the shift brings them down. */
function lane(state: number, word: number): number {
  const mixed = Math.imul(state ^ word, 0x9e37_79b1);
  return mixed ^ (mixed >>> 15);
}
