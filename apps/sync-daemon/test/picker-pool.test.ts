/** The picker's pool against an API server that changes and fails. Numbers in titles are those of pool-source.ts. */
import { expect, test } from "vitest";

import { credentialReader } from "../src/discovery/kubernetes/credentials.ts";
import { poolsIn } from "../src/discovery/kubernetes/inference-pool.ts";
import type { PoolEngine, PoolStanding } from "../src/picker/endpoint-fleet.ts";
import type { KnownEngine } from "../src/picker/pool-members.ts";
import { PoolSource } from "../src/picker/pool-source.ts";
import type { Cluster } from "./cluster.ts";
import { cleanups, clusterOf, TIMES, wait } from "./pod-finder.ts";

const GROUP = "inference.networking.k8s.io";

/** A source that looks at a cluster, and all that it reports. */
function watchPool(cluster: Cluster, group = GROUP) {
  const engines = new Map<string, KnownEngine>();
  const news: { engines: readonly PoolEngine[]; standing: PoolStanding }[] = [];
  const told: string[] = [];
  const source = new PoolSource(
    {
      name: "chat",
      namespace: null,
      group,
      credentials: credentialReader(cluster.kubeconfig()),
      times: TIMES,
    },
    {
      engineOf: (id) => engines.get(id) ?? null,
      listener: {
        changed: (members, standing) => news.push({ engines: members, standing }),
        stale: (message) => told.push(`stale: ${message}`),
        current: () => told.push("current"),
        unusable: (message) => told.push(message),
      },
    },
  );
  source.start();
  cleanups.push(() => source.stop());
  const addresses = () => news.at(-1)?.engines.flatMap(({ http }) => http);
  return { source, engines, news, told, addresses, standing: () => news.at(-1)?.standing };
}

function putPool(cluster: Cluster, labels: Record<string, string>, ...ports: readonly number[]): void {
  const targetPorts = ports.map((number) => ({ number }));
  cluster.put(
    "inferencepools",
    { spec: { selector: { matchLabels: labels }, targetPorts } },
    "chat",
    "serving",
  );
}

const chat = (address: string, more = {}) => [address, { labels: { app: "chat" }, ...more }] as const;

test("O1: endpoints are the pods of the pool, once both were listed, and follow pods and pool", async () => {
  const cluster = await clusterOf();
  const pool = watchPool(cluster);
  cluster.add("other", "10.0.0.9", { labels: { app: "other" } });
  cluster.add("a", ...chat("10.0.0.1"));
  await wait(() => {
    expect(pool.told[0]).toContain("stale: no InferencePool serving/chat");
  });
  expect(pool.news).toEqual([]);
  putPool(cluster, { app: "chat" }, 8000);
  await wait(() => {
    expect(pool.addresses()).toEqual(["10.0.0.1:8000"]);
  });
  expect(pool.told.slice(1)).toEqual(["current"]);
  cluster.add("b", ...chat("10.0.0.2"));
  cluster.edit("serving/a", ({ status }) => (status.conditions = [{ type: "Ready", status: "False" }]));
  await wait(() => {
    expect([pool.addresses(), pool.standing()]).toEqual([["10.0.0.2:8000"], { notReady: 1, isStale: false }]);
  });
  cluster.edit("serving/b", ({ metadata }) => (metadata.deletionTimestamp = "2026-01-01T00:00:00Z"));
  await wait(() => {
    expect(pool.addresses()).toEqual([]);
  });
  cluster.edit("serving/a", ({ status }) => (status.conditions = [{ type: "Ready", status: "True" }]));
  putPool(cluster, { app: "chat" }, 8000, 8001);
  await wait(() => {
    expect(pool.addresses()).toEqual(["10.0.0.1:8000", "10.0.0.1:8001"]);
  });
});

test("a pod takes the model of the engine that publishes under its name, when it does", async () => {
  const cluster = await clusterOf();
  const pool = watchPool(cluster);
  putPool(cluster, { app: "chat" }, 8000);
  cluster.add("a", ...chat("10.0.0.1"));
  await wait(() => {
    expect(pool.news.at(-1)?.engines).toMatchObject([{ id: "serving/a", model: null }]);
  });
  pool.engines.set("serving/a", { model: "m", ranks: [{ dpRank: 0 }] });
  pool.source.enginesChanged();
  pool.source.enginesChanged();
  await wait(() => {
    expect(pool.news.at(-1)?.engines).toMatchObject([{ id: "serving/a", model: "m" }]);
  });
});

