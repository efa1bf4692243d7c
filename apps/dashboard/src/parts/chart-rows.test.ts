/** The rows of a chart as a table. */
import { expect, it } from "vitest";

import { rowsOf } from "./chart-rows.ts";

const TIMES = Array.from({ length: 25 }, (_, i) => 1000 + 5 * i);

it("has a row of values for each minute, the newest first", () => {
  expect(rowsOf(TIMES, [], [])).toEqual([
    { kind: "values", time: 1120, index: 24 },
    { kind: "values", time: 1060, index: 12 },
    { kind: "values", time: 1000, index: 0 },
  ]);
});

it("has what happened, and the times without data with the points around them, between them", () => {
  const marks = [
    { time: 1031, label: "a loss", color: "" },
    { time: 900, label: "too old", color: "" },
    { time: 1121.5, label: "since the last point", color: "" },
  ];
  const rows = rowsOf(TIMES, marks, [{ from: 1045, to: 1075 }]);
  expect(rows.map(({ kind, time }) => [kind, time])).toEqual([
    ["mark", 1121.5],
    ["values", 1120],
    ["values", 1075],
    ["break", 1045],
    ["values", 1045],
    ["mark", 1031],
    ["values", 1000],
  ]);
});
