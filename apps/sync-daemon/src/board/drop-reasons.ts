/** Reasons for dropping a message before it reaches the index. Ingest counts them; the board shows them. */

/** Reasons of the ingest queue, and of the filter before it. Metric label values. */
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

/** What each means, for the page of error codes. */
export const QUEUE_DROP_TEXTS: Readonly<Record<QueueDropReason, string>> = {
  queue_messages: "A lane of the queue holds as many messages as it may.",
  queue_bytes: "A lane of the queue holds as many bytes as it may.",
  message_too_large: "The message has more bytes than one may have.",
  other_dp_rank: "It is of another DP rank than the socket's, though no entry has the ranks share it.",
  unnamed_dp_rank: "It names no DP rank, on a socket that ranks share.",
  other_topic: "Its topic only begins with the topic of the entry.",
};
