/**
 * A Kubernetes API server for pods, inference pools, endpoint slices and namespaces: list with pages, watch with versions, bookmarks and label
 * transitions. It fails in each way on request. The pods that it serves are the truth that a test
 * compares with.
 *
 * Behavior follows kubernetes.io/docs/reference/using-api/api-concepts. A selector turns a pod that
 * stops matching into DELETED and a pod that begins to match into ADDED. A version that is no
 * longer in the history is 410, as a status or as an ERROR event in the stream.
 *
 * Refusals follow kubernetes/kubernetes, staging/src/k8s.io:
 *
 *     404, 503         apiserver/pkg/util/notfoundhandler/not_found_handler.go          20cc31b2
 *     410 of a page    apiserver/pkg/storage/etcd3/errors.go                            48b9d888
 *     429, plain text  apiserver/pkg/server/filters/maxinflight.go                      04791b49
 *     500              apimachinery/pkg/api/errors/errors.go, NewInternalError
 *     401, 403, 410 of a watch: as clusters wrote them, in reports of garden, akka-management and airflow
 */
import { mkdtempSync, rmSync, writeFileSync } from "node:fs";
import { createServer, type IncomingMessage, type Server, type ServerResponse } from "node:http";
import { createServer as createTlsServer, Server as TlsServer } from "node:https";
import type { AddressInfo, Socket } from "node:net";
import { tmpdir } from "node:os";
import { join } from "node:path";

import { stringify } from "yaml";

import type { Pem } from "./certificates.ts";
import { selects } from "./selector.ts";

/** A pod, as far as anybody looks. */
export interface Pod {
  metadata: {
    name: string;
    namespace: string;
    uid: string;
    resourceVersion: string;
    deletionTimestamp?: string;
    labels: Record<string, string>;
    annotations: Record<string, string>;
  };
  spec?: object;
  status: {
    phase: string;
    podIP?: string;
    conditions: { type: string; status: string }[];
    containerStatuses: { name: string; containerID: string; restartCount: number }[];
  };
}

/** Any object, as far as the server itself looks. */
export interface ApiObject {
  metadata: {
    name: string;
    namespace?: string;
    resourceVersion: string;
    labels?: Record<string, string>;
  };
}

/** What is served, by the plural of its paths. */
const GROUPS = {
  pods: "/api/v1",
  namespaces: "/api/v1",
  inferencepools: "/apis/inference.networking.k8s.io/v1",
  endpointslices: "/apis/discovery.k8s.io/v1",
} as const;

/** One of them. */
export type Plural = keyof typeof GROUPS;

interface Change {
  readonly version: number;
  readonly plural: Plural;
  readonly before: ApiObject | null;
  readonly after: ApiObject | null;
}

interface Watcher {
  readonly response: ServerResponse;
  readonly plural: Plural;
  readonly matches: (object: ApiObject) => boolean;
  readonly bookmarks: boolean;
  /** Hears nothing any more, and does not know. */
  isDeaf: boolean;
  /** Second half of an event, on its way. */
  late: Buffer;
}

/** How a request is refused. */
export interface Refusal {
  readonly status: number;
  readonly retryAfterSeconds?: number;
  /** Begins to say why and never ends. */
  readonly isEndless?: boolean;
  /** A page in place of what an API server answers, as proxies send it. */
  readonly html?: string;
}

/** What differs from refusal to refusal in the Status objects that an API server writes. */
interface RefusalText {
  readonly reason: string;
  readonly message: string;
  readonly metadata?: object;
  readonly details?: object;
}

/** A user's rights end here; the name is that of the daemon in infra/kubernetes. */
const USER = "system:serviceaccount:serving:kvsync-daemon";
const CONTINUE_EXPIRED =
  "The provided continue parameter is too old to display a consistent list result. You can start a new list without the continue parameter, or use the continue token in this response to retrieve the remainder of the results. Continuing with the provided token results in an inconsistent list - objects that were created, modified, or deleted between the time the first chunk was returned and now may show up in the list.";

/** The limit on requests in flight answers in plain text. */
const TOO_MANY = "Too many requests, please try again later.\n";

