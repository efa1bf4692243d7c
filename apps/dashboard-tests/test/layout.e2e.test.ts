/**
 * The layout of every view, on three sizes of window and three days: an empty daemon, a healthy fleet of 1,000 engines, a bad day.
 *
 *  L1  No view is wider than its window.
 *  L2  No text is cut off: neither by its own box, nor by one around it. A table leaves out columns instead of hiding them.
 *  L3  No text covers another one.
 *  L4  What a finger touches on a phone has at least 24 pixels each way.
 *  L5  A panel has something below its heading, and no text stands in a column of single letters.
 *  L6  A bad day is named in words on the first screen of each view, with its alerts counted. Nothing is wrong in words on a good
 *      one.
 *  L7  Controls stand apart, and text of a table keeps off the edge of its panel.
 *  L8  The drawer covers no link of the head, and the engines fill a wide window without a second scroll bar.
 */
import type { Page } from "playwright-core";
import { afterAll, describe, expect, it } from "vitest";

import { badDayAlerts, goodDayAlerts } from "./alert-script.ts";
import { hasChromium, PATIENCE, see, useBrowser } from "./browser.ts";
import { FleetScript } from "./fleet-script.ts";
import type { Day } from "./scripted-answers.ts";
import { StandIn } from "./stand-in-server.ts";

const SIZES = [
  [1440, 900],
  [1024, 768],
  [390, 844],
] as const;
const PHONE = 390;
const TOUCH_MIN = 24;

/** A view, and all that its first screen has of a bad day. */
const VIEWS: readonly (readonly [view: string, ...badDay: string[]])[] = [
  [
    "overview",
    "KVSyncConnectionFailure fires for vllm-0025",
    "kubernetes has been stale for 32 min",
    "no space left on device",
    "The index uses 96 % of its memory limit",
    "4 engines need attention",
  ],
  ["engines", "vllm-0025"],
  ["engines?open=vllm-0037", "212 messages were lost"],
  ["prefixes", "degraded"],
  ["routing", "43 % of the predictions differ", "Runbook"],
  ["index", "The index uses 96 % of its memory limit", "Raise the limit", "Runbook"],
  ["alerts", "KVSyncConnectionFailure"],
  ["events", "These engines need attention"],
  ["events?engine=vllm-0037", "stale"],
  ["logs", "no space left on device"],
  ["system", "the API server does not answer", "no space left on device"],
];
/** Views that list states, codes or rules by name, whatever the day. */
const NAMES_TROUBLE = ["engines", "events", "alerts"];
/** Words that a good day has nowhere else. */
const TROUBLE = /unreachable|stale|differ from|firing [1-9]|no space|not healthy/i;

