/**
 * The errors of bytes from an engine. One closed set of codes serves the log, the metric label
 * `reason` and the reference table in README.md. Two families:
 *  - payload codes carry `offset`, the byte in the payload (third frame) where reading stopped making sense;
 *  - frame codes carry `frameIndex`, the frame of the ZeroMQ message as it was handed in.
 * Foreign bytes never end the process: the decoder turns a bad event into a fault and a broken message into a throw.
 */
import { CodedError } from "../errors.ts";

/** Codes of errors inside a payload, in the order of README.md's table. */
export const PAYLOAD_ERROR_CODES = [
  "truncated",
  "reserved_byte",
  "trailing_bytes",
  "payload_too_large",
  "too_many_faults",
  "wrong_type",
  "wrong_length",
  "out_of_range",
  "limit_exceeded",
  "too_deep",
  "invalid_utf8",
  "missing_field",
  "duplicate_key",
  "unknown_event_type",
  "bigram_gap",
  "extra_keys_misaligned",
  "lookahead_misaligned",
] as const;

/** Codes of errors in a message's frames, in the order of README.md's table. */
export const FRAME_ERROR_CODES = [
  "wrong_frame_count",
  "missing_delimiter",
  "wrong_sequence_length",
  "sequence_number_out_of_range",
  "empty_payload",
] as const;

/** A code of an error inside a payload. */
export type PayloadErrorCode = (typeof PAYLOAD_ERROR_CODES)[number];

/** A code of an error in a message's frames. */
export type FrameErrorCode = (typeof FRAME_ERROR_CODES)[number];

/** Any code of a {@link WireError}. */
export type WireErrorCode = PayloadErrorCode | FrameErrorCode;

/** Code and place of a wire error. `expected` and `actual` are phrases for people, of bounded length. */
export type WireErrorFacts =
  | {
      readonly code: PayloadErrorCode;
      readonly offset: number;
      readonly expected: string;
      readonly actual: string;
    }
  | {
      readonly code: FrameErrorCode;
      readonly frameIndex: number;
      readonly expected: string;
      readonly actual: string;
    };

/** Bytes of an engine that do not keep the protocol. */
export class WireError extends CodedError<WireErrorFacts> {
  override readonly name = "WireError";

  /**
   * @param facts - code, place, and what stood there against what should have.
   * @param options - `cause`, when another error led here.
   */
  constructor(facts: WireErrorFacts, options?: ErrorOptions) {
    const place =
      "offset" in facts ? `at byte ${facts.offset} of the payload` : `in frame ${facts.frameIndex}`;
    super(facts, `${facts.code} ${place}: expected ${facts.expected}, got ${facts.actual}`, options);
  }
}
