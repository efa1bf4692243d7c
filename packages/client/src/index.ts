/** The public surface of the client: named, so that it is a page one reviews. */
export type {
  Alert,
  AlertList,
  AlertRule,
  Silence,
  SilenceList,
  SilenceMatcher,
  WantedSilence,
} from "./alert-types.ts";
export { choose, type WorkerLoad } from "./choose.ts";
export {
  ClientError,
  type ClientErrorFacts,
  FleetError,
  type FleetErrorFacts,
  type ShardFailure,
} from "./client-error.ts";
export type {
  EngineDetails,
  FleetHistory,
  IndexReport,
  LogLine,
  LogLines,
  LogQuery,
  RankDetails,
  RankHour,
  RankHours,
  Severity,
  SystemReport,
  TierName,
} from "./daemon-types.ts";
export { type CallOptions, type ClientOptions, KvsyncClient } from "./kvsync-client.ts";
export type {
  ChatMessage,
  ChatPrompt,
  FallbackReason,
  MatchAnswer,
  MediaItem,
  Question,
  QuestionOptions,
  TextPrompt,
  Trust,
  TrustReason,
  WorkerMatch,
} from "./match-types.ts";
export type { ShardedAnswer } from "./merged-answer.ts";
export { ShardedClient, type ShardedClientOptions } from "./sharded-client.ts";
export type {
  Outcome,
  PickAnswer,
  PickEnd,
  PickOptions,
  PickQuestion,
  PickTerms,
  RankedEndpoint,
} from "./pick-types.ts";
