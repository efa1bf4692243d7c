/**
 * A fleet that a test writes: engines in any state, and the messages that a daemon would send of them. Everything is seeded.
 */

/** A rank of the script. */
export interface ScriptedRank {
  slot: number;
  id: string;
  rank: number;
  model: number;
  state: number;
  trust: number;
  connected: boolean;
  seq: number | null;
  ageMs: number | null;
  blocks: number;
  tiers: [number, number, number, number];
  gaps: number;
  missed: number;
  restarts: number;
  drops: number;
  reason: string | null;
  since: number | null;
}

const MODELS = ["meta/llama-4-70b", "qwen/qwen3-235b", "mistral/large-3", "deepseek/v4-lite"];
const STATES = ["connecting", "replaying", "verifying", "paused", "live", "disconnected"];
const TRUSTS = ["exact", "partial", "stale", "unknown"];
const COLUMNS = [
  "slot",
  "id",
  "rank",
  "model",
  "source",
  "state",
  "trust",
  "connected",
  "seq",
  "age_ms",
  "blocks",
  "tiers",
  "gaps",
  "missed",
  "replays",
  "drops",
  "restarts",
  "faults",
  "reason",
  "since",
  "endpoint",
  "rate",
  "exact_hour",
];
/** Gaps that a replay filled: how long ago, how far back, how many messages, and how long it took. */
const FILLED = [
  [3_000_000, 9000, 37, 0.6],
  [1_200_000, 4000, 4, 0.2],
] as const;
const STEP = 5;
const POINTS = 720;
const HOUR_MS = 3_600_000;
const MEMORY_LIMIT = 2 ** 31;
/** The first message that an engine lost on the bad day. */
const LOST_FROM = 9_412_665;

/** Totals of a daemon without engines and without callers. */
const QUIET = {
  events: { stored: 0, removed: 0, cleared: 0 },
  received_to_applied_p99: null,
  lookups: { exact: 0, degraded: 0, fallback: 0 },
  p50: null,
  p99: null,
  hit: {},
  mappings: 0,
  queue: { level: 0, messages: 0 },
  not_applied: {},
} as const;

function quietSeries(): Record<string, readonly (number | null)[]> {
  const all = (value: number | null): (number | null)[] => Array.from({ length: POINTS }, () => value);
  const counted = ["stored", "removed", "cleared"].map((type) => [`events_applied.${type}`, all(0)] as const);
  const asked = ["exact", "degraded", "fallback"].map((name) => [`lookups.${name}`, all(0)] as const);
  const unknown = ["lookup_p50", "lookup_p99", "exact_share"].map((name) => [name, all(null)] as const);
  return Object.fromEntries([...counted, ...asked, ...unknown, ["memory_used", all(0)]]);
}

function check(name: string, message: string, status = "healthy", critical = false): unknown {
  return { name, status, message, critical };
}

/** Checks of a bad day. */
function troubledChecks(): unknown[] {
  return [
    check("memory", "71 % of 4 GiB", "healthy", true),
    check("event_loop", "p99 9.8 ms", "healthy", true),
    check("ingest_workers", "4 alive", "healthy", true),
    check("discovery", "kubernetes has been stale for 32 min", "degraded"),
    check("snapshot_store", "no space left on device", "degraded"),
    check("tokenizer", "answers"),
  ];
}

function iso(ms: number): string {
  return new Date(ms).toISOString();
}

/** Numbers from 0 to 1 that are the same in each run. */
function seeded(seed: number): () => number {
  let state = seed;
  return () => {
    state = (Math.imul(state, 1_664_525) + 1_013_904_223) >>> 0;
    return state / 2 ** 32;
  };
}

/** Model of an engine by its number: two fifths have the first one, and so has the engine that loses messages. */
function modelOf(i: number): number {
  const place = (i + 3) % 20;
  return place < 8 ? 0 : place < 13 ? 1 : place < 17 ? 2 : 3;
}

/** The fleet. */
export class FleetScript {
  readonly ranks: ScriptedRank[] = [];
  at: number;
  n = 400;
  features: string[] = ["picker", "engine", "index", "events", "logs", "system"];
  /** What the next message says of alerts. */
  alerts: unknown = null;
  happenings: unknown[] = [];
  /** Replaces parts of the health report. */
  health: Record<string, unknown> = {};
  instance = "kvsync-7d9f";
  /** Share of the index's memory in use. */
  memoryShare: number;
  readonly #random: () => number;
  #isTroubled = false;

