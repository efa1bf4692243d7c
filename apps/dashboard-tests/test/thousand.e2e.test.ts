/**
 * A minute of the page on 1,000 ranks of a real daemon, each with a request a second over ZeroMQ. Its subjects are the cost for
 * the browser, and the wait until the page is there.
 *
 * Machines differ, and this one has the daemon, the engines and the browser on its cores. So costs are CPU time as a share of the
 * minute. Waits are compared with those for a page of one word of the same daemon. Absolute figures are printed.
 */
import type { CDPSession, Page } from "playwright-core";
import { afterAll, beforeAll, describe, expect, it } from "vitest";

import { hasChromium, PATIENCE, see, useBrowser } from "./browser.ts";
import { EngineCrowd } from "./engine-crowd.ts";
import { FleetStream } from "./fleet-stream.ts";
import { RealDaemon } from "./real-fleet.ts";

const RANKS = 1000;
const DELTAS = 30;
/** Code is compiled and caches fill with the first of them. */
const WARM_DELTAS = 5;
const STREAM_BYTES_MAX = 25_000;
const ELEMENTS_MAX = 3000;
const HEAP_GROWTH_MAX = 5e6;
/** Of the minute, for the page's main thread. */
const CPU_SHARE_MAX = 0.1;
const PAIRS = 5;
/** Five and eight times on a machine at a load of 19. */
const PAINT_RATIO_MAX = 12;
const NUMBERS_RATIO_MAX = 20;
/** In deltas: a filter and a sort draw the rows twice, and look at all ranks twice. */
const ACT_DELTAS_MAX = 10;
const TEST_MS = 300_000;

/** What the page's main thread has used so far, and its live objects. */
async function costOf(session: CDPSession): Promise<{ readonly cpuSeconds: number; readonly heap: number }> {
  await session.send("HeapProfiler.collectGarbage");
  const { metrics } = await session.send("Performance.getMetrics");
  const of = (wanted: string): number => metrics.find(({ name }) => name === wanted)?.value ?? Number.NaN;
  return { cpuSeconds: of("TaskDuration"), heap: of("JSHeapUsedSize") };
}

async function watched(page: Page): Promise<CDPSession> {
  const session = await page.context().newCDPSession(page);
  await session.send("Performance.enable", { timeDomain: "threadTicks" });
  return session;
}

const elements = (page: Page): Promise<number> => page.evaluate("document.querySelectorAll('*').length");

function median(values: readonly number[]): number {
  return values.toSorted((a, b) => a - b)[values.length >> 1] ?? Number.NaN;
}

