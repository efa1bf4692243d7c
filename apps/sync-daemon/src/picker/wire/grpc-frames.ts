/**
 * Splits the bytes of one gRPC stream into messages, and puts the prefix before a message.
 *
 *     byte 0      compressed: 0
 *     bytes 1–4   length of the message, big-endian
 *     bytes 5 …   the message
 *
 *  G1  However the bytes are cut into chunks, the same messages and fault come out (grpc-frames.test.ts "G1").
 *  G2  A length is judged before a byte of its message is kept: beyond the limit the stream ends by name
 *      (grpc-frames.test.ts "G2").
 *  G3  Memory follows bytes that have come, not lengths that were announced (grpc-frames.test.ts "G3").
 *
 * A message that is whole in one chunk is a view of it. Compression is not negotiated, so it is a fault.
 * Source: https://github.com/grpc/grpc/blob/master/doc/PROTOCOL-HTTP2.md
 */

/** Bytes before each message. */
export const PREFIX_BYTES = 5;

/** What can be wrong with a frame, or with the stream's end. */
export type FrameFaultCode = "compressed" | "message_too_large" | "cut_short";

/** Writes the prefix of a message of `length` bytes at `offset`. */
export function writePrefix(target: Buffer, offset: number, length: number): void {
  target[offset] = 0;
  target.writeUInt32BE(length, offset + 1);
}

/** See the header. */
export class GrpcFrames {
  readonly #messageBytesMax: number;
  readonly #message: (bytes: Uint8Array) => void;
  /** Chunks of a message that is not whole, in order, and their bytes. */
  #held: Buffer[] = [];
  #heldBytes = 0;
  /** Bytes of the message at hand with its prefix; null while its prefix is not whole. */
  #whole: number | null = null;
  #fault: FrameFaultCode | null = null;

  /**
   * @param messageBytesMax - longest message.
   * @param message - is given each message during `push`; a view that lives as long as its chunk.
   */
  constructor(messageBytesMax: number, message: (bytes: Uint8Array) => void) {
    this.#messageBytesMax = messageBytesMax;
    this.#message = message;
  }

  /**
   * Takes the next bytes of the stream. They must not change afterwards.
   *
   * @returns null, or the fault that ends the stream; nothing is read after one.
   */
  push(chunk: Buffer): FrameFaultCode | null {
    let rest = chunk;
    while (this.#fault === null && this.#heldBytes + rest.length >= (this.#whole ?? PREFIX_BYTES)) {
      if (this.#whole === null) {
        rest = this.#withHeld(rest, rest.length);
        this.#readPrefix(rest);
        continue;
      }
      const fromRest = this.#whole - this.#heldBytes;
      const message = this.#withHeld(rest, fromRest).subarray(PREFIX_BYTES);
      rest = rest.subarray(fromRest);
      this.#whole = null;
      this.#message(message);
    }
    if (this.#fault === null && rest.length > 0) {
      this.#held.push(rest);
      this.#heldBytes += rest.length;
    }
    return this.#fault;
  }

  /** The stream's end: null, or that a message is not whole. */
  end(): FrameFaultCode | null {
    return this.#fault ?? (this.#heldBytes === 0 ? null : "cut_short");
  }

  /** Judges the prefix that `bytes` begin with. */
  #readPrefix(bytes: Buffer): void {
    const length = bytes.readUInt32BE(1);
    if (bytes[0] !== 0) this.#fault = "compressed";
    else if (length > this.#messageBytesMax) this.#fault = "message_too_large";
    this.#whole = PREFIX_BYTES + length;
  }

  /** What is held, then the first `count` bytes of `rest`. Nothing is held afterwards. */
  #withHeld(rest: Buffer, count: number): Buffer {
    const first = rest.subarray(0, count);
    if (this.#heldBytes === 0) return first;
    const joined = Buffer.concat([...this.#held, first]);
    this.#held = [];
    this.#heldBytes = 0;
    return joined;
  }
}
