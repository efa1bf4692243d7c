/**
 * The pages on monitoring. Each of their commands is run, in order, against a daemon, and against Debian's Prometheus and Alertmanager
 * with the files of infra/compose. Addresses of the page are replaced by those of the test.
 */
import { type ChildProcess, spawn, spawnSync } from "node:child_process";
import { mkdtempSync, readFileSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";

import { freePort } from "@kvsync/engine-sim";
import { NAMESPACE } from "@kvsync/observability/kvsync/namespace";
import { afterAll, beforeAll, describe, expect, test } from "vitest";

import { DaemonProcess } from "./daemon-process.ts";
import { caughtUp, TestEngine, until } from "./fleet.ts";
import { PageShell, pageCommands, PAGES } from "./operator-page.ts";

const INFRA = join(import.meta.dirname, "..", "..", "..", "infra");
const COMMANDS = {
  "monitoring.md": pageCommands("monitoring.md"),
  "monitoring-stack.md": pageCommands("monitoring-stack.md"),
};
const PROGRAMS = ["curl", "promtool", "amtool", "prometheus", "prometheus-alertmanager"];
const HAS_PROGRAMS = PROGRAMS.every((program) => spawnSync(program, ["--version"]).status === 0);

/** Names of these programs' own metrics that the pages use: they must be there to be looked for. */
const OWN_METRICS = /`((?:prometheus|alertmanager)_[a-z_]+)`/g;

describe.skipIf(!HAS_PROGRAMS)("with Prometheus and Alertmanager (Debian packages)", () => {
  const folder = mkdtempSync(join(tmpdir(), "kvsync-monitoring-pages-"));
  const programs: ChildProcess[] = [];
  const addresses = new Map<string, string>();
  let engine: TestEngine;
  let daemon: DaemonProcess;

  /** A text with the addresses of this test. */
  function here(text: string): string {
    return [...addresses].reduce((replaced, [theirs, ours]) => replaced.replaceAll(theirs, ours), text);
  }

  function start(program: string, file: string, text: string, ...options: readonly string[]): void {
    writeFileSync(join(folder, file), here(text));
    programs.push(spawn(program, [`--config.file=${file}`, ...options], { stdio: "ignore", cwd: folder }));
  }

  beforeAll(async () => {
    engine = await TestEngine.start({ id: "engine-0", model: "demo/model" }, 1);
    daemon = await DaemonProcess.start({ engines: [engine.entry] });
    await engine.serve(5);
    await caughtUp(daemon, [engine]);
    const [prometheus, alertmanager] = [await freePort(), await freePort()].map(
      (port) => `127.0.0.1:${port}`,
    );
    if (prometheus === undefined || alertmanager === undefined) throw new RangeError("no ports");
    for (const host of ["localhost", "prometheus"]) addresses.set(`${host}:9090`, prometheus);
    for (const host of ["localhost", "alertmanager"]) addresses.set(`${host}:9093`, alertmanager);
    addresses.set("daemon:7070", new URL(daemon.url).host);
    addresses.set("/run/secrets/prometheus-token", join(folder, "token"));
    addresses.set("scrape_interval: 15s\n  scrape_timeout: 10s", "scrape_interval: 1s\n  scrape_timeout: 1s");
    writeFileSync(join(folder, "token"), "unused");
    const read = (path: string): string => readFileSync(join(INFRA, path), "utf8");
    writeFileSync(join(folder, "kvsync.rules.yaml"), read("prometheus/kvsync.rules.yaml"));
    start(
      "prometheus-alertmanager",
      "alertmanager.yaml",
      read("alertmanager/alertmanager.compose.yaml"),
      `--web.listen-address=${alertmanager}`,
      "--cluster.listen-address=",
    );
    start(
      "prometheus",
      "prometheus.yaml",
      read("prometheus/prometheus.compose.yaml"),
      `--web.listen-address=${prometheus}`,
    );
    await until("Prometheus has scraped the daemon and knows Alertmanager", async () => {
      const get = async (path: string): Promise<string> =>
        (await fetch(`http://${prometheus}${path}`).catch(() => null))?.text() ?? "";
      const scraped = await get(`/api/v1/query?query=${NAMESPACE}_kv_build_info`);
      const known = await get("/api/v1/query?query=prometheus_notifications_alertmanagers_discovered>0");
      return scraped.includes("kvsync-daemon") && known.includes("instance");
    });
  });

  afterAll(async () => {
    for (const program of programs) program.kill();
    await daemon.end();
    await engine.stop();
    rmSync(folder, { recursive: true, force: true });
  });

  test.each(Object.entries(COMMANDS))(
    "%s: every command works as it stands",
    async (_, commands) => {
      const shell = new PageShell();
      try {
        const run = commands.filter(({ mode }) => mode?.run === true);
        expect(run.length).toBeGreaterThan(3);
        for (const { text } of run) await shell.run(here(text), daemon.url);
      } finally {
        shell.close();
      }
    },
    // Each command has a minute of its own (operator-page.ts).
    600_000,
  );

  test("metrics of Prometheus and Alertmanager that the pages name are exported", async () => {
    const texts = await Promise.all(
      ["localhost:9090", "localhost:9093"].map(async (address) =>
        (await fetch(`http://${here(address)}/metrics`)).text(),
      ),
    );
    const exported = texts.join("\n");
    const names = Object.keys(COMMANDS).flatMap((page) =>
      [...readFileSync(join(PAGES, page), "utf8").matchAll(OWN_METRICS)].map(([, name = ""]) => name),
    );
    expect(names.length).toBeGreaterThan(4);
    expect(names.filter((name) => !exported.includes(`# TYPE ${name} `))).toEqual([]);
  });
});
