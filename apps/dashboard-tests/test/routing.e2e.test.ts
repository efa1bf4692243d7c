/** The view of routing, on a real daemon with its picker on: picks and outcomes over HTTP, engines over ZeroMQ. */
import { freePort } from "@kvsync/engine-sim";
import { afterAll, beforeAll, describe, expect, it, vi } from "vitest";

import { hasChromium, PATIENCE, see, useBrowser } from "./browser.ts";
import { MODEL, RealDaemon, RealEngine } from "./real-fleet.ts";

interface Picked {
  readonly id: string;
  readonly worker: string;
  readonly decision: string;
  readonly matched_tokens: number;
}

interface Status {
  readonly bookings: number;
  readonly decisions: Readonly<Record<"index" | "own" | "load" | "immediate", number>>;
  readonly predicted_cached_tokens: number;
  readonly reported_cached_tokens: number;
  readonly predictions: { readonly agree: number; readonly differ: number };
  readonly endpoints: readonly { readonly worker: string; readonly running: number }[];
}

const addressOf = (i: number): string => `10.0.0.${i + 1}:8000`;

function words(text: string): string {
  return text.replaceAll(/\s+/g, " ");
}

describe.skipIf(!hasChromium)("the view of routing", () => {
  const browser = useBrowser();
  let engines: RealEngine[];
  let daemon: RealDaemon;

  beforeAll(async () => {
    engines = await Promise.all([0, 1, 2].map((i) => RealEngine.start(`engine-${i}`, i + 1)));
    const [port, health_port] = [await freePort(), await freePort()];
    daemon = await RealDaemon.start({
      engines: engines.map((engine, i) => ({ ...engine.entry(), http: [addressOf(i)] })),
      picker: { enabled: true, port, health_port },
      snapshot: { enabled: false },
    });
    for (const engine of engines) await engine.serve(3);
    await daemon.caughtUp(engines);
    await vi.waitFor(async () => {
      expect((await pick(0)).decision).toBe("index");
    }, PATIENCE);
  }, 120_000);

  afterAll(async () => {
    await daemon.end();
    for (const engine of engines) await engine.stop();
  });

  async function post<Answer>(path: string, body: object): Promise<Answer> {
    const answer = await daemon.fetch(path, {
      method: "POST",
      headers: { "content-type": "application/json" },
      body: JSON.stringify(body),
    });
    expect(answer.status, path).toBeLessThan(300);
    return (answer.status === 204 ? null : await answer.json()) as Answer;
  }

  const promptOf = (i: number): number[] => [...(engines[i]?.firstPrompt ?? [])];
  const pick = (i: number): Promise<Picked> =>
    post<Picked>("/api/v1/pick", { model: MODEL, token_ids: promptOf(i) });
  const status = async (): Promise<Status> => (await (await daemon.fetch("/api/v1/picker")).json()) as Status;

  it("shows picks by decision, open requests and the load of each endpoint as the picker counts them", async () => {
    const { page } = await browser.open(`${daemon.url}/dashboard/#/routing`);
    await see(page, "Load by endpoint");
    expect((await pick(1)).worker).toBe("engine-1");
    expect((await pick(2)).worker).toBe("engine-2");
    const { bookings, decisions, endpoints } = await status();
    const figures = page.locator("main .kpi");
    const picks = Object.values(decisions).reduce((sum, one) => sum + one, 0);
    await expect
      .poll(async () => words(await figures.nth(0).innerText()), PATIENCE)
      .toContain(`Picks ${picks} `);
    await expect
      .poll(async () => words(await figures.nth(1).innerText()), PATIENCE)
      .toContain(`Open requests ${bookings} `);
    const rows = page.locator("section", { hasText: "Load by endpoint" }).locator("tbody tr");
    await expect.poll(() => rows.count(), PATIENCE).toBe(3);
    const shown = (await rows.allInnerTexts()).map((row) => {
      const [worker = "", endpoint = "", , running = ""] = words(row).trim().split(" ");
      return [worker, endpoint, Number(running)];
    });
    const expected = endpoints.map(({ worker, running }) => {
      const i = Number(worker.split("-")[1]);
      return [worker, addressOf(i), running];
    });
    expect(shown.sort()).toEqual(expected.sort());
  });

  it("shows predicted beside delivered tokens once engines have counted", async () => {
    const { page } = await browser.open(`${daemon.url}/dashboard/#/routing`);
    await see(page, "No prediction was compared yet.");
    const [whole, half] = [await pick(0), await pick(1)];
    await post(`/api/v1/pick/${whole.id}/end`, { cached_tokens: whole.matched_tokens });
    await post(`/api/v1/pick/${half.id}/end`, { cached_tokens: Math.floor(half.matched_tokens / 2) });
    const { predictions, predicted_cached_tokens, reported_cached_tokens } = await status();
    expect(predictions).toEqual({ agree: 1, differ: 1 });
    const tokens = page.locator("section", { hasText: "Predicted against delivered" });
    await expect
      .poll(async () => words(await tokens.innerText()), PATIENCE)
      .toContain(`Predicted ${predicted_cached_tokens} Delivered ${reported_cached_tokens}`);
    await see(page, "of 2 compared with the engines' own counts");
  });

  it("leads from an endpoint to its engine, and from a prompt to the costs of each endpoint", async () => {
    const { page } = await browser.open(`${daemon.url}/dashboard/#/routing`);
    await see(page, "Load by endpoint");
    await page.getByRole("link", { name: "engine-2" }).click();
    await page.getByRole("complementary", { name: "engine-2" }).waitFor(PATIENCE);
    await page.goto(`${daemon.url}/dashboard/#/prefixes`);
    await page.getByRole("button", { name: "Token ids" }).click();
    await page.locator("textarea").fill(promptOf(2).join(", "));
    await page.getByRole("button", { name: "Look up" }).click();
    await see(page, "Where the picker would send it");
    const ranking = page.locator("section", { hasText: "Where the picker would send it" });
    await expect.poll(async () => words(await ranking.innerText()), PATIENCE).toContain("engine-2");
  });
});
