/**
 * Chunks of a connection in, messages and commands out. Only the bytes of an incomplete message are kept.
 *
 *     chunk   ▓▓▓▓▓│░░░░░░░░░│▒▒▒▒▒       ▓ the rest of the message that is held: given away
 *                                         ░ a whole message: lent   ▒ the first bytes of the next one: held
 *
 *     message in memory   header body │ header body │ … │ header body      one buffer; frames are views of the bodies
 *
 * Invariants
 *  R1  However the bytes are cut into chunks, the same messages, commands and error come out, in the same order.
 *  R2  Memory follows bytes that have come, not sizes that were announced.
 *      The buffer has at most twice as many bytes as are held, and 256 at least.
 *      While it grows, the previous one is kept too.
 *  R3  A frame is judged by its header: the limits hold before a byte of its body is kept.
 *  R4  A message that is given away has a buffer of its own, exactly as long as the message with its headers.
 *      Every other one is lent, as views of the chunk: they are valid during the call.
 *
 * A whole message in a chunk is not copied: a receiver that keeps it does that (frame-copy.ts). The chunk stays the caller's and may be
 * overwritten when `push` returns. Commands may stand between the parts of a message, as libzmq's heartbeats do.
 *
 * Not here: the meaning of commands (zmtp-peer.ts).
 * Source: https://rfc.zeromq.org/spec/37/; libzmq's v2_decoder.cpp for what it accepts.
 */
import { FLAG_COMMAND, FLAG_LONG, FLAG_MORE, FLAGS_RESERVED } from "./frame-writer.ts";
import { ZmtpError, type ZmtpErrorCode } from "./zmtp-error.ts";
import { COMMAND_BYTES_MAX, type ZmtpLimits } from "./zmtp-limits.ts";

const TWO_32 = 2 ** 32;
const SHORT_HEADER_BYTES = 2;
const LONG_HEADER_BYTES = 9;
/** Least size of a buffer whose message has more to come. */
const HELD_BYTES_MIN = 256;
const NOTHING = new Uint8Array();

/** Takes what a reader finds. */
export interface FrameSink {
  /** A message: views of one buffer. They are the receiver's, or valid during the call when they are lent (R4). */
  message(frames: Uint8Array[], areLent: boolean): void;
  /** A command's body, valid during the call; its frame began at byte `offset` of the connection. */
  command(body: Uint8Array, offset: number): void;
}

/** Reads the frames of one connection. */
export class FrameReader {
  readonly #limits: ZmtpLimits;
  readonly #sink: FrameSink;
  #admitsMessages = false;
  /** Bytes of the connection before the chunk at hand. */
  #passed: number;
  /** The message under way, from its first header; `#heldBytes` of it are there. */
  #held: Uint8Array = NOTHING;
  #heldBytes = 0;
  /** Where the frame under way begins in `#held`. */
  #frameAt = 0;
  /** The same in the connection, for errors. */
  #frameOffset = 0;
  /** Parts of the message under way that are whole, and the bytes of their bodies. */
  #parts = 0;
  #bodyBytes = 0;
  /** Of the header that was read last. */
  #flags = 0;
  #bodyAt = 0;

  /**
   * @param limits - of a message.
   * @param sink - is given what is found, during `push`.
   * @param passed - bytes of the connection before the first frame.
   */
  constructor(limits: ZmtpLimits, sink: FrameSink, passed: number) {
    this.#limits = limits;
    this.#sink = sink;
    this.#passed = passed;
  }

  /** From here on messages may come. Before, the first frame that is no command is an error. */
  admitMessages(): void {
    this.#admitsMessages = true;
  }

  /** Bytes of the connection before the next chunk. */
  get passed(): number {
    return this.#passed;
  }

  /** Bytes of memory that the message under way has. */
  get heldCapacity(): number {
    return this.#held.byteLength;
  }

