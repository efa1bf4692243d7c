/** The number of ingest workers. */
import { expect, test } from "vitest";

import { ingestWorkers } from "./ingest-workers.ts";

test.each([
  [1, 1],
  [3, 1],
  [4, 3],
  [8, 7],
  [17, 16],
  [128, 16],
])("a machine of %i cores has %i, unless the setting says otherwise", (cores, workers) => {
  expect(ingestWorkers({ workers: null }, cores)).toBe(workers);
  expect(ingestWorkers({ workers: 2 }, cores)).toBe(2);
});
