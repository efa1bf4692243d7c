/**
 * A pod's port as a local address, as `kubectl port-forward` gives it: with the same configuration, the same rights, and no program next to this one.
 *
 *   ZeroMQ ──tcp──▶ 127.0.0.1:free ──WebSocket, channel 0──▶ API server ──▶ pod's port
 *                                  ◀─channel 1: why it cannot be─┘
 *
 * One WebSocket per connection. Each ends with the other, so that a client detects when the pod
 * goes away. The official client is loaded only when a pod is asked for: it costs half a second.
 *
 * Source: kubernetes/client-node (PortForward), subprotocol v4.channel.k8s.io.
 */

import { createServer, type AddressInfo, type Server, type Socket } from "node:net";
import { Writable } from "node:stream";

import type { KubeConfig } from "@kubernetes/client-node";

import { z } from "zod";

import { completed, readPod } from "../discovery/kubernetes/pod-reading.ts";
import { presetRule } from "../discovery/kubernetes/pod-rule.ts";
import type { Engine } from "../engine/engine-entry.ts";
import type { PresetName } from "../settings/kubernetes-settings.ts";
import { whyUnreadable } from "../settings/unreadable-file.ts";
import { ToolError } from "./tool-error.ts";

/** Which pod, and whose configuration. */
export interface PodTarget {
  readonly name: string;
  /** Null for the context's own, or `default`. */
  readonly namespace: string | null;
  /** The project whose pod it is: it decides the ports that the pod does not name. */
  readonly preset: PresetName;
  /** DP rank in the pod. */
  readonly dpRank: number;
  /** Path; null for $KUBECONFIG, ~/.kube/config or the service account, as kubectl has it. */
  readonly kubeconfig: string | null;
  /** Null for the current one. */
  readonly context: string | null;
}

/** Which of an engine's sockets. */
export type PodSocket = "events" | "replay";

/** What is used of a WebSocket. */
type WebSocketEnd = { close: () => void; onclose: (() => void) | null } | null;

/** A local address that leads to a pod. Close it. */
export class PodForward {
  readonly #server: Server;
  readonly #sockets = new Set<Socket>();
  /** Where to connect: tcp on loopback. */
  readonly endpoint: string;

  private constructor(server: Server, sockets: Set<Socket>) {
    this.#server = server;
    this.#sockets = sockets;
    this.endpoint = `tcp://127.0.0.1:${(server.address() as AddressInfo).port}`;
  }

  /**
   * Finds the pod and listens for connections to it.
   *
   * @param target - which pod.
   * @param socket - its events or its replay.
   * @param note - hears why a connection could not be.
   * @returns the address.
   * @throws ToolError pod_unusable, when the configuration, the pod or its labels are not what they should be.
   */
  static async open(target: PodTarget, socket: PodSocket, note: (text: string) => void): Promise<PodForward> {
    const { KubeConfig, CoreV1Api, PortForward } = await import("@kubernetes/client-node");
    const config = new KubeConfig();
    const namespace = loadConfig(config, target);
    const fail = (why: string, cause?: unknown): ToolError => podError(target.name, namespace, why, cause);
    const pod: unknown = await config
      .makeApiClient(CoreV1Api)
      .readNamespacedPod({ name: target.name, namespace })
      .catch((error: unknown) => {
        throw fail(apiReason(error), error);
      });
    const port = portOf(engineOf(pod, target.preset, fail), target.dpRank, socket, fail);
    const sockets = new Set<Socket>();
    const server = createServer((connection) => {
      sockets.add(connection);
      connection.on("close", () => sockets.delete(connection));
      connection.on("error", () => connection.destroy());
      const refused = new Writable({
        write: (chunk: Buffer, _encoding, done) => {
          // Its head alone is no error.
          if (chunk.length > 0) {
            note(`${namespace}/${target.name} port ${port}: ${chunk.toString("utf8").trim()}`);
            connection.destroy();
          }
          done();
        },
      });
      new PortForward(config)
        .portForward(namespace, target.name, [port], connection, refused, connection)
        .then(
          (forward: unknown) => {
            // The client's types speak of a package that has none.
            const webSocket = (
              typeof forward === "function" ? (forward as () => unknown)() : forward
            ) as WebSocketEnd;
            connection.on("close", () => {
              webSocket?.close();
            });
            if (webSocket !== null) webSocket.onclose = () => void connection.destroy();
          },
          (error: unknown) => {
            note(`${namespace}/${target.name} port ${port}: ${apiReason(error)}`);
            connection.destroy();
          },
        );
    });
    await new Promise<void>((resolve) => server.listen(0, "127.0.0.1", resolve));
    return new PodForward(server, sockets);
  }

