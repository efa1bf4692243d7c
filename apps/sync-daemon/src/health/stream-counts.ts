/**
 * How many streams (worker and DP rank) should be followed, are connected, and are exact. One rule
 * for `/health`, `/api/v1/kv-sync/health` and their status, so that they never contradict each
 * other.
 *
 *     registry ─▶ expected        board ─▶ connected, exact, reason of the others
 *
 * Invariants
 *  S1  connected and exact are at most expected. The ranks of `not_exact` and the exact ones add up to expected.
 *  S2  A reason is listed once; there are no more than core has reasons.
 *
 * The trust is the board's: a rank whose worker has stopped is not exact. The alert StreamUntrusted
 * and the metric `kv_stream_trust` read the same.
 */

import type { Trust, TrustReason } from "@kvsync/core";

import type { StreamStatus } from "../board/stream-board.ts";

/** Streams that are not exact for one reason. */
interface NotExact {
  readonly trust: Exclude<Trust, "exact">;
  readonly reason: TrustReason;
  readonly streams: number;
}

/** Counts of streams. */
export interface StreamCounts {
  /** That should be followed: every rank of every engine that is registered. */
  readonly expected: number;
  readonly connected: number;
  readonly exact: number;
  /** The others by reason, the most frequent first. */
  readonly not_exact: readonly NotExact[];
}

/** Adds up streams. */
export class StreamCounter {
  #expected = 0;
  #connected = 0;
  #exact = 0;
  readonly #notExact = new Map<TrustReason, { readonly trust: Exclude<Trust, "exact">; streams: number }>();

  /**
   * Counts one stream.
   *
   * @param status - its.
   */
  add({
    connected,
    trust,
    trustReason: reason,
  }: Pick<StreamStatus, "connected" | "trust" | "trustReason">): void {
    this.#expected += 1;
    if (connected) this.#connected += 1;
    if (trust === "exact" || reason === null) {
      this.#exact += 1;
      return;
    }
    const counted = this.#notExact.get(reason);
    if (counted === undefined) this.#notExact.set(reason, { trust, streams: 1 });
    else counted.streams += 1;
  }

  /** What was counted. */
  get counts(): StreamCounts {
    const not_exact = [...this.#notExact].map(([reason, { trust, streams }]) => ({ trust, reason, streams }));
    not_exact.sort((one, other) => other.streams - one.streams);
    return { expected: this.#expected, connected: this.#connected, exact: this.#exact, not_exact };
  }
}

/**
 * The counts for people.
 *
 * @param counts - of some streams.
 * @returns such as "2 of 4 streams are exact and 3 are connected; not exact: gap 1, disconnected 1".
 */
export function countsText({ expected, connected, exact, not_exact }: StreamCounts): string {
  if (expected === 0) return "no engine is registered, so that there is no stream";
  const reasons = not_exact.map(({ reason, streams }) => `${reason} ${streams}`).join(", ");
  const others = reasons === "" ? "" : `; not exact: ${reasons}`;
  return `${exact} of ${expected} streams are exact and ${connected} are connected${others}`;
}
