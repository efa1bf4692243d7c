/**
 * A healthy daemon has no pending or firing alert and no red panel, in every configuration. Its panels show what their texts call
 * normal.
 *
 * promtool evaluates half an hour of virtual time on the scrapes of real daemons. A real Prometheus
 * runs the same rules fifteen times as fast for one minute. KVSYNC_SILENCE_MINUTES=15 runs them for
 * 15 minutes at their committed intervals. Then no alert at all may fire. Alerts about durations may
 * be pending for a moment, on a machine that has no CPU to spare.
 *
 * The test covers metrics and alerts that do not exist yet. It fails for a gauge that shows 0 for
 * a feature that is off. It fails for a threshold that a small fleet crosses.
 */
import { type ChildProcess, spawn, spawnSync } from "node:child_process";
import { copyFileSync, readFileSync, writeFileSync } from "node:fs";
import { join } from "node:path";

import { freePort } from "@kvsync/engine-sim";
import { afterAll, beforeAll, describe, expect, test } from "vitest";
import { NAMESPACE } from "@kvsync/observability/kvsync/namespace";
import { parse, stringify } from "yaml";

import { until } from "./fleet.ts";
import { type HealthyDaemon, HealthyDaemons } from "./healthy-daemons.ts";
import { panelQueries } from "./panel-colours.ts";
import { drawnOut, type Scrape } from "./virtual-scrapes.ts";

const RULES = join(import.meta.dirname, "..", "..", "..", "infra", "prometheus", "kvsync.rules.yaml");
const HAS_PROGRAMS = ["promtool", "prometheus"].every(
  (program) => spawnSync(program, ["--version"]).status === 0,
);

/** Scrape intervals that we support (docs/operations/monitoring.md). */
const INTERVALS_SECONDS = [15, 60];
const VIRTUAL_SECONDS = 1800;
/** Minutes of silence at the committed intervals; null for one minute in quick motion. */
const SILENCE_MINUTES = Number(process.env["KVSYNC_SILENCE_MINUTES"] ?? "0") || null;
/** How much faster the rules run in the real Prometheus. */
const FASTER = SILENCE_MINUTES === null ? 15 : 1;
/** At 15 times the speed, one minute is a quarter of an hour. */
const REAL_SECONDS = 60 * (SILENCE_MINUTES ?? 1);
/** Time between two rounds of lookups while Prometheus scrapes. */
const TRAFFIC_PAUSE_MS = 1000 / FASTER;
/**
 * A fault of rules or metrics shows in each pair of scrapes of its configuration, a moment without CPU in one of them: a pair
 * has few samples, and the slowest is its p99.
 */
const ATTEMPTS = 4;
const TIMEOUT_MS = 180_000;
const REAL_TIMEOUT_MS = TIMEOUT_MS + 1000 * REAL_SECONDS + 120_000;

/** What Prometheus would add to what it scrapes. */
const TARGET = { job: "kvsync-daemon", instance: "10.0.0.1:7070" } as const;

