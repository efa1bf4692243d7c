/**
 * Questions of the HTTP rim to the picker's thread: by message, bounded in number and time.
 *
 *     question ─▶ room? ─▶ message ─▶ thread ─▶ answer
 *                  │ no                  └ no answer in time ─▶ picker_unanswered
 *                  └▶ picker_busy
 *
 *  B1  A question is answered or refused within its time, also when the thread stands still (picker-http.test.ts "B1").
 *
 * Not here: the thread (picker-host.ts).
 */

import { CodedError } from "@kvsync/core";

import type { PickReply } from "./api-requests.ts";
import type { FromPicker, PickerQuestion, ToPicker } from "./picker-messages.ts";
import type { PickerStatus } from "./picker-status.ts";

/** Questions that wait for answers at once. */
const QUESTIONS_MAX = 1024;

/** Facts of a question that has no answer. */
export type PickerFacts =
  | { readonly code: "picker_off" }
  | { readonly code: "picker_busy"; readonly maximum: number }
  | { readonly code: "picker_unanswered"; readonly timeout_ms: number }
  | { readonly code: "no_endpoint" }
  | { readonly code: "subset_empty" }
  | { readonly code: "picks_full" }
  | { readonly code: "pick_failed" }
  | { readonly code: "unknown_pick"; readonly id: string };

/** A question that has no answer. */
export class PickerError extends CodedError<PickerFacts> {}

/** Answers by the kind of their question. */
export interface PickerAnswers {
  readonly status: PickerStatus;
  readonly explain: PickReply;
  readonly pick: PickReply;
  readonly end: boolean;
  readonly outcomes: number;
}

/** A thread that takes questions. */
export interface QuestionSender {
  /** Null when the picker is off. */
  readonly send: ((message: ToPicker) => void) | null;
  readonly timeoutMs: number;
}

/** See the header. */
export class PickerQuestions {
  #sender: QuestionSender = { send: null, timeoutMs: 0 };
  readonly #waiting = new Map<number, (answer: PickerAnswers[keyof PickerAnswers]) => void>();
  #last = 0;

  /** The thread that is asked from now on. */
  connect(sender: QuestionSender): void {
    this.#sender = sender;
  }

  /** The thread has answered. */
  answered({ id, answer }: Extract<FromPicker, { readonly kind: "answer" }>): void {
    this.#waiting.get(id)?.(answer);
  }

  /**
   * Asks.
   *
   * @param question - of the kind.
   * @throws PickerError picker_off, picker_busy, picker_unanswered.
   */
  ask<Kind extends PickerQuestion["kind"]>(
    question: Extract<PickerQuestion, { readonly kind: Kind }>,
  ): Promise<PickerAnswers[Kind]> {
    const { send, timeoutMs } = this.#sender;
    if (send === null) throw new PickerError({ code: "picker_off" }, "the picker is off: set picker.enabled");
    if (this.#waiting.size >= QUESTIONS_MAX)
      throw new PickerError(
        { code: "picker_busy", maximum: QUESTIONS_MAX },
        `${QUESTIONS_MAX} questions wait for the picker already`,
      );
    const id = (this.#last += 1);
    return new Promise((resolve, reject) => {
      const timer = setTimeout(() => {
        this.#waiting.delete(id);
        const message = `the picker has not answered within ${timeoutMs} ms`;
        reject(new PickerError({ code: "picker_unanswered", timeout_ms: timeoutMs }, message));
      }, timeoutMs);
      this.#waiting.set(id, (answer) => {
        clearTimeout(timer);
        this.#waiting.delete(id);
        resolve(answer as PickerAnswers[Kind]);
      });
      send({ kind: "ask", id, question });
    });
  }
}
