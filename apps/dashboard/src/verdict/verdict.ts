/**
 * The state of the fleet in one sentence: a pure function of the stream's messages.
 *
 *     stream lost ─▶ critical check ─▶ configuration ─▶ no engine ─▶ not ready ─▶ model without exact
 *        ─▶ fallbacks ─▶ back-pressure ─▶ alerts ─▶ some not exact ─▶ all exact          the first that holds
 *
 * `**` in a text marks what is shown in bold.
 *
 * Not here: how it looks (views/overview.tsx).
 */
import type { ConnectionState } from "../stream/connection.ts";
import type { Alerts, Health, Totals } from "../stream/stream-messages.ts";
import { VERDICTS } from "../texts/verdict.ts";
import { count, milliseconds, textOf, timeOfDay } from "../words.ts";
import { compareWorst, type FleetSummary, isUnreachable, needsAttention } from "./fleet-summary.ts";

/** How bad it is. */
export type Tone = "critical" | "warning" | "good" | "unknown";

/** The sentence, and what follows it. */
export interface Verdict {
  readonly tone: Tone;
  readonly title: string;
  /** Sentences below it. */
  readonly text: string;
}

/** What a verdict is made of. */
export interface Known {
  readonly connection: ConnectionState;
  /** Whether any state has ever arrived. */
  readonly hasData: boolean;
  readonly fleet: FleetSummary;
  readonly totals: Totals;
  readonly health: Health | null;
  readonly alerts: Alerts | null;
}

/** Above this share of fallbacks, lookups are a problem of their own. */
const FALLBACK_SHARE_MAX = 0.05;

type Rule = (known: Known) => Omit<Verdict, "text"> | null;

const RULES: readonly Rule[] = [
  lost,
  starting,
  criticalCheck,
  configuration,
  noEngine,
  notReady,
  modelWithoutExact,
  fallbacks,
  backPressure,
  firing,
  someNotExact,
];

/** Judges the fleet. */
export function verdictOf(known: Known): Verdict {
  for (const rule of RULES) {
    const found = rule(known);
    if (found !== null) return { ...found, text: textFor(known) };
  }
  const { fleet, totals } = known;
  const title = VERDICTS.allExact(count(fleet.engines.length), fleet.engines.length, latency(totals.p50));
  return { tone: "good", title, text: textFor(known) };
}

function lost({ connection, hasData }: Known): ReturnType<Rule> {
  if (connection.kind === "refused") return { tone: "unknown", title: VERDICTS.refused[connection.status] };
  if (!hasData && connection.kind !== "waiting") return null;
  if (connection.kind === "waiting" || (connection.kind === "connecting" && connection.lostAt !== null))
    return { tone: "critical", title: VERDICTS.lost(timeOfDay(connection.lostAt), hasData) };
  return null;
}

function starting({ hasData }: Known): ReturnType<Rule> {
  return hasData ? null : { tone: "unknown", title: VERDICTS.connecting };
}

function criticalCheck({ health }: Known): ReturnType<Rule> {
  const check = health?.checks?.find(({ status, critical }) => status === "unhealthy" && critical === true);
  return check === undefined
    ? null
    : { tone: "critical", title: VERDICTS.unhealthy(check.name, check.message) };
}

function configuration({ health }: Known): ReturnType<Rule> {
  const fault = health?.configuration;
  if (fault === null || fault === undefined) return null;
  return { tone: "critical", title: VERDICTS.syncOff(fault.missing ?? [], fault.message ?? "") };
}

function noEngine({ fleet, health }: Known): ReturnType<Rule> {
  if (fleet.engines.length > 0) return null;
  const sources = (health?.sources ?? []).map(
    ({ name, engines, state }) =>
      `${name} (${[engines, state].filter((part) => part !== undefined).join(", ")})`,
  );
  return { tone: "warning", title: VERDICTS.noEngine(sources) };
}

function notReady({ fleet, health }: Known): ReturnType<Rule> {
  if (health?.ready !== false) return null;
  const all = fleet.engines.length;
  const inSync = all - fleet.byTrust.unknown - fleet.unreachable;
  return { tone: "warning", title: VERDICTS.catchingUp(count(inSync), count(all), all) };
}

