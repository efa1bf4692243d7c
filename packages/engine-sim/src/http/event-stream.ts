/**
 * A streamed answer: server-sent events, written as the engine generates.
 *
 *     data: {chunk}⏎⏎  …  data: {chunk with finish_reason}⏎⏎  [data: {usage}⏎⏎]  data: [DONE]⏎⏎
 *
 *  E1  The texts of the chunks of a choice, joined, are the text of the unstreamed answer
 *      (test/completions.test.ts "E1").
 *  E2  For a client that reads slowly, memory holds the socket's buffer and one chunk per choice.
 *      Tokens that come meanwhile go into one later chunk (event-stream.test.ts "E2").
 *  E3  `[DONE]` follows a complete answer only; an aborted one ends with an error object
 *      (test/completions.test.ts "E3").
 */
import type { Writable } from "node:stream";

import {
  type AnswerHead,
  finishReason,
  roleChunk,
  textChunk,
  type Usage,
  usageChunk,
} from "./completion-answer.ts";

/** How far one choice is. */
interface Progress {
  generated: number;
  sent: number;
}

/** See the header. */
export class EventStream {
  readonly #out: Writable;
  readonly #head: AnswerHead;
  readonly #progress: readonly Progress[];

  /**
   * @param out - the response, its head written.
   * @param head - of the answer.
   */
  constructor(out: Writable, head: AnswerHead) {
    this.#out = out;
    this.#head = head;
    this.#progress = head.request.questions.map(() => ({ generated: 0, sent: 0 }));
    out.on("drain", () => {
      this.#pump();
    });
  }

  /** Reports the tokens of a choice that are there. */
  generated(index: number, count: number): void {
    const progress = this.#progress[index];
    if (progress === undefined) return;
    progress.generated = count;
    if (!this.#out.writableNeedDrain) this.#sendChoice(index, progress);
  }

  /** Sends what is left, and the end. All choices are complete. */
  finish(usage: Usage): void {
    for (const [index, progress] of this.#progress.entries()) this.#sendChoice(index, progress);
    if (this.#head.request.includesUsage) this.#send(usageChunk(this.#head, usage));
    this.#out.end("data: [DONE]\n\n");
  }

  /** Ends an answer that stays incomplete. */
  fail(error: object): void {
    this.#out.end(`data: ${JSON.stringify(error)}\n\n`);
  }

  #pump(): void {
    for (const [index, progress] of this.#progress.entries()) {
      if (this.#out.writableNeedDrain) return;
      this.#sendChoice(index, progress);
    }
  }

  #sendChoice(index: number, progress: Progress): void {
    const { generated, sent } = progress;
    const answer = this.#head.request.questions[index]?.answer;
    if (answer === undefined || generated === sent) return;
    if (sent === 0 && this.#head.request.kind === "chat") this.#send(roleChunk(this.#head, index));
    const isLast = generated === answer.tokens.length;
    const reason = isLast ? finishReason(this.#head.request, index) : null;
    this.#send(textChunk(this.#head, index, answer.slice(sent, generated), reason));
    progress.sent = generated;
  }

  #send(chunk: object): void {
    this.#out.write(`data: ${JSON.stringify(chunk)}\n\n`);
  }
}
