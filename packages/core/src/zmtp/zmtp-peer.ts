/**
 * Our side of one ZMTP 3 connection: bytes and ticks in, messages and bytes to send out. It opens no socket and reads no clock.
 *
 *     greeting ──64 bytes──▶ handshake ──READY──▶ traffic
 *        │ not ZMTP, older,      │ ERROR, other       │ messages, PING → PONG
 *        │ other mechanism       │ socket type        │ silent for too long
 *        ▼                       ▼                    ▼
 *     ZmtpError               ZmtpError            ZmtpError
 *
 * Invariants
 *  Z1  The greeting is sent up to its major version. The rest follows the peer's mechanism, or the first tick.
 *      libzmq closes the connection at a mechanism other than its own, often before it has sent its own.
 *      READY follows the peer's greeting. A subscription follows the peer's READY, in the form of its version.
 *  Z2  Nothing of a peer is delivered before its READY named a socket type that ours may speak to.
 *  Z3  A PING is answered with its context. One with a time to live makes silence of that length an error.
 *  Z4  A peer of ZMTP 3.1 that is quiet for `PING_AFTER_TICKS` is asked for a sign of life; at `SILENT_AFTER_TICKS` it is dead.
 *  Z5  Commands that are not known are passed over, as libzmq does.
 *
 * A tick is a second of the caller's event loop. Between two ticks the loop has looked at its sockets.
 * So a reader that stood still itself does not take a peer for dead.
 *
 * Not here: sockets, reconnecting, mechanisms other than NULL.
 * Source: https://rfc.zeromq.org/spec/23/ (3.0), https://rfc.zeromq.org/spec/37/ (3.1); libzmq 4.3.5 for what peers really send.
 */
import { latin1, utf8 } from "../text-codec.ts";
import { FrameReader } from "./frame-reader.ts";
import {
  encodeGreeting,
  encodePing,
  encodePong,
  encodeReady,
  encodeSubscribe,
  GREETING_BYTES,
  MECHANISM_AT,
  MECHANISM_BYTES,
  type ZmtpSocketType,
} from "./frame-writer.ts";
import { ZmtpError, type ZmtpErrorCode } from "./zmtp-error.ts";
import {
  PING_AFTER_TICKS,
  PING_CONTEXT_BYTES_MAX,
  SILENT_AFTER_TICKS,
  type ZmtpLimits,
} from "./zmtp-limits.ts";

const SIGNATURE_END = 9;
const MAJOR_AT = 10;
const MINOR_AT = 11;
/** Enough of our greeting for a peer to answer with all of its own. */
const OPENING_BYTES = MAJOR_AT + 1;
const TTL_BYTES = 2;
/** A time to live counts tenths of a second. */
const TTL_PER_TICK = 10;
/** As much of foreign text as an error shows. */
const TEXT_SHOWN_MAX = 64;

/** Socket types that ours may speak to, as libzmq has it. */
const COUNTERPARTS: Readonly<Record<ZmtpSocketType, readonly string[]>> = {
  SUB: ["PUB", "XPUB"],
  DEALER: ["ROUTER", "REP", "DEALER"],
};

/** What a connection brings. All of it during `receive` or `tick`. */
export interface ZmtpPeerEvents {
  /** Bytes to send, ours to give away. */
  send(bytes: Uint8Array): void;
  /** An answer to a PING: may be left out while the peer does not read. */
  pong(bytes: Uint8Array): void;
  /** The handshake is done. */
  ready(): void;
  /** A message: views of one buffer. They are the receiver's, or valid during the call when they are lent. */
  message(frames: Uint8Array[], areLent: boolean): void;
}

/** What our side is. */
export interface ZmtpPeerSettings {
  readonly type: ZmtpSocketType;
  /** Topics wanted, by their first bytes; null for a socket that does not subscribe. */
  readonly topic: string | null;
  readonly limits: ZmtpLimits;
}

/** One connection. */
export class ZmtpPeer {
  readonly #settings: ZmtpPeerSettings;
  readonly #events: ZmtpPeerEvents;
  readonly #reader: FrameReader;
  readonly #greeting = new Uint8Array(GREETING_BYTES);
  #greetingBytes = 0;
  #isGreetingSent = false;
  #isReady = false;
  #minor = 0;
  #quietTicks = 0;
  /** Quiet ticks that the peer's last PING allows; 0 for any number. */
  #ttlTicks = 0;

  /**
   * @param settings - of our side.
   * @param events - is given what comes.
   */
  constructor(settings: ZmtpPeerSettings, events: ZmtpPeerEvents) {
    this.#settings = settings;
    this.#events = events;
    const sink = {
      message: (frames: Uint8Array[], areLent: boolean): void => {
        events.message(frames, areLent);
      },
      command: (body: Uint8Array, offset: number): void => {
        this.#command(body, offset);
      },
    };
    this.#reader = new FrameReader(settings.limits, sink, GREETING_BYTES);
  }

