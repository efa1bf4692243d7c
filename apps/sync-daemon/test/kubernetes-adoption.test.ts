/**
 * Fleets that are followed as they are, through an API server. presets.test.ts tests what each rule makes of a pod.
 *
 * Numbers in titles: M of served-models.ts.
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
