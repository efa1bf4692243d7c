import { expect, test } from "vitest";

import { newRequestId } from "./request-id.ts";

const SHAPE = /^[0-9a-f]{8}-[0-9a-f]{4}-7[0-9a-f]{3}-[89ab][0-9a-f]{3}-[0-9a-f]{12}$/;

test("an id is a UUID of version 7 that begins with its millisecond", () => {
  // The example of RFC 9562, appendix A.6.
  expect(newRequestId(0x017f22e279b0)).toMatch(/^017f22e2-79b0-7/);
  for (let i = 0; i < 100; i++) expect(newRequestId(i)).toMatch(SHAPE);
});

test("ids sort by time, and no two of one millisecond are equal", () => {
  const ids = [1, 2, 3000, 2 ** 40].map((ms) => newRequestId(ms));
  expect(ids.toSorted()).toEqual(ids);
  expect(new Set(Array.from({ length: 1000 }, () => newRequestId(7))).size).toBe(1000);
});
