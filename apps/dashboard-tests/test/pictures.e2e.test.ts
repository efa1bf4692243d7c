/**
 * The page in pictures: those of docs/operations/dashboard.md, and the overview and the engines in both themes. All show a scripted
 * fleet on a bad day, at a fixed time. `KVSYNC_PICTURES=write` takes them again.
 *
 *  P1  At most DIFFERENT_MAX of a picture's pixels differ from the kept one.
 *  P2  Each chromium draws letters in its own way. So pixels are compared only with the chromium and the fonts of recorded.json.
 *      With others, a picture has its size, and its view the words that it was taken with.
 */
import { mkdirSync, readFileSync, writeFileSync } from "node:fs";
import { fileURLToPath } from "node:url";

import type { Page } from "playwright-core";
import { afterAll, beforeAll, describe, expect, it } from "vitest";

import { badDayAlerts } from "./alert-script.ts";
import { hasChromium, PATIENCE, see, useBrowser } from "./browser.ts";
import { FleetScript } from "./fleet-script.ts";
import { StandIn } from "./stand-in-server.ts";

const DOCUMENTS = new URL("../../../docs/operations/pictures/", import.meta.url);
const OWN = new URL("../pictures/", import.meta.url);
const RECORDED = new URL("recorded.json", OWN);
const PAGE = fileURLToPath(new URL("../../../docs/operations/dashboard.md", import.meta.url));
const SIZE = { width: 1440, height: 900 };
/** A page of documents should load on a train. */
const BYTES_MAX = 300_000;
const DIFFERENT_MAX = 0.002;
/** Of 255: edges of letters and lines are drawn with some freedom. */
const CHANNEL_DIFFERENCE_MAX = 32;
const AT_MS = Date.UTC(2026, 0, 14, 10, 30, 0);
const isWriting = process.env["KVSYNC_PICTURES"] === "write";

const PICTURES = [
  ["overview", DOCUMENTS, "overview", "dark", "KVSyncConnectionFailure fires"],
  ["engine", DOCUMENTS, "engines?open=vllm-0037", "dark", "replay runs"],
  ["prefixes", DOCUMENTS, "prefixes", "light", "6 of 400 engines hold the beginning of it"],
  ["overview-light", OWN, "overview", "light", "KVSyncConnectionFailure fires"],
  ["engine-light", OWN, "engines?open=vllm-0037", "light", "replay runs"],
] as const;

/** What decides how letters are drawn. */
interface Drawing {
  readonly chromium: string;
  /** Widths of a sentence in the page's two fonts. */
  readonly fonts: readonly number[];
}

/** Width and height of a PNG. */
function sizeOf(png: Buffer): { readonly width: number; readonly height: number } {
  expect(png.subarray(1, 4).toString()).toBe("PNG");
  return { width: png.readUInt32BE(16), height: png.readUInt32BE(20) };
}

async function drawingOf(page: Page): Promise<Drawing> {
  const fonts = await page.evaluate(() =>
    ["system-ui, sans-serif", "ui-monospace, monospace"].map((family) => {
      const context = document.createElement("canvas").getContext("2d");
      if (context === null) return 0;
      context.font = `100px ${family}`;
      return Math.round(context.measureText("Answers are exact for 996 of 1,000 engines.").width);
    }),
  );
  const [major = ""] = (page.context().browser()?.version() ?? "").split(".");
  return { chromium: major, fonts };
}

/** The share of pixels that differ; the browser reads the pictures. */
async function differenceOf(page: Page, one: Buffer, other: Buffer): Promise<number> {
  await page.goto("about:blank");
  const urls = [one, other].map((png) => `data:image/png;base64,${png.toString("base64")}`);
  return page.evaluate(
    async ([urlsOf, most]) => {
      const pixels = await Promise.all(
        urlsOf.map(async (url) => {
          const image = new Image();
          image.src = url;
          await image.decode();
          const context = new OffscreenCanvas(image.width, image.height).getContext("2d");
          context?.drawImage(image, 0, 0);
          return context?.getImageData(0, 0, image.width, image.height).data ?? new Uint8ClampedArray();
        }),
      );
      const [first = new Uint8ClampedArray(), second = new Uint8ClampedArray()] = pixels;
      let different = 0;
      for (let at = 0; at < first.length; at += 4)
        if ([0, 1, 2].some((i) => Math.abs((first[at + i] ?? 0) - (second[at + i] ?? 0)) > most))
          different += 1;
      return different / (first.length / 4);
    },
    [urls, CHANNEL_DIFFERENCE_MAX] as const,
  );
}

describe.skipIf(!hasChromium)("the pictures of the page", () => {
  const browser = useBrowser();
  let server: StandIn;
  beforeAll(async () => {
    const fleet = new FleetScript(1000, AT_MS).withTrouble();
    fleet.features.push("alerts");
    fleet.alerts = badDayAlerts(AT_MS / 1000);
    server = await new StandIn({ fleet, day: "bad" }).start();
  });
  afterAll(() => server.stop());

  it.each(PICTURES)("P1, P2: %s shows its view as it is", async (name, folder, view, colorScheme, sign) => {
    const { page } = await browser.open(server.page, { colorScheme, viewport: SIZE, timezoneId: "UTC" });
    await page.clock.setFixedTime(AT_MS);
    await page.goto(`${server.page}#/${view}`);
    await page.reload();
    await page.locator(".live:not(.connecting)").waitFor(PATIENCE);
    if (view === "prefixes") {
      await page.locator("textarea").fill("You are a helpful assistant. Answer in one sentence.");
      await page.keyboard.press("Control+Enter");
    }
    await see(page, sign);
    await expect.poll(() => page.locator(".skeleton, span.timeline").count(), PATIENCE).toBe(0);
    const taken = await page.screenshot({ caret: "hide", animations: "disabled" });
    const file = new URL(`${name}.png`, folder);
    const drawing = await drawingOf(page);
    if (isWriting) {
      for (const one of [folder, OWN]) mkdirSync(one, { recursive: true });
      writeFileSync(file, taken);
      writeFileSync(RECORDED, `${JSON.stringify(drawing)}\n`);
    }
    const kept = readFileSync(file);
    expect(sizeOf(kept)).toEqual(sizeOf(taken));
    expect(kept.length).toBeLessThan(BYTES_MAX);
    if (folder === DOCUMENTS) expect(readFileSync(PAGE, "utf8")).toContain(`(pictures/${name}.png)`);
    if (JSON.stringify(JSON.parse(readFileSync(RECORDED, "utf8"))) === JSON.stringify(drawing))
      expect(await differenceOf(page, kept, taken)).toBeLessThan(DIFFERENT_MAX);
    else console.warn(`${name}: pixels are not compared, since ${JSON.stringify(drawing)} is not recorded`);
  });
});
