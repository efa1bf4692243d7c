/**
 * Errors in the bytes of a ZeroMQ peer. One closed set of codes serves the log, the metric label `reason` and
 * the table in README.md. Each error names the byte of the connection where it was found, counted from 0.
 * An error ends its connection, because the next frame cannot be found.
 */
import { CodedError } from "../errors.ts";

/** Codes of a connection's errors, in the order of README.md's table. */
export const ZMTP_ERROR_CODES = [
  "not_zmtp",
  "unsupported_version",
  "mechanism_mismatch",
  "socket_type_mismatch",
  "peer_refused",
  "unexpected_frame",
  "malformed_frame",
  "malformed_command",
  "command_too_long",
  "message_too_long",
  "too_many_parts",
  "buffers_full",
  "peer_silent",
] as const;

/** A code of a {@link ZmtpError}. */
export type ZmtpErrorCode = (typeof ZMTP_ERROR_CODES)[number];

/** Code and place of an error. `expected` and `actual` are phrases for people, of bounded length. */
export interface ZmtpErrorFacts {
  readonly code: ZmtpErrorCode;
  /** Byte of the connection, from 0. */
  readonly offset: number;
  readonly expected: string;
  readonly actual: string;
}

/** Bytes of a peer that do not keep ZMTP, or keep it and cannot be served. */
export class ZmtpError extends CodedError<ZmtpErrorFacts> {
  override readonly name = "ZmtpError";

  /** @param facts - code, place, and what stood there against what should have. */
  constructor(facts: ZmtpErrorFacts) {
    const { code, offset, expected, actual } = facts;
    super(facts, `${code} at byte ${offset} of the connection: expected ${expected}, got ${actual}`);
  }
}
