/**
 * Which alert silences which: while a cause fires, alerts for its symptoms are not sent.
 *
 * A rule of Alertmanager compares labels that are missing on both sides as equal, so that one label
 * too many in `equal` silences unrelated alerts. The invariants prevent this; `inhibitionProblems`
 * checks them:
 *
 *  N1  Source and targets are alerts that exist, and no alert silences itself.
 *  N2  Each label in `equal` is one that source and every target carry.
 *  N3  A target is never more urgent than its source.
 */

import type { Alert, Severity } from "./alert.ts";

/** One cause and its symptoms. */
export interface Inhibition {
  /** Why the symptoms say nothing new; for the reference. */
  readonly because: string;
  /** Name of the alert that is the cause. */
  readonly source: string;
  /** Names of alerts, or of components all of whose alerts are meant. */
  readonly targets: { readonly alerts: readonly string[] } | { readonly components: readonly string[] };
  /** Labels that cause and symptom have in common. */
  readonly equal: readonly string[];
}

const URGENCY: Readonly<Record<Severity, number>> = { critical: 2, warning: 1, info: 0 };

/**
 * The alerts that a rule silences.
 *
 * @param inhibition - the rule.
 * @param alerts - all there are.
 * @returns the targets that exist; those of components without the source itself.
 */
export function targetsOf({ source, targets }: Inhibition, alerts: readonly Alert[]): readonly Alert[] {
  if ("alerts" in targets) return alerts.filter(({ name }) => targets.alerts.includes(name));
  return alerts.filter(({ name, component }) => name !== source && targets.components.includes(component));
}

/**
 * Checks N1 to N3.
 *
 * @param inhibitions - the rules.
 * @param alerts - all alerts.
 * @returns one sentence per fault.
 */
export function inhibitionProblems(inhibitions: readonly Inhibition[], alerts: readonly Alert[]): string[] {
  return inhibitions.flatMap((inhibition) => {
    const { source, targets, equal } = inhibition;
    const cause = alerts.find(({ name }) => name === source);
    if (cause === undefined) return [`${source}: no such alert (N1)`];
    const symptoms = targetsOf(inhibition, alerts);
    const wanted = "alerts" in targets ? targets.alerts : [];
    return [
      ...(symptoms.length === 0 ? [`${source}: silences nothing (N1)`] : []),
      ...(wanted.includes(source) ? [`${source}: silences itself (N1)`] : []),
      ...wanted
        .filter((name) => !alerts.some((alert) => alert.name === name))
        .map((name) => `${source}: no such target: ${name} (N1)`),
      ...[cause, ...symptoms].flatMap(({ name, labels }) =>
        equal
          .filter((label) => !labels.includes(label))
          .map((label) => `${source}: ${name} has no label ${label} (N2)`),
      ),
      ...symptoms
        .filter(({ severity }) => URGENCY[severity] > URGENCY[cause.severity])
        .map(({ name }) => `${source}: silences the more urgent ${name} (N3)`),
    ];
  });
}
