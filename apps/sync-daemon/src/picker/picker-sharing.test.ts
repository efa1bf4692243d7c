/** Threads of two daemons, with their real channel and a real NATS server. */
import { execFileSync, spawn, type ChildProcess } from "node:child_process";

import { freePort } from "@kvsync/engine-sim";
import { afterEach, describe, expect, it } from "vitest";

import { EndpointFleet } from "./endpoint-fleet.ts";
import { PickerSharing } from "./picker-sharing.ts";
import { SharedDecisions } from "./shared-decisions.ts";
import { ThreadChannel } from "./thread-channel.ts";

const HAS_NATS = isThere("nats-server");
const ENGINES = [{ id: "e", model: "m", http: ["10.0.0.1:80"], ranks: [{ dpRank: 0 }] }];
const DECISION = { prefixes: [7], freshTokens: 10 };
const WAIT = { timeout: 30_000 };

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

async function startNats(): Promise<{ readonly url: string; readonly nats: ChildProcess }> {
  const port = await freePort();
  const nats = spawn("nats-server", ["-a", "127.0.0.1", "-p", String(port)], { stdio: "ignore" });
  cleanup.push(() => nats.kill("SIGKILL"));
  return { url: `nats://127.0.0.1:${port}`, nats };
}

/** A thread as far as it shares; the first one of a daemon is on the bus. */
class Thread {
  readonly fleet = new EndpointFleet({ capacityTokens: 100_000, rankHeader: false });
  readonly shared: SharedDecisions;
  readonly events: string[] = [];
  /** Of the last loss of the bus: own messages that were not sent, and others' that were not taken. */
  lost = { unsent: -1, dropped: -1 };
  readonly loads: (number | null)[] = [];
  readonly drops: string[] = [];
  readonly sharing: PickerSharing;

  constructor(daemon: string, thread: number, url: string | null) {
    const files = { credentials_file: null, ca_file: null, cert_file: null, key_file: null };
    const share = { url, subject: "kvsync.picker.threads", ...files };
    const bus = url !== null && thread === 0 ? { url, share } : null;
    this.sharing = new PickerSharing(
      { daemon, thread, channel: new ThreadChannel(`test of ${daemon}`), bus },
      {
        log: {
          write: (event: string, facts: object) => {
            this.events.push(event);
            if (event === "sharing_lost") this.lost = facts as { unsent: number; dropped: number };
          },
        } as never,
        dropped: (reason) => this.drops.push(reason),
        now: () => performance.now(),
      },
    );
    this.fleet.update(ENGINES);
    this.shared = new SharedDecisions(this.fleet, this.sharing.parts);
    this.sharing.start(this.shared, {
      seen: (_address, { running }) => this.loads.push(running),
      unseen: () => this.loads.push(null),
    });
    cleanup.push(() => this.sharing.stop());
  }

  send(id: number): void {
    this.shared.sent(id, "10.0.0.1:80", 100, DECISION);
  }

  /** Others, their requests, and what the engine has of them. */
  get standing(): readonly number[] {
    return [this.shared.pickerCount, this.shared.requestCount, this.fleet.loads()[0]?.running ?? -1];
  }
}

describe("threads that share", () => {
  it("Q1: hear of each other's requests and loads without a bus", async () => {
    const threads = [0, 1, 2].map((thread) => new Thread("a", thread, null));
    const [first, second, third] = threads as [Thread, Thread, Thread];
    second.send(1);
    first.sharing.tellLoad("10.0.0.1:80", { running: 5, waiting: 0, capacityTokens: null });
    first.sharing.tellLoad("10.0.0.1:80", null);
    await expect
      .poll(() => [second.loads, third.loads], WAIT)
      .toEqual([
        [5, null],
        [5, null],
      ]);
    await expect.poll(() => [first.shared.requestCount, third.shared.requestCount], WAIT).toEqual([1, 1]);
    expect([first.loads, second.shared.requestCount]).toEqual([[], 0]);
    second.shared.over(1);
    await expect.poll(() => [first.standing[1], third.standing[1]], WAIT).toEqual([0, 0]);
  });

  it.skipIf(!HAS_NATS)(
    "Q1, Q2: hear each message once, from whichever thread, and forget other daemons alone with the bus (Debian package nats-server)",
    async () => {
      const { url, nats } = await startNats();
      const all = ["a", "b"].flatMap((daemon) => [0, 1].map((thread) => new Thread(daemon, thread, url)));
      const isOnBus = (): boolean =>
        all.every(({ events }, i) => i % 2 === 1 || events.includes("sharing_connected"));
      await expect.poll(isOnBus, WAIT).toBe(true);
      // What is published before the others have subscribed is lost.
      await expect.poll(() => all.map(({ shared }) => shared.pickerCount), WAIT).toEqual(all.map(() => 3));
      for (const [id, thread] of all.entries()) thread.send(id);
      // Each has its own request, which is in no book here, and those of three others.
      await expect.poll(() => all.map(({ standing }) => standing), WAIT).toEqual(all.map(() => [3, 3, 3]));
      for (const [id, { shared }] of all.entries()) shared.firstToken(id);
      await expect
        .poll(() => all.map(({ fleet }) => fleet.loads()[0]?.waiting), WAIT)
        .toEqual(all.map(() => 0));

      nats.kill("SIGKILL");
      await expect.poll(() => all.map(({ standing }) => standing), WAIT).toEqual(all.map(() => [1, 1, 1]));
      for (const i of [0, 2]) expect(all[i]?.lost.dropped).toBe(0);
      all[1]?.shared.over(1);
      await expect.poll(() => all[0]?.standing, WAIT).toEqual([1, 0, 0]);
    },
    90_000,
  );
});
