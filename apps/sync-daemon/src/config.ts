/**
 * The daemon's settings: one schema, three equal sources.
 *
 *   defaults  <  YAML file (--config)  <  environment  <  flags
 *
 * A setting at path `limits.index_bytes` is the key of that path in the file, `KVSYNC_LIMITS_INDEX_BYTES` in the
 * environment, `--limits-index-bytes` as a flag. Some have a second environment name that operators of AIBrix know, or a
 * short flag. Lists (engines) are for the file. An unusable setting is named with its value, its source and what would be
 * usable; the process then ends with exit code 2. Unknown keys, flags and `KVSYNC_*` variables are refused too, since a
 * misspelt limit is worse than a refused start; the variables Kubernetes makes for services are not meant for us.
 *
 * Sync on or off. `sync.enabled` unset: engines that are listed or registered are followed; lookups by token ids need no
 * tokenizer. `true`: AIBrix's rule, which needs the remote tokenizer's settings beside it, or sync is off with one warning.
 * `false`: nothing is followed, every lookup answers "fallback".
 */

import { readFileSync } from "node:fs";
import { parseArgs } from "node:util";

import { CodedError } from "@kvsync/core";
import { parse as parseYaml } from "yaml";
import { z } from "zod";

import { type Engine, engineEntry } from "./engine/engine-entry.ts";
import { flag, integer, seconds, section, SETTING_NAMES, text } from "./settings/setting-field.ts";
import { healthSection } from "./health/health-settings.ts";
import { snapshotSection } from "./snapshot/snapshot-settings.ts";
import { tokenizerEndpoint, tokenizerEngine, tokenizerSection } from "./tokenizer/tokenizer-settings.ts";

/** Exit code for unusable settings. */
export const EXIT_UNUSABLE_SETTINGS = 2;

const MIB = 1024 * 1024;
/** One WebAssembly memory holds at most 4 GiB, scratch and readers' buffers included. */
const INDEX_BYTES_MAX = 3072 * MIB;
/** More than one memory can hold: memory is the limit then. */
const PREFIXES_MAX = 134_217_728;
/** What the index's table of contexts can hold. */
const CONTEXTS_MAX = 4000;

const LEVELS = ["trace", "debug", "info", "warn", "error", "fatal"] as const;

