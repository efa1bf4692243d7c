/**
 * Two daemons that share registrations over HTTP in one folder. Both follow the same engines, over
 * restarts, removals, conflicts, and while the folder is away. The invariants are those of
 * shared-registrations.ts and of http-registrations.ts.
 */
import { existsSync, mkdtempSync, readdirSync, renameSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";

import { afterEach, beforeEach, expect, test } from "vitest";

import { DaemonProcess } from "./daemon-process.ts";
import { caughtUp, TestEngine, until } from "./fleet.ts";

let folder: string;
const daemons = new Set<DaemonProcess>();

beforeEach(() => {
  folder = mkdtempSync(join(tmpdir(), "kvsync-replicas-"));
});

afterEach(async () => {
  for (const daemon of daemons) await daemon.end("SIGKILL");
  daemons.clear();
  rmSync(folder, { recursive: true, force: true });
});

const shared = () => join(folder, "shared");

async function replica(): Promise<DaemonProcess> {
  const discovery = { shared_directory: shared(), shared_poll_seconds: 0.05 };
  const daemon = await DaemonProcess.start({ discovery });
  daemons.add(daemon);
  return daemon;
}

async function kill(daemon: DaemonProcess, signal: "SIGKILL" | "SIGTERM" = "SIGKILL"): Promise<void> {
  daemons.delete(daemon);
  await daemon.end(signal);
}

interface Answer {
  readonly code?: string;
  readonly engine?: { readonly id: string };
  readonly replicas?: readonly { readonly is_this: boolean; readonly registrations: string }[];
}

async function post(to: DaemonProcess, path: string, body: object): Promise<[number, Answer]> {
  const headers = { "content-type": "application/json" };
  const response = await to.fetch(path, { method: "POST", headers, body: JSON.stringify(body) });
  return [response.status, (await response.json()) as Answer];
}

async function remove(from: DaemonProcess, id: string): Promise<number> {
  return (await from.fetch(`/api/v1/engines/${id}`, { method: "DELETE" })).status;
}

const entry = (id: string, port: number, model = "m") => ({ id, model, endpoint: `tcp://127.0.0.1:${port}` });
const idsOf = async (of: DaemonProcess): Promise<string[]> => (await of.engines()).map(({ id }) => id).sort();

async function follows(daemon: DaemonProcess, ids: readonly string[]): Promise<void> {
  await until(`it follows ${ids.join(", ")}`, async () => {
    return JSON.stringify(await idsOf(daemon)) === JSON.stringify([...ids].sort());
  });
}

async function listOf(daemon: DaemonProcess) {
  return (await (await daemon.fetch("/api/v1/engines")).json()) as {
    sources: { source: string; state: string; failure: { message: string } | null }[];
    engines: { endpoint: string }[];
    replicas: { name: string; is_this: boolean; registrations: string }[];
    refused: { id: string; reason: string; winner: { id: string } | null }[];
  };
}
const stateOf = async (daemon: DaemonProcess) =>
  (await listOf(daemon)).sources.find(({ source }) => source === "http")?.state;

test("what is registered at one replica is followed by the other, removals too, and answers name the replicas that follow it (S5)", async () => {
  const engine = await TestEngine.start({ id: "engine-0" }, 1);
  try {
    const [first, second] = [await replica(), await replica()];
    const [status, answer] = await post(first, "/api/v1/engines", engine.entry);
    expect(status).toBe(201);
    expect(answer.replicas?.[0]).toMatchObject({ is_this: true, registrations: "current" });
    await engine.serve(5);
    for (const daemon of [first, second]) await caughtUp(daemon, [engine]);
    await until("both replicas follow the same registrations", async () => {
      const { replicas } = await listOf(first);
      return replicas.length === 2 && replicas.every(({ registrations }) => registrations === "current");
    });
    // The same again at the other one is nothing new.
    expect((await post(second, "/api/v1/engines", engine.entry))[0]).toBe(200);
    expect(await remove(second, "engine-0")).toBe(204);
    await follows(first, []);
    expect(await remove(first, "engine-0")).toBe(404);
    await kill(second, "SIGTERM");
    await until("a replica that has stopped is not listed", async () => {
      return (await listOf(first)).replicas.length === 1;
    });
  } finally {
    await engine.stop();
  }
});

test("a replica that is killed and starts again follows what was registered meanwhile, and not what was removed", async () => {
  const [first, second] = [await replica(), await replica()];
  const member = {
    endpoint: "tcp://127.0.0.1:19403",
    type: "vLLM",
    modelname: "m",
    tenant_id: "blue",
    instance_id: "i",
    block_size: 16,
    dp_rank: 3,
  };
  expect((await post(first, "/api/v1/engines", entry("a", 19_400)))[0]).toBe(201);
  await follows(second, ["a"]);
  await kill(second);
  expect((await post(first, "/api/v1/engines", entry("b", 19_401)))[0]).toBe(201);
  expect((await post(first, "/register", member))[0]).toBe(200);
  expect(await remove(first, "a")).toBe(204);
  const third = await replica();
  expect(await idsOf(third)).toEqual(await idsOf(first));
  expect(await (await third.fetch("/services")).json()).toEqual(
    await (await first.fetch("/services")).json(),
  );
  const gone = { modelname: "m", instance_id: "i", tenant_id: "blue" };
  expect((await post(third, "/unregister", gone))[0]).toBe(200);
  await follows(first, ["b"]);
});

test("of registrations of one id or one address at both replicas at once one stays, and it is the same at both (S1, S2, H3)", async () => {
  const [first, second] = [await replica(), await replica()];
  for (let round = 0; round < 10; round++) {
    const ports = [19_410 + 2 * round, 19_411 + 2 * round] as const;
    const answers = await Promise.all([
      post(first, "/api/v1/engines", entry("same", ports[0])),
      post(second, "/api/v1/engines", entry("same", ports[1])),
    ]);
    expect(answers.map(([status]) => status).sort()).toEqual([201, 409]);
    expect(answers.find(([status]) => status === 409)?.[1].code).toBe("engine_conflict");
    for (const daemon of [first, second]) await follows(daemon, ["same"]);
    const winner = `tcp://127.0.0.1:${answers[0][0] === 201 ? ports[0] : ports[1]}`;
    for (const daemon of [first, second])
      expect((await listOf(daemon)).engines.map(({ endpoint }) => endpoint)).toEqual([winner]);
    expect(await remove(first, "same")).toBe(204);
    await follows(second, []);
  }
  await Promise.all([
    post(first, "/api/v1/engines", entry("one", 19_450)),
    post(second, "/api/v1/engines", entry("two", 19_450)),
  ]);
  await until("both follow the same one of two at one address", async () => {
    const [left, right] = [await idsOf(first), await idsOf(second)];
    return left.length === 1 && JSON.stringify(left) === JSON.stringify(right);
  });
});

test("a damaged file costs its registration alone, and is named (S3)", async () => {
  const first = await replica();
  for (const [id, port] of [
    ["a", 19_460],
    ["b", 19_461],
  ] as const)
    expect((await post(first, "/api/v1/engines", entry(id, port)))[0]).toBe(201);
  const files = join(shared(), "registrations");
  const [name = ""] = readdirSync(files);
  writeFileSync(join(files, name), "{");
  await until("the source is stale", async () => (await stateOf(first)) === "stale");
  // It was read before: its engine is followed on here.
  expect(await idsOf(first)).toEqual(["a", "b"]);
  const second = await replica();
  expect((await idsOf(second)).length).toBe(1);
  const { sources } = await listOf(second);
  expect(sources.find(({ source }) => source === "http")?.failure?.message).toContain(name);
});

test("while the folder is away nothing is forgotten and changes are refused; a folder that is another one is not used (S4, H1, H2)", async () => {
  const first = await replica();
  expect((await post(first, "/api/v1/engines", entry("a", 19_470)))[0]).toBe(201);
  renameSync(shared(), `${shared()}.away`);
  await until("the source is stale", async () => (await stateOf(first)) === "stale");
  const [status, { code }] = await post(first, "/api/v1/engines", entry("b", 19_471));
  expect([status, code]).toEqual([503, "registrations_unavailable"]);
  expect(await remove(first, "a")).toBe(503);
  expect(await idsOf(first)).toEqual(["a"]);
  expect(existsSync(shared())).toBe(false);
  // Another replica starts while the volume is not mounted, and makes a folder of its own.
  const second = await replica();
  expect(await idsOf(second)).toEqual([]);
  await until("the first one does not take it for its own", async () => {
    const { sources } = await listOf(first);
    return sources.some(({ failure }) => failure?.message.includes("OTHER_FOLDER") === true);
  });
  expect(await idsOf(first)).toEqual(["a"]);
  await kill(second);
  rmSync(shared(), { recursive: true });
  renameSync(`${shared()}.away`, shared());
  await until("the source is current", async () => (await stateOf(first)) === "current");
  expect((await post(first, "/api/v1/engines", entry("b", 19_471)))[0]).toBe(201);
  expect(await idsOf(await replica())).toEqual(["a", "b"]);
});

test("without a shared folder an answer names this replica alone", async () => {
  const daemon = await DaemonProcess.start();
  daemons.add(daemon);
  const [, { replicas }] = await post(daemon, "/api/v1/engines", entry("a", 19_480));
  expect(replicas).toMatchObject([{ is_this: true, registrations: "current" }]);
});
