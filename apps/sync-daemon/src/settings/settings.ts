/**
 * The daemon's settings: one schema. Each part's section has its own file in this folder.
 *
 * A setting at path `limits.index_bytes` is the key of that path in the file, `KVSYNC_LIMITS_INDEX_BYTES` in the environment, `--limits-index-bytes` as a
 * flag. Some have a second environment name that operators of AIBrix know, or a short flag. Lists of engines and of dependencies are for the file alone.
 */

import { z } from "zod";

import { INGEST_WORKERS_MAX } from "../board/stream-board.ts";
import { PART_BYTES_MAX, refuseContradictions } from "./contradictions.ts";
import { dashboardSection } from "./dashboard-settings.ts";
import { discoverySection } from "./discovery-settings.ts";
import { type Engine, engineEntry } from "../engine/engine-entry.ts";
import { SocketClaims } from "../engine/socket-claims.ts";
import { healthSection } from "./health-settings.ts";
import { logSection } from "./log-settings.ts";
import {
  callersSection,
  curveSection,
  refuseOpenDoors,
  securitySection,
  tlsSection,
} from "./security-settings.ts";
import { pickerSection, refusePickerDoors } from "./picker-settings.ts";
import { shardSection } from "./shard-settings.ts";
import { snapshotSection } from "./snapshot-settings.ts";
import { tracingSection } from "./tracing-settings.ts";
import {
  refuseUnwatchedTemplates,
  tokenizerEndpoint,
  tokenizerEngine,
  tokenizerSection,
} from "./tokenizer-settings.ts";
import { flag, integer, seconds, section, SETTING_FACTS, type SettingFacts, text } from "./setting-field.ts";

const MIB = 1024 * 1024;
const INDEX_BYTES_MAX = INGEST_WORKERS_MAX * PART_BYTES_MAX;
const WORKERS_EXPECTED = `an integer from 1 to ${INGEST_WORKERS_MAX}`;
/** More than one memory can hold: memory is the limit then. */
const PREFIXES_MAX = 134_217_728;
/** What the index's table of contexts can hold. */
const CONTEXTS_MAX = 4000;
/** Beyond a few, the main thread's part of each request is the limit. */
const HTTP_THREADS_MAX = 16;
/** Engines in the file. */
const LISTED_ENGINES_MAX = 4096;

const PREFIX_HASHES_EXPECTED = "secret or public";
const ADDRESS_EXPECTED = "an address to listen on";
const TRANSPORT_EXPECTED = "own or libzmq";
const HOST_NAMES_EXPECTED = "a list of at most 64 host names without ports";
const HOST_NAMES_MAX = 64;

const hostNames = z
  .array(z.string(HOST_NAMES_EXPECTED), HOST_NAMES_EXPECTED)
  .refine(
    (names) => names.every((name) => /^(?:[A-Za-z0-9][\w.-]{0,254}|\[[0-9A-Fa-f:.]{2,45}\])$/.test(name)),
    HOST_NAMES_EXPECTED,
  )
  .max(HOST_NAMES_MAX, HOST_NAMES_EXPECTED)
  .default([])
  .register(SETTING_FACTS, {
    about:
      "Names in the Host header to serve in addition to loopback's, while listening on loopback without tokens.",
    expected: HOST_NAMES_EXPECTED,
    textForm: "list",
  });

const engines = z
  .array(engineEntry, "a list of engines")
  .max(LISTED_ENGINES_MAX, `at most ${LISTED_ENGINES_MAX} engines`)
  .superRefine((list, context) => {
    const first = new Map<string, number>();
    const claim = (i: number, field: string, value: string, expected: (earlier: string) => string): void => {
      const earlier = first.get(`${field} ${value}`);
      if (earlier === undefined) first.set(`${field} ${value}`, i);
      else context.addIssue({ code: "custom", path: [i, field], message: expected(`engines.${earlier}`) });
    };
    // An entry that is refused itself comes as it was written.
    const sockets = new SocketClaims<number>();
    for (const [i, engine] of (list as (Pick<Engine, "id"> & Partial<Engine>)[]).entries()) {
      claim(i, "id", engine.id, (earlier) => `an id of its own; ${earlier} has the same`);
      // An entry that was refused has no ranks.
      if (engine.ranks === undefined) continue;
      const whole = engine as Engine;
      for (const address of whole.http)
        claim(i, "http", address, (earlier) => `addresses of its own; ${earlier} has ${address} too`);
      const rival = sockets.rival(whole);
      if (rival === undefined) sockets.add(whole, i);
      else {
        const message = `an endpoint of its own, or a topic of its own; engines.${rival.owner} has ${rival.endpoint} too`;
        context.addIssue({ code: "custom", path: [i, "endpoint"], message });
      }
    }
  })
  .default([])
  .register(SETTING_FACTS, { about: "Engines to follow.", expected: "a list of engines", textForm: "none" });