const schema = z.strictObject({
  http: section({
    host: z
      .string("an address to listen on")
      .min(1, "an address to listen on")
      .default("127.0.0.1")
      .register(SETTING_NAMES, { about: "Address to listen on.", flag: "host" }),
    port: integer("Port to listen on; 0 takes a free one and logs it.", 7070, 0, 65_535, { flag: "port" }),
    body_bytes: integer("Largest request body.", 16 * MIB, 1024, 256 * MIB),
    drain_seconds: seconds(
      "Time between losing readiness and refusing connections when stopping.",
      0.2,
      0,
      3,
    ),
  }),
  log_level: z
    .enum(LEVELS, `one of ${LEVELS.join(", ")}`)
    .default("info")
    .register(SETTING_NAMES, { about: "Least severe level that is logged.", flag: "log-level" }),
  engines: z.array(engineEntry, "a list of engines").max(4096, "at most 4096 engines").default([]),
  sync: section({
    enabled: flag("Follow engines. Unset: yes, without a tokenizer.", null, {
      env: "AIBRIX_KV_EVENT_SYNC_ENABLED",
    }),
    remote_tokenizer: flag("Use a remote tokenizer.", false, { env: "AIBRIX_USE_REMOTE_TOKENIZER" }),
    tokenizer_type: text("Must be `remote` when sync.enabled is true.", null, {
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
    workers: integer("Ingest threads; streams move between them by load.", 1, 1, 16, {
      env: "AIBRIX_KV_EVENT_WORKERS",
    }),
    reconnect_ms_min: integer("First wait before connecting again.", 100, 10, 60_000),
    reconnect_ms_max: integer("Longest wait before connecting again.", 5000, 10, 600_000),
  }),
  snapshot: snapshotSection,
  health: healthSection,
  readiness: section({
    deadline_seconds: seconds("Ready at the latest after this, even with engines out of sync.", 30, 0, 3600),
  }),
  limits: section({
    engines: integer("Engines registered at once.", 2048, 1, 4096),
    contexts: integer("Contexts (model, LoRA, block size) in the index.", 1000, 1, CONTEXTS_MAX, {
      env: "AIBRIX_SYNC_MAX_CONTEXTS",
    }),
    prefixes_per_context: integer(
      "Prefix blocks per context; unset by the memory budget.",
      PREFIXES_MAX,
      1,
      PREFIXES_MAX,
      {
        env: "AIBRIX_SYNC_MAX_PREFIXES_PER_CONTEXT",
      },
    ),
    index_bytes: integer("Memory of the index.", 2048 * MIB, 16 * MIB, INDEX_BYTES_MAX),
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
    replays: integer("Replays in progress at once; four whole histories fit the replay queue.", 4, 1, 256),
  }),
});

/** Every setting, checked. */
export type Settings = z.output<typeof schema>;

/** Whether engines are followed, and why not. */
export type SyncDecision =
  | { readonly on: true }
  | { readonly on: false; readonly asked: boolean; readonly reason: string };

/** Facts of an unusable setting. */
export type SettingsFacts =
  | {
      readonly code: "unusable_setting";
      readonly setting: string;
      readonly source: string;
      readonly expected: string;
    }
  | { readonly code: "unknown_setting"; readonly setting: string; readonly source: string }
  | { readonly code: "unreadable_file"; readonly path: string };

/** Settings that the daemon cannot start with. */
export class SettingsError extends CodedError<SettingsFacts> {}

/** One row of the settings table: what a setting is called where, and what it means. */
export interface SettingRow {
  readonly path: readonly string[];
  readonly environment: readonly string[];
  readonly flags: readonly string[];
  readonly initial: unknown;
  readonly about: string;
}

/**
 * All scalar settings, in the order of the schema.
 *
 * @returns one row per setting.
 */
export function settingRows(): readonly SettingRow[] {
  return leaves(schema, []);
}

function leaves(node: z.ZodObject, path: readonly string[]): SettingRow[] {
  return Object.entries(node.shape).flatMap(([key, child]) => {
    const at = [...path, key];
    const inner: unknown = child instanceof z.ZodPrefault ? child.unwrap() : child;
    if (inner instanceof z.ZodObject) return leaves(inner, at);
    const known = child instanceof z.ZodType ? SETTING_NAMES.get(child) : undefined;
    if (known === undefined) return [];
    return {
      path: at,
      environment: [`KVSYNC_${at.join("_").toUpperCase()}`, ...(known.env === undefined ? [] : [known.env])],
      flags: [at.join("-").replaceAll("_", "-"), ...(known.flag === undefined ? [] : [known.flag])],
      initial: child instanceof z.ZodDefault ? child.def.defaultValue : undefined,
      about: known.about,
    };
  });
}

/**
 * Reads the settings of this process.
 *
 * @param argv - arguments after the script's name.
 * @param environment - usually `process.env`.
 * @returns the settings, or "help" when the arguments ask for it.
 * @throws SettingsError unusable_setting, unknown_setting, unreadable_file: naming the setting, its value and source.
 */
export function readSettings(
  argv: readonly string[],
  environment: Readonly<Record<string, string | undefined>>,
): Settings | "help" {
  const rows = settingRows();
  const given = parseFlags(argv, rows);
  if (given["help"] === true) return "help";
  const raw: Record<string, unknown> = {};
  const sources = new Map<string, string>();
  const path = given["config"];
  if (typeof path === "string") {
    Object.assign(raw, readFile(path));
  }
  const put = (row: SettingRow, value: string, source: string): void => {
    let node = raw;
    for (const key of row.path.slice(0, -1)) {
      const child = node[key];
      const fresh =
        typeof child === "object" && child !== null ? { ...(child as Record<string, unknown>) } : {};
      node[key] = fresh;
      node = fresh;
    }
    const key = row.path.at(-1);
    if (key !== undefined) node[key] = fromText(value);
    sources.set(row.path.join("."), source);
  };
  for (const row of rows) {
    // The first name is ours; the operators' name counts only without it.
    for (const name of row.environment.toReversed()) {
      const value = environment[name];
      if (value !== undefined && value !== "") put(row, value, `environment ${name}`);
    }
    for (const name of row.flags) {
      const value = given[name];
      if (typeof value === "string") put(row, value, `flag --${name}`);
    }
  }
  refuseUnknownVariables(environment, rows);
  const result = schema.safeParse(raw);
  if (result.success) return result.data;
  throw unusable(raw, sources, typeof path === "string" ? `file ${path}` : "settings", result.error);
}

function parseFlags(
  argv: readonly string[],
  rows: readonly SettingRow[],
): Record<string, string | boolean | undefined> {
  const options = Object.fromEntries(
    [...rows.flatMap((row) => row.flags), "config"].map((name) => [name, { type: "string" as const }]),
  );
  try {
    const parsed = parseArgs({
      args: [...argv],
      options: { ...options, help: { type: "boolean" } },
      strict: true,
    });
    return parsed.values;
  } catch (error) {
    const message = error instanceof Error ? error.message : String(error);
    const setting = /'(-[^' =]*)/.exec(message)?.[1] ?? argv.join(" ");
    throw new SettingsError(
      { code: "unknown_setting", setting, source: "flags" },
      `flags: ${message} (--help lists them)`,
      {
        cause: error,
      },
    );
  }
}

