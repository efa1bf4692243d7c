/**
 * An answer of the daemon that is asked for again and again while a view is open.
 *
 *     open ─▶ ask ─▶ answer, or failure ─▶ wait ─▶ ask …       paused, or the tab hidden ─▶ nothing is asked
 *
 * A failure leaves the last answer: the view shows both.
 */
import { useEffect, useState } from "preact/hooks";

import { ApiError, ask } from "../page/api.ts";
import { connectionState } from "../page/state.ts";

/** What is known of an answer. */
export interface Polled<Answer> {
  readonly answer: Answer | null;
  /** Of the last attempt. */
  readonly failure: ApiError | null;
  /** Asks at once. */
  readonly again: () => void;
}

/**
 * Repeats a question: at once, and again some time after each answer or failure. Nothing is asked while
 * the page is paused or its tab hidden.
 *
 * @param question - asks, and keeps the answer.
 * @param onFailure - gets why a question failed; null after one that did not.
 * @param everyMs - between an answer and the next question.
 * @returns ends it.
 */
export function repeat(
  question: (signal: AbortSignal) => Promise<void>,
  onFailure: (failure: ApiError | null) => void,
  everyMs: number,
): () => void {
  const abort = new AbortController();
  let timer: ReturnType<typeof setTimeout> | undefined;
  const load = async (): Promise<void> => {
    const { kind } = connectionState.peek();
    if (kind !== "paused" && kind !== "hidden")
      try {
        await question(abort.signal);
        onFailure(null);
      } catch (error) {
        if (abort.signal.aborted) return;
        onFailure(error instanceof ApiError ? error : new ApiError(0, "", String(error), ""));
      }
    if (!abort.signal.aborted)
      timer = setTimeout(() => {
        void load();
      }, everyMs);
  };
  void load();
  return () => {
    abort.abort();
    clearTimeout(timer);
  };
}

/**
 * Asks for an answer while the calling view is drawn.
 *
 * @param path - below `/api/v1/`; another path forgets the last answer.
 * @param everyMs - between an answer and the next question.
 */
export function usePolled<Answer>(path: string, everyMs: number): Polled<Answer> {
  const [answer, setAnswer] = useState<Answer | null>(null);
  const [failure, setFailure] = useState<ApiError | null>(null);
  const [round, setRound] = useState(0);
  useEffect(() => {
    setAnswer(null);
    setFailure(null);
  }, [path]);
  useEffect(
    () =>
      repeat(
        async (signal) => {
          setAnswer(await ask<Answer>(path, { signal }));
        },
        setFailure,
        everyMs,
      ),
    [path, everyMs, round],
  );
  return {
    answer,
    failure,
    again: () => {
      setRound(round + 1);
    },
  };
}
