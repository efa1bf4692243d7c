/**
 * Broken messages, and one of a newer engine, made to order. A listener must lose nothing by them but themselves.
 *
 * A broken event is put in front of a good batch's events, byte for byte behind the array header:
 *
 *     93 │ cb ‹8 bytes› │ 9n ‹events› …     ─▶     93 │ cb ‹8 bytes› │ 9(n+1) ‹broken› ‹events› …
 */
import { assert, type Dialect, DIALECTS } from "@kvsync/core";

/** Events that ride in front of a batch's own. */
export type EventPoison = "malformed_event" | "unknown_event_type" | "unknown_field";

const textEncoder = new TextEncoder();
// Outer array header, float64 tag and its 8 bytes.
const EVENTS_AT = 10;

/**
 * Puts a broken event in front of a batch's own.
 *
 * @param payload - an encoded batch; not changed.
 * @param form - a store whose hashes are a text, an event of a type that no version knows, or a removal of nothing with
 *   a field that no version knows.
 * @param dialect - the batch's.
 * @returns a new payload.
 */
export function withBrokenEvent(payload: Uint8Array, form: EventPoison, dialect: Dialect): Uint8Array {
  const head = payload[EVENTS_AT] ?? 0;
  const view = new DataView(payload.buffer, payload.byteOffset, payload.byteLength);
  let count = head & 0x0f;
  let headBytes = 1;
  if (head === 0xdc) {
    count = view.getUint16(EVENTS_AT + 1);
    headBytes = 3;
  } else if (head === 0xdd) {
    count = view.getUint32(EVENTS_AT + 1);
    headBytes = 5;
  } else assert((head & 0xf0) === 0x90, "an encoded batch has its events at byte 10");
  const newHead = new Uint8Array(5);
  newHead[0] = 0xdd;
  new DataView(newHead.buffer).setUint32(1, count + 1);
  return joined([
    payload.subarray(0, EVENTS_AT),
    newHead,
    brokenEvent(form, dialect),
    payload.subarray(EVENTS_AT + headBytes),
  ]);
}

/** A payload that ends in the middle of its events. */
export function brokenBatch(timestampSeconds: number): Uint8Array {
  const bytes = new Uint8Array(12);
  bytes.set([0x93, 0xcb]);
  new DataView(bytes.buffer).setFloat64(2, timestampSeconds);
  bytes.set([0x92, 0x81], EVENTS_AT);
  return bytes;
}

function brokenEvent(form: EventPoison, dialect: Dialect): Uint8Array {
  if (form === "unknown_field") return removalOfTheFuture(dialect);
  const tag = text(form === "malformed_event" ? "BlockStored" : "BlockTeleported");
  const value = text("not hashes");
  return DIALECTS[dialect].events === "map"
    ? joined([Uint8Array.of(0x82), text("type"), tag, text("block_hashes"), value])
    : joined([Uint8Array.of(0x92), tag, value]);
}

/** Array dialects have no names: the field is the one behind the longest form. */
function removalOfTheFuture(dialect: Dialect): Uint8Array {
  const noHashes = Uint8Array.of(0x90);
  const field = text("of the future");
  return DIALECTS[dialect].events === "map"
    ? joined([
        Uint8Array.of(0x83),
        ...[text("type"), text("BlockRemoved"), text("block_hashes"), noHashes, text("pool"), field],
      ])
    : joined([Uint8Array.of(0x95), text("BlockRemoved"), noHashes, Uint8Array.of(0xc0, 0xc0), field]);
}

// A msgpack text of fewer than 32 bytes.
function text(value: string): Uint8Array {
  const bytes = textEncoder.encode(value);
  return joined([Uint8Array.of(0xa0 | bytes.length), bytes]);
}

function joined(parts: readonly Uint8Array[]): Uint8Array {
  const out = new Uint8Array(parts.reduce((sum, part) => sum + part.length, 0));
  let at = 0;
  for (const part of parts) {
    out.set(part, at);
    at += part.length;
  }
  return out;
}
