/**
 * The future of a workload, for the oracle policy: which part of a prompt later requests share. It
 * holds a number per
 * distinct id, some 50 bytes each.
 */
import type { Workload, WorkloadRequest } from "./workload.ts";

/** See the header. */
export class WorkloadFuture {
  readonly #blockTokens: number;
  /** Position of the last request that has an id. Adapters are not told apart, which only makes more look wanted. */
  readonly #lastUse = new Map<number, number>();

  /** @param workload - read to its end. */
  constructor(workload: Workload) {
    this.#blockTokens = workload.blockTokens;
    let position = 0;
    for (const { hashIds } of workload.requests()) {
      for (const id of hashIds) this.#lastUse.set(id, position);
      position++;
    }
  }

  /**
   * Finds how much of a prompt a later request shares.
   *
   * @param request - of the workload.
   * @param position - its position there.
   * @returns tokens from the prompt's begin, at most its length.
   */
  sharedTokens({ hashIds, inputTokens }: WorkloadRequest, position: number): number {
    let count = 0;
    while (count < hashIds.length && (this.#lastUse.get(hashIds[count] ?? -1) ?? -1) > position) count++;
    return Math.min(inputTokens, count * this.#blockTokens);
  }
}
