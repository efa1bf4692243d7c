/**
 * Limits on the cost of one message. The port is unauthenticated. So each number that a message can
 * announce has a limit here, or is bounded by the caller's memory. (`DecodeScratch` bounds tokens
 * and blocks of an event.) A number without a limit is bounded by the payload's length, since every
 * element takes a byte.
 */

/** Limits of decoding; see {@link DEFAULT_WIRE_LIMITS} for each one's reason. */
export interface WireLimits {
  /** Longest payload in bytes; a longer one is refused whole (`payload_too_large`). */
  readonly payloadBytesMax: number;
  /** Most events in a batch; a larger batch is refused whole (`limit_exceeded`). */
  readonly eventsMax: number;
  /** Most bad events in a batch; with one more the rest of the batch is refused (`too_many_faults`). */
  readonly faultsMax: number;
  /** Longest raw digest in bytes. */
  readonly digestBytesMax: number;
  /** Longest string in bytes: adapter, salt, session, tier, multimodal identifier. */
  readonly textBytesMax: number;
  /** Most extra keys in an event, each entry of each block's list counted. */
  readonly extraKeysMax: number;
  /** Deepest list inside a block's extra keys; the block's list itself is depth 1. */
  readonly extraKeyDepthMax: number;
  /** Most tokens of lookahead of one block. */
  readonly lookaheadMax: number;
}

/** The limits in force when none are given. */
export const DEFAULT_WIRE_LIMITS: WireLimits = {
  // A 131,072-token prefill with page_size 1 gives one 230-byte event per token, 30 MB; twice that.
  payloadBytesMax: 64 * 1024 * 1024,
  // The same prefill evicting as much as it stores is 2 × 131,072 events; four times that.
  eventsMax: 1_048_576,
  // A fault costs about 5 µs, an error with its text and stack, so that these take 80 ms from the other streams of the
  // thread. Events of a type that this version does not know count too, and a future engine may send one per block: a
  // batch of 16,384 of them is still read.
  faultsMax: 16_384,
  // SHA-512; engines send 16 bytes (XXH3-128) or 32 (SHA-256).
  digestBytesMax: 64,
  // Adapter names are paths at worst, salts and session ids are tokens of a gateway.
  textBytesMax: 1024,
  // 8,192 blocks (a 128k-token prompt at 16) with adapter, one multimodal item, its two parts and a salt each.
  extraKeysMax: 65_536,
  // Engines nest [identifier, offset] in the block's list, depth 2.
  extraKeyDepthMax: 4,
  // vLLM's is 1, or the number of speculative tokens; what the index takes at most.
  lookaheadMax: 32,
};
