/** The page about finding engines: each of its commands is run, in order, against a daemon that uses all three sources. */
import { spawnSync } from "node:child_process";
import { mkdtempSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";

import { NAMESPACE } from "@kvsync/observability/kvsync/namespace";
import { afterAll, beforeAll, describe, expect, test } from "vitest";

import { presetRule } from "../src/discovery/kubernetes/pod-rule.ts";
import { Cluster } from "./cluster.ts";
import { DaemonProcess } from "./daemon-process.ts";
import { until } from "./fleet.ts";
import { PageShell, pageCommands } from "./operator-page.ts";

const blocks = pageCommands("discovery.md");

test("the page's label is the one that is looked for", () => {
  expect(blocks.map(({ text }) => text).join("")).toContain(
    `-l ${presetRule("aibrix").enabledBy ?? ""}=true`,
  );
});

const hasCurl = spawnSync("curl", ["--version"]).status === 0;
describe.skipIf(!hasCurl)("the page's commands (need curl)", () => {
  const state = mkdtempSync(join(tmpdir(), "kvsync-discovery-page-"));
  let cluster: Cluster;
  let daemon: DaemonProcess;

  beforeAll(async () => {
    cluster = await Cluster.start();
    cluster.add("engine-0", "127.0.0.1", { annotations: { "model.aibrix.ai/kv-events-port": "19990" } });
    daemon = await DaemonProcess.start({
      engines: [{ id: "listed", model: "demo/model", endpoint: "tcp://127.0.0.1:19991" }],
      discovery: {
        state_directory: state,
        kubernetes: { enabled: true, kubeconfig: cluster.kubeconfig() },
      },
    });
    await until("the pod is found", async () => (await daemon.engines()).length === 2);
  });

  afterAll(async () => {
    await daemon.end("SIGKILL");
    await cluster.stop();
    rmSync(state, { recursive: true, force: true });
  });

  test("each works as it stands", async () => {
    const shell = new PageShell();
    const printed: string[] = [];
    try {
      for (const { mode, text } of blocks)
        if (mode?.run === true) printed.push((await shell.run(text, daemon.url)).stdout);
    } finally {
      shell.close();
    }
    const list = JSON.parse(printed[0] ?? "") as { engines: object[]; sources: object[] };
    expect(list.sources).toMatchObject(
      ["file", "http", "kubernetes"].map((source) => ({ source, state: "current", failure: null })),
    );
    expect(list.engines).toMatchObject([
      { id: "listed", source: "file", found: null },
      { id: "serving/engine-0", source: "kubernetes", found: { pod_ip: "127.0.0.1", lora_id: -1 } },
    ]);
    expect(printed[1]).toContain("1 engines are listed");
    expect(printed.at(-1)).toContain(`${NAMESPACE}_kv_discovery_pods{status="eligible"} 1`);
    expect((await daemon.engines()).map(({ id }) => id)).not.toContain("by-hand");
  });
});
