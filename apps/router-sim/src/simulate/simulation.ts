/**
 * A fleet in virtual time: discrete events, one thread, no clock and no chance but what the seed gives.
 *
 *     next event = the earliest of     a message or a stream's tick   the index learns (event-path.ts)
 *                                      a scrape                       a picker reads the engines' loads (picker-group.ts)
 *                                      the next arrival               look up ─▶ policy ─▶ submit
 *                                      the end of an engine's step    publish, book, begin the next
 *
 *  V1  Events happen in order of time. At one time messages come first, then scrapes, arrivals and
 *      ends of steps.
 *  V2  What a step changes is published when it ends, as its tokens are. The engine's own contents change when it begins.
 *  V3  Every request that arrives ends as one completion or one refusal; a request that a restart
 *      aborts is routed again at once.
 *  V4  Equal workloads, settings and calls give equal results, bit for bit.
 *
 * The index, its hashing, the streams and the scheduler are those of core and engine-sim; the policies are replay's. Not here: the
 * time that a lookup takes, HTTP, sockets, tokens.
 */
import { Prng } from "@kvsync/core";
import {
  type BlockListener,
  COST_MODELS,
  NamedBlockEngine,
  type NamedRequestSource,
  type QuietPace,
  type ScheduledStep,
} from "@kvsync/engine-sim";

import { choose, KvsyncPolicy, type RoutingPolicy, type WorkerView } from "@kvsync/routing";
import { makePolicy } from "../policy/policies.ts";

import { INPUT_TOKENS_MAX } from "../trace/request.ts";
import type { Workload, WorkloadRequest } from "../workload/workload.ts";
import { WorkloadFuture } from "../workload/workload-future.ts";
import { BlockNaming, NAME_WORDS } from "./block-naming.ts";
import { DecisionLog } from "./decision-log.ts";
import { DirectPath } from "./direct-path.ts";
import type { EventPath } from "./event-path.ts";
import { EventQueue } from "./event-queue.ts";
import { FleetIndex } from "./fleet-index.ts";
import { HeldBlocks } from "./held-blocks.ts";
import { PickerGroup } from "./picker-group.ts";
import { Recorder } from "./recorder.ts";
import type {
  PickersConfig,
  RequestColumns,
  SimulationResult,
  SimulationSpeed,
} from "./simulation-result.ts";
import { type ResolvedSimulation, resolveSettings, type SimulationSettings } from "./simulation-settings.ts";
import { StepLog } from "./step-log.ts";
import { WirePath } from "./wire-path.ts";

/** The network draws from a stream of its own, so that its draws do not move the policy's; that one's seed is replay's, too. */
const NETWORK_STREAM = 0x85eb_ca6b;
/** The same for the choice of a picker; policies of further pickers draw from streams of their own, too. */
const PICKER_STREAM = 0xc2b2_ae35;

/**
 * One engine, and what it is at:
 *
 *     idle ──submit──▶ waking ─▶ stepping ⇄ quiet ─▶ idle          a quiet run is cut short when a request comes
 *
 * Whatever it is at ends with the event planned last; `plan` tells that one from those before it, which do not happen.
 */
interface Unit {
  readonly engine: NamedBlockEngine;
  readonly log: StepLog;
  state: "idle" | "waking" | "stepping" | "quiet";
  beganAt: number;
  plan: number;
  /** What the step under way will bring when it ends; null unless stepping. */
  step: ScheduledStep | null;
  /** The quiet run under way: how many steps, and how long they take. */
  quietSteps: number;
  readonly pace: QuietPace;
}

/** A request between its arrival and its end. */
class Flight implements NamedRequestSource {
  readonly id: number;
  readonly request: WorkloadRequest;
  readonly #naming: BlockNaming;

  constructor(id: number, request: WorkloadRequest, naming: BlockNaming) {
    this.id = id;
    this.request = request;
    this.#naming = naming;
  }

  get promptTokens(): number {
    return this.request.inputTokens;
  }

  get outputTokens(): number {
    return this.request.outputTokens;
  }

  nameBlocks(words: Uint32Array, blockSize: number): void {
    this.#naming.name(this.request, this.id, blockSize, words.length / NAME_WORDS, words);
  }
}

/** An event: a message or a stream's tick, a scrape, a request's arrival, the end of an engine's step. */
export type SimulationEvent = "network" | "scrape" | "arrival" | "step";

