/** Gauges of models that come and go between two scrapes, through the real exposition. */
import { NAMESPACE } from "@kvsync/observability/kvsync/namespace";
import { Exposition } from "@kvsync/observability/exposition";
import { gauge } from "@kvsync/observability/kvsync/namespace";
import { MetricSlots } from "@kvsync/observability/slots";
import { expect, test } from "vitest";

import { GaugeSet } from "./gauge-set.ts";

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
      gauges.collect((add) => {
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
