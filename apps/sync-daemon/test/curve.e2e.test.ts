/**
 * CURVE between a daemon and engines. With the engines' key, events and replay flow, from engines
 * with keys of their own and from plain ones side by side. With another key, or when only one side
 * speaks CURVE, nothing flows, and the log and a metric show the cause.
 */
import { execFile } from "node:child_process";
import { mkdtempSync, readFileSync, rmSync, statSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { fileURLToPath } from "node:url";

import { afterAll, beforeAll, expect, test } from "vitest";
import { curveKeyPair } from "zeromq";

import { readDialKeys } from "../src/security/curve-keys.ts";
import { DaemonProcess } from "./daemon-process.ts";
import { audit, caughtUp, rankOf, TestEngine, until } from "./fleet.ts";

const folder = mkdtempSync(join(tmpdir(), "kvsync-curve-"));
const keys = curveKeyPair();
let fleet: TestEngine;
let foreign: TestEngine;
let plain: TestEngine;

beforeAll(async () => {
  fleet = await TestEngine.start({ id: "engine-fleet" }, 1, { curve: keys });
  foreign = await TestEngine.start({ id: "engine-foreign" }, 2, { curve: curveKeyPair() });
  plain = await TestEngine.start({ id: "engine-plain" }, 3);
});

afterAll(async () => {
  await Promise.all([fleet, foreign, plain].map((engine) => engine.stop()));
  rmSync(folder, { recursive: true, force: true });
});

/** A daemon that follows all three, until it has told of each that it cannot follow. */
async function follow(curve: object, failing: readonly TestEngine[]): Promise<DaemonProcess> {
  const daemon = await DaemonProcess.start({
    engines: [fleet, foreign, plain].map(({ entry }) => entry),
    curve,
  });
  await until("what cannot be followed is told", () =>
    Promise.resolve(
      daemon.log.filter(({ event }) => event === "engine_unreachable").length === failing.length,
    ),
  );
  return daemon;
}

const reasons = (daemon: DaemonProcess): Record<string, unknown> =>
  Object.fromEntries(
    daemon.log
      .filter(({ event }) => event === "engine_unreachable")
      .map(({ pod, reason }) => [String(pod), reason]),
  );

test("with the engines' key the index is exact, after a loss too; an engine of another key and a plain one tell nothing and are named", async () => {
  const file = join(folder, "engines.pub");
  writeFileSync(file, `${keys.publicKey}\n`);
  const daemon = await follow({ server_key_file: file }, [foreign, plain]);
  try {
    expect(reasons(daemon)).toEqual({
      "engine-foreign": "curve_failed",
      "engine-plain": "curve_failed",
    });
    await Promise.all([fleet, foreign, plain].map((engine) => engine.serve(10)));
    await caughtUp(daemon, [fleet]);
    // What was lost comes back by replay, which is a socket of its own.
    await fleet.server.applyFault({ kind: "drop", percent: 50 }, 0);
    await fleet.serve(10);
    await fleet.server.applyFault({ kind: "drop", percent: 0 }, 0);
    await fleet.serve(5);
    await caughtUp(daemon, [fleet]);
    expect(rankOf(await daemon.engines(), fleet)?.gaps).toBeGreaterThan(0);
    expect(await audit(daemon, [fleet])).toEqual([]);
    for (const engine of [foreign, plain])
      expect(rankOf(await daemon.engines(), engine)).toMatchObject({
        connected: false,
        last_sequence_number: null,
      });
    const metrics = await (await daemon.fetch("/metrics")).text();
    for (const [pod, reason] of Object.entries(reasons(daemon)))
      expect(metrics).toMatch(
        new RegExp(
          `kv_zmq_security_failures_total\\{pod="${pod}",model="test/model",reason="${String(reason)}"\\} [1-9]`,
        ),
      );
  } finally {
    await daemon.end();
  }
});

test("a daemon without the key gets nothing from engines that speak CURVE, and follows the plain one", async () => {
  const daemon = await follow({}, [fleet, foreign]);
  try {
    for (const reason of Object.values(reasons(daemon))) expect(reason).toBe("mechanism_mismatch");
    await caughtUp(daemon, [plain]);
    expect(rankOf(await daemon.engines(), fleet)).toMatchObject({
      connected: false,
      last_sequence_number: null,
    });
  } finally {
    await daemon.end();
  }
});

test("engines with keys of their own are followed next to a plain one, and one whose entry has another's key is named", async () => {
  const withKey = ({ entry }: TestEngine, key: string) => ({ ...entry, curve_server_key: key });
  const daemon = await DaemonProcess.start({
    engines: [withKey(fleet, keys.publicKey), withKey(foreign, keys.publicKey), plain.entry],
  });
  try {
    await until("the wrong key is told", () =>
      Promise.resolve(reasons(daemon)["engine-foreign"] === "curve_failed"),
    );
    await Promise.all([fleet, foreign, plain].map((engine) => engine.serve(10)));
    await caughtUp(daemon, [fleet, plain]);
    // What was lost comes back by replay, with the same key.
    await fleet.server.applyFault({ kind: "drop", percent: 50 }, 0);
    await fleet.serve(10);
    await fleet.server.applyFault({ kind: "drop", percent: 0 }, 0);
    await fleet.serve(5);
    await caughtUp(daemon, [fleet, plain]);
    expect(rankOf(await daemon.engines(), fleet)?.gaps).toBeGreaterThan(0);
    expect(await audit(daemon, [fleet, plain])).toEqual([]);
    expect(reasons(daemon)).toEqual({ "engine-foreign": "curve_failed" });
    expect(rankOf(await daemon.engines(), foreign)).toMatchObject({ connected: false });
  } finally {
    await daemon.end();
  }
});

test("an engine is registered with its key over HTTP, a text that is no key is refused by its field, and the doctor looks with the engine's key", async () => {
  const daemon = await DaemonProcess.start({ engines: [] });
  const register = (key: string): Promise<Response> =>
    daemon.fetch("/api/v1/engines", {
      method: "POST",
      headers: { "content-type": "application/json" },
      body: JSON.stringify({ ...fleet.entry, curve_server_key: key }),
    });
  try {
    const refused = await register("#".repeat(40));
    expect(refused.status).toBe(400);
    expect(await refused.text()).toMatch(/curve_server_key.*a CURVE key of 40 characters/);
    expect((await register(keys.publicKey)).status).toBe(201);
    await fleet.serve(5);
    await caughtUp(daemon, [fleet]);
    expect(await daemon.engines()).toMatchObject([{ curve_server_key: keys.publicKey }]);
    const { printed } = await kvsync("doctor", "--url", daemon.url, "--idle", "1");
    expect(printed).toMatch(/ok {4}events {6}engine-fleet rank 0: /);
    expect(printed).toMatch(/ok {4}replay {6}engine-fleet rank 0: /);
  } finally {
    await daemon.end();
  }
});

/** Runs the built tool: its exit code and all that it printed. */
async function kvsync(...args: string[]): Promise<{ code: unknown; printed: string }> {
  const main = fileURLToPath(new URL("../dist/tools/main.js", import.meta.url));
  return new Promise((resolve) => {
    execFile(process.execPath, [main, ...args], { timeout: 60_000 }, (error, stdout, stderr) => {
      resolve({ code: error === null ? 0 : error.code, printed: stdout + stderr });
    });
  });
}

test("the tools make pairs of keys, never over others, and look at an engine with its key", async () => {
  const name = join(folder, "pair");
  expect(await kvsync("curve-keys", name)).toEqual({ code: 0, printed: `${name}.key\n${name}.pub\n` });
  const [publicKey = ""] = readFileSync(`${name}.pub`, "utf8").split("\n");
  expect(readFileSync(`${name}.key`, "utf8").split("\n")[0]).toBe(publicKey);
  expect(statSync(`${name}.key`).mode & 0o777).toBe(0o600);
  const settings = { server_key_file: `${name}.pub`, client_key_file: `${name}.key` };
  expect(readDialKeys(settings)).toMatchObject({ fleetKey: publicKey, pair: { publicKey } });
  const again = await kvsync("curve-keys", name);
  expect(again).toMatchObject({ code: 1 });
  expect(again.printed).toContain("it is there already; keys in use are not replaced");
  const replay = fleet.server.replayEndpoint ?? "";
  writeFileSync(join(folder, "fleet.pub"), keys.publicKey);
  await fleet.serve(1);
  const probe = ["replay-probe", replay, "--idle", "1"];
  const probed = await kvsync(...probe, "--curve-key-file", join(folder, "fleet.pub"));
  expect(probed.printed).toMatch(/holes 0, .*, unreadable 0, end marker seen/);
  expect(probed.code).toBe(0);
  expect(await kvsync(...probe)).toMatchObject({ code: 1 });
});

test.each([
  ["short", /curve\.server_key_file: .* is not usable; expected a CURVE key of 40 characters \(Z85\)/],
  [
    `${keys.publicKey}\n${keys.secretKey}`,
    /curve\.server_key_file: .* expected a CURVE key of 40 characters/,
  ],
])("a file with %j instead of a key keeps the daemon from starting", (text, message) => {
  const file = join(folder, "wrong.pub");
  writeFileSync(file, text);
  expect(() => readDialKeys({ server_key_file: file, client_key_file: null })).toThrow(message);
});
