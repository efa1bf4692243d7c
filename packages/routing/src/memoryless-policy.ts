/** The part of a policy that remembers nothing by position: members come and go without a trace. */
import type { RoutingPolicy, RoutingRequest, WorkerView } from "./policy.ts";

/** See the header. */
export abstract class MemorylessPolicy implements RoutingPolicy {
  abstract readonly name: string;
  abstract readonly knowledge: RoutingPolicy["knowledge"];

  /** See RoutingPolicy. */
  abstract rank(
    request: RoutingRequest,
    views: readonly WorkerView[],
    nowSeconds: number,
    into: Uint32Array,
  ): number;

  /** See RoutingPolicy. */
  join(): void {
    // Nothing is remembered by position.
  }

  /** See RoutingPolicy. */
  leave(): void {
    // Nothing is remembered by position.
  }

  /** See RoutingPolicy. */
  book(): void {
    // Nothing is remembered by request.
  }
}
