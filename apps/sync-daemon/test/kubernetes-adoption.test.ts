/**
 * Fleets that are followed as they are, through an API server. presets.test.ts tests what each rule makes of a pod.
 *
 * Numbers in titles: G of engine-groups.ts, M of served-models.ts, S of pod-search.ts.
 */
import { mkdtempSync, rmSync, writeFileSync } from "node:fs";
import { createServer, type IncomingMessage, type ServerResponse } from "node:http";
import type { AddressInfo } from "node:net";
import { tmpdir } from "node:os";
import { join } from "node:path";

import { describe, expect, test } from "vitest";

import { ruleOf } from "../src/discovery/kubernetes/pod-rule.ts";
import { kubernetesSection } from "../src/settings/kubernetes-settings.ts";
import type { Cluster } from "./cluster.ts";
import { cleanups, clusterOf, find, idsOf, settled, wait } from "./pod-finder.ts";

const rule = (settings: object) => ruleOf(kubernetesSection.parse(settings));
const waitingOf = async (finder: ReturnType<typeof find>, reason: string): Promise<number> =>
  Number(
    new RegExp(`waiting_pods\\{reason="${reason}"\\} (\\d+)`).exec(await finder.scrape())?.[1] ?? Number.NaN,
  );
const readiness = (cluster: Cluster, id: string, status: "True" | "False"): void => {
  cluster.edit(id, (pod) => (pod.status.conditions = [{ type: "Ready", status }]));
};

describe("only_ready", () => {
  test("a pod is followed while it is ready, and each move is one change", async () => {
    const cluster = await clusterOf();
    cluster.add("a", "10.0.0.1");
    cluster.add("loading", "10.0.0.2");
    readiness(cluster, "serving/loading", "False");
    const finder = find(cluster.kubeconfig(), { rule: rule({ only_ready: true }) });
    await wait(() => {
      expect(idsOf(finder)).toEqual(["serving/a"]);
    });
    expect(await waitingOf(finder, "not_ready")).toBe(1);
    for (const [status, ids] of [
      ["True", ["serving/a", "serving/loading"]],
      ["False", ["serving/a"]],
      ["True", ["serving/a", "serving/loading"]],
    ] as const) {
      readiness(cluster, "serving/loading", status);
      await wait(() => {
        expect(idsOf(finder)).toEqual(ids);
      });
    }
    expect(await waitingOf(finder, "not_ready")).toBe(0);
    // `a` was never touched: once; `loading` became ready twice.
    expect(finder.follows).toHaveLength(3);
    expect(finder.redialled).toEqual([]);
  });

  test("without it a pod that loads is followed from its start, and dialled anew when it becomes ready", async () => {
    const cluster = await clusterOf();
    cluster.add("loading", "10.0.0.2");
    readiness(cluster, "serving/loading", "False");
    const finder = find(cluster.kubeconfig());
    await settled(cluster, finder);
    readiness(cluster, "serving/loading", "True");
    await wait(() => {
      expect(finder.redialled).toHaveLength(1);
    });
    expect(finder.follows).toHaveLength(1);
  });
});

/** An engine's HTTP API, on loopback. */
async function engineApi(answer: (request: IncomingMessage, response: ServerResponse) => void) {
  const asked: IncomingMessage[] = [];
  const server = createServer((request, response) => {
    asked.push(request);
    answer(request, response);
  });
  await new Promise<void>((resolve) => server.listen(0, "127.0.0.1", resolve));
  cleanups.push(
    () =>
      new Promise((resolve) => {
        server.closeAllConnections();
        server.close(() => {
          resolve();
        });
      }),
  );
  return { asked, port: (server.address() as AddressInfo).port };
}

const list = (...models: object[]): string => JSON.stringify({ object: "list", data: models });
const served = (port: number) => rule({ model_from: ["served"], http_port: port });