/** A run that can be led through time. */
export class Simulation {
  readonly #settings: ResolvedSimulation;
  readonly #requests: Iterator<WorkloadRequest>;
  readonly #naming: BlockNaming;
  readonly #units: readonly Unit[];
  readonly #held: HeldBlocks;
  readonly #index: FleetIndex;
  readonly #path: EventPath;
  readonly #wire: WirePath | null;
  readonly #pickers: PickerGroup;
  readonly #knowledge: RoutingPolicy["knowledge"];
  readonly #future: WorkloadFuture | null;
  readonly #recorder: Recorder;
  readonly #decisions: DecisionLog | null;
  readonly #steps = new EventQueue();
  readonly #flights = new Map<number, Flight>();
  #words = new Uint32Array(4096);
  #next: WorkloadRequest | null = null;
  #arrived = 0;
  #nowSeconds = 0;
  #lastEvent: SimulationEvent = "arrival";

  /**
   * @param workload - read once.
   * @param settings - see SimulationSettings.
   * @throws SimulationError `simulation_setting_wrong`.
   */
  constructor(workload: Workload, settings: SimulationSettings) {
    this.#settings = resolveSettings(settings, workload);
    const { config, keepRequests, keepDecisions } = this.#settings;
    const { engineCount, blockSize, seed, historyMessages } = config;
    this.#requests = workload.requests()[Symbol.iterator]();
    this.#naming = new BlockNaming(workload.blockTokens);
    this.#held = new HeldBlocks(engineCount * (config.blockCount + config.hostBlockCount));
    this.#units = Array.from({ length: engineCount }, (_, engine) =>
      makeUnit(this.#settings, (log) => this.#held.listener(engine, log)),
    );
    this.#index = new FleetIndex(Math.ceil(INPUT_TOKENS_MAX / blockSize), engineCount);
    const network = {
      delaySeconds: config.eventDelaySeconds,
      reorder: config.eventReorder,
      loss: config.eventLoss,
    };
    const random = new Prng((seed ^ NETWORK_STREAM) >>> 0);
    this.#wire =
      config.eventPath === "wire"
        ? new WirePath(this.#index, engineCount, { ...network, historyMessages }, random)
        : null;
    this.#path = this.#wire ?? new DirectPath(this.#index, engineCount, network, random);
    const digits = String(engineCount - 1).length;
    const workers = this.#units.map((_, position) => `engine-${String(position).padStart(digits, "0")}`);
    const capacityTokens = config.blockCount * blockSize;
    const members = workers.map((worker) => ({ worker, capacityTokens }));
    const { policy } = this.#settings;
    this.#pickers = new PickerGroup(
      config.pickers ?? ONE_PICKER,
      members,
      (picker) => makePolicy(policy, members, (seed + Math.imul(picker, PICKER_STREAM)) >>> 0),
      (seed ^ PICKER_STREAM) >>> 0,
    );
    this.#knowledge = this.#pickers.of(0, 0).policy.knowledge;
    this.#future = this.#knowledge === "everything" ? new WorkloadFuture(workload) : null;
    this.#decisions = keepDecisions ? new DecisionLog(members) : null;
    this.#recorder = new Recorder(config, workers, keepRequests ? workload.requestCount : 0);
    this.#recorder.sample(0, 0);
    this.#pull();
  }

  /** Virtual time. */
  get nowSeconds(): number {
    return this.#nowSeconds;
  }

  /** Requests that have arrived. */
  get arrived(): number {
    return this.#arrived;
  }

  /** Whether requests are to come or under way. */
  get hasWork(): boolean {
    return this.#next !== null || this.#flights.size > 0;
  }

  /** The streams, for faults and audits; null when events are written directly. */
  get wire(): WirePath | null {
    return this.#wire;
  }

  /** The router's index, for audits. */
  get index(): FleetIndex {
    return this.#index;
  }

