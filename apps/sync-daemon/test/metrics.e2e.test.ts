/**
 * The catalog against running daemons, both ways (check-scrapes.ts in observability). Every declared
 * metric is emitted and moves, in runs that cover all features. Every emitted metric under our
 * namespace is declared, with the declared labels and label values.
 *
 * There are six daemons, since a single daemon cannot cover all of it. The first has room, and its
 * engines lose, poison, fail to answer and break the protocol. The second has limits that are small enough to be
 * reached. The third has two ingest workers and an uneven load. The fourth has HTTPS, tokens and
 * CURVE. The fifth logs and traces more than it may. The sixth picks endpoints for a gateway.
 */
import { spawnSync } from "node:child_process";
import { once } from "node:events";
import { existsSync, mkdtempSync, readdirSync, readFileSync, rmSync, writeFileSync } from "node:fs";
import { connect } from "node:net";
import { tmpdir } from "node:os";
import { join } from "node:path";

import { freePort } from "@kvsync/engine-sim";
import { CATALOGUE } from "@kvsync/observability/kvsync/catalogue";
import { NAMESPACE } from "@kvsync/observability/kvsync/namespace";
import { LOAD_KINDS, PICKER_METRICS } from "@kvsync/observability/kvsync/picker";
import { beforeAll, expect, test } from "vitest";
import { curveKeyPair } from "zeromq";

import { checkScrapes } from "../../../packages/observability/src/proof/check-scrapes.ts";
import { describeProblems } from "../../../packages/observability/src/proof/problem.ts";
import { Authority } from "./certificates.ts";
import { Cluster } from "./cluster.ts";
import { DaemonProcess } from "./daemon-process.ts";
import { CONFIG_FILE, TOKENIZER_FILE } from "../src/tokenizer/testing/qwen3.ts";
import { caughtUp, TestEngine, until } from "./fleet.ts";
import { PageReader } from "./page-reader.ts";
import { PickerTraffic } from "./picker-traffic.ts";
import { longFrameHeader, publisherGreeting, RawPeer } from "./raw-peer.ts";
import { silence, TokenizerServer } from "./tokenizer-server.ts";

/** Messages that the cramped daemon's queue holds; a burst after a pause is several times that. */
const CRAMPED_QUEUE = 100;
const BURST_REQUESTS = 1500;

/** Six runs, each with the time that a hook has. */
const RUNS_MS_MAX = 6 * 180_000;

/** A tokenizer that is not there: nothing listens on the discard port. */
const NOBODY = "http://127.0.0.1:9";

/** Text of each scrape, from either daemon. */
const scrapes: string[] = [];
/** The roomy daemon's last one. */
let text: string;

const binary = { "content-type": "application/octet-stream" };

async function scrape(daemon: DaemonProcess): Promise<string> {
  const scraped = await (await daemon.fetch("/metrics")).text();
  scrapes.push(scraped);
  return scraped;
}

async function match(daemon: DaemonProcess, model: string, tokens: Uint32Array): Promise<number> {
  const body = Buffer.from(tokens.buffer);
  const response = await daemon.fetch(`/api/v1/match?model=${model}`, {
    method: "POST",
    headers: binary,
    body,
  });
  await response.arrayBuffer();
  return response.status;
}

/** The reason why a prompt could not be looked up. */
async function matchPrompt(daemon: DaemonProcess): Promise<string | null> {
  const response = await daemon.fetch("/api/v1/match", {
    method: "POST",
    headers: { "content-type": "application/json" },
    body: JSON.stringify({ model: "test/model", prompt: "a prompt" }),
  });
  return ((await response.json()) as { reason: string | null }).reason;
}

/** What is found twice, and a configuration that cannot be read. */
async function quarrel(daemon: DaemonProcess, engine: TestEngine): Promise<void> {
  const again = await daemon.fetch("/api/v1/engines", {
    method: "POST",
    headers: { "content-type": "application/json" },
    body: JSON.stringify(engine.entry),
  });
  expect(again.status).toBe(200);
  writeFileSync(daemon.configFile, "engines: [");
  await until("the configuration is found wrong", () =>
    Promise.resolve(daemon.log.some(({ event }) => event === "discovery_failed")),
  );
}

