/**
 * Ids for requests that come without one: UUIDs of version 7, which sort by time in logs of many processes.
 *
 *     48 bits   milliseconds since the epoch
 *      4 bits   7
 *     12 bits   random
 *      2 bits   binary 10
 *     62 bits   random
 *
 * Source: RFC 9562, section 5.7.
 */
import { randomBytes } from "node:crypto";

const UUID_BYTES = 16;
const TIME_BYTES = 6;

/** @param epochMs - whole milliseconds since the epoch. */
export function newRequestId(epochMs: number): string {
  const bytes = randomBytes(UUID_BYTES);
  bytes.writeUIntBE(epochMs, 0, TIME_BYTES);
  bytes.writeUInt8((bytes.readUInt8(6) & 0x0f) | 0x70, 6);
  bytes.writeUInt8((bytes.readUInt8(8) & 0x3f) | 0x80, 8);
  const hex = bytes.toString("hex");
  return [hex.slice(0, 8), hex.slice(8, 12), hex.slice(12, 16), hex.slice(16, 20), hex.slice(20)].join("-");
}