  /** When the next event happens; Infinity when nothing more will. */
  get nextAt(): number {
    return Math.min(this.#path.nextAt, this.#scrapeAt, this.#arrivalAt, this.#steps.nextAt);
  }

  /** What the last event was. */
  get lastEvent(): SimulationEvent {
    return this.#lastEvent;
  }

  /** Lets the next event happen (V1). There must be one. */
  next(): void {
    const at = this.nextAt;
    while (this.#recorder.nextSampleAt <= at) this.#sample();
    this.#nowSeconds = Math.max(this.#nowSeconds, at);
    if (this.#path.nextAt <= at) {
      this.#lastEvent = "network";
      this.#path.advance(at);
    } else if (this.#scrapeAt <= at) {
      this.#lastEvent = "scrape";
      this.#pickers.scrape(
        at,
        this.#units.map(({ engine }) => engine),
      );
    } else if (this.#arrivalAt <= at) {
      this.#lastEvent = "arrival";
      this.#arrive();
    } else {
      this.#lastEvent = "step";
      this.#endStep(this.#steps.take());
    }
  }

  /** Lets time pass, to this moment and everything that happens at it. */
  runUntil(atSeconds: number): void {
    while (this.nextAt <= atSeconds) this.next();
    this.#nowSeconds = Math.max(this.#nowSeconds, atSeconds);
  }

  /** Lets time pass until every request has ended. */
  runToEnd(): void {
    while (this.hasWork) this.next();
  }

  /** An engine dies and is up again at once, empty; its requests are routed again. */
  restartEngine(engine: number): void {
    const unit = this.#unit(engine);
    unit.plan++;
    unit.state = "idle";
    unit.log.reset();
    const aborted = unit.engine.restart();
    this.#path.restarted(engine, this.#nowSeconds);
    for (const request of aborted) {
      const flight = this.#flights.get(request);
      this.#over(request);
      if (flight !== undefined) this.#route(flight, null);
    }
  }

  /** Visits every copy that an engine holds. */
  forEachHeld(engine: number, visit: (tier: 0 | 1, low: number, high: number) => void): void {
    this.#unit(engine).engine.forEachHeld(visit);
  }

  /** What has happened so far; a copy. */
  result(): SimulationResult {
    this.#recorder.network(this.#path.counts);
    return this.#recorder.result();
  }

  /** Lines of the first decisions; null when they are not kept. */
  get decisions(): readonly string[] | null {
    return this.#decisions?.lines ?? null;
  }

  /** Columns of all requests; null when they are not kept. */
  get requestColumns(): RequestColumns | null {
    return this.#recorder.columns;
  }

  /** Gives the index's memory back. The simulation must not be used afterwards. */
  close(): void {
    this.#index.close();
  }

  get #arrivalAt(): number {
    return this.#next === null ? Number.POSITIVE_INFINITY : this.#next.arrivalMs / 1000;
  }

