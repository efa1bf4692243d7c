/**
 * The network by libzmq, for engines that speak CURVE and for comparison: SUB sockets for events, a fresh DEALER per replay request.
 *
 *     SUB ──connect──▶ PUB        reconnecting is off (ZMQ_RECONNECT_IVL −1): one socket is one connection
 *      └─ monitor: handshake → connected;  close | disconnect → ended
 *     SUB ◀──connect── PUB        where the daemon listens: publisher-gate.ts lets one in at a time
 *      └─ monitor: handshake → connected;  no connection left → ended
 *     DEALER ["", start] ──▶ ROUTER ──▶ ["", …, seq, payload]* , end marker
 *
 * Choices that are not defaults, and why
 *  - linger 0 everywhere: a daemon that stops does not wait for an engine that is stuck.
 *  - SUB receive high-water mark 100,000, vLLM's own for sending. Beyond it libzmq leaves bytes in
 *    TCP, and the publisher drops for us alone. The default of 1,000 would lose a burst that we
 *    could take.
 *  - DEALER receive high-water mark 0 and a tight read loop: ROUTER drops at 1,000 messages if we are slow.
 *  - TCP keepalive on: a vanished host ends the connection in half a minute. ZMTP heartbeats would
 *    also end connections to engines that are only busy.
 *  - maxMessageSize: libzmq stores a frame while it arrives, before this process can see it. It
 *    counts single frames. A message of endlessly many frames is stored whole, and nothing here can
 *    see or end it, as zmtp-transport.ts can: docs/operations/security.md describes the
 *    consequences.
 *  - maxSockets raised: libzmq stops at 1,023 per context, and a stream takes a socket and its monitor.
 *
 * Frames are not copied: the buffers are the messages' own memory, released when they are collected.
 */

import { encodeReplayRequest, type ReplayFailure } from "@kvsync/core";
import * as zmq from "zeromq";

import type { CurveKeys, KeyPair } from "../security/curve-keys.ts";
import { PublisherGate } from "./publisher-gate.ts";
import { isReplayEnd } from "./replay-end.ts";
import type {
  Closeable,
  ConnectionEnd,
  ListenEvents,
  ReplayEvents,
  ReplayPatience,
  SubscriptionEvents,
  Transport,
} from "./transport.ts";

/** 4,096 streams with socket and monitor pair, and replays on top. */
const SOCKETS_MAX = 16_384;
const RECEIVE_MESSAGES_MAX = 100_000;
/** Longest frame where no limit is given: a tool that looks at one engine. */
const FRAME_BYTES_MAX = 1_073_741_824;
/** How long a peer that connected here may take to say what it is, and until one that was refused may try again. */
const HANDSHAKE_MS_MAX = 2000;
/** A refusal is noted late when the thread is busy. */
const REFUSAL_NOTED_MS_MAX = 500;
/** How long dialling and the handshake may take together. */
const DIAL_TIMEOUT_MS = 5000;
const KEEPALIVE_IDLE_SECONDS = 15;
const KEEPALIVE_INTERVAL_SECONDS = 5;
const KEEPALIVE_COUNT = 3;
/** Messages read of one socket in a row before other sockets and timers get their turn. */
const READ_BURST = 256;

/**
 * libzmq must not reconnect by itself: who answers then may be another publisher (transport.ts). Not by -1, its way to say so: with that it takes the pipe of a
 * lost connection away between two frames of a message, and aborts the process over it (fq.cpp, `!_more`). Twice this still fits an int, which is what libzmq adds a jitter of
 * up to as much in. 11 days, and the socket is closed as soon as its connection is.
 */
const NEVER_MS = 1_000_000_000;

const SOCKET_OPTIONS = {
  linger: 0,
  reconnectInterval: NEVER_MS,
  tcpKeepalive: 1,
  tcpKeepaliveIdle: KEEPALIVE_IDLE_SECONDS,
  tcpKeepaliveInterval: KEEPALIVE_INTERVAL_SECONDS,
  tcpKeepaliveCount: KEEPALIVE_COUNT,
} as const;

type BoundedOptions = typeof SOCKET_OPTIONS & { readonly maxMessageSize: number };