describe("models that only the engines' /v1/models has", () => {
  test("an engine that is ready is asked once; its further names and adapters are known, and an answer lasts (M2)", async () => {
    const api = await engineApi((_, response) =>
      response.end(
        list({ id: "org/model" }, { id: "alias", parent: null }, { id: "sql", parent: "org/model" }),
      ),
    );
    const cluster = await clusterOf();
    cluster.add("a", "127.0.0.1");
    readiness(cluster, "serving/a", "False");
    cluster.add("b", "127.0.0.2", { annotations: { "model.aibrix.ai/aliases": "other" } });
    const finder = find(cluster.kubeconfig(), { rule: served(api.port) });
    await wait(async () => {
      expect(await waitingOf(finder, "model_unknown")).toBe(2);
    });
    // Only 127.0.0.1 answers; the other one is asked again and again, and counted.
    readiness(cluster, "serving/a", "True");
    await wait(() => {
      expect(idsOf(finder)).toEqual(["serving/a"]);
    });
    expect(finder.registry.engine("serving/a")?.engine).toMatchObject({
      model: "org/model",
      aliases: ["alias"],
      adapters: ["sql"],
    });
    readiness(cluster, "serving/a", "False");
    cluster.add("c", "127.0.0.1", { annotations: { "model.aibrix.ai/kv-events-port": "5600" } });
    await wait(() => {
      expect(idsOf(finder)).toEqual(["serving/a", "serving/c"]);
    });
    expect(api.asked.map(({ url }) => url)).toEqual(["/v1/models", "/v1/models"]);
    await wait(async () => {
      expect(await finder.scrape()).toMatch(
        /failures_total\{source="kubernetes",reason="models_unanswered"\} [2-9]/,
      );
    });
    expect(finder.status.state).toBe("current");
    // Another process may serve another model.
    cluster.restart("serving/a");
    readiness(cluster, "serving/a", "True");
    await wait(() => {
      expect(api.asked).toHaveLength(3);
    });
  });

  test.each<[string, (response: ServerResponse) => void]>([
    ["an error", (response) => response.writeHead(503).end()],
    ["a redirect", (response) => response.writeHead(302, { location: "/elsewhere" }).end()],
    ["something else", (response) => response.end("<html>")],
    ["an empty list", (response) => response.end(list())],
    ["a name that is no text", (response) => response.end(list({ id: 7 }))],
    ["half of a surrogate pair", (response) => response.end('{"data":[{"id":"\\ud800"}]}')],
    ["a name without end", (response) => response.end(list({ id: "x".repeat(1000) }))],
    ["an answer without end", (response) => response.write(list({ id: "x".repeat(2 * 1024 * 1024) }))],
    ["half an answer", (response) => response.writeHead(200).write('{"data":[')],
  ])("an engine that answers with %s is asked again until it says what it serves", async (_, answer) => {
    let isWell = false;
    const api = await engineApi((_request, response) => {
      if (isWell) response.end(list({ id: "org/model" }));
      else answer(response);
    });
    const cluster = await clusterOf();
    cluster.add("a", "127.0.0.1");
    const finder = find(cluster.kubeconfig(), { rule: served(api.port) });
    await wait(async () => {
      expect(await finder.scrape()).toMatch(/reason="models_unanswered"\} [1-9]/);
    });
    expect(idsOf(finder)).toEqual([]);
    expect(finder.lines.find(({ event }) => event === "model_unanswered")?.message).toContain(
      "pod serving/a",
    );
    isWell = true;
    await wait(() => {
      expect(idsOf(finder)).toEqual(["serving/a"]);
    });
  });

  test("after a restart of the daemon a model that was known holds until the engine reports its own", async () => {
    let model = "org/model";
    let isAway = false;
    const api = await engineApi((_, response) => {
      if (isAway) response.writeHead(503).end();
      else response.end(list({ id: model }));
    });
    const folder = mkdtempSync(join(tmpdir(), "kvsync-models-"));
    cleanups.push(() => {
      rmSync(folder, { recursive: true, force: true });
      return Promise.resolve();
    });
    const cluster = await clusterOf();
    cluster.add("a", "127.0.0.1");
    const first = find(cluster.kubeconfig(), { rule: served(api.port) }, folder);
    await wait(() => {
      expect(idsOf(first)).toEqual(["serving/a"]);
    });
    await first.source.stop();
    isAway = true;
    const second = find(cluster.kubeconfig(), { rule: served(api.port) }, folder);
    await wait(() => {
      expect(second.events()).toContain("model_unanswered");
    });
    expect(second.registry.engine("serving/a")?.engine.model).toBe("org/model");
    expect(second.follows).toHaveLength(1);
    [isAway, model] = [false, "org/next"];
    await wait(() => {
      expect(second.registry.engine("serving/a")?.engine.model).toBe("org/next");
    });
    // From then on its own answer alone counts.
    isAway = true;
    cluster.restart("serving/a");
    await wait(() => {
      expect(idsOf(second)).toEqual([]);
    });
    expect(await waitingOf(second, "model_unknown")).toBe(1);
  });

  test("the token is read from its file at each request, sent whole, and never shown", async () => {
    const folder = mkdtempSync(join(tmpdir(), "kvsync-models-"));
    cleanups.push(() => {
      rmSync(folder, { recursive: true, force: true });
      return Promise.resolve();
    });
    const modelsTokenFile = join(folder, "token");
    writeFileSync(modelsTokenFile, "wrong-7f3a two\n");
    const api = await engineApi(({ headers }, response) => {
      if (headers.authorization === "Bearer right-7f3a") response.end(list({ id: "org/model" }));
      else response.writeHead(401).end();
    });
    const cluster = await clusterOf();
    cluster.add("a", "127.0.0.1");
    const finder = find(cluster.kubeconfig(), { rule: served(api.port), modelsTokenFile });
    await wait(() => {
      expect(finder.events()).toContain("model_unanswered");
    });
    expect(api.asked).toHaveLength(0);
    expect(JSON.stringify(finder.lines)).not.toContain("7f3a");
    writeFileSync(modelsTokenFile, "right-7f3a\n");
    await wait(() => {
      expect(idsOf(finder)).toEqual(["serving/a"]);
    });
  });

  test("a fleet that starts at once is asked a few at a time, and pods that are gone are not asked (M1)", async () => {
    const open: ServerResponse[] = [];
    const api = await engineApi((_, response) => void open.push(response));
    const cluster = await clusterOf();
    for (let i = 0; i < 30; i++)
      cluster.add(`p${i}`, "127.0.0.1", {
        annotations: { "model.aibrix.ai/kv-events-port": String(6000 + 2 * i) },
      });
    const times = { requestMs: 5000, watchMs: 60_000, resyncMs: 600_000, pauseMsMin: 10, pauseMsMax: 80 };
    const finder = find(cluster.kubeconfig(), { rule: served(api.port), times });
    await wait(() => {
      expect(open).toHaveLength(8);
    });
    for (let i = 8; i < 30; i++) cluster.remove(`serving/p${i}`);
    await wait(async () => {
      expect(await finder.scrape()).toContain('discovery_pods{status="known"} 8');
    });
    for (const response of open) response.end(list({ id: "org/model" }));
    await wait(() => {
      expect(finder.found().size).toBe(8);
    });
    expect(api.asked).toHaveLength(8);
  });
});

