import { once } from "node:events";
import { text } from "node:stream/consumers";

import { expect, test } from "vitest";

import { pageStream } from "./page-stream.ts";

/** Counts turns of the event loop until it is told to end. */
function countTurns(): { readonly count: () => number; readonly end: () => void } {
  let turns = 0;
  let isOver = false;
  const turn = (): void => {
    turns += 1;
    if (!isOver) setImmediate(turn);
  };
  setImmediate(turn);
  return {
    count: () => turns,
    end: () => {
      isOver = true;
    },
  };
}

test("P1, P2: many answers at once make one page in a turn of the loop, one after the other", async () => {
  const turns = countTurns();
  const made: { answer: number; turn: number }[] = [];
  function* pages(answer: number): Generator<string> {
    for (let page = 0; page < 4; page += 1) {
      made.push({ answer, turn: turns.count() });
      yield page === 2 ? "" : `${answer}${page} `;
    }
  }
  const texts = await Promise.all([0, 1, 2].map((answer) => text(pageStream(pages(answer)))));
  turns.end();
  expect(texts).toEqual([0, 1, 2].map((answer) => `${answer}0 ${answer}1 ${answer}3 `));
  // The empty third page has no turn of its own.
  expect(new Set(made.map(({ turn }) => turn)).size).toBe(9);
  expect(made.slice(0, 6).map(({ answer }) => answer)).toEqual([0, 1, 2, 0, 1, 2]);
});

test("P3: an answer that nobody reads any more makes no page, and ends what makes them", async () => {
  let isEnded = false;
  let pages = 0;
  function* endless(): Generator<string> {
    try {
      for (;;) {
        pages += 1;
        yield "page";
      }
    } finally {
      isEnded = true;
    }
  }
  const gone = pageStream(endless());
  await once(gone, "readable");
  gone.destroy();
  await once(gone, "close");
  expect(isEnded).toBe(true);
  const before = pages;
  expect(await text(pageStream(["a", "b"]))).toBe("ab");
  expect(pages).toBe(before);
});

test("a fault while a page is made ends the answer with it", async () => {
  function* failing(): Generator<string> {
    yield "page";
    throw new Error("no more");
  }
  await expect(text(pageStream(failing()))).rejects.toThrow("no more");
});
