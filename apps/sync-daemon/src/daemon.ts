/**
 * The daemon without its HTTP rim: ingest thread, index reader, sources of engines, metrics. Controllers get its parts (app.module.ts).
 *
 *   Settings ─▶ IngestPool ─▶ parts of the index ─▶ PrefixReader ─▶ Lookup
 *                    │                                            ▲
 *                    └─▶ shared board ─▶ BoardReader ─────────────┤
 *   file, HTTP, Kubernetes ─▶ Discovery ─▶ EngineRegistry ────────┘
 *                    index, board, engines ─▶ PickerHost, LookupThreads: null when off
 *
 * With sync off (settings/sync-decision.ts) engines are registered and not followed: they stay
 * unknown, and lookups return "fallback".
 */

import { rmSync } from "node:fs";
import { availableParallelism, hostname, totalmem } from "node:os";

import { attachReader, type PrefixReader, RankHomes } from "@kvsync/core";
import type { Exposition } from "@kvsync/observability/exposition";
import { PICKER_METRICS } from "@kvsync/observability/kvsync/picker";
import type { MetricSlots } from "@kvsync/observability/slots";

import { type StartFacts, startReport } from "./build-facts.ts";
import { epochMs } from "./clock.ts";
import { Dashboard, type DashboardSources } from "./dashboard/dashboard.ts";
import { LogRing } from "./dashboard/log-ring.ts";
import { PAGE_FOLDERS, StaticFiles } from "./dashboard/static-files.ts";
import { SystemFacts } from "./dashboard/system-facts.ts";
import { Discovery } from "./discovery/discovery.ts";
import { EngineRegistry, type RankFollower } from "./engine/engine-registry.ts";
import type { FleetShard } from "./engine/fleet-shard.ts";
import { filePlan, filesOfEngine } from "./settings/open-files.ts";
import { type CheckSources, healthChecks } from "./health/daemon-checks.ts";
import { ExactnessWatch } from "./health/exactness-watch.ts";
import { HealthChecks } from "./health/health-checks.ts";
import { type IndexStart, Readiness } from "./health/readiness.ts";
import { SyncHealth } from "./health/sync-health.ts";
import { indexSeed } from "./ingest/index-seed.ts";
import { IngestPool, type PoolDependencies } from "./ingest/ingest-pool.ts";
import { RunJournal } from "./ingest/message-journal.ts";
import { SetAsideMessages } from "./ingest/set-aside.ts";
import { BoardReader, createBoardMemory } from "./board/stream-board.ts";
import type { UnknownKinds } from "./board/unknown-kinds.ts";
import type { RestoredSnapshot, RestoreOrder } from "./snapshot/restored-snapshot.ts";
import type { IngestSettings } from "./ingest/thread-messages.ts";
import type { LevelControl } from "./log/level-control.ts";
import type { LineGate } from "./log/line-gate.ts";
import type { LogLine, WriteEvent } from "./log/log-line.ts";
import { fleetGauges } from "./health/fleet-gauges.ts";
import { LookupThreads, type LookupThreadsDependencies } from "./lookup-threads/lookup-threads.ts";
import { Lookup } from "./query/lookup.ts";
import { LOOPBACK_RANGES, PRIVATE_RANGES } from "./security/address-ranges.ts";
import { readDialKeys } from "./security/curve-keys.ts";
import { readSharedSeed } from "./security/shared-seed.ts";
import { Tokenizers } from "./tokenizer/tokenizers.ts";
import { PickerQuestions } from "./picker/picker-questions.ts";
import type { PickerHost, PickerHostDependencies } from "./picker/picker-host.ts";
import type { Settings } from "./settings/settings.ts";
import { settingsHash } from "./settings/effective-settings.ts";
import { ingestWorkers } from "./settings/ingest-workers.ts";
import { ownShard } from "./settings/own-shard.ts";
import { decideSync, type SyncDecision } from "./settings/sync-decision.ts";
import { refusals, tellRestored } from "./snapshot/snapshot-report.ts";
import { findSnapshot, type FoundSnapshot } from "./snapshot/snapshot-source.ts";
import { type SnapshotDependencies, SnapshotStore } from "./snapshot/snapshot-store.ts";
import type { FinishedSpan } from "./telemetry/finished-span.ts";
import type { Tracing } from "./telemetry/tracing.ts";
import { startTelemetry, type Telemetry } from "./telemetry/telemetry.ts";

