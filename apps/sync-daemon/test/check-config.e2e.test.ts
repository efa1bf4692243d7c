/** The built daemon's `--check-config`, and a start with the same faults: exit codes and what they print. */
import { execFile } from "node:child_process";
import { mkdtempSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { fileURLToPath } from "node:url";

import { afterAll, expect, test } from "vitest";

import { PAGE_FOLDERS, StaticFiles } from "../src/dashboard/static-files.ts";
import { CHILD_ENVIRONMENT, DaemonProcess } from "./daemon-process.ts";

const MAIN = fileURLToPath(new URL("../dist/main.js", import.meta.url));
const folder = mkdtempSync(join(tmpdir(), "kvsync-check-config-"));

afterAll(() => {
  rmSync(folder, { recursive: true, force: true });
});

interface Ended {
  readonly code: number | string | null | undefined;
  readonly out: string;
  readonly err: string;
}

function run(settings: object, ...argv: string[]): Promise<Ended> {
  const file = join(folder, "kvsync.yaml");
  writeFileSync(file, JSON.stringify(settings));
  const env = { ...CHILD_ENVIRONMENT, HOME: folder };
  return new Promise((resolve) => {
    execFile(process.execPath, [MAIN, "--config", file, ...argv], { env }, (error, out, err) => {
      resolve({ code: error === null ? 0 : error.code, out, err });
    });
  });
}

const BROKEN = {
  limits: { contexts: 0 },
  security: { tokens_file: join(folder, "missing-tokens") },
  tls: { cert_file: join(folder, "missing.crt"), key_file: join(folder, "missing.key") },
  discovery: { state_directory: join(folder, "kvsync.yaml", "state") },
};

test("--check-config names faults of settings, files and folders in one run, and ends with 2", async () => {
  const { code, out, err } = await run(BROKEN, "--check-config", "--http-port", "0");
  expect({ code, out }).toEqual({ code: 2, out: "" });
  expect(err).toMatch(/^kvsync-daemon: 5 settings cannot be used:$/m);
  for (const setting of [
    "limits.contexts",
    "security.tokens_file",
    "tls.cert_file",
    "tls.key_file",
    "discovery.state_directory",
  ])
    expect(err).toMatch(new RegExp(`^ {2}.*${setting.replace(".", "\\.")}: .*expected `, "m"));
});

test("a start with faults in several files names all of them, and ends with 2", async () => {
  const { code, err } = await run({ ...BROKEN, limits: {} }, "--http-port", "0");
  expect(code).toBe(2);
  for (const setting of ["security.tokens_file", "tls.cert_file", "tls.key_file"])
    expect(err).toMatch(new RegExp(`^ {2}${setting.replace(".", "\\.")}: `, "m"));
});

test("--check-config beside the daemon that runs with these settings warns of its port, and ends with 0", async () => {
  const daemon = await DaemonProcess.start();
  try {
    const port = new URL(daemon.url).port;
    const { code, out, err } = await run(
      { snapshot: { enabled: false } },
      "--check-config",
      "--http-port",
      port,
    );
    expect({ code, err }).toEqual({ code: 0, err: "" });
    expect(out).toMatch(new RegExp(`^warning: http\\.port: 127\\.0\\.0\\.1:${port} is taken`, "m"));
    expect(out).toMatch(/^the settings can be used; 0 engines are listed$/m);
  } finally {
    await daemon.end();
  }
});

test("--check-config warns of a web page that is asked for and not built, and is silent where nobody asked", async () => {
  const settings = { snapshot: { enabled: false } };
  const { refusal } = StaticFiles.read(PAGE_FOLDERS);
  const asked = await run(settings, "--check-config", "--http-port", "0", "--dashboard-enabled", "true");
  const warned = refusal === null ? "" : `warning: dashboard.enabled: ${refusal}\n`;
  expect(asked).toMatchObject({ code: 0, out: `${warned}the settings can be used; 0 engines are listed\n` });
  const silent = await run(settings, "--check-config", "--http-port", "0");
  expect(silent).toMatchObject({ code: 0, out: "the settings can be used; 0 engines are listed\n" });
});