async function runRoomy(): Promise<void> {
  const folder = mkdtempSync(join(tmpdir(), "kvsync-metrics-"));
  const engine = await TestEngine.start({ id: "engine-0" }, 1, { httpPort: 0 });
  const ghost = { id: "ghost", model: "test/model", endpoint: "tcp://127.0.0.1:19996" };
  // It announces a frame that is longer than any message may be.
  const hostile = await RawPeer.start((socket) => {
    socket.write(Buffer.concat([publisherGreeting(), longFrameHeader(2 ** 40, false)]));
  });
  // A pod at the ghost's address: known, eligible, and in conflict with the file.
  const cluster = await Cluster.start();
  cluster.add("ghost", "127.0.0.1", { annotations: { "model.aibrix.ai/kv-events-port": "19996" } });
  cluster.add("malformed", "127.0.0.1", { annotations: { "model.aibrix.ai/kv-events-port": "none" } });
  cluster.add("off", "127.0.0.1");
  cluster.edit(
    "serving/off",
    ({ metadata }) => (metadata.labels["model.aibrix.ai/kv-events-enabled"] = "false"),
  );
  const daemon = await DaemonProcess.start({
    engines: [engine.entry, ghost, { id: "hostile", model: "test/model", endpoint: hostile.endpoint }],
    sync: { tokenizer_endpoint: engine.server.httpUrl },
    snapshot: { directory: folder, interval_seconds: 1 },
    discovery: { kubernetes: { enabled: true, kubeconfig: cluster.kubeconfig() } },
  });
  try {
    expect((await daemon.fetch("/readyz")).status).toBe(503);
    await until("the ghost is missed", () =>
      Promise.resolve(daemon.log.some(({ event }) => event === "engine_unreachable")),
    );
    await engine.serve(10);
    await caughtUp(daemon, [engine]);
    await fetch(`${engine.server.httpUrl}/reset_prefix_cache`, { method: "POST" });
    await engine.server.applyFault({ kind: "drop", percent: 50 }, 0);
    await engine.serve(20);
    await engine.server.applyFault({ kind: "drop", percent: 0 }, 0);
    for (const form of ["unknown_event_type", "unknown_field", "malformed_batch"] as const) {
      await engine.server.applyFault({ kind: "poison", form }, 0);
      await engine.serve(5);
    }
    await caughtUp(daemon, [engine], ["exact", "partial", "stale"]);
    expect(await match(daemon, "test/model", new Uint32Array(64))).toBe(200);
    expect(await match(daemon, "none", new Uint32Array(64))).toBe(404);
    expect(await matchPrompt(daemon)).toBeNull();
    await quarrel(daemon, engine);
    const page = await PageReader.open(daemon);
    await until("the page has a delta", () => Promise.resolve(page.of("delta").length > 0));
    await page.close();
    await until("a snapshot was made", () => Promise.resolve(existsSync(join(folder, "kvsync.snapshot"))));
    text = await until("its metrics are there", async () => {
      const scraped = await scrape(daemon);
      // The first snapshot may have been taken before there was anything in the index.
      const moved = ["size_bytes", "age_seconds", "entries"].every((name) =>
        isMoved(`${NAMESPACE}_kv_snapshot_${name}`),
      );
      return moved ? scraped : null;
    });
  } finally {
    await daemon.end();
    await engine.stop();
    hostile.stop();
    await cluster.stop();
    rmSync(folder, { recursive: true, force: true });
  }
}

/** Loads a daemon until each of its limits was hit, and until a scrape fell into a moment with something in the queue. */
async function runCramped(): Promise<void> {
  const engine = await TestEngine.start({ id: "engine-0", loraNames: ["adapter"] }, 2);
  const daemon = await DaemonProcess.start({
    engines: [engine.entry],
    limits: { queue_messages: CRAMPED_QUEUE, contexts: 1 },
    sync: { tokenizer_endpoint: NOBODY },
    tokenizer: { circuit_failures: 1 },
    // No folder at all: each snapshot fails.
    snapshot: { directory: "/dev/null/nowhere", interval_seconds: 1 },
  });
  try {
    const prompt = Uint32Array.from({ length: 64 }, (_, i) => i);
    engine.engine.submit({ id: 1e6, promptTokens: prompt, output: { count: 1, seed: 1 } }, Date.now() / 1000);
    await engine.serve(1);
    await caughtUp(daemon, [engine], ["exact", "partial", "stale"]);
    expect(await match(daemon, "test/model", prompt)).toBe(200);
    expect(await matchPrompt(daemon)).toBe("tokenizer_unavailable");
    expect(await matchPrompt(daemon)).toBe("circuit_open");
    await engine.serve(1, { loraName: "adapter" });
    await until(
      "a scrape sees the queue under pressure",
      async () => {
        daemon.signal("SIGSTOP");
        await engine.serve(BURST_REQUESTS, { isFresh: true });
        const during = Array.from({ length: 20 }, () => scrape(daemon));
        daemon.signal("SIGCONT");
        await Promise.all(during);
        return [
          `${NAMESPACE}_kv_stream_backpressure_state`,
          `${NAMESPACE}_kv_stream_queue_depth`,
          `${NAMESPACE}_kv_stream_events_rejected_total`,
          `${NAMESPACE}_kv_snapshot_errors_total`,
        ].every(isMoved);
      },
      60_000,
    );
  } finally {
    daemon.signal("SIGCONT");
    await daemon.end();
    await engine.stop();
  }
}