const PREFIX = "model.aibrix.ai/";

/** An API server. Stop it. */
export class Cluster {
  readonly #server: Server;
  readonly #sockets = new Set<Socket>();
  readonly #folder = mkdtempSync(join(tmpdir(), "kvsync-cluster-"));
  readonly #scheme: "http" | "https";
  readonly #objects: Record<Plural, Map<string, ApiObject>> = {
    pods: new Map(),
    namespaces: new Map(),
    inferencepools: new Map(),
    endpointslices: new Map(),
  };
  readonly #pages = new Map<string, readonly ApiObject[]>();
  readonly #watchers = new Set<Watcher>();
  readonly #refusals: Refusal[] = [];
  #history: Change[] = [];
  #version = 1000;
  #oldest = 1000;
  #uid = 0;
  #port = 0;
  #bookmarks: NodeJS.Timeout | null = null;
  readonly counts = { list: 0, watch: 0, refused: 0 };
  /** When each request came, in milliseconds. */
  readonly requestTimes: number[] = [];
  /** 410 as an ERROR event instead of a status. */
  goneInStream = true;
  /** Nothing is answered any more; nothing is refused either. */
  isHanging = false;
  /** Callers need this token. */
  token: string | null = null;
  /** What stands before the API's own paths, as behind Rancher: `/k8s/clusters/c-1`. */
  base = "";
  /** Namespaces that no account may read, and plurals of what no account may. */
  readonly forbidden = new Set<string>();
  /** Every version is too old, the one of a moment ago too. */
  forgetsEverything = false;
  /** Watches are not ended in time, get no bookmarks, and hear of nothing. */
  makesDeafWatches = false;
  /** Watches get bookmarks and no event, as where nothing changes that they match. */
  sendsOnlyBookmarks = false;
  /** Lists come in pieces of this many bytes, with this pause between two. */
  trickle: { readonly bytes: number; readonly pauseMs: number } | null = null;

  private constructor(pem: Pem | null) {
    this.#scheme = pem === null ? "http" : "https";
    const answer = (request: IncomingMessage, response: ServerResponse): void => {
      this.#answer(request, response);
    };
    this.#server = pem === null ? createServer(answer) : createTlsServer(pem, answer);
    this.#server.on("connection", (socket: Socket) => {
      this.#sockets.add(socket);
      socket.on("close", () => this.#sockets.delete(socket));
    });
  }

  /** Starts one, over HTTPS if it is given a certificate. */
  static async start(pem: Pem | null = null): Promise<Cluster> {
    const cluster = new Cluster(pem);
    await cluster.up();
    cluster.#bookmarks = setInterval(() => {
      cluster.bookmark();
    }, 300);
    return cluster;
  }

  get url(): string {
    return `${this.#scheme}://127.0.0.1:${this.#port}`;
  }

  get openWatches(): number {
    return this.#watchers.size;
  }

  get openConnections(): number {
    return this.#sockets.size;
  }

  /** Takes up the port again. */
  async up(): Promise<void> {
    await new Promise<void>((resolve) => this.#server.listen(this.#port, "127.0.0.1", resolve));
    this.#port = (this.#server.address() as AddressInfo).port;
  }

  /** Refuses connections and breaks those there are. */
  async down(): Promise<void> {
    const closed = new Promise((resolve) => this.#server.close(resolve));
    this.drop();
    await closed;
  }

  async stop(): Promise<void> {
    if (this.#bookmarks !== null) clearInterval(this.#bookmarks);
    if (this.#server.listening) await this.down();
    rmSync(this.#folder, { recursive: true, force: true });
  }

  /** A file for callers: with a token file beside it when a token is asked for, with the authority's certificate over HTTPS. */
  kubeconfig(
    options: { readonly ca?: string; readonly token?: string; readonly namespace?: string } = {},
  ): string {
    const tokenFile = this.tokenFile;
    if (options.token !== undefined) writeFileSync(tokenFile, options.token);
    const cluster = {
      server: this.url,
      ...(options.ca === undefined
        ? { "insecure-skip-tls-verify": true }
        : { "certificate-authority-data": Buffer.from(options.ca).toString("base64") }),
    };
    const user =
      options.token === undefined ? {} : { "auth-provider": { name: "tokenFile", config: { tokenFile } } };
    const path = join(this.#folder, "kubeconfig");
    writeFileSync(
      path,
      stringify({
        apiVersion: "v1",
        kind: "Config",
        clusters: [{ name: "c", cluster }],
        users: [{ name: "u", user }],
        contexts: [
          { name: "x", context: { cluster: "c", user: "u", namespace: options.namespace ?? "serving" } },
        ],
        "current-context": "x",
      }),
    );
    return path;
  }

  /** A kubeconfig with these fields of its cluster and its user, in place of those that make it work. */
  kubeconfigWith(cluster: object, user: object = {}): string {
    const path = join(this.#folder, "kubeconfig");
    const fields = {
      apiVersion: "v1",
      kind: "Config",
      clusters: [{ name: "c", cluster: { server: `${this.url}${this.base}`, ...cluster } }],
      users: [{ name: "u", user }],
      contexts: [{ name: "x", context: { cluster: "c", user: "u", namespace: "serving" } }],
      "current-context": "x",
    };
    writeFileSync(path, stringify(fields));
    return path;
  }

  /** The three files of a pod's service account, and the environment that goes with them. */
  serviceAccount(ca: string, token: string): { folder: string; environment: Record<string, string> } {
    writeFileSync(join(this.#folder, "ca.crt"), ca);
    writeFileSync(join(this.#folder, "token"), token);
    writeFileSync(join(this.#folder, "namespace"), "serving\n");
    const environment = {
      KUBERNETES_SERVICE_HOST: "127.0.0.1",
      KUBERNETES_SERVICE_PORT: String(this.#port),
    };
    return { folder: this.#folder, environment };
  }

  get tokenFile(): string {
    return join(this.#folder, "token");
  }

  /** Every pod there is. */
  pods(): readonly Pod[] {
    return [...this.#objects.pods.values()] as Pod[];
  }

  /** Makes an object, or puts it in the place of the one of its name. */
  put(plural: Exclude<Plural, "pods">, object: object, name: string, namespace?: string): void {
    const { metadata, ...rest } = object as { metadata?: object };
    const place = namespace === undefined ? { name } : { name, namespace };
    const stamped = { ...rest, metadata: { ...metadata, ...place, resourceVersion: "" } };
    this.#change(plural, namespace === undefined ? name : `${namespace}/${name}`, stamped);
  }

  /** Deletes an object. */
  delete(plural: Plural, id: string): void {
    this.#change(plural, id, null);
  }

  /** Makes a running, ready pod that publishes. */
  add(
    name: string,
    podIP: string,
    more: {
      namespace?: string;
      labels?: Record<string, string>;
      annotations?: Record<string, string>;
    } = {},
  ): Pod {
    const namespace = more.namespace ?? "serving";
    this.#uid += 1;
    const pod: Pod = {
      metadata: {
        name,
        namespace,
        uid: `uid-${this.#uid}`,
        resourceVersion: "",
        labels: more.labels ?? { [`${PREFIX}kv-events-enabled`]: "true", [`${PREFIX}name`]: "test-model" },
        annotations: { ...more.annotations },
      },
      status: {
        phase: "Running",
        podIP,
        conditions: [{ type: "Ready", status: "True" }],
        containerStatuses: [{ name: "engine", containerID: `containerd://${this.#uid}`, restartCount: 0 }],
      },
    };
    this.#change("pods", `${namespace}/${name}`, pod);
    return pod;
  }

  /** Changes a pod in place. */
  edit(id: string, change: (pod: Pod) => void): void {
    const before = this.#objects.pods.get(id);
    if (before === undefined) return;
    const pod = structuredClone(before) as Pod;
    change(pod);
    this.#change("pods", id, pod);
  }

  /** The pod's container ends and another takes its place, at the same address. */
  restart(id: string): void {
    this.#uid += 1;
    this.edit(id, ({ status }) => {
      for (const container of status.containerStatuses) {
        container.containerID = `containerd://${this.#uid}`;
        container.restartCount += 1;
      }
    });
  }

  remove(id: string): void {
    this.#change("pods", id, null);
  }

  /** Forgets the history: whoever asks for what came before is told that it is gone. */
  compact(): void {
    this.#oldest = this.#version;
    this.#history = [];
  }

  /** The next requests are refused, one after the other. */
  refuse(...refusals: readonly Refusal[]): void {
    this.#refusals.push(...refusals);
  }

  /** Breaks every connection. */
  drop(): void {
    for (const socket of this.#sockets) socket.destroy();
  }

  /** Breaks every connection with a reset, as a balancer does that forgot it. */
  reset(): void {
    for (const socket of this.#sockets) socket.resetAndDestroy();
  }

  /** Gives new connections another certificate, and breaks those there are. */
  certify(pem: Pem): void {
    if (this.#server instanceof TlsServer) this.#server.setSecureContext(pem);
    this.drop();
  }

  /** Ends every watch in order. */
  endWatches(): void {
    for (const watcher of this.#watchers) {
      flush(watcher);
      watcher.response.end();
    }
    this.#watchers.clear();
  }

  /** Puts something into every watch. */
  inject(text: string): void {
    for (const watcher of this.#watchers) {
      flush(watcher);
      watcher.response.write(text);
    }
  }

  /** Tells every watch where it stands. */
  bookmark(): void {
    const object = { kind: "Pod", metadata: { resourceVersion: String(this.#version) } };
    for (const watcher of this.#watchers)
      if (watcher.bookmarks && !watcher.isDeaf) this.#write(watcher, { type: "BOOKMARK", object });
  }

  /** From now on watches that are open hear nothing. */
  deafen(): void {
    for (const watcher of this.#watchers) watcher.isDeaf = true;
  }

  /** All faults end. */
  heal(): void {
    this.#refusals.length = 0;
    this.isHanging = false;
    this.makesDeafWatches = false;
    this.sendsOnlyBookmarks = false;
    this.trickle = null;
  }

  #change(plural: Plural, id: string, after: ApiObject | null): void {
    const objects = this.#objects[plural];
    const before = objects.get(id) ?? null;
    if (before === null && after === null) return;
    this.#version += 1;
    const version = this.#version;
    const stamped = after ?? structuredClone(before);
    if (stamped !== null) stamped.metadata.resourceVersion = String(version);
    if (after === null) objects.delete(id);
    else objects.set(id, after);
    const change = { version, plural, before, after: after === null ? null : stamped };
    this.#history.push(change);
    for (const watcher of this.#watchers) if (!watcher.isDeaf) this.#tell(watcher, change);
  }

  #tell(watcher: Watcher, { version, plural, before, after }: Change): void {
    if (this.sendsOnlyBookmarks || watcher.plural !== plural) return;
    const was = before !== null && watcher.matches(before);
    const is = after !== null && watcher.matches(after);
    if (!was && !is) return;
    const type = is ? (was ? "MODIFIED" : "ADDED") : "DELETED";
    const object = structuredClone(is ? after : before);
    if (object !== null) object.metadata.resourceVersion = String(version);
    this.#write(watcher, { type, object });
  }

  /** In two pieces, cut at any byte and a moment apart: so does the network. */
  #write(watcher: Watcher, event: object): void {
    const bytes = Buffer.concat([watcher.late, Buffer.from(`${JSON.stringify(event)}\n`)]);
    const cut = this.#version % bytes.length;
    watcher.response.write(bytes.subarray(0, cut));
    watcher.late = bytes.subarray(cut);
    setImmediate(() => {
      flush(watcher);
    });
  }

  #answer(request: IncomingMessage, response: ServerResponse): void {
    this.requestTimes.push(performance.now());
    if (this.isHanging) return;
    const url = new URL(request.url ?? "", this.url);
    const refusal =
      this.token !== null && request.headers.authorization !== `Bearer ${this.token}`
        ? { status: 401 }
        : this.#refusals.shift();
    if (refusal !== undefined) {
      this.#refuse(response, refusal);
      return;
    }
    const isBehind = url.pathname.startsWith(`${this.base}/`);
    const asked = askedFor(url.pathname.slice(this.base.length));
    if (request.method !== "GET" || asked === null || !isBehind) {
      this.#refuse(response, { status: 404 });
      return;
    }
    const { plural, namespace } = asked;
    if (this.forbidden.has(namespace ?? "*") || this.forbidden.has(plural)) {
      this.#refuse(response, { status: 403 });
      return;
    }
    const selector = url.searchParams.get("labelSelector") ?? "";
    const matches = ({ metadata }: ApiObject): boolean =>
      (namespace === undefined || metadata.namespace === namespace) &&
      selects(selector, metadata.labels ?? {});
    if (url.searchParams.get("watch") === "true") this.#watch(url, response, plural, matches);
    else this.#list(url, response, plural, matches);
  }

  #refuse(response: ServerResponse, { status, retryAfterSeconds, isEndless = false, html }: Refusal): void {
    this.counts.refused += 1;
    if (retryAfterSeconds !== undefined) response.setHeader("retry-after", retryAfterSeconds);
    const [type, text] =
      html !== undefined
        ? ["text/html", html]
        : status === 429
          ? ["text/plain; charset=utf-8", TOO_MANY]
          : [
              "application/json",
              JSON.stringify(statusOf(status, refusalText(status, response.req.url ?? ""))),
            ];
    response.writeHead(status, { "content-type": type });
    if (isEndless) response.write("becau");
    else response.end(text);
  }

  #list(url: URL, response: ServerResponse, plural: Plural, matches: (object: ApiObject) => boolean): void {
    this.counts.list += 1;
    const limit = Number(url.searchParams.get("limit") ?? "0") || Infinity;
    const token = url.searchParams.get("continue");
    const known =
      token === null ? [...this.#objects[plural].values()].filter(matches) : this.#pages.get(token);
    if (known === undefined) {
      this.#refuse(response, { status: 410 });
      return;
    }
    if (token !== null) this.#pages.delete(token);
    const [items, rest] = [known.slice(0, limit), known.slice(limit)];
    const more = rest.length > 0 ? `page-${this.#version}-${rest.length}` : "";
    if (more !== "") this.#pages.set(more, rest);
    response.writeHead(200, { "content-type": "application/json" });
    const metadata = { resourceVersion: String(this.#version), continue: more };
    void this.#send(response, JSON.stringify({ kind: "List", apiVersion: "v1", metadata, items }));
  }

  async #send(response: ServerResponse, text: string): Promise<void> {
    for (let rest = Buffer.from(text); ; ) {
      const { trickle } = this;
      if (trickle === null || response.destroyed) {
        response.end(rest);
        return;
      }
      response.write(rest.subarray(0, trickle.bytes));
      rest = rest.subarray(trickle.bytes);
      await new Promise((resolve) => setTimeout(resolve, trickle.pauseMs));
    }
  }

  /** Forgets the pages of lists under way. */
  expirePages(): void {
    this.#pages.clear();
  }

  #watch(url: URL, response: ServerResponse, plural: Plural, matches: (object: ApiObject) => boolean): void {
    const from = Number(url.searchParams.get("resourceVersion"));
    const isGone = from < this.#oldest || this.forgetsEverything;
    if (isGone && !this.goneInStream) {
      this.#refuse(response, { status: 410 });
      return;
    }
    this.counts.watch += 1;
    response.writeHead(200, { "content-type": "application/json" });
    response.flushHeaders();
    if (isGone) {
      const object = statusOf(410, tooOld(from, this.#oldest));
      response.end(`${JSON.stringify({ type: "ERROR", object })}\n`);
      return;
    }
    const bookmarks = url.searchParams.get("allowWatchBookmarks") === "true";
    const watcher: Watcher = {
      response,
      plural,
      matches,
      bookmarks,
      isDeaf: this.makesDeafWatches,
      late: Buffer.alloc(0),
    };
    this.#watchers.add(watcher);
    const end = setTimeout(
      () => {
        if (watcher.isDeaf) return;
        flush(watcher);
        this.#watchers.delete(watcher);
        response.end();
      },
      Number(url.searchParams.get("timeoutSeconds")) * 1000,
    );
    response.on("close", () => {
      clearTimeout(end);
      this.#watchers.delete(watcher);
    });
    if (!watcher.isDeaf)
      for (const change of this.#history) if (change.version > from) this.#tell(watcher, change);
  }
}

/** A version that is no longer in the history, before a watch begins and in it. */
function tooOld(from: number, oldest: number): RefusalText {
  return { reason: "Expired", message: `too old resource version: ${from} (${oldest})` };
}

/** What an API server says with a code, to the request at an address. */
function refusalText(code: number, address: string): RefusalText {
  const url = new URL(address, "http://cluster");
  const asked = askedFor(url.pathname.slice(Math.max(0, url.pathname.search(/\/apis?\//))));
  const plural = asked?.plural ?? "pods";
  const [, group = ""] = GROUPS[plural].split("/apis/");
  const [groupName = ""] = group.split("/");
  switch (code) {
    case 401:
      return { reason: "Unauthorized", message: "Unauthorized" };
    case 403: {
      const verb = url.searchParams.get("watch") === "true" ? "watch" : "list";
      const where =
        asked?.namespace === undefined ? "at the cluster scope" : `in the namespace "${asked.namespace}"`;
      const noun = groupName === "" ? plural : `${plural}.${groupName}`;
      return {
        reason: "Forbidden",
        message: `${noun} is forbidden: User "${USER}" cannot ${verb} resource "${plural}" in API group "${groupName}" ${where}`,
        details: { ...(groupName === "" ? {} : { group: groupName }), kind: plural },
      };
    }
    case 404:
      return { reason: "NotFound", message: "the server could not find the requested resource" };
    case 410:
      return url.searchParams.get("watch") === "true"
        ? tooOld(Number(url.searchParams.get("resourceVersion")), Number.MAX_SAFE_INTEGER)
        : { reason: "Expired", message: CONTINUE_EXPIRED, metadata: { continue: "rest" } };
    case 500: {
      const message = "etcdserver: request timed out";
      return {
        reason: "InternalError",
        message: `Internal error occurred: ${message}`,
        details: { causes: [{ message }] },
      };
    }
    case 503:
      return {
        reason: "ServiceUnavailable",
        message:
          "the request has been made before all known HTTP paths have been installed, please try again",
        details: { retryAfterSeconds: 5 },
      };
    default:
      return { reason: "Unknown", message: `refused with ${code}` };
  }
}

/** A Status object. */
function statusOf(code: number, { reason, message, metadata = {}, details }: RefusalText): object {
  return {
    kind: "Status",
    apiVersion: "v1",
    metadata,
    status: "Failure",
    message,
    reason,
    ...(details === undefined ? {} : { details }),
    code,
  };
}

/** The kind and the namespace of a path. */
function askedFor(path: string): { readonly plural: Plural; readonly namespace: string | undefined } | null {
  for (const [plural, group] of Object.entries(GROUPS)) {
    const [, namespace, found] =
      new RegExp(`^${group}/(?:namespaces/([^/]+)/)?(${plural})$`).exec(path) ?? [];
    if (found !== undefined) return { plural: plural as Plural, namespace };
  }
  return null;
}

function flush(watcher: Watcher): void {
  if (watcher.late.length > 0 && !watcher.response.writableEnded) watcher.response.write(watcher.late);
  watcher.late = Buffer.alloc(0);
}

/** What should be followed, said naively: endpoint by engine id. */
export function eligibleEngines(pods: readonly Pod[]): Map<string, string> {
  const engines = new Map<string, string>();
  for (const { metadata, status } of pods) {
    const port = Number(metadata.annotations[`${PREFIX}kv-events-port`] ?? 5557);
    const isEligible =
      metadata.labels[`${PREFIX}kv-events-enabled`] === "true" &&
      metadata.deletionTimestamp === undefined &&
      status.phase === "Running" &&
      (metadata.labels[`${PREFIX}name`] ?? metadata.annotations[`${PREFIX}name`]) !== undefined &&
      port >= 1 &&
      port <= 65_535;
    if (isEligible && status.podIP !== undefined)
      engines.set(`${metadata.namespace}/${metadata.name}`, `tcp://${status.podIP}:${port}`);
  }
  return engines;
}
