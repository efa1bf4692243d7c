/**
 * Alerts of a real daemon in the browser, with Debian's Prometheus and Alertmanager on the generated
 * files. An alert is pending, fires, is silenced by the form, and the silence is ended. A second daemon without them evaluates the
 * same rules itself, and shows the same names and states.
 *
 * The condition is real: sync is asked for without the settings of the tokenizer that belong to it.
 */
import { type ChildProcess, spawn, spawnSync } from "node:child_process";
import { mkdtempSync, rmSync, writeFileSync } from "node:fs";
import { type AddressInfo, createServer } from "node:net";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { fileURLToPath } from "node:url";

import type { Page } from "playwright-core";
import { afterAll, beforeAll, describe, expect, it, vi } from "vitest";

import { hasChromium, useBrowser } from "./browser.ts";

const ROOT = fileURLToPath(new URL("../../../", import.meta.url));
const HAS_SERVERS = ["prometheus", "prometheus-alertmanager"].every(
  (program) => spawnSync(program, ["--version"]).status === 0,
);
/** A minute until it fires, two scrapes, two evaluations, and what a busy machine adds. */
const FIRES = { timeout: 240_000, interval: 500 };
const TEST_MS = 420_000;
const ALERT = "KVSyncConfigurationError";

interface Listed {
  readonly source: string;
  readonly alerts: readonly { readonly name: string; readonly state: string }[];
}

describe.skipIf(!hasChromium || !HAS_SERVERS)("alerts of a real daemon", () => {
  const browser = useBrowser();
  const folder = mkdtempSync(join(tmpdir(), "kvsync-alerts-"));
  const children: ChildProcess[] = [];
  let watched = "";
  let alone = "";
  let alertmanager = "";

  /** Starts a program that lives as long as the tests. */
  function start(program: string, args: readonly string[], env: NodeJS.ProcessEnv = {}): void {
    children.push(
      spawn(program, args, { stdio: "ignore", env: { PATH: process.env["PATH"], HOME: folder, ...env } }),
    );
  }

  async function startDaemon(name: string, args: readonly string[]): Promise<string> {
    const port = await freePort();
    const state = join(folder, name);
    start(
      process.execPath,
      [
        join(ROOT, "apps/sync-daemon/dist/main.js"),
        ...["--http-port", String(port), "--snapshot-directory", state, ...args],
      ],
      { AIBRIX_KV_EVENT_SYNC_ENABLED: "true" },
    );
    const url = `http://127.0.0.1:${port}`;
    await answers(`${url}/livez`);
    return url;
  }

  beforeAll(async () => {
    const [prometheusPort, alertmanagerPort] = [await freePort(), await freePort()];
    alertmanager = `http://127.0.0.1:${alertmanagerPort}`;
    const prometheus = `http://127.0.0.1:${prometheusPort}`;
    start("prometheus-alertmanager", [
      `--config.file=${join(ROOT, "infra/alertmanager/alertmanager.compose.yaml")}`,
      `--storage.path=${join(folder, "alertmanager")}`,
      `--web.listen-address=127.0.0.1:${alertmanagerPort}`,
      "--cluster.listen-address=",
    ]);
    watched = await startDaemon("watched", [
      ...["--dashboard-prometheus-url", prometheus, "--dashboard-alertmanager-url", alertmanager],
    ]);
    alone = await startDaemon("alone", []);
    writeFileSync(
      join(folder, "prometheus.yaml"),
      JSON.stringify({
        global: { scrape_interval: "5s", evaluation_interval: "15s" },
        rule_files: [join(ROOT, "infra/prometheus/kvsync.rules.yaml")],
        alerting: { alertmanagers: [{ static_configs: [{ targets: [new URL(alertmanager).host] }] }] },
        scrape_configs: [
          { job_name: "kvsync-daemon", static_configs: [{ targets: [new URL(watched).host] }] },
        ],
      }),
    );
    start("prometheus", [
      `--config.file=${join(folder, "prometheus.yaml")}`,
      `--storage.tsdb.path=${join(folder, "prometheus")}`,
      `--web.listen-address=127.0.0.1:${prometheusPort}`,
    ]);
    await answers(`${prometheus}/-/ready`);
    await answers(`${alertmanager}/-/ready`);
  }, TEST_MS);

  afterAll(async () => {
    for (const child of children) {
      if (child.exitCode !== null) continue;
      const ended = new Promise((resolve) => child.once("exit", resolve));
      child.kill("SIGKILL");
      await ended;
    }
    rmSync(folder, { recursive: true, force: true });
  });

  it(
    "an alert is pending, fires, is silenced by the form and fires again; without Prometheus it is the same",
    async () => {
      const { page } = await browser.open(`${watched}/dashboard/#/alerts`);
      const { page: other } = await browser.open(`${alone}/dashboard/#/alerts`);
      await stateOf(page, "pending");
      await stateOf(other, "pending");
      expect(await listOf(alone)).toMatchObject({ source: "built-in" });

      await stateOf(page, "firing");
      await stateOf(other, "firing");
      await expect.poll(() => inAlertmanager(alertmanager), FIRES).toBe("active");
      const { source } = await listOf(watched);
      expect(source).toBe("prometheus+alertmanager");
      // Both at one moment: other alerts may come and go.
      await expect
        .poll(async () => {
          const [theirs, own] = [await listOf(watched), await listOf(alone)];
          return statesIn(theirs) === statesIn(own) ? "equal" : `${statesIn(theirs)} / ${statesIn(own)}`;
        }, FIRES)
        .toBe("equal");

      await page.getByRole("button", { name: `Silence ${ALERT}` }).click();
      await page.getByLabel("Comment").fill("The tokenizer is being set up.");
      await page.getByRole("button", { name: "Silence", exact: true }).click();
      await page.getByText(`The silence of ${ALERT} is active.`).waitFor(FIRES);
      await expect.poll(() => inAlertmanager(alertmanager), FIRES).toBe("suppressed");
      await stateOf(page, "silenced");

      const silences = page.locator("ul.silences");
      await silences.getByText("The tokenizer is being set up.").waitFor(FIRES);
      await silences.getByRole("button", { name: `End the silence of ${ALERT}` }).click();
      await silences.getByText(`End the silence of ${ALERT}`).click();
      await page.getByText(`The silence of ${ALERT} has ended.`).waitFor(FIRES);
      await expect.poll(() => inAlertmanager(alertmanager), FIRES).toBe("active");
      await stateOf(page, "firing");
    },
    TEST_MS,
  );
});

