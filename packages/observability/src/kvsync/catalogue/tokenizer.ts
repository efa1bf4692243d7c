/**
 * Families about tokenizers, which turn prompts and messages of lookups into tokens.
 */

import { doubling } from "../../definition.ts";
import { counter, gauge, histogram } from "../namespace.ts";

/** Why a lookup gets no tokens. */
export const TOKENIZER_FAILURES = [
  "tokenizer_not_configured",
  "tokenizer_unavailable",
  "tokenizer_timeout",
  "tokenizer_refused",
  "tokenizer_malformed",
  "tokenizer_overloaded",
  "circuit_open",
] as const;

/** How a wish for tokens ends. The daemon's tokenizer has the same closed set, which a test there compares. */
export const TOKENIZER_OUTCOMES = ["ok", ...TOKENIZER_FAILURES] as const;

/** Outcomes that are the tokenizer's fault, not a caller's. */
export const TOKENIZER_FAULTS = [
  "tokenizer_unavailable",
  "tokenizer_timeout",
  "tokenizer_malformed",
  "tokenizer_overloaded",
  "circuit_open",
] as const;

/** What a comparison of a conversation's tokens with the engine's shows. The daemon has the same closed set. */
export const PARITY_OUTCOMES = ["agree", "differ", "unanswered"] as const;

/** A model with a tokenizer of its own, or `default` for the tokenizer of all others. Models of the settings, of which there are 64 at most. */
const TOKENIZER: { readonly maxValues: 65; readonly names: "tokenizer" } = {
  maxValues: 65,
  names: "tokenizer",
};

/** Families about tokenizers. */
export const TOKENIZER_METRICS = {
  requests: counter({
    name: "kv_tokenizer_requests_total",
    help: "Lookups by prompt or messages that were not answered from memory, by how getting their tokens ended.",
    unit: "none",
    labels: { tokenizer: TOKENIZER, outcome: TOKENIZER_OUTCOMES },
    preset: "absent until known",
    why: "Every one that is not ok is a request routed without cache information.",
  }),
  requestDuration: histogram({
    name: "kv_tokenizer_request_duration_seconds",
    help: "From a question to a tokenizer to its answer, a second attempt included.",
    unit: "seconds",
    labels: { tokenizer: TOKENIZER },
    preset: "absent until known",
    buckets: doubling(0.0005, 14),
    why: "Tokenization is most of what a routing decision by prompt costs.",
  }),
  cacheLookups: counter({
    name: "kv_tokenizer_cache_lookups_total",
    help: "Lookups by prompt or messages, by whether their tokens were remembered, being asked for already, or neither.",
    unit: "none",
    labels: { result: ["hit", "joined", "miss"] },
    preset: "zero is a fact",
    why: "How much the tokenizer is spared.",
  }),
  cacheBytes: gauge({
    name: "kv_tokenizer_cache_bytes",
    help: "Memory of remembered tokens.",
    unit: "bytes",
    labels: {},
    preset: "absent until known",
    why: "Against the configured limit: a full cache with few hits is too small or of no use.",
  }),
  parity: counter({
    name: "kv_tokenizer_parity_total",
    help: "Conversations that were rendered here and compared with the remote tokenizer, probes included, by what that showed.",
    unit: "none",
    labels: { tokenizer: TOKENIZER, outcome: PARITY_OUTCOMES },
    preset: "absent until known",
    why: "Tokens that differ from the engine's match nothing, and nothing else shows it.",
  }),
  segmentLookups: counter({
    name: "kv_tokenizer_segment_cache_lookups_total",
    help: "Segments of prompts that are encoded here, by whether their tokens were remembered.",
    unit: "none",
    labels: { result: ["hit", "miss"] },
    preset: "zero is a fact",
    why: "Only what was not remembered costs time: the new turns of a conversation.",
  }),
  segmentBytes: gauge({
    name: "kv_tokenizer_segment_cache_bytes",
    help: "Memory of remembered segments.",
    unit: "bytes",
    labels: {},
    preset: "absent until known",
    why: "A full memory with few hits is too small for the conversations that are open.",
  }),
  circuitState: gauge({
    name: "kv_tokenizer_circuit_state",
    help: "Whether a tokenizer is asked: 0 closed (yes), 1 half open (one request tries), 2 open (no). Each thread that asks it has a circuit of its own. Several threads of the picker show that of the first.",
    unit: "none",
    labels: { thread: ["main", "picker"], tokenizer: TOKENIZER },
    preset: "absent until known",
    why: "An open circuit turns every lookup by prompt into a fallback at once.",
  }),
};
