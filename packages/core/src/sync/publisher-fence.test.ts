import { expect, test } from "vitest";
import { NaivePrefixIndex } from "../prefix-index/testing/naive-prefix-index.ts";
import { PublisherFence } from "./publisher-fence.ts";

const digester = await NaivePrefixIndex.create();

function payload(life: number, sequenceNumber: number, length = 16): Uint8Array {
  return new Uint8Array(length).fill(1).with(0, life).with(1, sequenceNumber);
}

function fenceOf(...times: number[]): PublisherFence {
  const fence = new PublisherFence(digester, 1000);
  times.forEach((nowMs, sequenceNumber) => {
    fence.note(sequenceNumber, payload(0, sequenceNumber), nowMs);
  });
  return fence;
}

test("the last message is recognised by its bytes, and by all of them", () => {
  const fence = fenceOf(0, 1);
  expect(fence.askLast()).toBe(1);
  expect(fence.compare(1, payload(0, 1))).toBe("same");
  expect(fence.compare(1, payload(1, 1))).toBe("other");
  expect(fence.compare(1, payload(0, 1, 17))).toBe("other");
  expect(fence.compare(7, payload(0, 7))).toBe("not_kept");
});

test("the anchor is one to two anchor ages older than the last message (F2)", () => {
  const fence = fenceOf(...Array.from({ length: 50 }, (_, i) => 100 * i));
  const anchor = fence.askAnchor(4900);
  expect(49 - anchor).toBeGreaterThanOrEqual(10);
  expect(49 - anchor).toBeLessThanOrEqual(20);
  expect(fence.compare(anchor, payload(0, anchor))).toBe("same");
});

test("of a short history the anchor is the first message", () => {
  expect(fenceOf(0, 1, 2).askAnchor(2)).toBe(0);
});

test("what was asked for proves its publisher, and so does what was applied an anchor age before the suspicion (F3)", () => {
  const fence = fenceOf(...Array.from({ length: 50 }, (_, i) => 100 * i));
  const anchor = fence.askAnchor(4900);
  expect([fence.proves(anchor), fence.proves(49), fence.proves(7)]).toEqual([true, false, false]);
  fence.askAnchor(5900);
  expect(fence.proves(49)).toBe(true);
  fence.askLast();
  expect([fence.proves(49), fence.proves(anchor)]).toEqual([true, true]);
});

test("what was asked for is recognised although the stream went on", () => {
  const fence = fenceOf(0, 1, 2);
  expect(fence.askLast()).toBe(2);
  fence.note(3, payload(0, 3), 2);
  expect(fence.compare(2, payload(1, 2))).toBe("other");
  expect(fence.compare(2, payload(0, 2))).toBe("same");
});

test("bytes past the first thousand do not count, since the time at the head does", () => {
  const fence = new PublisherFence(digester, 1000);
  fence.note(0, payload(0, 0, 5000), 0);
  expect(fence.compare(0, payload(0, 0, 5000).with(4000, 9))).toBe("same");
  expect(fence.compare(0, payload(0, 0, 5000).with(500, 9))).toBe("other");
});

test("after a reset nothing is kept (F1)", () => {
  const fence = fenceOf(0, 1);
  fence.reset();
  expect([fence.compare(0, payload(0, 0)), fence.compare(1, payload(0, 1))]).toEqual([
    "not_kept",
    "not_kept",
  ]);
});

test("marks kept by a process whose clock was a day ahead do not hold the anchor back", () => {
  const kept = fenceOf(86_400_000, 86_401_000, 86_402_000).marks();
  const fence = new PublisherFence(digester, 1000);
  fence.restore(kept);
  for (let i = 3; i < 50; i++) fence.note(i, payload(0, i), 100 * i);
  expect(49 - fence.askAnchor(4900)).toBeLessThanOrEqual(20);
});
