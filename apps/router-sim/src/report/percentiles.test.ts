import { describe, expect, it } from "vitest";

import { Samples } from "./percentiles.ts";

describe("percentiles", () => {
  it("are measured values, by nearest rank", () => {
    const samples = new Samples();
    for (let value = 100; value >= 1; value--) samples.add(value);
    expect(samples.percentiles([0, 0.5, 0.99, 1])).toEqual([1, 50, 99, 100]);
    expect(samples.mean).toBe(50.5);
  });

  it("hold beyond the first allocation", () => {
    const samples = new Samples();
    for (let value = 1; value <= 10_000; value++) samples.add(value);
    expect(samples.count).toBe(10_000);
    expect(samples.percentiles([0.999])).toEqual([9_990]);
  });

  it("are absent without samples", () => {
    expect(new Samples().percentiles([0.5])).toBeNull();
  });
});
