/** The bus against a real NATS server. */
import { execFileSync, spawn, type ChildProcess } from "node:child_process";
import { once } from "node:events";
import { connect } from "node:net";
import { freePort } from "@kvsync/engine-sim";
import { afterEach, describe, expect, it, vi } from "vitest";

import { NatsBus } from "./nats-bus.ts";

const HAS_NATS = isThere("nats-server");

function isThere(program: string): boolean {
  try {
    execFileSync(program, ["--version"], { stdio: "ignore" });
    return true;
  } catch {
    return false;
  }
}

const cleanup: (() => unknown)[] = [];
afterEach(async () => {
  for (const end of cleanup.splice(0).reverse()) await end();
});

async function startNats(port: number): Promise<ChildProcess> {
  const child = spawn("nats-server", ["-a", "127.0.0.1", "-p", String(port)], { stdio: "ignore" });
  cleanup.push(() => stopNats(child));
  await vi.waitFor(
    async () => {
      const socket = connect(port, "127.0.0.1");
      await once(socket, "connect");
      socket.destroy();
    },
    { timeout: 20_000 },
  );
  return child;
}

async function stopNats(child: ChildProcess): Promise<void> {
  if (child.exitCode !== null || child.signalCode !== null) return;
  child.kill("SIGKILL");
  await once(child, "exit");
}

interface Listener {
  readonly bus: NatsBus;
  readonly heard: string[];
  readonly states: string[];
}

function join(port: number, subject = "kvsync.picker.a"): Listener {
  const heard: string[] = [];
  const states: string[] = [];
  const bus = new NatsBus(
    { url: `nats://127.0.0.1:${port}`, subject, credentialsFile: null },
    {
      heard: (bytes) => heard.push(Buffer.from(bytes).toString()),
      connected: () => states.push("connected"),
      lost: () => states.push("lost"),
    },
  );
  cleanup.push(() => bus.close());
  return { bus, heard, states };
}

async function isIn(state: string, ...listeners: readonly Listener[]): Promise<void> {
  for (const { states } of listeners)
    await vi.waitFor(() => {
      expect(states.at(-1)).toBe(state);
    }, 20_000);
}

function publish({ bus }: Listener, text: string): void {
  bus.publish(Buffer.from(text));
}

/** Until a message arrives: the other's subscription may reach the server after ours was connected. */
async function arrives(by: Listener, at: Listener, text: string): Promise<void> {
  await vi.waitFor(() => {
    publish(by, text);
    expect(at.heard).toContain(text);
  }, 20_000);
}

// In CI the program is there; elsewhere the test is skipped by its name.
describe.skipIf(!HAS_NATS && process.env["CI"] === undefined)("the bus over nats-server", () => {
  it("N1: brings a message to the other pickers of its subject, and to nobody else", async () => {
    const port = await freePort();
    await startNats(port);
    const [one, two, three, stranger] = [join(port), join(port), join(port), join(port, "kvsync.picker.b")];
    await isIn("connected", one, two, three, stranger);
    await arrives(one, two, "first");
    await arrives(one, three, "second");
    await arrives(two, one, "third");
    expect(one.heard).not.toContain("first");
    expect(stranger.heard).toEqual([]);
  }, 60_000);

  it("N2, N3: loses what is published while NATS is away, without an error, and works again when it is back", async () => {
    const port = await freePort();
    const [one, two] = [join(port), join(port)];
    await isIn("lost", one, two);
    publish(one, "before");
    expect(one.bus.dropped).toBe(1);
    const nats = await startNats(port);
    await isIn("connected", one, two);
    await arrives(one, two, "first");
    await stopNats(nats);
    await isIn("lost", one, two);
    publish(one, "meanwhile");
    await startNats(port);
    await isIn("connected", one, two);
    await arrives(two, one, "again");
    await arrives(one, two, "last");
    expect(two.heard).not.toContain("meanwhile");
    expect(two.heard).not.toContain("before");
  }, 90_000);
});
