/**
 * Tracing that is off is not there: no module of OpenTelemetry's SDK is loaded. The same daemon with tracing on shows that the look would find them.
 * The API package alone is there in any case: prom-client requires it.
 */
import { execFile } from "node:child_process";
import { mkdtempSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { fileURLToPath } from "node:url";
import { promisify } from "node:util";

import { expect, test } from "vitest";

const execute = promisify(execFile);
const DIST = fileURLToPath(new URL("../dist/", import.meta.url));

/** Starts a daemon with its HTTP rim in a process of its own, asks it something, and gives the packages of OpenTelemetry that were loaded. */
async function loadedPackages(argv: readonly string[]): Promise<string[]> {
  const script = `
    import { createRequire } from "node:module";
    import { pathToFileURL } from "node:url";
    const dist = pathToFileURL(${JSON.stringify(DIST)}).href;
    const { Daemon } = await import(dist + "daemon.js");
    const { createApp } = await import(dist + "app.module.js");
    const { readSettings } = await import(dist + "settings/read-settings.js");
    const { settings } = readSettings(${JSON.stringify(argv)}, {});
    const daemon = await Daemon.start(settings, {
      whyFolderLost: () => null,
      ingestScript: new URL(dist + "ingest/ingest-thread.js"),
      snapshotScript: new URL(dist + "snapshot/snapshot-thread.js"),
      tokenizerScript: new URL(dist + "tokenizer/tokenizer-thread.js"),
      start: { version: "0.0.0-test", commit: null, node: process.version, configFile: null, sources: new Map(), given: {} },
      log: () => undefined,
      died: (error) => { throw error; },
      stalled: (worker) => { throw new Error(worker); },
    });
    const app = await createApp(daemon);
    await app.inject("/api/v1/engines");
    const loaded = Object.keys(createRequire(import.meta.url).cache);
    const packages = loaded.map((path) => /@opentelemetry\\/[a-z-]+/.exec(path)?.[0]);
    process.stdout.write(JSON.stringify([...new Set(packages)].filter((name) => name !== undefined).sort()));
    await app.close();
    await daemon.stop(5000);
    process.exit(0);
  `;
  const folder = mkdtempSync(join(tmpdir(), "kvsync-loaded-"));
  try {
    const file = join(folder, "loaded.mjs");
    writeFileSync(file, script);
    const { stdout } = await execute(process.execPath, [file]);
    return JSON.parse(stdout) as string[];
  } finally {
    rmSync(folder, { recursive: true, force: true });
  }
}

test("no package of OpenTelemetry's SDK is loaded while tracing is off", async () => {
  expect(await loadedPackages([])).toEqual(["@opentelemetry/api"]);
});

test("they are when it is on, which shows that the look finds them", async () => {
  const loaded = await loadedPackages(["--tracing-endpoint", "http://127.0.0.1:9"]);
  expect(loaded).toContain("@opentelemetry/sdk-trace");
  expect(loaded).toContain("@opentelemetry/exporter-trace-otlp-http");
});