const LABELS = { app: "vllm" };
const pool = (matchLabels: object, ports = 1): object => ({
  spec: {
    selector: { matchLabels },
    targetPorts: Array.from({ length: ports }, (_, i) => ({ number: 8000 + i })),
  },
});
const plainRule = rule({ enabled_by: "app", model_from: ["fixed:test-model"] });

describe("inference pools", () => {
  test("a pool's pods are engines without a label of ours, each with as many ranks as the pool has ports", async () => {
    const cluster = await clusterOf();
    cluster.add("in", "10.0.0.1", { labels: LABELS });
    cluster.add("out", "10.0.0.2", { labels: { app: "other" } });
    cluster.put("inferencepools", pool(LABELS, 2), "main", "serving");
    const finder = find(cluster.kubeconfig(), { rule: plainRule, pools: ["main"] });
    await wait(() => {
      expect(idsOf(finder)).toEqual(["serving/in"]);
    });
    expect(finder.registry.engine("serving/in")?.engine.ranks).toMatchObject([
      { endpoint: "tcp://10.0.0.1:5557" },
      { endpoint: "tcp://10.0.0.1:5558" },
    ]);
    await wait(() => {
      expect(finder.status.state).toBe("current");
    });
  });

  test("S2: a pool whose selector changes keeps its pods until those of the new one are listed", async () => {
    const cluster = await clusterOf();
    cluster.add("old", "10.0.0.1", { labels: { app: "vllm", track: "old" } });
    cluster.add("both", "10.0.0.2", { labels: { app: "vllm", track: "both" } });
    cluster.add("new", "10.0.0.3", { labels: { app: "next" } });
    cluster.edit("serving/both", ({ metadata }) => (metadata.labels["next"] = "yes"));
    cluster.edit("serving/new", ({ metadata }) => (metadata.labels["next"] = "yes"));
    cluster.put("inferencepools", pool(LABELS), "main", "serving");
    const finder = find(cluster.kubeconfig(), { rule: plainRule, pools: ["*"] });
    await wait(() => {
      expect(idsOf(finder)).toEqual(["serving/both", "serving/old"]);
      expect(cluster.openWatches).toBe(2);
    });
    const slot = finder.registry.engine("serving/both")?.ranks[0]?.rankSlot;
    cluster.forbidden.add("pods");
    cluster.put("inferencepools", pool({ next: "yes" }), "main", "serving");
    await wait(() => {
      expect(finder.status.failure).toMatchObject({ reason: "forbidden" });
    });
    expect(finder.status.failure?.message).toContain("pool serving/main: ");
    expect(idsOf(finder)).toEqual(["serving/both", "serving/old"]);
    cluster.forbidden.clear();
    await wait(() => {
      expect(idsOf(finder)).toEqual(["serving/both", "serving/new"]);
      expect(finder.status.state).toBe("current");
    });
    expect(finder.registry.engine("serving/both")?.ranks[0]?.rankSlot).toBe(slot);
    cluster.delete("inferencepools", "serving/main");
    await wait(() => {
      expect(idsOf(finder)).toEqual([]);
    });
  });

  test("S1: pools that may not be read, or whose version is too old, keep the pods, and the pods are followed on", async () => {
    const cluster = await clusterOf();
    cluster.add("a", "10.0.0.1", { labels: LABELS });
    cluster.put("inferencepools", pool(LABELS), "main", "serving");
    const finder = find(cluster.kubeconfig(), { rule: plainRule, pools: ["main"] });
    await wait(() => {
      expect(idsOf(finder)).toEqual(["serving/a"]);
      expect(cluster.openWatches).toBe(2);
    });
    cluster.forbidden.add("inferencepools");
    cluster.drop();
    await wait(() => {
      expect(finder.status.failure?.message).toMatch(/^1 of 2 watches: pools of serving: .* 403/);
    });
    cluster.add("b", "10.0.0.2", { labels: LABELS });
    await wait(() => {
      expect(idsOf(finder)).toEqual(["serving/a", "serving/b"]);
    });
    cluster.forbidden.clear();
    await wait(() => {
      expect(finder.status.state).toBe("current");
    });
    cluster.compact();
    cluster.drop();
    cluster.add("c", "10.0.0.3", { labels: LABELS });
    await wait(() => {
      expect(idsOf(finder)).toEqual(["serving/a", "serving/b", "serving/c"]);
    });
  });

  test("S3, S4: a pod of two pools is one engine; a pool that selects nothing and one that is not there are refused by name", async () => {
    const cluster = await clusterOf();
    cluster.add("a", "10.0.0.1", { labels: LABELS });
    cluster.put("inferencepools", pool(LABELS), "main", "serving");
    cluster.put("inferencepools", pool(LABELS), "second", "serving");
    cluster.put("inferencepools", pool({}), "empty", "serving");
    const finder = find(cluster.kubeconfig(), {
      rule: plainRule,
      pools: ["main", "second", "empty", "misspelt"],
    });
    await wait(() => {
      expect(idsOf(finder)).toEqual(["serving/a"]);
      expect([...finder.sources.refusals()]).toMatchObject([
        { id: "serving/empty", reason: "malformed", field: "spec.selector.matchLabels" },
        { id: "pools/misspelt", reason: "malformed", field: "discovery.kubernetes.pools" },
      ]);
    });
    cluster.delete("inferencepools", "serving/main");
    cluster.put("inferencepools", pool(LABELS), "misspelt", "serving");
    cluster.put("inferencepools", pool(LABELS), "empty", "serving");
    await wait(() => {
      expect([...finder.sources.refusals()].map(({ id }) => id)).toEqual(["pools/main"]);
    });
    expect(idsOf(finder)).toEqual(["serving/a"]);
    expect(finder.follows).toHaveLength(1);
  });
});

