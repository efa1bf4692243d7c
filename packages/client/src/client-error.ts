/** The errors of a request to a daemon. */

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
