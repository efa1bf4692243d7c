import fc from "fast-check";
import { expect, test } from "vitest";

import { IngestQueue, type Lane } from "./ingest-queue.ts";

function queue(messages = 4, bytes = 100): IngestQueue<string, string> {
  return new IngestQueue({
    messages: { live: messages, replay: messages },
    bytes: { live: bytes, replay: bytes },
    messageBytes: 50,
  });
}

const frames = (bytes: number): Uint8Array[] => [new Uint8Array(bytes)];

test("each limit refuses with its own reason, and what was in stays in (Q1)", () => {
  const q = queue(2, 60);
  expect(q.offer("live", "a", frames(51), 0, 0)).toBe("message_too_large");
  expect(q.offer("live", "a", frames(40), 0, 0)).toBeNull();
  expect(q.offer("live", "a", frames(21), 0, 0)).toBe("queue_bytes");
  expect(q.offer("live", "a", frames(20), 0, 0)).toBeNull();
  expect(q.offer("live", "a", frames(0), 0, 0)).toBe("queue_messages");
  expect(q.depth("live")).toBe(2);
  expect(q.bytes("live")).toBe(60);
  expect(q.offer("replay", "a", frames(40), 0, 0)).toBeNull();
});

test("lanes take turns while both have something (Q3)", () => {
  const q = queue(10);
  for (let i = 0; i < 3; i++) q.offer("live", `l${i}`, frames(1), 0, 0);
  for (let i = 0; i < 2; i++) q.offer("replay", `r${i}`, frames(1), 0, 0);
  const taken: string[] = [];
  for (let next = q.take(); next !== null; next = q.take()) taken.push(next.item.owner);
  expect(taken).toEqual(["r0", "l0", "r1", "l1", "l2"]);
});

test("Q4: streams take turns, and one that is held back keeps its messages in their order", () => {
  const q = queue(20, 1000);
  for (let i = 0; i < 4; i++) q.offer("live", "long", frames(10 + i), 0, 0);
  q.offer("live", "short", frames(1), 0, 0);
  const take = (): string => {
    const item = q.take()?.item;
    return item?.kind === "message" ? `${item.owner} ${item.bytes}` : "nothing";
  };
  expect([take(), take()]).toEqual(["long 10", "short 1"]);
  q.holdBack("long");
  q.offer("live", "long", frames(14), 0, 0);
  q.note("live", "long", "lost");
  q.offer("live", "short", frames(2), 0, 0);
  expect([take(), take()]).toEqual(["short 2", "nothing"]);
  expect([q.isEmpty, q.depth("live"), q.bytes("live")]).toEqual([true, 4, 50]);
  q.letGo("long");
  expect([take(), take(), take(), take(), q.take()?.item.kind]).toEqual([
    "long 11",
    "long 12",
    "long 13",
    "long 14",
    "note",
  ]);
  expect([take(), q.depth("live"), q.bytes("live")]).toEqual(["nothing", 0, 0]);
});

test("Q5: a stream that sends without measure leaves room for others", () => {
  const q = queue(900, 1e6);
  const accepted = (owner: string, tries: number): number =>
    Array.from({ length: tries }, () => q.offer("live", owner, frames(1), 0, 0)).filter((one) => one === null)
      .length;
  const first = accepted("a", 2000);
  expect(first).toBeGreaterThan(790);
  expect(first).toBeLessThan(810);
  expect(accepted("b", 50)).toBe(50);
});

test("back-pressure rises at once and falls only well below what raised it", () => {
  const q = queue(100, 1000);
  const levels: number[] = [];
  for (let i = 0; i < 100; i++) {
    q.offer("live", `stream ${i}`, frames(1), 0, 0);
    levels.push(q.level());
  }
  expect([levels[48], levels[49], levels[78], levels[79], levels[93], levels[94]]).toEqual([
    0, 1, 1, 2, 2, 3,
  ]);
  const falling: number[] = [];
  for (let i = 0; i < 100; i++) {
    q.take();
    falling.push(q.level());
  }
  // Each level is left at nine tenths of its own ratio: near 85, 72 and 45 messages.
  expect([falling[12], falling[15], falling[26], falling[29], falling[53], falling[56]]).toEqual([
    3, 2, 2, 1, 1, 0,
  ]);
});

test("whatever is offered and taken, order per lane holds, sums agree, and notes keep their place (Q2)", () => {
  const step = fc.oneof(
    fc.record({
      do: fc.constant("offer" as const),
      lane: fc.constantFrom<Lane>("live", "replay"),
      bytes: fc.nat(60),
    }),
    fc.record({
      do: fc.constant("note" as const),
      lane: fc.constantFrom<Lane>("live", "replay"),
      bytes: fc.constant(0),
    }),
    fc.record({ do: fc.constant("take" as const), lane: fc.constant<Lane>("live"), bytes: fc.constant(0) }),
  );
  fc.assert(
    fc.property(fc.array(step, { maxLength: 4000 }), (steps) => {
      const q = queue(20, 300);
      const model: Record<Lane, { name: string; bytes: number }[]> = { live: [], replay: [] };
      steps.forEach((s, i) => {
        if (s.do === "offer") {
          if (q.offer(s.lane, `${i}`, frames(s.bytes), i, 0) === null)
            model[s.lane].push({ name: `${i}`, bytes: s.bytes });
        } else if (s.do === "note") {
          q.note(s.lane, `${i}`, "note");
          model[s.lane].push({ name: `${i}`, bytes: -1 });
        } else {
          const taken = q.take();
          if (taken === null) expect(model.live.length + model.replay.length).toBe(0);
          else expect(model[taken.lane].shift()?.name).toBe(taken.item.owner);
        }
        for (const lane of ["live", "replay"] as const) {
          const messages = model[lane].filter(({ bytes }) => bytes >= 0);
          expect(q.depth(lane)).toBe(messages.length);
          expect(q.bytes(lane)).toBe(messages.reduce((sum, { bytes }) => sum + bytes, 0));
        }
      });
    }),
    { numRuns: 50 },
  );
});