  /** Nobody scrapes when nothing more is to come. */
  get #scrapeAt(): number {
    return this.hasWork ? this.#pickers.nextScrapeAt : Number.POSITIVE_INFINITY;
  }

  #sample(): void {
    let waiting = 0;
    let running = 0;
    for (const { engine } of this.#units) {
      waiting += engine.waitingCount;
      running += engine.runningCount;
    }
    this.#recorder.sample(waiting, running);
  }

  #arrive(): void {
    const request = this.#next;
    if (request === null) return;
    const flight = new Flight(this.#arrived, request, this.#naming);
    this.#arrived++;
    this.#pull();
    this.#flights.set(flight.id, flight);
    this.#route(flight, request.arrivalMs / 1000);
  }

  #pull(): void {
    const next = this.#requests.next();
    this.#next = next.done === true ? null : next.value;
  }

  /** @param arrivalSeconds - null for a request that is routed again. */
  #route(flight: Flight, arrivalSeconds: number | null): void {
    const { inputTokens, outputTokens, sessionId } = flight.request;
    const { blockSize } = this.#settings.config;
    const blocks = Math.floor(inputTokens / blockSize);
    const words = this.#nameOf(flight, blocks);
    const blocksMax = Math.floor((inputTokens - 1) / blockSize);
    const { book, policy } = this.#pickers.of(flight.id, this.#nowSeconds);
    book.clearMatches();
    const bestHitBlocks = this.#askEngines(words, blocksMax, book.views);
    if (this.#knowledge === "index") this.#askIndex(words, blocks, blocksMax, book.views);
    const request = {
      promptTokens: inputTokens,
      sessionId: sessionId ?? null,
      keys: words.subarray(0, blocks * NAME_WORDS),
      keyWords: NAME_WORDS,
      keyTokens: blockSize,
      sharedLaterTokens: this.#future?.sharedTokens(flight.request, flight.id) ?? 0,
    };
    this.#decisions?.asked(book.views);
    const engine = choose(policy, request, book.views, this.#nowSeconds);
    if (policy instanceof KvsyncPolicy)
      this.#decisions?.decided(flight.id, request, policy, this.#nowSeconds);
    const predicted = book.views[engine]?.matchedTokens ?? 0;
    this.#pickers.send(flight.id, engine, inputTokens, this.#nowSeconds);
    if (arrivalSeconds !== null) {
      this.#recorder.routed({
        request: flight.id,
        arrivalSeconds,
        engine,
        inputTokens,
        outputTokens,
        promptBlocks: blocks,
        bestHitBlocks,
        predictedHitBlocks: Math.floor(predicted / blockSize),
        lagSeconds: this.#path.lagSeconds(this.#nowSeconds),
      });
    }
    this.#submit(flight, engine);
  }

  #submit(flight: Flight, engine: number): void {
    const unit = this.#unit(engine);
    if (!unit.engine.submit(flight, this.#nowSeconds)) {
      this.#recorder.refused(flight.id);
      this.#over(flight.id);
      this.#flights.delete(flight.id);
      return;
    }
    if (unit.state === "idle") {
      // It begins after all arrivals of this moment, with them.
      unit.state = "waking";
      this.#plan(engine, unit, this.#nowSeconds);
    } else if (unit.state === "quiet") this.#cutQuietRun(engine, unit);
  }

  /** Ends a quiet run with the step under way, so that what has just come is taken up as if every step had been made. */
  #cutQuietRun(engine: number, unit: Unit): void {
    let steps = 1;
    while (steps < unit.quietSteps && quietEnd(unit, steps) < this.#nowSeconds) steps++;
    if (steps === unit.quietSteps) return;
    unit.quietSteps = steps;
    this.#plan(engine, unit, quietEnd(unit, steps));
  }

  #plan(engine: number, unit: Unit, atSeconds: number): void {
    unit.plan = (unit.plan + 1) % PLANS;
    this.#steps.plan(atSeconds, engine * PLANS + unit.plan);
  }

  #nameOf(flight: Flight, blocks: number): Uint32Array {
    if (this.#words.length < blocks * NAME_WORDS) this.#words = new Uint32Array(2 * blocks * NAME_WORDS);
    const { blockSize } = this.#settings.config;
    this.#naming.name(flight.request, flight.id, blockSize, blocks, this.#words);
    return this.#words;
  }

  /** The most that any engine holds of it; each engine's match, too, for policies that know the engines. */
  #askEngines(words: Uint32Array, blocksMax: number, views: readonly WorkerView[]): number {
    const isKnown = this.#knowledge === "everything";
    if (!isKnown) {
      const most = this.#held.leading(words, blocksMax);
      if (most === 0) return 0;
      const likely = this.#units[this.#held.storedLast(words[(most - 1) * NAME_WORDS] ?? 0)];
      let best = likely?.engine.cachedBlocks(words, blocksMax) ?? 0;
      // Most engines are ruled out by one look: they lack the block that would make them better than the best so far.
      for (const { engine } of this.#units) {
        if (best === most) break;
        best = Math.max(best, engine.cachedBlocks(words, blocksMax, best + 1));
      }
      return best;
    }
    const held = this.#units.map(({ engine }) => engine.cachedBlocks(words, blocksMax));
    for (const [position, view] of views.entries()) {
      view.matchedTokens = (held[position] ?? 0) * this.#settings.config.blockSize;
      view.trust = "exact";
    }
    return Math.max(...held);
  }

  #askIndex(words: Uint32Array, blocks: number, blocksMax: number, views: readonly WorkerView[]): void {
    const { blockSize } = this.#settings.config;
    for (const [position, view] of views.entries()) view.trust = this.#path.trustOf(position);
    this.#index.match(words, blocks, (engine, matched, device) => {
      const view = views[engine];
      if (view === undefined) return;
      view.matchedTokens = Math.min(matched, blocksMax) * blockSize;
      view.matchedSlowTokens = (matched - device) * blockSize;
    });
  }

  /** Ends what an engine is at and begins what is next. */
  #endStep(subject: number): void {
    const engine = Math.floor(subject / PLANS);
    const unit = this.#unit(engine);
    if (subject % PLANS !== unit.plan) return;
    if (unit.state === "quiet") this.#settleQuietRun(engine, unit);
    if (unit.state === "stepping" && unit.step !== null) this.#settleStep(engine, unit, unit.step);
    if (!unit.engine.hasWork) {
      unit.state = "idle";
      return;
    }
    unit.beganAt = this.#nowSeconds;
    unit.quietSteps = unit.engine.quietSteps();
    if (unit.quietSteps > 1) {
      unit.state = "quiet";
      unit.engine.quietPace(unit.pace);
      this.#plan(engine, unit, quietEnd(unit, unit.quietSteps));
      return;
    }
    unit.state = "stepping";
    unit.step = unit.engine.step(this.#nowSeconds);
    this.#plan(engine, unit, this.#nowSeconds + unit.step.durationSeconds);
  }

  #settleQuietRun(engine: number, unit: Unit): void {
    unit.engine.stepQuietly(unit.quietSteps, this.#nowSeconds);
    this.#recorder.steppedQuietly(engine, unit.quietSteps, unit.pace, unit.beganAt, unit.engine.runningCount);
  }

  /** What a step brought becomes known. */
  #settleStep(engine: number, unit: Unit, step: ScheduledStep): void {
    const { log } = unit;
    this.#recorder.stepped(engine, step, unit.beganAt, unit.engine.waitingCount, unit.engine.runningCount);
    if (log.eventCount > 0) {
      this.#recorder.published(engine, log.eventCount, log.storedBlocks, log.removedBlocks);
      this.#path.publish(engine, log, this.#nowSeconds);
      log.reset();
    }
    for (const request of step.firstTokens) {
      this.#pickers.firstToken(request, this.#nowSeconds);
      this.#decisions?.firstToken(request);
    }
    for (const done of step.finished) {
      this.#over(done.id);
      const flight = this.#flights.get(done.id);
      if (flight === undefined) continue;
      this.#flights.delete(done.id);
      this.#recorder.finished(engine, done, flight.request.arrivalMs / 1000);
    }
  }

  #over(request: number): void {
    this.#pickers.end(request, this.#nowSeconds);
    this.#decisions?.over(request);
  }

  #unit(engine: number): Unit {
    const unit = this.#units[engine];
    if (unit === undefined) throw new RangeError(`there is no engine ${engine}`);
    return unit;
  }
}