const slice = (service: string, endpoints: readonly unknown[], more: object = {}): object => ({
  metadata: { labels: { "kubernetes.io/service-name": service } },
  addressType: "IPv4",
  endpoints,
  ports: [
    { name: "kv-events", port: 6000 },
    { name: "kv-replay", port: 6100 },
  ],
  ...more,
});
const serviceRule = rule({ model_from: ["fixed:test-model"] });

describe("endpoints of Services", () => {
  test("endpoints with a pod and without one are engines, at the ports that the slice names", async () => {
    const cluster = await clusterOf();
    const endpoints = [
      {
        addresses: ["10.0.0.1"],
        targetRef: { kind: "Pod", name: "a", uid: "u1" },
        conditions: { ready: true },
      },
      { addresses: ["192.0.2.7", "192.0.2.8"] },
      { addresses: ["10.0.0.3"], targetRef: { kind: "VirtualMachine", name: "vm" }, conditions: {} },
      { addresses: [] },
      "garbage",
    ];
    cluster.put("endpointslices", slice("engines", endpoints), "engines-1", "serving");
    cluster.put("endpointslices", slice("other", [{ addresses: ["10.9.9.9"] }]), "other-1", "serving");
    const finder = find(cluster.kubeconfig(), { rule: serviceRule, services: ["engines"] });
    await wait(() => {
      expect(finder.found()).toEqual(
        new Map([
          ["serving/a", "tcp://10.0.0.1:6000"],
          ["serving/engines/192.0.2.7", "tcp://192.0.2.7:6000"],
          ["serving/engines/10.0.0.3", "tcp://10.0.0.3:6000"],
        ]),
      );
    });
    expect(finder.registry.engine("serving/a")?.engine.ranks).toMatchObject([
      { replayEndpoint: "tcp://10.0.0.1:6100" },
    ]);
    await wait(() => {
      expect(finder.status.state).toBe("current");
    });
    cluster.put("endpointslices", slice("engines", endpoints.slice(0, 1)), "engines-1", "serving");
    await wait(() => {
      expect(idsOf(finder)).toEqual(["serving/a"]);
    });
    cluster.delete("endpointslices", "serving/engines-1");
    await wait(() => {
      expect(idsOf(finder)).toEqual([]);
      expect([...finder.sources.refusals()]).toMatchObject([{ id: "services/engines", reason: "malformed" }]);
    });
  });

  test("an endpoint in two slices is one engine, by IPv4 where it has both; one that ends leaves at once", async () => {
    const cluster = await clusterOf();
    const pod = { kind: "Pod", name: "a", uid: "u1" };
    const four = [{ addresses: ["10.0.0.1"], targetRef: pod }];
    cluster.put(
      "endpointslices",
      slice("engines", [{ addresses: ["fd00::1"], targetRef: pod }], { addressType: "IPv6" }),
      "a-six",
      "serving",
    );
    cluster.put("endpointslices", slice("engines", four), "b-four", "serving");
    cluster.put("endpointslices", slice("engines", four), "c-moving", "serving");
    const finder = find(cluster.kubeconfig(), { rule: serviceRule, services: ["engines"] });
    await wait(() => {
      expect(finder.found()).toEqual(new Map([["serving/a", "tcp://10.0.0.1:6000"]]));
    });
    for (const name of ["b-four", "c-moving"]) cluster.delete("endpointslices", `serving/${name}`);
    await wait(() => {
      expect(finder.found()).toEqual(new Map([["serving/a", "tcp://[fd00::1]:6000"]]));
    });
    const ending = [
      { addresses: ["fd00::1"], targetRef: pod, conditions: { ready: false, terminating: true } },
    ];
    cluster.put("endpointslices", slice("engines", ending, { addressType: "IPv6" }), "a-six", "serving");
    await wait(() => {
      expect(idsOf(finder)).toEqual([]);
    });
    expect(await waitingOf(finder, "terminating")).toBe(1);
  });

  test("slices that may not be read are a state of the source, and other namespaces' are followed (S1)", async () => {
    const cluster = await clusterOf();
    cluster.put("endpointslices", slice("engines", [{ addresses: ["10.0.0.1"] }]), "s", "one");
    cluster.put("endpointslices", slice("engines", [{ addresses: ["10.0.0.2"] }]), "s", "two");
    cluster.forbidden.add("two");
    const finder = find(cluster.kubeconfig(), {
      rule: serviceRule,
      services: ["engines"],
      namespaces: ["one", "two"],
    });
    await wait(() => {
      expect(finder.status.failure?.message).toMatch(/^1 of 2 watches: services of two: .* 403/);
      expect(idsOf(finder)).toEqual(["one/engines/10.0.0.1"]);
    });
    cluster.forbidden.clear();
    await wait(() => {
      expect(finder.found().size).toBe(2);
      expect(finder.status.state).toBe("current");
    });
  });
});

