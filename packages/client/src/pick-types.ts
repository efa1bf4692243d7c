/** A decision of the daemon's picker, as a gateway's author uses it. Names of the answer are those of the wire. */
import type { ChatPrompt, TextPrompt, Trust } from "./match-types.ts";

/** The terms of a cost, in tokens of prefill: `pending`, `prefill`, `context`, `running` and `surcharge` add up. */
export interface PickTerms {
  /** Tokens of the prompt that count as held: the greater of the next two. */
  held_tokens: number;
  /** What the index says is held, by the weight of its trust. */
  index_tokens: number;
  /** What was sent there lately. */
  own_tokens: number;
  /** Tokens of the prompt to prefill. */
  fresh_tokens: number;
  /** How hard its cache is used, 0 to 4; 1 is the mean. */
  pressure: number;
  pending: number;
  /** fresh_tokens × (1 + pressure). */
  prefill: number;
  context: number;
  running: number;
  surcharge: number;
}

/** An endpoint that a request can be sent to. */
export interface RankedEndpoint {
  /** `ip:port`. */
  endpoint: string;
  worker: string;
  /** The rank behind it; null when all ranks of the engine are. */
  dp_rank: number | null;
  trust: Trust;
  /** In tokens of prefill; the least is the best. */
  cost: number;
  terms: PickTerms;
}

/** Where to send a request. It is booked until `endPick`, or until it expires. */
export interface PickAnswer {
  id: string;
  /** By what it was decided: the index, the index without a shard, the picker's own recent decisions, or load alone. */
  decision: "index" | "degraded" | "own" | "load";
  /** The engine of the first endpoint. */
  worker: string;
  trust: Trust;
  /** Tokens that count as held there. */
  matched_tokens: number;
  prompt_tokens: number;
  /** Why the index was not used, or not all of it; `none` when it was. */
  reason: string;
  /** Shards that did not answer in time. */
  missing_shards: number[];
  /** The picked one first, then those for retries. */
  endpoints: [RankedEndpoint, ...RankedEndpoint[]];
}

/** A request that is to be sent: its prompt by tokens or text, and the endpoints that may take it. */
export interface PickOptions {
  /** The model's name, an alias of it, or the name of a LoRA adapter. */
  readonly model: string;
  readonly cacheSalt?: string | undefined;
  /** `ip:port` of the endpoints that may be picked; all of the model's without it. */
  readonly endpoints?: readonly string[] | undefined;
}

/** See PickOptions. */
export type PickQuestion = PickOptions &
  ({ readonly tokenIds: Uint32Array | readonly number[] } | TextPrompt | ChatPrompt);

/** What is known when a picked request is over. */
export interface PickEnd {
  /** Who answered, where it was not the first endpoint. */
  readonly served?: string | undefined;
  /** Of the engine's `usage.prompt_tokens_details`. */
  readonly cachedTokens?: number | undefined;
}

/** What was predicted of a request, and what its engine counted. */
export interface Outcome {
  readonly worker: string;
  /** `matched_tokens` of a match or a pick. */
  readonly predicted: number;
  /** `usage.prompt_tokens_details.cached_tokens` of the engine's answer. */
  readonly cached: number;
}
