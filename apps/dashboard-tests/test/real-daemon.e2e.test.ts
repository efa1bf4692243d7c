/**
 * The page in a browser, served by a real daemon that follows real engines over ZeroMQ. Figures are those of the daemon's other
 * answers, faults are shown as they happen, and a fault that ends leaves nothing behind.
 */
import { createServer, request as ask, type Server } from "node:http";
import type { AddressInfo } from "node:net";

import type { Page } from "playwright-core";
import { afterAll, beforeAll, describe, expect, it } from "vitest";

import { hasChromium, PATIENCE, see, useBrowser, watchFor } from "./browser.ts";
import { FleetStream } from "./fleet-stream.ts";
import { MODEL, RealDaemon, RealEngine } from "./real-fleet.ts";
import { SlowLine } from "./slow-line.ts";

/** Text without the layout of it. */
function words(text: string): string {
  return text.replaceAll(/\s+/g, " ");
}

/** Time from a loss to the sentence about it, on a machine that is never late. */
const VERDICT_MS = 2000;
const BANNER_MS = 3000;
/** Between two deltas. */
const BEAT_MS = 1000;
const OUTAGE_MS = 10_000;

function whole(value: number | null | undefined): string {
  return value === null || value === undefined ? "–" : value.toLocaleString("en-US");
}

