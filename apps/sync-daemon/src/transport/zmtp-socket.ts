/**
 * One connection of node:net that speaks ZMTP: bytes to core's ZmtpPeer and back.
 *
 *   net.Socket ──chunk──▶ ZmtpPeer ──▶ message │ ready │ error → destroyed
 *       ▲────── greeting, READY, SUBSCRIBE, PONG ──┘
 *
 * Invariants
 *  S1  `ended` is reported once, and nothing after it, nor after `close`.
 *  S2  Outgoing connections of a thread read into one buffer. A chunk is read to its end before the next read.
 *  S3  A socket that has filled the buffer waits for a turn of the event loop. So a busy one leaves time to the others.
 *      Meanwhile bytes wait in the kernel, then at the publisher, which drops at its high-water mark.
 *  S4  Nothing is queued for a peer that does not read: while bytes wait to be sent, a PING is left unanswered.
 *  S5  The incomplete messages of all connections of a thread take no more than a budget when a chunk has been read.
 *      Beyond it the connection with the largest one ends (`buffers_full`), until the rest has room.
 *
 * Not here: when to dial, who may connect.
 */

import { connect, type NetConnectOpts, type Socket } from "node:net";

import { ZmtpError, ZmtpPeer, type ZmtpPeerSettings } from "@kvsync/core";

import type { ConnectionEnd, Violation } from "./transport.ts";

/** Bytes read at a time: about 150 messages of an engine under load. */
const READ_BYTES = 65_536;
/** TCP's keepalive begins after this; with Node's ten probes a second apart a vanished host is noticed within half a minute. */
const KEEPALIVE_IDLE_MS = 15_000;
/** Errors of the system that say that we have no room, and not that the peer is away. */
const NO_ROOM: ReadonlySet<string> = new Set(["EMFILE", "ENFILE", "ENOBUFS", "ENOMEM", "EADDRNOTAVAIL"]);

/** What a connection brings. */
export interface ZmtpSocketEvents {
  ready(): void;
  /** The frames are the receiver's, or valid during the call when they are lent. */
  message(frames: Uint8Array[], areLent: boolean): void;
  ended(reason: ConnectionEnd, detail: string): void;
}

/** The sockets of one thread, and what they share. */
export class ZmtpSockets {
  readonly #buffer = new Uint8Array(READ_BYTES);
  readonly #open = new Set<ZmtpSocket>();
  readonly #waiting = new Set<Socket>();
  readonly #heldBytesMax: number;
  #heldBytes = 0;
  #ticker: NodeJS.Timeout | null = null;

  /** @param heldBytesMax - of memory for the incomplete messages of all connections (S5). */
  constructor(heldBytesMax: number) {
    this.#heldBytesMax = heldBytesMax;
  }

  /**
   * Dials.
   *
   * @param options - where to.
   * @param settings - what our side is.
   * @param events - is given what comes, after this has returned.
   * @returns the connection.
   * @throws what node:net says to options that it does not take.
   */
  dial(options: NetConnectOpts, settings: ZmtpPeerSettings, events: ZmtpSocketEvents): ZmtpSocket {
    // Windows reads into memory that it was given before (S2).
    const buffer = process.platform === "win32" ? new Uint8Array(READ_BYTES) : this.#buffer;
    const onread = {
      buffer,
      callback: (count: number): boolean => {
        own.receive(buffer.subarray(0, count));
        if (count < buffer.byteLength || socket.destroyed) return true;
        this.#wait(socket);
        return false;
      },
    };
    const socket = connect({ ...options, onread, noDelay: true });
    const own = this.#add(socket, settings, events);
    socket.once("connect", () => {
      own.open();
    });
    return own;
  }

  /**
   * Takes a connection that came in.
   *
   * @param socket - connected.
   * @param settings - what our side is.
   * @param events - is given what comes, after this has returned.
   * @returns the connection.
   */
  accept(socket: Socket, settings: ZmtpPeerSettings, events: ZmtpSocketEvents): ZmtpSocket {
    const own = this.#add(socket, settings, events);
    socket.on("data", (chunk: Buffer) => {
      own.receive(chunk);
      if (chunk.byteLength < READ_BYTES || socket.destroyed) return;
      socket.pause();
      this.#wait(socket);
    });
    own.open();
    return own;
  }