/** Every section by itself, without the rules between them: what can be used of settings with faults is read with it. */
export const SECTIONS_SCHEMA = z.strictObject({
  http: section({
    host: z
      .string(ADDRESS_EXPECTED)
      .min(1, ADDRESS_EXPECTED)
      .default("127.0.0.1")
      .register(SETTING_FACTS, { about: "Address to listen on.", expected: ADDRESS_EXPECTED, flag: "host" }),
    port: integer("Port to listen on; 0 takes a free one and logs it.", 7070, 0, 65_535, { flag: "port" }),
    host_names: hostNames,
    body_bytes: integer("Largest request body.", 16 * MIB, 1024, 256 * MIB),
    json_bytes: integer(
      "Largest JSON body, within http.body_bytes; a larger one blocks other requests longer. Token ids go beyond it in binary.",
      MIB,
      1024,
      256 * MIB,
    ),
    threads: integer(
      "Threads that answer lookups with token ids or hashes in JSON: the main thread, which serves HTTP, and the rest of their own.",
      1,
      1,
      HTTP_THREADS_MAX,
    ),
    drain_seconds: seconds(
      "Time between losing readiness and refusing connections when stopping.",
      0.2,
      0,
      3,
    ),
  }),
  log: logSection,
  tracing: tracingSection,
  engines,
  sync: section({
    enabled: flag("Follow engines. Unset: sync.aibrix_enabled decides; without that too, yes.", null),
    aibrix_enabled: flag(
      "AIBrix's switch, where sync.enabled is unset: true follows engines only with a remote tokenizer's three settings, false follows none.",
      null,
      { env: "AIBRIX_KV_EVENT_SYNC_ENABLED" },
    ),
    remote_tokenizer: flag("Use a remote tokenizer.", false, { env: "AIBRIX_USE_REMOTE_TOKENIZER" }),
    tokenizer_type: text("Must be `remote` when sync.aibrix_enabled decides and is true.", null, {
      env: "AIBRIX_PREFIX_CACHE_TOKENIZER_TYPE",
    }),
    tokenizer_engine: tokenizerEngine,
    tokenizer_endpoint: tokenizerEndpoint,
  }),
  tokenizer: tokenizerSection,
  ingest: section({
    poll_timeout_ms: integer("Longest wait between two looks at timers.", 100, 1, 1000, {
      env: "AIBRIX_KV_EVENT_POLL_TIMEOUT_MS",
    }),
    replay_timeout_seconds: seconds("A replay that is silent for this long has failed.", 5, 0.05, 300, {
      env: "AIBRIX_KV_EVENT_REPLAY_TIMEOUT_S",
    }),
    replay_stall_seconds: seconds(
      "A replay that has begun and is then silent for this long is asked again from there.",
      1,
      0.05,
      300,
    ),
    workers: z
      .int(WORKERS_EXPECTED)
      .min(1, WORKERS_EXPECTED)
      .max(INGEST_WORKERS_MAX, WORKERS_EXPECTED)
      .nullable()
      .default(null)
      .register(SETTING_FACTS, {
        about:
          "Ingest threads, each with an equal part of the index; streams move between them by load. Unset: one less than the cores from 4 cores on, else one.",
        expected: WORKERS_EXPECTED,
        env: "AIBRIX_KV_EVENT_WORKERS",
      }),
    stall_seconds: seconds(
      "The process ends, for its supervisor, when an ingest worker shows no sign of life for this long.",
      30,
      3,
      3600,
    ),
    transport: z.enum(["own", "libzmq"], TRANSPORT_EXPECTED).default("own").register(SETTING_FACTS, {
      about:
        "The reader of ZeroMQ's protocol: the daemon's own, or libzmq, which does not limit the parts of a message. CURVE is always libzmq's.",
      expected: TRANSPORT_EXPECTED,
    }),
    reconnect_ms_min: integer("First wait before connecting again.", 100, 10, 60_000),
    reconnect_ms_max: integer("Longest wait before connecting again.", 5000, 10, 600_000),
  }),
  index: section({
    prefix_hashes: z
      .enum(["secret", "public"], PREFIX_HASHES_EXPECTED)
      .default("secret")
      .register(SETTING_FACTS, {
        about:
          "Seed of the hashes: drawn at start, or the public one with which callers may ask by prefix_hashes.",
        expected: PREFIX_HASHES_EXPECTED,
      }),
    seed_file: text(
      "File with a secret of at least 16 characters from which the seed is made, where index.prefix_hashes is secret. Shards that have the same one can take over each other's workers.",
      null,
    ),
  }),
  shard: shardSection,
  discovery: discoverySection,
  security: securitySection,
  tls: tlsSection,
  curve: curveSection,
  callers: callersSection,
  snapshot: snapshotSection,
  health: healthSection,
  picker: pickerSection,
  dashboard: dashboardSection,
  readiness: section({
    deadline_seconds: seconds("Ready at the latest after this, even with engines out of sync.", 30, 0, 3600),
  }),
  limits: section({
    engines: integer("Engines registered at once.", 2048, 1, 4096),
    contexts: integer(
      "Contexts (model, LoRA, block size) in the part of the index that an ingest worker has.",
      1000,
      1,
      CONTEXTS_MAX,
      {
        env: "AIBRIX_SYNC_MAX_CONTEXTS",
      },
    ),
    prefixes_per_context: integer(
      "Prefix blocks per context; unset by the memory budget.",
      PREFIXES_MAX,
      1,
      PREFIXES_MAX,
      { env: "AIBRIX_SYNC_MAX_PREFIXES_PER_CONTEXT" },
    ),
    index_bytes: integer(
      "Memory of the index, in equal parts for the ingest workers; at most 3 GiB for each.",
      2048 * MIB,
      16 * MIB,
      INDEX_BYTES_MAX,
    ),
    query_tokens: integer("Token ids in one lookup.", 1_048_576, 1, 1_048_576),
    queue_messages: integer("Live messages waiting to be applied.", 200_000, 1, 10_000_000),
    queue_bytes: integer("Bytes of live messages waiting to be applied.", 256 * MIB, 1024, 16_384 * MIB),
    replay_queue_messages: integer("Replayed messages waiting to be applied.", 100_000, 1, 10_000_000),
    replay_queue_bytes: integer(
      "Bytes of replayed messages waiting to be applied.",
      256 * MIB,
      1024,
      16_384 * MIB,
    ),
    message_bytes: integer("Bytes of one message; a larger one is dropped.", 64 * MIB, 1024, 1024 * MIB),
    message_parts: integer(
      "Parts of one message; an engine that sends more is disconnected. Engines send three or four.",
      64,
      5,
      65_536,
    ),
    replays: integer("Replays in progress at once; four whole histories fit the replay queue.", 4, 1, 256),
  }),
});

