/**
 * The main thread's side of the threads that answer lookups, with `http.threads` above 1. The main thread accepts, checks
 * and answers every request. A thread gets the body of a lookup and returns the JSON of its answer.
 *
 *     body ─▶ worth a message? ─▶ thread with the fewest orders ─▶ answer ─▶ engines as they were? ─▶ the caller
 *                │ no                  │ all have OPEN_MAX            │ null          │ no
 *                └─────────────────────┴─────────▶ the main thread answers ◀─────────┘
 *
 *  L1  An answer of a thread has the engines that the registry had from the order to the answer. Else the main thread
 *      answers (lookup-threads.test.ts "L1").
 *  L2  A thread has at most OPEN_MAX orders. The main thread answers what is beyond, so that nothing is refused for it
 *      and all threads work (lookup-threads.test.ts "L2").
 *  L3  A thread that ends, or does not come back, ends the process (lookup-threads.e2e.test.ts "L3").
 *
 * Why the main thread keeps HTTP: limits, rates and access count callers in one place, with any number of threads
 * (docs/decisions/0027-lookup-threads-get-bodies.md).
 */

import { Worker } from "node:worker_threads";

import { assert, type SharedIndexParts } from "@kvsync/core";

import { sharedClockMs } from "../clock.ts";
import { EngineChanges } from "../engine/engine-changes.ts";
import type { EngineRegistry } from "../engine/engine-registry.ts";
import type { FleetShard } from "../engine/fleet-shard.ts";
import { StallWatch } from "../ingest/stall-watch.ts";
import type { AnsweredBody } from "../query/body-lookup.ts";
import type { Settings } from "../settings/settings.ts";
import type { FromLookupThread, LookupOrder, LookupThreadSettings } from "./lookup-messages.ts";

/** Orders of one thread at once: one that it works on, one that waits, and one on its way. */
export const OPEN_MAX = 3;
/** Shorter bodies cost the main thread less than the message to a thread. */
const BODY_BYTES_MIN = 4096;
/** Inputs that a thread answers. A prompt needs a tokenizer, which the main thread asks. */
const INPUTS = ['"token_ids"', '"prefix_hashes"'];

/** A fault of a thread. */
interface LookupThreadFaults {
  readonly died: (error: Error) => void;
  readonly stalled: (thread: number, silentSeconds: number) => void;
}

/** What the threads need of the daemon. */
export interface LookupThreadsDependencies extends LookupThreadFaults {
  /** Compiled `lookup-thread`. */
  readonly script: URL;
  readonly index: SharedIndexParts;
  readonly board: SharedArrayBuffer;
  readonly registry: EngineRegistry;
  readonly shard: FleetShard;
  /** Shortest body for a thread; BODY_BYTES_MIN unless given. */
  readonly bodyBytesMin?: number;
}

/** See the header. */
export class LookupThreads {
  readonly #threads: readonly LookupThread[];
  readonly #stallWatch: StallWatch;
  readonly #bodyBytesMin: number;
  /** Changes of the registry so far (L1). */
  #changes = 0;
  #isStopping = false;

  private constructor(
    threads: readonly LookupThread[],
    stallWatch: StallWatch,
    { registry, bodyBytesMin = BODY_BYTES_MIN }: LookupThreadsDependencies,
  ) {
    this.#threads = threads;
    this.#stallWatch = stallWatch;
    this.#bodyBytesMin = bodyBytesMin;
    registry.onChange(() => {
      this.#changes += 1;
    });
  }

