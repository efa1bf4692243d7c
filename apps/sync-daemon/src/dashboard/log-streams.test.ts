/** Streams of the log: every line once, a bound on lines and bytes, and their ends. */
import { expect, test } from "vitest";

import type { LogLine } from "../log/log-line.ts";
import type { Viewer } from "./live-stream.ts";
import { LINES_MAX, LogRing } from "./log-ring.ts";
import { LogStreams } from "./log-streams.ts";

const VIEWERS_MAX = 3;
const HOUR_MS = 3_600_000;
const ALL = { after: 0, level: "debug", limit: LINES_MAX } as const;

class LogWorld {
  nowMs = 1000;
  readonly ring = new LogRing(() => this.nowMs);
  readonly streams = new LogStreams({ ring: this.ring, now: () => this.nowMs, viewersMax: VIEWERS_MAX });

  log(count: number, pod = "engine-0"): void {
    for (let i = 0; i < count; i++)
      this.ring.add({
        level: "info",
        component: "sync",
        event: "engine_connected",
        message: "connected",
        facts: { pod },
        trace: {},
      } as unknown as LogLine);
  }
}

/** What a viewer got. */
class Reader implements Viewer {
  writableLength = 0;
  isEnded = false;
  readonly #bytes: Buffer[] = [];

  write = (bytes: Buffer): void => void this.#bytes.push(bytes);
  end = (): void => {
    this.isEnded = true;
  };

  get events(): [string, { lines?: { n: number }[]; left_out?: number; last?: number }][] {
    return [
      ...Buffer.concat(this.#bytes)
        .toString()
        .matchAll(/event: (\w+)\ndata: (.*)\n\n/g),
    ].map(([, event = "", data = ""]) => [event, JSON.parse(data) as object]);
  }

  get numbers(): number[] {
    return this.events.flatMap(([, { lines = [] }]) => lines.map(({ n }) => n));
  }

  get leftOut(): number {
    return this.events.reduce((sum, [, { left_out = 0 }]) => sum + left_out, 0);
  }
}

test("a viewer gets the lines that are kept, then each new one once (G1)", () => {
  const world = new LogWorld();
  world.log(3);
  const reader = new Reader();
  world.streams.watch(reader, ALL);
  expect(reader.events[0]).toEqual(["hello", { last: 3, now: 1000 }]);
  world.log(2);
  world.streams.beat();
  world.streams.beat();
  world.log(1);
  world.streams.beat();
  expect(reader.numbers).toEqual([1, 2, 3, 4, 5, 6]);
  expect(reader.leftOut).toBe(0);
  const later = new Reader();
  world.streams.watch(later, { ...ALL, after: 4 });
  expect(later.numbers).toEqual([5, 6]);
  // Kept lines that it did not ask for are not left out.
  const few = new Reader();
  world.streams.watch(few, { ...ALL, limit: 2 });
  expect([few.numbers, few.leftOut]).toEqual([[5, 6], 0]);
  world.streams.stop();
});

test("a filter holds for new lines too, and a number of an earlier process counts as none (G1)", () => {
  const world = new LogWorld();
  world.log(2);
  const reader = new Reader();
  world.streams.watch(reader, { ...ALL, after: 900, pod: "engine-1" });
  expect(reader.numbers).toEqual([]);
  world.log(1, "engine-1");
  world.log(1);
  world.streams.beat();
  expect(reader.numbers).toEqual([3]);
  world.streams.stop();
});

test("a viewer gets the latest lines of a flood and the number of the others, and nothing while it reads too slowly (G2)", () => {
  const world = new LogWorld();
  const reader = new Reader();
  world.streams.watch(reader, ALL);
  world.log(60);
  world.streams.beat();
  expect(reader.numbers).toEqual(Array.from({ length: 50 }, (_, i) => 11 + i));
  expect(reader.leftOut).toBe(10);
  reader.writableLength = 1e6;
  world.log(LINES_MAX + 40);
  world.streams.beat();
  expect(reader.numbers).toHaveLength(50);
  reader.writableLength = 0;
  world.streams.beat();
  expect(reader.numbers.at(-1)).toBe(world.ring.last);
  expect(reader.leftOut + reader.numbers.length).toBe(world.ring.last);
  world.streams.stop();
});

test("there are so many viewers and no more, until one has left (G3)", () => {
  const world = new LogWorld();
  const leave = world.streams.watch(new Reader(), ALL);
  world.streams.watch(new Reader(), ALL);
  world.streams.watch(new Reader(), ALL);
  expect(() => world.streams.watch(new Reader(), ALL)).toThrow("3 viewers watch the log");
  leave();
  world.streams.check();
  world.streams.stop();
});

test("a stream ends after an hour, and when the daemon stops (G4)", () => {
  const world = new LogWorld();
  const [old, young] = [new Reader(), new Reader()];
  world.streams.watch(old, ALL);
  world.nowMs += HOUR_MS - 1;
  world.streams.watch(young, ALL);
  world.nowMs += 2;
  world.streams.beat();
  expect([old.isEnded, young.isEnded, old.events.at(-1)]).toEqual([true, false, ["bye", {}]]);
  world.streams.stop();
  expect(young.events.at(-1)).toEqual(["bye", {}]);
});