/** Every section, with the rules of each and those between them. */
export const SETTINGS_SCHEMA: typeof SECTIONS_SCHEMA = SECTIONS_SCHEMA.superRefine((settings, context) => {
  // What is between settings says nothing where one of them is refused by itself.
  const refused = new Set(context.issues.map(({ path }) => (path ?? []).join(".")));
  const refuse = (path: readonly PropertyKey[], message: string, reads: readonly string[] = []): void => {
    if ([path.join("."), ...reads].some((name) => refused.has(name))) return;
    context.addIssue({ code: "custom", path: [...path], message });
  };
  refuseOpenDoors(settings, refuse);
  refusePickerDoors(settings.picker, refuse);
  refuseUnwatchedTemplates(settings, refuse);
  refuseContradictions(settings, refuse);
});

/** Every setting, checked. */
export type Settings = z.output<typeof SECTIONS_SCHEMA>;

/** One row of the settings table: what a setting is called where, and what it means. */
export interface SettingRow {
  readonly path: readonly string[];
  /** Environment names, ours first; empty for what only the file can say. */
  readonly environment: readonly string[];
  /** Flags without their dashes, the long one first. */
  readonly flags: readonly string[];
  readonly initial: unknown;
  /** Whether a text stays a text: a folder may be called 123. */
  readonly isText: boolean;
  readonly facts: SettingFacts;
}

/** All settings, in the order of the schema. */
export const SETTING_ROWS: readonly SettingRow[] = leaves(SETTINGS_SCHEMA, []);

function leaves(node: z.ZodObject, path: readonly string[]): SettingRow[] {
  return Object.entries(node.shape).flatMap(([key, child]) => {
    const at = [...path, key];
    const inner: unknown = child instanceof z.ZodPrefault ? child.unwrap() : child;
    if (inner instanceof z.ZodObject) return leaves(inner, at);
    const facts = child instanceof z.ZodType ? SETTING_FACTS.get(child) : undefined;
    if (facts === undefined) throw new Error(`setting ${at.join(".")} has no facts`);
    const named = facts.textForm !== "none";
    return {
      path: at,
      environment: named
        ? [`KVSYNC_${at.join("_").toUpperCase()}`, ...(facts.env === undefined ? [] : [facts.env])]
        : [],
      flags: named
        ? [at.join("-").replaceAll("_", "-"), ...(facts.flag === undefined ? [] : [facts.flag])]
        : [],
      initial: child instanceof z.ZodDefault ? child.def.defaultValue : undefined,
      isText: isText(child),
      facts,
    };
  });
}

function isText(field: unknown): boolean {
  if (field instanceof z.ZodDefault || field instanceof z.ZodNullable) return isText(field.unwrap());
  return field instanceof z.ZodString || field instanceof z.ZodEnum;
}
