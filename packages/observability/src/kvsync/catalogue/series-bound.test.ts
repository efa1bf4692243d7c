/** The bounds of labels against the largest scrape that was measured. */
import { expect, test } from "vitest";

import type { MetricDefinition } from "../../definition.ts";
import { CATALOGUE } from "./catalogue.ts";
import { SCRAPE_LINES_MEASURED, scrapeLinesMax } from "./series-bound.ts";

/** The catalogue with one label's bound multiplied. */
function widened(label: string, factor: number): MetricDefinition[] {
  return CATALOGUE.map((family) => {
    const domain = family.labels[label];
    if (domain === undefined || !("maxValues" in domain)) return family;
    const labels = { ...family.labels, [label]: { maxValues: domain.maxValues * factor } };
    return { ...family, labels };
  });
}

test("no scrape can have more lines than were measured", () => {
  expect(scrapeLinesMax(CATALOGUE)).toBeGreaterThan(SCRAPE_LINES_MEASURED / 2);
  expect(scrapeLinesMax(CATALOGUE)).toBeLessThanOrEqual(SCRAPE_LINES_MEASURED);
});

test.each(["pod", "model", "worker", "lora_id", "dp_rank"])(
  "a bound of %s that is a thousand times as large is found",
  (label) => {
    expect(scrapeLinesMax(widened(label, 1000))).toBeGreaterThan(SCRAPE_LINES_MEASURED);
  },
);

test("a histogram counts with its buckets, sum and count, and open labels count once", () => {
  const family = {
    kind: "histogram",
    name: "app_wait_seconds",
    labels: { lane: ["live", "replay"], pod: { maxValues: 10 }, model: { maxValues: 3 } },
    buckets: [1, 2],
  } as unknown as MetricDefinition;
  expect(scrapeLinesMax([family])).toBe((2 + 3) * 2 * 10);
});
