/**
 * One browser for a file of tests, and a fresh profile for each page. Each page is watched. An error in the console fails its
 * test, as do a report of the content security policy and a request to another origin.
 *
 * Chromium is Debian's: nothing is downloaded. `KVSYNC_CHROMIUM` names another one.
 */
import { existsSync } from "node:fs";

import { type Browser, type BrowserContextOptions, chromium, type Page } from "playwright-core";
import { afterAll, afterEach, beforeAll, expect } from "vitest";

const PATH = process.env["KVSYNC_CHROMIUM"] ?? "/usr/bin/chromium";

/** Whether this machine has the browser. In CI a skipped test is a failure. */
export const hasChromium = existsSync(PATH);

/** How long a condition may take on a busy machine. */
export const PATIENCE = { timeout: 60_000, interval: 100 } as const;

/** A page and what went wrong in it. */
export interface Watched {
  readonly page: Page;
  readonly faults: string[];
  /** Every address that the page asked for. */
  readonly requests: string[];
}

/**
 * Opens pages. Call it once in a file, outside of tests.
 *
 * @param flags - for chromium, besides those that it needs in a container.
 */
export function useBrowser(flags: readonly string[] = []): {
  open(url: string, options?: BrowserContextOptions): Promise<Watched>;
} {
  let browser: Browser;
  const opened: Watched[] = [];
  beforeAll(async () => {
    browser = await chromium.launch({
      executablePath: PATH,
      args: ["--no-sandbox", "--disable-gpu", "--disable-dev-shm-usage", ...flags],
    });
  });
  afterAll(async () => {
    await browser.close();
  });
  afterEach(async () => {
    const all = opened.splice(0);
    for (const { page } of all) await page.context().close();
    expect(all.flatMap(({ faults }) => faults)).toEqual([]);
  });
  return {
    open: async (url, options = {}) => {
      const context = await browser.newContext({ viewport: { width: 1440, height: 900 }, ...options });
      const page = await context.newPage();
      const watched: Watched = { page, faults: [], requests: [] };
      opened.push(watched);
      const { origin } = new URL(url);
      page.on("request", (request) => {
        watched.requests.push(request.url());
        if (new URL(request.url()).origin !== origin && !request.url().startsWith("data:"))
          watched.faults.push(`a request to another origin: ${request.url()}`);
      });
      page.on("console", (message) => {
        if (message.type() === "error" && !isNetwork(message.text()))
          watched.faults.push(`console: ${message.text()}`);
      });
      page.on("pageerror", (error) => {
        watched.faults.push(`error: ${error.message}`);
      });
      await page.addInitScript(() => {
        document.addEventListener("securitypolicyviolation", ({ violatedDirective, blockedURI }) => {
          console.error(`policy: ${violatedDirective} ${blockedURI}`);
        });
      });
      await page.goto(url);
      return watched;
    },
  };
}

/** The browser itself reports each request that fails: tests of a lost daemon cause those. */
function isNetwork(text: string): boolean {
  return /^Failed to load resource: |net::ERR_/.test(text);
}

/** Waits until a text is on the page. */
export async function see(page: Page, text: string | RegExp): Promise<void> {
  await page.getByText(text).first().waitFor({ timeout: PATIENCE.timeout });
}

/** When a text came to a page, and how late its timers were until then. */
export interface Seen {
  /** Milliseconds since 1970. */
  readonly atMs: number;
  readonly lateMs: number;
}

/**
 * Watches a page for a text from now on.
 *
 * @returns waits until it is there.
 */
export async function watchFor(page: Page, text: string): Promise<() => Promise<Seen>> {
  await page.evaluate(`
    window.seen = { atMs: 0, lateMs: 0 };
    {
      const everyMs = 20;
      let last = performance.now();
      const timer = setInterval(() => {
        const now = performance.now();
        seen.lateMs = Math.max(seen.lateMs, now - last - everyMs);
        last = now;
      }, everyMs);
      const observer = new MutationObserver(() => {
        if (!document.body.innerText.includes(${JSON.stringify(text)})) return;
        seen.atMs = Date.now();
        observer.disconnect();
        clearInterval(timer);
      });
      observer.observe(document.body, { subtree: true, childList: true, characterData: true });
    }`);
  return async () => {
    await see(page, text);
    return page.evaluate<Seen>("window.seen");
  };
}
