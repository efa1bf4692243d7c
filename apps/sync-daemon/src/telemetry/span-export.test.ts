/** The bound on waiting spans, over a processor that sends when the test triggers it. */
import type { ReadableSpan, SpanProcessor } from "@opentelemetry/sdk-trace";
import { expect, test } from "vitest";

import { BoundedProcessor, SPANS_WAITING_MAX } from "./span-export.ts";

function bounded() {
  const counts = new Map<string, number>();
  let left: (spans: number) => void = () => undefined;
  let taken = 0;
  const inner: SpanProcessor = {
    onStart: () => undefined,
    onEnd: () => void (taken += 1),
    forceFlush: () => Promise.resolve(),
    shutdown: () => Promise.resolve(),
  };
  const processor = new BoundedProcessor(
    (report) => {
      left = report;
      return inner;
    },
    (outcome, spans) => counts.set(outcome, (counts.get(outcome) ?? 0) + spans),
  );
  const end = (count: number): void => {
    for (let i = 0; i < count; i++) processor.onEnd({} as ReadableSpan);
  };
  return {
    end,
    counts,
    taken: () => taken,
    send: (spans: number) => {
      left(spans);
    },
  };
}

test("spans that find no room are counted and not kept", () => {
  const { end, counts, taken } = bounded();
  end(SPANS_WAITING_MAX + 5);
  expect(taken()).toBe(SPANS_WAITING_MAX);
  expect([...counts]).toEqual([["queue_full", 5]]);
});

test("what has been sent makes room, exactly as much", () => {
  const { end, counts, taken, send } = bounded();
  end(SPANS_WAITING_MAX);
  send(512);
  end(600);
  expect(taken()).toBe(SPANS_WAITING_MAX + 512);
  expect(counts.get("queue_full")).toBe(600 - 512);
});
