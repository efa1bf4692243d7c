/** The settings that infra/compose gives the daemon, by the daemon's own check. */
import { spawnSync } from "node:child_process";
import { cpSync, mkdtempSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { fileURLToPath } from "node:url";

import { afterAll, expect, test } from "vitest";

const MAIN = fileURLToPath(new URL("../dist/main.js", import.meta.url));
const COMPOSE = fileURLToPath(new URL("../../../infra/compose/", import.meta.url));
const folder = mkdtempSync(join(tmpdir(), "kvsync-compose-settings-"));
afterAll(() => {
  rmSync(folder, { recursive: true });
});

test("kvsync.yaml and the tokens that ./setup makes are settings that the daemon takes", () => {
  cpSync(COMPOSE, folder, { recursive: true });
  expect(spawnSync("sh", [join(folder, "setup")]).status).toBe(0);
  const { status, stdout, stderr } = spawnSync(
    process.execPath,
    [MAIN, "--check-config", "--config", join(folder, "kvsync.yaml"), "--http-port", "0"],
    {
      encoding: "utf8",
      env: {
        PATH: process.env["PATH"],
        XDG_STATE_HOME: folder,
        // In its container the ports are free. Here another program may have them, and the check would warn of it.
        KVSYNC_PICKER_PORT: "0",
        KVSYNC_PICKER_HEALTH_PORT: "0",
        // Compose mounts it at the place that kvsync.yaml names.
        KVSYNC_SECURITY_TOKENS_FILE: join(folder, "secrets/tokens.yaml"),
      },
    },
  );
  expect([status, stderr]).toEqual([0, expect.not.stringContaining("not usable")]);
  expect(stdout).toBe("the settings can be used; 3 engines are listed\n");
});
