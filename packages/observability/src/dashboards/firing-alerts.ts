/**
 * Panels of the alerts that fire, for the first screen of a dashboard: their number, and each with its
 * time. They read the series that Prometheus itself keeps of its alerts.
 *
 * Alerts are known by their component. Those of the platform have no label of a scraped process, so
 * choices at the top of a dashboard do not narrow these panels.
 */

import { PROMETHEUS_METRICS } from "../exporters.ts";
import { count, min, where } from "../promql/operators.ts";
import { value } from "../promql/series.ts";
import { type Panel, query, stat, table } from "./panel.ts";

/** Labels of a row of the list. */
const ROW = ["alertname", "severity", "instance"] as const;

/** Where Grafana shows a rule with its runbook. */
const RULE = { title: "Rule and runbook", url: "/alerting/list?search=rule:${__value.raw}" } as const;

/** Where the panels are, and how large. */
interface FiringPlace {
  readonly id: number;
  readonly width: number;
  readonly height: number;
}

/**
 * The number of alerts that ask for action.
 *
 * @param components - of the application's alerts.
 * @param place - id and size.
 * @returns a panel that says "none" when all is well.
 */
export function firingCount(components: readonly string[], place: FiringPlace): Panel {
  const firing = value(PROMETHEUS_METRICS.alerts, {
    alertstate: "firing",
    severity: ["critical", "warning"],
    component: components,
  });
  return stat({
    ...place,
    title: "Firing alerts",
    shows: "Alerts that fire now, critical ones and warnings. The list has them by name.",
    normal: "None.",
    queries: [query(count(firing, []), "alerts")],
    levels: { warning: 1, bad: "above" },
  });
}

/**
 * Every alert that fires.
 *
 * @param components - of the application's alerts.
 * @param place - id and size.
 * @returns a table with one row for each alert and replica, the newest first.
 */
export function firingList(components: readonly string[], place: FiringPlace): Panel {
  const firing = value(PROMETHEUS_METRICS.alerts, { alertstate: "firing", component: components });
  const begun = value(PROMETHEUS_METRICS.alertsForState, { component: components });
  return table({
    ...place,
    title: "Alerts",
    shows:
      "Each firing alert by name, severity and replica: how many of its series fire, and since when its condition has held. The name leads to the rule and its runbook.",
    normal: "Empty.",
    columns: [
      { title: "Series", query: query(count(firing, ROW), "series") },
      { title: "Since", query: query(where(min(begun, ROW), firing, ROW), "since") },
    ],
    links: [{ label: "alertname", ...RULE }],
    order: { column: "Since", first: "largest" },
  });
}