/** What a daemon is made of, beside its settings. */
export interface DaemonDependencies {
  /** Compiled entries of the ingest thread, of the one that writes snapshots and of those that make tokens. */
  readonly ingestScript: URL;
  readonly snapshotScript: URL;
  readonly tokenizerScript: URL;
  readonly start: StartFacts;
  /** Writes a line; what is not to be written does not get here. */
  readonly log: (line: LogLine) => void;
  /** Who has taken over a folder of this daemon, in words (folder-claim.ts); null when nobody has. */
  readonly whyFolderLost: () => string | null;
  /** Takes the function that closes all sockets to engines, before the first one is opened. */
  readonly opened?: (close: () => Promise<void>) => void;
  /** The ingest thread died; the process cannot do its work any more. */
  readonly died: (error: Error) => void;
  /** An ingest worker stopped and did not come back in `ingest.stall_seconds`; likewise. */
  readonly stalled: (worker: string, silentSeconds: number) => void;
  /** Compiled entry of the threads that answer lookups, and who hears when one died, or did not come back. */
  readonly lookupThreads: Pick<LookupThreadsDependencies, "script" | "died" | "stalled" | "bodyBytesMin">;
  /** What the endpoint picker needs beside it, where `picker.enabled` may be set. */
  readonly picker?: {
    /** Compiled entry of its threads. */
    readonly script: URL;
    /** A thread of it died, or did not come back; likewise. */
    readonly died: (error: Error) => void;
    readonly stalled: (thread: number, silentSeconds: number) => void;
  };
  /** Folders where the web page may be; those of a package and a checkout unless given. */
  readonly pageFolders?: readonly URL[];
  /** The configuration file, and how to read everything again when it changes; absent without one. */
  readonly configFile?: { readonly path: string; readonly read: () => Settings };
}

/** A running daemon. */
export class Daemon {
  readonly settings: Settings;
  readonly registry: EngineRegistry;
  readonly discovery: Discovery;
  readonly reader: PrefixReader;
  readonly board: BoardReader;
  readonly unknownKinds: UnknownKinds;
  readonly readiness: Readiness;
  readonly lookup: Lookup;
  readonly exposition: Exposition;
  /** Metrics of the main thread. */
  readonly metrics: MetricSlots;
  readonly snapshots: SnapshotStore;
  readonly health: HealthChecks;
  readonly syncHealth: SyncHealth;
  readonly log: LineGate;
  readonly logLevel: LevelControl;
  /** Null when it is off. */
  readonly tracing: Tracing | null;
  /** Null when it is off. */
  readonly picker: PickerHost | null;
  /** Null when the main thread answers all lookups. */
  readonly lookupThreads: LookupThreads | null;
  /** Asks the picker; every question is refused while it is off. */
  readonly pickerQuestions: PickerQuestions;
  /** Name of this daemon among its replicas: the host's, which is the pod's, and the process. */
  readonly instance = `${hostname()}:${process.pid}`;
  /** What the web page shows. */
  readonly dashboard: Dashboard;
  /** Files of the web page. */
  readonly page: StaticFiles;
  readonly #tokenizers: Tokenizers;
  readonly #ingest: IngestPool;
  readonly #run: RunJournal;
  readonly #exactness: ExactnessWatch;