test("O2: a pool that is deleted, has no ports or cannot be read keeps its endpoints, as stale", async () => {
  const cluster = await clusterOf();
  const pool = watchPool(cluster);
  putPool(cluster, { app: "chat" }, 8000);
  cluster.add("a", ...chat("10.0.0.1"));
  const current = () =>
    wait(() => {
      expect([pool.addresses(), pool.standing()?.isStale]).toEqual([["10.0.0.1:8000"], false]);
    });
  const stale = (why: string) =>
    wait(() => {
      expect([pool.addresses(), pool.standing()?.isStale]).toEqual([["10.0.0.1:8000"], true]);
      expect(pool.told.at(-1)).toContain(why);
    });
  await current();
  cluster.delete("inferencepools", "serving/chat");
  await stale("no InferencePool serving/chat");
  putPool(cluster, { app: "chat" }, 8000);
  await current();
  putPool(cluster, { app: "chat" }, 0);
  await stale("no usable targetPorts");
  putPool(cluster, { app: "chat" }, 8000);
  await current();
  await cluster.down();
  await stale("cannot be reached");
  await cluster.up();
  await current();
  cluster.forbidden.add("inferencepools");
  cluster.endWatches();
  await stale("403");
  cluster.forbidden.clear();
  await current();
  expect(pool.told.filter((one) => one === "current")).toHaveLength(5);
});

test("O3, O4: another selector keeps the endpoints until its pods are listed, and nothing is reported twice", async () => {
  const cluster = await clusterOf();
  const pool = watchPool(cluster);
  cluster.add("a", ...chat("10.0.0.1"));
  cluster.add("b", "10.0.0.2", { labels: { app: "next" } });
  putPool(cluster, { app: "chat" }, 8000);
  await wait(() => {
    expect(pool.addresses()).toEqual(["10.0.0.1:8000"]);
  });
  putPool(cluster, { app: "next" }, 8000);
  await wait(() => {
    expect(pool.addresses()).toEqual(["10.0.0.2:8000"]);
  });
  cluster.edit("serving/b", ({ metadata }) => (metadata.labels["x"] = "y"));
  cluster.add("c", "10.0.0.3", { labels: { app: "next" } });
  await wait(() => {
    expect(pool.addresses()).toEqual(["10.0.0.2:8000", "10.0.0.3:8000"]);
  });
  expect(pool.news.map(({ engines }) => engines.length)).not.toContain(0);
  const texts = pool.news.map((one) => JSON.stringify(one));
  expect(texts.filter((text, i) => text === texts[i - 1])).toEqual([]);
});

test("a pod's ports by annotation count, and one that cannot be used is told once", async () => {
  const cluster = await clusterOf();
  const pool = watchPool(cluster);
  putPool(cluster, { app: "chat" }, 8000);
  const annotations = (ports: string) => ({ annotations: { "model.aibrix.ai/http-ports": ports } });
  cluster.add("a", ...chat("10.0.0.1", annotations("30000,30001")));
  cluster.add("b", ...chat("10.0.0.2", annotations("many")));
  await wait(() => {
    expect(pool.addresses()).toEqual(["10.0.0.1:30000", "10.0.0.1:30001", "10.0.0.2:8000"]);
  });
  cluster.add("c", ...chat("10.0.0.3"));
  await wait(() => {
    expect(pool.addresses()).toContain("10.0.0.3:8000");
  });
  expect(pool.told.filter((one) => one.includes("serving/b"))).toEqual([
    "pod serving/b: model.aibrix.ai/http-ports is not usable; expected ports from 1 to 65535, with commas between. The pool's ports count",
  ]);
});

test("pools of the group before v1 are read too", () => {
  const { group, read } = poolsIn("inference.networking.x-k8s.io");
  expect(group).toBe("/apis/inference.networking.x-k8s.io/v1alpha2");
  const metadata = { name: "chat", namespace: "serving", resourceVersion: "1" };
  expect(read({ metadata, spec: { selector: { app: "chat" }, targetPortNumber: 8000 } })).toMatchObject({
    selector: "app=chat",
    ports: [8000],
  });
});
