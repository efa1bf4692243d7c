/** Reasons for dropping a message before it reaches the index. Ingest counts them; the board shows them. */

/** Reasons of the ingest queue. Metric label values. */
export const QUEUE_DROP_REASONS = ["queue_messages", "queue_bytes", "message_too_large"] as const;

/** One of QUEUE_DROP_REASONS. */
export type QueueDropReason = (typeof QUEUE_DROP_REASONS)[number];