  private constructor(parts: {
    readonly settings: Settings;
    readonly registry: EngineRegistry;
    readonly discovery: Discovery;
    readonly reader: PrefixReader;
    readonly board: BoardReader;
    readonly telemetry: Telemetry;
    readonly snapshots: SnapshotStore;
    readonly health: HealthChecks;
    readonly tokenizers: Tokenizers;
    readonly picker: PickerHost | null;
    readonly lookupThreads: LookupThreads | null;
    readonly pickerQuestions: PickerQuestions;
    readonly ingest: IngestPool;
    readonly run: RunJournal;
    readonly dependencies: DaemonDependencies;
    readonly index: IndexStart;
    readonly logRing: LogRing;
    readonly reservedBytes: () => number;
  }) {
    const { settings, registry, discovery, reader, board, telemetry } = parts;
    const { metrics } = telemetry;
    this.settings = settings;
    this.registry = registry;
    this.discovery = discovery;
    this.reader = reader;
    this.board = board;
    this.unknownKinds = parts.ingest.unknownKinds;
    this.exposition = telemetry.exposition;
    this.metrics = metrics;
    this.log = telemetry.log;
    this.logLevel = telemetry.levelControl;
    this.tracing = telemetry.tracing;
    this.snapshots = parts.snapshots;
    this.health = parts.health;
    this.syncHealth = new SyncHealth({ registry, board, reader, unknownKinds: this.unknownKinds }, epochMs);
    this.#ingest = parts.ingest;
    this.#run = parts.run;
    this.#exactness = exactnessWatchOf(registry, board, telemetry);
    this.#exactness.start();
    const { index, dependencies } = parts;
    const { start } = dependencies;
    const waitedFor = { registry, board, discovery: discovery.status, start, index, log: telemetry.log };
    this.readiness = new Readiness(waitedFor, settings.readiness.deadline_seconds, epochMs);
    this.readiness.watch();
    this.#tokenizers = parts.tokenizers;
    this.picker = parts.picker;
    this.lookupThreads = parts.lookupThreads;
    this.pickerQuestions = parts.pickerQuestions;
    this.page = pageOf(settings, parts.dependencies);
    this.picker?.readyWhen(() => this.readiness.report().ready);
    const { shard } = this.discovery.sources;
    this.lookup = new Lookup({ reader, board, registry, shard, now: epochMs }, metrics, {
      tokensMax: settings.limits.query_tokens,
      prefixHashes: settings.index.prefix_hashes,
      tokenizers: parts.tokenizers,
      log: telemetry.log,
      tracing: telemetry.tracing,
      exemplars: telemetry.exposition,
    });
    telemetry.exposition.beforeScrape(() => {
      this.lookup.releaseGone();
    });
    this.dashboard = dashboardOf(this, { ...parts, exposition: telemetry.exposition });
    this.dashboard.start();
  }

