/** A list of alerts as the daemon sends it, with every state and source. Its server of silences answers as Alertmanager does. */
import { readFileSync } from "node:fs";

const NOW = (): number => Math.round(Date.now() / 1000);

/** Ids of the silences that are there at first. */
export const SILENCE_ID = "0b6a2c5e-1111-4222-8333-123456789abc";

const LABELS = { job: "kvsync-daemon", instance: "10.0.0.1:7070" };
const LINKS = {
  runbook_url: "https://runbooks.example/kvsync/worker-down.md",
  dashboard_url: "https://grafana.example/d/kvsync-ingest?viewPanel=11",
};

function alert(name: string, state: string, severity: string, more: object = {}): Record<string, unknown> {
  return {
    name,
    state,
    severity,
    component: "ingest",
    labels: LABELS,
    value: 1,
    since: NOW() - 190,
    fires_at: null,
    summary: `${name} in one sentence.`,
    description: `${name} at 10.0.0.1:7070, with its value.`,
    silenced_by: [],
    ...LINKS,
    ...more,
  };
}

function rule(name: string, state: string, more: object = {}): object {
  return {
    name,
    state,
    severity: "warning",
    component: "ingest",
    for_seconds: 300,
    summary: `${name} in one sentence.`,
    needs: null,
    problem: null,
    ...LINKS,
    ...more,
  };
}

const SILENCE = {
  id: SILENCE_ID,
  state: "active",
  starts_at: new Date(Date.now() - 600_000).toISOString(),
  ends_at: new Date(Date.now() + 3_000_000).toISOString(),
  created_by: "operator",
  comment: "The disk is being replaced.",
  matchers: [
    { name: "alertname", value: "SnapshotStale", is_regex: false, is_equal: true },
    { name: "instance", value: "10.0.0.*", is_regex: true, is_equal: true },
  ],
};

/** With Prometheus and Alertmanager: an alert of each state. */
export function busyAlerts(): Record<string, unknown> {
  return {
    source: "prometheus+alertmanager",
    sources: [
      { name: "prometheus", state: "in_use", at: NOW() - 4, problem: null },
      { name: "alertmanager", state: "in_use", at: NOW() - 4, problem: null },
      { name: "built-in", state: "standing_by", at: NOW() - 9, problem: null },
    ],
    alerts: [
      alert("WorkerDown", "firing", "critical", {
        labels: { ...LABELS, worker: "2" },
        value: 41.2,
        description: "Worker 2 of 10.0.0.1:7070 has not run its tick for 41.2s.",
      }),
      alert("StreamUntrusted", "firing", "warning", {
        labels: { ...LABELS, pod: "vllm-0037", model: "meta/llama-4-70b" },
        description: "10.0.0.1:7070 does not trust vllm-0037.",
      }),
      alert("HighQueueDepth", "pending", "warning", { fires_at: NOW() + 70, value: 0.8421 }),
      alert("HighEventLatency", "inhibited", "warning"),
      alert("SnapshotStale", "silenced", "warning", { silenced_by: [SILENCE_ID] }),
    ],
    left_out: 0,
    rules: [
      rule("WorkerDown", "firing", { severity: "critical" }),
      rule("HighQueueDepth", "pending"),
      rule("HighErrorRate", "inactive"),
      rule("PropagationLag", "failed", { problem: "several series of the right side have the same labels" }),
      rule("PodDown", "needs_prometheus", { needs: "other_exporters" }),
      rule("AvailabilityBudgetBurn1d", "needs_prometheus", { needs: "history" }),
      rule("SyncDaemonDown", "needs_prometheus", { needs: "scrape" }),
    ],
    silences: [SILENCE],
  };
}

/** A rule as the daemon reads it from its file. */
interface RuleOfFile {
  readonly name: string;
  readonly severity: string;
  readonly component: string;
  readonly forSeconds: number;
  readonly summary: string;
  readonly runbook: string;
  readonly panel: { readonly uid: string; readonly id: number };
  readonly needs: string | null;
}

const RULES_FILE = new URL("../../../packages/observability/generated/kvsync.rules.json", import.meta.url);

function rulesOfFile(): RuleOfFile[] {
  return (JSON.parse(readFileSync(RULES_FILE, "utf8")) as { alerts: RuleOfFile[] }).alerts;
}

function linksOf({ runbook, panel }: RuleOfFile): object {
  return {
    runbook_url: `https://runbooks.example/kvsync/${runbook}`,
    dashboard_url: `https://grafana.example/d/${panel.uid}?viewPanel=${panel.id}`,
  };
}

