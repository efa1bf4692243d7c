/**
 * Long answers in pages. All of them together make one page in a turn of the event loop.
 *
 *   pages ─▶ page ─▶ wait for a turn ─▶ page ─▶ …
 *                        │
 *             waiting answers, oldest first ─▶ one a turn
 *
 * A stream over a plain generator is read as fast as its consumer takes it. A consumer that takes all
 * of it at once would keep the loop for the whole answer, and every lookup would wait. So would many
 * consumers at once, if each of them made a page in every turn.
 *
 * Invariants (page-stream.test.ts)
 *  P1  Between two pages of any answers there is a turn of the loop.
 *  P2  Answers take their turns in the order in which they came to wait: none waits for all of another one.
 *  P3  An answer whose consumer has gone waits for no turn.
 */

import { Readable } from "node:stream";

/** Answers that wait for a turn, oldest first. Each is the answer of an open request, which are bounded (security/connection-limit.ts). */
const waiting: (() => void)[] = [];
let isTurning = false;

/**
 * Makes a stream of pages.
 *
 * @param pages - of about a millisecond each; read one by one, as the consumer takes them.
 * @returns a stream of their bytes.
 */
export function pageStream(pages: Iterable<Buffer | string>): Readable {
  const iterator = pages[Symbol.iterator]();
  return new Readable({
    read(): void {
      awaitTurn(() => {
        if (this.destroyed) return false;
        try {
          this.push(nextPage(iterator));
        } catch (error) {
          this.destroy(error as Error);
        }
        return true;
      });
    },
    destroy(error, done): void {
      iterator.return?.();
      done(error);
    },
  });
}

/** The next page that has something in it, since no other one would be asked for after an empty one; null after the last. */
function nextPage(pages: Iterator<Buffer | string>): Buffer | string | null {
  for (;;) {
    const next = pages.next();
    if (next.done === true) return null;
    if (next.value.length > 0) return next.value;
  }
}

/** Calls in a turn of its own; what returns false took no time, and leaves the turn to the next. */
function awaitTurn(use: () => boolean): void {
  waiting.push(() => {
    if (!use()) turn();
  });
  if (isTurning) return;
  isTurning = true;
  setImmediate(nextTurn);
}

function nextTurn(): void {
  turn();
  if (waiting.length > 0) setImmediate(nextTurn);
  else isTurning = false;
}

function turn(): void {
  waiting.shift()?.();
}
