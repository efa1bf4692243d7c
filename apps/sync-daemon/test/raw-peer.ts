/**
 * A peer that speaks ZMTP 3.0 byte by byte and then does what a test wants. It sends bytes that no
 * ZeroMQ library would send.
 *
 * Source: https://rfc.zeromq.org/spec/23/ (ZMTP 3.0): greeting, NULL handshake, frame flags.
 */
import { createServer, type Server, type Socket } from "node:net";

const LONG = 2;
const MORE = 1;
const GREETING_BYTES = 64;

/** Announces a frame of so many bytes, whether or not they follow. */
export function longFrameHeader(bytes: number, hasMore: boolean): Buffer {
  const header = Buffer.alloc(9);
  header[0] = LONG | (hasMore ? MORE : 0);
  header.writeBigUInt64BE(BigInt(bytes), 1);
  return header;
}

/** What a publisher of ZMTP 3.0 says before its first message. */
export function publisherGreeting(): Buffer {
  return peerGreeting("PUB");
}

/** What a socket of this type says before its first message. */
export function peerGreeting(type: string, minor = 0): Buffer {
  const greeting = Buffer.alloc(GREETING_BYTES);
  greeting.set([0xff, 0, 0, 0, 0, 0, 0, 0, 1, 0x7f, 3, minor]);
  greeting.write("NULL", 12);
  const name = "Socket-Type";
  const body = Buffer.concat([
    Buffer.from([5]),
    Buffer.from("READY"),
    Buffer.from([name.length]),
    Buffer.from(name),
    Buffer.from([0, 0, 0, type.length]),
    Buffer.from(type),
  ]);
  return Buffer.concat([greeting, Buffer.from([4, body.length]), body]);
}

/** A listening peer. */
export class RawPeer {
  readonly #server: Server;
  readonly #sockets = new Set<Socket>();
  /** When each connection was accepted. */
  readonly acceptedMs: number[] = [];
  endpoint = "";

  private constructor(act: (socket: Socket) => void) {
    this.#server = createServer((socket) => {
      this.acceptedMs.push(performance.now());
      this.#sockets.add(socket);
      socket.on("error", () => undefined);
      socket.on("close", () => this.#sockets.delete(socket));
      socket.resume();
      act(socket);
    });
  }

  /** Starts one on a free port that does this with each connection. */
  static async start(act: (socket: Socket) => void): Promise<RawPeer> {
    const peer = new RawPeer(act);
    await new Promise<void>((resolve) => peer.#server.listen(0, "127.0.0.1", resolve));
    const address = peer.#server.address();
    if (typeof address === "object" && address !== null) peer.endpoint = `tcp://127.0.0.1:${address.port}`;
    return peer;
  }

  /** Connections that stand. */
  get connections(): number {
    return this.#sockets.size;
  }

  stop(): void {
    for (const socket of this.#sockets) socket.destroy();
    this.#server.close();
  }
}

/** Writes chunks for as long as the other side takes them. */
export function pour(socket: Socket, chunk: Buffer): void {
  const go = (): void => {
    while (!socket.destroyed && socket.write(chunk));
    if (!socket.destroyed) socket.once("drain", go);
  };
  go();
}
