/** Events from bytes, however they are divided. */
import fc from "fast-check";
import { describe, expect, it } from "vitest";

import { EVENT_CHARACTERS_MAX, EventTooLongError, SseReader, type StreamEvent } from "./sse-reader.ts";

const bytesOf = (text: string): Uint8Array => new TextEncoder().encode(text);

/** Reads the bytes in chunks that end at the positions. */
function readAt(bytes: Uint8Array, ends: readonly number[]): StreamEvent[] {
  const reader = new SseReader();
  const cuts = [0, ...[...ends].sort((a, b) => a - b), bytes.length];
  return cuts.slice(1).flatMap((end, i) => reader.read(bytes.subarray(cuts[i], end)));
}

const STREAM = [
  'event: hello\ndata: {"instance":"ä€😀"}\n\n',
  ": keep-alive\n\n",
  "event: delta\r\ndata: one\r\ndata:two\r\n\r\n",
  "data: without a name\r\r",
  "event: empty\n\n",
  "retry: 3000\nunknown\ndata\n\n",
].join("");

const EVENTS: readonly StreamEvent[] = [
  { event: "hello", data: '{"instance":"ä€😀"}' },
  { event: "delta", data: "one\ntwo" },
  { event: "message", data: "without a name" },
  { event: "message", data: "" },
];

describe("the reader of server-sent events", () => {
  it("reads names, data of several lines, comments, and every end of line", () => {
    expect(readAt(bytesOf(STREAM), [])).toEqual(EVENTS);
  });

  it("reads the same from every division into two chunks and from single bytes (R1)", () => {
    const bytes = bytesOf(STREAM);
    for (let end = 0; end <= bytes.length; end += 1) expect(readAt(bytes, [end])).toEqual(EVENTS);
    expect(
      readAt(
        bytes,
        [...bytes].map((_, i) => i),
      ),
    ).toEqual(EVENTS);
  });

  it("reads the same from any division (R1)", () => {
    const bytes = bytesOf(STREAM);
    fc.assert(
      fc.property(fc.array(fc.nat(bytes.length), { maxLength: 30 }), (ends) => {
        expect(readAt(bytes, ends)).toEqual(EVENTS);
      }),
    );
  });

  it("gives an event only once its empty line has arrived", () => {
    const reader = new SseReader();
    expect(reader.read(bytesOf("event: a\ndata: 1\n"))).toEqual([]);
    expect(reader.read(bytesOf("\n"))).toEqual([{ event: "a", data: "1" }]);
  });

  it("refuses an event that grows without end, in one line or in many (R2)", () => {
    const piece = bytesOf("x".repeat(EVENT_CHARACTERS_MAX / 2));
    const one = new SseReader();
    one.read(bytesOf("data: "));
    one.read(piece);
    expect(() => one.read(piece)).toThrow(EventTooLongError);
    const many = new SseReader();
    const line = bytesOf(`data: ${"x".repeat(EVENT_CHARACTERS_MAX / 2)}\n`);
    many.read(line);
    many.read(line);
    expect(() => many.read(line)).toThrow(EventTooLongError);
  });
});
