/** Sentences and labels of the alerts. Names of alerts, labels and states are shown as they are: they can be searched for. */
import type { AlertNeed, AlertSource, AlertState, RuleState } from "../stream/stream-messages.ts";

/** The view. */
export const ALERTS = {
  title: "Alerts",
  from: {
    "prometheus+alertmanager": "from Prometheus and Alertmanager",
    prometheus: "from Prometheus",
    "built-in+alertmanager": "from this daemon and Alertmanager",
    "built-in": "evaluated by this daemon",
  } as Readonly<Record<string, string>>,
  sources: {
    prometheus: "Prometheus",
    alertmanager: "Alertmanager",
    "built-in": "This daemon",
  } satisfies Readonly<Record<AlertSource["name"], string>>,
  failed: (source: string, problem: string): string => `${source} cannot be used: ${problem}.`,
  ownInstead: "The list has the alerts that this daemon evaluates itself.",
  noSilences: "Silences are missing from the list.",
  none: "No alert fires or is pending.",
  noneOf: "No alert is in this state.",
  waiting: "The daemon has not evaluated its alerts yet. The first evaluation takes place at its start.",
  unsupported: "This daemon has no alerts. Update it, or use the page of its own version.",
  filter: "State",
  all: "All",
  states: {
    firing: "Firing",
    pending: "Pending",
    silenced: "Silenced",
    inhibited: "Inhibited",
  } satisfies Readonly<Record<AlertState, string>>,
  stateHelp: {
    firing: "The condition has held for long enough. Notifications are sent.",
    pending: "The condition holds. The alert fires when it has held for long enough.",
    silenced: "The alert fires. A silence holds its notifications back.",
    inhibited: "The alert fires. Another alert, which is its cause, holds its notifications back.",
  } satisfies Readonly<Record<AlertState, string>>,
  since: (age: string): string => `for ${age}`,
  firesIn: (time: string): string => `fires in ${time}`,
  firesNow: "fires at the next evaluation",
  runbook: "Runbook",
  panel: "Panel in Grafana",
  silence: "Silence",
  silenceOf: (name: string): string => `Silence ${name}`,
  leftOut: (count: string): string => `${count} more alerts are not shown.`,
};

/** The list of silences. */
export const SILENCES = {
  title: "Silences",
  none: "No silence is active.",
  unset: "Silences need Alertmanager. Set `dashboard.alertmanager_url`.",
  unknown: "Alertmanager does not answer, so its silences are not known.",
  readOnly: "Making and ending a silence needs a token with the scope admin.",
  ends: (time: string, left: string): string => `ends ${time}, in ${left}`,
  starts: (time: string): string => `starts ${time}`,
  by: (author: string): string => `by ${author}`,
  expire: "End",
  sure: (what: string): string => `End the silence of ${what}`,
  keep: "Keep it",
  expired: (what: string): string => `The silence of ${what} has ended.`,
  undo: "Undo",
  made: (what: string): string => `The silence of ${what} is active.`,
  dismiss: "Dismiss",
};

/** The form of a silence. */
export const SILENCE_FORM = {
  title: (name: string): string => `Silence ${name}`,
  about: "Alertmanager sends no notifications for alerts with all of these labels.",
  labels: "Labels",
  until: "Until",
  hours: (hours: number): string => `${hours} h`,
  moment: "until …",
  end: "End",
  comment: "Comment",
  commentHelp: "Why, and who works on it",
  author: (name: string | null): string =>
    name === null ? "The daemon uses no tokens, so the author is not known." : `The author is ${name}.`,
  submit: "Silence",
  cancel: "Cancel",
  needLabel: "Choose at least one label.",
  needComment: "Write a comment.",
  needEnd: "Choose an end in the future.",
};

/** The list of rules. */
export const RULES = {
  title: "Rules",
  counts: (evaluated: string, needing: string): string =>
    needing === "0" ? `${evaluated} evaluated` : `${evaluated} evaluated, ${needing} need Prometheus`,
  columns: {
    name: "Name",
    state: "State",
    severity: "Severity",
    waits: "Fires after",
    about: "About",
    links: "Links",
  },
  states: {
    inactive: "inactive",
    pending: "pending",
    firing: "firing",
    failed: "failed",
    needs_prometheus: "needs Prometheus",
    unknown: "unknown",
  } satisfies Readonly<Record<RuleState, string>>,
  needs: {
    history: "It looks back further than six hours.",
    other_exporters: "It reads metrics of other exporters.",
    scrape: "It reads the outcome of Prometheus's scrape.",
  } satisfies Readonly<Record<AlertNeed, string>>,
};
