/**
 * N simulated engines with their servers, and the workload's arrivals, in one stream of modeled time. Runs in a thread of
 * its own (fleet-thread.ts), so that a router next to it measures the daemon and not the engines.
 *
 *     next event = the earlier of the next arrival and the engines' next steps
 *
 *     arrival   make the prompt, ask the oracle, tell the router; it answers with `submit` some time later
 *     step      what the step before announced goes out (a step's events are published when it ends), then the next
 *
 * F1: events happen in order of modeled time, never before it has come (PacedClock).
 * F2: a batch is published exactly once, in order, by the engine that made it. It is published at
 * the end of its step, or when the clock is paused or a broken message has to follow it.
 * F3: every request of the workload ends as one completion or one refusal; a request that a restart
 * aborts arrives again.
 *
 * It uses neither policies nor the daemon.
 */
import {
  COST_MODELS,
  EngineError,
  EngineServer,
  type Fault,
  type NumberedBatch,
  SimulatedEngine,
} from "@kvsync/engine-sim";

import type { EngineTruth } from "../audit/audit.ts";
import { answerTokens, promptTokens } from "../trace/prompt.ts";
import type {
  Completion,
  FleetEngine,
  FleetSettings,
  FleetTotals,
  FromFleet,
  Refusal,
  StreamPosition,
} from "./messages.ts";
import { Oracle } from "./oracle.ts";
import { PacedClock } from "./paced-clock.ts";

/** Real time after which a slice of work lets messages in and out. */
const SLICE_MS = 4;
/** Real time that a fleet with nothing to do waits. */
const IDLE_MS = 1;
/** A step that takes no time, because nothing could be done, is tried again after this. */
const STALL_SECONDS = 0.005;

/** One engine with what its current step will bring when it ends. */
interface Unit {
  readonly engine: SimulatedEngine;
  readonly server: EngineServer;
  /** When the current step ends; infinite when there is none. */
  stepEndsAt: number;
  batch: NumberedBatch | null;
  readonly firstTokens: number[];
  readonly completions: Completion[];
}

/** See the header. */
export class Fleet {
  readonly #settings: FleetSettings;
  readonly #units: readonly Unit[];
  readonly #oracle: Oracle;
  readonly #clock: PacedClock;
  readonly #tell: (message: FromFleet, transfer: ArrayBuffer[]) => void;
  /** Prompts of requests between arrival and completion. */
  readonly #flights = new Map<number, Uint32Array<ArrayBuffer>>();
  #firstTokens: { request: number; engine: number }[] = [];
  #completions: Completion[] = [];
  #refusals: Refusal[] = [];
  #nextArrival = 0;
  #nowSeconds = 0;
  #events = 0;
  #busyMs = 0;
  #running = false;
  #loop: Promise<void> | null = null;

