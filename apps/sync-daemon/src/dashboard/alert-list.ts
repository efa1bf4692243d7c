/**
 * One list of alerts, made of up to three sources.
 *
 *     Prometheus ── pending, firing, values ─┐
 *     built in  ── when Prometheus is not ───┴─▶ alerts ◀── silenced, inhibited ── Alertmanager
 *
 * Invariants
 *  A1  A source that fails is left out, and its problem is in the answer. The built-in alerts take
 *      the place of Prometheus, so that the list is never empty for want of it.
 *  A2  An alert is there once: Alertmanager's entry only changes its state.
 *  A3  At most ALERTS_MAX alerts and SILENCES_MAX silences are in an answer. The others are counted.
 *  A4  Links are http or https.
 */

import type { CompiledAlert, RuleNeed } from "@kvsync/observability/evaluation/compiled-rules";
import type { RuleStanding } from "@kvsync/observability/evaluation/rule-evaluation";

import type { PrometheusRule, ReceivedAlert, Silence } from "./upstream-alerts.ts";

/** Some 100 kB: a stream must not be stopped by a list that is too long to read. */
const ALERTS_MAX = 200;
const SILENCES_MAX = 100;

/** States of an alert, the most urgent first. */
export const ALERT_STATES = ["firing", "pending", "inhibited", "silenced"] as const;

/** States of a rule. */
export const RULE_STATES = [
  "firing",
  "pending",
  "inactive",
  "failed",
  "needs_prometheus",
  "unknown",
] as const;

/** Where alerts come from. */
export const ALERT_SOURCES = ["prometheus", "alertmanager", "built-in"] as const;

/** An alert as it is sent. */
interface ListedAlert {
  readonly name: string;
  readonly state: (typeof ALERT_STATES)[number];
  readonly severity: string;
  readonly component: string;
  readonly labels: Readonly<Record<string, string>>;
  /** Null where Alertmanager alone has it. */
  readonly value: number | null;
  /** Seconds since the Unix epoch. */
  readonly since: number;
  /** When a pending one fires, if nothing changes; null for others. */
  readonly fires_at: number | null;
  readonly summary: string;
  readonly description: string;
  readonly runbook_url: string | null;
  readonly dashboard_url: string | null;
  readonly silenced_by: readonly string[];
}

/** A rule as it is sent. */
interface ListedRule {
  readonly name: string;
  readonly state: (typeof RULE_STATES)[number];
  readonly severity: string;
  readonly component: string;
  readonly for_seconds: number;
  readonly summary: string;
  readonly needs: RuleNeed | null;
  /** Why it cannot be evaluated. */
  readonly problem: string | null;
  readonly runbook_url: string | null;
  readonly dashboard_url: string | null;
}

/** How a source stands. */
export interface ListedSource {
  readonly name: (typeof ALERT_SOURCES)[number];
  readonly state: "in_use" | "failed" | "not_asked_yet" | "standing_by";
  /** Seconds since the Unix epoch; null before the first time. */
  readonly at: number | null;
  readonly problem: string | null;
}

/** The list. */
export interface AlertList {
  readonly source: "prometheus+alertmanager" | "prometheus" | "built-in+alertmanager" | "built-in";
  readonly sources: readonly ListedSource[];
  readonly alerts: readonly ListedAlert[];
  readonly left_out: number;
  readonly rules: readonly ListedRule[];
  /** Null without Alertmanager, or while it does not answer. */
  readonly silences: readonly Silence[] | null;
}

/** Answers that the list is made of; null where a source is not set or has failed. */
export interface AlertFacts {
  readonly sources: readonly ListedSource[];
  readonly builtIn: readonly RuleStanding[];
  readonly prometheus: readonly PrometheusRule[] | null;
  readonly received: readonly ReceivedAlert[] | null;
  readonly silences: readonly Silence[] | null;
}

/** Where people are led to. */
export interface AlertLinks {
  readonly runbooks_url: string | null;
  readonly grafana_url: string | null;
}

/**
 * Makes the list.
 *
 * @param facts - of all sources.
 * @param links - of the settings; they go before those of annotations.
 * @returns alerts, the most urgent first.
 */
export function alertListOf(facts: AlertFacts, links: AlertLinks): AlertList {
  const { prometheus, received, silences, sources, builtIn } = facts;
  const known = prometheus === null ? ownAlerts(builtIn, links) : theirAlerts(prometheus, links);
  const alerts = withReceived(known, received ?? [], links).sort(byUrgency);
  const base = prometheus === null ? "built-in" : "prometheus";
  return {
    source: received === null ? base : `${base}+alertmanager`,
    sources,
    alerts: alerts.slice(0, ALERTS_MAX),
    left_out: Math.max(0, alerts.length - ALERTS_MAX),
    rules: prometheus === null ? ownRules(builtIn, links) : theirRules(prometheus, builtIn, links),
    silences: silences?.slice(0, SILENCES_MAX) ?? null,
  };
}

const SEVERITIES = ["critical", "warning", "info"];

function byUrgency(one: ListedAlert, other: ListedAlert): number {
  const rank = ({ state, severity }: ListedAlert): number =>
    ALERT_STATES.indexOf(state) * SEVERITIES.length + SEVERITIES.indexOf(severity);
  return rank(one) - rank(other) || one.since - other.since || (one.name < other.name ? -1 : 1);
}

