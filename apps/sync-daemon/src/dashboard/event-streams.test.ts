/** Streams of a rank's events: bounded for each viewer and in all, and ended with their engine. */
import { expect, test } from "vitest";

import { WATCHES_MAX } from "../board/event-tail.ts";
import type { RegisteredEngine, RegisteredRank } from "../engine/engine-directory.ts";
import { EventStreams } from "./event-streams.ts";
import { BoardFleet } from "./testing/board-fleet.ts";

class Watcher {
  readonly sent: string[] = [];
  writableLength = 0;
  hasEnded = false;
  write = (bytes: Buffer): number => this.sent.push(bytes.toString());
  end = (): void => {
    this.hasEnded = true;
  };
}

function watched(): {
  readonly fleet: BoardFleet;
  readonly streams: EventStreams;
  readonly watch: (seesHashes?: boolean) => Watcher;
  readonly happen: (events: number) => void;
} {
  const fleet = new BoardFleet();
  const slot = fleet.add("engine");
  const streams = new EventStreams({ board: fleet.board, registry: fleet.registry, now: () => fleet.nowMs });
  const owner = fleet.registry.engine("engine") as RegisteredEngine;
  const watch = (seesHashes = false): Watcher => {
    const watcher = new Watcher();
    streams.watch(watcher, owner, owner.ranks[0] as RegisteredRank, seesHashes);
    return watcher;
  };
  const happen = (events: number): void => {
    const atHand = () => ({ tier: 0, loraName: "support-bot", hashHigh: 0x0a_bc_de_f0 }) as const;
    for (let i = 0; i < events; i++)
      fleet.writer.tail.event(slot, () => fleet.nowMs, "BlockStored", 1, null, atHand);
    fleet.writer.tail.publish(slot, 1, () => 0);
  };
  return { fleet, streams, watch, happen };
}

/** Events that a viewer got, and the number of those that it did not get. */
function got({ sent }: Watcher): readonly [events: number, leftOut: number] {
  const bodies = sent.flatMap((text) => {
    const data = /^event: events\ndata: (.*)\n/.exec(text)?.[1];
    return data === undefined
      ? []
      : [JSON.parse(data) as { readonly events: unknown[]; readonly left_out: number }];
  });
  return [
    bodies.reduce((sum, { events }) => sum + events.length, 0),
    bodies.reduce((sum, { left_out }) => sum + left_out, 0),
  ];
}

test("a viewer gets fifty events a beat, and the number of the others (W1)", () => {
  const { streams, watch, happen } = watched();
  const viewer = watch();
  happen(70);
  streams.beat();
  expect(got(viewer)).toEqual([50, 20]);
  streams.stop();
});

test("a viewer who reads too slowly gets nothing, and later the number of what it missed (W2)", () => {
  const { streams, watch, happen } = watched();
  const viewer = watch();
  viewer.writableLength = 100_000;
  happen(60);
  streams.beat();
  expect(got(viewer)).toEqual([0, 0]);
  viewer.writableLength = 0;
  streams.beat();
  expect(got(viewer)).toEqual([50, 10]);
  streams.stop();
});

test("one viewer too many is refused (W3)", () => {
  const { streams, watch } = watched();
  for (let i = 0; i < WATCHES_MAX; i++) watch();
  expect(watch).toThrow("events are watched by 8 viewers already");
  streams.stop();
});

test("a stream ends with its engine, with the daemon, and after an hour (W4)", async () => {
  const first = watched();
  const viewer = first.watch();
  first.fleet.nowMs += 3_600_001;
  first.streams.beat();
  expect([viewer.hasEnded, viewer.sent.at(-1)?.slice(0, 10)]).toEqual([true, "event: bye"]);
  const second = watched();
  const left = second.watch();
  await second.fleet.remove("engine");
  second.streams.beat();
  expect([left.hasEnded, left.sent.at(-1)?.slice(0, 11)]).toEqual([true, "event: gone"]);
  const third = watched();
  const stopped = third.watch();
  third.streams.stop();
  expect(stopped.hasEnded).toBe(true);
});

test("a viewer without admin scope gets no digit of a hash, in the same beat as one with it (W5)", () => {
  const { streams, watch, happen } = watched();
  const [reader, admin] = [watch(), watch(true)];
  happen(1);
  streams.beat();
  expect(admin.sent.at(-1)).toContain('"tier":"device","lora":"support-bot","hash":"0abcdef0"');
  expect(reader.sent.at(-1)).toContain('"tier":"device","lora":"support-bot"}');
  expect(reader.sent.join("")).not.toMatch(/hash|abcdef/);
  streams.stop();
});
