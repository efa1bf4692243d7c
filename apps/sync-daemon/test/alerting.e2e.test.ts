/**
 * The generated rules and dashboards against what really runs: simulated engines, the daemon, Debian's Prometheus and Alertmanager, all on loopback.
 * Every panel's query must return data, every rule must be healthy; then things break, the right alerts must reach Alertmanager, and end after
 * the repair.
 *
 * The rules are the committed ones in quick motion: intervals of a second, look-backs of seconds, a
 * `for` of two seconds. Their comparisons stay the same. The real durations are tested by promtool
 * in packages/observability.
 */
import { type ChildProcess, spawn, spawnSync } from "node:child_process";
import { mkdtempSync, readdirSync, readFileSync, rmSync, writeFileSync } from "node:fs";
import { createServer as createHttpServer } from "node:http";
import type { AddressInfo } from "node:net";
import { tmpdir } from "node:os";
import { join } from "node:path";

import { freePort } from "@kvsync/engine-sim";
import { afterAll, beforeAll, describe, expect, test } from "vitest";
import { stringify } from "yaml";

import { Authority } from "./certificates.ts";
import { Cluster } from "./cluster.ts";
import { DaemonProcess } from "./daemon-process.ts";
import { caughtUp, TestEngine, until } from "./fleet.ts";
import { PickerTraffic } from "./picker-traffic.ts";
import { CONFIG_FILE, TOKENIZER_FILE } from "../src/tokenizer/testing/qwen3.ts";

const INFRA = join(import.meta.dirname, "..", "..", "..", "infra");
const HAS_PROGRAMS = ["prometheus", "prometheus-alertmanager"].every(
  (program) => spawnSync(program, ["--version"]).status === 0,
);

/** What kube-state-metrics, the kubelet, its cAdvisor and node-exporter say of a replica that is well. */
const PLATFORM = `
kube_pod_status_phase{namespace="kvsync",pod="kvsync-daemon-0",phase="Running"} 1
kube_pod_status_phase{namespace="kvsync",pod="kvsync-daemon-0",phase="Pending"} PENDING
kube_pod_container_status_restarts_total{namespace="kvsync",pod="kvsync-daemon-0",container="daemon"} 0
kube_pod_container_resource_limits{namespace="kvsync",pod="kvsync-daemon-0",container="daemon",resource="cpu",unit="core"} 2
kube_deployment_spec_replicas{namespace="kvsync",deployment="kvsync-daemon"} 1
kube_deployment_status_replicas_available{namespace="kvsync",deployment="kvsync-daemon"} 1
kube_horizontalpodautoscaler_spec_max_replicas{namespace="kvsync",horizontalpodautoscaler="kvsync-daemon"} 4
kube_horizontalpodautoscaler_status_current_replicas{namespace="kvsync",horizontalpodautoscaler="kvsync-daemon"} 1
container_cpu_usage_seconds_total{namespace="kvsync",pod="kvsync-daemon-0",container="daemon"} 12
container_fs_reads_bytes_total{namespace="kvsync",pod="kvsync-daemon-0",container="daemon",device="/dev/vda"} 4096
container_fs_writes_bytes_total{namespace="kvsync",pod="kvsync-daemon-0",container="daemon",device="/dev/vda"} 8192
kubelet_volume_stats_available_bytes{namespace="kvsync",persistentvolumeclaim="state-kvsync-daemon-0"} 2e9
kubelet_volume_stats_capacity_bytes{namespace="kvsync",persistentvolumeclaim="state-kvsync-daemon-0"} 5e9
node_filesystem_avail_bytes{device="/dev/vda1",fstype="ext4",mountpoint="/"} 5e9
node_filesystem_size_bytes{device="/dev/vda1",fstype="ext4",mountpoint="/"} 1e10
`;

const ALERT_TIMEOUT_MS = 60_000;
/** Look-back of rates in quick motion: a dozen scrapes. */
const LOOK_BACK = "12s";

