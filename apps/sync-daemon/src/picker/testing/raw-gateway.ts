/**
 * A gateway's connection as frames of HTTP/2, for what no client library sends: frames that arrive after their stream has ended.
 *
 *     preface, settings ─▶ open(): HEADERS, DATA ─▶ the picker's END_STREAM ─▶ late frames of any kind
 *
 * Pings and settings are answered. Headers that come are not decoded: only where a stream ends is looked at.
 * Source: RFC 9113, RFC 7541 (literal fields without indexing).
 */
import { once } from "node:events";
import { connect, type Socket } from "node:net";

const PREFACE = "PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n";
const FRAME_HEAD_BYTES = 9;
const TYPE = { data: 0, headers: 1, reset: 3, settings: 4, ping: 6, goaway: 7, windowUpdate: 8 } as const;
const FLAG = { endStream: 1, ack: 1, endHeaders: 4 } as const;
const PATH = "/envoy.service.ext_proc.v3.ExternalProcessor/Process";
const CANCEL = 8;
const WINDOW_MORE = 1024 * 1024;

/** A frame that a gateway may send on a stream after its end. */
export type LateFrame = "reset" | "data" | "window";

/** See the header. */
export class RawGateway {
  readonly #socket: Socket;
  #rest: Buffer = Buffer.alloc(0);
  #lastStream = -1;
  readonly #ending = new Map<number, () => void>();
  /** Error code of the picker's GOAWAY; null while there is none. */
  goaway: number | null = null;

  private constructor(socket: Socket) {
    this.#socket = socket;
    socket.on("data", (chunk: Buffer) => {
      this.#read(chunk);
    });
    socket.on("error", () => undefined);
    socket.on("close", () => {
      for (const end of this.#ending.values()) end();
    });
  }

  /** Connects, and opens the connection's window wide. */
  static async connect(port: number): Promise<RawGateway> {
    const socket = connect(port, "127.0.0.1");
    await once(socket, "connect");
    socket.setNoDelay(true);
    const gateway = new RawGateway(socket);
    socket.write(PREFACE);
    gateway.#send(TYPE.settings, 0, 0, Buffer.alloc(0));
    gateway.#send(TYPE.windowUpdate, 0, 0, uint32(WINDOW_MORE * 1000));
    return gateway;
  }

  /** Whether the connection is over, from either side. */
  get isClosed(): boolean {
    return this.#socket.destroyed;
  }

  /**
   * Opens a stream with these bytes, and leaves our side open, as gateways do.
   *
   * @returns its number, when the picker has ended its side.
   */
  async open(bytes: Buffer): Promise<number> {
    this.#lastStream += 2;
    const stream = this.#lastStream;
    const ended = new Promise<void>((resolve) => this.#ending.set(stream, resolve));
    const fields = [
      [":method", "POST"],
      [":scheme", "http"],
      [":path", PATH],
      [":authority", "picker"],
      ["te", "trailers"],
    ] as const;
    this.#send(TYPE.headers, FLAG.endHeaders, stream, Buffer.concat(fields.map(field)));
    this.#send(TYPE.data, 0, stream, bytes);
    await ended;
    return stream;
  }

  /** Sends a frame on a stream that has ended. */
  late(stream: number, kind: LateFrame): void {
    if (kind === "reset") this.#send(TYPE.reset, 0, stream, uint32(CANCEL));
    else if (kind === "window") this.#send(TYPE.windowUpdate, 0, stream, uint32(1));
    else this.#send(TYPE.data, 0, stream, Buffer.from("late"));
  }

  /** Ends the connection. */
  close(): void {
    this.#socket.destroy();
  }

  #send(type: number, flags: number, stream: number, payload: Buffer): void {
    const head = Buffer.alloc(FRAME_HEAD_BYTES);
    head.writeUIntBE(payload.length, 0, 3);
    head[3] = type;
    head[4] = flags;
    head.writeUInt32BE(stream, 5);
    this.#socket.write(Buffer.concat([head, payload]));
  }

  #read(chunk: Buffer): void {
    let rest = Buffer.concat([this.#rest, chunk]);
    while (rest.length >= FRAME_HEAD_BYTES) {
      const end = FRAME_HEAD_BYTES + rest.readUIntBE(0, 3);
      if (rest.length < end) break;
      const [type = 0, flags = 0] = rest.subarray(3, 5);
      this.#frame(type, flags, rest.readUInt32BE(5) & 0x7fff_ffff, rest.subarray(FRAME_HEAD_BYTES, end));
      rest = rest.subarray(end);
    }
    this.#rest = rest;
  }

  #frame(type: number, flags: number, stream: number, payload: Buffer): void {
    const isAck = (flags & FLAG.ack) !== 0;
    if (type === TYPE.settings && !isAck) this.#send(TYPE.settings, FLAG.ack, 0, Buffer.alloc(0));
    else if (type === TYPE.ping && !isAck) this.#send(TYPE.ping, FLAG.ack, 0, payload);
    else if (type === TYPE.goaway) this.goaway = payload.readUInt32BE(4);
    const isEnd = (type === TYPE.headers || type === TYPE.data) && (flags & FLAG.endStream) !== 0;
    if (!isEnd && type !== TYPE.reset) return;
    this.#ending.get(stream)?.();
    this.#ending.delete(stream);
  }
}

function uint32(value: number): Buffer {
  const bytes = Buffer.alloc(4);
  bytes.writeUInt32BE(value);
  return bytes;
}

/** A header field as a literal that is not indexed. Both texts are short. */
function field([name, value]: readonly [string, string]): Buffer {
  return Buffer.from(
    `\0${String.fromCharCode(name.length)}${name}${String.fromCharCode(value.length)}${value}`,
    "latin1",
  );
}