/** What is wrong with the layout, in words; nothing where all is well. */
function layoutFaults(touchMin: number): string[] {
  const faults: string[] = [];
  const [LETTERS_MIN, LINE_MIN, APART_MIN, EDGE_MIN] = [3, 16, 4, 8];
  const { scrollWidth } = document.documentElement;
  if (scrollWidth > innerWidth) faults.push(`L1 the page is ${scrollWidth} pixels wide`);
  const isSeen = (element: Element): boolean =>
    element.checkVisibility({ opacityProperty: true, visibilityProperty: true }) &&
    element.closest("[aria-hidden=true], datalist, option, table.stacked thead, .unseen, .skip") === null;
  const texts: { readonly element: Element; readonly text: string; readonly rect: DOMRect }[] = [];
  for (const element of document.querySelectorAll("body *")) {
    if (!isSeen(element)) continue;
    for (const node of element.childNodes) {
      const text = (node.textContent ?? "").trim();
      if (node.nodeType !== Node.TEXT_NODE || text === "") continue;
      const range = document.createRange();
      range.selectNodeContents(node);
      const lines = [...range.getClientRects()];
      for (const rect of lines) texts.push({ element, text, rect });
      if (lines.length > 2 && text.length / lines.length < LETTERS_MIN)
        faults.push(`L5 "${text}" is squeezed`);
    }
  }
  for (const { element, text, rect } of texts) {
    for (let box: Element | null = element; box !== null && box !== document.body; box = box.parentElement) {
      // The links of the views scroll; that of the present view is in sight.
      if (box.matches("nav.tabs")) break;
      const { right, left, bottom } = box.getBoundingClientRect();
      const { overflowX, overflowY } = getComputedStyle(box);
      const isClipping = overflowX !== "visible";
      if (overflowY === "hidden" && rect.bottom > bottom + 2)
        faults.push(`L2 "${text}" is cut off below by ${box.tagName.toLowerCase()}.${box.className}`);
      if ((isClipping || box === element) && getComputedStyle(box).display !== "inline")
        if (rect.right > right + 1 || rect.left < left - 1)
          faults.push(`L2 "${text}" is cut off by ${box.tagName.toLowerCase()}.${box.className}`);
    }
  }
  for (const heading of document.querySelectorAll(".panel > header")) {
    const below = heading.parentElement?.getBoundingClientRect().bottom ?? 0;
    if (below - heading.getBoundingClientRect().bottom < LINE_MIN)
      faults.push(`L5 "${heading.textContent}" has nothing below it`);
  }
  // Links of the views pass below the one that stays in sight.
  const standing = texts.filter(({ element }) => element.closest("nav.tabs a:not(.firing)") === null);
  const groups = Map.groupBy(standing, ({ element }) =>
    element.closest("tr, li, .kpi, .hb, .who, dl, .bar, header"),
  );
  for (const [group, own] of groups)
    if (group !== null)
      own.forEach((one, i) => {
        for (const other of own.slice(i + 1)) {
          const across =
            Math.min(one.rect.right, other.rect.right) - Math.max(one.rect.left, other.rect.left);
          const down = Math.min(one.rect.bottom, other.rect.bottom) - Math.max(one.rect.top, other.rect.top);
          if (across > 2 && down > 4) faults.push(`L3 "${one.text}" covers "${other.text}"`);
        }
      });
  const controls = [...document.querySelectorAll(".btn, .facet, .input")].filter(isSeen);
  for (const own of Map.groupBy(controls, ({ parentElement }) => parentElement).values())
    own.forEach((one, i) => {
      const box = one.getBoundingClientRect();
      for (const other of own.slice(i + 1)) {
        const its = other.getBoundingClientRect();
        const across = Math.max(box.left, its.left) - Math.min(box.right, its.right);
        const down = Math.max(box.top, its.top) - Math.min(box.bottom, its.bottom);
        if (Math.max(across, down) < APART_MIN)
          faults.push(`L7 "${one.textContent}" touches "${other.textContent}"`);
      }
    });
  for (const { element, text, rect } of texts) {
    const panel = element.closest("td, th")?.closest(".panel");
    if (panel !== null && panel !== undefined && rect.right > panel.getBoundingClientRect().right - EDGE_MIN)
      faults.push(`L7 "${text}" is at the edge of its panel`);
  }
  const [drawer, head] = [".drawer", "header.top"].map((name) => document.querySelector(name));
  const top = drawer?.getBoundingClientRect().top ?? Number.POSITIVE_INFINITY;
  // On a phone the drawer is all of the window.
  if (touchMin === 0 && top < (head?.getBoundingClientRect().bottom ?? 0))
    faults.push("L8 the drawer covers the head");
  if (touchMin > 0)
    for (const element of document.querySelectorAll("button, select, input, textarea, a")) {
      const { width, height } = element.getBoundingClientRect();
      // A link within a sentence is as high as its line.
      if (!isSeen(element) || getComputedStyle(element).display === "inline") continue;
      if (width < touchMin || height < touchMin)
        faults.push(`L4 "${element.textContent}" has ${Math.round(width)} × ${Math.round(height)} pixels`);
    }
  return [...new Set(faults)];
}