  /**
   * Starts everything and registers the listed engines.
   *
   * @param settings - checked.
   * @param dependencies - where the thread's code lies, and who hears of things.
   * @returns the daemon, following its engines.
   */
  static async start(settings: Settings, dependencies: DaemonDependencies): Promise<Daemon> {
    const curve = readDialKeys(settings.curve);
    const sync = decideSync(settings.sync);
    const { version } = dependencies.start;
    const { logRing, write } = keptLog(dependencies);
    const telemetry = await startTelemetry(settings, version, write, epochMs);
    const { metrics, log } = telemetry;
    logStart(log.write, dependencies.start, settings, sync);
    const shard = ownShard(settings.shard, hostname());
    const snapshots = snapshotStoreOf(settings, { ...dependencies, shard }, telemetry, () =>
      ingest.takeSnapshot(),
    );
    const found = sync.on ? await foundSnapshots(settings, snapshots, shard, telemetry) : null;
    const boardMemory = createBoardMemory();
    const board = new BoardReader(boardMemory);
    const { run, ...endings } = endingsOf(settings, log);
    const shared = { board: boardMemory, logLevel: telemetry.level.memory, curve, journal: run.order };
    const workers = ingestSettings(settings, shared, restoreOrder(found, shard));
    const ingest = await IngestPool.start(workers, {
      board,
      ...endings,
      ...heardOf(dependencies, telemetry),
    });
    for (const path of found?.fetched ?? []) rmSync(path, { force: true });
    dependencies.opened?.(() => ingest.stop());
    const reader = attachReader(ingest.index, { tokensMax: settings.limits.query_tokens });
    const registry = registryOf(settings, sync.on ? ingest : NO_FOLLOWER);
    const { configFile } = dependencies;
    const discovery = new Discovery(settings, { registry, shard, metrics, log, now: epochMs, configFile });
    const tokenizers = await tokenizersOf(settings, dependencies, telemetry);
    const healthSources = { settings, registry, board, snapshots, tokenizers: tokenizers.remotes };
    const health = healthOf({ ...healthSources, ...discoveryHealth(discovery) }, version, log);
    const { index } = ingest;
    const reservedBytes = (): number =>
      index.parts.reduce((sum, { memory }) => sum + memory.buffer.byteLength, 0);
    const gauged = { registry, board, reader, reservedBytes, settings, version, health };
    collectGauges(gauged, sync, snapshots, telemetry);
    telemetry.exposition.beforeScrape(discovery.status.gauges(discovery.sources));
    if (found !== null) tellRestored(found, ingest.restored, metrics, log.write);
    goOnFrom(ingest.restored, { snapshots, registry, settings, discovery });
    const shares = { index, board: boardMemory, registry, shard };
    const picking = await pickerOf(settings, shares, dependencies, telemetry);
    const lookupThreads = await LookupThreads.start(settings, {
      ...shares,
      shard,
      ...dependencies.lookupThreads,
    });
    await discovery.start();
    // Before that, sources that have not spoken yet would look like a fault.
    health.start();
    snapshots.start();
    return new Daemon({
      settings,
      registry,
      discovery,
      reader,
      board,
      telemetry,
      snapshots,
      health,
      tokenizers,
      ...picking,
      lookupThreads,
      ingest,
      run,
      dependencies,
      index: indexStart(settings, ingest.restored, found),
      logRing,
      reservedBytes,
    });
  }

  /**
   * Makes a last snapshot and stops following.
   *
   * @param leftMs - time for it, of which the snapshot has all but what the rest takes.
   * @returns resolves when the sockets are closed and the thread is gone.
   */
  async stop(leftMs: number): Promise<void> {
    const beganMs = performance.now();
    this.dashboard.stop();
    this.health.stop();
    this.readiness.stop();
    this.#exactness.stop();
    this.logLevel.stop();
    await this.discovery.stop();
    await this.picker?.stop();
    await this.lookupThreads?.stop();
    await this.#tokenizers.close();
    const snapshotMs = beganMs + leftMs - AFTER_SNAPSHOT_MS - performance.now();
    await this.snapshots.stop(Math.max(LAST_SNAPSHOT_MS_MIN, Math.round(snapshotMs)));
    await this.#ingest.stop();
    this.#run.end();
    await this.tracing?.stop();
  }
}

/** What the web page and the routes behind it show. */
function dashboardOf(
  daemon: Omit<DashboardSources, "version" | "commit" | "facts" | "logRing" | "exposition" | "now">,
  {
    snapshots,
    logRing,
    exposition,
    reservedBytes,
    dependencies: { start },
  }: {
    readonly snapshots: SnapshotStore;
    readonly logRing: LogRing;
    readonly exposition: DashboardSources["exposition"];
    readonly reservedBytes: () => number;
    readonly dependencies: DaemonDependencies;
  },
): Dashboard {
  const { settings, registry, discovery, board, reader, lookup, health, readiness, metrics, instance } =
    daemon;
  const shared = { settings, registry, board, reader, instance, now: epochMs };
  const memory = { reservedBytes, memoryBytesMax: memoryBytesMax() };
  return new Dashboard({
    ...shared,
    ...{ discovery, lookup, health, readiness, metrics, logRing, exposition },
    version: start.version,
    commit: start.commit,
    facts: new SystemFacts({ ...shared, ...memory, start, snapshots }),
  });
}

/** A log whose latest lines are kept for the web page. */
function keptLog({ log }: DaemonDependencies): {
  readonly logRing: LogRing;
  readonly write: (line: LogLine) => void;
} {
  const logRing = new LogRing(epochMs);
  const write = (line: LogLine): void => {
    logRing.add(line);
    log(line);
  };
  return { logRing, write };
}

