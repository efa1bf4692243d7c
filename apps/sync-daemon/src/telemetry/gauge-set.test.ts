/** Gauges of models that come and go between two scrapes, through the real exposition. */
import { NAMESPACE } from "@kvsync/observability/kvsync/namespace";
import { Exposition } from "@kvsync/observability/exposition";
import { gauge } from "@kvsync/observability/kvsync/namespace";
import { openLabel } from "@kvsync/observability/definition";
import { MetricSlots } from "@kvsync/observability/slots";
import { expect, test } from "vitest";

import { GaugeSet, SERIES_PER_TURN } from "./gauge-set.ts";

const MODELS = gauge({
  name: "test_models",
  help: "Models.",
  unit: "none",
  labels: { model: { maxValues: 2 } },
  preset: "absent until known",
  why: "A test.",
});

function setUp(): { round: (models: readonly string[]) => Promise<string[]> } {
  const exposition = new Exposition([MODELS]);
  const gauges = new GaugeSet(
    new MetricSlots([MODELS], "main", (announcement) => {
      exposition.accept(announcement);
    }),
  );
  return {
    round: async (models) => {
      await gauges.collect((add) => {
        for (const model of models) add(MODELS, { model }, 1);
      });
      const text = await exposition.scrape();
      return text.split("\n").filter((line) => line.startsWith(`${NAMESPACE}_test_models`));
    },
  };
}

test("what comes in the round in which others go has its own series, as if they had never been", async () => {
  const { round } = setUp();
  await round(["a", "b"]);
  expect(await round(["c", "d"])).toEqual([
    `${NAMESPACE}_test_models{model="c"} 1`,
    `${NAMESPACE}_test_models{model="d"} 1`,
  ]);
});

test("what had to record under other has its own series as soon as there is room", async () => {
  const { round } = setUp();
  expect(await round(["a", "b", "c"])).toEqual([
    `${NAMESPACE}_test_models{model="a"} 1`,
    `${NAMESPACE}_test_models{model="b"} 1`,
    `${NAMESPACE}_test_models{model="other"} 1`,
  ]);
  expect(await round(["b", "c"])).toEqual([
    `${NAMESPACE}_test_models{model="b"} 1`,
    `${NAMESPACE}_test_models{model="c"} 1`,
  ]);
});

const STREAMS = gauge({
  name: "test_streams",
  help: "Streams.",
  unit: "none",
  labels: { pod: { maxValues: 20_000 } },
  preset: "absent until known",
  why: "A test.",
});

/** Turns of the event loop while something runs. */
async function turnsOf(work: Promise<void>): Promise<number> {
  let turns = 0;
  let isOver = false;
  const turn = (): void => {
    turns += 1;
    if (!isOver) setImmediate(turn);
  };
  setImmediate(turn);
  await work;
  isOver = true;
  return turns;
}

test("U1: a round of a large fleet leaves a turn to others after SERIES_PER_TURN gauges, when they are opened, set again and gone", async () => {
  const announced: number[] = [];
  let inTurn = 0;
  const gauges = new GaugeSet(
    new MetricSlots([STREAMS], "main", () => {
      if (inTurn === 0)
        setImmediate(() => {
          announced.push(inTurn);
          inTurn = 0;
        });
      inTurn += 1;
    }),
  );
  const series = 5 * SERIES_PER_TURN;
  const round = (count: number) =>
    gauges.collect(async (add, rest) => {
      for (let i = 0; i < count; i++) {
        add(STREAMS, { pod: openLabel("pod", String(i)) }, 1);
        await rest();
      }
    });
  // Each gauge is added, looked at whether it is gone, and opened or set.
  for (const turns of [await turnsOf(round(series)), await turnsOf(round(series))])
    expect(turns).toBeGreaterThanOrEqual((3 * series) / SERIES_PER_TURN - 2);
  expect(await turnsOf(round(0))).toBeGreaterThanOrEqual(series / SERIES_PER_TURN - 1);
  await new Promise(setImmediate);
  // Opened and released in turns, with a chunk of slots among them.
  expect(Math.max(...announced)).toBeLessThanOrEqual(SERIES_PER_TURN + 2);
  expect(announced.reduce((sum, count) => sum + count, 0)).toBeGreaterThanOrEqual(2 * series);
});

test("U2: rounds do not overlap, and one that failed leaves the way free", async () => {
  let resolve: () => void = () => undefined;
  const held = new Promise<void>((done) => {
    resolve = done;
  });
  const gauges = new GaugeSet(new MetricSlots([STREAMS], "main", () => undefined));
  const first = gauges.collect(() => held);
  await expect(gauges.collect(() => undefined)).rejects.toThrow("U2");
  resolve();
  await first;
  await expect(gauges.collect(() => Promise.reject(new Error("broken")))).rejects.toThrow("broken");
  await gauges.collect(() => undefined);
});
