/**
 * The stream of one rank's events, read from the daemon while the view is open.
 *
 *     connecting, live, ended, refused (stream/follow.ts) ──▶ gone
 *
 * The view keeps the latest KEPT_MAX events.
 */
import { follow, type FollowState } from "../stream/follow.ts";

/** Events that are kept. */
export const KEPT_MAX = 500;

/** An event as the daemon sends it. */
export interface TailEvent {
  readonly at: number;
  readonly seq: number | null;
  readonly lag_ms: number | null;
  readonly type: "BlockStored" | "BlockRemoved" | "AllBlocksCleared" | "unknown" | "message";
  readonly blocks: number;
  readonly applied: boolean;
  readonly reason: string | null;
  readonly tier?: string | null;
  readonly lora?: string | null;
  /** First digits of its first block's hash; absent for a caller without admin scope. */
  readonly hash?: string | null;
  /** Counted by the page. */
  readonly n: number;
}

/** Where the stream stands; `gone` is an engine that the daemon follows no more. */
export type TailState = FollowState | { readonly kind: "gone" };

/** What a view follows. */
export interface TailListener {
  readonly onState: (state: TailState) => void;
  readonly onEvents: (events: readonly TailEvent[], leftOut: number) => void;
}

/**
 * Follows a rank's events.
 *
 * @returns ends it.
 */
export function followEvents(engine: string, rank: string, { onState, onEvents }: TailListener): () => void {
  let n = 0;
  const query = rank === "" ? "" : `?rank=${encodeURIComponent(rank)}`;
  return follow({
    path: () => `engines/${encodeURIComponent(engine)}/events${query}`,
    onState,
    onEvent: (event, data) => {
      if (event === "gone") {
        onState({ kind: "gone" });
        return false;
      }
      if (event !== "events") return true;
      const { events, left_out } = JSON.parse(data) as {
        readonly events: readonly Omit<TailEvent, "n">[];
        readonly left_out: number;
      };
      onEvents(
        events.map((one) => ({ ...one, n: ++n })),
        left_out,
      );
      return true;
    },
  });
}
