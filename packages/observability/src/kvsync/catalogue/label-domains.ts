/**
 * The label domains that several families share, so that one label means one thing everywhere.
 */

/** Event types as they are on the wire; `unknown` stands for what could not be told. */
export const EVENT_TYPES = ["BlockStored", "BlockRemoved", "AllBlocksCleared", "unknown"] as const;

/** A worker's id. A thousand engines are the design size; four times that leaves room for churn within a scrape. */
export const POD: { readonly maxValues: 4096; readonly names: "pod" } = { maxValues: 4096, names: "pod" };

/** Model names served by the fleet. */
export const MODEL: { readonly maxValues: 128; readonly names: "model" } = { maxValues: 128, names: "model" };

/** Where a field stood that this version does not know. */
export const FIELD_OWNERS = ["BlockStored", "BlockRemoved", "AllBlocksCleared", "batch"] as const;

/** States of the machine that follows a stream. */
export const STREAM_STATES = [
  "connecting",
  "replaying",
  "verifying",
  "paused",
  "live",
  "disconnected",
] as const;

/** How a replay ends. */
export const REPLAY_STATUSES = ["completed", "failed", "abandoned"] as const;

/** How far the index can be trusted for a stream, best first. */
export const TRUST_LEVELS = ["exact", "partial", "stale", "unknown"] as const;

/** What ends a connection to an engine: the codes of the daemon's ZMTP reader. */
export const PROTOCOL_VIOLATIONS = [
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

/** Why a connection to an engine ended, or never came to be. */
export const CONNECTION_ENDS = [
  ...PROTOCOL_VIOLATIONS,
  "refused",
  "disconnected",
  "handshake_failed",
  "curve_failed",
  "dial_timeout",
  "unresolvable",
  "address_in_use",
  "no_socket",
] as const;

/** Why a publisher that connects to the daemon is refused. */
export const PUBLISHER_REFUSALS = ["second_publisher", "publisher_not_allowed", "too_many_pending"] as const;

/** Ingest threads. */
export const WORKER: { readonly maxValues: 16; readonly names: "worker" } = {
  maxValues: 16,
  names: "worker",
};

/** Where a queued message came from. */
export const LANES = ["live", "replay"] as const;

/** Back-pressure levels, mildest first; the position is the value of the state gauge. */
export const BACKPRESSURE_LEVELS = ["normal", "warning", "critical", "overloaded"] as const;

/**
 * Why events or messages are dropped: first what core's streams and index say, then what is wrong with bytes, then what the
 * ingest queue refuses. The emitting code has the same closed sets; a test there compares both ways.
 */
export const DROP_REASONS = [
  "misaligned_tokens",
  "repeated_block",
  "copies_untracked",
  "other_block_size",
  "unit_size_unknown",
  "content_names",
  "ambiguous_name",
  "unresolved_placeholder",
  "no_blocks",
  "other_attention_kind",
  "unknown_kind",
  "unannounced_window",
  "dropped_block",
  "group_limit",
  "group_misaligned",
  "partial_block",
  "unplaced_block",
  "unknown_group",
  "unannounced_group",
  "unknown_medium",
  "remote_locality",
  "unknown_locality",
  "never_indexed",
  "unplaced_removal",
  "unknown_block",
  "unannounced_block",
  "park_full",
  "index_memory_limit",
  "too_many_blocks",
  "too_many_block_sizes",
  "index_refused",
  "duplicate",
  "covered_by_replay",
  "hold_full",
  "late_replay",
  "before_restart",
  "set_aside",
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
  "wrong_frame_count",
  "missing_delimiter",
  "wrong_sequence_length",
  "sequence_number_out_of_range",
  "empty_payload",
  "queue_messages",
  "queue_bytes",
  "message_too_large",
  "other_dp_rank",
  "unnamed_dp_rank",
  "other_topic",
] as const;

/** Why a rank's trust is below exact; core has the same closed set, and a test of the daemon compares them. */
export const TRUST_REASONS = [
  "not_connected",
  "first_history",
  "engine_restarted",
  "history_lost",
  "rebuilding",
  "worker_stalled",
  "resumed",
  "disconnected",
  "verifying",
  "gap",
  "replay_paused",
  "loss_suspected",
  "probes_failed",
  "unreadable_message",
  "message_set_aside",
  "unreadable_removal",
  "unreadable_event",
  "unknown_event_type",
  "unknown_store_field",
  "unknown_batch_field",
  "unplaced_removal",
  "mixed_dp_ranks",
  "history_incomplete",
  "snapshot_incomplete",
  "ambiguous_clear",
  "unreadable_store",
  "unknown_removal_field",
  "unannounced_block",
  "waiting_for_parent",
  "copies_uncertain",
  "copies_untracked",
  "other_block_size",
  "unit_size_unknown",
  "content_names",
  "ambiguous_name",
  "misaligned_tokens",
  "unresolved_placeholder",
  "unknown_medium",
  "unknown_locality",
  "remote_locality",
  "unknown_kind",
  "drafter_unknown",
  "groups_unseen",
  "dropped_block",
  "unannounced_group",
  "group_limit",
  "group_misaligned",
  "partial_block",
  "unplaced_block",
  "park_full",
  "index_memory_limit",
  "too_many_blocks",
  "too_many_block_sizes",
  "index_refused",
  "context_evicted",
  "prefixes_evicted",
  "memory_evicted",
  "parked_evicted",
] as const;
