/** The gateway in front of two simulated engines and a real daemon, and without the daemon. */
import { type ChildProcess, spawn } from "node:child_process";
import { once } from "node:events";
import { mkdtempSync, rmSync, writeFileSync } from "node:fs";
import type { AddressInfo } from "node:net";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { createInterface } from "node:readline";
import { fileURLToPath } from "node:url";

import { afterAll, beforeAll, expect, test } from "vitest";

import { makeGateway } from "../src/gateway.ts";

const program = (path: string): string =>
  fileURLToPath(new URL(`../../${path}/dist/main.js`, import.meta.url));
const folder = mkdtempSync(join(tmpdir(), "kvsync-example-"));
const children: ChildProcess[] = [];
const engines = new Map<string, string>();
let daemonUrl = "";

/** Starts a program; resolves with the log line that says where it listens. */
async function start(path: string, ...args: string[]): Promise<Record<string, string>> {
  const child = spawn(process.execPath, [program(path), ...args], { stdio: ["ignore", "pipe", "inherit"] });
  children.push(child);
  return new Promise((resolve) => {
    createInterface(child.stdout).on("line", (line) => {
      const entry = JSON.parse(line) as Record<string, string>;
      if (entry["event"] === "listening") resolve(entry);
    });
  });
}

beforeAll(async () => {
  const ports = ["--port", "0", "--replay-port", "0", "--http-port", "0"];
  const entries: object[] = [];
  for (const id of ["engine-0", "engine-1"]) {
    const at = await start("packages/engine-sim", "--id", id, "--model", "demo/model", ...ports);
    engines.set(id, at["httpUrl"] ?? "");
    entries.push({
      id,
      model: "demo/model",
      endpoint: at["endpoint"],
      replay_endpoint: at["replayEndpoint"],
    });
  }
  const config = { engines: entries, sync: { tokenizer_endpoint: engines.get("engine-0") } };
  writeFileSync(join(folder, "kvsync.yaml"), JSON.stringify(config));
  const { port } = await start("apps/sync-daemon", "--config", join(folder, "kvsync.yaml"), "--port", "0");
  daemonUrl = `http://127.0.0.1:${port ?? ""}`;
});

afterAll(() => {
  for (const child of children) child.kill();
  rmSync(folder, { recursive: true });
});

/** Sends a prompt through a gateway; returns the engine that served it, and its cached tokens. */
async function complete(url: string, prompt: string): Promise<{ engine: string | null; cached: number }> {
  const body = JSON.stringify({ model: "demo/model", prompt, max_tokens: 2 });
  const response = await fetch(`${url}/v1/completions`, { method: "POST", body });
  expect(response.status).toBe(200);
  const { usage } = (await response.json()) as {
    usage: { prompt_tokens_details: { cached_tokens: number } };
  };
  return { engine: response.headers.get("x-engine"), cached: usage.prompt_tokens_details.cached_tokens };
}

async function withGateway(url: string, use: (gatewayUrl: string) => Promise<void>): Promise<void> {
  const server = makeGateway(url, engines).listen(0, "127.0.0.1");
  await once(server, "listening");
  try {
    await use(`http://127.0.0.1:${(server.address() as AddressInfo).port}`);
  } finally {
    server.close();
  }
}

test("a prompt goes back to the engine that holds it", async () => {
  await withGateway(daemonUrl, async (url) => {
    const prompt =
      "You are a helpful assistant with a long system prompt, and you name your sources. ".repeat(8);
    const { engine } = await complete(url, prompt);
    // The daemon may be asked before it has the event.
    await expect
      .poll(async () => complete(url, prompt))
      .toEqual({ engine, cached: expect.any(Number) as number });
    for (let i = 0; i < 4; i++) {
      const again = await complete(url, prompt);
      expect(again.engine).toBe(engine);
      expect(again.cached).toBeGreaterThan(0);
    }
  });
});

test("without a daemon every request is still served", async () => {
  await withGateway("http://127.0.0.1:9", async (url) => {
    for (let i = 0; i < 4; i++)
      expect(engines.has((await complete(url, `prompt ${i}`)).engine ?? "")).toBe(true);
  });
});
