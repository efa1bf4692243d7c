/**
 * A process's description of itself: `--version`, the first line of its log, and the verbose answer
 * of `/readyz`.
 */
import { spawnSync } from "node:child_process";
import { readFileSync } from "node:fs";
import { fileURLToPath } from "node:url";

import { expect, onTestFinished, test } from "vitest";

import { DaemonProcess } from "./daemon-process.ts";

const manifest = new URL("../package.json", import.meta.url);
const { version } = JSON.parse(readFileSync(manifest, "utf8")) as { readonly version: string };

test.each([
  ["kvsync-daemon", "../dist/main.js"],
  ["kvsync", "../dist/tools/main.js"],
])("%s --version prints one line and ends", (program, path) => {
  const script = fileURLToPath(new URL(path, import.meta.url));
  const { stdout, status } = spawnSync(process.execPath, [script, "--version"], { encoding: "utf8" });
  expect([stdout, status]).toEqual([`${program} ${version}, Node ${process.version}\n`, 0]);
});

test("the first log line and the verbose readiness name version, Node, file and sources of settings", async () => {
  const daemon = await DaemonProcess.start({ engines: [] });
  onTestFinished(async () => {
    await daemon.end();
  });
  const facts = {
    version,
    commit: null,
    node: process.version,
    config_file: expect.stringContaining(".yaml") as string,
  };
  expect(daemon.log[0]).toMatchObject({ event: "starting", component: "main", ...facts });
  const ready = (await (await daemon.fetch("/readyz?verbose")).json()) as { readonly process: object };
  expect(ready.process).toMatchObject(facts);
  expect(ready).toHaveProperty("process.settings_from");
});
