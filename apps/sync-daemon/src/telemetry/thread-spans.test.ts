/** Which messages an ingest thread takes, and how many spans it hands over. Clock and chance are numbers. */
import { Prng } from "@kvsync/core";
import { Counter } from "@kvsync/observability/slots";
import { expect, test } from "vitest";

import type { FinishedSpan } from "./finished-span.ts";
import { THREAD_SPANS_PER_SECOND, ThreadSpans } from "./thread-spans.ts";

class CountedDrops extends Counter {
  count = 0;
  override inc(): void {
    this.count += 1;
  }
}

const SPAN: FinishedSpan = {
  name: "ingest.apply",
  startMs: 0,
  endMs: 1,
  facts: {
    "kvsync.pod": "engine-0",
    "kvsync.model": "m",
    "kvsync.dp_rank": 0,
    "kvsync.lane": "live",
    "kvsync.queue_wait_seconds": 0,
    "kvsync.sequence_number": 1,
    "kvsync.events": 1,
  },
  error: null,
};

function spansAt(ratio: number, seed = 1) {
  const prng = new Prng(seed);
  const sent: FinishedSpan[] = [];
  const dropped = new CountedDrops(new Float64Array(1), 0);
  const clock = { nowMs: 0 };
  const random = (): number => prng.nextU32() / 2 ** 32;
  const send = (span: FinishedSpan): void => void sent.push(span);
  return {
    spans: new ThreadSpans(ratio, { send, dropped, now: () => clock.nowMs, random }),
    sent,
    dropped,
    clock,
  };
}

test.each([
  [0, 0],
  [1, 10_000],
])("at ratio %f of 10,000 messages %i are taken", (ratio, expected) => {
  const { spans } = spansAt(ratio);
  expect(Array.from({ length: 10_000 }, () => spans.isNext()).filter(Boolean)).toHaveLength(expected);
});

test.each([0.5, 0.1, 0.01])("at ratio %f that share is taken, and not in step with the messages", (ratio) => {
  const { spans } = spansAt(ratio);
  const messages = 200_000;
  const taken: number[] = [];
  for (let i = 0; i < messages; i++) if (spans.isNext()) taken.push(i);
  // Five standard deviations of the binomial.
  expect(Math.abs(taken.length - ratio * messages)).toBeLessThan(
    5 * Math.sqrt(messages * ratio * (1 - ratio)),
  );
  const distances = new Set(taken.slice(1).map((at, i) => at - (taken[i] ?? 0)));
  expect(distances.size).toBeGreaterThan(3);
});

test("spans beyond the budget are counted, and the budget fills again", () => {
  const { spans, sent, dropped, clock } = spansAt(1);
  for (let i = 0; i < THREAD_SPANS_PER_SECOND + 3; i++) spans.finished(SPAN);
  expect(sent).toHaveLength(THREAD_SPANS_PER_SECOND);
  expect(dropped.count).toBe(3);
  clock.nowMs = 1000;
  spans.finished(SPAN);
  expect(sent).toHaveLength(THREAD_SPANS_PER_SECOND + 1);
  expect(dropped.count).toBe(3);
});