  /**
   * Reads the next bytes.
   *
   * @param chunk - the caller's again when this returns.
   * @throws ZmtpError, once: the reader is of no use afterwards.
   */
  push(chunk: Uint8Array): void {
    // Views of a Buffer are Buffers, which take longer to make.
    const bytes =
      chunk.constructor === Uint8Array
        ? chunk
        : new Uint8Array(chunk.buffer, chunk.byteOffset, chunk.byteLength);
    let at = 0;
    while (at < bytes.byteLength)
      at = this.#heldBytes > 0 ? this.#complete(bytes, at) : this.#scan(bytes, at);
    this.#passed += bytes.byteLength;
  }

  /** Reads from the chunk itself while nothing is held, and holds what is not whole. Returns where reading goes on. */
  #scan(chunk: Uint8Array, start: number): number {
    const to = chunk.byteLength;
    let messageAt = start;
    let frameAt = start;
    let end = 0;
    while (frameAt < to) {
      this.#frameOffset = this.#passed + frameAt;
      end = this.#header(chunk, frameAt, to);
      if (end === 0 || end > to) break;
      if ((this.#flags & FLAG_COMMAND) !== 0) {
        // In the middle of a message: what came before it is held, so that it does not stay there.
        if (messageAt < frameAt) {
          this.#hold(chunk, messageAt, frameAt, frameAt);
          this.#frameAt = frameAt - messageAt;
          return frameAt;
        }
        this.#sink.command(chunk.subarray(this.#bodyAt, end), this.#frameOffset);
        messageAt = end;
      } else if ((this.#flags & FLAG_MORE) !== 0) {
        this.#parts += 1;
        this.#bodyBytes += end - this.#bodyAt;
      } else {
        this.#deliver(chunk, messageAt, true);
        messageAt = end;
      }
      frameAt = end;
    }
    if (messageAt < to) {
      this.#hold(chunk, messageAt, to, Math.max(to, end));
      this.#frameAt = frameAt - messageAt;
    }
    return to;
  }

  /** Takes one more frame, or as much of it as there is, to what is held. Returns where reading goes on. */
  #complete(chunk: Uint8Array, start: number): number {
    const frameAt = this.#frameAt;
    let at = start;
    if (this.#heldBytes === frameAt) this.#frameOffset = this.#passed + at;
    let end = this.#header(this.#held, frameAt, this.#heldBytes);
    while (end === 0) {
      if (at === chunk.byteLength) return at;
      const have = this.#heldBytes - frameAt;
      const isLong = have > 0 && ((this.#held[frameAt] ?? 0) & FLAG_LONG) !== 0;
      const headerEnd = frameAt + (isLong ? LONG_HEADER_BYTES : SHORT_HEADER_BYTES);
      at = this.#take(chunk, at, headerEnd);
      end = this.#header(this.#held, frameAt, this.#heldBytes);
    }
    at = this.#take(chunk, at, end);
    if (this.#heldBytes < end) return at;
    if ((this.#flags & FLAG_COMMAND) !== 0) {
      this.#sink.command(this.#held.subarray(this.#bodyAt, end), this.#frameOffset);
      this.#heldBytes = frameAt;
      if (frameAt === 0) this.#held = NOTHING;
    } else if ((this.#flags & FLAG_MORE) !== 0) {
      this.#parts += 1;
      this.#bodyBytes += end - this.#bodyAt;
      this.#frameAt = end;
    } else {
      // Longer only after a command in the message's middle.
      const message = this.#held.byteLength === end ? this.#held : this.#held.slice(0, end);
      this.#held = NOTHING;
      this.#heldBytes = 0;
      this.#frameAt = 0;
      this.#deliver(message, 0, false);
    }
    return at;
  }

  /**
   * Reads and judges the header at `at`.
   *
   * @returns where its frame ends; 0 when the header is not whole.
   */
  #header(bytes: Uint8Array, at: number, to: number): number {
    if (at >= to) return 0;
    const flags = bytes[at];
    if ((flags & FLAGS_RESERVED) !== 0)
      throw this.#error("malformed_frame", "reserved bits of the flags to be 0", `flags ${hex(flags)}`);
    const isCommand = (flags & FLAG_COMMAND) !== 0;
    if (isCommand && (flags & FLAG_MORE) !== 0)
      throw this.#error("malformed_frame", "a command in one frame", "a command with MORE");
    if (!isCommand && !this.#admitsMessages)
      throw this.#error("unexpected_frame", "the command READY or ERROR", "a message");
    const bodyAt = at + ((flags & FLAG_LONG) === 0 ? SHORT_HEADER_BYTES : LONG_HEADER_BYTES);
    if (bodyAt > to) return 0;
    const size = (flags & FLAG_LONG) === 0 ? bytes[at + 1] : longSize(bytes, at + 1);
    if (isCommand) {
      if (size > COMMAND_BYTES_MAX)
        throw this.#error(
          "command_too_long",
          `a command of at most ${COMMAND_BYTES_MAX} bytes`,
          bytesText(size),
        );
    } else this.#judgePart(size);
    this.#flags = flags;
    this.#bodyAt = bodyAt;
    return bodyAt + size;
  }

  #judgePart(size: number): void {
    const { messageParts, messageBytes } = this.#limits;
    if (this.#parts >= messageParts)
      throw this.#error("too_many_parts", `a message of at most ${messageParts} parts`, "another part");
    const bytes = this.#bodyBytes + size;
    if (bytes > messageBytes)
      throw this.#error("message_too_long", `a message of at most ${messageBytes} bytes`, bytesText(bytes));
  }

  /** Begins to hold the chunk's bytes from `from` up to `to`, of a message that reaches up to `end` at least. */
  #hold(chunk: Uint8Array, from: number, to: number, end: number): void {
    this.#reserve(to - from, end - from);
    this.#held.set(chunk.subarray(from, to));
    this.#heldBytes = to - from;
  }

  /** Takes bytes of the chunk up to `end` of what is held, if there are as many. Returns where reading goes on. */
  #take(chunk: Uint8Array, at: number, end: number): number {
    const count = Math.min(end - this.#heldBytes, chunk.byteLength - at);
    if (count === 0) return at;
    this.#reserve(this.#heldBytes + count, end);
    this.#held.set(chunk.subarray(at, at + count), this.#heldBytes);
    this.#heldBytes += count;
    return at + count;
  }

  /** Room for `bytes`, of a message that reaches up to `end` at least (R2, R4). */
  #reserve(bytes: number, end: number): void {
    if (this.#held.byteLength >= bytes) return;
    const grown = new Uint8Array(Math.min(end, Math.max(bytes, 2 * this.#heldBytes, HELD_BYTES_MIN)));
    grown.set(this.#held.subarray(0, this.#heldBytes));
    this.#held = grown;
  }

  /** Hands on the whole message that begins at `start`, and whose last part has not been counted. */
  #deliver(message: Uint8Array, start: number, areLent: boolean): void {
    const count = this.#parts + 1;
    this.#parts = 0;
    this.#bodyBytes = 0;
    const frames = new Array<Uint8Array>(count);
    let at = start;
    for (let i = 0; i < count; i += 1) {
      const isLong = (message[at] & FLAG_LONG) !== 0;
      const bodyAt = at + (isLong ? LONG_HEADER_BYTES : SHORT_HEADER_BYTES);
      at = bodyAt + (isLong ? longSize(message, at + 1) : message[at + 1]);
      frames[i] = at === bodyAt ? NOTHING : message.subarray(bodyAt, at);
    }
    this.#sink.message(frames, areLent);
  }

  #error(code: ZmtpErrorCode, expected: string, actual: string): ZmtpError {
    return new ZmtpError({ code, offset: this.#frameOffset, expected, actual });
  }
}

function longSize(bytes: Uint8Array, at: number): number {
  let high = 0;
  for (let i = at; i < at + 4; i += 1) high = high * 256 + bytes[i];
  let low = 0;
  for (let i = at + 4; i < at + 8; i += 1) low = low * 256 + bytes[i];
  return high * TWO_32 + low;
}

function hex(byte: number): string {
  return `0x${byte.toString(16).padStart(2, "0")}`;
}

function bytesText(count: number): string {
  return `${count} bytes`;
}
