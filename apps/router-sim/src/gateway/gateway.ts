/** A place that takes requests of OpenAI's API and sends each to an engine of its choice. */

/** What an engine counted for one request. */
export interface AnsweredRequest {
  readonly promptTokens: number;
  readonly cachedTokens: number;
}

/** What a gateway is sent. */
export interface GatewayRequest {
  readonly model: string;
  readonly tokens: Uint32Array;
  /** Of `POST /v1/completions`, with the same prompt. */
  readonly body: string;
}

/** See the header. */
export interface Gateway {
  /** For people: what stands between client and engines. */
  readonly description: string;
  /**
   * Sends a completion, and waits for its end.
   *
   * @throws GatewayError when no engine answered it.
   */
  complete(request: GatewayRequest): Promise<AnsweredRequest>;
  /** Tokens that were predicted as cached when engines were chosen, of all requests whose answers told what was. */
  predictedTokens(): Promise<number>;
  stop(): Promise<void>;
}

/** Facts of a request that no engine answered, or of a gateway that did not start. */
export type GatewayErrorFacts =
  | { readonly code: "refused"; readonly status: number; readonly body: string }
  | { readonly code: "unreachable"; readonly cause: string }
  | { readonly code: "not_an_answer"; readonly body: string }
  | { readonly code: "not_started"; readonly output: string };

/** See GatewayErrorFacts. */
export class GatewayError extends Error {
  readonly facts: GatewayErrorFacts;

  /**
   * @param facts - what happened.
   * @param message - one sentence.
   */
  constructor(facts: GatewayErrorFacts, message: string) {
    super(message);
    this.name = "GatewayError";
    this.facts = facts;
  }
}
