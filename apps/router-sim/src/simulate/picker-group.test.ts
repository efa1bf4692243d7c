/** Several pickers: one finds nothing foreign, sharing at once they are one, and otherwise each kind of news gives another run. */

import { KvsyncPolicy } from "@kvsync/routing";
import { describe, expect, it } from "vitest";

import { openWorkload, parseWorkloadSource } from "../workload/workload-source.ts";
import { PickerGroup } from "./picker-group.ts";
import { simulate } from "./simulation.ts";
import { PICKER_NEWS, type PickersConfig, type SimulationResult } from "./simulation-result.ts";
import type { SimulationSettings } from "./simulation-settings.ts";

const CHAT = await openWorkload(parseWorkloadSource("chat,requests=400"), 1);
const SETTINGS: SimulationSettings = { seed: 1, policy: "kvsync", engineCount: 4, blockSize: 64 };

/** All but the settings. */
function result(changes: Partial<SimulationSettings>): Omit<SimulationResult, "config"> & { config: null } {
  return { ...simulate(CHAT, { ...SETTINGS, ...changes }).result, config: null };
}

function group(changes: Partial<PickersConfig>): PickerGroup {
  const members = ["a", "b"].map((worker) => ({ worker, capacityTokens: 100_000 }));
  return new PickerGroup(
    { count: 3, news: "sharing", scrapeSeconds: 0.2, shareDelaySeconds: 0.002, ...changes },
    members,
    () => new KvsyncPolicy(members.length),
    7,
  );
}

/** What the picker of a request has booked for each engine. */
function running(pickers: PickerGroup, request: number, nowSeconds: number): readonly number[] {
  return pickers.of(request, nowSeconds).book.views.map(({ runningRequests }) => runningRequests);
}

describe("a group of pickers", () => {
  it("H1: of one finds nothing foreign at the engines that it scrapes", () => {
    const pickers = group({ count: 1, news: "scraping" });
    pickers.send(1, 0, 100, 0);
    for (const at of [0.2, 0.4]) pickers.scrape(at, [{ runningCount: 1, waitingCount: 0 }]);
    expect(running(pickers, 2, 1)).toEqual([1, 0]);
  });

  it("H2: has one picker for a request, and spreads requests evenly over all", () => {
    const pickers = group({});
    const share = new Map<unknown, number>();
    for (let request = 0; request < 3_000; request++) {
      const { book } = pickers.of(request, 0);
      expect(pickers.of(request, 1).book).toBe(book);
      share.set(book, (share.get(book) ?? 0) + 1);
    }
    expect(share.size).toBe(3);
    for (const count of share.values()) expect(count).toBeGreaterThan(900);
  });

  it("H3: has equal books once all news have arrived, and not before", () => {
    const pickers = group({});
    pickers.send(0, 1, 1_000, 5);
    const others = [...Array.from({ length: 20 }).keys()].filter(
      (request) => pickers.of(request, 5).book !== pickers.of(0, 5).book,
    );
    for (const other of others) expect(running(pickers, other, 5.001)).toEqual([0, 0]);
    for (const other of others) expect(running(pickers, other, 5.002)).toEqual([0, 1]);
    pickers.firstToken(0, 6);
    pickers.end(0, 7);
    for (const other of others) expect(running(pickers, other, 8)).toEqual([0, 0]);
  });

  it("H3: decides as one picker when all news arrive at once", () => {
    expect(result({ pickerCount: 4, pickerNews: "sharing", pickerDelaySeconds: 0 })).toEqual(result({}));
  });

  it("repeats itself by its seed, and its news change the run", () => {
    const runs = PICKER_NEWS.map((pickerNews) => result({ pickerCount: 4, pickerNews }));
    expect(PICKER_NEWS.map((pickerNews) => result({ pickerCount: 4, pickerNews }))).toEqual(runs);
    const waits = runs.map(({ firstToken }) => firstToken.sumSeconds);
    expect(new Set(waits).size).toBe(3);
    for (const { totals } of runs) expect(totals).toMatchObject({ requests: 400, completed: 400 });
  });
});