/** Two workers, of which one has all the work: until the other takes a stream over. */
async function runStealing(): Promise<void> {
  const engines = await Promise.all(
    ["a", "b", "c"].map((id, i) => TestEngine.start({ id: `engine-${id}` }, i + 3)),
  );
  const daemon = await DaemonProcess.start({
    engines: engines.map((engine) => engine.entry),
    // libzmq costs more a message: one process that publishes is enough to keep a worker busy.
    ingest: { workers: 2, transport: "libzmq" },
  });
  try {
    await until(
      "a stream has moved",
      async () => {
        await Promise.all([
          engines[0]?.serve(400, { isFresh: true }),
          engines[2]?.serve(400, { isFresh: true }),
        ]);
        return daemon.log.some(({ event }) => event === "stream_moved");
      },
      60_000,
    );
    await scrape(daemon);
  } finally {
    await daemon.end();
    await Promise.all(engines.map((engine) => engine.stop()));
  }
}

/** A daemon with HTTPS and CURVE: a caller too many, one without a token, and an engine that does not speak CURVE. */
async function runSecured(): Promise<void> {
  const folder = mkdtempSync(join(tmpdir(), "kvsync-metrics-"));
  const file = (name: string, text: string): string => {
    writeFileSync(join(folder, name), text);
    return join(folder, name);
  };
  const authority = await Authority.make();
  const { cert, key } = await authority.sign("daemon");
  const engine = await TestEngine.start({ id: "engine-plain" }, 6);
  const token = "metrics-token-0123456789";
  const daemon = await DaemonProcess.start({
    engines: [engine.entry],
    security: { tokens_file: file("tokens.yaml", `tokens: [{ name: a, scope: read, token: ${token} }]`) },
    tls: { cert_file: file("tls.crt", cert), key_file: file("tls.key", key) },
    curve: { server_key_file: file("curve.key", curveKeyPair().publicKey) },
    callers: { connections: 1 },
  });
  daemon.trust(authority.cert, 1);
  try {
    expect((await daemon.fetch("/metrics")).status).toBe(401);
    await once(connect(Number(new URL(daemon.url).port), "127.0.0.1"), "close");
    await until("the engine's security is known to be another", async () => {
      const scraped = await daemon.fetch("/metrics", { headers: { authorization: `Bearer ${token}` } });
      scrapes.push(await scraped.text());
      return (
        isMoved(`${NAMESPACE}_kv_zmq_security_failures_total`) &&
        isMoved(`${NAMESPACE}_kv_http_connections_refused_total`)
      );
    });
  } finally {
    await daemon.end();
    await engine.stop();
    rmSync(folder, { recursive: true, force: true });
  }
}

/**
 * A daemon that is asked to tell more than the log takes, and more spans than a thread hands over. It encodes prompts itself, with a
 * template that is not the engine's.
 */
