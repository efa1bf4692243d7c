/**
 * The built daemon with threads that answer lookups: traces and exemplars, the end of the process, and threads that fail.
 * L3 is of src/lookup-threads/lookup-threads.ts.
 */
import { ROUTING_METRICS } from "@kvsync/observability/kvsync/routing";
import { afterEach, expect, test } from "vitest";

import { DaemonProcess } from "./daemon-process.ts";
import { caughtUp, TestEngine, until } from "./fleet.ts";
import { OtlpReceiver } from "./otlp-receiver.ts";
import { plantFault, type ThreadFault } from "./thread-fault.ts";

const MODEL = "demo/model";
const TRACED = "11111111111111111111111111111111";
const CALLER = "aaaaaaaaaaaaaaaa";
const TIMEOUT_MS = 60_000;
/** Long enough for a thread: shorter bodies stay with the main thread. */
const TOKENS = 2048;

const cleanups: (() => unknown)[] = [];
afterEach(async () => {
  for (const clean of cleanups.splice(0).reverse()) await clean();
});

async function start(
  config: object,
  environment: Readonly<Record<string, string>> = {},
): Promise<DaemonProcess> {
  const engine = await TestEngine.start({ id: "engine-0", model: MODEL }, 1);
  cleanups.push(() => engine.stop());
  const settings = { engines: [engine.entry], http: { threads: 2 }, snapshot: { enabled: false } };
  const daemon = await DaemonProcess.start({ ...settings, ...config }, [], null, environment);
  cleanups.push(() => daemon.end("SIGKILL"));
  await engine.serve(3);
  await caughtUp(daemon, [engine]);
  return daemon;
}

function lookUp(daemon: DaemonProcess, headers: Record<string, string> = {}): Promise<Response> {
  return daemon.fetch("/api/v1/match", {
    method: "POST",
    headers: { "content-type": "application/json", ...headers },
    body: JSON.stringify({ model: MODEL, token_ids: Array.from({ length: TOKENS }, (_, i) => i) }),
  });
}

test(
  "a lookup that a thread answered is a span within its request, with its facts, and an exemplar",
  async () => {
    const collector = await OtlpReceiver.start();
    cleanups.push(() => collector.stop());
    const daemon = await start({ tracing: { endpoint: collector.endpoint, ratio: 0, batch_ratio: 0 } });
    const response = await lookUp(daemon, { traceparent: `00-${TRACED}-${CALLER}-01` });
    expect(response.status).toBe(200);
    const spans = await until("the trace", () => {
      const found = collector.spans.filter(({ traceId }) => traceId === TRACED);
      return Promise.resolve(found.length === 2 ? found : null);
    });
    const request = spans.find(({ kind }) => kind === "server");
    const lookup = spans.find(({ name }) => name === "lookup");
    expect(request?.parentSpanId).toBe(CALLER);
    expect(lookup).toMatchObject({ kind: "internal", parentSpanId: request?.spanId });
    expect(lookup?.attributes).toMatchObject({
      "kvsync.model": MODEL,
      "kvsync.input": "token_ids",
      "kvsync.input_count": TOKENS,
      "kvsync.decision": "exact",
    });
    expect(lookup?.seconds).toBeGreaterThan(0);
    expect(lookup?.seconds).toBeLessThanOrEqual(request?.seconds ?? 0);
    const page = await daemon.fetch("/metrics", {
      headers: { accept: "application/openmetrics-text; version=1.0.0" },
    });
    const named = (await page.text()).split("\n").filter((line) => line.includes(TRACED));
    expect(named.some((line) => line.startsWith(ROUTING_METRICS.routingLatency.name))).toBe(true);
  },
  TIMEOUT_MS,
);

test(
  "lookups that are open at SIGTERM are answered",
  async () => {
    const daemon = await start({});
    const answers = Array.from({ length: 40 }, () => lookUp(daemon));
    await Promise.race(answers);
    daemon.signal("SIGTERM");
    expect((await Promise.all(answers)).map(({ status }) => status)).toEqual(Array<number>(40).fill(200));
    expect(await daemon.exited).toMatchObject({ code: 0 });
  },
  TIMEOUT_MS,
);

/** A fault of a lookup thread, planted until the test ends. */
function fault(action: "hangs" | "dies"): ThreadFault {
  const planted = plantFault("lookup", action);
  cleanups.push(() => {
    planted.clean();
  });
  return planted;
}

test(
  "L3: a thread that answers no lookup ends the process with 3",
  async () => {
    const { environment, now } = fault("hangs");
    const daemon = await start({ ingest: { stall_seconds: 3 } }, environment);
    now();
    const refused = await Promise.allSettled(Array.from({ length: 10 }, () => lookUp(daemon)));
    expect(refused.some(({ status }) => status === "rejected")).toBe(true);
    expect(await daemon.exited).toMatchObject({ code: 3 });
    expect(daemon.log.find(({ event }) => event === "lookup_thread_stalled")).toMatchObject({ thread: 1 });
  },
  TIMEOUT_MS,
);

test(
  "L3: a thread that dies ends the process with 1",
  async () => {
    const { environment, now } = fault("dies");
    const daemon = await start({}, environment);
    now();
    expect(await daemon.exited).toMatchObject({ code: 1 });
    expect(daemon.log.find(({ event }) => event === "lookup_thread_died")).toMatchObject({
      error_type: "Error",
    });
  },
  TIMEOUT_MS,
);
