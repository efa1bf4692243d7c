/**
 * The wall-clock time at the head of a batch, read without decoding the rest. Its bytes are 9x (or
 * dc n n, dd n n n n), cb, float64. Every release of every engine writes it so. For any other form
 * the answer is "unknown", which raises no suspicion.
 */

const FLOAT64 = 0xcb;
/** The bytes of the number at hand: a view of the payload itself would be an allocation per message. */
const number = new DataView(new ArrayBuffer(8));

/**
 * Reads a batch's timestamp.
 *
 * @param payload - a batch.
 * @returns Unix seconds, or NaN when the batch does not begin with a float64.
 */
export function peekTimestampSeconds(payload: Uint8Array): number {
  const first = payload[0];
  const start = first === 0xdc ? 3 : first === 0xdd ? 5 : 1;
  if (payload.byteLength < start + 9 || payload[start] !== FLOAT64) return Number.NaN;
  for (let i = 0; i < 8; i += 1) number.setUint8(i, payload[start + 1 + i]);
  return number.getFloat64(0);
}
