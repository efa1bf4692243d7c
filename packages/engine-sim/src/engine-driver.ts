/**
 * Runs an engine in real time: a step, its batch to the publisher, then a pause for the step's
 * modeled duration, divided by the speed. An idle engine sleeps until `submit`. Gives requests
 * their ids.
 *
 *     submit ─▶ engine ── step ── pause ──▶ onTokens, …, onTokens ──▶ finished
 *        signal ─▶ abort, at once
 *
 *  T1  One step at a time, and none while the publisher is backlogged: a stuck publisher stalls the engine, as in vLLM.
 *  T2  Every submitted request ends in its promise: finished, or `request_aborted` by its signal, a
 *      restart or the end (engine-driver.test.ts "T2").
 *  T3  `onTokens` reports growing counts, the last of them all tokens, and none after the promise has
 *      ended (engine-driver.test.ts "T3").
 *
 * Pauses are measured against a running due time, so that the coarseness of timers does not add up.
 */
import type { EngineRequest, FinishedRequest, NumberedBatch } from "./engine-contract.ts";
import { EngineError } from "./engine-error.ts";
import { DriverTally } from "./driver-tally.ts";
import type { SimulatedEngine } from "./simulated-engine.ts";

// Behind by more than this, the engine is slower than its model: time is let go rather than caught up in a burst.
const LAG_MS_MAX = 1000;

/** A request without the id that the driver gives it. */
export type DrivenRequest = Omit<EngineRequest, "id"> & {
  /** Whether its last token is the model's own end, rather than a limit of the caller. */
  readonly endsItself?: boolean | undefined;
};

/** Takes an engine's batches to its listeners; an `EngineServer` does. */
export interface BatchCarrier {
  /** Whether so many batches wait that the engine should pause until `drained`. */
  readonly backlogged: boolean;
  publish(batch: NumberedBatch): void;
  drained(): Promise<void>;
}

/** Who follows a request. */
export interface RequestWatch {
  /** Called at the end of a step with the output tokens so far. */
  readonly onTokens?: ((count: number) => void) | undefined;
  /** Aborts the request. */
  readonly signal?: AbortSignal | undefined;
}

interface Waiter {
  readonly resolve: (finished: FinishedRequest) => void;
  readonly reject: (error: EngineError) => void;
  readonly onTokens: ((count: number) => void) | undefined;
  readonly forget: () => void;
  readonly endsItself: boolean;
  readonly submittedAtMs: number;
  tokens: number;
}

/** An engine that lives in real time. */
export class EngineDriver {
  /** Ends and times of its requests. */
  readonly tally: DriverTally = new DriverTally();
  readonly #engine: SimulatedEngine;
  readonly #speed: number;
  // As many as the engine has requests, which its own limits bound.
  readonly #waiters = new Map<number, Waiter>();
  // Of these, the ones with `onTokens` that have a first token.
  readonly #streaming = new Map<number, Waiter>();
  #nextId = 0;
  #stopped = false;
  #wake: (() => void) | null = null;
  #interrupt: (() => void) | null = null;

  /** @param speed - modelled seconds per real second. */
  constructor(engine: SimulatedEngine, speed: number) {
    this.#engine = engine;
    this.#speed = speed;
  }

