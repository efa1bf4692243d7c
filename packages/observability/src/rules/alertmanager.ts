/**
 * Alertmanager's configuration: the receivers of an alert, how soon and how often it is sent.
 *
 *     severity    critical ──at once──▶ Slack and e-mail      warning ──30 s──▶ Slack      info ──▶ nobody, it is on the dashboard
 *     component                         whose channel: kvsync's own, the platform's, monitoring's
 *     together    one notification per alert and job, with all replicas in it; symptoms of a known cause are silent (inhibitions.ts)
 *
 * Secrets are read from files that a Kubernetes secret mounts; the committed file has addresses in example domains, which `generate` replaces.
 */

import type { Component, Severity } from "./alert.ts";
import { INHIBITIONS, type Inhibition } from "../kvsync/rules/inhibitions.ts";
import { generatedYaml } from "./prometheus.ts";

/** Where Alertmanager finds its secrets. */
const SECRETS = "/etc/alertmanager/secrets";

/** Who receives notifications. */
export interface Contacts {
  readonly emailTo: string;
  readonly emailFrom: string;
  /** host:port of the mail server. */
  readonly smarthost: string;
  /** The Slack channel of each team, with its `#`. */
  readonly channels: Readonly<Record<Team, string>>;
}

/** Every team with a channel of its own. */
export const TEAM_NAMES = ["kvsync", "platform", "monitoring"] as const;

/** One of the teams. */
export type Team = (typeof TEAM_NAMES)[number];

/** The contacts of the committed file. */
export const DEFAULT_CONTACTS: Contacts = {
  emailTo: "kvsync-on-call@kvsync.example",
  emailFrom: "alertmanager@kvsync.example",
  smarthost: "smtp.kvsync.example:587",
  channels: { kvsync: "#kvsync-alerts", platform: "#platform-alerts", monitoring: "#monitoring-alerts" },
};

/** Which team looks first; a component without one does not compile. */
const TEAMS: Readonly<Record<Component, Team>> = {
  configuration: "kvsync",
  ingest: "kvsync",
  index: "kvsync",
  routing: "kvsync",
  http: "kvsync",
  snapshot: "kvsync",
  process: "kvsync",
  objectives: "kvsync",
  platform: "platform",
  alerting: "monitoring",
};

/** When a severity is told. Info is not: it is for those who look. */
const PACE: Readonly<Record<Exclude<Severity, "info">, object>> = {
  critical: { group_wait: "0s", group_interval: "1m", repeat_interval: "1h" },
  warning: { group_wait: "30s", group_interval: "5m", repeat_interval: "12h" },
};

const NOBODY = "nobody";

/**
 * The receiver of an alert.
 *
 * @param severity - of the alert.
 * @param component - of the alert.
 * @returns its receiver's name.
 */
export function receiverOf(severity: Severity, component: Component): string {
  return severity === "info" ? NOBODY : receiverName(severity, TEAMS[component]);
}

function receiverName(severity: Exclude<Severity, "info">, team: Team): string {
  return `${team}-${severity}`;
}

/**
 * Alertmanager's configuration.
 *
 * @param contacts - who receives notifications.
 * @returns the file.
 */
export function alertmanagerConfiguration(contacts: Contacts): string {
  const routes = (["critical", "warning"] as const).map((severity) => ({
    matchers: [`severity="${severity}"`],
    receiver: receiverName(severity, "kvsync"),
    ...PACE[severity],
    routes: TEAM_NAMES.map((team) => ({
      matchers: [`component=~"${componentsOf(team).join("|")}"`],
      receiver: receiverName(severity, team),
    })),
  }));
  return generatedYaml({
    global: {
      resolve_timeout: "5m",
      slack_api_url_file: `${SECRETS}/slack-webhook-url`,
      smtp_smarthost: contacts.smarthost,
      smtp_from: contacts.emailFrom,
      smtp_auth_username: contacts.emailFrom,
      smtp_auth_password_file: `${SECRETS}/smtp-password`,
    },
    route: {
      receiver: receiverName("warning", "kvsync"),
      group_by: ["alertname", "job", "namespace"],
      ...PACE.warning,
      routes: [...routes, { matchers: ['severity="info"'], receiver: NOBODY }],
    },
    inhibit_rules: INHIBITIONS.map(inhibitRule),
    receivers: [
      ...TEAM_NAMES.flatMap((team) => [
        {
          name: receiverName("critical", team),
          slack_configs: [slack(contacts.channels[team])],
          email_configs: [{ to: contacts.emailTo, send_resolved: true }],
        },
        { name: receiverName("warning", team), slack_configs: [slack(contacts.channels[team])] },
      ]),
      { name: NOBODY },
    ],
  });
}

function componentsOf(team: Team): Component[] {
  return (Object.keys(TEAMS) as Component[]).filter((component) => TEAMS[component] === team);
}

function slack(channel: string): object {
  const each =
    "{{ range .Alerts }}{{ .Annotations.summary }} {{ .Annotations.description }} <{{ .Annotations.runbook_url }}|runbook> <{{ .Annotations.dashboard_url }}|panel>\n{{ end }}";
  return {
    channel,
    send_resolved: true,
    title:
      "{{ .Status | toUpper }} {{ .CommonLabels.alertname }} ({{ .Alerts | len }}) {{ .CommonLabels.severity }}",
    title_link: "{{ (index .Alerts 0).Annotations.dashboard_url }}",
    text: each,
  };
}

function inhibitRule({ source, targets, equal }: Inhibition): object {
  const wanted =
    "alerts" in targets
      ? [`alertname=~"${targets.alerts.join("|")}"`]
      : [`component=~"${targets.components.join("|")}"`, `alertname!="${source}"`];
  return { source_matchers: [`alertname="${source}"`], target_matchers: wanted, equal };
}
