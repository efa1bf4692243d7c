/**
 * Panels show a fleet as it is, for any number of replicas. Two daemons follow the same engines
 * and a third has none; a real Prometheus scrapes them as two fleets. The expected values come from
 * the script: messages that engines published, lookups that were asked, and their answers.
 */
import { type ChildProcess, spawn, spawnSync } from "node:child_process";
import { mkdtempSync, readdirSync, readFileSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";

import { freePort } from "@kvsync/engine-sim";
import { afterAll, beforeAll, describe, expect, test } from "vitest";
import { NAMESPACE } from "@kvsync/observability/kvsync/namespace";
import { parse, stringify } from "yaml";

import { DaemonProcess } from "./daemon-process.ts";
import { caughtUp, TestEngine, until } from "./fleet.ts";
import { samplesOf } from "./virtual-scrapes.ts";

const INFRA = join(import.meta.dirname, "..", "..", "..", "infra");
const HAS_PROMETHEUS = spawnSync("prometheus", ["--version"]).status === 0;
const MODELS = ["fleet/a", "fleet/b"] as const;
/** Look-back of every rate: the traffic lies inside it, and every series begins before it. */
const LOOK_BACK_SECONDS = 40;
const HITS = 30;
const MISSES = 10;
const PROMPT = Uint32Array.from({ length: 64 }, (_, i) => i + 1);
const UNKNOWN = Uint32Array.from({ length: 64 }, (_, i) => i + 100_000);
const TIMEOUT_MS = 180_000;
/** A fault of a panel shows each time. A moment without CPU makes scrapes late in one of them. */
const ATTEMPTS = 3;

interface Compared {
  readonly dashboard: string;
  readonly panel: number;
  readonly refId?: string;
  /** Labels of one line of the panel; none for a panel of one value. */
  readonly line?: Readonly<Record<string, string>>;
  /** For rates: how often it happened in the look-back. */
  readonly happened?: () => number;
  readonly shows?: (daemons: number) => number;
  /** Share by which it may be off, where the daemon's own probes of idle streams count as well. */
  readonly within?: number;
}

describe.skipIf(!HAS_PROMETHEUS)("with Prometheus (Debian package prometheus)", () => {
  const folder = mkdtempSync(join(tmpdir(), "kvsync-fleet-"));
  let engines: TestEngine[];
  let daemons: DaemonProcess[];
  let prometheus: ChildProcess;
  let base: string;
  /** Published by each engine during the traffic. */
  let messages: readonly [number, number] = [0, 0];
  /** What the first daemon counted during the traffic, by series. */
  let grown: (name: string, labels: Readonly<Record<string, string>>) => number;

  async function ask(query: string): Promise<{ metric: Record<string, string>; value: number }[]> {
    const response = await fetch(`${base}/api/v1/query?${new URLSearchParams({ query }).toString()}`);
    const { data } = (await response.json()) as {
      data: { result: { metric: Record<string, string>; value: [number, string] }[] };
    };
    return data.result.map(({ metric, value: [, value] }) => ({ metric, value: Number(value) }));
  }

  async function match(daemon: DaemonProcess | undefined, tokens: Uint32Array): Promise<void> {
    const response = await daemon?.fetch(`/api/v1/match?model=${MODELS[0]}`, {
      method: "POST",
      headers: { "content-type": "application/octet-stream" },
      body: Buffer.from(tokens.buffer),
    });
    expect(response?.status).toBe(200);
    await response?.arrayBuffer();
  }

  async function scrape(daemon: DaemonProcess | undefined): Promise<ReturnType<typeof samplesOf>> {
    return samplesOf((await (await daemon?.fetch("/metrics"))?.text()) ?? "", {});
  }

  beforeAll(async () => {
    engines = await Promise.all(
      MODELS.map((model, i) => TestEngine.start({ id: `engine-${i}`, model }, 21 + i)),
    );
    const followed = { engines: engines.map(({ entry }) => entry) };
    daemons = [
      await DaemonProcess.start(followed),
      await DaemonProcess.start(followed),
      await DaemonProcess.start(),
    ];
    const now = Date.now() / 1000;
    engines[0]?.engine.submit({ id: 1e6, promptTokens: PROMPT, output: { count: 1, seed: 1 } }, now);
    for (const engine of engines) await engine.serve(3);
    for (const daemon of daemons.slice(0, 2)) {
      await caughtUp(daemon, engines);
      await match(daemon, PROMPT);
    }
    const port = await freePort();
    base = `http://127.0.0.1:${port}`;
    const targets = daemons.map(({ url }) => new URL(url).host);
    const jobs = { two: targets.slice(0, 2), three: targets };
    const rules = readFileSync(join(INFRA, "prometheus", "kvsync.rules.yaml"), "utf8")
      .replace(/^ {4}interval: .*$/gm, "    interval: 1s")
      .replaceAll("[5m]", `[${LOOK_BACK_SECONDS}s]`);
    writeFileSync(join(folder, "rules.yaml"), rules);
    const global = { scrape_interval: "1s", scrape_timeout: "1s", evaluation_interval: "1s" };
    const scrape_configs = Object.entries(jobs).map(([job_name, of]) => ({
      job_name,
      static_configs: [{ targets: of }],
    }));
    const labels = {
      pod: "kvsync-daemon-a",
      container: "daemon",
      __meta_kubernetes_namespace: "serving",
      __meta_kubernetes_pod_name: "kvsync-daemon-a",
      __meta_kubernetes_pod_container_port_name: "http",
    };
    const labelled = {
      job_name: "labelled",
      static_configs: [{ targets: targets.slice(0, 1), labels }],
      relabel_configs: committedRelabelings(),
    };
    const config = { global, rule_files: ["rules.yaml"], scrape_configs: [...scrape_configs, labelled] };
    writeFileSync(join(folder, "prometheus.yaml"), stringify(config));
    prometheus = spawn(
      "prometheus",
      ["--config.file=prometheus.yaml", "--storage.tsdb.path=data", `--web.listen-address=127.0.0.1:${port}`],
      { stdio: "ignore", cwd: folder },
    );
    await until(
      "all series are older than the look-back",
      async () => {
        const rows = await ask(`count_over_time(up[${LOOK_BACK_SECONDS + 5}s])`).catch(() => []);
        return rows.length === 6 && rows.every(({ value }) => value >= LOOK_BACK_SECONDS);
      },
      TIMEOUT_MS / 2,
    );
    await traffic();
  }, TIMEOUT_MS);

  /** What the panels are asked about. */
  async function traffic(): Promise<void> {
    const [first, second] = daemons;
    const before = await scrape(first);
    const published = engines.map(({ engine }) => engine.lastSequenceNumber);
    for (let i = 0; i < HITS; i++) await match(first, PROMPT);
    for (let i = 0; i < MISSES; i++) await match(second, UNKNOWN);
    await engines[0]?.serve(30);
    await engines[1]?.serve(10);
    for (const daemon of [first, second]) if (daemon !== undefined) await caughtUp(daemon, engines);
    const [ofFirst = 0, ofSecond = 0] = engines.map(
      ({ engine }, i) => engine.lastSequenceNumber - (published[i] ?? 0),
    );
    messages = [ofFirst, ofSecond];
    const after = await scrape(first);
    grown = (name, labels) => {
      const wanted = Object.entries(labels).map(([label, value]) => `${label}="${value}"`);
      let sum = 0;
      for (const { series, value } of after.values())
        if (series.startsWith(`${name}{`) && wanted.every((part) => series.includes(part)))
          sum += value - (before.get(series)?.value ?? 0);
      return sum;
    };
    // Two scrapes later everything is in Prometheus.
    await scrapedSince(Date.now() / 1000 + 2);
  }

  async function scrapedSince(seconds: number): Promise<void> {
    await until("the daemons are scraped, and the rules have run", async () => {
      const rows = await ask(`min(timestamp(${NAMESPACE}_kv_build_info))`);
      return (rows[0]?.value ?? 0) > seconds;
    });
  }

  afterAll(async () => {
    prometheus.kill();
    await new Promise((resolve) => prometheus.on("exit", resolve));
    await Promise.all(daemons.map((daemon) => daemon.end()));
    await Promise.all(engines.map((engine) => engine.stop()));
    rmSync(folder, { recursive: true, force: true });
  });

  const overview = (panel: number, more: Omit<Compared, "dashboard" | "panel">): Compared => ({
    dashboard: "kvsync-overview",
    panel,
    ...more,
  });
  const events = (labels: Readonly<Record<string, string>>) => () =>
    grown(`${NAMESPACE}_kv_events_processed_total`, labels);
  /** Messages that probes of idle streams replay are in it: a few, and far from a second replica's worth. */
  const taken = (count: () => number) => ({ happened: count, within: 0.4 });
  const of = (board: "engines" | "ingest", panel: number, more: Omit<Compared, "dashboard" | "panel">) => ({
    dashboard: `kvsync-${board}`,
    panel,
    ...more,
  });
  const [a, b] = MODELS;
  const lookups = HITS + MISSES;

  const COMPARED: readonly Compared[] = [
    overview(1, { shows: () => 1 }),
    // A replica that knows no engine has no share; its connections are panel 6's.
    overview(2, { shows: () => 1 }),
    overview(31, { shows: () => 1 }),
    overview(32, { shows: () => 1 }),
    overview(33, { happened: () => lookups }),
    overview(34, { shows: () => 1 }),
    overview(36, { happened: events({}) }),
    overview(6, { line: { model: a }, shows: (replicas) => (replicas === 3 ? 0 : 1) }),
    overview(6, { line: { model: b }, shows: (replicas) => (replicas === 3 ? 0 : 1) }),
    overview(7, { line: { status: "failed" }, happened: () => 0 }),
    overview(8, { line: { event_type: "BlockStored" }, happened: events({ event_type: "BlockStored" }) }),
    overview(9, { line: { model: a }, happened: events({ model: a }) }),
    overview(9, { line: { model: b }, happened: events({ model: b }) }),
    overview(12, { line: { model: a }, refId: "A", shows: () => 0 }),
    overview(14, { line: { status: "failed" }, happened: () => 0 }),
    overview(21, {
      line: { operation: "store", status: "ok" },
      refId: "A",
      happened: () =>
        grown(`${NAMESPACE}_sync_indexer_operations_total`, { operation: "store", status: "ok" }),
    }),
    overview(21, { line: { operation: "match", status: "ok" }, refId: "B", happened: () => lookups }),
    overview(23, { line: { model: a }, refId: "A", shows: () => HITS / lookups }),
    overview(26, { line: { decision: "exact" }, happened: () => lookups }),
    overview(27, { line: { model: a }, happened: () => 0 }),
    of(
      "ingest",
      1,
      taken(() => messages[0] + messages[1]),
    ),
    of("ingest", 2, { shows: () => 0 }),
    of("ingest", 6, { line: { model: a }, ...taken(() => messages[0]) }),
    of("ingest", 6, { line: { model: b }, ...taken(() => messages[1]) }),
    of("ingest", 7, { line: { lane: "live" }, happened: () => messages[0] + messages[1] }),
    of("ingest", 9, { line: { le: "+Inf" }, happened: () => messages[0] + messages[1] }),
    of("engines", 7, { line: { pod: "engine-0" }, happened: events({ pod: "engine-0" }) }),
    of("engines", 7, { line: { pod: "engine-1" }, happened: events({ pod: "engine-1" }) }),
    of("engines", 1, { line: { pod: "engine-0" }, refId: "A", shows: (n) => (n === 3 ? 0 : 1) }),
    of("engines", 1, { line: { pod: "engine-1" }, refId: "C", shows: (n) => (n === 3 ? 0 : 1) }),
    of("engines", 1, { line: { pod: "engine-0" }, refId: "G", happened: events({ pod: "engine-0" }) }),
  ];

  test(
    "more than forty queries show what happened, with two daemons and with a third without engines",
    async () => {
      expect(2 * COMPARED.length).toBeGreaterThan(40);
      let wrong = await wrongPanels();
      for (let attempt = 1; attempt < ATTEMPTS && wrong.length > 0; attempt++) {
        // What happened before has left the look-back.
        await scrapedSince(Date.now() / 1000 + LOOK_BACK_SECONDS + 2);
        await traffic();
        wrong = await wrongPanels();
      }
      expect(wrong).toEqual([]);
      expect(messages.every((count) => count > 5)).toBe(true);
    },
    ATTEMPTS * TIMEOUT_MS,
  );

  /** Queries that show something else than what happened, with what they show. */
  async function wrongPanels(): Promise<string[]> {
    const wrong: string[] = [];
    for (const [job, replicas] of [
      ["two", 2],
      ["three", 3],
    ] as const)
      for (const {
        dashboard,
        panel,
        refId = "A",
        line = {},
        happened,
        shows,
        within = 3 / LOOK_BACK_SECONDS,
      } of COMPARED) {
        const rows = await ask(queryOf(dashboard, panel, refId, job));
        const row = rows.find(({ metric }) =>
          Object.entries(line).every(([label, value]) => metric[label] === value),
        );
        const isRate = happened !== undefined;
        const expected = isRate ? happened() : (shows?.(replicas) ?? Number.NaN);
        const shown = (row?.value ?? 0) * (isRate ? LOOK_BACK_SECONDS : 1);
        // A rate over a window may be a scrape too long or too short at either end.
        const tolerance = isRate ? expected * within + 0.01 : 0.001;
        if (!(Math.abs(shown - expected) <= tolerance))
          wrong.push(
            `${dashboard} ${panel}${refId} ${JSON.stringify(line)} ${job}: ${shown}, not ${expected}`,
          );
      }
    return wrong;
  }

  test("a target that has a label pod of its own leaves the engines' pods as they are", async () => {
    const pods = await ask(
      `count by (pod, exported_pod, replica) (${NAMESPACE}_kv_stream_trust{job="labelled"})`,
    );
    expect(
      pods.map(({ metric }) => metric).sort((x, y) => (x["pod"] ?? "").localeCompare(y["pod"] ?? "")),
    ).toEqual([
      { pod: "engine-0", replica: "kvsync-daemon-a" },
      { pod: "engine-1", replica: "kvsync-daemon-a" },
    ]);
  });
});

/** The relabelings of the committed scrape job. */
function committedRelabelings(): object[] {
  const { scrape_configs } = parse(readFileSync(join(INFRA, "prometheus", "prometheus.yaml"), "utf8")) as {
    scrape_configs: { job_name: string; relabel_configs?: object[] }[];
  };
  return scrape_configs.find(({ job_name }) => job_name === "kvsync-daemon")?.relabel_configs ?? [];
}

interface Panel {
  readonly id: number;
  readonly targets?: readonly { readonly refId: string; readonly expr: string }[];
  readonly panels?: readonly Panel[];
}

/** A panel's query for one fleet. */
function queryOf(dashboard: string, id: number, refId: string, job: string): string {
  const boards = join(INFRA, "grafana", "dashboards");
  const file = readdirSync(boards).find((name) => name === `${dashboard}.json`) ?? "";
  const { panels } = JSON.parse(readFileSync(join(boards, file), "utf8")) as { panels: Panel[] };
  // A folded row has its panels inside.
  const panel = panels.flatMap((one) => [one, ...(one.panels ?? [])]).find((one) => one.id === id);
  const target = panel?.targets?.find((each) => each.refId === refId);
  if (target === undefined) throw new Error(`${dashboard}: panel ${id} has no query ${refId}`);
  return target.expr
    .replaceAll("$__rate_interval", `${LOOK_BACK_SECONDS}s`)
    .replaceAll("$__range", "1h")
    .replaceAll('"$job"', `"${job}"`)
    .replace(/"\$\w+"/g, '".+"');
}
