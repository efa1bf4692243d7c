/** Numbers in words, at the edges of their units. */
import { describe, expect, it } from "vitest";

import {
  bytes,
  count,
  dayAndTime,
  duration,
  measure,
  milliseconds,
  percent,
  plural,
  textOf,
  timeOfDay,
  utc,
} from "./words.ts";

describe("numbers in words", () => {
  it("have three significant digits and the unit that people use", () => {
    expect(
      [0, 0.31, 0.0004, 12.34, 412, 1842, 9999, 46_812, 999_400, 999_600, 3_400_000, 2.5e9].map((value) =>
        textOf(measure(value)),
      ),
    ).toEqual([
      "0",
      "0.31",
      "0.0004",
      "12.3",
      "412",
      "1,842",
      "9,999",
      "46.8 k",
      "999 k",
      "1 M",
      "3.4 M",
      "2.5 G",
    ]);
    expect([0, 512, 2048, 1.21 * 2 ** 30, 2 ** 31, 1023.6].map((value) => textOf(bytes(value)))).toEqual([
      "0 B",
      "512 B",
      "2 KiB",
      "1.21 GiB",
      "2 GiB",
      "1 KiB",
    ]);
    expect(
      [0.00031, 0.04, 0.118, 0.9996, 1.2, 9.96, 33, 59.6, 480, 3599, 7200, 90_000].map((value) =>
        textOf(duration(value)),
      ),
    ).toEqual([
      "0.31 ms",
      "40 ms",
      "118 ms",
      "1 s",
      "1.2 s",
      "10 s",
      "33 s",
      "1 min",
      "8 min",
      "1 h",
      "2 h",
      "1 d",
    ]);
    expect(textOf(milliseconds(0.00092))).toBe("0.92 ms");
  });

  it("never round a share to all or to nothing", () => {
    expect([1, 0.9999, 0.996, 0.61, 0.05, 0.0001, 0].map((share) => textOf(percent(share)))).toEqual([
      "100 %",
      "99.9 %",
      "99.6 %",
      "61 %",
      "5 %",
      "0.1 %",
      "0 %",
    ]);
  });

  it("are a dash where nothing is known", () => {
    for (const nothing of [null, undefined, Number.NaN]) {
      for (const figure of [measure, percent, bytes, duration, milliseconds])
        expect(textOf(figure(nothing))).toBe("–");
      expect([count(nothing), timeOfDay(nothing), utc(nothing)]).toEqual(["–", "–", ""]);
    }
  });

  it("count in full, and agree with their noun", () => {
    expect(count(9_412_877)).toBe("9,412,877");
    expect([plural(1, "engine"), plural(0, "engine"), plural(1000, "entry", "entries")]).toEqual([
      "1 engine",
      "0 engines",
      "1,000 entries",
    ]);
  });

  it("tell a moment in the local zone and in UTC", () => {
    const at = Date.UTC(2025, 10, 28, 23, 4, 12, 345);
    expect(timeOfDay(at)).toMatch(/^\d\d:\d\d:12$/);
    expect(dayAndTime(at)).toMatch(/^2025-11-2[89] \d\d:\d\d:12$/);
    expect(utc(at)).toBe("2025-11-28T23:04:12Z");
  });
});
