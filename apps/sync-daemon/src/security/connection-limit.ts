/**
 * Bounds the HTTP server's connections in all and by address, so that no caller locks the others out. It also bounds the requests of one connection.
 *
 *   accept ─▶ address at its bound? ─▶ all places taken? ─▶ held
 *                  └────────┬───────────────┘
 *             an idle connection is closed; without an idle one the new one is closed
 *
 *   request ─▶ too many of its connection wait? ─▶ begun in its turn (request-turns.ts)
 *                  └─ its connection is closed
 *
 * Layout: for each address (for IPv6 its /64) the number of its connections, and the idle ones in the order in which they became idle. A connection is idle
 * while none of its requests is being received or answered. It is idle before its first request, too.
 *
 * Invariants
 *  C1  At most `connections` are held, and at most `perAddress` of one address.
 *  C2  The last places (at most RESERVED_MAX) go to addresses that hold fewer than FEW: one address cannot take the room for probes.
 *  C3  A connection with an open request is never closed for another one.
 *  C4  Only an address that holds at least as many connections as the new one's address gives a connection up.
 *  C5  Each connection that is closed here is counted by its reason.
 *  C6  At most PIPELINED_MAX requests of a connection wait for their answers. HTTP/1.1 lets a caller send requests without waiting, and Node begins all of
 *      those in a chunk within one turn of the loop. A chunk of 64 KiB has more than a thousand, for any of which the loop would be blocked.
 *  C7  A connection whose peer takes nothing of an answer for `unreadMs` is closed. An unread answer holds memory, or an open file.
 *
 * It does not bound the rate of requests (rate-limit.ts) or their bodies (body-budget.ts). The time for a request to arrive, and the time that an idle
 * connection is kept, are the server's own.
 */

import type { IncomingMessage, Server, ServerResponse } from "node:http";
import type { Socket } from "node:net";

import { siteOf } from "./rate-limit.ts";
import { RequestTurns } from "./request-turns.ts";

/** Places for addresses with few connections: kubelets, scrapers, operators. */
const RESERVED_MAX = 16;
/** Reserved of a small number of places: one of so many. */
const RESERVED_SHARE = 8;
/** Connections of one address that may take a reserved place. */
const FEW = 4;

/** Requests of one connection that wait for their answers (C6). Clients that pipeline send a few. */
export const PIPELINED_MAX = 16;

/** Why a connection was closed. */
export type ClosedReason = "all_taken" | "address_full" | "gave_way" | "pipelined" | "answer_unread";

/** What bounds the connections, and where news go. */
export interface ConnectionBounds {
  readonly connections: number;
  readonly perAddress: number;
  /** Time for which a peer may take nothing of an answer (C7). */
  readonly unreadMs: number;
  /** Called with the number of connections that are held, whenever it changes. */
  readonly held: (count: number) => void;
  /** Called for each connection that is closed. */
  readonly closed: (reason: ClosedReason) => void;
}

/** The connections of one address. */
interface Holder {
  readonly address: string;
  count: number;
  /** Longest idle first. */
  readonly idle: Set<Connection>;
}

interface Connection {
  readonly socket: Socket;
  readonly holder: Holder;
  requests: number;
  /** Whether it had a request. */
  isKept: boolean;
  isOpen: boolean;
}

/** Bounds the connections of one server. */
export class ConnectionLimit {
  readonly #bounds: ConnectionBounds;
  readonly #reserved: number;
  readonly #holders = new Map<string, Holder>();
  readonly #bySocket = new WeakMap<Socket, Connection>();
  /** Connections whose TLS handshake has not ended, by peer. */
  readonly #handshakes = new Map<string, Connection>();
  #count = 0;

  private constructor(bounds: ConnectionBounds) {
    this.#bounds = bounds;
    this.#reserved = Math.min(RESERVED_MAX, Math.floor(bounds.connections / RESERVED_SHARE));
  }

  /**
   * Bounds the connections of a server. Before it listens.
   *
   * @param server - HTTP or HTTPS.
   * @param bounds - how many, and what hears of it.
   * @param isTls - whether connections begin with a handshake.
   */
  static install(server: Server, bounds: ConnectionBounds, isTls: boolean): void {
    const limit = new ConnectionLimit(bounds);
    server.prependListener("connection", (socket: Socket) => {
      limit.#accept(socket, isTls);
    });
    if (isTls) {
      server.prependListener("secureConnection", (socket: Socket) => {
        const connection = limit.#handshakes.get(peerOf(socket));
        if (connection === undefined) return;
        limit.#handshakes.delete(peerOf(socket));
        limit.#bySocket.set(socket, connection);
      });
    }
    limit.#guardRequests(server);
    server.setTimeout(bounds.unreadMs, (socket: Socket) => {
      limit.#quiet(socket);
    });
  }