async function runTalkative(): Promise<void> {
  const engine = await TestEngine.start({ id: "engine-0" }, 6, { httpPort: 0 });
  const daemon = await DaemonProcess.start({
    // No replay ever comes from there.
    engines: [{ ...engine.entry, replay_endpoints: ["tcp://127.0.0.1:19995"] }],
    log: { level: 4 },
    tracing: { endpoint: NOBODY, batch_ratio: 1 },
    sync: { tokenizer_endpoint: engine.server.httpUrl },
    tokenizer: {
      timeout_seconds: 60,
      models: [
        { model: "test/model", tokenizer_file: TOKENIZER_FILE, config_file: CONFIG_FILE, template: "local" },
      ],
    },
  });
  try {
    await until(
      "lines and spans were left out",
      async () => {
        await engine.serve(400, { isFresh: true });
        await scrape(daemon);
        expect(await matchPrompt(daemon)).toBeNull();
        const names = [
          `${NAMESPACE}_kv_log_lines_dropped_total`,
          `${NAMESPACE}_kv_trace_spans_total`,
          `${NAMESPACE}_kv_tokenizer_parity_total`,
          `${NAMESPACE}_kv_tokenizer_segment_cache_lookups_total`,
          `${NAMESPACE}_kv_tokenizer_segment_cache_bytes`,
        ];
        return names.every(isMoved) && hasFailedReplay();
      },
      60_000,
    );
  } finally {
    await daemon.end();
    await engine.stop();
  }
}

/** Two engines behind a picker: picks that are right, wrong, late, by load and impossible, and requests that stay open. */
async function runPicking(): Promise<void> {
  const engines = await Promise.all(
    ["a", "b"].map((id, i) => TestEngine.start({ id: `engine-${id}` }, 20 + i, { httpPort: 0 })),
  );
  const [a, b] = engines as [TestEngine, TestEngine];
  const slow = await TokenizerServer.start(silence);
  const port = await freePort();
  const daemon = await DaemonProcess.start({
    engines: engines.map((engine) => PickerTraffic.entry(engine)),
    sync: { tokenizer_endpoint: slow.endpoint },
    picker: {
      ...PickerTraffic.settings(port),
      check_sample: 1,
      decision_timeout_ms: 5,
      // A bus that is not there: what would be sent is dropped.
      share: { url: `nats://127.0.0.1:${await freePort()}` },
    },
  });
  const traffic = new PickerTraffic(port);
  try {
    const prompt = Array.from({ length: 160 }, (_, i) => 7 * i);
    const promptTokens = Uint32Array.from(prompt);
    a.engine.submit({ id: 1e6, promptTokens, output: { count: 1, seed: 1 } }, Date.now() / 1000);
    await a.serve(1);
    await b.serve(1, { isFresh: true });
    await caughtUp(daemon, engines);
    await until("the picker takes requests", () => traffic.isReady());
    // What nobody serves any more still runs there, as far as the picker can see.
    b.engine.submit(
      { id: 2e6, promptTokens: new Uint32Array(640), output: { count: 1000, seed: 1 } },
      Date.now() / 1000,
    );
    const completion = { model: "test/model", prompt };
    expect(await traffic.request(completion, { cachedTokens: 144 })).toBe(PickerTraffic.addressOf(a));
    await traffic.request(completion, { cachedTokens: 0, servedBy: PickerTraffic.addressOf(b) });
    await traffic.request({ model: "test/model", prompt: "a text" });
    await traffic.request({ model: "test/model", input: "a text" }, { path: "/v1/embeddings" });
    expect(await traffic.request(completion, { subset: ["10.9.9.9:1"] })).toBe("");
    traffic.open(JSON.stringify({ model: "test/model", prompt: prompt.map((token) => token + 1) }));
    traffic.open("{", {}, false);
    const broken = traffic.open("{}");
    broken.stream.write(Buffer.from([0, 0, 0, 0, 1, 0xff]));
    const names = Object.values(PICKER_METRICS)
      .filter(({ labels }) => !("shard_index" in labels))
      .map(({ name, kind }) => (kind === "histogram" ? `${name}_count` : name));
    const checks = ["agree", "differ"].map(
      (outcome) => `${PICKER_METRICS.promptChecks.name}\\{.*outcome="${outcome}"\\}`,
    );
    const loads = LOAD_KINDS.map((kind) => `${PICKER_METRICS.endpointLoad.name}\\{.*kind="${kind}"\\}`);
    let still: string[] = [];
    await until(
      "the picker's metrics have moved",
      async () => {
        await scrape(daemon);
        still = [...names, ...checks, ...loads].filter((name) => !isMoved(name));
        return still.length === 0;
      },
      60_000,
    ).catch(() => {
      expect(still).toEqual([]);
    });
  } finally {
    traffic.close();
    await daemon.end();
    await slow.stop();
    await Promise.all(engines.map((engine) => engine.stop()));
  }
}

