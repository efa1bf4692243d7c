/** Who dials when there is not room for all. */
import { expect, test } from "vitest";

import { type Dialled, Dialler } from "./dialler.ts";

/** A connection that is due again as soon as it has dialled: an engine that is down. */
function down(name: string, log: string[]): Dialled {
  return { isDue: () => true, dial: () => void log.push(name) };
}

test("at once no more dial than the burst, then so many a second", () => {
  const log: string[] = [];
  const dialler = new Dialler({ perSecond: 10, burst: 2 }, 0);
  for (const name of ["a", "b", "c", "d", "e"]) dialler.add(down(name, log));
  dialler.dialDue(0);
  expect(log).toEqual(["a", "b"]);
  dialler.dialDue(99);
  expect(log).toEqual(["a", "b"]);
  dialler.dialDue(100);
  expect(log).toEqual(["a", "b", "c"]);
});

test("all get their turn, however many are down, each before anybody's second one", () => {
  const log: string[] = [];
  const dialler = new Dialler({ perSecond: 1000, burst: 1 }, 0);
  const names = Array.from({ length: 50 }, (_, i) => `engine-${i}`);
  for (const name of names) dialler.add(down(name, log));
  for (let nowMs = 0; nowMs < 100; nowMs += 1) dialler.dialDue(nowMs);
  expect(log).toEqual([...names, ...names]);
});

test("one that has waited is dialled before those that keep dialling", () => {
  const log: string[] = [];
  let isDue = false;
  const dialler = new Dialler({ perSecond: 1000, burst: 1 }, 0);
  for (const name of ["a", "b"]) dialler.add(down(name, log));
  dialler.add({ isDue: () => isDue, dial: () => void log.push("late") });
  for (let nowMs = 0; nowMs < 6; nowMs += 1) dialler.dialDue(nowMs);
  isDue = true;
  dialler.dialDue(6);
  expect(log.at(-1)).toBe("late");
});

test("one that is let go dials no more, also when it goes while others dial", () => {
  const log: string[] = [];
  const dialler = new Dialler({ perSecond: 1000, burst: 10 }, 0);
  let isClosed = false;
  const gone = { isDue: () => !isClosed, dial: () => void log.push("gone") };
  dialler.add({
    isDue: () => true,
    dial: () => {
      log.push("first");
      isClosed = true;
      dialler.remove(gone);
    },
  });
  dialler.add(gone);
  dialler.dialDue(0);
  isClosed = false;
  dialler.dialDue(1000);
  expect(log).toEqual(["first", "first"]);
});
