/** Settings of the daemon's own web page. */

import { baseUrl, flag, integer, linkUrl, section, text } from "./setting-field.ts";

/** Section `dashboard`. */
export const dashboardSection = section({
  enabled: flag("Serve the web page at /dashboard.", true),
  viewers: integer("Viewers of the page's live stream at once.", 32, 1, 1024),
  history_seconds: integer(
    "How far back the page's charts go; a sample each five seconds is kept for it.",
    3600,
    60,
    43_200,
  ),
  prometheus_url: baseUrl(
    "Base URL of Prometheus, which the daemon asks for alerts while the page is open. Unset, the page shows the daemon's own.",
  ),
  alertmanager_url: baseUrl(
    "Base URL of Alertmanager, which the daemon asks for silences while the page is open. Unset, alerts cannot be silenced.",
  ),
  bearer_token_file: text(
    "File with the bearer token for Prometheus and Alertmanager; read at each request; unset for none.",
    null,
  ),
  ca_file: text(
    "File with the certificates of the authorities that Prometheus and Alertmanager are trusted by; unset for the system's.",
    null,
  ),
  grafana_url: linkUrl("Base URL of Grafana, to which the page and its alerts link."),
  traces_url: linkUrl("Where people look at traces; the page links to it."),
  runbooks_url: linkUrl("Base URL of the runbooks, to which the page and its alerts link."),
  errors_url: linkUrl(
    "URL of the page of error codes and drop reasons (docs/generated/errors.md), to which the page links.",
  ),
});
