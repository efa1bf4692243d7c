/** The errors of a request to a daemon. */

import type { FallbackReason } from "./match-types.ts";

/** Facts of a failed request. */
export type ClientErrorFacts =
  /** The daemon refused the request; `problem` is its RFC 9457 document, with `code`. */
  | {
      readonly code: "refused";
      readonly status: number;
      readonly problem: Readonly<Record<string, unknown>> & { readonly code: string };
    }
  /** An answer that is none of this API's: a proxy's page, as a rule. */
  | { readonly code: "not_a_daemon"; readonly status: number }
  | { readonly code: "unreachable"; readonly cause: string }
  | { readonly code: "timeout"; readonly timeoutMs: number };

/** A shard whose workers are not in an answer, and why. */
export interface ShardFailure {
  /** From 0. */
  readonly shard: number;
  /** The replica that was asked last; null when it answered, and its tokenizer did not. */
  readonly url: string | null;
  readonly facts:
    | ClientErrorFacts
    | { readonly code: "not_tokenized"; readonly reason: FallbackReason | null };
}

/** Facts of a question that no shard of a fleet answered. */
export interface FleetErrorFacts {
  readonly code: "no_shard";
  /** Every shard that was asked, and that does serve the model as far as it is known. */
  readonly missing: readonly ShardFailure[];
}

/** A request without an answer. Route as without cache information; `refused` is also a mistake to repair. */
export class ClientError extends Error {
  readonly facts: ClientErrorFacts;

  /**
   * @param facts - what happened.
   * @param message - one sentence.
   * @param options - `cause`.
   */
  constructor(facts: ClientErrorFacts, message: string, options?: ErrorOptions) {
    super(message, options);
    this.name = "ClientError";
    this.facts = facts;
  }

  /** Stable, for programs. */
  get code(): ClientErrorFacts["code"] {
    return this.facts.code;
  }
}

/** A fleet without an answer. Route as without cache information. */
export class FleetError extends Error {
  readonly facts: FleetErrorFacts;

  /**
   * @param missing - the shards, and why.
   * @param message - one sentence.
   */
  constructor(missing: readonly ShardFailure[], message: string) {
    super(message);
    this.name = "FleetError";
    this.facts = { code: "no_shard", missing };
  }

  /** Stable, for programs. */
  get code(): FleetErrorFacts["code"] {
    return this.facts.code;
  }
}
