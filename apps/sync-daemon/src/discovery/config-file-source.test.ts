/**
 * The configuration file changes under a source that watches it, in each way that files change. It
 * is written in place, replaced, and swapped as Kubernetes swaps a ConfigMap. The files are real;
 * tests wait for the source's report, never for time.
 */
import { mkdirSync, mkdtempSync, renameSync, rmSync, symlinkSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";

import { NAMESPACE } from "@kvsync/observability/kvsync/namespace";
import { Exposition } from "@kvsync/observability/exposition";
import { CATALOGUE } from "@kvsync/observability/kvsync/catalogue";
import { MetricSlots } from "@kvsync/observability/slots";
import { afterEach, expect, test, vi } from "vitest";

import { EngineRegistry } from "../engine/engine-registry.ts";
import { recordedLog } from "../log/testing/recorded-log.ts";
import { readSettings } from "../settings/read-settings.ts";
import { ConfigFileSource } from "./config-file-source.ts";
import { DiscoveryStatus } from "./discovery-status.ts";
import { EngineSources } from "./engine-sources.ts";

const cleanups: (() => void)[] = [];
afterEach(() => {
  for (const cleanup of cleanups.splice(0).reverse()) cleanup();
});

function folder(): string {
  const made = mkdtempSync(join(tmpdir(), "kvsync-reload-"));
  cleanups.push(() => {
    rmSync(made, { recursive: true, force: true });
  });
  return made;
}

const listing = (...ids: string[]): string =>
  `engines:\n${ids.map((id) => `  - { id: ${id}, model: m, endpoint: 'tcp://h-${id}:1' }\n`).join("")}`;

function watchFile(path: string, pollMs = 60_000) {
  const { log, lines } = recordedLog();
  const exposition = new Exposition(CATALOGUE);
  const metrics = new MetricSlots(CATALOGUE, "main", (announcement) => {
    exposition.accept(announcement);
  });
  const follower = { follow: () => undefined, forget: () => Promise.resolve(), redial: () => undefined };
  const registry = new EngineRegistry(follower, {
    engines: 100,
    engineFiles: Infinity,
    filesOf: ({ ranks }) => ranks.length,
  });
  const status = new DiscoveryStatus({ metrics, log, now: () => performance.now() });
  const sources = new EngineSources(registry, { log, refused: () => undefined });
  const read = () => readSettings(["--config", path], {}).settings;
  const source = new ConfigFileSource(read(), pollMs, {
    path,
    read,
    sources,
    status: status.of("file"),
    log,
  });
  source.start();
  cleanups.push(() => {
    source.stop();
  });
  const ids = (): string[] => [...registry.engines()].map(({ engine }) => engine.id).sort();
  const become = async (...expected: string[]): Promise<void> => {
    await vi.waitFor(() => {
      expect(ids()).toEqual(expected);
    }, 60_000);
  };
  return { ids, become, lines, status: status.of("file"), exposition };
}

test("a file written in place, and one that is replaced, are taken up", async () => {
  const path = join(folder(), "kvsync.yaml");
  writeFileSync(path, listing("a"));
  const { ids, become } = watchFile(path);
  expect(ids()).toEqual(["a"]);
  writeFileSync(path, listing("a", "b"));
  await become("a", "b");
  writeFileSync(`${path}.new`, listing("b", "c"));
  renameSync(`${path}.new`, path);
  await become("b", "c");
});

test("a ConfigMap that is swapped as Kubernetes does it, through two links, is taken up", async () => {
  const mount = folder();
  const publish = (version: string, text: string): void => {
    mkdirSync(join(mount, version));
    writeFileSync(join(mount, version, "kvsync.yaml"), text);
    symlinkSync(version, join(mount, "..data_tmp"));
    renameSync(join(mount, "..data_tmp"), join(mount, "..data"));
  };
  publish("..2026_1", listing("a"));
  symlinkSync("..data/kvsync.yaml", join(mount, "kvsync.yaml"));
  const { become } = watchFile(join(mount, "kvsync.yaml"));
  publish("..2026_2", listing("b"));
  rmSync(join(mount, "..2026_1"), { recursive: true });
  await become("b");
  publish("..2026_3", listing("b", "c"));
  await become("b", "c");
});

test("without a watch that works the clock sees the change", async () => {
  const [mount, elsewhere] = [folder(), folder()];
  writeFileSync(join(elsewhere, "real.yaml"), listing("a"));
  symlinkSync(join(elsewhere, "real.yaml"), join(mount, "kvsync.yaml"));
  // The watched directory does not change: only what its link leads to does.
  const { become } = watchFile(join(mount, "kvsync.yaml"), 50);
  writeFileSync(join(elsewhere, "real.yaml"), listing("z"));
  await become("z");
});

test.each([
  ["engines: [", /line 1, column 11: a bracket is not closed/],
  [
    "engines:\n  - { id: a, model: m, endpoint: 'tcp://*:1' }\n",
    /line 2: engines\.0\.endpoint: "tcp:\/\/\*:1" is not usable/,
  ],
  ["colour: red\n", /line 1: colour: no such setting/],
])(
  "a broken version %j keeps the list, is told with its place, and a good one ends that",
  async (broken, message) => {
    const path = join(folder(), "kvsync.yaml");
    writeFileSync(path, listing("a"));
    const { ids, become, lines, status, exposition } = watchFile(path);
    writeFileSync(path, broken);
    await vi.waitFor(() => {
      expect(status.state).toBe("stale");
    }, 60_000);
    expect(ids()).toEqual(["a"]);
    const line = lines.find(({ event }) => event === "discovery_failed");
    expect(line?.message).toMatch(/the list of 1 engines stays/);
    expect(line?.message).toMatch(message);
    expect(await exposition.scrape()).toContain(
      `${NAMESPACE}_kv_discovery_failures_total{source="file",reason="unusable_settings"} 1`,
    );
    writeFileSync(path, listing("a", "b"));
    await become("a", "b");
    expect(status.state).toBe("current");
    expect(lines.map(({ event }) => event)).toContain("discovery_recovered");
  },
);

test("a file that is gone is a broken version, and one that was only away for a moment is not", async () => {
  const path = join(folder(), "kvsync.yaml");
  writeFileSync(path, listing("a"));
  const { ids, status, lines } = watchFile(path, 50);
  rmSync(path);
  writeFileSync(path, listing("a"));
  rmSync(path);
  await vi.waitFor(() => {
    expect(status.failure?.message).toContain("there is no such file");
  }, 60_000);
  expect(ids()).toEqual(["a"]);
  expect(lines.filter(({ event }) => event === "discovery_failed")).toHaveLength(1);
});

test("settings other than engines wait for a restart, and are named", async () => {
  const path = join(folder(), "kvsync.yaml");
  writeFileSync(path, listing("a"));
  const { become, lines } = watchFile(path);
  writeFileSync(path, `${listing("b")}http: { port: 1 }\nlimits: { replays: 2 }\n`);
  await become("b");
  expect(lines.find(({ event }) => event === "config_needs_restart")?.message).toBe(
    "changed settings wait for a restart: http, limits",
  );
});