describe.skipIf(!hasChromium)("the page of a real daemon", () => {
  const browser = useBrowser();
  let engines: RealEngine[];
  let daemon: RealDaemon;
  let config: object;
  /** In front of the replays of engine-1. */
  let line: SlowLine;

  beforeAll(async () => {
    engines = await Promise.all([0, 1, 2].map((i) => RealEngine.start(`engine-${i}`, i + 1)));
    line = await SlowLine.to(engineAt(1).ports.replayPort);
    config = {
      engines: engines.map((engine, i) => engine.entry(i === 1 ? line.port : undefined)),
      ingest: { replay_timeout_seconds: 60 },
    };
    daemon = await RealDaemon.start(config);
    for (const engine of engines) await engine.serve(8);
    await daemon.caughtUp(engines);
  }, 120_000);

  afterAll(async () => {
    await daemon.end();
    for (const engine of engines) await engine.stop();
    await line.close();
  });

  function engineAt(i: number): RealEngine {
    const engine = engines[i];
    if (engine === undefined) throw new Error(`no engine ${i}`);
    return engine;
  }

  const openView = (view: string) => browser.open(`${daemon.url}/dashboard/#/${view}`);

  /** Rows of a chart as a table, the newest first. */
  async function chartRows(page: Page): Promise<string[]> {
    // A chart of zeros is not drawn, and has its table.
    const panel = page
      .locator("section", { has: page.getByRole("heading", { name: "Events applied" }) })
      .filter({ has: page.getByRole("button", { name: / as (table|chart)$/ }) });
    const asTable = panel.getByRole("button", { name: "as table" });
    if ((await asTable.count()) > 0) await asTable.click();
    return (await panel.locator("tbody tr").allInnerTexts()).map(words);
  }

  async function metric(name: string): Promise<number> {
    const text = await (await daemon.fetch("/metrics")).text();
    const lines = text.split("\n").filter((line) => line.includes(`_${name}{`) && !line.startsWith("#"));
    return lines.reduce((sum, line) => sum + Number(line.split(" ").at(-1)), 0);
  }

  it("shows each engine with the figures of the list of engines, and the index with those of the metrics", async () => {
    const { page } = await openView("engines?sort=id");
    await see(page, "3 of 3 engines");
    for (const engine of engines) await engine.serve(4);
    await daemon.caughtUp(engines);
    const listed = await daemon.ranks();
    const expected = engines.map(({ id }) => {
      const rank = listed.get(id);
      return [id, "live", "exact", whole(rank?.last_sequence_number), whole(rank?.blocks_held)];
    });
    const cells = (row: string): string[] => words(row).split(" ");
    await expect
      .poll(async () => {
        const rows = await page.locator("tr.row").allInnerTexts();
        return rows.map((row, i) => (expected[i] ?? []).filter((cell) => !cells(row).includes(cell)));
      }, PATIENCE)
      .toEqual([[], [], []]);
    await page.getByRole("link", { name: "Index" }).click();
    await see(page, "Ranks per block");
    const [prefixes, mappings] = [
      await metric("sync_indexer_prefixes"),
      await metric("sync_indexer_mappings"),
    ];
    const context = page.locator("section", { hasText: "Contexts" }).locator("tbody tr");
    await expect
      .poll(async () => words(await context.first().innerText()), PATIENCE)
      .toContain(`${MODEL} none 16 ${whole(prefixes)} ${whole(mappings)}`);
  });

  it("says within seconds that an engine lost 40 messages, keeps them in its drawer, and is green when they came", async () => {
    const engine = engineAt(1);
    const { page } = await openView("overview");
    await see(page, "All 3 engines are followed exactly.");
    const before = engine.lastSequenceNumber;
    const stream = await FleetStream.open(daemon.url);
    const verdict = await watchFor(page, "Answers are exact for 2 of 3 engines.");
    line.hold();
    await engine.server.applyFault({ kind: "drop", percent: 100 }, 0);
    while (engine.lastSequenceNumber < before + 40) await engine.serve(1);
    const lost = engine.lastSequenceNumber - before;
    await engine.server.applyFault({ kind: "drop", percent: 0 }, 0);
    const foundMs = Date.now();
    await engine.serve(1);
    const seen = await verdict();
    const lateMs = Math.max(0, stream.seen.longestMs - BEAT_MS) + seen.lateMs;
    await stream.close();
    console.log(
      `verdict after ${seen.atMs - foundMs} ms, of which the machine was late for ${Math.round(lateMs)}`,
    );
    expect(seen.atMs - foundMs - lateMs).toBeLessThan(VERDICT_MS);
    await see(page, new RegExp(`${lost} messages are missing from number ${before + 1}`));
    expect(await chartRows(page)).toContainEqual(
      expect.stringContaining(`engine-1: ${lost} messages are missing from number ${before + 1}`),
    );
    const attention = page.locator("section", { hasText: "Needs attention" }).locator("li");
    await expect
      .poll(() => attention.allInnerTexts(), PATIENCE)
      .toEqual([expect.stringContaining("engine-1")]);
    await attention.first().getByRole("link").first().click();
    const drawer = page.getByRole("complementary", { name: "engine-1" });
    await drawer.waitFor(PATIENCE);
    await expect
      .poll(async () => words(await drawer.innerText()), PATIENCE)
      .toMatch(new RegExp(`${whole(lost)} messages were lost`));
    line.release();
    await daemon.caughtUp([engine]);
    await expect
      .poll(async () => words(await drawer.innerText()), PATIENCE)
      .toMatch(new RegExp(`from ${whole(before + 1)} ${whole(lost)} filled in`));
    expect(await drawer.innerText()).toContain("Followed exactly");
    expect(await drawer.locator(".legend").innerText()).toMatch(/stale/);
    await page.getByRole("link", { name: "Overview" }).click();
    await see(page, "All 3 engines are followed exactly.");
  });

  it("shows an engine that is gone as unreachable, and nothing of it in red once it is back with an empty cache", async () => {
    const { page } = await openView("overview");
    await see(page, "All 3 engines are followed exactly.");
    const engine = engineAt(2);
    const { ports } = engine;
    await engine.stop();
    await see(page, /Answers are exact for 2 of 3 engines\.|cannot be reached/);
    await page.getByRole("link", { name: /^Engines/ }).click();
    const row = page.locator("tr.row", { hasText: "engine-2" });
    await expect.poll(() => row.innerText(), PATIENCE).toContain("disconnected");
    engines[2] = await RealEngine.start("engine-2", 33, ports);
    await engines[2].serve(3);
    await daemon.caughtUp(engines);
    await expect.poll(async () => words(await row.innerText()), PATIENCE).toMatch(/live exact/);
    // The bar of the last hour alone still has its past.
    await expect.poll(() => page.locator("main .bad:not(.cell)").count(), PATIENCE).toBe(0);
    await page.getByRole("link", { name: "Overview" }).click();
    await see(page, "All 3 engines are followed exactly.");
    await see(page, "the engine restarted");
    const marks = (await chartRows(page)).join("\n");
    expect(marks).toContain("engine-2: the connection was lost");
    expect(marks).toContain("engine-2: connected again");
  });

  it("shows the bars of the lookup that the daemon answers, for a prompt that two of three engines hold", async () => {
    const [first, second] = [engineAt(0), engineAt(1)];
    const prompt = first.firstPrompt;
    const half = prompt.subarray(0, Math.floor(prompt.length / 2));
    await second.ask(half);
    await daemon.caughtUp(engines);
    const body = { model: MODEL, token_ids: [...prompt], top_k: 50 };
    const answer = (await (
      await daemon.fetch("/api/v1/match", {
        method: "POST",
        headers: { "content-type": "application/json" },
        body: JSON.stringify(body),
      })
    ).json()) as {
      readonly matches: readonly { readonly worker: string; readonly matched_blocks: number }[];
    };
    const holders = answer.matches.filter(({ matched_blocks }) => matched_blocks > 0);
    expect(holders.map(({ worker }) => worker)).toEqual(expect.arrayContaining(["engine-0", "engine-1"]));
    expect(new Set(holders.map(({ matched_blocks }) => matched_blocks)).size).toBeGreaterThan(1);
    const { page } = await openView("prefixes");
    await page.getByRole("button", { name: "Token ids" }).click();
    await page.locator("textarea").fill(body.token_ids.join(", "));
    await page.getByRole("button", { name: "Look up" }).click();
    await see(page, `${holders.length} of 3 engines hold the beginning of it`);
    const names = await page.locator(".who .name").allInnerTexts();
    const blocks = await page.locator(".who .num b").allInnerTexts();
    expect(names.map((name, i) => [name, blocks[i]])).toEqual(
      holders.map(({ worker, matched_blocks }) => [worker, whole(matched_blocks)]),
    );
    await page.getByLabel("Model").fill("nobody/serves-this");
    await page.getByRole("button", { name: "Look up" }).click();
    await see(page, /The daemon answered: Unknown model/);
    await page.getByLabel("Model").fill(MODEL);
    await page.getByRole("button", { name: "Prompt", exact: true }).click();
    await page.locator("textarea").fill("a prompt as text");
    await page.getByRole("button", { name: "Look up" }).click();
    await see(page, /A prompt needs a tokenizer, and none is configured/);
  });

  it("shows events as they are applied, stops while paused, and filters them by type", async () => {
    const { page } = await openView("events?engine=engine-0");
    await see(page, "Connected. The engine has sent no event since.");
    await engineAt(0).serve(2);
    const rows = page.locator("main tbody tr");
    await expect.poll(() => rows.count(), PATIENCE).toBeGreaterThan(0);
    await daemon.caughtUp([engineAt(0)]);
    await expect
      .poll(async () => words(await rows.first().innerText()), PATIENCE)
      .toContain(whole(engineAt(0).lastSequenceNumber));
    expect(await rows.first().innerText()).toContain("applied");
    await page.locator("main").getByRole("button", { name: "Pause" }).click();
    const shown = await rows.count();
    await engineAt(0).serve(1);
    await see(page, /Paused\. [1-9]/);
    expect(await rows.count()).toBe(shown);
    await page.getByRole("button", { name: "stored", exact: true }).click();
    await expect
      .poll(async () => (await rows.allInnerTexts()).join(" "), PATIENCE)
      .not.toContain("BlockStored");
    expect(page.url()).toContain("hide=BlockStored");
  });

  it("shows the log's lines with their facts, and an admin raises the level for a minute", async () => {
    const { page } = await openView("logs?pod=engine-1");
    await see(page, "connected to an engine");
    const lines = page.locator("ul.log li");
    await lines.filter({ hasText: "connected to an engine" }).first().locator("button").first().click();
    await see(page, '"event": "engine_connected"');
    for (const line of await lines.locator(".line").allInnerTexts()) expect(line).toContain("engine-1");
    await page.getByRole("button", { name: "Level 2 for 60 s" }).click();
    await see(page, "The daemon logs at level 2.");
    const level = (await (await daemon.fetch("/api/v1/log-level")).json()) as Record<string, unknown>;
    expect(level).toMatchObject({ level: 2, configured_level: 1 });
    expect(Date.parse(String(level["until"])) - Date.now()).toBeLessThanOrEqual(60_000);
    await engineAt(1).serve(1);
    await expect.poll(async () => (await lines.allInnerTexts()).join(" "), PATIENCE).toContain("debug");
    await page.getByRole("button", { name: "Back now" }).click();
    await see(page, "The daemon logs at level 1.");
  });

  it("shows what runs and where its settings come from, and how to turn the picker on", async () => {
    const { page } = await openView("system?set=1");
    await see(page, process.version);
    const rows = page.locator("table.settings tbody tr");
    await expect
      .poll(async () => (await rows.allInnerTexts()).map(words), PATIENCE)
      .toEqual(
        expect.arrayContaining([
          `engines 3 entries file ${daemon.configFile}`,
          "http.port 0 flag --port",
          `ingest.replay_timeout_seconds 60 file ${daemon.configFile}`,
        ]),
      );
    await page.getByRole("link", { name: "Routing" }).click();
    await see(page, "The endpoint picker is off");
  });

  it("says at once that its daemon was killed, and goes on without a reload when another one listens there", async () => {
    const port = new URL(daemon.url).port;
    const { page } = await openView("overview");
    await see(page, "All 3 engines are followed exactly.");
    await page.evaluate("window.isSamePage = true");
    const banner = await watchFor(page, "Not connected to the daemon since");
    const killedMs = Date.now();
    await daemon.end("SIGKILL");
    const { atMs, lateMs } = await banner();
    console.log(
      `banner after ${atMs - killedMs} ms, of which the browser was late for ${Math.round(lateMs)}`,
    );
    expect(atMs - killedMs - lateMs).toBeLessThan(BANNER_MS);
    await see(page, /Not connected to the daemon since \d\d:\d\d:\d\d\. The data shown is old\./);
    await page.locator(".panel.is-stale").first().waitFor(PATIENCE);
    await expect.poll(() => Date.now() - killedMs, PATIENCE).toBeGreaterThan(OUTAGE_MS);
    daemon = await RealDaemon.start(config, Number(port));
    await daemon.caughtUp(engines, ["exact", "partial"]);
    await page.locator("span.live:not(.connecting, .waiting)").waitFor(PATIENCE);
    await expect.poll(() => page.locator(".panel.is-stale").count(), PATIENCE).toBe(0);
    expect(await page.evaluate("window.isSamePage")).toBe(true);
    const rows = await chartRows(page);
    const gap = rows.findIndex((row) => row.includes("no data until"));
    expect(gap, rows.join("\n")).toBeGreaterThan(-1);
    // Points from before the outage are still there, and none is there twice.
    expect(
      rows.slice(gap + 1).filter((row) => /^\S+ [\d.]+/.test(row)),
      rows.join("\n"),
    ).not.toEqual([]);
    const times = rows.filter((row) => /^\S+ [\d.–]+ /.test(row)).map((row) => row.split(" ")[0]);
    expect(new Set(times).size).toBe(times.length);
  });

  it("says that this computer is offline, and connects as soon as it is not", async () => {
    const { page } = await openView("overview");
    await page.locator("span.live:not(.connecting, .waiting)").waitFor(PATIENCE);
    await page.context().setOffline(true);
    await see(page, "This computer is offline.");
    await page.context().setOffline(false);
    await page.locator("span.live:not(.connecting, .waiting)").waitFor(PATIENCE);
    await expect.poll(() => page.getByText("This computer is offline.").count(), PATIENCE).toBe(0);
  });

  it("says that two replicas answer behind one address", async () => {
    const other = await RealDaemon.start({ engines: engines.map((engine) => engine.entry()) });
    let turn = 0;
    const proxy: Server = createServer((incoming, outgoing) => {
      // Files and the stream come from one, and every answer in between from the other.
      const isData = (incoming.url ?? "").startsWith("/api/v1/") && !(incoming.url ?? "").endsWith("/stream");
      const to = isData && ++turn > 0 ? other.url : daemon.url;
      const passed = ask(
        `${to}${incoming.url ?? ""}`,
        { method: incoming.method, headers: { ...incoming.headers, host: new URL(to).host } },
        (answer) => {
          outgoing.writeHead(answer.statusCode ?? 502, answer.headers);
          answer.pipe(outgoing);
        },
      );
      passed.on("error", () => outgoing.destroy());
      outgoing.on("close", () => passed.destroy());
      incoming.pipe(passed);
    });
    await new Promise<void>((resolve) => proxy.listen(0, "127.0.0.1", resolve));
    const { page } = await browser.open(
      `http://127.0.0.1:${(proxy.address() as AddressInfo).port}/dashboard/#/index`,
    );
    await see(page, /Answers come from two replicas: the stream from \S+, this answer from \S+\./);
    const text = await page.locator(".banner").innerText();
    expect(text).toContain(`:${daemon.pid}`);
    expect(text).toContain(`:${other.pid}`);
    await page.goto("about:blank");
    proxy.closeAllConnections();
    await new Promise((resolve) => proxy.close(resolve));
    await other.end();
  });
});
