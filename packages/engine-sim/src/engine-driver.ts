/**
 * Runs an engine in real time: a step, its batch to the publisher, then a pause for the step's
 * modeled duration, divided by the speed. An idle engine sleeps until `submit`. Gives requests
 * their ids.
 *
 *  T1  One step at a time, and none while the publisher is backlogged: a stuck publisher stalls the engine, as in vLLM.
 *  T2  Every submitted request ends in its promise: finished, or `request_aborted` by a restart or the end.
 *
 * Pauses are measured against a running due time, so that the coarseness of timers does not add up.
 */
import type { EngineRequest, FinishedRequest } from "./engine-contract.ts";
import { EngineError } from "./engine-error.ts";
import type { EngineServer } from "./engine-server.ts";
import type { SimulatedEngine } from "./simulated-engine.ts";

// Behind by more than this, the engine is slower than its model: time is let go rather than caught up in a burst.
const LAG_MS_MAX = 1000;

/** A request without the id that the driver gives it. */
export type DrivenRequest = Omit<EngineRequest, "id">;

interface Waiter {
  readonly resolve: (finished: FinishedRequest) => void;
  readonly reject: (error: EngineError) => void;
}

/** An engine that lives in real time. */
export class EngineDriver {
  readonly #engine: SimulatedEngine;
  readonly #speed: number;
  // As many as the engine has requests, which its own limits bound.
  readonly #waiters = new Map<number, Waiter>();
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
   * @returns when it has finished.
   * @throws EngineError what `SimulatedEngine.submit` throws, and `request_aborted`, as a rejection.
   */
  submit(request: DrivenRequest): Promise<FinishedRequest> {
    return new Promise((resolve, reject) => {
      const id = this.#nextId++;
      this.#engine.submit({ ...request, id }, Date.now() / 1000);
      this.#waiters.set(id, { resolve, reject });
      this.#wake?.();
    });
  }

  /** Ends the waiting for requests that a restart aborted. */
  abort(ids: Iterable<number>): void {
    for (const id of ids) {
      const error = new EngineError(
        { code: "request_aborted", requestId: id },
        `request ${id} was lost with its engine`,
      );
      this.#waiters.get(id)?.reject(error);
      this.#waiters.delete(id);
    }
  }

  /** Steps the engine until `stop`; its batches go to `server`. Resolves after the last step. */
  async run(server: EngineServer): Promise<void> {
    let dueMs = performance.now();
    while (!this.#stopped) {
      if (!this.#engine.hasWork) {
        await this.#sleep(null);
        dueMs = performance.now();
        continue;
      }
      const { batch, durationSeconds, finished } = this.#engine.step(Date.now() / 1000);
      if (batch !== null) server.publish(batch);
      const now = performance.now();
      dueMs = Math.max(dueMs, now - LAG_MS_MAX) + (durationSeconds * 1000) / this.#speed;
      const done = [...finished];
      await this.#sleep(dueMs - now);
      for (const each of done) {
        this.#waiters.get(each.id)?.resolve(each);
        this.#waiters.delete(each.id);
      }
      if (server.backlogged) await server.drained();
    }
    this.abort([...this.#waiters.keys()]);
  }

  /** Ends the run after the step under way, without its pause. Nothing is published once this was called. */
  stop(): void {
    this.#stopped = true;
    this.#interrupt?.();
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
