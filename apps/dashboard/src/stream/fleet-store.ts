/**
 * The fleet as the stream last described it: one row for each rank, and the daemon's totals, health and alerts.
 *
 *     snapshot ──▶ all rows again          delta: gone, new, seq, set ──▶ rows changed in place
 *
 * Invariants (fleet-store.model.test.ts)
 *  F1  A snapshot and the deltas after it give the same rows as a fresh snapshot.
 *  F2  A delta whose number does not follow the last one changes nothing and is reported as a gap.
 *  F3  A row that is gone leaves nothing behind.
 *
 * Not here: the history (history-store.ts), and what the rows mean in words (verdict.ts).
 */
import type {
  Alerts,
  Cell,
  Delta,
  Happening,
  Health,
  Snapshot,
  Totals,
  TrustName,
} from "./stream-messages.ts";

/** Blocks by tier: device, host, disk, remote. */
export type Tiers = readonly [number, number, number, number];

/** One rank of one engine. */
export interface RankRow {
  slot: number;
  /** The engine's id. */
  id: string;
  rank: number;
  model: string;
  source: string;
  state: string;
  trust: TrustName;
  /** Why its trust is below exact; null when it is exact, or the daemon does not say. */
  reason: string | null;
  /** When the present trust began, milliseconds since 1970; null when not known. */
  since: number | null;
  endpoint: string;
  connected: boolean;
  /** Number of the last message; null before the first. */
  seq: number | null;
  /** When the last event arrived, milliseconds since 1970 by the daemon's clock; null before the first. */
  eventAt: number | null;
  blocks: number;
  /** Null when the daemon does not count by tier. */
  tiers: Tiers | null;
  /** Events applied per second; null where the daemon has not measured it yet. */
  rate: number | null;
  /** Share of the last hour in which it was exact, 0 to 1; null where nothing is known. */
  exactHour: number | null;
  gaps: number;
  missed: number;
  replays: number;
  drops: number;
  restarts: number;
  faults: number;
}

/** Most happenings that are kept. */
export const HAPPENINGS_MAX = 200;

const TRUSTS: readonly TrustName[] = ["exact", "partial", "stale", "unknown"];

const COUNTS = ["blocks", "gaps", "missed", "replays", "drops", "restarts", "faults"] as const;

type CountColumn = (typeof COUNTS)[number];

/** The state behind every view. */
export class FleetStore {
  /** By slot. */
  readonly rows = new Map<number, RankRow>();
  /** Number of the last message; null before the first snapshot. */
  n: number | null = null;
  /** Of the last message, milliseconds since 1970 by the daemon's clock. */
  at = 0;
  models: readonly string[] = [];
  totals: Totals = {};
  health: Health | null = null;
  alerts: Alerts | null = null;
  /** Newest first. */
  happenings: readonly Happening[] = [];

  #columns: readonly string[] = [];
  #states: readonly string[] = [];
  #trusts: readonly string[] = [];
  #sources: readonly string[] = [];

  /** Takes a whole state. */
  applySnapshot(snapshot: Snapshot): void {
    this.n = snapshot.n;
    this.at = snapshot.at;
    this.#columns = snapshot.columns;
    this.models = snapshot.models;
    this.#states = snapshot.states;
    this.#trusts = snapshot.trusts;
    this.#sources = snapshot.sources ?? [];
    this.rows.clear();
    for (const cells of snapshot.rows) this.#add(cells);
    this.totals = snapshot.totals ?? {};
    this.health = snapshot.health ?? null;
    this.alerts = snapshot.alerts ?? null;
    if (snapshot.happenings !== undefined)
      this.happenings = [...snapshot.happenings].reverse().slice(0, HAPPENINGS_MAX);
  }