  /**
   * Starts the threads and waits until all run.
   *
   * @param settings - of the daemon.
   * @param dependencies - its parts, and who hears of faults.
   * @returns null where the main thread answers all lookups.
   * @throws Error for a thread that ends before.
   */
  static async start(
    settings: Pick<Settings, "http" | "limits" | "index" | "ingest">,
    dependencies: LookupThreadsDependencies,
  ): Promise<LookupThreads | null> {
    const { script, index, board, registry, shard } = dependencies;
    let host: LookupThreads | null = null;
    const faults: LookupThreadFaults = {
      died: (error) => {
        if (host?.isRunning === true) dependencies.died(error);
      },
      stalled: (thread, silentSeconds) => {
        if (host?.isRunning === true) dependencies.stalled(thread, silentSeconds);
      },
    };
    const common = {
      index,
      board,
      incarnations: registry.incarnations.memory,
      shard: { index: shard.index, count: shard.count },
      tokensMax: settings.limits.query_tokens,
      prefixHashes: settings.index.prefix_hashes,
    };
    const threads = Array.from(
      { length: settings.http.threads - 1 },
      (_, i) => new LookupThread(script, { ...common, lookupThread: i + 1 }, registry, faults.died),
    );
    if (threads.length === 0) return null;
    try {
      await Promise.all(threads.map(({ ready }) => ready));
    } catch (error) {
      await Promise.all(threads.map((thread) => thread.terminate()));
      throw error;
    }
    const beats = {
      now: sharedClockMs,
      workers: () => threads.map((thread) => ({ heartbeatMs: thread.beatMs })),
    };
    const watch = new StallWatch(beats, settings.ingest.stall_seconds * 1000, {
      lost: (i, silentMs) => {
        faults.stalled(i + 1, silentMs / 1000);
      },
      told: () => undefined,
    });
    watch.start();
    host = new LookupThreads(threads, watch, dependencies);
    return host;
  }

  /** False from the moment on that it is told to end. */
  private get isRunning(): boolean {
    return !this.#isStopping;
  }

  /**
   * Has a thread answer a lookup.
   *
   * @param body - of the request, JSON; stays the caller's.
   * @returns null at once when the main thread is to answer; null later when it is to answer after all.
   */
  answer(body: Buffer): Promise<AnsweredBody | null> | null {
    if (body.length < this.#bodyBytesMin || !INPUTS.some((input) => body.includes(input))) return null;
    const thread = this.#threads.reduce((least, other) => (other.open < least.open ? other : least));
    if (thread.open >= OPEN_MAX) return null;
    const before = this.#changes;
    return thread.answer(body).then((answered) => (this.#changes === before ? answered : null));
  }

  /**
   * Ends the threads. After the last request was answered.
   *
   * @returns resolves when they are gone.
   */
  async stop(): Promise<void> {
    this.#isStopping = true;
    this.#stallWatch.stop();
    await Promise.all(this.#threads.map((thread) => thread.terminate()));
  }
}

/** The main thread's side of one thread. */
class LookupThread {
  readonly #worker: Worker;
  readonly #changes: EngineChanges;
  /** Callers of open orders, oldest first. */
  readonly #waiting: ((answered: AnsweredBody | null) => void)[] = [];
  #beatMs = sharedClockMs();
  /** Resolves when it runs; rejects with what ends it before. */
  readonly ready: Promise<void>;

  constructor(
    script: URL,
    settings: LookupThreadSettings,
    registry: EngineRegistry,
    died: (error: Error) => void,
  ) {
    const { lookupThread } = settings;
    this.#changes = new EngineChanges(registry);
    this.#worker = new Worker(script, { workerData: settings, name: `lookup-${lookupThread}` });
    this.ready = new Promise((resolve, reject) => {
      const failed = (error: Error): void => {
        reject(error);
        died(error);
      };
      this.#worker.on("message", (message: FromLookupThread) => {
        if (message === "ready") resolve();
        else this.#answered(message);
      });
      this.#worker.on("error", (cause: unknown) => {
        failed(cause instanceof Error ? cause : new Error(String(cause)));
      });
      this.#worker.on("exit", (code) => {
        failed(new Error(`lookup thread ${lookupThread} ended with code ${code}`));
      });
    });
  }

  /** Orders that it has not answered. */
  get open(): number {
    return this.#waiting.length;
  }

  /** Its last sign of life. One without an order owes none. */
  get beatMs(): number {
    return this.open === 0 ? sharedClockMs() : this.#beatMs;
  }

  answer(body: Buffer): Promise<AnsweredBody | null> {
    if (this.open === 0) this.#beatMs = sharedClockMs();
    // A copy, whose memory goes to the thread: small bodies lie in memory that they share with others.
    const bytes = new Uint8Array(body);
    const order: LookupOrder = { body: bytes, changes: this.#changes.take() };
    this.#worker.postMessage(order, [bytes.buffer]);
    return new Promise((resolve) => this.#waiting.push(resolve));
  }

  async terminate(): Promise<void> {
    await this.#worker.terminate();
    for (const resolve of this.#waiting.splice(0)) resolve(null);
  }

  #answered(answered: AnsweredBody | null): void {
    this.#beatMs = sharedClockMs();
    const resolve = this.#waiting.shift();
    assert(resolve !== undefined, "L2: a thread answers orders only");
    resolve(answered);
  }
}
