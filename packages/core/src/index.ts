/** The public surface of core: named, so that it is a page one reviews. */
export { assert, AssertionError, unreachable } from "./assert.ts";
export { CodedError, type ErrorFacts } from "./errors.ts";
export { toBigInt, toHex, writeBigInt, writeInteger } from "./block-hash/block-hash.ts";
export { numberParser, type NumberRange, readDecimal } from "./number-text.ts";
export { Prng } from "./prng.ts";
export { shardOf, SHARDS_MAX } from "./shard-of.ts";
export type {
  AllBlocksCleared,
  BatchHeader,
  BlockRemoved,
  BlockStored,
  DecodedBlockRemoved,
  DecodedBlockStored,
  DecodeScratch,
  EventBatch,
  ExtraKey,
  ExtraKeys,
  KvEvent,
} from "./wire/events.ts";
export { type Dialect, DIALECTS, type DialectForm, type FieldOrder, type WireField } from "./wire/dialect.ts";
export { encodeEventBatch } from "./wire/event-batch-encoder.ts";
export { normalizeEvent } from "./wire/plain-event.ts";
export { RecordingSink } from "./wire/recording-sink.ts";
export {
  EventBatchDecoder,
  type EventFault,
  type EventSink,
  type FieldOwner,
} from "./wire/event-batch-decoder.ts";
export {
  encodeLiveFrames,
  encodeReplayEnd,
  encodeReplayReply,
  encodeReplayRequest,
  type LiveMessage,
  parseLiveFrames,
  parseReplayFrames,
  parseReplayRequest,
  type ReplayReply,
  type ReplayRequest,
  type ReplayShape,
  topicText,
} from "./wire/message.ts";
export {
  FRAME_ERROR_CODES,
  type FrameErrorCode,
  PAYLOAD_ERROR_CODES,
  type PayloadErrorCode,
  WireError,
  type WireErrorCode,
  type WireErrorFacts,
} from "./wire/wire-error.ts";
export { DEFAULT_WIRE_LIMITS, type WireLimits } from "./wire/wire-limits.ts";
export { copyFrames } from "./zmtp/frame-copy.ts";
export { encodeMessage, type ZmtpSocketType } from "./zmtp/frame-writer.ts";
export {
  ZMTP_ERROR_CODES,
  ZmtpError,
  type ZmtpErrorCode,
  type ZmtpErrorFacts,
} from "./zmtp/zmtp-error.ts";
export { DEFAULT_ZMTP_LIMITS, messageMemoryBytesMax, type ZmtpLimits } from "./zmtp/zmtp-limits.ts";
export { ZmtpPeer, type ZmtpPeerEvents, type ZmtpPeerSettings } from "./zmtp/zmtp-peer.ts";
export { BLOCK_SIZE_MAX, PrefixHasher } from "./prefix-index/prefix-hasher.ts";
export {
  holderSlotOf,
  holderTierOf,
  INDEX_ROW_BYTES,
  INDEX_ROW_COPIES,
  INDEX_ROW_HOLDER,
  type IndexCopy,
  IndexCopyReader,
  type IndexImport,
  type ParkedRecord,
} from "./prefix-index/index-copy.ts";
export { IndexError, type IndexErrorFacts } from "./prefix-index/index-error.ts";
export type { IndexPart, PrefixIndexOptions } from "./prefix-index/index-options.ts";
export { attachReader, type SharedIndexParts } from "./prefix-index/parts-reader.ts";
export { RankHomes } from "./prefix-index/rank-homes.ts";
export { RankImport, type RankRows, rowCount } from "./prefix-index/rank-rows.ts";
export { PrefixIndex, type PrefixIndexStats } from "./prefix-index/prefix-index.ts";
export { STORE_BLOCKS_MAX, STORE_TOKENS_MAX } from "./prefix-index/writer-memory.ts";
export {
  DIGEST_WORDS,
  DUMP_ROW_WORDS,
  PrefixReader,
  QUERY_TOKENS_MAX,
  type SharedPrefixIndex,
} from "./prefix-index/prefix-reader.ts";
export { type ContextSummary, CONTEXT_NAME_BYTES_MAX } from "./prefix-index/context-table.ts";
export {
  type ContextKey,
  DEFAULT_HASH_SEED,
  type HashSeed,
  type EvictionListener,
  type EvictionReason,
  type IndexScratch,
  type IndexWriter,
  MATCH_ROW_WORDS,
  type MatchResult,
  GROUP_KINDS,
  GROUP_RULES,
  type GroupKind,
  type GroupRule,
  type GroupShape,
  GROUPS_PER_RANK_MAX,
  HOLDER_SLOTS_MAX,
  LOOKAHEAD_MAX,
  PARTS_MAX,
  RANK_SLOTS_MAX,
  type StoreOutcome,
  type Tier,
  TIERS,
  UNNUMBERED_GROUP,
} from "./prefix-index/contract.ts";
export type { HeldGroup } from "./prefix-index/group-table.ts";
export { encodeExtraKeys, saltDigest, type BytesDigester } from "./block-hash/extra-keys.ts";
export { digestPromptKeys, type MediaItem } from "./block-hash/prompt-keys.ts";
export {
  createSyncCounters,
  EVENT_TYPES,
  REPLAY_FAILURES,
  REPLAY_STATUSES,
  STREAM_STATES,
  type DropReason,
  type EventType,
  type ReplayFailure,
  type ReplayStatus,
  type StreamState,
  type SyncAction,
  type SyncCounters,
  type SyncListener,
} from "./sync/sync-report.ts";
export {
  EVENT_DROP_REASONS,
  EVICTIONS,
  FAULT_COSTS,
  HARMLESS_FIELDS,
  HEALED_BY,
  MESSAGE_DROP_REASONS,
  TRUST_LEVELS,
  TRUST_REASON_NAMES,
  TRUST_REASONS,
  TRUST_RULE,
  type EventDropReason,
  type MessageDropReason,
  type Trust,
  type TrustCause,
  type TrustReason,
  type TrustReasonRow,
  type TrustRow,
} from "./sync/trust-rule.ts";
export {
  DEFAULT_SYNC_LIMITS,
  REPORT_MODES,
  type ReportMode,
  type SyncLimits,
  type SyncSettings,
} from "./sync/sync-settings.ts";
export { type EventAtHand, type Turn, UNKNOWN_KINDS_MAX } from "./sync/event-applier.ts";
export { RANK_BLOCK_SIZES_MAX } from "./sync/rank-block-sizes.ts";
export { CONTENT_NAMES_KEPT_MAX } from "./sync/content-names.ts";
export { CONTEXTS_KEPT_MAX } from "./sync/name-contexts.ts";
export { LEDGER_NAMES_KEPT_MAX } from "./sync/copy-ledger.ts";
export type { StreamPosition } from "./sync/stream-position.ts";
export { peekDataParallelRank } from "./sync/batch-rank.ts";
export { HoldBudget } from "./sync/held-messages.ts";
export { peekTimestampSeconds } from "./sync/batch-timestamp.ts";
export { WorkerSync, type MessageGuard, type SyncDependencies } from "./sync/worker-sync.ts";
