/**
 * Every declared event of the log is logged by real daemons in scripted runs, or by the test that is
 * named here. A declared event that no run or test shows fails.
 *
 * Each line of these runs is compared with its declaration by daemon-process.ts.
 */
import { mkdtempSync, readFileSync, rmSync, writeFileSync } from "node:fs";
import { createServer } from "node:net";
import type { AddressInfo } from "node:net";
import { tmpdir } from "node:os";
import { join } from "node:path";

import { LOG_EVENTS } from "@kvsync/observability/kvsync/log-events";
import { afterAll, beforeAll, expect, test } from "vitest";
import { stringify } from "yaml";

import { Cluster } from "./cluster.ts";
import { DaemonProcess } from "./daemon-process.ts";
import { caughtUp, TestEngine, until } from "./fleet.ts";

/** Events that need a fault or a load of their own, by the test that asks for them. */
const SHOWN_BY: Readonly<Record<string, string>> = {
  admin_request: "test/access.test.ts",
  backpressure: "src/ingest/ingest.test.ts",
  connection_refused: "test/callers.test.ts",
  crash: "test/stop.e2e.test.ts",
  endpoints_refused: "test/picker-daemon.e2e.test.ts",
  engine_set_aside: "test/block-sizes.test.ts",
  ingest_died: "test/set-aside.e2e.test.ts",
  ingest_stalled: "test/stall.e2e.test.ts",
  lines_left_out: "src/log/line-gate.test.ts",
  lookup_thread_died: "test/lookup-threads.e2e.test.ts",
  lookup_thread_stalled: "test/lookup-threads.e2e.test.ts",
  message_passed_over: "test/set-aside.e2e.test.ts",
  message_set_aside: "test/set-aside.e2e.test.ts",
  model_unanswered: "test/kubernetes-adoption.test.ts",
  picker_died: "test/picker-daemon.e2e.test.ts",
  picker_drained: "test/picker-daemon.e2e.test.ts",
  picker_listening: "test/picker-daemon.e2e.test.ts",
  picker_shard_back: "test/picker-shards.e2e.test.ts",
  picker_shard_missing: "test/picker-shards.e2e.test.ts",
  picker_shards_file_refused: "test/picker-shards.e2e.test.ts",
  picker_stalled: "test/picker-daemon.e2e.test.ts",
  pod_label_unusable: "test/kubernetes.test.ts",
  pool_current: "test/picker-pool.e2e.test.ts",
  pool_ports_unusable: "test/picker-pool.e2e.test.ts",
  pool_stale: "test/picker-pool.e2e.test.ts",
  pods_forgotten: "test/kubernetes.test.ts",
  pods_not_kept: "test/kubernetes.test.ts",
  publisher_refused: "test/bound-engines.test.ts",
  ranks_share_socket: "test/shared-socket.test.ts",
  registration_moved: "test/engine-names.test.ts",
  registration_not_allowed: "test/registrations.e2e.test.ts",
  registration_not_resolved: "test/engine-names.test.ts",
  replay_violation: "test/hostile-peers.e2e.test.ts",
  request_decided: "src/picker/pick-traces.test.ts",
  request_failed: "test/stop.e2e.test.ts",
  security_file_refused: "test/tls.test.ts",
  security_file_reloaded: "test/security-page.e2e.test.ts",
  sharing_connected: "test/picker-sharing.e2e.test.ts",
  sharing_lost: "test/picker-sharing.e2e.test.ts",
  set_aside_unwritable: "src/ingest/message-journal.test.ts",
  started_incomplete: "test/cold-start.e2e.test.ts",
  stream_moved: "test/workers.e2e.test.ts",
  stream_stayed: "src/ingest/ingest-pool.test.ts",
  template_differs: "test/local-tokenizer.test.ts",
  template_trusted: "test/local-tokenizer.test.ts",
  tokenizer_circuit_closed: "test/remote-tokenizer.test.ts",
  tokenizer_thread_died: "test/tokenizer-threads.test.ts",
  tokens_without_tls: "test/access.test.ts",
  topic_not_published: "test/shared-topics.test.ts",
  traces_delivered: "test/tracing.e2e.test.ts",
  traces_not_delivered: "test/tracing.e2e.test.ts",
  unknown_cache_kind: "test/hybrid-engines.test.ts",
  worker_resumed: "test/stall.e2e.test.ts",
  worker_stalled: "test/stall.e2e.test.ts",
};

