/** The live stream: one encoding, slow viewers, limits, and its ends. */
import { CATALOGUE } from "@kvsync/observability/kvsync/catalogue";
import { MetricSlots } from "@kvsync/observability/slots";
import { expect, test } from "vitest";

import { DeltaEncoder } from "./delta-encoder.ts";
import { type Happening } from "./happenings.ts";
import { LiveStream, type Viewer } from "./live-stream.ts";
import { BoardFleet } from "./testing/board-fleet.ts";

interface Event {
  readonly event: string;
  readonly data: Readonly<Record<string, unknown>>;
}

/** A viewer that keeps what it gets. */
class Reader implements Viewer {
  readonly chunks: Buffer[] = [];
  writableLength = 0;
  isEnded = false;

  write(bytes: Buffer): void {
    this.chunks.push(bytes);
  }

  end(): void {
    this.isEnded = true;
  }

  get events(): Event[] {
    return Buffer.concat(this.chunks)
      .toString()
      .split("\n\n")
      .filter((text) => text.startsWith("event: "))
      .map((text) => {
        const [, event = "", data = ""] = /^event: (\w+)\ndata: (.*)$/.exec(text) ?? [];
        return { event, data: JSON.parse(data) as Event["data"] };
      });
  }

  get names(): string[] {
    return this.events.map(({ event }) => event);
  }
}

function streamOf(viewersMax = 3) {
  const fleet = new BoardFleet();
  let looks = 0;
  const happened: Happening[] = [];
  const alerts = { list: { alerts: ["one"] } as object, watched: [] as boolean[] };
  const stream = new LiveStream({
    encoder: new DeltaEncoder(
      fleet,
      () => {
        looks += 1;
        return "file";
      },
      () => fleet.nowMs,
    ),
    hello: () => ({ version: "0" }),
    totals: () => ({}),
    health: () => ({ status: fleet.registry.engineCount > 2 ? "healthy" : "degraded" }),
    alerts: {
      watch: (isWatched) => alerts.watched.push(isWatched),
      present: () => alerts.list,
    },
    happenings: (afterMs, untilMs) => happened.filter(({ at }) => at > afterMs && at <= untilMs),
    now: () => fleet.nowMs,
    metrics: new MetricSlots(CATALOGUE, "test", () => undefined),
    viewersMax,
  });
  const beat = (): void => {
    fleet.nowMs += 1000;
    stream.beat();
  };
  return { fleet, stream, beat, happened, alerts, looks: () => looks };
}

test("a viewer gets hello and a snapshot at once, then a delta each second, numbered without a gap (V3)", () => {
  const { fleet, stream, beat } = streamOf();
  fleet.add("engine-0");
  const reader = new Reader();
  const leave = stream.watch(reader);
  for (let i = 0; i < 3; i++) beat();
  expect(reader.names).toEqual(["hello", "snapshot", "delta", "delta", "delta"]);
  const late = new Reader();
  const lateLeaves = stream.watch(late);
  beat();
  const numbers = (one: Reader): unknown[] => one.events.slice(1).map(({ data }) => data["n"]);
  expect(numbers(reader)).toEqual([0, 1, 2, 3, 4]);
  expect(numbers(late)).toEqual([3, 4]);
  leave();
  lateLeaves();
});

test("a delta is encoded once: every viewer gets the same bytes (V1)", () => {
  const { stream, beat } = streamOf();
  const readers = [new Reader(), new Reader(), new Reader()];
  const leaves = readers.map((reader) => stream.watch(reader));
  beat();
  const [first, ...others] = readers.map(({ chunks }) => chunks.at(-1));
  for (const other of others) expect(other).toBe(first);
  for (const leave of leaves) leave();
});

test("a viewer that reads too slowly gets nothing, and a snapshot once it has read everything (V2)", () => {
  const { stream, beat } = streamOf();
  const [slow, quick] = [new Reader(), new Reader()];
  const leaves = [slow, quick].map((reader) => stream.watch(reader));
  slow.writableLength = 300 * 1024;
  beat();
  slow.writableLength = 100 * 1024;
  beat();
  expect(slow.names).toEqual(["hello", "snapshot"]);
  slow.writableLength = 0;
  beat();
  beat();
  expect(slow.names).toEqual(["hello", "snapshot", "snapshot", "delta"]);
  expect(slow.events.slice(2).map(({ data }) => data["n"])).toEqual([3, 4]);
  expect(quick.names).toEqual(["hello", "snapshot", "delta", "delta", "delta", "delta"]);
  for (const leave of leaves) leave();
});