  /** The first bytes to send, as soon as the connection stands. */
  get opening(): Uint8Array {
    return encodeGreeting().subarray(0, OPENING_BYTES);
  }

  /** Minor version of the peer's ZMTP 3; 0 before its greeting has come. */
  get peerMinor(): number {
    return this.#minor;
  }

  /** Bytes of memory that the message under way has. */
  get heldCapacity(): number {
    return this.#reader.heldCapacity;
  }

  /**
   * Takes the next bytes of the connection.
   *
   * @param chunk - the caller's again when this returns.
   * @throws ZmtpError, once: the connection is over.
   */
  receive(chunk: Uint8Array): void {
    this.#quietTicks = 0;
    this.#ttlTicks = 0;
    if (this.#greetingBytes === GREETING_BYTES) {
      this.#reader.push(chunk);
      return;
    }
    const count = Math.min(GREETING_BYTES - this.#greetingBytes, chunk.byteLength);
    this.#greeting.set(chunk.subarray(0, count), this.#greetingBytes);
    this.#greetingBytes += count;
    this.#judgeGreeting();
    if (this.#greetingBytes >= MECHANISM_AT + MECHANISM_BYTES) this.#sendRest();
    if (this.#greetingBytes < GREETING_BYTES) return;
    this.#events.send(encodeReady(this.#settings.type));
    if (count < chunk.byteLength) this.#reader.push(chunk.subarray(count));
  }

  /**
   * A second has passed, and the caller has looked for bytes in it (Z4).
   *
   * @throws ZmtpError `peer_silent`: the connection is dead.
   */
  tick(): void {
    this.#sendRest();
    if (!this.#isReady) return;
    this.#quietTicks += 1;
    if (this.#ttlTicks > 0 && this.#quietTicks > this.#ttlTicks) {
      throw this.#silence("traffic within the time to live of the peer's own PING");
    }
    if (this.#minor === 0) return;
    if (this.#quietTicks >= SILENT_AFTER_TICKS) throw this.#silence("an answer to PING");
    if (this.#quietTicks === PING_AFTER_TICKS) this.#events.send(encodePing());
  }

  /**
   * Gives up the message under way, since all connections together hold too much: the connection is over.
   *
   * @param bytesMax - of all of them.
   * @throws ZmtpError `buffers_full`, always.
   */
  giveUp(bytesMax: number): never {
    const expected = `incomplete messages of all connections in ${bytesMax} bytes`;
    const actual = `more, ${this.heldCapacity} bytes of them here`;
    throw new ZmtpError({ code: "buffers_full", offset: this.#reader.passed, expected, actual });
  }

  #sendRest(): void {
    if (this.#isGreetingSent) return;
    this.#isGreetingSent = true;
    this.#events.send(encodeGreeting().subarray(OPENING_BYTES));
  }

  #silence(expected: string): ZmtpError {
    const actual = `nothing for ${this.#quietTicks} s`;
    return new ZmtpError({ code: "peer_silent", offset: this.#reader.passed, expected, actual });
  }

  /** Judges as much of the greeting as has come, so that a wrong one is known by its first bytes. */
  #judgeGreeting(): void {
    const [greeting, have] = [this.#greeting, this.#greetingBytes];
    if (greeting[0] !== 0xff) {
      // ZMTP 1.0 begins with a frame: its length, then flags of 0.
      if (have < 2) return;
      if (greeting[1] === 0) throw this.#oldVersion(0, "ZMTP 1.0");
      throw refusal("not_zmtp", 0, "ZMTP's signature ff", shown(greeting.subarray(0, have)));
    }
    if (have <= SIGNATURE_END) return;
    const signatureEnd = greeting[SIGNATURE_END];
    if ((signatureEnd & 1) === 0) throw this.#oldVersion(SIGNATURE_END, "ZMTP 1.0");
    if (signatureEnd !== 0x7f)
      throw refusal(
        "not_zmtp",
        SIGNATURE_END,
        "ZMTP's signature to end with 7f",
        shown(greeting.subarray(0, have)),
      );
    if (have <= MAJOR_AT) return;
    const major = greeting[MAJOR_AT];
    if (major < 3) throw this.#oldVersion(MAJOR_AT, major === 1 ? "ZMTP 2.0" : `ZMTP revision ${major}`);
    if (have < MECHANISM_AT + MECHANISM_BYTES) return;
    const mechanism = greeting.subarray(MECHANISM_AT, MECHANISM_AT + MECHANISM_BYTES);
    const end = mechanism.indexOf(0);
    const name = mechanism.subarray(0, end === -1 ? MECHANISM_BYTES : end);
    if (latin1.decode(name) !== "NULL") {
      throw refusal("mechanism_mismatch", MECHANISM_AT, "security mechanism NULL", shown(name));
    }
    // A later major version speaks ours to us.
    this.#minor = major > 3 ? 1 : greeting[MINOR_AT];
  }

  #oldVersion(offset: number, name: string): ZmtpError {
    return refusal("unsupported_version", offset, "ZMTP 3.0 or later (libzmq 4)", name);
  }

  #command(body: Uint8Array, offset: number): void {
    const nameBytes = body.byteLength === 0 ? 0 : body[0];
    if (nameBytes === 0 || nameBytes >= body.byteLength) {
      throw refusal(
        "malformed_command",
        offset,
        "a name and its length",
        `a body of ${body.byteLength} bytes`,
      );
    }
    const name = latin1.decode(body.subarray(1, 1 + nameBytes));
    const data = body.subarray(1 + nameBytes);
    if (!this.#isReady) this.#handshake(name, data, offset);
    else if (name === "PING") this.#ping(data, offset);
  }

  #handshake(name: string, data: Uint8Array, offset: number): void {
    if (name === "ERROR") {
      const reason = data.byteLength === 0 ? data : data.subarray(1, 1 + data[0]);
      throw refusal("peer_refused", offset, "READY", `ERROR ${shown(reason)}`);
    }
    if (name !== "READY") {
      throw refusal(
        "unexpected_frame",
        offset,
        "the command READY or ERROR",
        `the command ${shown(utf8.encode(name))}`,
      );
    }
    const type = socketTypeOf(data, offset);
    const { type: own, topic } = this.#settings;
    const counterparts = COUNTERPARTS[own];
    if (type === null || !counterparts.includes(type)) {
      const actual = type === null ? "none" : shown(utf8.encode(type));
      throw refusal("socket_type_mismatch", offset, `a peer of type ${counterparts.join(" or ")}`, actual);
    }
    this.#isReady = true;
    this.#reader.admitMessages();
    if (topic !== null) this.#events.send(encodeSubscribe(utf8.encode(topic), this.#minor));
    this.#events.ready();
  }

  #ping(data: Uint8Array, offset: number): void {
    const context = data.subarray(TTL_BYTES);
    if (data.byteLength < TTL_BYTES || context.byteLength > PING_CONTEXT_BYTES_MAX) {
      const expected = `PING with a time to live and at most ${PING_CONTEXT_BYTES_MAX} bytes of context`;
      throw refusal("malformed_command", offset, expected, `${data.byteLength} bytes`);
    }
    const ttl = 256 * data[0] + data[1];
    // One more, since the first tick may come at once.
    this.#ttlTicks = ttl === 0 ? 0 : Math.ceil(ttl / TTL_PER_TICK) + 1;
    this.#events.pong(encodePong(context));
  }
}

/** Reads READY's metadata to its end. Names are not case-sensitive. */
function socketTypeOf(metadata: Uint8Array, offset: number): string | null {
  let type: string | null = null;
  let at = 0;
  while (at < metadata.byteLength) {
    const nameEnd = at + 1 + metadata[at];
    const valueAt = nameEnd + 4;
    const valueEnd =
      valueAt <= metadata.byteLength ? valueAt + u32At(metadata, nameEnd) : Number.POSITIVE_INFINITY;
    if (metadata[at] === 0 || valueEnd > metadata.byteLength) {
      throw refusal(
        "malformed_command",
        offset,
        "READY with names, lengths and values",
        `a break at its byte ${at}`,
      );
    }
    const name = latin1.decode(metadata.subarray(at + 1, nameEnd));
    if (name.toLowerCase() === "socket-type") type = latin1.decode(metadata.subarray(valueAt, valueEnd));
    at = valueEnd;
  }
  return type;
}

function u32At(bytes: Uint8Array, at: number): number {
  return ((bytes[at] << 24) | (bytes[at + 1] << 16) | (bytes[at + 2] << 8) | bytes[at + 3]) >>> 0;
}

function refusal(code: ZmtpErrorCode, offset: number, expected: string, actual: string): ZmtpError {
  return new ZmtpError({ code, offset, expected, actual });
}

/** Foreign bytes for people: text in quotes where it is printable, otherwise hex; cut. */
function shown(bytes: Uint8Array): string {
  const some = bytes.subarray(0, TEXT_SHOWN_MAX);
  const text = latin1.decode(some);
  if (/^[\t\n\r\x20-\x7e]*$/.test(text)) return JSON.stringify(text);
  return `bytes ${Array.from(some.subarray(0, TEXT_SHOWN_MAX / 4), (byte) => byte.toString(16).padStart(2, "0")).join("")}`;
}
