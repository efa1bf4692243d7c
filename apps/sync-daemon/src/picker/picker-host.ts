/**
 * The main thread's side of the picker: starts its thread, sends it engines, certificates and readiness, watches that
 * it lives, and ends it. No request of a gateway comes here.
 *
 *     registry, pool ─▶ EngineFeed ─┐                      ┌─▶ listening, drained
 *     certificate files ─▶ PickerTls ┼─▶ the picker's thread ┼─▶ metrics, lines of the log
 *     readiness, once ──────────────┘        │ beats        └─▶ failed ─▶ `died`
 *                                            ▼
 *                                     StallWatch ─▶ `stalled`
 *
 * Loaded by name when the picker is on (`picker-is-loaded-only-when-on` of the dependency rules).
 */

import { Worker } from "node:worker_threads";

import type { SharedPrefixIndex } from "@kvsync/core";
import type { MetricSlots, SlotAnnouncement } from "@kvsync/observability/slots";

import { epochMs, sharedClockMs } from "../clock.ts";
import type { EngineRegistry } from "../engine/engine-registry.ts";
import { StallWatch } from "../ingest/stall-watch.ts";
import type { LogLine, WriteEvent } from "../log/log-line.ts";
import type { Settings } from "../settings/settings.ts";
import type { FinishedSpan } from "../telemetry/finished-span.ts";
import { EngineFeed } from "./engine-feed.ts";
import type { FromPicker, PickerThreadSettings, ToPicker } from "./picker-messages.ts";
import type { PickerQuestions } from "./picker-questions.ts";
import { PickerTls } from "./picker-tls.ts";
import type { PoolSource } from "./pool-source.ts";
import { watchPool } from "./pool-watch.ts";

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
  readonly index: SharedPrefixIndex;
  readonly board: SharedArrayBuffer;
  readonly logLevel: SharedArrayBuffer;
  readonly registry: EngineRegistry;
  /** Is connected to the thread. */
  readonly questions: PickerQuestions;
  /** Of the main thread. */
  readonly metrics: MetricSlots;
  readonly announce: (announcement: SlotAnnouncement) => void;
  readonly log: WriteEvent;
  /** Writes a line that has passed the thread's gate. */
  readonly threadLine: (line: LogLine) => void;
  readonly span: (span: FinishedSpan) => void;
  readonly died: (error: Error) => void;
  readonly stalled: (silentSeconds: number) => void;
}

/** See the header. */
export class PickerHost {
  readonly #worker: Worker;
  readonly #tls: PickerTls;
  readonly #feed: EngineFeed;
  readonly #stallWatch: StallWatch;
  /** Null when the engines' own addresses are the endpoints. */
  readonly #pool: PoolSource | null;
  readonly #drainMs: number;
  readonly #drained: Promise<void>;
  #readyLooks: NodeJS.Timeout | null = null;
  #isStopping = false;