  /**
   * Takes what changed.
   *
   * @returns false, and changes nothing, when a message before it is missing (F2).
   */
  applyDelta(delta: Delta): boolean {
    if (this.n === null || delta.n !== this.n + 1) return false;
    this.n = delta.n;
    this.at = delta.at;
    if (delta.models !== undefined) this.models = delta.models;
    if (delta.sources !== undefined) this.#sources = delta.sources;
    for (const slot of delta.gone ?? []) this.rows.delete(slot);
    for (const cells of delta.new ?? []) this.#add(cells);
    for (const [slot, step] of delta.seq ?? []) this.#advance(slot, step);
    for (const [slot, column, value] of delta.set ?? []) this.#set(slot, column, value);
    this.#applyLevels(delta);
    return true;
  }

  #applyLevels({ totals, health, alerts }: Delta): void {
    if (totals !== undefined) this.totals = totals;
    if (health !== undefined) this.health = health;
    if (alerts !== undefined) this.alerts = alerts;
  }

  /** Takes the alerts, which also come on their own. */
  applyAlerts(alerts: Alerts): void {
    this.alerts = alerts;
  }

  /** Takes one happening. */
  applyHappening(happening: Happening): void {
    this.happenings = [happening, ...this.happenings].slice(0, HAPPENINGS_MAX);
  }

  #add(cells: readonly Cell[]): void {
    const row = emptyRow();
    this.#columns.forEach((column, i) => {
      this.#assign(row, column, cells[i] ?? null);
    });
    this.rows.set(row.slot, row);
  }

  #advance(slot: number, step: number): void {
    const row = this.rows.get(slot);
    if (row === undefined) return;
    row.seq = (row.seq ?? 0) + step;
    row.eventAt = this.at;
  }

  #set(slot: number, column: number | string, value: Cell): void {
    const row = this.rows.get(slot);
    const name = typeof column === "number" ? this.#columns[column] : column;
    if (row !== undefined && name !== undefined && name !== "slot") this.#assign(row, name, value);
  }

  #assign(row: RankRow, column: string, value: Cell): void {
    const number = typeof value === "number" ? value : null;
    if ((COUNTS as readonly string[]).includes(column)) row[column as CountColumn] = number ?? 0;
    else if (column === "slot" || column === "rank") row[column] = number ?? 0;
    else if (column === "seq" || column === "since" || column === "rate") row[column] = number;
    else if (column === "exact_hour") row.exactHour = number;
    else if (column === "age_ms") row.eventAt = number === null ? null : this.at - number;
    else if (column === "connected") row.connected = Boolean(value);
    else if (column === "tiers") row.tiers = tiersOf(value);
    else this.#assignText(row, column, value);
  }

  #assignText(row: RankRow, column: string, value: Cell): void {
    const named = (names: readonly string[]): string =>
      typeof value === "number" ? (names[value] ?? "") : typeof value === "string" ? value : "";
    if (column === "id" || column === "endpoint") row[column] = named([]);
    else if (column === "model") row.model = named(this.models);
    else if (column === "source") row.source = named(this.#sources);
    else if (column === "state") row.state = named(this.#states);
    else if (column === "reason") row.reason = typeof value === "string" ? value : null;
    else if (column === "trust") {
      const trust = named(this.#trusts);
      row.trust = TRUSTS.find((name) => name === trust) ?? "unknown";
    }
  }
}

function emptyRow(): RankRow {
  return {
    slot: -1,
    id: "",
    rank: 0,
    model: "",
    source: "",
    state: "",
    trust: "unknown",
    reason: null,
    since: null,
    endpoint: "",
    connected: false,
    seq: null,
    eventAt: null,
    blocks: 0,
    tiers: null,
    rate: null,
    exactHour: null,
    gaps: 0,
    missed: 0,
    replays: 0,
    drops: 0,
    restarts: 0,
    faults: 0,
  };
}

function tiersOf(value: Cell): Tiers | null {
  if (!Array.isArray(value)) return null;
  const [device = 0, host = 0, disk = 0, remote = 0] = value as readonly number[];
  return [device, host, disk, remote];
}
