/** The verdict as a table: facts, and the sentence that they make. */
import { describe, expect, it } from "vitest";

import type { ConnectionState } from "../stream/connection.ts";
import { FleetStore, type RankRow } from "../stream/fleet-store.ts";
import type { Alert, Cell, Health, Totals } from "../stream/stream-messages.ts";
import { compareWorst, summaryOf } from "./fleet-summary.ts";
import { type Tone, verdictOf } from "./verdict.ts";

const COLUMNS = ["slot", "id", "model", "trust", "connected", "rank", "missed", "age_ms"];
const TRUSTS = ["exact", "partial", "stale", "unknown"] as const;
const AT = new Date(2025, 10, 28, 23, 4, 12).getTime();

/** One or more ranks of one engine: `id model trust,trust …`, a `!` for one without a connection. */
function rowsOf(engines: readonly string[]): RankRow[] {
  let slot = 0;
  const rows = engines.flatMap((text) => {
    const [id = "", model = "", trusts = ""] = text.split(" ");
    return trusts.split(",").map((trust, rank): Cell[] => {
      const name = trust.replace("!", "");
      return [slot++, id, model, TRUSTS.indexOf(name as "exact"), !trust.includes("!"), rank, 0, 0];
    });
  });
  const store = new FleetStore();
  store.applySnapshot({ n: 1, at: AT, columns: COLUMNS, models: [], states: [], trusts: TRUSTS, rows });
  return [...store.rows.values()];
}

const many = (number: number, trust: string, model = "llama", from = 0): string[] =>
  Array.from({ length: number }, (_, i) => `vllm-${from + i} ${model} ${trust}`);
const alert = (name: string, severity: string, state: Alert["state"] = "firing", summary = ""): Alert => ({
  name,
  severity,
  state,
  summary,
});
const check = (
  name: string,
  status: "healthy" | "unhealthy" | "degraded",
  critical: boolean,
  message = "no sign of life.",
) => ({ name, status, critical, message });

interface Case {
  readonly what: string;
  readonly connection?: ConnectionState;
  readonly hasData?: boolean;
  readonly engines?: readonly string[];
  readonly totals?: Totals;
  readonly health?: Health;
  readonly alerts?: readonly Alert[];
  readonly tone: Tone;
  readonly title: string;
  /** What the sentences below have to contain. */
  readonly text?: string;
}

const WELL = many(3, "exact");
const WAITING: ConnectionState = { kind: "waiting", lostAt: AT, retryAt: AT, reason: "ended", status: null };

