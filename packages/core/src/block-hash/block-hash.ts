/**
 * 64-bit hashes as two u32 words, everywhere inside core. A sequence of n hashes is a Uint32Array of shape [2 × n]:
 *
 *     word   0      1      2      3     …
 *          ┌──────┬──────┬──────┬──────┐
 *          │ low₀ │ high₀│ low₁ │ high₁│ …
 *          └──────┴──────┴──────┴──────┘
 *
 * The low word comes first. On the little-endian machines that Node runs on, these are the bytes of
 * the u64 as the kernel reads it. So nothing is swapped on input
 * (docs/decisions/0001-u64-as-low-high-words.md). `bigint` exists only here, for people and JSON,
 * never on a hot path.
 */

const TWO_32 = 4_294_967_296;

/**
 * Joins two words to a bigint, for people and JSON.
 *
 * @param low - low 32 bits, as u32.
 * @param high - high 32 bits, as u32.
 * @returns the unsigned value; about 80 ns, never on a hot path.
 */
export function toBigInt(low: number, high: number): bigint {
  return (BigInt(high >>> 0) << 32n) | BigInt(low >>> 0);
}

/**
 * Writes a hash as 16 lower-case hex digits.
 *
 * @param low - low 32 bits.
 * @param high - high 32 bits.
 * @returns 16 digits, most significant first, no prefix.
 */
export function toHex(low: number, high: number): string {
  return (high >>> 0).toString(16).padStart(8, "0") + (low >>> 0).toString(16).padStart(8, "0");
}

/**
 * Splits an unsigned or two's-complement value into words.
 *
 * @param value - any integer; taken modulo 2⁶⁴, so that SGLang's signed hashes and vLLM's unsigned ones meet.
 * @param words - receives low and high at `index`, `index + 1`.
 * @param index - word index of the low half.
 */
export function writeBigInt(value: bigint, words: Uint32Array, index: number): void {
  const unsigned = BigInt.asUintN(64, value);
  words[index] = Number(unsigned & 0xffff_ffffn);
  words[index + 1] = Number(unsigned >> 32n);
}

/**
 * Splits a safe integer (−2⁵³ … 2⁵³) into words, two's complement.
 *
 * @param value - a safe integer.
 * @param words - receives low and high at `index`, `index + 1`.
 * @param index - word index of the low half.
 */
export function writeInteger(value: number, words: Uint32Array, index: number): void {
  words[index] = value >>> 0;
  words[index + 1] = Math.floor(value / TWO_32) >>> 0;
}
