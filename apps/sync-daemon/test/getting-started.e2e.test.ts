/**
 * The README and the page that connects engines. Their configurations are usable without a change,
 * and their commands run against a daemon and an engine. Their ports and pods are what the daemon
 * reads.
 */
import { type ChildProcess, spawn, spawnSync } from "node:child_process";
import { once } from "node:events";
import { readFileSync } from "node:fs";
import { join } from "node:path";
import { fileURLToPath } from "node:url";

import { afterAll, beforeAll, describe, expect, test } from "vitest";
import { parse } from "yaml";

import { readPod } from "../src/discovery/kubernetes/pod-reading.ts";
import { presetRule } from "../src/discovery/kubernetes/pod-rule.ts";
import { engineEntry } from "../src/engine/engine-entry.ts";
import { DaemonProcess } from "./daemon-process.ts";
import { PAGES, PageShell, pageCommands } from "./operator-page.ts";

const README = "../../README.md";
const ENGINES = "../getting-started/engines.md";

/** The stand-in that the README names. */
const ENGINE_SIM = fileURLToPath(new URL("../../../packages/engine-sim/dist/main.js", import.meta.url));
const FREE_PORTS = ["--port", "0", "--replay-port", "0", "--http-port", "0"];

/** Blocks of YAML whose opening line ends with `mark`, parsed. */
function yamlBlocks(page: string, mark = ""): readonly unknown[] {
  const text = readFileSync(join(PAGES, page), "utf8");
  return [...text.matchAll(new RegExp(`^\`\`\`yaml${mark}\\n([\\s\\S]*?)^\`\`\``, "gm"))].map(
    ([, block = ""]) => parse(block) as unknown,
  );
}

/** Every value of `--kv-events-config` in a page or manifest. */
function eventConfigs(text: string): readonly Record<string, unknown>[] {
  return [...text.matchAll(/--kv-events-config[ =]'?(\{[^}]*\})/g)].map(
    ([, json = ""]) => JSON.parse(json) as Record<string, unknown>,
  );
}

const portOf = (endpoint: unknown): number => Number(/:(\d+)$/.exec(String(endpoint))?.[1]);

test("each configuration of an engine listens, has a replay socket, and leaves room for DP ranks", () => {
  const configs = [README, ENGINES].flatMap((page) => eventConfigs(readFileSync(join(PAGES, page), "utf8")));
  expect(configs.length).toBeGreaterThan(3);
  for (const { publisher, endpoint, replay_endpoint } of configs) {
    expect([publisher, endpoint]).toEqual(["zmq", expect.stringContaining("*")]);
    expect(portOf(replay_endpoint) - portOf(endpoint)).toBeGreaterThanOrEqual(100);
  }
});

test("the page's entries and its pod are read as engines on the ports that it names", () => {
  const [config] = yamlBlocks(ENGINES) as [{ engines: unknown[] }];
  expect(engineEntry.parse(config.engines[0]).ranks).toHaveLength(8);
  const [pod] = yamlBlocks(ENGINES, " pod") as [{ metadata: object; spec: object }];
  const found = readPod(
    {
      spec: pod.spec,
      metadata: { ...pod.metadata, resourceVersion: "1" },
      status: { phase: "Running", podIP: "10.0.0.7" },
    },
    presetRule("aibrix"),
  )?.found;
  expect(found).toMatchObject({
    kind: "engine",
    engine: {
      ranks: { length: 4, 3: { endpoint: "tcp://10.0.0.7:5560", replayEndpoint: "tcp://10.0.0.7:5660" } },
    },
  });
});

const hasCurl = spawnSync("curl", ["--version"]).status === 0;
describe.skipIf(!hasCurl)("commands (need curl)", () => {
  const shell = new PageShell();
  let engine: ChildProcess;
  let engineUrl: string;
  let daemon: DaemonProcess;

  beforeAll(async () => {
    engine = spawn(process.execPath, [ENGINE_SIM, "--model", "demo/model", ...FREE_PORTS]);
    const [line] = (await once(engine.stdout ?? engine, "data")) as [Buffer];
    const sockets = JSON.parse(String(line)) as Record<"endpoint" | "replayEndpoint" | "httpUrl", string>;
    engineUrl = sockets.httpUrl;
    const [config] = yamlBlocks(README) as [{ engines: [object]; sync: object }];
    const [entry] = config.engines;
    daemon = await DaemonProcess.start({
      ...config,
      engines: [{ ...entry, endpoint: sockets.endpoint, replay_endpoint: sockets.replayEndpoint }],
      sync: { ...config.sync, tokenizer_endpoint: engineUrl },
    });
  });

  afterAll(async () => {
    shell.close();
    await daemon.end();
    engine.kill();
  });

  test("README: the engine that was sent the prompt is found", async () => {
    const [ask = ""] = pageCommands(README)
      .filter(({ mode }) => mode?.run === true)
      .map(({ text }) => text.replaceAll("http://127.0.0.1:8000", engineUrl));
    // The engine publishes while it answers; the daemon may be asked before the event arrives.
    await expect
      .poll(async () => (await shell.run(ask, daemon.url)).stdout, { timeout: 60_000 })
      .toMatch(/"decision":"exact".*"worker":"engine-0"/);
  });

  test("the page that connects engines: each command works as it stands", async () => {
    const commands = pageCommands(ENGINES);
    expect(commands.every(({ mode }) => mode !== null)).toBe(true);
    const run = commands.filter(({ mode }) => mode?.run === true);
    expect(run).toHaveLength(1);
    for (const { text } of run) await shell.run(text, daemon.url);
  });
});