/** A picker whose fleet has another shard, which is not there. */
async function runSharded(): Promise<void> {
  const engine = await TestEngine.start({ id: "engine-s" }, 30, { httpPort: 0 });
  const port = await freePort();
  const addresses = [`http://127.0.0.1:${port}`, `http://127.0.0.1:${await freePort()}`];
  const daemon = await DaemonProcess.start({
    engines: [PickerTraffic.entry(engine)],
    shard: { index: 0, count: 2 },
    picker: { ...PickerTraffic.settings(port), shards: { addresses } },
  });
  const traffic = new PickerTraffic(port);
  try {
    await until("the picker takes requests", () => traffic.isReady());
    await traffic.request({ model: "test/model", prompt: [1, 2, 3] });
    await scrape(daemon);
  } finally {
    traffic.close();
    await daemon.end();
    await engine.stop();
  }
}

function hasFailedReplay(): boolean {
  const failed = new RegExp(`^${NAMESPACE}_kv_replay_requests_total\\{.*status="failed"\\} [1-9]`, "m");
  return scrapes.some((scraped) => failed.test(scraped));
}

/** Whether any scrape has a sample of this name that is not 0. */
function isMoved(sample: string): boolean {
  const moved = new RegExp(`^${sample}(?:\\{.*\\})? (?!0$)\\S+$`, "m");
  return scrapes.some((scraped) => moved.test(scraped));
}

beforeAll(async () => {
  await runRoomy();
  await runCramped();
  await runStealing();
  await runSecured();
  await runTalkative();
  await runPicking();
  await runSharded();
}, RUNS_MS_MAX);

test.each(CATALOGUE.map(({ name }) => [name]))(
  "%s is emitted with exactly the labels and values declared, and moves",
  (name) => {
    const problems = checkScrapes(CATALOGUE, NAMESPACE, scrapes).filter(({ where }) => where === name);
    expect(describeProblems(problems)).toBe("");
  },
);

test("nothing else is emitted under the namespace, and the first daemon alone declares every family", () => {
  expect(describeProblems(checkScrapes(CATALOGUE, NAMESPACE, scrapes))).toBe("");
  for (const { name, kind } of CATALOGUE) expect(text).toContain(`# TYPE ${name} ${kind}`);
});

/** Values that these runs do not reach, by the test in which a daemon shows them. */
const ELSEWHERE: Readonly<Record<string, string>> = {
  [`${NAMESPACE}_kv_discovery_refused_engines reason no_room`]: "../src/discovery/engine-sources.test.ts",
  [`${NAMESPACE}_kv_tokenizer_requests_total outcome tokenizer_timeout`]: "remote-tokenizer.test.ts",
  [`${NAMESPACE}_kv_tokenizer_requests_total outcome tokenizer_malformed`]: "remote-tokenizer.test.ts",
  [`${NAMESPACE}_kv_tokenizer_requests_total outcome tokenizer_overloaded`]: "remote-tokenizer.test.ts",
};

/** What rules and panels match our families with: name, label, pattern. Variables and what is left out say nothing about a value. */
function matchedValues(): [name: string, label: string, pattern: string][] {
  const infra = join(import.meta.dirname, "..", "..", "..", "infra");
  const boards = readdirSync(join(infra, "grafana", "dashboards")).map((file) =>
    join("grafana", "dashboards", file),
  );
  const texts = [join("prometheus", "kvsync.rules.yaml"), ...boards].map((file) =>
    readFileSync(join(infra, file), "utf8").replaceAll('\\"', '"'),
  );
  const selectors = texts.flatMap((found) => [
    ...found.matchAll(new RegExp(`\\b(${NAMESPACE}_\\w+)\\{([^}]*)\\}`, "g")),
  ]);
  const pairs = selectors.flatMap(([, name = "", matchers = ""]) =>
    [...matchers.matchAll(/(\w+)=(~?)"([^"$]+)"/g)].flatMap(([, label = "", isPattern, value = ""]) =>
      (isPattern === "~" ? value.split("|") : [value]).map(
        (one) => [name, label, one] as [string, string, string],
      ),
    ),
  );
  return [...new Map(pairs.map((pair) => [pair.join(" "), pair])).values()].filter(
    ([, label]) => label !== "le",
  );
}

