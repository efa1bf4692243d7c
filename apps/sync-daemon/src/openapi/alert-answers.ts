/** Answers and bodies of the routes of alerts and silences. */

import { RULE_NEEDS } from "@kvsync/observability/evaluation/compiled-rules";
import { z } from "zod";

import { ALERT_SOURCES, ALERT_STATES, RULE_STATES } from "../dashboard/alert-list.ts";
import type { Answer } from "./answer.ts";

const labels = z.record(z.string(), z.string());
const link = z.string().nullable();
const moment = z.number().describe("Seconds since the Unix epoch.");

const alert = z
  .strictObject({
    name: z.string(),
    state: z.enum(ALERT_STATES),
    severity: z.string(),
    component: z.string(),
    labels: labels.describe("Those of the series, without alertname, severity and component."),
    value: z.number().nullable().describe("It is null where Alertmanager alone has the alert."),
    since: moment,
    fires_at: z.number().nullable().describe("When a pending alert fires; null for others."),
    summary: z.string(),
    description: z.string(),
    runbook_url: link,
    dashboard_url: link,
    silenced_by: z.array(z.string()).describe("Ids of silences."),
  })
  .meta({ id: "Alert", description: "A series for which a rule's condition holds." });

const rule = z
  .strictObject({
    name: z.string(),
    state: z.enum(RULE_STATES),
    severity: z.string(),
    component: z.string(),
    for_seconds: z.number(),
    summary: z.string(),
    needs: z
      .enum(RULE_NEEDS)
      .nullable()
      .describe("The part that only Prometheus has; null for a rule that needs none."),
    problem: z.string().nullable().describe("Why it cannot be evaluated."),
    runbook_url: link,
    dashboard_url: link,
  })
  .meta({ id: "AlertRule", description: "A rule, and whether it holds." });

const matcher = z.strictObject({
  name: z.string(),
  value: z.string(),
  is_regex: z.boolean(),
  is_equal: z.boolean().describe("False for a matcher that excludes."),
});

const silence = z
  .strictObject({
    id: z.string(),
    state: z.enum(["active", "pending"]),
    starts_at: z.string(),
    ends_at: z.string(),
    created_by: z.string(),
    comment: z.string(),
    matchers: z.array(matcher),
  })
  .meta({ id: "Silence", description: "A silence of Alertmanager that has not ended." });

/** What `GET /api/v1/alerts` answers. */
export const alertsAnswer = z
  .strictObject({
    source: z.enum(["prometheus+alertmanager", "prometheus", "built-in+alertmanager", "built-in"]),
    sources: z.array(
      z.strictObject({
        name: z.enum(ALERT_SOURCES),
        state: z.enum(["in_use", "failed", "not_asked_yet", "standing_by"]),
        at: z.number().nullable().describe("When it was asked last, in seconds since the Unix epoch."),
        problem: z.string().nullable(),
      }),
    ),
    alerts: z.array(alert).describe("The most urgent first."),
    left_out: z.int().describe("Alerts beyond the limit of the list."),
    rules: z.array(rule),
    silences: z.array(silence).nullable().describe("It is null without Alertmanager."),
  })
  .meta({ id: "AlertList", description: "Alerts of this version's rules, with their source." });

/** The alerts. */
export type AlertsAnswer = Answer<typeof alertsAnswer>;

/** What `GET /api/v1/alerts/silences` answers. */
export const silencesAnswer = z
  .strictObject({
    silences: z.array(silence).nullable().describe("It is null while Alertmanager does not answer."),
    problem: z.string().nullable(),
  })
  .meta({ id: "SilenceList", description: "Silences that have not ended, the first to end first." });

/** The silences. */
export type SilencesAnswer = Answer<typeof silencesAnswer>;

/** What `POST /api/v1/alerts/silences` answers. */
export const silenceMade = z
  .strictObject({ silence_id: z.string().nullable().describe("Alertmanager's id of it.") })
  .meta({ id: "SilenceMade", description: "A silence was made." });

/** The silence that was made. */
export type SilenceMadeAnswer = Answer<typeof silenceMade>;

/** Matchers of one silence: an alert has fewer labels. */
const MATCHERS_MAX = 32;
const TEXT_MAX = 1024;
const MATCHERS = `1 to ${MATCHERS_MAX} matchers {name, value, is_regex, is_equal}`;
const LABEL_NAME = /^[a-zA-Z_][a-zA-Z0-9_]*$/;
const VALUE = `at most ${TEXT_MAX} characters`;
const COMMENT = `a comment of 1 to ${TEXT_MAX} characters`;
const ENDS_AT = "a moment in the future, such as 2026-01-31T18:00:00Z";

/** The body of `POST /api/v1/alerts/silences`. */
export const silenceBody = z.strictObject(
  {
    matchers: z
      .array(
        z.strictObject({
          name: z.string().regex(LABEL_NAME, "a label's name"),
          value: z.string().max(TEXT_MAX, VALUE),
          is_regex: z.boolean().default(false),
          is_equal: z.boolean().default(true),
        }),
        MATCHERS,
      )
      .min(1, MATCHERS)
      .max(MATCHERS_MAX, MATCHERS)
      .describe("An alert is silenced when it fits all of them."),
    ends_at: z.iso
      .datetime({ offset: true, error: ENDS_AT })
      .refine((text) => Date.parse(text) > Date.now(), ENDS_AT),
    comment: z.string(COMMENT).trim().min(1, COMMENT).max(TEXT_MAX, COMMENT),
  },
  "an object with matchers, ends_at and comment",
);
