/**
 * The schema of the Helm chart's values (infra/helm/kvsync/values.schema.json). Helm refuses values that it does not take, before it
 * renders anything.
 *
 *     values ─┬─ config   every setting of the daemon, from the settings' own schema
 *             └─ others   what the chart makes around it: named here
 *
 *  V1  A key that is not named here is refused, at every depth. Free are maps whose keys the user makes, the source of a volume, and
 *      what Helm hands to every chart (chart-values.test.ts lists them).
 *
 * JSON Schema has no rules between fields and no functions, and Helm's regular expressions have no lookahead. The daemon checks such
 * rules of the settings when it starts, and templates/_helpers.tpl checks those of the values.
 *
 * Source: helm.sh/docs/topics/charts, "Schema Files"; draft 7, which Helm 3 and 4 both read.
 */

import { SHARDS_MAX } from "@kvsync/core";
import { z } from "zod";

import { SETTING_FACTS } from "../settings/setting-field.ts";
import { SECTIONS_SCHEMA } from "../settings/settings.ts";
import {
  affinity,
  egressRule,
  envVar,
  ingressRule,
  ingressTls,
  selector,
  tlsConfig,
  toleration,
  volume,
  volumeMount,
} from "./kubernetes-shapes.ts";

/** The API server takes names up to here. */
const NAME_LENGTH_MAX = 253;
/** The chart's own names get a suffix. */
const PREFIX_LENGTH_MAX = 40;

const flag = z.boolean();
const text = z.string();
const name = z
  .string()
  .max(NAME_LENGTH_MAX)
  .regex(/^(?:[a-z0-9](?:[a-z0-9.-]*[a-z0-9])?)?$/);
const port = z.int().min(1).max(65_535);
const quantity = z.string().regex(/^\d+(?:\.\d+)?(?:[kKMGTPE]i?|m)?$/);
const count = z.int().min(1);
const labels = z.record(z.string(), z.string());
const amounts = z.strictObject({ cpu: quantity, memory: quantity, "ephemeral-storage": quantity }).partial();

const CHART_VALUES = z
  .strictObject({
    nameOverride: name.max(PREFIX_LENGTH_MAX),
    image: z
      .strictObject({
        repository: text.min(1),
        tag: text,
        digest: z.string().regex(/^(?:sha256:[0-9a-f]{64})?$/),
        pullPolicy: z.enum(["", "Always", "IfNotPresent", "Never"]),
        pullSecrets: z.array(name),
      })
      .partial(),
    replicas: count,
    shards: z
      .strictObject({
        enabled: flag,
        count: count.max(SHARDS_MAX),
        replicas: count,
        previousCount: z.int().min(0).max(SHARDS_MAX),
        seedSecret: name,
      })
      .partial(),
    config: SECTIONS_SCHEMA,
    tokens: z.strictObject({ existingSecret: name }).partial(),
    tls: z.strictObject({ existingSecret: name }).partial(),
    persistence: z.strictObject({ enabled: flag, size: quantity, storageClass: name }).partial(),
    resources: z.strictObject({ requests: amounts, limits: amounts }).partial(),
    autoscaling: z
      .strictObject({
        enabled: flag,
        minReplicas: count,
        maxReplicas: count,
        cpuUtilization: z.int().min(1).max(100),
      })
      .partial(),
    podDisruptionBudget: z
      .strictObject({ enabled: flag, maxUnavailable: z.union([count, z.string().regex(/^\d{1,2}%$/)]) })
      .partial(),
    networkPolicy: z
      .strictObject({
        enabled: flag,
        engines: z.array(selector),
        extraIngress: z.array(ingressRule),
        extraEgress: z.array(egressRule),
      })
      .partial(),
    rbac: z.strictObject({ namespaces: z.array(name) }).partial(),
    serviceAccount: z.strictObject({ annotations: labels }).partial(),
    picker: z
      .strictObject({
        enabled: flag,
        istio: flag,
        pool: z
          .strictObject({
            create: flag,
            name: name.min(1),
            matchLabels: labels,
            targetPorts: z.array(port).min(1),
            failureMode: z.enum(["FailOpen", "FailClose"]),
          })
          .partial(),
      })
      .partial(),
    serviceMonitor: z
      .strictObject({
        enabled: flag,
        labels,
        // The look-backs of rules and dashboards hold four scrapes, up to one a minute.
        interval: z.string().regex(/^(?:[1-9]|[1-5]\d|60)s$|^1m$/),
        tokenSecret: z.strictObject({ name, key: text.min(1) }).partial(),
        tlsConfig,
      })
      .partial(),
    prometheusRule: z.strictObject({ enabled: flag, labels, disabled: z.array(text) }).partial(),
    dashboards: z.strictObject({ enabled: flag, labels, folder: text }).partial(),
    ingress: z
      .strictObject({
        enabled: flag,
        className: name,
        annotations: labels,
        hosts: z.array(name.min(1)),
        paths: z.array(z.string().startsWith("/")),
        tls: z.array(ingressTls),
      })
      .partial(),
    tools: z.strictObject({ enabled: flag }).partial(),
    topologySpread: flag,
    podAnnotations: labels,
    podLabels: labels,
    nodeSelector: labels,
    tolerations: z.array(toleration),
    affinity,
    priorityClassName: name,
    extraEnv: z.array(envVar),
    extraVolumes: z.array(volume),
    extraVolumeMounts: z.array(volumeMount),
    // Helm hands these to every chart that is another one's part.
    global: z.looseObject({}),
  })
  .partial();

/**
 * Renders the schema.
 *
 * @returns JSON, with what each setting means.
 */
export function chartValuesSchema(): string {
  const schema = z.toJSONSchema(CHART_VALUES, {
    target: "draft-7",
    io: "input",
    // Settings that are read by a function of their own, such as durations in an entry of `engines`.
    unrepresentable: "any",
    override: ({ zodSchema, jsonSchema }) => {
      const facts = SETTING_FACTS.get(zodSchema);
      if (facts !== undefined) jsonSchema.description = `${facts.about} Expected: ${facts.expected}.`;
      if (jsonSchema.pattern?.includes("(?=") === true) delete jsonSchema.pattern;
    },
  });
  return `${JSON.stringify({ title: "Values of the chart kvsync", ...schema }, null, 2)}\n`;
}
