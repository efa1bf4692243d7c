/**
 * An engine's sockets in a pod, reached through an API server. A real WebSocket server forwards as
 * the API server does (v4.channel.k8s.io), with a real engine behind it. The errors for a wrong
 * configuration, pod or port are tested too.
 */
import { mkdtempSync, rmSync, writeFileSync } from "node:fs";
import { createServer, type Server } from "node:http";
import { type AddressInfo, connect } from "node:net";
import { tmpdir } from "node:os";
import { join } from "node:path";

import { afterAll, beforeAll, expect, test } from "vitest";
import { type WebSocket, WebSocketServer } from "ws";

import { ZmqTransport } from "../src/transport/zmq-transport.ts";
import { PodForward, type PodTarget } from "../src/tools/pod-forward.ts";
import { replayProbe } from "../src/tools/replay-probe.ts";
import { TestEngine, until } from "./fleet.ts";

const PROTOCOL = "v4.channel.k8s.io";

let engine: TestEngine;
let server: Server;
let webSockets: WebSocketServer;
let folder: string;
let kubeconfig: string;
/** Ports asked for, in order; connections that are open. */
const asked: number[] = [];
let open = 0;

const portOf = (endpoint: string | null): number => Number(endpoint?.split(":").at(-1));

function pod(name: string, annotations: Record<string, string>, phase = "Running"): object {
  return {
    apiVersion: "v1",
    kind: "Pod",
    metadata: {
      name,
      namespace: "inference",
      resourceVersion: "1",
      creationTimestamp: "2026-01-01T00:00:00Z",
      labels: { "model.aibrix.ai/kv-events-enabled": "true", "model.aibrix.ai/name": "test-model" },
      annotations,
    },
    status: { phase, podIP: "10.1.2.3" },
  };
}

/** What the API server does with a connection: channel 0 is the port, channel 1 says why not; each begins with the port's number. */
function forward(webSocket: WebSocket, port: number): void {
  asked.push(port);
  open += 1;
  webSocket.on("close", () => (open -= 1));
  const head = Buffer.alloc(2);
  head.writeUInt16LE(port);
  const send = (channel: number, data: Buffer): void => {
    webSocket.send(Buffer.concat([Buffer.of(channel), data]));
  };
  send(0, head);
  send(1, head);
  const socket = connect(port, "127.0.0.1");
  socket.on("data", (chunk: Buffer) => {
    send(0, chunk);
  });
  socket.on("error", (error) => {
    send(1, Buffer.from(`error forwarding port ${port}: ${error.message}`));
  });
  socket.on("close", () => {
    webSocket.close();
  });
  webSocket.on("message", (data: Buffer) => {
    if (data[0] === 0) socket.write(data.subarray(1));
  });
  webSocket.on("close", () => {
    socket.destroy();
  });
}

beforeAll(async () => {
  engine = await TestEngine.start({ id: "engine-0" }, 1);
  await engine.serve(5);
  const ports = {
    "model.aibrix.ai/kv-events-port": `${portOf(engine.server.endpoint)}`,
    "model.aibrix.ai/kv-events-replay-port": `${portOf(engine.server.replayEndpoint)}`,
  };
  const pods: Record<string, object> = {
    "engine-0": pod("engine-0", ports),
    "without-replay": pod("without-replay", { "model.aibrix.ai/kv-events-replay-port": "none" }),
    pending: pod("pending", ports, "Pending"),
    misspelt: pod("misspelt", { "model.aibrix.ai/kv-events-port": "many" }),
    closed: pod("closed", { "model.aibrix.ai/kv-events-port": "1" }),
  };
  server = createServer((request, response) => {
    const name = /^\/api\/v1\/namespaces\/inference\/pods\/([^/?]+)$/.exec(request.url ?? "")?.[1] ?? "";
    const found = pods[name];
    response.setHeader("content-type", "application/json");
    if (request.headers.authorization !== "Bearer good") response.statusCode = 401;
    else if (found === undefined) response.statusCode = 404;
    const status = {
      kind: "Status",
      status: "Failure",
      message: `pods "${name}" not found`,
      code: response.statusCode,
    };
    response.end(JSON.stringify(response.statusCode === 200 ? found : status));
  });
  webSockets = new WebSocketServer({
    noServer: true,
    handleProtocols: (offered) => offered.has(PROTOCOL) && PROTOCOL,
  });
  server.on("upgrade", (request, socket, head) => {
    const [, port = ""] = /\/portforward\?ports=(\d+)$/.exec(request.url ?? "") ?? [];
    webSockets.handleUpgrade(request, socket, head, (webSocket) => {
      forward(webSocket, Number(port));
    });
  });
  await new Promise<void>((resolve) => server.listen(0, "127.0.0.1", resolve));
  folder = mkdtempSync(join(tmpdir(), "kvsync-pod-"));
  kubeconfig = configOf("good");
});