const ONE_PICKER: PickersConfig = { count: 1, news: "none", scrapeSeconds: 0, shareDelaySeconds: 0 };

/** Planned ends of one engine that can be told apart: far more than are ever in the queue at once. */
const PLANS = 2 ** 16;

/** When the first `steps` steps of a unit's quiet run are over. */
function quietEnd({ beganAt, pace }: Unit, steps: number): number {
  return beganAt + steps * pace.firstSeconds + (pace.growthSeconds * steps * (steps - 1)) / 2;
}

function makeUnit({ config }: ResolvedSimulation, heard: (log: StepLog) => BlockListener): Unit {
  const log = new StepLog();
  const { blockSize, blockCount, hostBlockCount, maxBatchedTokens, maxSequences } = config;
  const costModel = COST_MODELS[config.costModel];
  const engine = new NamedBlockEngine(
    { blockSize, blockCount, hostBlockCount, maxBatchedTokens, maxSequences, costModel },
    heard(log),
  );
  return {
    engine,
    log,
    state: "idle",
    beganAt: 0,
    plan: 0,
    step: null,
    quietSteps: 0,
    pace: { firstSeconds: 0, growthSeconds: 0 },
  };
}

/** A finished run. */
export interface SimulationRun {
  readonly result: SimulationResult;
  /** Null unless `keepRequests`. */
  readonly requests: RequestColumns | null;
  /** Null unless `keepDecisions`. */
  readonly decisions: readonly string[] | null;
  /** The only part that the machine has a say in. */
  readonly speed: SimulationSpeed;
}

/**
 * Runs a workload through a fleet.
 *
 * @param workload - see Workload.
 * @param settings - see SimulationSettings.
 * @returns the run; equal arguments give an equal `result`.
 * @throws SimulationError `simulation_setting_wrong`.
 */
export function simulate(workload: Workload, settings: SimulationSettings): SimulationRun {
  const beganMs = performance.now();
  const simulation = new Simulation(workload, settings);
  simulation.runToEnd();
  const result = simulation.result();
  const { requestColumns: requests, decisions } = simulation;
  simulation.close();
  const wallSeconds = (performance.now() - beganMs) / 1000;
  return {
    result,
    requests,
    decisions,
    speed: {
      wallSeconds,
      requestsPerSecond: result.totals.requests / wallSeconds,
      speedup: simulation.nowSeconds / wallSeconds,
      residentBytes: process.memoryUsage.rss(),
    },
  };
}
