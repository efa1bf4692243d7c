/** The list of alerts (alert-list.ts) from its sources: Prometheus and Alertmanager as small servers, the built-in alerts as they are. */
import { createServer } from "node:http";
import type { AddressInfo } from "node:net";

import { Exposition } from "@kvsync/observability/exposition";
import { builtInRules } from "@kvsync/observability/kvsync/built-in-rules";
import { CATALOGUE } from "@kvsync/observability/kvsync/catalogue";
import { INGEST_METRICS } from "@kvsync/observability/kvsync/ingest";
import { MetricSlots } from "@kvsync/observability/slots";
import { expect, onTestFinished, test } from "vitest";

import { AlertSources } from "./alert-sources.ts";
import { BuiltInAlerts } from "./built-in-alerts.ts";

const RULES = builtInRules();
const ID = "0b6a2c5e-1111-4222-8333-123456789abc";

/** Answers by path; a status alone for an error. */
type Answers = Record<string, unknown>;

async function serve(answers: Answers, seen: string[] = []): Promise<string> {
  const server = createServer((request, response) => {
    const chunks: Buffer[] = [];
    request.on("data", (chunk: Buffer) => chunks.push(chunk));
    request.on("end", () => {
      const key = `${request.method ?? ""} ${request.url ?? ""}`;
      seen.push(`${key} ${Buffer.concat(chunks).toString()}`.trim());
      const answer = answers[key];
      response.statusCode = typeof answer === "number" ? answer : 200;
      response.end(typeof answer === "number" ? '"no silence: it has ended"\n' : JSON.stringify(answer));
    });
  });
  await new Promise<void>((resolve) => server.listen(0, "127.0.0.1", resolve));
  onTestFinished(() => {
    server.closeAllConnections();
    server.close();
  });
  return `http://127.0.0.1:${(server.address() as AddressInfo).port}`;
}

async function sourcesOf(settings: { prometheus?: string; alertmanager?: string; runbooks?: string }) {
  const exposition = new Exposition(CATALOGUE);
  const slots = new MetricSlots(CATALOGUE, "main", (announcement) => {
    exposition.accept(announcement);
  });
  slots.gauge(INGEST_METRICS.configurationValid, {}).set(0);
  let nowMs = Date.now();
  const now = () => nowMs;
  const builtIn = new BuiltInAlerts({ rules: RULES, exposition, instance: "here:1", now });
  await builtIn.sample();
  const all = {
    prometheus_url: settings.prometheus ?? null,
    alertmanager_url: settings.alertmanager ?? null,
    bearer_token_file: null,
    ca_file: null,
    grafana_url: null,
    runbooks_url: settings.runbooks ?? null,
  };
  const sources = new AlertSources(all, RULES, builtIn, now);
  onTestFinished(() => sources.stop());
  const later = (seconds: number) => (nowMs += seconds * 1000);
  return { sources, later, builtIn };
}

const LABELS = { job: "kvsync-daemon", instance: "10.0.0.1:7070" };
const RULE = (name: string, alerts: object[], state = "firing") => ({
  name,
  state,
  duration: 60,
  health: "ok",
  labels: { severity: "critical" },
  alerts,
});
const ALERT = (name: string, state: string, more: Record<string, string> = {}) => ({
  labels: { alertname: name, ...LABELS, ...more, severity: "critical", component: "ingest" },
  annotations: {
    summary: "From Prometheus.",
    description: "All of it.",
    runbook_url: "javascript:alert(1)",
    dashboard_url: "https://grafana.example/d/x",
  },
  state,
  activeAt: "2026-01-01T00:00:00Z",
  value: "1e+00",
});
const GROUPS = (...rules: object[]) => ({ status: "success", data: { groups: [{ name: "g", rules }] } });
const RECEIVED = (name: string, status: object, more: Record<string, string> = {}) => ({
  labels: { alertname: name, ...LABELS, ...more, cluster: "east", severity: "critical", component: "ingest" },
  annotations: { summary: "From Alertmanager.", description: "Some of it." },
  startsAt: "2026-01-01T00:01:00Z",
  status,
});

test("without Prometheus and Alertmanager the list is the daemon's own", async () => {
  const { sources } = await sourcesOf({ runbooks: "https://runbooks.example/kvsync/" });
  const list = await sources.list();
  expect(list.source).toBe("built-in");
  expect(list.alerts).toMatchObject([
    {
      name: "KVSyncConfigurationError",
      state: "pending",
      severity: "critical",
      value: 0,
      runbook_url: "https://runbooks.example/kvsync/kv-sync-configuration-error.md",
      dashboard_url: null,
    },
  ]);
  expect(list.alerts[0]?.fires_at).toBe((list.alerts[0]?.since ?? 0) + 60);
  expect(list.rules).toHaveLength(RULES.alerts.length);
  expect(list.silences).toBeNull();
});

