/**
 * Reads one answer of an HTTP/1.1 server from the bytes of its connection.
 *
 *     HTTP/1.1 200 ⏎ headers ⏎⏎ ─▶ body ─┬─ content-length           ─▶ whole
 *                                         ├─ chunked: size ⏎ bytes ⏎ … ─▶ whole
 *                                         └─ neither: up to the connection's end
 *
 *  T1  However the bytes are cut, the same body or fault comes of them (http-answer.test.ts "T1").
 *  T2  Of foreign bytes comes a body, a fault, or the wish for more; nothing throws (http-answer.test.ts "T2").
 *  T3  At most HEAD_BYTES_MAX of a head and `bytesMax` of a body are kept (http-answer.test.ts "T3").
 *
 * The body is written into memory that the caller lends: an answer of an engine's size costs no memory of its own.
 *
 * Not here: connections (metrics-page.ts), redirects and encodings: neither is asked for.
 * Source: RFC 9112, sections 4 to 7 and 9.
 */

/** Longest head; an engine's has some 200 bytes. */
export const HEAD_BYTES_MAX = 16 * 1024;
/** Longest line with a chunk's size; extensions count. */
const SIZE_LINE_MAX = 256;
const BEGINNING = "HTTP/1.";
const HEAD_END = "\r\n\r\n";
const NEWLINE = 0x0a;
const OK = 200;

/** Why there is no body. `not_http`: what came first is no head. */
export type AnswerFault = "not_http" | "status" | "too_large" | "cut";

/** What has come so far. */
export type AnswerProgress = "more" | "whole" | AnswerFault;

type Phase = "head" | "counted" | "chunk_size" | "chunk" | "chunk_end" | "trailers" | "to_the_end" | "over";

/** See the header. */
export class HttpAnswer {
  readonly #bytesMax: number;
  #memory: Buffer;
  #length = 0;
  #phase: Phase = "head";
  /** Of a head that is not whole. */
  #head: Buffer | null = null;
  /** Of a line that is not whole. */
  #line = "";
  /** Bytes of the body, or of the chunk, that are still to come. */
  #left = 0;
  #isKept = false;

  /**
   * @param memory - for the body; a longer one gets more.
   * @param bytesMax - longest body.
   */
  constructor(memory: Buffer, bytesMax: number) {
    this.#memory = memory;
    this.#bytesMax = bytesMax;
  }

  /** The body as far as it has come; a view of `memory`. */
  get body(): Buffer {
    return this.#memory.subarray(0, this.#length);
  }

  /** What was lent, or the larger one in its place. */
  get memory(): Buffer {
    return this.#memory;
  }

  /** Whether a byte of it has come. */
  get hasBegun(): boolean {
    return this.#phase !== "head" || this.#head !== null;
  }

  /** Whether its status and headers have come. */
  get isAnswered(): boolean {
    return this.#phase !== "head";
  }

  /** Whether the connection can carry the next answer, once this one is whole. */
  get isKept(): boolean {
    return this.#isKept;
  }

  /**
   * Takes the next bytes. They are copied.
   *
   * @returns whether the answer is whole, or why it will not be; nothing is to be pushed after that.
   */
  push(bytes: Buffer): AnswerProgress {
    let rest = bytes;
    while (rest.length > 0) {
      if (this.#phase === "over") {
        // More than was announced: whatever it is, the connection cannot be trusted.
        this.#isKept = false;
        return "whole";
      }
      const taken = this.#take(rest);
      if (typeof taken !== "number") return taken;
      rest = rest.subarray(taken);
    }
    return this.#phase === "over" ? "whole" : "more";
  }

  /** The connection has ended. */
  end(): "whole" | AnswerFault {
    if (this.#phase === "to_the_end" || this.#phase === "over") return "whole";
    return this.isAnswered ? "cut" : "not_http";
  }

  /** @returns how many bytes were taken; or a fault. */
  #take(bytes: Buffer): number | AnswerFault {
    switch (this.#phase) {
      case "head":
        return this.#takeHead(bytes);
      case "counted":
      case "chunk":
        return this.#takeCounted(bytes);
      case "chunk_size":
      case "chunk_end":
      case "trailers":
        return this.#takeLine(bytes);
      case "to_the_end":
        return this.#keep(bytes) ? bytes.length : "too_large";
      case "over":
        return bytes.length;
    }
  }

