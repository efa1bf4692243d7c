/**
 * A routing policy of your own: the engine with the longest match if it is not busy, else the one with the
 * fewest requests. Simulate it before a gateway uses it:
 *
 *     node apps/router-sim/dist/main.js simulate --workload chat --policy kvsync \
 *       --policy-file examples/src/custom-policy.ts
 */
import type { RoutingPolicy, RoutingRequest, WorkerView } from "@kvsync/routing";

/** Requests under way from which an engine counts as busy. */
const BUSY_REQUESTS = 16;

class LongestMatchPolicy implements RoutingPolicy {
  readonly name = "longest-match";
  readonly knowledge = "index";

  join(): void {
    // No memory: nothing to prepare for a member, to forget of one, or to remember of a choice.
  }
  leave(): void {
    // As in `join`.
  }
  book(): void {
    // As in `join`.
  }

  rank(_: RoutingRequest, views: readonly WorkerView[], __: number, into: Uint32Array): number {
    const cost = ({ runningRequests, matchedTokens }: WorkerView): number =>
      runningRequests < BUSY_REQUESTS ? -matchedTokens : runningRequests;
    const best = [...views.entries()]
      .filter(([, { isEligible }]) => isEligible)
      .sort(([, a], [, b]) => cost(a) - cost(b))
      .slice(0, into.length);
    into.set(best.map(([position]) => position));
    return best.length;
  }
}

/** What router-sim looks for. */
export const policy = { name: "longest-match", make: (): RoutingPolicy => new LongestMatchPolicy() };
