/**
 * Turns the events of a run into its result, in memory that does not grow with the requests. It
 * keeps histograms, sums, and a series of at most ROWS_MAX rows, whose interval doubles when a run
 * is longer. Columns of single requests are kept only on demand.
 */
import type { FinishedRequest, QuietPace, ScheduledStep } from "@kvsync/engine-sim";

import { LatencyHistogram } from "./latency-histogram.ts";
import type {
  EngineResult,
  RequestColumns,
  SimulationConfig,
  SimulationResult,
  SimulationSeries,
  SimulationTotals,
} from "./simulation-result.ts";

const INTERVAL_SECONDS = 10;
/** An hour in intervals of ten seconds, and some more. */
const ROWS_MAX = 512;

interface Row {
  arrivals: number;
  completions: number;
  promptBlocks: number;
  hitBlocks: number;
  waiting: number;
  running: number;
  lagSecondsMax: number;
  readonly busySeconds: Float64Array;
}

interface EngineSums {
  requests: number;
  promptTokens: number;
  outputTokens: number;
  promptBlocks: number;
  hitBlocks: number;
  preemptions: number;
  steps: number;
  busySeconds: number;
  queueMax: number;
  runningMax: number;
  storedBlocks: number;
  removedBlocks: number;
}

/** What a routing decision looked like. */
export interface Decision {
  readonly request: number;
  readonly arrivalSeconds: number;
  readonly engine: number;
  readonly inputTokens: number;
  readonly outputTokens: number;
  readonly promptBlocks: number;
  readonly bestHitBlocks: number;
  readonly predictedHitBlocks: number;
  readonly lagSeconds: number;
}