  #takeHead(bytes: Buffer): number | AnswerFault {
    const held = this.#head?.length ?? 0;
    const head = this.#head === null ? bytes : Buffer.concat([this.#head, bytes]);
    const beginning = head.subarray(0, BEGINNING.length).toString("latin1");
    if (!BEGINNING.startsWith(beginning)) return "not_http";
    const end = head.indexOf(HEAD_END);
    if (end < 0) {
      this.#head = head === bytes ? Buffer.from(bytes) : head;
      return head.length > HEAD_BYTES_MAX ? "not_http" : bytes.length;
    }
    if (end > HEAD_BYTES_MAX) return "not_http";
    const fault = this.#readHead(head.toString("latin1", 0, end));
    if (fault !== null) return fault;
    this.#head = null;
    return end + HEAD_END.length - held;
  }

  #readHead(head: string): AnswerFault | null {
    const [, minor = "", status = ""] = /^HTTP\/1\.(\d) (\d{3})(?: |\r|$)/.exec(head) ?? [];
    if (status === "") return "not_http";
    // An interim answer: the one that counts follows it.
    if (status.startsWith("1")) return null;
    if (Number(status) !== OK) return "status";
    this.#isKept = minor === "1" && !/\bclose\b/i.test(header(head, "connection") ?? "");
    return this.#frameBody(header(head, "transfer-encoding"), header(head, "content-length"));
  }

  #frameBody(coding: string | null, length: string | null): AnswerFault | null {
    if (coding !== null) {
      if (!/^chunked$/i.test(coding)) return "cut";
      this.#phase = "chunk_size";
      return null;
    }
    if (length === null) {
      this.#phase = "to_the_end";
      this.#isKept = false;
      return null;
    }
    if (!/^\d{1,15}$/.test(length)) return "not_http";
    this.#left = Number(length);
    this.#phase = this.#left === 0 ? "over" : "counted";
    return this.#reserve(this.#left) ? null : "too_large";
  }

  #takeCounted(bytes: Buffer): number | AnswerFault {
    const part = bytes.length > this.#left ? bytes.subarray(0, this.#left) : bytes;
    if (!this.#keep(part)) return "too_large";
    this.#left -= part.length;
    if (this.#left === 0) this.#phase = this.#phase === "chunk" ? "chunk_end" : "over";
    return part.length;
  }

  /** Takes a line of the chunks' frame. */
  #takeLine(bytes: Buffer): number | AnswerFault {
    const end = bytes.indexOf(NEWLINE);
    const taken = end < 0 ? bytes.length : end + 1;
    this.#line += bytes.toString("latin1", 0, Math.min(taken, SIZE_LINE_MAX + 1));
    const longest = this.#phase === "trailers" ? HEAD_BYTES_MAX : SIZE_LINE_MAX;
    if (this.#line.length > longest) return "cut";
    if (end < 0) return taken;
    const line = this.#line.trimEnd();
    this.#line = "";
    return this.#readLine(line) ? taken : "cut";
  }

  #readLine(line: string): boolean {
    if (this.#phase === "trailers") {
      if (line === "") this.#phase = "over";
      return true;
    }
    if (this.#phase === "chunk_end") {
      this.#phase = "chunk_size";
      return line === "";
    }
    const [, size = ""] = /^([0-9a-f]{1,8})(?:[ \t]*;.*)?$/i.exec(line) ?? [];
    if (size === "") return false;
    this.#left = Number.parseInt(size, 16);
    this.#phase = this.#left === 0 ? "trailers" : "chunk";
    return true;
  }

  /** False when the body is too long. */
  #keep(bytes: Buffer): boolean {
    if (!this.#reserve(bytes.length)) return false;
    bytes.copy(this.#memory, this.#length);
    this.#length += bytes.length;
    return true;
  }

  #reserve(more: number): boolean {
    const needed = this.#length + more;
    if (needed > this.#bytesMax) return false;
    if (needed > this.#memory.length) {
      const grown = Buffer.allocUnsafeSlow(Math.max(needed, 2 * this.#memory.length));
      this.#memory.copy(grown, 0, 0, this.#length);
      this.#memory = grown;
    }
    return true;
  }
}

/** The value of a header; null without it. A header that comes twice has its values joined, as a list. */
function header(head: string, name: string): string | null {
  const values = [...head.matchAll(new RegExp(`\\r\\n${name}:[ \\t]*([^\\r\\n]*)`, "gi"))];
  return values.length === 0 ? null : values.map(([, value = ""]) => value.trimEnd()).join(", ");
}
