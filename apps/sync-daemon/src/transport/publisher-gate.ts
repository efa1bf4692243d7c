/**
 * Decides which publishers may connect where the daemon listens: one at a time at each address, and only from allowed ranges.
 *
 *   libzmq, for each connection ──ZAP──▶ ["1.0", id, domain, address, …] ─▶ entrance of the domain ─▶ "200" │ "300"
 *
 * Every entrance has a domain of its own, which its socket names. 300 refuses for now: libzmq keeps
 * the connection until the socket's handshake interval ends, and the publisher then tries again by
 * itself. After a 400 libzmq's publishers give up permanently. An engine that restarts before the
 * end of its old connection was detected would never come back.
 *
 * Invariants
 *  P1  Of one entrance at most one publisher is let in until it is left.
 *  P2  A publisher outside of the ranges is never let in; without ranges none is.
 *
 * A request of no open entrance is refused.
 * Not here: when a publisher's connection ends (zmq-transport.ts).
 * Source: https://rfc.zeromq.org/spec/27/ (ZAP 1.0); libzmq asks for NULL connections of sockets that have a domain.
 */

import * as zmq from "zeromq";

import { AddressRanges, inOneSpelling } from "../security/address-ranges.ts";
import type { PublisherRefusal } from "./transport.ts";

/** Where libzmq asks, in each context. */
const ZAP_ENDPOINT = "inproc://zeromq.zap.01";

/** Where one publisher may come in. */
export interface Entrance {
  /** For the socket's `zapDomain`. */
  readonly domain: string;
  /** Whoever was let in is gone: the next one may come. */
  leave(): void;
  close(): void;
}

interface OpenEntrance {
  isTaken: boolean;
  readonly refused: (reason: PublisherRefusal, address: string) => void;
}

/** The gate of one context. */
export class PublisherGate {
  readonly #context: zmq.Context;
  readonly #ranges: AddressRanges;
  readonly #entrances = new Map<string, OpenEntrance>();
  #opened = 0;
  #socket: zmq.Reply | null = null;
  #bound: Promise<void> | null = null;

  /**
   * @param context - whose sockets ask.
   * @param ranges - from where publishers may connect.
   */
  constructor(context: zmq.Context, ranges: readonly string[]) {
    this.#context = context;
    this.#ranges = new AddressRanges(ranges);
  }

  /**
   * Opens an entrance.
   *
   * @param refused - hears of each publisher that is turned away.
   * @returns it, free.
   */
  open(refused: OpenEntrance["refused"]): Entrance {
    this.#opened += 1;
    const domain = `entrance-${this.#opened}`;
    const entrance: OpenEntrance = { isTaken: false, refused };
    this.#entrances.set(domain, entrance);
    return {
      domain,
      leave: () => {
        entrance.isTaken = false;
      },
      close: () => {
        this.#entrances.delete(domain);
      },
    };
  }

  /** Resolves when the gate answers libzmq; before, whoever connects is let in unasked. */
  ready(): Promise<void> {
    if (this.#bound !== null) return this.#bound;
    const socket = new zmq.Reply({ context: this.#context, linger: 0 });
    this.#socket = socket;
    this.#bound = socket.bind(ZAP_ENDPOINT).then(() => {
      void this.#answer(socket);
    });
    return this.#bound;
  }

  /** Answers no more. */
  close(): void {
    this.#socket?.close();
    this.#entrances.clear();
  }

  async #answer(socket: zmq.Reply): Promise<void> {
    try {
      for await (const [version = "", id = "", domain = "", address = ""] of socket) {
        const isIn = this.#letIn(String(domain), String(address));
        await socket.send([version, id, isIn ? "200" : "300", isIn ? "OK" : "refused", "", ""]);
      }
    } catch (error) {
      if (!socket.closed) throw error;
    }
  }

  #letIn(domain: string, peer: string): boolean {
    const entrance = this.#entrances.get(domain);
    if (entrance === undefined) return false;
    const address = inOneSpelling(peer);
    const reason = !this.#ranges.has(address)
      ? "publisher_not_allowed"
      : entrance.isTaken
        ? "second_publisher"
        : null;
    if (reason === null) entrance.isTaken = true;
    else entrance.refused(reason, address);
    return reason === null;
  }
}
