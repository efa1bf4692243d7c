/**
 * The features that a monitoring dashboard has to have, each by its name: health, charts, alerts and their management,
 * system information, metric summaries. A real daemon shows them at `/dashboard`.
 */
import { type ChildProcess, spawn, spawnSync } from "node:child_process";
import { mkdtempSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { fileURLToPath } from "node:url";

import { freePort } from "@kvsync/engine-sim";
import type { Page } from "playwright-core";
import { afterAll, beforeAll, describe, expect, it, vi } from "vitest";

import { hasChromium, PATIENCE, see, useBrowser } from "./browser.ts";
import { MODEL, RealDaemon, RealEngine } from "./real-fleet.ts";

const ALERTMANAGER = "prometheus-alertmanager";
const CONFIG = fileURLToPath(
  new URL("../../../infra/alertmanager/alertmanager.compose.yaml", import.meta.url),
);
const hasAlertmanager = spawnSync(ALERTMANAGER, ["--version"]).status === 0;

function words(text: string): string {
  return text.replaceAll(/\s+/g, " ");
}

describe.skipIf(!hasChromium || !hasAlertmanager)("the dashboard of the daemon", () => {
  const browser = useBrowser();
  const folder = mkdtempSync(join(tmpdir(), "kvsync-features-"));
  let alertmanager: ChildProcess;
  let engine: RealEngine;
  let daemon: RealDaemon;

  beforeAll(async () => {
    const url = `http://127.0.0.1:${await freePort()}`;
    alertmanager = spawn(
      ALERTMANAGER,
      [
        `--config.file=${CONFIG}`,
        `--storage.path=${folder}`,
        `--web.listen-address=${url.slice("http://".length)}`,
        "--cluster.listen-address=",
      ],
      { stdio: "ignore" },
    );
    await vi.waitFor(async () => {
      expect((await fetch(`${url}/-/ready`)).status).toBe(200);
    }, PATIENCE);
    engine = await RealEngine.start("engine-0", 1);
    daemon = await RealDaemon.start({
      engines: [engine.entry()],
      dashboard: { alertmanager_url: url },
      snapshot: { enabled: false },
    });
    await engine.serve(4);
    await daemon.caughtUp([engine]);
  }, 120_000);

  afterAll(async () => {
    await daemon.end();
    await engine.stop();
    const ended = new Promise((resolve) => alertmanager.once("exit", resolve));
    alertmanager.kill("SIGKILL");
    await ended;
    rmSync(folder, { recursive: true, force: true });
  });

  const openView = async (view: string): Promise<Page> =>
    (await browser.open(`${daemon.url}/dashboard/#/${view}`)).page;

  async function answer<Body>(path: string): Promise<Body> {
    return (await (await daemon.fetch(path)).json()) as Body;
  }

  const panel = (page: Page, title: string) =>
    page.locator("section.panel", { has: page.getByRole("heading", { name: title }) });

  it("is at /dashboard, without a set-up", async () => {
    const moved = await daemon.fetch("/dashboard", { redirect: "manual" });
    expect(moved.status).toBe(308);
    expect(moved.headers.get("location")).toBe("dashboard/");
    const { page } = await browser.open(`${daemon.url}/dashboard`);
    await see(page, "The engine is followed exactly.");
  });

  it("health: has each check of GET /health with its state and message", async () => {
    const { checks } = await answer<{ checks: Record<string, { status: string; message: string }> }>(
      "/health",
    );
    const page = await openView("overview");
    const rows = panel(page, "Health").locator("li");
    await expect.poll(() => rows.count(), PATIENCE).toBe(Object.keys(checks).length);
    const shown = (await rows.allInnerTexts()).map((row) => words(row).split(" ")[0]);
    expect(shown.sort()).toEqual(Object.keys(checks).sort());
  });

  it("charts: has events, latency, decisions and hit rate over time, each as a table too", async () => {
    const page = await openView("overview");
    for (const title of ["Events applied", "Lookup latency", "Lookups by decision", "Prefix hit rate"])
      await panel(page, title).first().waitFor(PATIENCE);
    const body = JSON.stringify({ model: MODEL, token_ids: [...engine.firstPrompt] });
    const headers = { "content-type": "application/json" };
    await daemon.fetch("/api/v1/match", { method: "POST", headers, body });
    const decisions = panel(page, "Lookups by decision");
    await decisions.locator("canvas").waitFor(PATIENCE);
    await decisions.getByRole("button", { name: "as table" }).click();
    await expect.poll(() => decisions.locator("tbody tr").count(), PATIENCE).toBeGreaterThan(0);
  });

  it("alerts: has each of the daemon's rules with its state, and why some need Prometheus", async () => {
    const { rules, source } = await answer<{
      rules: { name: string; state: string }[];
      source: string;
    }>("/api/v1/alerts");
    expect(source).toBe("built-in+alertmanager");
    const page = await openView("alerts");
    const rows = page.locator("table.rules tbody tr");
    await expect.poll(() => rows.count(), PATIENCE).toBe(rules.length);
    const needing = rules.filter(({ state }) => state === "needs_prometheus");
    expect(rules.length - needing.length).toBeGreaterThanOrEqual(50);
    for (const { name } of needing)
      expect(
        await rows.filter({ has: page.getByRole("rowheader", { name, exact: true }) }).innerText(),
      ).toMatch(/It looks back further|other exporters|scrape/);
  });

  it("alert management: lists the silences of Alertmanager, and ends one", async () => {
    const made = await daemon.fetch("/api/v1/alerts/silences", {
      method: "POST",
      headers: { "content-type": "application/json" },
      body: JSON.stringify({
        matchers: [{ name: "alertname", value: "StreamUntrusted" }],
        ends_at: new Date(Date.now() + 3_600_000).toISOString(),
        comment: "The engines are being moved.",
      }),
    });
    expect(made.status).toBe(201);
    const page = await openView("alerts");
    const silences = page.locator("ul.silences");
    await silences.getByText("The engines are being moved.").waitFor(PATIENCE);
    await silences.getByRole("button", { name: "End the silence of StreamUntrusted" }).click();
    await silences.getByText("End the silence of StreamUntrusted").click();
    await see(page, "The silence of StreamUntrusted has ended.");
    expect((await answer<{ silences: unknown[] }>("/api/v1/alerts/silences")).silences).toEqual([]);
  });

  it("system information: has version, process, memory and settings as GET /api/v1/system answers", async () => {
    const facts = await answer<{ version: string; pid: number; node: string; settings: unknown[] }>(
      "/api/v1/system",
    );
    const page = await openView("system");
    await see(page, facts.node);
    const text = words(await page.locator("main").innerText());
    for (const fact of [`Version ${facts.version}`, `Process ${facts.pid}`, `Node ${facts.node}`])
      expect(text).toContain(fact);
    expect(text).toMatch(/Memory [\d.]+ [MG]iB of/);
    expect(text).toMatch(new RegExp(`\\d+ of ${facts.settings.length} are not the default`));
  });

  it("metric summaries: has six key figures, with those of /metrics", async () => {
    const page = await openView("overview");
    const figures = page.locator(".kpi");
    await expect.poll(() => figures.count(), PATIENCE).toBe(6);
    const labels = (await figures.locator(".lab").allInnerTexts()).map((label) => label.toLowerCase());
    expect(labels).toEqual(
      ["Exact engines", "Lookups", "Lookup p99", "Events applied", "Prefix hit rate", "Index memory"].map(
        (label) => label.toLowerCase(),
      ),
    );
    const text = await (await daemon.fetch("/metrics")).text();
    const mappings = /sync_indexer_mappings\{[^}]*\} (\d+)/.exec(text)?.[1];
    await expect
      .poll(async () => words(await figures.last().innerText()), PATIENCE)
      .toContain(`${Number(mappings).toLocaleString("en-US")} copies`);
  });
});