describe("namespaces by label", () => {
  const label = (name: string, team: string, cluster: Cluster): void => {
    cluster.put("namespaces", { metadata: { labels: { team } } }, name);
  };

  test("a namespace counts while its label is right; others and their engines are untouched", async () => {
    const cluster = await clusterOf();
    for (const [i, name] of ["one", "two", "three"].entries()) {
      cluster.add("a", `10.0.0.${i}`, { namespace: name });
      label(name, name === "three" ? "web" : "ml", cluster);
    }
    const finder = find(cluster.kubeconfig(), { namespaceSelector: "team=ml" });
    await wait(() => {
      expect(idsOf(finder)).toEqual(["one/a", "two/a"]);
      expect(finder.status.state).toBe("current");
    });
    label("three", "ml", cluster);
    label("two", "web", cluster);
    await wait(() => {
      expect(idsOf(finder)).toEqual(["one/a", "three/a"]);
      expect(cluster.openWatches).toBe(3);
    });
    cluster.delete("namespaces", "one");
    await wait(() => {
      expect(idsOf(finder)).toEqual(["three/a"]);
    });
    expect(finder.follows.map(({ workerId }) => workerId)).toEqual(["one/a", "two/a", "three/a"]);
  });

  test("namespaces that may not be listed keep those that were, also over a restart, and are named (S1)", async () => {
    const cluster = await clusterOf();
    const folder = mkdtempSync(join(tmpdir(), "kvsync-namespaces-"));
    cleanups.push(() => {
      rmSync(folder, { recursive: true, force: true });
      return Promise.resolve();
    });
    cluster.add("a", "10.0.0.1", { namespace: "one" });
    label("one", "ml", cluster);
    const first = find(cluster.kubeconfig(), { namespaceSelector: "team=ml" }, folder);
    await wait(() => {
      expect(idsOf(first)).toEqual(["one/a"]);
    });
    await first.source.stop();
    cluster.forbidden.add("namespaces");
    const second = find(cluster.kubeconfig(), { namespaceSelector: "team=ml" }, folder);
    await wait(() => {
      expect(second.status.failure?.message).toContain("403");
    });
    expect(idsOf(second)).toEqual(["one/a"]);
    cluster.forbidden.clear();
    label("one", "web", cluster);
    await wait(() => {
      expect(idsOf(second)).toEqual([]);
      expect(second.status.state).toBe("current");
    });
  });

  test("S4: namespaces beyond the bound are refused by name", async () => {
    const cluster = await clusterOf();
    for (let i = 0; i < 130; i++) label(`n${String(i).padStart(3, "0")}`, "ml", cluster);
    const finder = find(cluster.kubeconfig(), { namespaceSelector: "team=ml" });
    await wait(() => {
      expect([...finder.sources.refusals()].map(({ id }) => id)).toEqual([
        "namespace/n128",
        "namespace/n129",
      ]);
      expect(cluster.openWatches).toBe(129);
    });
  });
});

