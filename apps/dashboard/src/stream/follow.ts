/**
 * A stream of server-sent events that a view follows while it is drawn.
 *
 *     open ─▶ connecting ─▶ live ─▶ ended ──RETRY_MS──▶ connecting
 *                 └─▶ refused (the reason) ──RETRY_MS──▶ connecting
 *
 * Not here: the stream behind every view (connection.ts), and what the events mean.
 */
import { ApiError, problemOf, send } from "../page/api.ts";
import { SseReader } from "./sse-reader.ts";

const RETRY_MS = 3000;

/** Where a stream stands. */
export type FollowState =
  | { readonly kind: "connecting" | "live" | "ended" }
  | { readonly kind: "refused"; readonly failure: ApiError };

/** What follows it. */
export interface Follower {
  /** Below `/api/v1/`; asked at each attempt. */
  readonly path: () => string;
  readonly onState: (state: FollowState) => void;
  /** Takes an event; false ends all. */
  readonly onEvent: (event: string, data: string) => boolean;
}

/**
 * Follows a stream.
 *
 * @returns ends it.
 */
export function follow({ path, onState, onEvent }: Follower): () => void {
  const abort = new AbortController();
  let timer: ReturnType<typeof setTimeout> | undefined;
  const read = async (): Promise<void> => {
    const response = await send(path(), { signal: abort.signal });
    if (!response.ok) throw await problemOf(response);
    onState({ kind: "live" });
    const reader = new SseReader();
    const body = response.body?.getReader();
    for (let part = await body?.read(); part?.value !== undefined; part = await body?.read())
      for (const { event, data } of reader.read(part.value)) if (!onEvent(event, data)) abort.abort();
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
