/** Which messages a stream gets from a socket that several DP ranks publish through (W1 to W5 of stream-filter.ts). */
import { encode } from "@msgpack/msgpack";
import fc from "fast-check";
import { expect, test } from "vitest";

import { StreamFilter, type Verdict } from "./stream-filter.ts";

function message(number: number, rank: number | null): Uint8Array[] {
  const sequence = new Uint8Array(8);
  new DataView(sequence.buffer).setUint32(4, number);
  return [new Uint8Array(), sequence, encode([1.5, [["AllBlocksCleared"]], rank])];
}

function judged(filter: StreamFilter, messages: readonly (readonly [number, number | null])[]): Verdict[] {
  return messages.map(([number, rank]) => filter.judge("live", message(number, rank)).verdict);
}

test("W2: a socket of one rank is never filtered, whatever rank it names", () => {
  const filter = new StreamFilter(0, false, "");
  expect(
    judged(filter, [
      [0, 3],
      [1, 3],
      [5, 3],
      [0, 3],
      [1, null],
    ]),
  ).toEqual(Array(5).fill("own"));
  expect(filter.ownRank).toBeNull();
});

test("W1: two ranks with numbers of their own are told apart at the second one's first message", () => {
  const filter = new StreamFilter(0, false, "");
  expect(
    judged(filter, [
      [0, 0],
      [1, 0],
      [0, 1],
      [2, 0],
      [1, 1],
      [3, 0],
    ]),
  ).toEqual(["own", "own", "other_dp_rank", "own", "other_dp_rank", "own"]);
  expect([filter.ownRank, filter.hasFoundSharing]).toEqual([0, true]);
});

test("W3: a rank that is always one message ahead is found all the same, and the stream begins anew (W4)", () => {
  const filter = new StreamFilter(0, false, "");
  const verdicts = [
    [5, 0],
    [6, 1],
    [6, 0],
    [7, 1],
    [7, 0],
  ].map(([number = 0, rank = 0]) => filter.judge("live", message(number, rank)));
  expect(verdicts.some(({ mustBegin }) => mustBegin)).toBe(true);
  expect(
    judged(filter, [
      [8, 1],
      [8, 0],
    ]),
  ).toEqual(["other_dp_rank", "own"]);
});

test("W4: what came first of another rank has the stream begin anew with its own", () => {
  const filter = new StreamFilter(1, false, "");
  expect(filter.judge("live", message(0, 0))).toEqual({ verdict: "own", mustBegin: false });
  expect(filter.judge("live", message(0, 1))).toEqual({ verdict: "own", mustBegin: true });
  expect(
    judged(filter, [
      [1, 0],
      [1, 1],
    ]),
  ).toEqual(["other_dp_rank", "own"]);
});

test("another publisher at the socket is judged afresh", () => {
  const filter = new StreamFilter(0, false, "");
  judged(filter, [
    [0, 0],
    [0, 1],
  ]);
  filter.connected();
  expect(
    judged(filter, [
      [0, 1],
      [1, 1],
    ]),
  ).toEqual(["own", "own"]);
});

test("with an entry that says so every message is told apart from the first on, and one without a rank is nobody's", () => {
  const filter = new StreamFilter(1, true, "");
  expect(
    judged(filter, [
      [0, 0],
      [0, 1],
      [1, 1],
      [1, null],
    ]),
  ).toEqual(["other_dp_rank", "own", "own", "unnamed_dp_rank"]);
});

test("W1: of any mix of ranks that begin at 0, after the first switch only the own rank's messages come through", () => {
  fc.assert(
    fc.property(fc.array(fc.nat(2), { minLength: 20, maxLength: 60 }), (order) => {
      const filter = new StreamFilter(0, false, "");
      const next = [0, 0, 0];
      order.forEach((rank) => {
        const number = next[rank] ?? 0;
        next[rank] = number + 1;
        const { verdict } = filter.judge("live", message(number, rank));
        if (filter.ownRank !== null) expect(verdict).toBe(rank === filter.ownRank ? "own" : "other_dp_rank");
      });
      const published = next.filter((count) => count > 0).length;
      if (published > 1) expect(filter.ownRank).not.toBeNull();
    }),
  );
});

test("what is no message of the protocol is left to the stream", () => {
  const filter = new StreamFilter(0, true, "");
  expect(filter.judge("live", [new Uint8Array()]).verdict).toBe("own");
  expect(filter.judge("replay", [new Uint8Array(), new Uint8Array(8), new Uint8Array()]).verdict).toBe("own");
});

function named(topic: string, number: number): Uint8Array[] {
  return [new TextEncoder().encode(topic), ...message(number, 0).slice(1)];
}

test("W5: of topics that begin with the entry's, only the very same one is the stream's", () => {
  const filter = new StreamFilter(0, false, "kv@a");
  expect(filter.judge("live", named("kv@ab", 0)).verdict).toBe("other_topic");
  expect(filter.ownTopicHeard).toBe(false);
  expect(filter.judge("live", named("kv@a", 0)).verdict).toBe("own");
  expect(filter.ownTopicHeard).toBe(true);
  expect(filter.judge("live", named("kv@ab", 1)).verdict).toBe("other_topic");
  expect(filter.judge("replay", message(1, 0)).verdict).toBe("own");
});

test("W5: without a topic in the entry every topic is the stream's", () => {
  const filter = new StreamFilter(0, false, "");
  expect(filter.judge("live", named("kv@ab", 0)).verdict).toBe("own");
});
