/**
 * Keeps one DP rank's event socket connected.
 *
 *            due and allowed              handshake
 *   waiting ────────────────▶ dialing ─────────────▶ connected
 *      ▲                         │                       │
 *      └──────── ended: wait ×2 ─┴───────────────────────┘
 *
 * Waits grow twofold with jitter between two settings. So an engine that is down costs little, and
 * a fleet that comes back does not reconnect at one moment. A connection that lasted longer than
 * the longest wait resets them. A connection that ends sooner, or by a violation after any time,
 * counts as a failed attempt. So a peer whose bytes end its connection costs little. *When* a due
 * connection may dial is decided by the caller's rate limit (dial()).
 *
 * Where the daemon listens (`bind`), dialing waits for the engine to connect, without an end.
 *
 * Not here: the meaning of messages (core's WorkerSync), replay requests.
 */

import {
  type Closeable,
  type ConnectionEnd,
  type Frames,
  isViolation,
  type ListenEvents,
  type PublisherRefusal,
  type Transport,
  type Violation,
} from "./transport.ts";

/** What a connection reports. */
export interface ConnectionEvents {
  connected(): void;
  /** A connection that stood is over. */
  disconnected(reason: ConnectionEnd, detail?: string): void;
  /** The frames are the receiver's, or valid during the call when they are lent. */
  message(frames: Frames, areLent: boolean): void;
  /** An attempt came to nothing. */
  failed(reason: ConnectionEnd, detail?: string): void;
  /** Where the daemon listens: a publisher was turned away. */
  refused(reason: PublisherRefusal | Violation, address: string, detail?: string): void;
}

/** What a connection needs to know. */
export interface ConnectionSettings {
  readonly endpoint: string;
  readonly topic: string;
  /** Whether the engine connects and this side listens. */
  readonly bind: boolean;
  readonly waitMsMin: number;
  readonly waitMsMax: number;
}

/** One rank's event connection, dialled again and again until it is closed. */
export class EngineConnection {
  readonly #settings: ConnectionSettings;
  readonly #transport: Transport;
  readonly #events: ConnectionEvents;
  readonly #random: () => number;
  readonly #now: () => number;
  #subscription: Closeable | null = null;
  #connected = false;
  #closed = false;
  #waitMs: number;
  #dueMs = 0;
  #connectedMs = 0;

  /**
   * @param settings - where to and how patiently.
   * @param dependencies - the network, a clock in milliseconds, a source of jitter in 0 … 1.
   * @param events - hears of it.
   */
  constructor(
    settings: ConnectionSettings,
    dependencies: {
      readonly transport: Transport;
      readonly now: () => number;
      readonly random: () => number;
    },
    events: ConnectionEvents,
  ) {
    this.#settings = settings;
    this.#transport = dependencies.transport;
    this.#now = dependencies.now;
    this.#random = dependencies.random;
    this.#events = events;
    this.#waitMs = settings.waitMsMin;
  }

  /** Whether the connection stands. */
  get connected(): boolean {
    return this.#connected;
  }

  /**
   * Whether it is time to dial.
   *
   * @param nowMs - the clock.
   * @returns true when waiting is over and nothing is under way.
   */
  isDue(nowMs: number): boolean {
    return !this.#closed && this.#subscription === null && nowMs >= this.#dueMs;
  }

  /** Whoever publishes there is new: the pause that its predecessor earned is over. A connection that stands is left alone. */
  redial(): void {
    if (this.#connected) return;
    this.#waitMs = this.#settings.waitMsMin;
    this.#dueMs = 0;
  }

  /** Dials once. Only when due. */
  dial(): void {
    const { endpoint, topic, bind } = this.#settings;
    const events: ListenEvents = {
      connected: () => {
        this.#connected = true;
        this.#connectedMs = this.#now();
        this.#events.connected();
      },
      message: (frames, areLent = false) => {
        this.#events.message(frames, areLent);
      },
      ended: (reason, detail) => {
        this.#subscription = null;
        const wasConnected = this.#connected;
        this.#connected = false;
        const stoodMs = wasConnected ? this.#now() - this.#connectedMs : 0;
        if (stoodMs > this.#settings.waitMsMax && !isViolation(reason))
          this.#waitMs = this.#settings.waitMsMin;
        this.#dueMs = this.#now() + this.#waitMs * (0.5 + this.#random() / 2);
        this.#waitMs = Math.min(this.#waitMs * 2, this.#settings.waitMsMax);
        if (wasConnected) this.#events.disconnected(reason, detail);
        else this.#events.failed(reason, detail);
      },
      refused: (reason, address, detail) => {
        this.#events.refused(reason, address, detail);
      },
    };
    this.#subscription = bind
      ? this.#transport.listen(endpoint, topic, events)
      : this.#transport.subscribe(endpoint, topic, events);
  }

  /** Ends it for good; reports nothing. */
  close(): void {
    this.#closed = true;
    this.#subscription?.close();
    this.#subscription = null;
    this.#connected = false;
  }
}
