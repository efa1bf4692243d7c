/**
 * Grafana's data sources and Loki's file by the keys and types that these programs document. Neither program runs here, and
 * both ignore or refuse a misspelt key only at their start.
 *
 * Source: grafana.com/docs/grafana/latest/administration/provisioning, grafana.com/docs/loki/latest/configure.
 */
import { expect, test } from "vitest";
import { parse, stringify } from "yaml";
import { z } from "zod";

import { KVSYNC } from "../kvsync/project.ts";
import { render } from "../render.ts";

const DATA_SOURCES = "infra/grafana/provisioning/datasources/kvsync.yaml";
const LOKI = "infra/loki/loki.yaml";

/** A duration of Prometheus and Loki. */
const duration = z.string().regex(/^(?:\d+(?:ms|[smhdwy]))+$/);
/** A shift in time of a link; it may be negative. */
const shift = z.string().regex(/^-?\d+(?:ms|[smhd])$/);
const uid = z.string().regex(/^[\w-]{1,40}$/);

const common = {
  name: z.string().min(1),
  uid,
  access: z.literal("proxy"),
  url: z.url({ protocol: /^https?$/ }),
  isDefault: z.boolean().optional(),
};
const dataSource = z.discriminatedUnion("type", [
  z.strictObject({
    ...common,
    type: z.literal("prometheus"),
    jsonData: z.strictObject({
      timeInterval: duration,
      httpMethod: z.enum(["GET", "POST"]),
      exemplarTraceIdDestinations: z
        .array(z.strictObject({ name: z.string().min(1), datasourceUid: uid }))
        .optional(),
    }),
  }),
  z.strictObject({
    ...common,
    type: z.literal("loki"),
    jsonData: z.strictObject({
      derivedFields: z.array(
        z.strictObject({
          name: z.string().min(1),
          matcherType: z.enum(["label", "regex"]),
          matcherRegex: z.string().min(1),
          url: z.string().min(1),
          datasourceUid: uid,
        }),
      ),
    }),
  }),
  z.strictObject({
    ...common,
    type: z.literal("jaeger"),
    jsonData: z.strictObject({
      tracesToLogsV2: z.strictObject({
        datasourceUid: uid,
        spanStartTimeShift: shift,
        spanEndTimeShift: shift,
        customQuery: z.literal(true),
        query: z.string().min(1),
      }),
      tracesToMetrics: z
        .strictObject({
          datasourceUid: uid,
          spanStartTimeShift: shift,
          spanEndTimeShift: shift,
          tags: z.array(z.strictObject({ key: z.string().min(1), value: z.string().min(1) })),
          queries: z.array(z.strictObject({ name: z.string().min(1), query: z.string().min(1) })),
        })
        .optional(),
      nodeGraph: z.strictObject({ enabled: z.boolean() }),
    }),
  }),
  z.strictObject({
    ...common,
    type: z.literal("alertmanager"),
    jsonData: z.strictObject({
      implementation: z.enum(["prometheus", "mimir", "cortex"]),
      handleGrafanaManagedAlerts: z.boolean(),
    }),
  }),
]);
const dataSources = z
  .strictObject({ apiVersion: z.literal(1), datasources: z.array(dataSource).min(1) })
  .refine(({ datasources }) => datasources.filter(({ isDefault }) => isDefault === true).length === 1, {
    message: "expected one default data source",
  });

const path = z.string().regex(/^\//);
const loki = z
  .strictObject({
    auth_enabled: z.boolean(),
    server: z.strictObject({
      http_listen_port: z.int().min(1).max(65_535),
      log_level: z.enum(["debug", "info", "warn", "error"]),
    }),
    common: z.strictObject({
      path_prefix: path,
      replication_factor: z.int().min(1),
      ring: z.strictObject({
        instance_addr: z.ipv4(),
        kvstore: z.strictObject({ store: z.enum(["inmemory", "memberlist", "consul", "etcd"]) }),
      }),
      storage: z.strictObject({
        filesystem: z.strictObject({ chunks_directory: path, rules_directory: path }),
      }),
    }),
    schema_config: z.strictObject({
      configs: z.array(
        z.strictObject({
          from: z.iso.date(),
          store: z.literal("tsdb"),
          object_store: z.literal("filesystem"),
          // Structured metadata needs 13, and the index of tsdb a period of a day.
          schema: z.literal("v13"),
          index: z.strictObject({ prefix: z.string().min(1), period: z.literal("24h") }),
        }),
      ),
    }),
    limits_config: z.strictObject({
      retention_period: duration,
      allow_structured_metadata: z.boolean(),
      ingestion_rate_mb: z.number().positive(),
      ingestion_burst_size_mb: z.number().positive(),
      otlp_config: z.strictObject({
        resource_attributes: z.strictObject({
          ignore_defaults: z.boolean(),
          attributes_config: z.array(
            z.strictObject({
              action: z.enum(["index_label", "structured_metadata", "drop"]),
              attributes: z.array(z.string().min(1)).min(1),
            }),
          ),
        }),
      }),
    }),
    compactor: z.strictObject({
      working_directory: path,
      retention_enabled: z.literal(true),
      delete_request_store: z.literal("filesystem"),
    }),
    analytics: z.strictObject({ reporting_enabled: z.boolean() }),
  })
  .refine(({ limits_config: limits }) => limits.ingestion_burst_size_mb >= limits.ingestion_rate_mb, {
    message: "expected a burst that is no smaller than the rate",
  });

const files = render(KVSYNC);

/** A file with each string `from` as `to`. */
function read(name: string, from = "", to = ""): unknown {
  const text = files.get(name) ?? "";
  if (from !== "" && !text.includes(from)) throw new RangeError(`${name} has no ${from}`);
  return parse(text.replaceAll(from === "" ? "\u0000" : from, to));
}

test.each([
  [DATA_SOURCES, dataSources],
  [LOKI, loki],
] as const)("%s has the documented keys and types alone", (name, schema) => {
  expect(schema.safeParse(read(name)).error?.issues ?? []).toEqual([]);
});

test.each([
  [DATA_SOURCES, dataSources, "datasourceUid", "dataSourceUid"],
  [DATA_SOURCES, dataSources, "isDefault: true", "isDefault: false"],
  [DATA_SOURCES, dataSources, "spanStartTimeShift: -1m", "spanStartTimeShift: 1 minute"],
  [DATA_SOURCES, dataSources, "matcherType: label", "matcherType: labels"],
  [LOKI, loki, "retention_period: 744h", "retention_period: 31 days"],
  [LOKI, loki, "retention_enabled: true", "retention_enabled: false"],
  [LOKI, loki, "ignore_defaults", "ignore_default"],
  [LOKI, loki, "schema: v13", "schema: v12"],
  [LOKI, loki, "ingestion_burst_size_mb: 16", "ingestion_burst_size_mb: 4"],
] as const)("%s with a mistake is refused (%#)", (name, schema, from, to) => {
  expect(schema.safeParse(read(name, from, to)).success).toBe(false);
});

test("a link's dollar is doubled, and Grafana reads it as one", () => {
  const strings = stringify(read(DATA_SOURCES)).match(/\$+(?:\{|__)\w+/g) ?? [];
  expect(strings).toHaveLength(3);
  for (const text of strings) expect(text).toMatch(/^\$\$(?:\{|__)/);
});
