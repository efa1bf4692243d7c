/**
 * Digests of the chunks of a prompt, for callers that remember prompts by their beginnings.
 *
 *     chunk     128 bytes │ 128 bytes │ …       a round takes 8 vectors of 4 words each, and no vector waits for another
 *     vectors   v0 … v7   │ v0 … v7   │ …
 *     digest    v0 … v7 in pairs ─▶ 4 ─▶ 2 ─▶ 1 vector of 4 words
 *
 * They have no seed: daemons whose seeds differ give one digest to one chunk. So they are not for
 * questions that an attacker could gain by: two chunks with one digest can be made.
 */

const ROUND_BYTES: usize = 128;
/** Tokens of a round: chunks are whole rounds. */
export const DIGEST_TOKENS_MIN: u32 = 32;
/** u32 words of a digest. */
export const DIGEST_WORDS: u32 = 4;

/** Words of π's fraction, one for each vector: equal words in two of them differ from the start. */
const START0: i32 = 0x243f6a88;
const START1: i32 = <i32>0x85a308d3;
const START2: i32 = 0x13198a2e;
const START3: i32 = 0x03707344;
const START4: i32 = <i32>0xa4093822;
const START5: i32 = 0x299f31d0;
const START6: i32 = 0x082efa98;
const START7: i32 = <i32>0xec4e6c89;

/** Writes 16 bytes for each of `count` chunks to `out`. `chunkBytes` is a multiple of a round's. */
export function digestChunks(at: usize, chunkBytes: usize, count: u32, out: usize): void {
  for (const outEnd = out + ((<usize>count) << 4); out < outEnd; out += 16) {
    let v0 = i32x4.splat(START0);
    let v1 = i32x4.splat(START1);
    let v2 = i32x4.splat(START2);
    let v3 = i32x4.splat(START3);
    let v4 = i32x4.splat(START4);
    let v5 = i32x4.splat(START5);
    let v6 = i32x4.splat(START6);
    let v7 = i32x4.splat(START7);
    for (const end = at + chunkBytes; at < end; at += ROUND_BYTES) {
      v0 = mixed(v0, v128.load(at));
      v1 = mixed(v1, v128.load(at, 16));
      v2 = mixed(v2, v128.load(at, 32));
      v3 = mixed(v3, v128.load(at, 48));
      v4 = mixed(v4, v128.load(at, 64));
      v5 = mixed(v5, v128.load(at, 80));
      v6 = mixed(v6, v128.load(at, 96));
      v7 = mixed(v7, v128.load(at, 112));
    }
    const first = mixed(mixed(v0, v1), mixed(v2, v3));
    const second = mixed(mixed(v4, v5), mixed(v6, v7));
    v128.store(out, mixed(first, second));
  }
}

/** The high bits of a product depend on all of its factors; the shift brings them down. */
// @ts-ignore: decorator
@inline
function mixed(state: v128, words: v128): v128 {
  const product = i32x4.mul(v128.xor(state, words), i32x4.splat(<i32>0x9e3779b1));
  return v128.xor(product, i32x4.shr_u(product, 15));
}