/** Events that no test can cause without changing the daemon, with the reason. */
const NEVER_SHOWN: Readonly<Record<string, string>> = {
  config_watch_failed: "needs a system without room for another watch",
  stop_overdue: "needs a part that does not end; line-gate.test.ts writes the line",
  stop_failed: "every part of a stop is caught by itself; the event is for a fault that is not known",
};

const MODEL = "test/model";
const JSON_HEADERS = { "content-type": "application/json" };
const folder = mkdtempSync(join(tmpdir(), "kvsync-events-"));
const state = join(folder, "state");
const codes = new Set<string>();

afterAll(() => {
  rmSync(folder, { recursive: true, force: true });
});

/** Runs a daemon at the most detailed level, and keeps what it logged. */
async function run(
  config: object,
  work: (daemon: DaemonProcess) => Promise<void>,
  signal: NodeJS.Signals = "SIGTERM",
  argv: readonly string[] = [],
  environment: Readonly<Record<string, string>> = {},
): Promise<void> {
  const daemon = await DaemonProcess.start({ log: { level: 5 }, ...config }, argv, null, environment);
  try {
    await work(daemon);
  } finally {
    await daemon.end(signal);
    for (const code of daemon.codes) codes.add(code);
  }
}

async function logged(daemon: DaemonProcess, ...events: readonly string[]): Promise<void> {
  for (const event of events) await until(event, () => Promise.resolve(daemon.codes.has(event)));
}

async function send(daemon: DaemonProcess, path: string, body: object, method = "POST"): Promise<void> {
  await (
    await daemon.fetch(path, { method, headers: JSON_HEADERS, body: JSON.stringify(body) })
  ).arrayBuffer();
}

/** An engine whose messages are lost, damaged and cut off, and which restarts; engines that come and go. */
async function eventful(engine: TestEngine, cluster: Cluster): Promise<void> {
  // Neither file can be used; the third run finds both as this one leaves them.
  rmSync(state, { recursive: true, force: true });
  const config = {
    engines: [engine.entry, { id: "ghost", model: MODEL, endpoint: "tcp://127.0.0.1:9" }],
    discovery: {
      state_directory: state,
      config_poll_seconds: 0.5,
      kubernetes: { enabled: true, kubeconfig: cluster.kubeconfig() },
    },
    snapshot: { directory: join(folder, "snapshots"), interval_seconds: 3600 },
    sync: { tokenizer_endpoint: "http://127.0.0.1:9" },
    tokenizer: { circuit_failures: 1 },
    health: { dependencies: [{ name: "gateway", url: "http://127.0.0.1:9" }] },
  };
  await run(config, async (daemon) => {
    await logged(daemon, "engine_unreachable", "engine_connected", "pods_watched", "engine_refused");
    await engine.serve(10);
    await caughtUp(daemon, [engine]);
    await engine.server.applyFault({ kind: "drop", percent: 60 }, 0);
    await engine.serve(20);
    await engine.server.applyFault({ kind: "drop", percent: 0 }, 0);
    await engine.serve(5);
    await logged(daemon, "gap_found", "replay_requested", "replay_ended", "message_applied", "event_applied");
    for (const form of ["unknown_event_type", "unknown_field", "malformed_batch"] as const) {
      await engine.server.applyFault({ kind: "poison", form }, 0);
      await engine.serve(5);
    }
    await logged(daemon, "message_dropped", "event_dropped", "unknown_field", "trust_reason_changed");
    await engine.server.applyFault({ kind: "drop", percent: 100 }, 0);
    await engine.serve(20);
    await engine.server.applyFault({ kind: "truncate_history", keep: 1 }, 0);
    await engine.server.applyFault({ kind: "drop", percent: 0 }, 0);
    await engine.serve(5);
    await logged(daemon, "history_lost");
    await engine.server.applyFault({ kind: "restart" }, 0);
    await engine.serve(5);
    await logged(daemon, "engine_disconnected", "engine_restarted");
    await send(daemon, "/api/v1/match", { model: MODEL, token_ids: [1, 2, 3] });
    await send(daemon, "/api/v1/match", { model: MODEL, prompt: "a prompt" });
    await send(daemon, "/api/v1/engines", { id: "kept", model: MODEL, endpoint: "tcp://127.0.0.1:11" });
    await send(daemon, "/api/v1/log-level", { level: 5 }, "PUT");
    writeFileSync(
      daemon.configFile,
      stringify({ ...config, engines: [engine.entry], readiness: { deadline_seconds: 7 } }),
    );
    await logged(daemon, "config_reloaded", "config_needs_restart", "rank_forgotten", "check_changed");
    writeFileSync(daemon.configFile, "engines: [");
    await logged(daemon, "discovery_failed");
    writeFileSync(daemon.configFile, stringify({ ...config, engines: [engine.entry] }));
    await logged(daemon, "discovery_recovered", "tokenizer_circuit_opened", "lookup_answered", "request");
    // For the next run, also where the last snapshot does not fit into the time of a stop.
    await (await daemon.fetch("/api/v1/snapshot")).arrayBuffer();
  });
}

