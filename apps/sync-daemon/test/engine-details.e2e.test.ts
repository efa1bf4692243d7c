/**
 * Answers that the page needs in addition to its stream, from a real daemon that follows real engines.
 * They are about one engine with its history and events, the index, the log, and the daemon itself.
 */
import { mkdtempSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";

import { afterAll, beforeAll, expect, test } from "vitest";

import type { EngineDetailsAnswer } from "../src/openapi/engine-answers.ts";
import type { RankHoursAnswer } from "../src/openapi/dashboard-answers.ts";
import type { IndexReport, LogLinesAnswer, SystemReport } from "../src/openapi/system-answers.ts";
import { DaemonProcess } from "./daemon-process.ts";
import { caughtUp, dumped, TestEngine, until } from "./fleet.ts";

let engines: TestEngine[];
let daemon: DaemonProcess;
const folder = mkdtempSync(join(tmpdir(), "kvsync-details-"));
const ADMIN = "admin-token-0123456789";

beforeAll(async () => {
  engines = await Promise.all(
    [0, 1, 2].map((i) =>
      TestEngine.start(
        { id: `engine-${i}`, blockCount: 60, hostBlockCount: 100, hostSelfDescribing: true },
        i + 1,
      ),
    ),
  );
  daemon = await DaemonProcess.start(
    {
      engines: engines.map(({ entry }) => entry),
      dashboard: { grafana_url: "https://grafana.example/d" },
      snapshot: { directory: folder },
    },
    ["--index-prefix-hashes", "public"],
  );
  for (const engine of engines) await engine.serve(12);
  await caughtUp(daemon, engines);
});

afterAll(async () => {
  await daemon.end();
  for (const engine of engines) await engine.stop();
  rmSync(folder, { recursive: true, force: true });
});

async function get<Answer>(path: string, headers: Readonly<Record<string, string>> = {}): Promise<Answer> {
  const response = await daemon.fetch(path, { headers });
  if (response.status !== 200) throw new Error(`${response.status}: ${await response.text()}`);
  return (await response.json()) as Answer;
}

/** A row of a dump, from its text. */
function rowOf(text: string): { readonly owner: number; readonly tier: number; readonly hash: string } {
  const [, owner = "", tier = "", hash = ""] = /^slot (\d+) lora "" tier (\d+) (\w+)$/.exec(text) ?? [];
  return { owner: Number(owner), tier: Number(tier), hash };
}

const details = (id: string) => get<EngineDetailsAnswer>(`/api/v1/engines/${id}`);

test("an engine's own answer is its entry in the list, with a timeline that ends exact", async () => {
  const { engines: list } = await get<{
    readonly engines: readonly { readonly id: string; readonly ranks: readonly object[] }[];
  }>("/api/v1/engines");
  const one = await details("engine-1");
  const listed = list.find(({ id }) => id === "engine-1");
  const { tiers_counted_at, ranks, ...rest } = one;
  expect(Date.parse(tiers_counted_at ?? "")).toBeGreaterThan(0);
  expect({ ...rest, ranks: [] }).toEqual({ ...listed, ranks: [] });
  const [rank] = ranks;
  const {
    timeline = [],
    recent_gaps,
    recent_restarts,
    tiers,
    events_per_second,
    dropped_last_hour,
    ...report
  } = rank ?? {};
  expect([events_per_second?.length, dropped_last_hour]).toEqual([60, rank?.dropped]);
  expect({ ...report, last_event_age_seconds: 0 }).toEqual({
    ...listed?.ranks[0],
    last_event_age_seconds: 0,
  });
  expect(timeline.at(-1)).toMatchObject({ state: "live", trust: "exact" });
  expect(timeline.map(({ at }) => at)).toEqual(timeline.map(({ at }) => at).toSorted());
  expect(recent_gaps?.reduce((sum, { messages }) => sum + messages, 0)).toBe(rank?.missed_messages);
  expect(recent_restarts).toEqual([]);
  expect(tiers?.remote).toBe(0);
});

test("blocks by tier are those that a dump of the index has, and some are on the host", async () => {
  await until("a count after the load", async () => {
    const { ranks } = await details("engine-0");
    const rows = await dumped(daemon, "test/model");
    const slot = ranks[0]?.rank_slot ?? -1;
    const expected = [0, 0, 0, 0];
    for (const { owner, tier } of [...rows.keys()].map(rowOf))
      if (owner === slot) expected[tier] = (expected[tier] ?? 0) + 1;
    const { device = -1, host = -1, disk = -1, remote = -1 } = ranks[0]?.tiers ?? {};
    return host > 0 && JSON.stringify([device, host, disk, remote]) === JSON.stringify(expected);
  });
});

test("the index is shown by context with the ranks that share each block, as a dump has them", async () => {
  const rows = await dumped(daemon, "test/model");
  const holders = new Map<string, Set<number>>();
  for (const { hash, owner } of [...rows.keys()].map(rowOf))
    holders.set(hash, (holders.get(hash) ?? new Set()).add(owner));
  const of = (min: number, max: number): number =>
    [...holders.values()].filter(({ size }) => size >= min && size <= max).length;
  const expected = { "1": of(1, 1), "2": of(2, 2), "3-4": of(3, 4), "5-8": of(5, 8), over_8: of(9, 4096) };
  const report = await until("a count after the load", async () => {
    const found = await get<IndexReport>("/api/v1/index");
    return JSON.stringify(found.contexts[0]?.holders) === JSON.stringify(expected) ? found : null;
  });
  const [context] = report.contexts;
  expect(context).toMatchObject({ model: "test/model", lora: null, block_size: 16, prefixes: holders.size });
  expect(report.memory.used).toBe(report.contexts.reduce((sum, { bytes }) => sum + bytes, 0));
  expect(report.memory.used).toBeLessThanOrEqual(report.memory.limit);
  expect(report.evictions).toMatchObject({ memory_limit: 0 });
});

test("an engine's own answer has its events by the minute, and drops of the last hour, which are all so far", async () => {
  const [engine] = engines;
  if (engine === undefined) throw new Error("no engine");
  await engine.serve(2);
  await until("the running minute has events", async () => {
    const [rank] = (await details("engine-0")).ranks;
    expect(rank?.events_per_second).toHaveLength(60);
    expect(rank?.dropped_last_hour).toEqual(rank?.dropped);
    return (rank?.events_per_second.at(-1) ?? 0) > 0;
  });
});

test("the last hour of several ranks is that of their own answers, and a slot without a rank is left out", async () => {
  const all = await Promise.all(engines.map((_, i) => details(`engine-${i}`)));
  const slots = all.map(({ ranks }) => ranks[0]?.rank_slot ?? -1);
  const { ranks } = await get<RankHoursAnswer>(`/api/v1/dashboard/ranks?slots=${slots.join(",")},4000`);
  expect(ranks.map(({ engine }) => engine).toSorted()).toEqual(all.map(({ id }) => id));
  for (const { engine, timeline, events_per_second } of ranks) {
    const own = all.find(({ id }) => id === engine)?.ranks[0];
    expect(timeline).toEqual(own?.timeline);
    expect(events_per_second.slice(0, -1)).toEqual(own?.events_per_second.slice(0, -1));
  }
  for (const wrong of ["", "?slots=", "?slots=a", "?slots=1,", `?slots=${"1,".repeat(64)}1`])
    expect((await daemon.fetch(`/api/v1/dashboard/ranks${wrong}`)).status, wrong).toBe(400);
});

test("a gap that a replay has filled is not left open", async () => {
  await until("each gap has its end", async () => {
    const all = await Promise.all(engines.map((_, i) => details(`engine-${i}`)));
    return all.every(({ ranks }) =>
      ranks.every(
        ({ trust, recent_gaps }) => trust === "exact" && recent_gaps.every(({ outcome }) => outcome !== null),
      ),
    );
  });
});

test("messages that are lost are a gap in the engine's own answer, with the replay that brought them", async () => {
  const [engine] = engines;
  if (engine === undefined) throw new Error("no engine");
  await engine.server.applyFault({ kind: "drop", percent: 100 }, 0);
  await engine.serve(5);
  await engine.server.applyFault({ kind: "drop", percent: 0 }, 0);
  await engine.serve(1);
  await caughtUp(daemon, [engine]);
  const rank = await until("the replay has ended", async () => {
    const [found] = (await details("engine-0")).ranks;
    if (found?.recent_gaps.at(-1)?.outcome !== "completed" || found.trust !== "exact") return null;
    // Counters are shown when the stream has become quiet.
    const missed = found.recent_gaps.reduce((sum, { messages }) => sum + messages, 0);
    return missed === found.missed_messages ? found : null;
  });
  expect(rank.recent_gaps.at(-1)?.seconds).toBeGreaterThan(0);
  expect(rank.timeline.map(({ trust }) => trust)).toContain("stale");
});

/** Reads a stream of events until it is closed. */
async function watch(
  path: string,
  of: DaemonProcess = daemon,
  headers: Readonly<Record<string, string>> = {},
): Promise<{
  readonly sent: { readonly event: string; readonly data: Record<string, unknown> }[];
  readonly ended: Promise<void>;
  readonly close: () => void;
}> {
  const abort = new AbortController();
  const response = await of.fetch(path, { signal: abort.signal, headers });
  if (response.status !== 200) throw new Error(`${response.status}: ${await response.text()}`);
  const sent: { event: string; data: Record<string, unknown> }[] = [];
  const read = async (): Promise<void> => {
    let text = "";
    const decoder = new TextDecoder();
    try {
      for await (const chunk of response.body ?? []) {
        text += decoder.decode(chunk as Uint8Array, { stream: true });
        const parts = text.split("\n\n");
        text = parts.pop() ?? "";
        for (const part of parts) {
          const [, event = "", data = "{}"] = /^event: (\w+)\ndata: (.*)$/s.exec(part) ?? [];
          if (event !== "") sent.push({ event, data: JSON.parse(data) as Record<string, unknown> });
        }
      }
    } catch (error) {
      if (!abort.signal.aborted) throw error;
    }
  };
  return {
    sent,
    ended: read(),
    close: () => {
      abort.abort();
    },
  };
}

test("a rank's events are sent as they are applied: as many as its counters grow by", async () => {
  const [, engine] = engines;
  if (engine === undefined) throw new Error("no engine");
  const [before] = (await details("engine-1")).ranks;
  const viewer = await watch("/api/v1/engines/engine-1/events?rank=0");
  await until("the stream has begun", () => Promise.resolve(viewer.sent[0]?.event === "hello"));
  await engine.serve(3);
  await caughtUp(daemon, [engine]);
  const [after] = (await details("engine-1")).ranks;
  const sumOf = (counts: Readonly<Record<string, number>> = {}): number =>
    Object.values(counts).reduce((sum, count) => sum + count, 0);
  const grown = sumOf(after?.events_applied) - sumOf(before?.events_applied);
  expect(grown).toBeGreaterThan(0);
  const batches = () => viewer.sent.filter(({ event }) => event === "events").map(({ data }) => data);
  const events = () => batches().flatMap((data) => data["events"] as Record<string, unknown>[]);
  const leftOut = () => batches().reduce((sum, data) => sum + Number(data["left_out"]), 0);
  await until("all have come", () => Promise.resolve(events().length + leftOut() === grown));
  const last = events().at(-1);
  expect(last).toMatchObject({ seq: after?.last_sequence_number, applied: true, reason: null });
  expect(Object.keys(last ?? {}).sort()).toEqual([
    "applied",
    "at",
    "blocks",
    "hash",
    "lag_ms",
    "lora",
    "reason",
    "seq",
    "tier",
    "type",
  ]);
  const stored = events().filter(({ type }) => type === "BlockStored");
  expect(stored.filter(({ hash }) => !/^[0-9a-f]{8}$/.test(String(hash)))).toEqual([]);
  expect(new Set(stored.map(({ hash }) => hash)).size).toBeGreaterThan(1);
  expect(new Set(stored.map(({ tier }) => tier))).toContain("device");
  viewer.close();
  await viewer.ended;
});

test("events have a part of a hash for a token with admin scope, and none for one with read scope", async () => {
  const tokens = join(folder, "scopes.yaml");
  const READ = "read-token-0123456789";
  writeFileSync(
    tokens,
    `tokens:\n  - { name: gateway, scope: read, token: ${READ} }\n  - { name: operator, scope: admin, token: ${ADMIN} }\n`,
  );
  const engine = await TestEngine.start({ id: "engine-0" }, 5);
  const guarded = await DaemonProcess.start({ engines: [engine.entry] }, ["--security-tokens-file", tokens]);
  const bearer = (token: string) => ({ authorization: `Bearer ${token}` });
  const [reader, admin] = await Promise.all(
    [READ, ADMIN].map((token) => watch("/api/v1/engines/engine-0/events", guarded, bearer(token))),
  );
  await until("both have begun", () =>
    Promise.resolve(reader?.sent.length === 1 && admin?.sent.length === 1),
  );
  await engine.serve(2);
  const eventsOf = (viewer: typeof reader) =>
    (viewer?.sent ?? [])
      .filter(({ event }) => event === "events")
      .flatMap(({ data }) => data["events"] as Record<string, unknown>[]);
  await until("both have events", () =>
    Promise.resolve(eventsOf(reader).length > 0 && eventsOf(admin).length > 0),
  );
  expect(eventsOf(admin).some(({ hash }) => /^[0-9a-f]{8}$/.test(String(hash)))).toBe(true);
  expect(eventsOf(reader).filter((event) => "hash" in event)).toEqual([]);
  for (const viewer of [reader, admin]) {
    viewer?.close();
    await viewer?.ended;
  }
  await guarded.end();
  await engine.stop();
});

test("a ninth viewer of events is refused, and so are an unknown engine and a rank that it has not", async () => {
  const viewers = await Promise.all(
    Array.from({ length: 8 }, () => watch("/api/v1/engines/engine-2/events")),
  );
  const refused = await daemon.fetch("/api/v1/engines/engine-1/events");
  expect(refused.status).toBe(503);
  expect(await refused.json()).toMatchObject({ code: "too_many_viewers", maximum: 8 });
  for (const { close } of viewers) close();
  await Promise.all(viewers.map(({ ended }) => ended));
  await until("there is room again", async () => {
    const response = await daemon.fetch("/api/v1/engines/engine-1/events", { method: "HEAD" });
    return response.status === 200;
  });
  expect((await daemon.fetch("/api/v1/engines/nobody/events")).status).toBe(404);
  expect((await daemon.fetch("/api/v1/engines/nobody")).status).toBe(404);
  expect((await daemon.fetch("/api/v1/engines/engine-1/events?rank=7")).status).toBe(400);
});

test("the stream of events of an engine that is removed ends with `gone`", async () => {
  const extra = await TestEngine.start({ id: "engine-9" }, 9);
  const headers = { "content-type": "application/json" };
  await daemon.fetch("/api/v1/engines", { method: "POST", headers, body: JSON.stringify(extra.entry) });
  const viewer = await watch("/api/v1/engines/engine-9/events");
  await daemon.fetch("/api/v1/engines/engine-9", { method: "DELETE" });
  await viewer.ended;
  expect(viewer.sent.at(-1)?.event).toBe("gone");
  await extra.stop();
});

test("the log's latest lines are those that the process wrote", async () => {
  const { last, lines } = await get<LogLinesAnswer>("/api/v1/logs?event=engine_connected");
  const written = daemon.log.filter(({ event }) => event === "engine_connected");
  expect(written.length).toBeGreaterThanOrEqual(3);
  expect(lines.map(({ facts }) => facts?.["pod"])).toEqual(written.map(({ pod }) => pod));
  expect(lines.map(({ message }) => message)).toEqual(written.map(({ message }) => message));
  const own = await get<LogLinesAnswer>("/api/v1/logs?pod=engine-2&level=info");
  expect(own.lines.length).toBeGreaterThan(0);
  expect(own.lines.every(({ facts, verbosity }) => facts?.["pod"] === "engine-2" && verbosity <= 1)).toBe(
    true,
  );
  expect((await get<LogLinesAnswer>(`/api/v1/logs?after=${last}&event=engine_connected`)).lines).toEqual([]);
  expect((await daemon.fetch("/api/v1/logs?level=loud")).status).toBe(400);
});

test("the log's stream begins with the kept lines, and a new one comes once it is written", async () => {
  const { last } = await get<LogLinesAnswer>("/api/v1/logs");
  const viewer = await watch("/api/v1/logs/stream?event=engine_connected");
  const lines = () =>
    viewer.sent
      .filter(({ event }) => event === "lines")
      .flatMap(({ data }) => data["lines"] as LogLinesAnswer["lines"]);
  await until("the kept lines have come", () => Promise.resolve(lines().length >= 3));
  expect(lines()).toEqual((await get<LogLinesAnswer>("/api/v1/logs?event=engine_connected")).lines);
  const extra = await TestEngine.start({ id: "engine-8" }, 8);
  const headers = { "content-type": "application/json" };
  await daemon.fetch("/api/v1/engines", { method: "POST", headers, body: JSON.stringify(extra.entry) });
  await until("the new line has come", () =>
    Promise.resolve(lines().some(({ n, facts }) => n > last && facts?.["pod"] === "engine-8")),
  );
  expect(new Set(lines().map(({ n }) => n)).size).toBe(lines().length);
  viewer.close();
  await viewer.ended;
  await daemon.fetch("/api/v1/engines/engine-8", { method: "DELETE" });
  await extra.stop();
  expect((await daemon.fetch("/api/v1/logs/stream?level=loud")).status).toBe(400);
});

test("the daemon says what runs, and from where each setting is", async () => {
  const system = await get<SystemReport>("/api/v1/system");
  expect(system).toMatchObject({
    version: "0.1.0",
    node: process.version,
    pid: daemon.pid,
    certificate: null,
  });
  const of = (path: string) => system.settings.find((one) => one.path === path);
  expect(of("engines")).toMatchObject({ value: 3, source: `file ${daemon.configFile}` });
  expect(of("index.prefix_hashes")).toEqual({
    path: "index.prefix_hashes",
    value: "public",
    source: "flag --index-prefix-hashes",
  });
  expect(of("dashboard.viewers")).toEqual({ path: "dashboard.viewers", value: 32, source: null });
  expect(system.links).toEqual({
    grafana: "https://grafana.example/d",
    traces: null,
    runbooks: null,
    errors: null,
  });
  expect(system.sources).toMatchObject([{ source: "file", engines: 3 }, {}]);
  expect(system.snapshot.folder).toBe(folder);
  expect(system.memory.rss).toBeLessThan(system.memory.limit);
});

test("credentials in an address are masked, and no token is shown", async () => {
  const tokens = join(folder, "tokens.yaml");
  writeFileSync(tokens, `tokens:\n  - { name: operator, scope: admin, token: ${ADMIN} }\n`);
  const other = await DaemonProcess.start({
    security: { tokens_file: tokens },
    dashboard: { prometheus_url: "http://operator:password@127.0.0.1:9/" },
  });
  const response = await other.fetch("/api/v1/system", { headers: { authorization: `Bearer ${ADMIN}` } });
  const text = await response.text();
  expect(response.status).toBe(200);
  expect(text).toContain("http://***@127.0.0.1:9/");
  expect(text).not.toContain("operator:");
  expect(text).not.toContain(ADMIN);
  await other.end();
});

test("long answers travel compressed to those who take that, and plain to the others", async () => {
  for (const path of ["/api/v1/system", "/api/v1/logs", "/api/v1/engines/engine-1"]) {
    const small = await daemon.fetch(path, { headers: { "accept-encoding": "gzip" } });
    expect([path, small.headers.get("content-encoding")]).toEqual([path, "gzip"]);
    expect(small.headers.get("vary")).toBe("accept-encoding");
    expect(typeof (await small.json())).toBe("object");
    const plain = await daemon.fetch(path, { headers: { "accept-encoding": "identity" } });
    expect(plain.headers.get("content-encoding")).toBeNull();
    expect(typeof (await plain.json())).toBe("object");
  }
  // A history of seconds is short; it takes the same way out.
  const short = await daemon.fetch("/api/v1/dashboard/history?seconds=5", {
    headers: { "accept-encoding": "gzip" },
  });
  expect(short.headers.get("content-encoding")).toBeNull();
  expect(short.headers.get("vary")).toBe("accept-encoding");
});
