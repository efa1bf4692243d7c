/**
 * The threads that make tokens from files, and what waits for them.
 *
 *     encode ─▶ room? ─▶ queue ─▶ an idle thread, the one that had such a beginning before if it is idle ─▶ ids
 *                │no        └ too late: left out of the queue
 *                ▼
 *           tokenizer_overloaded
 *
 *     thread ends ─▶ its job fails, logged ─▶ RESTART_MS later another one, twice as late after each end in a row
 *
 * Invariants
 *  Y1  `encode` always resolves, at the latest when its time has passed (tokenizer-threads.test.ts "Y1").
 *  Y2  At most `requests` jobs of `TEXTS_LENGTH_MAX` characters together wait or are worked on (tokenizer-threads.test.ts "Y2").
 *  Y3  A thread that ends, or is busy with one job for STUCK_MS, is replaced; the process continues
 *      (tokenizer-threads.test.ts "Y3").
 *
 * Not here: the work of a thread (local-encoding.ts), the way to a remote tokenizer (local-tokenizer.ts).
 */

import { Worker } from "node:worker_threads";

import {
  type TokenizeJob,
  type TokenizerThreadData,
  type TokenizerThreadMessage,
  VOCABULARY_EXPECTED,
  type VocabularyFiles,
} from "./local-encoding.ts";
import type { TokenizeOutcome } from "./tokenize-outcome.ts";
import type { TokenizeRequest } from "./tokenize-request.ts";
import type { SegmentMetrics } from "./tokenizer-metrics.ts";
import { errorFacts } from "../log/error-facts.ts";
import type { LineGate } from "../log/line-gate.ts";
import { settingsError } from "../settings/settings-error.ts";

/** Characters of all jobs together: sixteen prompts of a million tokens. */
const TEXTS_LENGTH_MAX = 64 * 1024 * 1024;
/** Characters of a job that decide which thread is asked first: a system prompt, as a rule. */
const BEGINNING_LENGTH = 2048;
/** A thread that works on one job for this long is ended. */
const STUCK_MS = 30_000;
const RESTART_MS = 1000;
const RESTART_MS_MAX = 60_000;

/** How many threads there are, and what bounds them. */
export interface TokenizerThreadsOptions {
  /** Compiled entry of the thread. */
  readonly script: URL;
  readonly threads: number;
  readonly vocabularies: readonly VocabularyFiles[];
  /** Of all threads and vocabularies. */
  readonly segmentBytes: number;
  readonly requests: number;
  readonly timeoutMs: number;
  readonly tokensMax: number;
  /** Shorter in tests. */
  readonly restartMs?: number;
  readonly stuckMs?: number;
}

/** Who hears of it. */
export interface TokenizerThreadsWatch {
  readonly log: LineGate;
  readonly metrics: SegmentMetrics;
}

interface Job {
  readonly job: TokenizeJob;
  readonly settle: (outcome: TokenizeOutcome) => void;
  isOver: boolean;
}

interface Thread {
  readonly place: number;
  worker: Worker;
  isReady: boolean;
  current: Job | null;
  sinceMs: number;
  /** Ends in a row, without a job that was done in between. */
  ends: number;
  counts: { readonly hits: number; readonly misses: number; readonly bytes: number };
}

const NO_COUNTS = { hits: 0, misses: 0, bytes: 0 } as const;

/** See the head of this file. */
export class TokenizerThreads {
  readonly #options: TokenizerThreadsOptions;
  readonly #watch: TokenizerThreadsWatch;
  readonly #threads: Thread[] = [];
  readonly #queue: Job[] = [];
  #jobs = 0;
  #length = 0;
  #nextId = 0;
  #isClosed = false;

  private constructor(options: TokenizerThreadsOptions, watch: TokenizerThreadsWatch) {
    this.#options = options;
    this.#watch = watch;
  }