/** Sets gauges of the fleet before each scrape. */
function collectGauges(
  sources: Pick<
    Parameters<typeof fleetGauges>[1],
    "registry" | "board" | "reader" | "reservedBytes" | "version" | "health"
  > & { readonly settings: Settings },
  sync: SyncDecision,
  snapshots: SnapshotStore,
  { metrics, exposition }: Telemetry,
): void {
  const collect = fleetGauges(metrics, {
    ...sources,
    memoryBytesMax: memoryBytesMax(),
    cpus: availableParallelism(),
    settingsHash: settingsHash(sources.settings),
    now: epochMs,
    snapshotAgeSeconds: () => snapshots.unsavedSeconds(),
    configurationValid: sync.on || !sync.asked,
  });
  exposition.beforeScrape(collect);
}

/** The web page, if the settings want it. */
function pageOf({ dashboard }: Settings, { pageFolders = PAGE_FOLDERS }: DaemonDependencies): StaticFiles {
  return dashboard.enabled === true ? StaticFiles.read(pageFolders) : StaticFiles.off();
}

/** The first lines of the log. */
function logStart(log: WriteEvent, start: StartFacts, { snapshot }: Settings, sync: SyncDecision): void {
  const { settings_from, ...facts } = startReport(start);
  log("starting", {
    ...facts,
    settings_from: settings_from.join(", "),
    snapshots: snapshot.directory ?? "off",
  });
  if (!sync.on) tellSyncOff(sync, log);
}

function snapshotStoreOf(
  { snapshot }: Settings,
  {
    snapshotScript: script,
    start: { version },
    whyFolderLost,
    shard,
  }: DaemonDependencies & { readonly shard: FleetShard },
  { metrics, log, tracing }: Telemetry,
  take: SnapshotDependencies["take"],
): SnapshotStore {
  const heard = { metrics, log: log.write, tracing, whyFolderLost, now: epochMs };
  return new SnapshotStore(snapshot, { take, script, version, shard, ...heard });
}

/** What is done about workers that end or stop. */
function endingsOf(
  { ingest, discovery, snapshot }: Settings,
  log: LineGate,
): Pick<PoolDependencies, "stallMs" | "setAside"> & { readonly run: RunJournal } {
  const folder = discovery.state_directory ?? snapshot.directory;
  const setAside = new SetAsideMessages(folder, log.write);
  const run = new RunJournal(folder, log.write, epochMs());
  for (const { owner, message } of run.found) setAside.add(owner, message, "killed");
  setAside.tell();
  return { stallMs: ingest.stall_seconds * 1000, setAside, run };
}

/** Where ingest threads' code lies, and where their news go. */
function heardOf(
  { ingestScript, died, stalled }: DaemonDependencies,
  { metrics, log, announce, threadLine, tracing, exposition }: Telemetry,
): Omit<PoolDependencies, "board" | "stallMs" | "setAside"> {
  const span = spanTaker(tracing, exposition);
  return { script: ingestScript, died, stalled, metrics, log: log.write, announce, threadLine, span };
}

/** Where other threads' spans go. They make none when tracing is off. */
function spanTaker(
  tracing: Tracing | null,
  exposition: Pick<Exposition, "exemplar">,
): (span: FinishedSpan) => void {
  return (span) => {
    const traceId = tracing?.record(span) ?? null;
    if (traceId === null || span.name !== "pick") return;
    const seconds = (span.endMs - span.startMs) / 1000;
    exposition.exemplar(PICKER_METRICS.decisionDuration, {}, seconds, traceId);
  };
}

/** Starts the picker, if the settings want it: the only way in. */
async function pickerOf(
  settings: Settings,
  shares: Pick<PickerHostDependencies, "index" | "board" | "registry" | "shard">,
  { picker }: DaemonDependencies,
  { metrics, log, announce, threadLine, level, tracing, exposition }: Telemetry,
): Promise<{ readonly picker: PickerHost | null; readonly pickerQuestions: PickerQuestions }> {
  const questions = new PickerQuestions();
  if (settings.picker.enabled !== true || picker === undefined)
    return { picker: null, pickerQuestions: questions };
  const { PickerHost: Started } = await import("./picker/picker-host.ts");
  const span = spanTaker(tracing, exposition);
  const heard = { metrics, announce, log: log.write, threadLine, span, logLevel: level.memory };
  const started = await Started.start(settings, { ...shares, ...picker, ...heard, questions });
  return { picker: started, pickerQuestions: questions };
}