/** What the daemon alone says with these alerts, among all rules that it has. */
function builtIn(
  nowSeconds: number,
  alerts: readonly unknown[],
  stateOf: (name: string) => string,
): Record<string, unknown> {
  return {
    source: "built-in",
    sources: [{ name: "built-in", state: "in_use", at: nowSeconds - 3, problem: null }],
    alerts,
    left_out: 0,
    rules: rulesOfFile().map((one) =>
      rule(one.name, one.needs === null ? stateOf(one.name) : "needs_prometheus", {
        severity: one.severity,
        component: one.component,
        for_seconds: one.forSeconds,
        summary: one.summary,
        needs: one.needs,
        ...linksOf(one),
      }),
    ),
    silences: null,
  };
}

/** All rules that the daemon has, and none of them holds. */
export function goodDayAlerts(nowSeconds = NOW()): Record<string, unknown> {
  return builtIn(nowSeconds, [], () => "inactive");
}

/** An alert of a bad day: its rule, its state, its labels, its description, and when it began or fires. */
type BadDayAlert = readonly [
  name: string,
  state: string,
  labels: Readonly<Record<string, string>>,
  description: string,
  times: { readonly since?: number; readonly fires_at?: number },
];

/** The alerts of `FleetScript.withTrouble`, among all rules that the daemon has, each with its own texts. */
export function badDayAlerts(nowSeconds = NOW()): Record<string, unknown> {
  const rules = rulesOfFile();
  const cut = { pod: "vllm-0025", model: "qwen/qwen3-235b" };
  const lost = { pod: "vllm-0037", model: "meta/llama-4-70b" };
  const [fires, waits] = ["firing", "pending"];
  const ago = (seconds: number): { since: number } => ({ since: nowSeconds - seconds });
  const wanted: readonly BadDayAlert[] = [
    [
      "KVSyncConnectionFailure",
      fires,
      cut,
      `fails to connect to the engine ${cut.pod} of ${cut.model}: 8.8 failed attempts per minute.`,
      ago(350),
    ],
    [
      "StreamUntrusted",
      fires,
      cut,
      `does not trust 1 stream of ${cut.pod} (${cut.model}) as exact for two minutes or longer.`,
      ago(360),
    ],
    [
      "StreamUntrusted",
      fires,
      lost,
      `does not trust 1 stream of ${lost.pod} (${lost.model}) as exact for two minutes or longer.`,
      ago(60),
    ],
    [
      "SnapshotStale",
      fires,
      {},
      "last saved its index in a snapshot 35m 0s ago, or has saved none since it started.",
      ago(1200),
    ],
    [
      "DiscoveryStale",
      fires,
      { source: "kubernetes" },
      "cannot bring its engines from kubernetes up to date; it follows those that it knew.",
      ago(1500),
    ],
    [
      "KVEventSequenceGaps",
      waits,
      lost,
      `misses up to 212 messages at once from the engine ${lost.pod} of ${lost.model}.`,
      { fires_at: nowSeconds + 45 },
    ],
  ];
  const alerts = wanted.flatMap(([name, state, about, description, times]) => {
    const found = rules.find((one) => one.name === name);
    if (found === undefined) throw new Error(`no rule ${name}`);
    const { severity, component, summary } = found;
    const labels = { ...LABELS, ...about };
    const texts = { component, summary, description: `${LABELS.instance} ${description}` };
    return [alert(name, state, severity, { labels, ...texts, ...linksOf(found), ...times })];
  });
  return builtIn(nowSeconds, alerts, (name) => wanted.find(([of]) => of === name)?.[1] ?? "inactive");
}

/** The daemon alone, with nothing to report. */
export function calmAlerts(): Record<string, unknown> {
  return {
    source: "built-in",
    sources: [{ name: "built-in", state: "in_use", at: NOW() - 3, problem: null }],
    alerts: [],
    left_out: 0,
    rules: [
      rule("WorkerDown", "inactive"),
      rule("PodDown", "needs_prometheus", { needs: "other_exporters" }),
    ],
    silences: null,
  };
}

/** Prometheus does not answer. */
export function failedSource(): Record<string, unknown> {
  const [, , builtIn] = busyAlerts()["sources"] as object[];
  return {
    ...busyAlerts(),
    source: "built-in+alertmanager",
    sources: [
      { name: "prometheus", state: "failed", at: NOW() - 4, problem: "no answer within 2 s" },
      { name: "alertmanager", state: "in_use", at: NOW() - 4, problem: null },
      { ...builtIn, state: "in_use" },
    ],
  };
}
