/** The public surface of the client: named, so that it is a page one reviews. */
export { ClientError, type ClientErrorFacts } from "./client-error.ts";
export { type CallOptions, type ClientOptions, KvsyncClient } from "./kvsync-client.ts";
export type {
  ChatMessage,
  FallbackReason,
  MatchAnswer,
  MediaItem,
  Question,
  QuestionOptions,
  Trust,
  TrustReason,
  WorkerMatch,
} from "./match-types.ts";
