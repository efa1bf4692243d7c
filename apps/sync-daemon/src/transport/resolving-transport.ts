/**
 * Dials engines by name: each dial and each replay request asks for the name's addresses anew, so that an engine which moved is
 * found at its next connection.
 *
 *   subscribe(tcp://name:port) ─▶ wait for a turn ─▶ resolve ─┬─▶ subscribe(tcp://address:port) of the transport beneath
 *                                                              └─▶ ended("unresolvable")
 *
 * Endpoints without a name pass through in the same turn. Names resolve LOOKUPS_MAX at a time: the system's resolver takes
 * a thread of the process's pool for as long as it waits, and files are read by the same threads.
 */

import type {
  Closeable,
  ListenEvents,
  ReplayEvents,
  ReplayPatience,
  SubscriptionEvents,
  Transport,
} from "./transport.ts";
import { endpointAt, hostNameOf, preferredAddress, type Resolver } from "../engine/host-names.ts";

/** Names resolved at once; the pool has four threads. */
const LOOKUPS_MAX = 2;

/** A transport that resolves names by itself. */
export class ResolvingTransport implements Transport {
  readonly #inner: Transport;
  readonly #resolve: Resolver;
  /** Lookups under way by name: a fleet behind one name is one question. */
  readonly #lookups = new Map<string, Promise<string | null>>();
  readonly #waiting: (() => void)[] = [];
  #running = 0;
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
    return this.#at(
      endpoint,
      (address) => this.#inner.subscribe(address, topic, events),
      () => {
        events.ended("unresolvable");
      },
    );
  }

  /** {@inheritDoc Transport.listen} */
  listen(endpoint: string, topic: string, events: ListenEvents): Closeable {
    return this.#inner.listen(endpoint, topic, events);
  }

  /** {@inheritDoc Transport.requestReplay} */
  requestReplay(endpoint: string, from: number, patience: ReplayPatience, events: ReplayEvents): Closeable {
    return this.#at(
      endpoint,
      (address) => this.#inner.requestReplay(address, from, patience, events),
      () => {
        events.ended("unreachable");
      },
    );
  }

  /** {@inheritDoc Transport.close} */
  close(): void {
    this.#isClosed = true;
    this.#inner.close();
  }

  #at(endpoint: string, open: (address: string) => Closeable, fail: () => void): Closeable {
    const host = hostNameOf(endpoint);
    if (host === null) return open(endpoint);
    let opened: Closeable | null = null;
    let isOver = false;
    void this.#addressOf(host).then((address) => {
      if (isOver || this.#isClosed) return;
      if (address === null) fail();
      else opened = open(endpointAt(endpoint, address));
    });
    return {
      close: () => {
        isOver = true;
        opened?.close();
      },
    };
  }

  #addressOf(host: string): Promise<string | null> {
    const known = this.#lookups.get(host);
    if (known !== undefined) return known;
    const asked = this.#ask(host).finally(() => {
      this.#lookups.delete(host);
    });
    this.#lookups.set(host, asked);
    return asked;
  }

  async #ask(host: string): Promise<string | null> {
    if (this.#running >= LOOKUPS_MAX) await new Promise<void>((resolve) => this.#waiting.push(resolve));
    this.#running += 1;
    try {
      return preferredAddress(await this.#resolve(host)) ?? null;
    } catch {
      // The resolver's own words differ from system to system: the reason is that there is no address now.
      return null;
    } finally {
      this.#running -= 1;
      this.#waiting.shift()?.();
    }
  }
}
