/**
 * Alertmanager's configuration: the receivers of an alert, how soon and how often it is sent.
 *
 *     severity    critical ──at once──▶ Slack and e-mail, and PagerDuty where it is asked for      warning ──30 s──▶ Slack      info ──▶ nobody, it is on the dashboard
 *     component                         whose channel: that of its team
 *     together    one notification per alert, cluster, namespace and job, with all replicas in it; symptoms of a known cause are silent (inhibition.ts)
 *
 * Secrets are read from files that a Kubernetes secret mounts; the committed file has addresses in example domains, which `generate` replaces.
 */

import { type Project, teamsOf } from "../project.ts";
import type { Severity } from "./alert.ts";
import type { Inhibition } from "./inhibition.ts";
import { PORTS } from "../stack/stack.ts";
import { generatedYaml } from "./prometheus.ts";

/** Where Alertmanager finds its secrets. */
const SECRETS = "/etc/alertmanager/secrets";

/** When a severity is told. Info is not: it is for those who look. */
const PACE: Readonly<Record<Exclude<Severity, "info">, object>> = {
  critical: { group_wait: "0s", group_interval: "1m", repeat_interval: "1h" },
  warning: { group_wait: "30s", group_interval: "5m", repeat_interval: "12h" },
};

const NOBODY = "nobody";

/**
 * The receiver of an alert.
 *
 * @param project - whose.
 * @param severity - of the alert.
 * @param component - of the alert.
 * @returns its receiver's name.
 * @throws RangeError for a component without a team.
 */
export function receiverOf({ teamOf }: Project, severity: Severity, component: string): string {
  const team = teamOf[component];
  if (team === undefined)
    throw new RangeError(
      `the component ${component} has no team; expected one of ${Object.keys(teamOf).join(", ")}`,
    );
  return severity === "info" ? NOBODY : receiverName(severity, team);
}

function receiverName(severity: Exclude<Severity, "info">, team: string): string {
  return `${team}-${severity}`;
}

/** How notifications leave. */
interface Delivery {
  readonly global: object;
  /** Configurations of a receiver. */
  readonly to: (severity: Exclude<Severity, "info">, team: string) => object;
}

/**
 * Alertmanager's configuration.
 *
 * @param project - whose.
 * @returns the file.
 */
export function alertmanagerConfiguration(project: Project): string {
  const { contacts } = project;
  return generatedYaml(
    project,
    configurationFor(project, {
      global: {
        resolve_timeout: "5m",
        slack_api_url_file: `${SECRETS}/slack-webhook-url`,
        smtp_smarthost: contacts.smarthost,
        smtp_from: contacts.emailFrom,
        smtp_auth_username: contacts.emailFrom,
        smtp_auth_password_file: `${SECRETS}/smtp-password`,
      },
      to: (severity, team) => ({
        slack_configs: [slack(channelOf(contacts, team))],
        ...(severity === "critical"
          ? { email_configs: [{ to: contacts.emailTo, send_resolved: true }] }
          : {}),
        ...(severity === "critical" && contacts.pagerduty ? { pagerduty_configs: [PAGE] } : {}),
      }),
    }),
  );
}

/**
 * The same routes and inhibitions for a stack on one machine: every notification is a mail to a server that keeps it for a look.
 *
 * @param project - whose.
 * @returns the file; it needs no secret.
 */
export function localAlertmanagerConfiguration(project: Project): string {
  const { contacts } = project;
  return generatedYaml(
    project,
    configurationFor(project, {
      global: {
        resolve_timeout: "5m",
        smtp_smarthost: `mailpit:${PORTS.mail}`,
        smtp_from: contacts.emailFrom,
        smtp_require_tls: false,
      },
      to: () => ({ email_configs: [{ to: contacts.emailTo, send_resolved: true }] }),
    }),
  );
}

function configurationFor(project: Project, { global, to }: Delivery): object {
  const { teamOf } = project;
  const teams = teamsOf(project);
  const [first = "team"] = teams;
  const severities = ["critical", "warning"] as const;
  const routes = severities.map((severity) => ({
    matchers: [`severity="${severity}"`],
    receiver: receiverName(severity, first),
    ...PACE[severity],
    routes: teams.map((team) => ({
      matchers: [`component=~"${componentsOf(teamOf, team).join("|")}"`],
      receiver: receiverName(severity, team),
    })),
  }));
  return {
    global,
    route: {
      receiver: receiverName("warning", first),
      group_by: ["alertname", "cluster", "namespace", "job"],
      ...PACE.warning,
      routes: [...routes, { matchers: ['severity="info"'], receiver: NOBODY }],
    },
    inhibit_rules: project.inhibitions.map(inhibitRule),
    receivers: [
      ...teams.flatMap((team) =>
        severities.map((severity) => ({ name: receiverName(severity, team), ...to(severity, team) })),
      ),
      { name: NOBODY },
    ],
  };
}

function componentsOf(teamOf: Project["teamOf"], team: string): string[] {
  return Object.keys(teamOf).filter((component) => teamOf[component] === team);
}

function channelOf({ channels }: Project["contacts"], team: string): string {
  return channels[team] ?? `#${team}-alerts`;
}

/** An incident in PagerDuty; Alertmanager resolves it when the alert ends. */
const PAGE = {
  routing_key_file: `${SECRETS}/pagerduty-routing-key`,
  send_resolved: true,
  severity: "critical",
  class: "{{ .CommonLabels.alertname }}",
  component: "{{ .CommonLabels.component }}",
  group: "{{ .CommonLabels.job }}",
  description: "{{ .CommonLabels.alertname }}: {{ (index .Alerts 0).Annotations.summary }}",
  links: [
    { href: "{{ (index .Alerts 0).Annotations.runbook_url }}", text: "runbook" },
    { href: "{{ (index .Alerts 0).Annotations.dashboard_url }}", text: "panel" },
  ],
} as const;

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