function readFile(path: string): Record<string, unknown> {
  const unreadable = (why: string, cause?: unknown): SettingsError =>
    new SettingsError({ code: "unreadable_file", path }, `configuration file ${path}: ${why}`, { cause });
  let parsed: unknown;
  try {
    parsed = parseYaml(readFileSync(path, "utf8"));
  } catch (error) {
    throw unreadable(error instanceof Error ? error.message : String(error), error);
  }
  if (parsed === null || parsed === undefined) return {};
  if (typeof parsed !== "object" || Array.isArray(parsed))
    throw unreadable("expected a mapping of settings at the top");
  return parsed as Record<string, unknown>;
}

/** Text of the environment or a flag as the YAML scalar it would be in the file, so that the three mean the same. */
function fromText(value: string): unknown {
  if (value === "true" || value === "false") return value === "true";
  return /^-?\d+(\.\d+)?$/.test(value) ? Number(value) : value;
}

/** `{NAME}_SERVICE_HOST` and its kin, which Kubernetes sets for every service of the namespace. */
const SERVICE_LINK = /_(SERVICE_HOST|SERVICE_PORT(_\w+)?|PORT(_\d+_(TCP|UDP|SCTP)(_\w+)?)?)$/;

function refuseUnknownVariables(
  environment: Readonly<Record<string, string | undefined>>,
  rows: readonly SettingRow[],
): void {
  const known = new Set(rows.flatMap((row) => row.environment));
  for (const name of Object.keys(environment)) {
    if (!name.startsWith("KVSYNC_") || known.has(name) || SERVICE_LINK.test(name)) continue;
    throw new SettingsError(
      { code: "unknown_setting", setting: name, source: "environment" },
      `environment ${name}: no such setting (--help lists them)`,
    );
  }
}

function unusable(
  raw: Record<string, unknown>,
  sources: ReadonlyMap<string, string>,
  fileSource: string,
  error: z.ZodError,
): SettingsError {
  const issue = error.issues[0];
  const path = issue?.path.map(String) ?? [];
  const unknownKey = issue?.code === "unrecognized_keys" ? issue.keys[0] : undefined;
  if (unknownKey !== undefined) {
    const setting = [...path, unknownKey].join(".");
    const facts = { code: "unknown_setting", setting, source: fileSource } as const;
    return new SettingsError(facts, `${fileSource}: ${setting}: no such setting`);
  }
  const setting = path.join(".");
  const source = sources.get(setting) ?? fileSource;
  const expected = issue?.message ?? "another value";
  const value = path.reduce<unknown>(
    (node, key) =>
      typeof node === "object" && node !== null ? (node as Record<string, unknown>)[key] : undefined,
    raw,
  );
  const shown = value === undefined ? "is missing" : `${JSON.stringify(value)} is not usable`;
  return new SettingsError(
    { code: "unusable_setting", setting, source, expected },
    `${source}: ${setting}: ${shown}; expected ${expected}`,
  );
}

/**
 * Whether to follow engines (contract: sync asked for without its tokenizer settings is off, with one warning).
 *
 * @param settings - the `sync` section.
 * @returns on, or off with whether it had been asked for and the variable that is to blame.
 */
export function decideSync(settings: Settings["sync"]): SyncDecision {
  if (settings.enabled === null) return { on: true };
  if (!settings.enabled) return { on: false, asked: false, reason: "sync.enabled is false" };
  const missing =
    settings.remote_tokenizer !== true
      ? "AIBRIX_USE_REMOTE_TOKENIZER must be true"
      : settings.tokenizer_type !== "remote"
        ? "AIBRIX_PREFIX_CACHE_TOKENIZER_TYPE must be remote"
        : settings.tokenizer_endpoint === null
          ? "AIBRIX_REMOTE_TOKENIZER_ENDPOINT must be set"
          : null;
  return missing === null ? { on: true } : { on: false, asked: true, reason: missing };
}

/**
 * The engines listed, with ids checked to be unique.
 *
 * @param settings - all settings.
 * @returns the engines.
 * @throws SettingsError unusable_setting when two share an id.
 */
export function listedEngines(settings: Settings): readonly Engine[] {
  const seen = new Set<string>();
  for (const { id } of settings.engines) {
    if (seen.has(id)) {
      const facts = {
        code: "unusable_setting",
        setting: "engines",
        source: "file",
        expected: "unique ids",
      } as const;
      throw new SettingsError(facts, `engines: id ${JSON.stringify(id)} is used twice; expected unique ids`);
    }
    seen.add(id);
  }
  return settings.engines;
}

/**
 * The text of `--help`.
 *
 * @returns usage and one line per setting.
 */
export function helpText(): string {
  const lines = settingRows().map(({ flags, environment, initial, about }) => {
    const head = flags.map((name) => `--${name}`).join(", ");
    return `  ${head}\n      ${about} Default ${JSON.stringify(initial)}. Environment ${environment.join(" or ")}.`;
  });
  return [
    "kvsync-daemon: follows engines, keeps the prefix index, answers lookups.",
    "",
    "  --config FILE\n      YAML file with the same settings by path, and the list of engines.",
    ...lines,
    "",
  ].join("\n");
}
