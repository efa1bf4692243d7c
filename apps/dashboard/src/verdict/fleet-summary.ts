/**
 * Counts of a fleet: its engines by their worst rank, and what keeps some from being exact.
 *
 * An engine with several ranks counts once, as its worst rank: a router that asks for the engine gets no more than that.
 */
import type { RankRow } from "../stream/fleet-store.ts";
import type { TrustName } from "../stream/stream-messages.ts";

/** Trust from best to worst: the index is the order of badness. */
export const TRUST_ORDER: readonly TrustName[] = ["exact", "partial", "stale", "unknown"];

/** An engine as one cell or row: its worst rank speaks for it. */
export interface EngineSummary {
  readonly id: string;
  readonly model: string;
  readonly worst: RankRow;
  readonly ranks: readonly RankRow[];
}

/** Counts of one model. */
export interface ModelSummary {
  readonly model: string;
  /** By id. */
  readonly engines: readonly EngineSummary[];
  readonly exact: number;
  readonly unreachable: number;
}

/** Counts of a fleet. */
export interface FleetSummary {
  readonly engines: readonly EngineSummary[];
  readonly ranks: number;
  /** Engines by the trust of their worst rank; unreachable ones are in `unreachable` alone. */
  readonly byTrust: Readonly<Record<TrustName, number>>;
  /** Engines whose worst rank has no connection. */
  readonly unreachable: number;
  readonly models: readonly ModelSummary[];
}

/** Whether a rank has no connection to its engine. */
export function isUnreachable(row: RankRow): boolean {
  return !row.connected;
}

/** Whether an operator has to look at an engine. */
export function needsAttention({ worst }: EngineSummary): boolean {
  return worst.trust !== "exact" || isUnreachable(worst);
}

/** Compares two ranks: the worse first. Trust, then reachability, then lost messages, then age where they are not exact. */
export function compareWorst(a: RankRow, b: RankRow): number {
  return (
    TRUST_ORDER.indexOf(b.trust) - TRUST_ORDER.indexOf(a.trust) ||
    Number(isUnreachable(b)) - Number(isUnreachable(a)) ||
    b.missed - a.missed ||
    // Rows that are well would change places with every event.
    (a.trust === "exact" ? 0 : (a.eventAt ?? 0) - (b.eventAt ?? 0))
  );
}

const byName = new Intl.Collator("en", { numeric: true });

/** Compares names as people order them: vllm-2 before vllm-10. */
export function compareNames(a: string, b: string): number {
  return byName.compare(a, b);
}

/** Counts a fleet. */
export function summaryOf(rows: Iterable<RankRow>): FleetSummary {
  const ranksById = new Map<string, RankRow[]>();
  let ranks = 0;
  for (const row of rows) {
    ranks += 1;
    const others = ranksById.get(row.id);
    if (others === undefined) ranksById.set(row.id, [row]);
    else others.push(row);
  }
  const engines = [...ranksById.values()].map(engineOf).sort((a, b) => compareNames(a.id, b.id));
  const byTrust: Record<TrustName, number> = { exact: 0, partial: 0, stale: 0, unknown: 0 };
  let unreachable = 0;
  for (const { worst } of engines) {
    if (isUnreachable(worst)) unreachable += 1;
    else byTrust[worst.trust] += 1;
  }
  return { engines, ranks, byTrust, unreachable, models: modelsOf(engines) };
}

function engineOf(ranks: RankRow[]): EngineSummary {
  const sorted = [...ranks].sort(compareWorst);
  const [worst] = sorted;
  if (worst === undefined) throw new Error("an engine has a rank");
  return { id: worst.id, model: worst.model, worst, ranks: ranks.sort((a, b) => a.rank - b.rank) };
}

function modelsOf(engines: readonly EngineSummary[]): ModelSummary[] {
  const byModel = Map.groupBy(engines, ({ model }) => model);
  return [...byModel]
    .map(([model, own]) => ({
      model,
      engines: own,
      exact: own.filter(({ worst }) => worst.trust === "exact" && !isUnreachable(worst)).length,
      unreachable: own.filter(({ worst }) => isUnreachable(worst)).length,
    }))
    .sort((a, b) => b.engines.length - a.engines.length || compareNames(a.model, b.model));
}
