/** The view of alerts in a browser, against a stand-in: every state and source, the form of a silence, and its end. */
import { afterEach, describe, expect, it } from "vitest";

import { busyAlerts, calmAlerts, failedSource, SILENCE_ID } from "./alert-script.ts";
import { axeFaults } from "./axe.ts";
import { hasChromium, PATIENCE, see, useBrowser } from "./browser.ts";
import { FleetScript } from "./fleet-script.ts";
import { StandIn, type StandInOptions } from "./stand-in-server.ts";

const started: StandIn[] = [];

async function standIn(alerts: unknown, options: Partial<StandInOptions> = {}): Promise<StandIn> {
  const fleet = new FleetScript(40);
  fleet.features = ["picker", "alerts"];
  fleet.alerts = alerts;
  const server = await new StandIn({ fleet, scope: "admin", ...options }).start();
  started.push(server);
  return server;
}

describe.skipIf(!hasChromium)("alerts in chromium", () => {
  const browser = useBrowser();
  afterEach(async () => {
    for (const server of started.splice(0)) await server.stop();
  });

  it("lists every alert with state, severity, labels, text, time and links, the most urgent first", async () => {
    const server = await standIn(busyAlerts());
    const { page } = await browser.open(`${server.page}#/alerts`);
    await see(page, "Worker 2 of 10.0.0.1:7070 has not run its tick for 41.2s.");
    const rows = await page.locator("ul.alerts > li").allInnerTexts();
    expect(rows).toHaveLength(5);
    for (const part of ["firing", "critical", "worker=2", "for 3 min", "Runbook", "Panel in Grafana"])
      expect(rows[0]).toContain(part);
    // A value stands in the alert's own text, which has its unit.
    expect(rows.join(" ")).not.toMatch(/value \d/);
    const engine = page.getByRole("link", { name: "vllm-0037", exact: true });
    expect(await engine.getAttribute("href")).toBe("#/engines?open=vllm-0037");
    expect(rows[2]).toMatch(/pending[\s\S]*fires in/);
    expect(rows.slice(3).map((row) => row.split("\n")[0])).toEqual(["inhibited", "silenced"]);
    await see(page, /from Prometheus and Alertmanager, \d+ s ago/);
    const runbook = page.getByRole("link", { name: "Runbook" }).first();
    expect(await runbook.getAttribute("href")).toBe("https://runbooks.example/kvsync/worker-down.md");
    expect(await runbook.getAttribute("rel")).toBe("noopener noreferrer");
  });

  it("names for each rule why it needs Prometheus, or why it failed", async () => {
    const server = await standIn(busyAlerts());
    const { page } = await browser.open(`${server.page}#/alerts`);
    await see(page, "4 evaluated, 3 need Prometheus");
    await see(page, "It reads metrics of other exporters.");
    await see(page, "It looks back further than six hours.");
    await see(page, "several series of the right side have the same labels");
  });

  it("filters by state, and keeps the filter in the address", async () => {
    const server = await standIn(busyAlerts());
    const { page } = await browser.open(`${server.page}#/alerts`);
    await page.getByRole("button", { name: /^Silenced/ }).click();
    expect(await page.locator("ul.alerts > li h3").allInnerTexts()).toEqual(["SnapshotStale"]);
    expect(page.url()).toContain("state=silenced");
  });

  it("silences by the keyboard alone: labels of the alert, an hour, and a comment that must be there", async () => {
    const server = await standIn(busyAlerts());
    const { page } = await browser.open(`${server.page}#/alerts`);
    await page.getByRole("button", { name: "Silence WorkerDown" }).focus();
    await page.keyboard.press("Enter");
    await page.getByRole("dialog").waitFor();
    await page.getByRole("button", { name: "Silence", exact: true }).press("Enter");
    await see(page, "Write a comment.");
    expect(server.silences).toEqual([]);
    await page.getByLabel('instance="10.0.0.1:7070"').press("Space");
    await page.getByRole("button", { name: "4 h", exact: true }).press("Enter");
    await page.getByLabel("Comment").fill("Known, see the ticket.");
    await page.getByLabel("Comment").press("Enter");
    await see(page, "The silence of WorkerDown is active.");
    const [[method, body] = []] = server.silences;
    expect(method).toBe("POST");
    expect(body).toMatchObject({
      comment: "Known, see the ticket.",
      matchers: [
        { name: "alertname", value: "WorkerDown", is_regex: false, is_equal: true },
        { name: "job", value: "kvsync-daemon", is_regex: false, is_equal: true },
        { name: "worker", value: "2", is_regex: false, is_equal: true },
      ],
    });
    const ends = Date.parse((body as { ends_at: string }).ends_at);
    expect(Math.abs(ends - Date.now() - 4 * 3_600_000)).toBeLessThan(120_000);
  });

  it("shows Alertmanager's refusal as it came, and keeps the form", async () => {
    const server = await standIn(busyAlerts());
    server.silenceAnswer = () => ({
      status: 502,
      body: { title: "Refused by Alertmanager", detail: "Alertmanager answered 400: bad matcher format: x" },
    });
    const { page } = await browser.open(`${server.page}#/alerts`);
    await page.getByRole("button", { name: "Silence WorkerDown" }).click();
    await page.getByLabel("Comment").fill("why");
    await page.getByRole("button", { name: "Silence", exact: true }).click();
    await see(page, "Alertmanager answered 400: bad matcher format: x");
    expect(await page.getByRole("dialog").count()).toBe(1);
    await page.keyboard.press("Escape");
    await expect.poll(() => page.getByRole("dialog").count(), PATIENCE).toBe(0);
  });

  it("ends a silence after a second click that names it, and makes it again when asked to", async () => {
    const server = await standIn(busyAlerts());
    server.silenceAnswer = (method) => ({
      status: method === "DELETE" ? 204 : 201,
      body: { silence_id: "2" },
    });
    const { page } = await browser.open(`${server.page}#/alerts`);
    const silences = page.locator("ul.silences");
    await silences.getByRole("button", { name: "End the silence of SnapshotStale" }).click();
    expect(server.silences).toEqual([]);
    await silences.getByText("End the silence of SnapshotStale").click();
    await see(page, "The silence of SnapshotStale has ended.");
    expect(server.silences).toEqual([["DELETE", SILENCE_ID]]);
    await page.getByRole("button", { name: "Undo" }).click();
    await see(page, "The silence of SnapshotStale is active.");
    expect(server.silences[1]?.[0]).toBe("POST");
    expect(server.silences[1]?.[1]).toMatchObject({ comment: "The disk is being replaced." });
  });

  it("a reader sees no control that changes a silence, and why", async () => {
    const server = await standIn(busyAlerts(), { scope: "read" });
    const { page } = await browser.open(`${server.page}#/alerts`);
    await see(page, "Making and ending a silence needs a token with the scope admin.");
    expect(await page.getByRole("button", { name: /Silence |End the silence/ }).count()).toBe(0);
  });

  it("says that nothing fires, who evaluates, and what silences need", async () => {
    const server = await standIn(calmAlerts());
    const { page } = await browser.open(`${server.page}#/alerts`);
    await see(page, "No alert fires or is pending.");
    await see(page, /evaluated by this daemon, \d+ s ago/);
    await see(page, "Silences need Alertmanager.");
  });

  it("names a source that fails, and shows the daemon's own alerts", async () => {
    const server = await standIn(failedSource());
    const { page } = await browser.open(`${server.page}#/alerts`);
    await see(page, "Prometheus cannot be used: no answer within 2 s.");
    await see(page, "The list has the alerts that this daemon evaluates itself.");
  });

  it("follows the stream: an alert that begins to fire is in the list, the overview and its first sentence", async () => {
    const server = await standIn(calmAlerts());
    const { page } = await browser.open(server.page);
    await see(page, "No alert fires or is pending.");
    server.send("alerts", busyAlerts());
    await see(page, /WorkerDown/);
    expect(await page.locator("h1").innerText()).toContain("WorkerDown");
    await page.getByRole("link", { name: "All alerts" }).click();
    await see(page, "Rules");
    expect(await page.locator("ul.alerts > li").count()).toBe(5);
  });

  it("dims the list when the stream is lost", async () => {
    const server = await standIn(busyAlerts());
    const { page } = await browser.open(`${server.page}#/alerts`);
    await see(page, "StreamUntrusted");
    await server.stop();
    await expect
      .poll(() => page.locator("section.is-stale", { hasText: "WorkerDown" }).count(), PATIENCE)
      .toBeGreaterThan(0);
  });

  it.each(["dark", "light"] as const)("has no fault of WCAG A or AA in the %s theme", async (theme) => {
    for (const alerts of [busyAlerts(), calmAlerts(), failedSource()]) {
      const server = await standIn(alerts);
      const { page } = await browser.open(`${server.page}#/alerts`, { colorScheme: theme });
      await see(page, "Rules");
      await see(page, "WorkerDown");
      expect(await axeFaults(page)).toEqual([]);
      const silence = page.getByRole("button", { name: "Silence WorkerDown" });
      if ((await silence.count()) === 0) continue;
      await silence.click();
      await page.getByRole("dialog").waitFor();
      expect(await axeFaults(page)).toEqual([]);
    }
  });

  it.each([
    ["wide", 1440, 900],
    ["narrow", 390, 844],
  ])("has no horizontal scroll on a %s screen", async (_, width, height) => {
    const server = await standIn(busyAlerts());
    const { page } = await browser.open(`${server.page}#/alerts`, { viewport: { width, height } });
    await see(page, "StreamUntrusted");
    const { content, shown } = await page.evaluate(() => ({
      content: document.documentElement.scrollWidth,
      shown: document.documentElement.clientWidth,
    }));
    expect(content).toBeLessThanOrEqual(shown);
  });
});
