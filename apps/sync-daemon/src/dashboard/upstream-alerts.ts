/**
 * Answers of Prometheus and Alertmanager, reduced to our own alerts. They are foreign input: an
 * answer of another form is a problem of that source.
 *
 * An alert is ours when it has the name of one of our rules, with a prefix or without. A rule file
 * may have been generated with a prefix; then the component must be the rule's too.
 */

import type { CompiledAlert } from "@kvsync/observability/evaluation/compiled-rules";
import { z } from "zod";

const labels = z.record(z.string(), z.string());

const prometheusAnswer = z.object({
  data: z.object({
    groups: z.array(
      z.object({
        rules: z.array(
          z.object({
            name: z.string(),
            state: z.enum(["inactive", "pending", "firing"]).optional(),
            duration: z.number().optional(),
            health: z.string().optional(),
            lastError: z.string().optional(),
            labels: labels.optional(),
            alerts: z
              .array(
                z.object({
                  labels,
                  annotations: labels.optional(),
                  state: z.enum(["pending", "firing"]),
                  activeAt: z.string(),
                  value: z.string(),
                }),
              )
              .optional(),
          }),
        ),
      }),
    ),
  }),
});

const alertmanagerAlerts = z.array(
  z.object({
    labels,
    annotations: labels.optional(),
    startsAt: z.string(),
    status: z.object({
      state: z.string(),
      silencedBy: z.array(z.string()).nullish(),
      inhibitedBy: z.array(z.string()).nullish(),
    }),
  }),
);

const alertmanagerSilences = z.array(
  z.object({
    id: z.string(),
    status: z.object({ state: z.enum(["active", "pending", "expired"]) }),
    startsAt: z.string(),
    endsAt: z.string(),
    createdBy: z.string(),
    comment: z.string(),
    matchers: z.array(
      z.object({
        name: z.string(),
        value: z.string(),
        isRegex: z.boolean(),
        isEqual: z.boolean().default(true),
      }),
    ),
  }),
);

/** An alert of a rule in Prometheus. */
interface PrometheusAlert {
  readonly rule: CompiledAlert;
  readonly state: "pending" | "firing";
  readonly labels: Readonly<Record<string, string>>;
  readonly annotations: Readonly<Record<string, string>>;
  readonly value: number;
  readonly sinceSeconds: number;
  readonly forSeconds: number;
}

/** A rule in Prometheus. */
export interface PrometheusRule {
  readonly rule: CompiledAlert;
  readonly state: "inactive" | "pending" | "firing" | "failed" | "unknown";
  readonly problem: string | null;
  readonly alerts: readonly PrometheusAlert[];
}

/** An alert that Alertmanager has. */
export interface ReceivedAlert {
  readonly rule: CompiledAlert;
  readonly state: "firing" | "silenced" | "inhibited";
  readonly labels: Readonly<Record<string, string>>;
  readonly annotations: Readonly<Record<string, string>>;
  readonly sinceSeconds: number;
  readonly silencedBy: readonly string[];
}

/** A silence of Alertmanager that has not ended. */
export interface Silence {
  readonly id: string;
  readonly state: "active" | "pending";
  readonly starts_at: string;
  readonly ends_at: string;
  readonly created_by: string;
  readonly comment: string;
  readonly matchers: readonly {
    readonly name: string;
    readonly value: string;
    readonly is_regex: boolean;
    readonly is_equal: boolean;
  }[];
}

/** What an answer holds, or what is wrong with it. */
export type Parsed<Items> =
  | { readonly items: Items; readonly problem: null }
  | { readonly items: null; readonly problem: string };

function parsed<Schema extends z.ZodType>(
  schema: Schema,
  text: string,
): { readonly data: z.output<Schema> } | { readonly problem: string } {
  let json: unknown;
  try {
    json = JSON.parse(text);
  } catch {
    return { problem: "the answer is no JSON" };
  }
  const read = schema.safeParse(json);
  if (read.success) return { data: read.data };
  const where = read.error.issues[0]?.path.join(".") ?? "";
  return { problem: `the answer is not as expected${where === "" ? "" : ` at ${where}`}` };
}