function tokenizersOf(
  settings: Settings,
  { tokenizerScript: threadScript }: DaemonDependencies,
  watch: Telemetry,
): Promise<Tokenizers> {
  const { metrics } = watch;
  return Tokenizers.open(settings, { metrics, thread: "main", watch, now: epochMs, threadScript });
}

function registryOf(settings: Settings, follower: RankFollower): EngineRegistry {
  return new EngineRegistry(follower, {
    engines: settings.limits.engines,
    engineFiles: filePlan(settings.callers.connections).engineFiles,
    filesOf: (engine) => filesOfEngine(engine, settings),
  });
}

function healthOf(
  sources: Omit<CheckSources, "memoryBytesMax">,
  version: string,
  log: LineGate,
): HealthChecks {
  return new HealthChecks(
    healthChecks({ ...sources, memoryBytesMax: memoryBytesMax() }),
    version,
    epochMs,
    ({ name, status, message: text, critical }, previous) => {
      const level = status === "unhealthy" ? "warn" : "info";
      log.write("check_changed", { check: name, status, previous, critical }, { level, text });
    },
  );
}

/** How sources do, and the part of the fleet that is followed. */
function discoveryHealth({ status, sources }: Discovery): Pick<CheckSources, "discovery" | "shard"> {
  const { index, count } = sources.shard;
  return { discovery: status, shard: () => ({ index, count, elsewhere: sources.elsewhereCount }) };
}

/** What the daemon begins with. */
function foundSnapshots(
  { snapshot }: Settings,
  { folder }: SnapshotStore,
  shard: FleetShard,
  { metrics, log, tracing }: Telemetry,
): Promise<FoundSnapshot | null> {
  const search = { settings: snapshot, folder, shard, host: hostname() };
  return findSnapshot(search, refusals(metrics, log.write), tracing);
}

function exactnessWatchOf(registry: EngineRegistry, board: BoardReader, { log }: Telemetry): ExactnessWatch {
  return new ExactnessWatch({ registry, board, log, now: epochMs });
}

function tellSyncOff({ asked, reason }: Extract<SyncDecision, { on: false }>, log: WriteEvent): void {
  log("sync_off", {}, { level: asked ? "warn" : "info", text: `engines are not followed: ${reason}` });
}

function indexStart(
  { snapshot, sync }: Settings,
  restored: RestoredSnapshot | null,
  found: FoundSnapshot | null,
): IndexStart {
  const hasSibling = snapshot.warm_from.length > 0 && decideSync(sync).on;
  return { origin: restored?.kind === "restored" ? (found?.origin ?? "none") : "none", hasSibling };
}

/** Takes over what a snapshot knew, if there was one: its age, and the slots of its streams. */
function goOnFrom(
  restored: RestoredSnapshot | null,
  to: Pick<Daemon, "snapshots" | "registry" | "settings" | "discovery">,
): void {
  if (restored?.kind !== "restored") return;
  to.snapshots.loaded(restored.createdMs);
  to.registry.reserve(restored.streams);
  releaseReserved(to, to.settings.readiness.deadline_seconds * 1000);
}

/** Time between two looks whether every source has spoken, once it is late. */
const RELEASE_LOOK_MS = 5000;

/**
 * Engines may come as late as readiness waits at most; then their slots are let go. As long as a source has not spoken at all (an API server that is
 * away), nobody knows which engines are gone: then their slots wait for it.
 */
function releaseReserved(from: Pick<Daemon, "registry" | "discovery">, afterMs: number): void {
  const release = (): void => {
    if (from.discovery.status.isComplete) void from.registry.releaseReserved();
    else releaseReserved(from, RELEASE_LOOK_MS);
  };
  setTimeout(release, afterMs).unref();
}

