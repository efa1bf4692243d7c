/** The hour of points: loading, adding, breaks and limits. */
import fc from "fast-check";
import { describe, expect, it } from "vitest";

import { HISTORY_SECONDS, HistoryStore, pointOf } from "./history-store.ts";

const FROM = 1_764_371_000;

describe("the history", () => {
  it("continues the daemon's points with those of the stream", () => {
    const history = new HistoryStore();
    history.load({ step: 5, from: FROM, series: { p50: [1, null], p99: [3] } }, "host:1");
    history.add((FROM + 10) * 1000, { p50: 2, other: 7 });
    expect(history.times).toEqual([FROM, FROM + 5, FROM + 10]);
    expect(history.values("p50")).toEqual([1, null, 2]);
    expect(history.values("p99")).toEqual([3, null, null]);
    expect(history.values("other")).toEqual([null, null, 7]);
    expect(history.values("nothing")).toEqual([null, null, null]);
  });

  it("keeps one point for each step: the latest values of it (H1)", () => {
    const history = new HistoryStore();
    for (const [ms, value] of [
      [0, 1],
      [4999, 2],
      [5000, 3],
      [4000, 9],
    ] as const)
      history.add(FROM * 1000 + ms, { a: value });
    expect(history.times).toEqual([FROM, FROM + 5]);
    expect(history.values("a")).toEqual([2, 3]);
  });

  it("breaks lines after a pause (H2)", () => {
    const history = new HistoryStore();
    history.add(FROM * 1000, { a: 1 });
    history.add((FROM + 60) * 1000, { a: 2 });
    expect(history.values("a")).toEqual([1, null, 2]);
    expect(history.times).toEqual([FROM, FROM + 5, FROM + 60]);
  });

  const answerOf = (from: number, values: readonly (number | null)[]) => ({
    step: 5,
    from,
    series: { a: values },
  });

  it("continues with a break when the daemon of its host started again, and without one when its stream was lost alone (H4)", () => {
    const history = new HistoryStore();
    history.load(answerOf(FROM, [1, 2, 3]), "host:1");
    history.load(answerOf(FROM, [null, null, null, null, null, 6, 7]), "host:2");
    expect(history.times.map((time) => time - FROM)).toEqual([0, 5, 10, 15, 25, 30]);
    expect(history.values("a")).toEqual([1, 2, 3, null, 6, 7]);
    expect(history.breaks()).toEqual([{ from: FROM + 10, to: FROM + 25 }]);
    history.load(answerOf(FROM + 5, [null, null, null, null, 6, 7, 8]), "host:2");
    expect(history.values("a")).toEqual([1, 2, 3, null, 6, 7, 8]);
    history.load(answerOf(FROM + 30, [7, 8, 9]), "other:1");
    expect(history.times.map((time) => time - FROM)).toEqual([30, 35, 40]);
    expect(history.breaks()).toEqual([]);
  });

  it("keeps the daemon's points where both have some, and no time twice (H1, H4)", () => {
    const history = new HistoryStore();
    history.load(answerOf(FROM, [1, 2]), "host:1");
    history.add((FROM + 10) * 1000, { a: 9 });
    history.load(answerOf(FROM, [1, 2, 3, 4]), "host:1");
    expect(history.times.map((time) => time - FROM)).toEqual([0, 5, 10, 15]);
    expect(history.values("a")).toEqual([1, 2, 3, 4]);
    history.load(answerOf(FROM + 20, [null, null]), "host:2");
    expect(history.values("a")).toEqual([1, 2, 3, 4]);
    history.load({ step: 5, from: 0, series: {} }, "other:1");
    expect(history.times).toEqual([]);
  });

  it("has ascending times within one hour, whatever arrives (H1, H3)", () => {
    fc.assert(
      fc.property(fc.array(fc.integer({ min: -20, max: 900 }), { maxLength: 200 }), (steps) => {
        const history = new HistoryStore();
        let at = FROM * 1000;
        for (const seconds of steps) {
          at += seconds * 1000;
          history.add(at, { a: seconds });
          expect(history.values("a")).toHaveLength(history.times.length);
        }
        for (let i = 1; i < history.times.length; i += 1)
          expect(history.times[i]).toBeGreaterThan(history.times[i - 1] ?? 0);
        expect(history.times.length).toBeLessThanOrEqual((2 * HISTORY_SECONDS) / 5);
        expect((history.times.at(-1) ?? 0) - (history.times[0] ?? 0)).toBeLessThan(HISTORY_SECONDS);
      }),
    );
  });

  it("forgets a series whose points have all left (H3)", () => {
    const history = new HistoryStore();
    history.add(FROM * 1000, { "hit_rate{gone}": 1, a: 1 });
    history.add((FROM + HISTORY_SECONDS + 5) * 1000, { a: 2 });
    expect([...history.series.keys()]).toEqual(["a"]);
  });

  it("finds where the last minutes begin", () => {
    const history = new HistoryStore();
    history.load({ step: 5, from: FROM, series: { a: Array.from({ length: 720 }, (_, i) => i) } }, "host:1");
    expect(history.firstWithin(900)).toBe(720 - 1 - 180);
    expect(history.firstWithin(HISTORY_SECONDS)).toBe(0);
    expect(new HistoryStore().firstWithin(900)).toBe(0);
  });

  it("names totals as the daemon's history does, and keeps what is not known as null", () => {
    const point = pointOf({ lookups: { exact: 4 }, p50: 0.1, hit: { "0": 0.5, "9": 1 } }, ["llama"], 0.9);
    expect(point).toMatchObject({
      exact_share: 0.9,
      "lookups.exact": 4,
      "lookups.fallback": null,
      lookup_p50: 0.1,
      lookup_p99: null,
      "hit_rate{llama}": 0.5,
    });
    expect(Object.keys(point).filter((key) => key.startsWith("hit_rate"))).toHaveLength(1);
  });
});