const CASES: readonly Case[] = [
  {
    what: "nothing has arrived",
    hasData: false,
    connection: { kind: "connecting", lostAt: null },
    tone: "unknown",
    title: "Connecting to the daemon.",
    text: "",
  },
  {
    what: "the stream is lost",
    connection: WAITING,
    engines: WELL,
    tone: "critical",
    title: "Not connected to the daemon since 23:04:12. The data shown is old.",
  },
  {
    what: "the stream was never there",
    connection: WAITING,
    hasData: false,
    tone: "critical",
    title: "Not connected to the daemon since 23:04:12.",
  },
  {
    what: "it connects again",
    connection: { kind: "connecting", lostAt: AT },
    engines: WELL,
    tone: "critical",
    title: "Not connected to the daemon since 23:04:12. The data shown is old.",
  },
  {
    what: "no token",
    connection: { kind: "refused", status: 401 },
    hasData: false,
    tone: "unknown",
    title: "The daemon asks for a token.",
  },
  {
    what: "a token without the right",
    connection: { kind: "refused", status: 403 },
    engines: WELL,
    tone: "unknown",
    title: "This token may not read. It needs the scope read or admin.",
  },
  {
    what: "lost goes before a critical check",
    connection: WAITING,
    engines: WELL,
    health: { checks: [check("memory", "unhealthy", true)] },
    tone: "critical",
    title: "Not connected to the daemon since 23:04:12. The data shown is old.",
  },
  {
    what: "a critical check",
    engines: WELL,
    health: {
      checks: [
        check("memory", "healthy", true),
        check("ingest_workers", "unhealthy", true, "worker 1 is silent"),
      ],
    },
    tone: "critical",
    title: "The daemon is unhealthy: ingest_workers, worker 1 is silent.",
  },
  {
    what: "a check that is not critical",
    engines: WELL,
    health: { checks: [check("tokenizer", "unhealthy", false)] },
    tone: "good",
    title: "All 3 engines are followed exactly.",
    text: "The health check **tokenizer** is unhealthy: no sign of life.",
  },
  {
    what: "a critical check that is degraded",
    engines: WELL,
    health: {
      checks: [
        check("memory", "degraded", true, ""),
        check("discovery", "degraded", false, "stale for 32 min"),
      ],
    },
    tone: "good",
    title: "All 3 engines are followed exactly.",
    text: "The health check **memory** is degraded. The health check **discovery** is degraded: stale for 32 min.",
  },
  {
    what: "more checks than are told",
    engines: WELL,
    health: {
      checks: ["memory", "discovery", "tokenizer"].map((name) => check(name, "degraded", false, "")),
    },
    tone: "good",
    title: "All 3 engines are followed exactly.",
    text: "The health check **discovery** is degraded. **1** more check is not healthy.",
  },
  {
    what: "an index that is nearly full",
    engines: WELL,
    totals: { p50: 0.00031, memory: { used: 96, limit: 100 }, not_applied: {} },
    tone: "good",
    title: "All 3 engines are followed exactly. Lookups take 0.31 ms.",
    text: "The index uses **96 %** of its memory limit. No event was dropped in the last second.",
  },
  {
    what: "an index with room",
    engines: WELL,
    totals: { p50: 0.00031, p99: 0.00092, memory: { used: 58, limit: 100 } },
    tone: "good",
    title: "All 3 engines are followed exactly. Lookups take 0.31 ms.",
    text: "The p99 of lookups is **0.92 ms**.",
  },
  {
    what: "a firing alert about the worst engine, which is named once",
    engines: [...WELL, "vllm-9 llama unknown!"],
    alerts: [{ ...alert("StreamUntrusted", "warning"), labels: { pod: "vllm-9", model: "llama" } }],
    tone: "warning",
    title: "StreamUntrusted fires for vllm-9.",
    text: "**1** engine cannot be reached. No lookup",
  },
  {
    what: "an invalid configuration",
    health: { configuration: { missing: ["AIBRIX_REMOTE_TOKENIZER_ENDPOINT"] } },
    tone: "critical",
    title: "KV event sync is off: AIBRIX_REMOTE_TOKENIZER_ENDPOINT is missing.",
    text: "Lookups answer that no cache information is available.",
  },
  {
    what: "two missing settings",
    health: { configuration: { missing: ["A", "B"] } },
    tone: "critical",
    title: "KV event sync is off: A, B are missing.",
  },
  {
    what: "no engine",
    health: {
      sources: [
        { name: "file", engines: 0 },
        { name: "kubernetes", state: "stale" },
      ],
    },
    tone: "warning",
    title: "No engine is known. Sources: file (0), kubernetes (stale).",
  },
  {
    what: "no engine and no sources",
    totals: { p50: 0.00031, not_applied: {} },
    tone: "warning",
    title: "No engine is known.",
    text: "Lookups answer that no cache information is available.",
  },
  {
    what: "not ready",
    engines: [...many(2, "unknown"), ...many(3, "exact", "llama", 2)],
    health: { ready: false },
    tone: "warning",
    title: "Catching up: 3 of 5 engines are in sync.",
  },
  {
    what: "not ready with one engine",
    engines: many(1, "unknown"),
    health: { ready: false },
    tone: "warning",
    title: "Catching up: 0 of 1 engine is in sync.",
  },
  {
    what: "a model that is unreachable",
    engines: [...WELL, ...many(2, "unknown!", "qwen", 5)],
    tone: "critical",
    title: "Nothing exact is known about qwen: all 2 engines are unreachable.",
    text: "**2** engines cannot be reached",
  },
  {
    what: "a model without exact engine",
    engines: [...WELL, ...many(1, "stale", "qwen", 5)],
    tone: "critical",
    title: "Nothing exact is known about qwen: its only engine is below exact.",
  },
  {
    what: "many fallbacks",
    engines: WELL,
    totals: {
      lookups: { exact: 11, fallback: 1 },
      fallback_reasons: { tokenizer_timeout: 1, circuit_open: 9 },
    },
    tone: "warning",
    title: "1 lookup in 12 cannot be answered: circuit_open.",
  },
  {
    what: "only fallbacks",
    engines: WELL,
    totals: { lookups: { exact: 0, fallback: 4 } },
    tone: "warning",
    title: "Most lookups cannot be answered.",
  },
  {
    what: "few fallbacks",
    engines: WELL,
    totals: { lookups: { exact: 95, fallback: 5 } },
    tone: "good",
    title: "All 3 engines are followed exactly.",
  },
  {
    what: "back-pressure",
    engines: WELL,
    totals: { queue: { level: 1, messages: 5400 } },
    tone: "warning",
    title: "Events wait to be applied: back-pressure level 1 of 3, 5,400 messages in queues.",
  },
  {
    what: "back-pressure at its highest",
    engines: WELL,
    totals: { queue: { level: 3 } },
    tone: "critical",
    title: "Events wait to be applied: back-pressure level 3 of 3.",
  },
  {
    what: "a firing warning",
    engines: WELL,
    alerts: [alert("StreamUntrusted", "warning", "firing", "Gap of 212 messages.")],
    tone: "warning",
    title: "StreamUntrusted fires: Gap of 212 messages.",
  },
  {
    what: "a firing alert about one engine",
    engines: WELL,
    alerts: [{ ...alert("StreamUntrusted", "warning"), labels: { pod: "vllm-1", model: "llama" } }],
    tone: "warning",
    title: "StreamUntrusted fires for vllm-1.",
  },
  {
    what: "a firing alert about a model",
    engines: WELL,
    alerts: [{ ...alert("LookupFallbacks", "warning"), labels: { model: "llama" } }],
    tone: "warning",
    title: "LookupFallbacks fires for llama.",
  },
  {
    what: "the critical one of two alerts",
    engines: WELL,
    alerts: [alert("A", "warning"), alert("B", "critical")],
    tone: "critical",
    title: "B fires. 1 more alert fires.",
  },
  {
    what: "pending, silenced and informational alerts",
    engines: WELL,
    alerts: [alert("A", "critical", "pending"), alert("B", "critical", "silenced"), alert("C", "info")],
    tone: "good",
    title: "All 3 engines are followed exactly.",
  },
  {
    what: "some not exact",
    engines: [
      ...many(996, "exact"),
      ...many(2, "stale", "llama", 996),
      "sglang-1 llama partial",
      "sglang-2 llama unknown!",
    ],
    totals: { p50: 0.00031, p99: 0.00092, not_applied: {} },
    tone: "warning",
    title: "Answers are exact for 996 of 1,000 engines.",
    text: "**2** engines catch up after lost messages, **1** may hold more than the index has, **1** cannot be reached. The worst is **sglang-2**: unreachable. No event was dropped in the last second. Lookups take **0.31 ms** (p99 **0.92 ms**).",
  },
  {
    what: "an engine counts as its worst rank",
    engines: ["vllm-0 llama exact,stale", "vllm-1 llama exact"],
    tone: "warning",
    title: "Answers are exact for 1 of 2 engines.",
  },
  {
    what: "all well with lookups",
    engines: WELL,
    totals: { p50: 0.00031, p99: 0.00092, not_applied: {} },
    tone: "good",
    title: "All 3 engines are followed exactly. Lookups take 0.31 ms.",
    text: "No event was dropped in the last second. The p99 of lookups is **0.92 ms**.",
  },
  {
    what: "one engine",
    engines: many(1, "exact"),
    tone: "good",
    title: "The engine is followed exactly.",
    text: "No lookup was asked lately.",
  },
  {
    what: "events that were not applied",
    engines: WELL,
    totals: { not_applied: { unknown_block: 1, covered_by_replay: 5, queue_messages: 0 } },
    tone: "good",
    title: "All 3 engines are followed exactly.",
    text: "Some events of the last second were not applied: covered_by_replay, unknown_block.",
  },
  {
    what: "a connection that is not there, of an exact rank",
    engines: [...WELL, "vllm-9 llama exact!"],
    tone: "warning",
    title: "Answers are exact for 3 of 4 engines.",
    text: "**1** engine cannot be reached. The worst is **vllm-9**: unreachable.",
  },
  {
    what: "most engines are below exact, and none is the worst",
    engines: [...many(2, "exact"), ...many(3, "stale", "llama", 2)],
    tone: "warning",
    title: "Answers are exact for 2 of 5 engines.",
    text: "**3** engines catch up after lost messages. No lookup was asked lately.",
  },
];