  /** Ends every connection and gives up the address. */
  close(): void {
    this.#server.close();
    for (const socket of this.#sockets) socket.destroy();
  }
}

/** @returns the namespace meant. */
function loadConfig(config: KubeConfig, { kubeconfig, context, namespace, name }: PodTarget): string {
  try {
    if (kubeconfig === null) config.loadFromDefault();
    else config.loadFromFile(kubeconfig);
    if (context !== null) config.setCurrentContext(context);
  } catch (error) {
    const why = `${kubeconfig ?? "kubectl's configuration"}: ${whyUnreadable(error, kubeconfig ?? "")}`;
    throw podError(name, namespace ?? "", why, error);
  }
  const unfound = useCluster(config, kubeconfig);
  if (unfound !== null) throw podError(name, namespace ?? "", unfound);
  const current = config.getContextObject(config.getCurrentContext());
  if (current === null || config.getCurrentCluster() === null) {
    const known = config.getContexts().map((one) => one.name);
    const why = `no context ${JSON.stringify(config.getCurrentContext())} in the configuration; it has ${known.length === 0 ? "none" : known.join(", ")}`;
    throw podError(name, namespace ?? "", why);
  }
  return namespace ?? current.namespace ?? "default";
}

/** Lets the client use its cluster; why there is none. */
function useCluster(config: KubeConfig, kubeconfig: string | null): string | null {
  const cluster = config.getCurrentCluster();
  // What the client makes up where it finds no configuration at all.
  if (kubeconfig === null && cluster?.name === "cluster" && cluster.server === "http://localhost:8080")
    return "no configuration of kubectl was found (KUBECONFIG, ~/.kube/config, the service account of a pod); pass --kubeconfig";
  // Without TLS there is nothing to verify, and the client refuses plain HTTP otherwise (`kubectl proxy`).
  if (cluster?.server.startsWith("http://") === true)
    config.clusters = config.clusters.map((one) =>
      one.name === cluster.name ? { ...one, skipTLSVerify: true } : one,
    );
  return null;
}

function engineOf(pod: unknown, preset: PresetName, fail: (why: string) => ToolError): Engine {
  // As it came over the wire: the client has made Dates of its times.
  const reading = readPod(JSON.parse(JSON.stringify(pod)), presetRule(preset));
  if (reading === null) throw fail("the API server's answer is no pod");
  // Its ports are known before its model is.
  const found = reading.found.kind === "part" ? completed(reading.found, NAMELESS) : reading.found;
  if (found.kind === "engine") return found.engine;
  throw fail(found.kind === "waiting" ? WAITING[found.why] : found.message);
}

const NAMELESS = { name: "unknown", aliases: [], adapters: [] };
const WAITING = {
  disabled: "a label of its project disables it",
  not_running: "it is not running",
  no_address: "it has no address yet",
  terminating: "it is being deleted",
  not_ready: "it is not ready",
  not_publishing: "another pod of its worker publishes",
  group_incomplete: "a pod of its worker is missing",
  model_unknown: "its engine has not reported the model that it serves",
} as const;

function portOf(engine: Engine, dpRank: number, socket: PodSocket, fail: (why: string) => ToolError): number {
  const rank = engine.ranks[dpRank];
  if (rank === undefined)
    throw fail(`it has no DP rank ${dpRank}; its annotations name ${engine.ranks.length}`);
  const endpoint = socket === "events" ? rank.endpoint : rank.replayEndpoint;
  if (endpoint === null) throw fail("by its annotations it has no replay socket");
  return Number(endpoint.slice(endpoint.lastIndexOf(":") + 1));
}

function podError(name: string, namespace: string, why: string, cause?: unknown): ToolError {
  const pod = namespace === "" ? name : `${namespace}/${name}`;
  return new ToolError({ code: "pod_unusable", namespace, pod: name }, `pod ${pod}: ${why}`, { cause });
}

/** What a failed request says: the status's own message, or what happened to the connection. */
function apiReason(error: unknown): string {
  const facts: z.output<typeof failure> = failure.safeParse(error).data ?? { body: null };
  const status = statusBody.safeParse(parsed(facts.body)).data;
  if (status !== undefined) return status.message;
  if (typeof facts.code === "number") return `the API server answered ${facts.code}`;
  return facts.cause?.code ?? facts.code ?? facts.message ?? String(error);
}

/** Errors of the client, of node-fetch and of its WebSocket, as far as they say something. */
const failure = z.object({
  code: z.union([z.number(), z.string()]).optional(),
  body: z.unknown(),
  message: z.string().optional(),
  cause: z.object({ code: z.string() }).optional().catch(undefined),
});
const statusBody = z.object({ message: z.string().min(1) });

function parsed(body: unknown): unknown {
  if (typeof body !== "string") return body;
  try {
    return JSON.parse(body) as unknown;
  } catch {
    return null;
  }
}
