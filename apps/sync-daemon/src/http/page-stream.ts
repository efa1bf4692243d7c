/**
 * A long answer in pages, with a turn of the event loop between two pages.
 *
 *   pages ─▶ page ─▶ turn ─▶ page ─▶ …
 *
 * A stream over a plain generator is read as fast as its consumer takes it. A consumer that takes all
 * of it at once would keep the loop for the whole answer, and every lookup would wait.
 */

import { Readable } from "node:stream";
import { setImmediate as turn } from "node:timers/promises";

/**
 * Makes a stream of pages.
 *
 * @param pages - of about a millisecond each; read one by one, as the consumer takes them.
 * @returns a stream of their bytes.
 */
export function pageStream(pages: Iterable<Buffer | string>): Readable {
  return Readable.from(inTurns(pages), { objectMode: false });
}

async function* inTurns(pages: Iterable<Buffer | string>): AsyncGenerator<Buffer | string> {
  for (const page of pages) {
    yield page;
    await turn();
  }
}
