/**
 * Ten minutes of 1,000 ranks that all change each second, as fast as the page draws them: the cost of a page that stays open.
 *
 * Times are shares of this run, since machines differ. The stream's bytes and the page's elements are counts.
 */
import type { CDPSession, Page } from "playwright-core";
import { afterAll, beforeAll, describe, expect, it } from "vitest";

import { hasChromium, PATIENCE, see, useBrowser } from "./browser.ts";
import { FleetScript } from "./fleet-script.ts";
import { StandIn } from "./stand-in-server.ts";

const RANKS = 1000;
const SECONDS = 600;
/** Caches fill and code is compiled in the first minute. */
const WARM_SECONDS = 60;
const HEAP_GROWTH_MAX = 5e6;
const STREAM_BYTES_MAX = 25_000;
const ELEMENTS_MAX = 3000;
/** Of seconds whose change takes longer than 50 ms to draw: one in ten, as on an idle machine. */
const LONG_TASKS_SHARE_MAX = 0.1;
const TEST_MS = 300_000;

/** Bytes of live objects. */
async function heapBytes(session: CDPSession): Promise<number> {
  await session.send("HeapProfiler.collectGarbage");
  const { metrics } = await session.send("Performance.getMetrics");
  return metrics.find(({ name }) => name === "JSHeapUsedSize")?.value ?? Number.NaN;
}

const drawn = (page: Page): Promise<unknown> =>
  page.evaluate("new Promise((done) => requestAnimationFrame(() => requestAnimationFrame(done)))");

const elements = (page: Page): Promise<number> => page.evaluate("document.querySelectorAll('*').length");

describe.skipIf(!hasChromium)("a page that stays open", () => {
  const browser = useBrowser();
  let server: StandIn;
  beforeAll(async () => {
    server = await new StandIn({ fleet: new FleetScript(RANKS).withTrouble(), day: "bad" }).start();
  });
  afterAll(() => server.stop());

  it.each(["overview", "engines"])(
    "does not grow in ten minutes, and draws each second in time: %s",
    async (view) => {
      const { page } = await browser.open(`${server.page}#/${view}`);
      await see(page, view === "overview" ? "Answers are exact for" : "1,000 of 1,000 engines");
      await page.evaluate(`
        window.longTasks = 0;
        new PerformanceObserver((list) => { window.longTasks += list.getEntries().length; })
          .observe({ entryTypes: ["longtask"] })`);
      const session = await page.context().newCDPSession(page);
      await session.send("Performance.enable");
      let heapBefore = Number.NaN;
      let longBefore = 0;
      for (let second = 0; second < SECONDS; second++) {
        if (second === WARM_SECONDS) {
          heapBefore = await heapBytes(session);
          longBefore = await page.evaluate("window.longTasks");
        }
        server.tick();
        await drawn(page);
      }
      const sequence = Math.max(...server.fleet.ranks.map(({ seq }) => seq ?? 0)).toLocaleString("en-US");
      if (view === "engines") {
        await page.goto(`${server.page}#/engines?sort=-seq`);
        await see(page, sequence);
      }
      const longTasks = (await page.evaluate<number>("window.longTasks")) - longBefore;
      expect((await heapBytes(session)) - heapBefore).toBeLessThan(HEAP_GROWTH_MAX);
      expect(longTasks / (SECONDS - WARM_SECONDS)).toBeLessThan(LONG_TASKS_SHARE_MAX);
      expect(await elements(page)).toBeLessThan(ELEMENTS_MAX);
    },
    TEST_MS,
  );

  it("gets at most 25 kB for a second in which all ranks change", () => {
    const { fleet } = server;
    const sizes = Array.from({ length: 20 }, () => Buffer.byteLength(JSON.stringify(fleet.next())));
    expect(Math.max(...sizes)).toBeLessThan(STREAM_BYTES_MAX);
  });

  it("shows the row of the last engine after a scroll to the end, of which few are drawn", async () => {
    const { page } = await browser.open(`${server.page}#/engines?sort=id`);
    await see(page, "1,000 of 1,000 engines");
    await page.locator("tr.row").first().focus();
    await page.keyboard.press("End");
    await expect.poll(() => page.locator("tr.row").last().innerText(), PATIENCE).toContain("vllm-0999");
    expect(await page.locator("tr.row").count()).toBeLessThan(100);
  });
});
