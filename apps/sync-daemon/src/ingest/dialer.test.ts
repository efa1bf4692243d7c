/** The order of dials when there is not room for all. */
import { expect, test } from "vitest";

import { type Dialed, Dialer } from "./dialer.ts";

/** A connection that is due again as soon as it has dialed: an engine that is down. */
function down(name: string, log: string[]): Dialed {
  return { isDue: () => true, dial: () => void log.push(name) };
}

test("at once no more dial than the burst, then so many a second", () => {
  const log: string[] = [];
  const dialer = new Dialer({ perSecond: 10, burst: 2 }, 0);
  for (const name of ["a", "b", "c", "d", "e"]) dialer.add(down(name, log));
  dialer.dialDue(0);
  expect(log).toEqual(["a", "b"]);
  dialer.dialDue(99);
  expect(log).toEqual(["a", "b"]);
  dialer.dialDue(100);
  expect(log).toEqual(["a", "b", "c"]);
});

test("all get their turn, however many are down, each before anybody's second one", () => {
  const log: string[] = [];
  const dialer = new Dialer({ perSecond: 1000, burst: 1 }, 0);
  const names = Array.from({ length: 50 }, (_, i) => `engine-${i}`);
  for (const name of names) dialer.add(down(name, log));
  for (let nowMs = 0; nowMs < 100; nowMs += 1) dialer.dialDue(nowMs);
  expect(log).toEqual([...names, ...names]);
});

test("one that has waited is dialed before those that keep dialling", () => {
  const log: string[] = [];
  let isDue = false;
  const dialer = new Dialer({ perSecond: 1000, burst: 1 }, 0);
  for (const name of ["a", "b"]) dialer.add(down(name, log));
  dialer.add({ isDue: () => isDue, dial: () => void log.push("late") });
  for (let nowMs = 0; nowMs < 6; nowMs += 1) dialer.dialDue(nowMs);
  isDue = true;
  dialer.dialDue(6);
  expect(log.at(-1)).toBe("late");
});

test("one that is let go dials no more, also when it goes while others dial", () => {
  const log: string[] = [];
  const dialer = new Dialer({ perSecond: 1000, burst: 10 }, 0);
  let isClosed = false;
  const gone = { isDue: () => !isClosed, dial: () => void log.push("gone") };
  dialer.add({
    isDue: () => true,
    dial: () => {
      log.push("first");
      isClosed = true;
      dialer.remove(gone);
    },
  });
  dialer.add(gone);
  dialer.dialDue(0);
  isClosed = false;
  dialer.dialDue(1000);
  expect(log).toEqual(["first", "first"]);
});
