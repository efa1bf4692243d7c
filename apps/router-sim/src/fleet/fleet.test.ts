/**
 * The fleet with real engines and real sockets, in this thread, routed round-robin by the test. F1 to F3 are fleet.ts's.
 */
import { describe, expect, it } from "vitest";

import { generateWorkload } from "../trace/generator.ts";
import type { TraceRequest } from "../trace/request.ts";
import { Fleet } from "./fleet.ts";
import type { Completion, FleetSettings, FromFleet, Refusal } from "./messages.ts";

const DEADLINE_MS = 20_000;

function settingsWith(
  requests: readonly TraceRequest[],
  changes: Partial<FleetSettings> = {},
): FleetSettings {
  return {
    engineCount: 2,
    model: "m",
    blockSize: 16,
    blockCount: 2_000,
    hostBlockCount: 0,
    dialect: null,
    costModel: "llama-3.1-8b/1xh100",
    slowness: 1,
    bufferSteps: null,
    speedup: 200,
    seed: 1,
    dropPercent: 0,
    tellsHeldBlocks: false,
    requests,
    ...changes,
  };
}

/** Routes every arrival to the next engine and keeps what is told. */
class Watcher {
  readonly arrivals: { request: number; atSeconds: number; again: boolean }[] = [];
  readonly completions: Completion[] = [];
  readonly refusals: Refusal[] = [];
  fleet: Fleet | null = null;

  readonly tell = (message: FromFleet): void => {
    if (message.kind === "arrival") {
      const { request, oracleBlocks } = message;
      this.arrivals.push({
        request,
        atSeconds: this.fleet!.totals().modelledSeconds,
        again: oracleBlocks === null,
      });
      this.fleet!.submit(request, request % 2);
    } else if (message.kind === "progress") {
      this.completions.push(...message.completions);
      this.refusals.push(...message.refusals);
    }
  };

  async until(condition: () => boolean): Promise<void> {
    const deadlineMs = performance.now() + DEADLINE_MS;
    while (!condition()) {
      if (performance.now() > deadlineMs) throw new Error("the condition did not come true in time");
      await new Promise((resolve) => setTimeout(resolve, 5));
    }
  }
}

async function started(settings: FleetSettings): Promise<{ fleet: Fleet; watcher: Watcher }> {
  const watcher = new Watcher();
  const fleet = await Fleet.start(settings, watcher.tell);
  watcher.fleet = fleet;
  return { fleet, watcher };
}

const WORKLOAD = generateWorkload({ requests: 60, minutes: 3, scale: 0.1 }, 5);

describe("a fleet", () => {
  it("lets nothing happen before its time, completes every request once, and publishes all when paused", async () => {
    const { fleet, watcher } = await started(settingsWith(WORKLOAD));
    fleet.resume();
    await watcher.until(() => watcher.completions.length >= WORKLOAD.length);
    await fleet.pause();
    expect(watcher.arrivals.map(({ request }) => request)).toEqual(WORKLOAD.map((_, request) => request));
    for (const { request, atSeconds } of watcher.arrivals) {
      expect(atSeconds).toBeGreaterThanOrEqual(WORKLOAD[request]!.arrivalMs / 1000);
    }
    expect(new Set(watcher.completions.map(({ request }) => request)).size).toBe(WORKLOAD.length);
    const published = fleet.positions().map(({ publishedSequenceNumber }) => publishedSequenceNumber + 1);
    expect(fleet.totals().messages).toBe(published.reduce((sum, count) => sum + count, 0));
    expect(fleet.contents().map(({ worker }) => worker)).toEqual(["engine-0", "engine-1"]);
    for (const { hashes, announcedIn } of fleet.contents()) {
      expect(hashes.length).toBeGreaterThan(50);
      expect(announcedIn).toHaveLength(hashes.length);
    }
    await fleet.stop();
  });

  it("stands still while paused", async () => {
    const { fleet, watcher } = await started(settingsWith(WORKLOAD));
    fleet.resume();
    await watcher.until(() => watcher.completions.length >= 5);
    await fleet.pause();
    const [before, completions] = [fleet.totals(), watcher.completions.length];
    await new Promise((resolve) => setTimeout(resolve, 30));
    expect(fleet.totals()).toEqual(before);
    expect(watcher.completions).toHaveLength(completions);
    fleet.resume();
    await watcher.until(() => watcher.completions.length >= WORKLOAD.length);
    await fleet.stop();
  });

  it("lets the requests of a restarted engine arrive again, and completes them", async () => {
    const { fleet, watcher } = await started(settingsWith(WORKLOAD, { slowness: 20 }));
    fleet.resume();
    await watcher.until(() => fleet.positions()[0]!.requestCount >= 3);
    await fleet.applyFault(0, { kind: "restart" });
    expect(watcher.arrivals.filter(({ again }) => again).length).toBeGreaterThanOrEqual(3);
    await watcher.until(() => watcher.completions.length >= WORKLOAD.length);
    expect(new Set(watcher.completions.map(({ request }) => request)).size).toBe(WORKLOAD.length);
    expect(fleet.totals().engineRestarts).toBe(1);
    await fleet.stop();
  });

  it("reports what an engine will not take, by its code, and goes on", async () => {
    const { fleet, watcher } = await started(settingsWith(WORKLOAD, { blockCount: 60 }));
    fleet.resume();
    await watcher.until(() => watcher.completions.length + watcher.refusals.length >= WORKLOAD.length);
    expect(watcher.refusals.length).toBeGreaterThan(0);
    expect(new Set(watcher.refusals.map(({ code }) => code))).toEqual(new Set(["request_too_long"]));
    expect(watcher.completions.length).toBeGreaterThan(0);
    await fleet.stop();
  });
});
