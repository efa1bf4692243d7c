/** Answers about the daemon itself: `/api/v1/system`, `/api/v1/index` and `/api/v1/logs`. */

import { EVICTIONS, type EvictionReason, SHARDS_MAX } from "@kvsync/core";
import { z } from "zod";

import { LINES_MAX, SEVERITIES } from "../dashboard/log-ring.ts";
import { HOLDER_CLASS_NAMES } from "../dashboard/index-scan.ts";
import type { Answer } from "./answer.ts";
import { sourceReport } from "./engine-answers.ts";

const count = z.int().min(0);
const bytes = z.number().min(0);
const time = z.iso.datetime();

const SHARD_EXPECTED = "an integer";
const shardNumber = z.coerce.number(SHARD_EXPECTED).int(SHARD_EXPECTED);
/** What is asked of a snapshot. */
export const snapshotQuery = z.strictObject({
  shard_index: shardNumber
    .min(0, "an integer from 0")
    .optional()
    .describe("With shard_count: only the rows of the workers that this shard of so many follows."),
  shard_count: shardNumber
    .min(1, `an integer from 1 to ${SHARDS_MAX}`)
    .max(SHARDS_MAX, `an integer from 1 to ${SHARDS_MAX}`)
    .optional()
    .describe("Shards of the fleet that the caller is one of."),
});

const holders = z
  .strictObject(
    Object.fromEntries(HOLDER_CLASS_NAMES.map((name) => [name, count])) as Record<
      (typeof HOLDER_CLASS_NAMES)[number],
      typeof count
    >,
  )
  .meta({ id: "BlockHolders", description: "Blocks by the number of ranks that hold them." });

/** What `GET /api/v1/index` answers. */
export const indexReport = z
  .strictObject({
    memory: z
      .strictObject({
        used: bytes.describe("By contexts, in bytes."),
        reserved: bytes.describe("Shared memory in bytes. It never shrinks."),
        limit: bytes.describe("The setting `limits.index_bytes`."),
      })
      .meta({ id: "IndexMemory" }),
    contexts: z
      .array(
        z
          .strictObject({
            model: z.string(),
            lora: z.string().nullable(),
            block_size: count,
            prefixes: count.describe("Different prefixes."),
            mappings: count.describe("Prefixes that ranks hold, each counted for each rank."),
            bytes,
            holders: holders.nullable().describe("It is null when the context came after the last count."),
          })
          .meta({ id: "IndexContext", description: "Prefixes of a model, an adapter and a block size." }),
      )
      .describe("The largest first."),
    counted_at: time.describe("When holders were counted. A count costs one percent of a core at most."),
    evictions: z
      .strictObject(
        Object.fromEntries(Object.keys(EVICTIONS).map((name) => [name, count])) as Record<
          EvictionReason,
          typeof count
        >,
      )
      .meta({
        id: "IndexEvictions",
        description: "Times that a limit took blocks of a rank that is followed, by limit.",
      }),
  })
  .meta({ id: "IndexReport", description: "Contents of the index, and the memory that they take." });

const setting = z
  .strictObject({
    path: z.string(),
    value: z
      .unknown()
      .describe("The text `***` in place of a secret; a number of entries for a list of engines."),
    source: z.string().nullable().describe("File, environment or flag; null for the default."),
  })
  .meta({ id: "SettingReport", description: "A setting in effect." });

/** What `GET /api/v1/system` answers. */
export const systemReport = z
  .strictObject({
    version: z.string(),
    commit: z.string().nullable(),
    instance: z.string().describe("Host and process."),
    node: z.string(),
    v8: z.string(),
    os: z.string(),
    arch: z.string(),
    cpus: count.describe("Cores that the process may use."),
    pid: count,
    started_at: time,
    uptime_seconds: z.number().min(0),
    memory: z
      .strictObject({ rss: bytes, limit: bytes.describe("The container's, or the machine's.") })
      .meta({ id: "ProcessMemory" }),
    settings: z.array(setting).describe("In the order of the reference."),
    certificate: z
      .strictObject({ not_after: time })
      .nullable()
      .meta({ id: "ServedCertificate", description: "Null without TLS." }),
    sources: z.array(sourceReport),
    snapshot: z
      .strictObject({
        folder: z.string().nullable().describe("It is null when no snapshots are kept."),
        age_seconds: z
          .number()
          .nullable()
          .describe("Since the state of the last one; null before the first."),
      })
      .meta({ id: "SnapshotState" }),
    links: z
      .strictObject({
        grafana: z.string().nullable(),
        traces: z.string().nullable(),
        runbooks: z.string().nullable(),
        errors: z.string().nullable(),
      })
      .meta({ id: "DashboardLinks", description: "Addresses for people, as the settings have them." }),
  })
  .meta({ id: "SystemReport", description: "The daemon, its machine, and its settings with their sources." });

const LIMIT = `an integer from 1 to ${LINES_MAX}`;

/** What is asked of the log. */
export const logsQuery = z.strictObject({
  level: z.enum(SEVERITIES).default("debug").describe("The least grave severity."),
  event: z.string().max(64).optional().describe("Code of the event."),
  pod: z.string().max(256).optional().describe("Id of an engine."),
  after: z.coerce
    .number("a line number")
    .int("a line number")
    .min(0, "a line number")
    .default(0)
    .describe("Lines after this number."),
  limit: z.coerce
    .number(LIMIT)
    .int(LIMIT)
    .min(1, LIMIT)
    .max(LINES_MAX, LIMIT)
    .default(LINES_MAX)
    .describe("The latest lines."),
});

/** What `GET /api/v1/logs` answers. */
export const logLines = z
  .strictObject({
    last: count.describe("Number of the latest line. Ask for lines after it next time."),
    lines: z
      .array(
        z
          .strictObject({
            n: count,
            time,
            level: z.enum(SEVERITIES),
            verbosity: count.max(5).describe("From 0 to 5, as in the setting `log.level`."),
            component: z.string(),
            event: z.string(),
            message: z.string(),
            facts: z
              .record(z.string(), z.unknown())
              .nullable()
              .describe("It is null when the line has more than 4,096 characters."),
          })
          .meta({ id: "LogLine" }),
      )
      .max(LINES_MAX)
      .describe("Oldest first."),
  })
  .meta({ id: "LogLines", description: "Latest lines of the log. The daemon keeps 1,000 in memory." });

/** What the index holds. */
export type IndexReport = Answer<typeof indexReport>;
/** The daemon. */
export type SystemReport = Answer<typeof systemReport>;
/** Lines of the log. */
export type LogLinesAnswer = Answer<typeof logLines>;
