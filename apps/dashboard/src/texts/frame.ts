/**
 * Sentences and labels of the head of the page and of what every view has.
 *
 * `**` marks what is shown in bold. Names of the daemon (states, reasons, checks) are shown as they are: they can be searched for.
 */
import type { ConnectionState, LossReason } from "../stream/connection.ts";

/** Why there is no stream. */
export const LOSSES: Readonly<Record<LossReason, string>> = {
  unreachable: "The daemon cannot be reached.",
  ended: "The connection ended.",
  silent: "The daemon sent nothing for 32 seconds.",
  offline: "This computer is offline.",
  missing_message: "A message was missing. The page asks for the whole state again.",
  unreadable_message: "The daemon sent a message that this page cannot read. Reload the page.",
  stopping: "The daemon is stopping.",
  replaced: "The daemon closed this stream in favor of another one.",
  too_many_viewers: "Too many people watch this daemon. See the setting `dashboard.viewers`.",
  no_route: "This daemon has no dashboard stream. See the setting `dashboard.enabled`.",
  refused_status: "The daemon, or a proxy in front of it, refused the stream.",
};

/** The head of the page. */
export const FRAME = {
  views: "Views",
  skip: "Skip to the view",
  live: (age: string): string => `live, ${age} ago`,
  states: {
    connecting: "connecting",
    waiting: "not connected",
    refused: "no access",
    paused: "paused",
    hidden: "paused while hidden",
  } satisfies Readonly<Record<Exclude<ConnectionState["kind"], "live">, string>>,
  pausedAt: (time: string): string => `paused at ${time}`,
  pausedNote: (time: string): string => `The page is paused. It shows the state at ${time}.`,
  retry: (seconds: string): string => `The next attempt is in ${seconds}.`,
  retryNow: "Connect now",
  range: "Time range",
  quarter: "15 m",
  hour: "1 h",
  pause: "Pause",
  resume: "Resume",
  theme: "Change between dark and light",
  logIn: "Log in",
  logOut: "Log out",
  kept: "Data kept here: one hour in steps of 5 seconds.",
  rate: (rate: string, n: string): string => `message ${n}, ${rate}/s`,
  noView: "There is no such view.",
  noChunk: "This view could not be loaded. The daemon may have been updated since the page was opened.",
  reload: "Reload the page",
  twoInstances: (ours: string, other: string): string =>
    `Answers come from two replicas: the stream from ${ours}, this answer from ${other}. Open one pod's page with kubectl port-forward.`,
};

/** The dialog for a token. */
export const LOGIN = {
  title: "Token",
  reason: {
    401: "The daemon asks for a token with the scope read or admin.",
    403: "This token may not read. Enter one with the scope read or admin.",
  },
  wrong: "The daemon does not accept this token.",
  noScope: "This token has no scope for this page. It needs the scope read or admin.",
  label: "Token",
  kept: "The token stays in this tab. The page sends it only to this daemon.",
  submit: "Log in",
  cancel: "Cancel",
};

/** What a panel shows in place of its data. */
export const PANELS = {
  loading: "Loading",
  stale: (age: string): string => `${age} old`,
  refused: (scope: string): string => `This needs a token with the scope ${scope}.`,
  failed: (title: string, detail: string): string =>
    detail === "" ? `The daemon answered: ${title}.` : `The daemon answered: ${title}. ${detail}`,
  unreachable: "The daemon did not answer.",
  retry: "Try again",
  asTable: "as table",
  asChart: "as chart",
  time: "Time",
  noDataUntil: (time: string): string => `no data until ${time}`,
  noEngines:
    "No engine is known. Engines come from a file, the HTTP API or Kubernetes (setting `discovery`).",
};

/** Titles of the views. */
export const VIEWS = {
  overview: "Overview",
  engines: "Engines",
  alerts: "Alerts",
  prefixes: "Prefixes",
  routing: "Routing",
  index: "Index",
  events: "Events",
  logs: "Logs",
  system: "System",
};
