/** Every view in both themes, on an empty daemon, a healthy fleet and a bad day: no fault of WCAG 2.2 A and AA. */
import type { Page } from "playwright-core";
import { afterEach, describe, expect, it } from "vitest";

import { axeFaults } from "./axe.ts";
import { hasChromium, PATIENCE, see, useBrowser } from "./browser.ts";
import { FleetScript } from "./fleet-script.ts";
import type { Day } from "./scripted-answers.ts";
import { StandIn } from "./stand-in-server.ts";

const started: StandIn[] = [];

/** What is on a view once its data are there. */
const SIGNS: Readonly<Record<string, Readonly<Record<Day, string | RegExp>>>> = {
  overview: {
    empty: "No engine is known.",
    good: "All 60 engines",
    bad: "Answers are exact for 56 of 60 engines.",
  },
  "engines?open=vllm-0037": {
    empty: "No engine is known.",
    good: "No message was lost.",
    bad: "replay runs",
  },
  prefixes: {
    empty: "Who holds this prompt?",
    good: "Who holds this prompt?",
    bad: "Who holds this prompt?",
  },
  routing: {
    empty: "The picker has handled no request",
    good: "Load by endpoint",
    bad: "set aside after failures",
  },
  index: { empty: "The index is empty.", good: "No limit has evicted a block", bad: "limits.index_bytes" },
  "events?engine=vllm-0037": {
    empty: "does not follow this engine",
    good: "Connected.",
    bad: "unknown_block",
  },
  logs: { empty: "listening", good: "connected to an engine", bad: "no space left on device" },
  system: { empty: "No snapshots are kept", good: "24 s ago", bad: "the API server does not answer" },
};

async function standIn(day: Day): Promise<StandIn> {
  const fleet = new FleetScript(day === "empty" ? 0 : 60);
  const server = await new StandIn({ fleet: day === "bad" ? fleet.withTrouble() : fleet, day }).start();
  started.push(server);
  return server;
}

/** Opens what a view has folded. */
async function unfold(page: Page, view: string, server: StandIn, day: Day): Promise<void> {
  if (view === "prefixes" && day !== "empty") {
    await page.locator("textarea").fill("text");
    await page.keyboard.press("Control+Enter");
    await see(page, "6 of 24 engines hold the beginning of it");
  }
  if (view.startsWith("events") && day === "bad") {
    await expect.poll(() => server.watches, PATIENCE).toBe(1);
    server.sendEvents(9_412_665);
  }
  if (view === "logs") await page.locator("ul.log .line").first().click();
}

