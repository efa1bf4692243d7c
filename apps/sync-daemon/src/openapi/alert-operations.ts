/** The routes of alerts and silences, for the list of all (operations.ts). */

import { alertsAnswer, silenceBody, silenceMade, silencesAnswer } from "./alert-answers.ts";
import type { Operation } from "./operation.ts";

const silenceRequest = silenceBody.meta({
  id: "SilenceRequest",
  description: "The alerts to silence, the end, and the reason.",
});

const SILENCE_PROBLEMS = [
  "malformed_body",
  "dashboard_off",
  "alertmanager_not_configured",
  "upstream_unreachable",
  "upstream_refused",
] as const;

/** All of them. */
export const ALERT_OPERATIONS: readonly Operation[] = [
  {
    method: "get",
    path: "/api/v1/alerts",
    id: "alerts",
    access: "read",
    tag: "operations",
    summary: "Alerts of Prometheus and Alertmanager, or the daemon's own; with all rules and silences.",
    answers: { 200: { schema: alertsAnswer } },
    problems: ["dashboard_off"],
  },
  {
    method: "get",
    path: "/api/v1/alerts/silences",
    id: "silences",
    access: "read",
    tag: "operations",
    summary: "Alertmanager's silences that have not ended.",
    answers: { 200: { schema: silencesAnswer } },
    problems: ["dashboard_off", "alertmanager_not_configured"],
  },
  {
    method: "post",
    path: "/api/v1/alerts/silences",
    id: "createSilence",
    access: "admin",
    tag: "operations",
    summary: "Silences alerts in Alertmanager, in the name of the token.",
    bodies: [{ schema: silenceRequest }],
    answers: { 201: { schema: silenceMade } },
    problems: SILENCE_PROBLEMS,
  },
  {
    method: "delete",
    path: "/api/v1/alerts/silences/{id}",
    id: "expireSilence",
    access: "admin",
    tag: "operations",
    summary: "Ends a silence in Alertmanager.",
    answers: { 204: null },
    problems: SILENCE_PROBLEMS,
  },
];
