/**
 * A small load of an engine's own: requests at random times (a Poisson process). Their prompts
 * begin with one of a few shared prefixes, the popular ones more often. Seeded; not a model of any
 * real traffic, for which router-sim reads traces.
 */
import { Prng } from "@kvsync/core";
import { VOCABULARY_SIZE } from "./active-request.ts";
import type { DrivenRequest } from "./engine-driver.ts";

const PREFIX_COUNT = 16;
/** Output tokens of each request. */
export const LOAD_OUTPUT_TOKENS = 64;

/** An endless sequence of requests. */
export class SelfLoad {
  readonly #random: Prng;
  readonly #requestsPerSecond: number;
  readonly #promptTokens: number;
  readonly #prefixes: readonly Uint32Array[];

  /**
   * @param requestsPerSecond - mean rate, above 0.
   * @param promptTokens - length of each prompt, ≥ 2; half of it is shared.
   * @param seed - of everything.
   */
  constructor(requestsPerSecond: number, promptTokens: number, seed: number) {
    this.#random = new Prng(seed);
    this.#requestsPerSecond = requestsPerSecond;
    this.#promptTokens = promptTokens;
    const length = Math.floor(promptTokens / 2);
    this.#prefixes = Array.from({ length: PREFIX_COUNT }, () => this.#tokens(length));
  }

  /** Seconds until the next request, exponentially distributed. */
  nextDelaySeconds(): number {
    return -Math.log(1 - this.#random.nextU32() / 2 ** 32) / this.#requestsPerSecond;
  }

  /** The next request. */
  nextRequest(): DrivenRequest {
    // The smaller of two draws: the first prefix is thirty times as popular as the last.
    const rank = Math.min(this.#random.below(PREFIX_COUNT), this.#random.below(PREFIX_COUNT));
    const prefix = this.#prefixes[rank] ?? new Uint32Array(0);
    const promptTokens = new Uint32Array(this.#promptTokens);
    promptTokens.set(prefix);
    promptTokens.set(this.#tokens(this.#promptTokens - prefix.length), prefix.length);
    return {
      promptTokens,
      output: { count: LOAD_OUTPUT_TOKENS, seed: this.#random.nextU32() },
    };
  }

  #tokens(count: number): Uint32Array {
    return Uint32Array.from({ length: count }, () => this.#random.below(VOCABULARY_SIZE));
  }
}