/** See the header. */
export class Recorder {
  readonly #config: SimulationConfig;
  readonly #workers: readonly string[];
  readonly #firstToken = new LatencyHistogram();
  readonly #interToken = new LatencyHistogram();
  readonly #queue = new LatencyHistogram();
  readonly #endToEnd = new LatencyHistogram();
  readonly #engines: readonly EngineSums[];
  readonly #columns: RequestColumns | null;
  #rows: Row[] = [];
  #intervalSeconds = INTERVAL_SECONDS;
  #firstArrival = Number.POSITIVE_INFINITY;
  #lastCompletion = 0;
  readonly #totals = {
    requests: 0,
    completed: 0,
    refused: 0,
    hitHostBlocks: 0,
    bestHitBlocks: 0,
    predictedHitBlocks: 0,
    messages: 0,
    events: 0,
    messagesLost: 0,
    messagesReordered: 0,
    replays: 0,
  };

  /**
   * @param config - the run's.
   * @param workers - engines' names, by position.
   * @param requestCount - requests whose columns are kept; 0 for none.
   */
  constructor(config: SimulationConfig, workers: readonly string[], requestCount: number) {
    this.#config = config;
    this.#workers = workers;
    this.#engines = workers.map(() => ({
      requests: 0,
      promptTokens: 0,
      outputTokens: 0,
      promptBlocks: 0,
      hitBlocks: 0,
      preemptions: 0,
      steps: 0,
      busySeconds: 0,
      queueMax: 0,
      runningMax: 0,
      storedBlocks: 0,
      removedBlocks: 0,
    }));
    this.#columns = requestCount === 0 ? null : makeColumns(requestCount);
  }

  /** Columns of all requests; null when they are not kept. */
  get columns(): RequestColumns | null {
    return this.#columns;
  }

  /** End of the row at hand: queue lengths are due then. */
  get nextSampleAt(): number {
    return this.#rows.length * this.#intervalSeconds;
  }

  /** Begins a row: what was sampled is the state at the end of the one before. */
  sample(waiting: number, running: number): void {
    const last = this.#rows.at(-1);
    if (last !== undefined) [last.waiting, last.running] = [waiting, running];
    if (this.#rows.length === ROWS_MAX) this.#coarsen();
    this.#rows.push(emptyRow(this.#workers.length));
  }

  /** A request arrived and was routed. */
  routed(decision: Decision): void {
    const { request, engine, arrivalSeconds } = decision;
    this.#totals.requests++;
    this.#totals.bestHitBlocks += decision.bestHitBlocks;
    this.#totals.predictedHitBlocks += decision.predictedHitBlocks;
    this.#firstArrival = Math.min(this.#firstArrival, arrivalSeconds);
    const row = this.#rowAt(arrivalSeconds);
    row.arrivals++;
    row.lagSecondsMax = Math.max(row.lagSecondsMax, decision.lagSeconds);
    const columns = this.#columns;
    if (columns === null) return;
    columns.arrivalSeconds[request] = arrivalSeconds;
    columns.inputTokens[request] = decision.inputTokens;
    columns.outputTokens[request] = decision.outputTokens;
    columns.promptBlocks[request] = decision.promptBlocks;
    columns.bestHitBlocks[request] = decision.bestHitBlocks;
    columns.engine[request] = engine;
  }

  /** No engine could take a request that was routed. */
  refused(request: number): void {
    this.#totals.refused++;
    const columns = this.#columns;
    if (columns === null) return;
    columns.queueSeconds[request] = -1;
    columns.firstTokenSeconds[request] = -1;
    columns.endToEndSeconds[request] = -1;
  }

  /** A step ended. */
  stepped(engine: number, step: ScheduledStep, beganAt: number, waiting: number, running: number): void {
    const sums = this.#engine(engine);
    sums.steps++;
    sums.preemptions += step.preemptionCount;
    sums.busySeconds += step.durationSeconds;
    sums.queueMax = Math.max(sums.queueMax, waiting);
    sums.runningMax = Math.max(sums.runningMax, running);
    const { busySeconds } = this.#rowAt(beganAt);
    busySeconds[engine] = (busySeconds[engine] ?? 0) + step.durationSeconds;
    if (step.nextTokenCount > 0) this.#interToken.record(step.durationSeconds, step.nextTokenCount);
    for (const gap of step.lateTokenGaps) this.#interToken.record(gap);
  }

  /** Steps ended that only decoded. */
  steppedQuietly(engine: number, steps: number, pace: QuietPace, beganAt: number, running: number): void {
    const sums = this.#engine(engine);
    let seconds = 0;
    for (let step = 0; step < steps; step++) {
      const duration = pace.firstSeconds + step * pace.growthSeconds;
      this.#interToken.record(duration, running);
      seconds += duration;
    }
    sums.steps += steps;
    sums.busySeconds += seconds;
    const { busySeconds } = this.#rowAt(beganAt);
    busySeconds[engine] = (busySeconds[engine] ?? 0) + seconds;
  }

  /** A step's message went out. */
  published(engine: number, events: number, storedBlocks: number, removedBlocks: number): void {
    const sums = this.#engine(engine);
    sums.storedBlocks += storedBlocks;
    sums.removedBlocks += removedBlocks;
    this.#totals.messages++;
    this.#totals.events += events;
  }

  /** A request is done. */
  finished(engine: number, done: FinishedRequest, arrivalSeconds: number): void {
    const sums = this.#engine(engine);
    sums.requests++;
    sums.promptTokens += done.promptTokens;
    sums.outputTokens += done.outputTokens;
    sums.promptBlocks += done.promptBlocks;
    sums.hitBlocks += done.cachedBlocks;
    this.#totals.completed++;
    this.#totals.hitHostBlocks += done.cachedHostBlocks;
    this.#lastCompletion = Math.max(this.#lastCompletion, done.finishedAtSeconds);
    const admitted = this.#rowAt(done.admittedAtSeconds);
    admitted.promptBlocks += done.promptBlocks;
    admitted.hitBlocks += done.cachedBlocks;
    this.#rowAt(done.finishedAtSeconds).completions++;
    const queue = done.admittedAtSeconds - arrivalSeconds;
    const firstToken = done.firstTokenAtSeconds - arrivalSeconds;
    const endToEnd = done.finishedAtSeconds - arrivalSeconds;
    this.#queue.record(queue);
    this.#firstToken.record(firstToken);
    this.#endToEnd.record(endToEnd);
    const columns = this.#columns;
    if (columns === null) return;
    columns.queueSeconds[done.id] = queue;
    columns.firstTokenSeconds[done.id] = firstToken;
    columns.endToEndSeconds[done.id] = endToEnd;
    columns.hitBlocks[done.id] = done.cachedBlocks;
    columns.preemptions[done.id] = done.preemptions;
  }

  /** What was lost, held up and asked for again. */
  network(counts: { readonly lost: number; readonly reordered: number; readonly replays: number }): void {
    this.#totals.messagesLost = counts.lost;
    this.#totals.messagesReordered = counts.reordered;
    this.#totals.replays = counts.replays;
  }

  /** The result so far; a copy. */
  result(): SimulationResult {
    const makespan = Math.max(0, this.#lastCompletion - Math.min(this.#firstArrival, this.#lastCompletion));
    return {
      config: this.#config,
      totals: this.#sumTotals(makespan),
      firstToken: this.#firstToken.data(),
      interToken: this.#interToken.data(),
      queue: this.#queue.data(),
      endToEnd: this.#endToEnd.data(),
      engines: this.#engines.map(
        (sums, engine): EngineResult => ({
          worker: this.#workers[engine] ?? "",
          ...sums,
          utilisation: makespan === 0 ? 0 : sums.busySeconds / makespan,
        }),
      ),
      series: this.#series(),
    };
  }

  #sumTotals(makespanSeconds: number): SimulationTotals {
    const sum = (of: (engine: EngineSums) => number): number =>
      this.#engines.reduce((total, engine) => total + of(engine), 0);
    const hitBlocks = sum((engine) => engine.hitBlocks);
    return {
      ...this.#totals,
      promptTokens: sum((engine) => engine.promptTokens),
      outputTokens: sum((engine) => engine.outputTokens),
      promptBlocks: sum((engine) => engine.promptBlocks),
      hitBlocks,
      hitTokens: hitBlocks * this.#config.blockSize,
      preemptions: sum((engine) => engine.preemptions),
      steps: sum((engine) => engine.steps),
      storedBlocks: sum((engine) => engine.storedBlocks),
      removedBlocks: sum((engine) => engine.removedBlocks),
      makespanSeconds,
    };
  }

  #series(): SimulationSeries {
    const rows = this.#rows;
    const interval = this.#intervalSeconds;
    return {
      intervalSeconds: interval,
      arrivals: rows.map((row) => row.arrivals),
      completions: rows.map((row) => row.completions),
      promptBlocks: rows.map((row) => row.promptBlocks),
      hitBlocks: rows.map((row) => row.hitBlocks),
      waiting: rows.map((row) => row.waiting),
      running: rows.map((row) => row.running),
      engineBusy: this.#workers.map((_, engine) =>
        rows.map((row) => rounded(Math.min(1, (row.busySeconds[engine] ?? 0) / interval))),
      ),
      lagSecondsMax: rows.map((row) => rounded(row.lagSecondsMax)),
    };
  }

  #engine(engine: number): EngineSums {
    const sums = this.#engines[engine];
    if (sums === undefined) throw new RangeError(`there is no engine ${engine}`);
    return sums;
  }

  #rowAt(seconds: number): Row {
    const position = Math.max(
      0,
      Math.min(this.#rows.length - 1, Math.floor(seconds / this.#intervalSeconds)),
    );
    const row = this.#rows[position];
    if (row === undefined) throw new RangeError("the first sample comes before anything happens");
    return row;
  }

  /** Two rows become one. */
  #coarsen(): void {
    const rows: Row[] = [];
    for (let at = 0; at < this.#rows.length; at += 2) {
      const first = this.#rows[at] ?? emptyRow(this.#workers.length);
      const second = this.#rows[at + 1] ?? emptyRow(this.#workers.length);
      rows.push({
        arrivals: first.arrivals + second.arrivals,
        completions: first.completions + second.completions,
        promptBlocks: first.promptBlocks + second.promptBlocks,
        hitBlocks: first.hitBlocks + second.hitBlocks,
        waiting: second.waiting,
        running: second.running,
        lagSecondsMax: Math.max(first.lagSecondsMax, second.lagSecondsMax),
        busySeconds: first.busySeconds.map((busy, engine) => busy + (second.busySeconds[engine] ?? 0)),
      });
    }
    this.#rows = rows;
    this.#intervalSeconds *= 2;
  }
}

function emptyRow(engineCount: number): Row {
  return {
    arrivals: 0,
    completions: 0,
    promptBlocks: 0,
    hitBlocks: 0,
    waiting: 0,
    running: 0,
    lagSecondsMax: 0,
    busySeconds: new Float64Array(engineCount),
  };
}

function makeColumns(count: number): RequestColumns {
  return {
    arrivalSeconds: new Float64Array(count),
    queueSeconds: new Float32Array(count),
    firstTokenSeconds: new Float32Array(count),
    endToEndSeconds: new Float32Array(count),
    inputTokens: new Uint32Array(count),
    outputTokens: new Uint32Array(count),
    promptBlocks: new Uint32Array(count),
    hitBlocks: new Uint32Array(count),
    bestHitBlocks: new Uint32Array(count),
    engine: new Uint16Array(count),
    preemptions: new Uint16Array(count),
  };
}

/** Keeps JSON short where more digits mean nothing. */
function rounded(value: number): number {
  return Number(value.toPrecision(4));
}