  /**
   * Submits a request now.
   *
   * @param request - kept until it has finished.
   * @param watch - who follows it.
   * @returns when it has finished; rejects with `request_aborted`.
   * @throws EngineError what `SimulatedEngine.submit` throws, and `request_aborted` when the signal
   * was given already or the driver was stopped. Nothing was submitted then.
   */
  submit(request: DrivenRequest, watch: RequestWatch = {}): Promise<FinishedRequest> {
    const { onTokens, signal } = watch;
    const id = this.#nextId++;
    if (this.#stopped || signal?.aborted === true) throw aborted(id);
    this.#engine.submit({ ...request, id }, Date.now() / 1000);
    return new Promise((resolve, reject) => {
      const leave = (): void => {
        this.#engine.abort(id);
        this.abort([id]);
      };
      signal?.addEventListener("abort", leave, { once: true });
      this.#waiters.set(id, {
        resolve,
        reject,
        onTokens,
        forget: () => signal?.removeEventListener("abort", leave),
        endsItself: request.endsItself ?? false,
        submittedAtMs: performance.now(),
        tokens: 0,
      });
      this.#wake?.();
    });
  }

  /** Ends the waiting for requests that the engine no longer has. */
  abort(ids: Iterable<number>): void {
    for (const id of ids) {
      const waiter = this.#forget(id);
      if (waiter === undefined) continue;
      this.tally.aborted++;
      waiter.reject(aborted(id));
    }
  }

  /** Steps the engine until `stop`; its batches go to `server`. Resolves after the last step. */
  async run(server: BatchCarrier): Promise<void> {
    let dueMs = performance.now();
    while (!this.#stopped) {
      if (!this.#engine.hasWork) {
        await this.#sleep(null);
        dueMs = performance.now();
        continue;
      }
      const { batch, durationSeconds, firstTokens, finished } = this.#engine.step(Date.now() / 1000);
      if (batch !== null) server.publish(batch);
      const now = performance.now();
      dueMs = Math.max(dueMs, now - LAG_MS_MAX) + (durationSeconds * 1000) / this.#speed;
      const [started, done] = [[...firstTokens], [...finished]];
      await this.#sleep(dueMs - now);
      this.#report(started, done);
      if (server.backlogged) await server.drained();
    }
    for (const id of this.#waiters.keys()) this.#engine.abort(id);
    this.abort([...this.#waiters.keys()]);
  }

  /** Ends the run after the step under way, without its pause. Nothing is published once this was called. */
  stop(): void {
    this.#stopped = true;
    this.#interrupt?.();
  }

  // At the end of a step. A request that was aborted during the pause has no waiter.
  #report(started: readonly number[], done: readonly FinishedRequest[]): void {
    const now = performance.now();
    for (const id of started) {
      const waiter = this.#waiters.get(id);
      if (waiter === undefined) continue;
      this.tally.firstTokenSeconds.observe((now - waiter.submittedAtMs) / 1000);
      if (waiter.onTokens !== undefined) this.#streaming.set(id, waiter);
    }
    for (const [id, waiter] of this.#streaming) tell(waiter, this.#engine.outputCount(id));
    for (const finished of done) {
      const waiter = this.#forget(finished.id);
      if (waiter === undefined) continue;
      tell(waiter, finished.outputTokens);
      this.tally.requestSeconds.observe((now - waiter.submittedAtMs) / 1000);
      if (waiter.endsItself) this.tally.stopped++;
      else this.tally.limited++;
      waiter.resolve(finished);
    }
  }

  #forget(id: number): Waiter | undefined {
    const waiter = this.#waiters.get(id);
    waiter?.forget();
    this.#waiters.delete(id);
    this.#streaming.delete(id);
    return waiter;
  }

  // For a time, or until woken when it is null. A timer takes a millisecond at least, so that less is a turn of the loop.
  async #sleep(milliseconds: number | null): Promise<void> {
    let timer: NodeJS.Timeout | undefined;
    await new Promise<void>((resolve) => {
      this.#interrupt = resolve;
      if (milliseconds === null) this.#wake = resolve;
      else if (milliseconds < 1) setImmediate(resolve);
      else timer = setTimeout(resolve, milliseconds);
    });
    clearTimeout(timer);
    this.#wake = null;
    this.#interrupt = null;
  }
}

function tell(waiter: Waiter, tokens: number): void {
  if (tokens <= waiter.tokens) return;
  waiter.tokens = tokens;
  waiter.onTokens?.(tokens);
}

function aborted(requestId: number): EngineError {
  return new EngineError(
    { code: "request_aborted", requestId },
    `request ${requestId} was aborted before its last token`,
  );
}
