/** Answers of probes and health checks, and of the log's level. */

import { STREAM_STATES, TRUST_LEVELS, TRUST_REASON_NAMES } from "@kvsync/core";
import { z } from "zod";

import { KIND_CHARACTERS_MAX } from "../board/unknown-kinds.ts";
import { HEALTH_STATUSES } from "../health/health-checks.ts";
import { READINESS_REASONS } from "../health/readiness.ts";
import { GROUPS_LISTED_MAX, KINDS_LISTED_MAX } from "../health/sync-health.ts";
import { trustLevel, trustReason, trustSince } from "../query/match-answer.ts";
import type { Answer } from "./answer.ts";
import { cacheGroup } from "./engine-answers.ts";

const count = z.int().min(0);
const time = z.iso.datetime();

/** What `/livez` answers. */
export const liveness = z
  .strictObject({ status: z.literal("alive") })
  .meta({ id: "Liveness", description: "The process turns." });

/** What `/readyz` answers. */
export const readiness = z
  .strictObject({
    status: z.enum(["ready", "not_ready"]),
    reason: z.enum(READINESS_REASONS),
    conditions: z
      .array(
        z.strictObject({ name: z.string(), ok: z.boolean(), reason: z.string() }).meta({ id: "Condition" }),
      )
      .optional()
      .describe("With verbose."),
    engines: z
      .array(
        z
          .strictObject({
            worker: z.string(),
            dp_rank: count,
            state: z.enum(STREAM_STATES),
            trust: trustLevel,
            trust_reason: trustReason.nullable(),
            trust_since: trustSince,
            in_sync: z.boolean(),
          })
          .meta({ id: "AwaitedRank", description: "A rank that readiness waits for." }),
      )
      .optional()
      .describe("With verbose."),
    process: z
      .strictObject({
        version: z.string(),
        commit: z.string().nullable(),
        node: z.string(),
        config_file: z.string().nullable(),
        settings_from: z.array(z.string()).describe("Sources of settings outside the file."),
      })
      .meta({ id: "Process", description: "The running program and its start." })
      .optional()
      .describe("With verbose."),
  })
  .meta({ id: "Readiness" });

const healthStatus = z.enum(HEALTH_STATUSES).meta({ id: "HealthStatus" });

/** What `/health` answers. */
export const healthReport = z
  .strictObject({
    status: healthStatus,
    version: z.string(),
    uptime_seconds: z.number(),
    timestamp: time,
    checks: z.record(
      z.string(),
      z
        .strictObject({
          name: z.string(),
          status: healthStatus,
          message: z.string(),
          duration_ms: z.number(),
          timestamp: time,
          // Generators for typed languages fail on a map of either texts or numbers.
          details: z.looseObject({}).describe("Texts, numbers and booleans; each check has its own."),
          critical: z.boolean(),
        })
        .meta({ id: "HealthCheck" }),
    ),
    summary: z
      .strictObject({ total: count, healthy: count, degraded: count, unhealthy: count, critical: count })
      .meta({ id: "HealthSummary" }),
    system_info: z
      .strictObject({
        runtime_version: z.string(),
        os: z.string(),
        arch: z.string(),
        cpus: count,
        memory_bytes: count,
        started_at: time,
      })
      .meta({ id: "SystemInfo" }),
  })
  .meta({ id: "HealthReport" });

const groupCount = cacheGroup
  .omit({ holder_slot: true, index: true })
  .extend({ ranks: count.describe("Ranks that have such a group.") })
  .meta({ id: "CacheGroupCount", description: "KV-cache groups of one shape." });
const unknownKindCount = z
  .strictObject({ kind: z.string().max(KIND_CHARACTERS_MAX), ranks: count })
  .meta({ id: "UnknownKindCount", description: "A kind of group that this version has no rule for." });

const streamCounts = z
  .strictObject({
    expected: count.describe("Streams that should be followed: every rank of every engine."),
    connected: count,
    exact: count.describe("Fewer than expected make the status degraded."),
    not_exact: z
      .array(
        z
          .strictObject({
            trust: z.enum(TRUST_LEVELS).exclude(["exact"]),
            reason: trustReason,
            streams: count,
          })
          .meta({ id: "StreamsNotExact", description: "Streams that are not exact for one reason." }),
      )
      .max(TRUST_REASON_NAMES.length)
      .describe("The other streams by reason, the most frequent first."),
  })
  .meta({
    id: "StreamCounts",
    description: "How many streams there should be, are connected, and are exact.",
  });

/** What `/api/v1/kv-sync/health` answers. */
export const syncHealthReport = z
  .strictObject({
    status: healthStatus,
    streams: streamCounts.describe("Of all models."),
    models: z.record(
      z.string(),
      z
        .strictObject({
          status: healthStatus,
          streams: streamCounts,
          active_connections: count,
          event_rate: z.number().nullable(),
          last_event: time.nullable(),
          errors: count,
          groups: z
            .array(groupCount)
            .max(GROUPS_LISTED_MAX)
            .describe("Shapes of KV-cache groups, the most frequent first."),
          groups_total: count.describe("Shapes, listed or not."),
          unknown_kinds: z
            .array(unknownKindCount)
            .max(KINDS_LISTED_MAX)
            .describe("Unknown kinds as the engines spell them, the most frequent first."),
          unknown_kinds_total: count.describe("Unknown kinds, listed or not."),
        })
        .meta({ id: "ModelSyncHealth" }),
    ),
    last_updated: time,
  })
  .meta({ id: "SyncHealthReport" });

/** What `/api/v1/log-level` answers. */
export const logLevelState = z
  .strictObject({ level: count, configured_level: count, until: time.nullable() })
  .meta({ id: "LogLevel" });

/** Of `/livez`. */
export type Liveness = Answer<typeof liveness>;
/** Of `/readyz`. */
export type ReadinessAnswer = Answer<typeof readiness>;
/** Of `/health`. */
export type HealthAnswer = Answer<typeof healthReport>;
/** Of `/api/v1/kv-sync/health`. */
export type SyncHealthAnswer = Answer<typeof syncHealthReport>;
/** Of `/api/v1/log-level`. */
export type LogLevelAnswer = Answer<typeof logLevelState>;
