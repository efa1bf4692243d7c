/**
 * The page about security works from its first command to its last: the daemon starts on loopback
 * with the files that the page makes. Then a sibling takes that daemon's snapshot over HTTPS with
 * the operator's token, and not with the gateway's.
 */
import { spawnSync } from "node:child_process";
import { mkdtempSync, readFileSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";

import { afterAll, describe, expect, test } from "vitest";
import { parse } from "yaml";

import { DaemonProcess } from "./daemon-process.ts";
import { TestEngine, until } from "./fleet.ts";
import { PageShell, pageCommands } from "./operator-page.ts";

const hasPrograms = ["curl", "openssl"].every((name) => spawnSync(name, ["version"]).error === undefined);

describe.skipIf(!hasPrograms)("the page's commands (need curl and openssl)", () => {
  const shell = new PageShell();
  const inFolder = (name: string): string => join(shell.folder, name);
  const snapshots = mkdtempSync(join(tmpdir(), "kvsync-security-"));
  let daemon: DaemonProcess | null = null;
  let engine: TestEngine | null = null;

  afterAll(async () => {
    await daemon?.end();
    await engine?.stop();
    shell.close();
    rmSync(snapshots, { recursive: true, force: true });
  });

  const blocks = pageCommands("security.md");
  const isStart = ({ mode }: (typeof blocks)[number]): boolean => mode?.run === false;

  test("each works, in the page's order", async () => {
    expect(blocks.filter(isStart)).toHaveLength(1);
    for (const block of blocks) {
      if (isStart(block)) {
        engine = await TestEngine.start({ id: "engine-0", model: "demo/model" }, 1);
        const config = parse(readFileSync(inFolder("kvsync.yaml"), "utf8")) as object;
        const snapshot = { directory: snapshots };
        daemon = await DaemonProcess.start({ ...config, engines: [engine.entry], snapshot }, [
          "--host",
          "127.0.0.1",
        ]);
        daemon.trust(readFileSync(inFolder("tls.crt"), "utf8"), 2);
        continue;
      }
      await shell.run(block.text, daemon?.url ?? "https://127.0.0.1:1").catch((error: unknown) => {
        throw new Error(`docs/operations/security.md:${block.line}: ${String(error)}`, { cause: error });
      });
    }
    expect(readFileSync(inFolder("refused.json"), "utf8")).toContain("169.254.169.254");
  });

  test("a token that was taken out of the file is refused, the new one is not, and what the file has not does not show in the log", async () => {
    const ask = async (name: string): Promise<number> => {
      const authorization = `Bearer ${readFileSync(inFolder(`${name}.token`), "utf8")}`;
      return (await daemon!.fetch("/api/v1/engines", { headers: { authorization } })).status;
    };
    await until("the old token is refused", async () => (await ask("gateway")) === 401);
    expect(await ask("gateway-2")).toBe(200);
    expect(await ask("operator")).toBe(200);
    const log = JSON.stringify(daemon!.log);
    for (const name of ["gateway", "gateway-2", "operator"])
      expect(log).not.toContain(readFileSync(inFolder(`${name}.token`), "utf8"));
    const reloads = daemon!.log.filter(({ event }) => event === "security_file_reloaded");
    expect(reloads[0]).toMatchObject({ file: "tokens", level: "info" });
  });

  test.each([
    ["operator", "snapshot_loaded"],
    ["gateway-2", "snapshot_refused"],
  ])("a sibling with the token of %s tells %s", async (name, event) => {
    await engine!.serve(5);
    await until("the engine's blocks are there", async () => {
      const headers = { authorization: `Bearer ${readFileSync(inFolder("operator.token"), "utf8")}` };
      const dump = await (await daemon!.fetch("/api/v1/dump?model=demo/model", { headers })).arrayBuffer();
      return dump.byteLength > 500;
    });
    const sibling = await DaemonProcess.start(
      {
        engines: [engine!.entry],
        snapshot: { warm_from: daemon!.url, warm_token_file: inFolder(`${name}.token`) },
      },
      [],
      null,
      { NODE_EXTRA_CA_CERTS: inFolder("tls.crt") },
    );
    try {
      const told = sibling.log.find((line) => String(line["event"]).startsWith("snapshot_"));
      expect(told).toMatchObject({ event, origin: "sibling" });
      if (event === "snapshot_refused") expect(JSON.stringify(told)).toContain("403");
    } finally {
      await sibling.end();
    }
  });
});
