/** Answers of a daemon with a scripted fleet, next to its stream: index, log, picker, and the daemon itself. Everything is seeded. */
import type { FleetScript } from "./fleet-script.ts";

/** How bad a day the answers tell of. */
export type Day = "empty" | "good" | "bad";

/** Blocks by the ranks that hold them, as parts of all. */
const CLASSES = [5200, 9100, 12_400, 3100, 240] as const;
const COPIES_PER_BLOCK = 3.15;

function iso(ms: number): string {
  return new Date(ms).toISOString();
}

/** What `GET /api/v1/index` answers. */
export function indexAnswer(fleet: FleetScript, day: Day): unknown {
  const { used, limit } = fleet.memory;
  const copies = fleet.ranks.reduce((sum, { blocks }) => sum + blocks, 0);
  const blocks = copies / COPIES_PER_BLOCK;
  const counted = CLASSES.reduce((a, b) => a + b, 0);
  const context = (model: string, lora: string | null, share: number): unknown => ({
    model,
    lora,
    block_size: 16,
    prefixes: Math.round(blocks * share),
    mappings: Math.round(copies * share),
    bytes: Math.round(used * share),
    holders: Object.fromEntries(
      ["1", "2", "3-4", "5-8", "over_8"].map((name, i) => [
        name,
        Math.round(((CLASSES[i] ?? 0) / counted) * blocks * share),
      ]),
    ),
  });
  return {
    memory: { used, reserved: Math.min(1.1 * used, limit), limit },
    contexts:
      day === "empty"
        ? []
        : [
            context("meta/llama-4-70b", null, 0.55),
            context("qwen/qwen3-235b", null, 0.25),
            context("mistral/large-3", "support-bot", 0.2),
          ],
    counted_at: iso(fleet.at - 12_000),
    evictions: {
      context_limit: 0,
      prefix_limit: 0,
      memory_limit: day === "bad" ? 41_220 : 0,
      park_limit: day === "bad" ? 12 : 0,
    },
  };
}

/** What `GET /api/v1/system` answers. */
export function systemAnswer(fleet: FleetScript, day: Day): unknown {
  const setting = (path: string, value: unknown, source: string | null = null): unknown => ({
    path,
    value,
    source,
  });
  return {
    ...{
      version: "0.1.0",
      commit: "d379e0a5c1b2e3f4",
      instance: `${fleet.instance}:1`,
      node: "v24.1.0",
      v8: "13.6",
    },
    ...{ os: "Linux 6.12.0", arch: "x64", cpus: 4, pid: 1 },
    started_at: iso(fleet.at - 7_200_000),
    uptime_seconds: 7200,
    memory: { rss: 1.4 * 2 ** 30, limit: 4 * 2 ** 30 },
    settings: [
      setting("http.host", "0.0.0.0", "flag --http-host"),
      setting("http.port", 7070),
      setting("engines", fleet.ranks.length, "file /etc/kvsync/config.yaml"),
      setting(
        "discovery.kubernetes.namespace",
        "serving",
        "environment KVSYNC_DISCOVERY_KUBERNETES_NAMESPACE",
      ),
      setting("snapshot.directory", "/var/lib/kvsync/snapshots", "file /etc/kvsync/config.yaml"),
      setting("security.publisher_ranges", ["10.0.0.0/8", "192.168.0.0/16"]),
      setting("tokenizer.remote_token", "***", "environment KVSYNC_TOKENIZER_REMOTE_TOKEN"),
      setting("picker.enabled", true, "flag --picker-enabled"),
      setting("tls.cert_file", null),
    ],
    certificate: day === "bad" ? { not_after: iso(fleet.at + 4 * 86_400_000) } : null,
    sources: [
      {
        source: "kubernetes",
        state: day === "bad" ? "stale" : "current",
        engines: fleet.ranks.length,
        last_success: iso(fleet.at - (day === "bad" ? 1_900_000 : 2000)),
        failure:
          day === "bad"
            ? {
                reason: "unreachable",
                message: "the API server does not answer: connect ECONNREFUSED",
                at: iso(fleet.at),
              }
            : null,
      },
    ],
    snapshot:
      day === "empty"
        ? { folder: null, age_seconds: null }
        : { folder: "/var/lib/kvsync/snapshots", age_seconds: day === "bad" ? 2100 : 24 },
    links: {
      grafana: day === "empty" ? null : "https://grafana.example",
      traces: null,
      runbooks: day === "empty" ? null : "https://docs.example/runbooks",
      errors: day === "empty" ? null : "https://docs.example/generated/errors.md",
    },
  };
}

