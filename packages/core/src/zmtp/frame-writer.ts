/**
 * Bytes that we send: the greeting, READY, subscriptions, heartbeats, requests.
 *
 *     greeting   ff 00×7 01 7f │ 03 01 │ mechanism, 20 bytes │ as-server 00 │ 00×31       64 bytes
 *     frame      flags │ size, 1 byte, or 8 big-endian with LONG │ body
 *     flags      bit 0 MORE, bit 1 LONG, bit 2 COMMAND; others are 0
 *     command    length of name │ name │ data
 *     property   length of name │ name │ length of value, 4 bytes big-endian │ value
 *
 * A subscription is a command for peers of ZMTP 3.1 and a message whose first byte is 1 for those of 3.0.
 * Source: https://rfc.zeromq.org/spec/23/ (3.0), https://rfc.zeromq.org/spec/37/ (3.1).
 */
import { assert } from "../assert.ts";
import { utf8 } from "../text-codec.ts";
import { PING_CONTEXT_BYTES_MAX } from "./zmtp-limits.ts";

/** Flag of a frame: the message goes on. */
export const FLAG_MORE = 1;
/** Flag of a frame: its size has eight bytes. */
export const FLAG_LONG = 2;
/** Flag of a frame: it is a command. */
export const FLAG_COMMAND = 4;
/** Flags that must be 0. */
export const FLAGS_RESERVED = 0xf8;

/** Length of a greeting. */
export const GREETING_BYTES = 64;
/** Where the mechanism stands in a greeting. */
export const MECHANISM_AT = 12;
/** Length of the mechanism's field. */
export const MECHANISM_BYTES = 20;

const SHORT_SIZE_MAX = 255;
const TWO_32 = 2 ** 32;

/** What a socket of ours can be: it reads events, or asks for a replay. */
export type ZmtpSocketType = "SUB" | "DEALER";

/**
 * The first bytes of a connection: ZMTP 3.1, mechanism NULL.
 *
 * @returns 64 bytes, the caller's.
 */
export function encodeGreeting(): Uint8Array {
  const greeting = new Uint8Array(GREETING_BYTES);
  greeting[0] = 0xff;
  // Means nothing to ZMTP 3. libzmq sends it for peers of ZMTP 1.0, and our bytes are libzmq's.
  greeting[8] = 1;
  greeting[9] = 0x7f;
  greeting[10] = 3;
  greeting[11] = 1;
  greeting.set(utf8.encode("NULL"), MECHANISM_AT);
  return greeting;
}

/**
 * READY with the properties that libzmq sends for such a socket: its type, and for a DEALER an empty identity.
 *
 * @param type - of our socket.
 * @returns a frame.
 */
export function encodeReady(type: ZmtpSocketType): Uint8Array {
  const identity = type === "DEALER" ? property("Identity", "") : new Uint8Array();
  return encodeCommand("READY", joined([property("Socket-Type", type), identity]));
}

/**
 * A subscription to topics that begin with these bytes.
 *
 * @param topic - empty for all.
 * @param peerMinor - minor version of the peer's ZMTP 3.
 * @returns a frame.
 */
export function encodeSubscribe(topic: Uint8Array, peerMinor: number): Uint8Array {
  if (peerMinor >= 1) return encodeCommand("SUBSCRIBE", topic);
  return encodeMessage([joined([Uint8Array.of(1), topic])]);
}

/**
 * Asks a peer of ZMTP 3.1 for a sign of life. Without a time to live: a reader that is busy must not be dropped for it.
 *
 * @returns a frame.
 */
export function encodePing(): Uint8Array {
  return encodeCommand("PING", new Uint8Array(2));
}

/**
 * The answer to a PING.
 *
 * @param context - its context, at most 16 bytes; copied.
 * @returns a frame.
 */
export function encodePong(context: Uint8Array): Uint8Array {
  assert(context.byteLength <= PING_CONTEXT_BYTES_MAX, "a context has at most 16 bytes");
  return encodeCommand("PONG", context);
}

/**
 * A message.
 *
 * @param parts - at least one.
 * @returns its frames, one after the other.
 */
export function encodeMessage(parts: readonly Uint8Array[]): Uint8Array {
  const last = parts.length - 1;
  return joined(parts.map((part, i) => encodeFrame(i < last ? FLAG_MORE : 0, part)));
}

/**
 * A command.
 *
 * @param name - 1 to 255 letters.
 * @param data - what follows the name.
 * @returns a frame.
 */
export function encodeCommand(name: string, data: Uint8Array): Uint8Array {
  return encodeFrame(FLAG_COMMAND, joined([Uint8Array.of(name.length), utf8.encode(name), data]));
}

function encodeFrame(flags: number, body: Uint8Array): Uint8Array {
  const size = body.byteLength;
  if (size <= SHORT_SIZE_MAX) return joined([Uint8Array.of(flags, size), body]);
  const header = new Uint8Array(9);
  header[0] = flags | FLAG_LONG;
  const view = new DataView(header.buffer);
  view.setUint32(1, Math.floor(size / TWO_32));
  view.setUint32(5, size >>> 0);
  return joined([header, body]);
}

function property(name: string, value: string): Uint8Array {
  const [nameBytes, valueBytes] = [utf8.encode(name), utf8.encode(value)];
  const length = new Uint8Array(4);
  new DataView(length.buffer).setUint32(0, valueBytes.byteLength);
  return joined([Uint8Array.of(nameBytes.byteLength), nameBytes, length, valueBytes]);
}

function joined(pieces: readonly Uint8Array[]): Uint8Array {
  const whole = new Uint8Array(pieces.reduce((sum, piece) => sum + piece.byteLength, 0));
  let at = 0;
  for (const piece of pieces) {
    whole.set(piece, at);
    at += piece.byteLength;
  }
  return whole;
}