const LWS = "leaderworkerset.sigs.k8s.io/";
const member = (group: string, index: string, size = "2") => ({
  labels: { app: "vllm", [`${LWS}group-key`]: group, [`${LWS}worker-index`]: index },
  annotations: { [`${LWS}size`]: size },
});
const groupRule = (more: object = {}) =>
  rule({
    enabled_by: "app",
    model_from: ["fixed:test-model"],
    dp_size: 2,
    replay_port: 5657,
    group: { label: `${LWS}group-key`, ...more },
  });

describe("workers over several pods", () => {
  test("G1: a group is one engine of its leader's name, with all ranks, once each of its pods is there", async () => {
    const cluster = await clusterOf();
    cluster.add("lws-0", "10.0.0.1", member("g0", "0"));
    cluster.add("alone", "10.0.0.9", { labels: LABELS });
    const finder = find(cluster.kubeconfig(), { rule: groupRule() });
    await wait(() => {
      expect(idsOf(finder)).toEqual(["serving/alone"]);
    });
    expect(await waitingOf(finder, "group_incomplete")).toBe(1);
    cluster.add("lws-0-1", "10.0.0.2", member("g0", "1"));
    await wait(() => {
      expect(idsOf(finder)).toEqual(["serving/alone", "serving/lws-0"]);
    });
    expect(finder.registry.engine("serving/lws-0")?.engine.ranks).toEqual([
      { dpRank: 0, endpoint: "tcp://10.0.0.1:5557", replayEndpoint: "tcp://10.0.0.1:5657" },
      { dpRank: 1, endpoint: "tcp://10.0.0.1:5558", replayEndpoint: "tcp://10.0.0.1:5658" },
      { dpRank: 2, endpoint: "tcp://10.0.0.2:5559", replayEndpoint: "tcp://10.0.0.2:5659" },
      { dpRank: 3, endpoint: "tcp://10.0.0.2:5560", replayEndpoint: "tcp://10.0.0.2:5660" },
    ]);
    expect(await finder.scrape()).toContain('discovery_pods{status="eligible"} 3');
  });

  test("a leader that is replaced takes its group out until it is there again, at its new address", async () => {
    const cluster = await clusterOf();
    cluster.add("lws-0", "10.0.0.1", member("g0", "0"));
    cluster.add("lws-0-1", "10.0.0.2", member("g0", "1"));
    cluster.add("lws-1", "10.0.1.1", member("g1", "0"));
    cluster.add("lws-1-1", "10.0.1.2", member("g1", "1"));
    const finder = find(cluster.kubeconfig(), { rule: groupRule({ rank_ports: "local" }) });
    await wait(() => {
      expect(idsOf(finder)).toEqual(["serving/lws-0", "serving/lws-1"]);
    });
    expect(finder.registry.engine("serving/lws-0")?.engine.ranks.map(({ endpoint }) => endpoint)).toEqual([
      "tcp://10.0.0.1:5557",
      "tcp://10.0.0.1:5558",
      "tcp://10.0.0.2:5557",
      "tcp://10.0.0.2:5558",
    ]);
    const slot = finder.registry.engine("serving/lws-1")?.ranks[0]?.rankSlot;
    cluster.remove("serving/lws-0");
    await wait(() => {
      expect(idsOf(finder)).toEqual(["serving/lws-1"]);
    });
    expect(await waitingOf(finder, "group_incomplete")).toBe(1);
    cluster.add("lws-0", "10.0.0.7", member("g0", "0"));
    await wait(() => {
      expect(finder.found().get("serving/lws-0")).toBe("tcp://10.0.0.7:5557");
    });
    expect(finder.registry.engine("serving/lws-1")?.ranks[0]?.rankSlot).toBe(slot);
  });

  test("where the first pod alone publishes, it is the engine, and the others wait", async () => {
    const cluster = await clusterOf();
    cluster.add("lws-0", "10.0.0.1", member("g0", "0"));
    cluster.add("lws-0-1", "10.0.0.2", member("g0", "1"));
    const finder = find(cluster.kubeconfig(), { rule: groupRule({ publishing: "first" }) });
    await wait(() => {
      expect(idsOf(finder)).toEqual(["serving/lws-0"]);
    });
    expect(finder.registry.engine("serving/lws-0")?.engine.ranks).toHaveLength(2);
    expect(await waitingOf(finder, "not_publishing")).toBe(1);
  });

  test("G2: a group with an index twice, and one whose pods have other ranks than its leader, is refused by its leader's name", async () => {
    const cluster = await clusterOf();
    cluster.add("twice-0", "10.0.0.1", member("g0", "0", "2"));
    cluster.add("twice-1", "10.0.0.2", member("g0", "1", "2"));
    cluster.add("twice-2", "10.0.0.3", member("g0", "1", "2"));
    const odd = member("g1", "1");
    cluster.add("odd-0", "10.0.1.1", member("g1", "0"));
    cluster.add("odd-1", "10.0.1.2", {
      ...odd,
      annotations: { ...odd.annotations, "model.aibrix.ai/kv-events-first-rank": "5" },
    });
    cluster.add("nowhere", "10.0.2.1", member("g2", "first"));
    const finder = find(cluster.kubeconfig(), { rule: groupRule() });
    await wait(() => {
      expect([...finder.sources.refusals()].map(({ id, field }) => [id, field]).sort()).toEqual([
        ["serving/nowhere", `${LWS}worker-index`],
        ["serving/odd-0", `${LWS}worker-index`],
        ["serving/twice-0", `${LWS}worker-index`],
      ]);
    });
    expect(idsOf(finder)).toEqual([]);
    cluster.remove("serving/twice-2");
    await wait(() => {
      expect(idsOf(finder)).toEqual(["serving/twice-0"]);
    });
  });
});