describe.skipIf(!hasChromium)("the page of a real daemon with 1,000 ranks", () => {
  const browser = useBrowser();
  let crowd: EngineCrowd;
  let daemon: RealDaemon;
  /** A viewer beside the page: each gets the same bytes. */
  let stream: FleetStream;

  beforeAll(async () => {
    crowd = await EngineCrowd.start(RANKS);
    daemon = await RealDaemon.start({
      engines: crowd.entries,
      snapshot: { enabled: false },
      limits: { replays: 64 },
    });
    stream = await FleetStream.open(daemon.url);
    crowd.begin();
    await stream.until(({ exact }) => exact === RANKS);
  }, TEST_MS);

  afterAll(async () => {
    await stream.close();
    await daemon.end();
    await crowd.end();
  });

  it.each(["overview", "engines"])(
    "follows a minute of changes with a small share of a core, and does not grow: %s",
    async (view) => {
      const { page } = await browser.open(`${daemon.url}/dashboard/#/${view}`);
      await see(page, view === "overview" ? "Trust by engine" : "1,000 of 1,000 engines");
      const session = await watched(page);
      await stream.passed(WARM_DELTAS);
      await page.evaluate(`
        window.longTasks = 0;
        new PerformanceObserver((list) => { window.longTasks += list.getEntries().length; })
          .observe({ entryTypes: ["longtask"] })`);
      const [before, sentBefore] = [await costOf(session), stream.seen];
      await stream.passed(DELTAS);
      const [sentAfter, after] = [stream.seen, await costOf(session)];
      const deltas = sentAfter.deltas - sentBefore.deltas;
      const bytes = (sentAfter.bytes - sentBefore.bytes) / deltas;
      const share = (after.cpuSeconds - before.cpuSeconds) / deltas;
      const longTasks = await page.evaluate<number>("window.longTasks");
      console.log(
        `${view}: ${deltas} deltas of ${Math.round(bytes)} bytes, ${(share * 100).toFixed(1)} % of a core, ` +
          `${longTasks} long tasks, heap ${((after.heap - before.heap) / 1e6).toFixed(2)} MB more`,
      );
      expect(bytes).toBeLessThan(STREAM_BYTES_MAX);
      expect(share).toBeLessThan(CPU_SHARE_MAX);
      expect(after.heap - before.heap).toBeLessThan(HEAP_GROWTH_MAX);
      expect(await elements(page)).toBeLessThan(ELEMENTS_MAX);
    },
    TEST_MS,
  );

  it("scrolls to the row of the last engine, and filters and sorts for no more than some deltas cost", async () => {
    const { page } = await browser.open(`${daemon.url}/dashboard/#/engines?sort=id`);
    await see(page, "1,000 of 1,000 engines");
    const rows = page.locator("tr.row");
    await rows.first().focus();
    await page.keyboard.press("End");
    await expect.poll(() => rows.last().innerText(), PATIENCE).toContain("vllm-0999");
    expect(await rows.count()).toBeLessThan(100);
    const session = await watched(page);
    const cost = async (act: () => Promise<void>): Promise<number> => {
      const before = await costOf(session);
      await act();
      return (await costOf(session)).cpuSeconds - before.cpuSeconds;
    };
    const delta = (await cost(() => stream.passed(10))) / 10;
    const acted = await cost(async () => {
      await page.getByLabel("Search engines").fill("vllm-01");
      await expect.poll(() => page.locator(".foot").innerText(), PATIENCE).toContain("100 of 1,000 engines");
      await page.getByRole("button", { name: "Blocks", exact: true }).click();
      await expect.poll(() => page.url(), PATIENCE).toContain("sort=");
    });
    console.log(
      `filter and sort: ${(acted * 1000).toFixed(0)} ms of CPU, a delta ${(delta * 1000).toFixed(1)}`,
    );
    expect(acted).toBeLessThan(ACT_DELTAS_MAX * delta);
  });

  it("is painted, and has its numbers, for some times the wait for a page of one word", async () => {
    const waits = async (path: string, number: string): Promise<{ paint: number; numbers: number }> => {
      const { page } = await browser.open(`${daemon.url}/livez`);
      await page.addInitScript(`
        window.waits = { paint: 0, numbers: 0 };
        new PerformanceObserver((list) => {
          for (const { name, startTime } of list.getEntries())
            if (name === "first-contentful-paint") window.waits.paint = startTime;
        }).observe({ type: "paint", buffered: true });
        const look = () => {
          if (document.querySelector(${JSON.stringify(number)})?.textContent.trim())
            window.waits.numbers = performance.now();
          else requestAnimationFrame(look);
        };
        requestAnimationFrame(look)`);
      await page.goto(`${daemon.url}${path}`);
      await expect
        .poll(() => page.evaluate("Math.min(window.waits.paint, window.waits.numbers)"), PATIENCE)
        .toBeGreaterThan(0);
      const taken = await page.evaluate<{ paint: number; numbers: number }>("window.waits");
      await page.context().close();
      return taken;
    };
    const pairs: { readonly word: number; readonly paint: number; readonly numbers: number }[] = [];
    for (let i = 0; i < PAIRS; i++)
      pairs.push({
        word: (await waits("/livez", "body")).paint,
        ...(await waits("/dashboard/", ".kpi .val")),
      });
    const of = (wait: (pair: (typeof pairs)[number]) => number): number => median(pairs.map(wait));
    console.log(
      `a page of one word ${of(({ word }) => word).toFixed(0)} ms, ` +
        `first paint ${of(({ paint }) => paint).toFixed(0)} ms, first numbers ${of(({ numbers }) => numbers).toFixed(0)} ms`,
    );
    expect(of(({ word, paint }) => paint / word)).toBeLessThan(PAINT_RATIO_MAX);
    expect(of(({ word, numbers }) => numbers / word)).toBeLessThan(NUMBERS_RATIO_MAX);
  });
});