  #add(socket: Socket, settings: ZmtpPeerSettings, events: ZmtpSocketEvents): ZmtpSocket {
    const own = new ZmtpSocket(socket, settings, events, (change) => {
      this.#count(change);
    });
    this.#open.add(own);
    this.#ticker ??= this.#startTicking();
    socket.once("close", () => {
      this.#open.delete(own);
      this.#waiting.delete(socket);
      if (this.#open.size > 0 || this.#ticker === null) return;
      clearInterval(this.#ticker);
      this.#ticker = null;
    });
    return own;
  }

  #count(change: number): void {
    this.#heldBytes += change;
    if (change <= 0 || this.#heldBytes <= this.#heldBytesMax) return;
    for (const largest of [...this.#open].toSorted((one, other) => other.heldBytes - one.heldBytes)) {
      largest.giveUp(this.#heldBytesMax);
      if (this.#heldBytes <= this.#heldBytesMax) return;
    }
  }

  #startTicking(): NodeJS.Timeout {
    const ticker = setInterval(() => {
      for (const own of this.#open) own.tick();
    }, 1000);
    ticker.unref();
    return ticker;
  }

  #wait(socket: Socket): void {
    if (this.#waiting.size === 0) {
      setImmediate(() => {
        const due = [...this.#waiting];
        this.#waiting.clear();
        for (const one of due) one.resume();
      });
    }
    this.#waiting.add(socket);
  }
}

/** One connection. */
export class ZmtpSocket {
  readonly #socket: Socket;
  readonly #peer: ZmtpPeer;
  readonly #events: ZmtpSocketEvents;
  readonly #count: (change: number) => void;
  #heldBytes = 0;
  #state: "dialling" | "handshake" | "up" | "over" = "dialling";

  /** Made by {@link ZmtpSockets}. */
  constructor(
    socket: Socket,
    settings: ZmtpPeerSettings,
    events: ZmtpSocketEvents,
    count: (change: number) => void,
  ) {
    this.#socket = socket;
    this.#count = count;
    this.#events = events;
    socket.setKeepAlive(true, KEEPALIVE_IDLE_MS);
    this.#peer = new ZmtpPeer(settings, {
      send: (bytes) => {
        this.send(bytes);
      },
      pong: (bytes) => {
        if (socket.writableLength === 0) this.send(bytes);
      },
      ready: () => {
        if (this.#state !== "handshake") return;
        this.#state = "up";
        events.ready();
      },
      message: (frames, areLent) => {
        if (this.#state === "up") events.message(frames, areLent);
      },
    });
    socket.on("error", (error: NodeJS.ErrnoException) => {
      this.#end(this.#reasonOf(error), error.message);
    });
    socket.on("end", () => {
      this.#end(this.#state === "up" ? "disconnected" : "handshake_failed", "the peer closed the connection");
    });
    socket.on("close", () => {
      this.#end(this.#state === "up" ? "disconnected" : "handshake_failed", "the connection was closed");
    });
  }

  /** The connection stands: our greeting begins. */
  open(): void {
    if (this.#state !== "dialling") return;
    this.#state = "handshake";
    this.send(this.#peer.opening);
  }

  /**
   * Sends bytes.
   *
   * @param bytes - not the caller's any more.
   */
  send(bytes: Uint8Array): void {
    if (this.#state !== "over") this.#socket.write(bytes);
  }

  /**
   * Takes what was read.
   *
   * @param chunk - the caller's again when this returns.
   */
  receive(chunk: Uint8Array): void {
    if (this.#state === "over") return;
    this.#guard(() => {
      this.#peer.receive(chunk);
    });
    this.#hold(this.#peer.heldCapacity);
  }

  /** Bytes of memory that the message under way has. */
  get heldBytes(): number {
    return this.#heldBytes;
  }

  /**
   * Ends it with its incomplete message (S5).
   *
   * @param bytesMax - of all connections.
   */
  giveUp(bytesMax: number): void {
    this.#guard(() => {
      this.#peer.giveUp(bytesMax);
    });
  }

  /** A second has passed. */
  tick(): void {
    if (this.#state === "handshake" || this.#state === "up") {
      this.#guard(() => {
        this.#peer.tick();
      });
    }
  }

  /** Ends it without a report. */
  close(): void {
    this.#state = "over";
    this.#socket.destroy();
    this.#hold(0);
  }

  #hold(bytes: number): void {
    const change = (this.#state === "over" ? 0 : bytes) - this.#heldBytes;
    if (change === 0) return;
    this.#heldBytes += change;
    this.#count(change);
  }

  #guard(work: () => void): void {
    try {
      work();
    } catch (error) {
      if (!(error instanceof ZmtpError)) throw error;
      const code: Violation = error.code;
      this.#end(code, error.message);
    }
  }

  #reasonOf(error: NodeJS.ErrnoException): ConnectionEnd {
    if (this.#state === "up") return "disconnected";
    if (this.#state === "handshake") return "handshake_failed";
    return NO_ROOM.has(error.code ?? "") ? "no_socket" : "refused";
  }

  #end(reason: ConnectionEnd, detail: string): void {
    if (this.#state === "over") return;
    this.close();
    this.#events.ended(reason, detail);
  }
}
