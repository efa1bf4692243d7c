/** The built daemon with the pool of a cluster: pods become endpoints, and the engines' metrics count. */
import { once } from "node:events";
import { createServer } from "node:http";

import type { AddressInfo } from "node:net";

import { freePort } from "@kvsync/engine-sim";
import { afterEach, expect, it } from "vitest";
import { GatewayClient } from "../src/picker/testing/gateway-client.ts";
import { Cluster } from "./cluster.ts";
import { DaemonProcess } from "./daemon-process.ts";
import { until } from "./fleet.ts";

const FULL_DUPLEX = { requestBodyMode: 4, responseBodyMode: 0 };
const cleanups: (() => unknown)[] = [];
afterEach(async () => {
  for (const clean of cleanups.splice(0).reverse()) await clean();
});

/** A pod's metrics page, and how often it was asked for. */
async function engine(): Promise<{ port: number; busy: { running: number }; asked: () => number }> {
  const busy = { running: 0 };
  let asked = 0;
  const server = createServer((_request, response) => {
    asked += 1;
    response.end(`vllm:num_requests_running ${busy.running}\n`);
  });
  server.listen(0, "127.0.0.1");
  await once(server, "listening");
  cleanups.push(() => {
    server.closeAllConnections();
    server.close();
  });
  return { port: (server.address() as AddressInfo).port, busy, asked: () => asked };
}

interface Picked {
  readonly requestHeaders?: {
    readonly response: {
      readonly headerMutation: {
        readonly setHeaders: readonly {
          readonly header: { readonly key: string; readonly rawValue: string };
        }[];
      };
    };
  };
}

/** The endpoint that a request without a known model gets. The request then ends. */
async function pick(client: GatewayClient): Promise<string> {
  const stream = client.open();
  const headers = [{ key: ":path", rawValue: Buffer.from("/v1/completions") }];
  stream.send({ requestHeaders: { headers: { headers } }, protocolConfig: FULL_DUPLEX });
  stream.send({ requestBody: { body: Buffer.from("{}"), endOfStream: true } });
  const [first] = (await stream.answered(1)) as Picked[];
  stream.stream.close(8);
  const set = first?.requestHeaders?.response.headerMutation.setHeaders ?? [];
  const value = set.find(({ header }) => header.key === "x-gateway-destination-endpoint")?.header.rawValue;
  return Buffer.from(value ?? "", "base64").toString();
}

it("picks among the pool's pods, by the load that their metrics show, and goes on when the pool is deleted", async () => {
  const cluster = await Cluster.start();
  cleanups.push(() => cluster.stop());
  const [calm, busy] = [await engine(), await engine()];
  const labels = { app: "chat" };
  for (const [name, { port }] of Object.entries({ calm, busy }))
    cluster.add(name, "127.0.0.1", { labels, annotations: { "model.aibrix.ai/http-ports": String(port) } });
  cluster.add("odd", "127.0.0.1", { labels, annotations: { "model.aibrix.ai/http-ports": "many" } });
  cluster.edit("serving/odd", ({ status }) => (status.conditions = []));
  const spec = { selector: { matchLabels: labels }, targetPorts: [{ number: 8000 }] };
  const [port, health_port] = [await freePort(), await freePort()];
  const daemon = await DaemonProcess.start({
    discovery: {
      kubernetes: { kubeconfig: cluster.kubeconfig(), retry_seconds_min: 0.01, retry_seconds_max: 0.1 },
    },
    picker: {
      enabled: true,
      port,
      health_port,
      tls: { mode: "none" },
      scrape_ms: 50,
      fallbacks: 0,
      pool: { name: "chat" },
    },
    snapshot: { enabled: false },
    readiness: { deadline_seconds: 0 },
  });
  cleanups.push(() => daemon.end("SIGKILL"));
  const client = new GatewayClient(`http://127.0.0.1:${port}`, {});
  cleanups.push(() => {
    client.close();
  });
  expect(await client.health("")).not.toBe(1);
  cluster.put("inferencepools", { spec }, "chat", "serving");
  await until("the picker serves", async () => (await client.health("")) === 1);
  busy.busy.running = 50;
  await until("the busy pod is passed over", async () => {
    const picks = await Promise.all(Array.from({ length: 4 }, () => pick(client)));
    return picks.every((address) => address === `127.0.0.1:${calm.port}`);
  });
  [calm.busy.running, busy.busy.running] = [50, 0];
  await until("the load has changed places", async () => (await pick(client)) === `127.0.0.1:${busy.port}`);
  const before = calm.asked();
  await until("metrics are read again and again", () => Promise.resolve(calm.asked() > before + 3));
  cluster.delete("inferencepools", "serving/chat");
  await until("the pool is stale", () => Promise.resolve(daemon.codes.has("pool_stale")));
  expect(await pick(client)).toBe(`127.0.0.1:${busy.port}`);
  for (const code of ["pool_current", "pool_ports_unusable"]) expect(daemon.codes).toContain(code);
});
