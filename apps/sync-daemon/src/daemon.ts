/**
 * The daemon without its HTTP rim: ingest thread, index reader, engines, metrics. What the controllers ask.
 *
 *   Settings ─▶ IngestWorker ─▶ shared index ─▶ PrefixReader ─▶ Lookup
 *                    │                                            ▲
 *                    └─▶ shared board ─▶ BoardReader ─────────────┤
 *   Settings ─▶ EngineRegistry ───────────────────────────────────┘
 *
 * With sync off (config.ts) engines are registered and not followed: they stay unknown, and lookups say "fallback".
 */

import { totalmem } from "node:os";

import { PrefixReader } from "@kvsync/core";
import { CATALOGUE, Exposition, MetricSlots } from "@kvsync/observability";

import { decideSync, listedEngines, type Settings } from "./config.ts";
import { EngineRegistry, type RankFollower } from "./engine/engine-registry.ts";
import { ranksWithinOpenFiles } from "./engine/open-files.ts";
import { Readiness } from "./health/readiness.ts";
import { IngestWorker } from "./ingest/ingest-worker.ts";
import { BoardReader, createBoardMemory } from "./ingest/stream-board.ts";
import type { IngestSettings, LogLine } from "./ingest/thread-messages.ts";
import { fleetGauges } from "./metrics/fleet-gauges.ts";
import { Lookup } from "./query/lookup.ts";
import { RemoteTokenizer } from "./tokenizer/remote-tokenizer.ts";
import { TokenizerMetrics } from "./tokenizer/tokenizer-metrics.ts";

/** What a daemon is made of, beside its settings. */
export interface DaemonDependencies {
  /** Compiled entry of the ingest thread. */
  readonly ingestScript: URL;
  readonly version: string;
  readonly log: (line: LogLine) => void;
  /** The ingest thread died; the process cannot do its work any more. */
  readonly died: (error: Error) => void;
}

/** A running daemon. */
export class Daemon {
  readonly settings: Settings;
  readonly registry: EngineRegistry;
  readonly reader: PrefixReader;
  readonly board: BoardReader;
  readonly readiness: Readiness;
  readonly lookup: Lookup;
  /** Null when none is configured. */
  readonly tokenizer: RemoteTokenizer | null;
  readonly exposition: Exposition;
  /** Metrics of the main thread. */
  readonly metrics: MetricSlots;
  readonly #ingest: IngestWorker;

  private constructor(parts: {
    readonly settings: Settings;
    readonly registry: EngineRegistry;
    readonly reader: PrefixReader;
    readonly board: BoardReader;
    readonly exposition: Exposition;
    readonly metrics: MetricSlots;
    readonly ingest: IngestWorker;
  }) {
    const { settings, registry, reader, board, metrics } = parts;
    this.settings = settings;
    this.registry = registry;
    this.reader = reader;
    this.board = board;
    this.exposition = parts.exposition;
    this.metrics = metrics;
    this.#ingest = parts.ingest;
    this.readiness = new Readiness({ registry, board }, settings.readiness.deadline_seconds, epochMs);
    const tokenizerMetrics = new TokenizerMetrics(metrics);
    this.tokenizer = tokenizerOf(settings, tokenizerMetrics);
    this.lookup = new Lookup({ reader, board, registry, now: epochMs }, metrics, {
      tokensMax: settings.limits.query_tokens,
      tokenizer: this.tokenizer,
      tokenizerMetrics,
    });
  }

  /**
   * Starts everything and registers the listed engines.
   *
   * @param settings - checked.
   * @param dependencies - where the thread's code lies, and who hears of things.
   * @returns the daemon, following its engines.
   * @throws SettingsError, RegistryError when the listed engines cannot be.
   */
  static async start(settings: Settings, dependencies: DaemonDependencies): Promise<Daemon> {
    const engines = listedEngines(settings);
    const sync = decideSync(settings.sync);
    if (!sync.on) {
      dependencies.log({
        level: sync.asked ? "warn" : "info",
        event: "sync_off",
        message: `engines are not followed: ${sync.reason}`,
        facts: {},
      });
    }
    const exposition = new Exposition(CATALOGUE);
    const boardMemory = createBoardMemory();
    const ingest = await IngestWorker.start(
      dependencies.ingestScript,
      ingestSettings(settings, boardMemory),
      {
        metrics: (announcement) => {
          exposition.accept(announcement);
        },
        log: dependencies.log,
        died: dependencies.died,
      },
    );
    const reader = PrefixReader.attach(ingest.index, { tokensMax: settings.limits.query_tokens });
    const board = new BoardReader(boardMemory);
    const follower = sync.on ? ingest : NO_FOLLOWER;
    const registry = new EngineRegistry(follower, {
      engines: settings.limits.engines,
      openFileRanks: ranksWithinOpenFiles(),
    });
    const metrics = new MetricSlots("main", (announcement) => {
      exposition.accept(announcement);
    });
    const collect = fleetGauges(metrics, {
      registry,
      board,
      reader,
      reservedBytes: () => ingest.index.memory.buffer.byteLength,
      contextsMax: settings.limits.contexts,
      memoryBytesMax: memoryBytesMax(),
      now: epochMs,
      version: dependencies.version,
      configurationValid: sync.on || !sync.asked,
    });
    exposition.beforeScrape(collect);
    for (const engine of engines) registry.register(engine);
    return new Daemon({ settings, registry, reader, board, exposition, metrics, ingest });
  }

  /**
   * Stops following.
   *
   * @returns resolves when the sockets are closed and the thread is gone.
   */
  async stop(): Promise<void> {
    await this.tokenizer?.close();
    await this.#ingest.stop();
  }
}

function tokenizerOf(
  { sync, tokenizer, limits }: Settings,
  metrics: TokenizerMetrics,
): RemoteTokenizer | null {
  const { tokenizer_endpoint: endpoint } = sync;
  if (endpoint === null) return null;
  return new RemoteTokenizer({ ...tokenizer, endpoint, tokensMax: limits.query_tokens }, metrics, epochMs);
}

/** With sync off: slots stay as they are, which is unknown. */
const NO_FOLLOWER: RankFollower = {
  follow: () => undefined,
  forget: () => Promise.resolve(),
};

/**
 * The board's clock: milliseconds since the Unix epoch that never go back.
 *
 * @returns now.
 */
export function epochMs(): number {
  return performance.timeOrigin + performance.now();
}

/** The container's limit where there is one; a limit above the machine's memory, which is how none is said, is none. */
function memoryBytesMax(): number {
  const machine = totalmem();
  const constrained = process.constrainedMemory();
  return constrained > 0 && constrained < machine ? constrained : machine;
}

function ingestSettings({ ingest, limits }: Settings, board: SharedArrayBuffer): IngestSettings {
  return {
    worker: "ingest-0",
    board,
    queue: {
      messages: { live: limits.queue_messages, replay: limits.replay_queue_messages },
      bytes: { live: limits.queue_bytes, replay: limits.replay_queue_bytes },
      messageBytes: limits.message_bytes,
    },
    tickMs: ingest.poll_timeout_ms,
    replayTimeoutMs: Math.round(ingest.replay_timeout_seconds * 1000),
    replaysMax: limits.replays,
    reconnectMsMin: ingest.reconnect_ms_min,
    reconnectMsMax: ingest.reconnect_ms_max,
    index: {
      contextCountMax: limits.contexts,
      prefixesPerContextMax: limits.prefixes_per_context,
      memoryBytesMax: limits.index_bytes,
    },
  };
}
