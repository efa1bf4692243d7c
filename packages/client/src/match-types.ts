/**
 * A lookup and its answer, as a gateway's author uses them. Names of the answer are those of the
 * wire. The compiler checks in the daemon's tests that they are exactly the daemon's.
 */

/** How far a rank's part of the index can be trusted: complete, perhaps too little, perhaps too much, nothing known. */
export type Trust = "exact" | "partial" | "stale" | "unknown";

/** Why a rank's trust is below exact: docs/generated/trust.md says what each means and what ends it. */
export type TrustReason =
  | "not_connected"
  | "first_history"
  | "engine_restarted"
  | "history_lost"
  | "rebuilding"
  | "worker_stalled"
  | "resumed"
  | "disconnected"
  | "verifying"
  | "gap"
  | "replay_paused"
  | "loss_suspected"
  | "probes_failed"
  | "unreadable_message"
  | "message_set_aside"
  | "unreadable_removal"
  | "unreadable_event"
  | "unknown_event_type"
  | "unknown_store_field"
  | "unknown_batch_field"
  | "unplaced_removal"
  | "mixed_dp_ranks"
  | "history_incomplete"
  | "snapshot_incomplete"
  | "ambiguous_clear"
  | "unreadable_store"
  | "unknown_removal_field"
  | "unannounced_block"
  | "waiting_for_parent"
  | "copies_uncertain"
  | "copies_untracked"
  | "other_block_size"
  | "unit_size_unknown"
  | "content_names"
  | "ambiguous_name"
  | "misaligned_tokens"
  | "unresolved_placeholder"
  | "unknown_medium"
  | "unknown_locality"
  | "remote_locality"
  | "unknown_kind"
  | "drafter_unknown"
  | "groups_unseen"
  | "dropped_block"
  | "unannounced_group"
  | "group_limit"
  | "group_misaligned"
  | "partial_block"
  | "unplaced_block"
  | "park_full"
  | "index_memory_limit"
  | "too_many_blocks"
  | "too_many_block_sizes"
  | "index_refused"
  | "context_evicted"
  | "prefixes_evicted"
  | "memory_evicted"
  | "parked_evicted";

/** Why a prompt could not be looked up. */
export type FallbackReason =
  | "tokenizer_not_configured"
  | "tokenizer_unavailable"
  | "tokenizer_timeout"
  | "tokenizer_refused"
  | "tokenizer_malformed"
  | "tokenizer_overloaded"
  | "circuit_open";

/** One worker rank's match. */
export interface WorkerMatch {
  /** The engine's id. */
  worker: string;
  dp_rank: number;
  /** Tokens per block of what it holds; as the answer's when it holds nothing. */
  block_size: number | null;
  /** Leading blocks that the engine can reuse: all its KV-cache groups allow them. */
  matched_blocks: number;
  matched_tokens: number;
  /** Leading tokens held by the main KV-cache group; more than matched_tokens where a hybrid model's other groups allow less. */
  held_tokens: number;
  /** Of matched_tokens, what the engine will really skip: it computes at least the prompt's last token again. */
  reusable_tokens: number;
  /** The matched blocks by the fastest tier that holds them. */
  tiers: { device: number; host: number; disk: number; remote: number };
  trust: Trust;
  /** Null exactly when `trust` is exact. */
  trust_reason: TrustReason | null;
  /** When the present trust and reason began, ISO 8601; null before the rank is followed. */
  trust_since: string | null;
  /** Since the last event of its stream; null before the first. */
  age_seconds: number | null;
}

/** Who holds how much of a prompt, and how far that can be trusted. */
export interface MatchAnswer {
  /** As engines were registered with it. */
  model: string;
  /** As the lookup named it: the model, an alias, or an adapter. */
  requested_model: string;
  /** The adapter, also where the lookup named it as the model. */
  lora_name: string | null;
  /** Null while nothing was stored that could tell, and when `block_sizes` has several and none was asked for. */
  block_size: number | null;
  /** Looked in, ascending; each match says its own. */
  block_sizes: number[];
  /** Full blocks in the query: of tokens null with `block_size`, of prefix hashes all; null without either. */
  blocks: number | null;
  /** Worst of the ranks considered; unknown when there are none. */
  trust: Trust;
  /** exact: route by it. degraded: some ranks are not exact. fallback: route as without cache information. */
  decision: "exact" | "degraded" | "fallback";
  /** Why a prompt could not be looked up; null when it was. */
  reason: FallbackReason | null;
  /** Ranks considered, by trust. */
  ranks: Record<Trust, number>;
  /** Most matched tokens first. */
  matches: WorkerMatch[];
}

/** What every lookup can say. */
export interface QuestionOptions {
  /** The model's name, an alias of it, or the name of a LoRA adapter. */
  readonly model: string;
  readonly loraName?: string | undefined;
  /** Tokens per block: only engines that use it. Without it every size in use is looked in, up to 16. */
  readonly blockSize?: number | undefined;
  readonly cacheSalt?: string | undefined;
  /** Only these. */
  readonly workers?: readonly string[] | undefined;
  /** Most matches in the answer. */
  readonly topK?: number | undefined;
  /** List ranks without a match too. */
  readonly includeUnmatched?: boolean | undefined;
}

/** One image, video or audio of a prompt, as vLLM's `mm_features` has it. */
export interface MediaItem {
  /** The engine's name of the content: its mm_hash, or the uuid given with it. */
  readonly identifier: string;
  /** First of its placeholder tokens, from 0. */
  readonly offset: number;
  /** How many placeholder tokens it has. */
  readonly length: number;
}

/** A message, as in a chat completion. */
export interface ChatMessage {
  readonly role: string;
  readonly [field: string]: unknown;
}

/** A prompt as text. */
export interface TextPrompt {
  readonly prompt: string;
  readonly addSpecialTokens?: boolean | undefined;
}

/** A prompt as a conversation, with what a chat completion says of it. */
export interface ChatPrompt {
  readonly messages: readonly ChatMessage[];
  readonly addGenerationPrompt?: boolean | undefined;
  readonly continueFinalMessage?: boolean | undefined;
  readonly chatTemplateKwargs?: Readonly<Record<string, unknown>> | undefined;
  readonly tools?: readonly unknown[] | undefined;
}

/** A lookup: by tokens or hashes, which travel as bytes, or by text, which the daemon has tokenized. */
export type Question = QuestionOptions &
  (
    | {
        readonly tokenIds: Uint32Array | readonly number[];
        /** The media that placeholder tokens stand for; with them the lookup travels as JSON. */
        readonly mmFeatures?: readonly MediaItem[] | undefined;
      }
    /** Chained hashes of the full blocks, with `@kvsync/core`'s `PrefixHasher` or Mooncake's RFC #1527. */
    | { readonly prefixHashes: BigUint64Array | readonly bigint[] }
    | TextPrompt
    | ChatPrompt
  );