describe.skipIf(!hasChromium)("the views", () => {
  const browser = useBrowser();
  afterEach(async () => {
    for (const server of started.splice(0)) await server.stop();
  });

  const cases = (["empty", "good", "bad"] as const).flatMap((day) =>
    (["dark", "light"] as const).map((theme) => [day, theme] as const),
  );
  it.each(cases)(
    "have no fault of WCAG 2.2 A and AA on %s data in the %s theme",
    async (day, colorScheme) => {
      const server = await standIn(day);
      const { page } = await browser.open(server.page, { colorScheme });
      for (const [view, signs] of Object.entries(SIGNS)) {
        await page.goto(`${server.page}#/${view}`);
        await page.locator(".live:not(.connecting)").waitFor(PATIENCE);
        await unfold(page, view, server, day);
        await see(page, signs[day]);
        expect(await axeFaults(page), `${view}, ${day}`).toEqual([]);
      }
    },
  );

  it.each(["dark", "light"] as const)(
    "have no such fault while their data are old, in the %s theme",
    async (colorScheme) => {
      const server = await standIn("bad");
      const { page } = await browser.open(server.page, { colorScheme });
      for (const view of ["overview", "engines", "alerts"]) {
        await page.goto(`${server.page}#/${view}`);
        await page.reload();
        await page.locator(".live:not(.connecting)").waitFor(PATIENCE);
        await server.stop();
        await page.locator(".panel.is-stale").first().waitFor(PATIENCE);
        expect(await axeFaults(page), view).toEqual([]);
        await server.start();
      }
    },
  );

  it("fit a window of 390 pixels, and the link of the present view is in sight", async () => {
    const server = await standIn("bad");
    const { page } = await browser.open(server.page, { viewport: { width: 390, height: 844 } });
    for (const [view, signs] of Object.entries(SIGNS)) {
      await page.goto(`${server.page}#/${view}`);
      await unfold(page, view, server, "bad");
      await see(page, signs.bad);
      expect([view, await page.evaluate("document.documentElement.scrollWidth")]).toEqual([view, 390]);
      const { x = -1, width = 0 } = (await page.locator("nav [aria-current]").boundingBox()) ?? {};
      expect(x).toBeGreaterThanOrEqual(0);
      expect(x + width).toBeLessThanOrEqual(391);
    }
  });

  it("have one main heading each, names of headings without controls, and a way past the links", async () => {
    const server = await standIn("bad");
    const { page } = await browser.open(server.page);
    for (const [view, signs] of Object.entries(SIGNS)) {
      await page.goto(`${server.page}#/${view}`);
      await unfold(page, view, server, "bad");
      await see(page, signs.bad);
      expect([view, await page.locator("h1").count()]).toEqual([view, 1]);
      expect([view, await page.locator(":is(h1, h2, h3) :is(a, button, select, .tag)").count()]).toEqual([
        view,
        0,
      ]);
    }
    await page.reload();
    await see(page, "Settings");
    await page.keyboard.press("Tab");
    expect(await page.evaluate("document.activeElement.innerText")).toBe("Skip to the view");
    await page.keyboard.press("Enter");
    expect(await page.evaluate("document.activeElement.tagName")).toBe("MAIN");
  });

  it("stand still for a reader who wants less motion, and move for others", async () => {
    const server = await standIn("good");
    const moving = async (reducedMotion: "reduce" | "no-preference"): Promise<number> => {
      const { page } = await browser.open(server.page, { reducedMotion });
      // The stream never begins: panels show that they wait.
      await page.route(/\/stream/, () => undefined);
      await page.reload();
      await page.locator(".skeleton").first().waitFor(PATIENCE);
      return page.evaluate<number>("document.getAnimations().length");
    };
    expect(await moving("no-preference")).toBeGreaterThan(0);
    expect(await moving("reduce")).toBe(0);
  });

  it("lead from the first sentence to an engine and to who holds a prompt, by keyboard alone", async () => {
    const server = await standIn("bad");
    const { page } = await browser.open(server.page);
    await see(page, SIGNS["overview"]?.bad ?? "");
    const tabTo = async (name: string | RegExp): Promise<void> => {
      for (let presses = 0; presses < 60; presses++) {
        await page.keyboard.press("Tab");
        const text = await page.evaluate<string>(
          "document.activeElement?.innerText || document.activeElement?.ariaLabel || ''",
        );
        if (typeof name === "string" ? text.trim() === name : name.test(text)) return;
      }
      throw new Error(`Tab does not reach ${String(name)}`);
    };
    await tabTo(/^Engines/);
    await page.keyboard.press("Enter");
    await see(page, "60 of 60 engines");
    await page.keyboard.press("/");
    await page.keyboard.type("vllm-0037");
    await see(page, "1 of 60 engines");
    await tabTo(/vllm-0037/);
    await page.keyboard.press("Enter");
    await page.getByRole("complementary", { name: "vllm-0037" }).waitFor(PATIENCE);
    await page.keyboard.press("Escape");
    await expect.poll(() => page.getByRole("complementary").count(), PATIENCE).toBe(0);
    await tabTo("Prefixes");
    await page.keyboard.press("Enter");
    await see(page, "Who holds this prompt?");
    // The kind of input, then the field of the same name.
    await tabTo("Prompt");
    await tabTo("Prompt");
    await page.keyboard.type("You are a helpful assistant.");
    await page.keyboard.press("Control+Enter");
    await see(page, "6 of 24 engines hold the beginning of it");
  });
});