/** What `GET /api/v1/logs` answers. */
export function logsAnswer(fleet: FleetScript, day: Day, after: number): unknown {
  const line = (
    n: number,
    level: string,
    component: string,
    event: string,
    message: string,
    facts: object,
  ): object => ({
    n,
    time: iso(fleet.at - 1000 * (60 - n)),
    level,
    verbosity: level === "info" ? 1 : 0,
    component,
    event,
    message,
    facts,
  });
  const names = { pod: "vllm-0037", model: "meta/llama-4-70b", dp_rank: 0 };
  const lines = [
    line(1, "info", "sync", "starting", "starting", { version: "0.1.0" }),
    line(2, "info", "http", "listening", "listening", { scheme: "http", host: "0.0.0.0", port: 7070 }),
    ...fleet.ranks.slice(0, 20).map(({ id, rank }, i) =>
      line(i + 3, "info", "ingest-0", "engine_connected", "connected to an engine", {
        pod: id,
        dp_rank: rank,
      }),
    ),
    ...(day === "bad"
      ? [
          line(
            31,
            "warn",
            "health",
            "stream_not_exact",
            "a stream is no longer exact, and lookups that involve it answer with less trust",
            { ...names, trust: "stale", reason: "gap" },
          ),
          line(
            32,
            "error",
            "snapshot",
            "snapshot_failed",
            "the snapshot could not be written: no space left on device",
            { folder: "/var/lib/kvsync/snapshots" },
          ),
        ]
      : []),
  ] as { readonly n: number }[];
  return { last: lines.at(-1)?.n ?? 0, lines: lines.filter(({ n }) => n > after) };
}

/** What `GET /api/v1/picker` answers; null while it is off. */
export function pickerAnswer(fleet: FleetScript, day: Day): unknown {
  if (!fleet.features.includes("picker")) return null;
  const isBad = day === "bad";
  const known = day === "empty" ? [] : fleet.ranks.slice(0, 40);
  return {
    ready: day !== "empty",
    bookings: 11 * known.length,
    threads:
      day === "empty"
        ? [{ connections: 0, streams: 0, bookings: 0 }]
        : [
            { connections: 2, streams: 180, bookings: 200 },
            { connections: 2, streams: 171, bookings: 190 },
          ],
    open_picks: 0,
    expired_picks: 0,
    missing_shards: [],
    decisions:
      day === "empty"
        ? { index: 0, degraded: 0, own: 0, load: 0, immediate: 0 }
        : {
            index: 812_400,
            degraded: 0,
            own: 44_100,
            load: isBad ? 390_000 : 61_800,
            immediate: isBad ? 310 : 0,
          },
    reasons: day === "empty" ? {} : { no_match: 61_200, not_exact: isBad ? 328_000 : 600 },
    predictions:
      day === "empty"
        ? { agree: 0, differ: 0 }
        : { agree: isBad ? 402_000 : 701_000, differ: isBad ? 301_000 : 9000 },
    predicted_cached_tokens: day === "empty" ? 0 : 2.1e9,
    reported_cached_tokens: day === "empty" ? 0 : isBad ? 1.2e9 : 2.04e9,
    served_elsewhere: isBad ? 412 : 0,
    faults: 0,
    states: {
      eligible: known.length - (isBad ? 2 : 0),
      not_ready: isBad ? 1 : 0,
      penalty: isBad ? 1 : 0,
      stale: 0,
    },
    endpoints: known.map(({ id, slot, model }) => ({
      endpoint: `10.4.${Math.floor(slot / 250)}.${slot % 250}:8000`,
      worker: id,
      model: ["meta/llama-4-70b", "qwen/qwen3-235b", "mistral/large-3", "deepseek/v4-lite"][model] ?? null,
      dp_rank: null,
      running: (slot * 7) % 23,
      waiting: isBad && slot % 9 === 0 ? 12 : 0,
      pending_tokens: (slot * 931) % 9000,
      context_tokens: 40_000 + ((slot * 7919) % 380_000),
      capacity_tokens: 460_000,
      foreign_running: slot % 17 === 0 ? 2 : 0,
    })),
  };
}

/** A batch of an engine's events, as its stream has them. */
export function eventBatch(fleet: FleetScript, first: number): unknown {
  const event = (i: number): unknown => ({
    at: fleet.at,
    seq: first + Math.floor(i / 3),
    lag_ms: 3 + i,
    type: i % 3 === 2 ? "BlockRemoved" : "BlockStored",
    blocks: 4 + (i % 5),
    applied: i !== 7,
    reason: i === 7 ? "unknown_block" : null,
  });
  return { events: Array.from({ length: 12 }, (_, i) => event(i)), left_out: 0 };
}
