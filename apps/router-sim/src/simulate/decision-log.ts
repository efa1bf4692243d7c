/**
 * Decisions of a simulated picker as lines of JSON, with everything that they were made by. Another picker can be given the same,
 * and must rank alike.
 *
 *     {kind: "fleet", engines: [{worker, capacityTokens}]}, once, at first
 *     {kind: "decided", id, seconds, promptTokens, keys, keyWords, keyTokens, matches: [{tokens, slowTokens, trust}], ranking}
 *     {kind: "first_token", id}      {kind: "over", id}      in the order in which the picker heard of them
 *
 * `matches` are by engine, as the index knew them. `ranking` has all engines, best first.
 *
 *  G1  The lines up to a decision are all that its books and its memory were made of (simulation.test.ts "G1").
 *
 * Not here: several pickers. The lines do not name the picker of a request.
 */
import type { FixedWorker, KvsyncPolicy, RoutingRequest, WorkerView } from "@kvsync/routing";

/** Decisions that are written; the log ends with the last. */
const DECISIONS_MAX = 1000;

/** See the header. */
export class DecisionLog {
  readonly #lines: string[];
  #decisions = 0;
  #matches: readonly object[] = [];

  /** @param engines - of the fleet, by position. */
  constructor(engines: readonly FixedWorker[]) {
    this.#lines = [JSON.stringify({ kind: "fleet", engines })];
  }

  /** One line each. */
  get lines(): readonly string[] {
    return this.#lines;
  }

  /** Keeps the matches of a request; ranking replaces them by what the policy takes for held. */
  asked(views: readonly WorkerView[]): void {
    this.#matches = views.map(({ matchedTokens, matchedSlowTokens, trust }) => ({
      tokens: matchedTokens,
      slowTokens: matchedSlowTokens,
      trust,
    }));
  }

  /** The policy has ranked a request. */
  decided(
    id: number,
    { promptTokens, keys, keyWords, keyTokens }: RoutingRequest,
    policy: KvsyncPolicy,
    seconds: number,
  ): void {
    if (this.#isFull) return;
    const ranking = this.#matches
      .map((_, engine) => engine)
      .sort((a, b) => policy.costAt(a) - policy.costAt(b) || a - b);
    const asked = { seconds, promptTokens, keys: [...keys], keyWords, keyTokens, matches: this.#matches };
    this.#lines.push(JSON.stringify({ kind: "decided", id, ...asked, ranking }));
    this.#decisions += 1;
  }

  /** The first token of a request has come. */
  firstToken(id: number): void {
    if (!this.#isFull) this.#lines.push(JSON.stringify({ kind: "first_token", id }));
  }

  /** A request is over. */
  over(id: number): void {
    if (!this.#isFull) this.#lines.push(JSON.stringify({ kind: "over", id }));
  }

  get #isFull(): boolean {
    return this.#decisions === DECISIONS_MAX;
  }
}
