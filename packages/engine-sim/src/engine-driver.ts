/**
 * Runs an engine in real time: a step, its batch to the publisher, then a pause for the step's modelled duration, divided by
 * the speed. What waits for nothing sleeps until `submit`.
 *
 *  T1  One step at a time, and none while the publisher is backlogged: a stuck publisher stalls the engine, as in vLLM.
 *  T2  Pauses are measured against a running due time, so that timers' coarseness does not add up.
 */
import type { EngineRequest } from "./engine-contract.ts";
import type { EngineServer } from "./engine-server.ts";
import type { SimulatedEngine } from "./simulated-engine.ts";

// Behind by more than this, the engine is slower than its model: time is let go rather than caught up in a burst.
const LAG_MS_MAX = 1000;

/** An engine that lives in real time. */
export class EngineDriver {
  readonly #engine: SimulatedEngine;
  readonly #server: EngineServer;
  readonly #speed: number;
  #stopped = false;
  #wake: (() => void) | null = null;
  #interrupt: (() => void) | null = null;
  readonly #loop: Promise<void>;

  /**
   * Begins at once.
   *
   * @param speed - modelled seconds per real second.
   */
  constructor(engine: SimulatedEngine, server: EngineServer, speed: number) {
    this.#engine = engine;
    this.#server = server;
    this.#speed = speed;
    this.#loop = this.#run();
  }

  /** Submits a request now. @throws what `SimulatedEngine.submit` throws. */
  submit(request: EngineRequest): void {
    this.#engine.submit(request, Date.now() / 1000);
    this.#wake?.();
  }

  /** Ends after the step under way, without its pause. Nothing is published once this was called. */
  async stop(): Promise<void> {
    this.#stopped = true;
    this.#interrupt?.();
    await this.#loop;
  }

  async #run(): Promise<void> {
    let dueMs = performance.now();
    while (!this.#stopped) {
      if (!this.#engine.hasWork) {
        await this.#sleep(null);
        dueMs = performance.now();
        continue;
      }
      const { batch, durationSeconds } = this.#engine.step(Date.now() / 1000);
      if (batch !== null) this.#server.publish(batch);
      if (this.#server.backlogged) await this.#server.drained();
      const now = performance.now();
      dueMs = Math.max(dueMs, now - LAG_MS_MAX) + (durationSeconds * 1000) / this.#speed;
      await this.#sleep(dueMs - now);
    }
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
