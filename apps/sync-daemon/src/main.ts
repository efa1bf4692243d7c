#!/usr/bin/env node
/**
 * The process: settings → daemon → HTTP → signals.
 *
 * Exit codes: 0 after SIGTERM or SIGINT, 2 for unusable settings, 3 for a thread that stopped and
 * did not come back (ingest/stall-watch.ts). Every other failure ends with 1, for
 * example a port that is in use. A daemon that fails exits and does not continue: its state can be
 * rebuilt from the engines. Sockets are closed on every way out (process-end.ts).
 *
 * Stopping: readiness ends first. After a pause, so that balancers detect it, no new connections
 * are accepted. Then running requests end or are cut off, and the sockets to engines close. All of
 * it happens within STOP_MS. Before that, open requests of the picker's gateways have the time of
 * `picker.drain_seconds`.
 */

import { hostname } from "node:os";

import { createApp } from "./app.module.ts";
import { buildFacts, versionLine } from "./build-facts.ts";
import { PAGE_FOLDERS, StaticFiles } from "./dashboard/static-files.ts";
import { Daemon, type DaemonDependencies } from "./daemon.ts";
import { FolderClaims, FolderHeldError } from "./folder-claim.ts";
import { EXIT_WORKER_STALLED } from "./ingest/stall-watch.ts";
import { errorFacts } from "./log/error-facts.ts";
import { openLog } from "./log/log.ts";
import { eventWriter, type LogLine, type WriteEvent } from "./log/log-line.ts";
import { endProcess } from "./process-end.ts";
import { readDialKeys } from "./security/curve-keys.ts";
import { HttpSecurity } from "./security/http-security.ts";
import { readSharedSeed } from "./security/shared-seed.ts";
import { effectiveSettings } from "./settings/effective-settings.ts";
import { ownShard } from "./settings/own-shard.ts";
import { readSettings, readUsable, requestOf, type SettingsReading } from "./settings/read-settings.ts";
import { EXIT_UNUSABLE_SETTINGS, SettingsError, settingsError } from "./settings/settings-error.ts";
import { helpText } from "./settings/settings-reference.ts";
import type { Settings } from "./settings/settings.ts";
import { toldListening } from "./settings/listen-failure.ts";
import { whyNoFolder } from "./settings/state-directory.ts";
import { decideSync } from "./settings/sync-decision.ts";
import { checkFiles, checkStart } from "./tools/start-check.ts";

/** Total time to stop. */
const STOP_MS = 4500;
/** Time for requests under way, of that. */
const REQUESTS_MS = 2500;

/** Ends the process unless it is asked to run. */
async function settingsOrExit(): Promise<{
  readonly reading: SettingsReading;
  readonly security: HttpSecurity;
}> {
  const argv = process.argv.slice(2);
  const request = requestOf(argv);
  const print = (text: string): never => {
    process.stdout.write(text);
    process.exit(0);
  };
  if (request === "help") print(helpText());
  if (request === "version") print(`${versionLine("kvsync-daemon")}\n`);
  if (request === "check-config") print(await checkedText(argv));
  try {
    const reading = readSettings(argv, process.env);
    if (request === "print-config") print(effectiveSettings(reading));
    const security = HttpSecurity.read(reading.settings);
    readDialKeys(reading.settings.curve);
    readSharedSeed(reading.settings.index.seed_file);
    ownShard(reading.settings.shard, hostname());
    return { reading, security };
  } catch (error) {
    if (!(error instanceof SettingsError)) throw error;
    // Another file may be wrong too, and a person should not need a start for each.
    const { reading, faults } = readUsable(argv, process.env);
    const files = reading === null ? [] : checkFiles(reading.settings, Date.now()).faults;
    const all = [...faults, ...files];
    return refuse(all.length === 0 ? error : settingsError(all));
  }
}

function refuse(error: SettingsError): never {
  process.stderr.write(`kvsync-daemon: ${error.message}\n`);
  process.exit(EXIT_UNUSABLE_SETTINGS);
}

