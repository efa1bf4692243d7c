/** Reasons for dropping a message before it reaches the index. Ingest counts them; the board shows them. */

/**
 * Reasons of the ingest queue, and of the filter before it: messages of another DP rank through this rank's socket, though no
 * entry says that ranks share it (`other_dp_rank`), messages without a rank on a shared socket (`unnamed_dp_rank`), and
 * messages of a topic that only begins with the entry's (`other_topic`).
 * Metric label values.
 */
export const QUEUE_DROP_REASONS = [
  "queue_messages",
  "queue_bytes",
  "message_too_large",
  "other_dp_rank",
  "unnamed_dp_rank",
  "other_topic",
] as const;

/** One of QUEUE_DROP_REASONS. */
export type QueueDropReason = (typeof QUEUE_DROP_REASONS)[number];
