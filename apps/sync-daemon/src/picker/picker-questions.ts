/**
 * Questions of the HTTP rim to the picker's threads: by message, bounded in number and time.
 *
 *     question ─▶ room? ─▶ message ─▶ thread ─▶ answer
 *                  │ no                  └ no answer in time ─▶ picker_unanswered
 *                  └▶ picker_busy
 *
 *     status ─▶ all threads, added up       end ─▶ the thread that made the pick, by the pick's id
 *     pick, explain ─▶ each in its turn     outcomes ─▶ the first
 *
 *  B1  A question is answered or refused within its time, also when a thread stands still (picker-http.test.ts "B1").
 *  B2  A pick is ended at the thread that made it (picker-threads.e2e.test.ts "B2").
 *
 * Not here: the thread (picker-host.ts).
 */

import { assert, CodedError } from "@kvsync/core";

import type { PickReply } from "./api-requests.ts";
import type { FromPicker, PickerQuestion, ToPicker } from "./picker-messages.ts";
import { type PickerStatus, statusOfAll } from "./picker-status.ts";

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
export interface AskedThread {
  readonly send: (message: ToPicker) => void;
  /** Each id of its picks begins with it, and no id of another thread's. */
  readonly pickPrefix: string;
}

/** See the header. */
export class PickerQuestions {
  #threads: readonly AskedThread[] = [];
  #timeoutMs = 0;
  readonly #waiting = new Map<number, (answer: PickerAnswers[keyof PickerAnswers]) => void>();
  #last = 0;
  #turn = 0;

  /**
   * The threads that are asked from now on; none when the picker is off.
   *
   * @param threads - the one that scrapes first.
   * @param timeoutMs - longest wait for an answer.
   */
  connect(threads: readonly AskedThread[], timeoutMs: number): void {
    this.#threads = threads;
    this.#timeoutMs = timeoutMs;
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
    const [first, ...others] = this.#threads;
    if (first === undefined)
      throw new PickerError({ code: "picker_off" }, "the picker is off: set picker.enabled");
    const needed = question.kind === "status" ? this.#threads.length : 1;
    if (this.#waiting.size + needed > QUESTIONS_MAX)
      throw new PickerError(
        { code: "picker_busy", maximum: QUESTIONS_MAX },
        `${QUESTIONS_MAX} questions wait for the picker already`,
      );
    if (question.kind !== "status") return this.#askOne(this.#threadFor(question, first), question);
    const status = { kind: "status" } as const;
    const all = [first, ...others].map((thread) => this.#askOne<"status">(thread, status));
    return Promise.all(all).then(([own, ...rest]) => {
      assert(own !== undefined, "as many answers as threads");
      return statusOfAll(own, rest) as PickerAnswers[Kind];
    });
  }

  #threadFor(question: PickerQuestion, first: AskedThread): AskedThread {
    const { kind } = question;
    if (kind === "end")
      return this.#threads.find(({ pickPrefix }) => question.pick.startsWith(pickPrefix)) ?? first;
    if (kind !== "pick" && kind !== "explain") return first;
    this.#turn = (this.#turn + 1) % this.#threads.length;
    return this.#threads[this.#turn] ?? first;
  }

  #askOne<Kind extends PickerQuestion["kind"]>(
    { send }: AskedThread,
    question: Extract<PickerQuestion, { readonly kind: Kind }>,
  ): Promise<PickerAnswers[Kind]> {
    const id = (this.#last += 1);
    const timeoutMs = this.#timeoutMs;
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