describe.skipIf(!HAS_PROGRAMS)("with Prometheus and promtool (Debian package prometheus)", () => {
  let fleet: HealthyDaemons;
  const programs: ChildProcess[] = [];

  async function scrape({ daemon, headers }: HealthyDaemon): Promise<Scrape> {
    const response = await daemon.fetch("/metrics", { headers });
    return { text: await response.text(), atSeconds: Date.now() / 1000 };
  }

  /**
   * Two scrapes of each daemon with traffic in between, at a moment when the machine left the daemons room: what a scrape says of the event loop and of the
   * workers is about the last second or so.
   */
  async function takePair(): Promise<Map<string, [Scrape, Scrape]>> {
    const first = new Map<string, Scrape>();
    for (const each of fleet.all) first.set(each.name, await scrape(each));
    for (let round = 0; round < 10; round++) await fleet.traffic();
    const pairs = new Map<string, [Scrape, Scrape]>();
    for (const each of fleet.all) {
      const second = await until(
        "the machine has room",
        async () => {
          const later = await scrape(each);
          const figures = later.text.matchAll(
            new RegExp(
              String.raw`^(?:nodejs_eventloop_lag_p99_seconds|${NAMESPACE}_kv_stream_worker_utilization_ratio\{.*\}) (\S+)$`,
              "gm",
            ),
          );
          const [lag = 1, ...utilizations] = [...figures].map(([, value]) => Number(value)).reverse();
          return lag < 0.1 && utilizations.every((share) => share < 0.8) ? later : null;
        },
        TIMEOUT_MS / 3,
      );
      pairs.set(each.name, [first.get(each.name) ?? second, second]);
    }
    return pairs;
  }

  beforeAll(async () => {
    fleet = await HealthyDaemons.start();
    copyFileSync(RULES, fleet.path("kvsync.rules.yaml"));
  }, TIMEOUT_MS);

  afterAll(async () => {
    for (const program of programs) program.kill();
    for (const program of programs)
      if (program.exitCode === null) await new Promise((resolve) => program.on("exit", resolve));
    await fleet.stop();
  });

  const configurations = [
    "defaults",
    "engines in the file",
    "manifests",
    "tokens",
    "TLS",
    "Kubernetes",
    "snapshots on",
    "snapshots off",
    "picker",
  ];

  test.each(INTERVALS_SECONDS)(
    "over half an hour at scrapes every %d s, no configuration has an alert or a red panel",
    async (interval) => {
      expect(fleet.all.map(({ name }) => name)).toEqual(configurations);
      const found = new Map(configurations.map((name) => [name, "not run"]));
      for (let attempt = 0; attempt < ATTEMPTS && found.size > 0; attempt++) {
        const pairs = await takePair();
        for (const name of [...found.keys()]) {
          const problems = problemsOver(pairs, name, interval);
          if (problems === "") found.delete(name);
          else found.set(name, problems);
        }
      }
      expect(Object.fromEntries(found)).toEqual({});
    },
    2 * TIMEOUT_MS,
  );

  test(
    "in a real Prometheus at both scrape intervals, no configuration has an alert",
    async () => {
      const servers = await Promise.all(INTERVALS_SECONDS.map((interval) => startPrometheus(interval)));
      const all = [[{}, `${configurations.length}`]];
      for (const ask of servers)
        await until(
          "every daemon is scraped, and rules have seen that",
          async () => {
            const scraped = await ask('sum(up{job="kvsync-daemon"})');
            const pending = await ask('ALERTS{alertname="SyncDaemonAbsent"}');
            return scraped[0]?.[1] === `${configurations.length}` && pending.length === 0;
          },
          TIMEOUT_MS,
        );
      const beganMs = performance.now();
      while (performance.now() < beganMs + 1000 * REAL_SECONDS) {
        await fleet.traffic();
        await new Promise((resolve) => setTimeout(resolve, TRAFFIC_PAUSE_MS));
      }
      for (const ask of servers) {
        const recorded = `instance:${NAMESPACE}_kv_http_errors_per_request:ratio_rate5m`;
        expect(await ask(`count(count_over_time(${recorded}[1m]))`)).toEqual(all);
        const series = `alertname=~".+"}[${REAL_SECONDS}s]`;
        const alerts = `sum by (alertname, alertstate, instance) (count_over_time(ALERTS{SELECTED,${series}))`;
        const timed = timedAlerts();
        expect(await ask(alerts.replace("SELECTED", `alertname!~"${timed}"`))).toEqual([]);
        // In quick motion a moment without CPU is as long as an alert's `for`.
        if (SILENCE_MINUTES !== null)
          expect(await ask(alerts.replace("SELECTED", 'alertstate="firing"'))).toEqual([]);
      }
    },
    REAL_TIMEOUT_MS,
  );

  /** What promtool finds in half an hour of a configuration's scrapes; empty when nothing. */
  function problemsOver(
    pairs: ReadonlyMap<string, [Scrape, Scrape]>,
    name: string,
    interval: number,
  ): string {
    const pair = pairs.get(name);
    if (pair === undefined) throw new Error(`no scrapes of ${name}`);
    const panels = panelQueries(`${4 * interval}s`);
    const red = panels.flatMap((panel) => panel.red ?? []);
    const abnormal = panels.flatMap((panel) => panel.abnormal ?? []);
    expect(red.length).toBeGreaterThan(40);
    expect(abnormal.length).toBeGreaterThan(60);
    const none = { eval_time: `${VIRTUAL_SECONDS}s`, exp_samples: [] };
    const alerts = `sum by (alertname, alertstate) (count_over_time(ALERTS[${VIRTUAL_SECONDS}s]))`;
    const tests = [
      {
        name,
        interval: `${interval}s`,
        input_series: drawnOut(pair, TARGET, interval, VIRTUAL_SECONDS),
        promql_expr_test: [
          { expr: alerts, ...none },
          ...[...red, ...abnormal].map((expr) => ({ expr, ...none })),
        ],
      },
    ];
    const file = fleet.path("healthy.test.yaml");
    writeFileSync(file, stringify({ rule_files: ["kvsync.rules.yaml"], evaluation_interval: "15s", tests }));
    const { status, stdout, stderr } = spawnSync("promtool", ["test", "rules", file], {
      cwd: fleet.folder,
      encoding: "utf8",
      timeout: TIMEOUT_MS,
    });
    return status === 0 ? "" : stdout + stderr;
  }

  /** Rules, scrapes and look-backs faster than committed; what they compare stays as it is. */
  async function startPrometheus(
    interval: number,
  ): Promise<(query: string) => Promise<(readonly [object, string])[]>> {
    const port = await freePort();
    const name = `every-${interval}`;
    const rules = readFileSync(RULES, "utf8")
      .replace(/^( {4}interval): .*$/gm, `$1: ${15 / FASTER}s`)
      .replace(/^( {8}for): (\S+)$/gm, (_, key: string, time: string) => `${key}: ${faster(time)}`)
      .replace(/\[(\d+[smhd])\]/g, (_, time: string) => `[${faster(time)}]`);
    writeFileSync(fleet.path(`${name}.rules.yaml`), rules);
    const scrape_configs = fleet.all.map(({ name: daemonName, daemon }) => ({
      job_name: daemonName,
      scheme: new URL(daemon.url).protocol.slice(0, -1),
      authorization: { credentials: fleet.token },
      tls_config: { ca_file: fleet.path("ca.crt") },
      static_configs: [{ targets: [new URL(daemon.url).host] }],
      relabel_configs: [{ target_label: "job", replacement: "kvsync-daemon" }],
    }));
    const config = {
      global: {
        scrape_interval: `${interval / FASTER}s`,
        scrape_timeout: "1s",
        evaluation_interval: `${15 / FASTER}s`,
      },
      rule_files: [`${name}.rules.yaml`],
      scrape_configs,
    };
    writeFileSync(fleet.path(`${name}.yaml`), stringify(config));
    programs.push(
      spawn(
        "prometheus",
        [
          `--config.file=${name}.yaml`,
          `--storage.tsdb.path=${name}`,
          `--web.listen-address=127.0.0.1:${port}`,
        ],
        { stdio: "ignore", cwd: fleet.folder },
      ),
    );
    const base = `http://127.0.0.1:${port}`;
    await until("Prometheus is ready", async () => {
      const response = await fetch(`${base}/-/ready`).catch(() => null);
      return response?.status === 200;
    });
    return async (query) => {
      const response = await fetch(`${base}/api/v1/query?${new URLSearchParams({ query }).toString()}`);
      const { data } = (await response.json()) as {
        data: { result: { metric: object; value: [number, string] }[] };
      };
      return data.result.map(({ metric, value: [, value] }) => [metric, value] as const);
    };
  }
});

/** Alerts about durations and the event loop, which show how much of the machine other tests use. */
function timedAlerts(): string {
  const { groups } = parse(readFileSync(RULES, "utf8")) as {
    groups: { rules: { alert?: string; expr: string }[] }[];
  };
  const timed = groups
    .flatMap(({ rules }) => rules)
    .filter(({ expr }) => /_seconds(?:_bucket|_sum|:p\d+)|eventloop_lag|slo_latency/.test(expr));
  return timed.flatMap(({ alert }) => alert ?? []).join("|");
}

const SECONDS: Readonly<Record<string, number>> = { s: 1, m: 60, h: 3600, d: 86_400 };

/** A duration of the rules in quick motion. */
function faster(time: string): string {
  const [, count = "", unit = ""] = /^(\d+)([smhd])$/.exec(time) ?? [];
  return `${Math.ceil((Number(count) * (SECONDS[unit] ?? 0)) / FASTER)}s`;
}
