/** The command `load` as a process, against an engine that answers OpenAI's API itself. */
import { spawn } from "node:child_process";
import { fileURLToPath } from "node:url";
import { text } from "node:stream/consumers";

import { EngineWorker } from "@kvsync/engine-sim";
import { afterAll, beforeAll, expect, it } from "vitest";

const MAIN = fileURLToPath(new URL("../../dist/main.js", import.meta.url));
const MODEL = "demo/model";

let engine: EngineWorker;
let url = "";

beforeAll(async () => {
  engine = await EngineWorker.start({
    engine: { id: "engine-0", model: MODEL, blockSize: 16, blockCount: 8192 },
    replayPort: 0,
    speed: 1000,
    seed: 1,
  });
  url = engine.httpUrls[0] ?? "";
});

afterAll(async () => {
  await engine.stop();
});

async function load(
  ...args: readonly string[]
): Promise<{ exitCode: number | null; lines: string; errors: string }> {
  const child = spawn(process.execPath, [MAIN, "load", ...args]);
  const ended = new Promise<number | null>((resolve) => child.once("close", resolve));
  const [lines, errors, exitCode] = await Promise.all([text(child.stdout), text(child.stderr), ended]);
  return { exitCode, lines, errors };
}

it("has every request answered, says what was cached, and gives each round its own requests", async () => {
  const { lines, exitCode } = await load(
    "--url",
    url,
    "--model",
    MODEL,
    "--requests",
    "20",
    "--rounds",
    "2",
    "--speed",
    "1000",
  );
  const shares = [
    ...lines.matchAll(/^round (\d): 20 answered, 0 failed in \d+ s, (\d+\.\d) % of prompt tokens cached$/gm),
  ];
  expect(shares.map(([, round]) => round)).toEqual(["1", "2"]);
  expect(new Set(shares.map(([, , share]) => share)).size).toBe(2);
  expect(exitCode).toBe(0);
});

it("ends with 1 and names the first failure when the engine refuses", async () => {
  const { lines, exitCode } = await load(
    "--url",
    url,
    "--model",
    "absent",
    "--requests",
    "3",
    "--rounds",
    "1",
    "--speed",
    "1000",
  );
  expect(lines).toMatch(
    /^round 1: 0 answered, 3 failed in \d+ s, 0\.0 % of prompt tokens cached; first failure: 404: .*absent/,
  );
  expect(exitCode).toBe(1);
});

it("refuses an address that is none", async () => {
  const { errors, exitCode } = await load("--url", "gateway:8081", "--model", MODEL);
  expect(errors).toContain(
    "option '--url <url>' argument 'gateway:8081' is invalid. Not a URL: expected http://HOST:PORT.",
  );
  expect(exitCode).toBe(2);
});
