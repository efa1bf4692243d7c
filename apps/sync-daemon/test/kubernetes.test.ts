/**
 * Discovery of pods through an API server that fails in every known way (api-server.ts). HTTP and TLS are real, and
 * pauses are short. A test waits for a result, within a bound, and never for time.
 *
 * The property at the end changes five hundred pods at random, with faults between the changes. Afterward it expects
 * exactly the right engines.
 *
 * Numbers in titles: D of discovery-status.ts, K of pod-source.ts, W of resource-watch.ts.
 */
import { copyFileSync, mkdtempSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";

import fc from "fast-check";
import { NAMESPACE } from "@kvsync/observability/kvsync/namespace";
import { describe, expect, test } from "vitest";

import { serviceAccount } from "../src/discovery/kubernetes/credentials.ts";
import { Authority } from "./certificates.ts";
import { Cluster } from "./cluster.ts";
import { cleanups, clusterOf, find, idsOf, settled, TIMES, wait } from "./pod-finder.ts";

const PREFIX = "model.aibrix.ai/";

/** Part of a token, a password or a key, which no message may repeat. */
const SECRET = "hush-7f3a";
const OTHER = await (async () => {
  const authority = await Authority.make();
  const [one, another] = [await authority.sign("127.0.0.1"), await authority.sign("127.0.0.1")];
  return { cert: one.cert, otherKey: another.key };
})();
const base64 = (text: string): string => Buffer.from(text).toString("base64");

describe("eligibility", () => {
  test("a pod is an engine once it runs, has an address and a model, and no longer when it is on its way out", async () => {
    const cluster = await clusterOf();
    const finder = find(cluster.kubeconfig());
    cluster.add("a", "10.0.0.1");
    await settled(cluster, finder);
    expect(idsOf(finder)).toEqual(["serving/a"]);
    const steps: ((pod: Parameters<Parameters<Cluster["edit"]>[1]>[0]) => void)[] = [
      ({ status }) => (status.phase = "Pending"),
      ({ status }) => (status.phase = "Running"),
      ({ status }) => delete status.podIP,
      ({ status }) => (status.podIP = "10.0.0.9"),
      ({ metadata }) => (metadata.labels[`${PREFIX}kv-events-enabled`] = "false"),
      ({ metadata }) => (metadata.labels[`${PREFIX}kv-events-enabled`] = "true"),
      ({ metadata }) => (metadata.deletionTimestamp = "2026-01-01T00:00:00Z"),
    ];
    for (const [i, step] of steps.entries()) {
      cluster.edit("serving/a", step);
      await settled(cluster, finder);
      expect(finder.found().size).toBe(i % 2);
    }
  });

  test("labels and annotations make the engine, and an annotation can hold a name that a label cannot", async () => {
    const cluster = await clusterOf();
    cluster.add("a", "10.0.0.1", {
      annotations: {
        [`${PREFIX}name`]: "meta-llama/Llama-3-8B",
        [`${PREFIX}kv-events-port`]: "6000",
        [`${PREFIX}kv-events-replay-port`]: "6100",
        [`${PREFIX}kv-events-dp-size`]: "2",
        [`${PREFIX}kv-events-block-size`]: "32",
      },
    });
    cluster.add("b", "fd00::7", { annotations: { [`${PREFIX}kv-events-replay-port`]: "none" } });
    cluster.edit("serving/b", ({ metadata }) => (metadata.labels[`${PREFIX}lora-id`] = "3"));
    const { registry, sources } = find(cluster.kubeconfig());
    await wait(() => {
      expect(registry.engineCount).toBe(2);
    });
    expect(registry.engine("serving/a")?.engine).toMatchObject({
      model: "meta-llama/Llama-3-8B",
      ranks: [
        { dpRank: 0, endpoint: "tcp://10.0.0.1:6000", replayEndpoint: "tcp://10.0.0.1:6100" },
        { dpRank: 1, endpoint: "tcp://10.0.0.1:6001", replayEndpoint: "tcp://10.0.0.1:6101" },
      ],
    });
    expect(sources.factsOf("serving/a")).toEqual({
      lora_id: -1,
      block_size: 32,
      pod_ip: "10.0.0.1",
      remarks: [],
    });
    expect(registry.engine("serving/b")?.engine).toMatchObject({
      model: "test-model",
      ranks: [{ endpoint: "tcp://[fd00::7]:5557", replayEndpoint: null }],
    });
    expect(sources.factsOf("serving/b")).toMatchObject({ lora_id: 3, block_size: null });
  });

  test("default ports of several ranks do not collide", async () => {
    const cluster = await clusterOf();
    cluster.add("two", "10.0.0.1", { annotations: { [`${PREFIX}kv-events-dp-size`]: "2" } });
    cluster.add("second-node", "10.0.0.2", { annotations: { [`${PREFIX}kv-events-first-rank`]: "1" } });
    const { registry } = find(cluster.kubeconfig());
    await wait(() => {
      expect(registry.engineCount).toBe(2);
    });
    const ranks = ["serving/two", "serving/second-node"].map((id) => registry.engine(id)?.engine.ranks);
    expect(ranks).toEqual([
      [
        { dpRank: 0, endpoint: "tcp://10.0.0.1:5557", replayEndpoint: "tcp://10.0.0.1:5657" },
        { dpRank: 1, endpoint: "tcp://10.0.0.1:5558", replayEndpoint: "tcp://10.0.0.1:5658" },
      ],
      [{ dpRank: 1, endpoint: "tcp://10.0.0.2:5558", replayEndpoint: "tcp://10.0.0.2:5658" }],
    ]);
  });

  test("pods of one engine on several nodes name global ranks, at ports that are counted up or listed", async () => {
    const cluster = await clusterOf();
    const annotate = (fields: Readonly<Record<string, string>>) => ({
      annotations: Object.fromEntries(Object.entries(fields).map(([name, value]) => [PREFIX + name, value])),
    });
    const counted = {
      "kv-events-first-rank": "8",
      "kv-events-dp-size": "2",
      "kv-events-replay-port": "6100",
    };
    cluster.add("counted", "10.0.0.1", annotate(counted));
    const listed = {
      "kv-events-first-rank": "10",
      "kv-events-ports": "7001, 7003",
      "kv-events-replay-ports": "7101,7103",
    };
    cluster.add("listed", "10.0.0.2", annotate(listed));
    const { registry } = find(cluster.kubeconfig());
    await wait(() => {
      expect(registry.engineCount).toBe(2);
    });
    expect(registry.engine("serving/counted")?.engine.ranks).toEqual([
      { dpRank: 8, endpoint: "tcp://10.0.0.1:5565", replayEndpoint: "tcp://10.0.0.1:6108" },
      { dpRank: 9, endpoint: "tcp://10.0.0.1:5566", replayEndpoint: "tcp://10.0.0.1:6109" },
    ]);
    expect(registry.engine("serving/listed")?.engine.ranks).toEqual([
      { dpRank: 10, endpoint: "tcp://10.0.0.2:7001", replayEndpoint: "tcp://10.0.0.2:7101" },
      { dpRank: 11, endpoint: "tcp://10.0.0.2:7003", replayEndpoint: "tcp://10.0.0.2:7103" },
    ]);
  });

  test("a pod says its engine's type and whether its last block is dropped", async () => {
    const cluster = await clusterOf();
    const fields = { "engine-type": "TensorRT-LLM", "drops-last-block": "true" };
    cluster.add("typed", "10.0.0.1", {
      annotations: Object.fromEntries(Object.entries(fields).map(([name, value]) => [PREFIX + name, value])),
    });
    const { registry } = find(cluster.kubeconfig());
    await wait(() => {
      expect(registry.engineCount).toBe(1);
    });
    expect(registry.engine("serving/typed")?.engine).toMatchObject({
      type: "tensorrt-llm",
      dropsLastBlock: true,
    });
  });

  test.each([
    ["engine-type", "tgi", "vLLM, SGLang or TensorRT-LLM"],
    ["kv-events-port", "http", '"http" is not usable; expected an integer from 1 to 65535'],
    ["kv-events-port", "0", '"0" is not usable; expected an integer from 1 to 65535'],
    ["kv-events-dp-size", "1e3", '"1e3" is not usable; expected an integer from 1 to 1024'],
    ["kv-events-dp-size", "101", "distinct sockets per DP rank"],
    ["kv-events-first-rank", "1024", '"1024" is not usable; expected an integer from 0 to 1023'],
    ["kv-events-ports", "5557,,5558", '"5557,,5558" is not usable; expected 1 to 1024 ports'],
    ["kv-events-ports", "5557,65536", '"5557,65536" is not usable; expected 1 to 1024 ports'],
    ["kv-events-replay-ports", "5657,5658", "1 endpoints, one per DP rank"],
  ])("a pod with %s %j is refused by name, and costs nothing else", async (field, value, message) => {
    const cluster = await clusterOf();
    cluster.add("good", "10.0.0.1");
    cluster.add("bad", "10.0.0.2", { annotations: { [PREFIX + field]: value } });
    const finder = find(cluster.kubeconfig());
    await wait(() => {
      expect(idsOf(finder)).toEqual(["serving/good"]);
    });
    const [refusal] = finder.sources.refusals();
    expect(refusal).toMatchObject({ source: "kubernetes", id: "serving/bad", reason: "malformed" });
    expect(refusal?.field).toMatch(/^model\.aibrix\.ai\/(kv-events|lora-id|engine-type)/);
    expect(refusal?.message).toContain(message);
    expect(await finder.scrape()).toContain(
      `${NAMESPACE}_kv_discovery_refusals_total{source="kubernetes",reason="malformed"} 1`,
    );
  });

  test("a label that is only shown takes no engine out: it is remarked on, once in the log", async () => {
    const cluster = await clusterOf();
    cluster.add("a", "10.0.0.1", {
      annotations: { [`${PREFIX}lora-id`]: "sql-adapter", [`${PREFIX}kv-events-block-size`]: "many" },
    });
    const finder = find(cluster.kubeconfig());
    await settled(cluster, finder);
    expect(idsOf(finder)).toEqual(["serving/a"]);
    const remark = (name: string): unknown => expect.stringContaining(`${PREFIX}${name}: `);
    expect(finder.sources.factsOf("serving/a")).toEqual({
      lora_id: null,
      block_size: null,
      pod_ip: "10.0.0.1",
      remarks: [remark("lora-id"), remark("kv-events-block-size")],
    });
    cluster.edit("serving/a", ({ status }) => (status.podIP = "10.0.0.2"));
    await settled(cluster, finder);
    const told = finder.lines.filter(({ event }) => event === "pod_label_unusable");
    expect(told).toMatchObject([{ level: "warn", facts: { labels: 2 } }]);
    expect(told[0]?.message).toContain('pod serving/a: model.aibrix.ai/lora-id: "sql-adapter" is not usable');
  });

  test.each(["True", "1", "yes"])(
    "a pod that says %j in place of true is not followed, and that is remarked on",
    async (value) => {
      const cluster = await clusterOf();
      cluster.add("a", "10.0.0.1");
      cluster.edit("serving/a", ({ metadata }) => (metadata.labels[`${PREFIX}kv-events-enabled`] = value));
      const finder = find(cluster.kubeconfig());
      await wait(() => {
        expect([...finder.sources.refusals()]).toMatchObject([
          { id: "serving/a", reason: "malformed", field: `${PREFIX}kv-events-enabled` },
        ]);
      });
      expect([...finder.sources.refusals()][0]?.message).toContain(
        `"${value}" does not enable it; expected "true"`,
      );
      expect(finder.found().size).toBe(0);
      cluster.edit("serving/a", ({ metadata }) => (metadata.labels[`${PREFIX}kv-events-enabled`] = "true"));
      await settled(cluster, finder);
      expect([...finder.sources.refusals()]).toEqual([]);
    },
  );

  test("a pod without a model's name is refused by name", async () => {
    const cluster = await clusterOf();
    cluster.add("nameless", "10.0.0.1");
    cluster.edit("serving/nameless", ({ metadata }) => {
      metadata.labels = { [`${PREFIX}kv-events-enabled`]: "true" };
    });
    const { sources } = find(cluster.kubeconfig());
    await wait(() => {
      expect([...sources.refusals()]).toMatchObject([{ field: "model.aibrix.ai/name", reason: "malformed" }]);
    });
  });

  test("namespaces are those of the settings, or the account's own; a selector narrows them", async () => {
    const cluster = await clusterOf();
    for (const [i, namespace] of ["serving", "other", "third"].entries())
      cluster.add("a", `10.0.0.${i}`, { namespace });
    cluster.edit("third/a", ({ metadata }) => (metadata.labels["tier"] = "gold"));
    const kubeconfig = cluster.kubeconfig();
    const finders = [
      [find(kubeconfig), ["serving/a"]],
      [find(kubeconfig, { namespaces: ["other", "third"] }), ["other/a", "third/a"]],
      [find(kubeconfig, { namespaces: ["*"] }), ["other/a", "serving/a", "third/a"]],
      [find(kubeconfig, { namespaces: ["*"], selector: "tier=gold" }), ["third/a"]],
    ] as const;
    for (const [finder, expected] of finders)
      await wait(() => {
        expect(idsOf(finder)).toEqual(expected);
      });
  });

  test("a container that starts anew at the same address is the same engine, dialled at once", async () => {
    const cluster = await clusterOf();
    cluster.add("a", "10.0.0.1");
    const finder = find(cluster.kubeconfig());
    await settled(cluster, finder);
    cluster.restart("serving/a");
    await wait(() => {
      expect(finder.redialled).toHaveLength(1);
    });
    expect(finder.follows).toHaveLength(1);
    cluster.edit("serving/a", ({ metadata }) => (metadata.annotations["unrelated"] = "change"));
    cluster.add("b", "10.0.0.2");
    await settled(cluster, finder);
    expect(finder.redialled).toHaveLength(1);
  });
});

describe("an API server that fails", () => {
  test.each([true, false])(
    "a version that is too old (as an event: %s) leads to a new list, and nothing is lost or kept too long (W1, W2)",
    async (inStream) => {
      const cluster = await clusterOf();
      cluster.goneInStream = inStream;
      cluster.add("gone", "10.0.0.1");
      cluster.add("stays", "10.0.0.2");
      const finder = find(cluster.kubeconfig());
      await settled(cluster, finder);
      const slot = finder.registry.engine("serving/stays")?.ranks[0]?.rankSlot;
      await cluster.down();
      cluster.remove("serving/gone");
      cluster.add("new", "10.0.0.3");
      cluster.compact();
      await cluster.up();
      await settled(cluster, finder);
      expect(idsOf(finder)).toEqual(["serving/new", "serving/stays"]);
      expect(finder.registry.engine("serving/stays")?.ranks[0]?.rankSlot).toBe(slot);
      expect(await finder.scrape()).toMatch(/failures_total\{source="kubernetes",reason="gone"\} [1-9]/);
    },
  );

  test("while it is away, what is known is followed on, and status, log, metrics and health say so until it is back (D1, D2, W1)", async () => {
    const cluster = await clusterOf();
    cluster.add("a", "10.0.0.1");
    const finder = find(cluster.kubeconfig());
    await settled(cluster, finder);
    expect(finder.status.state).toBe("current");
    await wait(() => {
      expect(cluster.openWatches).toBe(1);
    });
    await cluster.down();
    await wait(() => {
      expect(finder.status.state).toBe("stale");
    });
    expect(finder.status.failure).toMatchObject({ reason: "unreachable" });
    expect(finder.status.failure?.message).toContain("ECONNREFUSED");
    expect(idsOf(finder)).toEqual(["serving/a"]);
    await wait(async () => {
      expect(await finder.scrape()).toMatch(
        /failures_total\{source="kubernetes",reason="unreachable"\} [5-9]/,
      );
    });
    // Many attempts, one line.
    expect(finder.events().filter((event) => event === "discovery_failed")).toHaveLength(1);
    expect(finder.events()).not.toContain("discovery_recovered");
    await cluster.up();
    await wait(() => {
      expect(finder.status.state).toBe("current");
    });
    expect(finder.events()).toContain("discovery_recovered");
    cluster.add("b", "10.0.0.2");
    await settled(cluster, finder);
    expect(finder.follows).toHaveLength(2);
  });

  test("a token that ran out is read again at the refusal, and a refusal that stays is a failure that ends by itself", async () => {
    const authority = await Authority.make();
    const cluster = await clusterOf(await authority.sign("127.0.0.1"));
    cluster.token = "first";
    cluster.add("a", "10.0.0.1");
    const finder = find(cluster.kubeconfig({ ca: authority.cert, token: "first" }));
    await settled(cluster, finder);
    // A watch that is cut off while it is still being asked for would be a failure of its own.
    await wait(() => {
      expect(cluster.openWatches).toBe(1);
    });
    writeFileSync(cluster.tokenFile, "second");
    cluster.token = "second";
    cluster.drop();
    cluster.add("b", "10.0.0.2");
    await settled(cluster, finder);
    expect(finder.events()).not.toContain("discovery_failed");
    cluster.token = "third";
    cluster.drop();
    await wait(() => {
      expect(finder.status.failure).toMatchObject({ reason: "unauthorized" });
    });
    expect(idsOf(finder)).toEqual(["serving/a", "serving/b"]);
    writeFileSync(cluster.tokenFile, "third");
    await wait(() => {
      expect(finder.status.state).toBe("current");
    });
  });

  test("C3: in a pod three files are enough: a token that ends in a newline, one that is rotated, and the namespace", async () => {
    const authority = await Authority.make();
    const cluster = await clusterOf(await authority.sign("127.0.0.1"));
    cluster.token = "first";
    cluster.add("a", "10.0.0.1");
    cluster.add("b", "10.0.0.2", { namespace: "elsewhere" });
    const { folder, environment } = cluster.serviceAccount(authority.cert, "first\n");
    const finder = find(serviceAccount(folder, environment));
    await wait(() => {
      expect(idsOf(finder)).toEqual(["serving/a"]);
    });
    await wait(() => {
      expect(cluster.openWatches).toBe(1);
    });
    writeFileSync(join(folder, "token"), "second\n");
    cluster.token = "second";
    cluster.drop();
    cluster.add("c", "10.0.0.3");
    await wait(() => {
      expect(idsOf(finder)).toEqual(["serving/a", "serving/c"]);
    });
    expect(finder.events()).not.toContain("discovery_failed");
    // Half written, and then whole.
    for (const [content, found] of [
      ["", "is empty"],
      ["eyJ\0half", "characters that no header can carry"],
    ]) {
      writeFileSync(join(folder, "token"), content ?? "");
      cluster.drop();
      await wait(() => {
        expect(finder.status.failure?.message).toContain(found);
      });
      expect(finder.status.failure?.message).not.toContain("half");
      expect(idsOf(finder)).toEqual(["serving/a", "serving/c"]);
    }
    writeFileSync(join(folder, "token"), "second");
    await wait(() => {
      expect(finder.status.state).toBe("current");
    });
  });

  test.each<[string, string, (cluster: Cluster) => string]>([
    [
      "a server without a scheme",
      "cluster's server: expected an address",
      (cluster) => cluster.kubeconfigWith({ server: "10.0.0.1:6443" }),
    ],
    [
      "a server with a user",
      "without a user in it",
      (cluster) => cluster.kubeconfigWith({ server: `https://me:${SECRET}@10.0.0.1` }),
    ],
    [
      "a token that no header can carry",
      "its token has characters",
      (cluster) => cluster.kubeconfigWith({}, { token: `${SECRET}\nx` }),
    ],
    [
      "a key that is garbage",
      "certificates or key cannot be used",
      (cluster) =>
        cluster.kubeconfigWith(
          {},
          { "client-certificate-data": base64(OTHER.cert), "client-key-data": base64(SECRET) },
        ),
    ],
    [
      "a certificate of which the key was rotated alone",
      "a key that belongs to its certificate",
      (cluster) =>
        cluster.kubeconfigWith(
          {},
          { "client-certificate-data": base64(OTHER.cert), "client-key-data": base64(OTHER.otherKey) },
        ),
    ],
    [
      "a file of a key that is not there",
      "cannot be read",
      (cluster) =>
        cluster.kubeconfigWith({}, { "client-certificate": "/nowhere/cert", "client-key": "/nowhere/key" }),
    ],
    [
      "a plugin that prints something else",
      "its exec plugin",
      (cluster) =>
        cluster.kubeconfigWith(
          {},
          { exec: { apiVersion: "client.authentication.k8s.io/v1", command: "echo", args: [SECRET] } },
        ),
    ],
    [
      "broken YAML",
      "line 2, column",
      (cluster) => {
        const path = cluster.kubeconfigWith({});
        writeFileSync(path, `token: "${SECRET}\n  : [`);
        return path;
      },
    ],
    [
      "no clusters",
      "clusters: expected a list of clusters",
      (cluster) => {
        const path = cluster.kubeconfigWith({});
        writeFileSync(path, `current-context: x\ntoken: ${SECRET}\n`);
        return path;
      },
    ],
  ])(
    "C1, C2: %s is a state of the source that names what is wrong, repeats no secret, and ends when it is put right",
    async (_, message, broken) => {
      const cluster = await clusterOf();
      cluster.add("a", "10.0.0.1");
      const finder = find(broken(cluster));
      await wait(() => {
        expect(finder.status.failure).toMatchObject({ reason: "credentials" });
      });
      expect(finder.status.failure?.message).toContain(message);
      expect(JSON.stringify([finder.lines, finder.status.failure])).not.toContain(SECRET);
      cluster.kubeconfigWith({});
      await settled(cluster, finder);
      await wait(() => {
        expect(finder.status.state).toBe("current");
      });
    },
  );

  test("kubeconfigs that kubectl takes work: plain HTTP, a server behind a path, a token in a file beside it", async () => {
    const cluster = await clusterOf();
    cluster.base = "/k8s/clusters/c-1";
    cluster.token = "of-a-file";
    writeFileSync(cluster.tokenFile, "of-a-file\n");
    cluster.add("a", "10.0.0.1");
    const finder = find(cluster.kubeconfigWith({}, { tokenFile: "token" }));
    await settled(cluster, finder);
    writeFileSync(cluster.tokenFile, "rotated\n");
    cluster.token = "rotated";
    cluster.drop();
    cluster.add("b", "10.0.0.2");
    await settled(cluster, finder);
  });

  test("a certificate of somebody else is refused", async () => {
    const [authority, stranger] = [await Authority.make(), await Authority.make()];
    const cluster = await clusterOf(await stranger.sign("127.0.0.1"));
    const finder = find(cluster.kubeconfig({ ca: authority.cert }));
    await wait(() => {
      expect(finder.status.failure).toMatchObject({ reason: "unreachable" });
    });
    expect(finder.status.failure?.message).toMatch(/certificate/);
    expect(cluster.counts.list).toBe(0);
  });

  test("each refusal has its reason, and a server that asks for time gets it", async () => {
    const cluster = await clusterOf();
    cluster.add("a", "10.0.0.1");
    cluster.refuse(
      { status: 403 },
      { status: 500 },
      { status: 503 },
      { status: 404 },
      { status: 429, retryAfterSeconds: 1 },
    );
    const finder = find(cluster.kubeconfig());
    await settled(cluster, finder);
    const text = await finder.scrape();
    for (const [reason, count] of Object.entries({ forbidden: 1, server_error: 2, refused: 1, throttled: 1 }))
      expect(text).toContain(`failures_total{source="kubernetes",reason="${reason}"} ${count}`);
    const [before = 0, after = 0] = cluster.requestTimes.slice(4, 6);
    expect(after - before).toBeGreaterThan(990);
    expect(finder.lines.find(({ event }) => event === "discovery_failed")?.message).toContain(
      "answered 403: pods is forbidden: User",
    );
  });

  test.each([
    ["no JSON", "{]\n"],
    ["JSON that is no event", '{"hello":1}\n'],
    ["a bookmark without a version", '{"type":"BOOKMARK","object":{}}\n'],
    ["an error of the server", '{"type":"ERROR","object":{"code":500,"message":"etcd"}}\n'],
    ["half an event", '{"type":"ADDED","obj'],
  ])(
    "%s in a watch ends that watch, and the next one goes on where the last good event was",
    async (_name, text) => {
      const cluster = await clusterOf();
      cluster.add("a", "10.0.0.1");
      const finder = find(cluster.kubeconfig());
      await settled(cluster, finder);
      await wait(() => {
        expect(cluster.openWatches).toBe(1);
      });
      cluster.add("b", "10.0.0.2");
      cluster.inject(text);
      if (!text.endsWith("\n")) cluster.endWatches();
      cluster.add("c", "10.0.0.3");
      await settled(cluster, finder);
      expect(cluster.counts.list).toBe(1);
      expect(finder.events()).not.toContain("discovery_failed");
    },
  );

  test("an address that goes from one pod to another in one piece of the network is never two engines' (K2)", async () => {
    const cluster = await clusterOf();
    cluster.add("old", "10.0.0.1");
    const finder = find(cluster.kubeconfig());
    await settled(cluster, finder);
    await wait(() => {
      expect(cluster.openWatches).toBe(1);
    });
    const [old] = cluster.pods();
    const moved = structuredClone(old);
    if (old === undefined || moved === undefined) throw new Error("the cluster has no pod");
    moved.metadata.name = "new";
    const events = [
      { type: "ADDED", object: moved },
      { type: "DELETED", object: old },
    ];
    cluster.inject(events.map((event) => `${JSON.stringify(event)}\n`).join(""));
    await wait(() => {
      expect(idsOf(finder)).toEqual(["serving/new"]);
    });
    expect(finder.events()).not.toContain("engine_refused");
  });

  test("garbage at one version again and again leads to a new list", async () => {
    const cluster = await clusterOf();
    cluster.add("a", "10.0.0.1");
    const finder = find(cluster.kubeconfig());
    await settled(cluster, finder);
    const spoiling = setInterval(() => {
      cluster.inject("garbage\n");
    }, 5);
    await wait(() => {
      expect(cluster.counts.list).toBeGreaterThan(1);
      expect(finder.status.failure).toMatchObject({ reason: "malformed" });
    });
    clearInterval(spoiling);
    cluster.add("b", "10.0.0.2");
    await settled(cluster, finder);
  });

  test("an event that is no pod, or of a kind that is not known, costs itself alone", async () => {
    const cluster = await clusterOf();
    cluster.add("a", "10.0.0.1");
    const finder = find(cluster.kubeconfig());
    await settled(cluster, finder);
    await wait(() => {
      expect(cluster.openWatches).toBe(1);
    });
    cluster.inject('{"type":"ADDED","object":{"metadata":{}}}\n{"type":"SURPRISE","object":{}}\n');
    cluster.add("b", "10.0.0.2");
    await settled(cluster, finder);
    expect(cluster.counts.watch).toBe(1);
    expect(await finder.scrape()).toContain('failures_total{source="kubernetes",reason="malformed"} 2');
  });

  test("a server that accepts and says nothing is given up after a while, before headers and after (W4)", async () => {
    const cluster = await clusterOf();
    cluster.add("a", "10.0.0.1");
    cluster.isHanging = true;
    const finder = find(cluster.kubeconfig(), { times: { ...TIMES, requestMs: 100, watchMs: 200 } });
    await wait(() => {
      expect(finder.status.failure).toMatchObject({ reason: "timeout" });
    });
    cluster.heal();
    cluster.makesDeafWatches = true;
    await settled(cluster, finder);
    // A watch that is open, never ends, and hears nothing.
    await wait(() => {
      expect(cluster.openWatches).toBe(1);
    });
    cluster.makesDeafWatches = false;
    cluster.add("b", "10.0.0.2");
    await settled(cluster, finder);
    expect(cluster.counts.list).toBe(1);
    expect(cluster.openConnections).toBeLessThanOrEqual(2);
  });

  test("a list of many pages is one list, and one whose pages expire begins anew", async () => {
    const cluster = await clusterOf();
    for (let i = 0; i < 1200; i++) cluster.add(`p${i}`, `10.0.${i >> 8}.${i & 255}`);
    const finder = find(cluster.kubeconfig(), { times: { ...TIMES, requestMs: 5000 } });
    const expiring = setInterval(() => {
      if (cluster.counts.list > 0) {
        cluster.expirePages();
        clearInterval(expiring);
      }
    }, 1);
    await settled(cluster, finder);
    expect(finder.follows).toHaveLength(1200);
    expect(cluster.counts.list).toBeGreaterThanOrEqual(3);
  });

  test("a server that drops every watch at once is asked with growing pauses, not in a storm (W3)", async () => {
    const cluster = await clusterOf();
    cluster.add("a", "10.0.0.1");
    const finder = find(cluster.kubeconfig(), { times: { ...TIMES, pauseMsMin: 50, pauseMsMax: 400 } });
    await settled(cluster, finder);
    const dropping = setInterval(() => {
      if (cluster.openWatches > 0) cluster.drop();
    }, 1);
    const [began, before] = [performance.now(), cluster.requestTimes.length];
    await wait(() => {
      expect(cluster.requestTimes.length - before).toBeGreaterThanOrEqual(5);
    });
    clearInterval(dropping);
    // Pauses of at least 50, 100, 200, 400, 400 … ms.
    expect(performance.now() - began).toBeGreaterThan(700);
    expect(finder.status.failure).toMatchObject({
      reason: expect.stringMatching(/disconnected|unreachable/) as string,
    });
    cluster.add("b", "10.0.0.2");
    await settled(cluster, finder);
  });

  test("a server to which every version is too old is listed again with growing pauses, not in a storm (W3)", async () => {
    const cluster = await clusterOf();
    cluster.add("a", "10.0.0.1");
    cluster.forgetsEverything = true;
    const finder = find(cluster.kubeconfig(), { times: { ...TIMES, pauseMsMin: 20, pauseMsMax: 400 } });
    const began = performance.now();
    await wait(() => {
      expect(cluster.counts.list).toBe(6);
    });
    // Pauses of at least 0, 40, 80, 160, 320 ms.
    expect(performance.now() - began).toBeGreaterThan(500);
    cluster.forgetsEverything = false;
    cluster.add("b", "10.0.0.2");
    await settled(cluster, finder);
  });

  test("a refusal that never comes to its end is a refusal all the same", async () => {
    const cluster = await clusterOf();
    cluster.add("a", "10.0.0.1");
    const finder = find(cluster.kubeconfig(), { times: { ...TIMES, requestMs: 100 } });
    await settled(cluster, finder);
    await wait(() => {
      expect(cluster.openWatches).toBe(1);
    });
    cluster.refuse({ status: 503, isEndless: true });
    cluster.endWatches();
    cluster.add("b", "10.0.0.2");
    await settled(cluster, finder);
    expect(await finder.scrape()).toContain('failures_total{source="kubernetes",reason="server_error"} 1');
  });

  test("everything is listed again when resync is due, which puts right what no event told", async () => {
    const cluster = await clusterOf();
    cluster.add("a", "10.0.0.1");
    const finder = find(cluster.kubeconfig(), { times: { ...TIMES, watchMs: 400, resyncMs: 300 } });
    await settled(cluster, finder);
    await wait(() => {
      expect(cluster.openWatches).toBe(1);
    });
    cluster.deafen();
    cluster.add("b", "10.0.0.2");
    cluster.compact();
    await settled(cluster, finder);
    expect(cluster.counts.list).toBeGreaterThan(1);
    expect(await finder.scrape()).toMatch(/discovery_requests_total\{request="list"\} [2-9]/);
  });

  test("credentials that are not there are tried again (K3)", async () => {
    const cluster = await clusterOf();
    cluster.add("a", "10.0.0.1");
    const kubeconfig = cluster.kubeconfig();
    const finder = find(`${kubeconfig}.later`);
    await wait(() => {
      expect(finder.status.failure).toMatchObject({ reason: "credentials" });
    });
    expect(finder.status.failure?.message).toContain("ENOENT");
    copyFileSync(kubeconfig, `${kubeconfig}.later`);
    await settled(cluster, finder);
  });

  test("one namespace that fails makes the source stale, and the others are followed on", async () => {
    const cluster = await clusterOf();
    cluster.add("a", "10.0.0.1", { namespace: "one" });
    cluster.add("b", "10.0.0.2", { namespace: "two" });
    const finder = find(cluster.kubeconfig(), { namespaces: ["one", "two"] });
    await settled(cluster, finder);
    expect(finder.status.state).toBe("current");
    cluster.refuse(...Array.from({ length: 6 }, () => ({ status: 500 })));
    cluster.drop();
    await wait(() => {
      expect(finder.status.state).toBe("stale");
    });
    cluster.add("c", "10.0.0.3", { namespace: "two" });
    await settled(cluster, finder);
    await wait(() => {
      expect(finder.status.state).toBe("current");
    });
  });

  test("a namespace that may not be read withholds no other's engines at the start, and is named once (K1)", async () => {
    const cluster = await clusterOf();
    const folder = mkdtempSync(join(tmpdir(), "kvsync-pods-"));
    cleanups.push(() => {
      rmSync(folder, { recursive: true, force: true });
      return Promise.resolve();
    });
    cluster.add("a", "10.0.0.1", { namespace: "one" });
    cluster.add("b", "10.0.0.2", { namespace: "two" });
    const namespaces = ["one", "two", "three"];
    const first = find(cluster.kubeconfig(), { namespaces }, folder);
    await settled(cluster, first);
    await first.source.stop();
    cluster.forbidden.add("two").add("three");
    cluster.add("c", "10.0.0.3", { namespace: "one" });
    const second = find(cluster.kubeconfig(), { namespaces }, folder);
    // What was found in `two` before is followed on: nobody has said that it is gone.
    await wait(() => {
      expect(idsOf(second)).toEqual(["one/a", "one/c", "two/b"]);
      expect(second.status.failure?.message).toMatch(/^2 of 3 namespaces: two: .* 403.*; three: .* 403/);
    });
    await wait(() => {
      expect(cluster.counts.refused).toBeGreaterThan(8);
    });
    // Each namespace begins to fail once.
    expect(second.events().filter((event) => event === "discovery_failed").length).toBeLessThan(3);
    cluster.forbidden.clear();
    cluster.remove("two/b");
    await settled(cluster, second);
    await wait(() => {
      expect(second.status.state).toBe("current");
    });
  });

  test("what was found before a restart is followed while the server is away, and what it says when it is back holds (K1, K2)", async () => {
    const cluster = await clusterOf();
    const folder = mkdtempSync(join(tmpdir(), "kvsync-pods-"));
    cleanups.push(() => {
      rmSync(folder, { recursive: true, force: true });
      return Promise.resolve();
    });
    cluster.add("stays", "10.0.0.1");
    cluster.add("goes", "10.0.0.2");
    const first = find(cluster.kubeconfig(), {}, folder);
    await settled(cluster, first);
    await first.source.stop();
    await cluster.down();
    cluster.remove("serving/goes");
    const second = find(cluster.kubeconfig(), {}, folder);
    await wait(() => {
      expect(idsOf(second)).toEqual(["serving/goes", "serving/stays"]);
      expect(second.status.state).toBe("stale");
    });
    expect(second.status.lastSuccessMs).toBeNull();
    await cluster.up();
    await settled(cluster, second);
    expect(second.follows).toHaveLength(2);
    await second.source.stop();
    // A damaged file costs what was in it, and nothing else.
    writeFileSync(join(folder, "pods.json"), "{}");
    const third = find(cluster.kubeconfig(), {}, folder);
    await settled(cluster, third);
    expect(third.events()).toContain("pods_forgotten");
  });

  test("what was found and cannot be kept is reported", async () => {
    const cluster = await clusterOf();
    cluster.add("a", "10.0.0.1");
    const found = find(cluster.kubeconfig(), {}, "/dev/null/nowhere");
    await settled(cluster, found);
    await wait(() => {
      expect(found.events()).toContain("pods_not_kept");
    });
  });

  test("nothing is open after it has been stopped, whatever it was doing", async () => {
    const cluster = await clusterOf();
    cluster.add("a", "10.0.0.1");
    const [watching, hanging, pausing] = [
      find(cluster.kubeconfig()),
      find(cluster.kubeconfig()),
      find(cluster.kubeconfig()),
    ];
    await settled(cluster, watching);
    cluster.isHanging = true;
    cluster.endWatches();
    await wait(() => {
      expect(cluster.openConnections).toBeGreaterThan(0);
    });
    await Promise.all([watching, hanging, pausing].map(({ source }) => source.stop()));
    await wait(() => {
      expect(cluster.openConnections).toBe(0);
    });
  });
});

/** One step of churn. */
type Step = (cluster: Cluster, pick: number) => void | Promise<void>;

const POD_COUNT = 500;
const idOf = (pick: number): string => `serving/p${pick % POD_COUNT}`;
const address = (pick: number): string => `10.${(pick >> 16) & 255}.${(pick >> 8) & 255}.${pick & 255}`;
/** Addresses of their own: which of two pods at one address is followed depends on who is heard of first. */
let nextAddress = 1 << 20;

const CHURN: Readonly<Record<string, Step>> = {
  add: (cluster, pick) => void cluster.add(`p${pick % POD_COUNT}`, address(nextAddress++)),
  remove: (cluster, pick) => {
    cluster.remove(idOf(pick));
  },
  restart: (cluster, pick) => {
    cluster.restart(idOf(pick));
  },
  move: (cluster, pick) => {
    cluster.edit(idOf(pick), ({ status }) => (status.podIP = address(nextAddress++)));
  },
  disable: (cluster, pick) => {
    cluster.edit(idOf(pick), ({ metadata }) => (metadata.labels[`${PREFIX}kv-events-enabled`] = "false"));
  },
  enable: (cluster, pick) => {
    cluster.edit(idOf(pick), ({ metadata }) => (metadata.labels[`${PREFIX}kv-events-enabled`] = "true"));
  },
  suspend: (cluster, pick) => {
    cluster.edit(idOf(pick), ({ status }) => (status.phase = "Pending"));
  },
  misname: (cluster, pick) => {
    cluster.edit(idOf(pick), ({ metadata }) => (metadata.annotations[`${PREFIX}kv-events-port`] = "99999"));
  },
  touch: (cluster, pick) => {
    cluster.edit(idOf(pick), ({ metadata }) => (metadata.annotations["touched"] = "é\u2028漢"));
  },
};
const FAULTS: Readonly<Record<string, Step>> = {
  drop: (cluster) => {
    cluster.drop();
  },
  end: (cluster) => {
    cluster.endWatches();
  },
  garbage: (cluster) => {
    cluster.inject("\u0000garbage\n");
  },
  compact: (cluster) => {
    cluster.compact();
  },
  "compact and drop": (cluster) => {
    cluster.drop();
    cluster.compact();
  },
  deafen: (cluster) => {
    cluster.deafen();
  },
  refuse: (cluster, pick) => {
    cluster.refuse({ status: [500, 503, 429, 401, 403, 410][pick % 6] ?? 500 });
  },
  bookmark: (cluster) => {
    cluster.bookmark();
  },
  "down and up": async (cluster) => {
    await cluster.down();
    await cluster.up();
  },
  expire: (cluster) => {
    cluster.expirePages();
  },
};

const churnStep = fc.record({ name: fc.constantFrom(...Object.keys(CHURN)), pick: fc.nat(1_000_000) });
const round = fc.record({
  changes: fc.array(churnStep, { maxLength: 120 }),
  fault: fc.option(fc.record({ name: fc.constantFrom(...Object.keys(FAULTS)), pick: fc.nat(100) })),
  isPatient: fc.boolean(),
});

test("five hundred pods churned at random between faults end as exactly the right engines, each followed once (W2)", async () => {
  await fc.assert(
    fc.asyncProperty(
      fc.array(round, { minLength: 5, maxLength: 15 }),
      fc.boolean(),
      async (rounds, inStream) => {
        const cluster = await Cluster.start();
        cluster.goneInStream = inStream;
        for (let i = 0; i < POD_COUNT; i++) cluster.add(`p${i}`, address(nextAddress++));
        // Deaf watches are found by their time alone.
        const finder = find(cluster.kubeconfig(), {
          times: { ...TIMES, requestMs: 2000, watchMs: 500, resyncMs: 600_000 },
        });
        try {
          for (const { changes, fault, isPatient } of rounds) {
            for (const { name, pick } of changes) await CHURN[name]?.(cluster, pick);
            if (fault !== null) await FAULTS[fault.name]?.(cluster, fault.pick);
            // Between some steps the network gets a turn, so that events and faults meet in flight.
            if (isPatient) await new Promise((resolve) => setTimeout(resolve, 5));
          }
          cluster.heal();
          await settled(cluster, finder);
          const slots = [...finder.registry.engines()].flatMap(({ ranks }) =>
            ranks.map(({ rankSlot }) => rankSlot),
          );
          expect(new Set(slots).size).toBe(slots.length);
        } finally {
          await finder.source.stop();
          await cluster.stop();
        }
      },
    ),
    { numRuns: 25, interruptAfterTimeLimit: 40_000 },
  );
});
