import { expect, test } from "vitest";
import { HeldMessages, HoldBudget } from "./held-messages.ts";

const payload = (bytes: number): Uint8Array => new Uint8Array(bytes);

test("messages come out in the order in which they went in, by reference", () => {
  const held = new HeldMessages(10, 100, new HoldBudget(100));
  const [first, second] = [payload(1), payload(2)];
  expect([held.push(7, first), held.push(5, second)]).toEqual([true, true]);
  expect([held.count, held.firstSequenceNumber]).toEqual([2, 7]);
  const taken = held.takeAll();
  expect(taken.map(({ sequenceNumber }) => sequenceNumber)).toEqual([7, 5]);
  expect(taken[1].payload).toBe(second);
  expect([held.count, held.firstSequenceNumber, held.takeAll()]).toEqual([0, null, []]);
});

test("count, bytes and the shared budget each refuse what is too much, and only that", () => {
  const budget = new HoldBudget(50);
  const held = new HeldMessages(3, 40, budget);
  expect(held.push(0, payload(41))).toBe(false);
  expect([held.push(0, payload(20)), held.push(1, payload(21)), held.push(1, payload(20))]).toEqual([
    true,
    false,
    true,
  ]);
  const other = new HeldMessages(3, 40, budget);
  expect([other.push(0, payload(11)), other.push(0, payload(10))]).toEqual([false, true]);
  expect([held.push(2, payload(0)), held.push(3, payload(0))]).toEqual([true, false]);
  held.takeAll();
  expect(other.push(1, payload(30))).toBe(true);
});
