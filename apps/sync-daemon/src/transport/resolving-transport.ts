/**
 * Dials engines by name: each dial and each replay request asks for the name's addresses. So an
 * engine that moved is found at its next connection.
 *
 *   subscribe(tcp://name:port) ─▶ wait for a turn ─▶ resolve ─┬─▶ IPv4 address ─no connection─▶ IPv6 address ─▶ ended
 *                                                              └─▶ ended("unresolvable")
 *
 * A replay is asked for at an address of the name that is connected, while there is one. An address
 * counts until its last connection ends. Endpoints without a name pass through in the same turn.
 */

import type {
  Closeable,
  ListenEvents,
  ReplayEvents,
  ReplayPatience,
  SubscriptionEvents,
  Transport,
} from "./transport.ts";
import { addressesToDial, endpointAt, hostNameOf, type Resolver } from "../engine/host-names.ts";

/** A transport that resolves names by itself. */
export class ResolvingTransport implements Transport {
  readonly #inner: Transport;
  readonly #resolve: Resolver;
  /** Connections by name and address: several ranks of an engine have one name. */
  readonly #connections = new Map<string, Map<string, number>>();
  #isClosed = false;

  /**
   * @param inner - dials addresses.
   * @param resolve - gives the addresses of a name.
   */
  constructor(inner: Transport, resolve: Resolver) {
    this.#inner = inner;
    this.#resolve = resolve;
  }

  /** {@inheritDoc Transport.subscribe} */
  subscribe(endpoint: string, topic: string, events: SubscriptionEvents): Closeable {
    const host = hostNameOf(endpoint);
    if (host === null) return this.#inner.subscribe(endpoint, topic, events);
    let leave: (() => void) | null = null;
    const end = (): void => {
      leave?.();
      leave = null;
    };
    const dial = (addresses: readonly string[], hold: (open: Closeable) => void): void => {
      const [address, ...others] = addresses;
      if (address === undefined) {
        events.ended("unresolvable");
        return;
      }
      const opened = this.#inner.subscribe(endpointAt(endpoint, address), topic, {
        connected: () => {
          leave = this.#enter(host, address);
          events.connected();
        },
        message: (frames, areLent) => {
          events.message(frames, areLent);
        },
        ended: (reason, detail) => {
          const wasConnected = leave !== null;
          end();
          if (wasConnected || others.length === 0) events.ended(reason, detail);
          else dial(others, hold);
        },
      });
      hold(opened);
    };
    const dialled = this.#resolved(host, dial);
    return {
      close: () => {
        end();
        dialled.close();
      },
    };
  }

  /** {@inheritDoc Transport.listen} */
  listen(endpoint: string, topic: string, events: ListenEvents): Closeable {
    return this.#inner.listen(endpoint, topic, events);
  }

  /** {@inheritDoc Transport.requestReplay} */
  requestReplay(endpoint: string, from: number, patience: ReplayPatience, events: ReplayEvents): Closeable {
    const host = hostNameOf(endpoint);
    if (host === null) return this.#inner.requestReplay(endpoint, from, patience, events);
    return this.#resolved(host, (addresses, hold) => {
      const connections = this.#connections.get(host);
      const address = addresses.find((one) => connections?.has(one)) ?? addresses[0];
      if (address === undefined) events.ended("unreachable");
      else hold(this.#inner.requestReplay(endpointAt(endpoint, address), from, patience, events));
    });
  }

  /** {@inheritDoc Transport.close} */
  close(): void {
    this.#isClosed = true;
    this.#inner.close();
  }

  /** Counts a connection; the answer ends it. */
  #enter(host: string, address: string): () => void {
    const connections = this.#connections.get(host) ?? new Map<string, number>();
    this.#connections.set(host, connections);
    connections.set(address, (connections.get(address) ?? 0) + 1);
    return () => {
      const left = (connections.get(address) ?? 0) - 1;
      if (left > 0) connections.set(address, left);
      else connections.delete(address);
      if (connections.size === 0) this.#connections.delete(host);
    };
  }

  /** Goes on with a name's addresses, unless it was given up meanwhile; what is held is closed with it. */
  #resolved(
    host: string,
    go: (addresses: readonly string[], hold: (open: Closeable) => void) => void,
  ): Closeable {
    let held: Closeable | null = null;
    let isOver = false;
    const hold = (open: Closeable): void => {
      held = open;
    };
    void this.#addressesOf(host).then((addresses) => {
      if (!isOver && !this.#isClosed) go(addresses, hold);
    });
    return {
      close: () => {
        isOver = true;
        held?.close();
      },
    };
  }

  async #addressesOf(host: string): Promise<readonly string[]> {
    try {
      return addressesToDial(await this.#resolve(host));
    } catch {
      // The resolver's own words differ from system to system: the reason is that there is no address now.
      return [];
    }
  }
}