  constructor(engines: number, at: number = Date.now(), seed = 7) {
    this.at = at;
    this.#random = seeded(seed);
    this.memoryShare = engines === 0 ? 0 : 0.58;
    for (let i = 0; i < engines; i += 1) this.ranks.push(this.#rank(i));
  }

  /**
   * The engine of the mock-ups that lost messages, one that restarted, and one that cannot be reached. The list of engines is old,
   * no snapshot can be written, and the index is nearly full.
   */
  withTrouble(): this {
    this.#isTroubled = true;
    this.memoryShare = 0.96;
    this.health = { checks: troubledChecks() };
    this.change("vllm-0037", {
      state: 1,
      trust: 2,
      seq: LOST_FROM + 300,
      gaps: 3,
      missed: 212,
      drops: 68,
      reason: "gap",
      since: this.at - 180_000,
    });
    this.change("vllm-0050", {
      state: 2,
      trust: 2,
      gaps: 1,
      missed: 8,
      reason: "verifying",
      since: this.at - 40_000,
    });
    this.change("sglang-0011", { trust: 1, restarts: 1, reason: "history_lost", since: this.at - 2_400_000 });
    this.change("vllm-0025", {
      state: 5,
      trust: 3,
      connected: false,
      seq: null,
      ageMs: null,
      blocks: 0,
      tiers: [0, 0, 0, 0],
      reason: "disconnected",
      since: this.at - 480_000,
    });
    this.happenings = [
      {
        at: this.at - 2_400_000,
        kind: "restart",
        engine: "sglang-0011",
        rank: 0,
        text: "restarted; older blocks are not known",
      },
      {
        at: this.at - 480_000,
        kind: "disconnect",
        engine: "vllm-0025",
        rank: 0,
        text: "connection refused",
      },
      {
        at: this.at - 180_000,
        kind: "gap",
        engine: "vllm-0037",
        rank: 0,
        from: LOST_FROM,
        messages: 212,
        text: "212 messages lost; replay asked",
      },
    ];
    return this;
  }

  /** Changes the rank of an engine in place; the next delta does not say so. */
  change(id: string, changes: Partial<ScriptedRank>): ScriptedRank {
    const rank = this.ranks.find((one) => one.id === id);
    if (rank === undefined) throw new Error(`no engine ${id}`);
    return Object.assign(rank, changes);
  }

  hello(): unknown {
    return {
      version: "0.1.0",
      commit: "d379e0a",
      instance: this.instance,
      now: this.at,
      step: STEP,
      limits: { viewers: 32 },
      features: this.features,
    };
  }

  snapshot(): unknown {
    return {
      n: this.n,
      at: this.at,
      columns: COLUMNS,
      models: MODELS,
      states: STATES,
      trusts: TRUSTS,
      sources: ["kubernetes"],
      rows: this.ranks.map((rank) => this.#row(rank)),
      totals: this.totals(),
      health: this.#health(),
      alerts: this.alerts,
      happenings: this.happenings,
    };
  }

  /** One second later: every connected rank moves on. */
  next(set: readonly unknown[] = []): unknown {
    this.n += 1;
    this.at += 1000;
    const moving = this.ranks.filter(({ connected, seq }) => connected && seq !== null);
    for (const rank of moving) rank.seq = (rank.seq ?? 0) + 3;
    return { n: this.n, at: this.at, seq: moving.map(({ slot }) => [slot, 3]), set, totals: this.totals() };
  }

  /** Bytes of the index. */
  get memory(): { readonly used: number; readonly limit: number } {
    return { used: this.memoryShare * MEMORY_LIMIT, limit: MEMORY_LIMIT };
  }

  totals(): Record<string, unknown> {
    const r = this.#random;
    const blocks = this.ranks.reduce((sum, rank) => sum + rank.blocks, 0);
    if (this.ranks.length === 0) return { ...QUIET, memory: this.memory };
    return {
      events: { stored: 31_000 + 900 * r(), removed: 15_800 + 500 * r(), cleared: 0 },
      received_to_applied_p99: 0.014,
      lookups: {
        exact: 1820 + 40 * r(),
        degraded: this.#isTroubled ? 19 : 0,
        fallback: this.#isTroubled ? 3 : 0,
      },
      p50: 0.00031,
      p99: 0.00092,
      hit: { 0: 0.66, 1: 0.58, 2: 0.41 },
      memory: this.memory,
      mappings: blocks,
      queue: { level: 0, messages: 12 },
      not_applied: {},
    };
  }

  history(): unknown {
    const wave = (base: number, spread: number, period: number): number[] =>
      Array.from({ length: POINTS }, (_, i) => base + spread * (Math.sin(i / period) + 0.4 * this.#random()));
    const isBad = this.#isTroubled;
    const stale = (i: number): number => (isBad && i > 684 ? 0.997 : 1);
    const degraded = (i: number): number => (i > 500 && i < 560 ? 180 : 19);
    const from = Math.floor(this.at / 1000 / STEP) * STEP - (POINTS - 1) * STEP;
    // A daemon without engines counts from its start: no event and no lookup came.
    if (this.ranks.length === 0) return { step: STEP, from, series: quietSeries() };
    return {
      step: STEP,
      from,
      series: {
        "events_applied.stored": wave(31_000, 3000, 40),
        "events_applied.removed": wave(15_000, 1500, 60),
        "events_applied.cleared": Array.from({ length: POINTS }, () => 0),
        "lookups.exact": wave(1700, 200, 90),
        "lookups.degraded": Array.from({ length: POINTS }, (_, i) => (isBad ? degraded(i) : 0)),
        "lookups.fallback": Array.from({ length: POINTS }, () => (isBad ? 3 : 0)),
        lookup_p50: wave(0.00031, 0.00003, 30),
        lookup_p99: wave(0.0009, 0.0002, 50).map((value, i) => (i === 520 ? 0.0024 : value)),
        exact_share: Array.from({ length: POINTS }, (_, i) => stale(i)),
        memory_used: Array.from({ length: POINTS }, (_, i) => (0.8 + (0.2 * i) / POINTS) * this.memory.used),
        "hit_rate{meta/llama-4-70b}": wave(0.66, 0.04, 70),
        "hit_rate{qwen/qwen3-235b}": wave(0.56, 0.03, 55),
        "hit_rate{mistral/large-3}": wave(0.41, 0.04, 80),
      },
    };
  }

  /** What `GET /api/v1/engines/{id}` answers; null when there is no such engine. */
  engine(id: string): unknown {
    const ranks = this.ranks.filter((rank) => rank.id === id);
    if (ranks.length === 0) return null;
    return {
      id,
      model: MODELS[ranks[0]?.model ?? 0],
      tiers_counted_at: iso(this.at - 9000),
      ranks: ranks.map((rank) => ({
        dp_rank: rank.rank,
        history_from_sequence_number: (rank.seq ?? 10_000) - 10_000,
        messages_applied: 1_204_551,
        tiers: { device: rank.tiers[0], host: rank.tiers[1], disk: rank.tiers[2], remote: rank.tiers[3] },
        replays: {
          requested: rank.gaps,
          completed: Math.max(0, rank.gaps - 1),
          failed: 0,
          abandoned: 0,
        },
        timeline: this.#timeline(rank),
        recent_restarts: rank.restarts === 0 ? [] : [iso(rank.since ?? this.at)],
        recent_gaps:
          rank.missed === 0
            ? []
            : [
                ...FILLED.slice(0, Math.max(0, rank.gaps - 1)).map(([before, from, messages, seconds]) => ({
                  at: iso(this.at - before),
                  from: (rank.seq ?? 0) - from,
                  messages,
                  outcome: "completed",
                  seconds,
                })),
                {
                  at: iso(rank.since ?? this.at),
                  from: rank.id === "vllm-0037" ? LOST_FROM : (rank.seq ?? 0) - 300,
                  messages: rank.missed,
                  outcome: null,
                  seconds: null,
                },
              ],
        dropped: rank.missed === 0 ? {} : { covered_by_replay: 61, unknown_block: 7 },
        dropped_last_hour: rank.missed === 0 ? {} : { covered_by_replay: 61 },
        events_per_second: this.#rates(rank),
        faults: {},
      })),
    };
  }

  /** What `GET /api/v1/dashboard/ranks` answers. */
  hours(slots: readonly number[]): unknown {
    const ranks = this.ranks.filter(({ slot }) => slots.includes(slot));
    return {
      ranks: ranks.map((rank) => ({
        rank_slot: rank.slot,
        engine: rank.id,
        dp_rank: rank.rank,
        timeline: this.#timeline(rank),
        events_per_second: this.#rates(rank),
      })),
    };
  }

  #timeline({ trust, state, since }: ScriptedRank): unknown[] {
    const now = { at: iso(since ?? this.at), state: STATES[state], trust: TRUSTS[trust] };
    return [{ at: iso(this.at - 7_200_000), state: "live", trust: "exact" }, ...(trust === 0 ? [] : [now])];
  }

  /** Events of each minute; none since it has no connection. */
  #rates({ slot, connected, since }: ScriptedRank): number[] {
    const base = 20 + ((slot * 37) % 70);
    const lost = connected ? 0 : (this.at - (since ?? this.at)) / 60_000;
    return Array.from({ length: 60 }, (_, minute) =>
      minute > 60 - lost ? 0 : Math.round(10 * (base + 9 * Math.sin((minute + slot) / 4) + (slot % 7))) / 10,
    );
  }

  match(): unknown {
    const own = this.ranks.filter(({ model }) => model === 0);
    const having = (trust: number): number => own.filter((rank) => rank.trust === trust).length;
    const [trust, decision, other] =
      having(0) === own.length
        ? (["exact", "exact", "exact"] as const)
        : (["stale", "degraded", "stale"] as const);
    const match = (worker: string, matched: number, device: number, of: string): unknown => ({
      worker,
      dp_rank: 0,
      block_size: 16,
      matched_blocks: matched,
      matched_tokens: 16 * matched,
      held_tokens: 16 * matched,
      reusable_tokens: 16 * matched,
      tiers: { device, host: matched - device, disk: 0, remote: 0 },
      trust: of,
      trust_reason: of === "exact" ? null : "gap",
      trust_since: null,
      age_seconds: 0.2,
    });
    return {
      model: MODELS[0],
      requested_model: MODELS[0],
      lora_name: null,
      block_size: 16,
      block_sizes: [16],
      blocks: 204,
      trust,
      decision,
      reason: null,
      ranks: { exact: having(0), partial: having(1), stale: having(2), unknown: having(3) },
      matches: [
        match("vllm-0018", 188, 188, "exact"),
        match("vllm-0119", 188, 120, "exact"),
        match("sglang-0041", 141, 141, "exact"),
        match("vllm-0037", 96, 96, other),
        match("vllm-0201", 64, 0, "exact"),
        match("vllm-0320", 32, 32, "exact"),
      ],
    };
  }

  explain(): unknown {
    const terms = (held: number, running: number): unknown => ({
      held_tokens: held,
      index_tokens: held,
      own_tokens: 0,
      fresh_tokens: 3264 - held,
      pressure: 0.2,
      pending: 100,
      prefill: 200,
      context: 50,
      running,
      surcharge: 0,
    });
    return {
      prompt_tokens: 3264,
      reason: "",
      endpoints: [
        {
          endpoint: "10.4.0.18:8000",
          worker: "vllm-0018",
          dp_rank: null,
          trust: "exact",
          cost: 356,
          terms: terms(3008, 2),
        },
        {
          endpoint: "10.4.0.119:8000",
          worker: "vllm-0119",
          dp_rank: null,
          trust: "exact",
          cost: 512,
          terms: terms(3008, 6),
        },
      ],
    };
  }

  #health(): unknown {
    return {
      status: "healthy",
      ready: true,
      configuration: null,
      sources: [{ name: "kubernetes", engines: this.ranks.length, state: "current" }],
      checks: [
        check("memory", "38 % of 4 GiB", "healthy", true),
        check("event_loop", "p99 6.2 ms", "healthy", true),
        check("ingest_workers", "4 alive", "healthy", true),
        check("discovery", `kubernetes current, ${this.ranks.length.toLocaleString("en-US")} pods`),
        check("snapshot_store", "written 24 s ago, 212 MB"),
        check("tokenizer", "answers"),
      ],
      ...this.health,
    };
  }

  #rank(i: number): ScriptedRank {
    const r = this.#random;
    const blocks = Math.round(20_000 + 40_000 * r());
    const host = Math.round(blocks * 0.3 * r());
    const kind = i % 15 === 11 ? "sglang" : "vllm";
    return {
      slot: i,
      id: `${kind}-${String(i).padStart(4, "0")}`,
      rank: 0,
      model: modelOf(i),
      state: 4,
      trust: 0,
      connected: true,
      seq: Math.round(1e6 + 9e6 * r()),
      ageMs: i % 13 === 0 ? 33_000 : Math.round(200 * r()),
      blocks,
      tiers: [blocks - host, host, 0, 0],
      gaps: 0,
      missed: 0,
      restarts: 0,
      drops: 0,
      reason: null,
      since: null,
    };
  }

  #row(rank: ScriptedRank): unknown[] {
    return [
      rank.slot,
      rank.id,
      rank.rank,
      rank.model,
      0,
      rank.state,
      rank.trust,
      rank.connected ? 1 : 0,
      rank.seq,
      rank.ageMs,
      rank.blocks,
      rank.tiers,
      rank.gaps,
      rank.missed,
      rank.gaps,
      rank.drops,
      rank.restarts,
      0,
      rank.reason,
      rank.since,
      `tcp://10.4.${Math.floor(rank.slot / 250)}.${rank.slot % 250}:5557`,
      this.#rates(rank).at(-1) ?? null,
      rank.trust === 0 ? 1 : 1 - Math.min(1, (this.at - (rank.since ?? this.at)) / HOUR_MS),
    ];
  }
}