/** What a person wants to know of settings before a start. Ends the process when something is wrong. */
async function checkedText(argv: readonly string[]): Promise<string> {
  const { reading, faults } = readUsable(argv, process.env);
  const found =
    reading === null
      ? { faults: [], warnings: [] }
      : await checkStart(reading, "files and ports", Date.now());
  const warnings = [...found.warnings];
  if (reading !== null) {
    const sync = decideSync(reading.settings.sync);
    if (!sync.on && sync.asked) warnings.push(`sync is asked for but off: ${sync.reason}`);
    warnings.push(...pageWarnings(reading));
  }
  const text = warnings.map((warning) => `warning: ${warning}\n`).join("");
  const all = [...faults, ...found.faults];
  if (reading === null || all.length > 0) {
    process.stderr.write(text);
    return refuse(settingsError(all));
  }
  return `${text}the settings can be used; ${reading.settings.engines.length} engines are listed\n`;
}

/** A page that is asked for and is not there. */
function pageWarnings({ settings, given }: SettingsReading): string[] {
  const named = (given["dashboard"] as { readonly enabled?: unknown } | undefined)?.enabled;
  if (settings.dashboard.enabled !== true || named === undefined || named === null) return [];
  const { refusal } = StaticFiles.read(PAGE_FOLDERS);
  return refusal === null ? [] : [`dashboard.enabled: ${refusal}`];
}

/** Closes the sockets to engines; null before there are any. */
let closeSockets: (() => Promise<void>) | null = null;

/** Logs an error that ends the process, and ends it. */
function fail(
  log: WriteEvent,
  code: "start_failed" | "crash" | "ingest_died" | "picker_died" | "lookup_thread_died" | "stop_failed",
  error: unknown,
): void {
  log(code, errorFacts(error));
  endProcess(error instanceof SettingsError ? EXIT_UNUSABLE_SETTINGS : 1, closeSockets);
}

/**
 * Claims the folders that are this daemon's alone.
 *
 * A folder that the settings name is used in any case: whether it can be written is a health check, and a daemon ends where another one has it. The
 * default folder is used where it can be written and is free; otherwise there are no snapshots.
 */
async function withFolders(
  { settings, given }: SettingsReading,
  log: WriteEvent,
): Promise<{ readonly settings: Settings; readonly claims: FolderClaims }> {
  const { snapshot, discovery, http, tls } = settings;
  const claims = new FolderClaims(http.port === 0 ? null : baseUrlOf(tls, http.host, http.port));
  const claim = async (setting: string, folder: string | null): Promise<void> => {
    const reason = folder === null ? null : await claims.take(setting, folder);
    if (folder !== null && reason !== null) log("folder_not_claimed", { setting, folder, reason });
  };
  await claim("discovery.state_directory", discovery.state_directory);
  const named = (given["snapshot"] as { readonly directory?: unknown } | undefined)?.directory;
  const isNamed = named !== undefined && named !== null;
  const reason = snapshot.directory === null || isNamed ? null : whyNoFolder(snapshot.directory);
  try {
    if (reason === null) {
      await claim("snapshot.directory", snapshot.directory);
      return { settings, claims };
    }
    log("snapshots_off", { folder: snapshot.directory ?? "", reason });
  } catch (error) {
    if (isNamed || !(error instanceof FolderHeldError)) throw error;
    log("snapshots_off", { folder: error.facts.folder, reason: error.message });
  }
  return { settings: { ...settings, snapshot: { ...snapshot, directory: null } }, claims };
}

function baseUrlOf({ cert_file }: Settings["tls"], host: string, port: number): string {
  const scheme = cert_file === null ? "http" : "https";
  return `${scheme}://${host.includes(":") ? `[${host}]` : host}:${port}`;
}

