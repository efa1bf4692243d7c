/**
 * Which engines the table shows, in which order, and the same as CSV.
 *
 * Filters are those of the address: `q`, `trust`, `state`, `model`, `source`, `sort` (a column, `-` in front for descending).
 * Without a sort the worst come first.
 */
import { compareNames, compareWorst, type EngineSummary, TRUST_ORDER } from "../verdict/fleet-summary.ts";

/** A column that sorts. */
type SortKey =
  | "id"
  | "model"
  | "state"
  | "trust"
  | "hour"
  | "seq"
  | "age"
  | "blocks"
  | "rate"
  | "gaps"
  | "missed"
  | "restarts"
  | "drops";

type Counted = "blocks" | "gaps" | "missed" | "restarts" | "drops";

/** A count of an engine is that of all its ranks. */
export function sumOf({ ranks }: EngineSummary, key: Counted): number {
  return ranks.reduce((sum, rank) => sum + rank[key], 0);
}

/** Events per second of all ranks; null where none is measured. */
export function rateOf({ ranks }: EngineSummary): number | null {
  const known = ranks.map(({ rate }) => rate).filter((rate) => rate !== null);
  return known.length === 0 ? null : known.reduce((sum, rate) => sum + rate, 0);
}

function byCount(key: Counted): (a: EngineSummary, b: EngineSummary) => number {
  return (a, b) => sumOf(a, key) - sumOf(b, key);
}

const COMPARE: Readonly<Record<SortKey, (a: EngineSummary, b: EngineSummary) => number>> = {
  id: (a, b) => compareNames(a.id, b.id),
  model: (a, b) => compareNames(a.model, b.model),
  state: (a, b) => compareNames(a.worst.state, b.worst.state),
  trust: (a, b) => TRUST_ORDER.indexOf(a.worst.trust) - TRUST_ORDER.indexOf(b.worst.trust),
  hour: (a, b) => (a.worst.exactHour ?? -1) - (b.worst.exactHour ?? -1),
  seq: (a, b) => (a.worst.seq ?? -1) - (b.worst.seq ?? -1),
  // The longest age is that of a rank without any event.
  age: (a, b) => (b.worst.eventAt ?? 0) - (a.worst.eventAt ?? 0),
  blocks: byCount("blocks"),
  rate: (a, b) => (rateOf(a) ?? -1) - (rateOf(b) ?? -1),
  gaps: byCount("gaps"),
  missed: byCount("missed"),
  restarts: byCount("restarts"),
  drops: byCount("drops"),
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
  const compare =
    sort === null
      ? (a: EngineSummary, b: EngineSummary) => compareWorst(a.worst, b.worst)
      : COMPARE[sort.key];
  return engines
    .filter((engine) => passes(engine, params))
    .sort((a, b) => sign * compare(a, b) || compareNames(a.id, b.id));
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
  "rate",
  "exactHour",
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
  const header = CSV_COLUMNS.map((name) => (name === "exactHour" ? "exact_hour" : name));
  return [header, ...rows].map((cells) => `${cells.map(csvCell).join(",")}\r\n`).join("");
}

function csvCell(value: string | number | null): string {
  if (typeof value !== "string") return value === null ? "" : String(value);
  const safe = /^[=+\-@\t\r]/.test(value) ? `'${value}` : value;
  return /[",\r\n]/.test(safe) ? `"${safe.replaceAll('"', '""')}"` : safe;
}
