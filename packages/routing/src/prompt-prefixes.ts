/**
 * Numbers for the beginnings of prompts, for policies that remember their decisions. They are a
 * chained hash at the end of every whole chunk of some tokens. It is cut to the 53 bits that a
 * Map's number keys hold exactly.
 *
 *     lanes (a, b) ─ word ─▶ (a, b) ─ word ─▶ …      two multiplications a word, each lane feeds the other
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
 * @returns a number per whole chunk. Cost: about a nanosecond per word of `keys`.
 */
export function namePrefixes(request: RoutingRequest, chunkTokens: number): NamedPrefixes {
  const { keys, keyWords, keyTokens } = request;
  const step = Math.max(1, Math.floor(chunkTokens / keyTokens));
  const words = step * keyWords;
  const chunks = Math.floor(keys.length / words);
  const prefixes: number[] = [];
  let a = 0x243f_6a88;
  let b = 0x85a3_08d3;
  let at = 0;
  for (let chunk = 0; chunk < chunks; chunk++) {
    for (const end = at + words; at < end; at++) {
      const word = keys[at] ?? 0;
      a = Math.imul(a ^ word, 0x9e37_79b1) ^ (b >>> 15);
      // An integer: a sum beyond 32 bits is a float, and each word then costs several times as much.
      b = (Math.imul(b ^ word ^ (a >>> 13), 0x85eb_ca6b) + a) | 0;
    }
    const high = Math.imul(a ^ (b >>> 16), 0xc2b2_ae35) ^ (a >>> 11);
    const low = Math.imul(b ^ (a >>> 15), 0x27d4_eb2f) ^ (b >>> 13);
    prefixes.push(((high >>> 0) & HIGH_MASK) * TWO_32 + (low >>> 0));
  }
  return { prefixes, chunkTokens: step * keyTokens };
}