function ownAlerts(standings: readonly RuleStanding[], links: AlertLinks): ListedAlert[] {
  return standings.flatMap(({ rule, alerts }) =>
    alerts.map((alert) => ({
      name: rule.name,
      state: alert.state,
      ...kindOf(rule),
      labels: alert.labels,
      value: finite(alert.value),
      since: Math.round(alert.sinceSeconds),
      fires_at: alert.state === "pending" ? Math.round(alert.sinceSeconds + rule.forSeconds) : null,
      summary: alert.summary,
      description: alert.description,
      ...linksOf(rule, links, {}),
      silenced_by: [],
    })),
  );
}

function theirAlerts(rules: readonly PrometheusRule[], links: AlertLinks): ListedAlert[] {
  return rules.flatMap(({ rule, alerts }) =>
    alerts.map((alert) => ({
      name: rule.name,
      state: alert.state,
      ...kindOf(rule),
      labels: own(alert.labels),
      value: finite(alert.value),
      since: Math.round(alert.sinceSeconds),
      fires_at: alert.state === "pending" ? Math.round(alert.sinceSeconds + alert.forSeconds) : null,
      ...textsOf(rule, alert.annotations),
      ...linksOf(rule, links, alert.annotations),
      silenced_by: [],
    })),
  );
}

/** A2: an entry of Alertmanager belongs to the firing alert of its rule whose labels it has. */
function withReceived(
  known: readonly ListedAlert[],
  received: readonly ReceivedAlert[],
  links: AlertLinks,
): ListedAlert[] {
  const left = new Set(received);
  const alerts = known.map((alert) => {
    if (alert.state !== "firing") return alert;
    const match = received.find((one) => left.has(one) && isSame(alert, one));
    if (match === undefined) return alert;
    left.delete(match);
    return { ...alert, state: match.state, silenced_by: match.silencedBy };
  });
  for (const one of left) alerts.push(receivedAlert(one, links));
  return alerts;
}

/** Alertmanager may have labels besides: those that Prometheus adds for all that it sends. */
function isSame(alert: ListedAlert, { rule, labels }: ReceivedAlert): boolean {
  return (
    rule.name === alert.name &&
    Object.entries(alert.labels).every(([label, value]) => labels[label] === value)
  );
}

function receivedAlert(
  { rule, state, labels, annotations, sinceSeconds, silencedBy }: ReceivedAlert,
  links: AlertLinks,
): ListedAlert {
  return {
    name: rule.name,
    state,
    ...kindOf(rule),
    labels: own(labels),
    value: null,
    since: Math.round(sinceSeconds),
    fires_at: null,
    ...textsOf(rule, annotations),
    ...linksOf(rule, links, annotations),
    silenced_by: silencedBy,
  };
}

function ownRules(standings: readonly RuleStanding[], links: AlertLinks): ListedRule[] {
  return standings.map(({ rule, state, problem }) => listedRule(rule, state, problem, links));
}

/** A rule that Prometheus lacks is named too: its file may be an old one. */
function theirRules(
  rules: readonly PrometheusRule[],
  standings: readonly RuleStanding[],
  links: AlertLinks,
): ListedRule[] {
  const byName = new Map(rules.map((one) => [one.rule.name, one]));
  return standings.map(({ rule }) => {
    const there = byName.get(rule.name);
    return there === undefined
      ? listedRule(rule, "unknown", "Prometheus has no rule of this name", links)
      : listedRule(rule, there.state, there.problem, links);
  });
}

function listedRule(
  rule: CompiledAlert,
  state: ListedRule["state"],
  problem: string | null,
  links: AlertLinks,
): ListedRule {
  return {
    name: rule.name,
    state,
    ...kindOf(rule),
    for_seconds: rule.forSeconds,
    summary: rule.summary,
    needs: rule.needs,
    problem,
    ...linksOf(rule, links, {}),
  };
}

function kindOf({ severity, component }: CompiledAlert): { severity: string; component: string } {
  return { severity, component };
}

function textsOf(
  rule: CompiledAlert,
  annotations: Readonly<Record<string, string>>,
): { summary: string; description: string } {
  return {
    summary: annotations["summary"] ?? rule.summary,
    description: annotations["description"] ?? rule.summary,
  };
}

/** Those of the series: name, severity and component have fields of their own. */
function own(labels: Readonly<Record<string, string>>): Readonly<Record<string, string>> {
  const named = new Set(["alertname", "severity", "component"]);
  return Object.fromEntries(Object.entries(labels).filter(([label]) => !named.has(label)));
}

function linksOf(
  { runbook, panel }: CompiledAlert,
  { runbooks_url: runbooks, grafana_url: grafana }: AlertLinks,
  annotations: Readonly<Record<string, string>>,
): { runbook_url: string | null; dashboard_url: string | null } {
  return {
    runbook_url: runbooks === null ? web(annotations["runbook_url"]) : `${trimmed(runbooks)}/${runbook}`,
    dashboard_url:
      grafana === null
        ? web(annotations["dashboard_url"])
        : `${trimmed(grafana)}/d/${panel.uid}?viewPanel=${panel.id}`,
  };
}

function trimmed(url: string): string {
  return url.replace(/\/+$/, "");
}

/** A4 */
function web(url: string | undefined): string | null {
  return url !== undefined && /^https?:\/\//.test(url) && URL.canParse(url) ? url : null;
}

function finite(value: number): number | null {
  return Number.isFinite(value) ? value : null;
}