function modelWithoutExact({ fleet }: Known): ReturnType<Rule> {
  const model = fleet.models.find(({ exact }) => exact === 0);
  if (model === undefined) return null;
  const { engines, unreachable } = model;
  return {
    tone: "critical",
    title: VERDICTS.modelWithoutExact(model.model, engines.length, unreachable === engines.length),
  };
}

function fallbacks({ totals }: Known): ReturnType<Rule> {
  const { exact = 0, degraded = 0, fallback = 0 } = totals.lookups ?? {};
  const all = (exact ?? 0) + (degraded ?? 0) + (fallback ?? 0);
  if (all === 0 || (fallback ?? 0) / all <= FALLBACK_SHARE_MAX) return null;
  const [reason] = Object.entries(totals.fallback_reasons ?? {}).sort(([, a], [, b]) => b - a);
  return {
    tone: "warning",
    title: VERDICTS.fallbacks(Math.max(1, Math.round(all / (fallback ?? 1))), reason?.[0] ?? null),
  };
}

function backPressure({ totals }: Known): ReturnType<Rule> {
  const level = totals.queue?.level ?? 0;
  if (level === 0) return null;
  const messages = totals.queue?.messages;
  const waiting = messages === null || messages === undefined ? null : count(messages);
  return { tone: level >= 3 ? "critical" : "warning", title: VERDICTS.backPressure(level, waiting) };
}

function firing({ alerts }: Known): ReturnType<Rule> {
  const loud = (alerts?.alerts ?? []).filter(
    ({ state, severity }) => state === "firing" && (severity === "critical" || severity === "warning"),
  );
  const [worst] = [...loud].sort(
    (a, b) => Number(b.severity === "critical") - Number(a.severity === "critical"),
  );
  if (worst === undefined) return null;
  return {
    tone: worst.severity === "critical" ? "critical" : "warning",
    title: VERDICTS.firing(worst.name, worst.summary ?? "", loud.length - 1),
  };
}

function someNotExact({ fleet }: Known): ReturnType<Rule> {
  const all = fleet.engines.length;
  if (fleet.byTrust.exact === all) return null;
  return { tone: "warning", title: VERDICTS.someExact(count(fleet.byTrust.exact), count(all), all) };
}

function latency(seconds: number | null | undefined): string | null {
  return seconds === null || seconds === undefined ? null : textOf(milliseconds(seconds));
}

/** The engine to look at first; nothing where none needs it, or more than half of them do. */
function worstOf({ engines }: FleetSummary): string {
  const [first, ...others] = engines.filter(needsAttention);
  if (first === undefined || others.length + 1 > engines.length / 2) return "";
  const { id, worst } = others.reduce(
    (found, one) => (compareWorst(one.worst, found.worst) < 0 ? one : found),
    first,
  );
  if (isUnreachable(worst)) return VERDICTS.worst(id, VERDICTS.outOfReach);
  return VERDICTS.worst(id, worst.reason === null ? worst.trust : `${worst.trust}, ${worst.reason}`);
}

/** The sentences below: what keeps engines from exact, what was not applied, and how long lookups take. */
function textFor({ hasData, fleet, totals, health }: Known): string {
  if (!hasData) return "";
  const { byTrust, unreachable } = fleet;
  const fractions = [
    VERDICTS.stale(byTrust.stale),
    VERDICTS.partial(byTrust.partial),
    VERDICTS.unknown(byTrust.unknown),
    VERDICTS.unreachable(unreachable),
  ].filter((part) => part !== "");
  const dropped = Object.entries(totals.not_applied ?? {})
    .filter(([, rate]) => rate > 0)
    .sort(([, a], [, b]) => b - a)
    .map(([reason]) => reason);
  const p50 = latency(totals.p50);
  const isOff = health?.configuration !== null && health?.configuration !== undefined;
  return [
    isOff ? VERDICTS.noInformation : "",
    fractions.length === 0 ? "" : `${fractions.join(", ")}.`,
    worstOf(fleet),
    dropped.length > 0
      ? VERDICTS.dropped(dropped)
      : totals.not_applied === undefined
        ? ""
        : VERDICTS.nothingDropped,
    p50 === null ? VERDICTS.noLookups : VERDICTS.lookups(p50, latency(totals.p99)),
  ]
    .filter((part) => part !== "")
    .join(" ");
}
