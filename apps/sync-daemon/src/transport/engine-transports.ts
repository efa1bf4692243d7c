/**
 * The network for each engine, in one process: our own reader for those that speak plain ZeroMQ, libzmq for those with a
 * CURVE key.
 *
 *     of(key)  ──▶ a network with that key ─first dial─▶ loads libzmq, once for all
 *     of(null) ──▶ the same with the fleet's key; without one the plain network, which all share
 *
 * Both resolve names (resolving-transport.ts), with one limit on lookups.
 *
 * Invariants
 *  C1  An engine that has a key is never dialed without it.
 *
 * Not here: sockets (zmtp-transport.ts, zmq-transport.ts).
 */

import type { Resolver } from "../engine/host-names.ts";
import { ResolvingTransport } from "./resolving-transport.ts";
import type { Closeable, Transport } from "./transport.ts";

/** Makes networks that speak CURVE. */
export type CurveNetwork = (serverKey: string) => Transport;

/** See the head of this file. */
export class EngineTransports {
  readonly #plain: Transport;
  readonly #fleetKey: string | null;
  readonly #loadCurve: () => Promise<CurveNetwork>;
  readonly #resolve: Resolver;
  /** Null until an engine with a key is dialled. */
  #curve: Promise<CurveNetwork> | null = null;

  /**
   * @param networks - `plain` for engines without a key, and what loads the maker of the others.
   * @param fleetKey - of engines without a key of their own; null for none.
   * @param resolve - gives the addresses of a name.
   */
  constructor(
    networks: { readonly plain: Transport; readonly loadCurve: () => Promise<CurveNetwork> },
    fleetKey: string | null,
    resolve: Resolver,
  ) {
    this.#plain = new ResolvingTransport(networks.plain, resolve);
    this.#loadCurve = networks.loadCurve;
    this.#fleetKey = fleetKey;
    this.#resolve = resolve;
  }

  /**
   * The network to an engine (C1).
   *
   * @param serverKey - the engine's own public key in Z85; null for none.
   * @returns the caller closes what it opens there.
   */
  of(serverKey: string | null): Transport {
    const key = serverKey ?? this.#fleetKey;
    if (key === null) return this.#plain;
    const make = async (): Promise<Transport> => {
      this.#curve ??= this.#loadCurve();
      return (await this.#curve)(key);
    };
    return new ResolvingTransport(new LaterTransport(make), this.#resolve);
  }

  /** Gives up everything of the plain network. */
  close(): void {
    this.#plain.close();
  }
}

/** A network that is made at the first use. */
class LaterTransport implements Transport {
  readonly #make: () => Promise<Transport>;
  #made: Promise<Transport> | null = null;
  #isClosed = false;

  constructor(make: () => Promise<Transport>) {
    this.#make = make;
  }

  subscribe(...call: Parameters<Transport["subscribe"]>): Closeable {
    return this.#open((network) => network.subscribe(...call));
  }

  listen(...call: Parameters<Transport["listen"]>): Closeable {
    return this.#open((network) => network.listen(...call));
  }

  requestReplay(...call: Parameters<Transport["requestReplay"]>): Closeable {
    return this.#open((network) => network.requestReplay(...call));
  }

  close(): void {
    this.#isClosed = true;
    void this.#made?.then((network) => {
      network.close();
    });
  }

  #open(open: (network: Transport) => Closeable): Closeable {
    let opened: Closeable | null = null;
    let isOver = false;
    this.#made ??= this.#make();
    void this.#made.then((network) => {
      if (!isOver && !this.#isClosed) opened = open(network);
    });
    return {
      close: () => {
        isOver = true;
        opened?.close();
      },
    };
  }
}