  /**
   * Starts the threads.
   *
   * @returns when all of them have read their files.
   * @throws SettingsError for a file that cannot be used.
   */
  static async start(
    options: TokenizerThreadsOptions,
    watch: TokenizerThreadsWatch,
  ): Promise<TokenizerThreads> {
    const threads = new TokenizerThreads(options, watch);
    try {
      await Promise.all(Array.from({ length: options.threads }, (_, place) => threads.#open(place)));
    } catch (error) {
      await threads.close();
      throw error;
    }
    return threads;
  }

  /**
   * Encodes what a request holds, by its model's vocabulary.
   *
   * @param request - of a model with files.
   * @returns tokens, or tokenizer_refused, _overloaded, _timeout or _unavailable; never rejects (Y1).
   */
  encode({ model, body }: TokenizeRequest): Promise<TokenizeOutcome> {
    const isFull = this.#jobs >= this.#options.requests || this.#length + body.length > TEXTS_LENGTH_MAX;
    if (isFull) return Promise.resolve({ kind: "failed", reason: "tokenizer_overloaded" });
    if (this.#isClosed || this.#threads.every(({ isReady }) => !isReady))
      return Promise.resolve({ kind: "failed", reason: "tokenizer_unavailable" });
    this.#jobs += 1;
    this.#length += body.length;
    this.#nextId += 1;
    return new Promise((resolve) => {
      const settle = (outcome: TokenizeOutcome): void => {
        if (job.isOver) return;
        job.isOver = true;
        this.#jobs -= 1;
        this.#length -= body.length;
        clearTimeout(timer);
        resolve(outcome);
      };
      const job: Job = { job: { id: this.#nextId, model, body }, settle, isOver: false };
      const timer = setTimeout(() => {
        const waiting = this.#queue.indexOf(job);
        if (waiting >= 0) this.#queue.splice(waiting, 1);
        settle({ kind: "failed", reason: "tokenizer_timeout" });
        this.#endStuck();
      }, this.#options.timeoutMs);
      const idle = this.#idleThread(body);
      if (idle === null) this.#queue.push(job);
      else this.#give(idle, job);
    });
  }

  /** Ends the threads; what waits fails as unavailable. */
  async close(): Promise<void> {
    this.#isClosed = true;
    for (const { settle } of this.#queue.splice(0))
      settle({ kind: "failed", reason: "tokenizer_unavailable" });
    await Promise.all(this.#threads.map(({ worker }) => worker.terminate()));
  }

  /** The thread that had such a beginning before has its segments. */
  #idleThread(body: string): Thread | null {
    const preferred = this.#threads[hashOf(body.slice(0, BEGINNING_LENGTH)) % this.#threads.length];
    const isIdle = (thread: Thread): boolean => thread.isReady && thread.current === null;
    return preferred !== undefined && isIdle(preferred) ? preferred : (this.#threads.find(isIdle) ?? null);
  }

  #give(thread: Thread, job: Job): void {
    thread.current = job;
    thread.sinceMs = performance.now();
    thread.worker.postMessage(job.job);
  }

  #open(place: number): Promise<void> {
    const { script, vocabularies, segmentBytes, threads, tokensMax } = this.#options;
    const share = Math.floor(segmentBytes / (threads * Math.max(1, vocabularies.length)));
    const workerData: TokenizerThreadData = { vocabularies, segmentBytes: share, tokensMax };
    const worker = new Worker(script, { workerData, name: `tokenizer-${place}` });
    const thread = (this.#threads[place] ??= {
      place,
      worker,
      isReady: false,
      current: null,
      sinceMs: 0,
      ends: 0,
      counts: NO_COUNTS,
    });
    thread.worker = worker;
    return new Promise((resolve, reject) => {
      let cause: unknown = null;
      worker.on("error", (error) => {
        cause = error;
      });
      worker.on("exit", (code) => {
        cause ??= new Error(`ended with code ${code}`);
        this.#ended(thread, cause);
        reject(cause instanceof Error ? cause : new Error(`tokenizer-${place} ended`));
      });
      worker.on("message", (message: TokenizerThreadMessage) => {
        if (message.kind === "refused") {
          cause = refusal(vocabularies, message);
        } else if (message.kind === "ready") {
          thread.isReady = true;
          resolve();
          this.#next(thread);
        } else this.#done(thread, message);
      });
    });
  }

  #done(thread: Thread, { outcome, counts }: Extract<TokenizerThreadMessage, { kind: "done" }>): void {
    const { current, counts: before } = thread;
    thread.counts = counts;
    thread.ends = 0;
    const bytes = this.#threads.reduce((sum, one) => sum + one.counts.bytes, 0);
    this.#watch.metrics.segments(counts.hits - before.hits, counts.misses - before.misses, bytes);
    thread.current = null;
    this.#next(thread);
    current?.settle(outcome);
  }

  #next(thread: Thread): void {
    const job = this.#queue.shift();
    if (job !== undefined) this.#give(thread, job);
  }

  #ended(thread: Thread, cause: unknown): void {
    const wasReady = thread.isReady;
    thread.isReady = false;
    thread.counts = NO_COUNTS;
    const { current } = thread;
    thread.current = null;
    current?.settle({ kind: "failed", reason: "tokenizer_unavailable" });
    // A thread that never was ready at the start fails the start.
    if (this.#isClosed || (!wasReady && thread.ends === 0)) return;
    thread.ends += 1;
    this.#watch.log.write("tokenizer_thread_died", {
      thread: `tokenizer-${thread.place}`,
      ...errorFacts(cause),
    });
    const { restartMs = RESTART_MS } = this.#options;
    const again = (): void => {
      if (this.#isClosed) return;
      this.#open(thread.place).catch(() => {
        // #ended has told it, and tries again.
      });
    };
    setTimeout(again, Math.min(RESTART_MS_MAX, restartMs * 2 ** (thread.ends - 1))).unref();
  }

  #endStuck(): void {
    const nowMs = performance.now();
    const { stuckMs = STUCK_MS } = this.#options;
    for (const { current, sinceMs, worker } of this.#threads)
      if (current !== null && nowMs - sinceMs > stuckMs) void worker.terminate();
  }
}

function refusal(
  vocabularies: readonly VocabularyFiles[],
  { model, file, message }: Extract<TokenizerThreadMessage, { kind: "refused" }>,
): Error {
  const files = vocabularies.find((one) => one.model === model);
  const path = (file === "tokenizer_file" ? files?.tokenizerFile : files?.configFile) ?? "";
  const setting = `tokenizer.models (${model}): ${file}`;
  const expected = VOCABULARY_EXPECTED;
  const line = `${setting}: ${path}: ${message}; expected ${expected}`;
  return settingsError([{ fault: { code: "unusable_setting", setting, source: path, expected }, line }]);
}

/** FNV-1a. */
function hashOf(text: string): number {
  let hash = 0x811c_9dc5;
  for (let i = 0; i < text.length; i += 1) hash = Math.imul(hash ^ text.charCodeAt(i), 0x0100_0193);
  return hash >>> 0;
}
