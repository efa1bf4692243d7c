/**
 * An alert as data: the condition, its texts when it fires, what to do then, and a trial that shows
 * it firing. Rule file,
 * promtool test, runbook and reference are made from it, so that none of them can be forgotten or contradict another.
 *
 * Labels in texts go through `label`, which has the condition's label set. So an annotation cannot
 * name a label that the expression has aggregated away. `value` writes the value by its measure, so
 * that seconds read as a duration and ratios as per cent.
 */

import type { PanelReference } from "../dashboards/panel.ts";
import type { Condition, Measure, Vec } from "../promql/vector.ts";
import type { TrialSeries } from "./trial.ts";

/** How urgent: critical pages, warning opens a ticket, info is for the curious. */
export type Severity = "critical" | "warning" | "info";

/** How long the first responder tries alone, where the severity asks for action. */
export const MINUTES_BEFORE_ESCALATION = 30;

/** How long a condition must hold. */
export type AlertFor = `${number}${"s" | "m" | "h"}`;

/** A query of a runbook, with what it tells. */
export interface DiagnosisStep {
  readonly text: string;
  /** PromQL that works as it stands, or a command; absent when the step is looking somewhere. */
  readonly query?: Vec<string, Measure>["text"];
  readonly command?: string;
  /** LogQL that finds the same lines as the command. */
  readonly logql?: string;
}

/** A cause and its remedy. */
interface Remedy {
  readonly cause: string;
  readonly fix: string;
}

/** The runbook's own text. */
export interface Runbook {
  readonly meaning: string;
  readonly impact: string;
  readonly diagnosis: readonly DiagnosisStep[];
  readonly mitigation: readonly Remedy[];
  /** What keeps the alert from firing again. */
  readonly prevention: string;
  /** Who helps when the mitigation does not. */
  readonly escalation: string;
}

/** How the alert is shown to fire, and not to. */
interface Trial {
  /** The series at a level of what the alert watches. */
  readonly series: (level: number) => readonly TrialSeries[];
  /** A level just past the threshold. */
  readonly fires: number;
  /** A level just before it. */
  readonly calm: number;
  /** Labels of the firing alert, beside severity and component. */
  readonly labels: Readonly<Record<string, string>>;
  /** How long the expression takes to reach its value: its look-back, as a rule. */
  readonly settle: AlertFor;
}

/** An alert. */
export interface Alert<Component extends string = string> {
  readonly name: string;
  readonly expression: string;
  readonly labels: readonly string[];
  readonly measure: Measure;
  readonly comparator: string;
  readonly threshold: number | string;
  readonly for: AlertFor;
  readonly severity: Severity;
  /** What is concerned; the project states its team, and Alertmanager routes by it. */
  readonly component: Component;
  /** A fixed sentence. */
  readonly summary: string;
  /** With templates in it. */
  readonly description: string;
  readonly panel: PanelReference;
  readonly runbook: Runbook;
  readonly trial: Trial;
}

/** Alerts that are evaluated together. */
export interface AlertGroup<Component extends string = string> {
  readonly name: string;
  readonly alerts: readonly Alert<Component>[];
}

/** What a description may use. */
interface DescriptionParts<L extends string> {
  /** A label of the firing series. */
  readonly label: (name: L) => string;
  /** Its value, written by its measure; a rate as so many per minute. */
  readonly value: string;
  /** Its value as a count, with the noun that fits it. */
  readonly counted: (one: string, many: string) => string;
}

/** An alert as it is written down. */
export interface AlertSpec<L extends string, M extends Measure, Component extends string> {
  readonly name: string;
  readonly when: Condition<L, M>;
  readonly for: AlertFor;
  readonly severity: Severity;
  readonly component: Component;
  readonly summary: string;
  readonly description: (parts: DescriptionParts<L>) => string;
  readonly panel: PanelReference;
  readonly runbook: Runbook;
  readonly trial: Omit<Trial, "labels" | "settle"> & {
    readonly labels: Readonly<Record<NoInfer<L>, string>>;
    readonly settle?: AlertFor;
  };
}

/** A rate as so many per minute. Templates cannot multiply, but they can query. */
const PER_MINUTE =
  '{{ with printf "60 * vector(%g)" $value | query }}{{ . | first | value | printf "%.1f" }}{{ end }}';

/** A value, written by its measure. */
const VALUES: Readonly<Record<Measure, string>> = {
  none: "{{ $value | humanize }}",
  seconds: "{{ $value | humanizeDuration }}",
  bytes: "{{ $value | humanize1024 }}",
  ratio: "{{ $value | humanizePercentage }}",
  percent: "{{ $value | humanize }}",
  timestamp: "{{ $value | humanizeTimestamp }}",
  per_second: PER_MINUTE,
  bytes_per_second: "{{ $value | humanize1024 }}",
};

/** Look-back of most rates, and a scrape. */
const SETTLE: AlertFor = "6m";

/**
 * Defines an alert.
 *
 * @param spec - its data.
 * @returns the alert with its texts rendered to Prometheus templates.
 */
export function alert<L extends string, M extends Measure, const Component extends string>(
  spec: AlertSpec<L, M, Component>,
): Alert<Component> {
  const { when, description, trial, ...rest } = spec;
  return {
    ...rest,
    expression: when.text,
    labels: when.labels,
    measure: when.measure,
    comparator: when.comparator,
    threshold: when.threshold,
    description: description({
      label: (name) => `{{ $labels.${name} }}`,
      value: VALUES[when.measure],
      counted: (one, many) =>
        `{{ $value | humanize }} {{ if eq $value 1.0 }}${one}{{ else }}${many}{{ end }}`,
    }),
    trial: { settle: SETTLE, ...trial },
  };
}
