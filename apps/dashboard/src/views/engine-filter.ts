/**
 * Which engines the table shows, in which order, and the same as CSV.
 *
 * Filters are those of the address: `q`, `trust`, `state`, `model`, `source`, `sort` (a column, `-` in front for descending).
 * Without a sort the worst come first.
 */
import type { RankRow } from "../stream/fleet-store.ts";
import { compareNames, compareWorst, type EngineSummary, TRUST_ORDER } from "../verdict/fleet-summary.ts";

/** A column that sorts. */
type SortKey =
  | "id"
  | "model"
  | "state"
  | "trust"
  | "seq"
  | "age"
  | "blocks"
  | "gaps"
  | "missed"
  | "restarts"
  | "drops";

const COMPARE: Readonly<Record<SortKey, (a: RankRow, b: RankRow) => number>> = {
  id: (a, b) => compareNames(a.id, b.id),
  model: (a, b) => compareNames(a.model, b.model),
  state: (a, b) => compareNames(a.state, b.state),
  trust: (a, b) => TRUST_ORDER.indexOf(a.trust) - TRUST_ORDER.indexOf(b.trust),
  seq: (a, b) => (a.seq ?? -1) - (b.seq ?? -1),
  // The longest age is that of a rank without any event.
  age: (a, b) => (b.eventAt ?? 0) - (a.eventAt ?? 0),
  blocks: (a, b) => a.blocks - b.blocks,
  gaps: (a, b) => a.gaps - b.gaps,
  missed: (a, b) => a.missed - b.missed,
  restarts: (a, b) => a.restarts - b.restarts,
  drops: (a, b) => a.drops - b.drops,
};

/** The order of the table. */
export interface Sort {
  readonly key: SortKey;
  readonly isAscending: boolean;
}

/** Reads a sort; null without one, or with a column that does not exist. */
export function readSort(text: string | null): Sort | null {
  const key = (text ?? "").replace(/^-/, "");
  return Object.hasOwn(COMPARE, key) ? { key: key as SortKey, isAscending: text === key } : null;
}

/** Whether an engine passes every filter. */
function passes({ id, model, worst, ranks }: EngineSummary, params: URLSearchParams): boolean {
  const is = (name: string, value: string): boolean => {
    const wanted = params.get(name);
    return wanted === null || wanted === value;
  };
  const query = (params.get("q") ?? "").trim().toLowerCase();
  return (
    is("trust", worst.trust) &&
    is("state", worst.state) &&
    is("model", model) &&
    is("source", worst.source) &&
    (query === "" ||
      [id, model, ...ranks.map(({ endpoint }) => endpoint)].some((text) =>
        text.toLowerCase().includes(query),
      ))
  );
}

/** The engines of the table, in its order. */
export function filterEngines(engines: readonly EngineSummary[], params: URLSearchParams): EngineSummary[] {
  const sort = readSort(params.get("sort"));
  const sign = sort?.isAscending === false ? -1 : 1;
  const compare = sort === null ? compareWorst : COMPARE[sort.key];
  return engines
    .filter((engine) => passes(engine, params))
    .sort((a, b) => sign * compare(a.worst, b.worst) || compareNames(a.id, b.id));
}

const CSV_COLUMNS = [
  "id",
  "rank",
  "model",
  "source",
  "state",
  "trust",
  "reason",
  "seq",
  "blocks",
  "gaps",
  "missed",
  "replays",
  "drops",
  "restarts",
  "faults",
] as const;

/** Ranks as CSV with a header. A cell that a spreadsheet would take for a formula has an apostrophe in front. */
export function csvOf(engines: readonly EngineSummary[]): string {
  const rows = engines.flatMap(({ ranks }) => ranks).map((rank) => CSV_COLUMNS.map((name) => rank[name]));
  return [CSV_COLUMNS, ...rows].map((cells) => `${cells.map(csvCell).join(",")}\r\n`).join("");
}

function csvCell(value: string | number | null): string {
  if (typeof value !== "string") return value === null ? "" : String(value);
  const safe = /^[=+\-@\t\r]/.test(value) ? `'${value}` : value;
  return /[",\r\n]/.test(safe) ? `"${safe.replaceAll('"', '""')}"` : safe;
}