  private constructor(
    settings: Settings,
    dependencies: PickerHostDependencies,
    tls: PickerTls,
    thread: Thread,
  ) {
    const { registry, metrics, log, stalled } = dependencies;
    this.#worker = thread.worker;
    this.#tls = tls;
    this.#drained = thread.drained;
    this.#drainMs = settings.picker.drain_seconds * 1000;
    this.#feed = new EngineFeed(registry, settings.picker.pool.name === null, (batch) => {
      this.#send({ kind: "engines", batch });
    });
    this.#pool = watchPool(settings, {
      registry,
      log,
      changed: (news) => {
        this.#feed.pool(news);
      },
    });
    tls.watch(settings.security.reload_seconds * 1000, {
      use: (content) => {
        this.#send({ kind: "tls", tls: content });
      },
      log,
      metrics,
    });
    dependencies.questions.connect({
      send: (message) => {
        this.#send(message);
      },
      timeoutMs: settings.picker.decision_timeout_ms + ANSWER_MS_MORE,
    });
    const beats = new Float64Array(thread.heartbeat);
    const watched = { now: sharedClockMs, workers: () => [{ heartbeatMs: beats[0] ?? 0 }] };
    this.#stallWatch = new StallWatch(watched, settings.ingest.stall_seconds * 1000, {
      lost: (_worker, silentMs) => {
        if (!this.#isStopping) stalled(silentMs / 1000);
      },
      told: () => undefined,
    });
    this.#stallWatch.start();
  }

  /**
   * Starts the thread and waits until it listens.
   *
   * @param settings - with the picker on.
   * @param dependencies - the daemon's parts, and who hears.
   * @returns the picker, which takes no requests before `readyWhen`.
   * @throws SettingsError for certificate files that cannot be used.
   * @throws Error of the system, for ports that cannot be listened at.
   */
  static async start(settings: Settings, dependencies: PickerHostDependencies): Promise<PickerHost> {
    const tls = new PickerTls(settings.picker, epochMs());
    const heartbeat = new SharedArrayBuffer(Float64Array.BYTES_PER_ELEMENT);
    const { sync, tokenizer, limits, picker, tracing } = settings;
    const { index, board, logLevel, registry } = dependencies;
    const workerData: PickerThreadSettings = {
      picker,
      index,
      board,
      incarnations: registry.incarnations.memory,
      heartbeat,
      logLevel,
      tokenization: { sync, tokenizer, limits },
      tracedRatio: tracing.endpoint === null ? null : tracing.ratio,
      tls: tls.content,
    };
    const worker = new Worker(dependencies.script, { workerData, name: "picker" });
    let host: PickerHost | null = null;
    let tellDrained: () => void = () => undefined;
    const drained = new Promise<void>((resolve) => {
      tellDrained = resolve;
    });
    await new Promise<void>((resolve, reject) => {
      const died = (error: Error): void => {
        reject(error);
        if (host?.isRunning === true) dependencies.died(error);
      };
      worker.on("message", (message: FromPicker) => {
        switch (message.kind) {
          case "listening":
            resolve();
            break;
          case "engines_taken":
            host?.taken();
            break;
          case "answer":
            dependencies.questions.answered(message);
            break;
          case "drained":
            tellDrained();
            break;
          case "failed":
            died(Object.assign(new Error(message.error.message), message.error));
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
      });
      worker.on("error", (cause: unknown) => {
        died(cause instanceof Error ? cause : new Error(String(cause)));
      });
      worker.on("exit", (code) => {
        died(new Error(`the picker's thread ended with code ${code}`));
      });
    });
    host = new PickerHost(settings, dependencies, tls, { worker, heartbeat, drained });
    return host;
  }

  /** False from the moment on that it is told to end. */
  private get isRunning(): boolean {
    return !this.#isStopping;
  }

  /** The thread has taken a batch. */
  private taken(): void {
    this.#feed.taken();
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
      this.#send({ kind: "ready" });
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
    this.#send({ kind: "drain" });
    let timer: NodeJS.Timeout | undefined;
    const late = new Promise<void>((resolve) => {
      timer = setTimeout(resolve, this.drainMsMax);
    });
    await Promise.race([this.#drained, late]);
    clearTimeout(timer);
  }

  /**
   * Ends the thread.
   *
   * @returns resolves when it is gone.
   */
  async stop(): Promise<void> {
    this.#isStopping = true;
    this.#endLooks();
    this.#tls.close();
    this.#stallWatch.stop();
    await this.#pool?.stop();
    const gone = new Promise<void>((resolve) => {
      this.#worker.once("exit", () => {
        resolve();
      });
    });
    this.#send({ kind: "stop" });
    const timer = setTimeout(() => void this.#worker.terminate(), STOP_GRACE_MS);
    await gone;
    clearTimeout(timer);
  }

  #endLooks(): void {
    if (this.#readyLooks !== null) clearInterval(this.#readyLooks);
    this.#readyLooks = null;
  }

  #send(message: ToPicker): void {
    this.#worker.postMessage(message);
  }
}

/** A thread that listens. */
interface Thread {
  readonly worker: Worker;
  readonly heartbeat: SharedArrayBuffer;
  readonly drained: Promise<void>;
}