  /** The server's own handlers get the requests that are let in, and no other one: a destroyed socket does not keep Node from beginning the rest of a chunk. */
  #guardRequests(server: Server): void {
    const turns = new RequestTurns();
    const handlers = server.listeners("request") as ((...begun: readonly unknown[]) => void)[];
    server.removeAllListeners("request");
    server.on("request", (request: IncomingMessage, response: ServerResponse) => {
      const { socket, url = "" } = request;
      if (!this.#admit(socket, response)) return;
      turns.take({
        url,
        isGone: () => socket.destroyed,
        begin: () => {
          for (const handler of handlers) handler.call(server, request, response);
        },
      });
    });
  }

  /** Whether a request may begin. */
  #admit(socket: Socket, response: ServerResponse): boolean {
    const connection = this.#bySocket.get(socket);
    if (connection === undefined) return true;
    if (!connection.isOpen) return false;
    if (connection.requests >= PIPELINED_MAX) {
      this.#end(connection, "pipelined", socket);
      return false;
    }
    connection.requests += 1;
    connection.isKept = true;
    connection.holder.idle.delete(connection);
    response.once("close", () => {
      connection.requests -= 1;
      if (connection.requests === 0 && connection.isOpen) connection.holder.idle.add(connection);
    });
    return true;
  }

  /**
   * Nothing came or went for a while. Node closes such a connection itself only where nothing listens to this. So the kept ones, whose time is
   * `keepAliveTimeout`, are closed here. One that waits for an answer of ours waits on, and one whose first request is overdue gets Node's 408.
   */
  #quiet(socket: Socket): void {
    const connection = this.#bySocket.get(socket);
    if (connection === undefined) socket.destroy();
    else if (connection.requests === 0 && connection.isKept) socket.destroy();
    else if (connection.requests > 0 && socket.writableLength > 0)
      this.#end(connection, "answer_unread", socket);
  }

  /** Ends a connection for what its peer does. */
  #end(connection: Connection, reason: ClosedReason, socket: Socket): void {
    this.#release(connection);
    this.#bounds.closed(reason);
    socket.destroy();
  }

  #accept(socket: Socket, isTls: boolean): void {
    const address = siteOf(socket.remoteAddress ?? "");
    const holder = this.#holders.get(address) ?? { address, count: 0, idle: new Set() };
    const refusal = this.#refusal(holder);
    if (refusal !== null) {
      this.#bounds.closed(refusal);
      // The server's own listeners run first: they expect an open socket.
      process.nextTick(() => socket.destroy());
      return;
    }
    const connection: Connection = { socket, holder, requests: 0, isKept: false, isOpen: true };
    this.#holders.set(address, holder);
    holder.count += 1;
    holder.idle.add(connection);
    this.#count += 1;
    this.#bounds.held(this.#count);
    this.#bySocket.set(socket, connection);
    const peer = peerOf(socket);
    if (isTls) this.#handshakes.set(peer, connection);
    socket.once("close", () => {
      if (this.#handshakes.get(peer) === connection) this.#handshakes.delete(peer);
      this.#release(connection);
    });
  }

  /** Makes room for a connection of an address; why there is none. */
  #refusal(holder: Holder): ClosedReason | null {
    const { connections, perAddress } = this.#bounds;
    if (holder.count >= perAddress && !this.#close(holder)) return "address_full";
    const places = holder.count < FEW ? connections : connections - this.#reserved;
    if (this.#count < places) return null;
    return this.#close(this.#largestIdle(holder.count)) ? null : "all_taken";
  }

  /** The address that holds most, of those with an idle connection and at least so many (C4). Runs only when all places are taken. */
  #largestIdle(countMin: number): Holder | undefined {
    let largest: Holder | undefined;
    for (const holder of this.#holders.values()) {
      if (holder.idle.size === 0 || holder.count < countMin) continue;
      if (holder.count > (largest?.count ?? 0)) largest = holder;
    }
    return largest;
  }

  /** Closes the connection that has been idle longest; false when none is idle. */
  #close(holder: Holder | undefined): boolean {
    const [connection] = holder?.idle ?? [];
    if (connection === undefined) return false;
    this.#release(connection);
    this.#bounds.closed("gave_way");
    connection.socket.destroy();
    return true;
  }

  #release(connection: Connection): void {
    if (!connection.isOpen) return;
    connection.isOpen = false;
    const { holder } = connection;
    holder.idle.delete(connection);
    holder.count -= 1;
    if (holder.count === 0) this.#holders.delete(holder.address);
    this.#count -= 1;
    this.#bounds.held(this.#count);
  }
}

function peerOf({ remoteAddress, remotePort }: Socket): string {
  return `${remoteAddress ?? ""} ${remotePort ?? ""}`;
}