/** What makes a socket speak CURVE, as the side that dials. */
interface CurveOptions {
  readonly curveServerKey?: string;
  readonly curvePublicKey?: string;
  readonly curveSecretKey?: string;
}

function curveOptions(keys: CurveKeys | null): CurveOptions {
  if (keys === null) return {};
  const { serverKey, publicKey, secretKey } = keys;
  return { curveServerKey: serverKey, curvePublicKey: publicKey, curveSecretKey: secretKey };
}

/** A context with room for the sockets of a thread. */
function newContext(): zmq.Context {
  return new zmq.Context({ maxSockets: SOCKETS_MAX, blocky: false });
}

/**
 * Networks of one thread to engines with keys of their own. They share a context.
 *
 * @param pair - the daemon's own keys.
 * @param frameBytesMax - a connection that announces a longer frame ends before any of it is stored.
 * @returns makes a network by the engine's public key.
 */
export function curveNetworks(pair: KeyPair, frameBytesMax: number): (serverKey: string) => ZmqTransport {
  const context = newContext();
  return (serverKey) => new ZmqTransport({ ...pair, serverKey }, frameBytesMax, [], context);
}

/** ZeroMQ sockets of one thread. */
export class ZmqTransport implements Transport {
  readonly #context: zmq.Context;
  readonly #open = new Set<Closeable>();
  readonly #options: BoundedOptions & CurveOptions;
  readonly #gate: PublisherGate;

  /**
   * @param curve - keys to speak to engines with; null for none.
   * @param frameBytesMax - a connection that announces a longer frame ends before any of it is stored.
   * @param publisherRanges - from where engines may connect to addresses that this transport listens at.
   * @param context - of libzmq, with threads of its own; networks with different keys may share one.
   */
  constructor(
    curve: CurveKeys | null = null,
    frameBytesMax: number = FRAME_BYTES_MAX,
    publisherRanges: readonly string[] = [],
    context: zmq.Context = newContext(),
  ) {
    this.#context = context;
    this.#gate = new PublisherGate(this.#context, publisherRanges);
    this.#options = { ...SOCKET_OPTIONS, maxMessageSize: frameBytesMax, ...curveOptions(curve) };
  }

  /** {@inheritDoc Transport.subscribe} */
  subscribe(endpoint: string, topic: string, events: SubscriptionEvents): Closeable {
    let over = false;
    const subscription: Closeable = {
      close: () => {
        if (over) return;
        over = true;
        clearTimeout(dialTimer);
        this.#open.delete(subscription);
        socket?.close();
      },
    };
    const end = (reason: ConnectionEnd): void => {
      if (over) return;
      subscription.close();
      events.ended(reason);
    };
    const dialTimer = setTimeout(() => {
      end("dial_timeout");
    }, DIAL_TIMEOUT_MS);
    this.#open.add(subscription);
    const up = (): void => {
      clearTimeout(dialTimer);
      if (!over) events.connected();
    };
    const socket = connect(endpoint, () => {
      const options = {
        context: this.#context,
        ...this.#optionsFor(endpoint),
        receiveHighWaterMark: RECEIVE_MESSAGES_MAX,
      };
      const made = new zmq.Subscriber(options);
      made.subscribe(topic);
      // The monitor exists from its first reading on, and must not miss what connecting brings.
      void monitor(made, { up, down: end });
      return made;
    });
    if (socket === null) {
      setImmediate(end, "no_socket");
      return subscription;
    }
    const read = readAll(socket, (frames) => {
      if (!over) events.message(frames);
    });
    read.catch(() => {
      end("disconnected");
    });
    return subscription;
  }

