/** The page in a browser, against a stand-in that speaks the daemon's format: states that a real fleet reaches rarely. */
import { afterEach, describe, expect, it } from "vitest";

import { hasChromium, PATIENCE, see, useBrowser } from "./browser.ts";
import { FleetScript } from "./fleet-script.ts";
import { StandIn, type StandInOptions } from "./stand-in-server.ts";

const started: StandIn[] = [];

async function standIn(options: Partial<StandInOptions> = {}): Promise<StandIn> {
  const server = await new StandIn({ fleet: new FleetScript(60).withTrouble(), ...options }).start();
  started.push(server);
  return server;
}

describe.skipIf(!hasChromium)("the page in chromium", () => {
  const browser = useBrowser();
  afterEach(async () => {
    for (const server of started.splice(0)) await server.stop();
  });

  it("names in its first sentence what is wrong, and lists the engines that need attention", async () => {
    const { page } = await browser.open((await standIn()).page);
    await see(page, "Answers are exact for 56 of 60 engines.");
    await see(page, "4 engines need attention");
    const worst = page.locator("section", { hasText: "Needs attention" }).locator("li");
    expect(await worst.allInnerTexts()).toEqual([
      expect.stringContaining("vllm-0025"),
      expect.stringContaining("vllm-0037"),
      expect.stringContaining("vllm-0050"),
      expect.stringContaining("sglang-0011"),
    ]);
    await see(page, "212 messages lost; replay asked");
  });

  it("shows the last hour of each engine that needs attention, and a turn as soon as the stream tells it", async () => {
    const server = await standIn();
    const { page } = await browser.open(server.page);
    const bars = page.locator("section", { hasText: "Needs attention" }).locator("svg.timeline");
    await expect.poll(() => bars.count(), PATIENCE).toBe(4);
    const colors = (bar: number): Promise<string[]> =>
      bars
        .nth(bar)
        .locator(".cell")
        .evaluateAll((cells) => cells.map((cell) => cell.getAttribute("class")?.slice(5) ?? ""));
    expect(await colors(1)).toEqual(["exact", "stale"]);
    const { slot } = server.fleet.change("vllm-0037", { trust: 3 });
    const since = server.fleet.at + 1000;
    server.send(
      "delta",
      server.fleet.next([
        [slot, "trust", 3],
        [slot, "since", since],
      ]),
    );
    await expect.poll(() => colors(1), PATIENCE).toEqual(["exact", "stale", "unknown"]);
  });

  it("has the last hour and the events of each engine in its row, and sorts by both", async () => {
    const server = await standIn();
    const { page } = await browser.open(`${server.page}#/engines`);
    const row = (id: string) => page.locator("tr.row", { hasText: id });
    await expect.poll(() => row("vllm-0025").locator("svg").count(), PATIENCE).toBe(3);
    const cell = (id: string, title: string) =>
      page
        .locator("thead th")
        .allInnerTexts()
        .then((titles) => row(id).locator("td").nth(titles.indexOf(title)));
    const bar = await cell("vllm-0025", "Last hour");
    expect(await bar.innerText()).toContain("87 %");
    expect(await bar.locator("[title]").getAttribute("title")).toBe("exact for 87 % of the last hour");
    expect(
      await bar.locator(".cell").evaluateAll((cells) => cells.map((one) => one.getAttribute("class"))),
    ).toEqual(["cell exact", "cell bad"]);
    expect(await (await cell("vllm-0025", "Events/s")).innerText()).toBe("0");
    await page.getByRole("button", { name: "Last hour" }).click();
    await expect.poll(() => page.locator("tr.row").first().innerText(), PATIENCE).toContain("sglang-0011");
    await page.getByRole("button", { name: "Events/s" }).click();
    await expect.poll(() => page.locator("tr.row").first().innerText(), PATIENCE).toContain("vllm-0025");
    const sorted = page.locator("th[aria-sort=ascending]");
    expect(await sorted.innerText()).toContain("Events/s");
    const asked = server.requests.filter((request) => request.includes("dashboard/ranks"));
    expect(asked.length).toBeGreaterThan(0);
    expect(asked.length).toBeLessThan(10);
  });

  it("names the code of a refused answer, with a link to its meaning", async () => {
    const server = await standIn();
    const { page } = await browser.open(server.page);
    await see(page, "Answers are exact");
    await page.route("**/api/v1/index", (route) =>
      route.fulfill({ status: 503, json: { title: "Too busy", status: 503, code: "bodies_full" } }),
    );
    await page.getByRole("link", { name: "Index", exact: true }).click();
    const meaning = page.getByRole("link", { name: "bodies_full" });
    await meaning.first().waitFor(PATIENCE);
    expect(await meaning.first().getAttribute("href")).toMatch(/\/errors\.md#problems-of-the-http-api$/);
  });

  it("names why a prompt could not be looked up, with a link to its meaning", async () => {
    const server = await standIn();
    const { page } = await browser.open(`${server.page}#/prefixes`);
    await page.route("**/api/v1/match", (route) =>
      route.fulfill({
        json: {
          ...{
            model: "llama",
            lora_name: null,
            block_size: null,
            block_sizes: [],
            blocks: 0,
            trust: "unknown",
          },
          ...{ decision: "fallback", reason: "circuit_open", matches: [] },
          ranks: { exact: 60, partial: 0, stale: 0, unknown: 0 },
        },
      }),
    );
    await page.getByLabel("Model").fill("llama");
    await page.locator("textarea").fill("a prompt as text");
    await page.getByRole("button", { name: "Look up" }).click();
    await see(page, "The tokenizer failed several times");
    const meaning = page.getByRole("link", { name: "circuit_open" });
    await meaning.waitFor(PATIENCE);
    expect(await meaning.getAttribute("href")).toMatch(/\/errors\.md#why-a-prompt-could-not-be-looked-up$/);
  });

  it("says when its daemon started in the time of the reader, with UTC in the title", async () => {
    const server = await standIn();
    const { page } = await browser.open(`${server.page}#/system`, { timezoneId: "Asia/Kolkata" });
    const started = page.locator("dt", { hasText: "Started" }).locator("+ dd");
    await started.waitFor(PATIENCE);
    const at = Date.parse((await started.getAttribute("title")) ?? "");
    const local = new Date(at + 5.5 * 3_600_000).toISOString().slice(0, 19).replace("T", " ");
    expect(await started.innerText()).toBe(`${local}, 2 h ago`);
  });

  it("follows the stream: a rank that heals leaves the list, and the verdict says so", async () => {
    const server = await standIn({ fleet: new FleetScript(3) });
    const rank = server.fleet.change("vllm-0002", { trust: 2, reason: "gap" });
    const { page } = await browser.open(server.page);
    await see(page, "Answers are exact for 2 of 3 engines.");
    server.send(
      "delta",
      server.fleet.next([
        [rank.slot, "trust", 0],
        [rank.slot, "reason", null],
      ]),
    );
    await see(page, "All 3 engines are followed exactly.");
    await see(page, "All engines are followed exactly.");
  });

  it("asks for a snapshot when a message is missing, and never shows numbers across the gap", async () => {
    const server = await standIn({ fleet: new FleetScript(3) });
    const { page } = await browser.open(server.page);
    await see(page, "All 3 engines are followed exactly.");
    server.fleet.next();
    server.fleet.change("vllm-0000", { trust: 2 });
    server.tick();
    await see(page, "Answers are exact for 2 of 3 engines.");
    expect(server.requests.filter((request) => request.includes("dashboard/stream"))).toHaveLength(2);
  });

  it("says since when the daemon is gone, dims what is old, and connects again without a reload", async () => {
    const server = await standIn();
    const { page } = await browser.open(server.page);
    await see(page, "Answers are exact");
    await page.evaluate("window.isSamePage = true");
    await server.stop();
    await see(page, /Not connected to the daemon since \d\d:\d\d:\d\d\. The data shown is old\./);
    await page.locator(".panel.is-stale").first().waitFor(PATIENCE);
    await server.start();
    await see(page, "Answers are exact");
    await expect.poll(() => page.locator(".panel.is-stale").count(), PATIENCE).toBe(0);
    expect(await page.evaluate("window.isSamePage")).toBe(true);
  });

  it("connects at once when the network returns", async () => {
    const server = await standIn();
    const { page } = await browser.open(server.page);
    await see(page, "Answers are exact");
    await page.context().setOffline(true);
    await see(page, "This computer is offline.");
    await page.context().setOffline(false);
    await see(page, "Answers are exact");
  });

  it("closes the stream while paused, and opens it on resume", async () => {
    const server = await standIn();
    const { page } = await browser.open(server.page);
    await see(page, "Answers are exact");
    await page.getByRole("button", { name: "Pause" }).click();
    await expect.poll(() => server.viewers, PATIENCE).toBe(0);
    await page.getByRole("button", { name: "Resume" }).click();
    await expect.poll(() => server.viewers, PATIENCE).toBe(1);
    await see(page, /live, \d/);
  });

  it("asks for a token, refuses a wrong one, names a missing scope, and shows the token nowhere", async () => {
    const server = await standIn({ tokens: { "good-token": "read", "weak-token": "none" } });
    const { page, requests } = await browser.open(server.page);
    const texts: string[] = [];
    page.on("console", (message) => texts.push(message.text()));
    await see(page, "The daemon asks for a token with the scope read or admin.");
    const submit = async (value: string): Promise<void> => {
      await page.getByLabel("Token", { exact: true }).last().fill(value);
      await page.locator("dialog").getByRole("button", { name: "Log in" }).click();
    };
    await submit("bad-token");
    await see(page, "The daemon does not accept this token.");
    await submit("weak-token");
    await see(page, "This token has no scope for this page.");
    await submit("good-token");
    await see(page, "Answers are exact");
    expect(await page.locator("dialog").count()).toBe(0);
    const everything = [...requests, ...texts, ...server.requests, await page.content(), page.url()].join(
      "\n",
    );
    expect(everything).not.toMatch(/good-token|weak-token|bad-token/);
    await page.reload();
    await see(page, "Answers are exact");
    await page.getByRole("button", { name: "operator" }).click();
    await see(page, "The daemon asks for a token with the scope read or admin.");
  });

  it("works under a path prefix", async () => {
    const server = await standIn({ prefix: "/some/prefix" });
    const { page } = await browser.open(server.page);
    await see(page, "Answers are exact");
    await page.getByRole("link", { name: "Prefixes" }).click();
    await see(page, "Who holds this prompt?");
    expect(server.requests.every((request) => request.includes(" /some/prefix/"))).toBe(true);
  });

  it("loads the code of a view when it is opened, once, and says when the daemon no longer has it", async () => {
    const server = await standIn();
    const { page } = await browser.open(server.page);
    await see(page, "Answers are exact");
    const asked = (view: string): number =>
      server.requests.filter((request) => request.includes(`/assets/${view}-`)).length;
    expect(asked("prefixes")).toBe(0);
    await page.getByRole("link", { name: "Prefixes" }).click();
    await see(page, "Who holds this prompt?");
    await page.getByRole("link", { name: "Overview" }).click();
    await page.getByRole("link", { name: "Prefixes" }).click();
    await see(page, "Who holds this prompt?");
    expect(asked("prefixes")).toBe(1);
    await page.route("**/assets/engines-*.js", (route) => route.fulfill({ status: 404 }));
    await page.getByRole("link", { name: /^Engines/ }).click();
    await see(page, "This view could not be loaded.");
    await page.unroute("**/assets/engines-*.js");
    await page.getByRole("button", { name: "Reload the page" }).click();
    await see(page, "60 of 60 engines");
  });

  it("says that answers come from two replicas", async () => {
    const server = await standIn();
    const { page } = await browser.open(server.page);
    await see(page, "Answers are exact");
    await page.route("**/api/v1/engines/*", (route) =>
      route.fulfill({ json: { ranks: [] }, headers: { "x-kvsync-instance": "kvsync-other" } }),
    );
    await page.goto(`${server.page}#/engines?open=vllm-0001`);
    await see(
      page,
      /Answers come from two replicas: the stream from kvsync-7d9f, this answer from kvsync-other/,
    );
  });

  it("has a table of 1,000 engines that draws few rows, scrolls to the last, filters and sorts", async () => {
    const server = await standIn({ fleet: new FleetScript(1000).withTrouble() });
    const { page } = await browser.open(`${server.page}#/engines`);
    await see(page, "1,000 of 1,000 engines");
    const rows = page.locator("tr.row");
    expect(await rows.first().innerText()).toContain("vllm-0025");
    expect(await page.evaluate("document.querySelectorAll('*').length")).toBeLessThan(3000);
    await page.getByRole("button", { name: "Engine", exact: true }).click();
    await expect.poll(() => rows.first().innerText(), PATIENCE).toContain("sglang-0011");
    await rows.first().focus();
    await page.keyboard.press("End");
    await expect.poll(() => rows.last().innerText(), PATIENCE).toContain("vllm-0999");
    await page.keyboard.press("Home");
    await expect.poll(() => rows.first().innerText(), PATIENCE).toContain("sglang-0011");
    await page.keyboard.press("/");
    await page.keyboard.type("sglang-011");
    await expect.poll(() => page.locator(".foot").innerText(), PATIENCE).toContain("1 of 1,000 engines");
    await page.getByLabel("Search engines").fill("");
    await page.getByRole("button", { name: "Sequence" }).click();
    await page.getByRole("button", { name: "Sequence" }).click();
    await expect.poll(() => page.url(), PATIENCE).toContain("sort=-seq");
    const most = Math.max(...server.fleet.ranks.map(({ seq }) => seq ?? 0));
    await expect.poll(() => rows.first().innerText(), PATIENCE).toContain(most.toLocaleString("en-US"));
    await page.getByRole("button", { name: /^stale/ }).click();
    await expect.poll(() => rows.count(), PATIENCE).toBe(2);
  });

  it("opens an engine by keyboard, tells what was lost, and closes", async () => {
    const server = await standIn();
    const { page } = await browser.open(`${server.page}#/engines?trust=stale`);
    await see(page, "2 of 60 engines");
    await page.locator("tr.row").first().focus();
    await page.keyboard.press("Enter");
    const drawer = page.getByRole("complementary", { name: "vllm-0037" });
    await drawer.waitFor(PATIENCE);
    await see(page, "Not exact because of");
    await expect
      .poll(() => drawer.locator(".note").innerText(), PATIENCE)
      .toMatch(/^212 messages were lost at/);
    await expect.poll(() => drawer.innerText(), PATIENCE).toMatch(/from 9,412,665\s+212/);
    expect(await drawer.innerText()).toMatch(/covered_by_replay\s+61 · 61\s+unknown_block\s+7 · 0/);
    expect(await drawer.innerText()).toMatch(/Events applied, last hour\s+\d+(\.\d+)?\/s now/);
    await drawer.locator(".spark path").first().waitFor(PATIENCE);
    expect(await drawer.innerText()).toMatch(/filled in 600 ms/);
    const outward = (name: string, exact = false) =>
      drawer.getByRole("link", { name, exact }).getAttribute("href");
    expect(await outward("Runbook", true)).toMatch(/^https:.*\/kv-event-sequence-gaps\.md$/);
    expect(await outward("Meaning of the reasons")).toMatch(/^https:.*\/errors\.md#why-an-event-/);
    expect(await outward("Runbook of drops")).toMatch(/^https:.*\/kv-event-drop-rate\.md$/);
    expect(await outward("Grafana")).toMatch(/^https:.*\/d\/kvsync-engines\?var-pod=vllm-0037$/);
    await page.keyboard.press("Escape");
    await expect.poll(() => drawer.count(), PATIENCE).toBe(0);
  });

  it("shows who holds a prompt as the lookup answered, and where the picker would send it", async () => {
    const server = await standIn();
    const { page } = await browser.open(`${server.page}#/prefixes`);
    await see(page, "Who holds this prompt?");
    await page.getByRole("button", { name: "Token ids" }).click();
    await page.locator("textarea").fill("1, 2, x");
    await page.getByRole("button", { name: "Look up" }).click();
    await see(page, /Token ids are whole numbers/);
    await page.locator("textarea").fill("1, 2, 3");
    await page.keyboard.press("Control+Enter");
    await see(page, "6 of 24 engines hold the beginning of it");
    expect(server.lookups[0]).toEqual({ model: "meta/llama-4-70b", token_ids: [1, 2, 3], top_k: 50 });
    await see(page, "Where the picker would send it");
    expect(server.lookups[1]).toEqual({ model: "meta/llama-4-70b", token_ids: [1, 2, 3] });
    expect(await page.locator(".who").innerText()).toMatch(/vllm-0018\s+exact\s+188 92 %/);
    expect(page.url()).not.toContain("1, 2, 3");
  });

  it("shows each engine that holds a prompt, with its share, in one line on a phone", async () => {
    const server = await standIn();
    const { page } = await browser.open(`${server.page}#/prefixes`, {
      viewport: { width: 390, height: 844 },
    });
    await page.locator("textarea").fill("You are a helpful assistant.");
    await page.getByRole("button", { name: "Look up" }).click();
    await see(page, "6 of 24 engines");
    const middles = async (of: string): Promise<number[]> => {
      const boxes = await page.locator(of).evaluateAll((elements) =>
        elements.map((element) => {
          const { top, height } = element.getBoundingClientRect();
          return top + height / 2;
        }),
      );
      return boxes.slice(0, 6);
    };
    const [names, shares] = [await middles(".who > .name"), await middles(".who > .num")];
    expect(names).toHaveLength(6);
    for (const [i, name] of names.entries()) expect(Math.abs(name - (shares[i] ?? 0))).toBeLessThan(6);
  });

  it("shows names and texts from engines as text, whatever is in them", async () => {
    const fleet = new FleetScript(2);
    fleet.change("vllm-0000", { id: "<img src=x onerror=alert(1)>", trust: 2, reason: "<b>gap</b>" });
    fleet.happenings = [{ at: fleet.at, kind: "gap", engine: "<script>1</script>", text: "<i>text</i>" }];
    const { page } = await browser.open((await standIn({ fleet })).page);
    await see(page, "<img src=x onerror=alert(1)>");
    await see(page, "<i>text</i>");
    expect(await page.locator("main img, main script").count()).toBe(0);
  });

  it("says why there is nothing: no engine, no history, no such view", async () => {
    const server = await standIn({ fleet: new FleetScript(0) });
    const { page } = await browser.open(server.page);
    await see(page, "No engine is known. Sources: kubernetes (0, current).");
    await page.locator(".empty code", { hasText: "discovery" }).waitFor(PATIENCE);
    await see(page, "No event was applied in this time.");
    await see(page, "No lookup was answered in this time.");
    expect(await page.locator(".plot").count()).toBe(0);
    await page.goto(`${server.page}#/nothing`);
    await see(page, "There is no such view.");
  });

  it("keeps the chosen theme", async () => {
    const server = await standIn();
    const { page } = await browser.open(server.page, { colorScheme: "dark" });
    await see(page, "Answers are exact");
    await page.getByRole("button", { name: "Change between dark and light" }).click();
    await page.reload();
    await see(page, "Answers are exact");
    expect(await page.evaluate("document.documentElement.dataset.theme")).toBe("light");
  });
});