/** Room for a few seconds of the traffic here, and much less than a burst after a pause. */
const QUEUE_MESSAGES = 20;
const BURST_REQUESTS = 200;

interface ActiveAlert {
  readonly labels: Readonly<Record<string, string>>;
  readonly annotations: Readonly<Record<string, string>>;
}

function ended(program: ChildProcess): Promise<void> {
  return new Promise((resolve) => {
    if (program.exitCode !== null || program.signalCode !== null) resolve();
    else
      program.on("exit", () => {
        resolve();
      });
  });
}

/** The committed rules, faster. */
function quickRules(): string {
  return readFileSync(join(INFRA, "prometheus", "kvsync.rules.yaml"), "utf8")
    .replace(/^ {4}interval: .*$/gm, "    interval: 1s")
    .replace(/^ {8}for: .*$/gm, "        for: 2s")
    .replace(/\[(1m|5m|15m)\]/g, `[${LOOK_BACK}]`);
}

/** What a fleet that is not split has no series for (picker-shards.e2e.test.ts has them). */
const OF_SHARDS = /_kv_picker_shard_/;

/** Each panel's queries, with everything selected. */
function panelQueries(): (readonly [panel: string, query: string])[] {
  const folder = join(INFRA, "grafana", "dashboards");
  return readdirSync(folder).flatMap((file) => {
    const { title, panels } = JSON.parse(readFileSync(join(folder, file), "utf8")) as {
      title: string;
      panels: { title: string; targets?: { expr: string }[] }[];
    };
    return panels.flatMap((panel) =>
      (panel.targets ?? []).map(({ expr }) => {
        const query = expr
          .replaceAll("$__rate_interval", LOOK_BACK)
          .replaceAll("$__range", "1h")
          .replace(/"\$\w+"/g, '".+"');
        return [`${title} › ${panel.title}`, query] as const;
      }),
    );
  });
}

