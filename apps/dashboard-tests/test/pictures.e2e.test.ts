/**
 * The pictures of docs/operations/dashboard.md: views of a scripted fleet on a bad day. `KVSYNC_PICTURES=write` takes them again.
 *
 * Pixels are not compared, since each chromium draws letters in its own way. A picture is out of date when its view no longer has
 * the size and the words that it was taken with.
 */
import { mkdirSync, readFileSync, writeFileSync } from "node:fs";
import { fileURLToPath } from "node:url";

import { afterAll, beforeAll, describe, expect, it } from "vitest";

import { hasChromium, PATIENCE, see, useBrowser } from "./browser.ts";
import { FleetScript } from "./fleet-script.ts";
import { StandIn } from "./stand-in-server.ts";

const FOLDER = new URL("../../../docs/operations/pictures/", import.meta.url);
const PAGE = fileURLToPath(new URL("../../../docs/operations/dashboard.md", import.meta.url));
const SIZE = { width: 1440, height: 900 };
/** A page of documents should load on a train. */
const BYTES_MAX = 300_000;

const PICTURES = [
  ["overview", "overview", "dark", "Answers are exact for 996 of 1,000 engines."],
  ["engine", "engines?open=vllm-0037", "dark", "replay runs"],
  ["prefixes", "prefixes", "light", "6 of 268 engines hold the beginning of it"],
] as const;

/** Width and height of a PNG. */
function sizeOf(png: Buffer): { readonly width: number; readonly height: number } {
  expect(png.subarray(1, 4).toString()).toBe("PNG");
  return { width: png.readUInt32BE(16), height: png.readUInt32BE(20) };
}

describe.skipIf(!hasChromium)("the pictures of the page", () => {
  const browser = useBrowser();
  let server: StandIn;
  beforeAll(async () => {
    server = await new StandIn({ fleet: new FleetScript(1000).withTrouble(), day: "bad" }).start();
  });
  afterAll(() => server.stop());

  it.each(PICTURES)("%s shows its view as it is", async (name, view, colorScheme, sign) => {
    const { page } = await browser.open(`${server.page}#/${view}`, { colorScheme, viewport: SIZE });
    await page.locator(".live:not(.connecting)").waitFor(PATIENCE);
    if (view === "prefixes") {
      await page.locator("textarea").fill("You are a helpful assistant. Answer in one sentence.");
      await page.keyboard.press("Control+Enter");
    }
    await see(page, sign);
    await expect.poll(() => page.locator(".skeleton").count(), PATIENCE).toBe(0);
    const taken = await page.screenshot();
    const file = new URL(`${name}.png`, FOLDER);
    if (process.env["KVSYNC_PICTURES"] === "write") {
      mkdirSync(FOLDER, { recursive: true });
      writeFileSync(file, taken);
    }
    const kept = readFileSync(file);
    expect(sizeOf(kept)).toEqual(sizeOf(taken));
    expect(kept.length).toBeLessThan(BYTES_MAX);
    expect(readFileSync(PAGE, "utf8")).toContain(`(pictures/${name}.png)`);
  });
});
