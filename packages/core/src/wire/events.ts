/**
 * The events of the protocol, in every dialect's common terms (docs: packages/core/src/wire/README.md).
 *
 * There are two shapes of each event, because there are two users:
 *  - decoding hands out *reused* objects over flat memory (`DecodedBlockStored`…): no allocation per block or event. They
 *    are valid only inside the sink's call.
 *  - encoding (simulated engines, tests) takes plain objects (`BlockStored`…).
 *
 * Names are the field's own, verbatim from vLLM's kv_events.py in camelCase.
 */

import type { ExtraKey, ExtraKeys } from "../block-hash/extra-keys.ts";

export type { ExtraKey, ExtraKeys };

/** Memory that a decoder writes a message's hashes and tokens to. Owned by whoever made it, e.g. the index's kernel. */
export interface DecodeScratch {
  /** Token ids of the event at hand, one u32 each. Its length bounds an event's tokens. */
  readonly tokens: Uint32Array;
  /** Block hashes of the event at hand, shape [2 × blocks], low then high. Its length bounds an event's blocks. */
  readonly hashes: Uint32Array;
}

/** A `BlockStored` as the decoder sees it. Reused: valid only inside the sink's call. */
export interface DecodedBlockStored {
  readonly type: "BlockStored";
  /** Number of hashes in `scratch.hashes`. May be 0 (windowed groups announce spans without blocks). */
  blockCount: number;
  /** False at the root of a chain (wire nil), and in placeholder stores. */
  hasParent: boolean;
  parentLow: number;
  parentHigh: number;
  /** Number of token ids in `scratch.tokens`; 0 in placeholder stores. Need not equal blockCount × blockSize. */
  tokenCount: number;
  /**
   * Tokens after each block that its identity covers: 1 for SGLang's EAGLE pairs [t₀,t₁],[t₁,t₂],…, of
   * which `tokenCount` counts the pairs; the length of vLLM's `lookahead_token_ids` lists; else 0.
   * When the tokens divide into the blocks, `scratch.tokens` holds `tokenCount + lookahead` values.
   */
  lookahead: number;
  /** Whether the tokens came as SGLang's pairs. */
  isPaired: boolean;
  blockSize: number;
  loraId: number | null;
  medium: string | null;
  loraName: string | null;
  /** Null when absent or nil for every block. */
  extraKeys: ExtraKeys | null;
  groupIdx: number | null;
  kvCacheSpecKind: string | null;
  kvCacheSpecSlidingWindow: number | null;
  locality: string | null;
  ownership: string | null;
  sessionId: string | null;
  cacheSalt: string | null;
}

/** A `BlockRemoved` as the decoder sees it. Reused: valid only inside the sink's call. */
export interface DecodedBlockRemoved {
  readonly type: "BlockRemoved";
  /** Number of hashes in `scratch.hashes`. */
  blockCount: number;
  medium: string | null;
  groupIdx: number | null;
  locality: string | null;
  ownership: string | null;
}

/** A store to encode. Optional fields that are absent are encoded as the dialect demands (nil, or left out). */
export interface BlockStored {
  readonly type: "BlockStored";
  /** u64 values (any integer, taken as given: negative ones encode signed) or raw digests. */
  readonly blockHashes: readonly (bigint | Uint8Array)[];
  readonly parentBlockHash: bigint | Uint8Array | null;
  /** Plain ids, or SGLang's [t, t+1] pairs. */
  readonly tokenIds: readonly number[] | Uint32Array | readonly (readonly [number, number])[];
  readonly blockSize: number;
  readonly loraId?: number | null;
  readonly medium?: string | null;
  readonly loraName?: string | null;
  readonly extraKeys?: ExtraKeys | null;
  readonly groupIdx?: number | null;
  readonly kvCacheSpecKind?: string | null;
  readonly kvCacheSpecSlidingWindow?: number | null;
  readonly locality?: string | null;
  readonly ownership?: string | null;
  readonly sessionId?: string | null;
  readonly cacheSalt?: string | null;
  /** The tokens after each block that its hash covers, one list a block (vLLM ≥ 0.33). */
  readonly lookaheadTokenIds?: readonly (readonly number[])[] | null;
}

/** A removal to encode. */
export interface BlockRemoved {
  readonly type: "BlockRemoved";
  readonly blockHashes: readonly (bigint | Uint8Array)[];
  readonly medium?: string | null;
  readonly groupIdx?: number | null;
  readonly locality?: string | null;
  readonly ownership?: string | null;
}

/** The engine's whole pool was reset. */
export interface AllBlocksCleared {
  readonly type: "AllBlocksCleared";
}

/** Any event to encode. */
export type KvEvent = BlockStored | BlockRemoved | AllBlocksCleared;

/** A batch to encode: one message of one scheduler step. */
export interface EventBatch {
  /** Unix time in seconds; always encoded as float64. */
  readonly timestampSeconds: number;
  readonly events: readonly KvEvent[];
  /** `undefined` leaves the third slot out (vLLM 0.9.0, early SGLang); null encodes nil. */
  readonly dataParallelRank?: number | null | undefined;
}

/** What is known of a batch beside its events. Reused by the decoder. */
export interface BatchHeader {
  timestampSeconds: number;
  /** As the batch says, whatever number it is; NaN for what is none, null for nil or a batch without the slot. */
  dataParallelRank: number | null;
  /** Events announced by the batch's array header. */
  eventCount: number;
  /** Of these, how many were handed to `onFault` instead of being delivered. */
  faultCount: number;
  /** Of those delivered, how many came as maps (vLLM ≥ 0.24, TensorRT-LLM, late SGLang); the others were arrays. */
  mapEventCount: number;
}