/** Waits until the alert stands in the list with a state. */
async function stateOf(page: Page, state: string): Promise<void> {
  await page.locator(`ul.alerts > li.is-${state}`, { hasText: ALERT }).waitFor({ timeout: FIRES.timeout });
}

async function listOf(url: string): Promise<Listed> {
  const response = await fetch(`${url}/api/v1/alerts`);
  return (await response.json()) as Listed;
}

function statesIn({ alerts }: Listed): string {
  return alerts
    .map(({ name, state }) => `${name} ${state}`)
    .sort()
    .join(", ");
}

/** What Alertmanager itself has of the alert. */
async function inAlertmanager(url: string): Promise<string | null> {
  const alerts = (await (await fetch(`${url}/api/v2/alerts`)).json()) as {
    labels: Record<string, string>;
    status: { state: string };
  }[];
  return alerts.find(({ labels }) => labels["alertname"] === ALERT)?.status.state ?? null;
}

async function answers(url: string): Promise<void> {
  await vi.waitFor(
    async () => {
      const { status } = await fetch(url);
      expect(status).toBe(200);
    },
    { timeout: 120_000, interval: 200 },
  );
}

async function freePort(): Promise<number> {
  const probe = createServer();
  await new Promise<void>((resolve) => {
    probe.listen(0, "127.0.0.1", resolve);
  });
  const { port } = probe.address() as AddressInfo;
  await new Promise((resolve) => {
    probe.close(resolve);
  });
  return port;
}