/** Finds the rule of an alert by its name and labels. */
export type RuleOf = (name: string, labels: Readonly<Record<string, string>>) => CompiledAlert | null;

/**
 * Makes the search for a rule.
 *
 * @param rules - ours.
 * @returns null for an alert of others.
 */
export function ruleFinder(rules: readonly CompiledAlert[]): RuleOf {
  const byName = new Map(rules.map((rule) => [rule.name, rule]));
  return (name, { component }) =>
    byName.get(name) ??
    rules.find((rule) => component === rule.component && name.endsWith(rule.name)) ??
    null;
}

/**
 * Reads `GET /api/v1/rules?type=alert`.
 *
 * @param text - the answer.
 * @param ruleOf - finds ours.
 * @returns our rules there, or what is wrong.
 */
export function prometheusRules(text: string, ruleOf: RuleOf): Parsed<readonly PrometheusRule[]> {
  const read = parsed(prometheusAnswer, text);
  if ("problem" in read) return { items: null, problem: read.problem };
  const items: PrometheusRule[] = [];
  for (const one of read.data.data.groups.flatMap((group) => group.rules)) {
    const rule = ruleOf(one.name, one.labels ?? {});
    if (rule === null) continue;
    const isFailed = one.health === "err";
    items.push({
      rule,
      state: isFailed ? "failed" : (one.state ?? "unknown"),
      problem: isFailed ? (one.lastError ?? "its evaluation failed") : null,
      alerts: (one.alerts ?? []).map((alert) => ({
        rule,
        state: alert.state,
        labels: alert.labels,
        annotations: alert.annotations ?? {},
        value: Number(alert.value),
        sinceSeconds: secondsSinceEpoch(alert.activeAt),
        forSeconds: one.duration ?? rule.forSeconds,
      })),
    });
  }
  return { items, problem: null };
}

/**
 * Reads `GET /api/v2/alerts`.
 *
 * @param text - the answer.
 * @param ruleOf - finds ours.
 * @returns our alerts there, or what is wrong.
 */
export function receivedAlerts(text: string, ruleOf: RuleOf): Parsed<readonly ReceivedAlert[]> {
  const read = parsed(alertmanagerAlerts, text);
  if ("problem" in read) return { items: null, problem: read.problem };
  const items: ReceivedAlert[] = [];
  for (const { labels: given, annotations = {}, startsAt, status } of read.data) {
    const rule = ruleOf(given["alertname"] ?? "", given);
    if (rule === null) continue;
    const silencedBy = status.silencedBy ?? [];
    const isInhibited = (status.inhibitedBy ?? []).length > 0;
    const state = silencedBy.length > 0 ? "silenced" : isInhibited ? "inhibited" : "firing";
    items.push({
      rule,
      state,
      labels: given,
      annotations,
      sinceSeconds: secondsSinceEpoch(startsAt),
      silencedBy,
    });
  }
  return { items, problem: null };
}

/**
 * Reads `GET /api/v2/silences`.
 *
 * @param text - the answer.
 * @returns those that have not ended, the first to end first; or what is wrong.
 */
export function silencesIn(text: string): Parsed<readonly Silence[]> {
  const read = parsed(alertmanagerSilences, text);
  if ("problem" in read) return { items: null, problem: read.problem };
  const items: Silence[] = [];
  for (const { id, status, startsAt, endsAt, createdBy, comment, matchers } of read.data) {
    if (status.state === "expired") continue;
    items.push({
      id,
      state: status.state,
      starts_at: startsAt,
      ends_at: endsAt,
      created_by: createdBy,
      comment,
      matchers: matchers.map(({ name, value, isRegex, isEqual }) => ({
        name,
        value,
        is_regex: isRegex,
        is_equal: isEqual,
      })),
    });
  }
  items.sort((one, other) => (one.ends_at < other.ends_at ? -1 : 1));
  return { items, problem: null };
}

function secondsSinceEpoch(text: string): number {
  const ms = Date.parse(text);
  return Number.isNaN(ms) ? 0 : ms / 1000;
}
