/**
 * Routing without events: the index is a history of the policy's own decisions, which fade after
 * two minutes, and the cost is Dynamo's (overlap-cost.ts). It does not detect evictions of engines,
 * and it forgets blocks that they keep longer. The difference to `overlap-cost` is the value of
 * events.
 *
 * Source: Dynamo's router with `--no-kv-events`, ai-dynamo/dynamo lib/kv-router/src/approx.rs
 * @ 209c9e83 (120 seconds).
 */
import { DecisionHistory } from "./decision-history.ts";
import { leastBy } from "./least.ts";
import { overlapCost } from "./overlap-cost.ts";
import type { RandomSource, RoutingPolicy, RoutingRequest, WorkerView } from "./policy.ts";

const LIFE_SECONDS = 120;
/** As finely as its original, whose blocks are the engines', would be with the larger of common block sizes. */
const CHUNK_TOKENS = 64;

/** See the header. */
export class ApproximatePolicy implements RoutingPolicy {
  readonly name = "approximate";
  readonly knowledge = "none";
  readonly #random: RandomSource;
  readonly #history: DecisionHistory;
  readonly #matched: Float64Array;

  /**
   * @param random - decides between equals; shared with nothing else.
   * @param positionCount - positions of the fleet, empty ones included.
   */
  constructor(random: RandomSource, positionCount: number) {
    this.#random = random;
    this.#history = new DecisionHistory(positionCount, LIFE_SECONDS, CHUNK_TOKENS);
    this.#matched = new Float64Array(positionCount);
  }

  /** See RoutingPolicy. */
  join(): void {
    // Costs know no capacity.
  }

  /** See RoutingPolicy. */
  leave(position: number): void {
    this.#history.leave(position);
  }

  /** See RoutingPolicy. */
  rank(request: RoutingRequest, views: readonly WorkerView[], nowSeconds: number, into: Uint32Array): number {
    this.#history.match(request, this.#matched, nowSeconds);
    for (const [position, view] of views.entries()) view.matchedTokens = this.#matched[position] ?? 0;
    return leastBy(views, (view) => overlapCost(request.promptTokens, view), this.#random, into);
  }

  /** See RoutingPolicy. */
  book(position: number, nowSeconds: number): void {
    this.#history.record(position, nowSeconds);
  }
}
