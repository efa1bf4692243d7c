/**
 * Long answers leave turns of the event loop to other requests. The longest turn is a small part of
 * the whole. The figures of every route: bench/loop-block.bench.ts.
 */
import { mkdtempSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";

import { expect, onTestFinished, test } from "vitest";

import { startInProcess } from "./daemon-in-process.ts";
import { TestEngine, until } from "./fleet.ts";

const MODEL = "test/model";
const RUNS = 5;
/** Engines that are not there, so that the list is long. */
const ENGINES = 2000;
const away = (i: number) => ({
  id: `away-${i}`,
  model: MODEL,
  endpoint: `tcp://127.1.${i >> 8}.${i & 255}:9`,
});

/** The longest turn of the loop while something runs, and all of its time, in milliseconds. */
async function turnsOf(work: () => Promise<void>): Promise<{ longest: number; total: number }> {
  const began = performance.now();
  let longest = 0;
  let last = began;
  let isOver = false;
  const turn = (): void => {
    const now = performance.now();
    longest = Math.max(longest, now - last);
    last = now;
    if (!isOver) setImmediate(turn);
  };
  setImmediate(turn);
  await work();
  isOver = true;
  const total = performance.now() - began;
  await new Promise(setImmediate);
  return { longest, total };
}

test.each([`/api/v1/dump?model=${MODEL}`, "/dump", "/api/v1/engines", "/api/v1/kv-sync/health"])(
  "GET %s keeps the loop for a small part of its time at a stretch",
  async (url) => {
    const engine = await TestEngine.start({ id: "engine-0", blockCount: 100_000 }, 1);
    const folder = mkdtempSync(join(tmpdir(), "kvsync-loop-"));
    const file = join(folder, "config.yaml");
    const engines = [engine.entry, ...Array.from({ length: ENGINES }, (_, i) => away(i))];
    writeFileSync(file, JSON.stringify({ engines }));
    const { daemon, app, stop } = await startInProcess(["--config", file]);
    onTestFinished(async () => {
      await stop();
      await engine.stop();
      rmSync(folder, { recursive: true });
    });
    await engine.serve(1500, { isFresh: true });
    const slot = daemon.registry.engine("engine-0")?.ranks[0]?.rankSlot ?? 0;
    await until("the index has pages", () => Promise.resolve(daemon.reader.rankBlockCount(slot) > 25_000));
    let least = 1;
    for (let run = 0; run < RUNS; run++) {
      const { longest, total } = await turnsOf(async () => {
        const response = await app.getHttpAdapter().getInstance().inject(url);
        expect(response.statusCode).toBe(200);
        if (!url.endsWith("health")) expect(response.rawPayload.length).toBeGreaterThan(500_000);
      });
      least = Math.min(least, longest / total);
    }
    expect(least).toBeLessThan(0.5);
  },
);
