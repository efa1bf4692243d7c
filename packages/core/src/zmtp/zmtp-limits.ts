/** The limits on one connection while it is read. */

/** Limits of one connection; see {@link DEFAULT_ZMTP_LIMITS} for each one's reason. */
export interface ZmtpLimits {
  /** Bytes of one message, all its parts together, without their headers. */
  readonly messageBytes: number;
  /** Parts of one message. */
  readonly messageParts: number;
}

/** The limits in force when none are given. */
export const DEFAULT_ZMTP_LIMITS: ZmtpLimits = {
  // Twice the longest payload that is decoded (wire-limits.ts), so that one that is only too long is dropped by that name.
  messageBytes: 128 * 1024 * 1024,
  // Engines send three or four; 64 leaves room for a topic or an envelope of another kind.
  messageParts: 64,
};

/**
 * Longest command: READY with its metadata. libzmq sends two properties of at most 300 bytes together; peers with metadata of their own
 * send a few hundred more.
 */
export const COMMAND_BYTES_MAX = 4096;

/** Bytes before a frame's body, at most. */
const HEADER_BYTES_MAX = 9;

/**
 * Most memory that the incomplete message of one connection has, with a command between its parts.
 *
 * @param limits - of the connection.
 * @returns bytes of the buffer, without the smaller one before it.
 */
export function messageMemoryBytesMax(limits: ZmtpLimits): number {
  return limits.messageBytes + COMMAND_BYTES_MAX + HEADER_BYTES_MAX * (limits.messageParts + 1);
}

/** Longest context of a PING, which is sent back (RFC 37). */
export const PING_CONTEXT_BYTES_MAX = 16;

/** Quiet ticks of a peer after which it is asked for a sign of life. */
export const PING_AFTER_TICKS = 15;

/** Quiet ticks of a peer that was asked after which its connection is dead. */
export const SILENT_AFTER_TICKS = 30;
