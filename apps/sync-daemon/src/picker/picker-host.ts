/**
 * The main thread's side of the picker: starts its threads, sends them engines, certificates and readiness, watches that
 * they live, and ends them. No request of a gateway comes here.
 *
 *     registry, pool ─▶ EngineFeed, one each ─┐                         ┌─▶ listening, drained
 *     certificate files ─▶ PickerTls ─────────┼─▶ the picker's threads ─┼─▶ metrics, lines of the log
 *     readiness, once ────────────────────────┘        │ beats          └─▶ failed ─▶ `died`
 *                                                      ▼
 *                                               StallWatch ─▶ `stalled`
 *
 *  N1  All threads or none: a thread that ends, or does not come back, ends the process (picker-threads.e2e.test.ts "N1").
 *
 * Loaded by name when the picker is on (`picker-is-loaded-only-when-on` of the dependency rules).
 */

import { randomBytes, randomUUID } from "node:crypto";
import { Worker } from "node:worker_threads";

import type { SharedIndexParts } from "@kvsync/core";
import type { MetricSlots, SlotAnnouncement } from "@kvsync/observability/slots";

import { epochMs, sharedClockMs } from "../clock.ts";
import type { EngineRegistry } from "../engine/engine-registry.ts";
import type { FleetShard } from "../engine/fleet-shard.ts";
import { StallWatch } from "../ingest/stall-watch.ts";
import type { LogLine, WriteEvent } from "../log/log-line.ts";
import { refuseUnsharedPort } from "../settings/shared-port.ts";
import type { Settings } from "../settings/settings.ts";
import type { FinishedSpan } from "../telemetry/finished-span.ts";
import { EngineFeed } from "./engine-feed.ts";
import type { FromPicker, PickerThreadSettings, ToPicker } from "./picker-messages.ts";
import type { PickerQuestions } from "./picker-questions.ts";
import { PickerTls } from "./picker-tls.ts";
import type { PoolSource } from "./pool-source.ts";
import { watchPool } from "./pool-watch.ts";
import { ThreadBoard } from "./thread-board.ts";

/** Time for the thread to close its ports before it is ended. */
const STOP_GRACE_MS = 1000;
/** Time between two looks whether the daemon is ready. */
const READY_LOOK_MS = 100;
/** Longer than any drain, for a thread that does not answer. */
const DRAIN_MS_MORE = 2000;

/** Time for an answer beside that of a decision. */
const ANSWER_MS_MORE = 1000;

/** What a picker needs of the daemon. */
export interface PickerHostDependencies {
  /** Compiled `picker-thread`. */
  readonly script: URL;
  readonly index: SharedIndexParts;
  readonly board: SharedArrayBuffer;
  readonly logLevel: SharedArrayBuffer;
  readonly registry: EngineRegistry;
  /** The part of the fleet that the daemon follows. */
  readonly shard: FleetShard;
  /** Is connected to the threads. */
  readonly questions: PickerQuestions;
  /** Of the main thread. */
  readonly metrics: MetricSlots;
  readonly announce: (announcement: SlotAnnouncement) => void;
  readonly log: WriteEvent;
  /** Writes a line that has passed the thread's gate. */
  readonly threadLine: (line: LogLine) => void;
  readonly span: (span: FinishedSpan) => void;
  readonly died: (error: Error) => void;
  readonly stalled: (thread: number, silentSeconds: number) => void;
}

/** See the header. */
export class PickerHost {
  readonly #threads: readonly PickerThread[];
  readonly #tls: PickerTls;
  readonly #stallWatch: StallWatch;
  readonly #log: WriteEvent;
  /** Null when the engines' own addresses are the endpoints. */
  readonly #pool: PoolSource | null;
  readonly #drainMs: number;
  #readyLooks: NodeJS.Timeout | null = null;
  #isStopping = false;