/** Bytes that all streams together hold while replays run; beyond, live messages are dropped and asked for again. */
const HOLD_BYTES_MAX = 256 * 1024 * 1024;
/** Bytes of stores that wait for their parents, over all ranks. */
const PARKED_BYTES_MAX = 64 * 1024 * 1024;

/** Connections dialled per second, fleet-wide: a restart of the daemon must not look like an attack. */
const DIALS_PER_SECOND = 200;
/** Dials that may happen at once after a quiet time. */
const DIALS_BURST = 64;

/** Time to stop the ingest threads after the last snapshot. */
const AFTER_SNAPSHOT_MS = 750;
/** Time that the last snapshot has in any case. */
const LAST_SNAPSHOT_MS_MIN = 250;

/** With sync off: slots stay as they are, which is unknown. */
const NO_FOLLOWER: RankFollower = {
  follow: () => undefined,
  forget: () => Promise.resolve(),
  redial: () => undefined,
};

/** The container's limit where there is one; a limit above the machine's memory, which is how none is said, is none. */
function memoryBytesMax(): number {
  const machine = totalmem();
  const constrained = process.constrainedMemory();
  return constrained > 0 && constrained < machine ? constrained : machine;
}

/** What ingest fills the index from. A file of another shard than this one has workers that are not wanted. */
function restoreOrder(
  found: FoundSnapshot | null,
  { index, count, isPart }: FleetShard,
): RestoreOrder | null {
  return found === null ? null : { paths: found.paths, shard: isPart ? { index, count } : null };
}

/** One for each worker: what bounds the process is divided among them. */
function ingestSettings(
  settings: Settings,
  shared: Pick<IngestSettings, "board" | "logLevel" | "curve" | "journal">,
  restoreFrom: RestoreOrder | null,
): IngestSettings[] {
  const { index, ingest, limits, security, discovery, tracing } = settings;
  const workers = ingestWorkers(ingest);
  const { memory: homes } = RankHomes.create();
  const hashSeed = indexSeed(
    index.prefix_hashes,
    readSharedSeed(index.seed_file),
    restoreFrom?.paths[0] ?? null,
  );
  const share = (limit: number): number => Math.max(1, Math.floor(limit / workers));
  return Array.from({ length: workers }, (_, workerNumber) => ({
    restoreFrom:
      restoreFrom === null ? null : { ...restoreFrom, part: { number: workerNumber, count: workers } },
    worker: `ingest-${workerNumber}`,
    workerNumber,
    workerCount: workers,
    homes,
    hashSeed,
    ...shared,
    tracedRatio: tracing.endpoint === null ? null : tracing.batch_ratio,
    queue: {
      messages: { live: share(limits.queue_messages), replay: share(limits.replay_queue_messages) },
      bytes: { live: share(limits.queue_bytes), replay: share(limits.replay_queue_bytes) },
      messageBytes: limits.message_bytes,
    },
    holdBytesMax: share(HOLD_BYTES_MAX),
    tickMs: ingest.poll_timeout_ms,
    replayTimeoutMs: Math.round(ingest.replay_timeout_seconds * 1000),
    replayStallMs: Math.round(Math.min(ingest.replay_stall_seconds, ingest.replay_timeout_seconds) * 1000),
    replaysMax: share(limits.replays),
    dials: { perSecond: share(DIALS_PER_SECOND), burst: share(DIALS_BURST) },
    reconnectMsMin: ingest.reconnect_ms_min,
    reconnectMsMax: ingest.reconnect_ms_max,
    index: {
      contextCountMax: limits.contexts,
      prefixesPerContextMax: share(limits.prefixes_per_context),
      memoryBytesMax: share(limits.index_bytes),
      parkedBytesMax: share(PARKED_BYTES_MAX),
    },
    dnsServers: discovery.dns_servers,
    transport: ingest.transport,
    messagePartsMax: limits.message_parts,
    publisherRanges: security.publisher_ranges ?? [...PRIVATE_RANGES, ...LOOPBACK_RANGES],
  }));
}