test("with both, Alertmanager's silences change the state of Prometheus's alerts, and each is there once (A2)", async () => {
  const silence = {
    id: ID,
    status: { state: "active" },
    startsAt: "2026-01-01T00:00:00Z",
    endsAt: "2026-01-02T00:00:00Z",
    createdBy: "operator",
    comment: "known",
    matchers: [{ name: "alertname", value: "WorkerDown", isRegex: false, isEqual: true }],
  };
  const { sources } = await sourcesOf({
    prometheus: await serve({
      "GET /api/v1/rules?type=alert": GROUPS(
        RULE("WorkerDown", [ALERT("WorkerDown", "firing", { worker: "0" })]),
        RULE("CriticalQueueDepth", [ALERT("CriticalQueueDepth", "firing")]),
        RULE("HighQueueDepth", [ALERT("HighQueueDepth", "pending")], "pending"),
        RULE("SomebodyElsesAlert", [ALERT("SomebodyElsesAlert", "firing")]),
      ),
    }),
    alertmanager: await serve({
      "GET /api/v2/alerts": [
        RECEIVED("WorkerDown", { state: "suppressed", silencedBy: [ID], inhibitedBy: [] }, { worker: "0" }),
        RECEIVED("CriticalQueueDepth", { state: "suppressed", silencedBy: [], inhibitedBy: ["x"] }),
        RECEIVED("StorageUnhealthy", { state: "active", silencedBy: [], inhibitedBy: [] }),
        RECEIVED("SomebodyElsesAlert", { state: "active", silencedBy: [], inhibitedBy: [] }),
      ],
      "GET /api/v2/silences": [silence, { ...silence, status: { state: "expired" } }],
    }),
  });
  const list = await sources.list();
  expect(list.source).toBe("prometheus+alertmanager");
  expect(list.alerts.map(({ name, state, value }) => [name, state, value])).toEqual([
    ["StorageUnhealthy", "firing", null],
    ["HighQueueDepth", "pending", 1],
    ["CriticalQueueDepth", "inhibited", 1],
    ["WorkerDown", "silenced", 1],
  ]);
  expect(list.alerts.at(-1)?.silenced_by).toEqual([ID]);
  expect(list.silences?.map(({ id }) => id)).toEqual([ID]);
  expect(list.rules.find(({ name }) => name === "HighEventLatency")).toMatchObject({ state: "unknown" });
});

test("A4: a link of an annotation is shown only with http or https", async () => {
  const { sources } = await sourcesOf({
    prometheus: await serve({
      "GET /api/v1/rules?type=alert": GROUPS(RULE("WorkerDown", [ALERT("WorkerDown", "firing")])),
    }),
  });
  const [alert] = (await sources.list()).alerts;
  expect(alert).toMatchObject({ runbook_url: null, dashboard_url: "https://grafana.example/d/x" });
});

test.each<[string, unknown, RegExp]>([
  ["an error", 500, /it answered 500/],
  ["no JSON object", "text", /not as expected/],
  [
    "a form of another version",
    { data: { groups: [{ rules: [{ name: 1 }] }] } },
    /data\.groups\.0\.rules\.0\.name/,
  ],
])(
  "A1, Q3: when Prometheus answers with %s, the built-in alerts take its place",
  async (_, answer, problem) => {
    const { sources } = await sourcesOf({
      prometheus: await serve({ "GET /api/v1/rules?type=alert": answer }),
    });
    const list = await sources.list();
    expect(list.source).toBe("built-in");
    expect(list.alerts.map(({ name }) => name)).toEqual(["KVSyncConfigurationError"]);
    const prometheus = list.sources.find(({ name }) => name === "prometheus");
    expect(prometheus?.state).toBe("failed");
    expect(prometheus?.problem).toMatch(problem);
  },
);

test("A3: a list has 200 alerts, and the number of the others", async () => {
  const alerts = Array.from({ length: 230 }, (_, i) => ALERT("StreamUntrusted", "firing", { pod: `p${i}` }));
  const { sources } = await sourcesOf({
    prometheus: await serve({ "GET /api/v1/rules?type=alert": GROUPS(RULE("StreamUntrusted", alerts)) }),
  });
  const list = await sources.list();
  expect([list.alerts.length, list.left_out]).toEqual([200, 30]);
});

test("Q1, Q2: callers at one time share a round, and a young answer is not asked for again", async () => {
  const seen: string[] = [];
  const prometheus = await serve({ "GET /api/v1/rules?type=alert": GROUPS() }, seen);
  const { sources, later } = await sourcesOf({ prometheus });
  expect(sources.present().sources[0]?.state).toBe("not_asked_yet");
  expect(seen).toHaveLength(0);
  await Promise.all([sources.list(), sources.list(), sources.list()]);
  await sources.list();
  expect(seen).toHaveLength(1);
  later(16);
  await sources.list();
  expect(seen).toHaveLength(2);
});

test("Q4: a silence is passed on with the caller's name, and Alertmanager's refusal is passed back", async () => {
  const seen: string[] = [];
  const answers: Answers = {
    "GET /api/v2/alerts": [],
    "GET /api/v2/silences": [],
    "POST /api/v2/silences": { silenceID: ID },
    [`DELETE /api/v2/silence/${ID}`]: 500,
  };
  const { sources } = await sourcesOf({ alertmanager: await serve(answers, seen) });
  const matchers = [{ name: "alertname", value: "WorkerDown", is_regex: false, is_equal: true }];
  const wanted = { matchers, ends_at: "2099-01-01T00:00:00Z", comment: "known" };
  expect(await sources.silence(wanted, "operator")).toEqual({ silence_id: ID });
  const [, body] = /^POST \S+ (.*)$/.exec(seen.find((one) => one.startsWith("POST")) ?? "") ?? [];
  expect(JSON.parse(body ?? "{}")).toMatchObject({
    matchers: [{ name: "alertname", value: "WorkerDown", isRegex: false, isEqual: true }],
    endsAt: "2099-01-01T00:00:00Z",
    createdBy: "operator",
    comment: "known",
  });
  await expect(sources.expire(ID)).rejects.toMatchObject({
    facts: { code: "upstream_refused", upstream_status: 500, answer: "no silence: it has ended" },
  });
});

test("a silence without Alertmanager is refused with the setting's name", async () => {
  const { sources } = await sourcesOf({});
  await expect(sources.expire(ID)).rejects.toMatchObject({
    facts: { code: "alertmanager_not_configured", setting: "dashboard.alertmanager_url" },
  });
});
