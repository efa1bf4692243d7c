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
import { isWeb } from "../page/web-address.ts";
import type { ConnectionState } from "../stream/connection.ts";
import type { Alerts, Health, HealthCheck, Totals } from "../stream/stream-messages.ts";
import { VERDICTS } from "../texts/verdict.ts";
import { count, milliseconds, percent, textOf, timeOfDay } from "../words.ts";
import { compareWorst, type FleetSummary, isUnreachable, needsAttention } from "./fleet-summary.ts";
import { toneOfUse } from "./memory-use.ts";

/** How bad it is. */
export type Tone = "critical" | "warning" | "good" | "unknown";

/** What an operator does first. */
export type Step =
  | { readonly kind: "connect" | "log_in" | "sources" }
  | { readonly kind: "runbook"; readonly address: string };

/** The sentence, and what follows it. */
export interface Verdict {
  readonly tone: Tone;
  readonly title: string;
  /** The beginning of the title that screen readers announce: without figures that change each second. */
  readonly announced: string;
  /** Sentences below it. */
  readonly text: string;
  /** `null` where the page has no link for it. */
  readonly step: Step | null;
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
/** Health checks of which the reason is told. */
const CHECKS_TOLD_MAX = 2;

/** A title, and the engine that it names. */
type Found = Pick<Verdict, "tone" | "title"> & { readonly step?: Step | null; readonly named?: string };

type Rule = (known: Known) => Found | null;

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
    if (found === null) continue;
    const { named = "", ...verdict } = found;
    return { step: null, announced: verdict.title, ...verdict, text: textFor(known, named, false) };
  }
  const { fleet, totals } = known;
  const all = fleet.engines.length;
  const announced = VERDICTS.allExact(count(all), all, null);
  const title = VERDICTS.allExact(count(all), all, latency(totals.p50));
  return { tone: "good", title, announced, step: null, text: textFor(known, "", true) };
}

function lost({ connection, hasData }: Known): ReturnType<Rule> {
  if (connection.kind === "refused")
    return { tone: "unknown", title: VERDICTS.refused[connection.status], step: { kind: "log_in" } };
  if (!hasData && connection.kind !== "waiting") return null;
  if (connection.kind === "waiting" || (connection.kind === "connecting" && connection.lostAt !== null))
    return {
      tone: "critical",
      title: VERDICTS.lost(timeOfDay(connection.lostAt), hasData),
      step: connection.kind === "waiting" ? { kind: "connect" } : null,
    };
  return null;
}

function starting({ hasData }: Known): ReturnType<Rule> {
  return hasData ? null : { tone: "unknown", title: VERDICTS.connecting };
}

function criticalCheck({ health }: Known): ReturnType<Rule> {
  const check = health?.checks?.find(isCritical);
  return check === undefined
    ? null
    : { tone: "critical", title: VERDICTS.unhealthy(check.name, check.message) };
}

function isCritical({ status, critical }: HealthCheck): boolean {
  return status === "unhealthy" && critical === true;
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
  return { tone: "warning", title: VERDICTS.noEngine(sources), step: { kind: "sources" } };
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
  const named = worst.labels?.["pod"] ?? "";
  return {
    tone: worst.severity === "critical" ? "critical" : "warning",
    named,
    title: VERDICTS.firing(
      worst.name,
      named === "" ? (worst.labels?.["model"] ?? "") : named,
      worst.summary ?? "",
      loud.length - 1,
    ),
    step: isWeb(worst.runbook_url) ? { kind: "runbook", address: worst.runbook_url } : null,
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

/** The engine to look at first; nothing where none needs it, more than half of them do, or the title has its name. */
function worstOf({ engines }: FleetSummary, named: string): string {
  const [first, ...others] = engines.filter(needsAttention);
  if (first === undefined || others.length + 1 > engines.length / 2) return "";
  const { id, worst } = others.reduce(
    (found, one) => (compareWorst(one.worst, found.worst) < 0 ? one : found),
    first,
  );
  if (id === named) return "";
  if (isUnreachable(worst)) return VERDICTS.worst(id, VERDICTS.outOfReach);
  return VERDICTS.worst(id, worst.reason === null ? worst.trust : `${worst.trust}, ${worst.reason}`);
}

/** How many engines are below exact, and why. */
function belowExact({ byTrust, unreachable }: FleetSummary): string {
  const parts = [
    [byTrust.stale, VERDICTS.stale(byTrust.stale)],
    [byTrust.partial, VERDICTS.partial],
    [byTrust.unknown, VERDICTS.unknown(byTrust.unknown)],
    [unreachable, VERDICTS.unreachable],
  ] as const;
  const seen = parts.filter(([engines]) => engines > 0);
  if (seen.length === 0) return "";
  const texts = seen.map(
    ([engines, what], i) => `${VERDICTS.engines(count(engines), engines, i === 0)} ${what}`,
  );
  return `${texts.join(", ")}.`;
}

/** What was received and not applied. */
function notApplied({ not_applied: rates }: Totals): string {
  if (rates === undefined) return "";
  const dropped = Object.entries(rates)
    .filter(([, rate]) => rate > 0)
    .sort(([, a], [, b]) => b - a)
    .map(([reason]) => reason);
  return dropped.length > 0 ? VERDICTS.dropped(dropped) : VERDICTS.nothingDropped;
}

/** How long lookups take. A title that has the median leaves the p99. */
function lookupTimes({ p50, p99 }: Totals, isInTitle: boolean): string {
  const [median, slow] = [latency(p50), latency(p99)];
  if (median === null) return VERDICTS.noLookups;
  if (!isInTitle) return VERDICTS.lookups(median, slow);
  return slow === null ? "" : VERDICTS.lookupsP99(slow);
}

/** Health checks that are not healthy: the first of them with their reasons. */
function otherChecks(health: Health | null): string {
  const low = (health?.checks ?? []).filter((check) => check.status !== "healthy" && !isCritical(check));
  const told = low.slice(0, CHECKS_TOLD_MAX);
  const left = low.length - told.length;
  return [
    ...told.map(({ name, status, message }) => VERDICTS.lowCheck(name, status, message)),
    ...(left === 0 ? [] : [VERDICTS.moreChecks(count(left), left)]),
  ].join(" ");
}

/** An index that is nearly full evicts blocks that engines hold. */
function indexMemory({ memory }: Totals): string {
  const [used, limit] = [memory?.used ?? 0, memory?.limit ?? 0];
  return toneOfUse(used, limit) === "bad" ? VERDICTS.nearlyFull(textOf(percent(used / limit))) : "";
}

/** The sentences below: what keeps engines from exact, what was not applied, and how long lookups take. */
function textFor({ hasData, fleet, totals, health }: Known, named: string, isMedianInTitle: boolean): string {
  if (!hasData) return "";
  const isOff = health?.configuration !== null && health?.configuration !== undefined;
  const hasEngines = fleet.engines.length > 0;
  return [
    isOff || !hasEngines ? VERDICTS.noInformation : "",
    belowExact(fleet),
    worstOf(fleet, named),
    otherChecks(health),
    indexMemory(totals),
    hasEngines ? notApplied(totals) : "",
    hasEngines ? lookupTimes(totals, isMedianInTitle) : "",
  ]
    .filter((part) => part !== "")
    .join(" ");
}