  private constructor(
    settings: Settings,
    dependencies: PickerHostDependencies,
    tls: PickerTls,
    { threads, board }: { readonly threads: readonly PickerThread[]; readonly board: ThreadBoard },
  ) {
    const { registry, metrics, log, stalled } = dependencies;
    const { picker } = settings;
    this.#threads = threads;
    this.#tls = tls;
    this.#log = log;
    this.#drainMs = picker.drain_seconds * 1000;
    for (const thread of threads) thread.follow(registry, picker.pool.name === null);
    this.#pool = watchPool(settings, {
      registry,
      log,
      changed: (news) => {
        for (const { feed } of threads) feed?.pool(news);
      },
    });
    tls.watch(settings.security.reload_seconds * 1000, {
      use: (content) => {
        this.#sendAll({ kind: "tls", tls: content });
      },
      log,
      metrics,
    });
    dependencies.questions.connect(threads, picker.decision_timeout_ms + ANSWER_MS_MORE);
    const watched = { now: sharedClockMs, workers: () => board.beats };
    this.#stallWatch = new StallWatch(watched, settings.ingest.stall_seconds * 1000, {
      lost: (thread, silentMs) => {
        if (!this.#isStopping) stalled(thread, silentMs / 1000);
      },
      told: () => undefined,
    });
    this.#stallWatch.start();
  }

  /**
   * Starts the threads and waits until all listen.
   *
   * @param settings - with the picker on.
   * @param dependencies - the daemon's parts, and who hears.
   * @returns the picker, which takes no requests before `readyWhen`.
   * @throws SettingsError for certificate files that cannot be used, and for several threads where the system cannot
   *   share a port among them.
   * @throws Error of the system, for ports that cannot be listened at.
   */
  static async start(settings: Settings, dependencies: PickerHostDependencies): Promise<PickerHost> {
    const tls = new PickerTls(settings.picker, epochMs());
    const { sync, tokenizer, limits, picker, tracing } = settings;
    if (picker.threads > 1 && picker.port !== 0) await refuseUnsharedPort(picker);
    const { index, board, logLevel, registry, shard } = dependencies;
    const memory = ThreadBoard.memory(picker.threads);
    const common = {
      daemon: randomUUID(),
      picker,
      shard: shard.isPart ? { index: shard.index, count: shard.count } : null,
      reloadMs: settings.security.reload_seconds * 1000,
      index,
      board,
      incarnations: registry.incarnations.memory,
      threads: memory,
      logLevel,
      tokenization: { sync, tokenizer, limits },
      tracedRatio: tracing.endpoint === null ? null : tracing.ratio,
      tls: tls.content,
    };
    let host: PickerHost | null = null;
    const died = (error: Error): void => {
      if (host?.isRunning === true) dependencies.died(error);
    };
    const threads = Array.from(
      { length: picker.threads },
      (_, thread) => new PickerThread({ ...common, thread }, dependencies, died),
    );
    try {
      await Promise.all(threads.map(({ listening }) => listening));
    } catch (error) {
      await Promise.all(threads.map((thread) => thread.terminate()));
      throw error;
    }
    dependencies.log("picker_listening", {
      host: picker.host,
      port: picker.port === 0 ? null : picker.port,
      health_port: picker.health_port === 0 ? null : picker.health_port,
      threads: picker.threads,
    });
    host = new PickerHost(settings, dependencies, tls, { threads, board: new ThreadBoard(memory, 0) });
    return host;
  }

  /** False from the moment on that it is told to end. */
  private get isRunning(): boolean {
    return !this.#isStopping;
  }

  /**
   * Lets requests come from the moment on that the daemon has been ready.
   *
   * @param isReady - asked until it says so.
   */
  readyWhen(isReady: () => boolean): void {
    this.#readyLooks = setInterval(() => {
      if (!isReady()) return;
      this.#endLooks();
      this.#sendAll({ kind: "ready" });
    }, READY_LOOK_MS);
    this.#readyLooks.unref();
  }

  /** Longest time that `drain` takes, in milliseconds. */
  get drainMsMax(): number {
    return this.#drainMs + DRAIN_MS_MORE;
  }

  /**
   * Says that no request is to come, and waits for those that are open.
   *
   * @returns resolves when they are over or were reset.
   */
  async drain(): Promise<void> {
    this.#endLooks();
    this.#sendAll({ kind: "drain" });
    let timer: NodeJS.Timeout | undefined;
    const late = new Promise<null>((resolve) => {
      timer = setTimeout(resolve, this.drainMsMax, null);
    });
    const all = await Promise.race([Promise.all(this.#threads.map(({ drained }) => drained)), late]);
    clearTimeout(timer);
    if (all === null) return;
    this.#log("picker_drained", {
      seconds: Math.round(Math.max(...all.map(({ ms }) => ms))) / 1000,
      reset: all.reduce((sum, { reset }) => sum + reset, 0),
    });
  }

  /**
   * Ends the threads.
   *
   * @returns resolves when they are gone.
   */
  async stop(): Promise<void> {
    this.#isStopping = true;
    this.#endLooks();
    this.#tls.close();
    this.#stallWatch.stop();
    await this.#pool?.stop();
    await Promise.all(this.#threads.map((thread) => thread.stop()));
  }

  #endLooks(): void {
    if (this.#readyLooks !== null) clearInterval(this.#readyLooks);
    this.#readyLooks = null;
  }

  #sendAll(message: ToPicker): void {
    for (const { send } of this.#threads) send(message);
  }
}

/** How a thread ended its requests. */
type Drained = Omit<Extract<FromPicker, { readonly kind: "drained" }>, "kind">;

/** The main thread's side of one thread. */
class PickerThread {
  readonly #worker: Worker;
  /** See AskedThread. */
  readonly pickPrefix = `${randomBytes(4).toString("hex")}-`;
  /** Resolves when it listens; rejects with what ends it before. */
  readonly listening: Promise<void>;
  readonly drained: Promise<Drained>;
  readonly send = (message: ToPicker): void => {
    this.#worker.postMessage(message);
  };
  #feed: EngineFeed | null = null;

  constructor(
    settings: Omit<PickerThreadSettings, "pickPrefix">,
    dependencies: PickerHostDependencies,
    died: (error: Error) => void,
  ) {
    const { thread } = settings;
    const workerData: PickerThreadSettings = { ...settings, pickPrefix: this.pickPrefix };
    const name = thread === 0 ? "picker" : `picker-${thread}`;
    this.#worker = new Worker(dependencies.script, { workerData, name });
    let drained: (how: Drained) => void = () => undefined;
    this.drained = new Promise((resolve) => {
      drained = resolve;
    });
    this.listening = new Promise((resolve, reject) => {
      const failed = (error: Error): void => {
        reject(error);
        died(error);
      };
      this.#worker.on("message", (message: FromPicker) => {
        this.#heard(message, dependencies, { listening: resolve, drained, failed });
      });
      this.#worker.on("error", (cause: unknown) => {
        failed(cause instanceof Error ? cause : new Error(String(cause)));
      });
      this.#worker.on("exit", (code) => {
        failed(new Error(`thread ${thread} of the picker ended with code ${code}`));
      });
    });
  }

  /** Null before `follow`. */
  get feed(): EngineFeed | null {
    return this.#feed;
  }

  /** Sends it the engines from now on; see EngineFeed. */
  follow(registry: EngineRegistry, isOwnPool: boolean): void {
    this.#feed = new EngineFeed(registry, isOwnPool, (batch) => {
      this.send({ kind: "engines", batch });
    });
  }

  /** Tells it to end, and ends it where it does not. */
  async stop(): Promise<void> {
    const gone = new Promise<void>((resolve) => {
      this.#worker.once("exit", () => {
        resolve();
      });
    });
    this.send({ kind: "stop" });
    const timer = setTimeout(() => void this.terminate(), STOP_GRACE_MS);
    await gone;
    clearTimeout(timer);
  }

  /** Ends it where it is. */
  async terminate(): Promise<void> {
    await this.#worker.terminate();
  }

  #heard(
    message: FromPicker,
    dependencies: PickerHostDependencies,
    tell: {
      readonly listening: () => void;
      readonly drained: (how: Drained) => void;
      readonly failed: (error: Error) => void;
    },
  ): void {
    switch (message.kind) {
      case "listening":
        tell.listening();
        break;
      case "engines_taken":
        this.#feed?.taken();
        break;
      case "answer":
        dependencies.questions.answered(message);
        break;
      case "drained":
        tell.drained(message);
        break;
      case "failed":
        tell.failed(Object.assign(new Error(message.error.message), message.error));
        break;
      case "metrics":
        dependencies.announce(message.announcement);
        break;
      case "log":
        dependencies.threadLine(message.line);
        break;
      case "span":
        dependencies.span(message.span);
        break;
    }
  }
}