/** Waits until a view has its data. */
async function settle(page: Page, view: string, server: StandIn, day: Day): Promise<void> {
  if (view === "prefixes" && day !== "empty") {
    await page.locator("textarea").fill("You are a helpful assistant.");
    await page.keyboard.press("Control+Enter");
    await page.locator(".who").waitFor(PATIENCE);
  }
  if (view.startsWith("events?") && day !== "empty") {
    await expect.poll(() => server.watches, PATIENCE).toBe(1);
    server.sendEvents(9_412_665);
    await see(page, "unknown_block");
  }
  if (view.includes("?open=") && day !== "empty") await page.getByRole("complementary").waitFor(PATIENCE);
  await expect.poll(() => page.locator(".skeleton").count(), PATIENCE).toBe(0);
  // A table that became narrower leaves columns out with the next frame.
  await page.evaluate(
    () =>
      new Promise((resolve) => {
        requestAnimationFrame(() => requestAnimationFrame(resolve));
      }),
  );
}

describe.skipIf(!hasChromium)("the layout", () => {
  const browser = useBrowser();
  const started: StandIn[] = [];
  afterAll(async () => {
    for (const server of started) await server.stop();
  });

  async function standIn(day: Day): Promise<StandIn> {
    const fleet = new FleetScript(day === "empty" ? 0 : 1000);
    if (day === "bad") fleet.withTrouble();
    fleet.features.push("alerts");
    fleet.alerts = day === "bad" ? badDayAlerts() : goodDayAlerts();
    const server = await new StandIn({ fleet, day }).start();
    started.push(server);
    return server;
  }

  const cases = (["empty", "good", "bad"] as const).flatMap((day) =>
    SIZES.map(([width, height]) => [day, width, height] as const),
  );
  it.each(cases)(
    "L1 to L8: of every view holds what it shows, on %s data in a window of %i × %i",
    async (day, width, height) => {
      const server = await standIn(day);
      const { page } = await browser.open(server.page, { viewport: { width, height } });
      for (const [view, ...badDay] of VIEWS) {
        await page.goto(`${server.page}#/${view}`);
        await settle(page, view, server, day);
        const faults = await page.evaluate(layoutFaults, width === PHONE ? TOUCH_MIN : 0);
        expect([view, faults]).toEqual([view, []]);
        const main = page.locator("main");
        if (day === "bad") {
          for (const text of badDay) {
            const { y = height } = (await main.getByText(text).first().boundingBox()) ?? {};
            expect([view, text, y < height - TOUCH_MIN]).toEqual([view, text, true]);
          }
          const alerts = await page.getByRole("link", { name: "Alerts 5" }).boundingBox();
          expect([view, alerts !== null && alerts.x >= 0 && alerts.x + alerts.width <= width]).toEqual([
            view,
            true,
          ]);
        }
        if (view === "engines" && day !== "empty" && width !== PHONE)
          expect(await page.evaluate(() => document.documentElement.scrollHeight - innerHeight)).toBe(0);
        if (day === "good" && !NAMES_TROUBLE.some((each) => view.startsWith(each)))
          expect([view, TROUBLE.exec(await main.innerText())]).toEqual([view, null]);
      }
    },
  );

  it("keeps the link of the present view in sight when counts arrive", async () => {
    const server = await standIn("bad");
    const { page } = await browser.open(server.page, { viewport: { width: PHONE, height: 844 } });
    await page.goto(`${server.page}#/system`);
    await page.reload();
    await page.locator("nav .count.bad").waitFor({ ...PATIENCE, state: "attached" });
    const present = page.locator("nav [aria-current]");
    await expect
      .poll(async () => {
        const { x = -1, width = PHONE } = (await present.boundingBox()) ?? {};
        return x >= 0 && x + width <= PHONE + 1;
      }, PATIENCE)
      .toBe(true);
  });

  it("counts the alerts that fire next to their view, and leads from the first sentence to the runbook", async () => {
    const server = await standIn("bad");
    const { page } = await browser.open(server.page);
    await see(page, "KVSyncConnectionFailure fires for vllm-0025");
    expect(await page.getByRole("link", { name: "Alerts 5" }).count()).toBe(1);
    expect(
      await page.locator(".verdict").getByRole("link", { name: "Runbook" }).getAttribute("href"),
    ).toMatch(/^https:.*\/kv-sync-connection-failure\.md$/);
    await page.locator(".verdict").getByRole("link", { name: "4 engines need attention" }).click();
    await see(page, "1,000 of 1,000 engines, worst first");
  });
});