describe("the verdict", () => {
  it.each(CASES)(
    "$what: $title",
    ({
      connection = { kind: "live" },
      hasData = true,
      engines = [],
      totals = {},
      health = null,
      alerts,
      tone,
      title,
      text,
    }) => {
      const fleet = summaryOf(rowsOf(engines));
      const found = verdictOf({
        connection,
        hasData,
        fleet,
        totals,
        health,
        alerts: alerts === undefined ? null : { alerts },
      });
      expect({ tone: found.tone, title: found.title }).toEqual({ tone, title });
      if (text === "") expect(found.text).toBe("");
      else expect(found.text).toContain(text ?? "");
    },
  );

  it("says nothing about dropped events when the daemon does not count them", () => {
    const fleet = summaryOf(rowsOf(WELL));
    const found = verdictOf({
      connection: { kind: "live" },
      hasData: true,
      fleet,
      totals: {},
      health: null,
      alerts: null,
    });
    expect(found.text).not.toMatch(/applied|dropped/);
  });
});

describe("what a screen reader announces", () => {
  const announcedOf = (totals: Totals, alerts: readonly Alert[] = []): string =>
    verdictOf({
      connection: { kind: "live" },
      hasData: true,
      fleet: summaryOf(rowsOf(WELL)),
      totals,
      health: null,
      alerts: { alerts },
    }).announced;

  it("is the beginning of the title, without a latency that changes each second", () => {
    expect(announcedOf({ p50: 0.00031 })).toBe("All 3 engines are followed exactly.");
    expect(announcedOf({ p50: 0.00032 })).toBe("All 3 engines are followed exactly.");
  });

  it("is the whole title where something is wrong", () => {
    expect(announcedOf({}, [alert("WorkerDown", "critical")])).toBe("WorkerDown fires.");
  });
});

