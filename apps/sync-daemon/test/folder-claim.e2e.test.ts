/**
 * Real daemons that meet on one folder of states: the second one ends with the reason, and the first one loses nothing. L2 and L4 of
 * folder-claim.ts, and what a daemon does without its folder.
 */
import { execFile } from "node:child_process";
import { existsSync, mkdtempSync, readdirSync, rmSync, statSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { fileURLToPath } from "node:url";

import { afterEach, beforeEach, expect, test } from "vitest";

import { FolderClaims } from "../src/folder-claim.ts";
import { DaemonProcess } from "./daemon-process.ts";
import { until } from "./fleet.ts";

const MAIN = fileURLToPath(new URL("../dist/main.js", import.meta.url));
/** Of this file alone, so that no other process has its ports. */
const HOST = "127.94.21.1";

let folder = "";
let daemons: DaemonProcess[] = [];

beforeEach(() => {
  folder = mkdtempSync(join(tmpdir(), "kvsync-claims-"));
});
afterEach(async () => {
  for (const daemon of daemons) {
    daemon.signal("SIGCONT");
    await daemon.end("SIGKILL");
  }
  daemons = [];
  rmSync(folder, { recursive: true, force: true });
});

async function start(
  config: object,
  argv: readonly string[] = [],
  environment: Readonly<Record<string, string>> = {},
): Promise<DaemonProcess> {
  const daemon = await DaemonProcess.start(config, argv, null, environment);
  daemons.push(daemon);
  return daemon;
}

/** The log of a daemon that ends before it listens, and its exit code, as daemon-process.ts tells them. */
async function refused(config: object): Promise<string> {
  return DaemonProcess.start(config).then(
    async (daemon) => {
      await daemon.end("SIGKILL");
      return "it started";
    },
    (error: unknown) => (error instanceof Error ? error.message : String(error)),
  );
}

const logged = (daemon: DaemonProcess, event: string) => daemon.log.find((line) => line["event"] === event);

test.each(["snapshot.directory", "discovery.state_directory"])(
  "a second daemon on the folder of %s ends with 1 and names the first one; the first one's next start knows of no kill",
  async (setting) => {
    const [section = "", field = ""] = setting.split(".");
    const config = { [section]: { [field]: folder } };
    const first = await start(config);
    const why = await refused(config);
    expect(why).toMatch(/^the daemon ended with 1: /);
    expect(why).toContain('"event":"start_failed"');
    expect(why).toContain('"error_code":"folder_held"');
    expect(why).toContain(`${setting}: ${folder} is used by process ${first.pid} of host `);
    expect(why).toContain(`at ${first.url}. End that process, or give this daemon a folder of its own`);
    expect(why).not.toContain("run_was_killed");
    expect(logged(first, "snapshot_failed")).toBeUndefined();
    expect(await first.end()).toMatchObject({ code: 0 });
    expect(readdirSync(folder).filter((name) => name.startsWith("owner"))).toEqual([]);
    expect(logged(await start(config), "run_was_killed")).toBeUndefined();
  },
);

test("a killed daemon's folder is free at once, and a frozen one keeps its own (L2)", async () => {
  const config = { snapshot: { directory: folder } };
  const killed = await start(config);
  await killed.end("SIGKILL");
  expect(existsSync(join(folder, "owner.sock"))).toBe(true);
  const frozen = await start(config);
  expect(logged(frozen, "run_was_killed")).toBeDefined();
  frozen.signal("SIGSTOP");
  expect(await refused(config)).toContain(`is used by process ${frozen.pid} of host `);
});

test("a default folder that another daemon has is not used: the log names it, and the daemon runs without snapshots", async () => {
  const held = join(folder, "kvsync", `${HOST}-7070`);
  const owner = new FolderClaims("http://10.0.0.9:7070");
  expect(await owner.take("snapshot.directory", held)).toBeNull();
  try {
    const argv = ["--http-host", HOST, "--port", "7070"];
    const environment = { XDG_STATE_HOME: folder };
    const daemon = await start({ security: { trust_every_caller_on_the_network: true } }, argv, environment);
    expect(logged(daemon, "snapshots_off")).toMatchObject({ folder: held });
    expect(String(logged(daemon, "snapshots_off")?.["reason"])).toContain(
      `is used by process ${process.pid} `,
    );
    expect(logged(daemon, "starting")).toMatchObject({ snapshots: "off" });
    await daemon.end();
    expect(readdirSync(held).sort()).toEqual(["owner.json", "owner.sock"]);
  } finally {
    owner.release();
  }
});

test("--check-config beside the daemon that has the folder warns of it, and ends with 0", async () => {
  const daemon = await start({ snapshot: { directory: folder } });
  const argv = [MAIN, "--check-config", "--http-port", "0", "--snapshot-directory", folder];
  const out = await new Promise<string>((resolve, reject) => {
    execFile(process.execPath, argv, { env: { PATH: process.env["PATH"] } }, (error, text) => {
      if (error === null) resolve(text);
      else reject(new Error(`it ended with ${String(error.code)}`));
    });
  });
  expect(out).toContain(`warning: snapshot.directory: ${folder} is used by process ${daemon.pid} of host `);
  expect(out).toContain("A running daemon with the same settings is a reason");
});

test("a daemon whose folder another machine took over writes nothing into it, and says who has it, until that one ends (L4)", async () => {
  const daemon = await start({ snapshot: { directory: folder, interval_seconds: 1 } });
  const file = join(folder, "kvsync.snapshot");
  await until("there is a snapshot", () => Promise.resolve(existsSync(file)));
  // Another machine finds a name where nobody answers, and replaces it.
  rmSync(join(folder, "owner.sock"));
  const other = new FolderClaims("http://10.0.0.9:7070");
  expect(await other.take("snapshot.directory", folder)).toBeNull();
  const check = async (): Promise<{ status?: string; message?: string }> => {
    const { checks } = (await (await daemon.fetch("/health")).json()) as {
      checks: Record<string, { status: string; message: string }>;
    };
    return checks["snapshot_store"] ?? {};
  };
  await until("the check says so", async () => (await check()).status === "unhealthy");
  expect((await check()).message).toContain(`${folder} was taken over by process ${process.pid} of host `);
  await until("the log says so", () => Promise.resolve(logged(daemon, "snapshot_failed") !== undefined));
  const { mtimeMs } = statSync(file);
  const failures = (): number => daemon.log.filter(({ event }) => event === "snapshot_failed").length;
  const before = failures();
  await until("two more were tried", () => Promise.resolve(failures() >= before + 2));
  expect(statSync(file).mtimeMs).toBe(mtimeMs);
  other.release();
  await until("it is well again", async () => (await check()).status === "healthy");
  await until("snapshots are written again", () => Promise.resolve(statSync(file).mtimeMs > mtimeMs));
});
