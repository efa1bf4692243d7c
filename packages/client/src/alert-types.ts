/** Answers about alerts and silences, for operators. Moments are seconds since the Unix epoch. */

/** A series for which a rule's condition holds. */
export interface Alert {
  readonly name: string;
  readonly state: "firing" | "pending" | "inhibited" | "silenced";
  readonly severity: string;
  readonly component: string;
  /** Those of the series, without alertname, severity and component. */
  readonly labels: Readonly<Record<string, string>>;
  /** Null where Alertmanager alone has the alert. */
  readonly value: number | null;
  readonly since: number;
  /** When a pending alert fires; null for others. */
  readonly fires_at: number | null;
  readonly summary: string;
  readonly description: string;
  readonly runbook_url: string | null;
  readonly dashboard_url: string | null;
  /** Ids of silences. */
  readonly silenced_by: readonly string[];
}

/** A rule, and whether it holds. */
export interface AlertRule {
  readonly name: string;
  readonly state: "firing" | "pending" | "inactive" | "failed" | "needs_prometheus" | "unknown";
  readonly severity: string;
  readonly component: string;
  readonly for_seconds: number;
  readonly summary: string;
  /** The part that only Prometheus has; null for a rule that needs none. */
  readonly needs: "history" | "other_exporters" | "scrape" | null;
  /** Why it cannot be evaluated. */
  readonly problem: string | null;
  readonly runbook_url: string | null;
  readonly dashboard_url: string | null;
}

/** A condition on one label. */
export interface SilenceMatcher {
  readonly name: string;
  readonly value: string;
  readonly is_regex: boolean;
  /** False for a matcher that excludes. */
  readonly is_equal: boolean;
}

/** A silence of Alertmanager that has not ended. Its moments are ISO 8601. */
export interface Silence {
  readonly id: string;
  readonly state: "active" | "pending";
  readonly starts_at: string;
  readonly ends_at: string;
  readonly created_by: string;
  readonly comment: string;
  readonly matchers: readonly SilenceMatcher[];
}

/** Alerts of the daemon's rules, with their source. */
export interface AlertList {
  readonly source: "prometheus+alertmanager" | "prometheus" | "built-in+alertmanager" | "built-in";
  readonly sources: readonly {
    readonly name: "prometheus" | "alertmanager" | "built-in";
    readonly state: "in_use" | "failed" | "not_asked_yet" | "standing_by";
    /** When it was asked last; null before that. */
    readonly at: number | null;
    readonly problem: string | null;
  }[];
  /** The most urgent first. */
  readonly alerts: readonly Alert[];
  /** Alerts beyond the limit of the list. */
  readonly left_out: number;
  readonly rules: readonly AlertRule[];
  /** Null without Alertmanager, and while it does not answer. */
  readonly silences: readonly Silence[] | null;
}

/** Silences that have not ended, the first to end first. */
export interface SilenceList {
  /** Null while Alertmanager does not answer. */
  readonly silences: readonly Silence[] | null;
  readonly problem: string | null;
}

/** A silence to make. */
export interface WantedSilence {
  /** An alert is silenced when it fits all of them: 1 to 32. */
  readonly matchers: readonly (Pick<SilenceMatcher, "name" | "value"> & Partial<SilenceMatcher>)[];
  /** ISO 8601 with an offset, in the future. */
  readonly ends_at: string;
  /** 1 to 1,024 characters. */
  readonly comment: string;
}