describe("the first step of a verdict", () => {
  const stepOf = (known: Partial<Parameters<typeof verdictOf>[0]>): unknown =>
    verdictOf({
      connection: { kind: "live" },
      hasData: true,
      fleet: summaryOf(rowsOf(WELL)),
      totals: {},
      health: null,
      alerts: null,
      ...known,
    }).step;
  const withRunbook = (address: string): unknown =>
    stepOf({ alerts: { alerts: [{ ...alert("A", "critical"), runbook_url: address }] } });

  it("is the runbook of the alert that fires, where its address is one of the web", () => {
    const address = "https://runbooks.example/a.md";
    expect(withRunbook(address)).toEqual({ kind: "runbook", address });
    expect(withRunbook("javascript:alert(1)")).toBeNull();
  });

  it("is to connect, to log in, or to look at the sources of engines", () => {
    expect(stepOf({ connection: WAITING })).toEqual({ kind: "connect" });
    expect(stepOf({ connection: { kind: "connecting", lostAt: AT } })).toBeNull();
    expect(stepOf({ connection: { kind: "refused", status: 401 } })).toEqual({ kind: "log_in" });
    expect(stepOf({ fleet: summaryOf([]) })).toEqual({ kind: "sources" });
  });

  it("is none where all is well", () => {
    expect(stepOf({})).toBeNull();
  });
});

describe("the counts of a fleet", () => {
  it("order engines by name as people do, and models by size", () => {
    const fleet = summaryOf(rowsOf(["vllm-10 llama exact", "vllm-2 llama exact", "sglang-1 qwen stale"]));
    expect(fleet.engines.map(({ id }) => id)).toEqual(["sglang-1", "vllm-2", "vllm-10"]);
    expect(fleet.models.map(({ model, exact }) => [model, exact])).toEqual([
      ["llama", 2],
      ["qwen", 0],
    ]);
  });

  it("compare ranks by trust, connection, lost messages and age, the worst first", () => {
    const [exact, stale, far, lossy, old] = rowsOf([
      "a m exact",
      "b m stale",
      "c m stale!",
      "d m stale",
      "e m stale",
    ]) as [RankRow, RankRow, RankRow, RankRow, RankRow];
    lossy.missed = 4;
    old.eventAt = 0;
    expect([exact, stale, old, lossy, far].sort(compareWorst).map(({ id }) => id)).toEqual([
      "c",
      "d",
      "e",
      "b",
      "a",
    ]);
  });
});
