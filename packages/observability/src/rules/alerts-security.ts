/**
 * Alerts about what keeps strangers out, and about friends that are kept out by mistake.
 */

import { SECURITY_METRICS } from "../catalogue/security.ts";
import { SERVICE_METRICS } from "../catalogue/service.ts";
import { panelOf } from "../dashboards/panel.ts";
import { SERVICE } from "../dashboards/service.ts";
import { above, age, equals, max, min, sum } from "../promql/operators.ts";
import { rate, value } from "../promql/series.ts";
import { alert, type Alert } from "./alert.ts";
import { logLines } from "./commands.ts";
import { THRESHOLDS } from "./thresholds.ts";
import { growing, steady, TARGET } from "./trial.ts";

const INSTANCE = ["job", "instance"] as const;
const HOUR_SECONDS = 3600;

/** Alerts of security. */
export const SECURITY_ALERTS: readonly Alert[] = [
  alert({
    name: "CallersRefused",
    when: above(
      sum(rate(SECURITY_METRICS.accessRefusals, "5m"), [...INSTANCE, "code"]),
      THRESHOLDS.refusedCallersPerSecond,
    ),
    for: "10m",
    severity: "warning",
    component: "http",
    summary: "Callers are refused again and again.",
    description: ({ label, value: perSecond }) =>
      `${label("instance")} refuses ${perSecond} requests a second with ${label("code")}.`,
    panel: panelOf(SERVICE, "refusedCallers"),
    runbook: {
      meaning:
        "Requests come without a token, with one that nobody has, with one of too little scope, or more often than the rate for one caller allows.",
      impact: "Whoever sends them routes without cache information. If it is a stranger: none.",
      diagnosis: [
        {
          text: "Which routes, and for what?",
          query: sum(rate(SERVICE_METRICS.httpRequestErrors, "5m"), ["route", "code"]).text,
        },
        {
          text: "Were the tokens changed, and read?",
          command: logLines("security_file_", 5),
        },
      ],
      mitigation: [
        {
          cause: "unknown_token after a rotation: a gateway still has the old token.",
          fix: "Give it the new one; keep both in the file until everybody has it (docs/operations/security.md).",
        },
        {
          cause: "insufficient_scope.",
          fix: "Give that caller an admin token, or have it leave the route alone.",
        },
        { cause: "rate_limited.", fix: "Raise callers.read_per_second, or find out what asks so often." },
        {
          cause: "Nobody of yours.",
          fix: "Keep the port from whoever it is: a network policy, or listening on fewer addresses.",
        },
      ],
      escalation: "The team of the gateways; security when it is nobody's.",
    },
    trial: {
      series: (level) => [growing(SECURITY_METRICS.accessRefusals, { code: "unknown_token" }, level)],
      fires: THRESHOLDS.refusedCallersPerSecond + 0.1,
      calm: THRESHOLDS.refusedCallersPerSecond - 0.1,
      labels: { ...TARGET, code: "unknown_token" },
    },
  }),
  alert({
    name: "SecurityFileRefused",
    when: equals(min(value(SECURITY_METRICS.fileUsable), [...INSTANCE, "file"]), 0),
    for: "2m",
    severity: "warning",
    component: "configuration",
    summary: "Tokens or certificates on the disk cannot be used.",
    description: ({ label }) =>
      `${label("instance")} goes on with the ${label("file")} that it read before; what lies on the disk cannot be used.`,
    panel: panelOf(SERVICE, "securityFiles"),
    runbook: {
      meaning:
        "A file was changed into something that cannot be read or used. What was read before stays in use.",
      impact: "None yet. A restart would fail, new tokens do not count, and an old certificate will end.",
      diagnosis: [
        {
          text: "What is wrong with it? The line names the file, the entry and what was expected.",
          command: logLines("security_file_refused", 2),
        },
      ],
      mitigation: [
        {
          cause: "A certificate without its key, or the key of another.",
          fix: "Write both; they are looked at together.",
        },
        {
          cause: "A mistake in the file of tokens.",
          fix: "Correct it; it is read within security.reload_seconds.",
        },
        { cause: "The file is gone or may not be read.", fix: "Restore the secret, or its permissions." },
      ],
      escalation: "Whoever rotates secrets.",
    },
    trial: {
      series: (level) => [steady(SECURITY_METRICS.fileUsable, { file: "tls" }, level)],
      fires: 0,
      calm: 1,
      labels: { ...TARGET, file: "tls" },
      settle: "1m",
    },
  }),
  alert({
    name: "TlsCertificateExpiring",
    when: above(
      age(max(value(SECURITY_METRICS.certificateExpiry), INSTANCE)),
      -THRESHOLDS.certificateSecondsLeft,
    ),
    for: "10m",
    severity: "warning",
    component: "http",
    summary: "The certificate of the HTTP API ends within two weeks.",
    description: ({ label }) =>
      `The certificate that ${label("instance")} serves HTTPS with has ended, or ends within fourteen days.`,
    panel: panelOf(SERVICE, "certificate"),
    runbook: {
      meaning: "The certificate that is served ends in less than fourteen days, or has ended.",
      impact: "From then on no caller can connect, and gateways route without cache information.",
      diagnosis: [
        {
          text: "What does the daemon serve?",
          command: "openssl s_client -connect DAEMON </dev/null 2>/dev/null | openssl x509 -noout -enddate",
        },
        {
          text: "Was it renewed and not read?",
          command: logLines("security_file_", 5),
        },
      ],
      mitigation: [
        { cause: "It was not renewed.", fix: "Renew it; see why its automation did not." },
        { cause: "It was renewed and cannot be used.", fix: "See SecurityFileRefused." },
      ],
      escalation: "Whoever renews certificates.",
    },
    trial: {
      series: (level) => [steady(SECURITY_METRICS.certificateExpiry, {}, level)],
      fires: THRESHOLDS.certificateSecondsLeft,
      calm: THRESHOLDS.certificateSecondsLeft + HOUR_SECONDS,
      labels: { ...TARGET },
      settle: "1m",
    },
  }),
];
