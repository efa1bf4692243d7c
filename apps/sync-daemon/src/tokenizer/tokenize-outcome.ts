/**
 * The outcomes of a request for tokens. A failure is an expected outcome, not an exception. The
 * lookup then answers "fallback" with this reason, and the caller routes as it would without us.
 * The reasons are metric label values, fields of answers and rows of the reference of errors.
 */

/** Every reason for which there are no tokens, with what it means to an operator. */
export const TOKENIZER_FAILURES = {
  tokenizer_not_configured:
    "The model has no tokenizer (tokenizer.models, sync.tokenizer_endpoint), so its prompts cannot be looked up.",
  tokenizer_unavailable: "The tokenizer could not be reached, or answered with a server error, twice.",
  tokenizer_timeout: "The tokenizer did not answer within tokenizer.timeout_seconds.",
  tokenizer_refused:
    "The tokenizer refused this prompt, model or chat template (a 4xx status), or cannot be asked this question (SGLang: a template of the caller's).",
  tokenizer_malformed: "The tokenizer's answer was not a list of token ids within the limits.",
  tokenizer_overloaded: "tokenizer.requests are open already, or the tokenizer answered 429.",
  circuit_open: "The tokenizer failed several times in a row and is left alone for a moment.",
} as const;

/** Why there are no tokens. */
export type TokenizerFailure = keyof typeof TOKENIZER_FAILURES;

/** Tokens, or why there are none. */
export type TokenizeOutcome =
  | {
      readonly kind: "tokens";
      /** Shared with the cache: to be read only. */
      readonly tokens: Uint32Array;
    }
  | { readonly kind: "failed"; readonly reason: TokenizerFailure };