test("without a viewer nothing is looked at, and a first one after that sees the fleet as it is (V4)", () => {
  const { fleet, stream, looks } = streamOf();
  fleet.add("engine-0");
  expect(looks()).toBe(0);
  const leave = stream.watch(new Reader());
  expect(looks()).toBe(1);
  leave();
  fleet.add("engine-1");
  const reader = new Reader();
  const leaveAgain = stream.watch(reader);
  expect(reader.events.at(-1)?.data["rows"]).toHaveLength(2);
  leaveAgain();
});

test("one viewer more than allowed is refused, and let in when another leaves (V5)", () => {
  const { stream } = streamOf(2);
  const leaves = [stream.watch(new Reader()), stream.watch(new Reader())];
  expect(() => stream.watch(new Reader())).toThrow(
    expect.objectContaining({ facts: { code: "too_many_viewers", maximum: 2 } }) as Error,
  );
  leaves[0]?.();
  const third = stream.watch(new Reader());
  expect(stream.viewers).toBe(2);
  third();
  leaves[1]?.();
  expect(stream.viewers).toBe(0);
});

test("a stop ends every stream with bye, and who comes later is sent away (V6)", () => {
  const { stream } = streamOf();
  const reader = new Reader();
  stream.watch(reader);
  stream.stop();
  const late = new Reader();
  stream.watch(late);
  for (const { events, isEnded } of [reader, late]) {
    expect(events.at(-1)).toEqual({ event: "bye", data: { reason: "stopping", retry_ms: 3000 } });
    expect(isEnded).toBe(true);
  }
  expect(stream.viewers).toBe(0);
});

test("a stream ends after an hour, so that a token that was withdrawn ends with it (V6)", () => {
  const { fleet, stream, beat } = streamOf();
  const reader = new Reader();
  stream.watch(reader);
  fleet.nowMs += 3_600_000;
  beat();
  expect(reader.events.at(-1)).toEqual({ event: "bye", data: { reason: "replaced", retry_ms: 0 } });
  expect([reader.isEnded, stream.viewers]).toEqual([true, 0]);
});

test("what happened comes once, health when it changed, and silence is broken by a comment", () => {
  const { fleet, stream, beat, happened } = streamOf();
  const reader = new Reader();
  const leave = stream.watch(reader);
  const one = { at: fleet.nowMs + 900, kind: "trust", engine: "e", rank: 0, text: "t" } as const;
  happened.push(one);
  beat();
  beat();
  beat();
  expect(reader.events.filter(({ event }) => event === "happening").map(({ data }) => data)).toEqual([one]);
  for (const id of ["a", "b", "c"]) fleet.add(id);
  beat();
  beat();
  const told = reader.events.filter(({ event, data }) => event === "delta" && "health" in data);
  expect(told.map(({ data }) => data["health"])).toEqual([{ status: "healthy" }]);
  for (let i = 0; i < 15; i++) beat();
  expect(Buffer.concat(reader.chunks).toString()).toContain("\n\n: keep-alive\n\n");
  leave();
});

test("alerts are in the snapshot and sent again once another list is there, and no source is asked without a viewer (V4)", () => {
  const { stream, beat, alerts } = streamOf();
  const viewer = new Reader();
  const leave = stream.watch(viewer);
  expect(viewer.events.at(-1)).toMatchObject({ event: "snapshot", data: { alerts: { alerts: ["one"] } } });
  beat();
  beat();
  expect(viewer.names).not.toContain("alerts");
  alerts.list = { alerts: ["one", "two"] };
  beat();
  beat();
  expect(viewer.events.filter(({ event }) => event === "alerts").map(({ data }) => data)).toEqual([
    { alerts: ["one", "two"] },
  ]);
  leave();
  expect(alerts.watched).toEqual([true, false]);
});