describe.skipIf(!HAS_PROGRAMS)("with Prometheus and Alertmanager (Debian packages)", () => {
  const folder = mkdtempSync(join(tmpdir(), "kvsync-alerting-"));
  const programs: ChildProcess[] = [];
  let prometheusUrl: string;
  let alertmanagerUrl: string;
  let daemon: DaemonProcess;
  let port: number;
  let isPodPending = false;
  const platform = createHttpServer((_, response) => {
    response.setHeader("content-type", "text/plain; version=0.0.4");
    response.end(PLATFORM.replace("PENDING", isPodPending ? "1" : "0"));
  });
  /** Where the daemon's picker listens, again after each restart. */
  let pickerPort: number;
  let steady: TestEngine;
  let fragile: TestEngine;

  /** HTTPS, as Prometheus meets it in earnest. */
  let tls: { readonly cert_file: string; readonly key_file: string };
  let authority: Authority;
  /** An API server without pods: what discovery shows is absent where no cluster is asked. */
  let cluster: Cluster;

  async function startDaemon(settings: object): Promise<DaemonProcess> {
    const started = await DaemonProcess.start({ tls, ...settings }, ["--port", `${port}`]);
    started.trust(authority.cert, 2);
    return started;
  }

  const config = () => ({
    engines: [steady.entry, PickerTraffic.entry(fragile)],
    picker: { ...PickerTraffic.settings(pickerPort), check_sample: 1 },
    limits: { queue_messages: QUEUE_MESSAGES },
    sync: { tokenizer_endpoint: steady.server.httpUrl },
    tokenizer: {
      models: [
        {
          model: "fragile/model",
          tokenizer_file: TOKENIZER_FILE,
          config_file: CONFIG_FILE,
          template: "local",
        },
      ],
    },
    snapshot: { directory: join(folder, "snapshots"), interval_seconds: 2 },
    discovery: { kubernetes: { enabled: true, kubeconfig: cluster.kubeconfig() } },
  });

  function run(program: string, args: string[]): void {
    const child = spawn(program, args, { stdio: "ignore", cwd: folder });
    programs.push(child);
  }

  async function isReady(base: string): Promise<boolean> {
    const response = await fetch(`${base}/-/ready`).catch(() => null);
    return response?.status === 200;
  }

  async function result(query: string): Promise<unknown[]> {
    const response = await fetch(
      `${prometheusUrl}/api/v1/query?${new URLSearchParams({ query }).toString()}`,
    );
    const answer = (await response.json()) as { status: string; error?: string; data: { result: unknown[] } };
    if (answer.status !== "success") throw new Error(`${query}: ${answer.error ?? ""}`);
    return answer.data.result;
  }

  async function activeAlert(name: string, labels: Record<string, string> = {}): Promise<ActiveAlert | null> {
    const response = await fetch(`${alertmanagerUrl}/api/v2/alerts?active=true`);
    const alerts = (await response.json()) as ActiveAlert[];
    const wanted = Object.entries({ alertname: name, ...labels });
    return alerts.find((alert) => wanted.every(([label, value]) => alert.labels[label] === value)) ?? null;
  }

  /** A little of everything that panels show. */
  async function traffic(): Promise<void> {
    await steady.serve(2);
    await fragile.serve(2);
    const headers = { "content-type": "application/octet-stream" };
    const body = Buffer.from(new Uint32Array(64).buffer);
    for (const model of ["test/model", "none"])
      await daemon.fetch(`/api/v1/match?model=${model}`, { method: "POST", headers, body });
    const prompt = JSON.stringify({ model: "test/model", prompt: `how are you at ${Date.now()}?` });
    const json = { "content-type": "application/json" };
    await daemon.fetch("/api/v1/match", { method: "POST", headers: json, body: prompt });
  }

  beforeAll(async () => {
    steady = await TestEngine.start({ id: "steady" }, 1, { httpPort: 0 });
    fragile = await TestEngine.start({ id: "fragile", model: "fragile/model" }, 2, { httpPort: 0 });
    port = await freePort();
    pickerPort = await freePort();
    cluster = await Cluster.start();
    authority = await Authority.make();
    const { cert, key } = await authority.sign("kvsync");
    tls = { cert_file: join(folder, "tls.crt"), key_file: join(folder, "tls.key") };
    writeFileSync(tls.cert_file, cert);
    writeFileSync(tls.key_file, key);
    writeFileSync(join(folder, "ca.crt"), authority.cert);
    daemon = await startDaemon(config());
    const [prometheusPort, alertmanagerPort] = [await freePort(), await freePort()];
    await new Promise<void>((resolve) => platform.listen(0, "127.0.0.1", resolve));
    const platformPort = (platform.address() as AddressInfo).port;
    prometheusUrl = `http://127.0.0.1:${prometheusPort}`;
    alertmanagerUrl = `http://127.0.0.1:${alertmanagerPort}`;
    const prometheus = {
      global: { scrape_interval: "1s", scrape_timeout: "1s", evaluation_interval: "1s" },
      rule_files: ["kvsync.rules.yaml"],
      alerting: { alertmanagers: [{ static_configs: [{ targets: [`127.0.0.1:${alertmanagerPort}`] }] }] },
      scrape_configs: [
        {
          job_name: "kvsync-daemon",
          scheme: "https",
          tls_config: { ca_file: "ca.crt" },
          static_configs: [{ targets: [`127.0.0.1:${port}`] }],
        },
        { job_name: "alertmanager", static_configs: [{ targets: [`127.0.0.1:${alertmanagerPort}`] }] },
        {
          job_name: "platform",
          honor_labels: true,
          static_configs: [{ targets: [`127.0.0.1:${platformPort}`] }],
        },
      ],
    };
    const route = { receiver: "nobody", group_wait: "0s" };
    writeFileSync(join(folder, "kvsync.rules.yaml"), quickRules());
    writeFileSync(join(folder, "prometheus.yaml"), stringify(prometheus));
    writeFileSync(join(folder, "alertmanager.yaml"), stringify({ route, receivers: [{ name: "nobody" }] }));
    run("prometheus-alertmanager", [
      "--config.file=alertmanager.yaml",
      "--storage.path=alertmanager",
      `--web.listen-address=127.0.0.1:${alertmanagerPort}`,
      "--cluster.listen-address=",
    ]);
    run("prometheus", [
      "--config.file=prometheus.yaml",
      "--storage.tsdb.path=prometheus",
      `--web.listen-address=127.0.0.1:${prometheusPort}`,
      "--rules.alert.resend-delay=1s",
    ]);
    await until(
      "Prometheus and Alertmanager are ready",
      async () => (await isReady(prometheusUrl)) && (await isReady(alertmanagerUrl)),
    );
    await caughtUp(daemon, [steady, fragile]);
  });

  afterAll(async () => {
    for (const program of programs) program.kill();
    platform.close();
    await daemon.end();
    await Promise.all([steady.stop(), fragile.stop(), cluster.stop()]);
    await Promise.all(programs.map(ended));
    rmSync(folder, { recursive: true, force: true });
  });

  test(
    "every panel's query returns data from a fleet with some traffic and some loss",
    async () => {
      const gateway = new PickerTraffic(pickerPort);
      await until("the picker takes requests", () => gateway.isReady());
      // Prompts are checked at engines whose streams are exact: at the one that loses nothing.
      const prompt = Array.from({ length: 160 }, (_, i) => 7 * i);
      const promptTokens = Uint32Array.from(prompt);
      let request = 9e6;
      const completion = { model: "fragile/model", prompt };
      const ask = async (): Promise<void> => {
        // Each time, so that it is never evicted.
        fragile.engine.submit(
          { id: request++, promptTokens, output: { count: 1, seed: 1 } },
          Date.now() / 1000,
        );
        await traffic();
        await gateway.request(completion, { cachedTokens: 144 });
        await gateway.request({ model: "fragile/model", input: "a text" }, { path: "/v1/embeddings" });
      };
      let empty = panelQueries().filter(([, query]) => !OF_SHARDS.test(query));
      const withData = async (): Promise<boolean> => {
        await ask();
        const answers = await Promise.all(
          empty.map(async (entry) => ({ entry, rows: await result(entry[1]) })),
        );
        empty = answers.filter(({ rows }) => rows.length === 0).map(({ entry }) => entry);
        return empty.length === 0;
      };
      await steady.server.applyFault({ kind: "drop", percent: 30 }, 0);
      for (const form of ["unknown_event_type", "unknown_field"] as const)
        await steady.server.applyFault({ kind: "poison", form }, 0);
      await until("all panels have data", withData, ALERT_TIMEOUT_MS).catch((error: unknown) => {
        expect(empty, String(error)).toEqual([]);
      });
      gateway.close();
      await steady.server.applyFault({ kind: "drop", percent: 0 }, 0);
    },
    2 * ALERT_TIMEOUT_MS,
  );

  test("every rule is healthy", async () => {
    const { data } = (await (await fetch(`${prometheusUrl}/api/v1/rules`)).json()) as {
      data: { groups: { rules: { name: string; health: string; lastError?: string }[] }[] };
    };
    const rules = data.groups.flatMap((group) => group.rules);
    expect(rules.length).toBeGreaterThan(60);
    expect(rules.filter(({ health }) => health !== "ok")).toEqual([]);
  });

  test(
    "a message that nobody can read raises BatchApplyFailures, which ends when it stops",
    async () => {
      await steady.server.applyFault({ kind: "poison", form: "malformed_batch" }, 0);
      const alert = await until(
        "BatchApplyFailures reaches Alertmanager",
        async () => {
          await traffic();
          return activeAlert("BatchApplyFailures");
        },
        ALERT_TIMEOUT_MS,
      );
      expect(alert.labels).toMatchObject({
        severity: "critical",
        component: "ingest",
        error_type: "undecodable",
      });
      expect(alert.annotations["description"]).not.toContain("{{");
      await until(
        "BatchApplyFailures ends",
        async () => (await activeAlert("BatchApplyFailures")) === null,
        ALERT_TIMEOUT_MS,
      );
    },
    3 * ALERT_TIMEOUT_MS,
  );

  test(
    "a daemon that gets more than it can hold raises HighRejectionRate, which ends when it has caught up",
    async () => {
      const alert = await until(
        "HighRejectionRate reaches Alertmanager",
        async () => {
          daemon.signal("SIGSTOP");
          await steady.serve(BURST_REQUESTS, { isFresh: true });
          daemon.signal("SIGCONT");
          await caughtUp(daemon, [steady], ["exact", "partial", "stale"]);
          return activeAlert("HighRejectionRate", { model: "test/model" });
        },
        ALERT_TIMEOUT_MS,
      );
      expect(alert.annotations["dashboard_url"]).toMatch(/viewPanel=\d+$/);
      await until(
        "HighRejectionRate ends",
        async () => {
          await traffic();
          return (await activeAlert("HighRejectionRate")) === null;
        },
        ALERT_TIMEOUT_MS,
      );
    },
    3 * ALERT_TIMEOUT_MS,
  );

  test(
    "a model whose only engine dies raises KVSyncNoActiveConnections and StreamUntrusted, which end when the engine is taken off the list",
    async () => {
      await fragile.stop();
      const model = { model: "fragile/model" };
      const alert = await until(
        "KVSyncNoActiveConnections reaches Alertmanager",
        () => activeAlert("KVSyncNoActiveConnections", model),
        ALERT_TIMEOUT_MS,
      );
      expect(alert.annotations["dashboard_url"]).toMatch(/\/d\/kvsync-overview\?viewPanel=6$/);
      await until(
        "StreamUntrusted reaches Alertmanager",
        () => activeAlert("StreamUntrusted", { ...model, pod: "fragile" }),
        ALERT_TIMEOUT_MS,
      );
      expect(await activeAlert("KVSyncNoActiveConnections", { model: "test/model" })).toBeNull();
      writeFileSync(daemon.configFile, stringify({ tls, ...config(), engines: [steady.entry] }));
      for (const name of ["KVSyncNoActiveConnections", "StreamUntrusted"])
        await until(`${name} ends`, async () => (await activeAlert(name, model)) === null, ALERT_TIMEOUT_MS);
    },
    4 * ALERT_TIMEOUT_MS,
  );

  test(
    "a pod that does not start raises PodDown, which points at the panel that shows it, and ends when it runs",
    async () => {
      isPodPending = true;
      const alert = await until(
        "PodDown reaches Alertmanager",
        () => activeAlert("PodDown", { pod: "kvsync-daemon-0", phase: "Pending" }),
        ALERT_TIMEOUT_MS,
      );
      expect(alert.annotations["dashboard_url"]).toMatch(/\/d\/kvsync-service\?viewPanel=60$/);
      isPodPending = false;
      await until("PodDown ends", async () => (await activeAlert("PodDown")) === null, ALERT_TIMEOUT_MS);
    },
    3 * ALERT_TIMEOUT_MS,
  );

  test(
    "a daemon that is killed raises SyncDaemonDown, which ends when it is back",
    async () => {
      await daemon.end("SIGKILL");
      const alert = await until(
        "SyncDaemonDown reaches Alertmanager",
        () => activeAlert("SyncDaemonDown"),
        ALERT_TIMEOUT_MS,
      );
      expect(alert.labels["instance"]).toBe(`127.0.0.1:${port}`);
      expect(alert.annotations["runbook_url"]).toMatch(/sync-daemon-down\.md$/);
      daemon = await startDaemon({ engines: [steady.entry] });
      await until(
        "SyncDaemonDown ends",
        async () => (await activeAlert("SyncDaemonDown")) === null,
        ALERT_TIMEOUT_MS,
      );
    },
    3 * ALERT_TIMEOUT_MS,
  );
});
