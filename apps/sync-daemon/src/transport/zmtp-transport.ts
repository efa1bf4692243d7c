/**
 * The network over node:net, with ZMTP read by core. One socket is one connection, and one file descriptor.
 *
 *   SUB ──connect──▶ PUB        ended with its connection (zmtp-socket.ts).
 *   SUB ◀──connect── PUB        the first publisher whose handshake is done is let in.
 *   DEALER ["", start] ──▶ ROUTER ──▶ ["", …, seq, payload]* , end marker.
 *
 * Invariants
 *  N1  What one connection costs is bounded while a message is received: limits on its bytes and parts, zmtp/frame-reader.ts.
 *  N2  So is what all connections cost together, by one budget for their incomplete messages (S5 in zmtp-socket.ts).
 *  P1  Of one address that is listened at, at most one publisher is let in until it is gone.
 *  P2  A publisher outside of the ranges is never let in; without ranges none is.
 *  P3  At most `PENDING_MAX` connections wait there: open handshakes, and publishers that were turned away.
 *      These are kept, silent, until they may try again: libzmq's publishers dial a closed connection again at once.
 *      Further connections are closed and reported.
 *
 * Messages wait in the caller's queue, in the kernel and at the publisher; there is no queue here, and so no high-water mark. A
 * publisher of libzmq drops for us alone what its own mark (vLLM: 100,000 messages) does not hold.
 *
 * Not here: CURVE (zmq-transport.ts), names (resolving-transport.ts).
 */

import { createServer, type Server, type Socket } from "node:net";

import {
  copyFrames,
  DEFAULT_ZMTP_LIMITS,
  encodeMessage,
  encodeReplayRequest,
  messageMemoryBytesMax,
  type ReplayFailure,
  type ZmtpLimits,
  type ZmtpPeerSettings,
} from "@kvsync/core";

import { AddressRanges, inOneSpelling } from "../security/address-ranges.ts";
import { dialOptions, listenOptions } from "./endpoint-address.ts";
import { isReplayEnd } from "./replay-end.ts";
import {
  type Closeable,
  type ConnectionEnd,
  isViolation,
  type ListenEvents,
  type ReplayEvents,
  type ReplayPatience,
  type SubscriptionEvents,
  type Transport,
  type Violation,
} from "./transport.ts";
import { type ZmtpSocket, type ZmtpSocketEvents, ZmtpSockets } from "./zmtp-socket.ts";

/** How long dialling and the handshake may take together. */
const DIAL_TIMEOUT_MS = 5000;
/** How long a peer that connected here may take to say what it is, and until one that was turned away may try again. */
const HANDSHAKE_MS_MAX = 2000;
/** Connections at one listening address that are not the publisher's. */
const PENDING_MAX = 64;
/** Memory of the incomplete messages of all connections: the longest message twice over. */
const HELD_BYTES_MAX = 2 * DEFAULT_ZMTP_LIMITS.messageBytes;

/** Sockets of one thread. */
export class ZmtpTransport implements Transport {
  readonly #limits: ZmtpLimits;
  readonly #ranges: AddressRanges;
  readonly #sockets: ZmtpSockets;
  readonly #open = new Set<Closeable>();

  /**
   * @param limits - of one message while it is received; a connection that sends more ends.
   * @param publisherRanges - from where engines may connect to addresses that this transport listens at.
   * @param heldBytesMax - of memory for the incomplete messages of all connections; one message of the limits has room in any case.
   */
  constructor(
    limits: ZmtpLimits = DEFAULT_ZMTP_LIMITS,
    publisherRanges: readonly string[] = [],
    heldBytesMax: number = HELD_BYTES_MAX,
  ) {
    this.#limits = limits;
    this.#sockets = new ZmtpSockets(Math.max(heldBytesMax, messageMemoryBytesMax(limits)));
    this.#ranges = new AddressRanges(publisherRanges);
  }