/** What is done about threads that end or stop: the process ends, and a supervisor starts another one. */
function threadEnds(
  log: WriteEvent,
): Pick<DaemonDependencies, "died" | "stalled" | "lookupThreads" | "picker"> {
  return {
    died: (error) => {
      fail(log, "ingest_died", error);
    },
    stalled: (worker, silentSeconds) => {
      log("ingest_stalled", { worker, silent_seconds: silentSeconds });
      endProcess(EXIT_WORKER_STALLED, closeSockets);
    },
    lookupThreads: {
      script: new URL("./lookup-threads/lookup-thread.js", import.meta.url),
      died: (error) => {
        fail(log, "lookup_thread_died", error);
      },
      stalled: (thread, silentSeconds) => {
        log("lookup_thread_stalled", { thread, silent_seconds: silentSeconds });
        endProcess(EXIT_WORKER_STALLED, closeSockets);
      },
    },
    picker: {
      script: new URL("./picker/picker-thread.js", import.meta.url),
      died: (error) => {
        fail(log, "picker_died", error);
      },
      stalled: (thread, silentSeconds) => {
        log("picker_stalled", { thread, silent_seconds: silentSeconds });
        endProcess(EXIT_WORKER_STALLED, closeSockets);
      },
    },
  };
}

async function run(
  reading: SettingsReading,
  security: HttpSecurity,
  write: (line: LogLine) => void,
  log: WriteEvent,
): Promise<void> {
  const { file, sources, given } = reading;
  const { settings, claims } = await withFolders(reading, log);
  const daemon = await Daemon.start(settings, {
    ingestScript: new URL("./ingest/ingest-thread.js", import.meta.url),
    snapshotScript: new URL("./snapshot/snapshot-thread.js", import.meta.url),
    tokenizerScript: new URL("./tokenizer/tokenizer-thread.js", import.meta.url),
    start: { ...buildFacts(), configFile: file, sources, given },
    log: write,
    whyFolderLost: () => claims.whyLost(),
    opened: (close) => {
      closeSockets = close;
    },
    ...threadEnds(log),
    ...(file === null ? {} : { configFile: { path: file, read: readAgain } }),
  });
  const app = await createApp(daemon, security);
  const { host, port, drain_seconds } = settings.http;
  // For the name Fastify makes a second server at ::1, which would hear of no renewed certificate and no limit on connections.
  await app.listen({ host: host === "localhost" ? "127.0.0.1" : host, port });
  const server = app.getHttpServer();
  const address = server.address();
  const scheme = settings.tls.cert_file === null ? "http" : "https";
  const listensAt = typeof address === "object" ? (address?.port ?? port) : port;
  claims.listens(baseUrlOf(settings.tls, host, listensAt));
  daemon.log.write("listening", { scheme, host, port: listensAt });

  let stopping = false;
  const stop = async (signal: "SIGTERM" | "SIGINT"): Promise<void> => {
    if (stopping) return;
    stopping = true;
    daemon.log.write("stopping", { signal });
    daemon.readiness.stop();
    daemon.dashboard.stop();
    const overdueMs = STOP_MS + (daemon.picker?.drainMsMax ?? 0);
    const beganMs = performance.now();
    setTimeout(() => {
      log("stop_overdue", {});
      endProcess(1, closeSockets);
    }, overdueMs).unref();
    await daemon.picker?.drain();
    await new Promise((resolve) => setTimeout(resolve, drain_seconds * 1000));
    setTimeout(
      () => {
        server.closeAllConnections();
      },
      REQUESTS_MS - drain_seconds * 1000,
    ).unref();
    await app.close();
    await daemon.stop(beganMs + overdueMs - performance.now());
    claims.release();
    daemon.log.write("stopped", {});
    process.exit(0);
  };
  for (const signal of ["SIGTERM", "SIGINT"] as const) {
    process.on(signal, () => {
      stop(signal).catch((error: unknown) => {
        fail(log, "stop_failed", error);
      });
    });
  }
}

function readAgain(): Settings {
  return readSettings(process.argv.slice(2), process.env).settings;
}

const { reading, security } = await settingsOrExit();
const writeLine = openLog();
/** For what comes before the daemon's own log, and for what ends the process. */
const log = eventWriter("main", writeLine);
for (const event of ["uncaughtException", "unhandledRejection"] as const) {
  process.on(event, (error) => {
    fail(log, "crash", error);
  });
}
run(reading, security, writeLine, log).catch((error: unknown) => {
  fail(log, "start_failed", toldListening(error, reading.settings));
});