  private constructor(
    settings: FleetSettings,
    units: readonly Unit[],
    tell: (message: FromFleet, transfer: ArrayBuffer[]) => void,
  ) {
    this.#settings = settings;
    this.#units = units;
    this.#oracle = new Oracle(
      units.map(({ engine }) => engine),
      settings.blockSize,
    );
    this.#clock = new PacedClock(settings.speedup, () => performance.now());
    this.#tell = tell;
  }

  /**
   * Makes the engines and binds their sockets to free ports of 127.0.0.1. The clock stands still until `resume`.
   *
   * @param settings - see FleetSettings.
   * @param tell - takes arrivals and progress; called inside slices only.
   * @throws EngineError when a setting cannot be had.
   */
  static async start(
    settings: FleetSettings,
    tell: (message: FromFleet, transfer: ArrayBuffer[]) => void,
  ): Promise<Fleet> {
    const units: Unit[] = [];
    const digits = String(settings.engineCount - 1).length;
    for (let position = 0; position < settings.engineCount; position++) {
      units.push(await startUnit(settings, position, `engine-${String(position).padStart(digits, "0")}`));
    }
    return new Fleet(settings, units, tell);
  }

  /** Where the engines can be followed, by position. */
  get engines(): readonly FleetEngine[] {
    return this.#units.map(({ engine, server }) => ({
      worker: engine.settings.id,
      endpoint: server.endpoint,
      replayEndpoint: server.replayEndpoint,
    }));
  }

  /** Hands a request that has arrived to an engine; a refusal shows up in the next progress. */
  submit(request: number, engine: number): void {
    const tokens = this.#flights.get(request);
    const unit = this.#units[engine];
    const traced = this.#settings.requests[request];
    if (tokens === undefined || unit === undefined || traced === undefined) {
      throw new RangeError(`request ${request} for engine ${engine} has not arrived or does not exist`);
    }
    const output = answerTokens(traced, request, this.#settings.seed);
    try {
      unit.engine.submit({ id: request, promptTokens: tokens, output }, this.#nowSeconds);
    } catch (error) {
      if (!(error instanceof EngineError)) throw error;
      this.#flights.delete(request);
      this.#refusals.push({ request, engine, code: error.code });
      return;
    }
    this.#oracle.sent(traced, engine);
    unit.stepEndsAt = Math.min(unit.stepEndsAt, this.#nowSeconds);
  }

  /** Lets modelled time pass. */
  resume(): void {
    if (this.#running) return;
    this.#running = true;
    this.#clock.start();
    this.#loop = this.#run();
  }

  /** Halts modelled time and publishes what the steps under way have already decided (F2). */
  async pause(): Promise<void> {
    this.#running = false;
    await this.#loop;
    this.#loop = null;
    this.#clock.pause(this.#nowSeconds);
    for (const unit of this.#units) this.#publish(unit);
    await Promise.all(this.#units.map(({ server }) => server.drained()));
  }

  /** Makes something go wrong at one engine; what it aborts arrives again. */
  async applyFault(engine: number, fault: Fault): Promise<void> {
    const unit = this.#units[engine];
    if (unit === undefined) throw new RangeError(`there is no engine ${engine}`);
    if (fault.kind === "restart") {
      // The step under way dies with the process: what it would have announced is never sent.
      unit.batch = null;
      unit.firstTokens.length = 0;
      this.#completions.push(...unit.completions.splice(0));
    }
    // A broken message takes the next number and goes out at once: not before the number that is waiting (F2).
    if (fault.kind === "poison") this.#publish(unit);
    const aborted = await unit.server.applyFault(fault, this.#nowSeconds);
    for (const request of aborted) {
      const tokens = this.#flights.get(request);
      if (tokens !== undefined) this.#announce(request, tokens, null, null);
    }
  }

  /** How far each stream has got. */
  positions(): StreamPosition[] {
    return this.#units.map(({ engine, batch }) => {
      const { running, waiting } = engine.pressure();
      return {
        worker: engine.settings.id,
        publishedSequenceNumber: batch === null ? engine.lastSequenceNumber : batch.sequenceNumber - 1,
        requestCount: running + waiting,
      };
    });
  }

  /** What every engine holds, in columns; the caller's to keep. */
  contents(): EngineTruth[] {
    return this.#units.map(({ engine }) => {
      const contents = engine.contents();
      return {
        worker: engine.settings.id,
        dpRank: engine.settings.dpRank,
        adapters: contents.contexts.map(({ loraName }) => loraName ?? ""),
        adapterOf: contents.contextOf,
        tierOf: contents.tierOf,
        // Low word first is the u64 of a little-endian machine; slice() makes an aligned buffer of its own.
        hashes: new BigUint64Array(contents.prefixHashes.slice(0, 2 * contents.rowCount).buffer),
        announcedIn: contents.announcedIn,
      };
    });
  }

  /** Sums since the begin. */
  totals(): FleetTotals {
    const engines = this.#units.map(({ engine }) => engine.counters);
    const publishers = this.#units.map(({ server }) => server.counters);
    const sum = <T>(items: readonly T[], of: (item: T) => number): number =>
      items.reduce((total, item) => total + of(item), 0);
    return {
      messages: sum(publishers, ({ published }) => published),
      events: this.#events,
      messagesDropped: sum(publishers, ({ droppedLive }) => droppedLive),
      storedBlocks: sum(engines, ({ storedBlocks }) => storedBlocks),
      removedBlocks: sum(engines, ({ removedBlocks }) => removedBlocks),
      preemptions: sum(engines, ({ preemptions }) => preemptions),
      engineRestarts: sum(publishers, ({ restarts }) => restarts),
      replayRequests: sum(publishers, ({ replayRequests }) => replayRequests),
      replayedMessages: sum(publishers, ({ replayedMessages }) => replayedMessages),
      steps: sum(engines, ({ steps }) => steps),
      slipSeconds: this.#clock.slipSeconds,
      modelledSeconds: this.#nowSeconds,
      busySeconds: this.#busyMs / 1000,
    };
  }

  /** Ends the engines. */
  async stop(): Promise<void> {
    this.#running = false;
    await this.#loop;
    await Promise.all(this.#units.map(({ server }) => server.stop()));
  }

  /** One slice after the other; between them messages come in and go out. */
  async #run(): Promise<void> {
    while (this.#running) {
      const beganMs = performance.now();
      const caughtUp = this.#runSlice(this.#clock.targetSeconds, beganMs + SLICE_MS);
      this.#busyMs += performance.now() - beganMs;
      this.#clock.reached(this.#nowSeconds);
      this.#report();
      const backlogged = this.#units.filter(({ server }) => server.backlogged);
      if (backlogged.length > 0) await Promise.all(backlogged.map(({ server }) => server.drained()));
      await new Promise<void>((resolve) => {
        if (caughtUp) setTimeout(resolve, IDLE_MS);
        else setImmediate(resolve);
      });
    }
  }

  /** @returns whether all events up to the target have happened. */
  #runSlice(targetSeconds: number, endMs: number): boolean {
    for (;;) {
      const unit = this.#nextUnit();
      const arrivalAt = this.#nextArrivalAt();
      const at = Math.min(unit.stepEndsAt, arrivalAt);
      if (at > targetSeconds) {
        this.#nowSeconds = Math.max(this.#nowSeconds, targetSeconds);
        return true;
      }
      this.#nowSeconds = Math.max(this.#nowSeconds, at);
      if (arrivalAt <= unit.stepEndsAt) this.#arrive();
      else this.#step(unit, at);
      if (performance.now() >= endMs) return false;
    }
  }

  /** A scan: fleets are small, and a heap would have to be told of every submission. */
  #nextUnit(): Unit {
    const [first, ...others] = this.#units;
    if (first === undefined) throw new RangeError("a fleet has at least one engine");
    let next = first;
    for (const unit of others) if (unit.stepEndsAt < next.stepEndsAt) next = unit;
    return next;
  }

  #nextArrivalAt(): number {
    const request = this.#settings.requests[this.#nextArrival];
    return request === undefined ? Number.POSITIVE_INFINITY : request.arrivalMs / 1000;
  }

  #arrive(): void {
    const index = this.#nextArrival;
    this.#nextArrival += 1;
    const request = this.#settings.requests[index];
    if (request === undefined) return;
    const tokens = promptTokens(request, this.#settings.seed);
    this.#flights.set(index, tokens);
    if (!this.#settings.tellsHeldBlocks) {
      this.#announce(index, tokens, this.#oracle.bestBlocks(request, tokens), null);
      return;
    }
    const held = this.#oracle.heldBlocks(request, tokens);
    this.#announce(index, tokens, Math.max(...held), held);
  }

  /** The router gets a copy of the prompt: the engine keeps the original. */
  #announce(
    request: number,
    tokens: Uint32Array<ArrayBuffer>,
    oracleBlocks: number | null,
    heldBlocks: readonly number[] | null,
  ): void {
    const copy = tokens.slice();
    const arrivalMs = this.#settings.requests[request]?.arrivalMs ?? 0;
    const dueAtMs =
      oracleBlocks === null ? null : performance.timeOrigin + this.#clock.dueMs(arrivalMs / 1000);
    this.#tell({ kind: "arrival", request, tokens: copy, dueAtMs, oracleBlocks, heldBlocks }, [copy.buffer]);
  }

  /** Ends an engine's step and begins its next one. */
  #step(unit: Unit, at: number): void {
    this.#publish(unit);
    if (!unit.engine.hasWork) {
      unit.stepEndsAt = Number.POSITIVE_INFINITY;
      return;
    }
    const result = unit.engine.step(at);
    unit.batch = result.batch;
    unit.firstTokens.push(...result.firstTokens);
    const engine = this.#units.indexOf(unit);
    for (const done of result.finished) {
      unit.completions.push({
        request: done.id,
        engine,
        promptTokens: done.promptTokens,
        promptBlocks: done.promptBlocks,
        cachedBlocks: done.cachedBlocks,
        firstTokenSeconds: done.firstTokenAtSeconds - done.submittedAtSeconds,
      });
    }
    unit.stepEndsAt = at + (result.durationSeconds > 0 ? result.durationSeconds : STALL_SECONDS);
  }

  /** What the step before has brought becomes known. */
  #publish(unit: Unit): void {
    if (unit.batch !== null) {
      this.#events += unit.batch.batch.events.length;
      // Modelled time runs ahead of real time; listeners are to see when the message really went out.
      const batch = { ...unit.batch.batch, timestampSeconds: Date.now() / 1000 };
      unit.server.publish({ sequenceNumber: unit.batch.sequenceNumber, batch });
      unit.batch = null;
    }
    if (unit.firstTokens.length > 0) {
      const engine = this.#units.indexOf(unit);
      for (const request of unit.firstTokens.splice(0)) this.#firstTokens.push({ request, engine });
    }
    if (unit.completions.length > 0) {
      for (const { request } of unit.completions) this.#flights.delete(request);
      this.#completions.push(...unit.completions.splice(0));
    }
  }

  #report(): void {
    if (this.#firstTokens.length + this.#completions.length + this.#refusals.length === 0) return;
    this.#tell(
      {
        kind: "progress",
        firstTokens: this.#firstTokens,
        completions: this.#completions,
        refusals: this.#refusals,
        modelledSeconds: this.#nowSeconds,
      },
      [],
    );
    [this.#firstTokens, this.#completions, this.#refusals] = [[], [], []];
  }
}

async function startUnit(settings: FleetSettings, position: number, id: string): Promise<Unit> {
  const engine = new SimulatedEngine({
    id,
    model: settings.model,
    blockSize: settings.blockSize,
    blockCount: settings.blockCount,
    hostBlockCount: settings.hostBlockCount,
    costModel: COST_MODELS[settings.costModel],
    slowness: settings.slowness,
    ...(settings.dialect === null ? {} : { dialect: settings.dialect }),
  });
  const server = await EngineServer.start({
    engine,
    seed: settings.seed + position,
    ...(settings.bufferSteps === null ? {} : { bufferSteps: settings.bufferSteps }),
  });
  if (settings.dropPercent > 0) {
    await server.applyFault({ kind: "drop", percent: settings.dropPercent }, 0);
  }
  return {
    engine,
    server,
    stepEndsAt: Number.POSITIVE_INFINITY,
    batch: null,
    firstTokens: [],
    completions: [],
  };
}
