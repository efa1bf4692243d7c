/** Why the queue between sockets and index refuses a message: ingest counts by it, the board shows it. */

/** Why the queue refuses a message. Metric label values. */
export const QUEUE_DROP_REASONS = ["queue_messages", "queue_bytes", "message_too_large"] as const;

/** One of QUEUE_DROP_REASONS. */
export type QueueDropReason = (typeof QUEUE_DROP_REASONS)[number];