/** The same again, which finds what was kept, and is killed. */
async function again(cluster: Cluster): Promise<void> {
  const kubernetes = { enabled: true, kubeconfig: cluster.kubeconfig() };
  const snapshot = { directory: join(folder, "snapshots"), interval_seconds: 3600 };
  await run(
    { discovery: { state_directory: state, kubernetes }, snapshot },
    (daemon) => logged(daemon, "registrations_restored", "pods_remembered", "snapshot_loaded"),
    "SIGKILL",
  );
  for (const name of ["registrations.json", "set-aside.json"]) writeFileSync(join(state, name), "no JSON");
  writeFileSync(join(folder, "snapshots", "kvsync.snapshot"), "no snapshot");
  rmSync(join(folder, "snapshots", "kvsync.snapshot.previous"), { force: true });
  await run({ discovery: { state_directory: state }, snapshot }, (daemon) =>
    logged(daemon, "run_was_killed", "registrations_set_aside", "set_aside_unreadable", "snapshot_refused"),
  );
}

/** Settings that are warned of. */
async function warned(): Promise<void> {
  await run(
    {
      http: { host: "0.0.0.0" },
      security: { trust_every_caller_on_the_network: true },
      sync: { enabled: false },
    },
    (daemon) => logged(daemon, "every_caller_trusted", "sync_off", "snapshots_off"),
    "SIGTERM",
    // Without a fixed port there is no default folder.
    ["--port", String(await withPort((port) => Promise.resolve(port)))],
    { STATE_DIRECTORY: "/dev/null/kvsync" },
  );
  await run({ snapshot: { directory: "/dev/null/nowhere", interval_seconds: 1 } }, (daemon) =>
    logged(daemon, "folder_not_claimed", "snapshot_failed"),
  );
}

/** A port that is in use. */
async function refused(): Promise<void> {
  const failure = await withPort((port) =>
    DaemonProcess.start({}, ["--port", String(port)]).then(
      () => "",
      (error: unknown) => String(error),
    ),
  );
  if (failure.includes('"event":"start_failed"')) codes.add("start_failed");
}

/** Does something while a port is in use. */
async function withPort<Result>(work: (port: number) => Promise<Result>): Promise<Result> {
  const taken = createServer();
  await new Promise<void>((resolve) => taken.listen(0, "127.0.0.1", resolve));
  try {
    return await work((taken.address() as AddressInfo).port);
  } finally {
    await new Promise((resolve) => taken.close(resolve));
  }
}

beforeAll(async () => {
  const engine = await TestEngine.start({ id: "engine-0" }, 1);
  const cluster = await Cluster.start();
  cluster.add("ghost", "127.0.0.1", { annotations: { "model.aibrix.ai/kv-events-port": "9" } });
  try {
    await eventful(engine, cluster);
    await again(cluster);
    await warned();
    await refused();
  } finally {
    await engine.stop();
    await cluster.stop();
  }
});

test("every declared event is logged in these runs, or asked for by the test that is named", () => {
  const expected = [...codes, ...Object.keys(SHOWN_BY), ...Object.keys(NEVER_SHOWN)];
  expect(Object.keys(LOG_EVENTS).filter((code) => !expected.includes(code))).toEqual([]);
});

test("no event is listed that is not declared, and none as never shown that these runs log", () => {
  const listed = [...Object.keys(SHOWN_BY), ...Object.keys(NEVER_SHOWN)];
  expect(listed.filter((code) => !Object.hasOwn(LOG_EVENTS, code))).toEqual([]);
  expect(Object.keys(NEVER_SHOWN).filter((code) => codes.has(code))).toEqual([]);
});

test.each(Object.entries(SHOWN_BY))("%s is asked for by %s", (code, file) => {
  const text = readFileSync(join(import.meta.dirname, "..", file), "utf8");
  expect(text).toMatch(new RegExp(`["'\` ]${code}\\b`));
});