afterAll(async () => {
  webSockets.close();
  server.closeAllConnections();
  server.close();
  await engine.stop();
  rmSync(folder, { recursive: true });
});

function configOf(token: string): string {
  const path = join(folder, `${token}.yaml`);
  const { port } = server.address() as AddressInfo;
  const config = {
    apiVersion: "v1",
    kind: "Config",
    "current-context": "here",
    clusters: [
      { name: "local", cluster: { server: `http://127.0.0.1:${port}`, "insecure-skip-tls-verify": true } },
    ],
    users: [{ name: "me", user: { token } }],
    contexts: [{ name: "here", context: { cluster: "local", user: "me", namespace: "inference" } }],
  };
  writeFileSync(path, JSON.stringify(config));
  return path;
}

const target = (name: string, more: Partial<PodTarget> = {}): PodTarget => {
  return { name, namespace: null, preset: "aibrix", dpRank: 0, kubeconfig, context: null, ...more };
};

test("a pod's history and its events come as they would from the engine itself, and nothing stays open", async () => {
  const replay = await PodForward.open(target("engine-0"), "replay", () => undefined);
  const report = await replayProbe(replay.endpoint, 0, 2, new ZmqTransport());
  expect(report).toMatchObject({ messages: engine.engine.lastSequenceNumber + 1, holes: 0, has_end: true });
  replay.close();
  const events = await PodForward.open(target("engine-0"), "events", () => undefined);
  const transport = new ZmqTransport();
  const heard: unknown[] = [];
  const told: string[] = [];
  transport.subscribe(events.endpoint, "", {
    connected: () => told.push("connected"),
    message: (frames) => heard.push(frames),
    ended: (reason) => told.push(reason),
  });
  await until("it is connected", () => Promise.resolve(told.length > 0));
  // Connected is not subscribed: what is published before the subscription has come through is for nobody.
  await until("something is heard", async () => {
    await engine.serve(1);
    return heard.length > 0;
  });
  events.close();
  await until("the end is told", () => Promise.resolve(told.length > 1));
  expect(told).toEqual(["connected", "disconnected"]);
  await until("nothing is open", () => Promise.resolve(open === 0));
  transport.close();
  expect(asked.slice(0, 2)).toEqual([portOf(engine.server.replayEndpoint), portOf(engine.server.endpoint)]);
});

test("a port that nobody listens at ends the connection, with the API server's words for it", async () => {
  const notes: string[] = [];
  const events = await PodForward.open(target("closed"), "events", (text) => notes.push(text));
  const transport = new ZmqTransport();
  const ended = new Promise((resolve) => {
    transport.subscribe(events.endpoint, "", {
      connected: () => undefined,
      message: () => undefined,
      ended: resolve,
    });
  });
  expect(await ended).toBe("handshake_failed");
  expect(notes.join("\n")).toMatch(/^inference\/closed port 1: error forwarding port 1: .*ECONNREFUSED/);
  transport.close();
  events.close();
});

test.each<[string, Partial<PodTarget>, "events" | "replay", RegExp]>([
  ["gone", {}, "events", /^pod inference\/gone: pods "gone" not found$/],
  ["pending", {}, "events", /^pod inference\/pending: it is not running$/],
  [
    "misspelt",
    {},
    "events",
    /misspelt: model.aibrix.ai\/kv-events-port: "many" is not usable; expected an integer/,
  ],
  ["without-replay", {}, "replay", /by its annotations it has no replay socket$/],
  ["engine-0", { dpRank: 3 }, "events", /it has no DP rank 3; its annotations name 1$/],
  ["engine-0", { context: "there" }, "events", /no context "there" in the configuration; it has here$/],
  [
    "engine-0",
    { kubeconfig: "/nowhere/config" },
    "events",
    /pod engine-0: \/nowhere\/config: there is no such file$/,
  ],
])("pod %s with %j: %s cannot be, and a sentence says why", async (name, more, socket, message) => {
  await expect(PodForward.open(target(name, more), socket, () => undefined)).rejects.toThrow(message);
});

test("a token that is refused is said to be", async () => {
  const refused = PodForward.open(
    target("engine-0", { kubeconfig: configOf("bad") }),
    "events",
    () => undefined,
  );
  await expect(refused).rejects.toThrow(/^pod inference\/engine-0: /);
});
