/**
 * Keeps a thread of the picker in touch with the other threads, and the daemon's picker with those of other daemons.
 *
 *     SharedDecisions ◀──▶ ThreadChannel ◀──▶ the other threads
 *            ▲                   ▲  relays: own threads' messages out, other daemons' in
 *            └─────▶ NatsBus ◀───┘  at the first thread alone: one connection for each daemon
 *                       └▶ log: connected, lost
 *     each second: a sign of life
 *
 *  Q1  Each other picker receives a message once, whichever thread it comes from (picker-sharing.test.ts "Q1").
 *  Q2  When the bus is lost, all threads forget the other daemons' requests, and none of its own
 *      (picker-sharing.test.ts "Q2").
 *
 * Not here: the meaning of messages (shared-decisions.ts), the connection (nats-bus.ts).
 */
import type { LineGate } from "../log/line-gate.ts";
import type { PickerSettings } from "../settings/picker-settings.ts";
import type { EngineLoad } from "./endpoint-fleet.ts";
import { NatsBus } from "./nats-bus.ts";
import {
  readMessage,
  type SharedDecisions,
  type ShareDrop,
  type SharedMessage,
  type SharingParts,
  writeMessage,
} from "./shared-decisions.ts";
import type { ThreadChannel, ThreadNews } from "./thread-channel.ts";

/** Time between two signs of life. */
const ALIVE_MS = 1000;

/** Who it shares with. */
export interface SharingWays {
  /** Unlike those of all other daemons, and of this one before a restart. */
  readonly daemon: string;
  /** Number of this thread, from 0. */
  readonly thread: number;
  /** Null when it is the only thread. */
  readonly channel: ThreadChannel | null;
  /** Settings of the bus; null at all threads but the first, and without a bus. */
  readonly bus: { readonly url: string; readonly share: PickerSettings["share"] } | null;
}

/** What it works with. */
interface SharingWatch {
  readonly log: Pick<LineGate, "write">;
  /** A message was not used. */
  readonly dropped: (reason: ShareDrop) => void;
  /** Milliseconds, on the clock of the picker. */
  readonly now: () => number;
}

/** Takes what another thread's scrape has seen. */
interface LoadSink {
  seen(address: string, load: EngineLoad): void;
  unseen(address: string): void;
}

/** See the header. */
export class PickerSharing {
  readonly #channel: ThreadChannel | null;
  readonly #bus: NatsBus | null;
  readonly #watch: SharingWatch;
  #shared: SharedDecisions | null = null;
  #ticking: NodeJS.Timeout | null = null;
  #isConnected = false;
  #isTold = false;
  /** Messages of others that this thread did not take since the start. */
  #dropped = 0;

  /** For the picker's parts. */
  readonly parts: SharingParts;

  constructor({ daemon, thread, channel, bus }: SharingWays, watch: SharingWatch) {
    this.#watch = watch;
    this.#channel = channel;
    this.parts = {
      name: `${daemon}/${thread}`,
      publish: (message) => {
        this.#channel?.send({ kind: "decision", message });
        this.#publish(message);
      },
      dropped: (reason) => {
        this.#drop(reason);
      },
      isOwnDaemon: (name) => name.startsWith(`${daemon}/`),
    };
    this.#bus = bus === null ? null : this.#busOf(bus.url, bus.share);
  }

  /**
   * From now on messages reach the picker.
   *
   * @param shared - the picker's.
   * @param loads - gets what the first thread's scrape sees.
   */
  start(shared: SharedDecisions, loads: LoadSink): void {
    this.#shared = shared;
    this.#channel?.listen((news) => {
      this.#heard(news, shared, loads);
    });
    this.#ticking = setInterval(() => {
      shared.tick(this.#watch.now() / 1000);
    }, ALIVE_MS);
  }

  /** Tells the other threads what this one's scrape has seen; null when it has seen nothing for too long. */
  tellLoad(address: string, load: EngineLoad | null): void {
    this.#channel?.send({ kind: "load", address, load });
  }

  /** Leaves the bus and the other threads. */
  async stop(): Promise<void> {
    if (this.#ticking !== null) clearInterval(this.#ticking);
    this.#channel?.close();
    await this.#bus?.close();
  }

  /** Counts a message of others that was not taken. */
  #drop(reason: ShareDrop): void {
    this.#dropped += 1;
    this.#watch.dropped(reason);
  }

  #busOf(url: string, share: PickerSettings["share"]): NatsBus {
    const { subject, credentials_file: credentialsFile } = share;
    const tls = { caFile: share.ca_file, certFile: share.cert_file, keyFile: share.key_file };
    return new NatsBus(
      { url, subject, credentialsFile, tls },
      {
        heard: (bytes) => {
          this.#heardOnBus(bytes);
        },
        connected: () => {
          this.#isConnected = true;
          this.#watch.log.write("sharing_connected", { subject });
        },
        lost: (error) => {
          this.#lost(error);
        },
        unsent: () => {
          this.#watch.dropped("unsent");
        },
      },
    );
  }

  #publish(message: SharedMessage): void {
    if (this.#bus === null) return;
    const bytes = writeMessage(message);
    if (bytes !== null) this.#bus.publish(bytes);
  }

  #heard(news: ThreadNews, shared: SharedDecisions, loads: LoadSink): void {
    switch (news.kind) {
      case "decision":
        shared.receive(news.message, this.#watch.now() / 1000);
        // At the thread with the bus, what comes from other threads is theirs: it relays the rest itself.
        this.#publish(news.message);
        break;
      case "lost":
        shared.lost();
        break;
      case "load":
        if (news.load === null) loads.unseen(news.address);
        else loads.seen(news.address, news.load);
        break;
    }
  }

  #heardOnBus(bytes: Uint8Array): void {
    const message = readMessage(bytes);
    if (message === null) {
      this.#drop("malformed");
      return;
    }
    // Only its own threads may speak for this daemon.
    if (this.parts.isOwnDaemon?.(message.from) === true) return;
    this.#shared?.receive(message, this.#watch.now() / 1000);
    this.#channel?.send({ kind: "decision", message });
  }

  /** Told once for each connection, and once when the first one fails: it is tried twice a second. */
  #lost(error: Error | null): void {
    this.#shared?.lost();
    this.#channel?.send({ kind: "lost" });
    if (!this.#isConnected && this.#isTold) return;
    this.#isConnected = false;
    this.#isTold = true;
    this.#watch.log.write("sharing_lost", {
      error: error?.message ?? "connection closed",
      unsent: this.#bus?.dropped ?? 0,
      dropped: this.#dropped,
    });
  }
}
