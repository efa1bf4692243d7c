/**
 * The stream of one rank's events, read from the daemon while the view is open.
 *
 *     open ─▶ connecting ─▶ live ─▶ ended ──RETRY_MS──▶ connecting
 *                 │           └───▶ gone
 *                 └─▶ refused (the reason)
 *
 * The view keeps the latest KEPT_MAX events.
 */
import { ApiError, problemOf, send } from "../page/api.ts";
import { SseReader } from "../stream/sse-reader.ts";

/** Events that are kept. */
export const KEPT_MAX = 500;
const RETRY_MS = 3000;

/** An event as the daemon sends it. */
export interface TailEvent {
  readonly at: number;
  readonly seq: number | null;
  readonly lag_ms: number | null;
  readonly type: "BlockStored" | "BlockRemoved" | "AllBlocksCleared" | "unknown" | "message";
  readonly blocks: number;
  readonly applied: boolean;
  readonly reason: string | null;
  /** Counted by the page. */
  readonly n: number;
}

/** Where the stream stands. */
export type TailState =
  | { readonly kind: "connecting" | "live" | "ended" | "gone" }
  | { readonly kind: "refused"; readonly failure: ApiError };

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
  const abort = new AbortController();
  let timer: ReturnType<typeof setTimeout> | undefined;
  let n = 0;
  const take = (event: string, data: string): void => {
    if (event === "hello") onState({ kind: "live" });
    if (event === "gone") {
      onState({ kind: "gone" });
      abort.abort();
    }
    if (event !== "events") return;
    const { events, left_out } = JSON.parse(data) as {
      readonly events: readonly Omit<TailEvent, "n">[];
      readonly left_out: number;
    };
    onEvents(
      events.map((one) => ({ ...one, n: ++n })),
      left_out,
    );
  };
  const read = async (): Promise<void> => {
    const query = rank === "" ? "" : `?rank=${encodeURIComponent(rank)}`;
    const response = await send(`engines/${encodeURIComponent(engine)}/events${query}`, {
      signal: abort.signal,
    });
    if (!response.ok) throw await problemOf(response);
    const reader = new SseReader();
    const body = response.body?.getReader();
    for (let part = await body?.read(); part?.value !== undefined; part = await body?.read())
      for (const { event, data } of reader.read(part.value)) take(event, data);
  };
  const run = async (): Promise<void> => {
    onState({ kind: "connecting" });
    try {
      await read();
      if (!abort.signal.aborted) onState({ kind: "ended" });
    } catch (error) {
      if (abort.signal.aborted) return;
      onState(error instanceof ApiError ? { kind: "refused", failure: error } : { kind: "ended" });
    }
    if (!abort.signal.aborted)
      timer = setTimeout(() => {
        void run();
      }, RETRY_MS);
  };
  void run();
  return () => {
    abort.abort();
    clearTimeout(timer);
  };
}