  /** {@inheritDoc Transport.listen} */
  listen(endpoint: string, topic: string, events: ListenEvents): Closeable {
    let state: "waiting" | "up" | "over" = "waiting";
    /** When publishers were refused whose connections libzmq has not ended yet. */
    const refusedMs: number[] = [];
    const entrance = this.#gate.open((reason, address) => {
      refusedMs.push(performance.now());
      events.refused(reason, address);
    });
    const socket = new zmq.Subscriber({
      context: this.#context,
      ...this.#optionsFor(endpoint),
      receiveHighWaterMark: RECEIVE_MESSAGES_MAX,
      handshakeInterval: HANDSHAKE_MS_MAX,
      zapDomain: entrance.domain,
    });
    const subscription: Closeable = {
      close: () => {
        if (state === "over") return;
        state = "over";
        this.#open.delete(subscription);
        entrance.close();
        socket.close();
      },
    };
    this.#open.add(subscription);
    const end = (reason: ConnectionEnd): void => {
      if (state === "over") return;
      subscription.close();
      events.ended(reason);
    };
    const up = (): void => {
      if (state !== "waiting") return;
      state = "up";
      events.connected();
    };
    socket.subscribe(topic);
    void monitorListener(socket, refusedMs, {
      up,
      down: (isLast) => {
        if (state === "up") end("disconnected");
        // Whoever was let in and left before its handshake leaves its place to the next.
        else if (isLast) entrance.leave();
        else end("handshake_failed");
      },
    });
    const run = async (): Promise<void> => {
      // Both must be there before a publisher can be.
      await this.#gate.ready();
      await socket.bind(endpoint);
      await readAll(socket, (frames) => {
        // A message can be read before the monitor's news of its connection.
        up();
        if (state === "up") events.message(frames);
      });
    };
    run().catch((error: unknown) => {
      end(hasCode(error, "EADDRINUSE") ? "address_in_use" : state === "up" ? "disconnected" : "no_socket");
    });
    return subscription;
  }

  /** {@inheritDoc Transport.requestReplay} */
  requestReplay(endpoint: string, from: number, patience: ReplayPatience, events: ReplayEvents): Closeable {
    const socket = connect(endpoint, () => {
      const limits = { receiveHighWaterMark: 0, sendTimeout: 0 };
      return new zmq.Dealer({ context: this.#context, ...this.#optionsFor(endpoint), ...limits });
    });
    let over = false;
    const request: Closeable = {
      close: () => {
        if (over) return;
        over = true;
        clearTimeout(timer);
        this.#open.delete(request);
        socket?.close();
      },
    };
    this.#open.add(request);
    const end = (failure: ReplayFailure | null): void => {
      if (over) return;
      request.close();
      events.ended(failure);
    };
    const fallSilent = (): void => {
      end("idle");
    };
    // Not zeromq.js's own timeout: that counts from when the event loop's turn began, and after a long turn is over at once.
    let timer = setTimeout(fallSilent, patience.firstMs);
    if (socket === null) {
      setImmediate(end, "unreachable");
      return request;
    }
    const run = async (): Promise<void> => {
      await socket.send(encodeReplayRequest(from));
      await readAll(socket, (frames) => {
        if (over) return;
        clearTimeout(timer);
        timer = setTimeout(fallSilent, patience.nextMs);
        events.message(frames);
        if (isReplayEnd(frames)) end(null);
      });
    };
    run().catch(() => {
      end("unreachable");
    });
    return request;
  }

  /** IPv6 for addresses of it alone: with it libzmq would look for a name's IPv6 address first, and stay with that one. */
  #optionsFor(endpoint: string): BoundedOptions & CurveOptions & { readonly ipv6: boolean } {
    return { ...this.#options, ipv6: endpoint.startsWith("tcp://[") };
  }

  /** {@inheritDoc Transport.close} */
  close(): void {
    for (const open of [...this.#open]) open.close();
    this.#gate.close();
  }
}

/** A socket on its way to `endpoint`, or null when the system has none left or the address is no address. */
function connect<S extends zmq.Subscriber | zmq.Dealer>(endpoint: string, make: () => S): S | null {
  let socket: S | null = null;
  try {
    socket = make();
    socket.connect(endpoint);
    return socket;
  } catch {
    socket?.close();
    return null;
  }
}

/** Reads until the socket is closed (then it returns) or fails (then it throws). */
async function readAll(
  socket: zmq.Subscriber | zmq.Dealer,
  onMessage: (frames: Uint8Array[]) => void,
): Promise<void> {
  for (let read = 1; ; read++) {
    let frames: Buffer[];
    try {
      frames = await socket.receive();
    } catch (error) {
      if (socket.closed) return;
      throw error;
    }
    onMessage(frames);
    // Messages that are there already resolve at once, in microtasks; only a macrotask lets others run.
    if (read % READ_BURST === 0) await new Promise(setImmediate);
    if (socket.closed) return;
  }
}

/**
 * Turns a socket's monitor events into up and down. Reads on to the end that libzmq announces, which comes after the socket was closed: the reading end of
 * a monitor is a socket too, with two descriptors, and closes at that announcement or else when it is collected as garbage, which can be never.
 * Closing it before would block libzmq, which still has that announcement to make.
 */
async function monitor(
  socket: zmq.Subscriber,
  report: { up: () => void; down: (reason: ConnectionEnd) => void },
): Promise<void> {
  const { events } = socket;
  let state: "dialling" | "up" | "down" = "dialling";
  while (!events.closed) {
    let event: zmq.Event;
    try {
      event = await events.receive();
    } catch {
      return;
    }
    // Closed by whoever made it: what happened before that is of no interest any more, and the socket tells nothing.
    if (socket.closed) state = "down";
    if (state === "down") continue;
    const outcome = outcomeOf(event, socket, state === "up");
    if (outcome === null) continue;
    state = outcome === "up" ? "up" : "down";
    if (outcome === "up") report.up();
    else report.down(outcome);
  }
}

/** Reads one monitor event: the connection is up, or why it ended; `null` when it changes neither. */
function outcomeOf(event: zmq.Event, socket: zmq.Subscriber, isUp: boolean): "up" | ConnectionEnd | null {
  if (event.type === "handshake") return "up";
  if (event.type === "disconnect") return isUp ? "disconnected" : handshakeFailure(socket);
  if (event.type === "close") return "refused";
  if (
    event.type === "handshake:error:protocol" ||
    event.type === "handshake:error:auth" ||
    event.type === "handshake:error:other"
  )
    return handshakeFailure(socket, event.error);
  return null;
}

/**
 * Follows a socket that listens. Its events do not say which connection they are about, so that the end of one is taken for the end of
 * the publisher's unless it must be another's:
 *  - libzmq ends a connection right after the event that says why its handshake failed;
 *  - it ends one that was refused when the handshake interval is over.
 * A refused publisher that leaves earlier costs the other a reconnection; the end of a publisher is never missed: without any
 * connection it is over for sure. Read to the end for the reason that `monitor` gives.
 */
async function monitorListener(
  socket: zmq.Subscriber,
  refusedMs: number[],
  report: { up: () => void; down: (isLast: boolean) => void },
): Promise<void> {
  const { events } = socket;
  let connections = 0;
  let previous: zmq.Event["type"] = "unknown";
  while (!events.closed) {
    let event: zmq.Event;
    try {
      event = await events.receive();
    } catch {
      return;
    }
    if (socket.closed) continue;
    if (event.type === "accept") connections += 1;
    else if (event.type === "handshake") report.up();
    else if (event.type === "disconnect") {
      connections -= 1;
      const isAnothers = isHandshakeFailure(previous) || isRefusalOver(refusedMs);
      if (connections === 0) refusedMs.length = 0;
      if (connections === 0 || !isAnothers) report.down(connections === 0);
    }
    previous = event.type;
  }
}

function isHandshakeFailure(type: zmq.Event["type"]): boolean {
  return type === "handshake:error:protocol" || type === "handshake:error:other";
}

/** Whether the oldest refused connection is due to end; it then has. */
function isRefusalOver(refusedMs: number[]): boolean {
  const [oldest] = refusedMs;
  if (oldest === undefined) return false;
  if (performance.now() - oldest < HANDSHAKE_MS_MAX - REFUSAL_NOTED_MS_MAX) return false;
  refusedMs.shift();
  return true;
}

function handshakeFailure(socket: zmq.Subscriber, error?: unknown): ConnectionEnd {
  if (socket.securityMechanism === "curve") return "curve_failed";
  return hasCode(error, "ERR_ZMTP_MECHANISM_MISMATCH") ? "mechanism_mismatch" : "handshake_failed";
}

function hasCode(error: unknown, code: string): boolean {
  return error instanceof Error && "code" in error && error.code === code;
}
