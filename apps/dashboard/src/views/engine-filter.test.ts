/** Filters, orders and CSV of the table of engines. */
import { describe, expect, it } from "vitest";

import { FleetStore } from "../stream/fleet-store.ts";
import { type EngineSummary, summaryOf } from "../verdict/fleet-summary.ts";
import { csvOf, filterEngines, readSort } from "./engine-filter.ts";

const COLUMNS = [
  "slot",
  "id",
  "rank",
  "model",
  "source",
  "state",
  "trust",
  "connected",
  "missed",
  "endpoint",
  "rate",
  "exact_hour",
];
const ROWS = [
  [0, "vllm-10", 0, "llama", "file", "live", 0, 1, 3, "tcp://10.4.7.31:5557", 6, 1],
  [1, "vllm-2", 0, "llama", "kubernetes", "replaying", 2, 1, 9, "tcp://10.4.7.32:5557", 40, 0.95],
  [2, "sglang-1", 0, "qwen", "kubernetes", "live", 0, 1, 0, "tcp://10.9.9.9:5557", 30, 1],
  [3, "sglang-1", 1, "qwen", "kubernetes", "disconnected", 3, 0, 1, "tcp://10.9.9.9:5558", 20, 0.2],
];

function engines(rows: readonly (readonly (string | number)[])[] = ROWS): readonly EngineSummary[] {
  const store = new FleetStore();
  const trusts = ["exact", "partial", "stale", "unknown"];
  store.applySnapshot({ n: 1, at: 0, columns: COLUMNS, models: [], states: [], trusts, rows });
  return summaryOf(store.rows.values()).engines;
}

const ids = (query: string): string[] =>
  filterEngines(engines(), new URLSearchParams(query)).map(({ id }) => id);

describe("the table of engines", () => {
  it("has the worst first, and equals by name", () => {
    expect(ids("")).toEqual(["sglang-1", "vllm-2", "vllm-10"]);
  });

  it("sorts by a column, both ways, and ignores one that does not exist", () => {
    expect(ids("sort=missed")).toEqual(["sglang-1", "vllm-10", "vllm-2"]);
    expect(ids("sort=-missed")).toEqual(["vllm-2", "vllm-10", "sglang-1"]);
    expect(ids("sort=hour")).toEqual(["sglang-1", "vllm-2", "vllm-10"]);
    expect(ids("sort=id")).toEqual(["sglang-1", "vllm-2", "vllm-10"]);
    expect([readSort("nothing"), readSort(null), readSort("toString")]).toEqual([null, null, null]);
  });

  it("sorts an engine by the sum of its ranks, as it is shown", () => {
    expect(ids("sort=-rate")).toEqual(["sglang-1", "vllm-2", "vllm-10"]);
    expect(ids("sort=rate")).toEqual(["vllm-10", "vllm-2", "sglang-1"]);
    const two = [
      [0, "one", 0, "m", "file", "live", 0, 1, 5, "", 0, 1],
      [1, "two", 0, "m", "file", "live", 0, 1, 4, "", 0, 1],
      [2, "two", 1, "m", "file", "live", 0, 1, 4, "", 0, 1],
    ];
    const sorted = filterEngines(engines(two), new URLSearchParams("sort=-missed"));
    expect(sorted.map(({ id }) => id)).toEqual(["two", "one"]);
  });

  it("filters by trust, state, model and source, all at once", () => {
    expect(ids("trust=exact")).toEqual(["vllm-10"]);
    expect(ids("model=llama&source=kubernetes")).toEqual(["vllm-2"]);
    expect(ids("state=disconnected")).toEqual(["sglang-1"]);
    expect(ids("model=llama&trust=unknown")).toEqual([]);
  });

  it("searches names, models and addresses of every rank", () => {
    expect(ids("q=VLLM-1")).toEqual(["vllm-10"]);
    expect(ids("q=qwe")).toEqual(["sglang-1"]);
    expect(ids("q=9.9:5558")).toEqual(["sglang-1"]);
  });

  it("copies one line for each rank, and no cell is a formula", () => {
    const lines = csvOf(engines([[0, "=1+1", 0, 'a "b", c', "file", "live", 0, 1, 3, ""]])).split("\r\n");
    expect(lines[0]).toMatch(/^id,rank,model/);
    expect(lines[1]).toMatch(/^'=1\+1,0,"a ""b"", c",file,live,exact,,/);
    expect(csvOf(engines()).trim().split("\r\n")).toHaveLength(5);
  });
});
