/**
 * The ingest thread's interface to a network: one-connection subscriptions and one-shot replay
 * requests. zmtp-transport.ts reads ZeroMQ's protocol itself; zmq-transport.ts has libzmq do it.
 * Tests put a fake here and nowhere else.
 *
 * A subscription is *one connection of its lifetime*: it connects at most once and ends with that
 * connection. So all messages of a subscription came from one publisher process, and a reconnect
 * (which may meet another process) is always a new subscription. When to dial again is the caller's
 * business (engine-connection.ts).
 */

import { type ReplayFailure, ZMTP_ERROR_CODES, type ZmtpErrorCode } from "@kvsync/core";

import type { CurveKeys } from "../security/curve-keys.ts";

/** Frames of one message, as received. */
export type Frames = readonly Uint8Array[];

/** What a subscription reports. After `ended` nothing more comes. */
export interface SubscriptionEvents {
  /** The connection stands and the publisher speaks the protocol. */
  connected(): void;
  /** A message, in the publisher's order. Its frames are the receiver's, or valid during the call when they are lent. */
  message(frames: Frames, areLent?: boolean): void;
  /** The connection is over or never came to be; `detail` is for people. */
  ended(reason: ConnectionEnd, detail?: string): void;
}

/** Why a publisher that connected is not let in: another one is connected, its address may not, or too many wait already. */
export type PublisherRefusal = "second_publisher" | "publisher_not_allowed" | "too_many_pending";

/**
 * What a peer did that ended its connection: it speaks what is not read here, or sent what no engine sends. The codes of core's
 * reader (packages/core/src/zmtp/README.md).
 */
export type Violation = ZmtpErrorCode;

/** What a subscription reports that waits for its publisher. */
export interface ListenEvents extends SubscriptionEvents {
  /** A publisher is turned away, or broke the protocol before it was let in; the one that is connected, if any, stays. */
  refused(reason: PublisherRefusal | Violation, address: string, detail?: string): void;
}

/**
 * Why a connection ended. `curve_failed`: we speak CURVE, and the handshake came to nothing: the engine has another key, does not want us, or does not speak
 * CURVE; libzmq cannot tell which, since the engine hangs up without a word. `mechanism_mismatch`: the engine speaks CURVE and we do not; when it hangs
 * up before it has said so, that is a `handshake_failed`. `unresolvable`: the host's name has neither an IPv4 nor an IPv6
 * address at the moment, or its DNS server does not answer. `address_in_use`: another socket listens at the address to listen at.
 * A violation names what the peer sent.
 */
export type ConnectionEnd =
  | Violation
  | "refused"
  | "disconnected"
  | "handshake_failed"
  | "curve_failed"
  | "dial_timeout"
  | "unresolvable"
  | "address_in_use"
  | "no_socket";

const VIOLATIONS: ReadonlySet<string> = new Set(ZMTP_ERROR_CODES);

/**
 * Whether a connection ended for what its peer sent.
 *
 * @param reason - of its end.
 * @returns true for a violation.
 */
export function isViolation(reason: ConnectionEnd | PublisherRefusal): reason is Violation {
  return VIOLATIONS.has(reason);
}

/** What a replay request reports. After `ended` nothing more comes. */
export interface ReplayEvents {
  /** One frame list as it came, the end marker included. */
  message(frames: Frames): void;
  /** Null after the end marker, otherwise why there was none; a violation says what the peer sent, `detail` says it to people. */
  ended(failure: ReplayFailure | null, violation?: Violation, detail?: string): void;
}

/** How long a replay may be silent. */
export interface ReplayPatience {
  /** Until its first reply. */
  readonly firstMs: number;
  /** Between replies: an engine that has begun to answer sends as fast as it can, so that silence means that the rest was lost. */
  readonly nextMs: number;
}

/** Something open that can be given up; nothing is reported afterwards. */
export interface Closeable {
  close(): void;
}

/** A network. It reports nothing before the call that made a thing has returned. */
export interface Transport {
  /**
   * Dials a publisher's event socket once.
   *
   * @param endpoint - tcp or ipc address.
   * @param topic - prefix of the topics wanted; empty for all.
   * @param events - hears of it.
   * @returns the subscription; `close` it when no longer wanted and not ended.
   */
  subscribe(endpoint: string, topic: string, events: SubscriptionEvents): Closeable;

  /**
   * Listens for a publisher that connects, once: the subscription ends with that publisher's connection. Others are refused
   * meanwhile.
   *
   * @param endpoint - tcp address of this machine.
   * @param topic - prefix of the topics wanted; empty for all.
   * @param events - hears of it.
   * @returns the subscription; `close` it when no longer wanted and not ended.
   */
  listen(endpoint: string, topic: string, events: ListenEvents): Closeable;

  /**
   * Asks a publisher for its history.
   *
   * @param endpoint - its replay socket.
   * @param from - first sequence number wanted.
   * @param patience - silence after which the request has failed.
   * @param events - hears of it.
   * @returns the request; `close` it to give up.
   */
  requestReplay(endpoint: string, from: number, patience: ReplayPatience, events: ReplayEvents): Closeable;

  /** Gives up everything at once. */
  close(): void;
}

/** Makes a network that speaks CURVE with these keys, or none without, and asks these DNS servers, or the system's resolver. */
export type MakeTransport = (curve: CurveKeys | null, dnsServers?: readonly string[]) => Transport;
