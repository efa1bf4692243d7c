/** Engines registered over HTTP, over the end of the process: killed, restarted, with a damaged file, and without a place to keep them. */
import { existsSync, mkdtempSync, readFileSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";

import { NAMESPACE } from "@kvsync/observability/kvsync/namespace";
import { afterEach, beforeEach, expect, test } from "vitest";

import { DaemonProcess } from "./daemon-process.ts";

let folder: string;
let daemon: DaemonProcess | null;

beforeEach(() => {
  folder = mkdtempSync(join(tmpdir(), "kvsync-state-"));
  daemon = null;
});

afterEach(async () => {
  await daemon?.end("SIGKILL");
  rmSync(folder, { recursive: true, force: true });
});

const file = () => join(folder, "registrations.json");

async function restart(directory: string = folder, security: object = {}): Promise<DaemonProcess> {
  await daemon?.end("SIGKILL");
  daemon = await DaemonProcess.start({ discovery: { state_directory: directory }, security });
  return daemon;
}

async function post(to: DaemonProcess, path: string, body: object): Promise<number> {
  const headers = { "content-type": "application/json" };
  const response = await to.fetch(path, { method: "POST", headers, body: JSON.stringify(body) });
  await response.arrayBuffer();
  return response.status;
}

const entry = (id: string, port: number) => ({
  id,
  model: "m",
  endpoint: `tcp://127.0.0.1:${port}`,
  dp_size: 2,
});
const member = {
  endpoint: "tcp://127.0.0.1:19203",
  type: "vLLM",
  modelname: "m",
  tenant_id: "blue",
  instance_id: "i",
  block_size: 16,
  dp_rank: 3,
};
const idsOf = async (of: DaemonProcess): Promise<string[]> => (await of.engines()).map(({ id }) => id).sort();

test("what was registered by either API is there after the process was killed, and what was removed is not", async () => {
  const first = await restart();
  // Many at once: they share writes, and each is answered when its own is done.
  const statuses = await Promise.all(
    Array.from({ length: 50 }, (_, i) => post(first, "/api/v1/engines", entry(`e${i}`, 19_300 + 2 * i))),
  );
  expect(new Set(statuses)).toEqual(new Set([201]));
  expect(await post(first, "/register", member)).toBe(200);
  expect((await first.fetch("/api/v1/engines/e7", { method: "DELETE" })).status).toBe(204);
  const known = await first.engines();
  const services = await (await first.fetch("/services")).json();
  const second = await restart();
  const again = await second.engines();
  const described = (engines: typeof known) =>
    engines.map(({ id, model, ranks }) => ({ id, model, ranks: ranks.map(({ dp_rank }) => dp_rank) }));
  expect(described(again)).toEqual(described(known));
  expect(again).toHaveLength(50);
  expect(await (await second.fetch("/services")).json()).toEqual(services);
  expect(await post(second, "/unregister", { modelname: "m", instance_id: "i", tenant_id: "blue" })).toBe(
    200,
  );
  expect(await post(second, "/api/v1/engines", entry("e7", 19_314))).toBe(201);
  expect(await idsOf(await restart())).toEqual(Array.from({ length: 50 }, (_, i) => `e${i}`).sort());
});

test("what may not be where it was registered is not taken up again, neither API takes it, and it is named", async () => {
  const first = await restart();
  expect(await post(first, "/api/v1/engines", entry("e0", 19_300))).toBe(201);
  expect(await post(first, "/register", member)).toBe(200);
  const strict = await restart(folder, { registration_ranges: ["10.0.0.0/8"] });
  expect(await idsOf(strict)).toEqual([]);
  expect(await (await strict.fetch("/services")).json()).toMatchObject({ count: 0 });
  const told = strict.log.filter(({ event }) => event === "registration_not_allowed");
  expect(told.map(({ pod, code }) => [pod, code])).toEqual([
    ["e0", "endpoint_not_allowed"],
    ["blue/i/dp3", "endpoint_not_allowed"],
  ]);
  expect(await post(strict, "/api/v1/engines", entry("e1", 19_310))).toBe(422);
  expect(await post(strict, "/register", member)).toBe(422);
  // The setting may have been the mistake: nothing was written over.
  expect(await idsOf(await restart())).toEqual(["blue/i/dp3", "e0"]);
});

test("a damaged file is refused aloud and kept aside; it costs the registrations in it, and nothing after them", async () => {
  await post(await restart(), "/api/v1/engines", entry("lost", 19_300));
  const whole = readFileSync(file(), "utf8");
  writeFileSync(file(), whole.replace("lost", "lust"));
  const second = await restart();
  expect(await idsOf(second)).toEqual([]);
  expect(second.log.find(({ event }) => event === "discovery_failed")).toMatchObject({
    level: "error",
    source: "http",
    reason: "registrations_refused",
    code: "checksum_mismatch",
  });
  expect(existsSync(`${file()}.refused`)).toBe(true);
  const health = async () =>
    ((await (await second.fetch("/health")).json()) as { checks: Record<string, { status: string }> }).checks[
      "discovery"
    ]?.status;
  expect(await health()).toBe("degraded");
  expect(await post(second, "/api/v1/engines", entry("new", 19_300))).toBe(201);
  const list = (await (await second.fetch("/api/v1/engines")).json()) as { sources: object[] };
  expect(list.sources).toMatchObject([{ source: "file" }, { source: "http", state: "current", engines: 1 }]);
  expect(await idsOf(await restart())).toEqual(["new"]);
});

test("a folder that takes no file costs the memory of registrations, not the registrations", async () => {
  const only = await restart("/dev/null/nowhere");
  expect(await post(only, "/api/v1/engines", entry("a", 19_300))).toBe(201);
  expect(await idsOf(only)).toEqual(["a"]);
  expect(only.log.filter(({ event }) => event === "discovery_failed").map(({ reason }) => reason)).toContain(
    "write_failed",
  );
  const text = await (await only.fetch("/metrics")).text();
  expect(text).toContain(`${NAMESPACE}_kv_discovery_state{source="http",state="stale"} 1`);
  expect(text).toMatch(
    new RegExp(
      String.raw`${NAMESPACE}_kv_discovery_failures_total\{source="http",reason="write_failed"\} [1-9]`,
    ),
  );
});

test("an engine of the configuration file is not removed over HTTP, and the answer says where it is from", async () => {
  daemon = await DaemonProcess.start({ engines: [entry("listed", 19_300)] });
  const response = await daemon.fetch("/api/v1/engines/listed", { method: "DELETE" });
  expect(response.status).toBe(409);
  expect(await response.json()).toMatchObject({ code: "stated_elsewhere", id: "listed", source: "file" });
  expect(await idsOf(daemon)).toEqual(["listed"]);
});