test("every value that rules and panels ask for has moved in one of these runs", () => {
  const asked = matchedValues();
  expect(asked.length).toBeGreaterThan(20);
  const lines = scrapes.flatMap((scraped) => scraped.split("\n"));
  const missing = asked.filter(([name, label, pattern]) => {
    const moved = new RegExp(`^${name}\\{(?:.*,)?${label}="(?:${pattern})".*\\} (?!0$)`);
    return !lines.some((line) => moved.test(line));
  });
  expect(missing.map((parts) => parts.join(" ")).filter((one) => !(one in ELSEWHERE))).toEqual([]);
  for (const [one, file] of Object.entries(ELSEWHERE)) {
    expect(asked.map((parts) => parts.join(" "))).toContain(one);
    const value = one.split(" ").at(-1) ?? "";
    expect(readFileSync(join(import.meta.dirname, file), "utf8"), one).toContain(value);
  }
});

test("a model that no engine serves any more has no series a minute later", async () => {
  const engine = await TestEngine.start({ id: "engine-gone", model: "gone/model" }, 8);
  const daemon = await DaemonProcess.start();
  const headers = { "content-type": "application/json" };
  try {
    const body = JSON.stringify(engine.entry);
    expect((await daemon.fetch("/api/v1/engines", { method: "POST", headers, body })).status).toBe(201);
    await engine.serve(5);
    await caughtUp(daemon, [engine]);
    expect(await match(daemon, "gone/model", new Uint32Array(64))).toBe(200);
    expect(await (await daemon.fetch("/metrics")).text()).toContain('model="gone/model"');
    await daemon.fetch("/api/v1/engines/engine-gone", { method: "DELETE" });
    let left: string[] = [];
    await until(
      "the model's series end",
      async () => {
        const scraped = await (await daemon.fetch("/metrics")).text();
        left = scraped.split("\n").filter((line) => line.includes('model="gone/model"'));
        return left.length === 0;
      },
      60_000,
    ).catch(() => {
      expect(left).toEqual([]);
    });
  } finally {
    await daemon.end();
    await engine.stop();
  }
});

test("what a run did can be read off the counters", () => {
  const value = (pattern: RegExp): number => Number(pattern.exec(text)?.[1] ?? Number.NaN);
  expect(
    value(new RegExp(String.raw`${NAMESPACE}_kv_zmq_connections_active\{model="test\/model"\} (\d+)`)),
  ).toBe(1);
  expect(
    value(
      new RegExp(
        String.raw`${NAMESPACE}_kv_events_processed_total\{pod="engine-0",model="test\/model",event_type="BlockStored"\} (\d+)`,
      ),
    ),
  ).toBeGreaterThan(10);
  expect(
    value(
      new RegExp(
        String.raw`${NAMESPACE}_kv_event_sequence_gap_count\{pod="engine-0",model="test\/model"\} (\d+)`,
      ),
    ),
  ).toBeGreaterThan(0);
  expect(
    value(
      new RegExp(
        String.raw`${NAMESPACE}_kv_stream_state\{pod="engine-0",model="test\/model",state="live"\} (\d+)`,
      ),
    ),
  ).toBe(1);
  expect(
    value(
      new RegExp(
        String.raw`${NAMESPACE}_kv_zmq_connections_total\{pod="ghost",model="test\/model",status="failed"\} (\d+)`,
      ),
    ),
  ).toBeGreaterThan(0);
  expect(
    value(new RegExp(String.raw`${NAMESPACE}_sync_indexer_prefixes\{model="test\/model",lora_id=""\} (\d+)`)),
  ).toBeGreaterThan(10);
  expect(
    value(
      new RegExp(
        String.raw`${NAMESPACE}_kv_http_requests_total\{method="POST",route="\/api\/v1\/match",status="200"\} (\d+)`,
      ),
    ),
  ).toBe(2);
  expect(
    value(
      new RegExp(
        String.raw`${NAMESPACE}_kv_http_request_errors_total\{route="\/api\/v1\/match",code="unknown_model"\} (\d+)`,
      ),
    ),
  ).toBe(1);
  expect(value(/process_resident_memory_bytes (\d+)/)).toBeGreaterThan(1e6);
});

const promtool = spawnSync("promtool", ["--version"]).status === 0;

test.skipIf(!promtool)(
  "promtool has nothing to say about a live scrape (skipped where it is not installed)",
  () => {
    const { status, stdout, stderr } = spawnSync("promtool", ["check", "metrics"], {
      input: text,
      encoding: "utf8",
    });
    expect(`${stdout}${stderr}`).toBe("");
    expect(status).toBe(0);
  },
);
