import { expect, test } from "vitest";

import { RateLimit, siteOf } from "./rate-limit.ts";

test("a caller has a second's worth at once, then its rate, and another caller is not touched", () => {
  let nowMs = 0;
  const limit = new RateLimit(5, () => nowMs);
  const take = (caller: string, times: number) => Array.from({ length: times }, () => limit.take(caller));
  expect(take("a", 7)).toEqual([0, 0, 0, 0, 0, 1, 1]);
  expect(take("b", 1)).toEqual([0]);
  nowMs += 400;
  expect(take("a", 3)).toEqual([0, 0, 1]);
  nowMs += 60_000;
  expect(take("a", 6)).toEqual([0, 0, 0, 0, 0, 1]);
});

test("a caller that was forgotten for others begins anew", () => {
  const limit = new RateLimit(1, () => 0);
  expect([limit.take("a"), limit.take("a")]).toEqual([0, 1]);
  for (let i = 0; i < 4096; i++) limit.take(`other ${i}`);
  expect(limit.take("a")).toBe(0);
});

test.each([
  ["10.0.0.1", "10.0.0.1"],
  ["::ffff:10.0.0.1", "::ffff:10.0.0.1"],
  ["2001:db8:1:2:3:4:5:6", "2001:db8:1:2"],
  ["2001:db8::1", "2001:db8:0:0"],
  ["2001:db8:1:2::", "2001:db8:1:2"],
  ["::1", "0:0:0:0"],
])("%s is counted as %s", (address, site) => {
  expect(siteOf(address)).toBe(site);
});