  /** {@inheritDoc Transport.subscribe} */
  subscribe(endpoint: string, topic: string, events: SubscriptionEvents): Closeable {
    let socket: ZmtpSocket | null = null;
    let isOver = false;
    const subscription = this.#closeable(() => {
      isOver = true;
      clearTimeout(dialTimer);
      socket?.close();
    });
    const end = (reason: ConnectionEnd, detail?: string): void => {
      if (isOver) return;
      subscription.close();
      events.ended(reason, detail);
    };
    const dialTimer = setTimeout(() => {
      end("dial_timeout");
    }, DIAL_TIMEOUT_MS);
    const settings = { type: "SUB", topic, limits: this.#limits } as const;
    socket = this.#dial(endpoint, settings, {
      ready: () => {
        clearTimeout(dialTimer);
        events.connected();
      },
      message: (frames, areLent) => {
        events.message(frames, areLent);
      },
      ended: end,
    });
    if (socket === null) setImmediate(end, "no_socket");
    return subscription;
  }

  /** {@inheritDoc Transport.listen} */
  listen(endpoint: string, topic: string, events: ListenEvents): Closeable {
    const pending = new Set<Socket>();
    let publisher: ZmtpSocket | null = null;
    let isOver = false;
    const subscription = this.#closeable(() => {
      isOver = true;
      server.close();
      for (const socket of pending) socket.destroy();
      publisher?.close();
    });
    const end = (reason: ConnectionEnd, detail?: string): void => {
      if (isOver) return;
      subscription.close();
      events.ended(reason, detail);
    };
    const take = (socket: Socket): void => {
      const address = inOneSpelling(socket.remoteAddress ?? "");
      if (isOver || pending.size >= PENDING_MAX) {
        socket.destroy();
        if (!isOver) events.refused("too_many_pending", address);
        return;
      }
      pending.add(socket);
      const giveUp = setTimeout(() => socket.destroy(), HANDSHAKE_MS_MAX);
      socket.once("close", () => {
        clearTimeout(giveUp);
        pending.delete(socket);
      });
      if (!this.#ranges.has(address)) {
        socket.on("error", () => undefined);
        socket.pause();
        events.refused("publisher_not_allowed", address);
        return;
      }
      const own: ZmtpSocket = this.#sockets.accept(
        socket,
        { type: "SUB", topic, limits: this.#limits },
        {
          ready: () => {
            if (publisher !== null) {
              socket.pause();
              events.refused("second_publisher", address);
              return;
            }
            publisher = own;
            clearTimeout(giveUp);
            pending.delete(socket);
            events.connected();
          },
          message: (frames, areLent) => {
            if (publisher === own) events.message(frames, areLent);
          },
          ended: (reason, detail) => {
            if (publisher === own) end(reason, detail);
            else if (!isOver && isViolation(reason)) events.refused(reason, address, detail);
          },
        },
      );
    };
    const server = this.#server(endpoint, take, end);
    return subscription;
  }

  /** {@inheritDoc Transport.requestReplay} */
  requestReplay(endpoint: string, from: number, patience: ReplayPatience, events: ReplayEvents): Closeable {
    let socket: ZmtpSocket | null = null;
    let isOver = false;
    /** What the silence will have been. */
    let failure: ReplayFailure = "idle";
    let waitMs = patience.firstMs;
    const request = this.#closeable(() => {
      isOver = true;
      clearTimeout(timer);
      socket?.close();
    });
    const end = (why: ReplayFailure | null, violation?: Violation, detail?: string): void => {
      if (isOver) return;
      request.close();
      events.ended(why, violation, detail);
    };
    let timer = setTimeout(() => {
      end(failure);
    }, waitMs);
    const settings = { type: "DEALER", topic: null, limits: this.#limits } as const;
    socket = this.#dial(endpoint, settings, {
      ready: () => {
        socket?.send(encodeMessage(encodeReplayRequest(from)));
      },
      message: (frames, areLent) => {
        if (waitMs !== patience.nextMs) {
          clearTimeout(timer);
          waitMs = patience.nextMs;
          timer = setTimeout(() => {
            end(failure);
          }, waitMs);
        } else timer.refresh();
        // What is replayed waits for its turn: the engine sends all of it at once.
        events.message(areLent ? copyFrames(frames) : frames);
        if (isReplayEnd(frames)) end(null);
      },
      ended: (reason, detail) => {
        if (isViolation(reason)) end("violation", reason, detail);
        // A request that was refused costs as much patience as one that is not answered: whoever asks again would do so at once.
        else if (reason === "disconnected" || reason === "no_socket") end("unreachable");
        else failure = "unreachable";
      },
    });
    if (socket === null) setImmediate(end, "unreachable");
    return request;
  }

  /** {@inheritDoc Transport.close} */
  close(): void {
    for (const open of [...this.#open]) open.close();
  }

  #closeable(close: () => void): Closeable {
    let isOver = false;
    const one: Closeable = {
      close: () => {
        if (isOver) return;
        isOver = true;
        this.#open.delete(one);
        close();
      },
    };
    this.#open.add(one);
    return one;
  }

  /** Null for what is no address. */
  #dial(endpoint: string, settings: ZmtpPeerSettings, events: ZmtpSocketEvents): ZmtpSocket | null {
    const options = dialOptions(endpoint);
    if (options === null) return null;
    try {
      return this.#sockets.dial(options, settings, events);
    } catch {
      return null;
    }
  }

  #server(endpoint: string, take: (socket: Socket) => void, end: (reason: ConnectionEnd) => void): Server {
    const options = listenOptions(endpoint);
    const server = createServer({ keepAlive: true, noDelay: true }, take);
    server.on("error", (error: NodeJS.ErrnoException) => {
      end(error.code === "EADDRINUSE" ? "address_in_use" : "no_socket");
    });
    if (options === null) setImmediate(end, "no_socket");
    else server.listen(options);
    return server;
  }
}
